"""What production scores enters an evaluation as a profile, of its rows or stored, in the Pod as on a laptop."""

import pytest
from pyarrow import parquet

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evaluate.data import load, read
from mandate.evaluate.failures import EvaluationError
from mandate.evidence.schema import computed_bytes
from mandate.measure.data.profile import dumps
from mandate.sources import Reader
from tests.evaluation import digest, loans, locally


@pytest.fixture
def scored(claims):
    """Rows of production, with a purpose that training hasn't."""
    table = loans(900, seed=3).drop_columns(["risk"])
    purpose = ["boat" if row % 4 == 0 else name for row, name in enumerate(table.column("purpose").to_pylist())]
    path = claims / "data" / "june.parquet"
    parquet.write_table(table.set_column(3, "purpose", [purpose]), path)
    return path


def loaded(declared, claims):
    mounts = {path.name: path for path in claims.iterdir()}
    return load(ModelEvaluationSpec.model_validate(declared), reader=Reader(mounts=mounts))


def test_rows_of_production_end_as_a_profile_without_ids(pod, declared, scored):
    declared["data"]["production"] = {"uri": "pvc://data/june.parquet"}
    code, ended = pod.fetch(declared)
    assert code == 0
    assert ended.digests["production"] == digest(scored)
    kept = read(pod.data)[0].production
    assert sorted(kept.columns) == ["age", "amount", "purpose", "sex"]
    assert dumps(kept) == dumps(loaded(declared, pod.claims).production)
    assert not any(b"L00017" in path.read_bytes() and b"boat" in path.read_bytes() for path in pod.data.iterdir())


@pytest.mark.row("D3/production")
def test_a_stored_profile_tells_what_the_rows_do(claims, declared, scored):
    declared["data"]["production"] = {"uri": "pvc://data/june.parquet"}
    of_rows = locally(declared, claims).computed
    (claims / "data" / "june.json").write_bytes(dumps(loaded(declared, claims).production))
    declared["data"]["production"] = {"uri": "pvc://data/june.json"}
    of_profile = locally(declared, claims).computed
    assert of_rows.data == of_profile.data
    assert of_rows.estimates == of_profile.estimates
    assert of_rows.inputs.data["production"] == digest(scored)
    assert of_profile.inputs.data["production"] == digest(claims / "data" / "june.json")
    lacking = [item for item in of_rows.data.findings if item.code == "UnrepresentedGroup"]
    assert [item.message.split(" on ")[0] for item in lacking] == ["'purpose' is 'boat'"]
    counted = next(e for e in of_rows.estimates if e.quantity.metric == "unrepresented_groups")
    assert counted.estimate == 1.0
    del declared["data"]["production"]
    without = locally(declared, claims).computed
    assert without.inputs.settings == of_rows.inputs.settings
    assert b"production" not in computed_bytes(without)


def test_without_training_rows_nothing_is_known_to_be_lacking(claims, declared, scored):
    declared["data"] |= {"production": {"uri": "pvc://data/june.parquet"}, "split": {"method": "Random", "train": "0"}}
    declared["baselines"] = []
    found = locally(declared, claims).computed
    counted = next(e for e in found.estimates if e.quantity.metric == "unrepresented_groups")
    assert counted.fault.code == "NoTrainingRows"


def test_what_is_no_profile_is_refused(claims, declared):
    (claims / "data" / "june.json").write_text("{}")
    declared["data"]["production"] = {"uri": "pvc://data/june.json"}
    with pytest.raises(EvaluationError) as refused:
        loaded(declared, claims)
    assert (refused.value.failure.code, refused.value.failure.field) == ("BadProfile", "spec.data.production")
