"""The whole measurement: a table, the answers and the settings in, `Computed` evidence out. Pure.

Every metric of the task is measured overall and on every slice value of the test rows, and overall on the other
parts; alone, against each baseline, against the champion and, on slices, against the rest; and across the groups of
slices. What can't be had is listed with the fault that kept it from being had, so that no gate ever finds nothing.

Rows are put into the order of their keys first and linear algebra runs on one thread, so the result depends neither on
the rows' order nor on the number of cores.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mandate.api import spec
from mandate.api.catalogue import NUMBERS, Metric, metrics_for
from mandate.api.references import KINDS
from mandate.evidence.canonical import digest
from mandate.evidence.data import CHANGES, LEAKS, NOTES, UNREPRESENTED, DataEvidence
from mandate.evidence.intervals import AllPairs, Fact, GroupPair, Interval, Unbounded
from mandate.evidence.measurement import stated
from mandate.evidence.personal import FLOOR
from mandate.evidence.schema import (
    Computed,
    Cutoff,
    Dataset,
    Estimate,
    Fault,
    HeldOut,
    Inputs,
    Learnt,
    Quantity,
    Reliability,
    Support,
)
from mandate.evidence.weakest import Loss, Weakest
from mandate.evidence.windows import Windows
from mandate.memory import give_back

from . import baselines, cutoff, people, personal, shared, tallies, uncertainty, weakest, windows
from .answers import Answers, Voice, from_columns, hear, truth
from .containers import Asked, unasked
from .containers import told as containing
from .data.domain import domain_auc
from .data.parts import examine
from .data.profile import Profile
from .data.representation import represent
from .forecasts import MAX_HORIZONS, Forecasts, forecasts
from .metrics import METRICS, Declared, Floats, Point, Sample, UndefinedError
from .metrics.point import average, known_shares, shares
from .metrics.quantiles import crossed
from .noise import label_noise
from .people import Panel, Votes
from .queries import by_query, inside_clusters, told, whole_queries
from .references import WITH_WORDS, make, no_history
from .reliability import reliability
from .remainder import INFLUENCES, Remainder, Taken
from .revealed import combined, reveal
from .revealed import told as told_of
from .sample import sampled
from .shared import Known, unified
from .slices import Sliced, assign_all
from .split import PARTS, Keys, Part, Split
from .table import MeasureError, Ordered, column, text_codes, texts
from .tallies import Tallies, Tally
from .uncertainty import Clusters, Summed
from .units import OF_LABELS, Units, units
from .weights import by_class, effective_rows, weigh
from .work import SERIAL, Workers, others

CHAMPION = "champion"
REST = "rest"
MAX_GROUPS = 20
"""Groups of a sensitive slice that are compared pair by pair; of other slices, MAX_GROUPS_PLAIN."""
MAX_GROUPS_PLAIN = 8
MAX_CLASSES = 100
"""Classes of a Multiclass task that are measured one by one."""


SHAPES: tuple[Literal["difference", "ratio"], ...] = ("difference", "ratio")
"""How groups are compared."""

Rows = NDArray[np.intp]
Numbers = dict[str, Point | Fault]


def compute(
    *,
    table: pa.Table,
    split: Split,
    answers: Answers,
    model: spec.Model,
    task: spec.Task,
    data: spec.Data,
    references: Sequence[spec.Baseline] = (),
    error_costs: Sequence[spec.ErrorCost] = (),
    champion: Answers | None = None,
    champion_model: spec.Model | None = None,
    containers: Mapping[str, Asked] | None = None,
    model_digest: str | None = None,
    data_digests: Mapping[str, str] | None = None,
    annotations: pa.Table | None = None,
    workers: Workers = SERIAL,
    production: Profile | None = None,
) -> Computed:
    """Measure one model.

    `table` holds the rows of all parts, `split` says which is which, `answers` holds one answer per row of `table`,
    and so does `champion`, in the table's order or with keys; `champion_model` says how to read its answers, and has
    its digest. `containers` holds what baselines of type Container answered for the rows of `table`, by name, or why
    they didn't. `references` are the declared baselines, `error_costs` the costs of wrong answers, `annotations` what
    people said, as `data.annotations` declares it, `production` the profile of what production scores. `workers` do
    what is cut into tasks; no number depends on them. Raises MeasureError where the inputs can't be measured at all;
    whatever fails for one number is that number's fault.
    """
    read, order = table, answers.order(split.keys)
    if champion is not None:
        champion = _align(champion, order)
    asked = {name: given.ordered(order) for name, given in (containers or {}).items()}
    table, keys, split, answers = Ordered(table, order), split.keys, split.take(order), answers.take(order)
    weights, split = weigh(table, split, task=task)
    measured: NDArray[np.bool_] | None = None
    if (revealed := reveal(table, split, task=task)) is not None:
        rows = np.flatnonzero(revealed.rows)
        if champion is not None and len(champion.values) == table.num_rows:
            champion = champion.take(rows)
        asked = {name: given.take(rows) for name, given in asked.items()}
        weights, measured = combined(weights, revealed, rows), revealed.measured[rows]
        table, split, answers = table.take(pa.array(rows)), revealed.split.take(rows), answers.take(rows)
    rolled = units(table, split, task=task)
    with threadpool_limits(limits=1, user_api="blas"):
        judge, findings, learnt, chosen = _prepare(
            table,
            split,
            answers,
            model,
            task,
            references,
            error_costs,
            champion,
            champion_model,
            asked,
            weights,
            data.sampling,
            rolled,
            measured,
            personal=data.personal,
        )
        if revealed is not None:
            findings.append(told_of(revealed.known))
        if revealed is None:
            as_read = _as_read(split, order, keys)
        else:  # rows that don't count are no rows of the data either
            read, as_read = table.select(table.column_names), split
        private = personal.personal(data, salt=split.digest)
        withhold = None if private is None else private.withhold
        slices = list(assign_all(table, data.slices, train=split.rows("train"), withhold=withhold))
        if (note := personal.undeclared(read.column_names, declared=data.personal, task=task)) is not None:
            findings.append(note)
        if rolled is not None:
            slices = [rolled.sliced(sliced, timed=task.time is not None) for sliced in slices]
        if judge.queries is not None:
            whole_queries(judge.queries, split, slices, task)
        findings += [finding for sliced in slices for finding in judge.unseen(sliced)]
        features = _features(table, model, task, references)
        scored = table if rolled is None else table.take(pa.array(rolled.last))
        findings += sampled(split)
        give_back()
        with workers.here.aside() as submit:
            examined = submit(
                examine,
                read,
                as_read,
                target=task.target,
                features=features,
                regression=task.type in NUMBERS,
                cluster=task.cluster,
                time=task.time,
                by_time=data.split is not None and data.split.method == "Time",
                in_order=data.split is None or data.split.method == "Time",
                workers=others(workers),
            )
            searched = submit(judge.weakest, scored, slices, data, model)
            windowed = submit(judge.windowed, scored, data, task)
            said = _votes(annotations, data, table, judge.order(task), task=task)
            judge, words = _with_people(judge, said, references, split)
            learnt += words
            if isinstance(said, Votes) and judge.weights is not None:
                noise = ", label_noise" if data.annotations is not None and data.annotations.independent else ""
                findings.append(
                    f"cohen_kappa and fleiss_kappa{noise} are of the rows that people labelled, each counting alike: "
                    "they know neither task.weight nor data.sampling"
                )
            overall, remainder = judge.overall()
            sliced_ = [submit(_listed, judge, sliced, remainder) for sliced in slices]
            estimates = [
                *judge.facts(as_read),
                *overall,
                *judge.by_class(),
                *judge.by_quantile(task.quantiles or ()),
                *judge.by_horizon(),
                *judge.agreement(said, noise=data.annotations is not None and data.annotations.independent),
            ]
            if (classifier := data.domain_classifier) is not None:
                group = task.cluster or task.query
                estimates.append(domain_auc(table, split, features=features, folds=classifier.folds, cluster=group))
            found, weak, (in_windows, over) = examined.result(), searched.result(), windowed.result()
            estimates += in_windows
            if production is not None:
                found = represent(found, read, as_read, production, model=model, task=task, data=data, slices=slices)
            if private is not None:
                found = private.data(found)
            estimates += _data_facts(found, split, production=production is not None)
            estimates += (estimate for each in sliced_ for estimate in each.result())
    computed = Computed(
        task=task.type,
        inputs=Inputs(
            model=model_digest,
            champion=None if champion_model is None else champion_model.source.digest,
            containers={name: given.image for name, given in asked.items() if given.image is not None} or None,
            data=dict(data_digests or {}),
            split=split.digest,
            predictions=predictions_digest(split, answers),
            settings=settings_digest(model=model, task=task, data=data, references=references, error_costs=error_costs),
        ),
        rows=split.counts(),
        positive=task.positive,
        classes=judge.classes,
        row_sketch=split.sketch("test"),
        held_out=_held_out(model, split),
        labels=None if revealed is None else revealed.known,
        currency=error_costs[0].currency if error_costs else None,
        reliability=judge.reliability(),
        weakest=weak,
        edges=tuple(sliced.edges for sliced in slices if sliced.edges is not None and not sliced.personal) or None,
        learnt=tuple(learnt) or None,
        cutoff=chosen,
        windows=over,
        estimates=tuple(sorted(estimates, key=lambda estimate: estimate.quantity.sort_key())),
        findings=tuple(sorted(findings)),
        data=found,
    )
    if private is None:
        return computed
    declared = [model, task, data, *references, *error_costs, *([champion_model] if champion_model else [])]
    return private.computed(computed, known=personal.known_words(declared, classes=judge.classes, slices=slices))


def _as_read(split: Split, order: Rows, keys: Keys) -> Split:
    """The split of rows that were put into `order`, in the order in which their table, with these `keys`, has them."""
    part = np.empty(len(keys), dtype=np.int8)
    part[order] = split.part
    return Split(part=part, keys=keys, digest=split.digest)


def _listed(judge: Judge, sliced: Sliced, remainder: Remainder | None) -> list[Estimate]:
    return list(judge.sliced(sliced, remainder))


def settings_digest(
    *,
    model: spec.Model,
    task: spec.Task,
    data: spec.Data,
    references: Sequence[spec.Baseline],
    error_costs: Sequence[spec.ErrorCost],
) -> str:
    """Digest of what was declared about the measurement, and of how to read its tables.

    Models, tables and their places aren't in it.
    A field that came later is in it only where it is declared, so that older evidence stays its manifest's.
    """
    found = {
        "task": _said(task, "type", "target", "positive", "id", "time", "cluster"),
        "output": _said(model.output, "name", "kind", "classes", "cutoff"),
        "split": None
        if data.split is None
        else _said(data.split, "method", "seed", "train", "validation", "test", "gap"),
        "slices": [_said(declared, "name", "column", "edges", "sensitive") for declared in data.slices],
        "baselines": [_said(declared.as_measured, "name", "type", "column") for declared in references],
    }
    tables = {part: getattr(data, part) for part in spec.DATA_TABLES}
    read_as = {
        part: {field: said for field, said in stated(table).items() if field in ("format", "csv")}
        for part, table in tables.items()
        if table is not None
    }
    later: dict[str, Any] = {
        "errorCosts": [stated(declared) for declared in error_costs],
        "sampling": [stated(declared) for declared in data.sampling],
        "annotations": None if data.annotations is None else _named_columns(data.annotations),
        "readAs": {part: said for part, said in read_as.items() if said},
        "search": None if data.search is None else stated(data.search),
        "personal": sorted(data.personal),
        "domainClassifier": None if data.domain_classifier is None else {"folds": data.domain_classifier.folds},
        "windows": None if data.windows is None else stated(data.windows),
    }
    return digest(found | {name: declared for name, declared in later.items() if declared})


def _said(record: spec.Spec, *first: str) -> dict[str, Any]:
    """The `first` fields there were, whatever they hold, and later ones where they are declared."""
    rest = record.model_dump(mode="json", exclude=set(first), exclude_none=True, exclude_defaults=True)
    return record.model_dump(mode="json", include=set(first)) | rest


def predictions_digest(split: Split, answers: Answers) -> str:
    """Digest of the answers row by row, in the order of the rows' keys."""
    hasher = hashlib.sha256(split.keys.astype(">u8").tobytes())
    if answers.values.dtype.kind in "fiub":
        hasher.update(answers.values.astype(">f8").tobytes())
    else:
        hasher.update("\x1f".join(map(str, answers.values)).encode())
    return "sha256:" + hasher.hexdigest()


