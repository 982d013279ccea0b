"""What a loaded model is to whoever runs it, and how a file becomes one. The file's bytes say which format it is in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, get_args

from .datatypes import Array, Tensor
from .errors import ModelError

Format = Literal["ONNX", "Skops"]
FORMATS: tuple[Format, ...] = get_args(Format)


class Model(Protocol):
    """A loaded model; `run` may be called from several threads at once."""

    digest: str
    """sha256:… of the file."""
    platform: str
    """As the Open Inference Protocol names what runs it."""
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def run(self, inputs: Mapping[str, Array], outputs: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Answers by output name, all of them by default.

        `inputs` holds every declared input, in its type and shape. Raises ModelError `RunFailed`.
        """


def load(path: Path, *, digest: str | None = None, expected: Format | None = None) -> Model:
    """Read `path` once, check its `digest` (`sha256:…`) and load those very bytes.

    Raises ModelError: `NotFound`, `DigestMismatch`, `Unreadable` (another format than `expected`, weights in other
    files, types that aren't trusted, …), `UnsupportedInput`, `UnsupportedModel`.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError("NotFound", f"there is no file {path.name}") from error
    except OSError as error:
        raise ModelError("Unreadable", f"{error.strerror or error}; check the file's permissions") from error
    actual = "sha256:" + hashlib.sha256(data).hexdigest()
    if digest is not None and actual != digest:
        raise ModelError("DigestMismatch", f"its digest is {actual}, declared is {digest}; the file was changed")
    found: Format = "Skops" if _is_skops(data) else "ONNX"
    if expected is not None and found == "Skops" != expected:
        raise ModelError("Unreadable", f"expected {expected}, got skops; declare format: Skops")
    if found == "Skops" or expected == "Skops":
        from .skops_model import open_skops  # scikit-learn takes a second to import

        return open_skops(data, digest=actual)
    from .onnx_model import open_onnx

    return open_onnx(data, digest=actual)


def _is_skops(data: bytes) -> bool:
    """Whether it is a ZIP archive that says where its schema is, which other writers' don't."""
    return data.startswith(b"PK\x03\x04") and b"schema.json" in data[-(1 << 16) :]
