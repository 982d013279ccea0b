"""Train both versions of the flights model and write them, and today's rule, as ONNX.

Version 1 makes an honest mistake: since only a quarter of the flights are late, its classes are weighted to balance.
It ranks flights as well as ever, but takes every risk for about three times as likely. Version 2 isn't weighted, and
knows how the flights before fared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, precision_score, recall_score, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from examples.flights.prepare import LATE_MINUTES
from examples.training import Declared, declared, write, write_onnx
from mandate.measure.slices import assign_all

HERE = Path(__file__).parent
CUTOFFS = [0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60]
WARNINGS_RIGHT = 0.70
"""What Suggest asks of the gate `warnings-right`, 0.65, with room for the interval."""


def fit(declared: Declared, *, weights: str | None) -> Pipeline:
    """Gradient boosting on the training rows. One thread, so that sums add up in one order."""
    encode = ColumnTransformer(
        [
            ("strings", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), declared.strings),
            ("numbers", "passthrough", declared.numbers),
        ]
    )
    boost = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=15, early_stopping=False, class_weight=weights, random_state=0
    )
    with threadpool_limits(limits=1):
        return Pipeline([("encode", encode), ("boost", boost)]).fit(
            declared.features(declared.train), declared.truth(declared.train)
        )


def validate(model: Pipeline, declared: Declared) -> None:
    """Say how the model does on the validation rows, and which cut-off they call for.

    It is the lowest, for it finds the most late flights, at which WARNINGS_RIGHT of the warnings hold in every slice.
    """
    positive = declared.spec.task.positive
    rows = declared.validation
    late = (declared.truth(rows) == positive).to_numpy()
    chance = model.predict_proba(declared.features(rows))[:, list(model.classes_).index(positive)]
    table = pa.Table.from_pandas(rows)
    # Slices with edges of their own: no row has a say in them.
    slices = assign_all(table, declared.spec.data.slices, train=np.zeros(table.num_rows, dtype=bool))
    parts = [one.code == value for one in slices for value in np.unique(one.code)]
    worst = {
        cutoff: min(precision_score(late[part], chance[part] >= cutoff, zero_division=0.0) for part in parts)
        for cutoff in CUTOFFS
    }
    chosen = next((cutoff for cutoff in CUTOFFS if worst[cutoff] >= WARNINGS_RIGHT), CUTOFFS[-1])
    print(
        f"  validation, {len(rows):,} flights: ROC AUC {roc_auc_score(late, chance):.3f}, "
        f"log loss {log_loss(late, chance):.3f}; "
        f"at cut-off {chosen:.2f} recall {recall_score(late, chance >= chosen):.3f}, "
        f"precision {worst[chosen]:.3f} in the worst slice; "
        f"the manifest declares {declared.spec.model.output.cutoff}"
    )


def rule(declared: Declared) -> bytes:
    """Today's rule as a model with the inputs and outputs of the others: it left late, so it will arrive late."""
    numbers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in declared.numbers]
    strings = [helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1]) for name in declared.strings]
    nodes = [
        helper.make_node("GreaterOrEqual", ["dep_delay", "limit"], ["is_late"]),
        helper.make_node("Cast", ["is_late"], ["late"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "late"], ["on_time"]),
        helper.make_node("Concat", ["late", "on_time"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("limit", TensorProto.FLOAT, [1], [float(LATE_MINUTES)]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(nodes, "rule", [*strings, *numbers], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the flights example's models.")
    parser.add_argument("--out", type=Path, default=Path("out/flights"), help="folder that prepare filled")
    out: Path = parser.parse_args().out
    for version, weights in (("1", "balanced"), ("2", None)):
        found = declared(HERE / f"flights-v{version}.yaml", data=out / "data")
        model = fit(found, weights=weights)
        write_onnx(model, found, found.model_path(out / "models"))
        validate(model, found)
    write(out / "models" / "rule" / "model.onnx", rule(found))


if __name__ == "__main__":
    main()
