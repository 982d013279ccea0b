"""New data beside a stored profile finds what a comparison of the rows themselves would."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from mandate.measure.data.newdata import Expected, beside
from mandate.measure.data.profile import dumps, loads, profile
from mandate.measure.table import MeasureError

NOW = datetime(2024, 5, 10, 12, tzinfo=UTC)


def rows(count, *, seed, shift=0.0, kinds=("car", "tv")):
    random = np.random.default_rng(seed)
    return pa.table({"amount": random.normal(shift, 1, count), "purpose": random.choice(list(kinds), count)})


def reference(table=None, **options):
    return loads(dumps(profile([rows(4000, seed=1) if table is None else table], **options).coarsen()))


def found(table, expected=None, against=None):
    return beside(table, reference() if against is None else against, expected=expected or Expected())


def test_rows_as_the_references_have_no_findings():
    told = found(rows(3000, seed=2))
    assert (told.counts, told.unasked) == ({}, ())
    assert [(c.compared, c.changed) for c in told.comparisons] == [(2, 0)]


@pytest.mark.row("D2/new-data")
def test_what_changed_since_the_reference_is_found_with_advice():
    told = found(rows(3000, seed=2, shift=1.0, kinds=("car", "tv", "boat")))
    assert told.counts == {"Drift": 2, "UnseenCategory": 1}
    drift = next(item for item in told.findings if item.code == "Drift" and item.column == "amount")
    assert drift.message.startswith("'amount' is distributed otherwise in the new data than in the reference: KS 0.3")
    assert "measure the model on recent rows" in drift.advice


def test_columns_are_read_as_in_the_reference():
    codes = pa.table({"branch": [1, 2, 3, 4] * 500})
    known = reference(codes, categories=("branch",))
    assert found(codes, against=known).counts == {}
    assert found(pa.table({"branch": [1, 2, 3, 9] * 500}), against=known).counts == {"Drift": 1, "UnseenCategory": 1}


def test_what_is_gone_is_found_unless_it_comes_later():
    table = rows(3000, seed=2).drop_columns(["purpose"])
    assert found(table).counts == {"MissingColumn": 1}
    assert found(table, Expected(without=("purpose",))).counts == {}


def test_what_cannot_be_read_is_no_silence():
    lists = pa.table({"amount": [[1.0]] * 2000, "purpose": rows(2000, seed=2).column("purpose")})
    told = found(lists)
    assert told.counts == {"NotExamined": 1}
    assert [(item.count, item.code) for item in told.unasked] == [("changed_columns", "NotExamined")]
    assert found(lists.select(["amount"])).counts == {"MissingColumn": 1, "NotExamined": 1}


def test_too_few_rows_can_tell_nothing():
    told = found(rows(8, seed=2))
    assert [item.code for item in told.unasked] == ["TooFewRows"]


def test_rows_of_few_clusters_tell_as_little_as_those():
    random = np.random.default_rng(4)
    level = random.normal(size=12)
    who = random.integers(0, 12, 3000)
    table = pa.table({"amount": level[who] + random.normal(0, 0.1, 3000), "who": who})
    assert found(table, Expected(without=("purpose",))).counts["Drift"] == 1
    told = found(table, Expected(without=("purpose",), cluster="who"))
    assert "Drift" not in told.counts
    assert [item.code for item in told.unasked] == ["TooFewRows"]


@pytest.mark.row("D6/ids", "D8/freshness", "D8/volume")
def test_ids_age_and_number_of_rows_are_looked_at_where_asked():
    table = rows(3000, seed=2).append_column("id", pa.array([7, 7, None, *range(10, 3007)]))
    table = table.append_column("at", pa.array(["2024-05-01T00:00:00"] * 3000))
    expected = Expected(identity="id", time="at", oldest=86_400.0, now=NOW, usual=9000)
    told = found(table, expected)
    assert told.counts == {"DuplicateId": 1, "FewRows": 1, "MissingId": 1, "Stale": 1}
    assert all(item.advice for item in told.findings)
    assert found(table, Expected(identity="amount", time="at", oldest=864_000.0, now=NOW, usual=3000)).counts == {}


@pytest.mark.parametrize("expected", [Expected(identity="x"), Expected(cluster="x")])
def test_a_column_that_is_not_there_is_refused(expected):
    with pytest.raises(MeasureError, match="'x'"):
        found(rows(300, seed=2), expected)
