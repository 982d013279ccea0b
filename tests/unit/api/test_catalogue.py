"""The catalogue is whole: told to users, and what it refers to exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from mandate.api.catalogue import METRICS, TASKS, metrics_for
from mandate.api.kinds import ModelDeploymentSpec

PAGE = Path(__file__).parents[3] / "docs" / "user" / "metrics.md"
SHARED = ("mean_absolute_error", "root_mean_squared_error", "bias")
"""Told of Regression; the section on Forecast says that it has them, too."""


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
        tasks = {"Every task": TASKS} | {task: (task,) for task in ("Regression", "Ranking", "Forecast")}
        own = tuple(task for task in metric.tasks if task == section or name not in SHARED)
        assert own == tasks.get(section, tuple(cells[0].split(", "))), name
        ideal = "–" if metric.ideal is None else f"nearest {metric.ideal:g}"
        better = cells[1] if section == "Classification" else cells[0]
        assert better == (ideal if metric.better == "Nearest" else metric.better.lower()), name


def test_what_a_metric_needs_is_a_field_of_the_spec() -> None:
    for metric in METRICS.values():
        part, _, field = metric.declaration.partition(".")
        if part:
            parts = {item.alias: item.annotation for item in ModelDeploymentSpec.model_fields.values()}
            first, _, within = field.partition(".")
            found = {item.alias: item.annotation for item in parts[part].model_fields.values()}
            assert first in found, metric.name
            if within:
                [record] = [kind for kind in get_args(found[first]) if hasattr(kind, "model_fields")]
                assert within in {item.alias for item in record.model_fields.values()}, metric.name


def test_one_class_can_be_had_of_metrics_of_labels_only() -> None:
    found = [metric for metric in metrics_for("Multiclass") if metric.by_class]
    assert {metric.needs for metric in found} == {"Label"}
    assert all("Binary" in metric.tasks for metric in found)
