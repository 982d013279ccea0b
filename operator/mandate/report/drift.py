"""What was found about new data beside a stored profile, in every form."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mandate.evidence.data import DataEvidence
from mandate.evidence.schema import dump

from .content import comparison_text, count_text, findings_left_text
from .names import plain

TITLE = "New data beside the reference"
HEAD = ("Finding", "What was found", "What to do")
NOTHING = "Nothing was found."


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was compared, by name, digest and rows, and what was found."""

    table: str
    table_digest: str
    rows: int
    reference: str
    reference_digest: str
    reference_rows: int
    data: DataEvidence


def notes(told: Told) -> list[str]:
    """In sentences: what was compared, what couldn't be looked at, and how many findings aren't listed."""
    found = told.data
    left = findings_left_text(found, len(found.findings))
    return [
        f"{told.table}: {count_text(told.rows)} rows, {told.table_digest}",
        f"{told.reference}: {count_text(told.reference_rows)} rows, {told.reference_digest}",
        *map(comparison_text, found.comparisons),
        *(f"not looked at ({item.code}): {item.message}" for item in found.unasked),
        *([NOTHING] if not found.counts else []),
        *([left] if left else []),
    ]


def text(told: Told) -> str:
    """For terminals, ending in a newline."""
    lines = [f"- {item.code}: {item.message}. {item.advice}" for item in told.data.findings]
    return "\n".join(map(plain, [*lines, *([""] if lines else []), *notes(told)])) + "\n"


def markdown(told: Told) -> str:
    """A list, the gravest first, and sentences."""
    from .markdown import escape

    lines = [f"- **{item.code}**: {escape(item.message)}. {escape(item.advice)}" for item in told.data.findings]
    return "\n".join([*lines, *([""] if lines else []), *(f"- {escape(note)}" for note in notes(told))]) + "\n"


def html(told: Told) -> str:
    """One page without scripts."""
    from .html import comparison_page

    body = [(item.code, item.message, item.advice) for item in told.data.findings]
    return comparison_page(HEAD if body else (), body, notes(told), title=TITLE)


def document(told: Told) -> str:
    """As JSON: everything, under a name of its own."""
    found = {
        "schema": "mandate.dev/drift/v1",
        "table": {"name": told.table, "digest": told.table_digest, "rows": told.rows},
        "reference": {"name": told.reference, "digest": told.reference_digest, "rows": told.reference_rows},
        "data": dump(told.data),
    }
    written = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
    # Only strings can hold `##`; GitHub's runner would take a printed `##[…]` for a command.
    return written.replace("##", "#\\u0023") + "\n"
