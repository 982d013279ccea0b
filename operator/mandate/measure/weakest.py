"""Where the model is weakest: a search over the values of columns and pairs of columns. Reported, never gated.

What may be listed is settled before any loss is looked at: columns in the manifest's order, edges from the training
rows, values by how many test rows they have. Then every candidate's losses are compared with those of all other test
rows, once, so no row is used to choose and to judge.

The null is that losses are dealt out to rows regardless of the candidate: its sum of losses (of their mid-ranks, where
they take more than two values) is that of so many rows drawn without replacement. Two values give Fisher's exact test;
ranks a Pearson type III tail with the draw's own mean, variance and skewness (Mielke & Berry 2007); clusters a sum of
independent clusters, with Student's t. Candidates overlap and exclude each other, so their tests depend on each other
in both directions: the false discovery rate is bounded after Benjamini & Yekutieli (2001), whatever the dependence.
A pair is tested against the rest of each of its parts as well, and has the largest of the three p-values; what has too
small an effect has p = 1. Both are settled before false discoveries are counted, not after.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from mandate.api import spec
from mandate.evidence.slices import MISSING, range_names
from mandate.evidence.weakest import MAX_LISTED, Loss, Side, Weakest, WeakSlice

from .metrics import Floats, Sample
from .metrics.probabilities import TINY
from .shelf import HELD, Shelf
from .slices import Codes, Sliced, edge_text, quantile_edges, ranges, value_names
from .table import MeasureError, is_numeric, known_codes, numbers_at
from .uncertainty import MIN_CLUSTERS, Clusters, Spread

LEVEL = 0.05
"""Expected share of false ones among those found, at most."""
FLOOR = 0.2
"""Least effect that is told: a small one (Cohen 1988), as a difference of means over the losses' standard deviation."""
OWN_FLOOR = 0.1
"""By how much, in the same unit, a pair must be worse than each of its parts: else the part says it already."""
LEAST_ROWS = 50
BINS = 8
"""Ranges of a number; one with at most this many values is taken value by value."""
MAX_VALUES = 20
"""Values of one column that are searched: those with most test rows."""
MAX_COLUMNS = 50
MAX_CANDIDATES = 20_000
MAX_WORK = 100_000_000
"""Rows times pairs of columns; later pairs are left out."""
CLUSTERED = 8
"""How many times the work it is where rows come in clusters."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One column's candidates: `code` (n,) indexes `values`, and is their number where a row is in none of them."""

    name: str
    values: tuple[str, ...]
    code: NDArray[np.signedinteger]

    def kept(self, shelf: Shelf) -> Axis:
        """The same, where `shelf` keeps the codes."""
        return replace(self, code=shelf.keep(self.code))

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """The candidates' names."""
        return tuple(Side(name=self.name, value=value) for value in self.values)

    @cached_property
    def all_in_one(self) -> bool:
        """Whether each row is in one of the candidates."""
        return int(self.code.max(initial=0)) < len(self.values)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Candidates side by side: where, rows, clusters (0 without), mean losses within and elsewhere, p, and the standard
    error of the means' difference."""

    sides: tuple[tuple[Side, ...], ...]
    rows: NDArray[np.intp]
    clusters: NDArray[np.intp]
    loss: Floats
    elsewhere: Floats
    p: Floats
    error: Floats


def losses(sample: Sample, kind: Loss) -> Floats:
    """Loss of each row."""
    if kind == "AbsoluteError":
        assert sample.score is not None
        return np.asarray(np.abs(sample.score - sample.actual), dtype=np.float64)
    if kind == "Error":
        assert sample.label is not None
        return np.asarray(sample.label != sample.actual, dtype=np.float64)
    assert sample.score is not None
    if sample.binary:
        given = np.where(sample.actual, sample.score, 1.0 - sample.score)
    else:
        given = sample.score[np.arange(len(sample)), sample.actual]
    return np.asarray(-np.log(np.clip(given, TINY, 1.0 - TINY)), dtype=np.float64)


