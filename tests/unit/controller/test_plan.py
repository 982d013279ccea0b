"""Whether a live object already is as it should be."""

from __future__ import annotations

from typing import Any

import pytest

from mandate.controller.plan import Apply, bring, holds, stamped

DOCUMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a", "namespace": "n", "labels": {"x": "1"}},
    "spec": {"replicas": 1, "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}, "list": [{"a": 1}]},
}


def live(**changes: Any) -> dict[str, Any]:
    wanted = stamped(DOCUMENT)
    defaulted = {**wanted["spec"], "strategy": "RollingUpdate", "list": [{"a": 1, "defaulted": True}]} | changes
    return {**wanted, "status": {"replicas": 1}, "spec": defaulted}


def test_defaults_and_status_are_no_difference() -> None:
    assert bring(DOCUMENT, live()) == ()


def test_quantities_are_compared_as_numbers() -> None:
    assert bring(DOCUMENT, live(resources={"limits": {"cpu": "1", "memory": "1Gi"}})) == ()
    assert bring(DOCUMENT, live(resources={"limits": {"cpu": "1", "memory": "1G"}})) != ()


@pytest.mark.parametrize(
    "changes",
    [{"replicas": 2}, {"list": []}, {"list": [{"a": 1}, {"a": 2}]}, {"list": [{"a": 2}]}, {"resources": {}}],
)
def test_drift_is_seen(changes: dict[str, Any]) -> None:
    assert bring(DOCUMENT, live(**changes)) == (Apply(stamped(DOCUMENT)),)


def test_what_is_no_longer_stated_is_seen() -> None:
    before = {**DOCUMENT, "spec": {**DOCUMENT["spec"], "paused": True}}
    assert bring(DOCUMENT, stamped(before)) != ()


def test_nothing_there_is_seen() -> None:
    assert bring(DOCUMENT, None) == (Apply(stamped(DOCUMENT)),)


@pytest.mark.parametrize(
    ("wanted", "found", "same"),
    [
        ({}, None, True),
        ([], None, True),
        ({"a": {}}, {}, True),
        ({"emptyDir": {}}, {"emptyDir": {"medium": ""}}, True),
        ([], [1], False),
        ("", "x", False),
        ({"a": False}, {}, False),
        ({"a": 0}, {"a": 0}, True),
        ({"sizeLimit": "64Mi"}, {"sizeLimit": "65536Ki"}, True),
        ({"name": "64Mi"}, {"name": "65536Ki"}, False),
        ({"resources": {"limits": {"cpu": "0.5"}}}, {"resources": {"limits": {"cpu": "500m"}}}, True),
        ({"resources": {"limits": {"cpu": "lots"}}}, {"resources": {"limits": {"cpu": "more"}}}, False),
    ],
)
def test_holds(wanted: Any, found: Any, same: bool) -> None:
    assert holds(wanted, found) is same
