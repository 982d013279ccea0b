"""Formats of tables, by the words of a spec. Needs nothing, so that what starts with every Pod stays small."""

from __future__ import annotations

from typing import Literal

TableFormat = Literal["Parquet", "CSV", "Arrow"]
CsvEncoding = Literal["UTF8", "UTF16", "Latin1", "Windows1252"]
CsvSeparator = Literal["Comma", "Semicolon", "Tab", "Pipe"]

TABLE_SUFFIXES: dict[str, TableFormat] = {
    ".parquet": "Parquet",
    ".csv": "CSV",
    ".arrow": "Arrow",
    ".arrows": "Arrow",
    ".feather": "Arrow",
}
"""What a file's ending says of its format."""
WEB = ("http://", "https://")
S3 = "s3://"
OCI = "oci://"
SERVERS = (*WEB, S3, OCI)
"""How URIs begin of what a server holds."""


PROFILE_SUFFIX = ".json"
"""What the URI of a stored profile ends in."""


def is_profile(uri: str) -> bool:
    """Whether a URI names a profile that `mandate profile` wrote."""
    return _path(uri).endswith(PROFILE_SUFFIX)


def format_by_suffix(uri: str) -> TableFormat | None:
    """What the ending of a table's URI says, if anything."""
    path = _path(uri)
    return next((kind for suffix, kind in TABLE_SUFFIXES.items() if path.endswith(suffix)), None)


def _path(uri: str) -> str:
    path = uri.lower()
    return path.partition("?")[0] if path.startswith(WEB) else path
