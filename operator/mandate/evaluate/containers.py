"""Baselines of type Container: asked as the model is, for the same rows, without load.

What goes wrong with one is its own affair: whatever is compared with it is an error, and all else is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mandate.api.kinds import ModelEvaluationSpec
from mandate.api.spec import Baseline, BaselineContainer, Model, ModelSource
from mandate.evidence.personal import words_of
from mandate.evidence.schema import Fault
from mandate.inference.errors import InferenceError
from mandate.measure.containers import Asked

from .data import Rows
from .failures import EvaluationError, discreetly, failing
from .frame import EXIT_INTERNAL

if TYPE_CHECKING:
    from mandate.inference.client import Limits


def declared(spec: ModelEvaluationSpec) -> Iterator[tuple[Baseline, BaselineContainer]]:
    """The baselines that a container answers for."""
    for baseline in spec.baselines:
        if baseline.container is not None:
            yield baseline, baseline.container


def need_addresses(spec: ModelEvaluationSpec, known: Mapping[str, str]) -> None:
    """Raises EvaluationError NeedsCluster where a baseline's container isn't among the `known` addresses by name."""
    for baseline, container in declared(spec):
        if baseline.name not in known:
            with failing("Predict", field=f"spec.baselines[{baseline.name}].container"):
                raise InferenceError(
                    "NeedsCluster",
                    f"{container.image} runs in a cluster only; start it here and say where it listens with "
                    f"--baseline {baseline.name}=http://127.0.0.1:{container.port}, or apply the manifest there",
                )


async def ask(
    spec: ModelEvaluationSpec, rows: Rows, *, addresses: Mapping[str, str], model: str, limits: Limits, container: bool
) -> dict[str, Asked]:
    """By baseline: its answers for `rows`, or why there are none. Raises EvaluationError where we are at fault.

    `addresses` are URLs by name, on this Pod's loopback interface where they aren't given. `container`: whether what
    answers is known to be the declared image.
    """
    from .served import over_http  # loads aiohttp

    found: dict[str, Asked] = {}
    for baseline, declaration in declared(spec):
        url = addresses.get(baseline.name, f"http://127.0.0.1:{declaration.port}")
        asked = _in_the_models_place(spec, declaration)
        try:
            said = await over_http(asked, rows, url=url, model=model, limits=limits, container=container)
        except EvaluationError as error:
            if error.exit_code == EXIT_INTERNAL:
                raise
            found[baseline.name] = Asked(said=_fault(error, baseline, spec))
        else:
            found[baseline.name] = Asked(
                said=said.answers, image=declaration.image.rpartition("@")[2] if container else None
            )
    return found


def _in_the_models_place(spec: ModelEvaluationSpec, container: BaselineContainer) -> ModelEvaluationSpec:
    """The settings under which a container is asked: answers are read as the model's, nothing else is measured."""
    output = spec.model.output
    asked = Model(
        version=spec.model.version,
        source=ModelSource(image=container.image, port=container.port),
        inputs=container.inputs or spec.model.inputs,
        output=output if container.output is None else output.model_copy(update={"name": container.output}),
    )
    return spec.model_copy(update={"model": asked, "champion": None, "loads": (), "service": ()})


def _fault(error: EvaluationError, baseline: Baseline, spec: ModelEvaluationSpec) -> Fault:
    known = words_of(spec.model_dump(mode="json"))
    said = discreetly(error, personal=spec.data.personal, known=known)
    return Fault(code=error.failure.code, message=f"baseline {baseline.name!r}, its container: {said}"[:1024])
