"""Without a rule, its bypasses get through: no rule is idle, and no test passes for another reason."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.admission.api import Refused, eventually
from tests.integration.admission.cases import CASES, Case
from tests.integration.admission.world import POLICIES, World

ONLY_THE_WORDS = {("pods", 1)}
"""An ungranted Pod differs from the empty template in everything, so the later rules refuse it too, in worse words."""
RULES = [(name, rule) for name, policy in POLICIES.items() for rule in range(len(policy.rules))]


BINDINGS = [
    (name, binding["metadata"]["name"])
    for name, policy in POLICIES.items()
    for binding in policy.documents()[1:]
    if len(policy.bindings) > 1
]


@contextmanager
def without(world: World, policy: str, rule: int, probe: Case) -> Iterator[None]:
    """The policy with one rule that always holds; back as it was, and seen to be, afterwards."""
    original = POLICIES[policy].documents()[0]
    mutant = copy.deepcopy(original)
    mutant["spec"]["validations"][rule]["expression"] = "true"
    world.admin.apply(mutant)
    try:
        yield
    finally:
        world.admin.apply(original)
        eventually(lambda: probe.says in refusal(world, probe) or None)


def refusal(world: World, case: Case) -> str:
    """What the API server says to the attack; empty where it lets it through."""
    try:
        case.attack(world)
    except Refused as error:
        return error.message
    return ""


@pytest.mark.parametrize(("policy", "rule"), RULES, ids=[f"{name}-{rule}" for name, rule in RULES])
def test_without_the_rule_its_bypasses_get_through(world: World, policy: str, rule: int) -> None:
    cases = [case for case in CASES if (case.policy, case.rule) == (policy, rule)]
    assert cases, f"nothing attacks rule {rule} of {policy}"
    with without(world, policy, rule, cases[0]):
        if (policy, rule) in ONLY_THE_WORDS:
            eventually(lambda: cases[0].says not in refusal(world, cases[0]) or None)
            return
        eventually(lambda: refusal(world, cases[0]) == "" or None)
        still_refused = [case.title for case in cases if refusal(world, case)]
    assert still_refused == []


@pytest.mark.parametrize(("policy", "name"), BINDINGS, ids=[name for _, name in BINDINGS])
def test_without_the_binding_a_bypass_gets_through(world: World, policy: str, name: str) -> None:
    (binding,) = [item for item in POLICIES[policy].documents() if item["metadata"]["name"] == name]
    cases = [case for case in CASES if case.policy == policy]
    world.admin.delete(binding)
    try:
        assert eventually(lambda: any(refusal(world, case) == "" for case in cases) or None)
    finally:
        world.admin.apply(binding)
        eventually(lambda: all(refusal(world, case) for case in cases) or None)
