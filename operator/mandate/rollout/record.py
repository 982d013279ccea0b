"""The ladder's state as a ModelDeployment's status keeps it, and its rules and evidence as others give them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mandate.api import kinds
from mandate.api.criteria import LEVELS, Level, seconds
from mandate.api.kinds import ModelDeploymentStatus, PreviousChampion, Refusal, RevisionStatus
from mandate.api.moments import instant, stamp
from mandate.api.spec import Autonomy, Gate, LiveMinimum
from mandate.evidence.live import Live
from mandate.verdict.judge import LevelVerdict

from .inputs import Compared, Minimum, Rules, Seen
from .state import Asked, Holder, Leaving, Previous, Refused, Rung, State, Transition

MESSAGE = 1024
WHOLE = (100,)
"""Steps of a provider that can't divide traffic."""


def rules_of(
    autonomy: Autonomy,
    gates: tuple[Gate, ...],
    *,
    whole: bool,
    approvals: frozenset[Level] = frozenset(),
    drill: bool = False,
) -> Rules:
    """The rules in a spec; `whole` where the provider can't divide traffic."""
    return Rules(
        target=autonomy.target,
        shadow=_minimum(autonomy.shadow, missing=autonomy.shadow.max_missing_pairs),
        suggest=_minimum(autonomy.suggest, rate=autonomy.suggest.max_override_rate, blind=autonomy.suggest.min_blind),
        steps=WHOLE if whole else tuple(int(step.removesuffix("%")) for step in autonomy.automate.steps),
        step_duration=seconds(autonomy.automate.step_duration),
        on_degradation=autonomy.on_degradation,
        live=live_levels(gates),
        approvals=approvals,
        drill=drill,
    )


def live_levels(gates: tuple[Gate, ...]) -> frozenset[Level]:
    """The levels at which gates ask something of live rows: what a level asks, those above it ask as well."""
    lowest = [min(map(LEVELS.index, gate.require.texts())) for gate in gates if gate.rows == "live"]
    return frozenset(level for first in lowest for level in LEVELS[first:])


def seen_of(live: Live, gates: Mapping[Level, LevelVerdict], compared: Compared | None = None) -> Seen:
    """What the recorder saw of a revision, with the verdict on gates that ask about live rows."""
    return Seen(
        since=instant(live.since),
        until=instant(live.until),
        # What failed was asked, not answered: it is no evidence of anything that a level asks.
        predictions=live.predictions - live.failed,
        failed=live.failed,
        labelled=live.labelled,
        decisions=live.decisions.shown.count,
        overridden=live.decisions.shown.overridden,
        blind=live.decisions.blind.count,
        gates=gates,
        compared=compared,
    )


def state_of(status: ModelDeploymentStatus) -> State:
    """The state that a status keeps; one that an earlier operator wrote is understood too."""
    behind = status.previous
    return State(
        champion=_holder(status.champion),
        candidate=_holder(status.candidate),
        previous=Previous(holder=_certain(behind), alone=_moment(behind.replaced), released=behind.released)
        if behind is not None
        else None,
        refused=tuple(
            Refused(
                revision=item.revision,
                version=item.version,
                reason=item.reason,
                message=item.message,
                retry=item.retry,
            )
            for item in status.refused
        ),
        paused=_asked(status.paused),
        halted=_asked(status.halted),
        handled=tuple(sorted(status.handled.items())),
        history=tuple(
            Transition(
                at=int(instant(item.at)),
                what=item.what,
                by=item.by,
                why=item.why,
                revision=item.revision,
                version=item.version,
                before=_rung(item.before),
                after=_rung(item.after),
                evidence=item.evidence,
            )
            for item in status.history
        ),
    )


