"""Representation: groups that production has and training lacks, from the two tables' profiles.

A group is a text of a column, a range of a slice by numbers, or a column's missing values. Training lacks it where it
is at least 1 % of production, at most a fifth of that share of the training rows, and chance doesn't explain it: given
how many rows of both tables are in the group, each is a training row as often as any row is (the conditional test of
two Poisson rates, Przyborowski & Wilenski 1940, which for shares is on the safe side), Bonferroni over all groups.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import special

from mandate.api import spec
from mandate.evidence.data import MAX_DRIFT, Comparison, DataEvidence, Finding, Unasked
from mandate.evidence.slices import MISSING, range_names

from ..slices import Sliced
from ..split import Split
from ..table import text_codes
from . import distances, parts
from .columns import columns
from .drift import drift
from .profile import Column, Profile, Texts, profile
from .quality import SHOWN, quality

PART = "production"
CONFIDENCE = 0.95
"""Of the shares' intervals (Clopper–Pearson)."""
ADVICE = (
    "Collect rows and labels of it, and train with them. Until then, judge it apart (data.slices) where there are test "
    "rows of it, or send it to the fallback."
)
OUTSIDE = (
    "Check the unit first. Where the values are right, the model is asked beyond what it was shown: train with such "
    "rows, or send them to the fallback."
)
CHANGED = (
    "What production scores isn't what the model was trained on: train, and above all test, on rows as production has "
    "them, or weigh them so."
)


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """When training lacks a group: `share` of production at least, at most `ratio` of it in training, `level`."""

    share: float = 0.01
    ratio: float = 0.2
    level: float = 0.05


DEFAULT = Lacking()
PLAIN = 0.1
"""A share of production whose lack must show: where chance explains even that, there are too few rows."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One group's rows: in production `scored`, `least` for sure; in training `trained`, `most` at most."""

    column: str
    value: str
    scored: int
    least: int
    trained: int
    most: int


def represent(
    found: DataEvidence,
    table: pa.Table,
    split: Split,
    production: Profile,
    *,
    model: spec.Model,
    task: spec.Task,
    data: spec.Data,
    slices: Sequence[Sliced],
    rules: Lacking = DEFAULT,
) -> DataEvidence:
    """What was found, and what production has that the training rows lack; as it was without training rows.

    Of the model's inputs and the columns of slices, but for those that name rows or clusters; crosses of slices aren't
    in a profile. Rows of a cluster tell as much as Kish's number of equal clusters, and so do production's.
    """
    train = split.rows("train")
    if not train.any():
        return found
    chosen = columns(model=model, task=task, data=data, target=False)
    worth = 1.0 if task.cluster is None else parts.kish(text_codes(table, task.cluster)[1][train])
    unread = parts.unreadable(table, chosen.names, categories=chosen.categories)
    names = [name for name in chosen.names if name not in unread]
    known = profile([table.select(names).filter(pa.array(train))], categories=chosen.categories) if names else None
    if known is None:
        return found
    blind = dict(_blind(known, production))
    compared = [name for name in names if name not in blind]
    one, other = (
        Profile(rows=each.rows, limit=each.limit, columns={name: each.columns[name] for name in compared})
        for each in (known, production)
    )
    both = (worth, worth)
    groups = list(_groups(one, other, _ranges(data, slices)))
    lacking = list(_lacking(groups, rows=(one.rows, other.rows), worth=worth, rules=rules))
    outside = [
        item.model_copy(update={"code": "OutsideTraining", "advice": OUTSIDE})
        for item in quality(other, part=PART, reference=one, worth=both)
        if item.code == "BeyondRange"
    ]
    apart = drift(one, other, worth=both)
    changed = [column for column in apart if column.changed]
    findings = [*lacking, *outside, *parts.changes(changed, "train", PART, advice=CHANGED)]
    sliced = [item.column for item in data.slices]
    named = [name for name in chosen.left_out if name in sliced]
    asked = [*_not_asked(blind, named, unread), *_too_few((one.rows, other.rows), worth, len(groups), rules)]
    comparison = Comparison(
        reference="train", current=PART, compared=len(apart), changed=len(changed), columns=apart[:MAX_DRIFT]
    )
    return DataEvidence(
        comparisons=(*found.comparisons, comparison),
        counts=dict(sorted((Counter(found.counts) + Counter(item.code for item in findings)).items())),
        findings=tuple(parts.listed([*found.findings, *findings])),
        unasked=(*found.unasked, *asked),
    )


def _blind(known: Profile, production: Profile) -> Iterator[tuple[str, str]]:
    """Columns that say nothing of production, and why."""
    for name, column in known.columns.items():
        seen = production.columns.get(name)
        if seen is None:
            yield name, "isn't in production's rows"
        elif len({column.kind, seen.kind} - {"Empty"}) > 1:
            yield name, f"holds {' '.join(column.types)} in train and {' '.join(seen.types)} in production"


def _ranges(data: spec.Data, slices: Sequence[Sliced]) -> list[tuple[str, tuple[float, ...], tuple[str, ...]]]:
    """Column, edges and names of slices by numbers; of quantiles those that the training rows gave."""
    found = {item.edges.slice: item.edges for item in slices if item.edges is not None}
    ranges: list[tuple[str, tuple[float, ...], tuple[str, ...]]] = []
    for item in data.slices:
        if item.column is None:
            continue
        if item.edges:
            ranges.append((item.column, tuple(map(float, item.edges)), range_names(item.edges)))
        elif item.name in found:
            ranges.append((item.column, found[item.name].edges, found[item.name].values))
    return ranges


