"""Copies and verifies the model file, and no more: this runs before every serving Pod's start."""

from __future__ import annotations

from pathlib import Path

from mandate.sources.place import Place
from mandate.sources.reader import Reader

from .failures import failing

MODEL_FILE = "model.onnx"
"""Whatever the format is; it is what the predictor reads."""


def mounts_in(folder: Path) -> dict[str, Path]:
    """Claims, or Secrets, mounted below `folder`, each under its name."""
    return {path.name: path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}


def fetch_model(place: Place, *, format: str | None, digest: str | None, reader: Reader, model_dir: Path) -> str:  # noqa: A002
    """Copy the model file and return its digest. Raises EvaluationError, for example DigestMismatch."""
    with failing("Fetch", field="spec.model.source"):
        return reader.copy(file_of(place, format=format, reader=reader), model_dir / MODEL_FILE, declared=digest)


def file_of(place: Place, *, format: str | None, reader: Reader) -> Place:  # noqa: A002  # as its field is called
    """The file itself: of an MLflow model's folder, the one that is served. Raises SourceError, InferenceError."""
    if format != "MLflow":
        return place
    from .mlflow import model_in  # what starts with every Pod stays small

    return model_in(place, reader=reader)
