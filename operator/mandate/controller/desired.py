"""The objects that the operator wants to exist. Pure: every one follows from its inputs alone, its name included."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Collection, Mapping
from typing import Any

from mandate.api.criteria import Level
from mandate.api.grant import AutonomyGrantSpec
from mandate.api.kinds import ModelDeploymentSpec, ModelEvaluationSpec
from mandate.api.names import (
    API_VERSION,
    GRANT_NAME,
    GROUP,
    LABEL_EVALUATION,
    LABEL_MODEL,
    LABEL_RECORD,
    LABEL_REVISION,
    LABEL_SERVES,
    nobody_name,
    workload_name,
)
from mandate.controller import kserve, pods
from mandate.controller.choice import evaluation_of
from mandate.controller.dask import DNS_PORTS, Scheduler, egress
from mandate.controller.identity import evidence_name, job_name
from mandate.controller.settings import Images, Settings
from mandate.evidence.canonical import canonical, sha256
from mandate.evidence.measurement import key, revision_digest, stated

Object = dict[str, Any]

ANNOTATION_REVISION_DIGEST = f"{GROUP}/revision-digest"
ANNOTATION_REPLICAS = f"{GROUP}/replicas"
"""On Deployments: the number of replicas that is stated, where one is."""
ANNOTATION_STEPPED = f"{GROUP}/stepped"
"""On our routes, the policy beside them, and addresses that lead to others' Pods: when what they say last changed."""
SERVICE_PORT = 80
NOBODY = "none"
"""A revision that no Pod has: a Service that selects it answers nobody."""
EVIDENCE_KEY = "evidence.json.gz"


