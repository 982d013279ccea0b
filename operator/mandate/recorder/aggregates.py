"""Live aggregates by SQL: the database joins, counts and sums per combination of slice values; folded here."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from mandate.evidence.live import (
    MAX_SLICE_VALUES,
    MAX_SLICES,
    BinaryOutcomes,
    Decided,
    Decisions,
    Drawn,
    Live,
    MulticlassOutcomes,
    PairedRight,
    Pairs,
    RegressionOutcomes,
    Sliced,
    SliceParts,
)

from .moments import Sums, parse
from .storage import DrawnQuery, Query

Part = TypeVar("Part", BinaryOutcomes, MulticlassOutcomes, RegressionOutcomes, Pairs)


@dataclass
class Tally:
    """Counts and sums of some rows, in the order of the query's columns."""

    counts: list[int] = field(default_factory=list)
    sums: list[Sums] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in other rows' counts and sums."""
        if not self.counts:
            self.counts = [0] * len(other.counts)
            self.sums = [Sums() for _ in other.sums]
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        for mine, theirs in zip(self.sums, other.sums, strict=True):
            mine.add(theirs)


# An outcome by request and row goes before one by entity. Alias p: the prediction; o and e: its outcomes.
_OUTCOMES = """
LEFT JOIN outcomes o ON o.model = p.model AND o.request = p.request AND o.row = p.row
LEFT JOIN outcomes e ON o.id IS NULL AND e.model = p.model AND e.entity = p.entity
"""
_TRUE_LABEL = "coalesce(o.label, e.label)"
_TRUE_VALUE = "coalesce(o.value, e.value)"
# What was replayed for an earlier stay at Shadow is no use of the present level, however late the answer came.
# Alias {p}: the prediction.
_OF_THIS_STAY = (
    "NOT EXISTS (SELECT 1 FROM replays r "
    "WHERE r.revision = {p}.revision AND r.request = {p}.request AND r.since < :since)"
)
_OUTCOME_SLICES = "coalesce(o.slices, e.slices, 0)"


def compute(connection: sqlite3.Connection, query: Query) -> Live:
    """The answer to `query`; the caller holds a read transaction. Raises sqlite3.Error."""
    ids = _Ids(connection, query)
    slices = _SliceSets(connection)
    seen = _predictions(connection, query, ids)
    groups = _group(seen, slices)
    overall = _total(groups)
    counts = overall.counts or [0] * (3 + len(_OUTCOME_COLUMNS[query.task]))
    latency = overall.sums[0] if overall.sums else Sums()
    first, last = connection.execute(
        "SELECT min(p.time), max(p.time) FROM predictions p "  # noqa: S608 - constants of this module
        "WHERE p.revision = :revision AND p.time >= :since AND p.time < :until "
        f"AND {_OF_THIS_STAY.format(p='p')}",
        _parameters(query, ids),
    ).fetchone()
    return Live(
        namespace=query.namespace,
        model=query.model,
        revision=query.revision,
        against=query.against,
        pairs_since=None if query.pairs_since is None else rfc3339(query.pairs_since),
        task=query.task,
        positive=query.positive,
        since=rfc3339(query.since),
        until=rfc3339(query.until),
        predictions=counts[0],
        failed=counts[1],
        labelled=counts[2],
        first=None if first is None else rfc3339(first),
        last=None if last is None else rfc3339(last),
        latency=latency.moments(),
        outcomes=_outcomes(query, groups),
        blind_share=query.blind_share,
        decisions=_decisions(connection, query, ids),
        pairs=None if query.against is None else _pairs(connection, query, ids, slices),
        conflicts=_conflicts(connection, query, ids),
        unknown=_unknown(connection, query, ids),
        dropped=_dropped(connection, ids),
    )


