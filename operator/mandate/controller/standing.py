"""Who stands where: the champion, the candidate, and the step that one judgement allows. Pure.

A candidate climbs one level at a time, each step on the verdict and on what the level below has seen in use. A new
version takes the candidate's place, never the champion's. The champion that a candidate replaced stays on record, and
in the grant, until its successor has held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mandate.api.criteria import LEVELS, Level, seconds
from mandate.api.kinds import ModelDeploymentSpec, ModelDeploymentStatus, PreviousChampion, Refusal, RevisionStatus
from mandate.api.spec import LiveMinimum
from mandate.controller.assess import Assessment, Judged, blocking
from mandate.controller.conditions import cut
from mandate.controller.moments import elapsed, stamp

REFUSALS = 10
REFUSAL_MESSAGE = 1024


@dataclass(frozen=True)
class Standing:
    """Champion and candidate, what was refused, and why the candidate isn't higher (`held`, in words).

    `previous` is the last champion that had held, while its successor hasn't.

    `again` is in how many seconds time alone may allow another step.
    """

    champion: RevisionStatus | None
    candidate: RevisionStatus | None
    previous: PreviousChampion | None = None
    refused: tuple[Refusal, ...] = ()
    held: str = ""
    again: float | None = None

    def revisions(self) -> tuple[RevisionStatus, ...]:
        """Those that hold a level, the champion first."""
        every = (self.champion, self.candidate)
        return tuple(item for item in every if item is not None and item.level is not None)

    def granted(self) -> tuple[RevisionStatus, ...]:
        """Those that may run: those that hold a level, and the champion to fall back on."""
        holders = self.revisions()
        known = {item.revision for item in holders}
        return (*holders, *(item for item in (self.previous,) if item is not None and item.revision not in known))


def rank(level: Level | None) -> int:
    """0 for none, 1 for Shadow, …"""
    return 0 if level is None else LEVELS.index(level) + 1


def unchanged(status: ModelDeploymentStatus) -> Standing:
    """The standing as it was last written."""
    return Standing(status.champion, status.candidate, status.previous, status.refused)


def stand(
    status: ModelDeploymentStatus,
    spec: ModelDeploymentSpec,
    assessment: Assessment,
    *,
    revision: str,
    retry: str,
    now: float,
) -> Standing:
    """The standing after `assessment` of the spec's `revision`."""
    before = unchanged(status)
    is_champion = before.champion is not None and before.champion.revision == revision
    present = before.champion if is_champion else before.candidate
    if present is None or present.revision != revision:
        present = RevisionStatus(revision=revision, version=spec.model.version)
    if not isinstance(assessment, Judged):
        # Nothing new is known about it, so it neither rises nor falls; a newcomer starts with nothing.
        return replace(before, candidate=None) if is_champion else replace(before, candidate=present)
    return _judged(before, spec, assessment, present=present, is_champion=is_champion, retry=retry, now=now)


def _judged(
    before: Standing,
    spec: ModelDeploymentSpec,
    judged: Judged,
    *,
    present: RevisionStatus,
    is_champion: bool,
    retry: str,
    now: float,
) -> Standing:
    if present.model_digest not in (None, judged.model_digest):
        # Other bytes than those that earned the level: they start with nothing.
        present = RevisionStatus(revision=present.revision, version=present.version)
    reached, target = judged.verdict.reached, spec.autonomy.target
    reached = reached if judged.model_digest is not None else None
    level, held, again = _climb(present, reached, spec, judged, now)
    after = present.model_copy(
        update={
            "version": spec.model.version,
            "evaluation": judged.evaluation,
            "model_digest": judged.model_digest,
            "level": level,
            "since": present.since if level == present.level and present.since is not None else stamp(now),
        }
    )
    refused = tuple(item for item in before.refused if item.revision != after.revision)
    previous = _capped(before.previous, after, reached)
    if level is None:
        message = cut(held, REFUSAL_MESSAGE)
        refusal = Refusal(
            revision=after.revision, version=after.version, reason="GatesNotMet", message=message, retry=retry
        )
        # A revision that was the champion isn't one any more: its evidence, judged again, doesn't carry it.
        champion = None if is_champion else before.champion
        return Standing(champion, after, previous, (refusal, *refused)[:REFUSALS], held, again)
    if is_champion:
        return Standing(after, None, previous, refused, held, again)
    if level == target:
        return Standing(after, None, _succeeded(before.champion, previous, after), refused, held, again)
    return Standing(before.champion, after, previous, refused, held, again)


