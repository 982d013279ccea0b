"""Text, JSON and Markdown: the answer first, the same verdict words, nothing that steers a terminal or a page."""

from __future__ import annotations

import dataclasses
import json
import re

from mandate.evaluate.service import measured, not_measured
from mandate.evidence.schema import Estimate, Measured
from mandate.report import document, html, markdown, text
from mandate.report.content import Obstacle, Report
from tests.unit.report.sample import SPEC, evidence, judged, report

HOSTILE = "\x1b[31m<script>alert(1)</script> | `x` \n# **bold** &amp;"


def hostile() -> Report:
    """A report in which everything that comes from data or people is hostile."""
    told = report()
    table = dataclasses.replace(
        told.slices[0],
        column=HOSTILE,
        rows=tuple(dataclasses.replace(row, value=HOSTILE) for row in told.slices[0].rows),
    )
    gate = told.gates[0]
    outcome = dataclasses.replace(gate.outcomes[0], where=HOSTILE, message=HOSTILE)
    at = dataclasses.replace(gate.decided, message=HOSTILE)
    return dataclasses.replace(
        told,
        version=HOSTILE,
        headline=HOSTILE,
        decision=HOSTILE,
        owner=HOSTILE,
        obstacles=(Obstacle(level="Suggest", gate="recall", verdict="Fail", message=HOSTILE, step=HOSTILE),),
        slices=(table,),
        gates=(dataclasses.replace(gate, outcomes=(outcome,), decided=at), *told.gates[1:]),
        held_out_reason=HOSTILE,
        findings=(HOSTILE,),
        versions={HOSTILE: HOSTILE},
    )


def test_text_answers_first() -> None:
    lines = text.render(report()).splitlines()
    assert lines[0] == "credit 7 may run in Shadow, not Automate"
    screen = lines[:24]
    assert "What stands in the way of Suggest" in screen
    assert "What to do" in screen


def test_text_keeps_to_its_width_and_its_columns() -> None:
    lines = text.render(report(), width=100).splitlines()
    top = lines[: lines.index("The model and its baselines")]
    assert max(map(len, top)) <= 100
    head = next(line for line in lines if line.startswith("GATE"))
    column = head.index("SUGGEST")
    rows = lines[lines.index(head) + 1 : lines.index(head) + 5]
    assert {row[column : column + 4].strip() for row in rows} <= {"Pass", "Fail", "Inco", "–"}


def test_colour_only_when_asked() -> None:
    assert "\x1b" not in text.render(report())
    coloured = text.render(report(), colour=True)
    assert re.sub(r"\x1b\[[0-9]+m", "", coloured) == text.render(report())


def test_text_steers_no_terminal() -> None:
    assert not {character for character in text.render(hostile()) if not character.isprintable()} - {"\n"}


def test_json_is_strict_and_whole() -> None:
    told = report()
    read = json.loads(document.render(told), parse_constant=lambda name: 1 / 0)
    assert read["schema"] == "mandate.dev/report/v1"
    assert read["result"] == "Refused"
    assert [gate["name"] for gate in read["gates"]] == [gate.name for gate in told.gates]
    assert read["gates"][1]["decided"]["outcomes"][0]["estimate"] == told.gates[1].outcomes[0].estimate
    assert read["digests"]["criteria"] == told.criteria_digest
    assert read["look"] == {"number": 1, "source": "Assumed", "share": 0.5}


def test_json_keeps_its_fields() -> None:
    assert set(document.document(report())) == {
        "schema", "name", "version", "useCase", "task", "result", "target", "reached", "headline", "answer",
        "obstacles", "steps", "levels", "gates", "metrics", "slices", "service", "rows", "look", "heldOut",
        "isolation", "findings", "digests", "versions", "seconds",
    }  # fmt: skip


def test_markdown_tables_are_whole() -> None:
    lines = markdown.render(report()).splitlines()
    assert lines[0] == "## ⛔ credit 7 may run in Shadow, not Automate"
    blocks = re.findall(r"(?:^\|.*\n)+", "\n".join(lines) + "\n", flags=re.MULTILINE)
    assert len(blocks) >= 4
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def test_markdown_takes_no_markup_from_data() -> None:
    page = markdown.render(hostile())
    assert "<script" not in page
    assert set(re.findall(r"<[^>]+>", page)) == {"<details>", "</details>", "<summary>", "</summary>"}
    assert "\n# " not in page
    assert "\x1b" not in page


def test_every_format_uses_the_same_words() -> None:
    told = report()
    pages = {
        "text": " ".join(text.render(told).split()),
        "json": document.render(told),
        "markdown": re.sub(r"\\(.)", r"\1", markdown.render(told)).replace("&gt;", ">").replace("&lt;", "<"),
        "html": html.render(told)
        .replace("\N{NO-BREAK SPACE}", " ")
        .replace("&#39;", "'")
        .replace("&gt;", ">")
        .replace("&lt;", "<"),
    }
    for obstacle in told.obstacles:
        for name, page in pages.items():
            assert obstacle.verdict in page, (name, obstacle)
            if obstacle.level == "Suggest" or name == "json":  # what stands further up is only named
                assert obstacle.message in page, (name, obstacle)
    for name, page in pages.items():
        assert told.criteria_digest in page, name
        assert told.computed_digest in page, name


def test_the_running_server_is_told_of_only_where_it_was_measured() -> None:
    """Offline nothing is: no empty section; a gate that asks for a latency says NotMeasured itself."""
    nothing = measured_with(not_measured(["50/s"], reason="nothing ran"))
    latencies = measured_with(measured({}, timeout=10.0, requests=1200))
    for render in (text.render, markdown.render, html.render):
        assert "Measured at the running server" not in render(nothing)
        assert "Measured at the running server" in render(latencies)


def measured_with(estimates: tuple[Estimate, ...]) -> Report:
    """The sample's report with these numbers of a server."""
    record = evidence()
    return judged(SPEC, record.model_copy(update={"measured": Measured(estimates=estimates)}))
