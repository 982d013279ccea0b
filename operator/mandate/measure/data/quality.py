"""Schema, quality, freshness and volume of a table, from its profile; beside a reference's where there is one."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mandate.evidence.data import Finding

from ..table import column as column_of
from ..table import texts
from .profile import MAX_CATEGORIES, Column, Profile

SHOWN = 10
"""Rows from which on a text is named in a finding: fewer may be a person."""
SPREAD = 4.0
"""Standard deviations above what is usual."""
SECOND = 1_000_000
"""Microseconds."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SKEW = 300.0
"""Seconds that a row may be ahead of the clock: clocks differ."""
FUTURE = "Check clocks and time zones: times without a zone are taken as UTC."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Shares of rows from which on something is a finding."""

    missing: float = 0.2
    risen: float = 0.05
    """How much greater than the reference's the share that is missing must be."""
    unseen: float = 0.01
    beyond: float = 0.01
    chance: float = 0.0001
    """How likely as many values beyond the reference's ends are at most where nothing has changed."""


DEFAULT = Limits()


def quality(
    profile: Profile,
    *,
    part: str,
    reference: Profile | None = None,
    limits: Limits = DEFAULT,
    leave_out: Collection[str] = (),
    worth: tuple[float, float] = (1.0, 1.0),
) -> tuple[Finding, ...]:
    """What is wrong with a table's columns, those in `leave_out` (an id, free text) left out of texts' findings.

    `part` is what the table is called; `worth`: what a row of the reference, and of the table, counts for where chance
    is asked, below 1 where rows come in clusters. Codes: NoRows, AllMissing, Missing, Constant, Infinite,
    TooManyCategories; with a reference also MissingColumn, UnseenColumn, DifferentType, BeyondRange, UnseenCategory.
    """
    found: list[Finding] = []
    if not profile.rows:
        found.append(_no_rows(part))
    for name, column in profile.columns.items():
        known = None if reference is None else reference.columns.get(name)
        found += _alone(name, column, part, known, limits, worth)
        if column.texts is not None and name not in leave_out:
            found += _many(name, column, part)
        if known is not None:
            found += _beside(name, column, known, part, limits, worth, texts=name not in leave_out)
    if reference is not None:
        found += _schema(profile, reference, part)
    return tuple(found)


def _no_rows(part: str) -> Finding:
    return Finding(
        code="NoRows",
        part=part,
        numbers={"rows": 0},
        effect=1,
        message=f"{part} has no rows",
        advice="Look whether the query or the export that makes the table found anything.",
    )


def _schema(profile: Profile, reference: Profile, part: str) -> Iterator[Finding]:
    for name in reference.columns:
        if name not in profile.columns:
            yield Finding(
                code="MissingColumn",
                part=part,
                column=name,
                numbers={},
                effect=1,
                message=f"{part} has no column {name!r}, which the reference has",
                advice="Correct its name or bring it back; a model that was trained with it can't do without.",
            )
    for name in profile.columns:
        if name not in reference.columns:
            yield Finding(
                code="UnseenColumn",
                part=part,
                column=name,
                numbers={},
                effect=0,
                message=f"{part} has a column {name!r}, which the reference hasn't",
                advice="No model of these rows knows it; check that it isn't another one's new name.",
            )


def _alone(
    name: str, column: Column, part: str, known: Column | None, limits: Limits, worth: tuple[float, float]
) -> Iterator[Finding]:
    if not column.rows:
        return
    share = column.missing / column.rows
    numbers = {"rows": column.rows, "missing": column.missing}
    if column.kind == "Empty":
        yield Finding(
            code="AllMissing",
            part=part,
            column=name,
            numbers=numbers,
            effect=1,
            message=f"{name!r} is missing on all {column.rows:,} rows of {part}",
            advice="Look whether its source still delivers; leave the column out where it never does.",
        )
        return
    usual = 0.0 if known is None or not known.rows else known.missing / known.rows
    if share >= limits.missing and (known is None or _risen(column, known, limits, worth)):
        yield Finding(
            code="Missing",
            part=part,
            column=name,
            numbers=numbers,
            effect=share,
            message=f"{name!r} is missing on {share:.1%} of the rows of {part}"
            + ("" if known is None else f", on {usual:.1%} of the reference's"),
            advice="Find out why: rows that lack it are seldom like the others. Judge them as a slice of their own.",
        )
    if column.constant and (known is None or _stands_still(column, known, limits, worth)):
        yield Finding(
            code="Constant",
            part=part,
            column=name,
            numbers={"rows": column.rows, "present": column.present},
            effect=1,
            message=f"{name!r} has one value on all rows of {part} that have any",
            advice="It tells rows apart no longer: look for a default value or a filter upstream, or leave it out.",
        )
    if infinite := sum(column.infinite):
        yield Finding(
            code="Infinite",
            part=part,
            column=name,
            numbers={"rows": column.rows, "infinite": infinite},
            effect=infinite / column.rows,
            message=f"{name!r} is infinite on {infinite:,} of {column.rows:,} rows of {part}",
            advice="Look for a division by zero or a logarithm of zero upstream, and write such values as missing.",
        )


