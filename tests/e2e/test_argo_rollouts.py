"""A model that Argo Rollouts serves on a real node: promoted and aborted on our verdict, with requests all the time."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.e2e import declared
from tests.e2e.cluster import ROOT, Cluster, Object, Space, condition, eventually, space
from tests.e2e.test_ladder import told
from tests.integration.admission.api import Refused
from tests.models import columns_model
from tests.recording import event

ARGO = "argoproj.io/v1alpha1"
CAR: dict[str, list[Any]] = {"amount": [1.0, -1.0], "age": [40, 20], "purpose": ["car", "tv"]}
"""Two loans: the model calls the first bad and the second not."""
TRUE, FALSE = ("bad", "good"), ("good", "bad")
ROWS = 40


@pytest.fixture(scope="module")
def rolled(cluster: Cluster) -> Iterator[Space]:
    """A namespace with models and a table, Argo Rollouts, and an operator that answers with verdicts."""
    subprocess.run([*cluster.hack, "rollouts"], check=True, stdout=subprocess.DEVNULL)
    with (
        cluster.upgraded(judge=cluster.images["judge"], verdicts__enabled="true"),
        space(cluster, "rollouts", enforce="Labelled") as found,
    ):
        found.put(found.data / "loans.parquet", declared.table())
        for version in ("1", "2", "3"):
            found.put(found.models / f"{version}.onnx", columns_model(weight=1.0 + int(version) / 100))
        _workloads(found, pause={"duration": "5s"})
        yield found


def _workloads(where: Space, *, pause: Object) -> None:
    """The example's manifests, and the same without steps for people."""
    folder = ROOT / "examples" / "argo-rollouts"
    for analysis in yaml.safe_load_all((folder / "analysis.yaml").read_text()):
        where.apply(analysis)
    for level, name in (("Automate", "credit"), ("Suggest", "credit-suggest")):
        rollout, service = yaml.safe_load_all((folder / "rollout.yaml").read_text())
        rollout["metadata"]["name"] = rollout["spec"]["workloadRef"]["name"] = name
        rollout["spec"]["selector"]["matchLabels"]["mandate.dev/serves"] = level
        rollout["spec"]["replicas"] = 2 if level == "Automate" else 1
        canary = rollout["spec"]["strategy"]["canary"]
        for step in canary["steps"]:
            if "pause" in step:
                step["pause"] = pause
        if level == "Suggest":
            rollout["spec"]["strategy"] = {"canary": {}}
            service["metadata"]["name"] = "credit-people"
            service["spec"]["selector"]["mandate.dev/serves"] = level
        where.apply(rollout)
        where.apply(service)


def _declare(where: Space, version: str) -> None:
    document = declared.model("credit", version=version, source=declared.onnx(f"{version}.onnx"))
    require = {"Automate": ">= 0.70"}
    document["spec"]["gates"].append({"name": "in-use", "metric": "accuracy", "rows": "live", "require": require})
    document["spec"]["autonomy"] = {
        "target": "Automate",
        "shadow": {"minDuration": "0s", "minPredictions": 0},
        "suggest": {"minDuration": "0s", "minPredictions": 0, "minLabelled": 100},
        "automate": {"stepDuration": "2s"},
    }
    document["spec"]["serving"] |= {"provider": "External"}
    where.apply(document)


