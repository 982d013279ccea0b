"""How many Pods a revision has: what the spec says, and nobody's business where it says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mandate.api.moments import instant
from mandate.controller.decide import decide
from tests.unit.controller.judged import applied, declared, deployment, granted, judged, standing, written

NOW = instant("2026-01-02T00:00:00Z")


def served(*, replicas: int | None, live: int | None = None, **changes: Any) -> dict[str, Any] | None:
    """The spec of version 1's Deployment as it is applied; None where it is left alone."""
    serving = {} if replicas is None else {"replicas": replicas}
    champion = standing("1", "Suggest")
    document = declared("1", status={"champion": champion}, serving=serving, **changes)
    running = []
    if live is not None:
        running = [deployment(document)]
        running[0]["spec"]["replicas"] = live
    snapshot = judged(document, accuracy=0.8, deployments=running, grant=granted(champion))
    found = list(applied(decide(snapshot, NOW), "Deployment").values())
    return found[0]["spec"] if found else None


def test_left_out_they_are_not_stated() -> None:
    spec = served(replicas=None)
    assert spec is not None
    assert "replicas" not in spec


@pytest.mark.parametrize("live", [0, 1, 7])
def test_left_out_whoever_scales_is_left_alone(live: int) -> None:
    assert served(replicas=None, live=live) is None


def test_declared_they_are_restored() -> None:
    for declared_, live in ((3, 7), (0, 1), (1, None)):
        spec = served(replicas=declared_, live=live)
        assert spec is not None
        assert spec["replicas"] == declared_


def taken_out(*, stated: int, live: int, recorder_url: str = "") -> dict[str, Any] | None:
    """The Deployment as it is applied after `stated` replicas were taken out of the manifest; None where it isn't."""
    champion = standing("1", "Suggest")
    document = declared("1", status={"champion": champion})
    running = deployment(document, replicas=stated)
    running["spec"]["replicas"] = live
    snapshot = judged(document, accuracy=0.8, deployments=[running], grant=granted(champion))
    settings = replace(snapshot.settings, recorder_url=recorder_url)
    return next(iter(applied(decide(replace(snapshot, settings=settings), NOW), "Deployment").values()), None)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_taken_out_they_stay_as_they_are(number: int) -> None:
    assert taken_out(stated=number, live=number) is None


def test_taken_out_they_stay_as_they_are_when_something_else_changes() -> None:
    document = taken_out(stated=5, live=5, recorder_url="http://recorder:8080")
    assert document is not None
    assert document["spec"]["replicas"] == 5


@pytest.mark.parametrize("recorder_url", ["", "http://recorder:8080"])
def test_taken_out_they_are_whose_who_changes_them(recorder_url: str) -> None:
    document = taken_out(stated=5, live=3, recorder_url=recorder_url)
    assert document is not None
    assert "replicas" not in document["spec"]
    assert "mandate.dev/replicas" not in document["metadata"]["annotations"]


@pytest.mark.parametrize("there", [True, False])
def test_where_the_spec_is_not_understood_what_runs_is_left_alone(there: bool) -> None:
    """Its number of replicas may have been changed since it was recorded; what is gone comes back as recorded."""
    champion = standing("1", "Suggest")
    document = declared("1", status={"champion": champion}, serving={"replicas": 2})
    running = [deployment(document)] if there else []
    for item in running:
        item["spec"]["replicas"] = 10
    snapshot = judged(document, accuracy=0.8, deployments=running, grant=granted(champion))
    broken = {**document["spec"], "gates": [{"name": "g", "metric": "no_such_metric", "require": {"Shadow": ">= 1"}}]}
    snapshot.mdep["spec"] = broken
    plan = decide(snapshot, NOW)
    status = written(plan)
    assert status is not None
    assert next(item for item in status.conditions if item.type == "Stalled").reason == "InvalidSpec"
    found = [item["spec"]["replicas"] for item in applied(plan, "Deployment").values()]
    assert found == ([] if there else [2])
