"""What KServe's controller makes of an InferenceService in its mode Standard, as far as it concerns us.

Written from KServe 0.20's own code; tests/integration/controller/test_kserve.py holds it to KServe's own controller.
"""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def deployment_of(isvc: Object) -> Object:
    """The Deployment `NAME-predictor`, without status."""
    metadata = isvc["metadata"]
    made = f"{metadata['name']}-predictor"
    pod = dict(isvc["spec"]["predictor"])
    replicas, own = pod.pop("minReplicas", None), pod.pop("annotations", {})
    added = {"serving.kserve.io/inferenceservice": metadata["name"], "component": "predictor", "app": f"isvc.{made}"}
    labels = {**metadata["labels"], **pod.pop("labels", {}), **added}
    annotations = {**metadata["annotations"], **own}
    variable = {"name": "INFERENCE_SERVICE_NAME", "value": metadata["name"]}
    containers = []
    for container in pod["containers"]:
        others = [item for item in container.get("env", ()) if item["name"] != variable["name"]]
        containers.append({**container, "env": [*others, variable]})
    owner = {
        "apiVersion": isvc["apiVersion"],
        "kind": isvc["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    counted = metadata["annotations"]["serving.kserve.io/autoscalerClass"] == "none" and replicas is not None
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": made,
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": {
            "selector": {"matchLabels": {"app": added["app"]}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {**pod, "containers": containers},
            },
        }
        | ({"replicas": replicas} if counted else {}),
    }
