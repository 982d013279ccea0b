"""Group, labels, annotations and other names that several rooms must agree on."""

from __future__ import annotations

GROUP = "mandate.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

LABEL_MODEL = f"{GROUP}/model"
"""On managed Pods: the ModelDeployment's name."""
LABEL_REVISION = f"{GROUP}/revision"
"""On managed Pods: the revision's key in the grant."""
LABEL_BATCH = f"{GROUP}/batch"
"""On Pods that score a batch, instead of the one before: the revision's key in the grant."""
LABEL_SERVES = f"{GROUP}/serves"
"""On Pods and PodTemplates of the provider External: the level at which they answer."""
LABEL_EVALUATION = f"{GROUP}/evaluation"
"""On evaluation Jobs, their Pods and NetworkPolicies: the Job's name, another one for every attempt."""
LABEL_EGRESS = f"{GROUP}/egress"
"""On Pods that fetch from servers: `Sources`, for network policies to select."""
LABEL_RECORD = f"{GROUP}/record"
"""On ConfigMaps and ControllerRevisions of ours: `Evidence`, `Ledger`, `FirstSeen` or `Revision`."""
LABEL_ENFORCE = f"{GROUP}/enforce"
"""On namespaces: `Labelled` or `Strict`."""

ANNOTATION_MODEL_DIGEST = f"{GROUP}/model-digest"
ANNOTATION_AUTONOMY = f"{GROUP}/autonomy"
"""On Pods that score a batch: the level that marks what they write."""
ANNOTATION_RETRY = f"{GROUP}/retry"
"""Any new value asks for a refused or failed revision to be judged again."""

GRANT_NAME = "mandate"
FIELD_MANAGER = "mandate"
MODEL_NAME_LENGTH = 40
SHORT = 10
"""Hex digits of a digest in names; they only need to differ within one model."""
KSERVE_NAME_LENGTH = 37
"""Of a model: KServe labels Pods `isvc.NAME-<10 hex>-predictor`, and a label's value has at most 63 characters."""


def suggest_name(model: str) -> str:
    """The address of a model that answers people."""
    return f"{model}-suggest"


def shadow_name(model: str) -> str:
    """What runs for copies of requests, where somebody else's workloads serve the model."""
    return f"{model}-shadow"


def nobody_name(model: str) -> str:
    """The Service behind a model's routes that answers nobody, for where nothing may and no fallback is declared."""
    return f"{model}-nobody"


def workload_name(model: str, revision: str) -> str:
    """The name of a revision's Deployment or InferenceService, ControllerRevision and Service.

    `revision` is its key or digest.
    """
    return f"{model}-{revision.removeprefix('sha256:')[:SHORT]}"
