"""The model as MLServer sees it: decode, run on a thread, encode."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from mlserver import MLModel, ModelSettings
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, ResponseOutput, TensorData

from .answering import Answering, claimed_rows
from .datatypes import Array, Tensor
from .errors import ModelError
from .recording import Exchange, under_way
from .tensors import RequestError, decode


class FileRuntime(MLModel):  # type: ignore[misc]  # mlserver's types aren't followed
    """Serves an `Model` that is loaded already, so that the server never listens without one."""

    def __init__(self, settings: ModelSettings, *, answering: Answering, threads: ThreadPoolExecutor) -> None:
        super().__init__(settings)
        self._answering = answering
        self._threads = threads
        self.inputs = [_metadata(tensor) for tensor in answering.model.inputs.values()]
        self.outputs = [_metadata(tensor) for tensor in answering.model.outputs.values()]

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request; what it did wrong comes back as status 400."""
        exchange = under_way()
        exchange.asked(request_id=payload.id, rows=claimed_rows(payload.inputs[0].shape if payload.inputs else ()))
        try:
            wanted = self._answering.wanted(output.name for output in payload.outputs or ())
            loop = asyncio.get_running_loop()
            outputs = await loop.run_in_executor(self._threads, self._answer, payload, wanted, exchange)
        except (RequestError, ModelError) as error:
            raise InferenceError(str(error)) from error
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)

    def _answer(self, payload: InferenceRequest, wanted: tuple[str, ...], exchange: Exchange) -> list[ResponseOutput]:
        arrays: dict[str, Array] = {}
        for item in payload.inputs:
            tensor = self._answering.declared(item.name, known=arrays)
            arrays[item.name] = decode(tensor, datatype=item.datatype, shape=item.shape, data=item.data.root)
        answers = self._answering.answer(arrays, wanted, exchange)
        return [_output(self._answering.model.outputs[name], answers[name]) for name in wanted]


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
