"""What was learnt of a model when its revision was first measured holds from then on."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mandate.api.moments import instant
from mandate.controller import desired
from mandate.controller.cache import Defaults
from mandate.controller.choice import wanted
from mandate.controller.decide import decide
from mandate.evidence.measurement import evaluation_name
from mandate.kube.errors import ForbiddenError
from tests.unit.controller.judged import declared, granted, judged, standing, written
from tests.unit.controller.samples import MODEL_DIGEST

NOW = instant("2026-01-02T00:00:00Z")
OTHER = "sha256:" + "9" * 64
UNDECLARED = {"uri": "pvc://models/credit/1/model.onnx", "format": "ONNX"}
Object = dict[str, Any]


def measured(document: Object, *, stored: bool, mevals: tuple[Object, ...] = ()) -> Object:
    """The ModelEvaluation that `document` asks for, complete; not `stored`, its evidence is gone."""
    asked = wanted(document, mevals).spec
    meval = desired.evaluation(document, evaluation_name(asked), asked)
    meval["status"] = {"evidence": "{}", "modelDigest": MODEL_DIGEST} | ({"evidenceConfigMap": "x"} if stored else {})
    return meval


def test_a_first_measurement_learns_the_digest_and_stays_the_one_that_counts() -> None:
    document = declared("1", model__source=UNDECLARED)
    first = measured(document, stored=True)
    assert wanted(document, []).spec.model.source.digest is None
    assert wanted(document, [first]).name == first["metadata"]["name"]
    assert wanted(document, [first]).spec.model.source.digest is None


def test_measured_again_it_must_be_the_very_same_model() -> None:
    document = declared("1", model__source=UNDECLARED)
    lost = measured(document, stored=False)
    again = wanted(document, [lost]).spec
    assert again.model.source.digest == MODEL_DIGEST
    second = measured(document, stored=True, mevals=(lost,))
    assert wanted(document, [lost, second]).name == second["metadata"]["name"] == evaluation_name(again)
    third = measured(document, stored=False, mevals=(lost,))
    assert wanted(document, [lost, third]).spec.repeat == 1


def test_measured_again_it_must_be_the_very_same_rows() -> None:
    table = "pvc://data/loans.parquet"
    document = declared("1", data__source={"uri": table})
    first = measured(document, stored=False)
    first["status"]["dataDigests"] = {"source": OTHER}
    source = wanted(document, [first]).spec.data.source
    assert source is not None
    assert source.digest == OTHER
    for change in ({"uri": table, "digest": MODEL_DIGEST}, {"uri": "pvc://data/newer.parquet"}):
        elsewhere = wanted(declared("1", data__source=change), [first]).spec.data.source
        assert elsewhere is not None
        assert elsewhere.digest == change.get("digest")
    other = wanted(declared("2", data__source={"uri": table}), [first]).spec.data.source
    assert other is not None
    assert other.digest is None


def test_measured_on_other_data_it_must_be_the_very_same_model() -> None:
    first = measured(declared("1", model__source=UNDECLARED), stored=True)
    elsewhere = declared("1", model__source=UNDECLARED, data__source={"uri": "pvc://data/newer.parquet"})
    assert wanted(elsewhere, [first]).spec.model.source.digest == MODEL_DIGEST


def test_another_version_learns_anew() -> None:
    first = measured(declared("1", model__source=UNDECLARED), stored=True)
    assert wanted(declared("2", model__source=UNDECLARED), [first]).spec.model.source.digest is None


def test_a_champion_whose_measurement_is_gone_is_known_by_its_status() -> None:
    champion = standing("1", "Suggest")
    champion["revision"] = wanted(declared("1", model__source=UNDECLARED), []).spec.revision
    document = declared("1", status={"champion": champion}, model__source=UNDECLARED)
    assert wanted(document, []).spec.model.source.digest == MODEL_DIGEST


def test_the_models_digest_is_written_once_for_a_revision_and_read_from_there() -> None:
    document = declared("1", model__source=UNDECLARED)
    first = written(decide(judged(document, accuracy=0.8), NOW))
    assert first is not None
    assert first.pinned is not None
    assert (first.pinned.model, first.pinned.revision) == (MODEL_DIGEST, wanted(document, []).spec.revision)
    pinned = {"revision": first.pinned.revision, "model": OTHER}
    known = declared("1", model__source=UNDECLARED, status={"pinned": pinned})
    assert wanted(known, []).spec.model.source.digest == OTHER
    again = written(decide(judged(known, accuracy=0.8), NOW))
    assert again is not None
    assert again.pinned is not None
    assert again.pinned.model == OTHER
    assert (
        wanted(declared("2", model__source=UNDECLARED, status={"pinned": pinned}), []).spec.model.source.digest is None
    )


@pytest.mark.parametrize(("digest", "level"), [(MODEL_DIGEST, "Suggest"), (OTHER, "Shadow")])
def test_other_bytes_start_with_nothing(digest: str, level: str) -> None:
    """Were they measured all the same, they wouldn't inherit what others earned."""
    champion = standing("1", "Suggest", modelDigest=digest)
    changes = {"autonomy__shadow": {"minDuration": "48h", "minPredictions": 0}}
    document = declared("1", status={"champion": champion}, **changes)
    status = written(decide(judged(document, accuracy=0.8, grant=granted(champion)), NOW))
    assert status is not None
    present = status.champion if digest == MODEL_DIGEST else status.candidate
    assert present is not None
    assert present.level == level
    assert (status.champion is not None) == (digest == MODEL_DIGEST)


class Server:
    """Takes dry runs in every namespace but one."""

    async def create(self, resource: Any, document: Object, *, dry_run: bool) -> Object:
        assert dry_run
        if document["metadata"]["namespace"] == "staging":
            raise ForbiddenError("staging says no", status=403)
        return copy.deepcopy(document)


async def test_a_refusal_in_one_namespace_is_none_in_another() -> None:
    defaults = Defaults(Server())  # type: ignore[arg-type]
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {}}
    for _ in range(2):
        assert await defaults.job("job", template, namespace="prod") is not None
        assert await defaults.job("job", template, namespace="staging") is None
        assert defaults.refusal("job", namespace="prod") == ""
        assert defaults.refusal("job", namespace="staging") == "staging says no"
