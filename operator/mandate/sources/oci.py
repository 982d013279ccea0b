"""Files in OCI registries: the layers of an artefact, as `oras push` leaves them, one file each.

A manifest says which layers there are; the one that is asked for is downloaded and held to the digest and size that the
manifest states, and the manifest to its own digest where the URI pins it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from .errors import SourceError
from .http import LOOPBACK, Web, authorization, checked_origin, refused
from .place import Credentials, Place

MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MOST = 4 << 20
"""Bytes of a manifest, what registries allow; of a token's answer as well."""
SHOWN = 128
"""Characters of a registry's own words that are quoted."""
TITLE = "org.opencontainers.image.title"
_URI = re.compile(
    r"oci://(?P<host>[^/]+)/(?P<repository>[^:@#]+)(:(?P<tag>[^#]+)|@(?P<digest>sha256:[0-9a-f]{64}))(#(?P<file>.+))?"
)
_PACKED = re.compile(r"[.+](tar|gzip|zstd)\b|[.]tar[.]")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Registries, asked over HTTPS; over HTTP only on this machine's loopback interface."""

    web: Web = field(default_factory=Web)

    def download(self, place: Place, into: Path, *, credentials: Credentials | None = None) -> str:
        """Write the file at `place` (`oci://HOST/REPOSITORY:TAG#FILE`) to `into`, whole or not at all; its sha256.

        Raises SourceError: those of `Web.download`, and BadArtefact, DigestMismatch.
        """
        name = place.uri
        found = _URI.fullmatch(name)
        if found is None:
            raise SourceError("UnknownScheme", f"{name}: expected oci://HOST/REPOSITORY:TAG, or @sha256:… for :TAG")
        host, until = found["host"], self.web.until()
        checked_origin(f"https://{host}", name=name)
        scheme = "http" if urlsplit(f"//{host}").hostname in LOOPBACK and not _own_authority(credentials) else "https"
        base = f"{scheme}://{host}/v2/{found['repository']}"
        url = f"{base}/manifests/{found['tag'] or found['digest']}"
        access = self._access(url, host=host, credentials=credentials, name=name, until=until)
        headers = access | {"Accept": ", ".join(MANIFESTS)}
        status, told, body = self.web.read(
            url, most=MOST, headers=headers, credentials=credentials, name=name, until=until
        )
        if status != 200:
            raise refused(status, name=name)
        if found["digest"] is not None and (own := _digest(body)) != found["digest"]:
            raise SourceError("DigestMismatch", f"{name}: the registry's manifest has the digest {own}; don't trust it")
        layer = _layer(_manifest(body, told, name=name), file=found["file"], name=name)
        self.web.limits.check_size(layer["size"], name=name)
        blob = f"{base}/blobs/{layer['digest']}"
        digest = self.web.download(blob, into, credentials=credentials, headers=access, name=name, until=until)
        if digest != layer["digest"] or into.stat().st_size != layer["size"]:
            into.unlink()
            words = f"the registry gave a file with the digest {digest}, its manifest says {layer['digest']}"
            raise SourceError("DigestMismatch", f"{name}: {words}; push it again")
        return digest

    def _access(
        self, url: str, *, host: str, credentials: Credentials | None, name: str, until: float
    ) -> dict[str, str]:
        """The header that opens the repository: none, Basic, or a token from where the registry sends us to.

        The registry itself must ask for it: whoever it redirects to could name a place of its own to log in at.
        """
        ask = partial(self.web.read, most=MOST, credentials=credentials, name=name, until=until)
        status, told, _ = ask(url, headers=_accept(), follow=False)
        if status != 401:
            return {}
        keys = _login(credentials, host=host, url=url, name=name)
        kind, _, rest = told.get("WWW-Authenticate", "").partition(" ")
        if kind.lower() == "basic":
            if not keys:
                raise refused(401, name=name)
            return keys
        asked = dict(_CHALLENGE.findall(rest))
        if kind.lower() != "bearer" or "realm" not in asked:
            raise SourceError("AccessDenied", f"{name}: the registry asks for {kind or 'nothing'}, expected Bearer")
        realm_scheme, realm_host, _ = checked_origin(asked["realm"], name=name)
        if realm_scheme != "https" and not (realm_scheme == "http" and realm_host in LOOPBACK):
            words = f"the registry asks to log in at {asked['realm']}, expected an https address"
            raise SourceError("AccessDenied", f"{name}: {words}")
        query = urlencode([(key, asked[key]) for key in ("service", "scope") if key in asked])
        where = f"{asked['realm']}{'&' if '?' in asked['realm'] else '?'}{query}"
        status, _, body = ask(where, headers=keys)
        if status != 200:
            raise refused(status, name=name)
        answer = _object(body)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise SourceError("AccessDenied", f"{name}: the registry's log-in gave no token")
        return {"Authorization": f"Bearer {token}"}


