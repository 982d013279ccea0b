"""What hack/cluster's files must say alike, and what it says where it can't work."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import kind, node, toolbox, volumes
networks = [node.Network(index) for index in range(node.MOST_NODES)]
print(json.dumps({
    "host": str(kind.Kind("docker").volumes), "inside": str(volumes.INSIDE),
    "networks": [[str(each.link), str(each.pods), str(each.services)] for each in networks],
    "tools": [tool.folder for tool in toolbox.GO_TOOLS.values()],
}))
"""


def told() -> dict[str, Any]:
    """What the program's modules say; they are no package of ours to import here."""
    command = [sys.executable, "-c", ASK, str(ROOT / "hack" / "cluster")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(answer))


def test_kind_shows_the_same_folder_as_the_node() -> None:
    [only] = yaml.safe_load((ROOT / "kind-config.yaml").read_text())["nodes"]
    [mount] = only["extraMounts"]
    said = told()
    assert str(ROOT / mount["hostPath"]) == said["host"]
    assert mount["containerPath"] == said["inside"]


def test_nodes_side_by_side_have_networks_of_their_own() -> None:
    networks = [ip_network(text) for row in told()["networks"] for text in row]
    assert len(networks) > 3
    clashes = [(a, b) for i, a in enumerate(networks) for b in networks[i + 1 :] if a.overlaps(b)]
    assert clashes == []


def test_every_tool_is_pinned_with_checksums() -> None:
    for folder in set(told()["tools"]) - {"pod"}:  # `pod` needs Go's own library only
        assert (ROOT / "hack" / "cluster" / "tools" / str(folder) / "go.sum").stat().st_size > 0


ACT = """
import os, shutil, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import control_plane, node, toolbox
from say import ClusterError
state = Path(sys.argv[2])
shutil.which = lambda command: "/usr/bin/apt-get" if command == "apt-get" and os.geteuid() == 0 else None
toolbox.CNI_FOLDERS = ()
def nothing(*arguments, **_):
    raise AssertionError(f"this was run: {arguments}")
subprocess.run = subprocess.Popen = nothing
try:
    exec(sys.argv[3])
except ClusterError as problem:
    print(problem)
"""


def says(action: str, state: Path) -> str:
    """The problem that an action ends with, where the commands aren't installed; nothing may be run or written."""
    command = [sys.executable, "-c", ACT, str(ROOT / "hack" / "cluster"), str(state), action]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert not state.exists()
    return answer.stdout.strip()


@pytest.mark.parametrize("system", ["darwin", "win32", "freebsd14"])
@pytest.mark.parametrize(
    ("action", "words"),
    [
        (
            "os.geteuid = lambda: 501; node.Node(state).up()",
            "a node from plain binaries needs Linux, and this system is {}: start Docker or Podman, where it becomes "
            "kind's",
        ),
        (
            "control_plane.apiserver_up(state, controller_manager=False)",
            "an API server of its own needs Linux, and this system is {}: run this in a container or a virtual machine "
            "with Linux",
        ),
    ],
)
def test_where_the_system_is_not_linux_it_says_so_first(tmp_path: Path, system: str, action: str, words: str) -> None:
    assert says(f"sys.platform = {system!r}; {action}", tmp_path / "state") == words.format(system)


@pytest.mark.parametrize(
    ("user", "action", "names"),
    [
        (501, "toolbox.ensure_host(['ip', 'runc', 'ctr', 'containerd'])", "containerd iproute2 runc"),
        (501, "toolbox.ensure_host([], cni=True)", "containernetworking-plugins"),
        (501, "control_plane.apiserver_up(state, controller_manager=False)", "openssl"),
        (0, "shutil.which = lambda command: None; toolbox.ensure_host(['buildah'])", "buildah"),
    ],
)
def test_what_is_missing_is_named_where_it_cannot_be_installed(
    tmp_path: Path, user: int, action: str, names: str
) -> None:
    """Neither without root nor without apt-get."""
    said = says(f"os.geteuid = lambda: {user}; sys.platform = 'linux'; {action}", tmp_path / "state")
    words = "(Debian's names); install them with the system's package manager, then try again"
    assert said == f"missing here: {names} {words}"


BESIDE = """
import io, sys
from pathlib import Path
import oci

class Slow(io.BytesIO):
    def read(self, *size):
        part = super().read(*size)
        reads.append(len(part))
        if len(reads) == 3:  # the first two were for the digest
            oci.write_image(archive, "docker.io/mandate/x:1", io.BytesIO(b"layer"), {})
        return part

reads, archive = [], Path(sys.argv[1])
oci.write_image(archive, "docker.io/mandate/x:1", Slow(b"layer"), {})
print(len(reads) > 2, sorted(path.name for path in archive.parent.iterdir()))
"""
"""Writes an archive while it is being written."""


def test_two_commands_may_write_the_same_archive_at_once(tmp_path: Path) -> None:
    archive = tmp_path / "images" / "x.tar"
    done = subprocess.run(
        [sys.executable, "-c", BESIDE, archive],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "hack" / "cluster")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True ['x.tar']\n"
