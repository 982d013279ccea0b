"""From what a spec declares to where it is."""

from __future__ import annotations

from mandate.api.spec import ModelSource, TableSource
from mandate.sources import Place


def place_of(source: ModelSource | TableSource) -> Place:
    """Where a declared file is; `source` has a uri."""
    credentials, storage = source.credentials_ref, source.s3
    return Place(
        uri=str(source.uri),
        credentials=None if credentials is None else credentials.name,
        endpoint=None if storage is None else storage.endpoint,
        region=None if storage is None else storage.region,
    )