def _align(champion: Answers, order: Rows) -> Answers:
    """The champion's answers in the judge's order of rows; left alone where they are for other rows."""
    if champion.keys is None:
        return champion.take(order) if len(champion.values) == len(order) else champion
    own = champion.order(champion.keys)
    return champion.take(own)


def _held_out(model: spec.Model, split: Split) -> HeldOut:
    if model.training.split_digest == split.digest:
        return HeldOut(status="Proven", reason="model.training.splitDigest is this split's digest")
    if model.training.held_out:
        return HeldOut(status="Declared", reason="model.training.heldOut declares it")
    return HeldOut(status="Unknown", reason="nothing says that training left the test rows out")


def _prepare(
    table: pa.Table,
    split: Split,
    answers: Answers,
    model: spec.Model,
    task: spec.Task,
    references: Sequence[spec.Baseline],
    error_costs: Sequence[spec.ErrorCost],
    champion: Answers | None,
    champion_model: spec.Model | None,
    containers: Mapping[str, Asked],
    weights: Floats | None,
    sampling: Sequence[spec.ClassSampling],
    rolled: Units | None,
    measured: NDArray[np.bool_] | None,
    *,
    personal: Sequence[str] = (),
) -> tuple[Judge, list[str], list[Learnt], Cutoff | None]:
    actual, classes = truth(table, task, named=model.output.classes if task.type == "Multiclass" else ())
    rows = table.num_rows
    findings: list[str] = []
    learnt: list[Learnt] = []
    quantiles = None if task.quantiles is None else tuple(float(level) for level in task.quantiles)
    drawn_by_class = bool(sampling) and weights is None and rolled is None
    if sampling:
        weights = _sampled(weights, split, actual, classes, task, sampling, rolled)

    def heard(given: Answers, by: spec.Model = model) -> Voice:
        return hear(given, rows=rows, task=task, output=by.output, classes=classes)

    others: dict[str, Voice] = {}
    ahead = forecasts(table, split, actual, task=task, weights=weights)
    features = _features(table, model, task, references)
    by_row = (table, split, actual, weights)
    by_unit = by_row
    if rolled is not None:
        heavy = None if weights is None else rolled.reduce(weights, "Mean")
        by_unit = (table.take(pa.array(rolled.last)), rolled.split, rolled.reduce(actual, rolled.how.labels), heavy)
    for reference in references:
        # What is made of labels alone is made of the units', whose shares and means are others than the rows'.
        on, parted, known, heavy = by_unit if reference.type in OF_LABELS else by_row
        train = parted.rows("train")
        if reference.type == "Human" and task.type in KINDS["Human"].tasks:
            continue  # heard on rows of their own
        if reference.type == "Column":
            others[reference.name] = heard(from_columns(table, [reference.column or ""]))
        elif reference.type == "Container":
            found = containers.get(reference.name) or unasked(reference)
            others[reference.name] = heard(found.said) if isinstance(found.said, Answers) else Voice(fault=found.said)
            learnt += containing(reference, found)
        elif KINDS[reference.type].fitted and model.inputs is None:
            # The table holds only columns that something else names: a fit on those would be easy to beat.
            others[reference.name] = Voice(
                fault=Fault(
                    code="NoInputs",
                    message=f"baseline {reference.type} is found on model.inputs.columns, and none are declared; "
                    "declare the columns that the model was fed",
                )
            )
        elif KINDS[reference.type].trained and not train.any():
            others[reference.name] = Voice(
                fault=Fault(code="NoTrainingRows", message=f"baseline {reference.type} needs training rows")
            )
        elif reference.type in WITH_WORDS:
            others[reference.name], words = make(
                reference,
                on,
                parted,
                known,
                task=task,
                features=features,
                classes=classes,
                cutoff=float(model.output.cutoff),
                weights=heavy,
                origin=None if ahead is None else ahead.origin,
                personal=personal,
            )
            if words:
                learnt.append(Learnt(baseline=reference.name, words=words))
        else:
            others[reference.name] = _baseline(
                reference,
                on,
                features,
                known,
                train,
                weights=heavy,
                cutoff=float(model.output.cutoff),
                classes=len(classes),
                quantiles=quantiles,
                findings=findings,
            )
    if champion is not None:
        different = champion.keys is not None and not np.array_equal(champion.keys, split.keys)
        others[CHAMPION] = (
            Voice(fault=Fault(code="DifferentRows", message="the champion's answers are for other rows than these"))
            if different
            else heard(champion, champion_model or model)
        )
    mine = heard(answers)
    some = True if measured is None else measured  # of selective labels, a holdout; baselines are fitted to all
    costs = _costs(error_costs, classes=classes, task=task)
    clusters = None if task.cluster is None else text_codes(table, task.cluster)[1]
    chosen = None
    if model.output.choose is not None and task.type == "Binary":
        chooser = cutoff.Chooser(
            choice=model.output.choose,
            costs=costs,
            beta=None if task.beta is None else float(task.beta),
            validation=split.rows("validation") & some,
            actual=actual,
            weights=weights,
            clusters=clusters,
            rolled=rolled,
        )
        chosen = chooser.cutoff(mine, declared=model.output.cutoff, dtype=answers.values.dtype)
        findings.append(cutoff.finding(chosen))
        if chosen.chosen is not None:
            read = model.model_copy(
                update={"output": model.output.model_copy(update={"cutoff": chosen.chosen, "choose": None})}
            )
            mine = heard(answers, read)
        else:
            mine = cutoff.apply(mine, chosen)
        others, learnt = chooser.others(others, references, learnt)
    parts = {part: np.flatnonzero(split.rows(part) & some) for part in PARTS}
    for name, other in others.items():
        if mine.fault is None and other.fault is None and mine.same(other):
            others[name] = Voice(
                fault=Fault(
                    code="SameAsReference",
                    message=f"{name} gives the same answer on every row, so there is nothing to compare",
                )
            )
    if clusters is not None:
        both = np.intersect1d(clusters[parts["train"]], clusters[parts["test"]])
        if len(both):
            findings.append(f"task.cluster: {len(both)} values of {task.cluster!r} occur both in train and in test")
    if ahead is not None:
        findings += ahead.findings
        clusters = ahead.clusters if clusters is None else clusters
    if weights is not None:
        count = effective_rows(weights, split, "test")
        findings.append(f"rows have weights: the {len(parts['test'])} test rows tell as much as {count:.0f} equal ones")
    if rolled is not None:
        before = len(parts["test"])
        actual = by_unit[2]
        made = {reference.name for reference in references if reference.type in OF_LABELS}
        mine = rolled.voice(mine)
        others = {name: other if name in made else rolled.voice(other) for name, other in others.items()}
        if clusters is not None and not rolled.same(clusters):
            message = f"task.cluster: rows of one {rolled.how.column!r} are in several clusters; name a column above it"
            raise MeasureError("ClusterInUnit", message)
        clusters = None if clusters is None else clusters[rolled.last]
        weights = by_unit[3]
        parts = {part: np.flatnonzero(rolled.split.rows(part)) for part in PARTS}
        findings.append(f"task.unit: {before} test rows are {len(parts['test'])} of {rolled.how.column!r}")
    if task.type == "Binary" and mine.fault is None and mine.score is not None:
        # Whatever asks for ranks then needn't sort, slice by slice.
        parts = {part: rows[np.argsort(mine.score[rows], kind="stable")] for part, rows in parts.items()}
    queries = None
    if task.query is not None:
        queries = by_query(table, task)
        inside_clusters(queries, clusters, task)
        findings.append(told(actual, queries, parts["test"], depth=task.top_k))
    if task.type == "Multiclass" and len(classes) > MAX_CLASSES:
        findings.append(f"{len(classes)} classes: none of them is measured by itself, {MAX_CLASSES} would be at most")
    judge = Judge(
        task=task.type,
        actual=actual,
        classes=classes,
        mine=mine,
        others=unified(others),
        clusters=clusters,
        weights=weights,
        known=_classes(actual, classes, task)[0] if sampling and sampling[0].prevalence is not None else None,
        parts=parts,
        queries=queries,
        declared=Declared(
            beta=None if task.beta is None else float(task.beta),
            top_k=task.top_k,
            costs=None if isinstance(costs, Fault) else costs,
            quantiles=quantiles,
            by_class=drawn_by_class,
        ),
        costs_fault=costs if isinstance(costs, Fault) else None,
        ahead=ahead,
    )
    return judge, findings, learnt, chosen


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


