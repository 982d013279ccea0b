"""A model behind a real gateway: shares and headers as the ladder says; no request is lost on the way up or down."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e import declared
from tests.e2e.cluster import Cluster, Object, Space, eventually, holds, space
from tests.e2e.story.ledger import Share
from tests.models import columns_model

AT_ONCE = {"minDuration": "0s", "minPredictions": 0, "minLabelled": 0}
REQUESTS = 400
AT_A_TENTH = 1500
"""Requests at a share of 10 %: 96 to 210 would pass, at one false alarm in a million."""
CUSTOMERS = 60


@dataclass(frozen=True)
class Answer:
    """What came back for a request, and who the gateway says that it is from; where the answer says otherwise, both."""

    status: int
    autonomy: str
    version: str
    blind: str = ""


@dataclass
class Front:
    """The model as callers outside see it."""

    space: Space
    address: str
    parent: Object
    host: str

    def model(self, version: str, *, steps: list[str], step_duration: str, at_least: str = "0.60") -> Object:
        source = declared.onnx({"1": "good.onnx", "2": "better.onnx"}[version])
        document = declared.model("credit", version=version, source=source, at_least=at_least, fallback=True)
        document["spec"]["autonomy"] = {
            "target": "Automate",
            "shadow": {"minDuration": "0s", "minPredictions": 0},
            "suggest": AT_ONCE | {"blindShare": "10%"},
            "automate": {"steps": steps, "stepDuration": step_duration},
        }
        document["spec"]["serving"] |= {
            "provider": "GatewayAPI",
            "gateway": {
                "parentRefs": [self.parent],
                "hostnames": [f"credit.{self.host}"],
                "entityHeader": "X-Customer",
            },
        }
        return document

    def ask(self, count: int = 1, *, address: str = "credit", rule: bool = False, customer: str = "") -> list[Answer]:
        """Answers to loans as the model takes them, or as the `rule` does; all of one `customer`, or of nobody's."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        log_odds = [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [0.0]}]
        loan: list[dict[str, Any]] = [
            {"name": "amount", "datatype": "FP32", "shape": [1, 1], "data": [1.0]},
            {"name": "age", "datatype": "INT64", "shape": [1, 1], "data": [40]},
            {"name": "purpose", "datatype": "BYTES", "shape": [1, 1], "data": ["car"]},
        ]
        body = json.dumps({"inputs": log_odds if rule else loan})
        headers = {"Host": f"{address}.{self.host}", "Content-Type": "application/json"}
        headers |= {"X-Customer": customer} if customer else {}
        found = []
        try:
            for _ in range(count):
                connection.request("POST", "/v2/models/model/infer", body, headers)
                answer = connection.getresponse()
                text = answer.read()
                autonomy, version, blind = (
                    answer.headers.get(f"Mandate-{name}", "") for name in ("Autonomy", "Model-Version", "Blind-Percent")
                )
                said = json.loads(text)["model_version"] if answer.status == 200 and version else version
                found.append(
                    Answer(answer.status, autonomy, version if said == version else f"{version}≠{said}", blind)
                )
        finally:
            connection.close()
        return found

    def until(self, wanted: Answer, *, address: str = "credit", rule: bool = False) -> None:
        eventually(
            f"{address} to answer {wanted}",
            lambda: self.ask(address=address, rule=rule) == [wanted] or None,
            seconds=120,
            seen=lambda: f"{self.ask(address=address, rule=rule)}; {self.space.describe('credit')}",
        )

    @contextmanager
    def steady(self) -> Iterator[Counter[Answer]]:
        """Requests, one after another, while the context lasts; counted."""
        counted: Counter[Answer] = Counter()
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                counted.update(self.ask(20))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield counted
        finally:
            over.set()
            thread.join()


@pytest.fixture(scope="module")
def front(cluster: Cluster, gateway: dict[str, str]) -> Iterator[Front]:
    namespace, _, shared = gateway["gateway"].partition("/")
    with space(cluster, "shares", enforce="Labelled") as found:
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.models / "good.onnx", columns_model(weight=1.0))
        found.put(found.models / "better.onnx", columns_model(weight=1.2))
        for document in declared.bystander(found, "rule"):
            found.apply(document)
        eventually("the rule to answer", lambda: found.endpoints("rule") or None, seconds=120)
        yield Front(found, gateway["address"], {"name": shared, "namespace": namespace}, f"{found.name}.test")


