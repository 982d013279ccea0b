"""Whether the shares of a step are those that were declared: who answered what was drawn, counted. Pure.

A gateway that draws otherwise than it was told, or answers that never arrive from one side, make champion and candidate
unlike in more than their models. What is drawn are units: entities, or requests. Each goes to the holder with the
declared probability whatever came before, so the units that it answered are a bounded mean, with limits that hold
however often one looks (verdict/anytime.py). A chi-square test would be wrong at some look in far more than its alpha.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from mandate.api.criteria import number_text
from mandate.api.moments import instant, stamp
from mandate.evidence.live import Drawn
from mandate.verdict.anytime import bounded_limits

from .gateway import CALM
from .shares import desired_shares
from .state import FALLBACK, Holder, State

ALPHA = 0.001
"""Chance that a step whose shares are right is ever called wrong, both directions and all looks together."""


@dataclass(frozen=True, kw_only=True)
class Divided:
    """A step in use. `share` of the units that go to `holder` and `others` are the holder's; they count from `since`.

    Without `others` the fallback has the rest, whose answers nobody records.
    """

    holder: Holder
    others: tuple[str, ...]
    share: Fraction
    since: int

    @property
    def revisions(self) -> tuple[str, ...]:
        """Everybody whose answers are counted."""
        return (self.holder.revision, *self.others)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """What the counts show: `True` that the shares are about as declared, `False` that they aren't."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    words: str


def divided(state: State) -> Divided | None:
    """The step of whoever climbs, where it has a part of the requests and the provider has shown so.

    Units count once no request can be under way any more that was drawn before.
    """
    holder = state.candidate or state.champion
    if holder is None or holder.leaving is not None or holder.rung.level != "Automate" or holder.begun is None:
        return None
    wanted = {revision: Fraction(share) for revision, share in desired_shares(state).automate.items()}
    mine = wanted.pop(holder.revision, Fraction(0))
    wanted.pop(FALLBACK, None)
    if not 0 < mine < 100:
        return None
    return Divided(
        holder=holder,
        others=tuple(sorted(wanted)),
        share=mine / (mine + sum(wanted.values())),
        since=holder.begun + round(CALM),
    )


def ratio(step: Divided, drawn: Drawn | None, *, mute: Collection[str], why: str = "") -> Ratio:
    """Whether units go where `step` says; without `drawn`, `why` it isn't known.

    `mute` are revisions whose servers can't be expected to tell what was drawn.
    """
    what = f"version {step.holder.version} at {step.holder.rung}"
    if not step.others:
        return Ratio(status="Unknown", reason="NotRecorded", words=f"{what}: the fallback's answers aren't recorded")
    if drawn is None or instant(drawn.since) != step.since or set(drawn.units) != set(step.revisions):
        return Ratio(status="Unknown", reason="NotSeen", words=f"{what}: {why or 'nothing was counted yet'}")
    mine, every = drawn.units[step.holder.revision], sum(drawn.units.values())
    if every == 0:
        return Ratio(status="Unknown", reason="NotSeen", words=f"{what}: no request was drawn since {_since(step)}")
    lower, upper = limits(units=every, mine=mine)
    silent = [revision for revision, count in drawn.units.items() if count == 0]
    far = not lower <= step.share <= upper
    if far and any(revision in mute or drawn.undrawn.get(revision) for revision in silent):
        words = f"{what}: a model server doesn't say which of its answers the gateway drew"
        return Ratio(status="Unknown", reason="NotRecorded", words=words)
    if far and drawn.dropping:
        words = f"{what}: model servers couldn't deliver all that they answered, so the draws on record are a part"
        return Ratio(status="Unknown", reason="NotRecorded", words=words)
    both = f"; {_thousands(drawn.several)} of them were answered by both versions" if drawn.several else ""
    share = f"{_percent(mine / every)} [{_percent(lower)}, {_percent(upper)}]"
    shown = (
        f"{what}: it answered {_thousands(mine)} of {_thousands(every)} draws since {_since(step)}, {share}; "
        f"{_percent(float(step.share))} are declared{both}"
    )
    if far:
        advice = "look at what answers are lost, and at how the gateway draws"
        return Ratio(status="False", reason="Mismatch", words=f"{shown}: {advice}")
    near = min(step.share, 1 - step.share) / 2
    if step.share - near <= lower and upper <= step.share + near:
        return Ratio(status="True", reason="Shown", words=shown)
    return Ratio(status="Unknown", reason="TooFew", words=f"{shown}: too few to tell")


def limits(*, units: int, mine: int) -> tuple[float, float]:
    """Limits of the holder's share of the units, both wrong at any time with probability at most ALPHA together."""
    return bounded_limits(rows=units, total=mine, alpha=ALPHA / 2)


def _since(step: Divided) -> str:
    return stamp(step.since)


def _percent(share: float) -> str:
    return f"{number_text(round(100 * share, 1))} %"


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")
