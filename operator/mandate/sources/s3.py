"""Files in S3-compatible storage: one signed GET over the same HTTP as every download, and no redirects.

Credentials come from the declared Secret or there are none: no environment, no profiles, no metadata service.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import urllib3

from .errors import SourceError
from .http import Web, only_in_private, refused
from .place import Credentials, Place
from .signing import signed

DEFAULT_REGION = "us-east-1"
_URI = re.compile(r"s3://(?P<bucket>[^/]+)/(?P<key>.*[^/])", re.DOTALL)
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
_EXPIRED = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
"""What storage says, with status 400, of a session that it doesn't take."""
_MOST = 64 << 10
"""Bytes of what storage says of an error."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How storage is asked. `now` is the time that requests are signed with."""

    web: Web = field(default_factory=Web)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def download(self, place: Place, into: Path, *, credentials: Credentials | None = None) -> str:
        """Write the object at `place` (`s3://BUCKET/KEY`) to `into`, whole or not at all; returns its sha256.

        Raises SourceError: those of `Web.download` but for BadRedirect.
        """
        name, until = place.uri, self.web.until()
        url = address(place)
        headers = self._authorization(place, credentials, url=url)
        asked = self.web.asked(url, headers=headers, credentials=credentials, name=name, until=until, follow=False)
        with asked as response:
            if response.status != 200:
                raise _refused(response, name=name)
            return self.web.keep(response, into, until=until, name=name)

    def _authorization(self, place: Place, credentials: Credentials | None, *, url: str) -> dict[str, str]:
        if credentials is None or credentials.keys() == ["ca.crt"]:
            return {}
        key, secret, token = (
            credentials.text(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        )
        if not key or not secret:
            keys = ", ".join(credentials.keys())
            words = f"has the keys {keys}; expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or only ca.crt"
            raise credentials.bad(words)
        for text in (key, token or ""):
            if not text.isascii() or not text.isprintable():
                raise credentials.bad("its keys hold characters that no header takes; write each as one line of text")
        only_in_private(url, name=place.uri)
        region = place.region or DEFAULT_REGION
        return signed(url, key=key, secret=secret, token=token or None, region=region, at=self.now(), headers={})


def address(place: Place) -> str:
    """Where the object of an `s3://BUCKET/KEY` is. Raises SourceError `UnknownScheme`.

    With an endpoint, the bucket is the path's beginning; at AWS it is a name of its own unless it holds dots, which
    certificates don't cover.
    """
    found, region = _URI.fullmatch(place.uri), place.region or DEFAULT_REGION
    # On its way an address loses such parts, and leads to another object.
    if found is None or {".", ".."} & set(found["key"].split("/")):
        words = "expected s3://BUCKET/KEY of one object, whose key has no parts '.' and '..'"
        raise SourceError("UnknownScheme", f"{place.uri}: {words}")
    bucket, path = found["bucket"], quote(found["key"], safe="/-_.~")
    if place.endpoint is not None:
        return f"{place.endpoint.rstrip('/')}/{quote(bucket, safe='')}/{path}"
    host = f"s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    if re.fullmatch(r"[a-z0-9-]+", bucket):
        return f"https://{bucket}.{host}/{path}"
    return f"https://{host}/{quote(bucket, safe='')}/{path}"


def _refused(response: urllib3.BaseHTTPResponse, *, name: str) -> SourceError:
    """What a status other than 200 means, with the storage's own word for it."""
    try:
        body = response.read(_MOST, decode_content=False)
    except urllib3.exceptions.HTTPError:
        body = b""
    code = found[1].decode() if (found := _CODE.search(body)) else ""
    if code in _EXPIRED:
        return SourceError("AccessDenied", f"{name}: the storage says {code}; renew the keys that credentialsRef names")
    error = refused(response.status, name=name)
    said = f"; it says {code}" if code else ""
    advice = "; check s3.endpoint and s3.region" if error.code in ("NotFound", "UnexpectedAnswer") else ""
    return SourceError(error.code, f"{error}{said}{advice}")
