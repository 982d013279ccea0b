"""Values of personal columns, whatever they are: none of them comes out of sentences, slices, findings or failures."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.api import spec
from mandate.api.kinds import ModelEvaluationSpec
from mandate.evaluate.failures import EvaluationError, discreet, failing
from mandate.evidence.personal import withheld
from mandate.evidence.schema import computed_bytes
from mandate.measure.answers import from_columns
from mandate.measure.engine import compute
from mandate.measure.split import divide
from mandate.measure.table import MeasureError
from tests.evaluation import declare

MARK = "\u2603\u2603"
"""In every hostile value, and in nothing of ours."""
PIECES = st.sampled_from(
    ["'", '"', "\\", "\n", " ", "risk", "'risk'", "', \"", "sex", ".", "]", "can't", "\ud7ff", "s", "{}", "%s"]
)
HOSTILE = st.lists(PIECES, max_size=8).map(lambda parts: "".join([*parts[:4], MARK, *parts[4:]]))
WORDS = st.sampled_from(
    [
        "column 'risk' holds {0!r}, expected ISO 8601 such as 2024-01-31T08:00:00",
        "task.id: column 'id' isn't right, such as {0!r}. Name another column, or none",
        "sex {0!r}, id {1!r}; keep one of each, and where clocks go back, don't",
        "data.annotations: {0!r} labelled a row twice (3 such labels); can't be",
        "column 'risk' says {0!r}, and {1!r} would be one value in it; users' own",
    ]
)


@pytest.mark.row("R3/personal")
@settings(max_examples=300, deadline=None)
@given(words=WORDS, one=HOSTILE, other=HOSTILE, cut=st.integers(3, 64), end=st.sampled_from([None, 512, 1024]))
def test_no_sentence_quotes_what_is_not_known(words, one, other, cut, end):
    # What is cut may lose the mark; then its other characters are marks, too.
    sentence = words.format((MARK * 20 + one)[:cut], MARK * 20 + other)
    sentence = (sentence + "x" * 500)[:end] if end else sentence
    told = withheld(sentence, known={"risk", "id", "sex"})
    assert MARK[0] not in told
    assert told.startswith(words.split("{0")[0].rpartition("sex ")[0])


def test_what_is_known_is_told():
    sentence = "column 'risk' isn't in data.source, which has 'id', 'sex'; correct the name, which can't be"
    assert withheld(sentence, known={"risk", "id", "sex"}) == sentence
    assert (
        withheld(sentence, known={"risk"})
        == "column 'risk' isn't in data.source, which has (withheld); correct the name, which can't be"
    )


SPEC = ModelEvaluationSpec.model_validate(
    declare() | {"data": declare()["data"] | {"personal": ["sex", "amount", "id"]}}
)


class ForeignError(Exception):
    """A library's."""


@pytest.mark.row("R3/personal")
@settings(max_examples=200, deadline=None)
@given(value=HOSTILE, how=st.sampled_from(["ours", "foreign", "wrapped", "hidden", "internal"]))
def test_no_failure_tells_values(value, how):
    @discreet
    def step(_: ModelEvaluationSpec) -> None:
        with failing("Measure", field="spec.data"):
            match how:
                case "ours":
                    raise MeasureError("NotTime", f"column 'risk' holds {value!r}")
                case "foreign":
                    raise MeasureError("Unreadable", f"can't be read: {value}")
                case "internal":
                    raise ValueError(value)
            try:
                raise ForeignError(f"of {value} and 73519846 more words")
            except ForeignError as error:
                message = f"columns don't fit: {error}"
                if how == "hidden":
                    raise MeasureError("DifferentTypes", message) from None
                raise MeasureError("DifferentTypes", message) from error

    with pytest.raises(EvaluationError) as caught:
        step(SPEC)
    told = json.dumps([caught.value.failure.dump(), str(caught.value)], ensure_ascii=False)
    assert MARK[0] not in told
    assert "73519846" not in told
    assert caught.value.__suppress_context__, "nor does a traceback"
    assert caught.value.failure.field == (None if how == "internal" else "spec.data")


def test_failures_are_as_they_were_where_nothing_is_personal():
    @discreet
    def step(_: ModelEvaluationSpec) -> None:
        with failing("Measure"):
            raise MeasureError("NotTime", "holds 'x'")

    with pytest.raises(EvaluationError, match="holds 'x'"):
        step(ModelEvaluationSpec.model_validate(declare()))


@pytest.mark.row("R3/personal")
@settings(max_examples=20, deadline=None)
@given(
    groups=st.lists(HOSTILE, min_size=2, max_size=4, unique=True),
    largest=st.integers(10**6, 10**12),
    seed=st.integers(0, 10**6),
)
def test_no_evidence_tells_values(groups, largest, seed):
    random = np.random.default_rng(seed)
    rows = 240
    amount = random.normal(size=rows)
    values = largest + 0.37519846 + random.integers(0, 50, rows)
    risk = np.where(amount + random.normal(size=rows) > 0, "bad", "good")
    table = pa.table(
        {
            "id": [f"{MARK}{row}" for row in range(rows)],
            "amount": amount,
            "sex": random.choice(groups, rows),
            "value": values,
            "score": 1 / (1 + np.exp(-amount)),
            "risk": risk,
        }
    )
    model = spec.Model.model_validate(
        {"version": "1", "source": {"columns": ["score"]}, "inputs": {"columns": ["value", "sex"]}}
    )
    task = spec.Task.model_validate({"type": "Binary", "target": "risk", "positive": "bad", "id": "id"})
    data = spec.Data.model_validate(
        {
            "source": {"uri": "x.parquet"},
            "split": {"method": "Random", "seed": 3},
            "slices": [
                {"name": "sex", "column": "sex", "sensitive": True},
                {"name": "value", "column": "value", "quantiles": 3},
                {"name": "both", "cross": ["sex", "value"]},
            ],
            "personal": ["id", "sex", "value"],
        }
    )
    rules = [spec.Baseline(name="rule", type="Threshold")]
    computed = compute(
        table=table,
        split=divide(table, how=data.split, task=task),
        answers=from_columns(table, ["score"]),
        model=model,
        task=task,
        data=data,
        references=rules,
    )
    told = computed_bytes(computed).decode()
    assert MARK[0] not in told
    assert "\\u2603" not in told
    for value in np.unique(values):
        assert repr(float(value)) not in told
        assert f"{value:.6g}" not in told
        assert f"{value:g}" not in told
