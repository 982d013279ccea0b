"""The examples on a real API server: every manifest is taken as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def test_every_manifest_is_taken(api_server: Path) -> None:
    built = [sys.executable, str(ROOT / "hack" / "cluster"), "build", "kubectl"]
    binary = subprocess.run(built, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def kubectl(*arguments: str) -> None:
        command = [binary, "--kubeconfig", str(api_server), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr

    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
    kubectl("apply", "--server-side", "-f", str(EXAMPLES / "flights" / "namespace.yaml"))
    story = [f"flights/story/flights-v{version}.yaml" for version in "12"]
    for manifest in ("flights/claims.yaml", "flights/flights-v1.yaml", "flights/flights-v2.yaml", *story):
        kubectl("apply", "--server-side", "--dry-run=server", "-f", str(EXAMPLES / manifest))
    kubectl("create", "namespace", "lending")
    for manifest in ("credit/credit.yaml", "minimal.yaml"):
        kubectl("apply", "--server-side", "--dry-run=server", "-f", str(EXAMPLES / manifest))
