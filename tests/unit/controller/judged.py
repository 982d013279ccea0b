"""Snapshots of a ModelDeployment whose present version was measured and judged, for tests of decide()."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mandate.api.kinds import ModelDeploymentSpec, ModelDeploymentStatus
from mandate.controller import desired
from mandate.controller.choice import understood, wanted
from mandate.controller.conditions import dumped
from mandate.controller.plan import Apply, Plan, SetStatus, stamped
from mandate.controller.settings import Images, Settings
from mandate.controller.snapshot import GrantSnapshot, ModelSnapshot
from mandate.evidence.measurement import key, revision_digest
from mandate.verdict.criteria import looked_digest
from mandate.verdict.looks import look_at
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
        desired.deployment(
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
        looks={look_at(found, criteria=looked_digest(spec)).key: 1},
        settings=SETTINGS,
    )


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
