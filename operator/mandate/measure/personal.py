"""What comes out of columns that data.personal declares: numbers, and none of their values.

The model is fed the values and everything is measured on them, so no number depends on what is declared. What tells
values is renamed where it is made (slices), or rewritten where it leaves (findings, and every sentence of the
evidence); a finding of a kind that isn't known to quote nothing is rewritten whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mandate.api import spec
from mandate.api.personal import looks_personal
from mandate.evidence.data import DataEvidence, Finding, Unasked
from mandate.evidence.personal import FLOOR, WITHHELD, withheld, words_of
from mandate.evidence.schema import Computed, Estimate, Fault
from mandate.evidence.slices import MISSING

from .slices import Sliced

LISTED = 5
QUIET = frozenset(
    {"AllMissing", "Missing", "Constant", "Infinite", "TooManyCategories", "DifferentType", "MissingColumn"}
    | {
        "UnseenColumn",
        "MissingId",
        "DuplicateId",
        "SharedEntities",
        "Drift",
        "LabelDrift",
        "GivesLabelAway",
        "GivesClassAway",
    }
)
"""Codes of findings whose words hold the column's name, counts and shares, and none of its values."""


@dataclass(frozen=True, kw_only=True)
class Personal:
    """The declared columns; `salt` makes ties among groups fall out by nothing that could be guessed from names."""

    columns: frozenset[str]
    salt: str

    def withhold(self, declared: spec.Slice, sliced: Sliced) -> Sliced:
        """The slice of one column with its values renamed; as it is where the column isn't personal.

        Texts, and numbers taken one by one, are `group 1`, `group 2`, … from the most rows to the fewest, ranges by
        quantiles `range 1 of 4`, … from the lowest. Ranges between declared edges keep the manifest's own words.
        """
        if declared.column not in self.columns:
            return sliced
        known = len(sliced.values) - (sliced.values[-1:] == (MISSING,))
        if declared.edges or sliced.fault is not None:
            return replace(sliced, personal=True)
        missing = sliced.values[known:]
        if declared.quantiles is not None:
            names = tuple(f"range {place:0{_digits(known)}d} of {known}" for place in range(1, known + 1))
            edges = None if sliced.edges is None else sliced.edges.model_copy(update={"values": names})
            return replace(sliced, values=names + missing, edges=edges, personal=True)
        rows = np.bincount(sliced.code, minlength=len(sliced.values))
        tied = [self._hash(declared.column, value) for value in sliced.values]
        order = sorted(range(known), key=lambda place: (-rows[place], tied[place]))
        rank = np.arange(len(sliced.values))
        rank[order] = np.arange(known)
        names = tuple(f"group {place:0{_digits(known)}d}" for place in range(1, known + 1))
        return replace(sliced, values=names + missing, code=rank[sliced.code].astype(np.intp), personal=True)

    def _hash(self, column: str | None, value: str) -> bytes:
        key = hashlib.blake2b(f"{self.salt}\x1f{column}".encode()).digest()
        return hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=key).digest()

    def data(self, found: DataEvidence) -> DataEvidence:
        """What was found about the rows, told without values."""
        return found.model_copy(update={"findings": tuple(map(self._finding, found.findings))})

    def _finding(self, found: Finding) -> Finding:
        if found.column not in self.columns or found.code in QUIET:
            return found
        numbers, words = dict(found.numbers), f"{found.column!r}: what was found is {WITHHELD}"
        match found.code:
            case "BeyondRange" | "OutsideTraining":
                numbers = {name: value for name, value in numbers.items() if name in ("rows", "beyond")}
                words = (
                    f"{found.column!r} is beyond the reference's ends, which are withheld, on {numbers['beyond']:,.0f} "
                    f"of {numbers['rows']:,.0f} rows of {found.part}"
                )
            case "UnseenCategory":
                words = (
                    f"{found.column!r} has {numbers['unseen']:,.0f} texts that the reference hasn't, on "
                    f"{numbers['unseenRows']:,.0f} of {numbers['rows']:,.0f} rows of {found.part}"
                )
            case "UnrepresentedGroup":
                ends = [
                    "{:.1%} ({:.1%} to {:.1%})".format(*(numbers[name + end] for end in ("", "Low", "High")))
                    for name in ("share", "trainShare")
                ]
                words = (
                    f"{found.column!r} is a value that is withheld on {ends[0]} of production's rows, and on {ends[1]} "
                    "of the training rows"
                )
            case "NotExamined":
                words = f"{found.column!r} can't be read; why is withheld"
            case _:
                numbers = {}
        return found.model_copy(update={"numbers": numbers, "message": words})

    def computed(self, found: Computed, *, known: Collection[str]) -> Computed:
        """The evidence with every sentence cleared of what it quotes, but for what is `known`."""

        def clear(words: str) -> str:
            return withheld(words, known=known)

        def unasked(item: Unasked) -> Unasked:
            return item.model_copy(update={"message": clear(item.message)})

        def finding(item: Finding) -> Finding:
            # What is said of a column that isn't personal may quote it.
            return item if item.column is not None else item.model_copy(update={"message": clear(item.message)})

        def estimate(item: Estimate) -> Estimate:
            return item if item.fault is None else item.model_copy(update={"fault": _cleared(item.fault, known)})

        data, weakest, cutoff = found.data, found.weakest, found.cutoff
        return found.model_copy(
            update={
                "personal": tuple(sorted(self.columns)),
                "estimates": tuple(map(estimate, found.estimates)),
                "findings": tuple(sorted(map(clear, found.findings))),
                "learnt": None
                if found.learnt is None
                else tuple(item.model_copy(update={"words": clear(item.words)}) for item in found.learnt),
                "data": None
                if data is None
                else data.model_copy(
                    update={
                        "findings": tuple(map(finding, data.findings)),
                        "unasked": tuple(map(unasked, data.unasked)),
                    }
                ),
                "weakest": None
                if weakest is None
                else weakest.model_copy(update={"left_out": tuple(map(clear, weakest.left_out))}),
                "cutoff": cutoff
                if cutoff is None or cutoff.fault is None
                else cutoff.model_copy(update={"fault": _cleared(cutoff.fault, known)}),
            }
        )