def test_up_in_shares_and_down_to_the_fallback_and_no_request_is_lost(front: Front) -> None:
    front.space.apply(front.model("1", steps=["100%"], step_duration="0s"))
    front.space.until(
        "credit",
        "version 1 acts",
        lambda item: holds(item, "Ready") and item["status"]["level"] == "Automate" and "champion" in item["status"],
        seconds=400,
    )
    front.until(Answer(200, "Automate", "1"))
    front.until(Answer(200, "Suggest", "1", blind="10"), address="credit-suggest")

    with front.steady() as counted:
        front.space.apply(front.model("2", steps=["10%", "50%", "100%"], step_duration="1h"))
        front.space.until("credit", "a tenth of it for version 2", lambda item: _has(item, 10), seconds=400)
        second = Answer(200, "Automate", "2")
        eventually("version 2 to answer", lambda: second in front.ask(20) or None, seconds=60)
        _check_share(Counter(front.ask(AT_A_TENTH)), 0.1)
        _promote(front)
        front.space.until("credit", "half of it for version 2", lambda item: _has(item, 50))
        front.until(Answer(200, "Suggest", "2", blind="10"), address="credit-suggest")
        _check_share(Counter(front.ask(REQUESTS)), 0.5)
        front.space.until("credit", "shares by customer", lambda item: holds(item, "SharesByEntity"))
        eventually("each customer to have one version", lambda: _settled(front), seconds=120)
        front.space.until("credit", "shares as declared", lambda item: holds(item, "SharesAsDeclared"), seconds=200)

        front.space.apply(front.model("2", steps=["10%", "50%", "100%"], step_duration="1h", at_least="0.99"))
        front.until(Answer(200, "Automate", "1"))
        front.space.until("credit", "version 2 refused", lambda item: holds(item, "CandidateRefused"))
        eventually("version 2 to be gone", lambda: len(front.space.serving_pods("credit")) == 1 or None, seconds=120)
    assert set(counted) == {Answer(200, "Automate", "1"), Answer(200, "Automate", "2")}, counted

    front.space.apply(front.model("1", steps=["100%"], step_duration="0s", at_least="0.99"))
    front.until(Answer(200, "Fallback", ""), rule=True)
    assert set(front.ask(REQUESTS, rule=True)) == {Answer(200, "Fallback", "")}


def _settled(front: Front) -> bool | None:
    """Whether every customer always gets the same version, and not all of them the same."""
    versions = [{answer.version for answer in front.ask(3, customer=f"customer-{n}")} for n in range(CUSTOMERS)]
    return (all(len(each) == 1 for each in versions) and len(set.union(*versions)) == 2) or None


def _has(item: Object, share: int) -> bool:
    """Whether the candidate has so much, in percent, and the operator has seen it in use."""
    candidate = (item.get("status") or {}).get("candidate") or {}
    stands = (candidate.get("level"), candidate.get("share")) == ("Automate", share)
    return holds(item, "Ready") and stands and bool(candidate.get("begun"))


def _check_share(counted: Counter[Answer], declared: float) -> None:
    """Both versions answered and nobody else, version 2 as often as declared: enough was asked to tell."""
    first, second = Answer(200, "Automate", "1"), Answer(200, "Automate", "2")
    assert set(counted) == {first, second}, counted
    share = Share(version="2", declared=declared, count=counted[second], total=counted.total())
    assert share.sharp(), share.passing()
    assert share.fair(), (share, share.passing())


def _promote(front: Front) -> None:
    """One step up without waiting for the hour, as a person with the right to it asks."""
    user = front.space.cluster.run("kubectl", "auth", "whoami", "--output", "jsonpath={.status.userInfo.username}")
    asked = f"mandate.dev/promote=tenth by {user.strip()}"
    front.space.cluster.run("kubectl", "annotate", "mdep", "credit", "-n", front.space.name, asked)