def _used(where: Space, service: str, *, wrong: str = "", done: Callable[[], bool]) -> None:
    """Requests, and what came of each row; answers of the version `wrong` turn out false."""
    rows = {name: values * (ROWS // 2) for name, values in CAR.items()}

    def once() -> bool | None:
        if done():
            return True
        request = f"{service}-{datetime.now(UTC).timestamp()}"
        try:
            answer = where.ask(service, [], request_id=request, **rows)
        except Refused:
            return None
        labels = FALSE if answer["model_version"] == wrong else TRUE
        place = {
            "namespace": where.name,
            "model": "credit",
            "requestId": request,
            "time": datetime.now(UTC).isoformat(),
        }
        told(
            where,
            [event("dev.mandate.outcome", {**place, "row": row, "label": labels[row % 2]}) for row in range(ROWS)],
        )
        return None

    eventually(f"enough use of {service}", once, seconds=240, seen=lambda: where.describe("credit"))


@contextmanager
def asking(where: Space) -> Iterator[Counter[str]]:
    """Requests to what may act, one after the other while the block runs; yields whose answers came, by version."""
    counted: Counter[str] = Counter()
    stop = threading.Event()
    rows: dict[str, Any] = {name: values[:1] for name, values in CAR.items()}

    def ask() -> None:
        while not stop.is_set():
            try:
                counted[str(where.ask("credit-live", [], **rows)["model_version"])] += 1
            except Refused as error:
                counted[f"refused: {error.message}"] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield counted
    finally:
        stop.set()
        thread.join()


def _versions(counted: Counter[str]) -> set[str]:
    return {who for who in counted if not who.startswith("refused")}


def _version(where: Space, role: str) -> str:
    return str(((where.get("ModelDeployment", "credit").get("status") or {}).get(role) or {}).get("version", ""))


def _level(where: Space) -> str:
    candidate = (where.get("ModelDeployment", "credit").get("status") or {}).get("candidate") or {}
    return str(candidate.get("level", ""))


def _climbed(where: Space, version: str) -> None:
    """This version is seen to be right by people, and may act."""
    _declare(where, version)
    where.until("credit", f"version {version} at Suggest", lambda _: _version(where, "candidate") == version)
    done = lambda: _level(where) == "Automate" or _version(where, "champion") == version  # noqa: E731
    _used(where, "credit-people", done=done)


def _champion(where: Space, version: str) -> None:
    def there(item: Object) -> bool:
        served = condition(item, "ServedElsewhere").get("reason") == "AsGranted"
        return _version(where, "champion") == version and not _level(where) and served

    where.until("credit", f"version {version} is the champion", there)


def _runs(where: Space, phase: str) -> list[Object]:
    return [run for run in where.all("AnalysisRun", api=ARGO) if run.get("status", {}).get("phase") == phase]


def test_a_version_that_people_saw_be_right_is_promoted_by_argo_rollouts(rolled: Space) -> None:
    _climbed(rolled, "1")
    _champion(rolled, "1")
    with asking(rolled) as counted:
        _climbed(rolled, "2")
        _champion(rolled, "2")
    print(f"answers while version 2 took over, by version: {dict(counted)}")
    # A Pod that Argo Rollouts ends doesn't drain, so a request under way may be lost.
    assert _versions(counted) == {"1", "2"}
    passed = [run["status"]["metricResults"][0]["measurements"] for run in _runs(rolled, "Successful")]
    answers = [json.loads(one["value"]) for measurements in passed for one in measurements]
    assert {(one["verdict"], one["version"]) for one in answers} == {("Pass", "2")}
    assert rolled.all("Deployment", api="apps/v1") == []


def test_wrong_in_use_it_is_aborted_and_the_champion_answers(rolled: Space) -> None:
    assert _version(rolled, "champion") == "2", "the test before this one makes it champion"
    _workloads(rolled, pause={})
    with asking(rolled) as counted:
        _climbed(rolled, "3")
        eventually("version 3 to answer", lambda: counted["3"] or None, seconds=120)
        _used(rolled, "credit-live", wrong="3", done=lambda: _level(rolled) != "Automate")
        item = rolled.get("ModelDeployment", "credit")
        cut = next(entry for entry in reversed(item["status"]["history"]) if entry["what"] == "CutOff")

        def aborted() -> datetime | None:
            rollout = rolled.get("Rollout", "credit", api=ARGO)
            return datetime.now(UTC) if rollout["status"].get("abort") else None

        # The moment on record is rounded up to a whole second.
        late = (eventually("the abort", aborted, seconds=60) - datetime.fromisoformat(cut["at"])).total_seconds() + 1
        print(f"aborted at most {late:.1f} s after the verdict {cut['why']!r}")
        rolled.until(
            "credit", "version 3 is refused", lambda item: condition(item, "CandidateRefused").get("status") == "True"
        )
        before = counted["3"]
    assert counted["3"] == before, "refused means that none of its Pods answers any more"
    print(f"answers meanwhile, by version: {dict(counted)}")
    assert _versions(counted) == {"2", "3"}
    [failed] = _runs(rolled, "Failed")
    last = json.loads(failed["status"]["metricResults"][0]["measurements"][-1]["value"])
    assert (last["verdict"], last["version"]) == ("Fail", "3")
    assert "in-use" in last["message"]
    _champion(rolled, "2")
