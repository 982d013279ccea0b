"""Champion and candidate on the same requests, decision by decision: what is asked, shown, and waited for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mandate.api.kinds import PairsStatus
from mandate.api.moments import instant, stamp
from mandate.cli import ladder
from mandate.controller.choice import status_of, understood
from mandate.controller.decide import decide
from mandate.controller.plan import SetStatus
from mandate.controller.snapshot import LiveQuestion
from mandate.controller.standing import to_ask
from mandate.evidence.live import Live
from mandate.rollout.pairs import Comparison
from mandate.telemetry.metrics import ModelCollector
from tests.unit.controller.judged import gateway_says, settled
from tests.unit.controller.test_climb import RECORDING, start
from tests.unit.controller.test_gateway import GATEWAY, NOW, OLD, Cluster, second
from tests.unit.rollout.test_pairs import NOTHING, live, part

LIMIT: dict[str, Any] = {"minDuration": "0s", "minPredictions": 0, "maxMissingPairs": "0.05"}


def pairs(cluster: Cluster) -> PairsStatus:
    found = status_of(cluster.snapshot.mdep).pairs
    assert found is not None
    return found


def questions(cluster: Cluster) -> dict[str, LiveQuestion]:
    asked = to_ask(cluster.snapshot, understood(cluster.snapshot.mdep))
    return {each.holder.version: each for each in asked}


def level(cluster: Cluster) -> str | None:
    candidate = status_of(cluster.snapshot.mdep).candidate
    return candidate.level if candidate is not None else None


def used(cluster: Cluster, overall: dict[str, Any], **more: Any) -> None:
    """What the recorder answers to the candidate's question, and what follows from it."""
    asked = questions(cluster)["2"]
    assert asked.compared is not None
    place: dict[str, Any] = {"since": stamp(asked.holder.since), "until": stamp(cluster.at), "predictions": 1000}
    answer = live(pairs(cluster), overall, **place | more)
    cluster.snapshot = replace(cluster.snapshot, live={asked.holder.revision: answer}, settings=RECORDING)
    cluster.once()


def test_the_candidates_one_question_has_the_pairs() -> None:
    cluster = second(autonomy__shadow=LIMIT)
    asked, record = questions(cluster), pairs(cluster)
    assert record.copied == "1/4"
    assert asked["2"].compared == Comparison(against=OLD["revision"], since=record.since)
    assert all(each.compared is None for version, each in asked.items() if version != "2")


def test_copies_that_the_gateway_does_not_carry_are_not_counted() -> None:
    cluster = second(autonomy__shadow=LIMIT)
    cluster.carries = lambda route: gateway_says(route, accepted=False)
    cluster.now_is("3", autonomy__shadow=LIMIT)
    cluster.wait(600)
    candidate = status_of(cluster.snapshot.mdep).candidate
    assert candidate is not None
    assert (candidate.version, candidate.level) == ("3", "Shadow")
    assert status_of(cluster.snapshot.mdep).pairs is None
    carried = {
        name: {**route, "status": gateway_says(route)} for name, route in (cluster.snapshot.routes or {}).items()
    }
    cluster.carries, cluster.snapshot = gateway_says, replace(cluster.snapshot, routes=carried)
    carries_from = cluster.at + 60
    cluster.wait(60)
    record = pairs(cluster)
    assert record.revision == candidate.revision
    assert instant(record.since) >= carries_from > instant(candidate.since or "")


def test_another_share_of_copies_begins_anew() -> None:
    cluster = second(autonomy__shadow=LIMIT)
    used(cluster, part(500, 490, unpaired=1500))
    before = pairs(cluster)
    assert before.paired == 500
    document = cluster.snapshot.mdep
    serving = {**document["spec"]["serving"], "gateway": {**GATEWAY, "mirror": "50%"}}
    spec = {**document["spec"], "serving": serving}
    cluster.snapshot = replace(cluster.snapshot, mdep={**document, "spec": spec})
    cluster.at += 600
    cluster.rest()
    mirror = cluster.mirror()
    assert mirror is not None
    assert mirror.share == Fraction(1, 2)
    after = pairs(cluster)
    assert (after.copied, after.paired) == ("1/2", 0)
    assert after.since > before.since


def test_missing_pairs_hold_the_candidate_at_shadow_until_they_are_shown_to_be_few() -> None:
    cluster = second(autonomy__shadow=LIMIT)
    cluster.wait(3600)
    assert level(cluster) == "Shadow"
    nothing = "missing pairs aren't shown to be <= 5 %: nothing is compared with the champion yet"
    assert nothing in cluster.condition("Granted")[2]
    used(cluster, part(150, 150, unpaired=850))
    assert "missing pairs 40.0 % [" in cluster.condition("Granted")[2]
    assert "miss <= 5 %" in cluster.condition("Granted")[2]
    assert level(cluster) == "Shadow"
    used(cluster, part(25_000, 24_000, unpaired=75_000))
    assert level(cluster) != "Shadow"
    found = pairs(cluster)
    assert (found.paired, found.missing is not None) == (25_000, True), "it stays to be seen"


