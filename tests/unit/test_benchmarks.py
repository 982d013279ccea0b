"""The page of benchmarks takes a run's figures, and says plainly where a bar isn't met."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.judge import Bar, put

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def test_the_page_has_a_place_for_the_figures() -> None:
    assert "<!-- bench -->\nfigures\n<!-- /bench -->" in put(PAGE.read_text(), "bench", "figures")


@pytest.mark.parametrize(
    ("figure", "asked", "expected"),
    [
        (20.0, {"least": 20.0}, "| a | ≥ 20 × | 20.00 × | yes | b |"),
        (19.9, {"least": 20.0}, "| a | ≥ 20 × | 19.90 × | **no** | b |"),
        (0.5, {"most": 0.5}, "| a | ≤ 0.5 × | 0.50 × | yes | b |"),
        (0.51, {"most": 0.5}, "| a | ≤ 0.5 × | 0.51 × | **no** | b |"),
        (7.0, {}, "| a | – | 7.00 × | – | b |"),
    ],
)
def test_a_bar_says_whether_it_is_met(figure: float, asked: dict[str, float], expected: str) -> None:
    assert Bar(work="a", figure=figure, told="b", **asked).row() == expected
