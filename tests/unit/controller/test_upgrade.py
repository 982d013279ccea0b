"""After an upgrade of the operator a revision is still measured with what it is served by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from mandate.api.kinds import EvaluationImages
from mandate.api.moments import instant
from mandate.api.names import ANNOTATION_RETRY, LABEL_REVISION
from mandate.controller import desired
from mandate.controller.choice import evaluation_of, understood
from mandate.controller.conditions import find
from mandate.controller.decide import decide
from mandate.controller.decide_grant import attempts, holders
from mandate.controller.identity import job_name
from mandate.controller.plan import Create, SetStatus
from mandate.controller.serve import recorded
from mandate.controller.settings import Images, Settings
from mandate.controller.snapshot import EvaluationSnapshot, ModelSnapshot
from mandate.evaluate.frame import SETTINGS_VARIABLE, unpack
from mandate.evidence.measurement import evaluation_name, measurement_digest
from tests.unit.controller.judged import SETTINGS, declared, judged, namespace, revision_of, standing, written
from tests.unit.controller.samples import MODEL_DIGEST

Object = dict[str, Any]
NOW = instant("2026-01-02T00:00:00Z")
COMPARED = {
    "name": "keeps",
    "metric": "accuracy",
    "require": {"Shadow": "no worse than champion by 0.5"},
    "firstModel": "Skip",
}


def images(release: str) -> Images:
    """What a release of the product brings."""
    return Images(**{role: f"repo/{role}@sha256:{release * 64}" for role in ("fetch", "judge", "predictor")})


OLD, NEW = images("1"), images("2")
SERVED = {"fetch": OLD.fetch, "predictor": OLD.predictor}
OLDER, NEWER = replace(SETTINGS, images=OLD), replace(SETTINGS, images=NEW)


def seen(document: Object, *, settings: Settings, **more: Any) -> ModelSnapshot:
    """What an operator reads of it that measured nothing yet."""
    known = {MODEL_DIGEST: "2026-01-01T00:00:00Z"}
    return ModelSnapshot(mdep=document, namespace=None, grant=None, settings=settings, first_seen=known, **more)


def made(snapshot: ModelSnapshot, kind: str) -> Object:
    """The one object of a kind that a decision creates."""
    documents = (action.document for action in decide(snapshot, NOW).actions if isinstance(action, Create))
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def as_kept(document: Object) -> Object:
    """An object as the API server has it."""
    metadata = document["metadata"]
    return {**document, "metadata": metadata | {"uid": f"uid-{metadata['name']}", "generation": 1}}


def kept_from(document: Object, release: Images) -> Object:
    """Its revision's ControllerRevision, as a release wrote it."""
    return desired.controller_revision(document, understood(document), images=release)


def pod_of(meval: Object, mdep: Object, settings: Settings, *, attempt: int = 1) -> dict[str, str]:
    """Container by container, the image of the Job's Pod: the very same as in the grant."""
    meval = {**meval, "status": {**meval.get("status", {}), "attempt": attempt}}
    name = job_name(meval["metadata"]["name"], attempt)
    granted = attempts(replace(namespace(mdep, mevals=(meval,)), settings=settings))
    grant = {"spec": {"evaluations": {name: {}}}}
    snapshot = EvaluationSnapshot(meval=meval, mdep=mdep, grant=grant, mevals=(meval,), settings=settings)
    documents = (action.document for action in decide(snapshot, NOW).actions if isinstance(action, Create))
    (template,) = (item["spec"]["template"] for item in documents if item["kind"] == "Job")
    assert granted == {name: ("credit", template)}
    containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    return {container["name"]: container["image"] for container in containers}


def test_a_revision_s_images_are_kept_and_measured_with_from_the_first_moment() -> None:
    snapshot = seen(declared("1"), settings=OLDER)
    assert made(snapshot, "ControllerRevision")["data"]["images"] == SERVED | {"recording": OLD.predictor}
    assert made(snapshot, "ModelEvaluation")["spec"]["images"] == SERVED


