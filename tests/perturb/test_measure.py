"""Each peer test catches the error it is there for: a named mutation of the product's source makes it fail.

The package is copied, one piece of its text is replaced, and the very peer test runs against the copy. Unchanged, the
copy passes; so a failure is the mutation's doing. No metric and no peer test goes without a mutation.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mandate.api.catalogue import METRICS
from tests.perturb.mutant import ROOT, Outcome, run
from tests.perturb.mutations import MUTATIONS, Mutation

CONTROL = "test_the_check_"
"""Simulations are shown to object by tests of their own module: they are too slow to run twice."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    target = tmp_path / "operator"
    # Compiled files save most of the time; those that another process is just writing are left out.
    shutil.copytree(ROOT / "operator" / "mandate", target / "mandate", ignore=shutil.ignore_patterns("*.pyc.*"))
    return target


def function(node: str) -> str:
    """The test's function, without its parameters."""
    return node.partition("[")[0]


def test_the_unchanged_copy_passes(copy):
    """One test of each file: that the others pass as well is seen where they run themselves."""
    first = {test.partition("::")[0]: test for mutation in reversed(MUTATIONS) for test in mutation.tests}
    outcome = run(copy, *first.values())
    assert {function(test) for test in outcome.tests} == {function(test) for test in first.values()}, outcome.text
    assert not any(outcome.tests.values()), outcome.text


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_caught(mutation: Mutation, copy: Path):
    path = copy / "mandate" / mutation.file
    source = path.read_text()
    for old, new in mutation.edits:
        assert source.count(old) == 1, f"the mutation no longer fits the source: adapt it ({old!r})"
        source = source.replace(old, new)
    path.unlink()
    path.write_text(source)
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    outcome = run(copy, *mutation.tests)
    assert outcome.tests, outcome.text
    assert [test for test, failure in outcome.tests.items() if not failure] == [], outcome.text
    assert outcome.asserted, outcome.text
    assert set(mutation.metrics) <= named(outcome), outcome.text


def named(outcome: Outcome) -> set[str]:
    """The metrics that failures name, in the test's parameters or in the statement that failed."""
    words = {word for item in outcome.tests.items() for word in re.findall(r"\w+", "\n".join(item))}
    return words & set(METRICS)


def test_every_metric_has_a_mutation():
    assert {metric for mutation in MUTATIONS for metric in mutation.metrics} == set(METRICS)


def test_every_peer_test_has_a_mutation(copy):
    caught = {test for mutation in MUTATIONS for test in mutation.tests}
    elsewhere = {test.partition("::")[0] for test in caught if not test.startswith("tests/peers/")}
    every = run(copy, "--collect-only", "tests/peers", *sorted(elsewhere)).tests
    nodes = [node for node in every if node.startswith("tests/peers/")]
    assert caught <= set(every) | set(map(function, every)), "a mutation names a test that doesn't exist"
    controlled = {node.partition("::")[0] for node in nodes if f"::{CONTROL}" in node}
    missing = [
        node
        for node in nodes
        if not {node, function(node)} & caught
        and f"::{CONTROL}" not in node
        and not (node.partition("::")[0] in controlled and "::test_limits_are_wrong_" in node)
    ]
    assert missing == [], "\n".join(missing)