def count_drawn(connection: sqlite3.Connection, query: DrawnQuery) -> Drawn:
    """The answer to `query`; the caller holds a read transaction. Raises sqlite3.Error.

    A unit counts where its first answer came from: whoever asks again, for an error perhaps, is no other draw. Of two
    answers in the same millisecond, the revision that the query names first has it.
    """
    rows = connection.execute(
        "SELECT r.name, r.id FROM revisions r JOIN models m ON m.id = r.model WHERE m.namespace = ? AND m.name = ?",
        (query.namespace, query.model),
    )
    known = dict(rows.fetchall())
    units, undrawn, several = dict.fromkeys(query.revisions, 0), dict.fromkeys(query.revisions, 0), 0
    dropping: set[str] = set()
    numbers = {place: known[name] for place, name in enumerate(query.revisions) if name in known}
    if numbers:
        places = " ".join(f"WHEN {number} THEN {place}" for place, number in numbers.items())
        among = ", ".join(map(str, numbers.values()))
        where = f"FROM predictions WHERE revision IN ({among}) AND time >= ? AND time < ?"
        size, stretch = len(query.revisions), (query.since, query.until)
        for place, count, others in connection.execute(
            f"SELECT first % {size}, count(*), sum(places > 1) FROM (SELECT "  # noqa: S608 - numbers of our own
            f"min(time * {size} + CASE revision {places} END) AS first, count(DISTINCT revision) AS places "
            f"{where} AND unit IS NOT NULL GROUP BY unit) GROUP BY 1",
            stretch,
        ):
            units[query.revisions[place]] = count
            several += others
        for place, count in connection.execute(
            f"SELECT CASE revision {places} END, count(*) {where} AND unit IS NULL GROUP BY 1",
            stretch,
        ):
            undrawn[query.revisions[place]] = count
        reported = connection.execute(
            f"SELECT DISTINCT CASE revision {places} END "  # noqa: S608 - numbers of our own
            f"FROM drops WHERE revision IN ({among}) AND received >= ?",
            (query.since,),
        )
        dropping = {query.revisions[place] for (place,) in reported}
    return Drawn(
        namespace=query.namespace,
        model=query.model,
        since=rfc3339(query.since),
        until=rfc3339(query.until),
        units=units,
        several=several,
        undrawn=undrawn,
        dropping=tuple(sorted(dropping)),
    )


def rfc3339(milliseconds: int) -> str:
    """A time as `2026-01-31T09:00:00.000Z`."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


class _Ids:
    """The rows that the query's names stand for; -1 for unknown ones, which no row carries."""

    def __init__(self, connection: sqlite3.Connection, query: Query) -> None:
        found = connection.execute(
            "SELECT id FROM models WHERE namespace = ? AND name = ?", (query.namespace, query.model)
        ).fetchone()
        self.model: int = found[0] if found else -1

        def revision(name: str | None) -> int:
            row = connection.execute("SELECT id FROM revisions WHERE model = ? AND name = ?", (self.model, name))
            return next((int(id_) for (id_,) in row), -1)

        self.revision = revision(query.revision)
        self.against = revision(query.against)


class _SliceSets:
    """Slice values by the number that a row carries for them; those of several rows' sets merged, the first first."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[int, dict[str, str]] = {0: {}}

    def merged(self, *numbers: int) -> dict[str, str]:
        """The values of all sets; where two name the same slice, the first one's."""
        result: dict[str, str] = {}
        for number in reversed(numbers):
            result |= self._values(number)
        return result

    def _values(self, number: int) -> dict[str, str]:
        if number not in self._known:
            (text,) = self._connection.execute("SELECT slices FROM slice_sets WHERE id = ?", (number,)).fetchone()
            self._known[number] = json.loads(text)
        return self._known[number]


_Groups = list[tuple[dict[str, str], Tally]]

