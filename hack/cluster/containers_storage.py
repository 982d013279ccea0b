"""Layers of images that buildah built, read straight from its storage.

`buildah push` compresses, and writes every layer anew: half a minute for an image of which one small layer changed.
The storage keeps for each layer its files and, in `tar-split` form, all bytes between them, so that the very tar of its
digest can be put together.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import toolbox
from say import ClusterError

CHUNK = 1 << 20
BYTES, FILE = 2, 1
"""Kinds of entries in a tar-split stream."""


@dataclass(frozen=True, kw_only=True)
class BuiltImage:
    """An image in buildah's storage: its name, its manifest's digest, the manifest and configuration as stored."""

    name: str
    digest: str
    manifest: bytes
    configuration: bytes
    layers: tuple[str, ...]
    """Digests of the uncompressed layers, the lowest first."""

    @property
    def reference(self) -> str:
        """NAME@DIGEST, without the tag."""
        return f"{self.name.rpartition(':')[0]}@{self.digest}"


class Storage:
    def __init__(self) -> None:
        info = json.loads(toolbox.run(["buildah", "info"], what="asking buildah for its storage"))
        store = info["store"]
        if store["GraphDriverName"] != "overlay":
            raise ClusterError(
                f"buildah's storage driver is {store['GraphDriverName']}; overlay is needed (containers-storage.conf)"
            )
        self._root = Path(store["GraphRoot"])

    def image(self, name: str) -> BuiltImage:
        """The image of that full name, like docker.io/mandate/judge:dev."""
        images = json.loads((self._root / "overlay-images" / "images.json").read_text())
        found = next((image for image in images if name in image.get("names", ())), None)
        if found is None:
            raise ClusterError(f"buildah has no image {name}")
        folder = self._root / "overlay-images" / found["id"]
        manifest = (folder / "manifest").read_bytes()
        content = json.loads(manifest)
        key = base64.b64encode(content["config"]["digest"].encode()).decode()
        return BuiltImage(
            name=name,
            digest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
            manifest=manifest,
            configuration=(folder / f"={key}").read_bytes(),
            layers=tuple(layer["digest"] for layer in content["layers"]),
        )

    def layer(self, digest: str) -> tuple[int, BinaryIO]:
        """The size and the uncompressed tar of the layer with that digest; whoever stores it checks the digest."""
        layers: list[dict[str, Any]] = json.loads((self._root / "overlay-layers" / "layers.json").read_text())
        layer = next((layer for layer in layers if layer.get("diff-digest") == digest), None)
        if layer is None:
            raise ClusterError(
                f"buildah's storage has no layer {digest}; remove the image with `buildah rmi` and retry"
            )
        return int(layer["diff-size"]), io.BufferedReader(_Stream(self._pieces(layer["id"])), CHUNK)

    def _pieces(self, layer: str) -> Iterator[bytes]:
        files = self._root / "overlay" / layer / "diff"
        with gzip.open(self._root / "overlay-layers" / f"{layer}.tar-split.gz") as entries:
            for line in entries:
                entry = json.loads(line)
                if entry["type"] == BYTES:
                    yield base64.b64decode(entry["payload"])
                elif entry["type"] == FILE and entry.get("size"):
                    raw = entry.get("name_raw")
                    name = base64.b64decode(raw).decode(errors="surrogateescape") if raw else entry["name"]
                    with (files / name.lstrip("/")).open("rb") as content:
                        while piece := content.read(CHUNK):
                            yield piece


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
