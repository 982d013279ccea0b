"""What a story came to, for readers: the figures in docs/user/story.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tests.e2e.story.ledger import FALLBACK, RULE, Summary
from tests.e2e.story.telling import Told

BEGIN, END = "<!-- begin: figures of `make story` -->", "<!-- end -->"


def figures(told: Told, *, machine: str) -> str:
    """The figures in Markdown."""
    plan, summary = told.plan, told.summary
    parts = [
        f"One run of {told.took / 60:.0f} minutes on {machine}; {plan.rate:g} requests a second, {plan.day:g} s a day, "
        f"a Lease of {plan.lease[0]} s.",
        f"```text\n{_line(summary)}\n```",
        "### What happened",
        _table(("at", "what", "version", "from → to", "why"), _rows(told)),
        "### Who answered",
        _table(("address", "level in the header", "who says that it answered", "answers"), _answers(summary)),
        "### Shares",
        _table(("declared", "observed", "would pass", "of answers"), _shares(summary)),
        f"A share that is as declared lies outside of what would pass in at most {summary.chance:g} of cases.",
        f"{told.showed:.0f} s after the fault began, version 2 came down because `{told.refuted}`. The last answer of "
        f"its own at `flights` came {summary.demotion:.1f} s after that verdict, at most.",
    ]
    if told.pairs:
        parts.append(_beside(told.pairs))
    if told.decisions:
        parts.append(_decided(told.decisions))
    if summary.restarts:
        parts.append(f"The API server was killed in the middle of the climb, and was back after {told.gone:.1f} s.")
    return "\n\n".join(parts)


def written(page: str, text: str) -> str:
    """The page with the figures in their place; raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for figures: expected {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _beside(pairs: Mapping[str, Any]) -> str:
    agreement, missing = pairs.get("agreement"), pairs.get("missing")
    words = [f"At Shadow, version 2 answered {pairs['paired']:,} requests that version 1 answered to the caller"]
    if agreement:
        words.append(f"{_percent(agreement)} of them alike")
    if missing:
        words.append(f"{_percent(missing)} of the copies were without its answer")
    return ", ".join(words) + "."


def _decided(decisions: Mapping[str, Any]) -> str:
    words = []
    for name, how in (("blind", "before they saw the answer"), ("shown", "with the answer in sight")):
        taken = decisions[name]
        words.append(f"{taken['count']:,} {how}")
        if taken.get("agreement"):
            words.append(f"{_percent(taken['agreement'])} of them as it says")
    return f"People decided on answers of version 2: {', '.join(words)}. The rule that plays them looks at no answer."


def _percent(share: Mapping[str, Any]) -> str:
    values = (100 * float(share[name]) for name in ("mean", "lower", "upper") if share.get(name) is not None)
    mean, *limits = [f"{value:.1f} %" for value in values]
    return f"{mean} [{', '.join(limits)}]" if limits else mean


def _line(summary: Summary) -> str:
    return str(summary).split(" shares=", maxsplit=1)[0]


def _rows(told: Told) -> Iterable[tuple[str, ...]]:
    for entry in told.history:
        since = max(0.0, datetime.fromisoformat(entry["at"]).timestamp() - told.began)
        moved = f"{entry.get('before') or '–'} → {entry.get('after') or '–'}"
        yield f"{since:.0f} s", entry["what"], entry.get("version", ""), moved, _short(entry)


def _short(entry: Mapping[str, Any]) -> str:
    seen = str(entry.get("evidence", "")).partition("; ")[2]
    words = str(entry.get("why", "")).replace("|", "\\|")
    return f"{words} ({seen})" if seen else words


def _answers(summary: Summary) -> Iterable[tuple[str, ...]]:
    names = {"act": "`flights`", "suggest": "`flights-suggest`"}
    for (address, autonomy, version), count in sorted(summary.answers.items()):
        yield names[address], autonomy, "the rule" if version == RULE else f"version {version}", f"{count:,}"


def _shares(summary: Summary) -> Iterable[tuple[str, ...]]:
    for share in summary.shares:
        who = "the rule" if share.version == FALLBACK else f"version {share.version}"
        limits = (f"{100 * count / share.total:.2f} %" for count in share.passing(summary.chance))
        observed = f"{100 * share.count / share.total:.2f} %"
        yield f"{who}: {100 * share.declared:.4g} %", observed, " to ".join(limits), f"{share.total:,}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
