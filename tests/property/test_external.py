"""The provider External over random stories: whoever is named may act there, and no Pass is unearned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mandate.api.criteria import LEVELS, Level
from mandate.api.names import LABEL_REVISION, LABEL_SERVES
from mandate.controller.choice import status_of
from mandate.controller.external import template_names
from mandate.controller.others import is_ready
from mandate.controller.serve import granted_level
from mandate.rollout.record import state_of
from mandate.rollout.state import State, rank
from tests.unit.controller.judged import applied, declared, deployment
from tests.unit.controller.others import ASKED, ONE, TWO, Others, first, pod, second

VERBS = ("abort", "retry", "promote", "pause", "resume", "rollback", "halt")
Story = list[tuple[Any, ...]]
PODS = st.tuples(st.sampled_from((ONE, TWO)), st.sampled_from(LEVELS), st.booleans())
STEPS = st.one_of(
    st.tuples(st.just("runs"), st.lists(PODS, max_size=4), st.sampled_from((0.0, 1.0, 31.0, 1800.0, 3600.0))),
    st.tuples(st.just("ask"), st.sampled_from(VERBS)),
    st.tuples(st.just("lower"), st.sampled_from(LEVELS)),
)


def tell(others: Others, story: Story) -> None:
    """Each step, and after each what must always be true."""
    pods: list[dict[str, Any]] = []
    for number, (what, *more) in enumerate(story):
        after = 0.0
        match what:
            case "runs":
                pods = [pod(revision, level, ready=ready) for revision, level, ready in more[0]]
                after = more[1]
            case "ask":
                others.ask(**{more[0]: f"{number} by ann"})
            case "lower":
                others.respecified(autonomy=others.snapshot.mdep["spec"]["autonomy"] | {"target": more[0]})
        others.plans.clear()
        others.runs(*pods, after=after)
        check(others)
        check_addresses(others)


def check(others: Others) -> None:
    """What others run, or are told, follows from what is granted."""
    snapshot = others.snapshot
    state = state_of(status_of(snapshot.mdep))
    if not snapshot.services:
        assert others.kinds <= {"PodTemplate", "ModelDeployment", "ControllerRevision"}
    for plan in others.plans:
        for name, document in applied(plan, "PodTemplate").items():
            labels = document["metadata"]["labels"]
            assert template_names("credit")[labels[LABEL_SERVES]] == name
            assert document["template"]["metadata"]["labels"] == labels
    if any(applied(plan, "PodTemplate") for plan in others.plans):
        for plan in others.plans:
            for document in applied(plan, "PodTemplate").values():
                labels = document["metadata"]["labels"]
                assert may(state, snapshot.grant, labels[LABEL_REVISION], labels[LABEL_SERVES])
    for level in LEVELS:
        for revision in (None, ONE, TWO, "f" * 32):
            told = others.verdict(level, revision)
            assert told.successful == (told.verdict == "Pass")
            if told.successful:
                assert may(state, snapshot.grant, told.revision, level)


def check_addresses(others: Others) -> None:
    """Services that we had made lead to whoever may answer there, ours or others', and to nobody only without such."""
    snapshot = others.snapshot
    state = state_of(status_of(snapshot.mdep))
    assert set(snapshot.services) <= {"credit", "credit-suggest"}
    for address, item in snapshot.services.items():
        selector = item["spec"]["selector"]
        level: Level = "Automate" if address == "credit" else "Suggest"
        led = [item["metadata"]["labels"] for item in (*snapshot.pods, *snapshot.deployments)]
        led = [labels for labels in led if selector.items() <= labels.items()]
        assert all(may(state, snapshot.grant, labels[LABEL_REVISION], level) for labels in led), address
        ready = {labels[LABEL_REVISION] for labels in (item["metadata"]["labels"] for item in snapshot.deployments)}
        ready |= {
            each["metadata"]["labels"][LABEL_REVISION]
            for each in snapshot.pods
            if is_ready(each) and rank(each["metadata"]["labels"][LABEL_SERVES]) >= rank(level)
        }
        assert bool(led) or not any(may(state, snapshot.grant, revision, level) for revision in ready), address


def may(state: State, grant: Any, revision: str, level: Level) -> bool:
    every = (state.champion, state.candidate, state.previous.holder if state.previous else None)
    holders = [item for item in every if item is not None and item.revision == revision]
    granted = rank(state.granted().get(revision)) >= rank(level)
    return granted and any(rank(granted_level(grant, item)) >= rank(level) for item in holders)


@settings(max_examples=150, deadline=None)
@given(alone=st.booleans(), story=st.lists(STEPS, min_size=1, max_size=12))
def test_whoever_is_named_or_passes_may_act_there(alone: bool, story: Story) -> None:
    tell(first() if alone else second(), story)


@settings(max_examples=150, deadline=None)
@given(story=st.lists(STEPS, min_size=1, max_size=12))
def test_what_we_served_with_leads_to_whoever_may_act_there(story: Story) -> None:
    others = second()
    others.snapshot = replace(others.snapshot, deployments=(deployment(declared("1", **ASKED)),))
    tell(others.runs(), story)