def _is(item: RevisionStatus | None, other: RevisionStatus) -> bool:
    return item is not None and item.revision == other.revision


def _capped(previous: PreviousChampion | None, after: RevisionStatus, reached: Level | None) -> PreviousChampion | None:
    """The previous champion, at no more than its evidence carries where it was just judged again."""
    if previous is None or not _is(previous, after):
        return previous
    level = min(previous.level, reached, key=rank)
    return previous.model_copy(update={"level": level}) if level is not None else None


def _succeeded(
    champion: RevisionStatus | None, previous: PreviousChampion | None, after: RevisionStatus
) -> PreviousChampion | None:
    """Whom to fall back on once `after` is the champion: the last one that had held, with its clock set back."""
    last = champion if previous is None or _is(previous, after) else previous
    return PreviousChampion(**last.model_dump(exclude={"replaced"})) if last is not None else None


def outlived(standing: Standing, *, alone: bool, step: float, now: float) -> Standing:
    """The standing without its previous champion, once the present one has held for `step` seconds.

    `alone` is whether the champion answers now in its predecessor's place, with a Pod ready; the clock starts anew
    whenever it doesn't.
    """
    previous = standing.previous
    if previous is None:
        return standing
    if standing.champion is None or not alone:
        return replace(standing, previous=previous.model_copy(update={"replaced": None}))
    since = previous.replaced or stamp(now)
    remaining = step - elapsed(since, now)
    if remaining <= 0:
        return replace(standing, previous=None)
    again = min(remaining, remaining if standing.again is None else standing.again)
    return replace(standing, previous=previous.model_copy(update={"replaced": since}), again=again)


def _climb(
    present: RevisionStatus, reached: Level | None, spec: ModelDeploymentSpec, judged: Judged, now: float
) -> tuple[Level | None, str, float | None]:
    """The level that may stand now, what holds the next one back, and when time alone may change that."""
    target = spec.autonomy.target
    if reached is None:
        if judged.model_digest is None:
            return None, "NotServable: the model's answers are columns of the data: there is nothing to serve", None
        return None, f"Shadow isn't granted: {blocking(judged.verdict, 'Shadow')}", None
    level: Level = LEVELS[0]
    if rank(present.level) > 1:
        level = LEVELS[min(rank(present.level), rank(reached)) - 1]
    while level != target:
        following = LEVELS[rank(level)]
        if rank(reached) < rank(following):
            return level, f"{following} isn't granted: {blocking(judged.verdict, following)}", None
        since = present.since if present.level == level and present.since is not None else stamp(now)
        minimum = spec.autonomy.shadow if level == "Shadow" else spec.autonomy.suggest
        held, again = _lived(level, minimum, elapsed(since, now))
        if held:
            return level, f"{following} isn't granted: {held}", again
        level = following
    return level, "", None


def _lived(level: Level, minimum: LiveMinimum, lived: float) -> tuple[str, float | None]:
    """What `level` must still see in use before the next one; empty when it has seen enough."""
    for wanted, what in ((minimum.min_predictions, "predictions"), (minimum.min_labelled, "labelled predictions")):
        if wanted > 0:
            return f"{level} must see {wanted} {what} first, and 0 are recorded", None
    remaining = seconds(minimum.min_duration) - lived
    if remaining > 0:
        return f"{level} must last {minimum.min_duration} first", remaining
    return "", None
