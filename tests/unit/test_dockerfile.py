"""Every image holds the rooms of the house that its program imports: read from operator/Dockerfile, not built."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "operator"
PROGRAMS = [
    ("controller", "mandate/controller"),
    ("controller", "mandate/recorder"),
    ("judge", "mandate/evaluate"),
    ("predictor", "mandate/predictor"),
]


def copied(image: str) -> set[Path]:
    """The Python files that the Dockerfile's `code` stage copies for an image, relative to the source root."""
    text = (SOURCES / "Dockerfile").read_text().replace("\\\n", " ")
    found = re.search(rf"cp -r --parents ([^&]*) /{image}\b", text)
    assert found, f"the Dockerfile copies nothing to /{image}"
    files: set[Path] = set()
    for name in found[1].split():
        source = SOURCES / name
        assert source.exists(), f"the Dockerfile copies {name}, which doesn't exist"
        files |= {source} if source.is_file() else set(source.rglob("*.py"))
    return {file.relative_to(SOURCES) for file in files}


def imported(file: Path) -> set[Path]:
    """The files of ours that a file imports, wherever in it the import stands."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse((SOURCES / file).read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    paths = {Path(*module.split(".")) for module in modules if module.split(".")[0] == "mandate"}
    candidates = {path.with_suffix(".py") for path in paths} | {path / "__init__.py" for path in paths}
    return {path for path in candidates if (SOURCES / path).exists()}


@pytest.mark.parametrize(("image", "program"), PROGRAMS)
def test_an_image_holds_what_its_program_imports(image: str, program: str) -> None:
    files = copied(image)
    waiting = {file for file in files if file.is_relative_to(program)}
    assert waiting, f"{program} isn't in the image"
    seen: set[Path] = set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        missing = imported(file) - files
        assert not missing, (
            f"{file} imports {sorted(map(str, missing))}, which operator/Dockerfile doesn't copy to /{image}"
        )
        waiting |= imported(file) - seen


def test_the_predictor_holds_nothing_else() -> None:
    assert {file.parts[1] for file in copied("predictor")} == {"__init__.py", "predictor"}
