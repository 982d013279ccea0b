"""OCI images as tar archives, written without an engine: of one static program, or of a root file system."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def program_image(archive: Path, name: str, program: Path, *, arguments: Sequence[str] = ()) -> None:
    """Write an image that holds one static program and runs it as user 65532. The same program gives the same bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo(program.name)
        entry.mode = 0o755
        entry.size = program.stat().st_size
        with program.open("rb") as content:
            tar.addfile(entry, content)
    layer.seek(0)
    settings = {
        "Entrypoint": [f"/{program.name}"],
        "Cmd": list(arguments),
        "Env": ["PATH=/"],
        "User": "65532:65532",
    }
    write_image(archive, name, layer, settings)


def write_image(archive: Path, name: str, layer: BinaryIO, settings: Mapping[str, Any]) -> None:
    """Write an image of one layer, an uncompressed tar open for reading; `settings` is the OCI image configuration."""
    sha256 = hashlib.sha256()
    while piece := layer.read(1 << 20):
        sha256.update(piece)
    layer_digest = f"sha256:{sha256.hexdigest()}"
    size = layer.seek(0, io.SEEK_END)
    layer.seek(0)
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "hack/cluster"}],
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest_of(configuration),
                "size": len(configuration),
            },
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer_digest, "size": size}],
        }
    ).encode()
    archive.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own: another command may be writing the same archive.
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        partial = Path(scratch, archive.name)
        with tarfile.open(partial, "w") as tar:
            write_index(tar, [(name, digest_of(manifest), len(manifest))])
            add_bytes(tar, blob_path(digest_of(configuration)), configuration)
            add_bytes(tar, blob_path(digest_of(manifest)), manifest)
            entry = tarfile.TarInfo(blob_path(layer_digest))
            entry.size = size
            tar.addfile(entry, layer)
        partial.replace(archive)


def write_index(tar: tarfile.TarFile, images: Sequence[tuple[str, str, int]]) -> None:
    """Add the two files that make a tar an OCI layout: for each image its name, and its manifest's digest and size."""
    manifests = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": size,
            "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
        }
        for name, digest, size in images
    ]
    add_bytes(tar, "oci-layout", LAYOUT)
    add_bytes(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())


def add_bytes(tar: tarfile.TarFile, path: str, data: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