def _named_columns(declared: spec.Annotations) -> dict[str, Any]:
    named = {"row": declared.row, "annotator": declared.annotator, "label": declared.label}
    return named | ({"independent": True} if declared.independent else {})


def _votes(
    annotations: pa.Table | None, data: spec.Data, table: pa.Table, classes: Sequence[str], *, task: spec.Task
) -> Votes | Fault | None:
    """What people said of the rows, why it can't be had, or None where nothing is declared."""
    if data.annotations is None:
        return None
    if annotations is None or task.id is None:
        return Fault(code="NoAnnotations", message="data.annotations needs a table, and task.id to find its rows")
    if task.unit is not None:
        message = "data.annotations are of rows, which task.unit rolls up; leave out one of both"
        return Fault(code="UnitsAnnotated", message=message)
    try:
        ids = texts(column(table, task.id), name=task.id)
        return people.votes(annotations, data.annotations, ids=ids, classes=classes)
    except MeasureError as error:
        return Fault(code=error.code, message=str(error)[:1024])


def _with_people(
    judge: Judge, said: Votes | Fault | None, references: Sequence[spec.Baseline], split: Split
) -> tuple[Judge, list[Learnt]]:
    """The judge with the baselines of type Human, and what they are made of."""
    panels: dict[str, tuple[Judge, Rows] | Fault] = {}
    learnt: list[Learnt] = []
    test = split.rows("test")
    for reference in references:
        if reference.type != "Human" or judge.task not in KINDS["Human"].tasks:
            continue
        if not isinstance(said, Votes):
            panels[reference.name] = said or Fault(
                code="NoAnnotations", message="baseline Human needs data.annotations: what people said"
            )
            continue
        against = reference.against or "Others"
        actual = judge.actual.astype(np.intp)
        panel = people.panel(said, against=against, actual=actual, keys=split.keys, seed=reference.seed or 0)
        panels[reference.name] = judge.at(reference.name, panel), panel.row
        words = people.words(said.among(test), against=against, rows=int(test.sum()))
        learnt.append(Learnt(baseline=reference.name, words=words))
    return replace(judge, panels=panels), learnt


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
            score, converged = baselines.logistic(matrix, actual, train, weight, classes=classes)
            if not converged:
                findings.append(
                    f"baseline {reference.name!r}: not converged after {baselines.MAX_ITERATIONS} iterations, so it "
                    "may be weaker than it could be"
                )
            label = score >= cutoff if score.ndim == 1 else np.argmax(score, axis=1)
            return Voice(label=label, score=score, finite=finite, cutoff=cutoff if score.ndim == 1 else None)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A slice's value on the test rows: its numbers, how many rows it has, and their clusters."""

    numbers: Numbers
    rows: int
    codes: Clusters | None = None

    @cached_property
    def clusters(self) -> int:
        """How many occur."""
        return 0 if self.codes is None else len(np.unique(self.codes))


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Everyone's answers beside the truth; yields estimates."""

    task: Literal["Binary", "Multiclass", "Regression", "Ranking", "Forecast"]
    actual: NDArray[Any]
    classes: tuple[str, ...]
    mine: Voice
    others: dict[str, Voice]
    clusters: Clusters | None
    weights: Floats | None
    """Of all rows; None where they count alike. Rows of weight 0 are in no part."""
    known: Rows | None
    """Every row's class, where weights give the classes of each part shares that are known."""
    parts: dict[Part, Rows]
    declared: Declared
    queries: Rows | None
    """Ranking: which query a row belongs to."""
    costs_fault: Fault | None
    """Why there are no costs although some are declared."""
    panels: Mapping[str, tuple[Judge, Rows] | Fault] = field(default_factory=dict)
    """By baseline of type Human: the judge of annotators' labels, and the row that each label is of."""
    ahead: Forecasts | None = None
    """Of a Forecast."""

    def order(self, task: spec.Task) -> tuple[str, ...]:
        """The classes by index; of Binary the negative one, then the positive one."""
        return tuple(sorted(self.classes, key=lambda name: name == task.positive))

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The task's metrics that are computed from predictions, and for which all is declared."""
        return tuple(metric for metric in metrics_for(self.task) if metric.name in METRICS and self._has(metric))

    @property
    def spreads(self) -> tuple[Metric, ...]:
        """The task's metrics that are the worst of others' spreads over groups."""
        return tuple(metric for metric in metrics_for(self.task) if metric.spreads)

    def _has(self, metric: Metric) -> bool:
        if metric.declaration == "useCase.errorCosts" and self.costs_fault is not None:
            return True
        return self.declared.has(metric.declaration)

    def facts(self, split: Split) -> Iterator[Estimate]:
        """Counts over the run itself."""
        for part, rows in self.parts.items():
            if len(rows):
                share = 0.0 if self.mine.finite is None else float(np.mean(self.mine.finite[rows]))
                yield _fact("finite_answers", part, share, rows=len(rows))
                if self.declared.quantiles is not None:
                    answers = self.mine.quantiles
                    count = len(rows) if answers is None else crossed(answers[rows])
                    yield _fact("crossed_quantiles", part, float(count), rows=len(rows))
        test = len(self.parts["test"])
        yield _fact("shared_rows", "test", float(split.shared("train", "test")), rows=test)

    def overall(self) -> tuple[list[Estimate], Remainder | None]:
        """All parts as a whole, and train against test; and what slices of the test rows leave over, if sums tell."""
        estimates: list[Estimate] = []
        codes = {part: self._codes(rows) for part, rows in self.parts.items()}
        sizes = (len(self.parts["train"]), len(self.parts["test"]))
        mine = {part: self._each(self.mine, rows) for part, rows in self.parts.items()}
        known: dict[Part, Known] = {part: {} for part in self.parts}
        theirs = {
            part: {reference: self._each(voice, rows, known=known[part]) for reference, voice in self.others.items()}
            for part, rows in self.parts.items()
        }
        kept: Numbers = {}
        # One metric after the other: influence values of all rows are as large as a column, and there are many metrics.
        for name in (metric.name for metric in self.metrics):
            found = {part: next(numbers)[1] for part, numbers in mine.items()}
            for part, rows in self.parts.items():
                others = {reference: dict([next(numbers)]) for reference, numbers in theirs[part].items()}
                estimates += self._beside({name: found[part]}, others, rows, codes[part], on=part)
                del others
                known[part].clear()
            quantity, train, test = Quantity(metric=name, on="train-test"), found["train"], found["test"]
            both = (codes["train"], codes["test"])
            estimates.append(_compared(quantity, train, test, both, sizes=sizes, named=("train", "test")))
            give_back()
            kept[name] = test if name in INFLUENCES or isinstance(test, Fault) else _without_rows(test)
        for part, rows in self.parts.items():
            estimates += self._beside_people(rows, on=part)
        rows = self.parts["test"]
        in_order = self.ahead is not None and self.ahead.blocks is not None
        if self.weights is not None or self.clusters is not None or in_order or not self._answered(rows):
            return estimates, None
        return estimates, Remainder(self._sample(self.mine, rows), kept)

    def by_class(self) -> Iterator[Estimate]:
        """Multiclass: every class against all others, on the test rows, beside the references."""
        rows = self.parts["test"]
        if self.task != "Multiclass" or len(self.classes) > MAX_CLASSES:
            return
        metrics = tuple(metric for metric in self.metrics if metric.by_class)
        for place, name in enumerate(self.classes):
            own = self.numbers(self.mine, rows, metrics=metrics, place=place)
            others = {
                reference: self.numbers(voice, rows, metrics=metrics, place=place)
                for reference, voice in self.others.items()
            }
            compared = self._beside(own, others, rows, self._codes(rows), on="test")
            for estimate in (*compared, *self._beside_people(rows, on="test", metrics=metrics, place=place)):
                quantity = estimate.quantity.model_copy(update={"of_class": name})
                yield estimate.model_copy(update={"quantity": quantity})

    def by_quantile(self, levels: Sequence[str]) -> Iterator[Estimate]:
        """Regression with quantiles: each of them on the test rows, beside the references."""
        rows = self.parts["test"]
        metrics = tuple(metric for metric in self.metrics if metric.by_quantile)
        for place, level in enumerate(levels):
            own = self.numbers(self.mine, rows, metrics=metrics, place=place)
            others = {
                reference: self.numbers(voice, rows, metrics=metrics, place=place)
                for reference, voice in self.others.items()
            }
            for estimate in self._beside(own, others, rows, self._codes(rows), on="test"):
                quantity = estimate.quantity.model_copy(update={"quantile": level})
                yield estimate.model_copy(update={"quantity": quantity})

    def by_horizon(self) -> Iterator[Estimate]:
        """Forecast: every horizon that occurs on its test rows, beside the references."""
        if self.ahead is None or self.ahead.horizon is None:
            return
        test, horizons = self.parts["test"], self.ahead.horizons
        metrics = tuple(metric for metric in self.metrics if metric.by_horizon)
        if len(horizons) > MAX_HORIZONS:
            message = f"there are {len(horizons)} horizons, at most {MAX_HORIZONS} are measured one by one; keep fewer"
            for metric in metrics:
                for versus in (None, *self.others):
                    quantity = Quantity(metric=metric.name, horizon=spec.EACH, versus=versus)
                    yield _faulty(quantity, Fault(code="TooManyHorizons", message=message), rows=len(test))
            return
        for steps, count in horizons.items():
            rows = test[self.ahead.horizon[test] == steps]
            if len(rows):
                own = self.numbers(self.mine, rows, metrics=metrics)
            else:
                fault = Fault(code="NoRows", message=f"none of its {count} rows is a test row; give it some")
                own = dict.fromkeys((metric.name for metric in metrics), fault)
            others = {name: self.numbers(voice, rows, metrics=metrics) for name, voice in self.others.items()}
            for estimate in self._beside(own, others, rows, self._codes(rows), on="test"):
                quantity = estimate.quantity.model_copy(update={"horizon": str(steps)})
                yield estimate.model_copy(update={"quantity": quantity})

    def windowed(self, table: pa.Table, data: spec.Data, task: spec.Task) -> tuple[list[Estimate], Windows | None]:
        """The model in every whole window of the test rows; `table` holds what is judged, row by row."""
        if data.windows is None:
            return [], None
        found = windows.assign(
            table,
            self.parts["test"],
            declared=data.windows,
            time=task.time,
            queries=self.queries,
            rolled=task.unit is not None,
        )
        return windows.measure(
            found, self.metrics, numbers=lambda rows: self.numbers(self.mine, rows), codes=self._codes
        )

    def reliability(self) -> Reliability | None:
        """The probabilities of the test rows beside what happened; None where they aren't all numbers."""
        rows = self.parts["test"]
        if self.task in NUMBERS or not self._answered(rows):
            return None
        return reliability(self._sample(self.mine, rows))

    def weakest(self, table: pa.Table, slices: Sequence[Sliced], data: spec.Data, model: spec.Model) -> Weakest | None:
        """Where the losses on the test rows are largest; None where they aren't all known."""
        rows, asked = self.parts["test"], data.search or spec.Search()
        if self.task == "Ranking" or not self._answered(rows):  # a ranking's rows have no loss of their own
            return None
        columns = asked.columns if asked.columns is not None else model.inputs.columns if model.inputs else ()
        train = np.isin(np.arange(table.num_rows), self.parts["train"])
        kind: Loss = asked.loss or ("AbsoluteError" if self.task in NUMBERS else "Error")
        sample = self._sample(self.mine, rows)
        if sample.label is None if kind == "Error" else sample.score is None:
            return None
        losses = weakest.losses(sample, kind)
        if not np.isfinite(losses.sum()):
            return None  # answers and truth so far apart that the loss overflows
        axes, left_out = weakest.axes(
            table, slices, data.slices, columns, train=train, test=rows, personal=data.personal
        )
        return weakest.search(
            losses,
            axes,
            kind=kind,
            clusters=self._codes(rows),
            least_rows=asked.min_rows,
            left_out=left_out,
        )

    def unseen(self, slices: Sliced) -> Iterator[str]:
        """Findings about values that occur in train and not in test, or the other way round."""
        if not slices.values or not len(self.parts["train"]):
            return
        train, test = (
            np.bincount(slices.code[self.parts[part]], minlength=len(slices.values)) for part in ("train", "test")
        )
        for here, there, words in (
            (test, train, "in test and not in train, so the model can't have learnt them"),
            (train, test, "in train and not in test, so nothing is shown of them"),
        ):
            names = [value for place, value in enumerate(slices.values) if here[place] and not there[place]]
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                listed = ", ".join(repr(value[:64]) for value in names[:3]) + more
                yield f"slice {slices.name!r}, values {words}: {listed}"

    def sliced(self, slices: Sliced, remainder: Remainder | None = None) -> Iterator[Estimate]:
        """Every value of one slice on the test rows, against the rest, and across the values.

        `remainder` knows the rest by sums.

        A value of a sensitive slice that occurs, but not in the test rows, is a fault there and across the values.
        """
        test = self.parts["test"]
        if slices.fault is not None:
            for metric in self.metrics:
                yield _faulty(Quantity(metric=metric.name, slice=slices.name), slices.fault, rows=len(test))
            for metric in (*self.metrics, *self.spreads):
                for shape in SHAPES:
                    quantity = Quantity(metric=metric.name, across=slices.name, shape=shape)
                    yield _faulty(quantity, slices.fault, rows=len(test))
            return
        code = slices.code[test]
        occurs = np.bincount(slices.code, minlength=slices.found)
        groups: dict[str, Group] = {}
        sums = self._tallies(code, len(slices.values), remainder)
        taken = None if sums is None or remainder is None else remainder.taken(sums.code, sums.size)
        told = {} if sums is None else self._told(sums)
        compared = np.count_nonzero(np.bincount(code)) <= _most_groups(slices)
        for index, (value, places) in enumerate(zip(slices.values, _by_code(code, len(slices.values)), strict=True)):
            rows = test[places]
            if not len(rows):
                if slices.sensitive and occurs[index]:
                    fault = Fault(code="NoRows", message=f"none of its {occurs[index]} rows is a test row")
                    groups[value] = Group(numbers={metric.name: fault for metric in self.metrics}, rows=0)
                    for metric in self.metrics:
                        yield _faulty(Quantity(metric=metric.name, slice=slices.name, value=value), fault, rows=0)
                continue
            codes = self._codes(rows)
            if slices.personal and self._people(rows) < FLOOR:
                fault = personal.too_few("rows" if codes is None else "clusters")
                groups[value] = Group(
                    numbers={metric.name: fault for metric in self.metrics}, rows=len(rows), codes=codes
                )
                for metric in self.metrics:
                    for versus in (None, REST, *self.others, *self.panels):
                        quantity = Quantity(metric=metric.name, slice=slices.name, value=value, versus=versus)
                        yield _faulty(quantity, fault, rows=len(rows))
                continue
            own = self.numbers(
                self.mine, rows, given=None if sums is None else self._own(sums, index, places, remainder, taken)
            )
            groups[value] = Group(numbers=own if compared else {}, rows=len(rows), codes=codes)
            theirs = {reference: by_value[index] for reference, by_value in told.items()}
            for estimate in self._alone_and_versus(
                own, rows, codes, on="test", slice_=slices.name, value=value, given=theirs
            ):
                few = slices.personal and estimate.quantity.versus in self.panels  # of labelled rows alone
                yield personal.of_enough(estimate) if few else estimate
            rest: Mapping[str, Point | Summed | Fault]
            known = {} if sums is None else sums.rest(index)
            rest, codes_of_rest = self._rest(own, places, remainder, known, None if taken is None else taken[index])
            if slices.personal and 0 < self._people(np.delete(test, places)) < FLOOR:
                fault = personal.too_few("rows" if codes is None else "clusters")
                rest = dict.fromkeys(rest, fault)
            sizes = len(rows), len(test) - len(rows)
            for name, point in own.items():
                quantity = Quantity(metric=name, slice=slices.name, value=value, versus=REST)
                both = codes, codes_of_rest
                yield _compared(quantity, point, rest.get(name), both, sizes=sizes, named=(value, "the rest"))
        yield from self._across(slices, groups)

    def _people(self, rows: Rows) -> int:
        """Rows, or the clusters that they are in: what may be one person."""
        return len(rows) if self.clusters is None else len(np.unique(self.clusters[rows]))

    def _tallies(self, code: NDArray[Any], size: int, remainder: Remainder | None) -> Tallies | None:
        """All values of a slice by sums, where they can tell them: `code` and those who answered are of all test rows.

        A remainder there is only where rows have no weights and no clusters, and the model answered them all.
        """
        test = self.parts["test"]
        if remainder is None or self.task != "Binary":
            return None
        if any(voice.fault is None and _unheard(voice, test) is not None for voice in self.others.values()):
            return None
        if any(voice.made_up is not None for voice in self.others.values()):
            return None  # whether there is enough to look back to is asked value by value
        costs = self.costs_fault is None
        names = [metric.name for metric in self.metrics if costs or metric.declaration != "useCase.errorCosts"]
        return Tallies(remainder.sample, code, size, names=names)

    def _own(
        self, sums: Tallies, index: int, places: Rows, remainder: Remainder | None, taken: Sequence[Taken] | None
    ) -> dict[str, Tally]:
        """What sums tell of the model on a slice's value, whose rows are at these `places` of the test rows."""
        found = sums.own(index)
        if remainder is not None and taken is not None and all(voice.score is None for voice in self.others.values()):
            # Only alone: beside another party's, each row's influence is asked for.
            slope = remainder.calibration_slope(places, taken[index])
            if slope is not None:
                found["calibration_slope"] = tallies.told(slope, len(places))
        return found

    def _told(self, sums: Tallies) -> dict[str, list[dict[str, Tally]]]:
        """What sums tell of the references, by value of the slice."""
        test = self.parts["test"]
        known: dict[tuple[int, int], list[dict[str, Tally]]] = {}
        found: dict[str, list[dict[str, Tally]]] = {}
        for reference, voice in self.others.items():
            if voice.fault is None:
                key = id(voice.label), id(voice.score)
                if key not in known:
                    known[key] = sums.theirs(self._sample(voice, test))
                found[reference] = known[key]
        return found

    def _rest(
        self, own: Numbers, places: Rows, remainder: Remainder | None, known: Mapping[str, Summed], taken: Taken | None
    ) -> tuple[Mapping[str, Point | Summed | Fault], Clusters | None]:
        """What has a value at these places of the test rows, at all others, unless it is `known`; and their clusters.

        `taken` is what those places take away from sums over all.
        """
        asked = [metric for metric in self.metrics if isinstance(own[metric.name], Point)]
        names = [metric.name for metric in asked if metric.name not in known]
        sums = {} if remainder is None else remainder.without(names, places, taken)
        found: dict[str, Point | Summed | Fault] = {**known, **sums}
        left = [metric for metric in asked if metric.name not in found]
        if not left:
            return found, None
        others = np.delete(self.parts["test"], places)
        return found | self.numbers(self.mine, others, metrics=left), self._codes(others)

    def numbers(
        self,
        voice: Voice,
        rows: Rows,
        *,
        metrics: Sequence[Metric] | None = None,
        place: int | None = None,
        given: Mapping[str, Point] | None = None,
    ) -> Numbers:
        """Every metric, or some, of one party on some rows; with `place`, of that class against all others,
        or of that quantile. Those that are `given` aren't computed."""
        return dict(self._each(voice, rows, metrics=metrics, place=place, given=given))

    def _each(
        self,
        voice: Voice,
        rows: Rows,
        *,
        metrics: Sequence[Metric] | None = None,
        place: int | None = None,
        known: Known | None = None,
        given: Mapping[str, Point] | None = None,
    ) -> Iterator[tuple[str, Point | Fault]]:
        """As `numbers`, each computed when it is asked for, unless it is `known` of another voice on these rows."""
        given = given or {}
        metrics = self.metrics if metrics is None else metrics
        if (fault := _unheard(voice, rows)) is not None:
            yield from ((metric.name, fault) for metric in metrics)
            return
        sample = self._sample(voice, rows)
        groups = None
        if self.known is not None and any(rows is found for found in self.parts.values()):
            groups = self.known[rows]
        if place is not None:
            sample = sample.one_quantile(place) if self.task == "Regression" else sample.one_class(place)
        for metric in metrics:
            if metric.name in given:
                yield metric.name, given[metric.name]
            elif metric.declaration == "useCase.errorCosts" and self.costs_fault is not None:
                yield metric.name, self.costs_fault
            elif metric.needs == "Label" and voice.unlabelled is not None:
                yield metric.name, voice.unlabelled
            elif known is None or (key := shared.key(metric, voice)) is None:
                yield metric.name, _number(metric, sample, groups)
            else:
                if key not in known:
                    known[key] = _number(metric, sample, groups)
                yield metric.name, known[key]

    def _answered(self, rows: Rows) -> bool:
        """Whether the model has an answer on each of the rows."""
        return self.mine.fault is None and (self.mine.finite is None or bool(self.mine.finite[rows].all()))

    def _sample(self, voice: Voice, rows: Rows) -> Sample:
        sample = voice.sample(
            self.actual, rows, classes=len(self.classes), declared=self.declared, weights=self.weights
        )
        if self.queries is not None:
            sample = replace(sample, query=self.queries[rows])
        return sample if self.ahead is None else self.ahead.beside(sample, rows)

    def _codes(self, rows: Rows) -> Clusters | None:
        return None if self.clusters is None else self.clusters[rows]

    def _alone_and_versus(
        self,
        own: Numbers,
        rows: Rows,
        codes: Clusters | None,
        *,
        on: Dataset,
        slice_: str = "overall",
        value: str | None = None,
        given: Mapping[str, Mapping[str, Tally]],
    ) -> Iterator[Estimate]:
        """The model and, beside it, each reference, of which some numbers are `given`."""
        known: Known = {}
        theirs = {
            reference: self._each(voice, rows, known=known, given=given.get(reference))
            for reference, voice in self.others.items()
        }
        for name, point in own.items():
            known.clear()
            others = {reference: dict([next(numbers)]) for reference, numbers in theirs.items()}
            yield from self._beside({name: point}, others, rows, codes, on=on, slice_=slice_, value=value)
        yield from self._beside_people(rows, on=on, slice_=slice_, value=value)

    def _beside_people(
        self,
        rows: Rows,
        *,
        on: Dataset,
        slice_: str = "overall",
        value: str | None = None,
        metrics: Sequence[Metric] | None = None,
        place: int | None = None,
    ) -> Iterator[Estimate]:
        """The model against annotators, label by label, on those of the rows that have any."""
        if not self.panels:
            return
        chosen = [metric for metric in metrics or self.metrics if metric.needs == "Label"]
        for name, panel in self.panels.items():
            if isinstance(panel, Fault):
                for metric in chosen:
                    quantity = Quantity(metric=metric.name, on=on, slice=slice_, value=value, versus=name)
                    yield _faulty(quantity, panel, rows=len(rows))
                continue
            at, labelled = panel
            kept = np.flatnonzero(self._among(rows)[labelled])
            own = at.numbers(at.mine, kept, metrics=chosen, place=place)
            theirs = {name: at.numbers(at.others[name], kept, metrics=chosen, place=place)}
            for estimate in at._beside(own, theirs, kept, at._codes(kept), on=on, slice_=slice_, value=value):
                if estimate.quantity.versus is not None:
                    yield estimate

    def _among(self, rows: Rows) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.actual), dtype=np.bool_)
        mask[rows] = True
        return mask

    def at(self, name: str, panel: Panel) -> Judge:
        """One row per annotator's label, with what it is held against as the truth; those of one row are a cluster."""
        kind = self.actual.dtype
        return replace(
            self,
            actual=panel.actual.astype(kind),
            mine=self.mine.take(panel.row),
            others={name: Voice(label=panel.label.astype(kind))},
            clusters=panel.row if self.clusters is None else self.clusters[panel.row],
            weights=None if self.weights is None else self.weights[panel.row],
            known=None if self.known is None else self.known[panel.row],
            panels={},
        )

    def agreement(self, said: Votes | Fault | None, *, noise: bool = False) -> Iterator[Estimate]:
        """How far annotators agree with each other, by part; with `noise`, how often the truth is wrong by them."""
        if said is None:
            return
        for part, rows in self.parts.items():
            for name in ("cohen_kappa", "fleiss_kappa", *(["label_noise"] if noise else [])):
                quantity = Quantity(metric=name, on=part)
                if isinstance(said, Fault):
                    yield _faulty(quantity, said, rows=len(rows))
                    continue
                try:
                    votes = said.among(self._among(rows))
                    point, found = (
                        label_noise(votes, self.actual) if name == "label_noise" else people.agreement(name, votes)
                    )
                except UndefinedError as error:
                    yield _faulty(quantity, Fault(code=error.code, message=str(error)), rows=len(rows))
                    continue
                codes = self._codes(found)
                yield _estimate(quantity, point, uncertainty.alone(point, codes), uncertainty.support(point, codes))

    def _beside(
        self,
        own: Numbers,
        others: Mapping[str, Numbers],
        rows: Rows,
        codes: Clusters | None,
        *,
        on: Dataset,
        slice_: str = "overall",
        value: str | None = None,
    ) -> Iterator[Estimate]:
        supports: dict[str, Support] = {}
        for name, point in own.items():
            quantity = Quantity(metric=name, on=on, slice=slice_, value=value)
            if isinstance(point, Fault):
                yield _faulty(quantity, point, rows=len(rows))
            else:
                interval = uncertainty.alone(point, codes)
                supports[name] = tallies.support(point, codes)
                yield _estimate(quantity, point, interval, supports[name])
        compared: dict[tuple[str, int], Interval] = {}  # references that say the same have the same number
        for reference, theirs in others.items():
            for name, point in own.items():
                quantity = Quantity(metric=name, on=on, slice=slice_, value=value, versus=reference)
                other = theirs[name]
                if isinstance(point, Fault):
                    yield _faulty(quantity, point, rows=len(rows))
                elif isinstance(other, Fault):
                    yield _faulty(quantity, _named(other, reference), rows=len(rows))
                else:
                    if (pair := (name, id(other))) not in compared:
                        compared[pair] = tallies.paired(point, other, codes)
                    yield _estimate(quantity, point, compared[pair], supports[name], reference=other.value)

    def _across(self, slices: Sliced, groups: Mapping[str, Group]) -> Iterator[Estimate]:
        rows = sum(group.rows for group in groups.values())
        limit = _most_groups(slices)
        fault = None
        if len(groups) > limit:
            fault = Fault(
                code="TooManyGroups",
                message=f"slice {slices.name!r} has {len(groups)} groups, at most {limit} are compared with each other",
            )
        elif len(groups) < 2:
            fault = Fault(code="OneGroup", message=f"slice {slices.name!r} has one group only in the test rows")
        for metric in (*self.metrics, *self.spreads):
            for shape in SHAPES:
                quantity = Quantity(metric=metric.name, across=slices.name, shape=shape)
                if fault is not None:
                    yield _faulty(quantity, fault, rows=rows)
                elif shape == "ratio" and metric.low < 0:
                    message = f"{metric.name} can be negative, so its groups have no ratio; use difference"
                    yield _faulty(quantity, Fault(code="NoRatio", message=message), rows=rows)
                else:
                    yield self._spread_or_worst(quantity, metric, groups, rows=rows)

    def _spread_or_worst(
        self, quantity: Quantity, metric: Metric, groups: Mapping[str, Group], *, rows: int
    ) -> Estimate:
        if not metric.spreads:
            return self._spread(quantity, metric.name, groups, rows=rows)
        return _worst(quantity, {name: self._spread(quantity, name, groups, rows=rows) for name in metric.spreads})

    def _spread(self, quantity: Quantity, name: str, groups: Mapping[str, Group], *, rows: int) -> Estimate:
        points: dict[str, tuple[Point, Clusters | None]] = {}
        for value, group in groups.items():
            point = group.numbers[name]
            if isinstance(point, Fault):
                return _faulty(quantity, _named(point, value), rows=rows)
            points[value] = (point, group.codes)
        values = [point.value for point, _ in points.values()]
        ratio = quantity.shape == "ratio"
        if ratio and max(values) <= 0:
            return _faulty(quantity, Fault(code="ZeroReference", message=f"{name} is 0 in every group"), rows=rows)
        clusters = None if self.clusters is None else sum(group.clusters for group in groups.values())
        return Estimate(
            quantity=quantity,
            estimate=min(values) / max(values) if ratio else max(values) - min(values),
            interval=uncertainty.all_pairs(points, ratio=ratio),
            support=Support(rows=rows, events=min(point.events for point, _ in points.values()), clusters=clusters),
        )


