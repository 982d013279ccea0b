"""Text, JSON and Markdown: the answer first, the same verdict words, nothing that steers a terminal or a page."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from mandate.api.check import load_spec
from mandate.api.kinds import ModelEvaluationSpec
from mandate.evaluate.service import capacity, measured, not_measured, saturated
from mandate.evidence.data import Finding
from mandate.evidence.schema import NUDGED, Estimate, Measured, Nudged, Peaks, Probed, Starts, UnderLoad
from mandate.inference.capacity import Capacity
from mandate.report import document, html, markdown, model_card, plot, text
from mandate.report.about import Change, Declared
from mandate.report.content import Obstacle, Report
from tests.evaluation import declare
from tests.unit.api.specs import FORECAST
from tests.unit.measure import test_forecasts as forecasts
from tests.unit.report import sample
from tests.unit.report.sample import SPEC, evidence, judged, report

HOSTILE = (
    "\x1b[31m<script>alert(1)</script> | `x` \n# **bold** &amp; \x00\x08\ud800\ufffe\u202egnp.exe\u202c\u2028 ]]> --> "
    "[a](http://evil.example) ![b](c) www.evil.example a@evil.example @team #12 !7 $x$ %1 ~a~ "
    "\r\n::error::x\r##[add-mask]y"
)


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
        learnt=(("linear", HOSTILE),),
        slices=(table,),
        gates=(dataclasses.replace(gate, outcomes=(outcome,), decided=at), *told.gates[1:]),
        held_out_reason=HOSTILE,
        labels=HOSTILE,
        findings=(HOSTILE,),
        versions={HOSTILE: HOSTILE},
        declared=Declared(
            source=HOSTILE,
            format=HOSTILE,
            inputs=(HOSTILE,) * 100,
            output=HOSTILE,
            target=HOSTILE,
            positive=HOSTILE,
            training_run=HOSTILE,
            code_revision=HOSTILE,
            lineage={"source": HOSTILE, "licence": HOSTILE},
            tables={"source": HOSTILE},
            split=HOSTILE,
            sensitive=(HOSTILE,),
            error_costs=(HOSTILE,) * 64,
            fallback=HOSTILE,
        ),
        history=(Change(at=HOSTILE, what=HOSTILE, version="7", moved="", by=HOSTILE, why=HOSTILE, evidence=HOSTILE),),
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


@pytest.mark.row("D1/advice")
def test_what_was_found_about_the_data_is_told_in_every_form() -> None:
    found = report()
    assert found.data is not None
    assert "test beside train: of 3 columns none is distributed otherwise" in text.render(found)
    finding = Finding(
        code="Drift", part="test", column="age", numbers={}, effect=0.5, message=HOSTILE, advice="Look at its source."
    )
    grave = dataclasses.replace(
        found,
        data=found.data.model_copy(update={"findings": (finding,) * 60, "counts": {"Drift": 70}}),
    )
    for form, left in ((text, 62), (markdown, 50), (html, 30), (model_card, 50)):
        page = form.render(grave)
        assert "Look at its source." in page
        assert f"and {left} more" in page
        assert "<script>" not in page or form is text
    assert document.document(grave)["data"]["counts"] == {"Drift": 70}
    old = dataclasses.replace(found, data=None)
    assert document.document(old)["data"] is None
    assert all("The data" not in form.render(old) for form in (text, markdown, html))


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
        "obstacles", "steps", "levels", "gates", "metrics", "baselines", "classes", "reliability", "slices", "fairness",
        "weakest", "service", "serviceNotes", "rows", "look", "heldOut", "isolation", "newest", "findings", "digests",
        "versions", "seconds", "declared", "history", "data", "horizons", "labels", "personal", "windows",
    }  # fmt: skip


def test_every_form_says_what_a_baseline_is_made_of() -> None:
    told = dataclasses.replace(report(), learnt=(("rule", "amount above 7: bad, up to it: good"),))
    assert document.document(told)["baselines"] == {"rule": "amount above 7: bad, up to it: good"}
    for form in (text, markdown, html, model_card):
        assert "rule: amount above 7: bad, up to it: good" in form.render(told), form


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
    asked = ModelEvaluationSpec.model_validate(declare() | {"loads": ["50/s"], "service": ["Capacity"]})
    nothing = measured_with(not_measured(asked, reason="nothing ran"))
    latencies = measured_with(measured({}, timeout=10.0, requests=1200))
    for render in (text.render, markdown.render, html.render):
        assert "Measured at the running server" not in render(nothing)
        assert "Measured at the running server" in render(latencies)


def measured_with(estimates: tuple[Estimate, ...]) -> Report:
    """The sample's report with these numbers of a server."""
    record = evidence()
    return judged(SPEC, record.model_copy(update={"measured": Measured(estimates=estimates)}))


