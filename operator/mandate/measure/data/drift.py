"""Drift: how far each column of one table is from the same column of another, from their profiles.

Two questions are asked of every column: could chance alone explain the difference (a p-value, Holm's correction over
all tests of the comparison), and is it large enough to matter (an effect with a floor). A column has changed where
both say so: with 200,000 rows everything is significant, with 50 everything looks large.

| distance | of | effect | test |
|---|---|---|---|
| ks | numbers | largest gap between the distribution functions | Kolmogorov–Smirnov |
| wasserstein | finite numbers | Wasserstein-1 over the reference's standard deviation | none |
| psi | all | population stability index; own bins for missing and for unseen texts | none |
| jensen_shannon | all | distance, base 2, on the same bins, Doane's for numbers | none |
| chi_square | texts | Cramér's V at equal sample sizes | two-sample chi-square |
| missing | all | difference of the shares that are missing | two-sample chi-square |
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from mandate.evidence.data import ColumnDrift, Distance, DistanceName

from ..work import SERIAL, Workers
from . import distances
from .distances import Bins
from .grid import Counts, Floats, grid
from .profile import Column, Profile, Texts

TOP = 100
"""Texts that have a bin of their own; the rest are counted together."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a column has changed: the level of all tests together, and from which effect on a difference matters.

    PSI of 0.1 is where scorecards begin to look (Siddiqi 2006), a V of 0.1 a small effect (Cohen 1988).
    """

    level: float = 0.05
    ks: float = 0.1
    wasserstein: float = 0.1
    psi: float = 0.1
    jensen_shannon: float = 0.1
    chi_square: float = 0.1
    missing: float = 0.05

    def floor(self, name: DistanceName) -> float:
        """The least value of a distance that matters."""
        value: float = getattr(self, name)
        return value


DEFAULT = Rules()


def drift(
    reference: Profile,
    current: Profile,
    *,
    rules: Rules = DEFAULT,
    leave_out: Collection[str] = (),
    worth: tuple[float, float] = (1.0, 1.0),
    workers: Workers = SERIAL,
) -> tuple[ColumnDrift, ...]:
    """Every column that both tables have, of one kind, those that changed first, the farthest first.

    Times have no drift (a later table is later), nor have columns that are empty in both. Columns in `leave_out` are
    skipped: an id differs by nature. Columns that one table lacks, or has with another kind, are quality's findings.
    `worth`: what one row of the reference, and of the current table, counts for in tests, at most 1; below 1 where rows
    come in clusters. `workers` take a column each; the result doesn't depend on them.
    """

    def compared(name: str) -> ColumnDrift | None:
        return compare(name, reference.columns[name], current.columns[name], rules=rules, worth=worth)

    names = [name for name in reference.columns if name in current.columns and name not in leave_out]
    return decided([column for column in workers.here.map(compared, names) if column is not None], rules=rules)


def compare(
    name: str, reference: Column, current: Column, *, rules: Rules = DEFAULT, worth: tuple[float, float] = (1.0, 1.0)
) -> ColumnDrift | None:
    """One column's distances, of which nothing is decided yet; None where it has none, as of `drift`."""
    kinds = {reference.kind, current.kind} - {"Empty"}
    if kinds not in ({"Number"}, {"Category"}):
        return None
    return _compared(name, reference, current, rules, worth, number=kinds == {"Number"})


def decided(found: Sequence[ColumnDrift], *, rules: Rules = DEFAULT) -> tuple[ColumnDrift, ...]:
    """A table's columns with what they are together: p-values adjusted for all of them, in the order of `drift`."""
    tests = [(index, item.p) for index, column in enumerate(found) for item in column.distances if item.p is not None]
    least = dict.fromkeys(range(len(found)), 2.0)
    for (index, _), adjusted in zip(tests, distances.holm([p for _, p in tests]), strict=True):
        least[index] = min(least[index], adjusted)
    known = (
        column if least[index] > 1 else column.model_copy(update=_decision(column, least[index], rules))
        for index, column in enumerate(found)
    )
    return tuple(sorted(known, key=lambda column: (not column.changed, -_farthest(column), column.column)))


def _decision(column: ColumnDrift, adjusted: float, rules: Rules) -> dict[str, object]:
    return {"adjusted": adjusted, "changed": adjusted <= rules.level and any(item.matters for item in tested(column))}


def tested(column: ColumnDrift) -> tuple[Distance, ...]:
    """The distances that a test stands behind: of texts that hardly occur twice only that of missing shares.

    Ids are far apart by nature, so that a few more of them that are missing would make every id a change.
    """
    shape = any(item.p is not None and item.name != "missing" for item in column.distances)
    return tuple(item for item in column.distances if shape or item.name == "missing")


def _farthest(column: ColumnDrift) -> float:
    """The greatest distance in units of its floor."""
    return max((item.value / item.floor for item in column.distances if item.floor), default=0.0)


