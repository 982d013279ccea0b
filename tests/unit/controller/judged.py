"""Snapshots of a ModelDeployment whose present version was measured and judged, for tests of decide()."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from mandate.api.kinds import ModelDeploymentSpec, ModelDeploymentStatus
from mandate.controller import desired
from mandate.controller.choice import status_of, understood, wanted
from mandate.controller.conditions import dumped
from mandate.controller.decide import decide
from mandate.controller.kserve import KIND
from mandate.controller.plan import Apply, Delete, Plan, SetStatus, stamped
from mandate.controller.settings import Images, Settings
from mandate.controller.snapshot import GrantSnapshot, ModelSnapshot
from mandate.evidence.measurement import key, revision_digest
from mandate.rollout.record import state_of
from mandate.verdict.criteria import looked_digest, settings_digest
from mandate.verdict.looks import look_at
from tests.unit.controller.fake_kserve import deployment_of
from tests.unit.controller.samples import MODEL_DIGEST, evidence, mdep

Object = dict[str, Any]
IMAGE = "registry.example/{}@sha256:" + "0" * 64
SETTINGS = Settings(
    images=Images(fetch=IMAGE.format("judge"), judge=IMAGE.format("judge"), predictor=IMAGE.format("predictor"))
)


def declared(version: str, *, name: str = "credit", status: Object | None = None, **changes: Any) -> Object:
    """A ModelDeployment as the API server has it."""
    document = mdep(name, model__version=version, **changes)
    document["metadata"] |= {"uid": f"uid-{name}", "generation": 1}
    return document | ({"status": status} if status else {})


def revision_of(document: Object) -> str:
    """The revision that it declares."""
    return key(revision_digest(document["metadata"]["name"], ModelDeploymentSpec.model_validate(document["spec"])))


def standing(version: str, level: str, **more: Any) -> Object:
    """An entry of the status: where this version stands."""
    return {
        "revision": revision_of(declared(version)),
        "version": version,
        "level": level,
        "evaluation": f"credit-{version}",
        "modelDigest": MODEL_DIGEST,
        "since": "2026-01-01T00:00:00Z",
    } | more


def granted(*standings: Object) -> Object:
    """The namespace's grant, holding these."""
    grants = {item["revision"]: {"level": item["level"], "modelDigest": item["modelDigest"]} for item in standings}
    return {"metadata": {"name": "mandate", "namespace": "lending"}, "spec": {"grants": grants}}


def deployment(
    document: Object,
    *,
    ready: bool = True,
    late: bool = False,
    recorder_url: str = "",
    replicas: int | None = None,
) -> Object:
    """The Deployment of the revision that `document` declares."""
    item = stamped(
        desired.workload(
            document,
            understood(document),
            revision=revision_of(document),
            replicas=replicas,
            images=SETTINGS.images,
            digest=MODEL_DIGEST,
            recorder_url=recorder_url,
        )
    )
    item["metadata"] |= {"uid": f"uid-{item['metadata']['name']}", "generation": 1}
    over = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    conditions = [over] if late else []
    return item | {"status": {"observedGeneration": 1, "availableReplicas": int(ready), "conditions": conditions}}


def judged(
    document: Object,
    *,
    accuracy: float,
    deployments: Iterable[Object] = (),
    services: Mapping[str, Object] | None = None,
    grant: Object | None = None,
) -> ModelSnapshot:
    """What is read of `document` once its version was measured with this accuracy."""
    spec, found = understood(document), evidence(accuracy)
    name = wanted(document, []).name
    meval = desired.evaluation(document, name, wanted(document, []).spec)
    meval["metadata"] |= {"uid": f"uid-{name}"}
    meval["status"] = {"evidence": "{}", "evidenceDigest": "sha256:" + "c" * 64, "evidenceConfigMap": f"of-{name}"}
    record = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"of-{name}", "namespace": "lending"}}
    return ModelSnapshot(
        mdep=document,
        namespace=None,
        grant=grant,
        mevals=(meval,),
        revisions=(desired.controller_revision(document, spec, images=SETTINGS.images),),
        deployments=tuple(deployments),
        services=services or {},
        records=(record,),
        evidence={name: found},
        looks={look_at(found, criteria=looked_digest(spec), settings=settings_digest(spec, found)).key: 1},
        first_seen={MODEL_DIGEST: ""},  # nobody knows
        settings=SETTINGS,
    )


