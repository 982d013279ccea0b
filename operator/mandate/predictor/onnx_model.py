"""One ONNX model in memory: its declared inputs and outputs, and one way to run it.

The command line runs models through this module too, so that its answers are the server's, bit for bit, for the same
batch: one thread per run (sums in a fixed order), the same session options.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# The runtime reads this once, while it is loaded: left alone, it would report its use to its maker over the network.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

from .datatypes import Array, Tensor
from .errors import ModelError, first_line

_ONNX_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class OnnxModel:
    """A `Model` that onnxruntime runs."""

    platform = "onnxruntime_onnx"

    def __init__(self, session: onnxruntime.InferenceSession, *, digest: str) -> None:
        self._session = session
        self.digest = digest
        self.inputs = {value.name: _tensor(value) for value in session.get_inputs()}
        # Outputs that are no tensors (a ZipMap's list of dictionaries) can't travel, so they don't exist for clients.
        self.outputs = {value.name: _tensor(value) for value in session.get_outputs() if value.type in _ONNX_DATATYPES}

    def run(self, inputs: Mapping[str, Array], outputs: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Answers by output name. `inputs` holds every declared input, in its type and shape.

        Raises ModelError `RunFailed` where the model refuses, for example an unknown category.
        """
        names = list(self.outputs if outputs is None else outputs)
        try:
            return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            raise ModelError("RunFailed", f"the model refused its input: {first_line(error)}") from error


def open_onnx(data: bytes, *, digest: str) -> OnnxModel:
    """The model in a file's bytes. Raises ModelError `Unreadable`, `UnsupportedInput`."""
    try:
        session = onnxruntime.InferenceSession(data, _session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        if (other := _other_format(data)) is not None:
            raise ModelError("Unreadable", f"expected ONNX, got {other}") from error
        raise ModelError(
            "Unreadable",
            f"not a self-contained ONNX model: {first_line(error)}; export it anew, with its weights inside",
        ) from error
    for value in session.get_inputs():
        if value.type not in _ONNX_DATATYPES:
            raise ModelError("UnsupportedInput", f"input {value.name} is {value.type}, expected a tensor")
    return OnnxModel(session, digest=digest)


def _other_format(data: bytes) -> str | None:
    """What the bytes of no ONNX model are, where they show it, and what to do."""
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        advice = "export the model, for example with skl2onnx or torch.onnx.export"
        return f"a Python pickle (joblib, cloudpickle, …), which runs any code in it when it is loaded; {advice}"
    if data.startswith(b"PK\x03\x04"):
        return "a ZIP archive, as PyTorch and Keras write; export the model, or unpack the ONNX file in it"
    return "HDF5, as Keras writes; export the model with tf2onnx" if data.startswith(b"\x89HDF\r\n") else None


def _session_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # Requests run side by side on the server's own threads; one run on one thread adds up in one order.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    # No folder holds weights of its own: a model could name any file, and its digest wouldn't cover it.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", "/dev/null")
    return options


def _tensor(value: onnxruntime.NodeArg) -> Tensor:
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in value.shape)
    return Tensor(value.name, _ONNX_DATATYPES.get(value.type, value.type), shape)
