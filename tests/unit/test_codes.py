"""Every code that evidence or a message may hold is told in the user's documents, and no other is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("measure", "evaluate", "sources", "inference", "verdict")
CODE = re.compile(r"[A-Z][a-z]+([A-Z][a-z]+)*")


def raised() -> Iterator[str]:
    """Codes that are written out where a fault, a finding or an error is made."""
    for room in ROOMS:
        for path in (ROOT / "operator" / "mandate" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield from _code(node)


def _code(call: ast.Call) -> Iterator[str]:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    given = next((item.value for item in call.keywords if item.arg == "code"), None)
    if given is None and name.endswith(("Error", "Fault", "Failure")) and call.args:
        given = call.args[0]
    parts = [given.body, given.orelse] if isinstance(given, ast.IfExp) else [given]
    for value in parts:
        if isinstance(value, ast.Constant) and isinstance(value.value, str) and CODE.fullmatch(value.value):
            yield value.value


def told(text: str) -> set[str]:
    return {word for word in re.findall(r"`(\w+)`", text) if CODE.fullmatch(word)}


def test_every_code_is_told_to_users() -> None:
    codes = set(raised())
    assert {"NoRows", "MissingColumn", "ZeroReference", "PredictorCrashed", "AccessDenied"} <= codes, "codes are found"
    documents = (ROOT / "docs" / "user").glob("*.md")
    assert codes - set().union(*(told(path.read_text()) for path in documents)) == set()


def test_no_code_is_told_that_nothing_holds() -> None:
    source = "".join(path.read_text() for path in (ROOT / "operator" / "mandate").rglob("*.py"))
    listed = re.findall(r"^\| (`.*?) \| ", (ROOT / "docs" / "user" / "codes.md").read_text(), re.MULTILINE)
    unknown = [code for line in listed for code in told(line) if f'"{code}"' not in source]
    assert len(listed) > 30
    assert unknown == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('MeasureError("NoRows", "x")', ["NoRows"]),
        ('Fault(code="NoTime" if a else "NoRows", message="Some words")', ["NoTime", "NoRows"]),
        ('print("NoRows")', []),
    ],
)
def test_codes_are_seen_where_they_are_made(text: str, expected: list[str]) -> None:
    call = ast.parse(text).body[0].value  # type: ignore[attr-defined]
    assert list(_code(call)) == expected
