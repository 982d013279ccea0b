"""Who is measured: the model, the baselines and the champion beside the truth, and on which rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec
from mandate.api.references import KINDS
from mandate.evidence.schema import (
    Cutoff,
    Fault,
    Learnt,
)

from . import baselines, cutoff
from .answers import Answers, Voice, from_columns, hear, truth
from .containers import Asked, unasked
from .containers import told as containing
from .forecasts import Forecasts, forecasts
from .judge import CHAMPION, Judge, Rows
from .metrics import Declared, Floats
from .metrics.point import average, shares
from .queries import by_query, heaviness, inside_clusters, told
from .references import WITH_WORDS, make
from .shared import unified
from .shelf import HELD, Shelf
from .split import PARTS, Split
from .table import MeasureError, text_codes
from .units import OF_LABELS, Units
from .weights import by_class, effective_rows
from .work import SERIAL, Workers


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is to be measured, and beside whom: rows in the order of their keys, and what is declared about them."""

    table: pa.Table
    split: Split
    answers: Answers
    model: spec.Model
    task: spec.Task
    references: Sequence[spec.Baseline]
    error_costs: Sequence[spec.ErrorCost]
    champion: Answers | None
    champion_model: spec.Model | None
    containers: Mapping[str, Asked]
    """What baselines of type Container answered, or why they didn't, by name."""
    weights: Floats | None
    sampling: Sequence[spec.ClassSampling]
    rolled: Units | None
    """The units that rows roll up to."""
    measured: NDArray[np.bool_] | None
    """Of selective labels, the rows that count; None where all do."""
    personal: Sequence[str]

    @cached_property
    def quantiles(self) -> tuple[float, ...] | None:
        """The levels that are asked of a regression, if any."""
        return None if self.task.quantiles is None else tuple(float(level) for level in self.task.quantiles)

    @cached_property
    def features(self) -> Sequence[str]:
        """The columns that the model was fed, or all that nothing else names."""
        return _features(self.table, self.model, self.task, self.references)


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Rows, or the units that they roll up to, with their truth and weights."""

    table: pa.Table
    split: Split
    actual: NDArray[Any]
    weights: Floats | None


def prepare(
    case: Case, *, workers: Workers = SERIAL, shelf: Shelf = HELD
) -> tuple[Judge, list[str], list[Learnt], Cutoff | None]:
    """The judge of a case; with findings, what baselines learnt, and the cut-off where it was chosen."""
    model, task, rolled = case.model, case.task, case.rolled
    actual, classes = truth(case.table, task, named=model.output.classes if task.type == "Multiclass" else ())
    sampling, weights = case.sampling, case.weights
    drawn_by_class = bool(sampling) and weights is None and rolled is None
    if sampling:
        weights = _sampled(weights, case.split, actual, classes, task, sampling, rolled)
    ahead = forecasts(case.table, case.split, actual, task=task, weights=weights)
    by_row = Labelled(table=case.table, split=case.split, actual=actual, weights=weights)
    by_unit = by_row
    if rolled is not None:
        by_unit = Labelled(
            table=case.table.take(pa.array(rolled.last)),
            split=rolled.split,
            actual=rolled.reduce(actual, rolled.how.labels),
            weights=None if weights is None else rolled.reduce(weights, "Mean"),
        )

    def heard(given: Answers, by: spec.Model = model) -> Voice:
        return hear(given, rows=case.table.num_rows, task=task, output=by.output, classes=classes).kept(shelf)

    others, learnt, findings = _references(case, by_row, by_unit, heard, classes=classes, ahead=ahead, workers=workers)
    if case.champion is not None:
        different = case.champion.keys is not None and not np.array_equal(case.champion.keys, case.split.keys)
        others[CHAMPION] = (
            Voice(fault=Fault(code="DifferentRows", message="the champion's answers are for other rows than these"))
            if different
            else heard(case.champion, case.champion_model or model)
        )
    mine = heard(case.answers)
    some = (
        True if case.measured is None else case.measured
    )  # of selective labels, a holdout; baselines are fitted to all
    costs = _costs(case.error_costs, classes=classes, task=task)
    clusters = None if task.cluster is None else text_codes(case.table, task.cluster)[1]
    chosen = None
    if model.output.choose is not None and task.type == "Binary":
        chooser = cutoff.Chooser(
            choice=model.output.choose,
            costs=costs,
            beta=None if task.beta is None else float(task.beta),
            validation=case.split.rows("validation") & some,
            actual=actual,
            weights=weights,
            clusters=clusters,
            rolled=rolled,
        )
        chosen = chooser.cutoff(mine, declared=model.output.cutoff, dtype=case.answers.values.dtype)
        findings.append(cutoff.finding(chosen))
        if chosen.chosen is not None:
            read = model.model_copy(
                update={"output": model.output.model_copy(update={"cutoff": chosen.chosen, "choose": None})}
            )
            mine = heard(case.answers, read)
        else:
            mine = cutoff.apply(mine, chosen)
        others, learnt = chooser.others(others, case.references, learnt)
    parts = {part: np.flatnonzero(case.split.rows(part) & some) for part in PARTS}
    others = {name: _other(name, other, mine).kept(shelf) for name, other in others.items()}
    if clusters is not None:
        both = np.intersect1d(clusters[parts["train"]], clusters[parts["test"]])
        if len(both):
            findings.append(f"task.cluster: {len(both)} values of {task.cluster!r} occur both in train and in test")
    if ahead is not None:
        findings += ahead.findings
        clusters = ahead.clusters if clusters is None else clusters
    if weights is not None and task.query is None:
        count = effective_rows(weights, case.split, "test")
        findings.append(f"rows have weights: the {len(parts['test'])} test rows tell as much as {count:.0f} equal ones")
    if rolled is not None:
        before = len(parts["test"])
        made = {reference.name for reference in case.references if reference.type in OF_LABELS}
        mine = rolled.voice(mine)
        others = {name: other if name in made else rolled.voice(other) for name, other in others.items()}
        if clusters is not None and not rolled.same(clusters):
            message = f"task.cluster: rows of one {rolled.how.column!r} are in several clusters; name a column above it"
            raise MeasureError("ClusterInUnit", message)
        clusters = None if clusters is None else clusters[rolled.last]
        parts = {part: np.flatnonzero(rolled.split.rows(part)) for part in PARTS}
        findings.append(f"task.unit: {before} test rows are {len(parts['test'])} of {rolled.how.column!r}")
    if task.type == "Binary" and mine.fault is None and mine.score is not None:
        # Whatever asks for ranks then needn't sort, slice by slice.
        score = mine.score
        ranked = workers.here.map(lambda rows: rows[np.argsort(score[rows], kind="stable")], parts.values())
        parts = dict(zip(parts, ranked, strict=True))
    parts = {part: shelf.keep(rows) for part, rows in parts.items()}
    queries = None
    if task.query is not None:
        queries = by_query(case.table, task)
        inside_clusters(queries, clusters, task)
        findings.append(told(by_unit.actual, queries, parts["test"], depth=task.top_k))
        if by_unit.weights is not None:
            findings.append(heaviness(queries[parts["test"]], by_unit.weights[parts["test"]]))
    shares_known = bool(sampling) and sampling[0].prevalence is not None
    judge = Judge(
        task=task.type,
        actual=by_unit.actual,
        classes=classes,
        mine=mine,
        others=unified(others),
        clusters=clusters,
        weights=by_unit.weights,
        known=_classes(by_unit.actual, classes, task)[0] if shares_known else None,
        parts=parts,
        queries=queries,
        declared=Declared(
            beta=None if task.beta is None else float(task.beta),
            top_k=task.top_k,
            costs=None if isinstance(costs, Fault) else costs,
            quantiles=case.quantiles,
            by_class=drawn_by_class,
        ),
        costs_fault=costs if isinstance(costs, Fault) else None,
        ahead=ahead,
        shelf=shelf,
    )
    return judge, findings, learnt, chosen


def _other(name: str, other: Voice, mine: Voice) -> Voice:
    """Another party, unless it says what the model says."""
    if mine.fault is None and other.fault is None and mine.same(other):
        message = f"{name} gives the same answer on every row, so there is nothing to compare"
        return Voice(fault=Fault(code="SameAsReference", message=message))
    return other


def _references(
    case: Case,
    by_row: Labelled,
    by_unit: Labelled,
    heard: Callable[[Answers], Voice],
    *,
    classes: tuple[str, ...],
    ahead: Forecasts | None,
    workers: Workers,
) -> tuple[dict[str, Voice], list[Learnt], list[str]]:
    """What the declared baselines answer, by name; what they learnt, and findings. `workers` take one each."""
    # Human baselines are heard on rows of their own.
    asked = [each for each in case.references if each.type != "Human" or case.task.type not in KINDS["Human"].tasks]

    def answered(reference: spec.Baseline) -> tuple[Voice, list[Learnt], list[str]]:
        # What is made of labels alone is made of the units', whose shares and means are others than the rows'.
        on = by_unit if reference.type in OF_LABELS else by_row
        return _reference(case, reference, on, heard, classes=classes, ahead=ahead, workers=workers)

    found = dict(zip((each.name for each in asked), workers.here.map(answered, asked), strict=True))
    return (
        {name: voice for name, (voice, _, _) in found.items()},
        [learnt for _, each, _ in found.values() for learnt in each],
        [finding for _, _, each in found.values() for finding in each],
    )


def _reference(
    case: Case,
    reference: spec.Baseline,
    on: Labelled,
    heard: Callable[[Answers], Voice],
    *,
    classes: tuple[str, ...],
    ahead: Forecasts | None,
    workers: Workers,
) -> tuple[Voice, list[Learnt], list[str]]:
    """What one baseline answers, what it learnt `on` these rows, and findings."""
    train = on.split.rows("train")
    if reference.type == "Column":
        return heard(from_columns(case.table, [reference.column or ""])), [], []
    if reference.type == "Container":
        found = case.containers.get(reference.name) or unasked(reference)
        voice = heard(found.said) if isinstance(found.said, Answers) else Voice(fault=found.said)
        return voice, list(containing(reference, found)), []
    if KINDS[reference.type].fitted and case.model.inputs is None:
        # The table holds only columns that something else names: a fit on those would be easy to beat.
        message = (
            f"baseline {reference.type} is found on model.inputs.columns, and none are declared; "
            "declare the columns that the model was fed"
        )
        return Voice(fault=Fault(code="NoInputs", message=message)), [], []
    if KINDS[reference.type].trained and not train.any():
        message = f"baseline {reference.type} needs training rows"
        return Voice(fault=Fault(code="NoTrainingRows", message=message)), [], []
    cutoff = float(case.model.output.cutoff)
    if reference.type in WITH_WORDS:
        voice, words = make(
            reference,
            on.table,
            on.split,
            on.actual,
            task=case.task,
            features=case.features,
            classes=classes,
            cutoff=cutoff,
            weights=on.weights,
            origin=None if ahead is None else ahead.origin,
            personal=case.personal,
        )
        return voice, [Learnt(baseline=reference.name, words=words)] if words else [], []
    findings: list[str] = []
    voice = _baseline(
        reference,
        on.table,
        case.features,
        on.actual,
        train,
        weights=on.weights,
        cutoff=cutoff,
        classes=len(classes),
        quantiles=case.quantiles,
        findings=findings,
        workers=workers,
    )
    return voice, [], findings


def _sampled(
    weights: Floats | None,
    split: Split,
    actual: NDArray[Any],
    classes: Sequence[str],
    task: spec.Task,
    sampling: Sequence[spec.ClassSampling],
    rolled: Units | None,
) -> Floats | None:
    """The rows' weights, with what makes up for classes that were drawn; those of the units, where rows roll up."""
    if rolled is None:
        code, order = _classes(actual, classes, task)
        return by_class(weights, split, code=code, classes=order, sampling=sampling)
    code, order = _classes(rolled.reduce(actual, rolled.how.labels), classes, task)
    base = np.ones(len(actual)) if weights is None else weights
    own = rolled.reduce(base, "Mean")
    made_up = by_class(own, rolled.split, code=code, classes=order, sampling=sampling)
    assert made_up is not None
    return np.where(rolled.code >= 0, base * (made_up / own)[rolled.code], base)


