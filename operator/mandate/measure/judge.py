"""The judge: everyone's answers beside the truth; yields estimates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.api import spec
from mandate.api.catalogue import NUMBERS, Metric, metrics_for
from mandate.evidence.intervals import Interval
from mandate.evidence.personal import FLOOR
from mandate.evidence.schema import (
    Dataset,
    Estimate,
    Fault,
    Quantity,
    Reliability,
    Support,
)
from mandate.evidence.weakest import Loss, Weakest
from mandate.evidence.windows import Windows
from mandate.memory import give_back

from . import people, personal, shared, tallies, uncertainty, weakest, windows
from .answers import Voice
from .estimates import blamed, estimated, fact, faulty, worst
from .forecasts import MAX_HORIZONS, Forecasts
from .metrics import METRICS, Declared, Floats, Point, Sample, UndefinedError
from .metrics.point import known_shares
from .metrics.quantiles import crossed
from .noise import label_noise
from .people import Panel, Votes
from .references import no_history
from .reliability import reliability
from .remainder import INFLUENCES, Remainder, Taken
from .shared import Known
from .shelf import HELD, Shelf
from .slices import Sliced
from .split import Part, Split
from .tallies import Tallies, Tally
from .uncertainty import Clusters, Summed

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
    shelf: Shelf = HELD
    """Where lies what is kept of every row."""

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
                yield fact("finite_answers", part, share, rows=len(rows))
                if self.declared.quantiles is not None:
                    answers = self.mine.quantiles
                    count = len(rows) if answers is None else crossed(answers[rows])
                    yield fact("crossed_quantiles", part, float(count), rows=len(rows))
        test = len(self.parts["test"])
        yield fact("shared_rows", "test", float(split.repeated("test")), rows=test)

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
            found = {part: self._kept(next(numbers)[1]) for part, numbers in mine.items()}
            for part, rows in self.parts.items():
                others = {reference: dict([next(numbers)]) for reference, numbers in theirs[part].items()}
                estimates += self._beside({name: found[part]}, others, rows, codes[part], on=part)
                del others
                known[part].clear()
            quantity, train, test = Quantity(metric=name, on="train-test"), found["train"], found["test"]
            both = (codes["train"], codes["test"])
            estimates.append(_compared(quantity, train, test, both, sizes=sizes, named=("train", "test")))
            give_back()
            if not isinstance(test, Fault):  # in any case without what was found from its influences
                test = replace(test) if name in INFLUENCES else _without_rows(test)
            kept[name] = test
        for part, rows in self.parts.items():
            estimates += self._beside_people(rows, on=part)
        rows = self.parts["test"]
        in_order = self.ahead is not None and self.ahead.blocks is not None
        if self.weights is not None or self.clusters is not None or in_order or not self._answered(rows):
            return estimates, None
        remainder = Remainder(self._sample(self.mine, rows), kept, shelf=self.shelf)
        if self.shelf is not HELD:  # what is made of all rows takes much memory: not beside other work, then
            remainder.ready()
        return estimates, remainder

    def _kept(self, point: Point | Fault) -> Point | Fault:
        if isinstance(point, Fault):
            return point
        return replace(point, psi=self.shelf.keep(point.psi), stratum=self.shelf.keep(point.stratum))

    def left_out(self) -> Iterator[str]:
        """Findings about what isn't measured since there is too much of it."""
        if self.task == "Multiclass" and len(self.classes) > MAX_CLASSES:
            yield f"{len(self.classes)} classes: none of them is measured by itself, {MAX_CLASSES} would be at most"

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
                    yield faulty(quantity, Fault(code="TooManyHorizons", message=message), rows=len(test))
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
        train = np.zeros(table.num_rows, dtype=np.bool_)
        train[self.parts["train"]] = True
        kind: Loss = asked.loss or ("AbsoluteError" if self.task in NUMBERS else "Error")
        sample = self._sample(self.mine, rows)
        if sample.label is None if kind == "Error" else sample.score is None:
            return None
        losses = weakest.losses(sample, kind)
        if not np.isfinite(losses.sum()):
            return None  # answers and truth so far apart that the loss overflows
        axes, left_out = weakest.axes(
            table, slices, data.slices, columns, train=train, test=rows, personal=data.personal, shelf=self.shelf
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
                yield faulty(Quantity(metric=metric.name, slice=slices.name), slices.fault, rows=len(test))
            for metric in (*self.metrics, *self.spreads):
                for shape in SHAPES:
                    quantity = Quantity(metric=metric.name, across=slices.name, shape=shape)
                    yield faulty(quantity, slices.fault, rows=len(test))
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
                        yield faulty(Quantity(metric=metric.name, slice=slices.name, value=value), fault, rows=0)
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
                        yield faulty(quantity, fault, rows=len(rows))
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
        own = voice.sample(self.actual, rows, classes=len(self.classes), declared=self.declared, weights=self.weights)
        keep = self.shelf.keep
        sample = replace(own, actual=keep(own.actual), label=keep(own.label), score=keep(own.score))
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
                    yield faulty(quantity, panel, rows=len(rows))
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
                    yield faulty(quantity, said, rows=len(rows))
                    continue
                try:
                    votes = said.among(self._among(rows))
                    point, found = (
                        label_noise(votes, self.actual) if name == "label_noise" else people.agreement(name, votes)
                    )
                except UndefinedError as error:
                    yield faulty(quantity, Fault(code=error.code, message=str(error)), rows=len(rows))
                    continue
                codes = self._codes(found)
                yield estimated(quantity, point, uncertainty.alone(point, codes), uncertainty.support(point, codes))

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
                yield faulty(quantity, point, rows=len(rows))
            else:
                interval = uncertainty.alone(point, codes)
                supports[name] = tallies.support(point, codes)
                yield estimated(quantity, point, interval, supports[name])
        compared: dict[tuple[str, int], Interval] = {}  # references that say the same have the same number
        for reference, theirs in others.items():
            for name, point in own.items():
                quantity = Quantity(metric=name, on=on, slice=slice_, value=value, versus=reference)
                other = theirs[name]
                if isinstance(point, Fault):
                    yield faulty(quantity, point, rows=len(rows))
                elif isinstance(other, Fault):
                    yield faulty(quantity, blamed(other, reference), rows=len(rows))
                else:
                    if (pair := (name, id(other))) not in compared:
                        compared[pair] = tallies.paired(point, other, codes)
                    yield estimated(quantity, point, compared[pair], supports[name], reference=other.value)

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
                    yield faulty(quantity, fault, rows=rows)
                elif shape == "ratio" and metric.low < 0:
                    message = f"{metric.name} can be negative, so its groups have no ratio; use difference"
                    yield faulty(quantity, Fault(code="NoRatio", message=message), rows=rows)
                else:
                    yield self._spread_or_worst(quantity, metric, groups, rows=rows)

    def _spread_or_worst(
        self, quantity: Quantity, metric: Metric, groups: Mapping[str, Group], *, rows: int
    ) -> Estimate:
        if not metric.spreads:
            return self._spread(quantity, metric.name, groups, rows=rows)
        return worst(quantity, {name: self._spread(quantity, name, groups, rows=rows) for name in metric.spreads})

    def _spread(self, quantity: Quantity, name: str, groups: Mapping[str, Group], *, rows: int) -> Estimate:
        points: dict[str, tuple[Point, Clusters | None]] = {}
        for value, group in groups.items():
            point = group.numbers[name]
            if isinstance(point, Fault):
                return faulty(quantity, blamed(point, value), rows=rows)
            points[value] = (point, group.codes)
        values = [point.value for point, _ in points.values()]
        ratio = quantity.shape == "ratio"
        if ratio and max(values) <= 0:
            return faulty(quantity, Fault(code="ZeroReference", message=f"{name} is 0 in every group"), rows=rows)
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
            return faulty(quantity, blamed(point, side), rows=size)
    assert isinstance(a, Point)
    assert isinstance(b, Point | Summed)
    return estimated(quantity, a, uncertainty.apart(a, b, codes), tallies.support(a, codes[0]), reference=b.value)


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
