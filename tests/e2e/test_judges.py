"""Judges that misbehave: what they leave is an error with a name, and the operator outlives it."""

from __future__ import annotations

from tests.e2e import declared
from tests.e2e.cluster import SYSTEM, Cluster, condition, holds, like, space
from tests.models import columns_model


def test_what_the_judge_leaves_is_taken_with_care(cluster: Cluster) -> None:
    """Garbage, a hundred megabytes, a result nobody vouched for, and no memory: each an error; then it judges."""
    codes = {
        "garbled": "JudgeGarbled",
        "flooding": "JudgeGarbled",
        "forging": "JudgeGarbled",
        "hungry": "JudgeOutOfMemory",
    }
    with space(cluster, "judge", enforce="Labelled") as found:
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.models / "good.onnx", columns_model())
        values = {"evaluation__judge__memory": "384Mi", "evaluation__retryBase": "5"}
        with cluster.upgraded(judge=cluster.images["test-judge"], **values, evaluation__maxAttempts="1"):
            # The hook leaves other evaluations alone: what fails below fails by what the judge did.
            for name in ("honest", *codes):
                found.apply(declared.model(name, source=declared.onnx()))
            for name, code in codes.items():
                item = found.failed(name)
                assert condition(item, "Stalled")["reason"] == code, found.describe(name)
                assert item["status"].get("level", "None") == "None"
            assert found.judged("honest")["status"]["level"] == "Suggest"
            grant = found.get("AutonomyGrant", "mandate")["spec"]["grants"]
            assert {entry["model"] for entry in grant.values()} == {"honest"}
            _operator_is_well(cluster)
            cluster.values["evaluation.maxAttempts"] = "3"
            cluster.install()
            for name in codes:
                item = found.until(name, "judged by itself", lambda item: holds(item, "Ready"), seconds=400)
                assert item["status"]["level"] == "Suggest"
                (evaluation,) = found.evaluations(name)
                assert evaluation["status"]["attempt"] == 2


def _operator_is_well(cluster: Cluster) -> None:
    """No container of it was restarted: none of what it read was too much for it."""
    (pod,) = cluster.admin.list(like("Pod", SYSTEM), "app.kubernetes.io/component=controller")
    assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]
