"""People who labelled the same rows: how far they agree, and how well each does, measured as the model is.

Leave one out: what an annotator says is held against the most frequent label of all the others on that row, and so is
the model's answer, once per annotator. Among labels that are equally frequent one is drawn, from the row's key and a
seed. Nobody is ever compared with a truth that they had a part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mandate.api import spec

from .guesses import draws
from .metrics import Point, UndefinedError
from .metrics.point import STEADY_LABELS, everywhere
from .split import Keys
from .table import MeasureError, column, text_codes, texts

Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Votes:
    """One label by one annotator on one row each, by row and annotator.

    `row` (v,) indexes the evaluation's rows, `annotator` (v,) `names`, `label` (v,) the classes. `strange` counts
    labels of rows that the evaluation doesn't have.
    """

    row: Indices
    annotator: Indices
    label: Indices
    names: tuple[str, ...]
    classes: int
    strange: int

    def among(self, rows: NDArray[np.bool_]) -> Votes:
        """The votes on some of the rows, by a mask over all."""
        kept = rows[self.row]
        return Votes(
            row=self.row[kept],
            annotator=self.annotator[kept],
            label=self.label[kept],
            names=self.names,
            classes=self.classes,
            strange=self.strange,
        )


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What each annotator said and what it is held against: (p,) rows, labels, and what is right."""

    row: Indices
    label: Indices
    actual: Indices


def votes(table: pa.Table, declared: spec.Annotations, *, ids: pa.Array, classes: Sequence[str]) -> Votes:
    """The annotations of rows whose `ids` (canonical texts) are those of the evaluation's rows, in order.

    Missing labels are left out. Raises MissingColumn, MissingId, AmbiguousRow, DuplicateAnnotation, UnknownLabel.
    """
    rows = texts(column(table, declared.row), name=declared.row)
    labels = texts(column(table, declared.label), name=declared.label)
    given = pc.is_valid(labels)
    names, who = text_codes(table, declared.annotator)
    for name, values in ((declared.row, rows), (declared.annotator, column(table, declared.annotator))):
        nowhere = values.filter(given).null_count
        if nowhere:
            raise MeasureError("MissingId", f"data.annotations: column {name!r} is missing beside {nowhere} labels")
    place = pc.index_in(rows, value_set=ids)
    said = pc.index_in(labels, value_set=pa.array(classes, pa.string()))
    unknown = pc.and_(given, pc.is_null(said))
    if pc.any(unknown).as_py():
        first = labels.filter(unknown)[0].as_py()
        raise MeasureError(
            "UnknownLabel",
            f"data.annotations: label {first[:64]!r} isn't among the classes {', '.join(map(repr, classes[:10]))}",
        )
    kept = pc.and_(given, pc.is_valid(place)).to_numpy(zero_copy_only=False)
    _each_names_one_row(rows.filter(pa.array(kept)), ids, name=declared.row)
    row, annotator, label = (
        np.asarray(values, dtype=np.intp)[kept]
        for values in (pc.fill_null(place, 0).to_numpy(), who, pc.fill_null(said, 0).to_numpy())
    )
    order = np.lexsort((annotator, row))
    row, annotator, label = row[order], annotator[order], label[order]
    twice = np.flatnonzero((np.diff(row) == 0) & (np.diff(annotator) == 0))
    if len(twice):
        raise MeasureError(
            "DuplicateAnnotation",
            f"data.annotations: {names[annotator[twice[0]]][:64]!r} labelled a row twice ({len(twice)} such labels); "
            "keep one label per row and annotator",
        )
    used = np.unique(annotator)
    return Votes(
        row=row,
        annotator=np.searchsorted(used, annotator),
        label=label,
        names=tuple(names[place] for place in used),
        classes=len(classes),
        strange=int(pc.sum(given).as_py() or 0) - int(kept.sum()),
    )


def _each_names_one_row(named: pa.Array, ids: pa.Array, *, name: str) -> None:
    """Tables given part by part may each count their rows from 1: then nobody knows which row was labelled."""
    counts = pc.value_counts(ids)
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    both = named.filter(pc.is_in(named, value_set=repeated))
    if len(both):
        raise MeasureError(
            "AmbiguousRow",
            f"data.annotations: column {name!r} says {both[0].as_py()[:64]!r}, which task.id gives to rows of several "
            f"parts ({len(both)} such labels); give every row of train, validation and test an id of its own",
        )


def panel(found: Votes, *, against: Literal["Others", "Target"], actual: Indices, keys: Keys, seed: int) -> Panel:
    """Every vote beside what it is held against: `actual` (n,) of its row, or the others' most frequent label.

    An annotator alone on a row has no others and is left out.
    """
    if against == "Target":
        return Panel(row=found.row, label=found.label, actual=actual[found.row])
    counts, place = _counts(found)
    others = counts[place]
    others[np.arange(len(place)), found.label] -= 1
    most = others.max(axis=1, initial=0)
    kept = most > 0
    modal = others == most[:, None]
    # Labels of one row draw one after the other.
    drawn = draws(keys[found.row], np.zeros(len(place), dtype=np.int8), seed=seed)
    # The label whose turn is drawn among those that are equally frequent.
    turn = np.minimum((drawn * modal.sum(axis=1)).astype(np.intp), modal.sum(axis=1) - 1)
    reference = np.argmax(np.cumsum(modal, axis=1) > turn[:, None], axis=1)
    return Panel(row=found.row[kept], label=found.label[kept], actual=reference[kept])


