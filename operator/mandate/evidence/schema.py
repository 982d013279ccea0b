"""The evidence of one evaluation: what was measured, on which inputs, how sure.

`computed` is a pure function of the prediction table, the labels and the settings, and so is its digest. `measured`
(latency, memory) is never the same twice.
"""

from __future__ import annotations

from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mandate.api.criteria import OVERALL

from .canonical import canonical, sha256
from .data import DataEvidence
from .intervals import Interval
from .labels import LabelsKnown
from .weakest import Weakest
from .windows import Windows

SCHEMA_VERSION = 1
OWN_CPU = 0.9
"""Share of one CPU above which the load generator, and not the server, is what limits a rate."""

Text = Annotated[str, Field(max_length=512)]
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Dataset = Literal["train", "validation", "test", "train-test", "live"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Support(_Record):
    """What a number rests on. `events`: the minority class, wrong answers or discordant pairs, whichever binds."""

    rows: int = Field(ge=0)
    events: int = Field(ge=0)
    clusters: int | None = Field(default=None, ge=0)


class Quantity(_Record):
    """Names one number: which metric, where, against what. The key by which a gate finds its evidence.

    `slice` is `overall` or a slice's name, `value` the slice's value (`overall` has none). `versus` is a baseline's
    name, `champion`, or `rest`; without it the number stands alone. `across` is a column, `shape` how its groups are
    compared. `load` is requests per second, for latencies. `of_class`: Multiclass, one class against all others.
    `quantile`: Regression, one of the quantiles. `horizon`: Forecast, one of the horizons, in steps; `Each`: why none
    is measured by itself. `window`: one of the windows of the test rows, by its beginning or number; `Each`: why there
    are none.
    """

    metric: Annotated[str, Field(max_length=64)]
    on: Dataset = "test"
    slice: Annotated[str, Field(max_length=64)] = OVERALL
    value: Annotated[str, Field(max_length=256)] | None = None
    versus: Annotated[str, Field(max_length=64)] | None = None
    across: Annotated[str, Field(max_length=64)] | None = None
    shape: Literal["difference", "ratio"] | None = None
    load: Annotated[str, Field(max_length=32)] | None = None
    of_class: Text | None = None
    quantile: Annotated[str, Field(max_length=8)] | None = None
    horizon: Annotated[str, Field(max_length=8)] | None = None
    window: Annotated[str, Field(max_length=32)] | None = None

    def sort_key(self) -> tuple[str, ...]:
        """A total order, so that evidence has one canonical listing."""
        return tuple(str(part or "") for part in _parts(self))


_parts = attrgetter(*Quantity.model_fields)


class Fault(_Record):
    """Why a number could not be had. `code` is CamelCase and stable, `message` says what to do."""

    code: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$", max_length=64)]
    message: Annotated[str, Field(max_length=1024)]


class Estimate(_Record):
    """One number with its uncertainty, or the fault that kept it from being had.

    With `versus`, `estimate` is the model's own number and `reference` the other's. With `across`, `estimate` is the
    spread over groups (max - min, or min / max).
    """

    quantity: Quantity
    estimate: float | None = None
    reference: float | None = None
    interval: Interval | None = None
    support: Support
    fault: Fault | None = None


class ReliabilityBin(_Record):
    """Rows whose probability lies above `low` and up to `high` (the first bin holds 0, too)."""

    low: float
    high: float
    rows: int = Field(ge=1)
    predicted: float
    """Mean of their probabilities."""
    observed: int | None = Field(default=None, ge=0)
    """On how many of them it happened; None where rows have weights."""
    share: float | None = Field(default=None, ge=0, le=1)
    """Where rows have weights: the weighted share of them on which it happened."""

    @property
    def happened(self) -> float:
        """The share of them on which it happened."""
        return (self.observed or 0) / self.rows if self.share is None else self.share


class Reliability(_Record):
    """Probabilities of the test rows beside what happened, in ten bins of equal width; empty bins are left out.

    Binary: P(positive) and positives. Multiclass: the answered class's probability and right answers (Guo 2017).
    """

    bins: tuple[ReliabilityBin, ...] = Field(min_length=1, max_length=10)
    error: float
    """Expected calibration error: mean |observed share - mean probability| over the rows (Naeini 2015)."""
    chance: float
    """What it would be on such rows by chance alone, were every probability right."""


class FoundEdges(_Record):
    """Edges of a slice by quantiles, as the training rows gave them; test rows had no say.

    `values` are the names of the ranges from low to high, `rows` the training rows with a finite number.
    """

    slice: Annotated[str, Field(max_length=64)]
    edges: tuple[float, ...] = Field(max_length=19)
    values: tuple[Annotated[str, Field(max_length=256)], ...] = Field(min_length=1, max_length=20)
    rows: int = Field(ge=1)


class Learnt(_Record):
    """What a baseline is made of, in words: what it learnt from which rows, or how it guesses."""

    baseline: Annotated[str, Field(max_length=64)]
    words: Annotated[str, Field(max_length=1024)]


class Cutoff(_Record):
    """A Binary model's cut-off, chosen on the validation rows: all numbers are those at `chosen`.

    `metric` was to be best, `at_least` says what had to be kept. `declared` is what answers are read with where the
    model serves. `low` to `high` hold the cut-offs that the validation rows can't tell from the chosen one (95 %, at
    their own places each); `value` and `kept` are the two metrics on those rows, at the chosen one.
    """

    metric: Annotated[str, Field(max_length=64)]
    at_least: Text | None = None
    declared: Annotated[str, Field(max_length=11)]
    chosen: Annotated[str, Field(max_length=11)] | None = None
    value: float | None = None
    kept: float | None = None
    low: float | None = Field(default=None, ge=0, le=1)
    high: float | None = Field(default=None, ge=0, le=1)
    rows: int = Field(ge=0)
    """Validation rows, or units."""
    events: int = Field(ge=0)
    """Of them of the rarer class."""
    fault: Fault | None = None
    """Why none could be chosen."""

    @property
    def by(self) -> str:
        """By what it is chosen, in words."""
        best = "the least expected_cost" if self.metric == "expected_cost" else f"the best {self.metric}"
        return best if self.at_least is None else f"{best} with {self.at_least}"

    @property
    def frozen(self) -> bool:
        """Whether what serves is read with what was measured."""
        return self.chosen is not None and Decimal(self.chosen) == Decimal(self.declared)


class Inputs(_Record):
    """What the numbers were computed from, by digest."""

    model: Sha256 | None = None
    signer: Sha256 | None = None
    """The key that signed the model's file, by the digest of its SubjectPublicKeyInfo."""
    champion: Sha256 | None = None
    containers: dict[str, Sha256] | None = None
    """By baseline of type Container that answered: its image, where it is known to be that one."""
    data: dict[str, Sha256]
    split: Sha256
    predictions: Sha256
    settings: Sha256


class HeldOut(_Record):
    """Whether the test rows were really held out of training, and why we say so."""

    status: Literal["Proven", "Declared", "Unknown"]
    reason: Text


class ByTime(_Record):
    """Test rows beside when the operator first knew the model that was measured, by their own times."""

    digest: Sha256
    """The model's."""
    first_seen: Annotated[str, Field(max_length=32)]
    """RFC 3339 in UTC, by the API server's clock."""
    rows: int = Field(ge=1)
    later: int = Field(ge=0)
    """Those of them that are later by more than `margin`."""
    margin: int = Field(ge=0)
    """Seconds: for clocks that differ, and for zones where the times say none."""
    oldest: Annotated[str, Field(max_length=32)] | None = None
    """The first test row's time: in UTC, or as written where no zone is."""
    fault: Fault | None = None
    """Why the rows' times can't be told."""

    @property
    def all_later(self) -> bool:
        """Whether every test row is later, not only most."""
        return self.fault is None and self.later == self.rows


class Computed(_Record):
    """The part of the evidence that is a pure function of predictions, labels and settings."""

    schema_version: Literal[1] = 1
    task: Literal["Binary", "Multiclass", "Regression", "Ranking", "Forecast"]
    inputs: Inputs
    rows: dict[str, int]
    """Rows per part: train, validation, test, and those in none (the gap)."""
    positive: Text | None = None
    classes: tuple[Text, ...] = ()
    row_sketch: tuple[str, ...] = Field(default=(), max_length=256)
    """The 256 smallest 16-hex row hashes of the test part (bottom-k sketch): overlap with earlier looks."""
    held_out: HeldOut
    labels: LabelsKnown | None = None
    """Where decisions hide outcomes: of whom the numbers are. None where every row must have a label."""
    currency: Text | None = None
    """Of costs."""
    reliability: Reliability | None = None
    weakest: Weakest | None = None
    """Where a search found the losses on the test rows to be largest; None where there are no losses."""
    edges: tuple[FoundEdges, ...] | None = None
    """Of slices by quantiles, in the order in which they were declared."""
    personal: tuple[Annotated[str, Field(max_length=128)], ...] | None = None
    """Columns whose values aren't told, by name; None where none are declared."""
    learnt: tuple[Learnt, ...] | None = None
    """By baseline, in the order in which they are declared; those that say everything by their type aren't listed."""
    cutoff: Cutoff | None = None
    """How the cut-off was chosen; None where it is declared."""
    windows: Windows | None = None
    """How metrics vary over windows of production's length; None where none are declared."""
    estimates: tuple[Estimate, ...]
    findings: tuple[Text, ...] = Field(default=(), max_length=100)
    data: DataEvidence | None = None


class UnderLoad(_Record):
    """What became of one load's requests. `kept`: the share of the declared rate at which they were really sent."""

    requests: int = Field(ge=0)
    late: int = Field(ge=0)
    kept: float = Field(ge=0, le=1)
    crashes: int = Field(ge=0)
    timeouts: int = Field(ge=0)
    refused: int = Field(ge=0)
    rising: float | None = Field(default=None, gt=0)
    """By what share of each second latencies grew: the server didn't keep pace. None where it did."""


class Saturated(_Record):
    """What the server did when it never ran out of work. Rates are requests per second."""

    rate: float = Field(ge=0)
    """Right answers per second with a constant number of requests under way."""
    held: float | None = Field(default=None, ge=0)
    """The highest rate tried at random moments that was kept pace with; None where none was."""
    failed: int = Field(ge=0)
    own: float = Field(ge=0)
    """Share of a CPU that the load generator used itself."""
    currency: Text | None = None
    """Of cost_per_million."""


class Peaks(_Record):
    """The most memory that the server had used so far, in MiB, at the end of each block of load, in order.

    Where capacity was measured, its search counts as a block, and so does each run at random moments.
    """

    mib: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1, max_length=1000)

    @property
    def last(self) -> int:
        """The last block that raised it; 1 where none after the first did."""
        return self.mib.index(self.mib[-1]) + 1

    @property
    def rising(self) -> bool:
        """Whether the last quarter of the blocks raised it by more than 1 %: then it isn't the most that is needed."""
        before = self.mib[len(self.mib) - len(self.mib) // 4 - 1]
        return self.mib[-1] > 1.01 * before

    def covered(self, *, alpha: float) -> float:
        """The share of such blocks that surely (1 - `alpha`) stay at or below the peak, were they like each other.

        Of any distribution: that the largest of n lies below its q quantile has a probability of q to the n (Wilks
        1941).
        """
        return float(alpha ** (1 / len(self.mib)))


class Starts(_Record):
    """Seconds of each start of the server, from its process's start to the first right answer, in order."""

    seconds: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1, max_length=100)
    once: Text | None = None
    """Why there was but one; then cold_start is a fact of that one."""


