"""The small types that an admission policy is written in, and how they become Kubernetes objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any, Literal

from mandate.api.names import API_VERSION, GRANT_NAME, GROUP, LABEL_ENFORCE

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
Document = dict[str, Any]

ENROLLED = ("Labelled", "Strict")
"""The values of the enrolment label."""


@dataclass(frozen=True, kw_only=True)
class Actors:
    """The user names that policies tell apart.

    The chart passes template expressions, tests pass plain names: nothing here looks at the text.
    """

    operator: str
    """The operator's user name: `system:serviceaccount:NAMESPACE:NAME`."""
    operator_namespace: str
    """Where the operator runs; it can't be enrolled, or the operator would wait for its own permission."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """Requests for `resources` (and sub-resources, as `pods/status`) of one API group."""

    group: str
    resources: tuple[str, ...]
    operations: tuple[Operation, ...]
    versions: tuple[str, ...] = ("*",)

    def document(self) -> Document:
        """A `resourceRules` entry."""
        return {
            "apiGroups": [self.group],
            "apiVersions": list(self.versions),
            "operations": list(self.operations),
            "resources": list(self.resources),
        }


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What must be true, and what the refused person reads. `says` is a CEL expression that gives a string."""

    holds: str
    says: str

    def document(self) -> Document:
        """A `validations` entry."""
        return {"expression": cel(self.holds), "messageExpression": cel(self.says), "reason": "Forbidden"}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Where a policy holds: namespaces by enrolment (None: all of them), and objects by a label that they carry.

    An update matches when the old or the new object carries the label, so stripping it is seen.
    """

    suffix: str = ""
    enrolled: tuple[str, ...] | None = None
    labelled: str | None = None
    without_grant: Literal["Allow", "Deny"] | None = None
    """Where the policy reads the namespace's grant: what happens while there is none."""

    def document(self, policy: str) -> Document:
        """A ValidatingAdmissionPolicyBinding."""
        where: Document = {}
        if self.enrolled is not None:
            among = {"key": LABEL_ENFORCE, "operator": "In", "values": list(self.enrolled)}
            where["namespaceSelector"] = {"matchExpressions": [among]}
        if self.labelled is not None:
            where["objectSelector"] = {"matchExpressions": [{"key": self.labelled, "operator": "Exists"}]}
        spec: Document = {"policyName": policy, "validationActions": ["Deny"]}
        if where:
            spec["matchResources"] = where
        if self.without_grant is not None:
            spec["paramRef"] = {"name": GRANT_NAME, "parameterNotFoundAction": self.without_grant}
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": f"{policy}{self.suffix}"},
            "spec": spec,
        }


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One ValidatingAdmissionPolicy with its bindings; it fails closed."""

    name: str
    point: int
    """Which of the five enforcement points it belongs to."""
    why: str
    """For whoever reads it in the cluster."""
    matches: tuple[Match, ...]
    rules: tuple[Rule, ...]
    bindings: tuple[Binding, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    """CEL by name, each may use those before it."""
    only_when: Mapping[str, str] = field(default_factory=dict)
    """Conditions by name; a request that doesn't meet all of them isn't looked at."""

    @property
    def reads_grant(self) -> bool:
        """Whether the namespace's AutonomyGrant is its parameter."""
        return any(binding.without_grant is not None for binding in self.bindings)

    def documents(self) -> list[Document]:
        """The policy and its bindings."""
        spec: Document = {"failurePolicy": "Fail"}
        if self.reads_grant:
            spec["paramKind"] = {"apiVersion": API_VERSION, "kind": "AutonomyGrant"}
        spec["matchConstraints"] = {"resourceRules": [match.document() for match in self.matches]}
        if self.only_when:
            spec["matchConditions"] = [{"name": name, "expression": cel(text)} for name, text in self.only_when.items()]
        if self.variables:
            spec["variables"] = [{"name": name, "expression": cel(text)} for name, text in self.variables.items()]
        spec["validations"] = [rule.document() for rule in self.rules]
        about = {"kubernetes.io/description": f"Enforcement point {self.point}. " + " ".join(self.why.split())}
        metadata: Document = {"name": f"{self.name}.{GROUP}", "annotations": about}
        policy = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": spec,
        }
        return [policy, *(binding.document(metadata["name"]) for binding in self.bindings)]


def cel(text: str) -> str:
    """CEL as it is stored: without the source's indentation."""
    return dedent(text).strip()


def words(values: tuple[str, ...]) -> str:
    """A CEL list of strings."""
    return "[" + ", ".join(f"'{value}'" for value in values) + "]"
