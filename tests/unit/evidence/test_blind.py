"""Which decisions are taken blind: the very ones that docs/user/deciding.md says, so that screens elsewhere agree."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from mandate.evidence.blind import is_blind

PLACE = {"namespace": "lending", "model": "credit"}
DOCUMENT = (Path(__file__).parents[3] / "docs" / "user" / "deciding.md").read_text()
EXAMPLE = re.compile(r"^\| `(?P<lines>[^`]+)` \| `(?P<bits>[0-9a-f]{8})` \| (?P<percent>[0-9.]+) % \|$", re.MULTILINE)


def test_the_documents_examples_are_drawn_as_it_says() -> None:
    found = list(EXAMPLE.finditer(DOCUMENT))
    assert len(found) >= 4
    for example in found:
        lines = example["lines"].split("⏎")
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8] == example["bits"]
        position = int(example["bits"], 16) * 100 / 2**32
        assert f"{position:.2f}" == example["percent"]
        namespace, model, kind, name, *row = lines
        about: dict[str, Any] = {"entity": name} if kind == "entity" else {"request": name, "row": int(row[0])}
        drawn = [
            percent for percent in range(101) if is_blind(namespace=namespace, model=model, percent=percent, **about)
        ]
        assert drawn == [percent for percent in range(101) if position < percent], "once drawn, drawn at every more"


def test_shares_are_as_asked() -> None:
    rows = 20_000
    for percent in (0, 1, 10, 50, 100):
        drawn = sum(is_blind(**PLACE, percent=percent, request=f"r{number}", row=0) for number in range(rows))
        # Five standard deviations of a share of independent draws.
        share = percent / 100
        assert abs(drawn - rows * share) <= 5 * (rows * share * (1 - share)) ** 0.5


@pytest.mark.parametrize(
    ("percent", "about"),
    [
        (101, {"entity": "e"}),
        (-1, {"entity": "e"}),
        (10, {}),
        (10, {"request": "r"}),
        (10, {"row": 0}),
        (10, {"request": "r", "row": 0, "entity": "e"}),
        (10, {"request": "r", "entity": "e"}),
    ],
)
def test_other_addresses_and_shares_are_errors(percent: int, about: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="got"):
        is_blind(**PLACE, percent=percent, **about)
