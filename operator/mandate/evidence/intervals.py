"""How an estimate's uncertainty is recorded, so that limits at any level can be had later without the data.

An evidence record doesn't store "the 95 % interval": the level that decides depends on how often the test rows were
looked at and on the criteria, which may change after the measurement. It stores the *family* of the sampling
distribution with its parameters instead; `mandate.verdict.limits` turns these into one-sided limits.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Link = Literal["Identity", "Logit", "Log", "LogComplement"]
"""From a metric's scale to the one on which it is Student-t: v, ln(v / (1 - v)), ln v, or -ln(1 - v)."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Beta(_Record):
    """A proportion: `successes` out of `trials`, exact (Clopper & Pearson 1934).

    Counts need not be whole: clustered rows are recorded as effective counts (Korn & Graubard 1998).
    """

    family: Literal["Beta"] = "Beta"
    successes: NonNegative
    trials: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _within(self) -> Beta:
        if self.successes > self.trials:
            raise ValueError(f"successes must be at most trials ({self.trials}), got {self.successes}")
        return self


class StudentT(_Record):
    """An estimate that is Student-t on a link scale: `centre` and `se` are on the link's scale, `df` > 0."""

    family: Literal["StudentT"] = "StudentT"
    link: Link
    centre: Finite
    se: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    df: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Paired(_Record):
    """Two estimates on the same rows: value `a` against reference `b`, with their joint variance.

    Kept apart rather than as one difference, since a relative margin m asks about a - b - m*|b|, whose variance
    depends on the covariance.
    """

    family: Literal["Paired"] = "Paired"
    a: Finite
    b: Finite
    var_a: NonNegative
    var_b: NonNegative
    cov: Finite
    df: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Table(_Record):
    """Limits computed from the data at a grid of one-sided levels, where no family fits (order statistics).

    `levels` falls strictly (0.025, 0.0125, …); `lower[i]` and `upper[i]` are the one-sided limits at `levels[i]`,
    None where the sample is too small to give one. A level between two grid points uses the smaller, which is wider.
    """

    family: Literal["Table"] = "Table"
    levels: tuple[Annotated[float, Field(gt=0, lt=0.5)], ...]
    lower: tuple[Finite | None, ...]
    upper: tuple[Finite | None, ...]

    @model_validator(mode="after")
    def _aligned(self) -> Table:
        if not len(self.levels) == len(self.lower) == len(self.upper) or not self.levels:
            raise ValueError("levels, lower and upper must have the same length of at least 1")
        if any(later >= earlier for earlier, later in pairwise(self.levels)):
            raise ValueError("levels must fall strictly")
        return self


class AllPairs(_Record):
    """A spread over groups: one `StudentT` per ordered-by-name pair of groups, on differences or log ratios.

    Passes when every pair's limit meets the requirement, so no maximum of noisy numbers is ever compared. The worst of
    several metrics' spreads holds the pairs of each. `hindrance` says what keeps some pairs, of which `left_out` have
    no interval at all, from being bounded: then it can fail by the others, and never passes.
    """

    family: Literal["AllPairs"] = "AllPairs"
    pairs: tuple[GroupPair, ...] = Field(min_length=1)
    hindrance: Unbounded | None = None
    left_out: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> AllPairs:
        partly = self.left_out is not None or any(isinstance(pair.interval, Proportions) for pair in self.pairs)
        if partly and self.hindrance is None:
            raise ValueError("pairs that aren't bounded on both sides need a hindrance that says why")
        return self


class GroupPair(_Record):
    """Group `first` against group `second`: difference or log ratio, Student-t on the identity scale.

    `metric` is given where a spread is the worst of several metrics'.
    """

    first: str = Field(max_length=256)
    second: str = Field(max_length=256)
    metric: str | None = Field(default=None, max_length=64)
    interval: Annotated[StudentT | Proportions, Field(discriminator="family")]


class Proportions(_Record):
    """The proportions of a pair's groups where one is 0: their ratio is bounded on the side towards 1 alone."""

    family: Literal["Proportions"] = "Proportions"
    first: Beta
    second: Beta


class Fact(_Record):
    """A count over the run itself (shared rows, crashes): no sampling, hence no interval."""

    family: Literal["Fact"] = "Fact"


class Unbounded(_Record):
    """No honest interval: too few events, or an estimated variance of zero. Never passes, never fails.

    `unit` is what binds (rows, events, clusters, discordant pairs, requests that were sent in time); `needed` how many
    are needed, `found` how many there were.
    """

    family: Literal["Unbounded"] = "Unbounded"
    reason: str = Field(max_length=512)
    unit: Literal[
        "rows", "positives", "negatives", "minority", "clusters", "discordant", "blocks", "punctual", "queries"
    ]
    found: int = Field(ge=0)
    needed: int = Field(ge=0)


Interval = Annotated[
    Beta | StudentT | Paired | Table | AllPairs | Fact | Unbounded,
    Field(discriminator="family"),
]
AllPairs.model_rebuild()
