"""Whether test rows were held out, by everything that evidence holds. Pure.

The split's digest proves it: it is Mandate's own work on these very rows. Times can't: what is later than the first
sight of a model wasn't trained on, but a table's times are the word of whoever wrote it. They are told as what they
are, a declaration that can be checked against the rows' source.
"""

from __future__ import annotations

from .schema import ByTime, Evidence, HeldOut

REASON = 512
MINUTE, HOUR = 60, 3600


def held_out(evidence: Evidence) -> HeldOut:
    """The status and its reason, with both times where the test rows are held against the model's first sight."""
    own, found = evidence.computed.held_out, evidence.measured.by_time
    if own.status == "Proven" or found is None:
        return own
    if found.all_later:
        also = f"; {own.reason}" if own.status == "Declared" else ""
        return HeldOut(
            status="Declared", reason=f"{_words(found)}. The times are the table's own: no proof{also}"[:REASON]
        )
    return HeldOut(status=own.status, reason=f"{own.reason}; {_words(found)}"[:REASON])


def _words(found: ByTime) -> str:
    known = f"{found.first_seen}, when the model's digest was first seen"
    if found.fault is not None:
        return f"the test rows can't be held against {known}: {found.fault.message[:200]}"
    hours = found.margin // HOUR
    margin = (f"{hours} hours and " if hours else "") + f"{found.margin % HOUR // MINUTE} minutes"
    why = " (times without a zone may be as far ahead of UTC)" if hours else ""
    counts = f"all {found.rows}" if found.all_later else f"{found.later} of {found.rows}"
    return f"{counts} test rows, from {found.oldest} on, are later by more than {margin}{why} than {known}"
