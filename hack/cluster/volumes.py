"""Volumes that a person can fill: a folder of this machine becomes a PersistentVolume and its claim."""

from __future__ import annotations

import json
import re
from pathlib import Path

import toolbox
from say import ClusterError

INSIDE = Path("/var/lib/mandate/volumes")
"""Where a cluster's node sees the folder of this machine that holds its volumes."""
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def objects(namespace: str, claim: str) -> list[dict[str, object]]:
    """The PersistentVolume for INSIDE/NAMESPACE/CLAIM, and the claim that it is kept for. Nothing enforces the size."""
    name = f"{namespace}-{claim}"
    size = {"storage": "1Gi"}
    modes = ["ReadWriteOnce", "ReadOnlyMany"]
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": size,
                "accessModes": modes,
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "claimRef": {"namespace": namespace, "name": claim},
                "hostPath": {"path": str(INSIDE / namespace / claim), "type": "DirectoryOrCreate"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {
                "accessModes": modes,
                "storageClassName": "",
                "volumeName": name,
                "resources": {"requests": size},
            },
        },
    ]


def create(kubeconfig: Path, root: Path, where: str) -> Path:
    """Make the volume and claim of NAMESPACE/CLAIM unless they are there; returns the folder below `root` to fill."""
    namespace, _, claim = where.partition("/")
    if not (LABEL.fullmatch(namespace) and LABEL.fullmatch(claim)):
        raise ClusterError(f"{where!r} isn't NAMESPACE/CLAIM: two names of lower-case letters, digits and dashes")
    folder = root / namespace / claim
    folder.mkdir(parents=True, exist_ok=True)
    kubectl = [toolbox.ensure(["kubectl"])["kubectl"], "--kubeconfig", kubeconfig]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects(namespace, claim)}
    toolbox.run(
        [*kubectl, "apply", "--server-side", "--filename", "-"],
        what=f"making the volume {where}",
        stdin=json.dumps(listed).encode(),
    )
    return folder
