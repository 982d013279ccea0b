"""Of whom numbers are, where decisions hide outcomes (selective labels). A plain record."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ACCEPTED_ONLY = "of the accepted only"
"""What every number is that rests on the rows alone whose label a decision revealed."""


class LabelsKnown(BaseModel):
    """Of whom the numbers are.

    `Holdout`: of rows drawn at random, labelled whatever the decision. `Weighted`: of all rows, by inverse propensities
    (Hájek). `AcceptedOnly`: of nobody but those whose label a decision revealed, which says nothing of the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    status: Literal["Holdout", "Weighted", "AcceptedOnly"]
    reason: Annotated[str, Field(max_length=512)]
    rows: dict[str, int]
    """Rows per part, labelled or not."""
    revealed: dict[str, int]
    """Those of them whose label was revealed."""
    measured: dict[str, int]
    """Those of them that numbers are measured on."""
    effective: float | None = Field(default=None, gt=0)
    """`Weighted`: how many equal rows tell as much as the test rows that are measured (Kish 1965)."""
    stands_for: float | None = Field(default=None, gt=0)
    """`Weighted`: how many rows the test rows that are measured stand for, the sum of their inverse propensities as
    declared (Horvitz & Thompson 1952); near `rows` of test where those are right."""
    clipped: int | None = Field(default=None, ge=0)
    """`Weighted`: test rows whose propensity was raised to task.labels.minPropensity."""

    @property
    def of_everyone(self) -> bool:
        """Whether something makes up for what decisions hid."""
        return self.status != "AcceptedOnly"
