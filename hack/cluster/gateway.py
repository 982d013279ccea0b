"""Envoy Gateway: an implementation of the Gateway API, so that routes in the cluster carry real traffic.

Its program is built from the pinned Go module, its Helm chart and the resource definitions are that module's own files,
and Envoy comes from PyPI, since nothing here can pull images.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import images
import toolbox
from proc import wait_for
from say import Steps

TOOL = "envoy-gateway"
SYSTEM = "envoy-gateway-system"
MANIFESTS = toolbox.HERE / "gateway.yaml"
DOCKERFILE = toolbox.HERE / "envoy" / "Dockerfile"
CLASS, NAMESPACE, NAME = "eg", "gateway", "shared"
"""What gateway.yaml makes: the GatewayClass, and the Gateway that every namespace may attach routes to."""
READY_SECONDS = 180.0
DEFINITIONS = (
    "charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml",
    "charts/gateway-helm/charts/crds/crds/generated",
)


def install(cluster: images.Cluster, envoy: Callable[[], str]) -> dict[str, str]:
    """Bring Envoy Gateway and the shared Gateway into the cluster, or what of them is missing.

    `envoy` builds and loads Envoy's image and returns its reference by digest. Returns the names of the class and the
    Gateway, and the address that the Gateway answers at (port 80), once it does so.
    """
    tools = toolbox.ensure(["kubectl", "helm", TOOL])
    steps = Steps(5)
    with steps.step("loading Envoy Gateway's image"):
        controller = images.load_program(cluster, TOOL, tools[TOOL])
    with steps.step("making Envoy's image", slow="fetches some 40 MB the first time"):
        proxy = envoy()
    kubectl = [str(tools["kubectl"]), "--kubeconfig", str(cluster.kubeconfig)]
    module = toolbox.module_folder(TOOL)
    with steps.step("installing Envoy Gateway and the Gateway API's kinds"):
        _define(kubectl, module)
        _install_chart([str(tools["helm"]), "--kubeconfig", str(cluster.kubeconfig)], module, controller)
    with steps.step(f"making the class {CLASS} and the Gateway {NAMESPACE}/{NAME}"):
        manifests = MANIFESTS.read_text().replace("${ENVOY_IMAGE}", proxy)
        _apply(kubectl, manifests.encode(), what="making the Gateway")
    with steps.step("waiting for the Gateway to be Programmed"):
        address = _wait_programmed(kubectl)
    return {"gatewayClass": CLASS, "gateway": f"{NAMESPACE}/{NAME}", "address": address}


def definitions(module: Path) -> list[Path]:
    """The files that define the Gateway API's kinds (experimental channel) and Envoy Gateway's own."""
    return [module / name for name in DEFINITIONS]


def _define(kubectl: Sequence[str], module: Path) -> None:
    files = [part for path in definitions(module) for part in ("--filename", path)]
    toolbox.run(
        [*kubectl, "apply", "--server-side", "--force-conflicts", *files], what="defining the Gateway API's kinds"
    )
    toolbox.run(
        [*kubectl, "wait", "--for=condition=Established", "--timeout=60s", *files],
        what="waiting for the Gateway API's kinds",
    )


def _install_chart(helm: Sequence[str], module: Path, image: str) -> None:
    chart = module / "charts" / "gateway-helm"
    # The module holds the chart as its makers keep it: the default values are a template with two names to fill in.
    defaults = (chart / "values.tmpl.yaml").read_text()
    defaults = defaults.replace("${GatewayImage}", image).replace("${GatewayImagePullPolicy}", "IfNotPresent")
    small = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    values = {
        "crds": {"enabled": False},
        "deployment": {"envoyGateway": {"resources": small}},
        "topologyInjector": {"enabled": False},  # a webhook that tells Envoy its zone; there is one node
    }
    files: list[object] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("defaults.yaml", defaults), ("values.json", json.dumps(values))):
            files += ["--values", Path(folder, name)]
            Path(folder, name).write_text(text)
        toolbox.run(
            [
                *(*helm, "upgrade", "--install", "eg", chart, "--namespace", SYSTEM, "--create-namespace", *files),
                *("--skip-crds", "--wait", "--timeout", f"{READY_SECONDS:.0f}s"),
            ],
            what="installing Envoy Gateway",
        )


def _apply(kubectl: Sequence[str], manifests: bytes, *, what: str) -> None:
    toolbox.run(
        [*kubectl, "apply", "--server-side", "--force-conflicts", "--filename", "-"], what=what, stdin=manifests
    )


def _wait_programmed(kubectl: Sequence[str]) -> str:
    """The Gateway's address once Envoy serves what the Gateway now says; a ClusterError says what is in the way."""

    def programmed() -> str | None:
        gateway = json.loads(
            toolbox.run(
                [*kubectl, "-n", NAMESPACE, "get", "gateway", NAME, "-o", "json"], what="looking at the Gateway"
            )
        )
        status = gateway.get("status", {})
        generation = gateway["metadata"]["generation"]
        done = any(
            entry["type"] == "Programmed" and entry["status"] == "True" and entry["observedGeneration"] == generation
            for entry in status.get("conditions", ())
        )
        addresses = status.get("addresses") or ()
        return str(addresses[0]["value"]) if done and addresses else None

    return wait_for(
        programmed, seconds=READY_SECONDS, what="the Gateway to be Programmed", log=lambda: _in_the_way(kubectl)
    )


def _in_the_way(kubectl: Sequence[str]) -> str:
    """The Gateway's conditions, the Pods of the gateway, and the end of the controller's log."""
    questions = (
        (
            "-n",
            NAMESPACE,
            "get",
            "gateway",
            NAME,
            "-o",
            'jsonpath={range .status.conditions[*]}{.type}={.status} {.message}{"\n"}{end}',
        ),
        ("-n", SYSTEM, "get", "pods"),
        ("-n", SYSTEM, "logs", "deployment/envoy-gateway", "--tail", "10"),
    )
    answers = (subprocess.run([*kubectl, *each], capture_output=True, text=True, check=False) for each in questions)
    return "\n".join((answer.stdout + answer.stderr).strip() for answer in answers)
