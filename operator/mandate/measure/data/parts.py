"""The parts of an evaluation's rows beside each other: distributions, labels, quality, leakage, as one record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.evidence.data import (
    CHANGES,
    LEAKS,
    MAX_DRIFT,
    MAX_FINDINGS,
    NOTES,
    ColumnDrift,
    Comparison,
    DataEvidence,
    Distance,
    Finding,
    Unasked,
)
from mandate.memory import give_back

from ..shelf import HELD, Shelf
from ..split import PARTS, Part, Split
from ..table import MeasureError, text_codes
from ..table import column as column_of
from ..work import SERIAL, Workers
from . import shards
from .contents import contents
from .distances import ks_p
from .drift import DEFAULT, Rules, compare, decided, tested
from .gaps import time_gaps
from .leakage import leakage
from .profile import NAME_LENGTH, Column, Profile, profile
from .quality import quality

SAID = {"ks": "KS", "wasserstein": "Wasserstein", "psi": "PSI", "jensen_shannon": "Jensen–Shannon"}
SAID |= {"chi_square": "Cramér's V", "missing": "missing share differs by"}
PLAIN = 0.3
"""A gap between distribution functions that must show: where chance explains even that, there are too few rows."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of the parts of a table's rows: of `features` and `target`, which is a class unless `regression`.

    Rows of one `cluster` may be alike, so they tell as much as Kish's number of equal clusters would. `by_time`: the
    split is by `time`; `in_order`: no row of an earlier part should lie after one of a later.
    """

    target: str
    features: Sequence[str]
    regression: bool = False
    cluster: str | None = None
    time: str | None = None
    by_time: bool = False
    in_order: bool = False

    @property
    def apart(self) -> bool:
        """Whether parts were given one by one: what lies between them is meant to."""
        return self.in_order and not self.by_time

    @property
    def categories(self) -> tuple[str, ...]:
        """Columns whose values are names, whatever they are written as."""
        return () if self.regression else (self.target,)

    def readable(self, table: pa.Table) -> tuple[list[str], dict[str, Finding]]:
        """The features that can be looked at, and findings about the others."""
        unread = unreadable(table, self.features, categories=self.categories)
        return [name for name in self.features if name not in unread], unread


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One of the looks at the rows: what was found, and what couldn't be asked."""

    comparisons: tuple[Comparison, ...] = ()
    findings: tuple[Finding, ...] = ()
    unasked: tuple[Unasked, ...] = ()


def together(*looks: Seen) -> DataEvidence:
    """What all looks have seen."""
    findings = [finding for look in looks for finding in look.findings]
    return DataEvidence(
        comparisons=tuple(comparison for look in looks for comparison in look.comparisons),
        counts=dict(sorted(Counter(finding.code for finding in findings).items())),
        findings=tuple(listed(findings)),
        unasked=tuple(unasked for look in looks for unasked in look.unasked),
    )


def leaked(table: pa.Table, split: Split, asked: Asked, *, workers: Workers = SERIAL, shelf: Shelf = HELD) -> Seen:
    """What leaks between parts. The result depends neither on the rows' order nor on `workers`."""
    features, _ = asked.readable(table)
    findings, unasked = leakage(
        table,
        split,
        target=asked.target,
        features=features,
        regression=asked.regression,
        cluster=asked.cluster,
        time=asked.time,
        in_order=asked.in_order,
        workers=workers,
        shelf=shelf,
    )
    return Seen(findings=findings, unasked=unasked)


def compared(table: pa.Table, split: Split, asked: Asked, *, rules: Rules = DEFAULT, workers: Workers = SERIAL) -> Seen:
    """Validation and test beside the first part that has rows, the quality of all columns, and gaps in time.

    The result depends neither on the rows' order nor on `workers`.
    """
    target, cluster, categories = asked.target, asked.cluster, asked.categories
    features, unread = asked.readable(table)
    names = list(dict.fromkeys([*features, target]))
    counts, limit = split.counts(), shards.cells(table.num_rows, len(names))
    first, *later = (part for part in PARTS if counts[part])
    codes = None if cluster is None else text_codes(table, cluster)[1]
    worth = {part: 1.0 if codes is None else kish(codes[split.rows(part)]) for part in (first, *later)}
    comparisons: list[Comparison] = []
    unasked = list(not_asked(unread))
    findings = [*unread.values()]
    drifts: dict[Part, list[ColumnDrift]] = {part: [] for part in later}

    def looked_at(name: str, columns: dict[Part, Column]) -> tuple[list[Finding], dict[Part, ColumnDrift | None]]:
        """What is to be said of one column."""
        of = {part: Profile(rows=counts[part], limit=limit, columns={name: columns[part]}) for part in columns}
        said, apart = [*quality(of[first], part=first)], dict[Part, ColumnDrift | None]()
        for part in later:
            both = (worth[first], worth[part])
            apart[part] = compare(name, columns[first], columns[part], rules=rules, worth=both)
            said += quality(of[part], part=part, reference=of[first], worth=both)
        give_back()
        return said, apart

    for said, apart in shards.by_column(table, split, names, categories=categories, workers=workers, then=looked_at):
        findings += said
        for part, column in apart.items():
            if column is not None:
                drifts[part].append(column)
    for part in later:
        columns = decided(drifts[part], rules=rules)
        changed = [column for column in columns if column.changed]
        comparisons.append(
            Comparison(
                reference=first,
                current=part,
                compared=len(columns),
                changed=len(changed),
                columns=columns[:MAX_DRIFT],
            )
        )
        if part == "test":
            rows = tuple(int(counts[one] * worth[one]) for one in (first, part))
            unasked += too_few(rows, tests=2 * len(columns), level=rules.level)
        findings += changes(changed, first, part, target=target, by_time=asked.by_time)
    if asked.time is not None:
        whose: dict[str, NDArray[np.bool_] | None] = {"all": None}
        if asked.apart:
            whose = {part: split.rows(part) for part in PARTS}
        findings += time_gaps(table, whose, time=asked.time)
    give_back()
    return Seen(comparisons=tuple(comparisons), findings=tuple(findings), unasked=tuple(unasked))


