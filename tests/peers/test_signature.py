"""Who signed a file, against signatures and digests of keys that OpenSSL made."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from mandate.sources.errors import SourceError
from mandate.sources.signature import signer

FOLDER = Path(__file__).resolve().parents[1] / "data" / "signature"
KEYS = {
    "ec": "sha256:e7cd50ea744e6299c3bd635fb3bf8e6c6839ef090c072ee3f2e909fc1a3becc6",
    "rsa": "sha256:ae886aa19f4b4ec4f8e8a0871905829eb7381bc0cfcf54ae91fbc114773f0963",
}


def known(name: str) -> str:
    return (FOLDER / name).read_text()


def digest(content: bytes) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


MODEL = (FOLDER / "model").read_bytes()


REFUSED = {
    "another file, EC": (MODEL + b" ", "ec.sig", "ec.pub", "BadSignature", "isn't signed by publicKey"),
    "another file, RSA": (MODEL + b" ", "rsa.sig", "rsa.pub", "BadSignature", "isn't signed by publicKey"),
    "another key, EC": (MODEL, "rsa.sig", "ec.pub", "BadSignature", "isn't signed by publicKey"),
    "another key, RSA": (MODEL, "ec.sig", "rsa.pub", "BadSignature", "isn't signed by publicKey"),
    "no signature": (MODEL, "model", "ec.pub", "BadSignature", "value isn't base64"),
    "no key": (MODEL, "ec.sig", "model", "BadKey", "can't be read; expected PEM"),
    "a short key": (MODEL, "ec.sig", "small.pub", "BadKey", "has 1024 bits, must have 2048 at least"),
    "another kind of key": (MODEL, "ec.sig", "ed.pub", "BadKey", "is Ed25519; expected an EC or RSA key"),
}


@pytest.mark.row("R3/scanned")
@pytest.mark.parametrize("kind", list(KEYS))
def test_what_openssl_signed_is_signed_by_that_key(kind):
    found = signer(digest(MODEL), signature=known(f"{kind}.sig"), public_key=known(f"{kind}.pub"))
    assert found == KEYS[kind]


@pytest.mark.row("R3/scanned")
@pytest.mark.parametrize("which", list(REFUSED))
def test_what_is_not_signed_so_is_refused_by_name(which):
    content, signature, key, code, words = REFUSED[which]
    try:
        found, said = "", signer(digest(content), signature=known(signature), public_key=known(key))
    except SourceError as error:
        found, said = error.code, str(error)
    assert found == code
    assert words in said
