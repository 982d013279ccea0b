"""A domain classifier: can a row be told to be of train or of test? (Lopez-Paz & Oquab 2017, with an AUC.)

Columns that each look alike may differ together; a classifier that is asked which part a row is of sees that. Every row
is scored by a model that was fitted without it (and without its cluster), all scores are pooled, and their AUC with
DeLong's variance says how well: 0.5 not at all, 1 always. Pooled scores of alike parts have an AUC a little below 0.5.
An AUC of 1 has the lower limit of as many pairs of a train and a test row, no row in two of them, as can be made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mandate.evidence.intervals import Beta
from mandate.evidence.schema import Estimate, Fault, Quantity, Support

from .. import baselines, uncertainty
from ..metrics import METRICS, Floats, Sample, UndefinedError
from ..split import Split
from ..table import MeasureError, text_codes
from . import parts

METRIC = "domain_auc"
LEAST = 30
"""Rows, or clusters, that both train and test must have."""
_GOLDEN = 2654435769
"""2³² over the golden ratio (Knuth): neighbours fall into folds far apart."""


def domain_auc(
    table: pa.Table, split: Split, *, features: Sequence[str], folds: int, cluster: str | None = None
) -> Estimate:
    """How well a penalised logistic fit of `features` tells test rows from training rows, with its interval.

    Rows of one `cluster` are in one of `folds`, and are one in the variance. Rows count alike, whatever their weights.
    """
    quantity = Quantity(metric=METRIC, on="test")
    train, test = split.rows("train"), split.rows("test")
    both = np.flatnonzero(train | test)

    def faulty(code: str, message: str) -> Estimate:
        fault = Fault(code=code, message=message[:1024])
        return Estimate(quantity=quantity, support=Support(rows=len(both), events=0), fault=fault)

    if not train.any():
        return faulty("NoTrainingRows", "there are no training rows to tell the test rows from")
    kept = table.take(pa.array(both))
    codes = None if cluster is None else text_codes(kept, cluster)[1]
    later = test[both]
    units = np.arange(len(both)) if codes is None else codes
    few = min(len(np.unique(units[later])), len(np.unique(units[~later])))
    if few < LEAST:
        what = "rows" if cluster is None else f"values of {cluster!r}"
        return faulty("TooFewRows", f"train and test need {LEAST} {what} each, one has {few}; take more rows")
    if unread := parts.unreadable(kept, features, categories=()):
        return faulty("NotExamined", "; ".join(item.message for item in unread.values()))
    fold = _folds(split.keys[both] if codes is None else codes.astype(np.uint64), folds)
    try:
        score = _scores(kept, features, later, fold)
        point = METRICS["roc_auc"](Sample(actual=later, score=score))
    except (MeasureError, UndefinedError) as error:
        return faulty(error.code, str(error))
    # A perfect order has no variance: of as many pairs of independent rows, every one is in order (Clopper-Pearson).
    perfect = point.value >= 1.0
    return Estimate(
        quantity=quantity,
        estimate=point.value,
        interval=Beta(successes=few, trials=few) if perfect else uncertainty.alone(point, codes),
        support=uncertainty.support(point, codes),
    )


def _folds(keys: NDArray[np.uint64], folds: int) -> NDArray[np.intp]:
    """Each row's fold: by its key or cluster alone, not by where it stands."""
    spread = (keys * np.uint64(_GOLDEN)) >> np.uint64(16)
    return np.asarray(spread % np.uint64(folds), dtype=np.intp)


def _scores(table: pa.Table, features: Sequence[str], later: NDArray[np.bool_], fold: NDArray[np.intp]) -> Floats:
    """Probability of being a test row, of each row by a fit that didn't see its fold."""
    every = np.ones(table.num_rows, dtype=np.bool_)
    matrix = baselines.design(table, features, every)  # encoded without a look at which part a row is of
    if not matrix.width:
        raise MeasureError("NoFeatures", "no input varies, so there is nothing to tell rows by")
    found = np.zeros(table.num_rows)
    for place in np.unique(fold):
        seen = fold != place
        if later[seen].all() or not later[seen].any():
            raise MeasureError("OneFold", "the rows of a part are in one fold only; take more rows, or clusters")
        found[~seen] = baselines.logistic(matrix, later, seen, classes=2)[0][~seen]
    return found
