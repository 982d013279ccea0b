"""One scikit-learn model out of a skops file.

skops builds known types only and runs no code of the file's, as a pickle would; what it can't vouch for is refused, but
for TRUSTED. Answers are scikit-learn's own: one thread per run, so that sums are added up in one order.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

# OpenMP reads this once, while it is loaded, and each thread that runs a model would start a team of its own.
os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import pandas as pd
import skops.io
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UntrustedTypesFoundException
from threadpoolctl import threadpool_limits

from .datatypes import Array, Tensor
from .errors import ModelError, first_line

TRUSTED = frozenset(
    {
        "numpy.dtype",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
"""Data without code. A forged tree can crash whoever runs it, no more: what a model may do to its own container."""
MATRIX = "X"
"""The input of a model that was fitted on an array without names."""
MAX_NAMED = 5
"""Types, or columns, in a message."""
_UNPACKED = 1 << 31
"""Bytes that the archive may hold: a small file can unpack to any size."""

Missing = float | None
"""What a model takes for a text that isn't there."""


class SkopsModel:
    """A `Model` that scikit-learn runs."""

    platform = "sklearn_skops"

    def __init__(self, estimator: Any, *, digest: str) -> None:
        self._estimator = estimator
        self.digest = digest
        names = getattr(estimator, "feature_names_in_", None)
        self._names = None if names is None else [str(name) for name in names]
        self._missing: dict[str, Missing | str] = {}
        if self._names is None:
            self.inputs = {MATRIX: Tensor(MATRIX, "FP64", (-1, int(estimator.n_features_in_)))}
        else:
            self._missing = _texts(estimator, self._names)
            unused = _dropped(estimator, self._names)
            self.inputs = {
                name: Tensor(name, "BYTES" if name in self._missing else "FP64", (-1, 1))
                for name in self._names
                if name not in unused
            }
        self._calls = _calls(estimator)
        self.outputs = {name: tensor for name, (tensor, _) in self._calls.items()}

    def run(self, inputs: Mapping[str, Array], outputs: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Answers by output name. `inputs` holds every declared input, in its type and shape; a text that is empty is
        missing, where the model knows missing ones.

        Raises ModelError `RunFailed` where the model refuses, for example an unknown category.
        """
        fed = inputs[MATRIX] if self._names is None else self._frame(inputs)
        answers: dict[str, Array] = {}
        try:
            for name in self.outputs if outputs is None else outputs:
                tensor, call = self._calls[name]
                answer = np.asarray(call(fed))
                answers[name] = answer.astype(object) if tensor.datatype == "BYTES" else answer
        except Exception as error:  # an estimator may raise what it likes
            raise ModelError("RunFailed", f"the model refused its input: {first_line(error)}") from error
        return answers

    def _frame(self, inputs: Mapping[str, Array]) -> pd.DataFrame:
        columns = {}
        for name in self.inputs:
            values = inputs[name].reshape(-1)
            if name in self._missing and self._missing[name] != "":
                values = np.array([self._missing[name] if value == "" else value for value in values], dtype=object)
            columns[name] = pd.Series(values, dtype=object if name in self._missing else np.float64)
        return pd.DataFrame(columns)


def open_skops(data: bytes, *, digest: str) -> SkopsModel:
    """The model in a file's bytes. Raises ModelError `Unreadable`, `UnsupportedModel`."""
    try:
        _bounded(data)
        untrusted = sorted(set(skops.io.get_untrusted_types(data=data)) - TRUSTED)
        if untrusted:
            raise ModelError("Unreadable", _distrust(untrusted))
        estimator = skops.io.loads(data, trusted=sorted(TRUSTED))
    except ModelError:
        raise
    except UntrustedTypesFoundException as error:
        raise ModelError("Unreadable", first_line(error)) from error
    except Exception as error:  # a broken archive, schema, array, …: each its own kind
        raise ModelError("Unreadable", f"not a skops file that can be read: {first_line(error)}") from error
    threadpool_limits(limits=1)
    for part in _parts(estimator):
        if hasattr(part, "n_jobs"):
            part.n_jobs = None
    if not hasattr(estimator, "n_features_in_"):
        raise ModelError("UnsupportedModel", f"a {type(estimator).__name__} that isn't fitted; fit it, then dump it")
    return SkopsModel(estimator, digest=digest)


def _bounded(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise ModelError("Unreadable", f"expected a file of skops, got no ZIP archive: {first_line(error)}") from error
    if size > _UNPACKED:
        raise ModelError("Unreadable", f"it unpacks to {size} bytes, at most {_UNPACKED} are read")


def _distrust(types: list[str]) -> str:
    more = f" and {len(types) - MAX_NAMED} more" if len(types) > MAX_NAMED else ""
    return (
        f"it holds types that skops can't vouch for: {', '.join(name[:100] for name in types[:MAX_NAMED])}{more}; "
        "use scikit-learn's own estimators without functions of your own, or export the model as ONNX"
    )


def _calls(estimator: Any) -> dict[str, tuple[Tensor, Any]]:
    """Outputs by name: how each is declared, and what answers it. Names are those that skl2onnx gives."""
    if is_classifier(estimator):
        classes = getattr(estimator, "classes_", None)
        if isinstance(classes, list) or classes is None:
            raise ModelError("UnsupportedModel", f"a {type(estimator).__name__} with several targets, or no classes")
        kind = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}.get(np.asarray(classes).dtype.kind, "BYTES")
        calls = {"label": (Tensor("label", kind, (-1,)), estimator.predict)}
        if hasattr(estimator, "predict_proba"):
            answers = Tensor("probabilities", "FP64", (-1, len(classes)))
            calls["probabilities"] = (answers, estimator.predict_proba)
        return calls
    if is_regressor(estimator):
        return {"variable": (Tensor("variable", "FP64", (-1,)), estimator.predict)}
    raise ModelError("UnsupportedModel", f"a {type(estimator).__name__}; expected a classifier or a regressor")


def _parts(value: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """The estimators in an estimator, itself first; fitted ones stand in attributes, lists and pairs."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, BaseEstimator):
        yield value
        yield from _parts(vars(value), seen)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _parts(each, seen)
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        for each in value if not isinstance(value, np.ndarray) else value.ravel():
            yield from _parts(each, seen)


def _texts(estimator: Any, names: list[str]) -> dict[str, Missing | str]:
    """The columns that are texts, by what the fitted encoders, imputers and vectorizers know of them; each with what
    stands for a missing one, the empty text where nothing does."""
    found: dict[str, Missing | str] = {}
    for part in _parts(estimator):
        if [str(name) for name in getattr(part, "feature_names_in_", ())] != names:
            continue
        if isinstance(part, ColumnTransformer):
            for _, transformer, columns in part.transformers_:
                chosen = _chosen(columns, names)
                found |= {name: kind for name, kind in zip(chosen, _told(transformer), strict=False) if kind != 0}
        else:
            found |= {name: kind for name, kind in zip(names, _told(part), strict=False) if kind != 0}
    return found


def _dropped(estimator: Any, names: list[str]) -> set[str]:
    """The columns that a ColumnTransformer was fitted beside and never looks at; scikit-learn does without them."""
    for part in _parts(estimator):
        if isinstance(part, ColumnTransformer) and [str(name) for name in part.feature_names_in_] == names:
            kept = [_chosen(columns, names) for _, what, columns in part.transformers_ if what != "drop"]
            return set(names).difference(*kept)
    return set()


def _chosen(columns: Any, names: list[str]) -> list[str]:
    """A transformer's columns by name; they were declared by name, place, slice or mask."""
    if isinstance(columns, str):
        return [columns]
    listed = list(columns) if not isinstance(columns, slice) else columns
    if isinstance(listed, list) and all(isinstance(name, str) for name in listed):
        return listed
    return [str(name) for name in np.atleast_1d(np.asarray(names, dtype=object)[listed])]


def _told(transformer: Any) -> list[Missing | str | int]:
    """Per column what stands for a missing text, 0 where it holds numbers; empty where the transformer can't tell."""
    if isinstance(transformer, Pipeline):
        return next((told for _, step in transformer.steps if (told := _told(step))), [])
    if hasattr(transformer, "categories_"):
        return [_in_categories(list(categories)) for categories in transformer.categories_]
    if hasattr(transformer, "statistics_"):
        unknown = transformer.missing_values
        return [unknown if isinstance(value, str) else 0 for value in transformer.statistics_]
    if hasattr(transformer, "build_analyzer"):  # what all of scikit-learn's text vectorizers have
        return [""]
    return []


def _in_categories(categories: list[Any]) -> Missing | str | int:
    if not any(isinstance(value, str) for value in categories):
        return 0
    unknown = [value for value in categories if not isinstance(value, str)]
    return unknown[0] if unknown and "" not in categories else ""
