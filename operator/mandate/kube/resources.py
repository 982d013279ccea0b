"""The kinds that the operator reads and writes, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from mandate.api.names import GROUP, VERSION


@dataclass(frozen=True)
class Resource:
    """One kind: its group (empty for core), version, plural and kind."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`, …"""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, one object, or one of its sub-resources."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/" + "/".join(parts)


MODEL_DEPLOYMENTS = Resource(GROUP, VERSION, "modeldeployments", "ModelDeployment")
MODEL_EVALUATIONS = Resource(GROUP, VERSION, "modelevaluations", "ModelEvaluation")
AUTONOMY_GRANTS = Resource(GROUP, VERSION, "autonomygrants", "AutonomyGrant")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
POD_TEMPLATES = Resource("", "v1", "podtemplates", "PodTemplate")
SERVICES = Resource("", "v1", "services", "Service")
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
JOBS = Resource("batch", "v1", "jobs", "Job")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
BACKEND_TRAFFIC_POLICIES = Resource(
    "gateway.envoyproxy.io", "v1alpha1", "backendtrafficpolicies", "BackendTrafficPolicy"
)
"""Envoy Gateway's own: how requests are assigned to backends."""
INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
SELF_SUBJECT_REVIEWS = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
"""Tells whoever creates one who they are; nothing is stored."""

ALL = (
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    AUTONOMY_GRANTS,
    CONFIG_MAPS,
    NAMESPACES,
    PODS,
    POD_TEMPLATES,
    SERVICES,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    EVENTS,
    NETWORK_POLICIES,
    HTTP_ROUTES,
    BACKEND_TRAFFIC_POLICIES,
    INFERENCE_SERVICES,
)
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in ALL}


def resource_of(api_version: str, kind: str) -> Resource:
    """The resource of an object's `apiVersion` and `kind`; raises KeyError for kinds that aren't ours to touch."""
    return _BY_KIND[(api_version, kind)]