def test_without_a_limit_they_are_shown_all_the_same() -> None:
    cluster = second()
    assert questions(cluster)["2"].compared is not None
    used(cluster, part(10, 10, unpaired=990))
    assert pairs(cluster).missing is not None
    assert "missing" not in cluster.condition("Granted")[2]
    cluster.wait(3600)
    assert level(cluster) != "Shadow"


def test_a_few_more_pairs_are_not_written() -> None:
    cluster = second()
    used(cluster, part(220, 210, unpaired=720))
    asked = questions(cluster)["2"]
    more = live(pairs(cluster), part(221, 211, unpaired=722), since=stamp(asked.holder.since), predictions=1000)
    quiet = replace(cluster.snapshot, live={asked.holder.revision: more})
    assert decide(quiet, cluster.at).actions == ()
    turned = live(pairs(cluster), part(240, 210, unpaired=722), since=stamp(asked.holder.since), predictions=1000)
    plan = decide(replace(cluster.snapshot, live={asked.holder.revision: turned}), cluster.at)
    assert [type(action) for action in plan.actions] == [SetStatus]


@pytest.mark.parametrize(("shadow", "expected"), [({}, False), ({"maxMissingPairs": "0.05"}, True)])
def test_where_the_provider_copies_nothing_they_are_compared_only_as_asked(
    shadow: dict[str, Any], expected: bool
) -> None:
    asked = {"minDuration": "1h", "minPredictions": 0} | shadow
    snapshot, _ = settled(replace(start(autonomy__shadow=asked), settings=RECORDING), NOW)
    compared = [each.compared for each in to_ask(snapshot, understood(snapshot.mdep))]
    assert [each is not None for each in compared] == [True] * expected
    record = status_of(snapshot.mdep).pairs
    assert (record.copied if record is not None else None) == ("1/1" if expected else None)


def test_they_are_told_in_words_and_in_numbers() -> None:
    cluster = second()
    assert "  nothing counted yet" in ladder.lines(cluster.snapshot.mdep)
    moments = {"count": 900, "sum": 9.0, "sumSquares": 90.0, "min": -1.0, "max": 1.0}
    overall = part(
        250, 225, unpaired=750, compared=240, scoreDifference=moments, latencyDifference=NOTHING,
        right={"both": 5, "revision": 3, "against": 2, "neither": 1},
    )  # fmt: skip
    used(cluster, overall, pairs={"overall": overall, "slices": {"age": {"values": {"old": part(50, 25)}}}})
    text = ladder.lines(cluster.snapshot.mdep)
    begin = text.index(
        f"candidate beside champion since {pairs(cluster).since}, the same model: what differs is noise:"
    )
    assert text[begin + 1].startswith("  250 pairs, copies of 25 % of requests, of which 0.0 % [0.0 %, ")
    assert text[begin + 1].endswith(" %] are missing")
    assert text[begin + 2] == "  240 without an error"
    assert text[begin + 3].startswith("  the same answer: 93.8 % [")
    assert text[begin + 4].startswith("    where age is old: 50.0 % [")
    assert text[begin + 4].endswith("], of 50")
    assert text[begin + 5].startswith("  score, candidate - champion: 0.01 [")
    assert text[begin + 6] == "  right: both 5, candidate 3, champion 2, neither 1"

    registry = CollectorRegistry()
    registry.register(ModelCollector(lambda: [cluster.snapshot.mdep]))
    labels = {"namespace": "lending", "model": "credit"}
    assert registry.get_sample_value("mandate_pairs_agreement", labels) == 0.9375
    assert registry.get_sample_value("mandate_pairs_missing", labels) == 0


def test_why_nothing_is_compared_is_said_and_holds_only_what_asks_for_it() -> None:
    why = "the recorder answered 400"
    for limit in (True, False):
        cluster = second(autonomy__shadow=LIMIT) if limit else second()
        asked = questions(cluster)["2"]
        revision = asked.holder.revision
        place: dict[str, Any] = {"since": stamp(asked.holder.since), "until": stamp(cluster.at), "predictions": 1000}
        answer = live(pairs(cluster), part(0, 0), pairs=None, against=None, pairsSince=None, **place)
        told = replace(cluster.snapshot, live={revision: answer}, alone={revision: why}, settings=RECORDING)
        cluster.snapshot = told
        cluster.once()
        message = f"version 2 at Shadow isn't compared with the champion: {why}"
        assert cluster.condition("Compared") == ("False", "NotAnswered", message)
        words = f"missing pairs aren't shown to be <= 5 %: {why}"
        assert (words in cluster.condition("Granted")[2]) == limit
        cluster.wait(3600)
        assert (level(cluster) == "Shadow") == limit


def test_an_answer_without_pairs_leaves_what_was_found() -> None:
    cluster = second()
    used(cluster, part(250, 240, unpaired=750))
    before = pairs(cluster)
    asked = questions(cluster)["2"]
    alone = live(before, part(0, 0), pairs=None, against=None, pairsSince=None, since=stamp(asked.holder.since))
    assert isinstance(alone, Live)
    plan = decide(replace(cluster.snapshot, live={asked.holder.revision: alone}), cluster.at)
    assert plan.actions == ()
