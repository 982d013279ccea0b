"""Shadow by replay, ordered by the real operator on the real API server, of a real recorder."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mandate.api.names import LABEL_ENFORCE, workload_name
from mandate.kube.resources import MODEL_DEPLOYMENTS as MODELS
from mandate.kube.resources import SERVICES
from tests.integration.controller.conftest import a_world, condition, good
from tests.integration.controller.process import eventually, operator
from tests.processes import free_port
from tests.recording import call, event, recorder, send
from tests.unit.controller.samples import evidence, mdep


async def test_it_begins_at_shadow_says_how_it_goes_and_ends_with_it(cluster: Path, tmp_path: Path) -> None:
    """No name resolves here, so nothing reaches the version: the recorder says so, and so does the model."""
    world_of = a_world(cluster, tmp_path, lambda _: good(evidence(0.8)), **{LABEL_ENFORCE: "Labelled"})
    async with world_of as world:
        port = str(free_port())
        with (
            recorder(tmp_path / "events.db", "--replay", "true", "--orders-port", port) as (url, _),
            operator(
                world.kubeconfig,
                tmp_path / "log",
                namespace=world.namespace,
                recorder_url=url,
                recorder_orders_url=f"http://127.0.0.1:{port}",
                live_every="1",
            ),
        ):
            place = {"namespace": world.namespace, "model": "credit"}

            async def state() -> Any:
                where = f"{url}/v1/namespaces/{world.namespace}/models/credit/replay"
                status, document = await asyncio.to_thread(call, where)
                assert status == 200
                return document

            async def tell(kind: str, request: str, **data: Any) -> None:
                told = {**place, "requestId": request, "time": datetime.now(UTC).isoformat(), **data}
                status, document = await asyncio.to_thread(send, url, event(f"dev.mandate.{kind}", told))
                assert (status, document["accepted"]) == (200, 1), document

            shadow = {"minDuration": "0s", "minPredictions": 3}
            declared = mdep(namespace=world.namespace, serving__replay={}, autonomy__shadow=shadow)
            await world.client.create(MODELS, declared)
            item = await world.until(
                "the recorder has its order", lambda item: condition(item, "Replayed") == ("Unknown", "NoInputs")
            )
            revision = item["status"]["candidate"]["revision"]
            order = (await state())["order"]
            assert (order["revision"], order["since"]) == (revision, item["status"]["candidate"]["since"])
            assert (order["rate"], order["inputs"], order["keepSeconds"]) == (5, 1000, 3600)
            name = workload_name("credit", revision)
            service = await world.get(SERVICES, name)
            assert service is not None
            assert service["spec"]["selector"]["mandate.dev/revision"] == revision

            # Its stay begins with a whole second, which may be the next one.
            asked = {"path": "/v2/models/model/infer", "body": "{}", "time": order["since"]}
            await tell("input", "q0", revision="rule", **asked)
            item = await world.until("said", lambda item: condition(item, "Replayed") == ("False", "Unreachable"))
            (said,) = [each for each in item["status"]["conditions"] if each["type"] == "Replayed"]
            assert f"http://{name}.{world.namespace}.svc can't be reached" in said["message"]
            assert (await state())["waiting"] == 1

            for row in range(3):
                await tell("prediction", f"q{row}", revision=revision, row=0, answer={"label": "bad"})
            await world.until("climbed", lambda item: item["status"].get("champion", {}).get("level") == "Suggest")
            async for _ in eventually("it ends, and what waits is forgotten"):
                if (await state()).get("order") is None and await world.get(SERVICES, name) is None:
                    break
            assert (await state())["waiting"] == 0
            await world.until("nothing more is said", lambda item: condition(item, "Replayed") == ("", ""))
