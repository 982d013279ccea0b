"""The same manifests and verdicts without a cluster."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import example
from story import Story

OUT = Path("out")
LEDGER = OUT / "looks.json"
MORE_ROWS = re.compile(r"\b\d[\d ]* more rows\b")
SCREEN = 44
"""Lines of each report that are shown; the whole of it is in the HTML."""


def tell(story: Story, root: Path) -> None:
    """Judge both versions of the flights model and the credit model, and leave their reports."""
    out = root / OUT
    out.mkdir(exist_ok=True)
    (root / LEDGER).unlink(missing_ok=True)  # told from its beginning, whatever was tried before
    story.chapter("Real data, and two versions of a model")
    folders = example.prepare(story, root)
    story.say("327,346 flights of 2013; will a flight that leaves the gate arrive 15 or more minutes late?")

    for version, promise, reached in (("1", "refused", None), ("2", "may suggest, not act", "Suggest")):
        story.chapter(f"flights, version {version}: {promise}")
        manifest = f"examples/flights/flights-v{version}.yaml"
        report = _evaluate(story, root, manifest, folders, out / f"flights-v{version}")
        story.expect(report["reached"] == reached, f"version {version} reaches {reached or 'no level'}")
    story.chapter("credit: a small table, and an honest answer")
    credit = {name: root / "examples" / "credit" / name for name in ("data", "models")}
    report = _evaluate(story, root, "examples/credit/credit.yaml", credit, out / "credit")
    undecided = [
        level["message"] for gate in report["gates"] for level in gate["levels"] if level["verdict"] == "Inconclusive"
    ]
    story.expect(
        any(MORE_ROWS.search(message) for message in undecided),
        "credit ends Inconclusive, and says how many more rows it takes",
    )

    story.chapter("What to look at next")
    for name in ("flights-v1.html", "flights-v2.html", "credit.html"):
        story.say(f"the report: {OUT / name}")
    story.say("the same on a real Kubernetes: make demo")


def _evaluate(story: Story, root: Path, manifest: str, folders: example.Folders, report: Path) -> Any:
    """Judge, show the first screen, keep the HTML; returns the report as JSON. The target isn't reached: exit 1."""
    ledger = str(root / LEDGER)
    command = [sys.executable, "-m", "mandate.cli", "evaluate", "-f", manifest, "--ledger", ledger]
    for name, folder in folders.items():
        command += ["--mount", f"pvc://{name}={folder}"]
    html, document = report.with_suffix(".html"), report.with_suffix(".json")
    shown = f"mandate evaluate -f {manifest} --mount … --output text --output html={html.relative_to(root)}"
    command += ["--output", "text", "--output", f"html={html}", "--output", f"json={document}"]
    story.run(*command, show=shown, fails=True, shown_lines=SCREEN)
    return json.loads(document.read_text())
