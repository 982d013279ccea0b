"""Where the model is weakest, in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from mandate.api.criteria import number_text
from mandate.evidence.weakest import Weakest, WeakSlice


@dataclass(frozen=True, kw_only=True)
class WeakestTold:
    """`told` says what was searched and how to take it; a sentence for each part that is listed, the worst first."""

    told: str
    sentences: tuple[str, ...]
    left_out: tuple[str, ...]
    record: Weakest


def tell(found: Weakest | None) -> WeakestTold | None:
    """The search in words; None where there was none."""
    if found is None:
        return None
    return WeakestTold(
        told=_told(found),
        sentences=tuple(sentence(item, found) for item in found.slices),
        left_out=tuple(f"Not searched: {words}." for words in found.left_out),
        record=found,
    )


def sentence(item: WeakSlice, found: Weakest) -> str:
    """One part, such as "Accuracy is 55 % for age 20-30 (n = 412) against 80 % elsewhere, at least 19 points less"."""
    where = " and ".join(f"{side.name} {side.value}" for side in item.sides)
    rows = f"n = {item.rows}" + (f" in {item.clusters} clusters" if item.clusters else "")
    chance = f"q {'<' if item.q < 0.0001 else '='} {number_text(max(item.q, 0.0001))}"
    if found.loss == "Error":
        name, inside, outside = "Accuracy", _percent(1 - item.loss), _percent(1 - item.elsewhere)
        least = f", at least {item.at_least * 100:.0f} points less" if item.at_least >= 0.005 else ""
    else:
        name = "Log loss" if found.loss == "LogLoss" else "Mean absolute error"
        inside, outside = _short(item.loss), _short(item.elsewhere)
        least = f", at least {_short(item.at_least)} more" if item.at_least > 0 else ""
    return f"{name} is {inside} for {where} ({rows}) against {outside} elsewhere{least} ({chance})"


def _told(found: Weakest) -> str:
    columns, least = len(found.columns), found.least_rows
    if not found.candidates:
        return f"Nothing was searched: of {columns} columns no value has {least} test rows or more, and leaves as many."
    searched = (
        f"Searched: {found.candidates} parts of {found.rows} test rows, of {least} or more each, by the values of "
    )
    searched += f"{columns} columns and of pairs of them"
    if not found.found:
        return f"{searched}. None is surely weaker than the rest; that says nothing of smaller parts."
    listed = "" if len(found.slices) == found.found else f", the {len(found.slices)} worst are listed"
    be = "is" if found.found == 1 else "are"
    return (
        f"{searched}. {found.found} {be} surely weaker than the rest{listed}; parts overlap, and at most "
        f"{found.level * 100:.0f} % of them are expected by chance (q). No gate asks for them: to judge one, declare "
        "it in data.slices, and take fresh test rows, since these have chosen it."
    )


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def _short(number: float) -> str:
    return number_text(float(f"{number:.3g}"))