def _by_code(code: Rows, count: int) -> list[Rows]:
    """The places of each of `count` codes, rising."""
    order = np.argsort(code.astype(np.int16), kind="stable")  # by radix: there are at most MAX_VALUES
    return np.split(order, np.cumsum(np.bincount(code, minlength=count))[:-1])


def _most_groups(slices: Sliced) -> int:
    """How many groups of a slice are compared with each other."""
    return MAX_GROUPS if slices.sensitive else MAX_GROUPS_PLAIN


def _compared(
    quantity: Quantity,
    a: Point | Fault,
    b: Point | Summed | Fault | None,
    codes: tuple[Clusters | None, Clusters | None],
    *,
    sizes: tuple[int, int],
    named: tuple[str, str],
) -> Estimate:
    """Two numbers of one model on different rows; the second may be None where the first is a fault."""
    for side, point, size in zip(named, (a, b), sizes, strict=True):
        if isinstance(point, Fault):
            return _faulty(quantity, _named(point, side), rows=size)
    assert isinstance(a, Point)
    assert isinstance(b, Point | Summed)
    return _estimate(quantity, a, uncertainty.apart(a, b, codes), tallies.support(a, codes[0]), reference=b.value)


def _unheard(voice: Voice, rows: Rows) -> Fault | None:
    """Why a party has no number at all on these rows."""
    if voice.fault is not None:
        return voice.fault
    if not len(rows):
        return Fault(code="NoRows", message="there are no rows")
    if voice.finite is not None and not voice.finite[rows].all():
        bad = int(np.count_nonzero(~voice.finite[rows]))
        message = f"{bad} of {len(rows)} answers are missing, NaN or infinite"
        return Fault(code="NonFinitePredictions", message=message)
    return no_history(voice, rows)


