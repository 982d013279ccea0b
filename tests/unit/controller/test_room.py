"""A namespace with more than one grant can say: what is granted stays, the rest isn't and is told so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.api.grant import AutonomyGrantSpec, GrantedEvaluation, GrantedRevision
from mandate.api.kinds import Condition, ModelDeploymentStatus
from mandate.api.moments import instant
from mandate.controller import desired, room
from mandate.controller.choice import evaluation_of
from mandate.controller.conditions import find
from mandate.controller.decide import decide
from mandate.controller.decide_grant import attempts, holders
from mandate.controller.plan import Key, Replace
from mandate.controller.router import concerned
from mandate.controller.snapshot import EvaluationSnapshot, GrantSnapshot
from mandate.controller.store import Store
from mandate.kube.resources import AUTONOMY_GRANTS
from tests.unit.controller.judged import SETTINGS, declared, deployment, granted, judged, namespace, standing, written
from tests.unit.controller.samples import MODEL_DIGEST

NOW = instant("2026-01-02T00:00:00Z")
Object = dict[str, Any]


def entry(model: str, padding: int = 0, *, level: str = "Suggest") -> GrantedRevision:
    return GrantedRevision.model_validate(
        {
            "model": model,
            "level": level,
            "modelDigest": MODEL_DIGEST,
            "evaluation": f"{model}-1",
            "template": {"metadata": {"annotations": {"padding": "x" * padding}}},
        }
    )


def job(model: str, padding: int = 0) -> GrantedEvaluation:
    return GrantedEvaluation(model=model, template={"padding": "x" * padding})


def spec(grants: dict[str, GrantedRevision], **more: Any) -> AutonomyGrantSpec:
    models = tuple(sorted({each.model for each in (*grants.values(), *more.get("evaluations", {}).values())}))
    fields: dict[str, Any] = {"models": models, "grants": grants, "evaluations": {}, "left_out": {}} | more
    return AutonomyGrantSpec.model_construct(allowed_images=(), **fields)


def dumped(grant: AutonomyGrantSpec) -> int:
    return room.size(
        grant.model_copy(update={"left_out": {}}).model_dump(mode="json", by_alias=True, exclude_none=True)
    )


def test_what_fits_is_taken_as_it_is() -> None:
    wanted = spec({"b": entry("one"), "a": entry("two")}, evaluations={"j": job("three")})
    assert room.fitted(wanted, before=spec({})) == wanted.model_copy(
        update={"grants": {"a": entry("two"), "b": entry("one")}}
    )


def test_what_is_granted_stays_and_the_newcomer_is_left_out_with_its_size() -> None:
    before = spec({str(number): entry(f"m{number}", 100_000) for number in range(13)})
    # In whatever order they come.
    wanted = spec({"new": entry("a-newcomer", 100_000)} | before.grants, evaluations={"j": job("late", 100_000)})
    after = room.fitted(wanted, before=before)
    assert set(after.grants) == set(before.grants)
    assert after.evaluations == {}
    assert {model: round(size, -3) for model, size in after.left_out.items()} == {
        "a-newcomer": 100_000,
        "late": 100_000,
    }
    assert set(after.models) == {*before.models, "a-newcomer", "late"}, "their addresses are theirs all the same"


def test_a_small_one_still_finds_room_where_a_large_one_did_not() -> None:
    wanted = spec({"big": entry("big", 1_500_000), "small": entry("small")}, evaluations={"j": job("medium", 1000)})
    after = room.fitted(wanted, before=spec({}))
    assert (list(after.grants), list(after.evaluations), list(after.left_out)) == (["small"], ["j"], ["big"])


def test_what_is_granted_may_change_even_where_there_is_no_room() -> None:
    before = spec({str(number): entry(f"m{number}", 100_000) for number in range(14)})
    wanted = spec({key: entry(each.model, 100_050, level="Automate") for key, each in before.grants.items()})
    assert dumped(wanted) > room.MOST_BYTES
    assert room.fitted(wanted, before=before) == wanted.model_copy(
        update={"grants": dict(sorted(wanted.grants.items()))}
    )


def test_batches_come_after_what_serves_and_take_no_room_that_is_not_there() -> None:
    before = spec({str(number): entry(f"m{number}", 90_000) for number in range(14)})

    def scoring(each: GrantedRevision, padding: int) -> GrantedRevision:
        return each.model_copy(update={"batch": {"padding": "x" * padding}})

    wanted = spec({key: scoring(each, 60_000) for key, each in before.grants.items()} | {"new": entry("new", 60_000)})
    after = room.fitted(wanted, before=before)
    assert dumped(after) <= room.MOST_BYTES
    assert set(after.grants) == set(wanted.grants), "everyone serves"
    assert [key for key, each in after.grants.items() if each.batch is not None] == ["0"]
    assert set(after.left_out) == set(before.models) - {"m0"}
    assert room.fitted(wanted, before=after) == after, "and there it rests"


def test_no_more_models_and_revisions_than_the_schema_takes() -> None:
    models = spec({f"{number:03}": entry(f"m{number:03}") for number in range(501)})
    after = room.fitted(models, before=spec({"500": entry("m500")}))
    assert (len(after.models), list(after.left_out)) == (500, ["m499"]), "who was there first, then by name"
    revisions = spec({f"{number:04}": entry("m") for number in range(1001)})
    after = room.fitted(revisions, before=spec({}))
    assert (len(after.grants), list(after.left_out)) == (1000, ["m"])
    AutonomyGrantSpec.model_validate(after.model_dump(mode="json", by_alias=True))


sizes = st.lists(st.integers(0, 400_000), max_size=12)


@settings(deadline=None, max_examples=50)
@given(old=sizes, new=sizes, jobs=sizes, gone=st.integers(0, 3))
def test_whatever_comes_it_fits_and_takes_nothing_from_anyone(
    old: list[int], new: list[int], jobs: list[int], gone: int
) -> None:
    before = room.fitted(spec({f"o{i}": entry(f"o{i}", size) for i, size in enumerate(old)}), before=spec({}))
    staying = dict(list(before.grants.items())[gone:])
    coming = {f"n{i}": entry(f"n{i}", size) for i, size in enumerate(new)}
    evaluations = {f"j{i}": job(f"j{i}", size) for i, size in enumerate(jobs)}
    wanted = spec(coming | staying, evaluations=evaluations)
    after = room.fitted(wanted, before=before)
    assert dumped(after) <= room.MOST_BYTES
    assert staying.items() <= after.grants.items()
    inside = {each.model for each in (*after.grants.values(), *after.evaluations.values())}
    assert inside.isdisjoint(after.left_out)
    assert inside | set(after.left_out) == set(wanted.models), "each is in, or is told"
    assert room.fitted(wanted, before=after) == after, "and there it rests"


def crowded(*documents: Object, bulk: int = 14) -> GrantSnapshot:
    """A namespace whose grant is full of what still runs of other models."""
    entries = {f"{number:032x}": entry(f"other{number}", 99_700) for number in range(bulk)}
    pods = tuple(
        {"metadata": {"name": key, "labels": {"mandate.dev/model": entry.model, "mandate.dev/revision": key}}}
        for key, entry in entries.items()
    )
    grant = desired.grant("lending", spec(entries))
    grant["metadata"]["resourceVersion"] = "1"
    return namespace(*documents, grant=grant, pods=pods)


def renewed(snapshot: GrantSnapshot) -> Object:
    """The grant after one decision."""
    templates = {key: holder.template for key, holder in holders(snapshot).items()}
    templates |= {key: template for key, (_, template) in attempts(snapshot).items()}
    (action,) = decide(replace(snapshot, templates=templates), NOW).actions
    assert isinstance(action, Replace)
    return action.document


def test_a_revision_that_found_no_room_says_so_and_nothing_of_it_is_made() -> None:
    document = declared("1", status={"champion": standing("1", "Suggest")})
    grant = renewed(crowded(document))
    assert len(grant["spec"]["grants"]) == 14
    assert list(grant["spec"]["leftOut"]) == ["credit"]

    plan = decide(judged(document, accuracy=0.8, grant=grant), NOW)
    assert not [action for action in plan.actions if action.document["kind"] == "Deployment"]  # type: ignore[union-attr]
    status = written(plan)
    assert status is not None
    for kind in ("Granted", "Ready"):
        assert told(status, kind).status == "False"
        assert told(status, kind).reason == "GrantFull"
    assert told(status, "Stalled").status == "True"
    assert told(status, "Reconciling").status == "False"
    message = told(status, "Granted").message
    for words in (f"{grant['spec']['leftOut']['credit']:,} bytes", "1,400,000 bytes", "move some to another"):
        assert words in message


def test_a_champion_serves_on_beside_a_candidate_that_found_no_room() -> None:
    old, new = standing("1", "Suggest"), standing("2", "Shadow")
    slow = {"minDuration": "7d", "minPredictions": 0}
    document = declared("2", status={"champion": old, "candidate": new}, autonomy__shadow=slow)
    grant = granted(old)
    grant["spec"]["leftOut"] = {"credit": 3000}
    running = deployment(declared("1"))
    running["metadata"]["ownerReferences"] = [desired.owner(document)]
    snapshot = judged(document, accuracy=0.8, grant=grant, deployments=[running])
    plan = decide(replace(snapshot, revisions=(*snapshot.revisions, *namespace(declared("1")).revisions)), NOW)
    names = [action.document["metadata"]["name"] for action in plan.actions if hasattr(action, "document")]
    assert running["metadata"]["name"] not in names, "it is left as it is"
    status = written(plan)
    assert status is not None
    assert status.champion is not None
    assert (told(status, "Granted").reason, told(status, "Stalled").reason) == ("GrantFull", "GrantFull")


def test_an_evaluation_that_found_no_room_says_so_and_its_job_is_not_made() -> None:
    document = declared("1")
    snapshot = judged(document, accuracy=0.8)
    meval = {**snapshot.mevals[0], "status": {}}
    grant = renewed(replace(crowded(document), mevals=(meval,)))
    assert grant["spec"]["evaluations"] == {}
    assert list(grant["spec"]["leftOut"]) == ["credit"]
    assert evaluation_of(meval) is not None

    plan = decide(EvaluationSnapshot(meval=meval, mdep=document, grant=grant, mevals=(meval,), settings=SETTINGS), NOW)
    (action,) = plan.actions
    conditions = {item["type"]: item for item in action.document["status"]["conditions"]}  # type: ignore[union-attr]
    assert (conditions["Complete"]["status"], conditions["Complete"]["reason"]) == ("False", "GrantFull")
    meval = {**meval, "status": action.document["status"]}  # type: ignore[union-attr]
    status = written(decide(replace(snapshot, mevals=(meval,), evidence={}, grant=grant), NOW))
    assert status is not None
    for kind, value in (("Stalled", "True"), ("Granted", "False"), ("Ready", "False"), ("Reconciling", "False")):
        assert told(status, kind).status == value
    assert told(status, "Stalled").reason == "GrantFull"


@pytest.mark.parametrize("before", [{}, {"credit": 10}])
def test_those_that_are_left_out_or_no_longer_are_looked_at(before: dict[str, int]) -> None:
    store = Store(lambda *_: None)
    old, new = (
        {"metadata": {"name": "mandate", "namespace": "lending"}, "spec": {"leftOut": left}}
        for left in (before, {"credit": 20})
    )
    assert Key("Model", "lending", "credit") in concerned(AUTONOMY_GRANTS, old, new, store)
    assert Key("Model", "lending", "credit") not in concerned(AUTONOMY_GRANTS, new, new, store)


def told(status: ModelDeploymentStatus, kind: str) -> Condition:
    condition = find(status.conditions, kind)
    assert condition is not None
    return condition
