"""The model as MLServer sees it: decode, run on a thread, encode."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from mlserver import MLModel, ModelSettings
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, ResponseOutput, TensorData

from .datatypes import Array, Tensor
from .onnx_model import ModelError, OnnxModel
from .tensors import RequestError, complete, decode


class OnnxRuntime(MLModel):  # type: ignore[misc]  # mlserver's types aren't followed
    """Serves an `OnnxModel` that is loaded already, so that the server never listens without one."""

    def __init__(self, settings: ModelSettings, *, model: OnnxModel, threads: ThreadPoolExecutor) -> None:
        super().__init__(settings)
        self._model = model
        self._threads = threads
        self.inputs = [_metadata(tensor) for tensor in model.inputs.values()]
        self.outputs = [_metadata(tensor) for tensor in model.outputs.values()]

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request; what it did wrong comes back as status 400."""
        try:
            wanted = self._wanted(payload)
            loop = asyncio.get_running_loop()
            outputs = await loop.run_in_executor(self._threads, self._answer, payload, wanted)
        except (RequestError, ModelError) as error:
            raise InferenceError(str(error)) from error
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)

    def _answer(self, payload: InferenceRequest, wanted: tuple[str, ...]) -> list[ResponseOutput]:
        arrays: dict[str, Array] = {}
        for item in payload.inputs:
            tensor = self._model.inputs.get(item.name)
            if tensor is None:
                known = ", ".join(self._model.inputs)
                raise RequestError(f"input {item.name!r}: unknown; the model takes {known}")
            if item.name in arrays:
                raise RequestError(f"input {item.name!r}: given twice")
            arrays[item.name] = decode(tensor, datatype=item.datatype, shape=item.shape, data=item.data.root)
        answers = self._model.run(complete(self._model.inputs, arrays), wanted)
        return [_output(self._model.outputs[name], answer) for name, answer in answers.items()]

    def _wanted(self, payload: InferenceRequest) -> tuple[str, ...]:
        if not payload.outputs:
            return tuple(self._model.outputs)
        for output in payload.outputs:
            if output.name not in self._model.outputs:
                raise RequestError(
                    f"output {output.name!r}: unknown; the model answers {', '.join(self._model.outputs)}"
                )
        return tuple(dict.fromkeys(output.name for output in payload.outputs))


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