_CLASSES_KNOWN = f"p.failed = 0 AND p.label IS NOT NULL AND {_TRUE_LABEL} IS NOT NULL"
_VALUES_KNOWN = f"p.failed = 0 AND p.value IS NOT NULL AND {_TRUE_VALUE} IS NOT NULL"
_KNOWN = {"Binary": _CLASSES_KNOWN, "Multiclass": _CLASSES_KNOWN, "Regression": _VALUES_KNOWN}
_OUTCOME_COLUMNS: dict[str, tuple[str, ...]] = {
    "Binary": tuple(
        f"count(*) FILTER (WHERE {_CLASSES_KNOWN} AND {said} AND {true})"
        for said, true in (
            ("p.label = :positive", f"{_TRUE_LABEL} = :positive"),
            ("p.label = :positive", f"{_TRUE_LABEL} != :positive"),
            ("p.label != :positive", f"{_TRUE_LABEL} != :positive"),
            ("p.label != :positive", f"{_TRUE_LABEL} = :positive"),
        )
    ),
    "Multiclass": (
        f"count(*) FILTER (WHERE {_CLASSES_KNOWN} AND p.label = {_TRUE_LABEL})",
        f"count(*) FILTER (WHERE {_CLASSES_KNOWN} AND p.label != {_TRUE_LABEL})",
    ),
    "Regression": (),
}
_ERROR = f"iif(p.failed = 0, p.value - {_TRUE_VALUE}, NULL)"
_OUTCOME_SUMS: dict[str, tuple[str, ...]] = {
    "Binary": (),
    "Multiclass": (),
    "Regression": (f"moments({_ERROR})", f"moments(abs({_ERROR}))"),
}


def _predictions(connection: sqlite3.Connection, query: Query, ids: _Ids) -> Iterable[tuple[tuple[int, ...], Tally]]:
    counts = (
        "count(*)",
        "coalesce(sum(p.failed), 0)",
        f"count(*) FILTER (WHERE {_KNOWN[query.task]})",
        *_OUTCOME_COLUMNS[query.task],
    )
    sums = ("moments(iif(p.failed = 0, p.latency, NULL))", *_OUTCOME_SUMS[query.task])
    statement = (
        f"SELECT p.slices, {_OUTCOME_SLICES}, {', '.join((*counts, *sums))} "  # noqa: S608 - constants of this module
        f"FROM predictions p {_OUTCOMES} "
        "WHERE p.revision = :revision AND p.time >= :since AND p.time < :until "
        f"AND {_OF_THIS_STAY.format(p='p')} GROUP BY 1, 2"
    )
    return _tallies(connection, statement, _parameters(query, ids), keys=2, counts=len(counts))


def _outcomes(
    query: Query, groups: _Groups
) -> Sliced[BinaryOutcomes] | Sliced[MulticlassOutcomes] | Sliced[RegressionOutcomes]:
    if query.task == "Binary":
        return Sliced[BinaryOutcomes](**_sliced(groups, _binary, weight=2))
    if query.task == "Multiclass":
        return Sliced[MulticlassOutcomes](**_sliced(groups, _multiclass, weight=2))
    return Sliced[RegressionOutcomes](**_sliced(groups, _regression, weight=2))


def _binary(tally: Tally) -> BinaryOutcomes:
    tp, fp, tn, fn = tally.counts[3:] or (0, 0, 0, 0)
    return BinaryOutcomes(tp=tp, fp=fp, tn=tn, fn=fn)


def _multiclass(tally: Tally) -> MulticlassOutcomes:
    right, wrong = tally.counts[3:] or (0, 0)
    return MulticlassOutcomes(right=right, wrong=wrong)


def _regression(tally: Tally) -> RegressionOutcomes:
    errors, absolute = tally.sums[1:] or (Sums(), Sums())
    return RegressionOutcomes(
        count=errors.count,
        sum=errors.total(),
        sum_absolute=absolute.total(),
        sum_squares=errors.total_squares(),
        min=errors.moments().min,
        max=errors.moments().max,
    )