def test_classes_and_reliability_are_told_in_every_format() -> None:
    evidence = sample.measured(load_spec(sample.SEVERAL), sample.animals())
    told = sample.judged(sample.SEVERAL, evidence)
    assert told.classes is not None
    assert [row.name for row in told.classes.rows] == ["<b>", "ant", "bee"]
    assert sum(row.rows for row in told.classes.rows) == told.rows["test"]
    assert told.classes.metrics == ("precision", "recall", "f1", "f_beta")
    assert told.gates[0].asks == "class bee"
    assert told.gates[0].outcomes[0].message.startswith("class bee: ")
    assert told.gates[1].title == "Top-k accuracy (k = 2)"
    assert told.calibration is not None
    recall = told.classes.rows[2].numbers[1].text
    for words in (text.render(told), html.render(told), markdown.render(told).replace("\\", "")):
        assert recall in words
        assert told.calibration.told in words.replace("\n  ", " ")
    assert "<b>ant" not in html.render(told)
    page = document.document(told)
    assert page["classes"][2]["metrics"]["recall"]["value"] == told.classes.rows[2].numbers[1].value
    assert sum(item["rows"] for item in page["reliability"]["bins"]) == told.rows["test"]
    assert page["reliability"]["error"] > page["reliability"]["chance"] > 0


def test_what_the_server_can_do_and_costs_is_told() -> None:
    """Throughput with its limits, the cost's currency, and whose limit it was."""
    found = Capacity(
        answers=(100, 110, 90, 105, 95),
        seconds=(0.5,) * 5,
        cpu=(0.2,) * 5,
        memory=(2.0**28,) * 5,
        failed=2,
        own=0.97,
        held=180.0,
    )
    prices = {"cpuHour": "0.04", "gibHour": "0.005", "currency": "CHF"}
    document_ = sample.changed(serving={"prices": prices})
    serving = load_spec(document_).serving
    record = Measured(
        estimates=tuple(capacity(found, rows=1, serving=serving)), saturated=saturated(found, serving=serving)
    )
    told = judged(document_, evidence().model_copy(update={"measured": record}))
    assert [item.title for item in told.service] == [
        "Predictions per second that it holds",
        "CPU time of a prediction",
        "Cost of what a million predictions use (CHF)",
        "Cost of a million predictions (CHF)",
    ]
    (note,) = told.service_notes
    assert note == (
        "Always at work it answered 200 requests a second; at random moments 180 a second held; 2 requests failed; "
        "the load generator was the limit, so the server can do more."
    )
    assert "180 [" in text.render(told)


def test_memory_by_block_and_starts_are_told() -> None:
    """Over how many blocks and starts, and where one start or a peak that still rises says less."""
    steady, growing = (100.0, *[120.0] * 19), tuple(100.0 + 2 * block for block in range(20))
    several = Measured(peaks=Peaks(mib=steady), starts=Starts(seconds=(0.9, 1.25, 1.0)))
    once = Measured(peaks=Peaks(mib=growing), starts=Starts(seconds=(0.9,), once="it starts once"))
    notes = [
        judged(SPEC, evidence().model_copy(update={"measured": record})).service_notes for record in (several, once)
    ]
    assert notes == [
        (
            "Memory: 120 MiB at most over 20 blocks of load, reached in block 2; with 95% confidence 86% of such "
            "blocks need no more.",
            "Cold start: 3 starts of the server took 900ms to 1.25s; the number is their median.",
        ),
        (
            "Memory: still rising in block 20 of 20, to 138 MiB: it may need more than was seen.",
            "Cold start: one start, without an interval: it starts once.",
        ),
    ]


def test_costs_are_told_in_their_currency() -> None:
    document_ = sample.changed(useCase={"errorCosts": sample.COSTS})
    told = sample.judged(document_, sample.measured(load_spec(document_), sample.table()))
    assert "Expected cost of an answer (EUR)" in {row.title for row in told.metrics}


def test_dots_lie_on_the_diagonal_where_all_is_right() -> None:
    told = sample.judged(sample.SPEC, sample.measured(load_spec(sample.SPEC), sample.table()))
    assert told.calibration is not None
    item, number = told.calibration.bins[0]
    exact = dataclasses.replace(number, value=item.predicted)
    (dot,) = plot.dots(dataclasses.replace(told.calibration, bins=((item, exact),)))
    assert dot.x + dot.y == pytest.approx(plot.WIDTH, abs=0.1)
    assert dot.high is not None
    assert dot.low is not None
    assert dot.high <= dot.y <= dot.low


