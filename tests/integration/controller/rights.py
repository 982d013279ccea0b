"""The operator's own rights, from the chart, and a kubeconfig that has these and no others."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from mandate.kube.client import Client
from mandate.kube.resources import Resource
from tests.integration.conftest import ROOT, helm_binary

RBAC = "rbac.authorization.k8s.io"
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
KINDS = {
    "ServiceAccount": ACCOUNTS,
    "Role": Resource(RBAC, "v1", "roles", "Role"),
    "RoleBinding": Resource(RBAC, "v1", "rolebindings", "RoleBinding"),
    "ClusterRole": Resource(RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
    "ClusterRoleBinding": Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
}


def rendered(namespace: str, *values: str) -> list[dict[str, Any]]:
    """The chart's service account, Roles and bindings for a release in, and named after, this namespace."""
    chart = ["helm/mandate", "-f", "helm/mandate/ci/example-values.yaml"]
    parts = ["-s", "templates/rbac.yaml", "-s", "templates/serviceaccount.yaml"]
    parts += [part for value in values for part in ("--set", value)]
    with tempfile.TemporaryDirectory() as home:
        text = subprocess.run(
            [helm_binary(), "template", namespace, *chart, *parts, "--namespace", namespace],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={"HOME": home},
        ).stdout
    return [document for document in yaml.safe_load_all(text) if document]


@asynccontextmanager
async def operators_rights(
    client: Client, kubeconfig: Path, namespace: str, folder: Path, *values: str
) -> AsyncIterator[Path]:
    """The kubeconfig of an operator installed in `namespace` with these values, while the context lasts."""
    documents = rendered(namespace, *values)
    for document in documents:
        resource = KINDS[document["kind"]]
        if resource.namespaced:
            document["metadata"].setdefault("namespace", namespace)
        await client.apply(resource, document)
    try:
        (account,) = (item["metadata"]["name"] for item in documents if item["kind"] == "ServiceAccount")
        yield await with_token(client, kubeconfig, namespace, account, folder)
    finally:
        for document in documents:
            if not KINDS[document["kind"]].namespaced:
                await client.delete(KINDS[document["kind"]], document["metadata"]["name"])


async def with_token(client: Client, kubeconfig: Path, namespace: str, account: str, folder: Path) -> Path:
    """A kubeconfig with this service account's token, and nothing else."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    where = ACCOUNTS.path(namespace=namespace, name=account, subresource="token")
    answer = await client._json("POST", where, body=request)
    return written(kubeconfig, answer["status"]["token"], folder / f"{namespace}-{account}.kubeconfig")


def written(kubeconfig: Path, token: str, path: Path) -> Path:
    """A copy of the kubeconfig, with this token for all credentials."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path.write_text(json.dumps(document))
    return path
