"""Who stands where: what the ladder remembers from one step to the next, and what it tells a provider. Pure.

Times are whole seconds since the epoch, rounded up, so that rounding never shortens a wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from mandate.api.criteria import LEVELS, Level

FALLBACK = ""
"""Stands for the declared fallback, or for nobody where none is declared, wherever a revision could answer."""
OPERATOR = "mandate"
"""Who made a transition that no person asked for."""
HISTORY = 20
REFUSALS = 10


def rank(level: Level | None) -> int:
    """0 for none, 1 for Shadow, …"""
    return 0 if level is None else LEVELS.index(level) + 1


@dataclass(frozen=True)
class Rung:
    """A level and, at Automate, the percentage of NAME's requests that are answered."""

    level: Level | None = None
    share: int = 0

    def height(self) -> tuple[int, int]:
        """By which rungs are ordered."""
        return rank(self.level), self.share

    def __str__(self) -> str:
        if self.level is None:
            return "no level"
        return f"Automate at {self.share} %" if self.level == "Automate" else self.level


def top(level: Level | None) -> Rung:
    """The highest rung of a level."""
    return Rung(level, 100 if level == "Automate" else 0)


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """Why a candidate is on its way out: it has lost its traffic and is refused once none reaches it any more."""

    reason: str
    message: str
    by: str


@dataclass(frozen=True, kw_only=True)
class Holder:
    """One revision and the rung it stands on.

    `since`: from when on evidence counts for this level. `stepped`: since when on this rung. `begun`: since when the
    provider has shown the rung to be true, None while it hasn't. `fallen`: it lost a level in use, so it climbs on
    fresh evidence only. `evaluation` and `model_digest` are those it was judged on, `criteria` the digest of those it
    was judged by.
    """

    revision: str
    version: str
    since: int
    stepped: int
    rung: Rung = Rung()
    begun: int | None = None
    fallen: bool = False
    leaving: Leaving | None = None
    evaluation: str = ""
    model_digest: str | None = None
    criteria: str | None = None

    def at(self, rung: Rung, moment: int, *, used: float = 0.0) -> Holder:
        """The same revision on another rung; evidence from before `used` is used up with the decision."""
        if rung == self.rung:
            return self
        since = self.since if rung.level == self.rung.level else max(moment, math.ceil(used))
        return replace(self, rung=rung, since=since, stepped=moment, begun=None)


@dataclass(frozen=True, kw_only=True)
class Previous:
    """The champion before this one: whom to fall back on.

    It stays granted until it is `released`: its successor has answered in its place for a step's duration, `alone`
    since then (None while it doesn't). Released, it is still remembered for a rollback.
    """

    holder: Holder
    alone: int | None = None
    released: bool = False


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A revision that may not climb: until its gates hold (`GatesNotMet`), or a retry is asked (all other reasons)."""

    revision: str
    version: str
    reason: str
    message: str
    retry: str = ""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Who paused or halted the model, when and why. A halt allows no more than `level`."""

    by: str
    at: int
    why: str = ""
    level: Level | None = None


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One change: of which revision, from where to where, by whom, why, on which evidence."""

    at: int
    what: str
    by: str
    why: str
    revision: str = ""
    version: str = ""
    before: Rung = Rung()
    after: Rung = Rung()
    evidence: str = ""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where every revision of one model stands. `handled`: per verb, the id that was last seen to."""

    champion: Holder | None = None
    candidate: Holder | None = None
    previous: Previous | None = None
    refused: tuple[Refused, ...] = ()
    paused: Asked | None = None
    halted: Asked | None = None
    handled: tuple[tuple[str, str], ...] = ()
    history: tuple[Transition, ...] = ()

    def granted(self) -> dict[str, Level]:
        """The level up to which each revision may run: those that hold one, and the champion to fall back on."""
        found: dict[str, Level] = {}
        behind = self.previous
        if behind is not None and not behind.released and self.halted is None and behind.holder.rung.level is not None:
            found[behind.holder.revision] = behind.holder.rung.level
        for holder in (self.champion, self.candidate):
            if holder is not None and holder.rung.level is not None:
                level = holder.rung.level
                found[holder.revision] = max(level, found.get(holder.revision, level), key=rank)
        return found

    def refusal(self, revision: str) -> Refused | None:
        """Why this revision may not climb, if it was refused."""
        return next((item for item in self.refused if item.revision == revision), None)

    def rival(self, holder: Holder) -> Holder | None:
        """The champion that answers the very requests of which the holder gets copies: at Shadow, and only there."""
        champion, candidate = self.champion, self.candidate
        shadows = candidate is not None and candidate.revision == holder.revision and holder.rung.level == "Shadow"
        if not shadows or holder.leaving is not None or champion is None or rank(champion.rung.level) < 2:
            return None
        return champion


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Who answers: percent by revision (or FALLBACK) at NAME and at NAME-suggest; who gets copies of requests.

    What is wanted is whole percents; what is true may be any part of one. In order: a share that grows comes first, and
    so does the candidate where a provider can copy to one only.
    """

    automate: Mapping[str, int | Fraction] = field(default_factory=lambda: {FALLBACK: 100})
    suggest: Mapping[str, int | Fraction] = field(default_factory=lambda: {FALLBACK: 100})
    mirrored: tuple[str, ...] = ()

    def reach(self, revision: str) -> bool:
        """Whether any answer of this revision is used."""
        return self.automate.get(revision, 0) > 0 or self.suggest.get(revision, 0) > 0
