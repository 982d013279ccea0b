"""A refused revision stays in the grant while something of ours serves it or a Pod of it runs, on no other word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.moments import instant
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, suggest_name
from mandate.controller import desired
from mandate.controller.decide import decide
from mandate.controller.decide_grant import holders
from mandate.controller.plan import Delete, Key, Replace
from mandate.controller.router import concerned
from mandate.controller.snapshot import GrantSnapshot
from mandate.controller.store import Store
from mandate.kube.resources import DEPLOYMENTS, SERVICES
from tests.unit.controller.judged import applied, declared, deployment, judged, namespace, revision_of, standing
from tests.unit.controller.samples import MODEL_DIGEST

Object = dict[str, Any]
NOW = instant("2026-01-02T00:00:00Z")
REFUSED = revision_of(declared("1"))
_REFUSAL = {"revision": REFUSED, "version": "1", "reason": "GatesNotMet", "message": "", "retry": ""}
PRESENT = declared("2", status={"refused": [_REFUSAL]})
ENTRY = {
    "model": "credit",
    "level": "Automate",
    "modelDigest": MODEL_DIGEST,
    "evaluation": "credit-1",
    "template": {"metadata": {}, "spec": {"containers": []}},
}
LABELS = {LABEL_MODEL: "credit", LABEL_REVISION: REFUSED}
NOBODYS = {"apiVersion": "mandate.dev/v1alpha1", "kind": "ModelDeployment", "name": "credit", "uid": "uid-nobody"}


def kept(snapshot: GrantSnapshot) -> str | None:
    """The level at which the refused revision stays in the grant; None where it leaves."""
    grant = {
        "metadata": {"name": "mandate", "namespace": "lending", "resourceVersion": "1"},
        "spec": {"grants": {REFUSED: ENTRY}},
    }
    templates = {revision: holder.template for revision, holder in holders(snapshot).items()}
    (action,) = decide(replace(snapshot, grant=grant, templates=templates), NOW).actions
    assert isinstance(action, Replace)
    entry = action.document["spec"]["grants"].get(REFUSED)
    assert entry is None or entry["template"] == ENTRY["template"]
    return entry["level"] if entry else None


def owned(item: Object, *owners: Object) -> Object:
    return {**item, "metadata": item["metadata"] | {"ownerReferences": list(owners)}}


def labelled(item: Object, labels: Object) -> Object:
    return {**item, "metadata": item["metadata"] | {"labels": labels}}


def service(name: str = "credit-suggest", *, of: Object = PRESENT) -> Object:
    """One of our own Services, which leads to the refused revision."""
    return desired.service(of, name, selector=LABELS, port="http")


def pod(labels: Object = LABELS) -> Object:
    return {"metadata": {"name": "p", "namespace": "lending", "labels": labels}, "status": {"phase": "Running"}}


OUR_DEPLOYMENT = deployment(declared("1"))
FORGED = desired.owner(PRESENT) | NOBODYS


def test_nothing_of_it_left_it_leaves() -> None:
    assert kept(namespace(PRESENT)) is None


@pytest.mark.parametrize("name", ["credit", suggest_name("credit")])
def test_while_an_address_of_ours_leads_there_it_stays_at_shadow(name: str) -> None:
    assert kept(namespace(PRESENT, services=(service(name),))) == "Shadow"


def test_while_our_deployment_is_there_it_stays_at_shadow() -> None:
    assert kept(namespace(PRESENT, deployments=(OUR_DEPLOYMENT,))) == "Shadow"


def test_while_a_pod_of_it_runs_it_stays_at_shadow_whoever_made_the_pod() -> None:
    assert kept(namespace(PRESENT, pods=(pod(),))) == "Shadow"


@pytest.mark.parametrize("labels", [{LABEL_REVISION: REFUSED}, {LABEL_REVISION: REFUSED, LABEL_MODEL: "mortgage"}])
def test_a_pod_that_its_entry_did_not_let_in_counts_for_nothing(labels: Object) -> None:
    """Without the model's label no policy looks at a Pod of a Labelled namespace."""
    assert kept(namespace(PRESENT, pods=(pod(labels),))) is None


