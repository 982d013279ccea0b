"""What people decide at Suggest, alone and with the answer before them, beside the model on the same rows. Pure.

Which decisions are taken blind is left to chance, so the two differ by nothing but the answer. Limits hold at any time
of looking.
"""

from __future__ import annotations

from collections.abc import Mapping

from mandate.api.kinds import DecidedStatus, DecisionsStatus, MeanLimits
from mandate.api.moments import instant
from mandate.evidence.live import Decided, Live
from mandate.verdict.anytime import bounded_limits

from .shown import limits, share
from .state import Holder, State
from .waiting import ALPHA


def blind_percent(share: str) -> int:
    """`10%` as 10."""
    return int(share.removesuffix("%"))


def suggesting(state: State) -> Holder | None:
    """Whose answers people decide on, on the way to Automate or as far as the target is: who stands at Suggest."""
    for holder in (state.candidate, state.champion):
        if holder is not None and holder.rung.level == "Suggest" and holder.leaving is None:
            return holder
    return None


def follow(
    record: DecisionsStatus | None, before: State, after: State, *, share: str | None, live: Mapping[str, Live]
) -> DecisionsStatus | None:
    """The record as it is now; `share` is what is declared, None where that isn't known.

    `live` was asked for the state `before`, so what a climb rests on is counted. What was found is kept while its
    revision is the candidate or the champion, and nobody else, nor itself anew, stands at Suggest.
    """
    asked = suggesting(before)
    answer = live.get(asked.revision) if asked is not None else None
    if asked is not None and answer is not None and share is not None and _answers(answer, asked, share):
        record = _counted(answer, share)
    holder = suggesting(after)
    if record is None or (holder is not None and not _is_about(record, holder)):
        return None
    known = {item.revision for item in (after.champion, after.candidate) if item is not None}
    return record if record.revision in known else None


def _answers(live: Live, holder: Holder, share: str) -> bool:
    """Whether `live` tells something of decisions since the holder came to Suggest, drawn by this share."""
    decisions = live.decisions
    apart = (decisions.peeked, decisions.revised, decisions.unasked)
    told = live.blind_share > 0 or decisions.shown.count > 0 or any(apart)
    return told and live.blind_share == blind_percent(share) and instant(live.since) >= holder.since


def _is_about(record: DecisionsStatus, holder: Holder) -> bool:
    """Whether it is about the holder, since it came to its level."""
    return record.revision == holder.revision and instant(record.since) >= holder.since


def is_news(before: DecisionsStatus | None, after: DecisionsStatus | None) -> bool:
    """Whether somebody should be told: counts in their first digit, shares in whole percents."""
    return _rough(before) != _rough(after)


def _rough(record: DecisionsStatus | None) -> tuple[str, ...]:
    if record is None:
        return ()
    counts = [record.peeked, record.revised, record.unasked]
    shares: list[MeanLimits | None] = []
    for part in (record.blind, record.shown):
        counts += [part.count, part.labelled]
        shares += [part.agreement, part.errors, part.model_errors]
    told = (f"{float(item.mean):.2f}" if item is not None else "" for item in shares)
    return (record.revision, record.since, record.blind_share, *(f"{count:.0e}" for count in counts), *told)


def _counted(live: Live, share: str) -> DecisionsStatus:
    decisions = live.decisions
    shown, blind = decisions.shown, decisions.blind
    return DecisionsStatus(
        revision=live.revision,
        since=live.since,
        until=live.until,
        blind_share=share,
        blind=_decided(blind),
        shown=_decided(shown),
        peeked=decisions.peeked,
        revised=decisions.revised,
        unasked=decisions.unasked,
        agreement_difference=_between(
            (shown.count - shown.overridden, shown.count), (blind.count - blind.overridden, blind.count)
        ),
        error_difference=_between(
            (shown.labelled - shown.human_right, shown.labelled), (blind.labelled - blind.human_right, blind.labelled)
        ),
    )


def _decided(found: Decided) -> DecidedStatus:
    errors, model = found.labelled - found.human_right, found.labelled - found.model_right
    both = found.labelled - found.human_right - found.model_right + found.both_right
    return DecidedStatus(
        count=found.count,
        labelled=found.labelled,
        agreement=_share(found.count - found.overridden, found.count),
        errors=_share(errors, found.labelled),
        model_errors=_share(model, found.labelled),
        # Person - model on the same rows is what one alone is wrong about, less what the other alone is.
        error_difference=_between((errors - both, found.labelled), (model - both, found.labelled)),
        shared_errors=_share(both, model),
    )


def _share(part: int, whole: int) -> MeanLimits | None:
    return share(part, whole, alpha=ALPHA)


def _between(one: tuple[int, int], other: tuple[int, int]) -> MeanLimits | None:
    """The difference of two shares, of the same rows or not: each limit errs by half (Bonferroni)."""
    (part, whole), (other_part, other_whole) = one, other
    if whole == 0 or other_whole == 0:
        return None
    low, high = bounded_limits(rows=whole, total=part, alpha=ALPHA / 2)
    other_low, other_high = bounded_limits(rows=other_whole, total=other_part, alpha=ALPHA / 2)
    return limits(part / whole - other_part / other_whole, low - other_high, high - other_low)
