"""Probes, and what is said of servers that take them badly: over the real client, to a server of this machine."""

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web

from mandate.api.spec import ModelOutput, Task
from mandate.inference.client import Limits, connect
from mandate.inference.errors import InferenceError
from mandate.inference.features import Features
from mandate.inference.probes import KINDS, MOST_COLUMNS, UNSEEN, known, probes
from mandate.inference.robustness import out_of_bounds, send

ROWS = 50
OUTPUT = ModelOutput()
TASK = Task(type="Binary", target="risk", positive="bad")


def fed(*, batch=None):
    random = np.random.default_rng(1)
    arrays = {
        "amount": random.normal(100, 10, (ROWS, 1)).astype(np.float32),
        "age": random.integers(18, 80, (ROWS, 1)),
        "purpose": random.choice(np.array(["car", "tv"], dtype=object), (ROWS, 1)),
    }
    return Features(arrays, {"amount": "FP32", "age": "INT64", "purpose": "BYTES"}, batch)


def matrix(width):
    values = np.random.default_rng(1).normal(size=(ROWS, width))
    return Features({"input": values}, {"input": "FP64"})


def made(features=None, columns=("amount", "age", "purpose")):
    return probes(features or fed(), row=3, output="probabilities", columns=columns)


def named(what, found):
    [probe] = [probe for probe in found if probe.what == what]
    return probe


def values(probe, name):
    [tensor] = [t for t in json.loads(probe.body.data)["inputs"] if t["name"] == name]
    return tensor["data"]


@pytest.mark.row("R2/probes")
def test_every_kind_is_made_and_in_order():
    found = [probe.kind for probe in made()]
    assert list(dict.fromkeys(found)) == list(KINDS)
    assert min(Counter(found).values()) >= 2


def test_the_same_rows_give_the_same_probes():
    assert made() == made()


def test_out_of_range_is_beyond_the_datas_own_range():
    ages = fed().arrays["age"]
    found = made()
    assert values(named("age: far above", found), "age")[0] > ages.max() + 10 * (ages.max() - ages.min())
    assert values(named("age: far below", found), "age")[0] < ages.min() - 10 * (ages.max() - ages.min())
    assert values(named("purpose: an unseen category", found), "purpose") == [UNSEEN]


def test_huge_goes_to_the_types_ends_and_beyond():
    found = made()
    assert values(named("amount: the type's largest", found), "amount") == [float(np.finfo(np.float32).max)]
    assert values(named("age: the type's smallest", found), "age") == [-(2**63)]
    assert values(named("age: beyond the type", found), "age") == [2**70]
    assert len(values(named("purpose: a long text", found), "purpose")[0]) == 100_000


def test_one_value_is_changed_and_the_others_are_the_good_rows():
    good = json.loads(known(fed(), row=3, output="probabilities").data)
    probe = json.loads(named("amount: null", made()).body.data)
    assert probe["inputs"][0]["data"] == [None]
    assert probe["inputs"][1:] == good["inputs"][1:]
    assert good["inputs"][0]["data"] == [float(fed().arrays["amount"][3, 0])]


def test_shuffled_inputs_ask_the_same_but_a_matrixs_columns_do_not():
    by_name = [probe for probe in made() if probe.kind == "shuffled"]
    assert all(probe.same for probe in by_name)
    assert [tensor["name"] for tensor in json.loads(by_name[0].body.data)["inputs"]] == ["purpose", "age", "amount"]
    by_place = [probe for probe in made(matrix(4), tuple("abcd")) if probe.kind == "shuffled"]
    assert by_place
    assert not any(probe.same for probe in by_place)


def test_a_wide_matrix_is_probed_at_some_of_its_columns():
    names = tuple(f"c{index}" for index in range(500))
    nulls = [probe for probe in made(matrix(500), names) if probe.what.endswith(": null")]
    assert len(nulls) == MOST_COLUMNS
    assert {nulls[0].what, nulls[-1].what} == {"c0: null", "c499: null"}


