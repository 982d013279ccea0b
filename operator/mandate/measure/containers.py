"""What baselines of type Container said: containers of the user's, asked beside the model for the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mandate.api import spec
from mandate.evidence.schema import Fault, Learnt

from .answers import Answers


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One container's answers, one per row of the table, or why there are none.

    `image`: the digest of the image that answered; None where that isn't known.
    """

    said: Answers | Fault
    image: str | None = None

    def ordered(self, order: NDArray[Any]) -> Asked:
        """The answers in this order of all rows; a fault where there aren't as many."""
        if isinstance(self.said, Answers) and len(self.said.values) != len(order):
            message = f"{len(self.said.values)} answers of the container for {len(order)} rows"
            return Asked(said=Fault(code="DifferentRows", message=message))
        return self.take(order)

    def take(self, rows: NDArray[Any]) -> Asked:
        """The answers of `rows`, in that order."""
        return Asked(said=self.said.take(rows), image=self.image) if isinstance(self.said, Answers) else self


def unasked(reference: spec.Baseline) -> Asked:
    """Of a baseline whose container nobody asked."""
    message = f"baseline {reference.name!r}: its container wasn't asked; evaluate again"
    return Asked(said=Fault(code="NotMeasured", message=message))


def told(reference: spec.Baseline, asked: Asked) -> list[Learnt]:
    """What answered, in words; nothing where nothing did."""
    if reference.container is None or not isinstance(asked.said, Answers):
        return []
    image = reference.container.image
    words = (
        f"answers of the container {image}, asked for the same rows"
        if asked.image is not None
        else f"answers of a server that ran already, asked for the same rows; that it is {image} isn't known"
    )
    return [Learnt(baseline=reference.name, words=words)]
