"""The model as MLServer sees it: decode, run on a thread, encode."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from mlserver import MLModel, ModelSettings
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, ResponseOutput, TensorData

from .datatypes import Array, Tensor
from .errors import ModelError
from .model import Model
from .recording import Exchange, under_way
from .tensors import RequestError, complete, decode

_MOST_FAILED = 1000
"""Rows that a failed request is recorded with at most: its shape is only what the client says."""


class FileRuntime(MLModel):  # type: ignore[misc]  # mlserver's types aren't followed
    """Serves an `Model` that is loaded already, so that the server never listens without one."""

    def __init__(
        self, settings: ModelSettings, *, model: Model, threads: ThreadPoolExecutor, recorded: str | None = None
    ) -> None:
        """`recorded` names the output that is put down in the exchange, whatever the client asks for."""
        super().__init__(settings)
        self._model = model
        self._threads = threads
        self._recorded = recorded
        self.inputs = [_metadata(tensor) for tensor in model.inputs.values()]
        self.outputs = [_metadata(tensor) for tensor in model.outputs.values()]

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request; what it did wrong comes back as status 400."""
        exchange = under_way()
        exchange.asked(request_id=payload.id, rows=_rows(payload))
        try:
            wanted = self._wanted(payload)
            loop = asyncio.get_running_loop()
            outputs = await loop.run_in_executor(self._threads, self._answer, payload, wanted, exchange)
        except (RequestError, ModelError) as error:
            raise InferenceError(str(error)) from error
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)

    def _answer(self, payload: InferenceRequest, wanted: tuple[str, ...], exchange: Exchange) -> list[ResponseOutput]:
        arrays: dict[str, Array] = {}
        for item in payload.inputs:
            tensor = self._model.inputs.get(item.name)
            if tensor is None:
                known = ", ".join(self._model.inputs)
                raise RequestError(f"input {item.name!r}: unknown; the model takes {known}")
            if item.name in arrays:
                raise RequestError(f"input {item.name!r}: given twice")
            arrays[item.name] = decode(tensor, datatype=item.datatype, shape=item.shape, data=item.data.root)
        recorded = () if self._recorded is None or self._recorded in wanted else (self._recorded,)
        answers = self._model.run(complete(self._model.inputs, arrays), (*wanted, *recorded))
        if self._recorded is not None:
            values = answers[self._recorded]
            exchange.values = values if values.ndim else values.reshape(1)
            exchange.rows = len(exchange.values)
        return [_output(self._model.outputs[name], answers[name]) for name in wanted]

    def _wanted(self, payload: InferenceRequest) -> tuple[str, ...]:
        if not payload.outputs:
            return tuple(self._model.outputs)
        for output in payload.outputs:
            if output.name not in self._model.outputs:
                raise RequestError(
                    f"output {output.name!r}: unknown; the model answers {', '.join(self._model.outputs)}"
                )
        return tuple(dict.fromkeys(output.name for output in payload.outputs))


def _rows(payload: InferenceRequest) -> int:
    """How many rows a request claims to have, for one that fails: at least 1, at most what it can carry."""
    shape = payload.inputs[0].shape if payload.inputs else []
    return max(1, min(shape[0], _MOST_FAILED)) if shape else 1


def _output(tensor: Tensor, answer: Array) -> ResponseOutput:
    # MLServer's JSON writes NaN and infinities as null, which is the only honest thing that JSON can say.
    return ResponseOutput(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=list(answer.shape),
        data=TensorData(root=answer.ravel().tolist()),
    )


def _metadata(tensor: Tensor) -> MetadataTensor:
    return MetadataTensor(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))
