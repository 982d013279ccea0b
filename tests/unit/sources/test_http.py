"""Files from a real server that fails in the ways that servers do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mandate.sources import Place, Reader, SourceError
from mandate.sources.download import Limits
from mandate.sources.http import Web
from mandate.sources.place import Credentials
from tests.serving import Site, saying, self_signed, serve

CONTENT = bytes(range(256)) * 20_000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(files={"/t.csv": CONTENT})) as found:
        yield found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


def secret(folder: Path, **keys: str) -> Credentials:
    folder.mkdir(exist_ok=True)
    for key, text in keys.items():
        (folder / key.replace("_", ".")).write_text(text)
    return Credentials(name="reader", folder=folder)


def refused(web: Web, url: str, into: Path, credentials: Credentials | None = None) -> SourceError:
    """Downloading fails, and leaves nothing behind."""
    with pytest.raises(SourceError) as caught:
        web.download(url, into, credentials=credentials)
    assert list(into.parent.glob(".*.partial")) == []
    assert not into.exists()
    return caught.value


@pytest.mark.parametrize("path", ["/t.csv", "/chunked/t.csv", "/t.csv?version=3"])
def test_a_whole_file_is_taken_as_it_is(site: Site, tmp_path: Path, path: str) -> None:
    assert Web().download(site.url + path, tmp_path / "t") == DIGEST
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert [item.name for item in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/short/t.csv", "Truncated"),
        ("/cut/t.csv", "Truncated"),
        ("/partial/t.csv", "UnexpectedAnswer"),
        ("/packed/t.csv", "UnexpectedAnswer"),
        ("/none.csv", "NotFound"),
    ],
)
def test_parts_of_files_are_never_taken_and_not_asked_for_again(
    site: Site, tmp_path: Path, path: str, code: str
) -> None:
    found = refused(Web(), site.url + path, tmp_path / "t")
    assert found.code == code
    assert str(found).startswith(site.url + path)
    assert "other people" not in str(found)
    assert len(site.asked) == 1


def test_a_busy_server_is_asked_again_later_and_later(site: Site, tmp_path: Path) -> None:
    pauses: list[float] = []
    site.faults["/t.csv"] = [503, 500, 429, 502]
    assert Web(sleep=pauses.append).download(site.url + "/t.csv", tmp_path / "t") == DIGEST
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    site.faults["/t.csv"] = [503] * 9
    found = refused(Web(sleep=lambda _: None), site.url + "/t.csv", tmp_path / "u")
    assert found.code == "Unavailable"
    assert len(site.faults["/t.csv"]) == 4


@pytest.mark.parametrize(
    ("asked", "pause"), [("7", 7.0), ("86400", 30.0), ("soon", 1.0), ("Mon, 01 Jan 2001 00:00:00 GMT", 1.0)]
)
def test_a_server_says_when_to_ask_again_within_limits(site: Site, tmp_path: Path, asked: str, pause: float) -> None:
    pauses: list[float] = []
    site.faults["/t.csv"], site.retry_after = [429], asked
    Web(sleep=pauses.append).download(site.url + "/t.csv", tmp_path / "t")
    assert pauses == [pause]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 501])
def test_what_would_not_help_is_not_asked_again(site: Site, tmp_path: Path, status: int) -> None:
    site.faults["/t.csv"] = [status]
    assert refused(Web(), site.url + "/t.csv", tmp_path / "t").code in ("UnexpectedAnswer", "AccessDenied", "NotFound")
    assert len(site.asked) == 1


def test_sizes_are_bounded_said_or_not(site: Site, tmp_path: Path) -> None:
    small = Web(limits=Limits(size=len(CONTENT) - 1))
    assert refused(small, site.url + "/t.csv", tmp_path / "t").code == "TooLarge"
    assert refused(small, site.url + "/chunked/t.csv", tmp_path / "t").code == "TooLarge"
    assert Web(limits=Limits(size=len(CONTENT))).download(site.url + "/t.csv", tmp_path / "t") == DIGEST


def test_silence_ends_and_so_does_dragging(site: Site, tmp_path: Path) -> None:
    assert refused(Web(limits=Limits(read=0.2)), site.url + "/silent/t.csv", tmp_path / "t").code == "TooSlow"
    times = iter(range(1000))
    ticking = Web(limits=Limits(total=20), clock=lambda: 10.0 * next(times))
    assert refused(ticking, site.url + "/chunked/t.csv", tmp_path / "t").code == "TooSlow"


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"Content-Length: 100\r\n\r\n", *[b"x"] * 100],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n"] * 100],
        [OK, *(b"X-%d: 1\r\n" % number for number in range(90)), b"Content-Length: 1\r\n\r\nx"],
    ],
    ids=["body", "chunks", "headers"],
)
def test_a_server_that_is_never_silent_for_long_ends_too(tmp_path: Path, pieces: list[bytes]) -> None:
    quick = Web(limits=Limits(total=0.6, read=0.5))
    with saying(*pieces, pause=0.1) as url:
        assert refused(quick, f"{url}/t.csv", tmp_path / "t").code == "TooSlow"
        with pytest.raises(SourceError) as caught:
            quick.read(f"{url}/m", most=1000, headers={}, credentials=None, name="m", until=quick.until())
        assert caught.value.code == "TooSlow"


def test_an_answer_cut_short_is_none(tmp_path: Path) -> None:
    with saying(OK + b"Content-Length: 100\r\n\r\n{}") as url, pytest.raises(SourceError) as caught:
        Web().read(f"{url}/m", most=1000, headers={}, credentials=None, name="m", until=Web().until())
    assert caught.value.code == "Truncated"


@pytest.mark.parametrize("head", [b"", b"Content-Length: \xb2\r\n", b"Transfer-Encoding: gzip\r\n"])
def test_a_file_whose_end_nothing_marks_is_not_taken(tmp_path: Path, head: bytes) -> None:
    """A connection that breaks off looks as if the file had ended."""
    with saying(OK + head + b"\r\na,b\n1,2\n3,4\n") as url:
        found = refused(Web(), f"{url}/t.csv", tmp_path / "t")
    assert found.code == "UnexpectedAnswer"
    assert "Content-Length" in str(found)


@pytest.mark.parametrize(
    "asked",
    [
        *(b"\xb2", b"9" * 30, b"Fri, 31 Dec 9999 23:59:59 -0100", b"Mon, 01 Jan 0001 00:00:00"),
        *(b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT", b"Mon, 01 Jan 2020 00:00:00 +99999999999999"),
    ],
)
def test_a_server_that_asks_for_nonsense_is_asked_again(tmp_path: Path, asked: bytes) -> None:
    with saying(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\nRetry-After: " + asked + b"\r\n\r\n") as url:
        assert refused(Web(sleep=lambda _: None), f"{url}/t.csv", tmp_path / "t").code == "Unavailable"


@pytest.mark.parametrize("url", ["https://h:99999/a", "https://[x/a"])
def test_addresses_that_are_none_with_credentials(tmp_path: Path, url: str) -> None:
    assert refused(Web(), url, tmp_path / "t", secret(tmp_path / "keys", token="t0ken")).code == "Unreachable"
    assert refused(Web(), url, tmp_path / "t").code == "Unreachable"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    found = refused(Web(limits=Limits(connect=0.5)), "http://127.0.0.1:9/t.csv", tmp_path / "t")
    assert found.code == "Unreachable"
    assert "network policies" in str(found)
    assert refused(Web(), "http://no-such-host.invalid/t.csv", tmp_path / "t").code == "Unreachable"


def test_redirects_are_followed_a_few_times(site: Site, tmp_path: Path) -> None:
    site.redirects = {"/a": "/b", "/b": f"{site.url}/t.csv"}
    assert Web().download(site.url + "/a", tmp_path / "t") == DIGEST
    site.redirects = {"/a": "/a"}
    assert refused(Web(), site.url + "/a", tmp_path / "u").code == "BadRedirect"
    assert [path for path, _ in site.asked].count("/a") == 1 + 6


@pytest.mark.parametrize(
    "target", ["", "file:///etc/passwd", "ftp://127.0.0.1/t", "http://", "http://[", "http://u:p@127.0.0.1/t"]
)
def test_redirects_lead_to_web_addresses_only(site: Site, tmp_path: Path, target: str) -> None:
    site.redirects = {"/a": target}
    assert refused(Web(), site.url + "/a", tmp_path / "t").code == "BadRedirect"


@pytest.mark.parametrize(
    ("keys", "header"),
    [({"token": "t0ken\n"}, "Bearer t0ken"), ({"username": "me", "password": "pa:ss"}, "Basic bWU6cGE6c3M=")],
)
def test_credentials_come_from_the_keys_of_a_secret(
    site: Site, tmp_path: Path, keys: dict[str, str], header: str
) -> None:
    site.secret = header
    url = site.url + "/t.csv"
    assert refused(Web(), url, tmp_path / "t").code == "AccessDenied"
    assert Web().download(url, tmp_path / "t", credentials=secret(tmp_path / "keys", **keys)) == DIGEST


@pytest.mark.parametrize(
    "keys",
    [
        {"password": "0ur-own"},
        {"token": "0ur-own", "username": "u"},
        {"other": "0ur-own"},
        {"token": "0ur-own\nb"},
        {"token": "0ur-own é"},
    ],
)
def test_credentials_that_are_none_are_named_without_their_contents(
    site: Site, tmp_path: Path, keys: dict[str, str]
) -> None:
    found = refused(Web(), site.url + "/t.csv", tmp_path / "t", secret(tmp_path / "keys", **keys))
    assert found.code == "BadCredentials"
    assert "credentialsRef reader" in str(found)
    assert "0ur-own" not in str(found)
    assert site.asked == []


def test_credentials_stay_with_the_origin_that_they_are_for(site: Site, tmp_path: Path) -> None:
    keys = secret(tmp_path / "keys", token="t0ken")
    with serve(Site(files={"/t.csv": CONTENT})) as other:
        site.redirects = {"/away": f"{other.url}/t.csv", "/here": "/t.csv"}
        assert Web().download(site.url + "/away", tmp_path / "t", credentials=keys) == DIGEST
        assert "Authorization" not in other.asked[0][1]
    Web().download(site.url + "/here", tmp_path / "u", credentials=keys)
    assert [headers.get("Authorization") for _, headers in site.asked] == ["Bearer t0ken"] * 3


def test_credentials_never_travel_in_the_clear(tmp_path: Path) -> None:
    found = refused(Web(), "http://data.example/t.csv", tmp_path / "t", secret(tmp_path / "keys", token="t0ken"))
    assert found.code == "BadCredentials"
    assert "use https" in str(found)


def test_https_is_trusted_by_the_secrets_authority_only(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    with serve(Site(files={"/t.csv": CONTENT}), certificate=certificate) as safe:
        url = f"{safe.url}/t.csv"
        found = refused(Web(), url, tmp_path / "t")
        assert found.code == "Unreachable"
        assert "ca.crt" in str(found)
        keys = secret(tmp_path / "keys", ca_crt=certificate[0].read_text(), token="t0ken")
        assert Web().download(url, tmp_path / "t", credentials=keys) == DIGEST
        assert safe.asked[-1][1]["Authorization"] == "Bearer t0ken"
        only = secret(tmp_path / "only", ca_crt=certificate[0].read_text())
        assert Web().download(url, tmp_path / "u", credentials=only) == DIGEST
        assert "Authorization" not in safe.asked[-1][1]
        with serve(Site(files={"/t.csv": CONTENT})) as plain:
            safe.redirects = {"/down": f"{plain.url}/t.csv"}
            assert refused(Web(), f"{safe.url}/down", tmp_path / "v", only).code == "BadRedirect"
            assert plain.asked == []
    wrong = secret(tmp_path / "wrong", ca_crt="no certificate")
    assert refused(Web(), url, tmp_path / "w", wrong).code == "BadCredentials"


def test_a_reader_verifies_what_servers_hold(site: Site, tmp_path: Path) -> None:
    reader, into = Reader(mounts={}, downloads=tmp_path / "kept"), tmp_path / "t"
    (tmp_path / "kept").mkdir()
    place = Place(uri=f"{site.url}/t.csv")
    assert reader.copy(place, into, declared=DIGEST) == DIGEST
    into.unlink()
    with pytest.raises(SourceError) as caught:
        reader.copy(place, into, declared="sha256:" + "0" * 64)
    assert caught.value.code == "DigestMismatch"
    assert not into.exists()
    asked = len(site.asked)
    assert reader.path(place).read_bytes() == CONTENT
    assert reader.path(place) == reader.path(place)
    assert len(site.asked) == asked + 1


def test_a_secret_that_is_not_there_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for known in ({}, {"reader": tmp_path / "none"}, {"reader": tmp_path / "empty"}):
        reader = Reader(mounts={}, credentials=known)
        with pytest.raises(SourceError) as caught:
            reader.copy(Place(uri=f"{site.url}/t.csv", credentials="reader"), tmp_path / "t", declared=None)
        assert caught.value.code == "NoCredentials"
        assert "'reader'" in str(caught.value)
    assert site.asked == []