def _accept() -> dict[str, str]:
    return {"Accept": ", ".join(MANIFESTS)}


def _own_authority(credentials: Credentials | None) -> bool:
    return credentials is not None and credentials.text("ca.crt") is not None


def _login(credentials: Credentials | None, *, host: str, url: str, name: str) -> dict[str, str]:
    """The header of a log-in: from `.dockerconfigjson` for this host, else as for web servers."""
    text = None if credentials is None else credentials.text(".dockerconfigjson")
    if credentials is None or text is None:
        return authorization(credentials, url=url, name=name)
    entries = _object(text.encode()).get("auths")
    entry = entries.get(host, entries.get(f"https://{host}")) if isinstance(entries, dict) else None
    if not isinstance(entry, dict):
        raise credentials.bad(f"its .dockerconfigjson has no entry for {host}; add one, or correct the address")
    packed = entry.get("auth")
    if not packed:
        packed = base64.b64encode(f"{entry.get('username', '')}:{entry.get('password', '')}".encode()).decode("ascii")
    if not isinstance(packed, str) or not re.fullmatch(r"[A-Za-z0-9+/=]+", packed):
        raise credentials.bad(f"the entry for {host} in its .dockerconfigjson has no auth in base64")
    return {"Authorization": f"Basic {packed}"}


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object; empty where it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _manifest(body: bytes, told: Mapping[str, str], *, name: str) -> dict[str, Any]:
    manifest = _object(body)
    kind = str(manifest.get("mediaType") or told.get("Content-Type", "")).partition(";")[0]
    if "manifests" in manifest or kind.endswith(("index.v1+json", "manifest.list.v2+json")):
        raise _bad(name, "is an index of several platforms; name one manifest in it by @sha256:…")
    if kind not in MANIFESTS or not isinstance(manifest.get("layers"), list):
        raise _bad(name, f"is {kind[:SHOWN] or 'of no known type'}, expected {' or '.join(MANIFESTS)}")
    return manifest


def _layer(manifest: dict[str, Any], *, file: str | None, name: str) -> dict[str, Any]:
    """The one layer that holds the file."""
    layers = [layer for layer in manifest["layers"] if isinstance(layer, dict)]
    noted = [found if isinstance(found := layer.get("annotations"), dict) else {} for layer in layers]
    titles = [str(notes.get(TITLE, "")) for notes in noted]
    fitting = [index for index, title in enumerate(titles) if file is None or title == file]
    if len(fitting) != 1:
        listed = ", ".join(title[:SHOWN] or "(without a title)" for title in titles[:50]) or "nothing"
        wanted = "holds more or less than one file; say which with #FILE" if file is None else f"has no file {file!r}"
        raise _bad(name, f"{wanted}; it has {listed}")
    layer, notes = layers[fitting[0]], noted[fitting[0]]
    kind, digest, size = str(layer.get("mediaType", "")), layer.get("digest"), layer.get("size")
    if _PACKED.search(kind) or "io.deis.oras.content.unpack" in notes:
        raise _bad(name, f"the file is packed as {kind[:SHOWN]}; push the file itself, for example with oras push")
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or type(size) is not int:
        raise _bad(name, "states no sha256 and size of the file; push it again")
    return layer


def _digest(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def _bad(name: str, words: str) -> SourceError:
    return SourceError("BadArtefact", f"{name}: {words}")
