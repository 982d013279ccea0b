"""A cluster in a container, made by kind with Docker or Podman."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import toolbox
from say import Steps, note

NAME = "mandate"
CONTAINER = f"{NAME}-control-plane"
CONFIG = toolbox.REPOSITORY / "kind-config.yaml"
ENGINES = {"docker": ("docker", "version", "--format", "{{.Server.Version}}"), "podman": ("podman", "info")}
"""Engines, each with a question that only a running one answers."""


def engine() -> str | None:
    """The container engine that answers here, or None."""
    for name, question in ENGINES.items():
        if shutil.which(name) and subprocess.run(question, capture_output=True, check=False).returncode == 0:
            return name
    return None


class Kind:
    """The kind cluster of this user."""

    def __init__(self, engine_command: str) -> None:
        self.engine = engine_command

    @property
    def kubeconfig(self) -> Path:
        return toolbox.cache_folder() / "kind.kubeconfig"

    @property
    def exists(self) -> bool:
        return NAME in self._kind("get", "clusters").split()

    @property
    def volumes(self) -> Path:
        """The folder of this machine that holds its volumes; kind-config.yaml says the same."""
        return toolbox.REPOSITORY / ".cluster" / "volumes"

    def ctr(self) -> list[str]:
        """The command that talks to the cluster's containerd."""
        return [self.engine, "exec", "--interactive", CONTAINER, "ctr", "--namespace", "k8s.io"]

    def up(self) -> None:
        """Create the cluster, or start its stopped container again."""
        toolbox.ensure(["kind", "kubectl"])
        self.volumes.mkdir(parents=True, exist_ok=True)
        (self.volumes.parent / ".gitignore").write_text("*\n")
        with toolbox.locked(
            toolbox.cache_folder() / "kind.lock", busy="another command works on the kind cluster; wait for it"
        ):
            if self.exists:
                toolbox.run([self.engine, "start", CONTAINER], what="starting the kind cluster's container")
                self._kind("export", "kubeconfig", "--name", NAME, "--kubeconfig", str(self.kubeconfig))
                return
            with Steps(1).step("creating the kind cluster", slow="fetches kind's node image the first time"):
                self._kind(
                    "create", "cluster", "--config", str(CONFIG), "--kubeconfig", str(self.kubeconfig), "--wait", "120s"
                )

    def down(self) -> None:
        if not self.exists:
            note("no kind cluster here")
            return
        self._kind("delete", "cluster", "--name", NAME, "--kubeconfig", str(self.kubeconfig))
        self.kubeconfig.unlink(missing_ok=True)

    def status(self) -> list[tuple[str, str, bool]]:
        """(name, what it does, whether that is well)."""
        there = self.exists
        return [("kind cluster", "is there" if there else "is not there", there)]

    def load(self, name: str) -> None:
        """Load an image that the engine has, or an archive."""
        if Path(name).is_file():
            self._kind("load", "image-archive", name, "--name", NAME)
            return
        with tempfile.TemporaryDirectory(dir=toolbox.cache_folder()) as scratch:
            archive = f"{scratch}/image.tar"  # `kind load docker-image` knows Docker only
            toolbox.run([self.engine, "save", "--output", archive, name], what=f"saving {name}")
            self._kind("load", "image-archive", archive, "--name", NAME)

    def _kind(self, *arguments: str) -> str:
        environment = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": self.engine}
        return toolbox.run(
            [toolbox.ensure(["kind"])["kind"], *arguments], what="kind", cwd=toolbox.REPOSITORY, env=environment
        )
