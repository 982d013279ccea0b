"""Two real predictors and a real recorder on loopback: every request that was answered is recorded, and paired."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from tests.models import columns_model, predictor
from tests.processes import free_port
from tests.recording import call, live_path, outcome, recorder, send

REQUESTS = 60


def folder(path: Path, *, weight: float) -> Path:
    path.mkdir()
    (path / "model.onnx").write_bytes(columns_model(weight=weight))
    return path


def arguments(revision: str, url: str) -> list[str]:
    place = ["--namespace", "lending", "--model-deployment", "credit", "--revision", revision]
    return ["--record", url, *place, "--class", "good", "--class", "bad", "--positive", "bad", "--cutoff", "0.6"]


def body(number: int, rows: int = 2) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": "amount", "datatype": "FP32", "shape": [rows], "data": [number / 10 - 3] * rows},
            {"name": "age", "datatype": "INT64", "shape": [rows], "data": list(range(30, 30 + rows))},
            {"name": "purpose", "datatype": "BYTES", "shape": [rows], "data": ["car"] * rows},
        ],
        "outputs": [{"name": "label"}],
    }


def infer(url: str, document: Any, request: str) -> int:
    headers = {"Content-Type": "application/json", "x-request-id": request}
    return call(f"{url}/v2/models/model/infer", json.dumps(document).encode(), headers)[0]


def until(url: str, path: str, condition: Any) -> Any:
    deadline = time.monotonic() + 120
    while True:
        status, live = call(url + path)
        assert status == 200, live
        if condition(live):
            return live
        assert time.monotonic() < deadline, live
        time.sleep(0.1)


def test_predictions_arrive_pair_and_meet_their_labels(tmp_path: Path) -> None:
    port = free_port()
    database = tmp_path / "events.db"
    to = f"http://127.0.0.1:{port}"
    now = {"since": "2020-01-01T00:00:00Z", "grace": "0"}
    champion = folder(tmp_path / "champion", weight=1.0)
    candidate = folder(tmp_path / "candidate", weight=2.0)
    with (
        predictor(champion, *arguments("champion", to), log=tmp_path / "champion.log") as (old, old_process),
        predictor(candidate, *arguments("r1", to)) as (new, new_process),
    ):
        # The recorder is down at first, and is restarted halfway: the predictors answer, and nothing is lost.
        for number in range(REQUESTS // 2):
            assert [infer(url, body(number), f"q{number}") for url in (old, new)] == [200, 200]
        with recorder(database, port=port) as (url, _):
            until(url, live_path("champion", **now), lambda live: live["predictions"] >= 2)
        for number in range(REQUESTS // 2, REQUESTS):
            assert [infer(url, body(number), f"q{number}") for url in (old, new)] == [200, 200]
        assert infer(new, {"inputs": []}, "broken") == 400
        with recorder(database, port=port) as (url, _):
            path = live_path("r1", against="champion", **now)
            live = until(
                url,
                path,
                lambda live: (
                    live["predictions"] == 2 * REQUESTS + 1 and live["pairs"]["overall"]["paired"] == 2 * REQUESTS
                ),
            )
            assert (live["predictions"], live["failed"], live["dropped"]) == (2 * REQUESTS + 1, 1, 0)
            assert live["latency"]["count"] == 2 * REQUESTS
            pairs = live["pairs"]["overall"]
            assert (pairs["paired"], pairs["compared"], pairs["missing"]) == (2 * REQUESTS, 2 * REQUESTS, 0)
            assert pairs["scoreDifference"]["count"] == 2 * REQUESTS
            assert pairs["scoreDifference"]["min"] < 0 < pairs["scoreDifference"]["max"]
            # P(bad) of the champion is sigmoid(amount + age / 100 + 1): at least 0.6 from amount = -0.9 on, roughly.
            assert 0 < pairs["agree"] < 2 * REQUESTS
            send(url, *(outcome(f"q{number}", row) for number in range(REQUESTS) for row in (0, 1)))
            overall = until(url, path, lambda live: live["labelled"] == 2 * REQUESTS)["outcomes"]["overall"]
            assert overall["tp"] + overall["fn"] == 2 * REQUESTS
            # -0.3 - 0.405 = logit(0.6) crossed by 2 * amount + 0.3 + 1: computed from the formula, not from the model.
            logits = [2 * (number / 10 - 3) + age / 100 + 1 for number in range(REQUESTS) for age in (30, 31)]
            assert overall["tp"] == sum(1 / (1 + 2.718281828459045**-logit) >= 0.6 for logit in logits)
            # What waits when the signal comes is sent, or said to be lost.
            before = call(url + live_path("champion", **now))[1]["predictions"]
            infer(old, body(0), "last")
            for process in (old_process, new_process):
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 0
            recorded = call(url + live_path("champion", **now))[1]["predictions"] - before
            assert recorded == 2 or "never recorded" in (tmp_path / "champion.log").read_text()
