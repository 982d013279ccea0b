"""A synchronous client that acts as any user (by impersonation), for attackers and for people with rights."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3
import yaml

Object = dict[str, Any]
T = TypeVar("T")

_PLURALS = {
    "BackendTrafficPolicy": "backendtrafficpolicies",
    "Endpoints": "endpoints",
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
}
_CLUSTER = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Node",
    "PriorityClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


class Refused(Exception):  # noqa: N818 - the word that the tests are about
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


def path(document: Mapping[str, Any], *, named: bool, sub: str = "") -> str:
    """The URL path of an object or, unnamed, of its collection."""
    kind, metadata = document["kind"], document["metadata"]
    group = document["apiVersion"]
    parts = ["apis" if "/" in group else "api", group]
    if kind not in _CLUSTER:
        parts += ["namespaces", metadata["namespace"]]
    parts.append(_PLURALS.get(kind, kind.lower() + "s"))
    if named:
        parts.append(metadata["name"])
    return "/" + "/".join([*parts, *([sub] if sub else [])])


@dataclass(frozen=True)
class Api:
    """Requests as one user."""

    server: str
    pool: urllib3.PoolManager
    user: str = ""
    groups: tuple[str, ...] = ()
    dry_run: bool = False

    def acting_as(self, user: str, *groups: str) -> Api:
        """The same API server, as somebody else."""
        return replace(self, user=user, groups=groups)

    def rehearsing(self) -> Api:
        """Every write is a dry run: admission decides, nothing is stored."""
        return replace(self, dry_run=True)

    def request(
        self, method: str, where: str, body: Any = None, *, content: str = "application/json", **query: str
    ) -> Object:
        """One request; raises Refused for any status from 400."""
        headers = [("Accept", "application/json"), ("Content-Type", content)]
        if self.user:
            headers.append(("Impersonate-User", self.user))
            headers += [("Impersonate-Group", group) for group in self.groups]
        if self.dry_run and method == "DELETE":  # with a body, the API server doesn't read the query
            body = body | {"dryRun": ["All"]}
        elif self.dry_run and method != "GET":
            query["dryRun"] = "All"
        answer = self.pool.request(
            method,
            f"{self.server}{where}" + (f"?{urlencode(query)}" if query else ""),
            body=None if body is None else json.dumps(body),
            headers=urllib3.HTTPHeaderDict(headers),
            retries=False,
        )
        text = answer.data.decode()
        if answer.status >= 400:
            try:
                message = str(json.loads(text)["message"])
            except (ValueError, KeyError, TypeError):
                message = text
            raise Refused(answer.status, message)
        return dict(json.loads(text)) if text.startswith("{") else {"text": text}

    def create(self, document: Object) -> Object:
        """POST."""
        return self.request("POST", path(document, named=False), document)

    def get(self, document: Object) -> Object:
        """What is stored of an object like `document`."""
        return self.request("GET", path(document, named=True))

    def put(self, document: Object, *, sub: str = "") -> Object:
        """Replace."""
        return self.request("PUT", path(document, named=True, sub=sub), document)

    def merge(self, document: Object, change: Object, *, sub: str = "") -> Object:
        """JSON merge patch; null deletes."""
        where = path(document, named=True, sub=sub)
        return self.request("PATCH", where, change, content="application/merge-patch+json")

    def patch(self, document: Object, change: Object, *, sub: str = "") -> Object:
        """Strategic merge patch, for built-in kinds."""
        where = path(document, named=True, sub=sub)
        return self.request("PATCH", where, change, content="application/strategic-merge-patch+json")

    def apply(self, document: Object) -> Object:
        """Server-side apply."""
        where = path(document, named=True)
        return self.request(
            "PATCH", where, document, content="application/apply-patch+yaml", fieldManager="test", force="true"
        )

    def delete(self, document: Object) -> Object:
        """DELETE, in the background."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        return self.request("DELETE", path(document, named=True), body)

    def list(self, like: Object, selector: str = "") -> list[Object]:
        """The collection of an object like `like`."""
        answer = self.request("GET", path(like, named=False), **({"labelSelector": selector} if selector else {}))
        return list(answer["items"])


def connect(kubeconfig: Path) -> Api:
    """As the kubeconfig's user."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]

    def file(where: Mapping[str, str], name: str) -> str:
        if name in where:
            return where[name]
        copy = kubeconfig.with_name(f"{kubeconfig.name}.{name}")
        copy.write_bytes(base64.b64decode(where[f"{name}-data"]))
        return str(copy)

    pool = urllib3.PoolManager(
        ca_certs=file(cluster, "certificate-authority"),
        cert_file=file(user, "client-certificate"),
        key_file=file(user, "client-key"),
        timeout=30.0,
        maxsize=4,
    )
    return Api(cluster["server"], pool)


def eventually(attempt: Callable[[], T | None], *, seconds: float = 30.0) -> T:
    """The first answer that isn't None or an exception; policies and grants take a moment to reach the API server."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = attempt()
            if answer is not None:
                return answer
            failure: Exception = TimeoutError(f"nothing within {seconds} s")
        except (Refused, AssertionError) as error:
            failure = error
        if time.monotonic() > end:
            raise failure
        time.sleep(0.1)
