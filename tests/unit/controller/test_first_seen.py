"""When a model's digest was first seen: entered once, before it is measured, and never replaced by another time."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import replace

import pytest

from mandate.api.kinds import ModelEvaluationSpec
from mandate.controller.choice import evaluation_of
from mandate.controller.decide import decide
from mandate.controller.first_seen import FirstSeen
from mandate.controller.plan import Action, Create, See
from mandate.controller.pods import evaluation_template
from mandate.controller.snapshot import EvaluationSnapshot, ModelSnapshot
from mandate.evaluate.frame import SETTINGS_VARIABLE, unpack
from mandate.evaluate.settings import spec_in
from mandate.evidence.measurement import evaluation_name, measurement_digest
from mandate.kube.errors import UnavailableError
from mandate.kube.resources import CONFIG_MAPS
from tests.unit.controller.fake_api import FakeApi
from tests.unit.controller.judged import SETTINGS, declared, judged
from tests.unit.controller.samples import MODEL_DIGEST
from tests.unit.virtual import run

NOW = 1_767_312_000.0
TIME = "2026-01-01T00:00:00Z"
OTHER = "sha256:" + "e" * 64
UNDECLARED = {"uri": "pvc://models/credit/1/model.onnx", "format": "ONNX"}
IMAGE = {"image": "registry.example/own@" + OTHER, "port": 9000}


def ledger(api: FakeApi, **more: int) -> FirstSeen:
    return FirstSeen(api, namespace="mandate-system", **more)  # type: ignore[arg-type]


def test_the_first_time_stands_whoever_comes_later() -> None:
    async def main() -> tuple[set[str], dict[str, str]]:
        api = FakeApi(random.Random(0))
        first, second = ledger(api), ledger(api)
        await second.load()  # before there is anything
        times = {await first.see(MODEL_DIGEST)}
        await asyncio.sleep(3600)
        times.add(await second.see(MODEL_DIGEST))
        third = ledger(api)
        await third.load()
        times.add(await third.see(MODEL_DIGEST))
        assert await third.see(OTHER) not in times
        (entry, _) = api.all(CONFIG_MAPS)
        assert entry["immutable"] is True
        assert "ownerReferences" not in entry["metadata"]
        return times, dict(third.times)

    times, known = run(main())
    assert len(times) == 1
    assert {known[MODEL_DIGEST]} == times


@pytest.mark.parametrize("seed", range(10))
def test_lost_requests_and_answers_make_one_entry_and_one_time(seed: int) -> None:
    async def main() -> set[str]:
        api = FakeApi(random.Random(seed), faults=0.4)

        async def see(found: FirstSeen) -> str:
            while True:
                with contextlib.suppress(UnavailableError):
                    return await found.see(MODEL_DIGEST)
                await asyncio.sleep(60)

        every = {await see(ledger(api)) for _ in range(4)}  # killed each time: nothing is remembered
        assert len(api.all(CONFIG_MAPS)) == 1
        return every

    assert len(run(main())) == 1


def test_where_there_is_no_place_nothing_is_known_and_nothing_is_dropped() -> None:
    async def main() -> None:
        api = FakeApi(random.Random(0))
        found = ledger(api, most=1)
        time = await found.see(MODEL_DIGEST)
        assert await found.see(OTHER) == ""
        assert (await found.see(MODEL_DIGEST), dict(found.times)) == (time, {MODEL_DIGEST: time, OTHER: ""})
        assert len(api.all(CONFIG_MAPS)) == 1

    run(main())


def test_an_object_that_could_have_been_changed_is_no_entry() -> None:
    async def main() -> None:
        api = FakeApi(random.Random(0))
        await ledger(api).see(MODEL_DIGEST)
        (entry,) = api.all(CONFIG_MAPS)
        name = entry["metadata"]["name"]
        api.change(CONFIG_MAPS, "mandate-system", name, metadata=entry["metadata"], immutable=False)
        api.version += 1
        api.objects[(CONFIG_MAPS, "mandate-system", name)] = {**entry, "immutable": False}
        found = ledger(api)
        await found.load()
        assert (dict(found.times), await found.see(MODEL_DIGEST)) == ({}, "")

    run(main())


def asked(**changes: object) -> ModelSnapshot:
    return ModelSnapshot(mdep=declared("1", **changes), namespace=None, grant=None, settings=SETTINGS)


def sees(actions: tuple[Action, ...]) -> list[str]:
    return [action.digest for action in actions if isinstance(action, See)]


def evaluation(snapshot: ModelSnapshot) -> ModelEvaluationSpec | None:
    every = (action.document for action in decide(snapshot, NOW).actions if isinstance(action, Create))
    return next((evaluation_of(item) for item in every if item["kind"] == "ModelEvaluation"), None)


@pytest.mark.parametrize(("source", "digest"), [(None, MODEL_DIGEST), (IMAGE, OTHER)])
def test_a_declared_digest_is_entered_before_its_evaluation_is_made(source: object, digest: str) -> None:
    snapshot = asked() if source is None else asked(model__source=source)
    assert sees(decide(snapshot, NOW).actions) == [digest]
    assert evaluation(snapshot) is None
    known = replace(snapshot, first_seen={digest: TIME})
    assert sees(decide(known, NOW).actions) == []
    made, unknown = evaluation(known), evaluation(replace(snapshot, first_seen={digest: ""}))
    assert made is not None
    assert unknown is not None
    assert made.first_seen is not None
    assert (made.first_seen.digest, made.first_seen.time) == (digest, TIME)
    assert unknown.first_seen is None, "no place was left: measured all the same, and nothing is known"
    assert evaluation_name(made) == evaluation_name(unknown)
    assert measurement_digest(made) == measurement_digest(unknown), "it is no part of what is asked"


def test_a_digest_that_is_learnt_by_measuring_is_entered_afterwards() -> None:
    snapshot = asked(model__source=UNDECLARED)
    made = evaluation(snapshot)
    assert sees(decide(snapshot, NOW).actions) == []
    assert made is not None
    assert made.first_seen is None
    document = declared("1", model__source=UNDECLARED)
    (meval,) = judged(document, accuracy=0.8).mevals
    meval["status"]["modelDigest"] = MODEL_DIGEST
    after = EvaluationSnapshot(meval=meval, mdep=document, grant=None, mevals=(meval,), settings=SETTINGS)
    assert sees(decide(after, NOW).actions) == [MODEL_DIGEST]
    assert sees(decide(replace(after, first_seen={MODEL_DIGEST: TIME}), NOW).actions) == []


def test_the_judge_is_told_and_older_images_see_the_spec_they_know() -> None:
    made = evaluation(replace(asked(), first_seen={MODEL_DIGEST: TIME}))
    assert made is not None
    template = evaluation_template(job="j", namespace="lending", evaluation="e", spec=made, settings=SETTINGS)
    (judge,) = template["spec"]["containers"]
    environment = {item["name"]: item["value"] for item in judge["env"]}
    assert "firstSeen" not in unpack(environment[SETTINGS_VARIABLE])["spec"]
    assert spec_in(environment).first_seen == made.first_seen
    alone = made.model_copy(update={"first_seen": None})
    template = evaluation_template(job="j", namespace="lending", evaluation="e", spec=alone, settings=SETTINGS)
    environment = {item["name"]: item["value"] for item in template["spec"]["containers"][0]["env"]}
    assert "firstSeen" not in unpack(environment[SETTINGS_VARIABLE])
