"""`mandate report`: judge stored evidence anew."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pydantic import ValidationError

from mandate.evidence.schema import Evidence

from . import manifest, output, verdict
from .errors import InputError
from .manifest import Manifest

MAX_BYTES = 16 << 20


def execute(options: argparse.Namespace) -> int:
    """Judge the evidence on the manifest's criteria; returns the exit code."""
    outputs = output.parse(options.output, keep=(options.file, options.evidence))
    verdict.check(options)
    declared = manifest.read(options.file, name=options.name)
    evidence = read(options.evidence)
    _same_measurement(declared, evidence, path=options.evidence)
    return verdict.conclude(declared, evidence, options, outputs)


def read(path: Path) -> Evidence:
    """Stored evidence; raises InputError where it isn't any."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"--evidence {path}: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"--evidence {path}: is larger than {MAX_BYTES} bytes, which no evidence is")
    expected = "expected what `mandate evaluate -o evidence=FILE` writes"
    try:
        return Evidence.model_validate(json.loads(data))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise InputError(f"--evidence {path}: {field}: {first['msg']}; {expected}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"--evidence {path}: isn't JSON ({error}); {expected}") from None


def _same_measurement(declared: Manifest, evidence: Evidence, *, path: Path) -> None:
    """Criteria may have changed since the measurement; what was measured may not."""
    from mandate.measure.engine import settings_digest

    spec, inputs = declared.spec, evidence.computed.inputs
    asked = settings_digest(model=spec.model, task=spec.task, data=spec.data, references=spec.baselines)
    if asked != inputs.settings:
        raise InputError(
            f"--evidence {path}: was measured with other settings (task, output, split, slices or baselines) than "
            "the manifest declares; run `mandate evaluate` again"
        )
    data = spec.data
    tables = {"source": data.source, "train": data.train, "validation": data.validation, "test": data.test}
    pairs = [("model.source", spec.model.source.digest, inputs.model)]
    pairs += [(f"data.{name}", table.digest, inputs.data.get(name)) for name, table in tables.items() if table]
    for field, declares, found in pairs:
        if declares is not None and declares != found:
            raise InputError(
                f"--evidence {path}: spec.{field}.digest: declared is {declares}, measured was {found}; "
                "run `mandate evaluate` again"
            )