def _classes(actual: NDArray[Any], classes: Sequence[str], task: spec.Task) -> tuple[Rows, Sequence[str]]:
    """Each row's class as an index, and what the indices name; for Binary the positive class is the second."""
    order = sorted(classes, key=lambda name: name == task.positive) if task.type == "Binary" else classes
    return actual.astype(np.intp), order


def _costs(
    declared: Sequence[spec.ErrorCost], *, classes: Sequence[str], task: spec.Task
) -> NDArray[np.float64] | Fault | None:
    """Costs by actual and answered class; for Binary the positive class is the second.

    An error without a declared cost is a fault: taken as free, a model could answer it always and look cheap.
    """
    if not declared:
        return None
    order = sorted(classes, key=lambda name: name == task.positive) if task.type == "Binary" else classes
    places = {name: place for place, name in enumerate(order)}
    strange = [name for cost in declared for name in (cost.actual, cost.predicted) if name not in places]
    if strange:
        known = ", ".join(map(repr, order[:10]))
        return Fault(
            code="UnknownClass",
            message=f"useCase.errorCosts: {strange[0][:64]!r} isn't among the classes {known}"[:1024],
        )
    given = {(cost.actual, cost.predicted) for cost in declared}
    missing = [pair for pair in permutations(order, 2) if pair not in given]
    if missing:
        pairs = "; ".join(f"actual {actual[:64]!r}, predicted {predicted[:64]!r}" for actual, predicted in missing[:3])
        more = f"; and {len(missing) - 3} more" if len(missing) > 3 else ""
        message = f'useCase.errorCosts has no cost for {pairs}{more}: give every error one, "0" where it costs nothing'
        return Fault(code="MissingCosts", message=message[:1024])
    costs = np.zeros((len(order), len(order)))
    for cost in declared:
        costs[places[cost.actual], places[cost.predicted]] = float(cost.cost)
    return costs


