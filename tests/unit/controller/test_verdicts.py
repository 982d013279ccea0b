"""The verdict over HTTP: what is asked, what is answered, and what is said where it can't be."""

from __future__ import annotations

import random
from typing import Any

import aiohttp
import pytest

from mandate.api.names import GRANT_NAME
from mandate.controller.server import serving
from mandate.controller.verdicts import Verdicts
from mandate.kube.resources import AUTONOMY_GRANTS, MODEL_DEPLOYMENTS, POD_TEMPLATES
from mandate.telemetry.metrics import Metrics
from tests.unit.controller.fake_api import FakeApi
from tests.unit.controller.others import ONE, Others, first, pod

PATH = "/v1/namespaces/lending/models/credit/verdict"


def holding(others: Others) -> FakeApi:
    """An API server that has what this model's has."""
    api = FakeApi(random.Random(0))
    snapshot = others.snapshot
    api.objects[(MODEL_DEPLOYMENTS, "lending", "credit")] = snapshot.mdep
    assert snapshot.grant is not None
    api.objects[(AUTONOMY_GRANTS, "lending", GRANT_NAME)] = snapshot.grant
    for name, item in snapshot.templates.items():
        api.objects[(POD_TEMPLATES, "lending", name)] = item
    return api


async def asked(api: FakeApi, path: str) -> tuple[int, dict[str, Any]]:
    routes = Verdicts(api).routes()  # type: ignore[arg-type]
    async with (
        serving("127.0.0.1:0", registry=Metrics().registry, ready=lambda: True, more=routes) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.get(path) as response,
    ):
        return response.status, await response.json()


async def test_whom_the_template_names_may_act() -> None:
    api = holding(first().runs().runs(pod(ONE, "Automate")))
    status, said = await asked(api, f"{PATH}?level=Automate")
    assert status == 200
    assert said == {
        "namespace": "lending",
        "model": "credit",
        "level": "Automate",
        "revision": ONE,
        "version": "1",
        "verdict": "Pass",
        "successful": True,
        "message": "version 1 may act at Automate at 100 %",
    }
    assert await asked(api, f"{PATH}?revision={ONE}") == (200, said)
    assert (await asked(api, f"{PATH}?revision={'f' * 32}"))[1]["verdict"] == "Inconclusive"


async def test_of_pods_that_another_template_made_nothing_is_told() -> None:
    api = holding(first().runs().runs(pod(ONE, "Automate")))
    api.objects[(POD_TEMPLATES, "lending", "credit")]["metadata"]["generation"] = 3
    for same in ("?generation=3", "?generation=", f"?generation=2&revision={ONE}"):
        status, said = await asked(api, PATH + same)
        assert (status, said["verdict"], said["revision"]) == (200, "Pass", ONE), same
    status, said = await asked(api, f"{PATH}?generation=2")
    assert status == 409
    assert "generation: got 2, but PodTemplate credit is at 3" in said["message"]
    del api.objects[(POD_TEMPLATES, "lending", "credit")]
    assert (await asked(api, f"{PATH}?generation=2"))[0] == 409


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"{PATH}?level=Everything", 400, "level: got 'Everything', expected one of Shadow, Suggest, Automate"),
        (PATH.replace("credit", "debit"), 404, "there is no ModelDeployment lending/debit"),
        (PATH.replace("lending", "elsewhere"), 404, "there is no ModelDeployment elsewhere/credit"),
    ],
)
async def test_what_cannot_be_answered_is_said(path: str, status: int, words: str) -> None:
    assert await asked(holding(first().runs()), path) == (status, {"message": words})


async def test_where_the_api_server_does_not_answer_nothing_passes() -> None:
    api = holding(first().runs())
    api.faults = 1.0
    assert await asked(api, PATH) == (503, {"message": "the API server can't be asked: UnavailableError"})


async def test_a_status_that_is_not_understood_passes_nothing() -> None:
    others = first().runs()
    others.snapshot.mdep["status"] = {"champion": "somebody"}
    status, said = await asked(holding(others), PATH)
    assert status == 503
    assert "status.champion" in said["message"]
