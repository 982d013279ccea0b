"""Files over HTTP(S): one whole answer with status 200, or nothing.

Redirects are followed a few times, never from https to http, and credentials stay with the origin that they are for.
Only 429 and 5xx are asked again. The Pod's network policy says what can be reached; nothing here does.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    IncompleteRead,
    LocationParseError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as NoAnswerError

from .deadline import Deadline
from .download import Limits, keep, truncated
from .errors import SourceError
from .place import Credentials, origin

BLOCK = 1 << 20
_REDIRECTS = {301, 302, 303, 307, 308}
_AGAIN = {429, 500, 502, 503, 504}
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, kw_only=True)
class Web:
    """How servers are asked. Clock and sleep are parameters for tests."""

    limits: Limits = field(default_factory=Limits)
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def download(
        self,
        url: str,
        into: Path,
        *,
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
        name: str = "",
        until: float | None = None,
    ) -> str:
        """Write what `url` answers to `into`, whole or not at all; returns its sha256.

        `credentials` say whom to trust and what opens the file, unless `headers` do. Either goes to the first origin
        only. `until` is when to give up, by `clock`. Raises SourceError: NotFound, AccessDenied, UnexpectedAnswer,
        Unavailable, Unreachable, Truncated, TooLarge, TooSlow, BadRedirect, BadCredentials.
        """
        name, until = name or url, self.until() if until is None else until
        private = authorization(credentials, url=url, name=name) if headers is None else headers
        with self.asked(url, headers=private, credentials=credentials, name=name, until=until) as response:
            if response.status != 200:
                raise refused(response.status, name=name)
            return self.keep(response, into, until=until, name=name)

    def until(self) -> float:
        """When a file that is asked for now must be there, by `clock`, whatever the number of requests."""
        return self.clock() + self.limits.total

    @contextlib.contextmanager
    def asked(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        credentials: Credentials | None,
        name: str,
        until: float,
        follow: bool = True,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer behind all redirects, its body unread, whatever its status but for trouble that doesn't pass.

        `credentials` say whom to trust, and no more. Unless `follow`, a redirect is an answer like others. Raises
        SourceError.
        """
        checked_origin(url, name=name)
        with self._pool(credentials, until=until, name=name) as pool:
            for attempt in range(1, self.limits.attempts + 1):
                with self._followed(pool, url, private=headers, name=name, follow=follow) as response:
                    if response.status not in _AGAIN:
                        yield response
                        return
                    trouble, pause = refused(response.status, name=name), self._pause(response.headers, attempt)
                if attempt == self.limits.attempts or self.clock() + pause > until:
                    raise trouble
                self.sleep(pause)

    def read(
        self,
        url: str,
        *,
        most: int,
        headers: Mapping[str, str],
        credentials: Credentials | None,
        name: str,
        until: float,
        follow: bool = True,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer of at most `most` bytes. Raises SourceError."""
        asked = self.asked(url, headers=headers, credentials=credentials, name=name, until=until, follow=follow)
        with asked as response, _told(name):
            body = bytearray()
            while piece := response.read(most + 1 - len(body), decode_content=False):
                body += piece
                if len(body) > most:
                    words = f"the server answered with more than {most} bytes, where that is no file"
                    raise SourceError("UnexpectedAnswer", f"{name}: {words}; check the address")
            if self.clock() >= until:  # headers that were broken off look as if they had ended
                raise self.limits.too_slow(name)
            return response.status, response.headers, bytes(body)

    @contextlib.contextmanager
    def _pool(self, credentials: Credentials | None, *, until: float, name: str) -> Iterator[urllib3.PoolManager]:
        timeout = urllib3.Timeout(connect=self.limits.connect, read=self.limits.read)
        with (
            Deadline(until - self.clock()) as deadline,
            urllib3.PoolManager(ssl_context=_trust(credentials), timeout=timeout, retries=False) as pool,
        ):
            pool.pool_classes_by_scheme = deadline.pools()
            try:
                yield pool
            except SourceError:
                if deadline.passed:  # whatever it broke off
                    raise self.limits.too_slow(name) from None
                raise

    @contextlib.contextmanager
    def _followed(
        self, pool: urllib3.PoolManager, url: str, *, private: Mapping[str, str], name: str, follow: bool
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer at the end of all redirects, its body unread."""
        first = origin(url)
        for _ in range(self.limits.redirects + 1):
            # Bytes as they are: a digest is of the file, not of what a server makes of it under way.
            headers = {"Accept-Encoding": "identity", "User-Agent": "mandate"}
            headers |= private if origin(url) == first else {}
            with _told(name):
                response = pool.request(
                    "GET", url, headers=headers, preload_content=False, redirect=False, decode_content=False
                )
            try:
                if not follow or response.status not in _REDIRECTS:
                    yield response
                    return
                url = _redirected(url, response.headers.get("Location", ""), name=name)
            finally:
                response.close()
        words = f"{name}: was redirected more than {self.limits.redirects} times; name where the file is"
        raise SourceError("BadRedirect", words)

    def keep(self, response: urllib3.BaseHTTPResponse, into: Path, *, until: float, name: str) -> str:
        """Write an answer's body to `into`, whole or not at all; returns its sha256. Raises SourceError."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            words = f"the server packed it as {response.headers['Content-Encoding']!r} though it was asked not to"
            raise SourceError("UnexpectedAnswer", f"{name}: {words}; serve the file as it is")
        size = _number(response.headers.get("Content-Length", ""))
        if size is None and response.headers.get("Transfer-Encoding", "").lower() != "chunked":
            words = "the server says neither how long the file is (Content-Length) nor where it ends (chunked)"
            raise SourceError("UnexpectedAnswer", f"{name}: {words}, so that one cut short looks whole; let it say so")
        self.limits.check_size(size or 0, name=name)
        blocks = iter(lambda: response.read(BLOCK, decode_content=False), b"")
        with _told(name):
            return keep(blocks, into, name=name, limits=self.limits, expected=size, until=until, clock=self.clock)

    def _pause(self, headers: Mapping[str, str], attempt: int) -> float:
        pause = self.limits.first_pause * 2.0 ** (attempt - 1)
        return min(max(pause, _asked_for(headers.get("Retry-After", ""))), self.limits.longest_pause)


def authorization(credentials: Credentials | None, *, url: str, name: str) -> dict[str, str]:
    """The header that the keys of a Secret make: `token`, or `username` and `password`; none of `ca.crt` alone."""
    if credentials is None:
        return {}
    token, user, password = (credentials.text(key) for key in ("token", "username", "password"))
    if (token is None) == (user is None) and (token is not None or credentials.text("ca.crt") is None):
        keys = ", ".join(credentials.keys())
        raise credentials.bad(f"has the keys {keys}; expected token, or username and password, or only ca.crt")
    if token is None and user is None:
        return {}
    only_in_private(url, name=name)
    if token is not None:
        value = f"Bearer {token}"
    else:
        value = "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode("ascii")
    if not value.isprintable() or not value.isascii():
        raise credentials.bad("token holds characters that no header takes; write it as one line of plain text")
    return {"Authorization": value}


def checked_origin(url: str, *, name: str) -> tuple[str, str, int]:
    """Scheme, host and port of a declared address. Raises SourceError `Unreachable` where it has none."""
    try:
        return origin(url)
    except ValueError as error:
        raise SourceError("Unreachable", f"{name}: {error}; check the address") from None


def only_in_private(url: str, *, name: str) -> None:
    """Raises SourceError `BadCredentials` where others on the way could read what is sent to `url`."""
    scheme, host, _ = checked_origin(url, name=name)
    if scheme != "https" and host not in LOOPBACK:
        raise SourceError("BadCredentials", f"{name}: credentials don't travel over {scheme}; use https")


def refused(status: int, *, name: str) -> SourceError:
    """What a status other than 200 means."""
    match status:
        case 404 | 410:
            return SourceError("NotFound", f"{name}: the server has no such file (status {status}); check the address")
        case 401 | 403 | 407:
            words = "check credentialsRef, and what its Secret may read"
            return SourceError("AccessDenied", f"{name}: the server refuses access (status {status}); {words}")
        case 429 | 500 | 502 | 503 | 504:
            words = f"the server answered with status {status}, after all attempts"
            return SourceError("Unavailable", f"{name}: {words}; try again later")
        case _:
            words = f"the server answered with status {status}, expected 200 with the whole file"
            return SourceError("UnexpectedAnswer", f"{name}: {words}; check the address")


def _redirected(url: str, location: str, *, name: str) -> str:
    try:
        target = urljoin(url, location)
        (scheme, host, _), (before, *_) = origin(target), origin(url)
    except ValueError:
        target, scheme, host, before = "", "", "", ""
    if not location or not host or scheme not in ("http", "https") or urlsplit(target).username is not None:
        words = "was redirected to what is no http(s) address"
        raise SourceError("BadRedirect", f"{name}: {words}; name where the file is")
    if (before, scheme) == ("https", "http"):
        raise SourceError("BadRedirect", f"{name}: was redirected from https to http ({host}); name where the file is")
    return target


def _trust(credentials: Credentials | None) -> ssl.SSLContext:
    """The system's authorities, and the Secret's `ca.crt` besides."""
    context = ssl.create_default_context()
    own = None if credentials is None else credentials.text("ca.crt")
    if credentials is not None and own is not None:
        try:
            context.load_verify_locations(cadata=own)
        except (ssl.SSLError, ValueError):
            raise credentials.bad("its key ca.crt holds no certificates in PEM") from None
    return context


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What goes wrong on the way to a server and back, in words."""
    try:
        yield
    except (IncompleteRead, ReadTimeoutError, ProtocolError) as error:
        if isinstance(error, ReadTimeoutError):
            words = f"{name}: the server said nothing for too long; try again, or use a nearer place"
            raise SourceError("TooSlow", words) from None
        raise truncated(name) from None
    except SSLError as error:
        words = f"no trusted connection: {error}; put the authority's certificate into the Secret as ca.crt"
        raise SourceError("Unreachable", f"{name}: {words}") from None
    except (NewConnectionError, NoAnswerError) as error:
        words = f"can't be reached: {error}; check the address, and what the network policies here let out"
        raise SourceError("Unreachable", f"{name}: {words}") from None
    except (HTTPError, LocationParseError, UnicodeError) as error:
        raise SourceError("Unreachable", f"{name}: {error}; check the address") from None


def _number(text: str) -> int | None:
    """A whole number as headers write it; None for anything else, such as ``²``, which is a digit to Python too."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _asked_for(text: str) -> float:
    """Seconds that a server asks to be left alone: a number, or a date."""
    if (seconds := _number(text)) is not None:
        return float(seconds)
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
