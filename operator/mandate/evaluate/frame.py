"""How settings enter the evaluation Pod and how its result leaves: text with a length and a digest. Pure.

The controller imports this module too, so it needs the standard library and `mandate.evidence.canonical` only.

- Settings travel packed (canonical JSON, gzip, base64) in one environment variable, which is part of the immutable Pod.
- The judge's result leaves as one log line `MANDATE-RESULT/1 <length> <sha256> <payload>`: the payload's length in
  characters, its SHA-256 in hex, and the payload, packed the same way. Its SHA-256 also stands in the termination
  message, which only the container's own process can write.
- A termination message is a JSON object of at most 4096 bytes, see `Termination`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import zlib
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mandate.evidence.canonical import canonical

SETTINGS_VARIABLE = "MANDATE_EVALUATION"
MARK = "MANDATE-RESULT/1"
MAX_LINE = 1024 * 1024
"""Bytes of the framed line, newline included."""
MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of the JSON inside: what a reader is ready to hold in memory."""
MAX_TERMINATION = 4096
"""Bytes that the kubelet keeps of a termination message."""
MAX_MESSAGE = 1024
"""Bytes of a failure's message, in UTF-8."""

EXIT_OK = 0
EXIT_INTERNAL = 1
"""A defect of ours, or of the machine; also what Python exits with after an uncaught exception."""
EXIT_INPUT = 2
"""What the user gave can't be evaluated: a missing file, a wrong digest, a missing column, …"""
EXIT_NOT_JUDGED = 3
"""The model couldn't be judged: the predictor crashed, hung, answered wrong shapes, …"""


