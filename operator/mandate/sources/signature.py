"""Whether a file is signed by a key: over its SHA-256, so that its digest is enough, and the file need not be there."""

from __future__ import annotations

import base64
import binascii

from .errors import SourceError

LEAST_BITS = 2048
"""Of an RSA key."""


def signer(digest: str, *, signature: str, public_key: str) -> str:
    """The key that signed the file with this `digest`: `sha256:<64 hex>` of its SubjectPublicKeyInfo.

    `signature` is base64, of ECDSA or of RSA with PKCS #1 v1.5, both with SHA-256: what `cosign sign-blob` and
    `openssl dgst -sha256 -sign` make. `public_key` is PEM. Raises SourceError: BadKey, BadSignature.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

    try:
        key = serialization.load_pem_public_key(public_key.encode())
    except ValueError:
        raise SourceError("BadKey", "publicKey can't be read; expected PEM: -----BEGIN PUBLIC KEY----- …") from None
    try:
        mark = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise SourceError("BadSignature", "value isn't base64; expected what `cosign sign-blob` prints") from None
    known, prehashed = bytes.fromhex(digest.removeprefix("sha256:")), utils.Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(mark, known, ec.ECDSA(prehashed))
        elif isinstance(key, rsa.RSAPublicKey):
            if key.key_size < LEAST_BITS:
                raise SourceError("BadKey", f"publicKey has {key.key_size} bits, must have {LEAST_BITS} at least")
            key.verify(mark, known, padding.PKCS1v15(), prehashed)
        else:
            raise SourceError(
                "BadKey", f"publicKey is {type(key).__name__.removesuffix('PublicKey')}; expected an EC or RSA key"
            )
    except InvalidSignature:
        raise SourceError(
            "BadSignature",
            f"the file with {digest} isn't signed by publicKey; sign that very file, or give the key that signed it",
        ) from None
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    found = hashes.Hash(hashes.SHA256())
    found.update(spki)
    return f"sha256:{found.finalize().hex()}"
