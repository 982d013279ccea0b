"""The init container: sources in, verified copies and the split out."""

from __future__ import annotations

from pathlib import Path

from mandate import sources
from mandate.api.kinds import ModelEvaluationSpec

from . import data
from .data import Locate, failing

MODEL_FILE = "model.onnx"


def mounts_in(folder: Path) -> dict[str, Path]:
    """Claims mounted below `folder`, each under its name."""
    return {path.name: path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}


def fetch_model(uri: str, *, digest: str | None, locate: Locate, model_dir: Path) -> str:
    """Copy the model file and return its digest. Raises EvaluationError, for example DigestMismatch."""
    with failing("Fetch", field="spec.model.source"):
        path = locate(uri)
        return sources.copy(path, model_dir / MODEL_FILE, declared=digest, name=uri)


def fetch(spec: ModelEvaluationSpec, *, locate: Locate, model_dir: Path, data_dir: Path) -> dict[str, str]:
    """Fill both folders; returns the digests found: `model`, `split`, and the tables' by field of spec.data."""
    source = spec.model.source
    model = None
    if source.uri is not None:
        model = fetch_model(source.uri, digest=source.digest, locate=locate, model_dir=model_dir)
    rows = data.load(spec, locate=locate, scratch=data_dir)
    with failing("Split"):
        data.write(rows, data_dir, model=model)
    return ({"model": model} if model else {}) | rows.digests | {"split": rows.split.digest}
