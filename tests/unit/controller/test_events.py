"""What people are told when conditions change."""

from mandate.controller.events import Note, changes


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
