"""The catalogue is whole: told to users, and what it refers to exists."""

from __future__ import annotations

import re
from pathlib import Path

from mandate.api.catalogue import METRICS, TASKS, metrics_for
from mandate.api.kinds import ModelDeploymentSpec

PAGE = Path(__file__).parents[3] / "docs" / "user" / "metrics.md"


def test_every_metric_is_told_with_its_tasks_and_its_better_side() -> None:
    rows: dict[str, list[str]] = {}
    section = ""
    for line in PAGE.read_text().splitlines():
        section = line.removeprefix("## ") if line.startswith("## ") else section
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0].startswith("`"):
            rows |= {name: [section, *cells[1:]] for name in re.findall(r"`(\w+)`", cells[0])}
    assert set(rows) == set(METRICS)
    for name, (section, *cells) in rows.items():
        metric = METRICS[name]
        tasks = {"Regression": ("Regression",), "Ranking": ("Ranking",), "Every task": TASKS}
        assert metric.tasks == tasks.get(section, tuple(cells[0].split(", "))), name
        ideal = "–" if metric.ideal is None else f"nearest {metric.ideal:g}"
        better = cells[1] if section == "Classification" else cells[0]
        assert better == (ideal if metric.better == "Nearest" else metric.better.lower()), name


def test_what_a_metric_needs_is_a_field_of_the_spec() -> None:
    for metric in METRICS.values():
        part, _, field = metric.declaration.partition(".")
        if part:
            parts = {item.alias: item.annotation for item in ModelDeploymentSpec.model_fields.values()}
            assert field in {item.alias for item in parts[part].model_fields.values()}, metric.name


def test_one_class_can_be_had_of_metrics_of_labels_only() -> None:
    found = [metric for metric in metrics_for("Multiclass") if metric.by_class]
    assert {metric.needs for metric in found} == {"Label"}
    assert all("Binary" in metric.tasks for metric in found)
