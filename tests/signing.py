"""Signatures for tests, by keys that are made for them."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256


def signed(content: bytes) -> tuple[dict[str, str], str]:
    """What `model.source.signature` declares of a file with this content, and the digest of the key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    public, spki = key.public_key(), serialization.PublicFormat.SubjectPublicKeyInfo
    der, pem = (public.public_bytes(form, spki) for form in (serialization.Encoding.DER, serialization.Encoding.PEM))
    value = b64encode(key.sign(content, ec.ECDSA(hashes.SHA256()))).decode()
    return {"value": value, "publicKey": pem.decode()}, f"sha256:{sha256(der).hexdigest()}"
