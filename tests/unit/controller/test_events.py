"""What people are told when conditions change."""

from mandate.controller.events import Note, changes, told, transitions


def condition(kind, status, reason, message=""):
    return {"type": kind, "status": status, "reason": reason, "message": message}


def test_one_cause_is_told_once_by_the_condition_that_says_most():
    after = [
        condition("CandidateRefused", "False", "PredictorCrashed"),
        condition("Evaluated", "False", "PredictorCrashed", "evaluation: exit code 137"),
        condition("Granted", "False", "PredictorCrashed", "nothing is granted"),
        condition("Ready", "False", "PredictorCrashed", "exit code 137"),
        condition("Stalled", "True", "PredictorCrashed", "exit code 137; attempt 2 follows"),
    ]
    assert changes([], after) == (Note(True, "PredictorCrashed", "Stalled: exit code 137; attempt 2 follows"),)


def test_two_causes_are_two_notes():
    after = [condition("Evaluated", "True", "Judged", "look 1"), condition("Granted", "True", "Suggest", "may suggest")]
    assert changes([], after) == (
        Note(False, "Judged", "Evaluated: look 1"),
        Note(False, "Suggest", "Granted: may suggest"),
    )


def test_what_stays_isnt_told_even_in_other_words():
    before = [condition("Ready", "True", "Serving", "version 1")]
    assert changes(before, [condition("Ready", "True", "Serving", "version 1 at Suggest")]) == ()


def test_good_news_without_news_is_silence():
    """That nothing failed, stalled or was refused is no news; nor are conditions that can be read from the object."""
    after = [
        condition("Stalled", "False", "Settled"),
        condition("CandidateRefused", "False", "Judged"),
        condition("Reconciling", "True", "Evaluating", "…"),
    ]
    assert changes([], after) == ()


def entry(number: int, **more: str) -> dict[str, str]:
    return {"at": f"2026-01-01T00:00:{number:02}Z", "what": "Promoted", "by": "mandate"} | more


def test_a_history_tells_what_is_new_in_it_however_much_it_forgot() -> None:
    every = [entry(number) for number in range(30)]
    assert transitions([], every[:2]) == tuple(every[:2])
    assert transitions(every[:2], every[:2]) == ()
    assert transitions(every[:20], every[3:23]) == tuple(every[20:23])
    assert transitions(every[:3], every[5:8]) == tuple(every[5:8])
    twins = [entry(1), entry(1)]
    assert transitions(twins[:1], twins) == (entry(1),)


def test_a_transition_says_of_whom_from_where_to_where_and_why() -> None:
    up = entry(1, version="7", before="Suggest", after="Automate at 10 %", why="it has seen what it must")
    assert told(up) == Note(False, "Promoted", "version 7: Suggest to Automate at 10 %: it has seen what it must")
    off = entry(1, what="Halted", version="7", before="Shadow", why="fire", by="ann")
    assert told(off) == Note(True, "Halted", "version 7: Shadow to no level: fire (asked by ann)")
    assert told(entry(1, what="Paused", by="ann")) == Note(False, "Paused", "Paused (asked by ann)")


def test_an_ask_that_is_not_understood_is_told_once():
    bad = condition("AskUnderstood", "False", "InvalidAnnotation", "metadata.annotations[mandate.dev/halt]: …")
    text = "AskUnderstood: metadata.annotations[mandate.dev/halt]: …"
    assert changes([], [bad]) == (Note(True, "InvalidAnnotation", text),)
    assert changes([bad], [bad]) == changes([bad], []) == ()
