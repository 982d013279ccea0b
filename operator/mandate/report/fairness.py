"""The groups of sensitive slices beside each other: each notion of fairness with its spread, and who is at its ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mandate.api.catalogue import METRICS, Metric, Task, derived
from mandate.api.kinds import ModelDeploymentSpec, VerdictWord
from mandate.evidence.schema import Estimate, Quantity
from mandate.verdict.judge import SEVERITY

if TYPE_CHECKING:
    from .content import GateRow, Number

NOTIONS: dict[Task, tuple[tuple[str, str], ...]] = {
    "Binary": (
        ("Demographic parity", "selection_rate"),
        ("Equalized odds", "equalized_odds"),
        ("Equal opportunity", "recall"),
        ("Predictive parity", "precision"),
        ("Calibration in each group", "observed_expected"),
    ),
    "Multiclass": (
        ("Equal accuracy", "accuracy"),
        ("Equal opportunity, mean of the classes", "recall"),
        ("Predictive parity, mean of the classes", "precision"),
    ),
    "Regression": (("Equal error", "mean_absolute_error"), ("Equal bias", "bias")),
    "Ranking": (("Equal NDCG", "ndcg"),),
}
"""By task: a notion's usual name, and the metric whose spread over groups it is about."""

Show = Callable[[Estimate | None, Metric], "Number"]


@dataclass(frozen=True, kw_only=True)
class End:
    """The group with the least or the greatest value."""

    group: str
    number: Number


@dataclass(frozen=True, kw_only=True)
class FairnessRow:
    """One notion. `lowest` and `highest` are None where the metric has no value of a group's own."""

    notion: str
    metric: str
    lowest: End | None
    highest: End | None
    difference: Number
    ratio: Number
    verdict: VerdictWord | None
    """The worst that gates across the groups say of it; None where none asks."""


@dataclass(frozen=True, kw_only=True)
class FairnessTable:
    """One sensitive slice; `of` names its column, or the slices it crosses."""

    name: str
    of: str
    rows: tuple[FairnessRow, ...]


def tables(
    spec: ModelDeploymentSpec,
    cells: Mapping[tuple[str, ...], Estimate],
    gates: Sequence[GateRow],
    values: Mapping[str, Sequence[str]],
    *,
    show: Show,
    title: Callable[[Metric], str],
) -> tuple[FairnessTable, ...]:
    """A table for each sensitive slice of which anything was measured. `values` are the slices' in their order."""
    said: dict[tuple[str, str], VerdictWord] = {}
    declared = {gate.name: gate for gate in spec.gates}
    for row in gates:
        gate = declared.get(row.name)
        if gate is not None and gate.across is not None:
            words = [outcome.verdict for outcome in row.outcomes]
            said[gate.across, gate.metric] = max(
                [*words, said.get((gate.across, gate.metric), words[0])], key=SEVERITY.__getitem__
            )
    found: list[FairnessTable] = []
    for item in spec.data.slices:
        if not item.sensitive:
            continue
        notions = {metric: notion for notion, metric in NOTIONS[spec.task.type]}
        asked = [gate.metric for gate in spec.gates if gate.across == item.name]
        rows = []
        for name in dict.fromkeys([*notions, *asked]):
            metric = METRICS[name]
            spread = {
                shape: cells.get(Quantity(metric=name, across=item.name, shape=shape).sort_key())
                for shape in ("difference", "ratio")
            }
            if spread["difference"] is None:
                continue
            ends = _ends(
                [
                    (value, cells.get(Quantity(metric=name, slice=item.name, value=value).sort_key()))
                    for value in values.get(item.name, ())
                ]
            )
            rows.append(
                FairnessRow(
                    notion=notions.get(name, title(metric)),
                    metric=name,
                    lowest=None if ends is None else End(group=ends[0][0], number=show(ends[0][1], metric)),
                    highest=None if ends is None else End(group=ends[1][0], number=show(ends[1][1], metric)),
                    difference=show(spread["difference"], derived(metric, shape="difference")),
                    ratio=show(spread["ratio"], derived(metric, shape="ratio")),
                    verdict=said.get((item.name, name)),
                )
            )
        if rows:
            found.append(FairnessTable(name=item.name, of=item.of, rows=tuple(rows)))
    return tuple(found)


def _ends(groups: Sequence[tuple[str, Estimate | None]]) -> tuple[tuple[str, Estimate], tuple[str, Estimate]] | None:
    known = [(value, cell) for value, cell in groups if cell is not None and cell.estimate is not None]
    if not known:
        return None
    return min(known, key=_estimate), max(known, key=_estimate)


def _estimate(group: tuple[str, Estimate]) -> float:
    return group[1].estimate or 0.0


def end_text(end: End | None) -> str:
    """A number and whose it is; a long name can be cut at its end."""
    return "–" if end is None else f"{end.number.point} ({end.group})"


TOLD = (
    "Difference: largest minus smallest group; ratio: smallest divided by largest. The limits hold for all pairs of "
    "groups at once: the spread is at most the worse one, and at least the other."
)
"""What the columns say, in words."""
