"""Where the model is weakest, as a search over slices found it. Plain records; nothing here is gated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=512)]
Loss = Literal["Error", "LogLoss", "AbsoluteError"]
"""Of one row: 1 for a wrong answer, else 0; -ln of the probability of what happened; |answer - actual|."""
MAX_LISTED = 20


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Side(_Record):
    """A column, or a declared slice's name, and the value that the rows have there."""

    name: Annotated[str, Field(max_length=128)]
    value: Annotated[str, Field(max_length=256)]


class WeakSlice(_Record):
    """Rows on which the losses are larger than elsewhere, beyond what the search as a whole finds by chance.

    `loss` and `elsewhere` are the mean losses inside and outside, `at_least` is a lower limit of their difference that
    allows for the choice among candidates, `effect` the difference over the losses' standard deviation. `q`: listing
    all candidates up to this one, at most this share of them would be expected to be there by chance.
    """

    sides: tuple[Side, ...] = Field(min_length=1, max_length=2)
    rows: int = Field(ge=1)
    clusters: int | None = Field(default=None, ge=1)
    loss: float
    elsewhere: float
    at_least: float
    effect: float
    p: float = Field(ge=0, le=1)
    q: float = Field(ge=0, le=1)


class Weakest(_Record):
    """What was searched, and what was found: `found` counts all, the worst are listed.

    `level` bounds the expected share of false ones among those found, `floor` is the least effect that was asked for,
    `least_rows` the fewest rows of a candidate. `left_out` says in words what was not searched.
    """

    loss: Loss
    rows: int = Field(ge=0)
    mean: float
    """Mean loss of all rows."""
    columns: tuple[Annotated[str, Field(max_length=128)], ...] = Field(max_length=100)
    candidates: int = Field(ge=0)
    level: float
    floor: float
    least_rows: int
    found: int = Field(ge=0)
    slices: tuple[WeakSlice, ...] = Field(default=(), max_length=MAX_LISTED)
    left_out: tuple[Text, ...] = Field(default=(), max_length=10)