def _risen(column: Column, known: Column, limits: Limits, worth: tuple[float, float]) -> bool:
    """Whether the share that is missing is greater than the reference's by more than chance, and enough to matter."""
    if not known.rows:
        return True
    share, usual = column.missing / column.rows, known.missing / known.rows
    together = (column.missing + known.missing) / (column.rows + known.rows)
    spread = math.sqrt(together * (1 - together) * (1 / (known.rows * worth[0]) + 1 / (column.rows * worth[1])))
    return share >= usual + limits.risen and share > usual + SPREAD * spread


def _stands_still(column: Column, known: Column, limits: Limits, worth: tuple[float, float]) -> bool:
    """Whether one value alone is more than chance does to a column that has others in the reference."""
    if known.constant:
        return False
    others = int((known.present - _same(column, known)) * worth[0])
    every = int(known.present * worth[0])
    return _ends(others, of=every, beside=int(column.present * worth[1])) <= limits.chance


def _same(column: Column, known: Column) -> int:
    """How many of the reference's values are, or may be, the one that the column holds."""
    if column.numbers is not None and known.numbers is not None:
        if not column.numbers.size:
            return max(known.infinite)
        value, cells = column.numbers.low[0], known.numbers
        return int(cells.count[(cells.low <= value) & (cells.high >= value)].sum())
    if column.texts is not None and known.texts is not None:
        (text,) = column.texts.named
        return max(known.texts.hashed) if known.texts.hashed else known.texts.named.get(text, 0)
    return 0


def _many(name: str, column: Column, part: str) -> Iterator[Finding]:
    assert column.texts is not None
    different = len(column.texts.named)
    if column.texts.hashed or different >= MAX_CATEGORIES:
        yield Finding(
            code="TooManyCategories",
            part=part,
            column=name,
            numbers={"rows": column.rows, "atLeast": MAX_CATEGORIES},
            effect=min(1.0, max(different, MAX_CATEGORIES) / column.present),
            message=f"{name!r} has {MAX_CATEGORIES:,} different texts or more in {part}",
            advice="Group it, or leave it out: a model learns such texts by heart. Drift in it is only seen roughly.",
        )


def _beside(
    name: str, column: Column, known: Column, part: str, limits: Limits, worth: tuple[float, float], *, texts: bool
) -> Iterator[Finding]:
    one, other = _family(known), _family(column)
    if one and other and one != other:
        yield Finding(
            code="DifferentType",
            part=part,
            column=name,
            numbers={},
            effect=1,
            message=f"{name!r} holds {other} in {part} ({', '.join(column.types)}), "
            f"and {one} in the reference ({', '.join(known.types)})",
            advice="Write it as the reference does; a model reads such values wrongly, or not at all.",
        )
    elif column.kind == "Number" and known.kind == "Number":
        yield from _range(name, column, known, part, limits, worth)
    elif column.kind == "Category" and known.kind == "Category" and texts:
        yield from _unseen(name, column, known, part, limits, worth)


def _family(column: Column) -> str | None:
    match column.kind:
        case "Empty":
            return None
        case "Number":
            return "numbers"
        case "Time":
            return "times"
        case _:
            return "truth values" if column.types == ("bool",) else "texts"


def _range(
    name: str, column: Column, known: Column, part: str, limits: Limits, worth: tuple[float, float]
) -> Iterator[Finding]:
    assert column.numbers is not None
    assert known.numbers is not None
    if not known.numbers.size:
        return
    least, most = float(known.numbers.low[0]), float(known.numbers.high[-1])
    cells = column.numbers
    sides = int(cells.count[cells.high < least].sum()), int(cells.count[cells.low > most].sum())
    beyond = sum(sides)
    chance = _ends(
        int(max(sides) * worth[1]),
        of=int(cells.count.sum() * worth[1]),
        beside=int(known.numbers.count.sum() * worth[0]),
    )
    if beyond and beyond >= limits.beyond * column.rows and chance <= limits.chance:
        yield Finding(
            code="BeyondRange",
            part=part,
            column=name,
            numbers={"rows": column.rows, "beyond": beyond, "least": least, "most": most},
            effect=beyond / column.rows,
            message=f"{name!r} is below {least:g} or above {most:g}, the reference's ends, on {beyond:,} of "
            f"{column.rows:,} rows of {part}",
            advice="Check the unit first. Where the values are right, the model is asked beyond what it was shown: "
            "send such rows to the fallback, or train with them.",
        )


def _ends(outer: int, *, of: int, beside: int) -> float:
    """How likely `outer` or more of these values lie beyond one end of the others, were all drawn alike.

    Each order of the pooled values is as likely then: P(the outermost k are all ours) = Π (m - i) / (n + m - i).
    """
    ours = of - np.arange(outer)
    return float(np.exp(np.sum(np.log(ours / (ours + beside)))))


