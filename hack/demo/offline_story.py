"""The same manifests and verdicts without a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import example
from story import Story

OUT = Path("out")


def tell(story: Story, root: Path) -> None:
    """Judge both versions of the flights model and the credit model, and leave their reports."""
    out = root / OUT
    out.mkdir(exist_ok=True)
    story.chapter("Real data, and two versions of a model")
    folders = example.prepare(story, root)
    story.say("327,346 flights of 2013; will a flight that leaves the gate arrive 15 or more minutes late?")

    for version, promise in (("1", "refused"), ("2", "allowed to suggest, not to act")):
        story.chapter(f"flights, version {version}: {promise}")
        _evaluate(story, root, f"examples/flights/flights-v{version}.yaml", folders, out / f"flights-v{version}.html")
    story.chapter("credit: a small table, and an honest answer")
    credit = {name: root / "examples" / "credit" / name for name in ("data", "models")}
    text = _evaluate(story, root, "examples/credit/credit.yaml", credit, out / "credit.html")
    story.expect("Inconclusive" in text, "credit ends Inconclusive, and says how many more rows it takes")

    story.chapter("What to look at next")
    for name in ("flights-v1.html", "flights-v2.html", "credit.html"):
        story.say(f"the report: {OUT / name}")
    story.say("the same on a real Kubernetes: make demo")


def _evaluate(story: Story, root: Path, manifest: str, folders: example.Folders, report: Path) -> str:
    command = [sys.executable, "-m", "mandate.cli", "evaluate", "-f", manifest]
    for name, folder in folders.items():
        command += ["--mount", f"pvc://{name}={folder}"]
    shown = f"mandate evaluate -f {manifest} --mount … --output html={report.relative_to(root)}"
    return story.run(*command, "--output", f"html={report}", show=shown)
