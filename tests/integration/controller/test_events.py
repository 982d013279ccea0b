"""Events on a real API server: the same note is one Event that counts, however often it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mandate.controller.events import Note, Recorder
from mandate.kube.resources import EVENTS, MODEL_DEPLOYMENTS
from tests.integration.controller.conftest import a_world
from tests.unit.controller.samples import mdep

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


async def test_the_same_note_is_counted_and_another_is_an_event_of_its_own(cluster: Path, tmp_path: Path) -> None:
    async with a_world(cluster, tmp_path, lambda _: None) as world:
        item = await world.client.create(MODEL_DEPLOYMENTS, mdep(namespace=world.namespace))
        times = iter(BEGIN + timedelta(minutes=minute) for minute in range(4))
        recorder = Recorder(world.client, instance="operator-1", now=lambda: next(times))
        crashed = Note(True, "PredictorCrashed", "Stalled: exit code 137")

        await recorder.tell(item, crashed)
        (event,) = await world.all(EVENTS)
        assert (event["type"], event["reason"], event["note"]) == ("Warning", crashed.reason, crashed.text)
        assert event["regarding"]["uid"] == item["metadata"]["uid"]
        assert event.get("series") is None

        for count in (2, 3):
            await recorder.tell(item, crashed)
            (event,) = await world.all(EVENTS)
            assert event["series"]["count"] == count
            assert event["series"]["lastObservedTime"] == f"2026-01-01T00:0{count - 1}:00.000000Z"

        await recorder.tell(item, Note(True, "PredictorCrashed", "Stalled: exit code 1"))
        assert sorted((event.get("series") or {}).get("count", 1) for event in await world.all(EVENTS)) == [1, 3]
