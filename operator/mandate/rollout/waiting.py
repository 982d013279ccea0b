"""What a level must still see in use before the next one: what is missing, and when it will be there. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mandate.api.criteria import Level, number_text
from mandate.verdict.anytime import bounded_limits, bounded_rows_to_decide
from mandate.verdict.limits import Limits

from .inputs import Compared, Minimum, Seen

ALPHA = 0.025
"""One-sided error of limits, at all times together."""


@dataclass(frozen=True)
class Missing:
    """One thing that is missing, in words. `seconds`: when it is only a matter of time, in how many it is there."""

    words: str
    seconds: float | None = None


def missing(
    level: Level, minimum: Minimum, seen: Seen | None, *, lived: float | None, unknown: str = "", alone: str = ""
) -> tuple[Missing, ...]:
    """What `level` must still see; `lived` in seconds, None while it isn't in use yet.

    `unknown` says why nothing can be seen of its use: then nobody counts what is asked.
    `alone` says why nothing is compared with the champion.
    """
    found = []
    if minimum.duration > 0 and lived is None:
        found.append(Missing(f"{level} isn't in use yet, and must last {_exactly(minimum.duration)}"))
    elif lived is not None and lived < minimum.duration:
        left = minimum.duration - lived
        found.append(Missing(f"{level} must last {_exactly(minimum.duration)}, {about(left)} more", left))
    if unknown and (asked := _asked(minimum)):
        return (*found, Missing(f"{asked} can't be shown: {unknown}"))
    what = "predictions (others failed)" if seen and seen.failed else "predictions"
    found += _counted(what, seen.predictions if seen else 0, minimum.predictions, seen)
    found += _counted("labelled rows", seen.labelled if seen else 0, minimum.labelled, seen)
    found += _counted("blind decisions", seen.blind if seen else 0, minimum.blind, seen)
    if minimum.max_override_rate is not None:
        found += _overrides(minimum.max_override_rate, seen)
    if minimum.max_missing_pairs is not None:
        found += _unpaired(minimum.max_missing_pairs, seen, alone)
    return tuple(found)


def _asked(minimum: Minimum) -> str:
    """What is asked of use besides time, in words; empty where nothing is."""
    counts = (
        (minimum.predictions, "predictions"),
        (minimum.labelled, "labelled rows"),
        (minimum.blind, "blind decisions"),
    )
    parts = [f"{_thousands(count)} {what}" for count, what in counts if count > 0]
    if minimum.max_override_rate is not None:
        parts.append(f"an override rate <= {number_text(100 * minimum.max_override_rate)} %")
    if minimum.max_missing_pairs is not None:
        parts.append(f"missing pairs <= {number_text(100 * minimum.max_missing_pairs)} %")
    return " and ".join(parts)


def _counted(what: str, count: int, wanted: int, seen: Seen | None) -> list[Missing]:
    if count >= wanted:
        return []
    return [Missing(f"{_thousands(count)} of {_thousands(wanted)} {what}{_when(wanted - count, count, seen)}")]


def _overrides(most: float, seen: Seen | None) -> list[Missing]:
    asked = f"<= {number_text(100 * most)} %"
    if seen is None or seen.decisions == 0:
        return [Missing(f"the override rate isn't shown to be {asked}: no decision is recorded yet")]
    lower, upper = bounded_limits(rows=seen.decisions, total=seen.overridden, alpha=ALPHA)
    if upper <= most:
        return []
    rate = seen.overridden / seen.decisions
    shown = f"override rate {_percent(rate)} [{_percent(lower)}, {_percent(upper)}]"
    if lower > most:
        return [Missing(f"{shown} misses {asked}")]
    more = bounded_rows_to_decide(limit=most, estimate=rate, alpha=ALPHA) - seen.decisions
    if not math.isfinite(more):
        return [Missing(f"{shown} can't be told from {asked}; it sits on the limit")]
    wanted = max(math.ceil(more), 1)
    when = _when(wanted, seen.decisions, seen)
    return [Missing(f"{shown} can't be told from {asked}; about {_thousands(wanted)} more decisions{when}")]


def missing_limits(compared: Compared) -> Limits | None:
    """Limits of the share of copies without an answer, valid at any time of looking; each errs by ALPHA.

    A request is copied with the probability `copied`, whatever it holds, and m is the share of copies that stay without
    an answer; so an answer of the champion is paired with the probability copied * (1 - m), and limits of that give
    limits of m. None where more is paired than is copied: then it isn't the copies alone that are counted.
    """
    copied = float(compared.copied)
    lower, upper = bounded_limits(rows=compared.rows, total=compared.paired, alpha=ALPHA)
    if lower > copied:
        return None
    return max(1 - upper / copied, 0.0), 1 - lower / copied


def _unpaired(most: float, seen: Seen | None, alone: str) -> list[Missing]:
    asked = f"<= {number_text(100 * most)} %"
    compared = seen.compared if seen is not None else None
    if seen is None or compared is None or compared.rows == 0:
        why = alone or "nothing is compared with the champion yet"
        return [Missing(f"missing pairs aren't shown to be {asked}: {why}")]
    limits, copied = missing_limits(compared), float(compared.copied)
    if limits is None:
        sent = f"the gateway copies {number_text(100 * copied)} % of requests, and more of them have both answers"
        return [Missing(f"missing pairs aren't shown to be {asked}: {sent}")]
    lower, upper = limits
    if upper <= most:
        return []
    pairs = compared.paired / compared.rows
    shown = f"missing pairs {_percent(max(1 - pairs / copied, 0.0))} [{_percent(lower)}, {_percent(upper)}]"
    if lower > most:
        return [Missing(f"{shown} miss {asked}")]
    more = bounded_rows_to_decide(limit=copied * (1 - most), estimate=pairs, alpha=ALPHA) - compared.rows
    if not math.isfinite(more):
        return [Missing(f"{shown} can't be told from {asked}; they sit on the limit")]
    wanted = max(math.ceil(more), 1)
    when = _when(wanted, compared.rows, replace(seen, since=compared.since))
    return [Missing(f"{shown} can't be told from {asked}; about {_thousands(wanted)} more answers to compare{when}")]


def _when(wanted: float, count: int, seen: Seen | None) -> str:
    """When `wanted` more will be there at the rate at which `count` came."""
    if seen is None or count == 0 or seen.until <= seen.since:
        return ", and none came yet" if count == 0 else ""
    return f", {about(wanted * (seen.until - seen.since) / count)}"


def about(seconds: float) -> str:
    """A duration for people, in one unit: `about 20 min`, `about 9 h`, `about 3 d`."""
    if seconds < 60:
        return "under a minute"
    for size, unit, most in ((60, "min", 90), (3600, "h", 48)):
        if seconds / size < most:
            return f"about {math.ceil(seconds / size)} {unit}"
    return f"about {_thousands(math.ceil(seconds / 86400))} d"


def _exactly(seconds: float) -> str:
    """A declared duration, in the largest unit that it is a whole number of."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s" if seconds >= 1 else f"{seconds * 1000:.0f}ms"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")
