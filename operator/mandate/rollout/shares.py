"""Who should answer at NAME and NAME-suggest, as plain data for any provider. Pure."""

from __future__ import annotations

from collections.abc import Collection

from mandate.api.criteria import Level

from .state import FALLBACK, Holder, Shares, State, rank


def desired_shares(state: State, *, able: Collection[str] | None = None) -> Shares:
    """Shares that add up to 100 % at each address, all of it to revisions that may act there, or to the fallback.

    `able` are the revisions that are granted and have Pods ready (or answer already); the share of any other goes to
    the next in line: the candidate's to the champion, the champion's to the one before it, the rest to the fallback.
    Without `able`, everyone is.
    """

    def may(holder: Holder | None, level: Level) -> bool:
        if holder is None or rank(holder.rung.level) < rank(level):
            return False
        return able is None or holder.revision in able

    def stand_in(level: Level) -> Holder | None:
        """The champion before this one, while this one should answer and can't."""
        behind, champion = state.previous, state.champion
        if behind is None or behind.released:
            return None
        if champion is None or rank(champion.rung.level) < rank(level) or may(champion, level):
            return None
        return behind.holder if may(behind.holder, level) else None

    left, automate = 100, dict[str, int]()
    stands_in = stand_in("Automate")
    line = ((state.candidate, state.candidate), (state.champion, state.champion), (stands_in, state.champion))
    for holder, entitled in line:
        if holder is not None and entitled is not None and may(holder, "Automate"):
            share = min(left, entitled.rung.share)
            automate[holder.revision] = automate.get(holder.revision, 0) + share
            left -= share
    automate[FALLBACK] = left
    order = (state.candidate, state.champion, stand_in("Suggest"))
    suggests = next((holder.revision for holder in order if holder is not None and may(holder, "Suggest")), FALLBACK)
    return Shares(
        automate={revision: share for revision, share in automate.items() if share > 0},
        suggest={suggests: 100},
        mirrored=tuple(
            holder.revision
            for holder in (state.candidate, state.champion)
            if holder is not None and holder.leaving is None and holder.rung.level == "Shadow"
        ),
    )
