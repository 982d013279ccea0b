"""Selective labels against scikit-learn with the weights written out, and against the rows that nobody could hide."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, recall_score, roc_auc_score

from tests.unit.measure.test_engine import Case, find
from tests.unit.measure.test_revealed import HOLDOUT, LABELS, WEIGHTED, Loans


def test_numbers_of_revealed_rows_are_hajeks():
    """Σ w x / Σ w with w = 1 / max(p, least) over the revealed test rows, as scikit-learn weighs them."""
    case = Loans(rows=2000)
    for least in (None, "0.2"):
        found = case.by(WEIGHTED.model_copy(update={"min_propensity": least}))
        rows = case.split.rows("test") & case.approved
        weight = np.reciprocal(np.clip(case.chance[rows], float(least or 0), 1))
        actual, score = np.array(case.full["y"])[rows], case.answers.values[rows]
        expected = {
            "accuracy": accuracy_score(actual, score >= 0.5, sample_weight=weight),
            "recall": recall_score(actual, score >= 0.5, sample_weight=weight),
            "roc_auc": roc_auc_score(actual, score, sample_weight=weight),
            "log_loss": log_loss(actual, score, sample_weight=weight),
            "brier_score": brier_score_loss(actual, score, sample_weight=weight),
        }
        for metric, value in expected.items():
            assert find(found, metric).estimate == pytest.approx(value, rel=1e-9), (metric, least)


def test_weights_and_a_holdout_speak_of_everyone_and_the_accepted_do_not():
    """Approval goes by `x`, as the labels do: shares of positives among the accepted are far off, the others aren't."""
    everyone, accepted, weighted, holdout = [], [], [], []
    for seed in range(6):
        case = Loans(rows=4000, seed=seed)
        everyone.append(find(plain(case), "selection_rate").estimate)
        accepted.append(find(case.by(LABELS, **BARE), "selection_rate").estimate)
        weighted.append(find(case.by(WEIGHTED, **BARE), "selection_rate").estimate)
        case.hide(~case.approved & ~case.drawn)
        holdout.append(find(case.by(HOLDOUT, **BARE), "selection_rate").estimate)
    truth = np.mean(everyone)
    assert abs(np.mean(accepted) - truth) > 0.1
    assert np.mean(weighted) == pytest.approx(truth, abs=0.03)
    assert np.mean(holdout) == pytest.approx(truth, abs=0.03)


BARE = {"references": (), "error_costs": ()}


def plain(case: Case):
    return case.compute(table=case.full, **BARE)