def owner(item: Mapping[str, Any]) -> Object:
    """A controller reference to one of our objects: what carries it goes with it."""
    metadata = item["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": item["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def controller_of(item: Mapping[str, Any]) -> str:
    """The uid of what controls `item`, by its own word; empty where nothing does. There is at most one."""
    owners = item["metadata"].get("ownerReferences") or ()
    return next((str(reference["uid"]) for reference in owners if reference.get("controller")), "")


def is_ours(item: Mapping[str, Any], by: Mapping[str, Any]) -> bool:
    """Whether `item` is controlled by `by`."""
    return bool(controller_of(item) == by["metadata"]["uid"])


def controller_revision(mdep: Object, spec: ModelDeploymentSpec, *, images: Images) -> Object:
    """The spec as it was at a revision, and the images it came with, so that it can be served again later."""
    full = revision_digest(mdep["metadata"]["name"], spec)
    metadata = _metadata(mdep, workload_name(mdep["metadata"]["name"], full), record="Revision")
    metadata["labels"][LABEL_REVISION] = key(full)
    metadata["annotations"] = {ANNOTATION_REVISION_DIGEST: full}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata | {"ownerReferences": [owner(mdep)]},
        "revision": mdep["metadata"].get("generation", 1),
        "data": {
            "spec": stated(spec),
            "images": {
                "fetch": images.fetch,
                "predictor": images.predictor,
                "recording": images.recording or images.predictor,
            },
        },
    }


def evaluation(mdep: Object, name: str, spec: ModelEvaluationSpec) -> Object:
    """One measurement. It isn't owned by the ModelDeployment: evidence outlives it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelEvaluation",
        "metadata": _metadata(mdep, name),
        "spec": stated(spec),
    }


def attempt_template(meval: Object, job: str, *, settings: Settings, scheduler: Scheduler | None = None) -> Object:
    """The Pod template of the Job of this name, one attempt at a measurement that this version understands.

    Job and grant take it from here: what is granted must be what is run.
    """
    metadata, spec = meval["metadata"], evaluation_of(meval)
    assert spec is not None
    return pods.evaluation_template(
        job=job,
        namespace=metadata["namespace"],
        evaluation=metadata["name"],
        spec=spec,
        settings=settings,
        scheduler=scheduler,
    )


def job(meval: Object, *, attempt: int, settings: Settings, scheduler: Scheduler | None = None) -> Object:
    """One attempt at a measurement: one Pod, replaced only where a disruption took it."""
    name = job_name(meval["metadata"]["name"], attempt)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _evaluation_metadata(meval, name),
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            # A selector of our own keeps the API server from adding labels that a foreign Service could select.
            "manualSelector": True,
            "selector": {"matchLabels": {LABEL_EVALUATION: name}},
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "template": attempt_template(meval, name, settings=settings, scheduler=scheduler),
        },
    }


def seal(
    meval: Object,
    *,
    attempt: int,
    scheduler: Scheduler | None = None,
    dns_ports: Collection[int] = DNS_PORTS,
) -> Object:
    """No traffic to or from the Pod of one attempt, but to the Dask `scheduler` where it has one; what runs inside
    still talks over localhost."""
    name = job_name(meval["metadata"]["name"], attempt)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _evaluation_metadata(meval, name),
        "spec": {
            "podSelector": {"matchLabels": {LABEL_EVALUATION: name}},
            "policyTypes": ["Ingress", "Egress"],
        }
        | ({"egress": egress(scheduler, dns_ports=dns_ports)} if scheduler is not None else {}),
    }


def evidence_record(meval: Object, evidence: Mapping[str, Any]) -> Object:
    """The whole evidence, compressed and immutable, named by its digest."""
    data = canonical(evidence)
    full = sha256(data)
    model = meval["spec"]["modelDeployment"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": evidence_name(full),
            "namespace": meval["metadata"]["namespace"],
            "labels": {LABEL_MODEL: model, LABEL_RECORD: "Evidence"},
            "ownerReferences": [owner(meval)],
        },
        "immutable": True,
        "binaryData": {EVIDENCE_KEY: base64.b64encode(gzip.compress(data, compresslevel=9, mtime=0)).decode("ascii")},
    }


def workload(
    mdep: Object,
    spec: ModelDeploymentSpec,
    *,
    revision: str,
    replicas: int | None,
    images: Images,
    digest: str,
    recorder_url: str,
) -> Object:
    """What the Pods of one revision come from, whatever its level: the level is in the address, never in the Pod.

    A Deployment, or with the provider KServe an InferenceService. Without `replicas` their number is somebody else's:
    what isn't stated isn't ours, neither to set nor to restore.
    """
    name = mdep["metadata"]["name"]
    metadata = _metadata(mdep, workload_name(name, revision))
    metadata["labels"][LABEL_REVISION] = revision
    template = pods.serving_template(
        namespace=mdep["metadata"]["namespace"],
        model_name=name,
        revision=revision,
        spec=spec,
        images=images,
        digest=digest,
        recorder_url=recorder_url,
    )
    if kserve.is_asked(spec):
        owned = metadata | {"ownerReferences": [owner(mdep)]}
        return kserve.inference_service(owned, template, replicas=replicas)
    if replicas is not None:
        metadata["annotations"] = {ANNOTATION_REPLICAS: str(replicas)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata | {"ownerReferences": [owner(mdep)]},
        "spec": {
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {LABEL_MODEL: name, LABEL_REVISION: revision}},
            "template": template,
        }
        | ({"replicas": replicas} if replicas is not None else {}),
    }


def left_to_others(live: Mapping[str, Any] | None) -> int | None:
    """The replicas to go on stating of a Deployment whose number is somebody else's now; None where it has been taken.

    Whoever changes the number takes it. Until somebody does, it is the one that was stated last: a number that nobody
    states any more, Kubernetes sets to one.
    """
    if live is None:
        return None
    number, annotations = live["spec"].get("replicas"), live["metadata"].get("annotations") or {}
    return number if number is not None and annotations.get(ANNOTATION_REPLICAS) == str(number) else None


def service(mdep: Object, name: str, *, selector: Mapping[str, str], port: int | str) -> Object:
    """One address of the model. `selector` says who answers, `port` where they listen."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(mdep, name) | {"ownerReferences": [owner(mdep)]},
        "spec": {
            "type": "ClusterIP",
            "selector": dict(selector),
            "ports": [{"name": "http", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": port}],
        },
    }


def backend(mdep: Object, revision: str) -> Object:
    """The Service of one revision, for routes to send a share to; admission lets nobody else's route name it."""
    model = mdep["metadata"]["name"]
    selector = {LABEL_MODEL: model, LABEL_REVISION: revision}
    document = service(mdep, workload_name(model, revision), selector=selector, port="http")
    document["metadata"]["labels"][LABEL_REVISION] = revision
    return document


def pod_template(mdep: Object, name: str, *, level: Level, revision: str, template: Object) -> Object:
    """What somebody else's workload runs at a level: the Pods of one revision, which say at which level they answer."""
    metadata = _metadata(mdep, name)
    metadata["labels"] |= {LABEL_REVISION: revision, LABEL_SERVES: level}
    labels = template["metadata"]["labels"] | {LABEL_SERVES: level}
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": metadata | {"ownerReferences": [owner(mdep)]},
        "template": template | {"metadata": template["metadata"] | {"labels": labels}},
    }


def nobody(mdep: Object) -> Object:
    """The Service that answers nobody, since a route must name one."""
    model = mdep["metadata"]["name"]
    selector = {LABEL_MODEL: model, LABEL_REVISION: NOBODY}
    return service(mdep, nobody_name(model), selector=selector, port="http")


def route(mdep: Object, document: Object, *, stepped: str) -> Object:
    """A route or policy of `rollout.gateway`, as this model's own; `stepped` is when its content last changed."""
    metadata = _metadata(mdep, document["metadata"]["name"]) | {"annotations": {ANNOTATION_STEPPED: stepped}}
    return document | {"metadata": metadata | {"ownerReferences": [owner(mdep)]}}


def grant(namespace: str, spec: AutonomyGrantSpec) -> Object:
    """What may run in a namespace."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AutonomyGrant",
        "metadata": {"name": GRANT_NAME, "namespace": namespace},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def _metadata(mdep: Object, name: str, *, record: str | None = None) -> Object:
    labels = {LABEL_MODEL: mdep["metadata"]["name"]} | ({LABEL_RECORD: record} if record else {})
    return {"name": name, "namespace": mdep["metadata"]["namespace"], "labels": labels}


def _evaluation_metadata(meval: Object, name: str) -> Object:
    return {
        "name": name,
        "namespace": meval["metadata"]["namespace"],
        "labels": {LABEL_MODEL: meval["spec"]["modelDeployment"], LABEL_EVALUATION: name},
        "ownerReferences": [owner(meval)],
    }
