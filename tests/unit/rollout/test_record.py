"""What a status keeps of the ladder is all of it, and rules are read from a spec as it is declared."""

from __future__ import annotations

import pytest

from mandate.api.kinds import ModelDeploymentStatus, RevisionStatus
from mandate.api.spec import Autonomy, Gate
from mandate.rollout.inputs import Minimum, Rules
from mandate.rollout.record import rules_of, state_of, update_of
from mandate.rollout.state import Asked, Holder, Leaving, Previous, Refused, Rung, State, Transition

A, B, C = ("a" * 32, "b" * 32, "c" * 32)
T = 1_700_000_000


def holder(revision: str, rung: Rung, **more: object) -> Holder:
    return Holder(revision=revision, version="7", since=T, stepped=T + 5, rung=rung, evaluation="e", **more)  # type: ignore[arg-type]


STATES = [
    State(),
    State(champion=holder(A, Rung("Automate", 100), begun=T + 9), candidate=holder(B, Rung())),
    State(
        champion=holder(A, Rung("Suggest"), fallen=True, model_digest=f"sha256:{'0' * 64}"),
        candidate=holder(B, Rung("Automate", 50)),
        previous=Previous(holder=holder(C, Rung("Automate", 100)), alone=T, released=True),
        refused=(Refused(revision=C, version="6", reason="Aborted", message="abort asked", retry="2"),),
        paused=Asked(by="ann", at=T),
        halted=Asked(by="bob", at=T, why="fire", level="Shadow"),
        handled=(("Halt", "3"), ("Pause", "1")),
        history=(
            Transition(at=T, what="Promoted", by="mandate", why="w", revision=B, version="7",
                       before=Rung("Automate", 10), after=Rung("Automate", 50), evidence="e"),
            Transition(at=T, what="Paused", by="ann", why=""),
        ),
    ),
    State(candidate=holder(B, Rung("Shadow"), leaving=Leaving(reason="Failed", message="recall", by="mandate"))),
]  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_a_status_keeps_all_of_the_state(state: State) -> None:
    status = ModelDeploymentStatus().model_copy(update=update_of(state))
    stored = status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    assert state_of(ModelDeploymentStatus.model_validate(stored)) == state


def test_an_earlier_operators_status_is_understood() -> None:
    old = RevisionStatus(revision=A, version="7", level="Automate", since="2026-01-01T00:00:00Z")
    state = state_of(ModelDeploymentStatus(champion=old))
    assert state.champion is not None
    assert state.champion.rung == Rung("Automate", 100)
    assert state.champion.stepped == state.champion.since


def test_rules_as_declared() -> None:
    autonomy = Autonomy.model_validate(
        {
            "target": "Automate",
            "shadow": {"maxMissingPairs": "0.02"},
            "suggest": {"maxOverrideRate": "0.05", "blindShare": "10%", "minBlind": 50},
            "automate": {"steps": ["5%", "100%"], "stepDuration": "1h"},
            "onDegradation": "Rollback",
        }
    )
    gate = Gate.model_validate(
        {"name": "recall", "metric": "recall", "rows": "live", "require": {"Automate": ">= 0.7"}}
    )
    expected = Rules(
        target="Automate",
        shadow=Minimum(duration=86_400, predictions=1000, max_missing_pairs=0.02),
        suggest=Minimum(duration=7 * 86_400, predictions=1000, labelled=500, blind=50, max_override_rate=0.05),
        steps=(5, 100),
        step_duration=3600,
        on_degradation="Rollback",
        live=frozenset({"Automate"}),
    )
    assert rules_of(autonomy, (gate,), whole=False) == expected
    assert rules_of(autonomy, (), whole=True).steps == (100,)
    assert rules_of(autonomy, (), whole=True).live == frozenset()