# Alias p: the prediction of `against`, c: the candidate's; its partner, if it has one.
_COMPARED = "c.failed = 0 AND p.failed = 0"
_SAME: dict[str, str] = {
    "Binary": "(c.label = :positive) = (p.label = :positive)",
    "Multiclass": "c.label = p.label",
    "Regression": "c.value = p.value",
}
_SCORE: dict[str, str] = {
    "Binary": "c.probability - p.probability",
    "Multiclass": "iif(c.label = p.label, c.probability - p.probability, NULL)",
    "Regression": "c.value - p.value",
}


def _right(alias: str, task: str) -> str:
    if task == "Binary":
        return f"(({alias}.label = :positive) = ({_TRUE_LABEL} = :positive))"
    return f"({alias}.label = {_TRUE_LABEL})"


def _pairs(connection: sqlite3.Connection, query: Query, ids: _Ids, slices: _SliceSets) -> Sliced[Pairs]:
    task = query.task
    labelled = f"{_COMPARED} AND {_TRUE_LABEL} IS NOT NULL"
    judged = (
        ("0",) * 4
        if task == "Regression"
        else tuple(
            f"count(*) FILTER (WHERE {labelled} AND {mine}{_right('c', task)} AND {theirs}{_right('p', task)})"
            for mine, theirs in (("", ""), ("", "NOT "), ("NOT ", ""), ("NOT ", "NOT "))
        )
    )
    counts = (
        "count(*)",
        "count(c.id)",
        "count(*) FILTER (WHERE c.id IS NULL AND p.time < :missing_before)",
        f"count(*) FILTER (WHERE {_COMPARED})",
        f"count(*) FILTER (WHERE {_COMPARED} AND {_SAME[task]})",
        *judged,
    )
    errors = f"abs(c.value - {_TRUE_VALUE}) - abs(p.value - {_TRUE_VALUE})" if task == "Regression" else "NULL"
    sums = (
        f"moments(iif({_COMPARED}, {_SCORE[task]}, NULL))",
        f"moments(iif({_COMPARED}, c.latency - p.latency, NULL))",
        f"moments(iif({_COMPARED}, {errors}, NULL))",
    )
    statement = (
        f"SELECT p.slices, coalesce(c.slices, 0), {_OUTCOME_SLICES}, {', '.join((*counts, *sums))} "  # noqa: S608
        "FROM predictions p LEFT JOIN predictions c "
        "ON c.model = p.model AND c.request = p.request AND c.row = p.row AND c.revision = :revision "
        f"{_OUTCOMES} WHERE p.revision = :against AND p.time >= :pairs_since AND p.time < :until GROUP BY 1, 2, 3"
    )
    found = _tallies(connection, statement, _parameters(query, ids), keys=3, counts=len(counts))
    return Sliced[Pairs](**_sliced(_group(found, slices), _pair, weight=0))


def _pair(tally: Tally) -> Pairs:
    everything, paired, missing, compared, agree, *right = tally.counts or [0] * 9
    score, latency, errors = tally.sums or (Sums(), Sums(), Sums())
    return Pairs(
        paired=paired,
        missing=missing,
        waiting=everything - paired - missing,
        compared=compared,
        agree=agree,
        score_difference=score.moments(),
        latency_difference=latency.moments(),
        right=PairedRight(both=right[0], revision=right[1], against=right[2], neither=right[3]),
        absolute_error_difference=errors.moments(),
    )


# Alias d: a decision; other: the same person's about the same, the one blind and the one with the answer in sight.
# Where both have the same time, the blind one came first: nobody sees an answer and decides within a millisecond.
# The plus keeps the planner from the index by time, which would go through everybody's decisions.
_DRAWN = "is_blind(:namespace, :model_name, :blind_share, d.request, d.row, d.entity)"
_AGAIN = (
    "EXISTS (SELECT 1 FROM decisions other WHERE other.model = d.model AND other.by = d.by "
    "AND other.shown != d.shown AND +other.time {order} d.time AND {address})"
)


