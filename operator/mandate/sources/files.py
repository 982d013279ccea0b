"""Files by URI, known by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .errors import SourceError

BLOCK = 1 << 20


def locate(uri: str, *, mounts: Mapping[str, Path], base: Path | None = None) -> Path:
    """The file behind a URI.

    `pvc://CLAIM/PATH` is looked up in `mounts` (claim → directory) and may not leave it, not by `..` and not by a
    symbolic link. Plain paths and `file:///PATH` are taken as they are, relative ones from `base` (default: where the
    process runs).
    """
    try:
        return _existing(_path(uri, mounts=mounts, base=base), uri)
    except (OSError, ValueError) as error:  # a name too long, half an IPv6 address, a NUL, …
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise SourceError("NotFound", f"{uri}: can't be a file: {reason}; check the path") from None


def _path(uri: str, *, mounts: Mapping[str, Path], base: Path | None) -> Path:
    parts = urlsplit(uri)
    match parts.scheme:
        case "pvc":
            return _within(
                uri, claim=parts.netloc, path=uri.split("/", 3)[3] if uri.count("/") > 2 else "", mounts=mounts
            )
        case "file" if parts.netloc in ("", "localhost"):
            return Path(unquote(parts.path))
        case "":
            return (base or Path()) / uri
        case _:
            raise SourceError(
                "UnknownScheme",
                f"{uri}: expected pvc://CLAIM/PATH, https://…, s3://…, oci://…, file:///PATH or a plain path",
            )


def _existing(path: Path, uri: str) -> Path:
    if path.is_dir():
        raise SourceError("IsDirectory", f"{uri}: is a directory, expected one file; name the file in it")
    if path.exists() and not path.is_file():
        raise SourceError("NotFile", f"{uri}: is a pipe, a socket or a device, expected a plain file")
    if not path.is_file():
        raise SourceError("NotFound", f"{uri}: there is no such file ({path}); check the path and what is mounted")
    return path


def _within(uri: str, *, claim: str, path: str, mounts: Mapping[str, Path]) -> Path:
    if claim not in mounts:
        known = ", ".join(sorted(mounts)) or "none"
        raise SourceError(
            "NotMounted",
            f"{uri}: claim {claim!r} isn't mounted (mounted: {known}); on the CLI give --mount pvc://{claim}=DIR",
        )
    root = mounts[claim].resolve()
    target = (root / path.lstrip("/")).resolve()
    if not target.is_relative_to(root):
        raise SourceError("OutsideMount", f"{uri}: leads outside claim {claim!r}; name a path inside it")
    return target


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise SourceError("Unreadable", f"{path}: {error.strerror or error}; check its permissions") from None


def digest_of(path: Path) -> str:
    """`sha256:<64 hex>` of a file's bytes."""
    hasher = hashlib.sha256()
    for block in _blocks(path):
        hasher.update(block)
    return "sha256:" + hasher.hexdigest()


def verify(path: Path, *, declared: str | None, name: str = "") -> str:
    """The file's digest; raises DigestMismatch unless it is the declared one. `name` is what the user calls it."""
    return agree(digest_of(path), declared=declared, name=name or str(path))


def copy(path: Path, into: Path, *, declared: str | None, name: str = "") -> str:
    """Copy a file, digesting the very bytes that are written; the copy is gone again where the digest mismatches."""
    hasher = hashlib.sha256()
    with into.open("wb") as target:
        for block in _blocks(path):
            hasher.update(block)
            target.write(block)
    try:
        return agree("sha256:" + hasher.hexdigest(), declared=declared, name=name or str(path))
    except SourceError:
        into.unlink()
        raise


def agree(found: str, *, declared: str | None, name: str) -> str:
    """The found digest, if it is the declared one or none is; raises DigestMismatch."""
    if declared is not None and found != declared:
        raise SourceError(
            "DigestMismatch",
            f"{name}: its digest is {found}, expected is {declared}, as declared or as learnt when this version was "
            "first measured; put that file back, or declare the new one's digest",
        )
    return found
