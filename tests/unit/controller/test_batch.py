"""Batches: the grant holds a template of its own for them, which names the level, as long as the level is granted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.check import SpecError
from mandate.api.moments import instant
from mandate.cli.batch import manifest
from mandate.cli.errors import InputError
from mandate.controller.choice import understood
from mandate.controller.decide import decide
from mandate.controller.decide_grant import batch_key, holders
from mandate.controller.plan import Replace
from mandate.controller.snapshot import GrantSnapshot
from tests.unit.controller.judged import declared, namespace, revision_of, standing

NOW = instant("2026-01-02T00:00:00Z")
BATCH = {"input": "pvc://nights/in", "output": "pvc://answers/credit/out"}
Object = dict[str, Any]


def model(level: str, *, batch: Object | None = BATCH, **more: Any) -> Object:
    return declared(
        "1", status={"champion": standing("1", level, **more)}, **({} if batch is None else {"batch": batch})
    )


def grant_of(snapshot: GrantSnapshot) -> Object:
    """The grant's document after one decision, with templates as they are stated."""
    templates: Object = {}
    for revision, holder in holders(snapshot).items():
        templates[revision] = holder.template
        if holder.batch is not None:
            templates[batch_key(revision)] = holder.batch
    (action,) = decide(replace(snapshot, templates=templates), NOW).actions
    assert isinstance(action, Replace)
    return action.document


def entry_of(document: Object, **more: Any) -> Object:
    entry: Object = grant_of(namespace(document, **more))["spec"]["grants"][revision_of(document)]
    return entry


def scorer(template: Object) -> Object:
    (container,) = template["spec"]["containers"]
    assert container["name"] == "score"
    return dict(container)


@pytest.mark.parametrize(
    ("level", "share", "marked"),
    [
        ("Shadow", None, "Shadow"),
        ("Suggest", None, "Suggest"),
        ("Automate", 10, "Suggest"),
        ("Automate", 100, "Automate"),
    ],
)
def test_a_batch_is_marked_with_the_level_and_a_share_is_not_all_of_it(
    level: str, share: int | None, marked: str
) -> None:
    entry = entry_of(model(level, **({} if share is None else {"share": share})))
    assert entry["level"] == level
    template = entry["batch"]
    command = scorer(template)["command"]
    told = dict(zip(command[4::2], command[5::2], strict=True))
    assert told["--autonomy"] == marked
    assert template["metadata"]["annotations"]["mandate.dev/autonomy"] == marked
    assert (told["--input"], told["--output"]) == ("/mandate/input/in", "/mandate/output/credit/out")


def test_the_pod_is_of_the_revision_answers_on_loopback_and_reads_what_it_may() -> None:
    document = model("Suggest")
    entry = entry_of(document)
    served, template = entry["template"], entry["batch"]
    labels = {"mandate.dev/model": "credit", "mandate.dev/batch": revision_of(document)}
    assert template["metadata"]["labels"] == labels
    fetch, sidecar = template["spec"]["initContainers"]
    (server,) = served["spec"]["containers"]
    assert fetch == served["spec"]["initContainers"][0]
    assert sidecar["image"] == server["image"]
    assert sidecar["command"][: len(server["command"])] == server["command"]
    assert sidecar["command"][-2:] == ["--host", "127.0.0.1"]  # a Service could select the Pods of a Job
    mounts = {item["name"]: item.get("readOnly", False) for item in scorer(template)["volumeMounts"]}
    assert mounts == {"batch-input": True, "batch-output": False, "tmp-score": False}
    assert template["spec"]["automountServiceAccountToken"] is False


def test_without_a_declaration_no_batch_runs() -> None:
    assert "batch" not in entry_of(model("Suggest", batch=None))


def test_a_revision_that_only_runs_out_scores_nothing_any_more() -> None:
    gone = model("Suggest")
    spec = grant_of(namespace(gone))["spec"]
    revision = revision_of(gone)
    assert "batch" in spec["grants"][revision]
    halted = declared("1", status={}, batch=BATCH)
    labels = {"mandate.dev/model": "credit", "mandate.dev/revision": revision}
    pod = {"metadata": {"name": "credit-1", "namespace": "lending", "labels": labels}}
    before = {"metadata": {"name": "mandate", "namespace": "lending"}, "spec": spec}
    entry = entry_of(halted, grant=before, pods=(pod,))
    assert (entry["level"], "batch" in entry) == ("Shadow", False)


