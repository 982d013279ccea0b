"""The Pod that somebody makes by hand: to the last field what the operator would make of a revision.

So nothing but the grant decides whether it may run.
"""

from __future__ import annotations

from typing import Any

from mandate.api.kinds import ModelDeploymentSpec
from mandate.api.names import LABEL_MODEL, LABEL_REVISION
from mandate.controller.pods import serving_template
from mandate.controller.settings import Images

NAME = "by-hand"


def pod(recorded: dict[str, Any], *, digest: str) -> dict[str, Any]:
    """A Pod of the revision that the ControllerRevision `recorded` holds; `digest` is its model's, as evaluated.

    It mounts the claim, fetches the model by its digest and starts the server with its arguments. The demo runs no
    recorder.
    """
    metadata, data = recorded["metadata"], recorded["data"]
    template = serving_template(
        namespace=metadata["namespace"],
        model_name=metadata["labels"][LABEL_MODEL],
        revision=metadata["labels"][LABEL_REVISION],
        spec=ModelDeploymentSpec.model_validate(data["spec"]),
        # The judge has no part in serving.
        images=Images(**data["images"], judge=data["images"]["fetch"]),
        digest=digest,
        recorder_url="",
    )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": metadata["namespace"], **template["metadata"]},
        "spec": template["spec"],
    }
