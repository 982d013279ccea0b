"""Files by URI, wherever they are: in mounted claims, on this machine, or on a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from . import files
from .errors import SourceError
from .place import Place, credentials_of

Download = Callable[[Place, Path], str]
"""Writes the file at a place, whole or not at all; returns its sha256 as `sha256:<64 hex>`."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads from `mounts` (claim → folder), from paths relative to `base`, and from servers.

    `credentials` are folders by the name of their Secret. What servers hold is kept in `downloads` by `path`, for as
    long as that folder stands.
    """

    mounts: Mapping[str, Path]
    base: Path | None = None
    credentials: Mapping[str, Path] = field(default_factory=dict)
    downloads: Path | None = None

    def path(self, place: Place) -> Path:
        """A file on this machine with the bytes at `place`. Raises SourceError."""
        download = self._download(place)
        if download is None:
            return files.locate(place.uri, mounts=self.mounts, base=self.base)
        if self.downloads is None:
            raise ValueError("downloads: a folder is needed for what servers hold")
        kept = self.downloads / sha256(repr(place).encode()).hexdigest()
        if not kept.exists():
            download(place, kept)
        return kept

    def is_remote(self, place: Place) -> bool:
        """Whether a server holds it."""
        return self._download(place) is not None

    def copy(self, place: Place, into: Path, *, declared: str | None) -> str:
        """The bytes at `place` in the file `into`; returns their digest.

        Raises SourceError; then there is no such file.
        """
        download = self._download(place)
        if download is None:
            source = files.locate(place.uri, mounts=self.mounts, base=self.base)
            return files.copy(source, into, declared=declared, name=place.uri)
        found = download(place, into)
        try:
            return files.agree(found, declared=declared, name=place.uri)
        except SourceError:
            into.unlink()
            raise

    def _download(self, place: Place) -> Download | None:
        if place.scheme in ("http", "https"):
            return self._from_web
        if place.scheme == "s3":
            return self._from_storage
        if place.scheme == "oci":
            return self._from_registry
        return None

    def _from_web(self, place: Place, into: Path) -> str:
        from .http import Web  # what starts with every Pod and reads from volumes stays small

        return Web().download(place.uri, into, credentials=credentials_of(place, self.credentials))

    def _from_storage(self, place: Place, into: Path) -> str:
        from .s3 import Storage  # as above

        return Storage().download(place, into, credentials=credentials_of(place, self.credentials))

    def _from_registry(self, place: Place, into: Path) -> str:
        from .oci import Registry  # as above

        return Registry().download(place, into, credentials=credentials_of(place, self.credentials))