def update_of(state: State) -> dict[str, Any]:
    """The fields of a status that keep `state`, for `model_copy`."""
    behind = state.previous
    return {
        "champion": _revision(state.champion),
        "candidate": _revision(state.candidate),
        "previous": PreviousChampion(
            **_revision_fields(behind.holder),
            replaced=None if behind.alone is None else stamp(behind.alone),
            released=behind.released,
        )
        if behind is not None
        else None,
        "refused": tuple(
            Refusal(
                revision=item.revision,
                version=item.version,
                reason=item.reason,
                message=_cut(item.message),
                retry=item.retry,
            )
            for item in state.refused
        ),
        "paused": _asked_status(state.paused),
        "halted": _asked_status(state.halted),
        "handled": dict(state.handled),
        "history": tuple(
            kinds.Transition(
                at=stamp(item.at),
                what=item.what,
                by=item.by,
                why=_cut(item.why),
                revision=item.revision,
                version=item.version,
                before=_rung_text(item.before),
                after=_rung_text(item.after),
                evidence=_cut(item.evidence, 512),
            )
            for item in state.history
        ),
    }


def _minimum(minimum: LiveMinimum, *, rate: str | None = None, missing: str | None = None, blind: int = 0) -> Minimum:
    return Minimum(
        duration=seconds(minimum.min_duration),
        predictions=minimum.min_predictions,
        labelled=minimum.min_labelled,
        blind=blind,
        max_override_rate=None if rate is None else float(rate),
        max_missing_pairs=None if missing is None else float(missing),
    )


def _holder(status: RevisionStatus | None) -> Holder | None:
    return None if status is None else _certain(status)


def _certain(status: RevisionStatus) -> Holder:
    since = _moment(status.since) or 0
    leaving = status.leaving
    share = (status.share or 100) if status.level == "Automate" else 0
    return Holder(
        revision=status.revision,
        version=status.version,
        since=since,
        stepped=_moment(status.stepped) or since,
        rung=Rung(status.level, share),
        begun=_moment(status.begun),
        fallen=status.fallen,
        leaving=Leaving(reason=leaving.reason, message=leaving.message, by=leaving.by) if leaving is not None else None,
        evaluation=status.evaluation,
        model_digest=status.model_digest,
        criteria=status.criteria_digest,
    )


def _revision(holder: Holder | None) -> RevisionStatus | None:
    return None if holder is None else RevisionStatus(**_revision_fields(holder))


def _revision_fields(holder: Holder) -> dict[str, Any]:
    leaving = holder.leaving
    return {
        "revision": holder.revision,
        "version": holder.version,
        "level": holder.rung.level,
        "evaluation": holder.evaluation,
        "model_digest": holder.model_digest,
        "criteria_digest": holder.criteria,
        "since": stamp(holder.since),
        "share": holder.rung.share or None,
        "stepped": stamp(holder.stepped),
        "begun": None if holder.begun is None else stamp(holder.begun),
        "fallen": holder.fallen,
        "leaving": None
        if leaving is None
        else kinds.Leaving(reason=leaving.reason, message=_cut(leaving.message), by=leaving.by),
    }


def _asked(status: kinds.Asked | None) -> Asked | None:
    if status is None:
        return None
    return Asked(by=status.by, at=int(instant(status.at)), why=status.why, level=status.level)


def _asked_status(asked: Asked | None) -> kinds.Asked | None:
    if asked is None:
        return None
    return kinds.Asked(by=asked.by, at=stamp(asked.at), why=_cut(asked.why), level=asked.level)


def _rung_text(rung: Rung) -> str:
    return "" if rung.level is None else str(rung)


def _rung(text: str) -> Rung:
    found = re.fullmatch(r"(?P<level>Shadow|Suggest|Automate)(?: at (?P<share>[0-9]+) %)?", text)
    if found is None:
        return Rung()
    level: Any = found["level"]
    return Rung(level, int(found["share"] or 0))


def _moment(text: str | None) -> int | None:
    return None if text is None else int(instant(text))


def _cut(text: str, most: int = MESSAGE) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