def _kind(address: str) -> str:
    """SQL for which part of `Decisions` a decision counts in."""
    seen, blind = (_AGAIN.format(order=order, address=address) for order in ("<", "<="))
    return (
        f"CASE WHEN NOT {_DRAWN} THEN iif(d.shown, 'shown', 'unasked') "
        f"WHEN d.shown THEN iif({blind}, 'revised', 'peeked') ELSE iif({seen}, 'peeked', 'blind') END"
    )


def _decisions(connection: sqlite3.Connection, query: Query, ids: _Ids) -> Decisions:
    task = query.task
    kind = "value" if task == "Regression" else "label"
    if task == "Regression":
        differs, known, human, model = "d.value != p.value", "0", "0", "0"
    else:
        same = "(d.label = :positive) = (p.label = :positive)" if task == "Binary" else "d.label = p.label"
        differs, known = f"NOT ({same})", f"{_TRUE_LABEL} IS NOT NULL"
        human, model = _right("d", task), _right("p", task)
    counts = (
        "count(*)",
        f"count(*) FILTER (WHERE {differs})",
        f"count(*) FILTER (WHERE {known})",
        f"count(*) FILTER (WHERE {known} AND {human})",
        f"count(*) FILTER (WHERE {known} AND {model})",
        f"count(*) FILTER (WHERE {known} AND {human} AND {model})",
    )
    answers = (
        "{p}.model = d.model AND {p}.revision = :revision AND {p}.failed = 0 "
        f"AND {{p}}.{kind} IS NOT NULL AND {{p}}.time >= :since AND {{p}}.time < :until AND {_OF_THIS_STAY}"
    )
    # A person decides about an entity on its last answer by then; where that came late, on the first one after.
    last, first = (
        "(SELECT q.id FROM predictions q INDEXED BY predictions_by_entity "  # noqa: S608 - constants of this module
        f"WHERE q.entity = d.entity AND {answers.format(p='q')} AND q.time {when} q.request, q.row LIMIT 1)"
        for when in ("<= d.time ORDER BY q.time DESC,", "> d.time ORDER BY q.time,")
    )
    # From decisions to predictions by their address, never along the predictions: the planner knows no row counts.
    sides = (
        ("other.request = d.request AND other.row = d.row", "INDEXED BY predictions_by_identity",
         f"p.request = d.request AND p.row = d.row AND {answers.format(p='p')}"),
        ("other.entity = d.entity", "", f"d.entity IS NOT NULL AND p.id = coalesce({last}, {first})"),
    )  # fmt: skip
    result = {name: Tally(counts=[0] * len(counts)) for name in ("shown", "blind", "peeked", "revised", "unasked")}
    for address, index, side in sides:
        statement = (
            f"SELECT {_kind(address)}, {', '.join(counts)} "  # noqa: S608 - constants of this module
            f"FROM decisions d CROSS JOIN predictions p {index} {_OUTCOMES} "
            f"WHERE d.model = :model AND d.{kind} IS NOT NULL AND (d.revision IS NULL OR d.revision = :revision_name) "
            f"AND {side} GROUP BY 1"
        )
        for name, *numbers in connection.execute(statement, _parameters(query, ids)):
            result[name].add(Tally(counts=numbers))
    only = {name: tally.counts[0] for name, tally in result.items() if name not in ("shown", "blind")}
    return Decisions(shown=_decided(result["shown"]), blind=_decided(result["blind"]), **only)


def _decided(tally: Tally) -> Decided:
    count, overridden, labelled, human, model, both = tally.counts
    return Decided(
        count=count, overridden=overridden, labelled=labelled, human_right=human, model_right=model, both_right=both
    )