def test_a_model_that_takes_two_rows_at_once_is_asked_for_two():
    found = made(fed(batch=2))
    assert named("amount: null", found).rows == 2
    assert len(values(named("age: null", found), "age")) == 2
    assert not [probe for probe in found if probe.what.endswith("rows at once")]


@pytest.mark.row("R3/no-rows")
def test_no_value_of_the_data_is_told():
    row = {str(array[3, 0]) for array in fed().arrays.values()}
    assert not [probe for probe in made() if any(value in probe.what for value in row)]


class Server:
    """Answers well, but for what a test makes of it: `odd` answers a document (None where it isn't one) or passes."""

    def __init__(self, odd=lambda _: None):
        self.odd = odd
        self.down = 0
        """Requests that are still refused a connection."""

    async def answer(self, request):
        data = await request.read()
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if self.down:
            self.down -= 1
            request.transport.abort()
            return web.Response()
        if (odd := self.odd(document)) is not None:
            return await odd(self, request)
        return respond(document)


def respond(document, *, answer=0.25):
    """As a server should: 400 for what isn't a good request."""
    try:
        tensors = {tensor["name"]: tensor for tensor in document["inputs"]}
        rows = tensors["age"]["shape"][0]
        good = all(
            tensor["shape"] == [rows, 1] and len(tensor["data"]) == rows and len(tensors) == 3
            for tensor in tensors.values()
        )
        ok = good and rows > 0 and len(document["inputs"]) == 3 and document["outputs"] == [{"name": "probabilities"}]
        ok = ok and all(isinstance(age, int) for age in tensors["age"]["data"])
    except (KeyError, TypeError, IndexError, AttributeError):
        ok = False
    if not ok:
        return web.json_response({"error": "no"}, status=400)
    tensor = {"name": "probabilities", "datatype": "FP64", "shape": [rows], "data": [answer] * rows}
    return web.json_response({"outputs": [tensor]})


