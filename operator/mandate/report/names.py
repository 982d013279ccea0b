"""Text that comes from data or people, made harmless: it is shown, and steers nothing that shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate

_RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_WORDS = re.compile(rf"[{_RIGHT_TO_LEFT}]+(?: [{_RIGHT_TO_LEFT}]+)*")
FIRST_STRONG, POP = "\u2068", "\u2069"
"""Unicode's marks around what is to be ordered on its own."""
_COMMAND = re.compile(r"^(\s*:)(?=:)|(#)(?=#[A-Za-z]*\[)")


def plain(text: str, *, instead: str = " ") -> str:
    """`text` on one line: what can't be printed (controls, line ends, marks that turn the direction) is `instead`."""
    return "".join(character if character.isprintable() else instead for character in text)


def isolated(text: str) -> str:
    """Right-to-left words held apart, so that the numbers beside them aren't shown in another order."""
    return _WORDS.sub(lambda words: f"{FIRST_STRONG}{words[0]}{POP}", text)


def cut(text: str, *, most: int, size: Callable[[str], int] = len) -> str:
    """As much of `text` as fits into `most`, where each character takes its `size`; its end says if it was cut."""
    fits = sum(taken <= most for taken in accumulate(map(size, text)))
    return text if fits == len(text) else text[:fits].rstrip() + "…"


def uncommanding(line: str) -> str:
    """A printed line that no CI runner takes for a command.

    GitHub's reads `::command::` at a line's start and `##[command]` anywhere; others read the like of the latter.
    """
    return _COMMAND.sub(lambda sign: f"{sign[0]} ", line)


def without_commands(markup: str) -> str:
    """HTML or XML that shows the same, and has no `##[…]` in it; its lines start with tags or words of ours."""
    return markup.replace("##", "#&#35;")
