"""What CI runners and code hosts do with text that they are given, as their sources and documents say."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A workflow command as GitHub's runner reads it (actions/runner, ActionCommand.TryParseV2)."""

    name: str
    properties: dict[str, str]
    message: str


def commands(text: str) -> list[Command]:
    """All that the runner would take for commands, `##[command]` included."""
    return [found for line in re.split(r"\r\n|\r|\n", text) if (found := _command(line)) is not None]


def _command(line: str) -> Command | None:
    trimmed = line.lstrip()
    if trimmed.startswith("::") and "::" in trimmed[2:]:
        info, _, message = trimmed[2:].partition("::")
        name, _, rest = info.strip().partition(" ")
        pairs = (pair.partition("=") for pair in rest.strip().split(",") if pair)
        return Command(name, {key.strip(): _read(value, property_=True) for key, _, value in pairs}, _read(message))
    old = re.search(r"##[A-Za-z]*\[([^\]]*)\](.*)", line)
    return None if old is None else Command(old[1], {}, old[2])


def _read(text: str, *, property_: bool = False) -> str:
    if property_:
        text = text.replace("%3A", ":").replace("%2C", ",")
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


LINKED = re.compile(r"(?:https?|ftp)://\S|\bwww\.\S|[\w.+-]+@[\w-]+\.\w|(?<![\w`])@\w|(?<!\w)[#!]\d", re.IGNORECASE)
"""What GitHub and GitLab make links, mentions and references of, in text that is shown already (GFM's extended
autolinks; @name; #1; !1)."""
