"""The candidate beside the champion on the same requests: what is asked, what was found, and since when. Pure.

They are compared while the candidate is at Shadow: there it gets copies of the requests that the champion answers. At
Suggest and at Automate a request reaches one of them. What isn't copied can't be paired, so pairs count from when the
share of requests that is copied was first seen to be true, and anew when that share changes.

The limits take rows one by one: where a request holds many rows they are narrower than they should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from mandate.api.kinds import MeanLimits, PairedRight, PairedSlice, PairsStatus
from mandate.api.moments import instant, stamp
from mandate.evidence.live import Live, Moments, Pairs, Sliced
from mandate.verdict.anytime import mean_limits

from .inputs import Compared
from .shown import limits, number, share
from .state import Holder, State
from .waiting import ALPHA, missing_limits

WORST = 3
"""Values of slices that are shown: where champion and candidate agree least."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the recorder is asked besides: pairs with `against`, of its answers from `since` (RFC 3339)."""

    against: str
    since: str


def comparison(record: PairsStatus | None, state: State, holder: Holder) -> Comparison | None:
    """What to ask about the holder's pairs; None while it isn't compared with anybody."""
    rival = state.rival(holder)
    if rival is None or record is None or not _is_about(record, holder, rival):
        return None
    return Comparison(against=record.against, since=record.since)


def compared(record: PairsStatus | None, live: Live) -> Compared | None:
    """What `live` counted of the pairs that `record` stands for; None where it counted none, or others."""
    if record is None or live.pairs is None or not _answers(record, live):
        return None
    return _compared(record, live.pairs.overall)


def follow(
    record: PairsStatus | None, state: State, *, copied: Mapping[str, Fraction], live: Live | None, now: float
) -> PairsStatus | None:
    """The record as it is now; `copied` is the share of requests, by revision, of which copies are seen to go to it.

    What was found at Shadow is kept while the candidate climbs on and the champion is the same.
    """
    candidate, champion = state.candidate, state.champion
    if candidate is None or champion is None:
        return None
    if record is not None and (record.revision, record.against) != (candidate.revision, champion.revision):
        record = None
    if record is not None and live is not None and live.pairs is not None and _answers(record, live):
        record = _counted(record, live.pairs, until=live.until)  # what a climb rests on, too
    rival = state.rival(candidate)
    if rival is None:
        return record
    share = copied.get(candidate.revision)
    if record is not None and not _is_about(record, candidate, rival):
        record = None  # it was at Shadow before
    if share is not None and (record is None or Fraction(record.copied) != share):
        since = max(math.ceil(now), candidate.since)
        return PairsStatus(
            revision=candidate.revision,
            against=rival.revision,
            since=stamp(since),
            copied=f"{share.numerator}/{share.denominator}",
        )
    return record


def is_news(before: PairsStatus | None, after: PairsStatus | None) -> bool:
    """Whether somebody should be told: counts in their first digit, shares in whole percents."""
    return _rough(before) != _rough(after)


def _rough(record: PairsStatus | None) -> tuple[str, ...]:
    if record is None:
        return ()
    counts = (record.paired, record.unpaired, record.compared)
    shares = (item.mean if item is not None else "nan" for item in (record.missing, record.agreement))
    known = (record.revision, record.against, record.since, record.copied)
    return (*known, *(f"{count:.0e}" for count in counts), *(f"{float(share):.2f}" for share in shares))


def _is_about(record: PairsStatus, holder: Holder, rival: Holder) -> bool:
    """Whether it is about these two, since the holder came to its level."""
    return (record.revision, record.against) == (holder.revision, rival.revision) and (
        instant(record.since) >= holder.since
    )


def _answers(record: PairsStatus, live: Live) -> bool:
    """Whether `live` answers what is asked by the record."""
    since = live.pairs_since or live.since
    return (live.revision, live.against) == (record.revision, record.against) and (
        instant(since) == instant(record.since)
    )


def _compared(record: PairsStatus, pairs: Pairs) -> Compared:
    return Compared(
        against=record.against,
        since=instant(record.since),
        copied=Fraction(record.copied),
        paired=pairs.paired,
        rows=pairs.paired + pairs.missing + pairs.waiting,
    )


def _counted(record: PairsStatus, pairs: Sliced[Pairs], *, until: str) -> PairsStatus:
    every = pairs.overall
    right = every.right
    return record.model_copy(
        update={
            "until": until,
            "paired": every.paired,
            "unpaired": every.missing,
            "waiting": every.waiting,
            "missing": _missing(_compared(record, every)),
            "compared": every.compared,
            "agreement": _agreement(every, ALPHA),
            "score_difference": _mean(every.score_difference),
            "latency_difference": _mean(every.latency_difference),
            "right": PairedRight(
                both=right.both, candidate=right.revision, champion=right.against, neither=right.neither
            )
            if right.both + right.revision + right.against + right.neither
            else None,
            "error_difference": _mean(every.absolute_error_difference),
            "slices": _worst(pairs),
        }
    )


def _missing(compared: Compared) -> MeanLimits | None:
    found = missing_limits(compared) if compared.rows else None
    if found is None:
        return None
    mean = max(1 - compared.paired / compared.rows / float(compared.copied), 0.0)
    return limits(mean, *found)


def _agreement(pairs: Pairs, alpha: float) -> MeanLimits | None:
    return share(pairs.agree, pairs.compared, alpha=alpha)


def _mean(moments: Moments) -> MeanLimits | None:
    if moments.count == 0 or moments.min is None or moments.max is None:
        return None
    mean = moments.sum / moments.count
    found = mean_limits(
        rows=moments.count,
        total=moments.sum,
        squares=moments.sum_squares,
        least=moments.min,
        greatest=moments.max,
        alpha=ALPHA,
    )
    if found is None or not all(map(math.isfinite, found)):
        return MeanLimits(mean=number(mean))
    return limits(mean, *found)


def _worst(pairs: Sliced[Pairs]) -> tuple[PairedSlice, ...]:
    """Values of slices that agree less than all do, those first that fall short by most for their number of pairs.

    Their limits are adjusted for every value that there is (Bonferroni), so picking the worst doesn't spoil them.
    """
    every, places = pairs.overall, tuple(_places(pairs))
    if every.compared == 0:
        return ()
    usual = every.agree / every.compared

    def short(part: Pairs) -> float:
        return (usual - part.agree / part.compared) * math.sqrt(part.compared)

    found = sorted(((-short(part), name, value, part) for name, value, part in places), key=lambda item: item[:3])
    return tuple(
        PairedSlice(slice=name, value=value, compared=part.compared, agreement=agreement)
        for short_by, name, value, part in found[:WORST]
        if short_by < 0 and (agreement := _agreement(part, ALPHA / len(places))) is not None
    )


def _places(pairs: Sliced[Pairs]) -> Iterator[tuple[str, str, Pairs]]:
    for name, parts in pairs.slices.items():
        for value, part in parts.values.items():
            if part.compared:
                yield name, value, part