def _unseen(
    name: str, column: Column, known: Column, part: str, limits: Limits, worth: tuple[float, float]
) -> Iterator[Finding]:
    assert column.texts is not None
    assert known.texts is not None
    if column.texts.hashed or known.texts.hashed:
        return
    new = {text: count for text, count in column.texts.named.items() if text not in known.texts.named}
    rows = sum(new.values())
    # Texts that occur once (on one cluster's rows) tell how many others there are that don't occur at all (Good 1953).
    once = sum(count for count in known.texts.named.values() if count * worth[0] <= 1) / max(known.present, 1)
    usual = once * column.present * worth[1]
    if rows >= limits.unseen * column.rows and rows * worth[1] > usual + SPREAD * math.sqrt(usual + 1):
        shown = [text for text in sorted(new, key=lambda text: (-new[text], text)) if new[text] >= SHOWN][:3]
        such = f", such as {', '.join(repr(text[:40]) for text in shown)}" if shown else ""
        yield Finding(
            code="UnseenCategory",
            part=part,
            column=name,
            numbers={"rows": column.rows, "unseenRows": rows, "unseen": len(new)},
            effect=rows / column.rows,
            message=f"{name!r} has {len(new):,} texts that the reference hasn't, on {rows:,} of {column.rows:,} rows "
            f"of {part}{such}",
            advice="Check the spelling first. Where they are new groups, nothing is known of how the model treats "
            "them: collect labels for them, and train with them.",
        )


def identities(table: pa.Table, name: str, *, part: str) -> tuple[Finding, ...]:
    """Codes DuplicateId and MissingId: rows of a table that share their id, or have none."""
    values = texts(column_of(table, name), name=name)
    found: list[Finding] = []
    if values.null_count:
        found.append(
            Finding(
                code="MissingId",
                part=part,
                column=name,
                numbers={"rows": len(values), "missing": values.null_count},
                effect=values.null_count / len(values),
                message=f"{name!r} is missing on {values.null_count:,} of {len(values):,} rows of {part}",
                advice="Rows without an id can't be joined with their labels: have the source write one.",
            )
        )
    counts = pc.value_counts(values.drop_null()).field("counts")
    repeated = counts.filter(pc.greater(counts, 1))
    if len(repeated):
        rows = int(pc.sum(repeated).as_py())
        found.append(
            Finding(
                code="DuplicateId",
                part=part,
                column=name,
                numbers={"rows": len(values), "duplicateRows": rows, "ids": len(repeated)},
                effect=rows / len(values),
                message=f"{len(repeated):,} values of {name!r} occur on more than one row of {part}, "
                f"on {rows:,} of {len(values):,} rows",
                advice="Look for a join that multiplies rows or a batch that was loaded twice; keep one row for each.",
            )
        )
    return tuple(found)


def freshness(profile: Profile, column: str, *, now: datetime, oldest: float, part: str) -> tuple[Finding, ...]:
    """Codes Stale and FromFuture: whether the newest time is more than `oldest` seconds before `now`, or after it.

    Code NoTimes where that can't be told, which is no freshness.
    `now` has a time zone; times in the table that have none are taken as UTC. Clocks may differ by SKEW.
    """
    found = profile.columns.get(column)
    if found is None or found.period is None:
        what = "there is no column" if found is None else f"on {found.rows:,} rows there is no time in"
        return (
            Finding(
                code="NoTimes",
                part=part,
                column=column,
                numbers={},
                effect=1,
                message=f"{what} {column!r} of {part}, so nobody knows how old its rows are",
                advice="Name the column that says when a row happened, and have the source write it.",
            ),
        )
    past = age(found.period[1], now=now)
    if past < -SKEW:
        return (
            Finding(
                code="FromFuture",
                part=part,
                column=column,
                numbers={"secondsAhead": -past},
                effect=1,
                message=f"the newest {column!r} of {part} is {span(-past)} after now",
                advice=FUTURE,
            ),
        )
    if past <= oldest:
        return ()
    return (
        Finding(
            code="Stale",
            part=part,
            column=column,
            numbers={"seconds": past, "oldest": oldest},
            effect=1,
            message=f"the newest {column!r} of {part} is {span(past)} old, at most {span(oldest)} is expected",
            advice="Look whether the last batches came; until they have, newer rows aren't judged.",
        ),
    )


def age(newest: int, *, now: datetime) -> float:
    """Seconds from `newest`, in microseconds since 1970 (UTC), to `now`, which has a time zone; below 0 if later."""
    return ((now - EPOCH) / timedelta(microseconds=1) - newest) / SECOND


def span(seconds: float) -> str:
    """How long that is, in words."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def volume(profile: Profile, *, usual: int, part: str, least: float = 0.5, most: float = 2.0) -> tuple[Finding, ...]:
    """Codes FewRows and ManyRows: rows below `least` or above `most` times the `usual` (> 0) number."""
    ratio = profile.rows / usual
    if least <= ratio <= most:
        return ()
    few = ratio < least
    return (
        Finding(
            code="FewRows" if few else "ManyRows",
            part=part,
            numbers={"rows": profile.rows, "usual": usual},
            effect=1 - ratio if few else 1 - 1 / ratio,
            message=f"{part} has {profile.rows:,} rows, {usual:,} are usual",
            advice="Look for batches that are late, lost or filtered out."
            if few
            else "Look for a batch that was loaded twice, or a join that multiplies rows.",
        ),
    )
