"""Each retry is a sample of its own, and the last one counts: nobody chooses among measurements by an annotation."""

from __future__ import annotations

from typing import Any

from mandate.api.names import ANNOTATION_RETRY
from mandate.controller import desired
from mandate.controller.choice import wanted
from mandate.evidence.measurement import measurement_digest
from tests.unit.controller.judged import declared, revision_of, standing

Object = dict[str, Any]


def asking(retry: str, *, refused: str | None = None, **status: Object) -> Object:
    """Version 1 with the annotation (none where empty), refused when the annotation was `refused`."""
    document = declared("1", status=status)
    if refused is not None:
        refusal = {"revision": revision_of(document), "version": "1", "reason": "GatesNotMet", "message": "no"}
        document["status"] = status | {"refused": [refusal | {"retry": refused}]}
    if retry:
        document["metadata"]["annotations"] = {ANNOTATION_RETRY: retry}
    return document


def measurement(document: Object, mevals: tuple[Object, ...], *, hour: int, stored: bool = True) -> Object:
    """The ModelEvaluation that `document` asks for, complete."""
    asked = wanted(document, mevals)
    assert asked.name not in {item["metadata"]["name"] for item in mevals}, "it asks for one that exists"
    meval = desired.evaluation(document, asked.name, asked.spec)
    meval["metadata"]["creationTimestamp"] = f"2026-01-01T{hour:02}:00:00Z"
    meval["status"] = {"evidence": "{}"} | ({"evidenceConfigMap": "x"} if stored else {})
    return meval


def names(*mevals: Object) -> list[str]:
    return [meval["metadata"]["name"] for meval in mevals]


def three() -> tuple[Object, Object, Object]:
    """The first measurement, and two retries after it, in order of their names reversed."""
    first = measurement(asking(""), (), hour=1)
    second = measurement(asking("a", refused=""), (first,), hour=2)
    third = measurement(asking("b", refused="a"), (first, second), hour=3)
    return first, second, third


def test_a_retry_of_a_refused_revision_is_another_sample() -> None:
    first, second, third = three()
    assert len({*names(first, second, third)}) == 3
    assert wanted(asking("b", refused="b"), (third, first, second)).name == names(third)[0]


def test_without_its_annotation_the_last_sample_still_counts() -> None:
    assert wanted(asking("", refused="b"), three()).name == names(*three())[2]


def test_an_annotation_that_was_used_before_asks_for_nothing() -> None:
    assert wanted(asking("a", refused="b"), three()).name == names(*three())[2]


def test_the_last_sample_is_made_again_where_it_is_lost() -> None:
    first, second, _ = three()
    lost = measurement(asking("b", refused="a"), (first, second), hour=3, stored=False)
    again = wanted(asking("", refused="b"), (first, second, lost))
    assert again.name not in names(first, second, lost)
    assert (again.spec.retry, again.spec.repeat) == ("b", 1)


def test_while_a_retry_runs_it_is_waited_for() -> None:
    first, second, third = three()
    del third["status"]
    assert wanted(asking("b", refused="a"), (first, second, third)).name == names(third)[0]
    assert wanted(asking("", refused="a"), (first, second, third)).name == names(second)[0]


def test_of_what_stands_a_retry_asks_nothing() -> None:
    first = measurement(asking(""), (), hour=1)
    champion = standing("1", "Suggest", evaluation=names(first)[0])
    assert wanted(asking("a", champion=champion), (first,)).name == names(first)[0]
    assert wanted(asking("a", candidate=champion), (first,)).name == names(first)[0]


def test_a_first_measurement_may_carry_an_annotation() -> None:
    first = measurement(asking("a"), (), hour=1)
    assert first["spec"]["retry"] == "a"
    assert wanted(asking("", refused="a"), (first,)).name == names(first)[0]
    assert measurement_digest(wanted(asking(""), ()).spec) == measurement_digest(wanted(asking("a"), ()).spec)
