"""What hack/cluster's files must say alike."""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

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
