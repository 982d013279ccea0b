"""Live aggregates: what a stretch of real traffic says of one revision, as sufficient statistics of bounded size.

The recorder computes them from stored events, the operator judges them. They don't depend on the order in which events
came, nor on how often: counts are exact, sums are correctly rounded sums of all values, then given at 12 significant
digits.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

LIVE_TASKS = ("Binary", "Multiclass", "Regression")
LiveTask = Literal["Binary", "Multiclass", "Regression"]

MAX_SLICES = 20
"""Slices that an answer holds: those on most rows."""
MAX_SLICE_VALUES = 64
"""Values that a slice is told apart by: those on most rows. The others are added up in `other`."""

Count = Annotated[int, Field(ge=0)]
Rfc3339 = Annotated[str, Field(max_length=32)]
"""Time in UTC with milliseconds, as in `2026-01-31T09:00:00.000Z`."""


class _Aggregate(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, alias_generator=to_camel, populate_by_name=True)


class Moments(_Aggregate):
    """Count, sum, sum of squares, least and greatest of some numbers; the last two are missing where there are none."""

    count: Count
    sum: float
    sum_squares: float
    min: float | None = None
    max: float | None = None


class BinaryOutcomes(_Aggregate):
    """Rows by what was answered and what was true; the positive class is the one that was asked about."""

    tp: Count
    fp: Count
    tn: Count
    fn: Count


class MulticlassOutcomes(_Aggregate):
    """Rows by whether the answered class was the true one."""

    right: Count
    wrong: Count


class RegressionOutcomes(_Aggregate):
    """Sums over errors, answered value minus true value; least and greatest are missing where there are none."""

    count: Count
    sum: float
    sum_absolute: float
    sum_squares: float
    min: float | None = None
    max: float | None = None


class PairedRight(_Aggregate):
    """Labelled pairs by who was right: both, only the revision, only the one it is compared with, neither."""

    both: Count
    revision: Count
    against: Count
    neither: Count


class Pairs(_Aggregate):
    """Answers of `revision` and of `against` to the same row of the same request; differences are revision - against.

    `paired` + `missing` + `waiting` are the predictions of `against`. `missing`: without a partner for longer than the
    grace; `waiting`: without one, but younger. `compared` are the pairs in which both answered, `agree` those in which
    they said the same. `score_difference` is of values (Regression) or of probabilities: of the positive class
    (Binary), of the answered class where it is the same one (Multiclass). `latency_difference` is in milliseconds.
    `right` (classes) and `absolute_error_difference` (Regression) are over the compared pairs with a label.
    """

    paired: Count
    missing: Count
    waiting: Count
    compared: Count
    agree: Count
    score_difference: Moments
    latency_difference: Moments
    right: PairedRight
    absolute_error_difference: Moments


class Decided(_Aggregate):
    """People's decisions, each on one prediction. `overridden` differ from the model's answer.

    `labelled` of them have an outcome, and the last three count within those. A Regression has no right and wrong, so
    there they stay 0.
    """

    count: Count
    overridden: Count
    labelled: Count
    human_right: Count
    model_right: Count
    both_right: Count


class Decisions(_Aggregate):
    """Decisions by whether they were drawn to be taken blind (`evidence.blind`), and whether they were.

    `shown`: not drawn, by people who saw the answer. `blind`: drawn, by people who hadn't seen it. The two can be
    compared, as chance decided which is which; the others were chosen, and are only counted. `peeked`: drawn, but the
    person saw the answer before deciding. `revised`: drawn, by people who had decided blind and decided again when they
    saw it. `unasked`: not drawn, and blind all the same.
    """

    shown: Decided
    blind: Decided
    peeked: Count = 0
    revised: Count = 0
    unasked: Count = 0


Part = TypeVar("Part", bound=_Aggregate)


class SliceParts(_Aggregate, Generic[Part]):
    """One slice's rows by value; `other` adds up the values beyond MAX_SLICE_VALUES."""

    values: dict[str, Part]
    other: Part | None = None


class Sliced(_Aggregate, Generic[Part]):
    """All rows, and the same by slice. A row without a value for a slice is in none of its parts."""

    overall: Part
    slices: dict[str, SliceParts[Part]] = Field(default_factory=dict, max_length=MAX_SLICES)


class Live(_Aggregate):
    """The answer to one question about a revision: predictions made from `since` until before `until`.

    `failed` predictions were answered with an error; they have no part in `latency`, `labelled` and `outcomes`.
    `labelled`: predictions with an outcome, whenever that came. `first`, `last`: times of the first and last
    prediction. `latency` is in milliseconds. `blind_share` is the percentage of decisions that were to be taken blind,
    as the question gave it. `pairs` is missing where `against` wasn't asked for; they are of what `against` answered
    from `pairs_since`, or else `since`. `conflicts`: events of the stretch that contradict an earlier one of the same
    identity (the earlier one counts). `unknown`: outcomes and decisions of the model in the stretch that no prediction
    of any revision is known for, yet. `dropped`: predictions that the revision's servers couldn't deliver since they
    started.
    """

    namespace: str
    model: str
    revision: str
    against: str | None = None
    pairs_since: Rfc3339 | None = None
    task: LiveTask
    positive: str | None = None
    since: Rfc3339
    until: Rfc3339
    predictions: Count
    failed: Count
    labelled: Count
    first: Rfc3339 | None = None
    last: Rfc3339 | None = None
    latency: Moments
    outcomes: Sliced[BinaryOutcomes] | Sliced[MulticlassOutcomes] | Sliced[RegressionOutcomes]
    blind_share: Annotated[int, Field(ge=0, le=100)] = 0
    decisions: Decisions
    pairs: Sliced[Pairs] | None = None
    conflicts: Count
    unknown: Count
    dropped: Count

    def dump(self) -> dict[str, object]:
        """Plain JSON types, camelCase, without the fields that hold nothing."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Drawn(_Aggregate):
    """Where a gateway's draws led from `since` until before `until`: `units` by the revision that answered first.

    A unit is what is drawn once: an entity, or a request. `several` of them got answers of more than one revision.
    `undrawn` are predictions, by revision, that came otherwise or from a server that doesn't tell. `dropping` are the
    revisions of which servers said since then that they couldn't deliver predictions.
    """

    namespace: str
    model: str
    since: Rfc3339
    until: Rfc3339
    units: dict[str, Count]
    several: Count
    undrawn: dict[str, Count]
    dropping: tuple[str, ...] = ()
