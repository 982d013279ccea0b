"""The chart's files, without Helm; `tests/integration/chart` renders and installs it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "mandate"


def leaves(values: dict[str, Any], schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, schema) of every value that the schema lists."""
    for name, child in schema["properties"].items():
        here = f"{at}.{name}".lstrip(".")
        if child.get("properties") and name in values and values[name]:
            yield from leaves(values[name], child, here)
        else:
            yield here, child


def test_the_chart_carries_the_repositorys_crds() -> None:
    copies = {path.name: path.read_text() for path in (CHART / "files" / "crds").glob("*.yaml")}
    assert copies == {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert copies


def test_crds_have_the_one_line_that_the_template_adds_to() -> None:
    for path in (CHART / "files" / "crds").glob("*.yaml"):
        text = path.read_text()
        assert text.count("\nmetadata:\n") == 1
        assert "{{" not in text


def test_every_value_has_a_default_that_its_schema_lists() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, _ in leaves(values, schema):
        if path == "global":  # Helm's own
            continue
        found: Any = values
        for part in path.split("."):
            assert part in found, f"{path} has no default in values.yaml"
            found = found[part]


def test_every_object_of_the_schema_is_closed() -> None:
    def objects(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object":
                yield node
            for child in node.values():
                yield from objects(child)

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert [node for node in objects(schema) if node.get("additionalProperties") is not False] == []


def test_every_value_is_explained() -> None:
    """In values.yaml a comment stands above every value, or above the run of values or the group it belongs to."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    paths = {path for path, _ in leaves(values, schema)} - {"global"}
    # Explained once, for the group or for the run of values.
    groups = ("images.judge", "images.predictor", "controller.leaderElection", "controller.resources")
    groups += ("evaluation.judge", "evaluation.retryCap", "recorder.resources")
    lonely = [path for path in sorted(paths) if not path.startswith(groups) and not _commented(lines, path)]
    assert lonely == []
    assert _commented(lines, "images.judge")
    assert _commented(lines, "images.predictor")


def _commented(lines: list[str], path: str) -> bool:
    """Whether the key at `path` has a comment directly above it, or above a sibling that starts its run of keys."""
    depth, at = 0, 0
    for part in path.split("."):
        at = next(i for i in range(at, len(lines)) if re.match(rf"{'  ' * depth}{part}:", lines[i]))
        depth += 1
    while at and not lines[at - 1].strip().startswith("#"):
        at -= 1
        if not lines[at].startswith("  " * (depth - 1)) or not lines[at].strip():
            return False
    return at > 0