def axes(
    table: pa.Table,
    slices: Sequence[Sliced],
    declared: Sequence[spec.Slice],
    columns: Sequence[str],
    *,
    train: NDArray[np.bool_],
    test: NDArray[np.intp],
    personal: Collection[str] = (),
    shelf: Shelf = HELD,
) -> tuple[tuple[Axis, ...], tuple[str, ...]]:
    """The `declared` slices but crosses, then further `columns`; and in words what was left out.

    A slice that has too many values is searched by its column. Edges of numbers come from the rows that `train` (n,)
    marks, or from the test rows where it marks none; `test` holds indices. Columns in `personal` are searched as slices
    only, whose values have names that tell nothing. `shelf` is where their codes lie.
    """
    found: dict[str, Axis] = {}
    names, said = [], []
    for item, of in zip(slices, declared, strict=True):
        if of.column is not None and item.fault is None:
            found[item.name] = _most(item.name, item.values, item.code[test]).kept(shelf)
        elif of.column is not None:
            names.append(of.column)
    sliced = {of.column for item, of in zip(slices, declared, strict=True) if item.fault is None}
    names = [name for name in dict.fromkeys([*names, *columns]) if name not in sliced]
    if withheld := [name for name in names if name in personal]:
        names = [name for name in names if name not in personal]
        many = "column: it is" if len(withheld) == 1 else "columns: they are"
        said.append(f"{len(withheld)} personal {many} searched where a slice names it")
    kept = names[: max(MAX_COLUMNS - len(found), 0)]
    if len(kept) < len(names):
        said.append(f"{len(names) - len(kept)} columns, the last ones: at most {MAX_COLUMNS} are searched")
    known = train if train.any() else np.isin(np.arange(table.num_rows), test)
    for name in kept:
        label = name if name not in found else f"column {name}"
        try:
            found[label] = _column(table, name, label, known=known, test=test).kept(shelf)
        except (MeasureError, pa.ArrowNotImplementedError) as error:
            said.append(f"column {name[:64]!r}: {error}"[:512])
    return tuple(found.values()), tuple(said[:8])


def search(
    loss: Floats,
    axes_: Sequence[Axis],
    *,
    kind: Loss,
    clusters: Clusters | None = None,
    least_rows: int = LEAST_ROWS,
    left_out: Sequence[str] = (),
    floors: tuple[float, float] = (FLOOR, OWN_FLOOR),
    adjust: Callable[[Floats], Floats] | None = None,
) -> Weakest:
    """The candidates whose losses (n,) are surely larger than elsewhere, the worst first.

    A candidate has at least `least_rows` rows, and so have the others together. One in fewer than MIN_CLUSTERS clusters
    is never found. `floors` and `adjust` (of p-values) are for simulations of what they are there for.
    """
    tests = _Tests(loss, clusters, floors=floors)
    grids = [_Grid(code=axis.code, sides=tuple((side,) for side in axis.sides)) for axis in axes_]
    tested = [_tested(grid, tests, (), least_rows=least_rows) for grid in grids]
    pools = [tests.pool(grid) for grid in grids]
    pairs = list(combinations(range(len(axes_)), 2))
    said, work, count = list(left_out), 0, sum(len(cells.p) for cells in tested)
    for done, (one, other) in enumerate(pairs):
        sizes = len(axes_[one].values), len(axes_[other].values)
        work += len(loss) * (1 if clusters is None else CLUSTERED)
        if work > MAX_WORK or count + sizes[0] * sizes[1] > MAX_CANDIDATES:
            said.append(f"{len(pairs) - done} of {len(pairs)} pairs of columns, the last ones: the search is bounded")
            break
        first, second = np.divmod(np.arange(sizes[0] * sizes[1]), max(sizes[1], 1))
        parts = (pools[one].take(first), pools[other].take(second))
        tested.append(_tested(_crossed(axes_[one], axes_[other]), tests, parts, least_rows=least_rows))
        count += len(tested[-1].p)
    return _found(
        tested,
        kind=kind,
        rows=len(loss),
        mean=tests.middle,
        sd=tests.sd,
        least_rows=least_rows,
        columns=tuple(axis.name for axis in axes_),
        left_out=tuple(said),
        adjust=adjust or benjamini_yekutieli,
    )