@pytest.mark.parametrize(
    "hostile",
    [
        labelled(owned(service("mine")), {}),
        labelled(owned(service()), {}),
        owned(service("mine")),
        owned(service()),
        owned(service(), FORGED),
        owned(service(), desired.owner(PRESENT) | {"controller": False}),
        labelled(service("mine"), {}),
        labelled(service(), {}),
        labelled(service("mine"), {"app": "mine"}),
        labelled(service("mine"), {LABEL_MODEL: "mortgage"}),
    ],
    ids=[
        "nobody's",
        "nobody's, at an address of ours",
        "nobody's, labelled",
        "nobody's, labelled, at an address of ours",
        "owned by who doesn't exist",
        "owned, not controlled",
        "controlled by who exists, without our label",
        "the same at an address of ours",
        "the same with another label",
        "the same with another model's label",
    ],
)
def test_a_foreign_service_keeps_nothing(hostile: Object) -> None:
    assert kept(namespace(PRESENT, services=(hostile,))) is None


@pytest.mark.parametrize(
    "hostile",
    [
        owned(OUR_DEPLOYMENT),
        owned(OUR_DEPLOYMENT, FORGED),
        owned(OUR_DEPLOYMENT, desired.owner(PRESENT) | {"controller": False}),
        {**OUR_DEPLOYMENT, "metadata": OUR_DEPLOYMENT["metadata"] | {"name": "mine"}},
        labelled(OUR_DEPLOYMENT, {LABEL_REVISION: REFUSED}),
    ],
    ids=[
        "nobody's",
        "owned by who doesn't exist",
        "owned, not controlled",
        "controlled by who exists, under another name",
        "controlled by who exists, without our label",
    ],
)
def test_a_foreign_deployment_keeps_nothing(hostile: Object) -> None:
    assert kept(namespace(PRESENT, deployments=(hostile,))) is None


def test_a_deployment_passed_off_as_ours_is_deleted() -> None:
    """No policy holds Deployments: whoever gives one our name, labels and owner has the operator delete it."""
    plan = decide(judged(PRESENT, accuracy=0.3, deployments=[OUR_DEPLOYMENT]), NOW)
    assert OUR_DEPLOYMENT["metadata"]["name"] in [item.name for item in plan.actions if isinstance(item, Delete)]


def test_a_service_passed_off_as_ours_is_turned_to_who_may_answer() -> None:
    """One from before the model, given its owner without our label: at an address of ours it becomes ours."""
    found = {"credit-suggest": labelled(service(), {})}
    (turned,) = (
        item
        for name, item in applied(decide(judged(PRESENT, accuracy=0.3, services=found), NOW), "Service").items()
        if name == "credit-suggest"
    )
    assert turned["spec"]["selector"][LABEL_REVISION] == "none"
    assert turned["metadata"]["labels"][LABEL_MODEL] == "credit"


def test_with_its_model_gone_only_its_pods_keep_it() -> None:
    left = {"deployments": (OUR_DEPLOYMENT,), "services": (service(),)}
    assert kept(namespace(**left)) is None
    assert kept(namespace(**left, pods=(pod(),))) == "Shadow"


def test_a_model_made_again_under_its_name_owns_nothing_of_the_first() -> None:
    again = {**PRESENT, "metadata": PRESENT["metadata"] | {"uid": "uid-again"}}
    assert kept(namespace(again, deployments=(OUR_DEPLOYMENT,), services=(service(),))) is None


def test_one_that_nobody_remembers_stays_at_shadow() -> None:
    """A candidate that another one replaced before it could be refused."""
    assert kept(namespace(declared("2"), deployments=(OUR_DEPLOYMENT,))) == "Shadow"


def test_one_whose_template_is_not_known_at_the_moment_keeps_its_level() -> None:
    document = declared("1", status={"champion": standing("1", "Suggest")})
    assert kept(namespace(document, revisions=(), pods=(pod(),))) == "Suggest"


@pytest.mark.parametrize(("resource", "item"), [(SERVICES, service()), (DEPLOYMENTS, OUR_DEPLOYMENT)])
def test_the_grant_is_looked_at_when_something_of_ours_comes_or_goes(resource: Any, item: Object) -> None:
    store, grant = Store(lambda *_: None), Key("Grant", "lending", "")
    assert grant in concerned(resource, None, item, store)
    assert grant in concerned(resource, item, None, store)
    assert grant not in concerned(resource, None, labelled(item, {}), store)
