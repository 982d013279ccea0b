"""The report as JUnit XML, as GitLab, Jenkins and others read it: a suite per level, a case per gate."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from .content import AtLevel, GateRow, Report, look_text, requirement_text, worst_first
from .names import cut, plain, without_commands

MOST_OUTCOMES = 50
"""Of one gate at one level; the rest is counted."""
MAX_TEXT = 1000


def render(report: Report) -> str:
    """XML text, ending in a newline.

    A gate that stands in its level's way is a `failure` (Fail, Inconclusive) or an `error` (Error); an Inconclusive
    that the level allows is a case that passes and says so.
    """
    root = Element("testsuites", name=_text(f"{report.name} {report.version}"))
    for level in report.levels:
        suite = SubElement(root, "testsuite", name=level)
        properties = SubElement(suite, "properties")
        for name, value in (
            ("headline", report.headline),
            ("target", report.target),
            ("reached", report.reached or "none"),
            ("heldOut", report.held_out),
            *([("labels", report.labels)] if report.labels else []),
            *([("personal", report.personal)] if report.personal else []),
            ("look", look_text(report)),
            ("criteria", report.criteria_digest),
            ("evidence", report.computed_digest),
        ):
            SubElement(properties, "property", name=name, value=_text(value))
        for gate in report.gates:
            at = gate.at(level)
            if at is not None:
                _case(suite, gate, at, model=report.name)
        _count(suite)
        # The root has no such attribute in Jenkins's schema.
        suite.set("skipped", str(sum(1 for _ in suite.iter("skipped"))))
        suite.set("time", "0")
    _count(root)
    root.set("time", f"{sum(report.seconds.values()):.3f}")
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + without_commands(tostring(root, encoding="unicode")) + "\n"


def _case(suite: Element, gate: GateRow, at: AtLevel, *, model: str) -> None:
    # Nothing is measured while a gate is judged: the root's time is the measurement's.
    case = SubElement(suite, "testcase", classname=_text(f"{model}.{at.level}"), name=_text(gate.name), time="0")
    told = f"{at.verdict}: {gate.title}: {requirement_text(at)}\n{_outcomes(gate, at)}"
    if at.verdict == "Skipped":
        SubElement(case, "skipped", message=_text(at.message))
    elif not at.holds:
        kind = "error" if at.verdict == "Error" else "failure"
        SubElement(case, kind, type=at.verdict, message=_text(at.message)).text = told
    elif at.verdict != "Pass":
        SubElement(case, "system-out").text = told


def _outcomes(gate: GateRow, at: AtLevel) -> str:
    """The outcomes, a line each, the worst first; at another level than the one that decides, its worst alone."""
    if at is not gate.decided:
        return _text(at.message)
    shown, left = worst_first(gate, most=MOST_OUTCOMES)
    lines = [_text(f"{outcome.verdict}: {outcome.message}") for outcome, _ in shown]
    return "\n".join([*lines, f"… and {left} more, none worse"] if left else lines)


def _count(parent: Element) -> None:
    """What the attributes of a suite, or of all of them, count."""
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        parent.set(name, str(sum(1 for _ in parent.iter(tag))))


def _text(text: str) -> str:
    """What XML can hold: no control characters, no lone halves of a pair."""
    return cut(plain(text), most=MAX_TEXT)
