"""What the operator asks of the recorder about replays, and what the recorder says of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from .live import Count, Rfc3339

MOST_INPUTS = 10_000
MOST_RATE = 999
MOST_KEPT = 999 * 3600
"""Seconds."""
MOST_LEASE = 86_400
"""Seconds."""


class ReplayOrder(BaseModel):
    """Requests of a model are to be asked again of `revision`, for its stay at Shadow since `since`.

    At most `rate` a second; at most `inputs` wait, none for more than `keep_seconds`. The order lapses after
    `lease_seconds`, unless it is given again: then nothing is taken or sent any more, and what waits is forgotten.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    since: Rfc3339
    rate: Annotated[int, Field(ge=1, le=MOST_RATE)]
    inputs: Annotated[int, Field(ge=1, le=MOST_INPUTS)]
    keep_seconds: Annotated[int, Field(ge=1, le=MOST_KEPT)]
    lease_seconds: Annotated[int, Field(ge=1, le=MOST_LEASE)]


class ReplayState(BaseModel):
    """How the present order goes; without `order` there is none, and nothing is held.

    `replayed` requests were sent again for this stay, `failed` of them weren't answered well (`last_failure`).
    `waiting` are held, `dropped` came in vain since the recorder started: too many at once, or too old before their
    turn. `problem`: why nothing can be sent at present.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    order: ReplayOrder | None = None
    lapses: Rfc3339 | None = None
    waiting: Count = 0
    replayed: Count = 0
    failed: Count = 0
    dropped: Count = 0
    last_failure: Annotated[str, Field(max_length=300)] = ""
    problem: Annotated[str, Field(max_length=300)] = ""

    def dump(self) -> dict[str, object]:
        """Plain JSON types, camelCase, without the fields that hold nothing."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
