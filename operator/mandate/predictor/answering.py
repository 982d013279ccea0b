"""From named arrays to the model's answers: what requests in JSON and in binary have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .datatypes import Array, Tensor
from .model import Model
from .recording import Exchange
from .tensors import RequestError, complete

MOST_FAILED = 1000
"""Rows that a failed request is recorded with at most: its shape is only what the client says."""


@dataclass(frozen=True, kw_only=True)
class Answering:
    """One model; `recorded` names the output that is put down in the exchange, whatever the client asks for."""

    model: Model
    recorded: str | None = None

    def declared(self, name: str, *, known: Iterable[str] = ()) -> Tensor:
        """The input of that name, which isn't among the `known` ones of this request. Raises RequestError."""
        tensor = self.model.inputs.get(name)
        if tensor is None:
            raise RequestError(f"input {name!r}: unknown; the model takes {', '.join(self.model.inputs)}")
        if name in known:
            raise RequestError(f"input {name!r}: given twice")
        return tensor

    def wanted(self, asked: Iterable[str]) -> tuple[str, ...]:
        """The outputs to answer with, all of them where none is asked for. Raises RequestError."""
        names = tuple(dict.fromkeys(asked))
        for name in names:
            if name not in self.model.outputs:
                raise RequestError(f"output {name!r}: unknown; the model answers {', '.join(self.model.outputs)}")
        return names or tuple(self.model.outputs)

    def answer(self, arrays: Mapping[str, Array], wanted: tuple[str, ...], exchange: Exchange) -> dict[str, Array]:
        """Answers by output name, more than those wanted perhaps. Raises RequestError, ModelError."""
        recorded = () if self.recorded is None or self.recorded in wanted else (self.recorded,)
        answers = self.model.run(complete(self.model.inputs, arrays), (*wanted, *recorded))
        if self.recorded is not None:
            values = answers[self.recorded]
            exchange.values = values if values.ndim else values.reshape(1)
            exchange.rows = len(exchange.values)
        return answers


def claimed_rows(shape: Iterable[int]) -> int:
    """How many rows a request claims to have, for one that fails: at least 1, at most what it can carry."""
    return max(1, min(next(iter(shape), 1), MOST_FAILED))
