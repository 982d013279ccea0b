"""Specs are checked with precise words; the defaults are good specs themselves."""

from __future__ import annotations

import pytest

from mandate.api.check import SpecError, load_spec, problems
from mandate.api.defaults import effective
from tests.unit.api.specs import BAD, GATEWAY, GOOD, changed


def test_a_good_spec_has_no_problems() -> None:
    assert load_spec(GOOD).gates[1].require.texts() == {"Shadow": ">= 0.50", "Automate": ">= 0.70"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_spec_names_the_field(name: str) -> None:
    document, field = BAD[name]
    with pytest.raises(SpecError) as error:
        load_spec(document)
    assert any(problem.field.startswith(f"spec.{field}") for problem in error.value.problems), error.value


def test_a_gateway_is_named_with_its_host_names() -> None:
    spec = load_spec(changed("serving", {"provider": "GatewayAPI", "gateway": GATEWAY}))
    assert spec.serving.gateway is not None
    assert spec.serving.gateway.mirror == "100%"


def test_every_problem_is_named_at_once() -> None:
    document = changed("gates.0.require", {"Suggest": "better than lin"})
    document["gates"][1]["each"] = ["region"]
    with pytest.raises(SpecError) as error:
        load_spec(document)
    assert len(error.value.problems) == 2


@pytest.mark.parametrize("task", ["Binary", "Multiclass", "Regression"])
def test_default_gates_are_good_specs(task: str) -> None:
    document = changed("gates", ...)
    document["task"]["type"] = task
    document["data"]["slices"][1]["sensitive"] = True
    if task != "Binary":
        del document["task"]["positive"]
    document["model"]["output"] = {
        "Binary": {"kind": "Probability"},
        "Multiclass": {"kind": "Probability", "classes": ["a", "b"]},
        "Regression": {"kind": "Value"},
    }[task]
    filled = effective(load_spec(document))
    assert filled.gates
    assert problems(filled) == ()


def test_own_gates_are_kept_as_they_are() -> None:
    spec = load_spec(GOOD)
    assert effective(spec) is spec


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model.sauce", "x", "did you mean source?"),
        ("gates.1.metrik", "x", "did you mean metric?"),
        ("gates.0.metric", "auc", "did you mean roc_auc?"),
        ("use_case", {}, "did you mean useCase?"),
        ("model.output.cutoff", 0.5, "put it in quotes"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(path: str, value: object, words: str) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(changed(path, value))
    assert words in str(error.value)
