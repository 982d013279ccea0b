"""Which file an MLflow model's folder means: its `MLmodel` says so. MLflow itself isn't needed, and never runs.

https://mlflow.org/docs/latest/ml/model/ describes the folder.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from mandate.inference.errors import InferenceError
from mandate.sources.place import Place
from mandate.sources.reader import Reader

MLMODEL = "MLmodel"
MAX_BYTES = 1 << 20
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_ADVICE = (
    "log it with mlflow.onnx.log_model(…, save_as_external_data=False), or with "
    'mlflow.sklearn.log_model(…, serialization_format="skops")'
)


def model_in(folder: Place, *, reader: Reader) -> Place:
    """Where the ONNX or skops file of the MLflow model at `folder` is.

    Raises SourceError where there is no MLmodel, InferenceError `Unreadable` where it names no such file.
    """
    with tempfile.TemporaryDirectory(prefix="mandate-") as scratch:
        said = Path(scratch) / MLMODEL
        reader.copy(_below(folder, MLMODEL), said, declared=None)
        if said.stat().st_size > MAX_BYTES:
            raise _refusal(folder, f"{MLMODEL} has {said.stat().st_size} bytes, at most {MAX_BYTES} are read")
        text = said.read_bytes()
    try:
        flavors = yaml.safe_load(text)["flavors"]
        name = _file(dict(flavors))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValueError) as error:
        raise _refusal(folder, f"{MLMODEL} isn't a description of a model, with `flavors`") from error
    if name is None:
        known = ", ".join(str(key)[:40] for key in list(flavors)[:5])
        form = flavors["sklearn"].get("serialization_format") if isinstance(flavors.get("sklearn"), dict) else None
        told = f"; sklearn's is in {str(form)[:40]}, which runs any code in it when it is loaded" if form else ""
        raise _refusal(folder, f"expected the flavour onnx, or sklearn in skops; got {known}{told}; {_ADVICE}")
    if not _PLAIN.fullmatch(name):
        raise _refusal(folder, f"{MLMODEL} names the file {name[:100]!r}, expected one in its folder")
    return _below(folder, name)


def _file(flavors: dict[Any, Any]) -> str | None:
    """The file of the flavour that can be served; None where there is none."""
    if isinstance(onnx := flavors.get("onnx"), dict) and isinstance(onnx.get("data"), str):
        return str(onnx["data"])
    sklearn = flavors.get("sklearn")
    if isinstance(sklearn, dict) and sklearn.get("serialization_format") == "skops":
        return str(sklearn["pickled_model"])
    return None


def _below(folder: Place, name: str) -> Place:
    return replace(folder, uri=f"{folder.uri.rstrip('/')}/{name}")


def _refusal(folder: Place, words: str) -> InferenceError:
    return InferenceError("Unreadable", f"{folder.uri}: {words}", field="spec.model.source")
