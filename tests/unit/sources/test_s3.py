"""Storage that fails: its answers are a small server's of our own; tests/integration reads from a real one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from mandate.sources import Place, Reader, SourceError
from mandate.sources.download import Limits
from mandate.sources.http import Web
from mandate.sources.place import Credentials
from mandate.sources.s3 import Storage, address
from mandate.sources.signing import signed
from tests.serving import Site, self_signed, serve

CONTENT = bytes(range(256)) * 20_000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
QUICK = Storage(web=Web(limits=Limits(attempts=2, read=1.0, connect=1.0), sleep=lambda _: None))
OURS = {"AWS_ACCESS_KEY_ID": "ours\n", "AWS_SECRET_ACCESS_KEY": "5ecret"}


@dataclass
class Bucket(Site):
    """Storage that holds one object whatever its name; `fault` says how it is given wrongly."""

    fault: str = ""
    elsewhere: str = ""
    says: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, dict(request.headers)))
        if self.elsewhere:
            # A redirect's own length is no object's.
            return web.Response(status=int(self.fault), headers={"Location": self.elsewhere}, body=b"12345678")
        if self.fault.isdigit():
            return web.Response(status=int(self.fault), body=f"<Error><Code>{self.says}</Code></Error>".encode())
        if self.fault == "silent":
            await asyncio.sleep(30)
        response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
        await response.prepare(request)
        await response.write(CONTENT if not self.fault else CONTENT[: len(CONTENT) // 2])
        if self.fault:
            assert request.transport is not None
            request.transport.close()
        return response


@pytest.fixture
def storage() -> Iterator[Bucket]:
    with serve(Bucket()) as found:
        assert isinstance(found, Bucket)
        yield found


def place(storage: Site, uri: str = "s3://bucket/folder/t.csv") -> Place:
    return Place(uri=uri, endpoint=storage.url, region="eu-central-1")


def keys(folder: Path, texts: dict[str, str]) -> Credentials:
    folder.mkdir()
    for key, text in texts.items():
        (folder / key).write_text(text)
    return Credentials(name="bucket-reader", folder=folder)


def refused(where: Place, into: Path, *, by: Storage = QUICK, credentials: Credentials | None = None) -> SourceError:
    """Downloading fails, and leaves nothing behind."""
    with pytest.raises(SourceError) as caught:
        by.download(where, into, credentials=credentials)
    assert not into.exists()
    assert list(into.parent.glob(".*.partial")) == []
    return caught.value


def test_a_request_is_signed_as_aws_shows_it() -> None:
    """The example "GET Object" of the Amazon S3 API Reference, sig-v4-header-based-auth."""
    headers = signed(
        "https://examplebucket.s3.amazonaws.com/test.txt",
        key="AKIAIOSFODNN7EXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # published
        token=None,
        region="us-east-1",
        at=datetime(2013, 5, 24, tzinfo=UTC),
        headers={"Range": "bytes=0-9"},
    )
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@pytest.mark.parametrize(
    ("uri", "endpoint", "region", "url"),
    [
        ("s3://b-1/k", None, None, "https://b-1.s3.us-east-1.amazonaws.com/k"),
        ("s3://b.c/k", None, "eu-west-1", "https://s3.eu-west-1.amazonaws.com/b.c/k"),
        ("s3://b-1/k", None, "cn-north-1", "https://b-1.s3.cn-north-1.amazonaws.com.cn/k"),
        ("s3://b/a//ü +%.csv", "https://h:443/", None, "https://h:443/b/a//%C3%BC%20%2B%25.csv"),
    ],
)
def test_where_an_object_is(uri: str, endpoint: str | None, region: str | None, url: str) -> None:
    assert address(Place(uri=uri, endpoint=endpoint, region=region)) == url


def test_an_object_is_one_signed_request(storage: Bucket, tmp_path: Path) -> None:
    credentials = keys(tmp_path / "keys", OURS | {"AWS_SESSION_TOKEN": "t"})
    assert Storage().download(place(storage), tmp_path / "t", credentials=credentials) == DIGEST
    assert (tmp_path / "t").read_bytes() == CONTENT
    ((_, headers),) = storage.asked
    assert "Credential=ours/" in headers["Authorization"]
    assert "/eu-central-1/s3/" in headers["Authorization"]
    assert headers["x-amz-security-token"] == "t"
    assert "5ecret" not in str(headers)


def test_without_a_secret_nothing_is_signed_whatever_this_machine_knows(
    storage: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "5ecret")
    assert Reader(mounts={}).copy(place(storage), tmp_path / "t", declared=DIGEST) == DIGEST
    assert [headers.get("Authorization") for _, headers in storage.asked] == [None]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("403", "AccessDenied"),
        ("401", "AccessDenied"),
        ("404", "NotFound"),
        ("503", "Unavailable"),
        ("429", "Unavailable"),
        ("400", "UnexpectedAnswer"),
        ("cut", "Truncated"),
        ("silent", "TooSlow"),
    ],
)
def test_parts_of_objects_are_never_taken(storage: Bucket, tmp_path: Path, fault: str, code: str) -> None:
    storage.fault = fault
    found = refused(place(storage), tmp_path / "t")
    assert found.code == code, str(found)
    assert str(found).startswith("s3://bucket/folder/t.csv: ")
    assert len(storage.asked) == (2 if code == "Unavailable" else 1)


def test_the_storages_own_word_is_passed_on(storage: Bucket, tmp_path: Path) -> None:
    storage.fault, storage.says = "400", "AuthorizationHeaderMalformed"
    found = refused(place(storage), tmp_path / "t")
    assert "it says AuthorizationHeaderMalformed; check s3.endpoint and s3.region" in str(found)
    storage.says = "ExpiredToken"
    assert refused(place(storage), tmp_path / "t").code == "AccessDenied"
    storage.says = "your token was t0ken"
    assert "t0ken" not in str(refused(place(storage), tmp_path / "t"))


@pytest.mark.parametrize("status", ["301", "302", "307", "308"])
def test_a_redirect_takes_nobody_elsewhere(storage: Bucket, tmp_path: Path, status: str) -> None:
    """Neither the signature, nor the session, nor another host's bytes, nor as many as the redirect is long."""
    credentials = keys(tmp_path / "keys", OURS | {"AWS_SESSION_TOKEN": "t"})
    with serve(Bucket()) as other:
        storage.fault, storage.elsewhere = status, f"{other.url.replace('127.0.0.1', 'localhost')}/bucket/t.csv"
        found = refused(place(storage), tmp_path / "t", credentials=credentials)
        assert (found.code, other.asked) == ("UnexpectedAnswer", [])
    assert status in str(found)


