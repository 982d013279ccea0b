"""A screen that draws as docs/user/deciding.md says, a real recorder, and the operator's question: one count."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mandate.api.moments import instant
from mandate.api.spec import Task
from mandate.controller.live import LiveSource
from mandate.controller.snapshot import LiveQuestion
from mandate.evidence.live import Live
from mandate.rollout.decisions import follow
from mandate.rollout.state import Holder, Rung, State
from tests.recording import NOON, decision, outcome, prediction, recorder, send

REQUESTS, BLIND = 900, 20
SINCE = int(instant("2026-01-31T00:00:00Z"))
REVISION = "0f" * 16
TASK = Task.model_validate({"type": "Binary", "target": "risk", "positive": "bad"})
HOLDER = Holder(revision=REVISION, version="2", since=SINCE, stepped=SINCE, rung=Rung("Suggest"))
DOCUMENT = (Path(__file__).parents[3] / "docs" / "user" / "deciding.md").read_text()


def documented() -> Callable[..., bool]:
    """The draw as the document's own Python does it."""
    found = re.search(r"```python\n(.+?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"hashlib": hashlib}
    exec(found[1], names)  # it is what is tried
    return names["is_blind"]  # type: ignore[no-any-return]


def test_screen_recorder_and_operator_count_the_same(tmp_path: Path) -> None:
    luck, is_blind = random.Random(7), documented()
    model_wrong = dict.fromkeys(("blind", "shown"), 0)
    people_wrong, shared, counted, agree = (dict(model_wrong) for _ in range(4))
    events: list[Any] = []
    peeked = 0
    for number in range(REQUESTS):
        request, truth = f"q{number}", luck.choice(("bad", "good"))
        answer = truth if luck.random() < 0.8 else {"bad": "good", "good": "bad"}[truth]
        alone = truth if luck.random() < 0.7 else {"bad": "good", "good": "bad"}[truth]
        events.append(prediction(request, revision=REVISION, answer={"label": answer}))
        events.append(outcome(request, label=truth))
        kind = "blind" if is_blind(BLIND, "lending", "credit", "request", request, "0") else "shown"
        if kind == "blind" and number % 10 == 0:
            peeked += 1  # somebody looked
            events.append(decision(request, decision=answer))
            continue
        said = alone if kind == "blind" else answer  # a rubber stamp
        events.append(decision(request, decision=said, shown=kind == "shown"))
        counted[kind] += 1
        agree[kind] += said == answer
        people_wrong[kind] += said != truth
        model_wrong[kind] += answer != truth
        shared[kind] += said != truth and answer != truth
    luck.shuffle(events)

    async def asked(url: str) -> Any:
        question = LiveQuestion(holder=HOLDER, task=TASK, blind_share=BLIND)
        return (await LiveSource(url=url, every=60).ask(("lending", "credit"), question)).live

    database = tmp_path / "events.db"
    for start, part in enumerate((events[:1500], events[1500:])):
        with recorder(database) as (url, process):
            for index in range(0, len(part), 500):
                status, answer = send(url, *part[index : index + 500])
                assert (status, answer["refused"]) == (200, [])
            live = asyncio.run(asked(url))
            assert isinstance(live, Live), live
            assert live.until > NOON
            if start == 0:
                process.kill()  # what was answered for is there afterwards
    state = State(candidate=HOLDER)
    found = follow(None, state, state, share=f"{BLIND}%", live={REVISION: live})
    assert found is not None
    assert (found.peeked, found.revised, found.unasked) == (peeked, 0, 0)
    assert peeked > 0
    for kind, part_of in (("blind", found.blind), ("shown", found.shown)):
        rows = counted[kind]
        assert (part_of.count, part_of.labelled) == (rows, rows)
        for measured, share in (
            (part_of.agreement, agree[kind] / rows),
            (part_of.errors, people_wrong[kind] / rows),
            (part_of.model_errors, model_wrong[kind] / rows),
            (part_of.shared_errors, shared[kind] / model_wrong[kind]),
        ):
            assert measured is not None
            assert measured.mean == f"{share:.6g}"
    assert found.shown.shared_errors is not None
    assert found.shown.shared_errors.mean == "1", "every mistake of the model's is made by who stamps its answers"
    assert found.blind.shared_errors is not None
    assert found.blind.shared_errors.upper is not None
    assert float(found.blind.shared_errors.upper) < float(found.shown.shared_errors.lower or "nan")
