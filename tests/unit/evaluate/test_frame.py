"""The frame: what goes in comes out, and nothing else does."""

import base64
import gzip
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.evaluate.frame import (
    MARK,
    MAX_LINE,
    MAX_TERMINATION,
    Failure,
    FrameError,
    Result,
    Termination,
    frame,
    pack,
    read,
    read_termination,
    unpack,
)
from tests.processes import OPERATOR

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**60), 2**60) | st.floats(-1e300, 1e300).map(lambda x: float(f"{x:.9e}"))
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(documents)
def test_unpack_inverts_pack_and_the_text_is_safe_in_an_environment_variable(document):
    packed = pack(document)
    assert unpack(packed) == document
    assert pack(unpack(packed)) == packed
    assert not set(packed) & set("$ \n\0")


@given(st.dictionaries(texts, documents, max_size=5), st.binary(max_size=200), st.binary(max_size=200))
def test_a_framed_result_is_found_whatever_stands_around_it(evidence, before, after):
    line, termination = frame(Result(evidence=evidence))
    noise = before.replace(MARK.encode(), b"") + b"\n"
    log = noise + line.encode() + after.replace(MARK.encode(), b"")
    assert read(log, sha256=termination.sha256).evidence == evidence


@given(st.binary(max_size=300) | texts.map(str.encode))
def test_garbage_is_a_frame_error_and_nothing_else(garbage):
    with pytest.raises(FrameError):
        read(MARK.encode() + b" " + garbage, sha256="0" * 64)
    with pytest.raises(FrameError):
        read(garbage, sha256="0" * 64)


@given(st.data())
def test_every_changed_byte_of_the_line_is_noticed(data):
    line, termination = frame(Result(evidence={"a": [1.5, "x"]}))
    raw = bytearray(line.rstrip("\n").encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        read(bytes(raw), sha256=termination.sha256)


def test_a_cut_log_says_so():
    line, termination = frame(Result(evidence={"a": 1}))
    with pytest.raises(FrameError, match="the log is cut"):
        read(line[:-9].encode(), sha256=termination.sha256)


def test_a_whole_frame_that_the_termination_message_does_not_vouch_for_is_refused():
    forged, _ = frame(Result(evidence={"forged": True}))
    _, honest = frame(Result(evidence={"forged": False}))
    with pytest.raises(FrameError, match="vouches"):
        read(forged.encode(), sha256=honest.sha256)


def test_the_last_frame_counts():
    first, _ = frame(Result(evidence={"n": 1}))
    second, termination = frame(Result(evidence={"n": 2}))
    assert read((first + second).encode(), sha256=termination.sha256).evidence == {"n": 2}


def test_a_failure_travels_in_the_frame_and_in_the_termination_message():
    failure = Failure(stage="Predict", code="WrongShape", message="outputs 3 rows for 4", field="spec.model.output")
    line, termination = frame(Result(failure=failure))
    assert read(line.encode(), sha256=termination.sha256) == Result(failure=failure)
    assert read_termination(termination.dump()) == termination
    assert read_termination(termination.dump()).failure == failure


@given(st.dictionaries(st.sampled_from(["model", "data", "split"]), texts))
def test_digests_travel_in_the_termination_message(digests):
    assert read_termination(Termination(digests=digests).dump()).digests == digests


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "3", '{"failure":{}}', '{"sha256":3}', '{"length":true}', '{"digests":[1]}']
)
def test_a_foreign_termination_message_is_refused(text):
    with pytest.raises(FrameError):
        read_termination(text)


@pytest.mark.parametrize("character", ["ä", "\x01", '"', "\ud800", "😀"])
def test_a_long_failure_message_still_fits_the_termination_message(character):
    failure = Failure(stage="Fetch", code="NotFound", message=character * 5000)
    text = Termination(failure=failure).dump()
    assert len(text.encode()) <= MAX_TERMINATION
    assert len(read_termination(text).failure.message.encode()) in range(1020, 1025)
    assert frame(Result(failure=failure))[1].failure == failure
    with pytest.raises(ValueError, match="4096"):
        Termination(failure=failure, digests={"model": "s" * 4000}).dump()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(number):
    packed = base64.b64encode(gzip.compress(f'{{"x":{number}}}'.encode())).decode()
    with pytest.raises(FrameError):
        unpack(packed)


def test_bottomless_nesting_and_decompression_bombs_are_refused():
    nested = base64.b64encode(gzip.compress(b"[" * 200_000)).decode()
    with pytest.raises(FrameError):
        unpack(nested)
    bomb = base64.b64encode(gzip.compress(b" " * 2_000_000)).decode()
    with pytest.raises(FrameError, match="at most 1000000 bytes"):
        unpack(bomb, limit=1_000_000)


def test_bytes_after_the_stream_are_refused():
    packed = base64.b64encode(gzip.compress(b"{}") + b"more").decode()
    with pytest.raises(FrameError, match="one whole gzip stream"):
        unpack(packed)


def test_a_result_too_long_for_the_line_says_what_to_declare_less_of():
    import random

    noise = random.Random(1).randbytes(MAX_LINE).hex()
    with pytest.raises(FrameError, match="fewer slices"):
        frame(Result(evidence={"noise": noise}))


def test_the_controller_can_import_it_without_heavy_packages():
    code = (
        "import sys, mandate.evaluate.frame; print([m for m in sys.modules if m.split('.')[0] in "
        + json.dumps(["numpy", "pandas", "aiohttp", "onnxruntime", "pydantic", "sklearn"])
        + "])"
    )
    environment = {**os.environ, "PYTHONPATH": str(OPERATOR)}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