def listed(findings: Sequence[Finding]) -> list[Finding]:
    """At most MAX_FINDINGS: leaks, faults, notes, changes; the gravest first, and of each code at least one."""
    found = sorted(
        findings,
        key=lambda one: (
            one.code not in LEAKS,
            one.code in CHANGES,
            one.code in NOTES,
            -one.effect,
            one.code,
            one.part,
            one.column or "",
        ),
    )
    first = list({one.code: place for place, one in reversed(list(enumerate(found)))}.values())
    others = (place for place in range(len(found)) if place not in first)
    return [found[place] for place in sorted([*first, *others][:MAX_FINDINGS])]


def kish(clusters: NDArray[np.intp]) -> float:
    """What a row of a part counts for in tests, at most 1: Kish's number of clusters, (Σ m)² / Σ m², over rows.

    As if all rows of a cluster were alike: those of its features often are, and none is known to differ.
    """
    sizes = np.bincount(clusters).astype(np.float64)
    return float(sizes.sum() / (sizes @ sizes))


def not_asked(unread: Mapping[str, Finding]) -> Iterator[Unasked]:
    if unread:
        names = ", ".join(repr(name[:64]) for name in list(unread)[:3]) + (", …" if len(unread) > 3 else "")
        message = f"{len(unread)} columns can't be examined: {names}; write them as numbers, texts or times"
        yield Unasked(count="changed_columns", code="NotExamined", message=message)
        yield Unasked(count="leaks", code="NotExamined", message=message)


def too_few(rows: tuple[int, ...], *, tests: int, level: float) -> Iterator[Unasked]:
    """Whether even a plain difference of one column would be lost among `tests`."""
    if ks_p(PLAIN, max(rows[0], 1), max(rows[1], 1)) * tests > level:
        yield Unasked(
            count="changed_columns",
            code="TooFewRows",
            message=f"{rows[0]:,} and {rows[1]:,} rows (or as many as their clusters are worth) can't show even a gap "
            f"of {PLAIN} between the distributions of a column; test on more rows",
        )


def unreadable(
    table: pa.Table, names: Sequence[str], *, categories: Sequence[str], times: Sequence[str] = ()
) -> dict[str, Finding]:
    """Code NotExamined: columns that hold what can't be profiled, such as lists, so that nothing is known of them."""
    found = {}
    for name in names:
        # Only others can fail: reading these twice would cost time for nothing.
        plain = name in table.column_names and len(name) <= NAME_LENGTH and _is_plain(table.schema.field(name).type)
        if plain and name not in times:
            continue
        try:
            column_of(table, name)
            profile([table.select([name])], categories=categories, times=times)
            contents(table, [name])
        except (MeasureError, pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            found[name] = Finding(
                code="NotExamined",
                part="all",
                column=name[:NAME_LENGTH],
                numbers={},
                effect=0,
                message=str(error) if isinstance(error, MeasureError) else f"column {name!r} can't be read: {error}",
                advice="Write it into every part as plain numbers, texts or times, or leave it out of model.inputs.",
            )
    return found


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    return any(of(kind) for of in (*types, pa.types.is_large_string, pa.types.is_null))


def changes(
    changed: Sequence[ColumnDrift],
    first: str,
    part: str,
    *,
    target: str | None = None,
    by_time: bool = False,
    advice: str = "",
) -> Iterator[Finding]:
    """Codes Drift and LabelDrift; `advice` where it isn't that of an evaluation's parts."""
    for column in changed:
        grave = [distance for distance in tested(column) if distance.matters]
        said = ", ".join(f"{SAID[distance.name]} {distance.value:.3f}" for distance in grave)
        label = column.column == target
        yield Finding(
            code="LabelDrift" if label else "Drift",
            part=part,
            column=column.column,
            numbers={"rows": column.rows[1], "referenceRows": column.rows[0]}
            | {distance.name: distance.value for distance in column.distances},
            effect=_effect(tested(column)),
            message=f"{'the label ' if label else ''}{column.column!r} is distributed otherwise in {part} than in "
            f"{first}: {said}; {column.rows[1]:,} and {column.rows[0]:,} rows",
            advice=advice or _advice(label=label, by_time=by_time),
        )


def _effect(distances: Sequence[Distance]) -> float:
    """The greatest of the distances that are shares."""
    return max(distance.value for distance in distances if distance.name not in ("psi", "wasserstein"))


def _advice(*, label: bool, by_time: bool) -> str:
    if label and by_time:
        return (
            "Check that the latest labels are complete: slow outcomes are missing first. If they are, the rate has "
            "moved: calibrate on recent rows, and look at the cut-off again."
        )
    if label:
        return "Rows were not divided at random, or one part was sampled by its label: weigh it as in production."
    if by_time:
        return "In use it will have moved further. Train with recent rows and judge by them, or do without the column."
    return "Parts of one random split don't differ so: look how the rows were divided, and whether a source changed."