def test_recorded_before_an_upgrade_it_is_measured_after_it_with_what_will_serve_it() -> None:
    document = declared("1")
    meval = as_kept(made(seen(document, settings=NEWER, revisions=(kept_from(document, OLD),)), "ModelEvaluation"))
    assert meval["spec"]["images"] == SERVED
    assert pod_of(meval, document, NEWER) == SERVED | {"judge": NEW.judge}

    champion = standing("1", "Suggest", evaluation=meval["metadata"]["name"])
    serving = declared("1", status={"champion": champion})
    revisions = (kept_from(document, OLD),)
    (granted,) = holders(replace(namespace(serving, revisions=revisions), settings=NEWER)).values()
    served = granted.template["spec"]
    assert served["initContainers"][0]["image"] == OLD.fetch
    assert served["containers"][0]["image"] == OLD.predictor


def test_asked_before_an_upgrade_it_is_measured_after_it_with_what_will_serve_it() -> None:
    document = declared("1")
    meval = as_kept(made(seen(document, settings=OLDER), "ModelEvaluation"))
    assert pod_of(meval, document, NEWER) == SERVED | {"judge": NEW.judge}


@pytest.mark.parametrize("attempt", [2, 5])
def test_an_attempt_after_an_upgrade_is_at_the_same_measurement(attempt: int) -> None:
    document = declared("1")
    meval = as_kept(made(seen(document, settings=OLDER), "ModelEvaluation"))
    assert pod_of(meval, document, NEWER, attempt=attempt) == SERVED | {"judge": NEW.judge}


def test_a_retry_after_an_upgrade_measures_the_revision_as_it_is_served() -> None:
    bad = judged(declared("1"), accuracy=0.3)
    status = written(decide(bad, NOW))
    assert status is not None
    assert status.refused
    document = declared("1", status={"refused": [item.model_dump(by_alias=True) for item in status.refused]})
    document["metadata"]["annotations"] = {ANNOTATION_RETRY: "once more"}
    snapshot = replace(bad, mdep=document, settings=NEWER, revisions=(kept_from(document, OLD),))
    again = made(snapshot, "ModelEvaluation")
    assert again["spec"]["retry"] == "once more"
    assert again["spec"]["images"] == SERVED


def test_an_upgrade_measures_nothing_again() -> None:
    snapshot = judged(declared("1"), accuracy=0.8)
    (before,) = snapshot.mevals
    plan = decide(replace(snapshot, settings=NEWER), NOW)
    assert not [action for action in plan.actions if isinstance(action, Create)]
    spec = evaluation_of(before)
    assert spec is not None
    for release in (OLD, NEW):
        dressed = spec.model_copy(update={"images": EvaluationImages(fetch=release.fetch, predictor=release.predictor)})
        assert measurement_digest(dressed) == measurement_digest(spec)
        assert evaluation_name(dressed) == evaluation_name(spec) == before["metadata"]["name"]


def test_the_champion_is_compared_as_it_is_served_and_the_candidate_as_it_will_be() -> None:
    gates = [*declared("1")["spec"]["gates"], COMPARED]
    first = declared("1", gates=gates)
    earned = as_kept(made(seen(first, settings=OLDER), "ModelEvaluation"))
    earned["status"] = {"evidence": "{}", "evidenceConfigMap": "of-first"}
    champion = standing("1", "Suggest", evaluation=earned["metadata"]["name"], modelDigest=MODEL_DIGEST)
    second = declared("2", gates=gates, status={"champion": champion})

    snapshot = seen(second, settings=NEWER, mevals=(earned,), revisions=(kept_from(first, OLD),))
    beside = as_kept(made(snapshot, "ModelEvaluation"))
    assert beside["spec"]["champion"]["version"] == "1"
    expected = {"fetch": NEW.fetch, "predictor": NEW.predictor, "champion": OLD.predictor}
    assert beside["spec"]["images"] == expected
    # Another upgrade, before the measurement.
    newest = replace(SETTINGS, images=images("3"))
    granted = attempts(replace(namespace(second, mevals=(earned, beside)), settings=newest))
    ((_, template),) = granted.values()
    containers = [*template["spec"]["initContainers"], *template["spec"]["containers"]]
    assert {item["name"]: item["image"] for item in containers} == expected | {"judge": newest.images.judge}


