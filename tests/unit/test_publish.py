"""A full run's tables replace what the page says of an earlier one, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import alarms, anytime, coverage
from tests.peers.publish import FOLDER, TABLES, publish, put

SIDES = [(look, side) for look in coverage.LOOKS for side in ("lower", "upper")]


def score(metric: str, cell: str = "n=1000 prevalence=0.1", *, lower: float, upper: float) -> coverage.Score:
    """Limits that are wrong so often at the first look, and never later."""
    wrong = dict.fromkeys(SIDES, 0.0) | {(1, "lower"): lower, (1, "upper"): upper}
    margins = {"lower": 0.03, "upper": 0.05}
    return coverage.Score(cell=cell, metric=metric, repeats=10_000, wrong=wrong, unbounded=0.0, margin=margins)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    marks = "\n".join(f"before {name}\n<!-- {name} -->\nold\n<!-- /{name} -->" for name in TABLES)
    (tmp_path / "coverage.md").write_text(f"{marks}\nend\n")
    return tmp_path


def test_figures_come_to_stand_where_they_belong(folder: Path) -> None:
    scores = [
        score("recall", lower=0.012, upper=0.001),
        score("recall", "n=50 prevalence=0.1", lower=0.004, upper=0.016),
        score("log_loss", lower=0.002, upper=0.019),
    ]
    coverage.write(scores, folder / "calibration.csv")
    found = alarms.Alarms(rows=(200, 1000), cluster=20, floored=(0.0, 0.1), tested=(0.05, 0.05))
    alarms.write([found], folder / "alarms.csv", currents=10)
    assert publish(folder) == ["calibration", "alarms"]
    page = (folder / "coverage.md").read_text()
    # Recall is higher-better: its lower limit passes gates; log loss is lower-better.
    assert "| `recall` | 2 | 0 | 1.20 % | n=1000 prevalence=0.1 | +0.35 | 1.60 % | 98.00 % | 0.03 |" in page
    assert "| `log_loss` | 1 | 0 | 1.90 % | n=1000 prevalence=0.1 | +0.65 | 0.20 % | 97.90 % | 0.05 |" in page
    assert "beyond their look's share: **log_loss at n=1000 prevalence=0.1**." in page
    assert "| 200, 1,000 | 20 | 5.00 % | 9.50 % | 5.00 % | 5.00 % |" in page
    assert page.count("old") == 1, "anytime has no table, and keeps its words"
    assert page.endswith("<!-- /anytime -->\nend\n")


def test_paths_are_told(folder: Path) -> None:
    found = anytime.Score(cell="normal", kind="Mean", lower=0.0159, upper=0.015, limited=1.0, repeats=10_000)
    anytime.write([found], folder / "anytime.csv", rows=5000)
    assert publish(folder) == ["anytime"]
    page = (folder / "coverage.md").read_text()
    assert "10,000 paths of 5,000 rows each." in page
    assert "| normal | 1.59 % | 1.50 % | 100 % |" in page


def test_publishing_again_changes_nothing(folder: Path) -> None:
    coverage.write([score("recall", lower=0.01, upper=0.01)], folder / "calibration.csv")
    publish(folder)
    first = (folder / "coverage.md").read_text()
    publish(folder)
    assert (folder / "coverage.md").read_text() == first


def test_the_page_has_a_place_for_every_table() -> None:
    page = (FOLDER / "coverage.md").read_text()
    for name in TABLES:
        assert "\nfigures\n" in put(page, name, "figures")
    with pytest.raises(ValueError, match="once each"):
        put(page, "elsewhere", "new")
