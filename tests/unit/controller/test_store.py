"""The store: whatever order news comes in, it ends as the API server."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mandate.api.names import LABEL_MODEL
from mandate.controller.store import Store
from mandate.kube.resources import CONFIG_MAPS, JOBS, PODS, Resource

Event = tuple[Resource, Any, Any]


def item(name: str, version: int, *, uid: str = "", model: str | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "n", "uid": uid or name, "resourceVersion": str(version)}
    if model is not None:
        metadata["labels"] = {LABEL_MODEL: model}
    return {"metadata": metadata, "spec": {"version": version}}


def store() -> tuple[Store, list[Event]]:
    events: list[Event] = []
    return Store(lambda *event: events.append(event)), events


def names(of: Store, resource: Resource = JOBS) -> list[str]:
    return [entry["metadata"]["name"] for entry in of.all(resource, "n")]


def test_older_news_is_no_news() -> None:
    shelf, events = store()
    assert shelf.upsert(JOBS, item("a", 5))
    assert not shelf.upsert(JOBS, item("a", 4))
    assert not shelf.upsert(JOBS, item("a", 5))
    assert shelf.upsert(JOBS, item("a", 6))
    assert len(events) == 2
    assert shelf.get(JOBS, "n", "a") == item("a", 6) | {"apiVersion": "batch/v1", "kind": "Job"}


def test_versions_are_numbers_not_text() -> None:
    shelf, _ = store()
    shelf.upsert(JOBS, item("a", 9))
    assert shelf.upsert(JOBS, item("a", 10))


def test_the_deleted_stay_deleted_but_their_names_may_come_back() -> None:
    shelf, events = store()
    shelf.upsert(JOBS, item("a", 5, uid="first"))
    assert shelf.remove(JOBS, item("a", 7, uid="first"))
    assert not shelf.upsert(JOBS, item("a", 6, uid="first")), "an answer that was under way when it was deleted"
    assert shelf.upsert(JOBS, item("a", 8, uid="second"))
    assert not shelf.remove(JOBS, item("a", 7, uid="first")), "late news of the first's end"
    assert names(shelf) == ["a"]
    assert [event[2] is None for event in events] == [False, True, False]


def test_the_index_follows_labels() -> None:
    shelf, _ = store()
    shelf.upsert(JOBS, item("a", 1, model="credit"))
    shelf.upsert(JOBS, item("b", 2, model="credit"))
    shelf.upsert(JOBS, item("a", 3, model="churn"))
    shelf.upsert(PODS, item("p", 4, model="credit"))

    def labelled(model: str) -> list[str]:
        return [entry["metadata"]["name"] for entry in shelf.labelled(JOBS, "n", LABEL_MODEL, model)]

    assert (labelled("credit"), labelled("churn")) == (["b"], ["a"])
    shelf.remove(JOBS, item("b", 5))
    assert labelled("credit") == []


def test_bulk_is_left_out() -> None:
    shelf, _ = store()
    entry = item("a", 1) | {"binaryData": {"evidence": "x" * 1000}}
    entry["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    shelf.upsert(CONFIG_MAPS, entry)
    kept = shelf.get(CONFIG_MAPS, "n", "a")
    assert kept is not None
    assert "binaryData" not in kept
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in entry["metadata"], "what was handed over isn't ours to change"


def test_a_relist_finds_missed_deletions_but_spares_what_is_newer_than_itself() -> None:
    shelf, events = store()
    for name, version in (("gone", 1), ("kept", 2), ("changed", 3), ("newer", 20)):
        shelf.upsert(JOBS, item(name, version))
    events.clear()
    news = shelf.relist(JOBS, [item("kept", 2), item("changed", 9), item("came", 8)], version="10")
    assert news == 3
    assert names(shelf) == ["came", "changed", "kept", "newer"]
    gone = [before["metadata"]["name"] for _, before, after in events if after is None]
    assert gone == ["gone"]


def test_a_relist_of_one_namespace_leaves_the_others_alone() -> None:
    shelf, _ = store()
    shelf.upsert(JOBS, item("a", 1))
    elsewhere = item("b", 2)
    elsewhere["metadata"]["namespace"] = "m"
    shelf.upsert(JOBS, elsewhere)
    shelf.relist(JOBS, [], version="10", namespace="n")
    assert names(shelf) == []
    assert shelf.get(JOBS, "m", "b") is not None


@given(seed=st.integers(0, 2**32))
def test_any_order_of_watch_events_with_a_last_relist_gives_the_truth(seed: int) -> None:
    dice = random.Random(seed)
    truth: dict[str, dict[str, Any]] = {}
    events: list[tuple[str, dict[str, Any]]] = []
    for version in range(1, 40):
        name = dice.choice("abcd")
        if name in truth and dice.random() < 0.4:
            entry = truth.pop(name)
            events.append(("DELETED", item(name, version, uid=entry["metadata"]["uid"])))
        else:
            uid = truth[name]["metadata"]["uid"] if name in truth else f"{name}{version}"
            truth[name] = item(name, version, uid=uid, model=dice.choice(["x", "y"]))
            events.append(("MODIFIED", truth[name]))
    dice.shuffle(events)
    shelf, _ = store()
    for kind, entry in events[: dice.randrange(len(events))]:
        (shelf.remove if kind == "DELETED" else shelf.upsert)(JOBS, entry)
    shelf.relist(JOBS, truth.values(), version="40")
    assert names(shelf) == sorted(truth)
    for model in ("x", "y"):
        labelled = {entry["metadata"]["name"] for entry in shelf.labelled(JOBS, "n", LABEL_MODEL, model)}
        assert labelled == {name for name in truth if truth[name]["metadata"]["labels"][LABEL_MODEL] == model}
    assert shelf.relist(JOBS, truth.values(), version="40") == 0, "a second look finds no news"
