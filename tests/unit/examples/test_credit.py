"""The committed credit model is what its script makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from examples.credit import train
from examples.training import declared, write_onnx
from mandate.inference import local

CREDIT = Path(__file__).parents[3] / "examples" / "credit"


def test_training_again_gives_the_same_answers(tmp_path: Path) -> None:
    found = declared(CREDIT / "credit.yaml", data=CREDIT / "data")
    write_onnx(train.fit(found), found, tmp_path / "model.onnx")
    spec = found.spec
    assert spec.model.inputs is not None
    answers = [
        local.predict(
            local.open_model(path, digest=None),
            pa.Table.from_pandas(found.validation, preserve_index=False),
            inputs=spec.model.inputs,
            output=spec.model.output,
            task=spec.task,
        )
        for path in (found.model_path(CREDIT / "models"), tmp_path / "model.onnx")
    ]
    assert len(answers[0]) == 91
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