def test_a_model_deleted_and_made_again_is_served_with_what_its_evidence_was_made_with() -> None:
    """Its ControllerRevision went with it, its evidence didn't."""
    measured = judged(declared("1"), accuracy=0.8)
    (meval,) = measured.mevals
    meval = {**meval, "spec": meval["spec"] | {"images": SERVED}}
    anew = replace(measured, mevals=(meval,), revisions=(), settings=NEWER)
    record = made(anew, "ControllerRevision")
    assert record["data"]["images"] == SERVED | {"recording": NEW.predictor}
    revision = record["metadata"]["labels"][LABEL_REVISION]
    kept = recorded((record,), revision, images=NEW)
    assert kept is not None
    assert kept.images == replace(NEW, **SERVED, recording=NEW.predictor)
    status = written(decide(anew, NOW))
    assert status is not None
    assert find(status.conditions, "Evaluated").reason == "Judged"  # type: ignore[union-attr]


def test_another_revision_takes_the_present_images() -> None:
    measured = judged(declared("1"), accuracy=0.8)
    (meval,) = measured.mevals
    meval = {**meval, "spec": meval["spec"] | {"images": SERVED}}
    newer = replace(measured, mdep=declared("2"), mevals=(meval,), settings=NEWER)
    present = {"fetch": NEW.fetch, "predictor": NEW.predictor}
    assert revision_of(declared("1")) != revision_of(declared("2"))
    assert made(newer, "ControllerRevision")["data"]["images"] == present | {"recording": NEW.predictor}
    assert made(newer, "ModelEvaluation")["spec"]["images"] == present


def test_an_evaluation_from_before_images_were_kept_takes_the_present_ones() -> None:
    document = declared("1")
    meval = made(seen(document, settings=OLDER), "ModelEvaluation")
    del meval["spec"]["images"]
    present = {"fetch": NEW.fetch, "predictor": NEW.predictor, "judge": NEW.judge}
    assert pod_of(as_kept(meval), document, NEWER) == present


def test_an_older_image_is_not_told_what_it_would_not_understand() -> None:
    document = declared("1")
    meval = as_kept(made(seen(document, settings=OLDER), "ModelEvaluation"))
    ((_, template),) = attempts(replace(namespace(document, mevals=(meval,)), settings=NEWER)).values()
    for container in (template["spec"]["initContainers"][0], template["spec"]["containers"][0]):
        (packed,) = (item["value"] for item in container["env"] if item["name"] == SETTINGS_VARIABLE)
        newer = {"images", "firstSeen"}
        assert newer < meval["spec"].keys()
        assert unpack(packed)["spec"] == {name: part for name, part in meval["spec"].items() if name not in newer}


@pytest.mark.parametrize("image", ["repo/fetch:1", "repo/fetch@sha256:12", "@sha256:" + "1" * 64, ""])
def test_only_images_by_digest(image: str) -> None:
    with pytest.raises(ValidationError):
        EvaluationImages(fetch=image, predictor=OLD.predictor)
    with pytest.raises(ValueError, match="must be pinned"):
        Images(fetch=image, judge=OLD.judge, predictor=OLD.predictor)


def test_both_are_needed() -> None:
    with pytest.raises(ValidationError):
        EvaluationImages.model_validate({"fetch": OLD.fetch})


def test_nothing_is_written_over_an_upgrade_at_rest() -> None:
    document = declared("1")
    meval = as_kept(made(seen(document, settings=OLDER), "ModelEvaluation"))
    snapshot = seen(document, settings=OLDER, mevals=(meval,), revisions=(kept_from(document, OLD),))
    (first,) = decide(snapshot, NOW).actions[:1]
    assert isinstance(first, SetStatus)
    rested = replace(snapshot, mdep={**document, "status": first.document["status"]})
    assert not [action for action in decide(rested, NOW).actions if isinstance(action, SetStatus | Create)]
    assert decide(replace(rested, settings=NEWER), NOW) == decide(rested, NOW)
