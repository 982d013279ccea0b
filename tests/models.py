"""Small real ONNX models, and a real predictor process, for tests of several rooms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.processes import Serving, serving


def _finish(nodes, inputs, outputs, constants, *, domains=()) -> bytes:
    graph = helper.make_graph(
        nodes, "test", inputs, outputs, [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 3) for name in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def columns_model(*, weight: float = 1.0) -> bytes:
    """Inputs amount FP32, age INT64, purpose BYTES, each [n, 1]; outputs probabilities FP32 [n, 2], label INT64 [n].

    P(1) = sigmoid(weight * (amount or 0 if missing) + age / 100 + (1 if purpose is car else 0)).
    """
    nodes = [
        helper.make_node("IsNaN", ["amount"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "amount"], ["filled"]),
        helper.make_node("Mul", ["filled", "weight"], ["weighted"]),
        helper.make_node("Cast", ["age"], ["years"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["years", "hundredth"], ["scaled"]),
        helper.make_node(
            "LabelEncoder",
            ["purpose"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["car"],
            values_floats=[1.0],
            default_float=0.0,
        ),
        helper.make_node("Sum", ["weighted", "scaled", "code"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("amount", TensorProto.FLOAT, [None, 1]),
        helper.make_tensor_value_info("age", TensorProto.INT64, [None, 1]),
        helper.make_tensor_value_info("purpose", TensorProto.STRING, [None, 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
    ]
    constants = {
        "zero": np.float32(0),
        "one": np.float32(1),
        "weight": np.float32(weight),
        "hundredth": np.float32(0.01),
    }
    return _finish(nodes, inputs, outputs, constants, domains=("ai.onnx.ml",))


def matrix_model(width: int, *, outputs: int = 1, batch: int | None = None) -> bytes:
    """Input `input` FP32 [n, width], output `value` FP32 [n, outputs]: a matrix product with 1, 2, 3, …"""
    weights = np.arange(1, width * outputs + 1, dtype=np.float32).reshape(width, outputs)
    return _finish(
        [helper.make_node("MatMul", ["input", "weights"], ["value"])],
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, width])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [batch, outputs])],
        {"weights": weights},
    )


def nan_model() -> bytes:
    """Input `amount` FP32 [n, 1], output `probabilities` [n, 1]: sigmoid of the root, so NaN below zero."""
    return _finish(
        [helper.make_node("Sqrt", ["amount"], ["root"]), helper.make_node("Sigmoid", ["root"], ["probabilities"])],
        [helper.make_tensor_value_info("amount", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 1])],
        {},
    )


def predictor(folder: Path, *arguments: str, log: Path | None = None, **environment: str) -> Serving:
    """A real predictor of `folder`/model.onnx, ready; yields its URL and process."""
    given = ("--model-dir", str(folder), *arguments)
    return serving("mandate.predictor", *given, ready="/v2/health/ready", log=log, **environment)
