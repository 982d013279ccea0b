"""Sentences without the values of personal columns. Pure.

What a sentence quotes is left in where it is known to come from somewhere else: from the manifest, or from evidence.
Whatever else is quoted may be a person's, whichever sentence it stands in, so that a new one is safe unread.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

WITHHELD = "(withheld)"
FLOOR = 10
"""Rows, or clusters where rows have some, below which nothing is told of a value of a personal column alone."""
LONG = 500
"""Characters from which on a sentence may have been cut inside of a quotation."""
CUT = 32
"""Characters from which on what is quoted may be the start of a longer name."""
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_OPENS = re.compile(r"""(?<![^\W_])['"]""")
_CLOSES = re.compile(r"""['"](?=$|[\s,.;:)\]}])""")


def withheld(sentence: str, *, known: Collection[str]) -> str:
    """The sentence without what it quotes, from the first quotation that isn't `known` to the end of the last."""
    place = 0
    while (opened := _OPENS.search(sentence, place)) is not None:
        found = _QUOTED.match(sentence, opened.start())
        if found is None or not _is_known(found.group(), known):
            return sentence[: opened.start()] + WITHHELD + _after(sentence, opened.start())
        place = found.end()
    return sentence


def words_of(document: Any) -> Iterator[str]:
    """Every text in plain JSON types, keys aside."""
    match document:
        case str():
            yield document
        case dict():
            yield from words_of(list(document.values()))
        case list() | tuple():
            for item in document:
                yield from words_of(item)


def named(columns: Iterable[str]) -> str:
    """Columns in words."""
    return ", ".join(columns)


def _is_known(quoted: str, known: Collection[str]) -> bool:
    try:
        text = ast.literal_eval(quoted)
    except (SyntaxError, ValueError):
        return False
    return text in known or (len(text) >= CUT and any(word.startswith(text) for word in known))


def _after(sentence: str, start: int) -> str:
    """What follows the last quotation; nothing where it may not be closed."""
    if len(sentence) >= LONG:
        return ""
    marks = [mark.start() for mark in re.finditer(r"""['"]""", sentence) if mark.start() > start]
    outer = [mark for mark in marks if not re.match(r"\w.\w", sentence[mark - 1 : mark + 2], re.DOTALL)]
    if not outer or not _CLOSES.match(sentence, outer[-1]):
        return ""
    return sentence[outer[-1] + 1 :]
