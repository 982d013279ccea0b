"""How old the rows are: measured at the evaluation, never computed, and no age where it can't be told."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mandate.api.check import load_spec
from mandate.evaluate import age
from mandate.evaluate.data import Rows
from mandate.evidence.schema import computed_bytes
from mandate.measure.split import Split
from mandate.report.content import newest_text
from mandate.verdict.judge import judge
from tests.evaluation import NOW, loans, locally
from tests.unit.api.specs import changed


def timed(times, *, name="at"):
    table = pa.table({name: times, "y": [0, 1] * (len(times) // 2)})
    return Rows(
        table=table, split=Split(part=np.full(len(times), 2, np.int8), keys=np.arange(4), digest="d"), digests={}
    )


def fault(rows):
    (only,) = age.ages(rows, time="at", now=NOW)[1]
    assert (only.estimate, only.interval) == (None, None)
    return only.fault


def test_a_time_after_the_evaluation_is_no_age():
    future = fault(timed(["2024-05-10T13:00:00"] * 4))
    assert future.code == "FromFuture"
    assert "60.0 minutes after the evaluation" in future.message
    newest, (only,) = age.ages(timed(["2024-05-10T12:04:00+00:00"] * 4), time="at", now=NOW)
    assert (newest, only.estimate) == ({"test": "2024-05-10T12:04:00Z"}, 0.0), "clocks may differ a little"


@pytest.mark.parametrize("times", [[1, 2, 3, 4], ["soon"] * 4, ["2024-05-01", None, "2024-05-02", "2024-05-03"]])
def test_what_is_no_time_has_no_age(times):
    assert fault(timed(times)).code == "NotTime"


def test_the_hour_changes_what_is_measured_and_nothing_that_is_computed(claims, declared):
    table = loans()
    at = [(NOW - timedelta(days=40, hours=row)).strftime("%Y-%m-%dT%H:%M:%SZ") for row in range(table.num_rows)]
    parquet.write_table(table.append_column("at", pa.array(at)), claims / "data" / "loans.parquet")
    declared["task"]["time"] = "at"
    today, later = (locally(declared, claims, now=now) for now in (NOW, NOW + timedelta(days=3)))
    assert computed_bytes(today.computed) == computed_bytes(later.computed)
    gates = load_spec(
        changed(
            "gates",
            [{"name": "fresh", "metric": "data_age", "rows": "train", "require": {"Shadow": "<= 42d"}}],
        )
    ).gates
    said = []
    for evidence in (today, later):
        (gate,) = judge(gates=gates, tier="Low", evidence=evidence, look=1, champion=False).at("Shadow").gates
        said.append((gate.verdict, gate.holds, gate.message))
    assert said[0] == ("Pass", True, "overall: 40d meets <= 42d")
    assert said[1][:2] == ("Fail", False)
    assert said[1][2].startswith("overall: 43d misses <= 42d; what may help: look whether the last batches came")
    assert newest_text(today.measured).startswith("train 2024-03-31T12:00:00Z (40d old), validation ")


def test_rows_without_times_have_no_age(claims, declared):
    measured = locally(declared, claims).measured
    assert measured.newest is None
    assert newest_text(measured) == ""
    assert "data_age" not in {e.quantity.metric for e in measured.estimates}
