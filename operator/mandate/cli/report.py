"""`mandate report`: judge stored evidence anew."""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path

from pydantic import ValidationError

from mandate.evidence.schema import Evidence

from . import manifest, output, verdict
from .errors import InputError
from .manifest import Manifest
from .progress import progress

MAX_BYTES = 16 << 20
_GZIP = b"\x1f\x8b"


def execute(options: argparse.Namespace) -> int:
    """Judge the evidence on the manifest's criteria; returns the exit code."""
    outputs = output.parse(options.output, keep=(options.file, options.evidence))
    verdict.check(options)
    declared = manifest.read(options.file, name=options.name)
    with progress(f"reading {options.evidence.name}"):
        evidence = read(options.evidence)
    same_measurement(declared, evidence, name=f"--evidence {options.evidence}")
    return verdict.conclude(declared, evidence, options, outputs)


def read(path: Path) -> Evidence:
    """Stored evidence, packed by gzip or not; raises InputError where it isn't any."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"--evidence {path}: {error.strerror or error}") from None
    if data.startswith(_GZIP):
        data = _unpacked(data, path=path)
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


def _unpacked(data: bytes, *, path: Path) -> bytes:
    """At most one byte more than evidence may have. Raises InputError."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise InputError(f"--evidence {path}: can't be unpacked ({error}); take it from the cluster again") from None
    if not unpacker.eof and len(unpacked) <= MAX_BYTES:
        raise InputError(f"--evidence {path}: can't be unpacked (it is cut short); take it from the cluster again")
    return unpacked


def same_measurement(declared: Manifest, evidence: Evidence, *, name: str) -> None:
    """Criteria may have changed since the measurement; what was measured may not. Raises InputError."""
    from mandate.api.spec import DATA_TABLES

    same_settings(declared, evidence, name=name)
    inputs, data = evidence.computed.inputs, declared.spec.data
    tables = {part: getattr(data, part) for part in DATA_TABLES}
    pairs = [("model.source", declared.spec.model.source.digest, inputs.model)]
    pairs += [(f"data.{part}", table.digest, inputs.data.get(part)) for part, table in tables.items() if table]
    for field, declares, found in pairs:
        if declares is not None and declares != found:
            raise InputError(
                f"{name}: spec.{field}.digest: declared is {declares}, measured was {found}; "
                "run `mandate evaluate` again"
            )


def same_settings(declared: Manifest, evidence: Evidence, *, name: str) -> None:
    """What the manifest declares to be measured must be what was. Raises InputError."""
    from mandate.measure.digests import settings_digest

    spec, inputs = declared.spec, evidence.computed.inputs
    asked = settings_digest(
        model=spec.model,
        task=spec.task,
        data=spec.data,
        references=spec.baselines,
        error_costs=spec.use_case.error_costs,
    )
    if asked != inputs.settings:
        raise InputError(
            f"{name}: was measured with other settings (task, output, split, slices, baselines or costs) "
            "than the manifest declares; run `mandate evaluate` again"
        )
