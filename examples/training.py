"""What the examples' training scripts share: train on exactly what the manifest declares, and write ONNX."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import yaml
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.pipeline import Pipeline

from mandate.api.check import load_spec
from mandate.api.kinds import ModelDeploymentSpec
from mandate.measure.split import divide
from mandate.measure.table import is_numeric
from mandate.sources import locate, read_table

OPSET = {"": 20, "ai.onnx.ml": 3}


@dataclass(frozen=True)
class Declared:
    """A manifest's spec and its training and validation rows; the test rows stay closed."""

    spec: ModelDeploymentSpec
    strings: list[str]
    numbers: list[str]
    train: pd.DataFrame
    validation: pd.DataFrame

    def features(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The model's inputs as it will be fed: missing strings are empty, numbers are single precision."""
        texts = rows[self.strings].fillna("").astype(object)
        return texts.join(rows[self.numbers].astype("float32"))[[*self.strings, *self.numbers]]

    def truth(self, rows: pd.DataFrame) -> pd.Series:
        """The target in the text by which the manifest knows it."""
        return rows[self.spec.task.target].astype(str)

    def model_path(self, models: Path) -> Path:
        """Where the manifest expects the model, `models` being the folder of the claim of that name."""
        uri = self.spec.model.source.uri or ""
        return models / uri.removeprefix("pvc://models/")


def declared(manifest: Path, *, data: Path) -> Declared:
    """Read a manifest and its table below `data`; refuses a split that isn't the one that the manifest claims."""
    spec = load_spec(yaml.safe_load(manifest.read_text())["spec"])
    if spec.data.source is None or spec.data.split is None or spec.model.inputs is None:
        raise SystemExit(f"{manifest}: data.source, data.split and model.inputs are needed")
    table = read_table(locate(spec.data.source.uri, mounts={"data": data}))
    split = divide(table, how=spec.data.split, task=spec.task)
    claimed = spec.model.training.split_digest
    if claimed is not None and split.digest != claimed:
        raise SystemExit(f"{manifest}: model.training.splitDigest is {claimed}, the split's digest is {split.digest}")
    columns = list(spec.model.inputs.columns)
    strings = [name for name in columns if not is_numeric(table, name)]
    parts = [table.filter(pa.array(split.rows(part))).to_pandas() for part in ("train", "validation")]
    return Declared(spec, strings, [name for name in columns if name not in strings], *parts)


def write_onnx(model: Pipeline, declared: Declared, target: Path) -> None:
    """Write the fitted pipeline with one input per column, so that a caller needn't know any order or encoding."""
    inputs = [(name, StringTensorType([None, 1])) for name in declared.strings]
    inputs += [(name, FloatTensorType([None, 1])) for name in declared.numbers]
    onnx = to_onnx(model, initial_types=inputs, target_opset=OPSET, options={"zipmap": False}, name="model")
    # skl2onnx lists the operator sets in a set's order, which differs from run to run.
    opsets = sorted(onnx.opset_import, key=lambda opset: opset.domain)
    del onnx.opset_import[:]
    onnx.opset_import.extend(opsets)
    write(target, onnx.SerializeToString())


def write(target: Path, data: bytes) -> None:
    """Write a file whole and say what it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".part")
    half.write_bytes(data)
    half.replace(target)
    print(f"{target}: {len(data) / 1024:.0f} KiB, sha256:{hashlib.sha256(data).hexdigest()}")