def _conflicts(connection: sqlite3.Connection, query: Query, ids: _Ids) -> int:
    (count,) = connection.execute(
        "SELECT count(*) FROM conflicts WHERE model = :model AND (revision IS NULL OR revision = :revision) "
        "AND time >= :since AND time < :until",
        _parameters(query, ids),
    ).fetchone()
    return int(count)


def _unknown(connection: sqlite3.Connection, query: Query, ids: _Ids) -> int:
    total = 0
    for table in ("outcomes", "decisions"):
        (count,) = connection.execute(
            f"SELECT count(*) FROM {table} t WHERE t.model = :model AND t.time >= :since AND t.time < :until "  # noqa: S608
            "AND CASE WHEN t.entity IS NULL THEN NOT EXISTS (SELECT 1 FROM predictions p "
            "WHERE p.model = t.model AND p.request = t.request AND p.row = t.row) "
            "ELSE NOT EXISTS (SELECT 1 FROM predictions p WHERE p.model = t.model AND p.entity = t.entity) END",
            _parameters(query, ids),
        ).fetchone()
        total += int(count)
    return total


def _dropped(connection: sqlite3.Connection, ids: _Ids) -> int:
    (dropped,) = connection.execute(
        "SELECT coalesce(sum(dropped), 0) FROM drops WHERE revision = ?", (ids.revision,)
    ).fetchone()
    return int(dropped)


def _parameters(query: Query, ids: _Ids) -> dict[str, Any]:
    return {
        "namespace": query.namespace,
        "model_name": query.model,
        "blind_share": query.blind_share,
        "model": ids.model,
        "revision": ids.revision,
        "revision_name": query.revision,
        "against": ids.against,
        "since": query.since,
        "pairs_since": query.since if query.pairs_since is None else query.pairs_since,
        "until": query.until,
        "positive": query.positive,
        "missing_before": query.missing_before,
    }


def _tallies(
    connection: sqlite3.Connection, statement: str, parameters: dict[str, Any], *, keys: int, counts: int
) -> Iterable[tuple[tuple[int, ...], Tally]]:
    for row in connection.execute(statement, parameters):
        numbers, texts = row[keys : keys + counts], row[keys + counts :]
        yield tuple(row[:keys]), Tally(counts=list(numbers), sums=[parse(text) for text in texts])


def _group(found: Iterable[tuple[tuple[int, ...], Tally]], slices: _SliceSets) -> _Groups:
    return [(slices.merged(*numbers), tally) for numbers, tally in list(found)]


def _total(groups: _Groups) -> Tally:
    total = Tally()
    for _, tally in groups:
        total.add(tally)
    return total


def _sliced(groups: _Groups, show: Callable[[Tally], Part], *, weight: int) -> dict[str, Any]:
    """All rows and the slices' values on most rows, by the count at `weight`; equal ones by name."""
    slices: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for values, tally in groups:
        if tally.counts[weight]:
            for name, value in values.items():
                slices[name][value].add(tally)

    shown = {}
    weights = {
        name: {value: tally.counts[weight] for value, tally in tallies.items()} for name, tallies in slices.items()
    }
    for name in sorted(_heaviest({name: sum(rows.values()) for name, rows in weights.items()})[:MAX_SLICES]):
        tallies, order = slices[name], _heaviest(weights[name])
        shown[name] = SliceParts[Any](
            values={value: show(tallies[value]) for value in sorted(order[:MAX_SLICE_VALUES])},
            other=_other([tallies[value] for value in order[MAX_SLICE_VALUES:]], show),
        )
    return {"overall": show(_total(groups)), "slices": {name: part.model_dump() for name, part in shown.items()}}


def _heaviest(rows: dict[str, int]) -> list[str]:
    return sorted(rows, key=lambda name: (-rows[name], name))


def _other(tallies: Sequence[Tally], show: Callable[[Tally], Part]) -> Part | None:
    if not tallies:
        return None
    return show(_total([({}, tally) for tally in tallies]))
