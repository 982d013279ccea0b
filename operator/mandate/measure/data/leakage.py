"""Leakage: what makes a test look better than use will be. Shared rows, shared entities, the future, the label itself.

Takes rows, since only rows say who is where. Everything is vectorised; nothing depends on the order of rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from mandate.evidence.data import Finding, Unasked

from ..overlap import overlap
from ..sample import fitted_rows, sampled
from ..shelf import HELD, Shelf
from ..split import PARTS, Keys, Part, Split, instants
from ..table import MeasureError, column, is_numeric, numbers, text_codes, texts
from ..work import SERIAL, Workers
from .contents import contents
from .repeats import repeated_rows

GIVEAWAY = 0.98
"""A feature whose own AUC, R² or lambda reaches this gives the label away: real ones seldom do."""
CELLS = 64
"""Ranges into which a number is cut to see what it says of the label on its own."""
LEAST_IN_RANGE = 4
"""Training rows of a range at least: emptier ones know nothing of test rows, and hide what a few hundred rows show."""
LEAST_MINORITY = 20
"""Fewer rows of the rarer class (of all but the commonest) show no giveaway; so few rows no R²."""
GLANCED = 1 << 14
"""Rows of each part on which numbers are looked at first, where one of two classes is to be given away."""
SUSPECT = 0.9
"""What a number must reach on those for being looked at on all. The least of GLANCED rows that a class must have:"""
LEAST_GLANCED = 200

MAX_CLASSES = 20
"""Classes that are each asked for a giveaway: those on most rows."""

CHANCE = 1e-4
"""How likely as many rows with a twin in another part may be where nothing was copied."""

Rows = NDArray[np.bool_]


def leakage(
    table: pa.Table,
    split: Split,
    *,
    target: str,
    features: Sequence[str],
    regression: bool = False,
    cluster: str | None = None,
    time: str | None = None,
    in_order: bool = False,
    workers: Workers = SERIAL,
    shelf: Shelf = HELD,
) -> tuple[tuple[Finding, ...], tuple[Unasked, ...]]:
    """Everything below, for a table with its split, and what couldn't be asked.

    `in_order`: later rows are to test what earlier ones taught. Codes: SharedRows, SharedContent, SharedEntities,
    TimeTravel, GivesLabelAway, GivesClassAway, RepeatedRows, CopiedRows. Giveaways are looked for on `fitted_rows`.
    """
    unasked = []
    found = list(shared_rows(split, workers=workers))
    content = contents(table, [*features, target], shelf=shelf)
    found += shared_content(content, split, workers=workers)
    found += repeated_rows(table, split, content, features=features, time=time, workers=workers, shelf=shelf)
    del content
    if cluster is not None:
        found += shared_entities(table, split, cluster=cluster)
    if time is not None and in_order:
        try:
            found += time_travel(table, split, time=time)
        except MeasureError as error:
            unasked.append(Unasked(count="leaks", code="NotExamined", message=f"time travel can't be seen: {error}"))
    train, test = split.rows("train"), split.rows("test")
    if train.any() and test.any():
        suspects = features if regression else _suspects(table, split, target, features, workers=workers)
        found += giveaways(
            table,
            train,
            test,
            target=target,
            features=suspects,
            regression=regression,
            rows=fitted_rows(split),
            workers=workers,
        )
        unasked += too_few(table, train, test, target=target, regression=regression)
    return tuple(found), tuple(unasked)


def _earlier() -> list[tuple[Part, Part]]:
    """Pairs of parts of which the second is judged by what was learnt or chosen on the first."""
    return [(one, other) for place, one in enumerate(PARTS) for other in PARTS[place + 1 :]]


def shared_rows(split: Split, *, workers: Workers = SERIAL) -> tuple[Finding, ...]:
    """Code SharedRows: rows of one part that another part has, too, by their keys."""
    found = []
    for one, other in _earlier():
        shared, rows = split.shared(one, other, workers=workers), int(split.rows(other).sum())
        if shared:
            found.append(_shared("SharedRows", one, other, shared, rows, what=f"{shared:,} of {rows:,} rows"))
    return tuple(found)


def shared_content(content: Keys, split: Split, *, workers: Workers = SERIAL) -> tuple[Finding, ...]:
    """Code SharedContent: rows of one part whose `contents` (n,) another part has, too, whatever their ids.

    Rows of few different values are alike without being copies. So it is a finding only where clearly more rows of
    the later part have a twin in the earlier one than the earlier one's own rows have; and more than share their key.
    """
    found = []
    for one, other in _earlier():
        ours, theirs = content[split.rows(one)], content[split.rows(other)]
        if not len(ours) or not len(theirs):
            continue
        both = overlap(ours, theirs, workers=workers)
        # As if one group of twins more had been seen: none among few rows doesn't say that there are none.
        usual = (both.twins + 2) / (len(ours) + 2)
        shared, groups = both.shared, both.groups
        if shared <= split.shared(one, other):
            continue
        # Rows alike are copied together or not at all, so groups of them are counted: P(Binomial(n, usual) >= groups).
        # The beta form of it, since scipy.stats takes longer to import than all else here takes to run.
        others = round(len(theirs) * groups / shared) - groups
        if special.betainc(groups, others + 1, usual) <= CHANCE:
            what = f"the content of {shared:,} of {len(theirs):,} rows"
            found.append(_shared("SharedContent", one, other, shared, len(theirs), what=what, numbers={"usual": usual}))
    return tuple(found)


def _shared(
    code: str,
    one: Part,
    other: Part,
    shared: int,
    rows: int,
    *,
    what: str,
    column: str | None = None,
    numbers: Mapping[str, float] | None = None,
    advice: str = "Remove them from {one}: what was seen there isn't a test. Split by an id or a cluster column.",
) -> Finding:
    return Finding(
        code=code,
        part=other,
        column=column,
        numbers={"rows": rows, "shared": shared, **(numbers or {})},
        effect=shared / rows,
        message=f"{what} of {other} occur in {one}, too",
        advice=advice.format(one=one),
    )


def shared_entities(table: pa.Table, split: Split, *, cluster: str) -> tuple[Finding, ...]:
    """Code SharedEntities: rows of one part whose entity (a customer, a patient) has rows in another part, too."""
    _, codes = text_codes(table, cluster)
    known = texts(column(table, cluster), name=cluster).is_valid().to_numpy(zero_copy_only=False)
    found = []
    for one, other in _earlier():
        theirs = codes[split.rows(other) & known]
        both = np.isin(theirs, codes[split.rows(one) & known])
        if both.any():
            entities, rows = len(np.unique(theirs[both])), int(split.rows(other).sum())
            found.append(
                _shared(
                    "SharedEntities",
                    one,
                    other,
                    int(both.sum()),
                    rows,
                    what=f"{entities:,} values of {cluster!r}, with {int(both.sum()):,} of {rows:,} rows",
                    column=cluster,
                    numbers={"entities": entities},
                    advice="A model may know them rather than the rule: split with method Group, or tell known "
                    "entities from new ones by a slice. Under method Time this may be how it is used, too.",
                )
            )
    return tuple(found)


def time_travel(table: pa.Table, split: Split, *, time: str) -> tuple[Finding, ...]:
    """Code TimeTravel: rows of an earlier part that lie at or after the first row of a later one."""
    at, scale = instants(table, time)
    found = []
    for one, other in _earlier():
        before, after = at[split.rows(one)], at[split.rows(other)]
        if not len(before) or not len(after):
            continue
        late = int(np.count_nonzero(before >= after.min()))
        if late:
            ahead = {"seconds": float(before.max() - after.min()) / scale} if scale else {}
            found.append(
                Finding(
                    code="TimeTravel",
                    part=one,
                    column=time,
                    numbers={"rows": len(before), "late": late, **ahead},
                    effect=late / len(before),
                    message=f"{late:,} of {len(before):,} rows of {one} are no earlier than the first row of {other}",
                    advice=f"Remove them from {one}: in use nobody knows the future. Leave a gap as long as "
                    "labels and features take to settle.",
                )
            )
    return tuple(found)


def giveaways(
    table: pa.Table,
    train: Rows,
    test: Rows,
    *,
    target: str,
    features: Sequence[str],
    regression: bool = False,
    limit: float = GIVEAWAY,
    rows: NDArray[np.intp] | None = None,
    workers: Workers = SERIAL,
) -> tuple[Finding, ...]:
    """Code GivesLabelAway: features that predict the label on their own; of several classes all together.

    Each feature's values are cut into cells (ranges of a number or of a time, texts, missing), the mean label of each
    is learnt on the training rows and tested on the test rows: R² for a regression (or the squared correlation, or R²
    of the label's ranks, if greater), of two classes the AUC, of several lambda. Learning and testing on different rows
    keeps ids, which are learnt by heart, out of it. Rows whose label is missing are left out. Code GivesClassAway: one
    of several classes, by its AUC against the rest; that happens in honest data, too, so it is told and not counted as
    a leak. `rows` are the places of those that are looked at, in that order; all, where there are none. `workers` take
    a feature each.
    """
    if rows is not None:
        train, test = train[rows], test[rows]
    truth = _some(table, target, rows)
    labels, names = _labels(truth, target, regression=regression, test=test)
    if not len(labels):
        return ()
    known = np.isfinite(labels).all(axis=0)
    train, test = train & known, test & known
    if not train.any() or not test.any():
        return ()
    codes = None if regression or len(labels) == 1 else text_codes(truth, target)[1]
    ranks = _ranks(labels[0], train | test) if regression else None

    def asked(feature: str) -> Finding | None:
        one = _some(table, feature, rows)
        # Of several classes each may end within a range, so there are as many more ranges.
        cells, count = _cells(one, feature, train, ranges=CELLS * len(labels))
        counts = np.bincount(cells[test], minlength=count).astype(np.float64)
        scores: list[float] = []
        for label in labels:
            learnt = _means(cells[train], label[train], count)
            if regression:
                scores.append(_r2(learnt[cells[test]], label[test]))
                if (values := _numbers(one, feature)) is not None:
                    scores.append(_correlation(values[test], label[test]))
            else:
                scores.append(_auc(learnt, cells[test], counts, label[test]))
        if ranks is not None:
            scores.append(_r2(_means(cells[train], ranks[train], count)[cells[test]], ranks[test]))
        best = max(scores)
        whole = best if codes is None else _lambda(cells, codes, train, test)
        if whole >= limit:
            measure = "lambda" if codes is not None else "r2" if regression else "auc"
            return _giveaway(feature, whole, None, test, measure)
        if best >= limit:
            return _giveaway(feature, best, names[scores.index(best)], test, "auc")
        return None

    found = [finding for finding in workers.here.map(asked, features) if finding is not None]
    return tuple(sorted(found, key=lambda finding: (-finding.effect, finding.column or "")))


def _some(table: pa.Table, name: str, rows: NDArray[np.intp] | None) -> pa.Table:
    """One column at these places; all of the table where there are none."""
    return table if rows is None else pa.table({name: table.column(name).take(pa.array(rows))})


def _suspects(
    table: pa.Table, split: Split, target: str, features: Sequence[str], *, workers: Workers
) -> Sequence[str]:
    """The features but numbers that are nowhere near giving the label away on a sample of many rows.

    Texts stay: of many different ones a sample knows too little.
    """
    if not sampled(split, limit=GLANCED):
        return features
    rows = fitted_rows(split, limit=GLANCED)
    train, test = split.rows("train"), split.rows("test")
    labels, _ = _labels(_some(table, target, rows), target, regression=False, test=test[rows])
    rare = (min(np.sum(labels == label, where=part[rows]) for label in (0, 1)) for part in (train, test))
    # The sample tells how many classes there are: sooner than all rows would.
    if len(labels) != 1 or min(rare) < LEAST_GLANCED:
        return features
    glanced = [feature for feature in features if is_numeric(table, feature)]
    near = giveaways(table, train, test, target=target, features=glanced, limit=SUSPECT, rows=rows, workers=workers)
    left_out = {*glanced} - {finding.column for finding in near}
    return [feature for feature in features if feature not in left_out]


def too_few(table: pa.Table, train: Rows, test: Rows, *, target: str, regression: bool = False) -> tuple[Unasked, ...]:
    """Whether rows with a label are too few, or too much of one class, to show a giveaway."""
    for part, rows in (("train", train), ("test", test)):
        if regression:
            values = numbers(table, target)[rows]
            values = values[np.isfinite(values)]
            least, of = (len(values) if len(np.unique(values)) > 1 else 0), "different labels"
        else:
            known = texts(column(table, target), name=target).is_valid().to_numpy(zero_copy_only=False)
            counts = np.bincount(text_codes(table, target)[1][rows & known], minlength=1)
            least, of = int(counts.sum() - counts.max()), "other classes than the commonest"
        if least < LEAST_MINORITY:
            message = (
                f"{part} has {least} rows of {of}, at least {LEAST_MINORITY} must be there to show a column that gives "
                f"the label away; put more of them into {part}"
            )
            return (Unasked(count="leaks", code="TooFewRows", message=message),)
    return ()


SAID = {"auc": "AUC", "r2": "R²", "lambda": "lambda"}


def _giveaway(feature: str, score: float, label: str | None, test: Rows, measure: str) -> Finding:
    """`label`: the one class that is given away, None for all."""
    whose = "" if label is None else f" of class {label!r}"
    return Finding(
        code="GivesLabelAway" if label is None else "GivesClassAway",
        part="test",
        column=feature,
        numbers={"rows": int(test.sum()), measure: score},
        effect=min(score, 1.0),
        message=f"{feature!r} alone predicts the label{whose} with {SAID[measure]} {score:.3f}",
        advice="Check when it is known: a value written after the outcome, or because of it, isn't there when the "
        "model is asked. Leave it out unless it is.",
    )


def _labels(
    table: pa.Table, target: str, *, regression: bool, test: Rows
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Labels (k, n) to be predicted: the numbers, or one row of 0 and 1 for each class; NaN where missing."""
    if regression:
        return numbers(table, target)[np.newaxis], (target,)
    names, codes = text_codes(table, target)
    known = texts(column(table, target), name=target).is_valid().to_numpy(zero_copy_only=False)
    classes = len(names) - (not known.all())
    common = np.argsort(-np.bincount(codes[test & known], minlength=classes), kind="stable")[:MAX_CLASSES]
    if classes == 2:
        common = common[:1]
    one_each = (codes == common[:, np.newaxis]).astype(np.float64)
    one_each[:, ~known] = np.nan
    return one_each, tuple(names[index] for index in common)


def _cells(table: pa.Table, feature: str, train: Rows, *, ranges: int) -> tuple[NDArray[np.intp], int]:
    """Each row's cell, and how many there are; missing is one of its own."""
    values = _numbers(table, feature)
    if values is None:
        names, codes = text_codes(table, feature)
        return codes, len(names)
    present = ~np.isnan(values)
    seen = np.sort(values[train & present])
    if not len(seen):
        return np.where(present, 0, 1), 2
    ranges = min(ranges, max(len(seen) // LEAST_IN_RANGE, 2))
    # Edges are values that occur, so that few-valued numbers keep each value apart.
    edges = np.unique(seen[(len(seen) * np.arange(1, ranges) // ranges)])
    with np.errstate(over="ignore"):
        edges = np.unique(np.concatenate([edges, np.nextafter(edges, np.inf)]))
    codes = np.searchsorted(edges, values, side="right")
    return np.where(present, codes, len(edges) + 1), len(edges) + 2


def _numbers(table: pa.Table, feature: str) -> NDArray[np.float64] | None:
    """Numbers and times as numbers, missing as NaN; None for anything else."""
    if is_numeric(table, feature):
        return numbers(table, feature)
    values = column(table, feature)
    if not pa.types.is_temporal(values.type) or values.type == pa.month_day_nano_interval():
        return None
    whole = values.cast(pa.int32() if values.type.bit_width == 32 else pa.int64())
    return np.asarray(whole.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _means(cells: NDArray[np.intp], label: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The mean label in each of `count` cells; that of all where a cell is empty."""
    sizes = np.bincount(cells, minlength=count)
    sums = np.bincount(cells, weights=label, minlength=count)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), label.mean())


def _ranks(label: NDArray[np.float64], rows: Rows) -> NDArray[np.float64] | None:
    """Mid-ranks among `rows`, so that a logarithm of the label gives it away as well as a copy does.

    None where one value is on a tenth of the rows or more: then ranks say little but whether it is that value.
    """
    _, place, counts = np.unique(label[rows], return_inverse=True, return_counts=True)
    if counts.max() * 10 >= len(place):
        return None
    found = np.full(len(label), np.nan)
    found[rows] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return found


def _lambda(cells: NDArray[np.intp], codes: NDArray[np.intp], train: Rows, test: Rows) -> float:
    """Share of the errors of always answering the commonest class that each cell's commonest class saves.

    Goodman and Kruskal's lambda (1954), learnt on the training rows and tested on others; 0 with too few to save.
    """
    classes = int(codes.max()) + 1
    common = int(np.argmax(np.bincount(codes[train])))
    errors = int(np.count_nonzero(codes[test] != common))
    if errors < LEAST_MINORITY:
        return 0.0
    pairs, counts = np.unique(cells[train] * classes + codes[train], return_counts=True)
    pairs = pairs[np.lexsort((counts, pairs // classes))]
    ends = np.flatnonzero(np.append(np.diff(pairs // classes) > 0, True))
    answers = np.full(int(cells.max()) + 1, common)
    answers[pairs[ends] // classes] = pairs[ends] % classes
    return 1.0 - int(np.count_nonzero(answers[cells[test]] != codes[test])) / errors


def _auc(
    learnt: NDArray[np.float64], cells: NDArray[np.intp], counts: NDArray[np.float64], label: NDArray[np.float64]
) -> float:
    """P(cell of a positive is above a negative's) + ½ P(equal); 0 with too few of either to say."""
    hits = np.bincount(cells, weights=label, minlength=len(learnt))
    positives = float(hits.sum())
    negatives = float(counts.sum()) - positives
    if min(positives, negatives) < LEAST_MINORITY:
        return 0.0
    _, place = np.unique(learnt, return_inverse=True)
    hit = np.bincount(place, weights=hits)
    miss = np.bincount(place, weights=counts - hits)
    return float(np.sum(hit * (np.cumsum(miss) - miss / 2))) / (positives * negatives)


def _r2(score: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """1 - squared errors over squared deviations; 0 with too few rows or one value."""
    if len(actual) < LEAST_MINORITY:
        return 0.0
    with np.errstate(over="ignore"):
        spread, errors = float(np.sum((actual - actual.mean()) ** 2)), float(np.sum((score - actual) ** 2))
    return 1.0 - errors / spread if 0 < spread < math.inf else 0.0


def _correlation(feature: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """Squared correlation where the feature is finite; 0 where that is on less than half of the rows."""
    finite = np.isfinite(feature)
    x, y = feature[finite], actual[finite]
    if len(x) < max(LEAST_MINORITY, len(actual) / 2):
        return 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        x, y = x - x.mean(), y - y.mean()
        spread = float(x @ x) * float(y @ y)
        return float(x @ y) ** 2 / spread if 0 < spread < math.inf else 0.0
