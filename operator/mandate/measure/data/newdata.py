"""New data beside a stored profile: the same comparison and the same findings as between an evaluation's parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from mandate.evidence.data import MAX_DRIFT, Comparison, DataEvidence, Finding, Unasked

from ..table import column as column_of
from ..table import text_codes
from ..work import SERIAL, Workers
from . import parts
from .drift import DEFAULT, Rules, drift
from .gaps import time_gaps
from .profile import Profile, profile
from .quality import freshness, identities, quality, volume

REFERENCE, PART = "the reference", "the new data"
ADVICE = (
    "Look whether its source, its unit or its coding changed. If the world did, measure the model on recent rows, with "
    "their labels, and train it with them."
)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is expected of new data. `oldest`: seconds from the newest `time` to `now`; `usual`: rows."""

    without: Sequence[str] = ()
    identity: str | None = None
    cluster: str | None = None
    time: str | None = None
    oldest: float | None = None
    now: datetime | None = None
    usual: int | None = None


def beside(
    table: pa.Table, reference: Profile, *, expected: Expected, rules: Rules = DEFAULT, workers: Workers = SERIAL
) -> DataEvidence:
    """Compare a table with a profile of other rows, and look for what is wrong with its columns.

    Columns are read as in the reference: what are texts there are texts here, whatever they look like. Rows of a
    cluster tell as much as Kish's number of equal clusters; those of the reference are taken to tell as much, since its
    profile knows no clusters. Columns that the reference hasn't aren't looked at. Raises MeasureError.
    """
    known = {name: column for name, column in reference.columns.items() if name not in expected.without}
    categories = [name for name, column in known.items() if column.kind == "Category"]
    times = [name for name, column in known.items() if column.kind == "Time"]
    there = [name for name in known if name in table.column_names]
    unread = parts.unreadable(table, there, categories=categories, times=times)
    known = {name: column for name, column in known.items() if name not in unread}
    before = Profile(rows=reference.rows, limit=reference.limit, columns=known)
    read = [name for name in there if name not in unread]
    found = Profile(rows=table.num_rows, limit=reference.limit, columns={})
    if read:
        found = profile([table.select(read)], categories=categories, times=times, workers=workers)
    worth = 1.0
    if expected.cluster is not None and table.num_rows:
        worth = parts.kish(text_codes(table, expected.cluster)[1])
    columns = drift(before, found, rules=rules, worth=(worth, worth), workers=workers)
    changed = [column for column in columns if column.changed]
    findings: list[Finding] = [*unread.values(), *_asked(table, found, expected)]
    findings += parts.changes(changed, REFERENCE, PART, advice=ADVICE)
    findings += quality(found, part=PART, reference=before, worth=(worth, worth))
    unasked: list[Unasked] = list(parts.not_asked(unread))
    counts = (int(before.rows * worth), int(table.num_rows * worth))
    unasked += parts.too_few(counts, tests=2 * len(columns), level=rules.level)
    compared = Comparison(
        reference=REFERENCE,
        current=PART,
        compared=len(columns),
        changed=len(changed),
        columns=columns[:MAX_DRIFT],
    )
    return DataEvidence(
        comparisons=(compared,),
        counts=dict(sorted(Counter(finding.code for finding in findings).items())),
        findings=tuple(parts.listed(findings)),
        unasked=tuple(item for item in unasked if item.count == "changed_columns"),
    )


def _asked(table: pa.Table, found: Profile, expected: Expected) -> list[Finding]:
    """What is wrong with rows' names, their age and their number."""
    findings: list[Finding] = []
    if expected.identity is not None:
        findings += identities(table, expected.identity, part=PART)
    if expected.oldest is not None:
        assert expected.time is not None
        assert expected.now is not None
        column_of(table, expected.time)  # refuses a column that isn't there
        times = profile([table.select([expected.time])], times=(expected.time,))
        findings += freshness(times, expected.time, now=expected.now, oldest=expected.oldest, part=PART)
    if expected.time is not None:
        findings += time_gaps(table, {PART: None}, time=expected.time)
    if expected.usual is not None:
        findings += volume(found, usual=expected.usual, part=PART)
    return findings
