"""What was found about tables: distances between two of them, column by column, and findings. Plain records."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Text = Annotated[str, Field(max_length=512)]
Words = Annotated[str, BeforeValidator(lambda text: text[:1024] if isinstance(text, str) else text)]
"""A sentence. It holds names that come from the data, so what is longer than 1024 characters is cut."""
DistanceName = Literal["ks", "wasserstein", "psi", "jensen_shannon", "chi_square", "missing"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Distance(_Record):
    """How far apart two samples of one column are.

    `value` is an effect size that sample sizes don't inflate; `error` how far at most it is from the value on the rows
    themselves, above 0 only beyond the profile's exact size; None where it is a lower bound. `floor`: the least value
    that matters. `p` and `statistic` are missing where the distance is no test, or has too few rows to be one.
    """

    name: DistanceName
    value: float = Field(ge=0)
    error: float | None = Field(default=0.0, ge=0)
    floor: float = Field(ge=0)
    p: float | None = Field(default=None, ge=0, le=1)
    statistic: float | None = None

    @property
    def matters(self) -> bool:
        """Whether the effect reaches its floor, its error taken off."""
        return self.value - (self.error or 0.0) >= self.floor


class ColumnDrift(_Record):
    """One column in two tables. `rows` and `present` (not missing) are given as (reference, current).

    `adjusted` is the column's smallest p-value after Holm's correction for all tests of the comparison; `changed` is
    true where that is at most its level and a distance reaches its floor.
    """

    column: Text
    kind: Literal["Number", "Category"]
    rows: tuple[int, int]
    present: tuple[int, int]
    distances: tuple[Distance, ...]
    adjusted: float | None = Field(default=None, ge=0, le=1)
    changed: bool = False


class Finding(_Record):
    """Something about the data that someone should know.

    `code` is CamelCase and stable; `part` names the table (train, test, current, …), `column` is missing where it is
    about rows. `numbers` are what it rests on, `effect` the one that says how bad it is, between 0 and 1. `message`
    says what was found, `advice` what could be done about it.
    """

    code: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$", max_length=64)]
    part: Annotated[str, Field(max_length=64)]
    column: Text | None = None
    numbers: dict[str, float]
    effect: float = Field(ge=0, le=1)
    message: Words
    advice: Words


MAX_DRIFT = 100
"""Columns of one comparison that evidence lists: those that changed first, the farthest first."""
MAX_FINDINGS = 100


class Comparison(_Record):
    """A later part of the rows beside an earlier one: how many columns were compared and changed, and the farthest."""

    reference: Annotated[str, Field(max_length=64)]
    current: Annotated[str, Field(max_length=64)]
    compared: int = Field(ge=0)
    changed: int = Field(ge=0)
    columns: Annotated[tuple[ColumnDrift, ...], Field(max_length=MAX_DRIFT)] = ()


LEAKS = frozenset({"SharedRows", "SharedContent", "SharedEntities", "TimeTravel", "GivesLabelAway"})
"""Codes of findings that make a test look better than use will be."""
CHANGES = frozenset({"Drift", "LabelDrift"})
"""Codes of findings that say that a column is distributed otherwise."""
UNREPRESENTED = frozenset({"UnrepresentedGroup", "OutsideTraining"})
"""Codes of findings about what production has and training lacks."""
NOTES = frozenset({"GivesClassAway", "RepeatedRows"})
"""Codes of findings that are told and counted by no gate: honest data have them, too."""


class Unasked(_Record):
    """What a count couldn't look at, so that 0 of it doesn't say that there is nothing."""

    count: Literal["leaks", "changed_columns", "unrepresented_groups"]
    code: Literal["TooFewRows", "NotExamined"]
    message: Words


class DataEvidence(_Record):
    """What was found about the rows of an evaluation.

    `counts` has how many findings there are of each code. Listed are leaks first, then what is wrong with rows and
    columns, then notes, then change, the gravest first, and of every code at least one.
    """

    comparisons: tuple[Comparison, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict)
    findings: Annotated[tuple[Finding, ...], Field(max_length=MAX_FINDINGS)] = ()
    unasked: Annotated[tuple[Unasked, ...], Field(max_length=16)] = ()
