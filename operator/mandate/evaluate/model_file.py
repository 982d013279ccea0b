"""Copies and verifies the model file, and no more: this runs before every serving Pod's start."""

from __future__ import annotations

from pathlib import Path

from mandate.sources.place import Place
from mandate.sources.reader import Reader

from .failures import failing

MODEL_FILE = "model.onnx"


def mounts_in(folder: Path) -> dict[str, Path]:
    """Claims, or Secrets, mounted below `folder`, each under its name."""
    return {path.name: path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}


def fetch_model(place: Place, *, digest: str | None, reader: Reader, model_dir: Path) -> str:
    """Copy the model file and return its digest. Raises EvaluationError, for example DigestMismatch."""
    with failing("Fetch", field="spec.model.source"):
        return reader.copy(place, model_dir / MODEL_FILE, declared=digest)