def _compared(
    name: str, reference: Column, current: Column, rules: Rules, worth: tuple[float, float], *, number: bool
) -> ColumnDrift:
    found = [_missing(reference, current, rules, worth)]
    if reference.rows and current.rows:
        found = [*(_numbers if number else _categories)(reference, current, rules, worth), *found]
    return ColumnDrift(
        column=name,
        kind="Number" if number else "Category",
        rows=(reference.rows, current.rows),
        present=(reference.present, current.present),
        distances=tuple(found),
    )


def _missing(reference: Column, current: Column, rules: Rules, worth: tuple[float, float]) -> Distance:
    both = zip((reference, current), worth, strict=True)
    tables = [np.array([column.present, column.missing]) * counts for column, counts in both]
    shares = [column.missing / max(column.rows, 1) for column in (reference, current)]
    test = distances.chi_square(*tables)
    return Distance(
        name="missing",
        value=abs(shares[1] - shares[0]),
        floor=rules.missing,
        p=None if test is None else test.p,
        statistic=None if test is None else test.statistic,
    )


def _numbers(reference: Column, current: Column, rules: Rules, worth: tuple[float, float]) -> list[Distance]:
    if reference.numbers is None:
        return []
    found: list[Distance] = []
    one, other = reference.numbers, current.numbers or grid(np.empty(0))
    of, extremes = distances.moments(one) if one.size else None, (reference.infinite, current.infinite)
    if current.present:
        apart = distances.apart(one, other, extremes=extremes, factor=1.0 if of is None else of.factor)
        gap, error = distances.ks(one, other, apart, extremes=extremes)
        rows = (
            max(int(column.present * counts), 1) for column, counts in zip((reference, current), worth, strict=True)
        )
        p = distances.ks_p(max(gap - error, 0.0), *rows)
        found.append(Distance(name="ks", value=gap, error=error, floor=rules.ks, p=p))
        if of and other.size and (moved := distances.wasserstein(one, other, apart, of)) is not None:
            found.append(Distance(name="wasserstein", value=moved[0], error=moved[1], floor=rules.wasserstein))
    if of is None:
        return found

    def binned(edges: Floats) -> tuple[Bins, Bins]:
        return (
            distances.bins(one, edges, extremes=reference.infinite, missing=reference.missing),
            distances.bins(other, edges, extremes=current.infinite, missing=current.missing),
        )

    return [
        *found,
        _on_bins("psi", distances.psi(*binned(distances.psi_edges(one))), rules),
        _on_bins("jensen_shannon", distances.jensen_shannon(*binned(distances.doane_edges(one, of))), rules),
    ]


def _categories(reference: Column, current: Column, rules: Rules, worth: tuple[float, float]) -> list[Distance]:
    one, other = (column.texts or Texts() for column in (reference, current))
    hashed = bool(one.hashed or other.hashed)
    if hashed:
        a, b = (np.array(texts.cells()) for texts in (one, other))
        binned = [np.append(a, reference.missing), np.append(b, current.missing)]
    else:
        names = sorted({*one.named, *other.named})
        a, b = (np.array([texts.named.get(name, 0) for name in names], dtype=np.int64) for texts in (one, other))
        binned = _by_reference(a, b, missing=(reference.missing, current.missing))
        # Of both samples together, and without ties at the end: names may go with the sample, as those of ids do.
        kept = a + b > (np.sort(a + b)[-TOP - 1] if len(names) > TOP else 0)
        a, b = (np.append(counts[kept], counts[~kept].sum()) for counts in (a, b))
    found = []
    if (test := distances.chi_square(a * worth[0], b * worth[1])) is not None:
        found.append(
            Distance(
                name="chi_square",
                value=test.effect,
                error=None if hashed else 0.0,
                floor=rules.chi_square,
                p=test.p,
                statistic=test.statistic,
            )
        )
    bins = [distances.certain(counts) for counts in binned]
    return [
        *found,
        _on_bins("psi", (distances.psi(*bins)[0], None if hashed else 0.0), rules),
        _on_bins("jensen_shannon", (distances.jensen_shannon(*bins)[0], None if hashed else 0.0), rules),
    ]


def _by_reference(a: Counts, b: Counts, *, missing: tuple[int, int]) -> list[Counts]:
    """Bins of the reference's commonest texts, its others, those it hasn't, and missing."""
    order = np.argsort(-a, kind="stable")
    top, rest = order[:TOP], order[TOP:]
    top, rest, unseen = top[a[top] > 0], rest[a[rest] > 0], a == 0
    return [
        np.concatenate([counts[top], [counts[rest].sum(), counts[unseen].sum(), gone]])
        for counts, gone in zip((a, b), missing, strict=True)
    ]


def _on_bins(name: DistanceName, found: tuple[float, float | None], rules: Rules) -> Distance:
    return Distance(name=name, value=max(found[0], 0.0), error=found[1], floor=rules.floor(name))
