"""Looks at test rows, kept in a JSON file: `[{"key": …, "sketch": […]}, …]` in the order in which they were taken."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from mandate.verdict.looks import Look, number

from .errors import InputError

_HASH = re.compile(r"[0-9a-f]{16}")


def read(path: Path) -> list[Look]:
    """The looks in a ledger, none where there is no file yet; raises InputError where it isn't one."""
    try:
        entries = json.loads(path.read_text("utf-8"))
        if not isinstance(entries, list):
            raise TypeError("expected a list")
        return [_look(entry) for entry in entries]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"--ledger {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"--ledger {path}: isn't a ledger of looks ({error}); name another file, or restore this one"
        ) from None


def take(path: Path, now: Look) -> int:
    """Write down a look, unless it stands there already, and return its number."""
    looks = read(path)
    found = number(looks, now)
    if all(look.key != now.key for look in looks):
        # An entry without settings becomes that of the first settings that are seen, so that others are others.
        renamed = [replace(look, key=now.key) if look.key == now.former else look for look in looks]
        _write(path, renamed if renamed != looks else [*looks, now])
    return found


def _look(entry: Any) -> Look:
    key, sketch = entry["key"], entry["sketch"]
    if not isinstance(key, str) or not all(isinstance(item, str) and _HASH.fullmatch(item) for item in sketch):
        raise ValueError("expected a key and a sketch of 16-hex hashes")
    return Look(key, tuple(sketch))


def _write(path: Path, looks: list[Look]) -> None:
    """Whole or not at all: a half-written ledger would forget looks."""
    entries = [{"key": look.key, "sketch": list(look.sketch)} for look in looks]
    try:
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(json.dumps(entries, separators=(",", ":")) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise InputError(f"--ledger {path}: can't be written: {error.strerror or error}") from None
