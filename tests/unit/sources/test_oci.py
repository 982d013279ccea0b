"""Registries that lie, send elsewhere or ask for tokens; tests/integration reads from a real one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mandate.sources import Place, Reader, SourceError
from mandate.sources.download import Limits
from mandate.sources.http import Web
from mandate.sources.oci import MANIFESTS, TITLE, Registry
from mandate.sources.place import Credentials
from tests.serving import Site, saying, serve

CONTENT = b"a,b\n1,2\n" * 1000
BASIC = "Basic " + base64.b64encode(b"me:pa:ss").decode()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer(content: bytes = CONTENT, *, title: str | None = "t.csv", **more: Any) -> dict[str, Any]:
    annotations = {} if title is None else {"annotations": {TITLE: title}}
    return {"mediaType": "text/csv", "digest": digest(content), "size": len(content)} | annotations | more


def manifest(*layers: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFESTS[0], "layers": list(layers)} | more).encode()


@dataclass
class Shelf(Site):
    """One repository, `data/credit`, whose tag 3 is `manifest`; with `realm` it asks for a token."""

    manifest: bytes = manifest(layer())
    blobs: dict[str, bytes] = field(default_factory=lambda: {digest(CONTENT): CONTENT})
    realm: str | None = None
    elsewhere: str | None = None
    manifest_elsewhere: str | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        self.asked.append((request.path_qs, dict(request.headers)))
        if request.path == "/token":
            known = given == BASIC and request.query["scope"] == "repository:data/credit:pull"
            return web.json_response({"token": "t0ken"}, status=200 if known else 401)
        if self.realm is not None and given != "Bearer t0ken":
            asked = f'Bearer realm="{self.realm}",service="shelf",scope="repository:data/credit:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": asked})
        if self.manifest_elsewhere is not None and "/manifests/" in request.path:
            return web.Response(status=307, headers={"Location": self.manifest_elsewhere})
        if request.path == "/v2/data/credit/manifests/3" or request.path.startswith(
            "/v2/data/credit/manifests/sha256:"
        ):
            return web.Response(body=self.manifest)
        if self.elsewhere is not None:
            return web.Response(status=307, headers={"Location": self.elsewhere})
        blob = self.blobs.get(request.path.rpartition("/")[2])
        return web.Response(status=404) if blob is None else web.Response(body=blob)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serve(Shelf()) as found:
        assert isinstance(found, Shelf)
        yield found


def place(shelf: Site, rest: str = ":3") -> Place:
    return Place(uri=f"oci://{shelf.url.partition('//')[2]}/data/credit{rest}")


def secret(folder: Path, **keys: str) -> Credentials:
    folder.mkdir()
    for key, text in keys.items():
        (folder / key.replace("docker", ".docker")).write_text(text)
    return Credentials(name="puller", folder=folder)


def refused(where: Place, into: Path, *, credentials: Credentials | None = None, size: int = 1 << 30) -> SourceError:
    with pytest.raises(SourceError) as caught:
        Registry(web=Web(limits=Limits(size=size))).download(where, into, credentials=credentials)
    assert not into.exists()
    return caught.value


@pytest.mark.parametrize(
    "rest", [":3", ":3#t.csv", f"@{digest(manifest(layer()))}", f"@{digest(manifest(layer()))}#t.csv"]
)
def test_a_file_of_an_artefact(shelf: Shelf, tmp_path: Path, rest: str) -> None:
    found = Reader(mounts={}).copy(place(shelf, rest), tmp_path / "t", declared=digest(CONTENT))
    assert (found, (tmp_path / "t").read_bytes()) == (digest(CONTENT), CONTENT)


def test_one_of_several_files(shelf: Shelf, tmp_path: Path) -> None:
    other = b"other"
    shelf.manifest = manifest(layer(), layer(other, title="u.csv"))
    shelf.blobs[digest(other)] = other
    Registry().download(place(shelf, ":3#u.csv"), tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == other
    found = refused(place(shelf), tmp_path / "u")
    assert found.code == "BadArtefact"
    assert "t.csv, u.csv" in str(found)
    assert "has no file 'v.csv'; it has t.csv, u.csv" in str(refused(place(shelf, ":3#v.csv"), tmp_path / "u"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (manifest(), "it has nothing"),
        (manifest(layer(mediaType="application/vnd.oci.image.layer.v1.tar+gzip")), "push the file itself"),
        (manifest(layer(mediaType="application/vnd.oci.image.layer.v1.tar")), "push the file itself"),
        (manifest(layer(mediaType="application/vnd.docker.image.rootfs.diff.tar.gzip")), "push the file itself"),
        (json.dumps({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}).encode(), "an index"),
        (manifest(mediaType="application/vnd.other+json"), "is application/vnd.other+json, expected"),
        (b"<html>", "expected application/vnd.oci"),
        (b"[" * 100_000, "expected application/vnd.oci"),
        (manifest(layer(digest="sha512:" + "0" * 128)), "states no sha256"),
        (manifest(layer(digest="sha256:../../../token")), "states no sha256"),
        (manifest(layer(size="8")), "states no sha256"),
        (manifest(layer(annotations="x", size="8")), "states no sha256"),
        (manifest(layer(annotations=["x"]), layer()), "it has (without a title), t"),
    ],
)
def test_artefacts_that_hold_no_such_file(shelf: Shelf, tmp_path: Path, content: bytes, words: str) -> None:
    shelf.manifest = content
    found = refused(place(shelf), tmp_path / "t")
    assert found.code == "BadArtefact"
    assert words in str(found)


def test_a_registrys_own_words_are_cut_short(shelf: Shelf, tmp_path: Path) -> None:
    for content in (manifest(*[layer(title="x" * 10_000)] * 60), manifest(mediaType="x" * 10_000)):
        shelf.manifest = content
        assert len(str(refused(place(shelf), tmp_path / "t"))) < 10_000


def test_what_is_not_what_its_manifest_says_is_not_taken(shelf: Shelf, tmp_path: Path) -> None:
    shelf.blobs[digest(CONTENT)] = CONTENT + b"more"
    assert refused(place(shelf), tmp_path / "t").code == "DigestMismatch"
    shelf.blobs[digest(CONTENT)] = CONTENT
    shelf.manifest = manifest(layer(size=len(CONTENT) - 1))
    assert refused(place(shelf), tmp_path / "t").code == "DigestMismatch"
    pinned = place(shelf, f"@{digest(manifest(layer()))}")
    assert "the registry's manifest has the digest" in str(refused(pinned, tmp_path / "t"))


def test_sizes_are_bounded_by_the_manifest(shelf: Shelf, tmp_path: Path) -> None:
    assert refused(place(shelf), tmp_path / "t", size=len(CONTENT) - 1).code == "TooLarge"
    assert not [path for path, _ in shelf.asked if "/blobs/" in path]
    shelf.manifest = b" " * (5 << 20)
    assert refused(place(shelf), tmp_path / "t").code == "UnexpectedAnswer"


@pytest.mark.parametrize("keys", ["plain", "docker"])
def test_a_token_is_fetched_where_the_registry_says(shelf: Shelf, tmp_path: Path, keys: str) -> None:
    shelf.realm = f"{shelf.url}/token"
    assert refused(place(shelf), tmp_path / "t").code == "AccessDenied"
    host = shelf.url.partition("//")[2]
    login = {"auths": {host: {"auth": BASIC.removeprefix("Basic ")}}}
    given = {"username": "me", "password": "pa:ss"} if keys == "plain" else {"dockerconfigjson": json.dumps(login)}
    with serve(Site(files={"/blob": CONTENT})) as storage:
        shelf.elsewhere = f"{storage.url}/blob"
        Registry().download(place(shelf), tmp_path / "t", credentials=secret(tmp_path / "keys", **given))
        assert "Authorization" not in storage.asked[0][1]
    sent = [headers.get("Authorization") for path, headers in shelf.asked if not path.startswith("/token")]
    assert BASIC not in sent


@pytest.mark.parametrize("realm", ["http://registry.example/token", "ftp://x/y", "http://[x", ""])
def test_passwords_travel_to_safe_places_only(shelf: Shelf, tmp_path: Path, realm: str) -> None:
    shelf.realm = realm
    keys = secret(tmp_path / "keys", username="me", password="pa:ss")
    assert refused(place(shelf), tmp_path / "t", credentials=keys).code in ("AccessDenied", "Unreachable")
    assert BASIC not in str(shelf.asked)


def test_a_registry_sends_nobody_elsewhere_to_log_in(shelf: Shelf, tmp_path: Path) -> None:
    """Another host, that it redirects to, asks for the password: by its own challenge, at its own address."""
    keys = secret(tmp_path / "keys", username="me", password="pa:ss")
    with serve(Shelf()) as other:
        assert isinstance(other, Shelf)
        other.realm = f"{other.url}/token"
        shelf.manifest_elsewhere = f"{other.url}/v2/data/credit/manifests/3"
        assert refused(place(shelf), tmp_path / "t", credentials=keys).code == "AccessDenied"
        assert [headers["Authorization"] for _, headers in other.asked if "Authorization" in headers] == []
        other.realm = None
        Registry().download(place(shelf), tmp_path / "t", credentials=keys)


@pytest.mark.parametrize("text", ["no json", "{}", '{"auths": {"other.example": {"auth": "eA=="}}}', '{"auths": []}'])
def test_pull_secrets_of_other_registries(shelf: Shelf, tmp_path: Path, text: str) -> None:
    shelf.realm = f"{shelf.url}/token"
    found = refused(place(shelf), tmp_path / "t", credentials=secret(tmp_path / "keys", dockerconfigjson=text))
    assert found.code == "BadCredentials"
    assert "no entry for 127.0.0.1" in str(found)
    assert "other.example" not in str(found)


@pytest.mark.parametrize("host", ["registry.example", "registry.example:5000"])
def test_other_registries_are_asked_over_https(tmp_path: Path, host: str) -> None:
    asked: list[str] = []

    class Noting(Web):
        def read(self, url: str, **_: Any) -> Any:
            asked.append(url)
            raise SourceError("Unreachable", "there is no network")

    with pytest.raises(SourceError):
        Registry(web=Noting()).download(Place(uri=f"oci://{host}/a:1"), tmp_path / "t")
    assert asked == [f"https://{host}/v2/a/manifests/1"]


@pytest.mark.parametrize("uri", ["oci://[x/a:1", "oci://h:99999/a:1"])
def test_hosts_that_are_none(tmp_path: Path, uri: str) -> None:
    assert refused(Place(uri=uri), tmp_path / "t").code == "Unreachable"


def test_all_requests_share_one_limit_of_time(tmp_path: Path) -> None:
    """Each of them takes less than it."""
    quick = Registry(web=Web(limits=Limits(total=0.8)))
    answer = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{}")
    with saying(*answer, pause=0.5) as url, pytest.raises(SourceError) as caught:
        quick.download(Place(uri=f"oci://{url.partition('//')[2]}/a:1"), tmp_path / "t")
    assert caught.value.code == "TooSlow"
