"""What a judge may leave behind, and what is taken of it."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.controller.intake import SUMMARY_LIMIT, IntakeError, restore, summary, take
from mandate.evaluate.frame import MARK, Failure, Result, frame, pack
from mandate.evidence.canonical import canonical, sha256
from mandate.evidence.schema import Estimate, Evidence, Quantity, Support
from tests.unit.controller.samples import evidence

GOOD = evidence(0.8)


def framed(result: Result) -> tuple[str, bytes]:
    line, termination = frame(result)
    return termination.dump(), line.encode()


def forged(payload: str, *, vouched: str | None = None) -> tuple[str, bytes]:
    """A frame whose checks hold, around any payload."""
    sha = hashlib.sha256(payload.encode()).hexdigest()
    return json.dumps({"sha256": vouched or sha}), f"{MARK} {len(payload)} {sha} {payload}\n".encode()


def test_good_evidence_is_taken_out_of_noise() -> None:
    termination, line = framed(Result(evidence=GOOD.dump()))
    assert take(termination, b"a warning\n" * 1000 + line + b"goodbye\n") == GOOD


def test_a_failure_keeps_its_name() -> None:
    failure = Failure(stage="judge", code="OneClass", message="the label has one class")
    with pytest.raises(IntakeError, match="one class") as caught:
        take(*framed(Result(failure=failure)))
    assert caught.value.code == "OneClass"


TERMINATION, LINE = framed(Result(evidence=GOOD.dump()))
NAN = json.dumps({"version": 1, "evidence": {"computed": float("nan")}})
BAD = {
    "no log": (TERMINATION, b""),
    "no frame": (TERMINATION, b"Segmentation fault\n"),
    "cut": (TERMINATION, LINE[:-200]),
    "another result": (framed(Result(evidence=evidence(0.9).dump()))[0], LINE),
    "no termination message": ("", LINE),
    "garbage in it": ("\x00\xff", LINE),
    "vouches for nothing": ("{}", LINE),
    "not the schema": forged(pack({"version": 1, "evidence": {"computed": {}, "measured": {}}})),
    "unknown fields": forged(pack({"version": 1, "evidence": {**GOOD.dump(), "passed": True}})),
    "neither": forged(pack({"version": 1})),
    "not base64": forged("!!!!"),
    "another version": forged(pack({"version": 2, "evidence": GOOD.dump()})),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_garbled(name: str) -> None:
    with pytest.raises(IntakeError) as caught:
        take(*BAD[name])
    assert caught.value.code == "JudgeGarbled"


@given(termination=st.text(max_size=200), log=st.binary(max_size=400))
def test_no_bytes_confuse_it(termination: str, log: bytes) -> None:
    with pytest.raises(IntakeError):
        take(termination, log)


def many(count: int, *, slices: str = "region") -> Evidence:
    """Evidence with one overall number and `count` for values of a slice."""
    first = GOOD.computed.estimates[0]
    more = tuple(
        Estimate(
            quantity=Quantity(metric="accuracy", slice=slices, value=f"value {index}"),
            estimate=0.5,
            interval=first.interval,
            support=Support(rows=10, events=5),
        )
        for index in range(count)
    )
    return GOOD.model_copy(update={"computed": GOOD.computed.model_copy(update={"estimates": (first, *more)})})


@pytest.mark.parametrize("count", [0, 10, 1000, 20_000])
def test_the_summary_fits_whatever_was_measured(count: int) -> None:
    text = summary(many(count), evidence_digest=sha256(b"x"))
    document = json.loads(text)
    assert len(text.encode()) <= SUMMARY_LIMIT
    assert document["estimates"][0]["quantity"]["slice"] == "overall"
    assert canonical(document).decode() == text
    assert (len(document["estimates"]) == count + 1) == (count <= 10)


def test_stored_evidence_comes_back_or_is_known_to_be_damaged() -> None:
    data = canonical(GOOD.dump())
    assert restore(data, digest=sha256(data)) == GOOD
    with pytest.raises(IntakeError) as caught:
        restore(data.replace(b"0.8", b"0.9"), digest=sha256(data))
    assert caught.value.code == "EvidenceDamaged"


def test_evidence_of_another_version_is_not_understood() -> None:
    whole = b'{"computed": {"kind": "of the future"}}'
    with pytest.raises(IntakeError) as caught:
        restore(whole, digest=sha256(whole))
    assert caught.value.code == "EvidenceOutdated"