def gateway_says(route: Object, *, accepted: bool = True, generation: int | None = None) -> Object:
    """A status in which the Gateway of each parentRef carries the route's `generation`, or doesn't take the route."""
    seen = route["metadata"]["generation"] if generation is None else generation
    conditions = [
        {
            "type": kind,
            "status": "True" if accepted else "False",
            "reason": kind if accepted else "NotAllowedByListeners",
            "observedGeneration": seen,
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    return {"parents": [{"parentRef": item, "conditions": conditions} for item in route["spec"]["parentRefs"]]}


def carried_out(
    snapshot: ModelSnapshot, plan: Plan, *, carries: Callable[[Object], Object] = gateway_says
) -> ModelSnapshot:
    """The snapshot after a plan: everyone is granted what is on record, Pods are ready at once, and `carries` gives the
    status of routes.
    """
    status = written(plan)
    if status is not None:
        snapshot = replace(snapshot, mdep={**snapshot.mdep, "status": raw(status)})
    grants = {
        revision: {"level": level, "modelDigest": MODEL_DIGEST}
        for revision, level in state_of(status_of(snapshot.mdep)).granted().items()
    }
    gone = {(action.kind, action.name) for action in plan.actions if isinstance(action, Delete)}
    running = {item["metadata"]["name"]: item for item in snapshot.deployments}
    inference = dict(snapshot.inference_services or {})
    for name, item in applied(plan, KIND).items():
        inference[name] = _stored(item, inference.get(name)) | {"status": {"deploymentMode": "Standard"}}
    inference = {name: item for name, item in inference.items() if (KIND, name) not in gone}
    made = {item["metadata"]["name"]: item for item in map(deployment_of, inference.values())}
    of_kserve = {name for name, item in running.items() if item["metadata"]["ownerReferences"][0]["kind"] == KIND}
    unseen = snapshot.inference_services is None  # they are there all the same
    running = {name: item for name, item in running.items() if unseen or name in made or name not in of_kserve}
    for name, item in (made | applied(plan, "Deployment")).items():
        stored = _stored(item, running.get(name))
        status_of_pods = {"observedGeneration": stored["metadata"]["generation"], "availableReplicas": 1}
        running[name] = stored | {"status": status_of_pods}
    services = dict(snapshot.services)
    for name, item in applied(plan, "Service").items():
        services[name] = _stored(item, services.get(name))
    templates = dict(snapshot.templates)
    for name, item in applied(plan, "PodTemplate").items():
        templates[name] = item | {"metadata": item["metadata"] | {"uid": f"uid-{name}"}}
    routes = dict(snapshot.routes or {})
    for name, item in applied(plan, "HTTPRoute").items():
        routes[name] = _stored(item, routes.get(name))
        routes[name]["status"] = carries(routes[name])
    policies = dict(snapshot.policies or {})
    for name, item in applied(plan, "BackendTrafficPolicy").items():
        policies[name] = _stored(item, policies.get(name))
        told = {"type": "Accepted", "status": "True", "reason": "Accepted"}
        seen = {"observedGeneration": policies[name]["metadata"]["generation"]}
        policies[name]["status"] = {"ancestors": [{"conditions": [told | seen]}]}
    return replace(
        snapshot,
        grant={"metadata": {"name": "mandate", "namespace": "lending"}, "spec": {"grants": grants}},
        deployments=tuple(item for name, item in running.items() if ("Deployment", name) not in gone),
        inference_services=inference if snapshot.inference_services is not None else None,
        services={name: item for name, item in services.items() if ("Service", name) not in gone},
        templates={name: item for name, item in templates.items() if ("PodTemplate", name) not in gone},
        routes=None
        if snapshot.routes is None
        else {name: item for name, item in routes.items() if ("HTTPRoute", name) not in gone},
        policies=None
        if snapshot.policies is None
        else {name: item for name, item in policies.items() if ("BackendTrafficPolicy", name) not in gone},
    )


def _stored(item: Object, before: Object | None) -> Object:
    generation = 1 if before is None else before["metadata"]["generation"] + int(before["spec"] != item["spec"])
    return item | {"metadata": item["metadata"] | {"uid": f"uid-{item['metadata']['name']}", "generation": generation}}


def settled(snapshot: ModelSnapshot, now: float) -> tuple[ModelSnapshot, float | None]:
    """Decision after decision at one moment, each carried out at once, until all is done."""
    for _ in range(20):
        plan = decide(snapshot, now)
        if not plan.actions:
            return snapshot, plan.again
        snapshot = carried_out(snapshot, plan)
    raise AssertionError(f"it doesn't come to rest: {plan.actions}")


def namespace(*documents: Object, grant: Object | None = None, **more: Any) -> GrantSnapshot:
    """What is read of the namespace that holds `documents`, with a ControllerRevision each."""
    revisions = tuple(desired.controller_revision(item, understood(item), images=SETTINGS.images) for item in documents)
    return GrantSnapshot(
        namespace="lending",
        enrolled=True,
        grant=grant,
        mdeps=documents,
        revisions=more.pop("revisions", revisions),
        settings=SETTINGS,
        **more,
    )


def written(plan: Plan) -> ModelDeploymentStatus | None:
    """The status that a plan writes; None where it writes none."""
    documents = [action.document for action in plan.actions if isinstance(action, SetStatus)]
    return ModelDeploymentStatus.model_validate(documents[-1]["status"]) if documents else None


def applied(plan: Plan, kind: str) -> dict[str, Object]:
    """The objects of a kind that a plan applies, by name."""
    documents = [action.document for action in plan.actions if isinstance(action, Apply)]
    return {item["metadata"]["name"]: item for item in documents if item["kind"] == kind}


def raw(status: ModelDeploymentStatus) -> Object:
    """A status as the API server keeps it."""
    return dumped(status)
