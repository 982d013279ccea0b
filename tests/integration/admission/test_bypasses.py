"""Bypasses tried by somebody who may do everything in the namespace: refused, while what they resemble passes."""

from __future__ import annotations

import pytest

from tests.integration.admission.api import Refused
from tests.integration.admission.cases import CASES, Case
from tests.integration.admission.world import World


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.policy}-{case.rule}: {case.title}")
def test_refused_while_its_twin_passes(world: World, case: Case) -> None:
    case.twin(world)
    with pytest.raises(Refused) as refusal:
        case.attack(world)
    message = refusal.value.message
    assert refusal.value.status == 403, message
    assert f"ValidatingAdmissionPolicy '{case.policy}.mandate.dev'" in message
    assert case.says in message
    assert "resulted in error" not in message