def _number(metric: Metric, sample: Sample, groups: Rows | None) -> Point | Fault:
    try:
        point = METRICS[metric.name](sample)
        if not math.isfinite(point.value):
            raise UndefinedError("Overflow", "the numbers are too large for it to have a value")
        return point if groups is None else known_shares(point, groups)
    except UndefinedError as error:
        return Fault(code=error.code, message=str(error))


def _without_rows(point: Point) -> Point:
    """Its value, without the influence of each row."""
    return replace(point, psi=point.psi[:0].copy(), stratum=point.stratum[:0].copy(), weight=None)


def _estimate(
    quantity: Quantity, point: Point, interval: Interval, support: Support, *, reference: float | None = None
) -> Estimate:
    return Estimate(quantity=quantity, estimate=point.value, reference=reference, interval=interval, support=support)


def _worst(quantity: Quantity, parts: Mapping[str, Estimate]) -> Estimate:
    """The worst of several metrics' spreads: it meets a limit where all of them do."""
    for name, part in parts.items():
        if part.fault is not None:
            return _faulty(quantity, _named(part.fault, name), rows=part.support.rows)
    values = [part.estimate for part in parts.values() if part.estimate is not None]
    pairs: list[GroupPair] = []
    hindrance: Unbounded | None = None
    each, left_out = 0, 0
    for name, part in parts.items():
        if isinstance(part.interval, AllPairs):
            pairs += [pair.model_copy(update={"metric": name}) for pair in part.interval.pairs]
            left_out += part.interval.left_out or 0
            each = len(part.interval.pairs) + (part.interval.left_out or 0)
        why = part.interval.hindrance if isinstance(part.interval, AllPairs) else part.interval
        if isinstance(why, Unbounded) and hindrance is None:
            hindrance = why.model_copy(update={"reason": f"{name}: {why.reason}"[:512]})
    left_out += each * sum(isinstance(part.interval, Unbounded) for part in parts.values())
    return Estimate(
        quantity=quantity,
        estimate=min(values) if quantity.shape == "ratio" else max(values),
        interval=AllPairs(pairs=tuple(pairs), hindrance=hindrance, left_out=left_out or None) if pairs else hindrance,
        support=min((part.support for part in parts.values()), key=lambda support: support.events),
    )


