"""The init container: sources in, verified copies and the split out."""

from __future__ import annotations

from pathlib import Path

from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import ModelSource
from mandate.sources import Reader

from . import data
from .failures import EvaluationError, discreet, failing
from .model_file import MODEL_FILE, fetch_model
from .places import place_of
from .signed import signed_by


@discreet
def fetch(
    spec: ModelEvaluationSpec, *, reader: Reader, model_dir: Path, champion_dir: Path, data_dir: Path
) -> dict[str, str]:
    """Fill the folders; returns the digests found: `model`, `split`, and the tables' by field of spec.data."""
    source = spec.model.source
    model = None
    if source.uri is not None:
        model = _copy(source, reader=reader, into=model_dir)
    if spec.champion is not None and spec.champion.source.uri is not None:
        _copy(spec.champion.source, reader=reader, into=champion_dir)
    rows = data.load(spec, reader=reader, scratch=data_dir)
    with failing("Split"):
        data.write(rows, data_dir, model=model)
    return ({"model": model} if model else {}) | rows.digests | {"split": rows.split.digest}


def _copy(source: ModelSource, *, reader: Reader, into: Path) -> str:
    found = fetch_model(place_of(source), format=source.format, digest=source.digest, reader=reader, model_dir=into)
    try:
        signed_by(source, digest=found)
    except EvaluationError:
        (into / MODEL_FILE).unlink()  # nothing may open it
        raise
    return found