def benjamini_yekutieli(p: Floats) -> Floats:
    """Adjusted p-values: min over the ranks j from i on of p_(j) m (1 + 1/2 + … + 1/m) / j, at most 1."""
    order = np.argsort(p, kind="stable")
    rank = np.arange(1, len(p) + 1)
    scaled = p[order] * (len(p) * float(np.sum(1.0 / rank))) / rank
    result = np.empty(len(p))
    result[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return result


def draw_tail(hits: Floats, rows: Floats, *, good: Floats | float, total: Floats | float) -> Floats:
    """P(at least `hits` of `good` among `rows` drawn of `total` without replacement), one-sided Fisher."""
    hits, rows, good, total = np.broadcast_arrays(
        *(np.asarray(part, dtype=float) for part in (hits, rows, good, total))
    )
    least = np.maximum(rows + good - total, 0.0)
    log = _log_choose(good, hits) + _log_choose(total - good, rows - hits) - _log_choose(total, rows)
    term = np.exp(log)
    tail, at = term.copy(), hits.copy()
    # Beyond the mean each term is smaller than the one before; below it, all are summed.
    while np.any(term > 1e-17 * tail) or np.any(at < rows * good / total):
        term = term * (good - at) * (rows - at) / ((at + 1.0) * (total - good - rows + at + 1.0))
        tail += term
        at += 1.0
    return np.asarray(np.where(hits <= least, 1.0, np.minimum(tail, 1.0)), dtype=np.float64)


def _log_choose(n: Floats, k: Floats) -> Floats:
    return np.asarray(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))


def _most(name: str, values: Sequence[str], code: Codes) -> Axis:
    """The values with most rows, in their order."""
    kept, place = _largest(np.bincount(code, minlength=len(values)))
    return Axis(name=name, values=tuple(values[k] for k in kept), code=place[code])


def _largest(counts: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.int8]]:
    """The places with most rows in rising order, and each place's index among them; their number where it isn't."""
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_VALUES])
    kept = kept[counts[kept] > 0]
    place = np.full(len(counts), len(kept), dtype=np.int8)  # all columns' codes are there at a time
    place[kept] = np.arange(len(kept))
    return kept, place


