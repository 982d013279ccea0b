"""Each peer test catches the error it is there for: a named mutation of the product's source makes it fail.

The package is copied, one piece of its text is replaced, and the very peer test runs against the copy. Unchanged, the
copy passes; so a failure is the mutation's doing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VALUES, VARIANCES = "tests/peers/test_values.py", "tests/peers/test_variances.py"


@dataclass(frozen=True)
class Mutation:
    """Replace `old` by `new` in `file` (below operator/mandate); `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


MUTATIONS = (
    Mutation(
        "precision over actual instead of predicted positives",
        "measure/metrics.py",
        '        actual, label, unit="rows", empty="no row was predicted',
        '        label, actual, unit="rows", empty="no row was predicted',
        f"{VALUES}::test_counts_of_a_binary_model",
    ),
    Mutation(
        "F1 without its factor 2",
        "measure/metrics.py",
        "both = 2.0 * (actual & label)",
        "both = 1.0 * (actual & label)",
        f"{VALUES}::test_counts_of_a_binary_model",
    ),
    Mutation(
        "false positives among all rows",
        "measure/metrics.py",
        "        _labels(sample),\n        ~sample.actual,",
        "        _labels(sample),\n        ~sample.actual | True,",
        f"{VALUES}::test_counts_of_a_binary_model",
    ),
    Mutation(
        "balanced accuracy twice over the positives",
        "measure/metrics.py",
        "_class_recall(~sample.actual, ~label))",
        "_class_recall(sample.actual, label))",
        f"{VALUES}::test_counts_of_a_binary_model",
    ),
    Mutation(
        "classes weighted by their last one",
        "measure/metrics.py",
        "value=float(np.mean([point.value for point in points]))",
        "value=float(points[-1].value)",
        f"{VALUES}::test_counts_of_a_multiclass_model_are_plain_means_over_classes",
    ),
    Mutation(
        "ties count whole",
        "measure/metrics.py",
        "(np.cumsum(misses) - misses / 2)[place]",
        "np.cumsum(misses)[place]",
        f"{VALUES}::test_roc_auc_is_the_share_of_pairs_in_order_ties_counting_half[True]",
    ),
    Mutation(
        "precision strictly above the threshold",
        "measure/metrics.py",
        "at_least = np.cumsum(weight[::-1])[::-1]",
        "at_least = np.cumsum(weight[::-1])[::-1] - weight + 1",
        f"{VALUES}::test_average_precision_sums_recall_steps_times_precision[True]",
    ),
    Mutation(
        "log loss of the negatives' answers",
        "measure/metrics.py",
        "given = np.where(sample.actual, score, 1.0 - score)",
        "given = np.where(sample.actual, score, score)",
        f"{VALUES}::test_losses_of_a_binary_model",
    ),
    Mutation(
        "Brier score without the square",
        "measure/metrics.py",
        "(_scores(sample) - sample.actual) ** 2, events",
        "np.abs(_scores(sample) - sample.actual), events",
        f"{VALUES}::test_losses_of_a_binary_model",
    ),
    Mutation(
        "expected / observed",
        "measure/metrics.py",
        "value = positives / len(sample) / expected",
        "value = expected / (positives / len(sample))",
        f"{VALUES}::test_losses_of_a_binary_model",
    ),
    Mutation(
        "calibration intercept for slope",
        "measure/metrics.py",
        "value=float(beta[1])",
        "value=float(beta[0])",
        f"{VALUES}::test_calibration_slope_is_statsmodels",
    ),
    Mutation(
        "RMSE without the root",
        "measure/metrics.py",
        "value = float(np.sqrt(np.mean(squares)))",
        "value = float(np.mean(squares))",
        f"{VALUES}::test_errors_of_a_regression",
    ),
    Mutation(
        "R² around zero",
        "measure/metrics.py",
        "spread = (sample.actual - np.mean(sample.actual)) ** 2",
        "spread = sample.actual**2",
        f"{VALUES}::test_errors_of_a_regression",
    ),
    Mutation(
        "actual minus prediction",
        "measure/metrics.py",
        "np.asarray(_scores(sample) - sample.actual",
        "np.asarray(sample.actual - _scores(sample)",
        f"{VALUES}::test_errors_of_a_regression",
    ),
    Mutation(
        "AUC's negatives forgotten in its variance",
        "measure/metrics.py",
        "(above - value) * (rows / negatives))",
        "0.0 * (above - value))",
        f"{VARIANCES}::test_auc_has_delongs_variance",
    ),
    Mutation(
        "n instead of n - 1",
        "measure/uncertainty.py",
        "np.divide(sizes, sizes - 1,",
        "np.divide(sizes, sizes,",
        f"{VARIANCES}::test_means_have_the_usual_standard_error",
    ),
    Mutation(
        "rows instead of clusters",
        "measure/uncertainty.py",
        "    if clusters is not None:\n        sums",
        "    if False:\n        sums",
        f"{VARIANCES}::test_clustered_errors_are_statsmodels",
    ),
    Mutation(
        "clusters without C / (C - 1)",
        "measure/uncertainty.py",
        "sums * math.sqrt(found / (found - 1))",
        "sums * math.sqrt(found / found)",
        f"{VARIANCES}::test_clustered_errors_are_statsmodels",
    ),
    Mutation(
        "pairs taken for independent",
        "measure/uncertainty.py",
        "cov = float(u.units @ v.units)",
        "cov = 0.0 * float(u.units @ v.units)",
        f"{VARIANCES}::test_two_aucs_on_the_same_rows_have_delongs_covariance",
    ),
    Mutation(
        "logit error not divided by v (1 - v)",
        "measure/uncertainty.py",
        "on_link, slope, bend = math.log(centre / (1.0 - centre)), 1.0 / within",
        "on_link, slope, bend = math.log(centre / (1.0 - centre)), 1.0 / centre",
        f"{VARIANCES}::test_a_logit_link_divides_the_error_by_v_times_1_minus_v",
    ),
    Mutation(
        "effective counts without the clusters' degrees of freedom",
        "measure/uncertainty.py",
        "/ spread.variance * float(adjust))",
        "/ spread.variance)",
        f"{VARIANCES}::test_effective_counts_are_korn_and_graubards",
    ),
    Mutation(
        "average precision's influence without what a row does to others' ranks",
        "measure/metrics.py",
        "+ gain[place]) - loss[place])",
        "))",
        f"{VARIANCES}::test_influence_is_the_derivative_binary[average_precision]",
    ),
)


def run(copy: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """The peer tests against the copied package."""
    command = [sys.executable, "-m", "pytest", "-x", "-o", f"pythonpath={copy} {ROOT}", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    target = tmp_path / "operator"
    for room in ("measure", "evidence", "api", "verdict"):
        shutil.copytree(ROOT / "operator" / "mandate" / room, target / "mandate" / room,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    shutil.copy(ROOT / "operator" / "mandate" / "__init__.py", target / "mandate" / "__init__.py")
    return target


def test_the_unchanged_copy_passes(copy):
    result = run(copy, sorted({mutation.test for mutation in MUTATIONS}))
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_caught(mutation, copy):
    path = copy / "mandate" / mutation.file
    source = path.read_text()
    assert source.count(mutation.old) == 1, "the mutation no longer fits the source: adapt it"
    path.write_text(source.replace(mutation.old, mutation.new))
    result = run(copy, [mutation.test])
    assert result.returncode == 1, result.stdout
    assert "AssertionError" in result.stdout or "assert " in result.stdout, result.stdout
