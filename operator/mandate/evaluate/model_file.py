"""Copies and verifies the model file, and no more: this runs before every serving Pod's start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mandate.sources import files

from .failures import failing

MODEL_FILE = "model.onnx"

Locate = Callable[[str], Path]
"""Finds the file behind a URI; raises SourceError."""


def mounts_in(folder: Path) -> dict[str, Path]:
    """Claims mounted below `folder`, each under its name."""
    return {path.name: path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}


def fetch_model(uri: str, *, digest: str | None, locate: Locate, model_dir: Path) -> str:
    """Copy the model file and return its digest. Raises EvaluationError, for example DigestMismatch."""
    with failing("Fetch", field="spec.model.source"):
        return files.copy(locate(uri), model_dir / MODEL_FILE, declared=digest, name=uri)
