"""Sends probes and says what came of each: an error or an answer, or a crash, a hang, nonsense.

After each kind, and after whatever looks like a crash or a hang, the good row is asked again: a server that answers it
otherwise than before, or not at all, was broken by what came before.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mandate.api.spec import ModelOutput, Task
from mandate.predictor.datatypes import Array

from .answers import alike, check_batch
from .codec import Body, decode_response
from .errors import InferenceError
from .probes import Probe

Answer = Callable[[Body], Awaitable[Body]]
"""The server's answer to one request, in bounded time; raises InferenceError."""

Failure = Literal[
    "Crash", "Hang", "Unreadable", "NoNumber", "OutOfBounds", "Crossed", "OtherAnswer", "Broken", "NotSent"
]
"""`Crash`: the connection was lost, or a status from 500. `Hang`: no answer in time. `Unreadable`: an answer that isn't
the protocol's, or of another shape than asked for. `NoNumber`: null, NaN or infinite. `OutOfBounds`: a probability
beyond 0 to 1. `Crossed`: a higher quantile below a lower one. `OtherAnswer`: the same question in another order,
another answer. `Broken`: the good row was answered otherwise afterwards, or no more. `NotSent`: the server hadn't come
back, or time was up."""

ROOM = 1e-6
"""How far a probability may miss 0 to 1, quantiles may cross, and answers may differ: room for float32."""


@dataclass(kw_only=True)
class Probed:
    """What came of the probes of one kind."""

    refused: int = 0
    """Answered by an error below 500."""
    answered: int = 0
    failures: Counter[Failure] = field(default_factory=Counter)
    first: str | None = None
    """What failed first, in words."""

    @property
    def probes(self) -> int:
        """How many there were, those that weren't sent among them; a server broken afterwards counts as one."""
        return self.refused + self.answered + self.failed

    @property
    def failed(self) -> int:
        """How many ended as they mustn't."""
        return self.failures.total()

    def fail(self, how: Failure, what: str) -> None:
        self.failures[how] += 1
        self.first = self.first or f"{what}: {how}"


async def send(
    answer: Answer,
    probes: Iterable[Probe],
    *,
    good: Body,
    output: ModelOutput,
    task: Task,
    rows: int,
    recovery: float = 30.0,
    seconds: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Probed]:
    """What came of the probes, by kind. `good` asks for `rows` rows, and was answered before.

    The server has `recovery` seconds to come back after a crash or a hang; none is sent after `seconds`. Raises
    InferenceError where even the good row isn't answered at the start.
    """

    async def ask(body: Body, expected: int | None) -> Array:
        datatype, array = decode_response(await answer(body), outputs=[output.name])[output.name]
        count = expected if expected is not None else len(array) if array.ndim else 0
        return check_batch(output, task, datatype=datatype, answer=array, rows=count)

    before = await ask(good, rows)
    start = clock()

    async def well() -> bool:
        try:
            return alike(before, await ask(good, rows), room=ROOM)
        except InferenceError:
            return False

    async def back() -> bool:
        since = clock()
        while not await well():
            if clock() - since >= recovery:
                return False
            await asyncio.sleep(0.2)
        return True

    found: dict[str, Probed] = {}
    standing, last = True, None
    for probe in probes:
        if last is not None and last.kind != probe.kind and standing:
            standing = await _afterwards(found[last.kind], last.kind, well=well, back=back)
        last = probe
        of_kind = found.setdefault(probe.kind, Probed())
        if not standing or clock() - start > seconds:
            of_kind.fail("NotSent", probe.what)
            continue
        try:
            values = await ask(probe.body, probe.rows)
        except InferenceError as error:
            match error.code:
                case "RequestRefused":
                    of_kind.refused += 1
                case "PredictorCrashed" | "PredictorTimeout":
                    of_kind.fail("Crash" if error.code == "PredictorCrashed" else "Hang", probe.what)
                    standing = await back()
                case _:
                    of_kind.fail("Unreadable", probe.what)
            continue
        if (wrong := _wrong(values, output)) is not None:
            of_kind.fail(wrong, probe.what)
        elif probe.same and not alike(before, values, room=ROOM):
            of_kind.fail("OtherAnswer", probe.what)
        else:
            of_kind.answered += 1
    if last is not None and standing:
        await _afterwards(found[last.kind], last.kind, well=well, back=back)
    return found


async def _afterwards(
    of_kind: Probed, kind: str, *, well: Callable[[], Awaitable[bool]], back: Callable[[], Awaitable[bool]]
) -> bool:
    """Whether the server still stands; counts that it was broken, though it may come back."""
    if await well():
        return True
    of_kind.fail("Broken", f"afterwards ({kind})")
    return await back()


def _wrong(values: Array, output: ModelOutput) -> Failure | None:
    return next((how for how, rows in out_of_bounds(values, output).items() if rows.any()), None)


def out_of_bounds(values: Array, output: ModelOutput) -> dict[Failure, NDArray[np.bool_]]:
    """The rows (n,) whose answers, numbers (n,) or (n, k), are none that the declared output can have, by how."""
    if values.dtype.kind != "f":
        return {}
    wide = (values[:, None] if values.ndim == 1 else values).astype(np.float64)
    finite = np.asarray(np.isfinite(wide).all(axis=1))
    found: dict[Failure, NDArray[np.bool_]] = {"NoNumber": ~finite}
    if output.kind == "Probability":
        found["OutOfBounds"] = np.asarray(finite & ((wide < -ROOM) | (wide > 1 + ROOM)).any(axis=1))
    if output.kind == "Quantiles":
        below, above = wide[finite, :-1], wide[finite, 1:]
        crossed = np.zeros(len(wide), dtype=np.bool_)
        crossed[finite] = (below - above > ROOM * np.maximum(1.0, np.abs(below))).any(axis=1)
        found["Crossed"] = crossed
    return found