def personal(data: spec.Data, *, salt: str) -> Personal | None:
    """What is to be withheld; None where nothing is declared."""
    return Personal(columns=frozenset(data.personal), salt=salt) if data.personal else None


def known_words(
    declared: Iterable[spec.Spec], *, classes: Sequence[str] = (), slices: Sequence[Sliced] = ()
) -> frozenset[str]:
    """What sentences may quote: the manifest's own words, classes, and slices' values as they are told."""
    words = {word for item in declared for word in words_of(item.model_dump(mode="json"))}
    return frozenset(words | {*classes} | {value for sliced in slices for value in sliced.values})


def too_few(what: str) -> Fault:
    """Of a personal column's value that so few rows have that a number of them tells of a person."""
    message = (
        f"fewer than {FLOOR} {what} of the test rows stand behind it, and its column is personal (data.personal): "
        "declare wider edges, join it with another value in the data, or test on more rows"
    )
    return Fault(code="TooFewPeople", message=message)


def of_enough(estimate: Estimate) -> Estimate:
    """The number of a personal column's value, or why it isn't told: people labelled few of its rows."""
    support = estimate.support
    if not 0 < (support.rows if support.clusters is None else support.clusters) < FLOOR:
        return estimate
    fault = too_few("rows" if support.clusters is None else "clusters")
    return Estimate(quantity=estimate.quantity, support=support, fault=fault)


def undeclared(columns: Iterable[str], *, declared: Collection[str], task: spec.Task) -> str | None:
    """A note on columns that look personal by their names alone; None where there are none."""
    found = [name for name in columns if name not in {*declared, task.target, task.time} and looks_personal(name)]
    if not found:
        return None
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    listed = ", ".join(repr(name[:64]) for name in found[:LISTED]) + more
    return f"personal by their names, but not in data.personal: {listed}; declare them, and no value of theirs is told"


def _cleared(fault: Fault, known: Collection[str]) -> Fault:
    return fault.model_copy(update={"message": withheld(fault.message, known=known)})


def _digits(count: int) -> int:
    return len(str(count))
