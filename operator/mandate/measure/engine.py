"""The whole measurement: a table, the answers and the settings in, `Computed` evidence out. Pure.

Every metric of the task is measured overall and on every slice value of the test rows, and overall on the other
parts; alone, against each baseline, against the champion and, on slices, against the rest; and across the groups of
slices. What can't be had is listed with the fault that kept it from being had, so that no gate ever finds nothing.

Rows are put into the order of their keys first and linear algebra runs on one thread, so the result depends neither on
the rows' order nor on the number of cores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mandate.api import spec
from mandate.api.catalogue import NUMBERS
from mandate.api.references import KINDS
from mandate.evidence.schema import (
    Computed,
    Estimate,
    Fault,
    HeldOut,
    Inputs,
    Learnt,
)
from mandate.memory import give_back

from . import people, personal
from .answers import Answers
from .containers import Asked
from .data import parts
from .data.domain import domain_auc
from .data.profile import Profile
from .data.representation import represent
from .digests import predictions_digest, settings_digest
from .estimates import data_facts
from .judge import Judge, Rows
from .parties import Case, prepare
from .people import Votes
from .queries import whole_queries
from .remainder import Remainder
from .revealed import combined, reveal
from .revealed import told as told_of
from .sample import sampled
from .shelf import HELD, Shelf
from .slices import Sliced, assign_all
from .split import Keys, Split
from .table import MeasureError, Ordered, column, texts
from .units import units
from .weights import weigh
from .work import SERIAL, Workers, others


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
    signer: str | None = None,
    data_digests: Mapping[str, str] | None = None,
    annotations: pa.Table | None = None,
    workers: Workers = SERIAL,
    shelf: Shelf = HELD,
    production: Profile | None = None,
) -> Computed:
    """Measure one model.

    `table` holds the rows of all parts, `split` says which is which, `answers` holds one answer per row of `table`,
    and so does `champion`, in the table's order or with keys; `champion_model` says how to read its answers, and has
    its digest. `containers` holds what baselines of type Container answered for the rows of `table`, by name, or why
    they didn't. `references` are the declared baselines, `error_costs` the costs of wrong answers, `annotations` what
    people said, as `data.annotations` declares it, `production` the profile of what production scores. `workers` do
    what is cut into tasks, `shelf` is where lies what is known of every row; no number depends on either. Raises
    MeasureError where the inputs can't be measured at all; whatever fails for one number is that number's fault.
    """
    read, order = table, shelf.keep(answers.order(split.keys))
    if champion is not None:
        champion = _align(champion, order)
    asked = {name: given.ordered(order) for name, given in (containers or {}).items()}
    table, keys, split, answers = (
        Ordered(table, order),
        split.keys,
        split.take(order).kept(shelf),
        answers.take(order).kept(shelf),
    )
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
    case = Case(
        table=table,
        split=split,
        answers=answers,
        model=model,
        task=task,
        references=references,
        error_costs=error_costs,
        champion=champion,
        champion_model=champion_model,
        containers=asked,
        weights=weights,
        sampling=data.sampling,
        rolled=rolled,
        measured=measured,
        personal=data.personal,
    )
    if revealed is None:
        as_read = _as_read(split, order, keys)
    else:  # rows that don't count are no rows of the data either
        read, as_read = table.select(table.column_names), split
    of_data = parts.Asked(
        target=task.target,
        features=case.features,
        regression=task.type in NUMBERS,
        cluster=task.cluster,
        time=task.time,
        by_time=data.split is not None and data.split.method == "Time",
        in_order=data.split is None or data.split.method == "Time",
    )
    with threadpool_limits(limits=1, user_api="blas"), workers.here.aside() as submit:
        compared = submit(parts.compared, read, as_read, of_data, workers=others(workers))
        judge, findings, learnt, chosen = prepare(case, workers=workers, shelf=shelf)
        if revealed is not None:
            findings.append(told_of(revealed.known))
        private = personal.personal(data, salt=split.digest)
        withhold = None if private is None else private.withhold
        slices = list(assign_all(table, data.slices, train=split.rows("train"), withhold=withhold, workers=workers))
        if (note := personal.undeclared(read.column_names, declared=data.personal, task=task)) is not None:
            findings.append(note)
        if rolled is not None:
            slices = [rolled.sliced(sliced, timed=task.time is not None) for sliced in slices]
        slices = [replace(sliced, code=shelf.keep(sliced.code)) for sliced in slices]
        if judge.queries is not None:
            whole_queries(judge.queries, split, slices, task)
        findings += judge.left_out()
        findings += [finding for sliced in slices for finding in judge.unseen(sliced)]
        scored = table if rolled is None else table.take(pa.array(rolled.last))
        findings += sampled(split)
        give_back()

        def by_rows(judge: Judge = judge) -> list[Future[Any]]:
            """What takes much memory beside what is kept."""
            return [
                submit(parts.leaked, read, as_read, of_data, workers=others(workers), shelf=shelf),
                submit(judge.weakest, scored, slices, data, model),
                submit(judge.windowed, scored, data, task),
            ]

        # Where memory is short it isn't done beside what takes most of it.
        pending = by_rows() if shelf is HELD else []
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
        leaked, searched, windowed = pending or by_rows()
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
            estimates.append(domain_auc(table, split, features=case.features, folds=classifier.folds, cluster=group))
        found = parts.together(compared.result(), leaked.result())
        weak, (in_windows, over) = searched.result(), windowed.result()
        estimates += in_windows
        if production is not None:
            found = represent(found, read, as_read, production, model=model, task=task, data=data, slices=slices)
        if private is not None:
            found = private.data(found)
        estimates += data_facts(found, split, production=production is not None)
        estimates += (estimate for each in sliced_ for estimate in each.result())
    computed = Computed(
        task=task.type,
        inputs=Inputs(
            model=model_digest,
            signer=signer,
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
