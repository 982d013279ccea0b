"""From Shadow to champion on what use shows, and down again when use shows the contrary; real requests and outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e import declared
from tests.e2e.cluster import SYSTEM, Cluster, Object, Space, eventually, holds, space
from tests.integration.admission.api import Refused
from tests.models import columns_model
from tests.recording import event

CAR: dict[str, list[Any]] = {"amount": [1.0, -1.0], "age": [40, 20], "purpose": ["car", "tv"]}
"""Two loans: the model calls the first bad and the second not."""
TRUE, FALSE = ("bad", "good"), ("good", "bad")
"""What comes of them, if the model is right and if it is wrong."""
ROWS = 40
REQUESTS = 10


@pytest.fixture(scope="module")
def lending(cluster: Cluster) -> Iterator[Space]:
    """A namespace with a model, a table, and a rule to fall back on."""
    with space(cluster, "ladder", enforce="Labelled") as found:
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.models / "good.onnx", columns_model(weight=1.0))
        for document in declared.bystander(found, "rule"):
            found.apply(document)
        eventually("the rule to answer", lambda: found.endpoints("rule") or None, seconds=120)
        yield found


def model(**autonomy: Any) -> Object:
    """A model that may act by itself once people have seen it be right."""
    document = declared.model("credit", source=declared.onnx(), fallback=True)
    require = {"Automate": ">= 0.70"}
    document["spec"]["gates"].append({"name": "in-use", "metric": "accuracy", "rows": "live", "require": require})
    document["spec"]["autonomy"] = {
        "target": "Automate",
        "shadow": {"minDuration": "0s", "minPredictions": 0},
        "suggest": {"minDuration": "0s", "minPredictions": 0, "minLabelled": 300},
        "automate": {"stepDuration": "2s"},
    } | autonomy
    return document


def used(space: Space, address: str, labels: tuple[str, str], *, round_: str) -> None:
    """Requests to an address, and what came of each row."""
    rows = {name: values * (ROWS // 2) for name, values in CAR.items()}
    for number in range(REQUESTS):
        request = f"{round_}-{number}"
        answer = space.ask(address, [], request_id=request, **rows)
        assert answer["outputs"], answer
        time = datetime.now(UTC).isoformat()
        place = {"namespace": space.name, "model": "credit", "requestId": request, "time": time}
        events = [event("dev.mandate.outcome", {**place, "row": row, "label": labels[row % 2]}) for row in range(ROWS)]
        told(space, events)


def told(space: Space, events: list[Object]) -> None:
    """Tell the recorder, as a client in the cluster would."""
    where = f"/api/v1/namespaces/{SYSTEM}/services/mandate-recorder:8080/proxy/v1/events"
    said = space.admin.request("POST", where, events, content="application/cloudevents-batch+json")
    assert said["refused"] == [], said
    assert said["accepted"] + said["duplicates"] == len(events), said


def standing(item: Object) -> tuple[str, str]:
    """The levels of champion and candidate; empty where there is none."""
    status = item.get("status") or {}
    champion, candidate = (str((status.get(role) or {}).get("level", "")) for role in ("champion", "candidate"))
    return champion, candidate


def test_it_climbs_on_what_people_saw_and_what_came_of_it(lending: Space) -> None:
    lending.apply(model())
    item = lending.until("credit", "Suggest", lambda item: standing(item)[1] == "Suggest" and holds(item, "Ready"))
    granted = next(c for c in item["status"]["conditions"] if c["type"] == "Granted")
    assert "0 of 300 labelled rows" in granted["message"], granted
    eventually("the rule at NAME", lambda: lending.endpoints("credit") == {"rule"} or None, seconds=60)
    eventually("the model at NAME-suggest", lambda: _is_model(lending, "credit-suggest"), seconds=60)

    used(lending, "credit-suggest", TRUE, round_="up")
    item = lending.until("credit", "champion", lambda item: standing(item) == ("Automate", ""), seconds=120)
    assert item["status"]["champion"]["share"] == 100
    eventually("the model at NAME", lambda: _is_model(lending, "credit"), seconds=60)
    assert [entry["what"] for entry in item["status"]["history"]] == ["Promoted"] * 3 + ["BecameChampion"]


def test_wrong_in_use_it_comes_down_and_the_fallback_answers(
    lending: Space, record_property: Callable[[str, object], None]
) -> None:
    item = lending.get("ModelDeployment", "credit")
    assert standing(item) == ("Automate", ""), "the test before this one makes it champion"
    used(lending, "credit", FALSE, round_="down")
    reached = eventually("the model not to answer at NAME", lambda: _when_answered_by_the_rule(lending), seconds=60)
    item = lending.until("credit", "Suggest", lambda item: standing(item)[0] == "Suggest", seconds=30)
    demoted = item["status"]["history"][-1]
    assert (demoted["what"], demoted["by"]) == ("Demoted", "mandate"), demoted
    assert "in-use" in demoted["why"], demoted
    # The moment on record is rounded up to a whole second.
    late = (reached - datetime.fromisoformat(demoted["at"])).total_seconds() + 1
    record_property("measured", f"demoted at NAME at most {late:.1f} s after the verdict")
    assert late < 5
    eventually("the rule at NAME", lambda: lending.endpoints("credit") == {"rule"} or None, seconds=30)
    eventually("people still to have the model", lambda: _is_model(lending, "credit-suggest"), seconds=30)


def test_what_an_image_of_ones_own_answers_is_recorded(lending: Space) -> None:
    lending.apply(declared.misbehaving(lending, "own", "honest"))
    item = lending.until("own", "served", lambda item: holds(item, "Ready"))
    revision = (item["status"].get("champion") or item["status"]["candidate"])["revision"]
    eventually("the image at NAME-suggest", lambda: lending.endpoints("own-suggest") or None, seconds=120)
    answer = lending.ask("own-suggest", [2.0, -2.0, 0.0], request_id="seen")
    assert len(answer["outputs"][0]["data"]) >= 3, answer

    where = (
        f"/api/v1/namespaces/{SYSTEM}/services/mandate-recorder:8080/proxy/v1/namespaces/{lending.name}/models/own/live"
    )
    asked = {"revision": revision, "task": "Binary", "positive": "bad", "since": "2020-01-01T00:00:00Z"}

    def live() -> Object:
        return lending.admin.request("GET", where, **asked)

    eventually("three predictions", lambda: live()["predictions"] == 3 or None, seconds=30, seen=live)


def _when_answered_by_the_rule(space: Space) -> datetime | None:
    """The time, where the rule answers at NAME: it knows no loans, only `x`."""
    try:
        answer = space.ask("credit", [0.0])
    except Refused:
        return None
    return datetime.now(UTC) if answer["outputs"] else None


def _is_model(space: Space, service: str) -> bool | None:
    """Whether only Pods of the model are behind a Service."""
    pods = {pod["metadata"]["name"] for pod in space.serving_pods("credit")}
    found = space.endpoints(service)
    return True if found and found <= pods else None