def _features(
    table: pa.Table, model: spec.Model, task: spec.Task, references: Sequence[spec.Baseline]
) -> Sequence[str]:
    if model.inputs is not None:
        return model.inputs.columns
    taken = {task.target, task.id, task.time, task.cluster, task.weight, task.query, *(model.source.columns or ())}
    taken |= {task.series, task.horizon}
    taken |= {reference.column for reference in references} | ({task.unit.column} if task.unit else set())
    if task.labels is not None:
        taken |= {task.labels.revealed_by.column, task.labels.holdout, task.labels.propensity}
    return [name for name in table.column_names if name not in taken]


def _baseline(
    reference: spec.Baseline,
    table: pa.Table,
    features: Sequence[str],
    actual: NDArray[Any],
    train: NDArray[np.bool_],
    *,
    weights: Floats | None,
    cutoff: float,
    classes: int,
    quantiles: Sequence[float] | None,
    findings: list[str],
    workers: Workers,
) -> Voice:
    finite = np.ones(len(actual), dtype=np.bool_)
    regression = actual.dtype.kind == "f"
    weight = None if weights is None else shares(weights[train])
    if (reference.type in ("Mean", "Median")) != regression and reference.type != "Linear":
        kind = "Regression" if reference.type in ("Mean", "Median") else "classification"
        return Voice(
            fault=Fault(code="WrongTask", message=f"baseline {reference.type} is for {kind}; use another type")
        )
    match reference.type:
        case "Mean":
            return Voice(score=baselines.constant(average(actual[train], weight), len(actual)), finite=finite)
        case "Median":
            median = baselines.constant(baselines.median(actual[train], weight), len(actual))
            if quantiles is None:
                return Voice(score=median, finite=finite)
            spread = baselines.quantiles(actual[train], quantiles, weight)
            return Voice(score=median, quantiles=np.tile(spread, (len(actual), 1)), finite=finite)
        case "MostFrequent":
            return Voice(label=baselines.most_frequent(actual, train, weight), finite=finite)
        case "Prior":
            score = baselines.prior(actual, train, weight, classes=classes)
            return Voice(label=baselines.most_frequent(actual, train, weight), score=score, finite=finite)
        case _:
            matrix = baselines.design(table, features, train)
            if not matrix.width:
                message = "baseline Linear: in the training rows no feature varies; use Prior or Mean"
                return Voice(fault=Fault(code="NoFeatures", message=message))
            if regression:
                return Voice(score=baselines.ridge(matrix, actual, train, weight), finite=finite)
            score, converged = baselines.logistic(matrix, actual, train, weight, classes=classes, workers=workers)
            if not converged:
                findings.append(
                    f"baseline {reference.name!r}: not converged after {baselines.MAX_ITERATIONS} iterations, so it "
                    "may be weaker than it could be"
                )
            label = score >= cutoff if score.ndim == 1 else np.argmax(score, axis=1)
            return Voice(label=label, score=score, finite=finite, cutoff=cutoff if score.ndim == 1 else None)
