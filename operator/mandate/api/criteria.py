"""The criteria language: `>= 0.70`, `<= 40ms`, `within 0.8 .. 1.25`, `better than linear by 0.02`, `no worse than …`.

require := (">=" | "<=") number unit? | "within" number ".." number
         | ("better than" | "no worse than") ref ["by" number (unit | "%")?]
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from .catalogue import Metric

Level = Literal["Shadow", "Suggest", "Automate"]
LEVELS: tuple[Level, ...] = ("Shadow", "Suggest", "Automate")

CHAMPION = "champion"
REST = "rest"
OVERALL = "overall"
REVEALED_LABELS, DECLARED_LINEAGE, DECLARED_LATENCY = "revealed-labels", "declared-lineage", "declared-latency"
DECLARED_FALLBACK, SIGNED_MODEL = "declared-fallback", "signed-model"
BESIDE_GATES = (REVEALED_LABELS, DECLARED_LINEAGE, DECLARED_LATENCY, DECLARED_FALLBACK, SIGNED_MODEL)
"""What stands beside the gates, under names that no gate may have."""

DURATION_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}

NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
PATTERN = (
    rf"^((>=|<=) {NUMBER}(ms|s|m|h|d)?"
    rf"|within {NUMBER} \.\. {NUMBER}"
    rf"|(better than|no worse than) {NAME}( by [0-9]+(\.[0-9]+)?(ms|s|m|h|d| ?%)?)?)$"
)
"""The same grammar as one RE2 expression, for the schema; `parse` adds what a pattern can't say."""

_LIMIT = re.compile(rf"(?P<sign>>=|<=) (?P<number>{NUMBER})(?P<unit>ms|s|m|h|d)?")
_WITHIN = re.compile(rf"within (?P<low>{NUMBER}) \.\. (?P<high>{NUMBER})")
_AGAINST = re.compile(
    rf"(?P<sense>better than|no worse than) (?P<ref>{NAME})"
    r"( by (?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h|d| ?%)?)?"
)