def _groups(
    known: Profile, production: Profile, ranges: Iterable[tuple[str, tuple[float, ...], tuple[str, ...]]]
) -> Iterator[Group]:
    for name, column in known.columns.items():
        seen = production.columns[name]
        yield _group(name, MISSING, column.missing, seen.missing)
        one, other = column.texts or Texts(), seen.texts or Texts()
        if one.hashed or other.hashed:
            continue
        for text in sorted({*one.named, *other.named}):
            yield _group(name, text, one.named.get(text, 0), other.named.get(text, 0))
    for name, edges, values in ranges:
        if name not in known.columns:
            continue
        cells = [_binned(profiled.columns[name], edges) for profiled in (known, production)]
        for place, value in enumerate(values):
            trained, scored = ((each.count[place], each.least[place], each.most[place]) for each in cells)
            yield Group(
                column=name,
                value=value,
                trained=int(trained[0]),
                most=int(trained[2]),
                scored=int(scored[0]),
                least=int(scored[1]),
            )


def _group(column: str, value: str, trained: int, scored: int) -> Group:
    return Group(column=column, value=value, trained=trained, most=trained, scored=scored, least=scored)


def _binned(column: Column, edges: tuple[float, ...]) -> distances.Bins:
    if column.numbers is None:
        return distances.certain(np.zeros(len(edges) + 2, dtype=np.int64))
    return distances.bins(
        column.numbers, np.array(edges, dtype=np.float64), extremes=column.infinite, missing=column.missing
    )


def _lacking(groups: Sequence[Group], *, rows: tuple[int, int], worth: float, rules: Lacking) -> Iterator[Finding]:
    """Code UnrepresentedGroup."""
    train, production = rows
    for group in groups:
        share = group.least / max(production, 1)
        if share < rules.share or group.most / train > rules.ratio * share:
            continue
        p = chance(int(np.ceil(group.most * worth)), int(group.least * worth), rows=(train, production))
        if p * len(groups) > rules.level:
            continue
        shown = repr(group.value) if group.value != MISSING else "missing"
        words = shown if group.scored >= SHOWN else f"a text that fewer than {SHOWN} rows have"
        ends = [
            (count / of, *interval(count * worth, of * worth))
            for count, of in ((group.scored, production), (group.trained, train))
        ]
        said = [f"{value:.1%} ({low:.1%} to {high:.1%})" for value, low, high in ends]
        yield Finding(
            code="UnrepresentedGroup",
            part=PART,
            column=group.column,
            numbers={
                "rows": production,
                "scored": group.scored,
                "share": ends[0][0],
                "shareLow": ends[0][1],
                "shareHigh": ends[0][2],
                "trainRows": train,
                "trained": group.trained,
                "trainShare": ends[1][0],
                "trainShareLow": ends[1][1],
                "trainShareHigh": ends[1][2],
            },
            effect=max(ends[0][0] - ends[1][0], 0.0),
            message=f"{group.column!r} is {words} on {said[0]} of production's rows, and on {said[1]} of the training "
            "rows",
            advice=ADVICE,
        )


def chance(trained: int, scored: int, *, rows: tuple[int, int]) -> float:
    """How likely at most `trained` of a group's rows are of training, were its share the same in both tables.

    `rows` are those of training and of production.
    """
    return float(special.bdtr(trained, trained + scored, rows[0] / sum(rows)))


def interval(count: float, of: float) -> tuple[float, float]:
    """Clopper–Pearson limits of a share, of possibly effective counts."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if count <= 0 else float(special.betaincinv(count, of - count + 1, tail))
    high = 1.0 if count >= of else float(special.betaincinv(count + 1, of - count, 1 - tail))
    return low, high


def _not_asked(blind: Mapping[str, str], named: Sequence[str], unread: Mapping[str, Finding]) -> Iterator[Unasked]:
    """What wasn't looked at; `named` are columns of slices that name rows or clusters, too."""
    found = [f"{name[:64]!r} {why}" for name, why in blind.items()]
    found += [f"{name[:64]!r} can't be read" for name in unread]
    found += [f"{name[:64]!r} names rows or clusters, which a profile doesn't keep" for name in named]
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        message = f"{'; '.join(found[:3])}{more}: write production's rows as the training rows are"
        yield Unasked(count="unrepresented_groups", code="NotExamined", message=message)


def _too_few(rows: tuple[int, int], worth: float, tests: int, rules: Lacking) -> Iterator[Unasked]:
    """Whether even the lack of a group of PLAIN of production would be lost among `tests`."""
    if chance(0, int(PLAIN * rows[1] * worth), rows=rows) * max(tests, 1) > rules.level:
        yield Unasked(
            count="unrepresented_groups",
            code="TooFewRows",
            message=f"{rows[0]:,} training rows and {rows[1]:,} of production (or as many as their clusters are worth) "
            f"can't show the lack even of a group of {PLAIN:.0%} of production; take more rows of production",
        )
