"""Digests of what a measurement was asked for and of the answers it is of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from mandate.api import spec
from mandate.evidence.canonical import digest
from mandate.evidence.measurement import stated

from .answers import Answers
from .split import Split

BLOCK = 1 << 20
"""Rows that are written at a time."""


def settings_digest(
    *,
    model: spec.Model,
    task: spec.Task,
    data: spec.Data,
    references: Sequence[spec.Baseline],
    error_costs: Sequence[spec.ErrorCost],
) -> str:
    """Digest of what was declared about the measurement, and of how to read its tables.

    Models, tables and their places aren't in it.
    A field that came later is in it only where it is declared, so that older evidence stays its manifest's.
    """
    found = {
        "task": _said(task, "type", "target", "positive", "id", "time", "cluster"),
        "output": _said(model.output, "name", "kind", "classes", "cutoff"),
        "split": None
        if data.split is None
        else _said(data.split, "method", "seed", "train", "validation", "test", "gap"),
        "slices": [_said(declared, "name", "column", "edges", "sensitive") for declared in data.slices],
        "baselines": [_said(declared.as_measured, "name", "type", "column") for declared in references],
    }
    tables = {part: getattr(data, part) for part in spec.DATA_TABLES}
    read_as = {
        part: {field: said for field, said in stated(table).items() if field in ("format", "csv")}
        for part, table in tables.items()
        if table is not None
    }
    later: dict[str, Any] = {
        "errorCosts": [stated(declared) for declared in error_costs],
        "sampling": [stated(declared) for declared in data.sampling],
        "annotations": None if data.annotations is None else _named_columns(data.annotations),
        "readAs": {part: said for part, said in read_as.items() if said},
        "search": None if data.search is None else stated(data.search),
        "personal": sorted(data.personal),
        "domainClassifier": None if data.domain_classifier is None else {"folds": data.domain_classifier.folds},
        "windows": None if data.windows is None else stated(data.windows),
    }
    return digest(found | {name: declared for name, declared in later.items() if declared})


def _said(record: spec.Spec, *first: str) -> dict[str, Any]:
    """The `first` fields there were, whatever they hold, and later ones where they are declared."""
    rest = record.model_dump(mode="json", exclude=set(first), exclude_none=True, exclude_defaults=True)
    return record.model_dump(mode="json", include=set(first)) | rest


def predictions_digest(split: Split, answers: Answers) -> str:
    """Digest of the answers row by row, in the order of the rows' keys."""
    hasher = hashlib.sha256()
    numeric = answers.values.dtype.kind in "fiub"
    for values, kind in ((split.keys, ">u8"), *([(answers.values, ">f8")] if numeric else [])):
        for start in range(0, len(values), BLOCK):
            hasher.update(values[start : start + BLOCK].astype(kind).tobytes())
    if not numeric:
        hasher.update("\x1f".join(map(str, answers.values)).encode())
    return "sha256:" + hasher.hexdigest()


def _named_columns(declared: spec.Annotations) -> dict[str, Any]:
    named = {"row": declared.row, "annotator": declared.annotator, "label": declared.label}
    return named | ({"independent": True} if declared.independent else {})
