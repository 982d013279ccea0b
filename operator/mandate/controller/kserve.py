"""What the provider KServe makes of a revision: an InferenceService, whose Pods are known beforehand. Pure.

In its Standard mode KServe turns an InferenceService X into a Deployment and a Service `X-predictor`. It copies the
labels and annotations of X, adds three labels, and changes nothing else of a container that is called as it wants; so
what its Pods will be can be granted beforehand. What it makes in its Knative mode can't: decision 0027.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.moments import instant
from mandate.controller.plan import Apply, holds

Object = dict[str, Any]

GROUP = "serving.kserve.io"
API_VERSION = f"{GROUP}/v1beta1"
KIND = "InferenceService"
MODE = "Standard"
"""The mode in which KServe makes plain Deployments; releases before 0.16 call it otherwise."""
CONTAINER = "kserve-container"
"""What KServe calls the container that answers."""
LOCAL = {"networking.kserve.io/visibility": "cluster-local"}
"""On an InferenceService: KServe makes no route or Ingress to it, which would reach it past its level."""
GRACE = 30.0
"""Seconds for which KServe may say nothing of an InferenceService, before anybody is told that it doesn't."""
MISSING = (
    "spec.serving.provider: KServe: the operator knows no InferenceServices (serving.kserve.io/v1beta1); install "
    "KServe, and the chart with kserve.enabled=true, or use another provider. Until then Pods that are there go on, "
    "and no new ones come"
)


def is_asked(spec: ModelDeploymentSpec) -> bool:
    """Whether a revision's Pods come from an InferenceService."""
    return spec.serving.provider == "KServe"


def deployment_name(service: str) -> str:
    """What KServe calls the Deployment and the Service that it makes of an InferenceService."""
    return f"{service}-predictor"


def is_made_of(deployment: Mapping[str, Any], service: str) -> bool:
    """Whether a Deployment is called, and says that it is controlled, as KServe makes it of the InferenceService."""
    metadata = deployment["metadata"]
    owners = (item for item in metadata.get("ownerReferences") or () if item.get("controller"))
    made = any(
        (item["kind"], item["name"]) == (KIND, service) and item["apiVersion"].startswith(f"{GROUP}/")
        for item in owners
    )
    return made and bool(metadata["name"] == deployment_name(service))


def pod_template(template: Object, *, service: str) -> Object:
    """The Pod template of one revision as the Deployment has it that KServe makes of the InferenceService `service`.

    `template` is that of a Deployment of ours, with one container.
    """
    [container] = template["spec"]["containers"]
    # KServe sets the variable also where it isn't stated, in the last place.
    variables = [*container.get("env", ()), {"name": "INFERENCE_SERVICE_NAME", "value": service}]
    labels = {
        f"{GROUP}/inferenceservice": service,
        "component": "predictor",
        "app": f"isvc.{deployment_name(service)}",
    }
    metadata = template["metadata"]
    return {
        "metadata": {**metadata, "labels": metadata["labels"] | LOCAL | labels},
        "spec": {**template["spec"], "containers": [{**container, "name": CONTAINER, "env": variables}]},
    }


def inference_service(metadata: Object, template: Object, *, replicas: int | None) -> Object:
    """The InferenceService of one revision; `metadata` has its name and labels, `template` is as for `pod_template`.

    Without `replicas` their number is somebody else's. KServe copies every annotation to the Pods: none may change
    while the revision lives, or its Pods would start anew.
    """
    full = pod_template(template, service=metadata["name"])
    annotations = {
        f"{GROUP}/deploymentMode": MODE,
        # KServe's own choice would be a HorizontalPodAutoscaler that nobody asked for.
        f"{GROUP}/autoscalerClass": "external" if replicas is None else "none",
    }
    predictor = full["spec"] | {"annotations": template["metadata"]["annotations"]}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {**metadata, "labels": metadata["labels"] | LOCAL, "annotations": annotations},
        "spec": {"predictor": predictor | ({} if replicas is None else {"minReplicas": replicas})},
    }


def bring(document: Object, live: Object | None) -> tuple[Apply, ...]:
    """Apply `document` unless `live` is so already. It isn't stamped: KServe would copy the stamp to the Pods."""
    return () if live is not None and holds(document, live) else (Apply(document),)


def replicas(live: Mapping[str, Any] | None) -> int | None:
    """The number of Pods that an InferenceService states, for where nobody knows what it should be."""
    return live["spec"]["predictor"].get("minReplicas") if live is not None else None


def patience(live: Mapping[str, Any], now: float) -> float | None:
    """For how many more seconds KServe may say nothing of an InferenceService; None where it has, or they are over."""
    if live.get("status"):
        return None
    left = GRACE - (now - instant(live["metadata"]["creationTimestamp"]))
    return left if left > 0 else None


def finding(live: Mapping[str, Any], now: float) -> str:
    """What keeps KServe from making Pods of an InferenceService, and what to do; empty where nothing does."""
    name = live["metadata"]["name"]
    status = live.get("status") or {}
    if not status:
        silent = patience(live, now) is None
        return f"KServe says nothing of InferenceService {name}: check that its controller runs" if silent else ""
    mode = status.get("deploymentMode", MODE)
    if mode != MODE:
        return (
            f"KServe runs InferenceService {name} in mode {mode}, not {MODE}: use KServe 0.17 or later, and let "
            f"nothing change the annotation {GROUP}/deploymentMode"
        )
    for condition in status.get("conditions") or ():
        if condition["type"] == "PredictorReady" and condition.get("reason") == "ReconcileFailed":
            return f"InferenceService {name}: KServe can't make its Pods: {condition.get('message', '')}"
    return ""
