"""Where a file is, and whose credentials lead to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import SourceError


@dataclass(frozen=True, kw_only=True)
class Place:
    """One file. `credentials` is the name of a Secret, whose keys are files of a folder.

    `endpoint` (`https://HOST:PORT`) and `region` belong to `s3://…`.
    """

    uri: str
    credentials: str | None = None
    endpoint: str | None = None
    region: str | None = None

    @property
    def scheme(self) -> str:
        """The URI's scheme, empty for plain paths."""
        return self.uri.partition("://")[0] if "://" in self.uri else ""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The keys of one Secret, each a file of a folder; texts without the line break at their end."""

    name: str
    folder: Path

    def text(self, key: str) -> str | None:
        """One key's text; None where there is none. Raises SourceError `BadCredentials`."""
        path = self.folder / key
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n") if path.is_file() else None
        except (OSError, UnicodeDecodeError):
            raise self.bad(f"its key {key} isn't text") from None

    def bad(self, words: str) -> SourceError:
        """What is wrong with the Secret, in words without its contents."""
        return SourceError("BadCredentials", f"credentialsRef {self.name}: {words}")

    def keys(self) -> list[str]:
        """The keys that there are."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_file())


def credentials_of(place: Place, known: Mapping[str, Path]) -> Credentials | None:
    """The credentials that a place asks for, out of folders by name; None where it asks for none.

    Raises SourceError `NoCredentials`.
    """
    if place.credentials is None:
        return None
    folder = known.get(place.credentials)
    # An optional volume of a Secret that doesn't exist is an empty folder.
    if folder is None or not folder.is_dir() or not any(path.is_file() for path in folder.iterdir()):
        raise SourceError(
            "NoCredentials",
            f"{place.uri}: credentialsRef: there is no Secret {place.credentials!r} with keys in this namespace; "
            f"create it; on the command line give --credentials {place.credentials}=DIR, a folder with a file per key",
        )
    return Credentials(name=place.credentials, folder=folder)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an http(s) URL. Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
