"""Where the marks of an interval plot stand: estimate, interval and what is asked, on one scale per gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mandate.api.criteria import Against, Limit, Range, Requirement, bounds
from mandate.verdict.judge import Outcome

from .content import Calibration
from .windows import Strip

HEIGHT = 96.0
"""Of a strip of windows; it is as wide as two drawings."""
WIDTH = 240.0
"""Of the drawing, in its own units."""
MARGIN = 6.0
PADDING = 0.06
"""Of the scale, beyond its outermost mark."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One row's marks, as places between 0 and WIDTH. `open_low`, `open_high`: the interval goes on beyond the scale.

    `ok` spans where the requirement is met, `limits` are its ends.
    """

    estimate: float | None
    low: float | None
    high: float | None
    open_low: bool
    open_high: bool
    ok: tuple[float, float]
    limits: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One bin of a reliability curve: `x` its mean probability, `y` what came true, `low` and `high` its limits.

    On a square of side WIDTH, y downwards as drawings have it; where all is right, dots lie on the diagonal.
    """

    x: float
    y: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One metric over windows, from left to right as dots with limits, y downwards; a window without a value has none.

    `band` spans the normal range, `start` and `end` are the scale's ends.
    """

    start: float
    end: float
    dots: tuple[Dot, ...]
    band: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Plots:
    """The plots of one gate's outcomes; None where an outcome has nothing to draw. `start`, `end`: the scale's ends.

    `lead`: the scale is the lead over what was asked, not the metric itself.
    """

    start: float
    end: float
    lead: bool
    rows: tuple[Plot | None, ...]


def plots(pairs: Sequence[tuple[Outcome, Requirement | None]], *, bounds: tuple[float, float]) -> Plots | None:
    """Plots for outcomes that share a metric with values between `bounds`; None where none of them can be drawn.

    Comparisons are drawn as the lead over what was asked, so that 0 decides. Where a gate asks for both kinds, only
    the first one's kind is drawn: two scales in one picture mislead.
    """
    drawable = [
        (outcome, asked)
        for outcome, asked in pairs
        if asked is not None and _marks(outcome, asked) and outcome.lower != outcome.upper  # facts need no picture
    ]
    if not drawable:
        return None
    lead = isinstance(drawable[0][1], Against)
    kept = [(outcome, asked) for outcome, asked in drawable if isinstance(asked, Against) == lead]
    marks = [mark for outcome, asked in kept for mark in (*_marks(outcome, asked), *_ends(asked))]
    span = (max(marks) - min(marks)) or abs(marks[0]) or 1.0
    start, end = min(marks) - PADDING * span, max(marks) + PADDING * span
    if not lead:
        start, end = max(start, bounds[0]), min(end, bounds[1])

    def place(value: float) -> float:
        return round(MARGIN + (value - start) / (end - start) * (WIDTH - 2 * MARGIN), 1)

    def plot(outcome: Outcome, asked: Requirement | None) -> Plot | None:
        if asked is None or isinstance(asked, Against) != lead or not _marks(outcome, asked):
            return None
        drawn = _drawn(outcome, asked)
        bounded = outcome.lower is not None or outcome.upper is not None
        met = [place(end) if math.isfinite(end) else edge for end, edge in zip(_met(asked), (0.0, WIDTH), strict=True)]
        return Plot(
            estimate=None if drawn is None else place(drawn),
            low=None if not bounded else 0.0 if outcome.lower is None else place(outcome.lower),
            high=None if not bounded else WIDTH if outcome.upper is None else place(outcome.upper),
            open_low=bounded and outcome.lower is None,
            open_high=bounded and outcome.upper is None,
            ok=(met[0], met[1]),
            limits=tuple(place(end) for end in _ends(asked)),
        )

    return Plots(start=start, end=end, lead=lead, rows=tuple(plot(outcome, asked) for outcome, asked in pairs))


def dots(calibration: Calibration) -> tuple[Dot, ...]:
    """The reliability curve's dots, from the lowest probability up."""

    def place(share: float) -> float:
        return round(MARGIN + share * (WIDTH - 2 * MARGIN), 1)

    return tuple(
        Dot(
            x=place(item.predicted),
            y=place(1 - (number.value or 0.0)),
            low=None if number.lower is None else place(1 - number.lower),
            high=None if number.upper is None else place(1 - number.upper),
        )
        for item, number in calibration.bins
    )


def bars(strip: Strip) -> Bars | None:
    """The windows' numbers on one scale; None where no window has one.

    A limit far off the values is cut at the scale's end: it spans the values, three times their spread on either side
    at most.
    """
    numbers = [number for _, _, number in strip.windows]
    values = [number.value for number in numbers if number.value is not None]
    if not values:
        return None
    ends = [end for number in numbers for end in (number.lower, number.upper) if end is not None and math.isfinite(end)]
    ends += strip.band or ()
    reach = 3 * ((max(values) - min(values)) or abs(values[0]) or 1.0)
    low = max(min([*values, *ends]), min(values) - reach)
    high = min(max([*values, *ends]), max(values) + reach)
    span = (high - low) or abs(low) or 1.0
    start, end = max(low - PADDING * span, strip.bounds[0]), min(high + PADDING * span, strip.bounds[1])

    def down(value: float) -> float:
        within = min(max(value, start), end)
        return round(MARGIN + (end - within) / ((end - start) or 1.0) * (HEIGHT - 2 * MARGIN), 1)

    step = (2 * WIDTH - 2 * MARGIN) / len(numbers)
    return Bars(
        start=start,
        end=end,
        dots=tuple(
            Dot(
                x=round(MARGIN + (place + 0.5) * step, 1),
                y=down(number.value),
                low=None if number.lower is None else down(number.lower),
                high=None if number.upper is None else down(number.upper),
            )
            for place, number in enumerate(numbers)
            if number.value is not None
        ),
        band=None if strip.band is None else (down(strip.band[1]), down(strip.band[0])),
    )


def _drawn(outcome: Outcome, asked: Requirement) -> float | None:
    """The point: the estimate itself, or the lead's middle (its interval is symmetric)."""
    if not isinstance(asked, Against):
        return outcome.estimate
    if outcome.lower is None or outcome.upper is None:
        return None
    return (outcome.lower + outcome.upper) / 2


def _marks(outcome: Outcome, asked: Requirement) -> list[float]:
    return [mark for mark in (_drawn(outcome, asked), outcome.lower, outcome.upper) if mark is not None]


def _met(asked: Requirement) -> tuple[float, float]:
    """Between which numbers the requirement is met."""
    return bounds(asked) if isinstance(asked, Limit | Range) else (0.0, math.inf)


def _ends(asked: Requirement) -> list[float]:
    return [end for end in _met(asked) if math.isfinite(end)]