def agreement(name: str, found: Votes) -> tuple[Point, Indices]:
    """`cohen_kappa` or `fleiss_kappa` of the votes, and the rows that it is of. Raises UndefinedError."""
    if name == "fleiss_kappa":
        return fleiss_kappa(found)
    rows, first, second = both(found)
    return cohen_kappa(first, second, classes=found.classes), rows


def cohen_kappa(first: Indices, second: Indices, *, classes: int) -> Point:
    """(p - e) / (1 - e) of two annotators' labels of the same rows, with e the agreement by chance (Cohen 1960).

    Its influence values give the variance of Fleiss, Cohen & Everitt (1969).
    """
    rows = len(first)
    if not rows:
        raise UndefinedError("NoRows", "no row has labels of both annotators")
    hit = first == second
    a, b = (np.bincount(side, minlength=classes) / rows for side in (first, second))
    chance, share = float(a @ b), float(np.mean(hit))
    value = _kappa(share, chance)
    psi = (hit - share - (1.0 - value) * (b[first] + a[second] - 2.0 * chance)) / (1.0 - chance)
    return _point(value, psi, differing=rows - int(hit.sum()), most=1.0 / (1.0 - chance))


def fleiss_kappa(found: Votes) -> tuple[Point, Indices]:
    """Agreement of several annotators beyond chance (Fleiss 1971), and the rows that it is of.

    Rows may have different numbers of labels, two at least: the mean share of pairs of labels that agree, and by chance
    the sum of squares of the classes' mean shares (Gwet 2014). With equal numbers it is Fleiss' own.
    """
    counts, _ = _counts(found)
    size = counts.sum(axis=1)
    several = size >= 2
    counts, size = counts[several], size[several]
    if not len(size):
        raise UndefinedError("NoRows", "no row has labels of two annotators")
    agree = (np.einsum("nk,nk->n", counts, counts) - size) / (size * (size - 1))
    shares = counts / size[:, None]
    mean = shares.mean(axis=0)
    chance, share = float(mean @ mean), float(agree.mean())
    value = _kappa(share, chance)
    psi = (agree - share - (1.0 - value) * 2.0 * (shares @ mean - chance)) / (1.0 - chance)
    rows = np.unique(found.row)[several]
    # One label more or less takes part in 2 of each `size` pairs of its row.
    most = 2.0 / float(size.mean()) / (1.0 - chance)
    return _point(value, psi, differing=int(np.count_nonzero(agree < 1)), most=most), rows


def both(found: Votes) -> tuple[Indices, Indices, Indices]:
    """Rows that two annotators both labelled, and each one's labels; UndefinedError for others than two."""
    if len(found.names) != 2:
        raise UndefinedError(
            "NotTwoAnnotators",
            f"Cohen's kappa is of two annotators, and there are {len(found.names)}; use fleiss_kappa",
        )
    sides = [found.annotator == place for place in range(2)]
    rows, one, two = np.intersect1d(found.row[sides[0]], found.row[sides[1]], assume_unique=True, return_indices=True)
    return rows, found.label[sides[0]][one], found.label[sides[1]][two]


def words(found: Votes, *, against: Literal["Others", "Target"], rows: int) -> str:
    """Who labelled how many of `rows` test rows, and what they are held against; `found` are votes on those."""
    size = np.unique(found.row, return_counts=True)[1]
    held = (
        "held, like the model there, against the others' most frequent label"
        if against == "Others"
        else "held, like the model there, against the truth"
    )
    alone = int(np.count_nonzero(size == 1))
    left = f"; {alone} rows with one label have no others" if against == "Others" and alone else ""
    strange = f"; {found.strange} labels of rows that aren't in the data" if found.strange else ""
    annotators = len(np.unique(found.annotator))
    return f"{annotators} annotators, {len(found.row)} labels on {len(size)} of {rows} test rows; {held}{left}{strange}"


def _counts(found: Votes) -> tuple[NDArray[np.intp], Indices]:
    """Labels by annotated row and class, and each vote's place among those rows."""
    rows, place = np.unique(found.row, return_inverse=True)
    flat = np.bincount(place * found.classes + found.label, minlength=len(rows) * found.classes)
    return flat.reshape(len(rows), found.classes), place


def _kappa(share: float, chance: float) -> float:
    if chance >= 1.0:
        raise UndefinedError("OneClass", "all labels are of one class, so nothing is left to agree on beyond chance")
    return (share - chance) / (1.0 - chance)


def _point(value: float, psi: NDArray[np.float64], *, differing: int, most: float) -> Point:
    return Point(
        value=value,
        psi=psi,
        stratum=everywhere(len(psi)),
        events=differing,
        link="Identity",
        step=most / len(psi),
        steady=STEADY_LABELS,
    )
