"""The whole measurement: a table, the answers and the settings in, `Computed` evidence out. Pure.

Every metric of the task is measured overall and on every slice value of the test rows, and overall on the other
parts; alone, against each baseline, against the champion and, on slices, against the rest; and across the groups of
slices. What can't be had is listed with the fault that kept it from being had, so that no gate ever finds nothing.

Rows are put into the order of their keys first and linear algebra runs on one thread, so the result depends neither on
the rows' order nor on the number of cores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mandate.api import spec
from mandate.api.catalogue import Metric, metrics_for
from mandate.evidence.canonical import digest
from mandate.evidence.intervals import Fact, Interval
from mandate.evidence.schema import Computed, Dataset, Estimate, Fault, HeldOut, Inputs, Quantity, Support

from . import baselines, uncertainty
from .answers import Answers, Voice, from_columns, hear, truth
from .metrics import METRICS, Point, UndefinedError
from .slices import MAX_VALUES, Sliced, assign
from .split import PARTS, Part, Split
from .table import text_codes
from .uncertainty import Clusters

CHAMPION = "champion"
REST = "rest"
MAX_GROUPS = 20
"""Groups of a sensitive slice that are compared pair by pair; of other slices, MAX_GROUPS_PLAIN."""
MAX_GROUPS_PLAIN = 8

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
    champion: Answers | None = None,
    champion_model: spec.Model | None = None,
    model_digest: str | None = None,
    data_digests: Mapping[str, str] | None = None,
) -> Computed:
    """Measure one model.

    `table` holds the rows of all parts, `split` says which is which, `answers` holds one answer per row of `table`,
    and so does `champion`, in the table's order or with keys; `champion_model` says how to read its answers, and has
    its digest. `references` are the declared baselines. Raises MeasureError where the inputs can't be measured at all;
    whatever fails for one number is that number's fault.
    """
    order = answers.order(split.keys)
    if champion is not None:
        champion = _align(champion, order)
    table, split, answers = table.take(pa.array(order)), split.take(order), answers.take(order)
    with threadpool_limits(limits=1, user_api="blas"):
        judge, findings = _prepare(table, split, answers, model, task, references, champion, champion_model)
        slices = [assign(table, declared) for declared in data.slices]
        estimates = [*judge.facts(split), *judge.overall(), *(e for sliced in slices for e in judge.sliced(sliced))]
    return Computed(
        task=task.type,
        inputs=Inputs(
            model=model_digest,
            champion=None if champion_model is None else champion_model.source.digest,
            data=dict(data_digests or {}),
            split=split.digest,
            predictions=predictions_digest(split, answers),
            settings=settings_digest(model=model, task=task, data=data, references=references),
        ),
        rows=split.counts(),
        positive=task.positive,
        classes=judge.classes,
        row_sketch=split.sketch("test"),
        held_out=_held_out(model, split),
        estimates=tuple(sorted(estimates, key=lambda estimate: estimate.quantity.sort_key())),
        findings=tuple(sorted(findings)),
    )


def settings_digest(*, model: spec.Model, task: spec.Task, data: spec.Data, references: Sequence[spec.Baseline]) -> str:
    """Digest of what was declared about the measurement; models, tables and their places aren't in it."""
    return digest(
        {
            "task": task.model_dump(mode="json"),
            "output": model.output.model_dump(mode="json"),
            "split": None if data.split is None else data.split.model_dump(mode="json"),
            "slices": [declared.model_dump(mode="json") for declared in data.slices],
            "baselines": [declared.model_dump(mode="json") for declared in references],
        }
    )


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
    champion: Answers | None,
    champion_model: spec.Model | None,
) -> tuple[Judge, list[str]]:
    actual, classes = truth(table, task, named=model.output.classes if task.type == "Multiclass" else ())
    rows = table.num_rows
    findings: list[str] = []

    def heard(given: Answers, by: spec.Model = model) -> Voice:
        return hear(given, rows=rows, task=task, output=by.output, classes=classes)

    others: dict[str, Voice] = {}
    train = split.rows("train")
    for reference in references:
        if reference.type == "Column":
            others[reference.name] = heard(from_columns(table, [reference.column or ""]))
        elif not train.any():
            others[reference.name] = Voice(
                fault=Fault(code="NoTrainingRows", message=f"baseline {reference.type} needs training rows")
            )
        else:
            features = _features(table, model, task, references)
            others[reference.name] = _baseline(
                reference,
                table,
                features,
                actual,
                train,
                cutoff=float(model.output.cutoff),
                classes=len(classes),
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
    parts = {part: np.flatnonzero(split.rows(part)) for part in PARTS}
    for name, other in others.items():
        if mine.fault is None and other.fault is None and mine.same(other):
            others[name] = Voice(
                fault=Fault(
                    code="SameAsReference",
                    message=f"{name} gives the same answer on every row, so there is nothing to compare",
                )
            )
    clusters = None
    if task.cluster is not None:
        clusters = text_codes(table, task.cluster)[1]
        both = np.intersect1d(clusters[parts["train"]], clusters[parts["test"]])
        if len(both):
            findings.append(f"task.cluster: {len(both)} values of {task.cluster!r} occur both in train and in test")
    judge = Judge(
        task=task.type, actual=actual, classes=classes, mine=mine, others=others, clusters=clusters, parts=parts
    )
    return judge, findings


def _features(
    table: pa.Table, model: spec.Model, task: spec.Task, references: Sequence[spec.Baseline]
) -> Sequence[str]:
    if model.inputs is not None:
        return model.inputs.columns
    taken = {task.target, task.id, task.time, task.cluster, *(model.source.columns or ())}
    taken |= {reference.column for reference in references}
    return [name for name in table.column_names if name not in taken]


def _baseline(
    reference: spec.Baseline,
    table: pa.Table,
    features: Sequence[str],
    actual: NDArray[Any],
    train: NDArray[np.bool_],
    *,
    cutoff: float,
    classes: int,
    findings: list[str],
) -> Voice:
    finite = np.ones(len(actual), dtype=np.bool_)
    regression = actual.dtype.kind == "f"
    if (reference.type in ("Mean", "Median")) != regression and reference.type != "Linear":
        kind = "Regression" if reference.type in ("Mean", "Median") else "classification"
        return Voice(
            fault=Fault(code="WrongTask", message=f"baseline {reference.type} is for {kind}; use another type")
        )
    match reference.type:
        case "Mean":
            return Voice(score=baselines.constant(float(np.mean(actual[train])), len(actual)), finite=finite)
        case "Median":
            return Voice(score=baselines.constant(float(np.median(actual[train])), len(actual)), finite=finite)
        case "MostFrequent":
            return Voice(label=baselines.most_frequent(actual, train), finite=finite)
        case "Prior":
            score = baselines.prior(actual, train, classes=classes)
            return Voice(label=baselines.most_frequent(actual, train), score=score, finite=finite)
        case _:
            matrix = baselines.design(table, features, train)
            if regression:
                return Voice(score=baselines.ridge(matrix, actual, train), finite=finite)
            score, converged = baselines.logistic(matrix, actual, train, classes=classes)
            if not converged:
                findings.append(
                    f"baseline {reference.name!r}: not converged after {baselines.MAX_ITERATIONS} iterations, so it "
                    "may be weaker than it could be"
                )
            label = score >= cutoff if score.ndim == 1 else np.argmax(score, axis=1)
            return Voice(label=label, score=score, finite=finite)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Everyone's answers beside the truth; yields estimates."""

    task: Literal["Binary", "Multiclass", "Regression"]
    actual: NDArray[Any]
    classes: tuple[str, ...]
    mine: Voice
    others: dict[str, Voice]
    clusters: Clusters | None
    parts: dict[Part, Rows]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The task's metrics that are computed from predictions."""
        return tuple(metric for metric in metrics_for(self.task) if metric.name in METRICS)

    def facts(self, split: Split) -> Iterator[Estimate]:
        """Counts over the run itself."""
        for part, rows in self.parts.items():
            if len(rows):
                share = 0.0 if self.mine.finite is None else float(np.mean(self.mine.finite[rows]))
                yield _fact("finite_answers", part, share, rows=len(rows))
        test = len(self.parts["test"])
        yield _fact("shared_rows", "test", float(split.shared("train", "test")), rows=test)

    def overall(self) -> Iterator[Estimate]:
        """All parts as a whole, and train against test."""
        found = {part: self.numbers(self.mine, rows) for part, rows in self.parts.items()}
        for part, rows in self.parts.items():
            yield from self._alone_and_versus(found[part], rows, on=part)
        for name in (metric.name for metric in self.metrics):
            train, test = found["train"][name], found["test"][name]
            both = (self.parts["train"], self.parts["test"])
            yield self._compared(Quantity(metric=name, on="train-test"), train, test, both, named=("train", "test"))

    def sliced(self, slices: Sliced) -> Iterator[Estimate]:
        """Every value of one slice on the test rows, against the rest, and across the values."""
        if not slices.values:
            fault = Fault(
                code="TooManyValues", message=f"slice {slices.name!r} has {slices.found} values, at most {MAX_VALUES}"
            )
            for metric in self.metrics:
                yield _faulty(Quantity(metric=metric.name, slice=slices.name), fault, rows=len(self.parts["test"]))
            return
        test = self.parts["test"]
        code = slices.code[test]
        groups: dict[str, tuple[Numbers, Rows]] = {}
        for index, value in enumerate(slices.values):
            rows = test[code == index]
            if not len(rows):
                continue
            own = self.numbers(self.mine, rows)
            groups[value] = (own, rows)
            yield from self._alone_and_versus(own, rows, on="test", slice_=slices.name, value=value)
            others = test[code != index]
            rest = self.numbers(self.mine, others)
            for metric in self.metrics:
                quantity = Quantity(metric=metric.name, slice=slices.name, value=value, versus=REST)
                yield self._compared(
                    quantity, own[metric.name], rest[metric.name], (rows, others), named=(value, "the rest")
                )
        yield from self._across(slices, groups)

    def numbers(self, voice: Voice, rows: Rows) -> Numbers:
        """Every metric of one party on some rows."""
        if voice.fault is not None:
            return {metric.name: voice.fault for metric in self.metrics}
        if not len(rows):
            return {metric.name: Fault(code="NoRows", message="there are no rows") for metric in self.metrics}
        if voice.finite is not None and not voice.finite[rows].all():
            bad = int(np.count_nonzero(~voice.finite[rows]))
            fault = Fault(
                code="NonFinitePredictions", message=f"{bad} of {len(rows)} answers are missing, NaN or infinite"
            )
            return {metric.name: fault for metric in self.metrics}
        sample = voice.sample(self.actual, rows, classes=len(self.classes))
        result: Numbers = {}
        for metric in self.metrics:
            try:
                result[metric.name] = METRICS[metric.name](sample)
            except UndefinedError as error:
                result[metric.name] = Fault(code=error.code, message=str(error))
        return result

    def _codes(self, rows: Rows) -> Clusters | None:
        return None if self.clusters is None else self.clusters[rows]

    def _alone_and_versus(
        self, own: Numbers, rows: Rows, *, on: Dataset, slice_: str = "overall", value: str | None = None
    ) -> Iterator[Estimate]:
        codes = self._codes(rows)
        for name, point in own.items():
            quantity = Quantity(metric=name, on=on, slice=slice_, value=value)
            if isinstance(point, Fault):
                yield _faulty(quantity, point, rows=len(rows))
            else:
                interval = uncertainty.alone(point, codes)
                yield _estimate(quantity, point, interval, uncertainty.support(point, codes))
        for reference, voice in self.others.items():
            theirs = self.numbers(voice, rows)
            for name, point in own.items():
                quantity = Quantity(metric=name, on=on, slice=slice_, value=value, versus=reference)
                other = theirs[name]
                if isinstance(point, Fault):
                    yield _faulty(quantity, point, rows=len(rows))
                elif isinstance(other, Fault):
                    yield _faulty(quantity, _named(other, reference), rows=len(rows))
                else:
                    interval = uncertainty.paired(point, other, codes)
                    rests_on = uncertainty.support(point, codes)
                    yield _estimate(quantity, point, interval, rests_on, reference=other.value)

    def _compared(
        self, quantity: Quantity, a: Point | Fault, b: Point | Fault, rows: tuple[Rows, Rows], *, named: tuple[str, str]
    ) -> Estimate:
        """Two numbers of one model on different rows."""
        for side, point, found in zip(named, (a, b), rows, strict=True):
            if isinstance(point, Fault):
                return _faulty(quantity, _named(point, side), rows=len(found))
        assert isinstance(a, Point)
        assert isinstance(b, Point)
        codes = (self._codes(rows[0]), self._codes(rows[1]))
        interval = uncertainty.apart(a, b, codes)
        return _estimate(quantity, a, interval, uncertainty.support(a, codes[0]), reference=b.value)

    def _across(self, slices: Sliced, groups: dict[str, tuple[Numbers, Rows]]) -> Iterator[Estimate]:
        rows = sum(len(found) for _, found in groups.values())
        limit = MAX_GROUPS if slices.sensitive else MAX_GROUPS_PLAIN
        fault = None
        if len(groups) > limit:
            fault = Fault(
                code="TooManyGroups",
                message=f"slice {slices.name!r} has {len(groups)} groups, at most {limit} are compared with each other",
            )
        elif len(groups) < 2:
            fault = Fault(code="OneGroup", message=f"slice {slices.name!r} has one group only in the test rows")
        for metric in self.metrics:
            for shape in ("difference", "ratio"):
                quantity = Quantity(metric=metric.name, across=slices.name, shape=shape)
                if fault is not None:
                    yield _faulty(quantity, fault, rows=rows)
                elif shape == "ratio" and metric.low < 0:
                    message = f"{metric.name} can be negative, so its groups have no ratio; use difference"
                    yield _faulty(quantity, Fault(code="NoRatio", message=message), rows=rows)
                else:
                    yield self._spread(quantity, metric.name, groups, rows=rows)

    def _spread(self, quantity: Quantity, name: str, groups: dict[str, tuple[Numbers, Rows]], *, rows: int) -> Estimate:
        points: dict[str, tuple[Point, Clusters | None]] = {}
        for value, (numbers, found) in groups.items():
            point = numbers[name]
            if isinstance(point, Fault):
                return _faulty(quantity, _named(point, value), rows=rows)
            points[value] = (point, self._codes(found))
        values = [point.value for point, _ in points.values()]
        ratio = quantity.shape == "ratio"
        if ratio and max(values) <= 0:
            return _faulty(quantity, Fault(code="ZeroReference", message=f"{name} is 0 in every group"), rows=rows)
        clusters = (
            None if self.clusters is None else sum(len(np.unique(c)) for _, c in points.values() if c is not None)
        )
        return Estimate(
            quantity=quantity,
            estimate=min(values) / max(values) if ratio else max(values) - min(values),
            interval=uncertainty.all_pairs(points, ratio=ratio),
            support=Support(rows=rows, events=min(point.events for point, _ in points.values()), clusters=clusters),
        )


def _estimate(
    quantity: Quantity, point: Point, interval: Interval, support: Support, *, reference: float | None = None
) -> Estimate:
    return Estimate(quantity=quantity, estimate=point.value, reference=reference, interval=interval, support=support)


def _faulty(quantity: Quantity, fault: Fault, *, rows: int) -> Estimate:
    return Estimate(quantity=quantity, support=Support(rows=rows, events=0), fault=fault)


def _named(fault: Fault, name: str) -> Fault:
    return Fault(code=fault.code, message=f"{name}: {fault.message}"[:1024])


def _fact(metric: str, on: Dataset, value: float, *, rows: int) -> Estimate:
    return Estimate(
        quantity=Quantity(metric=metric, on=on),
        estimate=value,
        interval=Fact(),
        support=Support(rows=rows, events=rows),
    )
