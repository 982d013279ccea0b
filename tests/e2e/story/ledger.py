"""Every request of a story, and what may be said of them together: lost, ungranted, shares, time to come down. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import binom

LEVELS = ("Shadow", "Suggest", "Automate")
SAYS: Mapping[str, str] = {"act": "Automate", "suggest": "Suggest"}
"""What answers of a model say at each address; the fallback says `Fallback` at both."""
FALLBACK = "Fallback"
RULE = "rule"
"""The version that the fallback's own answers name (examples/flights/namespace.yaml)."""
CHANCE = 1e-6
"""How often a share that is as declared may be called off, each by itself."""
FOREVER = math.inf
PLACES = 4
"""Decimals to which shares are told apart: whoever comes or goes has one request in a million for a while."""

Address = Literal["act", "suggest"]
Standing = Literal["granted", "trailing", "ungranted"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request: when it was sent and answered (seconds since 1970), and by whom.

    `autonomy` and `version` are the gateway's headers: what the route says of whom it sends to. `answered` is what the
    server says of itself in the answer (`model_version`), empty where that can't be read. `status` is 0 where no answer
    came. `error` says what was wrong.
    """

    id: str
    address: Address
    sent: float
    ended: float
    status: int
    autonomy: str = ""
    version: str = ""
    answered: str = ""
    error: str = ""

    @property
    def lost(self) -> bool:
        """Not answered, or with what nobody can read."""
        return self.status != 200 or not self.answered


@dataclass(frozen=True, kw_only=True)
class Spell:
    """A version was granted `level` from `since` until before `until`."""

    version: str
    level: str
    since: float
    until: float = FOREVER


@dataclass(frozen=True, kw_only=True)
class Split:
    """A gateway carried a route with these shares (0 to 1; version, or FALLBACK) from `since` until before `until`."""

    since: float
    until: float
    shares: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of `total` answers a version gave while `declared` (0 to 1) was its share."""

    version: str
    declared: float
    count: int
    total: int

    def passing(self, chance: float = CHANCE) -> tuple[int, int]:
        """The least and the greatest count that is within the sampling error, wrong in at most `chance` of cases.

        Both tails of the binomial distribution, exact; one answer more or less always passes.
        """
        expected = self.total * self.declared
        least, greatest = math.ceil(expected - 1), math.floor(expected + 1)
        if 0 < self.declared < 1:
            least = min(least, int(binom.ppf(chance / 2, self.total, self.declared)))
            greatest = max(greatest, int(binom.isf(chance / 2, self.total, self.declared)))
        return max(0, least), min(self.total, greatest)

    def fair(self, chance: float = CHANCE) -> bool:
        """Whether the count is within the sampling error."""
        least, greatest = self.passing(chance)
        return least <= self.count <= greatest

    def sharp(self, chance: float = CHANCE) -> bool:
        """Whether there are answers enough that more than half a share off isn't fair: otherwise that means little."""
        expected = self.total * self.declared
        least, greatest = self.passing(chance)
        return least >= 0.5 * expected and greatest <= 1.5 * expected

    def __str__(self) -> str:
        who = "fallback" if self.version == FALLBACK else f"v{self.version}"
        return f"{who} {100 * self.declared:.4g}%: {self.count}/{self.total}"


def spells(seen: Iterable[tuple[float, Mapping[str, str]]], *, until: float = FOREVER) -> tuple[Spell, ...]:
    """Spells from what the grant said at each moment it changed: the level of each version, in order of time."""
    found: list[Spell] = []
    begun: dict[str, tuple[str, float]] = {}
    for at, levels in seen:
        for version, (level, since) in list(begun.items()):
            if levels.get(version) != level:
                found.append(Spell(version=version, level=level, since=since, until=at))
                del begun[version]
        for version, level in levels.items():
            begun.setdefault(version, (level, at))
    found += [
        Spell(version=version, level=level, since=since, until=until) for version, (level, since) in begun.items()
    ]
    return tuple(found)


def standing(entry: Entry, granted: Sequence[Spell], *, grace: float) -> Standing:
    """Whether the version that answered was granted that level at any time from the request to its answer.

    `trailing`: it had been, up to `grace` seconds before the request was sent. An answer of an address that says
    another level than the address's, or nothing, is `ungranted` whoever gave it; so is one whose headers name another
    than who says that it answered.
    """
    if entry.autonomy == FALLBACK and not entry.version:
        return "granted" if entry.answered == RULE else "ungranted"
    if entry.autonomy != SAYS[entry.address] or not entry.version or entry.answered != entry.version:
        return "ungranted"
    asked = LEVELS.index(entry.autonomy)
    enough = [item for item in granted if item.version == entry.version and LEVELS.index(item.level) >= asked]
    if any(item.since <= entry.ended and entry.sent < item.until for item in enough):
        return "granted"
    if any(item.until <= entry.sent <= item.until + grace for item in enough):
        return "trailing"
    return "ungranted"


def observed(entries: Iterable[Entry], splits: Iterable[Split], *, settle: float) -> tuple[Share, ...]:
    """What each version, and the fallback, gave of the answers at `act` while its share stood.

    Requests count from `settle` seconds after the gateway said so to those answered before the next change.
    Equal splits count together.
    """
    counts: dict[tuple[tuple[str, float], ...], Counter[str]] = {}
    acting = [entry for entry in entries if entry.address == "act" and not entry.lost]
    for split in splits:
        rounded = ((who, round(share, PLACES)) for who, share in split.shares.items())
        key = tuple(sorted((who, share) for who, share in rounded if share))
        inside = (entry for entry in acting if entry.sent >= split.since + settle and entry.ended <= split.until)
        counts.setdefault(key, Counter()).update(_who(entry) for entry in inside)
    found: list[Share] = []
    for key, counted in counts.items():
        declared = dict(key)
        for version in sorted({*declared, *counted}):
            share = declared.get(version, 0.0)
            if counted.total():
                found.append(Share(version=version, declared=share, count=counted[version], total=counted.total()))
    return tuple(found)


def came_down(entries: Iterable[Entry], *, version: str, verdict: float) -> float:
    """Seconds from the verdict to the last answer at `act` that the version gave by itself; 0 where none came later."""
    last = (entry.ended for entry in entries if entry.address == "act" and _who(entry) == version)
    return max(0.0, max(last, default=verdict) - verdict)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a story came to. Times in seconds.

    `requests` were sent, `counted` of them have an entry of their own. `answers` are by address, level in the header,
    and who answered. `grace` is what coming down may take, `chance` how often a share that is right may be called off.
    """

    requests: int
    counted: int
    lost: tuple[Entry, ...]
    ungranted: tuple[Entry, ...]
    trailing: int
    kills: int
    restarts: int
    shares: tuple[Share, ...]
    demotion: float
    answers: Mapping[tuple[str, str, str], int]
    grace: float
    chance: float = CHANCE

    def __str__(self) -> str:
        shares = ", ".join(str(share) for share in self.shares)
        return (
            f"requests={self.requests} lost={len(self.lost)} ungranted={len(self.ungranted)} trailing={self.trailing} "
            f"kills={self.kills} api_restarts={self.restarts} demotion_seconds={self.demotion:.1f} shares=[{shares}]"
        )

    def problems(self) -> list[str]:
        """What must not be, in words."""
        found = [f"lost: {entry}" for entry in self.lost[:10]]
        found += [f"ungranted: {entry}" for entry in self.ungranted[:10]]
        if self.counted != self.requests:
            found.append(f"not counted: {self.requests} requests were sent, {self.counted} have an entry")
        if self.demotion > self.grace:
            found.append(
                f"slow: it answered until {self.demotion:.1f} s after the verdict, expected {self.grace:g} at most"
            )
        return found + [f"beyond sampling error: {share}" for share in self.shares if not share.fair(self.chance)]


def summed_up(
    entries: Sequence[Entry],
    *,
    sent: int,
    granted: Sequence[Spell],
    splits: Sequence[Split],
    grace: float,
    settle: float,
    kills: int,
    restarts: int,
    version: str,
    verdict: float,
    chance: float = CHANCE,
) -> Summary:
    """The whole story of `sent` requests; `version` came down at `verdict`."""
    answered = [entry for entry in entries if not entry.lost]
    standings = [standing(entry, granted, grace=grace) for entry in answered]
    return Summary(
        requests=sent,
        counted=len({entry.id for entry in entries}),
        lost=tuple(entry for entry in entries if entry.lost),
        ungranted=tuple(entry for entry, how in zip(answered, standings, strict=True) if how == "ungranted"),
        trailing=standings.count("trailing"),
        kills=kills,
        restarts=restarts,
        shares=observed(entries, splits, settle=settle),
        demotion=came_down(answered, version=version, verdict=verdict),
        answers=Counter((entry.address, entry.autonomy, entry.answered) for entry in answered),
        grace=grace,
        chance=chance,
    )


def _who(entry: Entry) -> str:
    """Who answered, by its own words."""
    return FALLBACK if entry.answered == RULE else entry.answered
