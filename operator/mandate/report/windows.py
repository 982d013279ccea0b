"""How metrics vary over windows of production's length, in sentences, as a table, and one of them window by window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mandate.api.catalogue import METRICS, Metric
from mandate.api.criteria import number_text
from mandate.evidence.schema import Estimate, Quantity
from mandate.evidence.windows import OverWindows, Windows

if TYPE_CHECKING:
    from .content import Number

HEAD = ("Metric", "Windows", "Median", "Lowest to highest", "Normal range", "Worst")


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One metric in each window, in order: the window's name, its rows, and the number with its limits.

    `band`: its normal range. `bounds`: between which values it can lie at all.
    """

    title: str
    windows: tuple[tuple[str, int, Number], ...]
    band: tuple[float, float] | None
    bounds: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class WindowsTold:
    """`told` says what the windows are, `sentence` how the first metric varies, `normal` where a further one belongs.

    `rows` are the cells of a table with the head HEAD. `strip` is None where no window has the first metric.
    """

    words: str
    told: str
    sentence: str
    normal: str
    rows: tuple[tuple[str, ...], ...]
    strip: Strip | None
    record: Windows


def tell(
    found: Windows | None,
    *,
    first: Sequence[str],
    cells: Mapping[tuple[str, ...], Estimate],
    show: Callable[[Estimate | None, Metric], Number],
    title: Callable[[Metric], str],
) -> WindowsTold | None:
    """The windows in words; None where none are declared. `first` are the metrics to tell first, the foremost ahead."""
    if found is None:
        return None
    listed = {item.metric: item for item in found.metrics if item.metric in METRICS}
    names = list(dict.fromkeys([*(name for name in first if name in listed), *listed]))
    rows = tuple(_row(listed[name], title(METRICS[name])) for name in names)
    if not names:
        return WindowsTold(
            words=found.words, told=_told(found), sentence="", normal="", rows=(), strip=None, record=found
        )
    metric, item = METRICS[names[0]], listed[names[0]]
    numbers = [show(cells.get(Quantity(metric=metric.name, window=name).sort_key()), metric) for name in found.names]
    return WindowsTold(
        words=found.words,
        told=_told(found),
        sentence=sentence(item, found, title(metric)),
        normal=_normal(item, found),
        rows=rows,
        strip=Strip(
            title=title(metric),
            windows=tuple(zip(found.names, found.rows, numbers, strict=True)),
            band=None if item.normal is None else (item.normal.low, item.normal.high),
            bounds=(metric.low, metric.high),
        ),
        record=found,
    )


def sentence(item: OverWindows, found: Windows, title: str) -> str:
    """Such as "ROC AUC over 12 windows of 30 days: 0.81 (0.74 to 0.86); worst 2013-07-01"."""
    windows = "1 window" if item.measured == 1 else f"{item.measured} windows"
    without = len(found.names) - item.measured
    left = f"; {without} more without a value" if without else ""
    worst = f"; worst {item.worst}" if item.worst is not None and item.measured > 1 else ""
    return (
        f"{title} over {windows} of {found.words}: {number_text(item.median)} "
        f"({number_text(item.lowest)} to {number_text(item.highest)}){worst}{left}."
    )


def _told(found: Windows) -> str:
    """What the windows are, and how many rows are in none."""
    if found.why is not None:
        return f"No window of {found.words}: {found.why}."
    order = "in order of time" if found.ordered == "Time" else "in the order of the rows' keys, as if drawn at random"
    begin = "from the beginning that it is named after" if found.length is not None else order
    left = f"; {found.left_out} test rows are in no whole window" if found.left_out else ""
    least, most = min(found.rows, default=0), max(found.rows, default=0)
    return f"Windows of {found.words} each, {begin}, of {least} to {most} rows{left}."


def _normal(item: OverWindows, found: Windows) -> str:
    if item.normal is None:
        return f"No normal range: {item.unknown}."
    how = {
        "OrderStatistics": "by the windows' order, whatever their distribution",
        "StudentT": "by Student's t, what differs between windows included",
    }[item.normal.how]
    return (
        f"Were windows alike, a further one of {found.words} would lie between {number_text(item.normal.low)} and "
        f"{number_text(item.normal.high)} with {item.normal.share * 100:.0f} % ({how})."
    )


def _row(item: OverWindows, title: str) -> tuple[str, ...]:
    normal = "–"
    if item.normal is not None:
        normal = f"{number_text(item.normal.low)} to {number_text(item.normal.high)}"
    return (
        title,
        str(item.measured),
        number_text(item.median),
        f"{number_text(item.lowest)} to {number_text(item.highest)}",
        normal,
        item.worst or "–",
    )