def test_limits_of_shares_are_left_out_where_rows_come_in_clusters() -> None:
    document_ = sample.changed(task=sample.SPEC["task"] | {"cluster": "age"})
    told = sample.judged(document_, sample.measured(load_spec(document_), sample.table()))
    assert told.calibration is not None
    assert {number.lower for _, number in told.calibration.bins} == {None}


def test_what_became_of_each_load_is_told_in_every_form() -> None:
    seen = UnderLoad(requests=2000, late=30, kept=0.85, crashes=2, timeouts=1, refused=0)
    [count] = [e for e in measured({}, timeout=10, requests=1) if e.quantity.metric == "crashes"]
    record = evidence().model_copy(update={"measured": Measured(estimates=(count,), loads={"50/s": seen})})
    told = judged(SPEC, record)
    note = (
        "50/s: 2 000 requests, 2 lost to crashes or server errors, 1 without an answer in time; 30 left late, at 85% "
        "of the rate."
    )
    assert told.service_notes == (note,)
    assert document.document(told)["serviceNotes"] == [note]
    for page in (text.render(told), markdown.render(told), html.render(told), model_card.render(told)):
        assert "2 lost to crashes or server errors" in page
    calm = Measured(
        estimates=(count,),
        loads={"9/s": UnderLoad(requests=540, late=0, kept=0.999, crashes=0, timeouts=0, refused=0)},
    )
    assert judged(SPEC, evidence().model_copy(update={"measured": calm})).service_notes == (
        "9/s: 540 requests, none failed.",
    )


def test_what_became_of_bad_inputs_is_told_by_kind() -> None:
    kinds = {
        "out_of_range": Probed(refused=1, answered=4),
        "huge": Probed(refused=2, answered=5, failures={"Crash": 1, "NoNumber": 2}, first="amount: a long text: Crash"),
    }
    told = judged(SPEC, evidence().model_copy(update={"measured": Measured(robustness=kinds)}))
    assert told.service_notes == (
        "Bad inputs, out of range: 1 refused, 4 answered.",
        "Bad inputs, huge: 2 refused, 5 answered, 3 failed (1 Crash, 2 NoNumber; first amount: a long text: Crash).",
    )


def test_what_small_changes_did_is_told() -> None:
    nudged = Nudged(rows=500, step=0.01, flipped=7, flipped_itself=2, largest=0.25, median=0.002, spread=0.3)
    kinds = {NUDGED: Probed(refused=0, answered=498, failures={"NoNumber": 2}, first="rows nudged: NoNumber")}
    told = judged(SPEC, evidence().model_copy(update={"measured": Measured(robustness=kinds, nudged=nudged)}))
    moved = "Numbers moved by 1% of their spread, 500 rows: "
    assert told.service_notes == (
        "Numbers moved a little: 0 refused, 498 answered, 2 failed (2 NoNumber; first rows nudged: NoNumber).",
        f"{moved}7 of 500 answers flipped, 2 without being moved; scores changed by 0.25 at most and 0.002 in the "
        "middle; they spread by 0.3.",
    )
    labels = Measured(nudged=Nudged(rows=500, step=0.01, flipped=7, flipped_itself=0))
    told = judged(SPEC, evidence().model_copy(update={"measured": labels}))
    assert told.service_notes == (f"{moved}7 of 500 answers flipped.",)


def test_the_key_that_signed_the_model_is_told() -> None:
    plain, key = evidence(), "sha256:" + "c" * 64
    inputs = plain.computed.inputs.model_copy(update={"signer": key})
    signed = plain.model_copy(update={"computed": plain.computed.model_copy(update={"inputs": inputs})})
    assert "model signed by the key" not in judged(SPEC, plain).inputs
    assert judged(SPEC, signed).inputs["model signed by the key"] == key
    assert all(key in write(judged(SPEC, signed)) for write in (html.render, markdown.render, model_card.render))


def test_horizons_are_told_in_every_format() -> None:
    told = sample.judged(FORECAST, sample.measured(load_spec(FORECAST), forecasts.table()))
    assert told.horizons is not None
    assert [row.name for row in told.horizons.rows] == ["1", "7"]
    assert told.horizons.metrics[-3:] == ("mase", "smape", "error_growth")
    assert [gate.asks for gate in told.gates] == ["each horizon", "horizon 7", ""]
    assert told.gates[1].outcomes[0].where == "horizon 7"
    number = told.horizons.rows[1].numbers[0].text.split()[0]
    for words in (text.render(told), html.render(told), markdown.render(told), model_card.render(told)):
        assert number in words.replace("\\", "")
        assert "Each horizon, in steps" in words
    page = document.document(told)
    assert [item["horizon"] for item in page["horizons"]] == [1, 7]
    assert page["horizons"][1]["metrics"]["mase"]["value"] == told.horizons.rows[1].numbers[3].value
    assert document.document(report())["horizons"] is None
