"""How long the recorder takes to keep events and to answer with live aggregates.

    PYTHONPATH=operator .venv/bin/python -m tests.bench.recorder_live [--rows 200000]

A champion and a candidate with so many predictions each, all of them paired and labelled, half by request and half by
entity, in 12 combinations of slice values; a tenth decided on by people, half of them by entity, 20 % blind as drawn.
Prints events per second of one writer in
transactions of 500 (without HTTP), and seconds per question.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mandate.evidence.blind import is_blind
from mandate.recorder.facts import Decision, Fact, Outcome, Prediction
from mandate.recorder.sqlite import SqliteStorage
from mandate.recorder.storage import Query

PLACE = {"namespace": "lending", "model": "credit"}
BATCH = 500
BLIND = 20
START = 1_700_000_000_000


def prediction(luck: random.Random, revision: str, number: int) -> Prediction:
    return Prediction(
        **PLACE,
        revision=revision,
        request=f"{number:032x}",
        row=0,
        time=START + 10 * number,
        label=luck.choice(("good", "bad")),
        probability=luck.random(),
        latency=luck.random() * 10,
        entity=f"e{number}",
        slices=(("age", str(luck.randrange(6))), ("sex", luck.choice("mf"))),
    )


def outcome(luck: random.Random, number: int) -> Outcome:
    time_, label = START + 10 * number, luck.choice(("good", "bad"))
    if number % 2:
        return Outcome(**PLACE, time=time_, label=label, entity=f"e{number}")
    return Outcome(**PLACE, time=time_, label=label, request=f"{number:032x}", row=0)


def decision(luck: random.Random, number: int) -> Decision:
    entity = number // 10 % 2 == 0
    about: dict[str, Any] = {"entity": f"e{number}"} if entity else {"request": f"{number:032x}", "row": 0}
    shown = not is_blind(**PLACE, percent=BLIND, **about)
    label = luck.choice(("good", "bad"))
    return Decision(**PLACE, time=START + 10 * number, by="ann", shown=shown, label=label, **about)


def kept(storage: SqliteStorage, name: str, numbers: Iterable[int], fact: Callable[[int], Fact]) -> None:
    facts = [fact(number) for number in numbers]
    began = time.perf_counter()
    for start in range(0, len(facts), BATCH):
        storage.write([facts[start : start + BATCH]], received=START)
    print(f"{name}: {len(facts) / (time.perf_counter() - began):,.0f} events/s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    luck = random.Random(7)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.db"
        storage = SqliteStorage(file)
        for revision in ("candidate", "champion"):
            kept(storage, "predictions", range(rows), lambda n, revision=revision: prediction(luck, revision, n))  # type: ignore[misc]
        kept(storage, "outcomes", range(rows), lambda n: outcome(luck, n))
        kept(storage, "decisions", range(0, rows, 10), lambda n: decision(luck, n))
        print(f"file: {file.stat().st_size / 1e6:,.0f} MB")
        for against in (None, "champion"):
            query = Query(
                **PLACE,
                revision="candidate",
                against=against,
                task="Binary",
                positive="bad",
                since=0,
                until=2 * START,
                blind_share=BLIND,
            )
            wall, cpu = time.perf_counter(), time.process_time()
            live = storage.live(query)
            assert (live.predictions, live.labelled) == (rows, rows)
            assert live.decisions.shown.count + live.decisions.blind.count == len(range(0, rows, 10))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"live{'' if against is None else ' with pairs'}: {wall:.2f} s ({cpu:.2f} s of CPU)")
        storage.close()


if __name__ == "__main__":
    main()
