"""Whether the model's file is signed as declared: asked before anything opens it."""

from __future__ import annotations

from mandate.api.spec import ModelSource
from mandate.sources.signature import signer

from .failures import failing


def signed_by(source: ModelSource, *, digest: str | None) -> str | None:
    """The digest of the key that signed the file with this `digest`; None where no signature is declared.

    Raises EvaluationError: BadKey, BadSignature.
    """
    declared = source.signature
    if declared is None or digest is None:
        return None
    with failing("Fetch", field="spec.model.source.signature"):
        return signer(digest, signature=declared.value, public_key=declared.public_key)
