"""A ModelDeployment's ladder in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]

RUNGS = ("Automate", "Suggest", "Shadow")
TELLING = {
    "Stalled": "True",
    "CandidateRefused": "True",
    "AskUnderstood": "False",
    "FallbackReady": "False",
    "FallbackDrilled": "False",
    "Compared": "False",
}
"""Conditions worth a line of their own, under which status."""
DIFFERENCES = {
    "scoreDifference": "score, candidate - champion",
    "latencyDifference": "latency in ms, candidate - champion",
    "errorDifference": "absolute error, candidate - champion",
}
BETWEEN = {
    "agreementDifference": "as the model says, in sight - blind",
    "errorDifference": "wrong, in sight - blind",
}
ASIDE = {
    "peeked": "saw the answer though they were to decide blind",
    "revised": "decided again after a blind decision",
    "unasked": "decided blind unasked",
}
"""Decisions that aren't compared with anything."""
LAST = 8
"""Changes shown."""


def lines(mdep: Object) -> tuple[str, ...]:
    """Who stands where, what is missing, what happened last."""
    metadata, status = mdep["metadata"], mdep.get("status") or {}
    target = ((mdep.get("spec") or {}).get("autonomy") or {}).get("target", "?")
    found = [f"{metadata['namespace']}/{metadata['name']}: level {status.get('level', 'None')}, target {target}"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        found.append("the operator hasn't looked at the present spec yet")
    found += _stopped(status)
    found += ["", *_ladder(status, target), ""]
    found += _conditions(status)
    found += _pairs(status)
    found += _decisions(status)
    shown = history(mdep)[-LAST:]
    if shown:
        found += ["", "last changes:", *(f"  {entry['at']}  {sentence(entry)}" for entry in shown)]
    return tuple(found)


def history(mdep: Object) -> Sequence[Object]:
    """The transitions on record, the latest at the end."""
    return (mdep.get("status") or {}).get("history") or ()


def sentence(entry: Object) -> str:
    """A transition in words."""
    words = [entry["what"]]
    version, before, after = (entry.get(name, "") for name in ("version", "before", "after"))
    if version:
        moved = f" from {before or 'no level'} to {after or 'no level'}" if before != after else ""
        words.append(f" version {version}{moved}")
    if entry.get("why"):
        words.append(f": {entry['why']}")
    return "".join(words) + f" (by {entry['by']})"


def _stopped(status: Object) -> list[str]:
    found = []
    for field, verb in (("halted", "halted"), ("paused", "paused")):
        asked = status.get(field)
        if asked:
            to = (f" to {asked['level']}" if asked.get("level") else ", off") if field == "halted" else ""
            why = f": {asked['why']}" if asked.get("why") else ""
            found.append(f"{verb}{to} by {asked['by']} since {asked['at']}{why}")
    return found


def _ladder(status: Object, target: str) -> list[str]:
    """One line per rung up to the target, the highest first, and those that stand on none."""
    holders = [(role, status[role]) for role in ("champion", "candidate") if status.get(role)]
    reached = {holder.get("level") for _, holder in holders}
    found = []
    for rung in RUNGS[RUNGS.index(target) if target in RUNGS else 0 :]:
        reached.discard(rung)
        there = [_holder(role, holder) for role, holder in holders if holder.get("level") == rung]
        found += [f"  {rung:<10}{words}".rstrip() for words in there or [""]]
    above = [item for item in holders if item[1].get("level") in reached - {None}]
    found = [f"  {holder['level']:<10}{_holder(role, holder)}" for role, holder in above] + found
    found += [f"  {'-':<10}{_holder(role, holder)}" for role, holder in holders if holder.get("level") is None]
    behind = status.get("previous")
    if behind:
        granted = "no longer granted" if behind.get("released") else "still granted"
        found.append(f"  {'before':<10}version {behind['version']} ({granted}), to roll back to")
    return found


def _holder(role: str, holder: Object) -> str:
    share = f", {holder['share']} % of requests" if holder.get("share") else ""
    since = f", since {holder['since']}" if holder.get("since") and holder.get("level") else ""
    used = ", not in use yet" if holder.get("level") and not holder.get("begun") else ""
    leaving = holder.get("leaving")
    out = f", leaving: {leaving.get('message') or leaving['reason']}" if leaving else ""
    return f"{role} version {holder['version']}{share}{since}{used}{out}"


def _pairs(status: Object) -> list[str]:
    """The candidate beside the champion, on the same requests."""
    pairs = status.get("pairs")
    if not pairs:
        return []
    champion, candidate = (status.get(role) or {} for role in ("champion", "candidate"))
    digest = candidate.get("modelDigest")
    same = ", the same model: what differs is noise" if digest and digest == champion.get("modelDigest") else ""
    found = ["", f"candidate beside champion since {pairs['since']}{same}:"]
    if not pairs.get("until"):
        return [*found, "  nothing counted yet"]
    part, _, whole = pairs["copied"].partition("/")
    copies = f"copies of {100 * int(part) / int(whole):.4g} % of requests"
    found.append(
        f"  {pairs.get('paired', 0)} pairs, {copies}{_limits(', of which {} are missing', pairs.get('missing'))}"
    )
    compared = pairs.get("compared", 0)
    if compared != pairs.get("paired", 0):
        found.append(f"  {compared} without an error")
    if pairs.get("agreement"):
        found.append(_limits("  the same answer: {}", pairs["agreement"]))
    found += [
        _limits(f"    where {part['slice']} is {part['value']}: {{}}, of {part['compared']}", part["agreement"])
        for part in pairs.get("slices") or ()
    ]
    for field, words in DIFFERENCES.items():
        if pairs.get(field):
            found.append(_limits(f"  {words}: {{}}", pairs[field], share=False))
    right = pairs.get("right")
    if right:
        parts = ("both", "candidate", "champion", "neither")
        found.append("  right: " + ", ".join(f"{part} {right.get(part, 0)}" for part in parts))
    return found


def _decisions(status: Object) -> list[str]:
    """What people decide at Suggest, alone and with the answer before them, beside the model."""
    decisions = status.get("decisions")
    if not decisions:
        return []
    share = decisions["blindShare"]
    found = ["", f"decisions at Suggest since {decisions['since']}, of which {share} are to be taken blind:"]
    found += _decided("blind", decisions.get("blind") or {}) if share != "0%" else []
    found += _decided("with the answer in sight", decisions.get("shown") or {})
    for field, words in BETWEEN.items():
        if decisions.get(field):
            found.append(_limits(f"  {words}: {{}}", decisions[field]))
    aside = ", ".join(f"{decisions[field]} {words}" for field, words in ASIDE.items() if decisions.get(field))
    return [*found, f"  not compared: {aside}"] if aside else found


def _decided(what: str, part: Object) -> list[str]:
    """Some decisions, and who was right where the outcome is known."""
    found = [f"  {what}: {part.get('count', 0)}{_limits(', as the model says {}', part.get('agreement'))}"]
    if part.get("errors"):
        wrong = _limits("people wrong {}", part["errors"]) + _limits(", the model {}", part.get("modelErrors"))
        found.append(f"    {part['labelled']} with their outcome: {wrong}")
        found.append(_limits("    people - model: {}", part["errorDifference"]))
    if part.get("sharedErrors"):
        found.append(_limits("    where the model is wrong, people are too: {}", part["sharedErrors"]))
    return found


def _limits(words: str, limits: Object | None, *, share: bool = True) -> str:
    """A mean with its limits where `words` say so; empty where there is none."""
    if not limits:
        return ""

    def shown(text: str) -> str:
        return f"{100 * float(text):.1f} %" if share else f"{float(text):.4g}"

    ends = [shown(limits[end]) for end in ("lower", "upper") if end in limits]
    return words.replace("{}", shown(limits["mean"]) + (f" [{', '.join(ends)}]" if ends else ""))


def _conditions(status: Object) -> list[str]:
    known = {item["type"]: item for item in status.get("conditions") or ()}
    if not known:
        return ["the operator has said nothing about it yet"]
    found = []
    for kind in ("Ready", "Granted"):
        item = known.get(kind)
        if item:
            found.append(
                f"{kind}: {'yes' if item['status'] == 'True' else 'no'}: {item.get('message') or item['reason']}"
            )
    found += [
        f"{kind}: {known[kind].get('message') or known[kind]['reason']}"
        for kind, bad in TELLING.items()
        if kind in known and known[kind]["status"] == bad
    ]
    enforced = known.get("Enforced")
    if enforced and enforced["status"] != "True":
        found.append(f"Enforced: no: {enforced.get('message') or enforced['reason']}")
    return found