class FrameError(ValueError):
    """What was read isn't a frame of ours; the message says what was expected and what was found."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an evaluation has no evidence. `code` is CamelCase and stable; `message` says what to do."""

    stage: str
    code: str
    message: str
    field: str | None = None
    """The field of the ModelEvaluation that the failure is about, e.g. `spec.data.source.uri`."""

    def dump(self) -> dict[str, str]:
        parts = {"stage": self.stage, "code": self.code, "message": self.message, "field": self.field}
        return {key: _one_line(value) for key, value in parts.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the judge says: either `evidence` (`Evidence.dump()`) or the `failure` that kept it from being had."""

    evidence: dict[str, Any] | None = None
    failure: Failure | None = None

    def __post_init__(self) -> None:
        if (self.evidence is None) == (self.failure is None):
            raise ValueError("a result holds either evidence or a failure")

    def dump(self) -> dict[str, Any]:
        if self.failure is not None:
            return {"version": 1, "failure": self.failure.dump()}
        return {"version": 1, "evidence": self.evidence}


@dataclass(frozen=True, kw_only=True)
class Termination:
    """A container's termination message.

    `sha256` (64 hex) and `length` are the framed payload's (judge only); `digests` are the actual digests by field
    (`model`, `data`, `split`, …; fetch only); `failure` as in the frame, so that it is known even where the log is
    lost.
    """

    sha256: str | None = None
    length: int | None = None
    digests: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None

    def dump(self) -> str:
        parts: dict[str, Any] = {
            "sha256": self.sha256,
            "length": self.length,
            "digests": self.digests or None,
            "failure": self.failure.dump() if self.failure else None,
        }
        present = {key: value for key, value in parts.items() if value is not None}
        text = json.dumps(present, separators=(",", ":"), ensure_ascii=False)
        if (size := len(text.encode())) > MAX_TERMINATION:
            raise ValueError(f"a termination message holds {MAX_TERMINATION} bytes, this one has {size}")
        return text


def pack(document: Any) -> str:
    """JSON types to text of the base64 alphabet: canonical JSON, gzip, base64. The same document, the same text."""
    return base64.b64encode(gzip.compress(canonical(document), compresslevel=9, mtime=0)).decode("ascii")


def unpack(text: str, *, limit: int = MAX_DOCUMENT) -> Any:
    """What `pack` packed. Raises FrameError for anything else, for NaN, and beyond `limit` bytes of JSON."""
    try:
        compressed = base64.b64decode(text, validate=True)
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        data = stream.decompress(compressed, limit + 1)
    except (ValueError, zlib.error) as error:
        raise FrameError(f"expected base64 of gzip: {error}") from error
    if len(data) > limit:
        raise FrameError(f"expected at most {limit} bytes of JSON, found more")
    if not stream.eof or stream.unused_data:
        raise FrameError("expected one whole gzip stream, found part of one or bytes after it")
    return _load_json(data)


def frame(result: Result) -> tuple[str, Termination]:
    """The framed line (with its newline) and the termination message that vouches for it.

    Raises FrameError where the line would be longer than MAX_LINE.
    """
    payload = pack(result.dump())
    sha256 = hashlib.sha256(payload.encode()).hexdigest()
    line = f"{MARK} {len(payload)} {sha256} {payload}\n"
    if len(line) > MAX_LINE:
        raise FrameError(
            f"the result has {len(line)} bytes, at most {MAX_LINE} fit: declare fewer slices, slice values or gates"
        )
    return line, Termination(sha256=sha256, length=len(payload), failure=result.failure)


def read(log: bytes, *, sha256: str) -> Result:
    """The result in a judge's log, whatever else stands there, if it is the one whose digest is `sha256`.

    The last line that starts with MARK counts. Raises FrameError otherwise, never anything else.
    """
    start = log.rfind(b"\n" + MARK.encode()) + 1
    line = log[start:].split(b"\n", 1)[0]
    words = line.split(b" ")
    if words[0] != MARK.encode():
        raise FrameError(f"expected a line starting with {MARK} in the judge's log, found none in {len(log)} bytes")
    if len(words) != 4 or len(line) > MAX_LINE:
        raise FrameError(f"expected '{MARK} length sha256 payload' on one line of at most {MAX_LINE} bytes")
    length, digest, payload = words[1], words[2].decode("ascii", "replace"), words[3]
    if length != str(len(payload)).encode():
        raise FrameError(f"the frame declares {length[:16]!r} characters, found {len(payload)}: the log is cut")
    if hashlib.sha256(payload).hexdigest() != digest:
        raise FrameError("the payload's SHA-256 isn't the frame's: the log is damaged")
    if digest != sha256:
        raise FrameError(f"the termination message vouches for {sha256}, the log holds {digest}")
    return _result(unpack(payload.decode("ascii", "replace")))


def read_termination(text: str) -> Termination:
    """A container's termination message. Raises FrameError where the container wrote something else."""
    try:
        document = _load_json(text.encode())
        if not isinstance(document, dict):
            raise TypeError(f"expected an object, got {type(document).__name__}")
        failure = document.get("failure")
        return Termination(
            sha256=_text(document, "sha256"),
            length=_whole(document, "length"),
            digests={str(key): str(value) for key, value in (document.get("digests") or {}).items()},
            failure=None if failure is None else _failure(failure),
        )
    except (AttributeError, FrameError, KeyError, TypeError) as error:
        raise FrameError(f"not a termination message of ours: {error}") from error


def _result(document: Any) -> Result:
    if not isinstance(document, dict) or document.get("version") != 1:
        raise FrameError("expected an object with version 1")
    match document:
        case {"failure": dict(failure)}:
            return Result(failure=_failure(failure))
        case {"evidence": dict(evidence)}:
            return Result(evidence=evidence)
    raise FrameError(f"expected evidence or failure, got the keys {sorted(document)[:8]}")


def _failure(document: dict[str, Any]) -> Failure:
    try:
        return Failure(
            stage=str(document["stage"])[:64],
            code=str(document["code"])[:64],
            message=str(document["message"])[:MAX_MESSAGE],
            field=_text(document, "field"),
        )
    except (KeyError, TypeError) as error:
        raise FrameError(f"a failure needs stage, code and message: {error!r}") from error


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise FrameError(f"{key}: expected text, got {type(value).__name__}")
    return value


def _whole(document: dict[str, Any], key: str) -> int | None:
    value = document.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise FrameError(f"{key}: expected a whole number, got {type(value).__name__}")
    return value


def _one_line(text: str) -> str:
    """Printable, encodable, at most MAX_MESSAGE bytes: what others' errors say can hold anything."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean.encode("utf-8", "replace")[:MAX_MESSAGE].decode("utf-8", "ignore")


def _load_json(data: bytes) -> Any:
    """Strict JSON: no NaN, no infinity, no number that overflows to one, no bottomless nesting."""
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"expected JSON: {str(error)[:200]}") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:32]} is out of range")
    return value