@asynccontextmanager
async def served(server):
    application = web.Application(client_max_size=10**8)
    application.router.add_post("/v2/models/model/infer", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with connect(f"http://127.0.0.1:{runner.addresses[0][1]}", model="model", limits=Limits()) as client:
            yield client
    finally:
        await runner.cleanup()


def probed(server, *, timeout=60.0, **options):
    """What is expected to answer or to come back has time for it on a busy machine."""

    async def run():
        async with served(server) as client:
            return await send(
                lambda body: client.answer(body, timeout=timeout),
                made(),
                good=known(fed(), row=3, output="probabilities"),
                output=OUTPUT,
                task=TASK,
                rows=1,
                **({"recovery": 60.0} | options),
            )

    return asyncio.run(run())


def failures(found):
    return {kind: dict(seen.failures) for kind, seen in found.items() if seen.failures}


def with_null(name):
    """Whether a document holds null for an input, and is otherwise one."""

    def holds(document):
        inputs = document.get("inputs") if isinstance(document, dict) else None
        tensors = inputs if isinstance(inputs, list) else []
        return any(isinstance(t, dict) and t.get("name") == name and t.get("data") == [None] for t in tensors)

    return holds


def when(holds, act):
    return lambda document: act if holds(document) else None


def test_a_server_that_refuses_or_answers_has_no_failures():
    found = probed(Server())
    assert failures(found) == {}
    assert set(found) == set(KINDS)
    assert sum(seen.probes for seen in found.values()) == len(made())
    assert found["shuffled"].answered == 2
    # One asks well, but for a header about binary data, which a server without it needn't know.
    assert (found["malformed"].refused, found["malformed"].answered) == (14, 1)


async def crash(server, request):
    server.down = 2
    request.transport.abort()
    return web.Response()


async def hang(server, request):
    await asyncio.sleep(600)
    return web.Response()


async def error(server, request):
    return web.json_response({"error": "Traceback"}, status=500)


async def nonsense(server, request):
    return web.Response(text="<html>")


def saying(value):
    async def answer(server, request):
        return respond(json.loads(known(fed(), row=3, output="probabilities").data), answer=value)

    return answer


@pytest.mark.row("R2/probes")
@pytest.mark.parametrize(
    ("act", "how"),
    [
        (crash, "Crash"),
        (error, "Crash"),
        (hang, "Hang"),
        (nonsense, "Unreadable"),
        (saying(None), "NoNumber"),
        (saying(1.5), "OutOfBounds"),
    ],
)
def test_how_a_probe_ended_is_told(act, how):
    """The nulls of one column, alone and with all others: two probes; the server is back afterwards."""
    found = probed(Server(when(with_null("amount"), act)), timeout=3.0 if act is hang else 60.0)
    assert failures(found) == {"missing": {how: 2}}
    assert found["missing"].first == f"amount: null: {how}"


@pytest.mark.row("R2/bounds")
def test_answers_that_no_output_may_give_are_named_row_by_row():
    def rows(values, kind, **more):
        return {
            how: list(map(int, np.flatnonzero(rows)))
            for how, rows in out_of_bounds(np.array(values), more.get("output") or ModelOutput(kind=kind)).items()
        }

    infinite = [1.0, np.nan, -np.inf]
    assert rows(infinite, "Value") == {"NoNumber": [1, 2]}
    assert rows([0.5, 1.0 + 1e-9, -0.1, np.nan], "Probability") == {"NoNumber": [3], "OutOfBounds": [2]}
    quantiles = [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [1.0, 3.0, 2.0], [-1e9, -1e9 - 1, 0.0], [1.0, np.nan, 0.0]]
    assert rows(quantiles, "Quantiles") == {"NoNumber": [4], "Crossed": [2]}
    assert rows(np.zeros((0, 3)), "Quantiles") == {"NoNumber": [], "Crossed": []}
    assert out_of_bounds(np.array(["a"], dtype=object), ModelOutput(kind="Label")) == {}


def test_an_answer_that_depends_on_the_order_of_named_inputs_is_another_answer():
    def backwards(document):
        inputs = document.get("inputs") if isinstance(document, dict) else None
        return isinstance(inputs, list) and [t.get("name") for t in inputs] == ["purpose", "age", "amount"]

    found = probed(Server(when(backwards, saying(0.75))))
    assert failures(found) == {"shuffled": {"OtherAnswer": 1}}


def test_a_server_that_answers_otherwise_afterwards_was_broken():
    """Once it has seen a null, it says 0.75 to everyone."""
    seen = []

    def odd(document):
        seen.extend([True] if with_null("age")(document) else [])
        return saying(0.75) if seen else None

    found = probed(Server(odd), recovery=0.3)
    assert found["missing"].failures["Broken"] == 1
    assert found["missing"].first == "afterwards (missing): Broken"
    unsent = {kind: seen.failures["NotSent"] for kind, seen in found.items() if kind != "missing"}
    assert unsent == Counter(probe.kind for probe in made() if probe.kind != "missing")


def test_what_is_not_sent_to_a_server_that_is_gone_counts_as_failed():
    gone = []

    def odd(document):
        gone.extend([True] if with_null("amount")(document) else [])
        return crash if gone else None

    found = probed(Server(odd), recovery=0.3)
    assert (
        sum(seen.failed for seen in found.values())
        == len(made()) - found["missing"].refused - found["missing"].answered
    )
    assert failures(found)["malformed"] == {"NotSent": found["malformed"].probes}


def test_a_server_that_is_too_slow_for_all_probes_does_not_pass():
    now = iter(np.arange(0.0, 1e6, 10.0))
    found = probed(Server(), seconds=300.0, clock=lambda: float(next(now)))
    unsent = sum(seen.failures["NotSent"] for seen in found.values())
    assert 0 < unsent < len(made())


def test_without_a_good_answer_there_is_nothing_to_probe():
    with pytest.raises(InferenceError, match="status 500"):
        probed(Server(lambda _: error))
