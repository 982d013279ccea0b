"""Argo Rollouts, for models that others serve: its program from the pinned Go module, its manifests as they come."""

from __future__ import annotations

import re

import images
import toolbox
from say import Steps

TOOL = "rollouts-controller"
NAMESPACE = "argo-rollouts"
READY_SECONDS = 180
IMAGE = re.compile(r"image: \S+/argo-rollouts:latest\n(\s+)imagePullPolicy: Always")


def install(cluster: images.Cluster) -> str:
    """Bring Argo Rollouts into the cluster, or what of it is missing; returns its namespace once it runs."""
    toolbox.ensure_linux("Argo Rollouts in a cluster", instead="install it there as its makers say")
    tools = toolbox.ensure(["kubectl", TOOL])
    kubectl = [str(tools["kubectl"]), "--kubeconfig", str(cluster.kubeconfig), "--namespace", NAMESPACE]
    steps = Steps(3)
    with steps.step("loading Argo Rollouts' image"):
        image = images.load_program(cluster, TOOL, tools[TOOL])
    with steps.step("installing Argo Rollouts"):
        given = (toolbox.module_folder(TOOL) / "manifests" / "install.yaml").read_text()
        manifests = IMAGE.sub(rf"image: {image}\n\1imagePullPolicy: IfNotPresent", given)
        toolbox.run(
            [*kubectl, "apply", "--server-side", "--force-conflicts", "--filename", "-"],
            what="installing Argo Rollouts",
            stdin=f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n---\n{manifests}".encode(),
        )
    with steps.step("waiting for Argo Rollouts to run"):
        status = ("rollout", "status", f"deployment/{NAMESPACE}", f"--timeout={READY_SECONDS}s")
        toolbox.run([*kubectl, *status], what="waiting for Argo Rollouts")
    return NAMESPACE
