"""The operator under its own rights and its own policies: what it does on the main path, it may do, and no more."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mandate.kube.resources import MODEL_DEPLOYMENTS, PODS
from tests.integration.admission.api import Refused, connect
from tests.integration.chart.conftest import ROOT, Helm
from tests.integration.controller.conftest import a_world, condition, good
from tests.integration.controller.process import operator
from tests.unit.controller.samples import evidence, mdep

NAMESPACE = "mandate-system"


@pytest.fixture(scope="module")
def installed(chart_cluster: Path, helm: Helm) -> Path:
    """The chart's policies and rights; its own operator Pods aren't started, a process of this machine takes over."""
    chart = ("helm/mandate", "-f", "helm/mandate/ci/example-values.yaml", "--set", "controller.replicas=0")
    where = ("--namespace", NAMESPACE, "--create-namespace")
    helm("upgrade", "--install", "mandate", *chart, *where, kubeconfig=chart_cluster)
    return chart_cluster


def with_token(kubeconfig: Path, folder: Path) -> Path:
    """A kubeconfig with the operator's service account token, and nothing else."""
    admin = connect(kubeconfig)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    where = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/mandate-controller/token"
    token = admin.request("POST", where, request)["status"]["token"]
    cluster = {"server": admin.server, "certificate-authority": str(kubeconfig.parent / "ca.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "operator"}}],
        "current-context": "here",
    }
    path = folder / "operator.kubeconfig"
    path.write_text(json.dumps(config))
    return path


def as_node(kubeconfig: Path) -> Path:
    """A kubeconfig of a node that is also an administrator: the policies take only a kubelet's word on evaluations."""
    sys.path.insert(0, str(ROOT / "hack" / "cluster"))
    from certs import Authority  # type: ignore[import-not-found, unused-ignore]

    authority = Authority(kubeconfig.parent)
    made = authority.kubeconfig("node", "/O=system:masters/O=system:nodes/CN=pretended", connect(kubeconfig).server)
    return Path(made)


@pytest.mark.parametrize("mode", ["Labelled", "Strict"])
async def test_a_good_model_is_served_where_everything_is_enforced(installed: Path, tmp_path: Path, mode: str) -> None:
    log = tmp_path / "log"
    enrolled = {"mandate.dev/enforce": mode}
    async with a_world(as_node(installed), tmp_path, lambda _: good(evidence(0.8)), **enrolled) as world:
        with operator(with_token(installed, tmp_path), log, namespace=NAMESPACE):
            await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
            item = await world.until("Ready", lambda item: condition(item, "Ready") == ("True", "Serving"))
            revision = item["status"]["champion"]["revision"]
            serving = await world.all(PODS, f"mandate.dev/revision={revision}")
            assert len(serving) == 1
            _check_enforced(installed, world.namespace, serving[0])
    refusals = [line for line in log.read_text().splitlines() if "orbidden" in line or "denied" in line]
    assert refusals == []


def _check_enforced(kubeconfig: Path, namespace: str, serving: dict[str, object]) -> None:
    """Even the administrator may not run something else under the model's name."""
    metadata = serving["metadata"]
    assert isinstance(metadata, dict)
    labels = {key: value for key, value in metadata["labels"].items() if key.startswith("mandate.dev/")}
    copy = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "copy", "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "predictor", "image": "registry.example/evil@sha256:" + "0" * 64}]},
    }
    with pytest.raises(Refused, match=r"pods\.mandate\.dev"):
        connect(kubeconfig).rehearsing().create(copy)
