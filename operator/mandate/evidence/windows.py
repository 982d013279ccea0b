"""How the metrics of the test rows vary over windows of production's length."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_WINDOWS = 100
"""Windows that are measured one by one."""
Name = Annotated[str, Field(max_length=32)]

LENGTH = r"^(Hour|Day|Week|Month|Quarter|Year|[1-9][0-9]{0,8}(s|m|h|d))$"
"""A period of the calendar, or a duration."""
UNTOLD = frozenset({"NoWholeWindow", "NoRows", "TooFewRows", "OneClass", "OneTime", "NoRelevantRow"})
"""Codes of faults that say no more than that a window holds too little: more rows would mend it, nothing is wrong."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NormalRange(_Record):
    """Where the next window's value is to be expected with probability `share`, were windows exchangeable.

    `OrderStatistics`: the r-th smallest and r-th largest of n values, between which a further one lies with probability
    (n + 1 - 2r) / (n + 1), whatever their distribution (Wilks 1941). `StudentT`: mean ± t s √(1 + 1/n) of the values on
    `link`'s scale, where they are taken to be normal (Whitmore 1986); it holds what differs between windows and the
    sampling error within one.
    """

    low: float
    high: float
    share: float = Field(gt=0, lt=1)
    how: Literal["OrderStatistics", "StudentT"]
    link: Literal["Identity", "Logit", "Log"] | None = None


class OverWindows(_Record):
    """One metric over the windows in which it has a value, each counting alike, whatever its rows.

    Quartiles are interpolated linearly. `worst`: in which window it was worst (the first of several); None where the
    metric says of no value that it is worse than another. `unknown` says why there is no normal range.
    """

    metric: Annotated[str, Field(max_length=64)]
    measured: int = Field(ge=1, le=MAX_WINDOWS)
    median: float
    lower_quartile: float
    upper_quartile: float
    lowest: float
    highest: float
    worst: Name | None = None
    normal: NormalRange | None = None
    unknown: Annotated[str, Field(max_length=256)] | None = None


class Windows(_Record):
    """The whole windows that the test rows hold, in order, and each metric's spread over them.

    `length`: a period of the calendar or a duration, None where windows are of `count` rows, units or queries. `names`
    say when a window begins on a clock on the wall, or number them. `left_out`: test rows in no whole window.
    """

    length: Annotated[str, Field(pattern=LENGTH, max_length=16)] | None = None
    count: int | None = Field(default=None, ge=1)
    ordered: Literal["Time", "Key"]
    """What puts rows in order; by their keys they are as if drawn at random."""
    of: Literal["rows", "units", "queries"] = "rows"
    """What `count` counts."""
    names: tuple[Name, ...] = Field(default=(), max_length=MAX_WINDOWS)
    rows: tuple[int, ...] = Field(default=(), max_length=MAX_WINDOWS)
    left_out: int = Field(ge=0)
    metrics: tuple[OverWindows, ...] = ()
    why: Annotated[str, Field(max_length=512)] | None = None
    """Why there are no windows."""

    @property
    def words(self) -> str:
        """How long a window is: `30 days`, `1 month`, `5000 rows`."""
        if self.length is None:
            return f"{self.count} {self.of}"
        if not self.length[0].isdigit():
            return f"1 {self.length.lower()}"
        number, unit = int(self.length[:-1]), {"s": "second", "m": "minute", "h": "hour", "d": "day"}[self.length[-1]]
        return f"{number} {unit}" + ("" if number == 1 else "s")