def _column(table: pa.Table, name: str, label: str, *, known: NDArray[np.bool_], test: NDArray[np.intp]) -> Axis:
    if is_numeric(table, name):
        tested = numbers_at(table, name, test)
        if any(len(np.unique(some)) > BINS for some in (tested[: 100 * BINS], tested)):  # most columns show it soon
            edges = quantile_edges(numbers_at(table, name, np.flatnonzero(known)), BINS)
            return _most(label, *ranges(tested, edges, range_names([edge_text(edge) for edge in edges])))
    texts, code = known_codes(table, name)
    kept, place = _largest(np.bincount(code[test], minlength=len(texts) + 1))
    named = value_names(texts[k] for k in kept if k < len(texts))
    missing = (MISSING,) if len(texts) in kept else ()
    return Axis(name=label, values=(*named, *missing), code=place[code[test]])


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Candidates that exclude each other: `code` (n,) indexes `sides`, and is their number where a row is in none."""

    code: NDArray[np.signedinteger]
    sides: tuple[tuple[Side, ...], ...]

    def tally(self, high: Codes) -> tuple[Floats, Floats]:
        """Rows in each cell, and those of them among the rows `high` (m,); counted once."""
        if not self.memo:
            size = len(self.sides)
            for code in (self.code, self.code[high]):
                self.memo.append(np.bincount(code, minlength=size + 1)[:size].astype(np.float64))
        return self.memo[0], self.memo[1]

    memo: list[Floats] = field(default_factory=list, init=False, repr=False, compare=False)


def _crossed(one: Axis, other: Axis) -> _Grid:
    a, b = len(one.values), len(other.values)
    code = one.code.astype(np.intp)
    code *= b
    code += other.code
    if not (one.all_in_one and other.all_in_one):
        code[(one.code >= a) | (other.code >= b)] = a * b
    return _Grid(code=code, sides=tuple((u, v) for u in one.sides for v in other.sides))


@dataclass(frozen=True, kw_only=True)
class _Pool:
    """What rows are drawn from, one entry each: the `cells` of `grid`, or all rows where there is no grid.

    `loss` is their mean loss; `hits` counts the larger of two losses; mean, second and third are the scores' moments,
    the latter two about the mean, and 0 where there are two losses.
    """

    grid: _Grid | None
    cells: NDArray[np.intp]
    rows: Floats
    loss: Floats
    hits: Floats
    mean: Floats
    second: Floats
    third: Floats

    def take(self, places: NDArray[np.intp]) -> _Pool:
        """One entry for each of `places`."""
        parts = {name: getattr(self, name)[places] for name in ("rows", "loss", "hits", "mean", "second", "third")}
        return _Pool(grid=self.grid, cells=self.cells[places], **parts)


class _Tests:
    """The losses and what is summed up of them: their mid-ranks, or 0 and 1 where there are two values."""

    def __init__(self, loss: Floats, clusters: Clusters | None, *, floors: tuple[float, float]) -> None:
        self.loss, self.total, self.floors = loss, len(loss), floors
        self.middle = float(loss.mean()) if len(loss) else 0.0
        self.away = loss - self.middle
        self.sd = float(np.sqrt(np.mean(self.away**2))) if len(loss) else 0.0
        distinct, place, counts = np.unique(loss, return_inverse=True, return_counts=True)
        self.high = np.flatnonzero(place == 1) if len(distinct) == 2 else None
        rank = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
        self.score = rank - rank.mean() if len(rank) else rank
        self.codes = None if clusters is None else np.unique(clusters, return_inverse=True)[1]
        self.clusters = 0 if self.codes is None else int(self.codes.max(initial=-1)) + 1

    def pool(self, grid: _Grid | None) -> _Pool:
        """Each cell of `grid` as what rows are drawn from, or all rows."""
        whole = _Grid(code=np.zeros(self.total, dtype=np.intp), sides=((),)) if grid is None else grid
        rows = self.rows(whole)
        loss = _ratio(_sums(whole, self.loss), rows)
        first = second = third = np.zeros(len(rows))
        if self.high is None:
            squares = self.score * self.score
            powers = self.score, squares, squares * self.score
            first, second, third = (_ratio(_sums(whole, values), rows) for values in powers)
        return _Pool(
            grid=grid,
            cells=np.arange(len(rows)),
            rows=rows,
            loss=np.where(rows > 0, loss, -np.inf),
            hits=rows if self.high is None else whole.tally(self.high)[1],
            mean=first,
            second=second - first**2,
            third=third - 3.0 * first * second + 2.0 * first**3,
        )

    @cached_property
    def everyone(self) -> _Pool:
        """All rows, as what rows are drawn from."""
        return self.pool(None)

    def moments(self, grid: _Grid, chosen: NDArray[np.intp], rows: Floats) -> tuple[Floats, Floats]:
        """Sums of the losses' deviations from their mean, and of the squares, in the cells `chosen`."""
        if self.high is None:
            return _sums(grid, self.away)[chosen], _sums(grid, self.away**2)[chosen]
        hits = grid.tally(self.high)[1][chosen]
        low, high = float(self.away.min()), float(self.away.max())
        return hits * high + (rows - hits) * low, hits * high**2 + (rows - hits) * low**2

    def drawn(self, sums: Floats, rows: Floats, pool: _Pool) -> Floats:
        """p-values of draws without replacement from `pool`: `sums` of hits, or of scores, over so many `rows`."""
        n, rest = pool.rows, pool.rows - rows
        if self.high is not None:
            return draw_tail(sums, rows, good=pool.hits, total=n)
        variance = rows * rest * _ratio(pool.second, n - 1.0)
        third = rows * rest * (rest - rows) * _ratio(pool.third, (n - 1.0) * (n - 2.0))
        p = pearson_tail(_ratio(sums - rows * pool.mean, np.sqrt(variance)), _ratio(third, variance**1.5))
        return np.where(variance > 0, p, 1.0)

    def sums(self, grid: _Grid) -> Floats:
        """What `drawn` takes, of every cell."""
        return _sums(grid, self.score) if self.high is None else grid.tally(self.high)[1]

    def rows(self, grid: _Grid) -> Floats:
        """How many are in every cell."""
        return _sums(grid, None) if self.high is None else grid.tally(self.high)[0]

    def clustered(self, inside: NDArray[np.intp], among: NDArray[np.intp]) -> tuple[float, float]:
        """p-value of the rows `inside`, drawn from those `among`, and the standard error of their means' difference."""
        assert self.codes is not None
        codes, share = self.codes, len(inside) / len(among)

        def units(values: Floats) -> Floats:
            middle = float(values[among].mean())
            own, all_ = (
                np.bincount(codes[rows], weights=values[rows] - middle, minlength=self.clusters)
                for rows in (inside, among)
            )
            return np.asarray(own - share * all_, dtype=np.float64)

        found = len(np.unique(codes[among]))
        score, scale = units(self.score), found / max(found - 1, 1)
        spread = Spread(score * math.sqrt(scale), max(len(np.unique(codes[inside])) - 1, 1))
        error = math.sqrt(scale * float(np.sum(units(self.away) ** 2))) / (len(inside) * (1.0 - share))
        if spread.variance <= 0:
            return 1.0, error
        return float(special.stdtr(spread.degrees(), -score.sum() / math.sqrt(spread.variance))), error