class CriteriaError(ValueError):
    """A requirement that can't be asked: `field` names where, the message what was expected and what to do."""

    def __init__(self, field: str, value: str, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(f"{field}: {value!r}: {expected}")


@dataclass(frozen=True)
class Limit:
    """`>= number` (AtLeast) or `<= number` (AtMost), in the metric's base unit (seconds for durations)."""

    sense: Literal["AtLeast", "AtMost"]
    number: Decimal


@dataclass(frozen=True)
class Range:
    """`within low .. high`, both ends included."""

    low: Decimal
    high: Decimal


@dataclass(frozen=True)
class Against:
    """`better than ref [by margin]` or `no worse than ref [by margin]`.

    `margin` is absolute, or a share of |ref| where `relative` (2 % is 0.02).
    """

    sense: Literal["BetterThan", "NoWorseThan"]
    ref: str
    margin: Decimal
    relative: bool


Requirement = Limit | Range | Against


def parse(text: str, *, metric: Metric, field: str) -> Requirement:
    """Read one requirement; raises CriteriaError naming `field`."""
    if match := _LIMIT.fullmatch(text):
        number = _number(match["number"], match["unit"], metric=metric, field=field, text=text)
        _in_range(number, metric=metric, field=field, text=text)
        if metric.better == "Higher" and match["sign"] == "<=":
            raise CriteriaError(field, text, f"{metric.name} is better higher, so ask for '>= …' or 'within … .. …'")
        if metric.better == "Lower" and match["sign"] == ">=":
            raise CriteriaError(field, text, f"{metric.name} is better lower, so ask for '<= …' or 'within … .. …'")
        return Limit("AtLeast" if match["sign"] == ">=" else "AtMost", number)
    if match := _WITHIN.fullmatch(text):
        low, high = (_number(match[end], None, metric=metric, field=field, text=text) for end in ("low", "high"))
        if low >= high:
            raise CriteriaError(field, text, "the range's first number must be below its second")
        _in_range(low, metric=metric, field=field, text=text)
        return Range(low, high)
    if match := _AGAINST.fullmatch(text):
        return _against(match, metric=metric, field=field, text=text)
    raise CriteriaError(
        field,
        text,
        "expected '>= N', '<= N', 'within N .. N', 'better than REF [by N]' or 'no worse than REF [by N]', "
        "for example '>= 0.70', '<= 40ms', 'no worse than champion by 2 %'",
    )


def _against(match: re.Match[str], *, metric: Metric, field: str, text: str) -> Against:
    if metric.fact or not metric.groups:
        raise CriteriaError(field, text, f"{metric.name} has nothing to be compared with; ask for '>= …' or '<= …'")
    if metric.better == "Nearest":
        raise CriteriaError(field, text, f"{metric.name} is neither better high nor low; ask for 'within … .. …'")
    unit = (match["unit"] or "").strip()
    relative = unit == "%"
    number = Decimal(match["number"] or 0)
    if relative:
        number /= 100
    elif number:
        number = _number(match["number"], unit or None, metric=metric, field=field, text=text)
    sense: Literal["BetterThan", "NoWorseThan"] = "BetterThan" if match["sense"] == "better than" else "NoWorseThan"
    return Against(sense, match["ref"], number, relative)


def _number(number: str, unit: str | None, *, metric: Metric, field: str, text: str) -> Decimal:
    if metric.unit == "duration":
        if unit is None:
            raise CriteriaError(field, text, f"{metric.name} is a duration and needs a unit: ms, s, m, h or d")
        if "." in number:
            raise CriteriaError(field, text, "durations are whole numbers with a unit, for example '40ms'")
        return Decimal(number) * DURATION_SECONDS[unit]
    if unit is not None:
        raise CriteriaError(field, text, f"{metric.name} has no unit, remove {unit!r}")
    return Decimal(number)


def _in_range(number: Decimal, *, metric: Metric, field: str, text: str) -> None:
    if not metric.low <= number <= metric.high:
        raise CriteriaError(
            field, text, f"{metric.name} lies between {metric.low:g} and {metric.high:g}, so this can't decide anything"
        )


def looser(later: Requirement, earlier: Requirement) -> bool:
    """Whether `later` asks less than `earlier` of the same thing; False where they ask about different things."""
    match earlier, later:
        case Limit("AtLeast", before), Limit("AtLeast", after):
            return after < before
        case Limit("AtMost", before), Limit("AtMost", after):
            return after > before
        case Range(), Range():
            return later.low < earlier.low or later.high > earlier.high
        case Against(), Against() if earlier.ref == later.ref and earlier.relative == later.relative:
            return _signed_margin(later) < _signed_margin(earlier)
        case Against(), Against() if earlier.ref == later.ref:
            # An absolute and a relative margin can't be compared without data, but their senses can.
            return (earlier.sense, later.sense) == ("BetterThan", "NoWorseThan")
        case _:
            return False


def _signed_margin(requirement: Against) -> tuple[Decimal, int]:
    """By how much the model must be ahead; 'better' by nothing asks more than 'no worse' by nothing."""
    strict = requirement.sense == "BetterThan"
    return (requirement.margin if strict else -requirement.margin, int(strict))


def requirements(texts: dict[Level, str], *, metric: Metric, field: str) -> dict[Level, tuple[Requirement, ...]]:
    """What each level asks: its own requirement and those of the levels below that it doesn't replace.

    Raises CriteriaError where a level asks less of the same thing than a level below.
    """
    held: list[Requirement] = []
    result: dict[Level, tuple[Requirement, ...]] = {}
    for level in LEVELS:
        text = texts.get(level)
        if text is not None:
            where = f"{field}.require.{level}"
            asked = parse(text, metric=metric, field=where)
            for earlier in held:
                if looser(asked, earlier):
                    raise CriteriaError(
                        where, text, f"asks less than a level below ({describe(earlier)}); a level never asks less"
                    )
            held = [earlier for earlier in held if not _replaces(asked, earlier)] + [asked]
        result[level] = tuple(held)
    return result


def _replaces(later: Requirement, earlier: Requirement) -> bool:
    """Whether meeting `later` implies meeting `earlier` (both ask about the same thing and later isn't looser)."""
    match earlier, later:
        case Limit(), Limit():
            return earlier.sense == later.sense
        case Range(), Range():
            return True
        case Against(), Against():
            return earlier.ref == later.ref and earlier.relative == later.relative
        case _:
            return False


def bounds(requirement: Limit | Range) -> tuple[float, float]:
    """Between which numbers, both included, the requirement is met."""
    match requirement:
        case Limit("AtLeast", number):
            return float(number), math.inf
        case Limit(_, number):
            return -math.inf, float(number)
        case Range(low, high):
            return float(low), float(high)


def describe(requirement: Requirement, *, unit: str = "") -> str:
    """The requirement in the language's own words."""
    match requirement:
        case Limit(sense, number):
            return f"{'>=' if sense == 'AtLeast' else '<='} {quantity_text(number, unit)}"
        case Range(low, high):
            return f"within {quantity_text(low, unit)} .. {quantity_text(high, unit)}"
        case Against(sense, ref, margin, relative):
            words = "better than" if sense == "BetterThan" else "no worse than"
            if not margin:
                return f"{words} {ref}"
            return f"{words} {ref} by {f'{plain(margin * 100)} %' if relative else quantity_text(margin, unit)}"


def quantity_text(number: Decimal, unit: str) -> str:
    """A number with its unit: durations below a second in ms, whole hours and days from two on so, others in s."""
    if unit != "duration":
        return plain(number)
    for name in ("d", "h"):
        if number >= 2 * DURATION_SECONDS[name] and not number % DURATION_SECONDS[name]:
            return f"{plain(number / DURATION_SECONDS[name])}{name}"
    return f"{plain(number * 1000)}ms" if number < 1 else f"{plain(number)}s"


def number_text(number: float, unit: str = "") -> str:
    """A measured number at four significant digits, whole ones in full, never with an exponent.

    Durations of two hours and more are told in hours, or days, to two decimals.
    """
    if not math.isfinite(number):
        return "∞" if number > 0 else "−∞"
    for name in ("d", "h") if unit == "duration" else ():
        if number >= 2 * DURATION_SECONDS[name]:
            return f"{plain(Decimal(f'{number / float(DURATION_SECONDS[name]):.2f}'))}{name}"
    whole = number.is_integer() and abs(number) < 1e15
    return quantity_text(Decimal(f"{number:.0f}" if whole else f"{number:.4g}"), unit)


def plain(number: Decimal) -> str:
    """Decimal notation without exponent or trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(duration: str) -> float:
    """A duration such as `30d` or `40ms` in seconds; raises ValueError for anything else."""
    match = re.fullmatch(r"([0-9]+)(ms|s|m|h|d)", duration)
    if match is None:
        raise ValueError(f"expected a whole number with ms, s, m, h or d, got {duration!r}")
    return float(int(match[1]) * DURATION_SECONDS[match[2]])
