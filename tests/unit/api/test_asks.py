"""What people ask by annotations: read, written, and refused in words that help."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mandate.api.asks import RESERVED, VERBS, Ask, AskError, VerbName, annotation, asks, compose, parse
from mandate.rollout.state import OPERATOR

REVISION = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


@pytest.mark.parametrize(
    ("verb", "value", "expected"),
    [
        ("Pause", "7 by ann", Ask(verb="Pause", id="7", by="ann")),
        ("Abort", "7 by ann: too slow: see #3", Ask(verb="Abort", id="7", by="ann", why="too slow: see #3")),
        ("Halt", "7 to Shadow by ann", Ask(verb="Halt", id="7", by="ann", level="Shadow")),
        ("Promote", f"7 of {REVISION} by ann", Ask(verb="Promote", id="7", by="ann", revision=REVISION)),
        (
            "Halt",
            f"2026-01-02T00:00:00Z to Shadow of {REVISION} by system:serviceaccount:a:b: now",
            Ask(
                verb="Halt",
                id="2026-01-02T00:00:00Z",
                by="system:serviceaccount:a:b",
                why="now",
                revision=REVISION,
                level="Shadow",
            ),
        ),
        ("Resume", "7 by Ann by the sea", Ask(verb="Resume", id="7", by="Ann by the sea")),
        ("Retry", "once more", Ask(verb="Retry", id="once more", by="mandate.dev/retry")),
        ("Retry", "7 by ann", Ask(verb="Retry", id="7", by="ann")),
    ],
)
def test_what_a_value_asks(verb: VerbName, value: str, expected: Ask) -> None:
    assert parse(verb, value) == expected


@pytest.mark.parametrize(
    ("verb", "value", "says"),
    [
        ("Pause", "7", "'7': expected ID [of REVISION] by USER[: WHY] on one line"),
        ("Halt", "off", "'off': expected ID [to Shadow] [of REVISION] by USER[: WHY]"),
        ("Halt", "7 to Automate by ann", "expected ID [to Shadow]"),
        ("Pause", "7 to Shadow by ann", "no level: only halt has one"),
        ("Retry", "7 to Shadow by ann", "no level: only halt has one"),
        ("Pause", "7 by ann: a\nb", "on one line"),
        ("Pause", "7 by ann: \x1b[2J", "on one line"),
        ("Pause", "7 by : ann", "USER of 1 to 253 characters"),
        ("Pause", "7 by " + "x" * 254, "USER of 1 to 253 characters"),
        ("Pause", "7 by ann: " + "x" * 1015, "at most 1024 characters"),
        ("Retry", "x" * 254, "at most 1024 characters"),
        ("Pause", "7 by mandate", "USER other than mandate"),
        ("Halt", "7 by mandate.dev/retry: why", "USER other than mandate.dev/retry"),
    ],
)
def test_what_asks_for_nothing_says_field_value_and_expectation(verb: VerbName, value: str, says: str) -> None:
    with pytest.raises(AskError) as error:
        parse(verb, value)
    assert str(error.value).startswith(f"metadata.annotations[mandate.dev/{verb.lower()}]: ")
    assert says in str(error.value)
    assert len(str(error.value)) < 400


def test_of_several_annotations_the_good_ones_count() -> None:
    found, wrong = asks({"mandate.dev/halt": "7 by ann", "mandate.dev/pause": "?", "mandate.dev/abort": "", "x": "y"})
    assert found == (Ask(verb="Halt", id="7", by="ann"),)
    assert len(wrong) == 1


def test_nobody_passes_for_the_operator() -> None:
    assert OPERATOR in RESERVED
    assert annotation("Retry") in RESERVED


@given(st.sampled_from(VERBS), st.text(max_size=40))
def test_any_text_is_an_ask_or_an_error_in_words(verb: VerbName, text: str) -> None:
    for value in (text, f"7 by {text}", f"{text} by ann"):
        try:
            ask = parse(verb, value)
        except AskError:
            continue
        assert 1 <= len(ask.by) <= 253
        assert len(ask.id) <= 253
        assert ask.by not in RESERVED or (verb == "Retry" and ask.id == value)


TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)


@given(
    st.sampled_from(VERBS),
    TEXT.filter(lambda text: ": " not in text and text not in RESERVED),
    TEXT,
    st.sampled_from(["", REVISION]),
)
def test_what_is_composed_is_read_back(verb: VerbName, by: str, why: str, revision: str) -> None:
    level = "Shadow" if verb == "Halt" else None
    ask = Ask(verb=verb, id="7f3a", by=by, why=why, revision=revision, level=level)
    assert parse(verb, compose(ask)) == ask


@pytest.mark.parametrize(
    "ask",
    [
        Ask(verb="Pause", id="7", by="ann: bob"),
        Ask(verb="Pause", id="7 8", by="ann"),
        Ask(verb="Pause", id="7", by="ann", level="Shadow"),
        Ask(verb="Pause", id="7", by="ann", why="a\nb"),
        Ask(verb="Retry", id="once more", by="ann"),
        Ask(verb="Pause", id="7", by="ann", revision="latest"),
    ],
)
def test_what_no_value_asks_cannot_be_composed(ask: Ask) -> None:
    with pytest.raises(AskError):
        compose(ask)