def _faulty(quantity: Quantity, fault: Fault, *, rows: int) -> Estimate:
    return Estimate(quantity=quantity, support=Support(rows=rows, events=0), fault=fault)


def _named(fault: Fault, name: str) -> Fault:
    return Fault(code=fault.code, message=f"{name}: {fault.message}"[:1024])


def _data_facts(found: DataEvidence, split: Split, *, production: bool) -> Iterator[Estimate]:
    """Counts of what was found about the rows, for gates. Without training rows there's nothing to compare with."""
    rows = split.counts()
    against_train = next((c for c in found.comparisons if (c.reference, c.current) == ("train", "test")), None)
    if against_train is None:
        fault = Fault(code="NoTrainingRows", message="there are no training rows to compare the test rows with")
        for metric in ("changed_columns", "leaks", *(["unrepresented_groups"] if production else [])):
            yield _faulty(Quantity(metric=metric, on="test"), fault, rows=rows["test"])
    else:
        leaks = sum(count for code, count in found.counts.items() if code in LEAKS)
        lacking = sum(count for code, count in found.counts.items() if code in UNREPRESENTED)
        counted = [("changed_columns", against_train.changed), ("leaks", leaks)]
        for metric, count in [*counted, *([("unrepresented_groups", lacking)] if production else [])]:
            open_ = next((unasked for unasked in found.unasked if unasked.count == metric), None)
            if count or open_ is None:
                yield _fact(metric, "test", float(count), rows=rows["test"])
            else:
                fault = Fault(code=open_.code, message=open_.message)
                yield _faulty(Quantity(metric=metric, on="test"), fault, rows=rows["test"])
    for part in PARTS:
        if rows[part]:
            yield _fact("row_count", part, float(rows[part]), rows=rows[part])
    faults = sum(count for code, count in found.counts.items() if code not in LEAKS | CHANGES | UNREPRESENTED | NOTES)
    yield _fact("data_faults", "test", float(faults), rows=rows["test"])


def _fact(metric: str, on: Dataset, value: float, *, rows: int) -> Estimate:
    return Estimate(
        quantity=Quantity(metric=metric, on=on),
        estimate=value,
        interval=Fact(),
        support=Support(rows=rows, events=rows),
    )