def pearson_tail(z: Floats, skew: Floats) -> Floats:
    """P(Z >= z) of a Pearson type III variable with mean 0, variance 1 and this skewness.

    Normal where that isn't above 0: the tail of a negative skewness is lighter.
    """
    z, skew = np.broadcast_arrays(np.asarray(z, dtype=np.float64), np.asarray(skew, dtype=np.float64))
    shape = 4.0 / np.maximum(skew, 1e-4) ** 2
    gamma = special.gammaincc(shape, np.maximum(shape + z * np.sqrt(shape), 0.0))
    return np.asarray(np.where(skew > 1e-4, gamma, special.ndtr(-z)), dtype=np.float64)


def _sums(grid: _Grid, weights: Floats | None) -> Floats:
    size = len(grid.sides)
    return np.asarray(np.bincount(grid.code, weights=weights, minlength=size + 1)[:size], dtype=np.float64)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, 0 where the whole isn't above 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0), dtype=np.float64)


def _tested(grid: _Grid, tests: _Tests, parts: Sequence[_Pool], *, least_rows: int) -> Cells:
    """The grid's candidates that are large enough; `parts` hold the columns' values that each cell is a pair of.

    Only those that could matter are tested: all others have p = 1.
    """
    counts = tests.rows(grid)
    chosen = np.flatnonzero((counts >= least_rows) & (tests.total - counts >= least_rows))
    rows = counts[chosen]
    rest = tests.total - rows
    first, second = tests.moments(grid, chosen, rows)
    within, without = first / rows, -first / rest
    floor, own_floor = tests.floors
    matters = (within - without >= floor * tests.sd) & (tests.sd > 0)
    for part in parts:
        matters &= tests.middle + within - part.loss[chosen] >= own_floor * tests.sd
    p, error, clusters = np.ones(len(chosen)), np.zeros(len(chosen)), np.zeros(len(chosen), dtype=np.intp)
    at = np.flatnonzero(matters)
    if len(at) and tests.codes is None:
        whole = float(tests.away @ tests.away)
        welch = (second - rows * within**2) / (rows * (rows - 1))
        welch += (whole - second - rest * without**2) / (rest * (rest - 1))
        pooled = whole / (tests.total - 1) * (1 / rows + 1 / rest)
        error = np.sqrt(np.maximum(welch, pooled))
        sums, everyone = tests.sums(grid)[chosen[at]], tests.everyone
        pools = [everyone.take(np.zeros(len(at), dtype=np.intp)), *(part.take(chosen[at]) for part in parts)]
        p[at] = np.max([tests.drawn(sums, rows[at], pool) for pool in pools], axis=0)
    elif len(at):
        p[at], error[at], clusters[at] = _by_clusters(grid, tests, parts, chosen[at])
    return Cells(
        sides=tuple(grid.sides[place] for place in chosen),
        rows=rows.astype(np.intp),
        clusters=clusters,
        loss=tests.middle + within,
        elsewhere=tests.middle + without,
        p=p,
        error=error,
    )


