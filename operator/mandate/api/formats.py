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


def format_by_suffix(uri: str) -> TableFormat | None:
    """What the ending of a table's URI says, if anything."""
    path = uri.lower()
    if path.startswith(WEB):
        path = path.partition("?")[0]
    return next((kind for suffix, kind in TABLE_SUFFIXES.items() if path.endswith(suffix)), None)