def test_who_only_waits_to_be_fallen_back_on_scores_nothing() -> None:
    """Its Pods stay granted at the level it had; batches that act are its successor's from then on."""
    status = {"champion": standing("2", "Automate", share=100), "previous": standing("1", "Automate", share=100)}
    revisions = namespace(declared("2"), declared("1")).revisions
    spec = grant_of(namespace(declared("2", status=status, batch=BATCH), revisions=revisions))["spec"]
    entries = {key: (entry["level"], "batch" in entry) for key, entry in spec["grants"].items()}
    assert entries == {
        revision_of(declared("2")): ("Automate", True),
        revision_of(declared("1")): ("Automate", False),
    }
    # Back as a candidate, it scores at what it holds now, not at what it may fall back on.
    status |= {"candidate": standing("1", "Shadow")}
    again = grant_of(namespace(declared("2", status=status, batch=BATCH), revisions=revisions))["spec"]
    entry = again["grants"][revision_of(declared("1"))]
    assert entry["level"] == "Automate"
    assert entry["batch"]["metadata"]["annotations"]["mandate.dev/autonomy"] == "Shadow"


def test_who_leaves_scores_nothing() -> None:
    leaving = {"reason": "LiveGatesFail", "message": "recall", "by": "mandate"}
    status = {"candidate": standing("1", "Suggest", leaving=leaving)}
    assert "batch" not in entry_of(declared("1", status=status, batch=BATCH))


def test_what_cannot_score_batches_is_said() -> None:
    image = {"image": "registry.example/credit@sha256:" + "0" * 64}
    for changes, words in (
        ({"batch": BATCH, "model__source": image}, "spec.batch: needs a model file"),
        (
            {"batch": {**BATCH, "input": "/data"}},
            "spec.batch.input: got '/data', expected pvc://CLAIM/PATH of a",
        ),
        ({"batch": {**BATCH, "output": "pvc://a/b/../c"}}, "spec.batch.output"),
    ):
        with pytest.raises(SpecError) as found:
            understood(declared("1", **changes))
        assert words in str(found.value)


# --- kubectl mandate batch


def test_the_printed_job_runs_the_granted_template_under_the_evaluated_resources() -> None:
    document = model("Suggest")
    grant = grant_of(namespace(document))
    granted = grant["spec"]["grants"][revision_of(document)]["batch"]
    document["spec"]["serving"] = {"resources": {"limits": {"cpu": "2"}}}
    job = manifest(document, grant, schedule="")
    own = {"labels": {"app.kubernetes.io/name": "credit-batch"}}
    place = {"generateName": "credit-batch-", "namespace": "lending"}
    assert (job["kind"], job["metadata"]) == ("Job", place | own)
    template = job["spec"]["template"]
    assert template["metadata"] == granted["metadata"]
    assert template["spec"]["containers"] == granted["spec"]["containers"]
    sidecar = template["spec"]["initContainers"][1]
    assert sidecar == granted["spec"]["initContainers"][1] | {"resources": {"limits": {"cpu": "2"}}}
    timed = manifest(document, grant, schedule="0 2 * * *")
    assert (timed["kind"], timed["metadata"]["name"]) == ("CronJob", "credit-batch")
    assert (timed["spec"]["schedule"], timed["spec"]["concurrencyPolicy"]) == ("0 2 * * *", "Forbid")
    assert timed["spec"]["jobTemplate"] == {"metadata": own, "spec": job["spec"]}


def test_where_nothing_can_be_printed() -> None:
    document = model("Suggest")
    with pytest.raises(InputError, match="no batch is granted: kubectl mandate status credit"):
        manifest(document, {}, schedule="")
    with pytest.raises(InputError, match="no batch is granted: the namespace's AutonomyGrant has no room"):
        manifest(document, {"spec": {"grants": {}, "leftOut": {"credit": 3000}}}, schedule="")
    with pytest.raises(InputError, match=r"spec\.batch isn't declared"):
        manifest(model("Suggest", batch=None), {}, schedule="")
