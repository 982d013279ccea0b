"""A spec that the API server takes and that can't be judged: Stalled says so, in the words of the command line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mandate.api.check import SpecError, load_spec
from mandate.api.moments import instant
from mandate.controller.decide import decide
from mandate.controller.plan import SetStatus
from tests.unit.api.specs import BAD, GOOD, OPERATOR_ONLY, changed
from tests.unit.controller.judged import Object, declared, judged, written

NOW = instant("2026-01-02T00:00:00Z")


def stalled(spec: Object) -> tuple[str, str, str]:
    """Status, reason and message of Stalled once the operator has looked at this spec; nothing else may come of it."""
    document = declared("1")
    plan = decide(replace(judged(document, accuracy=0.97), mdep={**document, "spec": spec}), NOW)
    assert [type(action) for action in plan.actions] == [SetStatus]
    status = written(plan)
    assert status is not None
    assert (status.level, status.candidate, status.champion) == ("None", None, None)
    found = next(item for item in status.conditions if item.type == "Stalled")
    return found.status, found.reason, found.message


@pytest.mark.parametrize("name", sorted(OPERATOR_ONLY))
def test_what_only_the_operator_refuses_is_told_in_the_words_of_the_command_line(name: str) -> None:
    document, field = BAD[name]
    with pytest.raises(SpecError) as error:
        load_spec(document)
    words = "; ".join(map(str, error.value.problems))
    assert words.startswith(f"spec.{field}")
    assert stalled(document) == ("True", "InvalidSpec", words)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (
            "data.source.uri",
            "loans.csv",
            "spec.data.source.uri: got 'loans.csv', expected pvc://CLAIM/PATH, https://…, s3://… or oci://…",
        ),
        (
            "model.source.uri",
            "file:///m.onnx",
            "spec.model.source.uri: got 'file:///m.onnx', expected pvc://CLAIM/PATH, https://…, s3://… or oci://…",
        ),
    ],
)
def test_a_file_of_the_command_lines_machine_is_no_source_in_a_cluster(path: str, value: str, words: str) -> None:
    assert load_spec(GOOD)
    status, reason, message = stalled(changed(path, value))
    assert (status, reason) == ("True", "InvalidSpec")
    assert message == f"{words}: in a cluster files are read from volumes and servers; put it into one"
