"""What the ladder is told: rules, verdicts, live evidence, approvals, what people ask, what is true. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from mandate.api.asks import VerbName
from mandate.api.criteria import Level
from mandate.verdict.judge import LevelVerdict

from .state import Holder, Shares

Degradation = Literal["Demote", "Rollback", "Hold"]


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """What a level must have seen in use before the next one; `duration` in seconds.

    `blind`: decisions that people took before they saw the answer, as drawn. `max_override_rate`: people's decisions
    must show that they differ from the model's answer at most this often.
    `max_missing_pairs`: it must be shown that at most this share of the copies is without an answer.
    """

    duration: float = 0.0
    predictions: int = 0
    labelled: int = 0
    blind: int = 0
    max_override_rate: float | None = None
    max_missing_pairs: float | None = None


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the spec says about climbing. `steps` rise and end at 100; a provider without shares has (100,).

    `live` are the levels at which gates ask something of live rows; `approvals` those that need a person's sign-off.
    `drill`: before Automate, the fallback must have answered a drill.
    """

    target: Level
    shadow: Minimum = Minimum()
    suggest: Minimum = Minimum()
    steps: tuple[int, ...] = (10, 50, 100)
    step_duration: float = 0.0
    on_degradation: Degradation = "Demote"
    live: frozenset[Level] = frozenset()
    approvals: frozenset[Level] = frozenset()
    drill: bool = False

    def __post_init__(self) -> None:
        rising = all(later > earlier for earlier, later in pairwise(self.steps))
        if not self.steps or self.steps[0] < 1 or self.steps[-1] != 100 or not rising:
            raise ValueError(f"steps must rise and end at 100, got {self.steps}")

    def minimum(self, level: Level) -> Minimum:
        """What must be seen at this level before the next one."""
        return {"Shadow": self.shadow, "Suggest": self.suggest}.get(level, Minimum())


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a revision's test evidence carries by `criteria`, their digest: `reached`, and per level in words what keeps
    it from holding.
    """

    reached: Level | None
    evaluation: str = ""
    model_digest: str | None = None
    criteria: str | None = None
    blocking: Mapping[Level, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How many answers of `against` since `since` (seconds since the epoch) have the revision's beside them.

    `paired` of `rows`, of which those from the last minute may still get it; `copied` is the share of requests that the
    revision got copies of all the while.
    """

    against: str
    since: float
    copied: Fraction
    paired: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of a revision in use, from `since` until `until` (seconds since the epoch; not after now).

    Ask for it from Holder.since on: what begins earlier decides nothing, and a decision uses up what it rests on.
    `predictions` were answered; `failed` weren't. `decisions` were taken by people who saw the answer; `overridden` of
    them differ from it. `blind` were taken before people saw it, as drawn. `gates` is the verdict on gates that ask
    about live rows, by level. `compared` is None where nothing was compared with the champion.
    """

    since: float
    until: float
    predictions: int = 0
    failed: int = 0
    labelled: int = 0
    decisions: int = 0
    overridden: int = 0
    blind: int = 0
    gates: Mapping[Level, LevelVerdict] = field(default_factory=dict)
    compared: Compared | None = None


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What a person asks, once per `id`. With `revision`, only if that is still the candidate or the champion.

    `level` belongs to Halt: Shadow, or None for off.
    """

    name: VerbName
    id: str
    by: str
    why: str = ""
    revision: str = ""
    level: Level | None = None


@dataclass(frozen=True, kw_only=True)
class Drilled:
    """What came of the drill that was asked by the verb with this `id`: whether the fallback answered, and in words."""

    id: str
    answered: bool
    words: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Everything one step looks at.

    `live`: for revisions that the spec doesn't describe, the levels at which their own criteria ask of live rows.
    `revision` and `version` are the spec's; empty, with `rules` None, where the spec isn't understood. A revision that
    is missing in `judgements` is one of which nothing new is known: it neither rises nor falls. `unknown` says why
    nothing can be seen of a revision in use, for those that are missing in `seen`; `alone` why nothing is seen of one
    beside the champion. `true` is what the provider reads back, `ready` the revisions with a Pod that is ready,
    `broken` those that can't work, and why, `misdrawn` those whose share of the requests isn't as declared.
    `drilled`: a drill is seen to once it is known what came of it. `undrilled`: why the fallback isn't known to answer,
    in words; empty only where the last drill of it was answered.
    """

    revision: str = ""
    version: str = ""
    rules: Rules | None
    judgements: Mapping[str, Judgement] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)
    live: Mapping[str, frozenset[Level]] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    alone: Mapping[str, str] = field(default_factory=dict)
    approved: Mapping[str, frozenset[Level]] = field(default_factory=dict)
    verbs: tuple[Verb, ...] = ()
    drilled: Drilled | None = None
    undrilled: str = "no drill is on record"
    true: Shares = field(default_factory=Shares)
    ready: frozenset[str] = frozenset()
    broken: Mapping[str, str] = field(default_factory=dict)
    misdrawn: Mapping[str, str] = field(default_factory=dict)

    def fresh(self, holder: Holder) -> Seen | None:
        """What was seen of the revision since it came to its level; older evidence decides nothing any more."""
        seen = self.seen.get(holder.revision)
        if seen is None or seen.since < holder.since or seen.until <= holder.since:
            return None
        return seen

    def used(self, holder: Holder) -> float:
        """Until when evidence is used up by a decision about the revision now."""
        seen = self.fresh(holder)
        return seen.until if seen is not None else 0.0

    def failing(self, holder: Holder) -> str:
        """Which live gates of its level the revision fails, in words; empty where none, or where none were judged."""
        seen = self.fresh(holder)
        if seen is None or holder.rung.level is None or holder.rung.level not in seen.gates:
            return ""
        gates = seen.gates[holder.rung.level].gates
        return "; ".join(f"{gate.name}: {gate.message}" for gate in gates if gate.verdict == "Fail")