class Probed(_Record):
    """What became of bad inputs of one kind: how many were refused, answered, or ended as they mustn't."""

    refused: int = Field(ge=0)
    answered: int = Field(ge=0)
    failures: dict[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$", max_length=32)], int] = Field(default_factory=dict)
    """How, and how many."""
    first: Text | None = None
    """What failed first, in words."""


NUDGED = "nudged"
"""The kind under which `robustness` tells how the moved rows were answered: they are no bad inputs."""


class Nudged(_Record):
    """What became of answers to test rows whose numbers were moved by `step` of their spread."""

    rows: int = Field(ge=1)
    """Rows of which at least one number was moved."""
    step: float = Field(gt=0)
    flipped: int | None = Field(default=None, ge=0)
    """Answers of another class than before; None where answers are numbers."""
    flipped_itself: int | None = Field(default=None, ge=0)
    """Answers of another class when the same was asked twice."""
    largest: float | None = Field(default=None, ge=0)
    """The greatest change of a score or value; None where answers are labels."""
    median: float | None = Field(default=None, ge=0)
    spread: float | None = Field(default=None, ge=0)
    """The standard deviation of those scores or values before: what a change is to be held against."""


class Measured(_Record):
    """The part that is never the same twice: latency, memory, isolation, durations."""

    estimates: tuple[Estimate, ...] = ()
    loads: dict[str, UnderLoad] | None = None
    saturated: Saturated | None = None
    robustness: dict[str, Probed] | None = None
    peaks: Peaks | None = None
    """None where the server doesn't say, or was under no load."""
    starts: Starts | None = None
    """None where none was measured."""
    nudged: Nudged | None = None
    """None where nobody asked, or nothing could be moved."""
    newest: dict[str, Text] | None = None
    """The newest row's time by part, in UTC (or as written where no zone is); None where rows have no times."""
    by_time: ByTime | None = None
    """None where nobody knows when the model was first seen, or the rows have no times."""
    isolation: Literal["Sealed", "Open", "Unknown"] = "Unknown"
    seconds: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, Text] = Field(default_factory=dict)


class Evidence(_Record):
    """Everything one evaluation found."""

    computed: Computed
    measured: Measured

    def dump(self) -> dict[str, Any]:
        """Plain JSON types, without the fields that hold nothing."""
        return {"computed": dump(self.computed), "measured": dump(self.measured)}


def dump(record: BaseModel) -> dict[str, Any]:
    """A record as plain JSON types; None is left out, so that new optional fields don't change old digests."""
    return record.model_dump(mode="json", exclude_none=True)


def computed_bytes(computed: Computed) -> bytes:
    """The canonical bytes of the computed part: what parity compares and what is digested."""
    return canonical(dump(computed))


def computed_digest(computed: Computed) -> str:
    """The digest under which the computed part is known."""
    return sha256(computed_bytes(computed))


def digests(evidence: Evidence) -> tuple[str, str]:
    """The digests of the computed part and of `evidence.dump()`, writing the computed part, which is large, once."""
    computed = computed_bytes(evidence.computed)
    whole = b'{"computed":' + computed + b',"measured":' + canonical(dump(evidence.measured)) + b"}"
    return sha256(computed), sha256(whole)