def _by_clusters(
    grid: _Grid, tests: _Tests, parts: Sequence[_Pool], cells: NDArray[np.intp]
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """p-values, standard errors and numbers of clusters of the grid's `cells`."""
    assert tests.codes is not None
    p, error, clusters = np.ones(len(cells)), np.zeros(len(cells)), np.zeros(len(cells), dtype=np.intp)
    everyone = np.arange(tests.total)
    for place, cell in enumerate(cells):
        inside = np.flatnonzero(grid.code == cell)
        clusters[place] = len(np.unique(tests.codes[inside]))
        p[place], error[place] = tests.clustered(inside, everyone)
        for part in parts:
            if part.grid is not None:
                among = np.flatnonzero(part.grid.code == part.cells[cell])
                worse = tests.clustered(inside, among)[0] if len(among) > len(inside) else 1.0
                p[place] = max(p[place], worse)
        if clusters[place] < MIN_CLUSTERS:
            p[place] = 1.0
    return p, error, clusters


def _found(
    tested: Sequence[Cells],
    *,
    kind: Loss,
    rows: int,
    mean: float,
    sd: float,
    least_rows: int,
    columns: tuple[str, ...],
    left_out: tuple[str, ...],
    adjust: Callable[[Floats], Floats],
) -> Weakest:
    p = np.concatenate([cells.p for cells in tested]) if tested else np.empty(0)
    q = adjust(p)
    places = [(cells, place) for cells in tested for place in range(len(cells.p))]
    hits = np.flatnonzero(q <= LEVEL)
    # One-sided limits at the level that is left after choosing so many of so many (Benjamini & Yekutieli 2005).
    reach = -float(special.ndtri(LEVEL * len(hits) / len(p))) if len(hits) else 0.0
    slices = []
    for hit in hits:
        cells, place = places[hit]
        gap = float(cells.loss[place] - cells.elsewhere[place])
        slices.append(
            WeakSlice(
                sides=cells.sides[place],
                rows=int(cells.rows[place]),
                clusters=int(cells.clusters[place]) or None,
                loss=float(cells.loss[place]),
                elsewhere=float(cells.elsewhere[place]),
                at_least=gap - reach * float(cells.error[place]),
                effect=gap / sd,
                p=float(p[hit]),
                q=float(q[hit]),
            )
        )
    slices.sort(key=lambda item: (-item.at_least, [(side.name, side.value) for side in item.sides]))
    return Weakest(
        loss=kind,
        rows=rows,
        mean=mean,
        columns=columns,
        candidates=len(p),
        level=LEVEL,
        floor=FLOOR,
        least_rows=least_rows,
        found=len(slices),
        slices=tuple(slices[:MAX_LISTED]),
        left_out=left_out,
    )
