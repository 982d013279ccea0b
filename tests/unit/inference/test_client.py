"""The client against a server that misbehaves in each way a server can. Fakes are for network faults only."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from aiohttp import web

from mandate.api.spec import ModelInputs, ModelOutput, Task
from mandate.inference.client import Limits, Usage, connect
from mandate.inference.errors import InferenceError
from mandate.predictor.raw import EXTENSION, HEADER_LENGTH
from tests.processes import free_port

ROWS = 2500
TABLE = pa.table({"x": np.arange(ROWS, dtype=np.float32)})
INPUTS = ModelInputs(columns=("x",))
OUTPUT = ModelOutput(name="y", kind="Value")
TASK = Task(type="Regression", target="t")


@dataclass
class Fake:
    """Answers x + 1; each attribute is a way to go wrong."""

    ready: list = field(default_factory=lambda: [200])
    metadata: dict | None = None
    extensions: tuple = ()
    answer: object = None
    usage: object = None
    seen: list = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def app(self):
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/v2", self.about)
        app.router.add_get("/v2/models/model/ready", self.readiness)
        app.router.add_get("/v2/models/model", self.describe)
        app.router.add_post("/v2/models/model/infer", self.infer)
        if self.usage is not None:
            app.router.add_get("/mandate/usage", self.usage)
        return app

    async def about(self, request):
        return web.json_response({"name": "fake", "version": "1", "extensions": list(self.extensions)})

    async def readiness(self, request):
        status = self.ready.pop(0) if len(self.ready) > 1 else self.ready[0]
        return web.Response(status=status, text="loading")

    async def describe(self, request):
        if self.metadata is None:
            return web.Response(status=404)
        return web.json_response(self.metadata)

    async def infer(self, request):
        body = await request.read()
        end = int(request.headers.get(HEADER_LENGTH, len(body)))
        document = json.loads(body[:end])
        [tensor] = document["inputs"]
        data = tensor.get("data")
        x = np.frombuffer(body[end:], "<f4") if data is None else np.array(data, np.float32)
        self.seen.append(int(x[0]))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            if self.answer is not None:
                return await self.answer(request, x)
            return reply(x + 1, binary=data is None)
        finally:
            self.under_way -= 1


def reply(y, *, binary=False, name="y", datatype="FP32", shape=None):
    output = {"name": name, "datatype": datatype, "shape": list(y.shape) if shape is None else shape}
    if not binary:
        return web.json_response({"outputs": [{**output, "data": y.ravel().tolist()}]})
    blob = y.astype("<f4").tobytes()
    header = json.dumps({"outputs": [{**output, "parameters": {"binary_data_size": len(blob)}}]}).encode()
    return web.Response(body=header + blob, headers={HEADER_LENGTH: str(len(header))})


@contextlib.asynccontextmanager
async def serving(fake):
    runner = web.AppRunner(fake.app(), shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


async def ask(fake, *, task=TASK, output=OUTPUT, **limits):
    async with serving(fake) as url, connect(url, model="model", limits=Limits(ready=5, **limits)) as client:
        await client.wait_ready()
        metadata = await client.metadata()
        fed = client.features(TABLE, inputs=INPUTS, output=output, metadata=metadata)
        return await client.predict(fed, output=output, task=task, metadata=metadata)


async def refusal(fake, **options):
    with pytest.raises(InferenceError) as caught:
        await ask(fake, **options)
    return caught.value.code, str(caught.value)


def declared(inputs=(("x", "FP32", [-1, 1]),), outputs=(("y", "FP32", [-1, 1]),)):
    def tensors(items):
        return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in items]

    return {"name": "model", "versions": ["7"], "inputs": tensors(inputs), "outputs": tensors(outputs)}


@pytest.mark.parametrize("extensions", [(), (EXTENSION,)])
@pytest.mark.parametrize("metadata", [None, declared()])
async def test_all_rows_are_answered_in_order_in_batches(extensions, metadata):
    fake = Fake(extensions=extensions, metadata=metadata)
    if metadata is None and extensions:
        fake.metadata = {"name": "model"}
        fake.metadata.update(inputs=declared()["inputs"])
    answers = await ask(fake)
    np.testing.assert_array_equal(answers, np.arange(ROWS) + 1)
    assert sorted(fake.seen) == [0, 1000, 2000]


@pytest.mark.parametrize("concurrency", [1, 2, 8])
async def test_no_more_batches_than_allowed_are_under_way(concurrency):
    fake = Fake(metadata=declared())
    await ask(fake, concurrency=concurrency)
    assert fake.most_under_way <= min(concurrency, 3)


async def test_it_waits_until_the_model_is_ready():
    answers = await ask(Fake(ready=[503, 404, 200], metadata=declared()))
    assert len(answers) == ROWS


async def test_a_model_that_never_gets_ready_is_named_with_what_was_seen():
    async with serving(Fake(ready=[503])) as url, connect(url, model="model", limits=Limits(ready=0.3)) as client:
        with pytest.raises(InferenceError, match=r"after 0.3 s; last seen: status 503: loading") as caught:
            await client.wait_ready()
    assert caught.value.code == "PredictorNotReady"


async def test_nobody_listening_is_retried_until_the_end():
    url = f"http://127.0.0.1:{free_port()}"
    async with connect(url, model="model", limits=Limits(ready=0.3)) as client:
        with pytest.raises(InferenceError, match="last seen: ClientConnectorError") as caught:
            await client.wait_ready()
    assert caught.value.code == "PredictorNotReady"


def raising(status, text):
    async def answer(request, x):
        return web.Response(status=status, text=text)

    return answer


async def drop(request, x):
    request.transport.abort()
    await asyncio.sleep(10)


async def hang(request, x):
    await asyncio.sleep(30)


def with_shape(shape):
    async def answer(request, x):
        return reply(np.zeros(shape(len(x)), np.float32))

    return answer


async def as_text(request, x):
    return web.json_response(
        {"outputs": [{"name": "y", "datatype": "BYTES", "shape": [len(x)], "data": ["a"] * len(x)}]}
    )


async def renamed(request, x):
    return reply(x, name="z")


async def nonsense(request, x):
    return web.Response(text="<html>")


@pytest.mark.parametrize(
    ("answer", "limits", "code", "words"),
    [
        (
            raising(400, '{"error":"input \'x\': bad"}'),
            {},
            "RequestRefused",
            "rows 0 to 999 of 2500: status 400: input 'x': bad",
        ),
        (raising(500, "boom"), {}, "PredictorCrashed", "status 500: boom"),
        (drop, {}, "PredictorCrashed", "connection to the predictor was lost"),
        (hang, {"request": 0.2}, "PredictorTimeout", "no answer within 0.2 s"),
        (hang, {"total": 0.2}, "PredictorTimeout", "answered 0 of 2500 rows in 0.2 s"),
        (with_shape(lambda n: (n - 1, 1)), {}, "WrongShape", "shape [999, 1], expected 1000 rows"),
        (with_shape(lambda n: (n, 2)), {}, "WrongShape", "shape [1000, 2], expected 1000 rows with 1 columns"),
        (with_shape(lambda n: (n, 1, 1)), {}, "WrongShape", "[1000, 1, 1]"),
        (with_shape(lambda n: ()), {}, "WrongShape", "shape []"),
        (as_text, {}, "WrongType", "output 'y' is BYTES"),
        (renamed, {}, "UnknownOutput", "outputs z, expected 'y'"),
        (nonsense, {}, "MalformedAnswer", "isn't Open Inference Protocol v2"),
    ],
)
async def test_each_fault_has_its_code_and_says_what_was_seen(answer, limits, code, words):
    found, message = await refusal(Fake(metadata=declared(), answer=answer), concurrency=1, **limits)
    assert found == code
    assert words in message


async def test_nothing_is_asked_twice():
    fake = Fake(metadata=declared(), answer=raising(503, "busy"))
    await refusal(fake, concurrency=1)
    assert fake.seen == [0]


async def test_non_finite_answers_come_as_nan():
    async def answer(request, x):
        values = [None if value % 2 else value for value in x.tolist()]
        return web.json_response({"outputs": [{"name": "y", "datatype": "FP32", "shape": [len(x)], "data": values}]})

    answers = await ask(Fake(metadata=declared(), answer=answer))
    np.testing.assert_array_equal(np.isnan(answers), np.arange(ROWS) % 2 == 1)


@pytest.mark.parametrize(
    ("metadata", "code", "words"),
    [
        (declared(inputs=[("z", "FP32", [-1, 1])]), "UnknownInput", "'x' isn't an input of the model, which takes z"),
        (declared(inputs=[("x", "BYTES", [-1, 1])]), "WrongType", "column 'x' holds float"),
        (declared(outputs=[("z", "FP32", [-1])]), "UnknownOutput", "no output 'y', it answers z"),
        (declared(outputs=[("y", "INT64", [-1])]), "WrongType", "output 'y' is INT64, but kind Value is a float"),
    ],
)
async def test_a_declaration_that_does_not_fit_is_found_before_anything_is_asked(metadata, code, words):
    fake = Fake(metadata=metadata)
    found, message = await refusal(fake)
    assert found == code
    assert words in message
    assert fake.seen == []


async def test_probabilities_have_one_column_per_class():
    task = Task(type="Multiclass", target="t")
    output = ModelOutput(name="y", kind="Probability", classes=("a", "b", "c"))
    fake = Fake(metadata=declared(outputs=[("y", "FP32", [-1, 3])]), answer=with_shape(lambda n: (n, 3)))
    assert (await ask(fake, task=task, output=output)).shape == (ROWS, 3)
    fake.answer = with_shape(lambda n: (n, 2))
    assert (await refusal(fake, task=task, output=output))[0] == "WrongShape"


async def test_unreadable_metadata_counts_as_none():
    answers = await ask(Fake(metadata={"inputs": 3, "outputs": [{"name": "y"}], "versions": 4}))
    assert len(answers) == ROWS


@pytest.mark.parametrize(
    "metadata", [{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1e400]}]}, {"versions": ["\ud800"]}]
)
async def test_hostile_metadata_ends_nothing(metadata):
    fake = Fake(metadata=metadata)
    fake.about = says({"name": "\ud800", "extensions": 7})
    async with serving(fake) as url, connect(url, model="model", limits=Limits()) as client:
        found = await client.metadata()
    assert (found.server, found.binary, found.inputs) == ("?", False, None)
    assert found.version in (None, "?")


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_rows_are_sent_to_the_model_alone_and_only_it_is_heard(status):
    """Not to where it redirects: that gets the rows, and may be another model, such as the champion beside it."""

    async def redirect(request, x):
        return web.Response(status=status, headers={"Location": f"{elsewhere}/v2/models/model/infer"})

    other = Fake()
    async with serving(other) as elsewhere:
        code, message = await refusal(Fake(answer=redirect))
    assert (code, other.seen) == ("RequestRefused", [])
    assert f"status {status}" in message


async def test_a_model_that_redirects_to_another_ones_readiness_is_not_ready():
    fake = Fake()
    async with serving(Fake()) as elsewhere:
        fake.readiness = redirects(f"{elsewhere}/v2/models/model/ready")
        async with serving(fake) as url, connect(url, model="model", limits=Limits()) as client:
            with pytest.raises(InferenceError, match="status 302"):
                await client.wait_ready(clock=iter([0.0, 0.0, 1e9]).__next__)


def redirects(where):
    async def answer(request):
        return web.Response(status=302, headers={"Location": where})

    return answer


def says(document):
    async def usage(request):
        return web.json_response(document)

    return usage


async def hangs(request):
    await asyncio.sleep(30)


BOTH = {"cold": 2, "process": {"cpu": 1, "memory": 10}, "container": {"cpu": 3, "memory": 30}}


@pytest.mark.parametrize(
    ("usage", "container", "expected"),
    [
        (says(BOTH), True, Usage(2, 3, 30)),
        (says(BOTH), False, Usage(2, 1, 10)),
        (says(BOTH | {"container": None}), True, Usage(2, 1, 10)),
        (says({"cold": 2}), True, None),
        (says({"status": "ok"}), False, None),
        (says([1]), True, None),
        (says(BOTH | {"container": "much"}), True, None),
        (says(BOTH | {"cold": -1}), True, None),
        (says(BOTH | {"container": {"cpu": 3, "memory": float("nan")}}), True, None),
        (says(BOTH | {"container": {"cpu": 10**400, "memory": 1}}), True, None),
        (None, True, None),
        (hangs, True, None),
    ],
)
async def test_what_is_used_is_the_containers_or_the_processs_or_not_known(usage, container, expected):
    limits = Limits(request=0.2)
    async with serving(Fake(usage=usage)) as url, connect(url, model="model", limits=limits) as client:
        assert await client.usage(container=container) == expected