def test_a_redirect_from_https_to_http_takes_nobody_there(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    credentials = keys(tmp_path / "keys", OURS | {"ca.crt": certificate[0].read_text()})
    with serve(Bucket()) as plain, serve(Bucket(fault="307", elsewhere=plain.url), certificate=certificate) as safe:
        assert refused(place(safe), tmp_path / "t", credentials=credentials).code == "UnexpectedAnswer"
        assert plain.asked == []


def test_keys_never_travel_in_the_clear(tmp_path: Path) -> None:
    there = Place(uri="s3://bucket/t.csv", endpoint="http://minio.invalid:9000")
    found = refused(there, tmp_path / "t", credentials=keys(tmp_path / "keys", OURS))
    assert found.code == "BadCredentials"
    assert "use https" in str(found)
    assert refused(there, tmp_path / "t").code == "Unreachable"


def test_sizes_are_bounded_before_anything_is_kept(storage: Bucket, tmp_path: Path) -> None:
    small = Storage(web=Web(limits=Limits(size=len(CONTENT) - 1)))
    assert refused(place(storage), tmp_path / "t", by=small).code == "TooLarge"


@pytest.mark.parametrize(
    "texts",
    [
        {"token": "0ur-own"},
        {"AWS_ACCESS_KEY_ID": "0ur-own"},
        {"ca.crt": "x", "AWS_SECRET_ACCESS_KEY": "0ur-own"},
        OURS | {"AWS_SESSION_TOKEN": "0ur-own\nX-Other: 1"},
    ],
)
def test_keys_that_are_none_are_named_without_their_contents(
    storage: Bucket, tmp_path: Path, texts: dict[str, str]
) -> None:
    found = refused(place(storage), tmp_path / "t", credentials=keys(tmp_path / "keys", texts))
    assert found.code == "BadCredentials"
    assert "credentialsRef bucket-reader" in str(found)
    assert "0ur-own" not in str(found)
    assert storage.asked == []


@pytest.mark.parametrize("uri", ["s3://bucket/folder/", "s3://bucket", "s3://bucket/a/../../other/t.csv"])
def test_keys_that_name_no_object(storage: Bucket, tmp_path: Path, uri: str) -> None:
    assert refused(place(storage, uri), tmp_path / "t").code == "UnknownScheme"
    assert storage.asked == []


def test_storage_that_is_not_there(tmp_path: Path) -> None:
    nowhere = Place(uri="s3://bucket/t.csv", endpoint="http://127.0.0.1:9")
    found = refused(nowhere, tmp_path / "t")
    assert found.code == "Unreachable"
    assert "network policies" in str(found)


def test_a_folder_that_takes_no_file_is_no_fault_of_the_storage(storage: Bucket, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        QUICK.download(place(storage), tmp_path / "none" / "t")
