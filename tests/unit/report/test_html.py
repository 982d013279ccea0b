"""The page: self-contained, small, safe with hostile names, and its plots true to the numbers."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from mandate.api.catalogue import metrics_for
from mandate.api.criteria import Against, Limit, Range
from mandate.evidence.data import Comparison, DataEvidence, Finding
from mandate.evidence.intervals import Beta
from mandate.evidence.schema import Estimate, Evidence, Quantity, Reliability, ReliabilityBin, Support
from mandate.report import document, html, markdown, plot
from mandate.report.content import ClassRow, ClassTable, Report
from mandate.verdict.judge import Outcome
from tests.unit.report.sample import CROWDED_METRICS, changed, crowd, evidence, judged, report
from tests.unit.report.test_formats import HOSTILE, hostile

VOID = {"meta", "br", "line", "rect", "circle"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that aren't closed in order."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_nothing_runs_and_nothing_is_loaded() -> None:
    page = Page(html.render(hostile()))
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"} & set(page.tags)
    names = {name for _, name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")}
    assert not names & {"src", "href", "xlink:href", "srcset", "action", "style"}
    style = "".join(page.text)
    assert "@import" not in style
    assert "url(" not in style


def test_hostile_names_are_text() -> None:
    source = html.render(hostile())
    assert "<script" not in source
    assert "\x1b" not in source
    assert "&lt;script&gt;" in source
    assert any("<script>alert(1)</script>" in text for text in Page(source).text), HOSTILE


def test_the_same_page_for_the_same_report() -> None:
    assert html.render(report()) == html.render(report())


def test_numbers_stay_in_one_piece() -> None:
    source = html.render(report())
    (needed,) = [o.needed for gate in report().gates if gate.name == "fair" for o in gate.outcomes]
    assert f"{needed:,}".replace(",", "\N{NO-BREAK SPACE}") + " more rows" in source
    assert "&gt;=\N{NO-BREAK SPACE}0.8" in source


def crowded() -> tuple[dict[str, object], Evidence]:
    """64 gates on 20 slices of 12 values, with names as long and as costly to escape as the schema allows."""
    slices = [{"name": f"slice-{index:02}" + "x" * 32, "column": '"&' * 60} for index in range(20)]
    names = [str(item["name"]) for item in slices]
    metrics = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    gates = [
        {
            "name": f"gate-{index:02}" + "x" * 30,
            "metric": metrics[index % len(metrics)],
            "each": names,
            "require": {"Shadow": ">= 0.65", "Suggest": ">= 0.70", "Automate": ">= 0.80"},
        }
        for index in range(64)
    ]
    estimates = tuple(
        Estimate(
            quantity=Quantity(metric=metric, slice=name, value=f"{value:02}" + "<&" * 127),
            estimate=0.7,
            interval=Beta(successes=70.0 + value, trials=100.0),
            support=Support(rows=100, events=70),
        )
        for metric in metrics
        for name in names
        for value in range(12)
    )
    found = evidence()
    computed = found.computed.model_copy(update={"estimates": estimates, "findings": ("<&" * 256,) * 100})
    document = changed(gates=gates)
    document["data"]["slices"] = slices
    return document, Evidence(computed=computed, measured=found.measured)


def test_a_crowded_page_stays_small() -> None:
    told = judged(*crowded())
    assert len(told.gates) == 64
    assert len(told.slices) == 20
    source = html.render(told)
    assert len(source.encode()) < 300_000
    assert source.count("more, none worse") == 64, "what is left out is said"
    Page(source)


def overflowing(baselines: int) -> Report:
    """The crowded report with all there can be of findings, classes, bins of reliability and baselines."""
    given, found = crowded()
    references = [f"b{place:02}" + "x" * 36 for place in range(baselines)]
    given["baselines"] = [{"name": name, "type": "Column", "column": name} for name in references]
    metrics = [metric.name for metric in metrics_for("Binary") if metric.origin == "Computed" and not metric.fact]
    own = {"estimate": 0.712345678, "interval": Beta(successes=70.0, trials=100.0)}
    places = [{"on": on} for on in ("train", "validation", "test")] + [{"versus": name} for name in references]
    estimates = tuple(
        Estimate(
            quantity=Quantity(metric=metric, **place),
            **own,
            reference=0.612345678 if "versus" in place else None,
            support=Support(rows=100, events=70),
        )
        for metric in metrics
        for place in places
    )
    words = {"message": "<&" * 512, "advice": "<&" * 512}
    drift = Finding(code="Drift", part="test", column="<&" * 60, numbers={}, effect=1, **words)
    data = DataEvidence(
        comparisons=(Comparison(reference="train", current="test", compared=2000, changed=2000),),
        counts={"Drift": 4000},
        findings=(drift,) * 100,
    )
    bins = tuple(
        ReliabilityBin(low=place / 10, high=(place + 1) / 10, rows=10**9, predicted=0.123456789, observed=10**8)
        for place in range(10)
    )
    changes = {
        "estimates": (*found.computed.estimates, *estimates),
        "data": data,
        "reliability": Reliability(bins=bins, error=0.1, chance=0.01),
    }
    told = judged(given, Evidence(computed=found.computed.model_copy(update=changes), measured=found.measured))
    number = told.metrics[0].test
    rows = tuple(ClassRow(name="<&" * 60 + str(place), rows=10**6, numbers=(number,) * 4) for place in range(100))
    classes = ClassTable(metrics=("precision",) * 4, titles=("<&" * 20,) * 4, rows=rows)
    return dataclasses.replace(told, classes=classes)


@pytest.mark.parametrize("baselines", [0, 10])
def test_what_no_page_holds_is_left_out_whole_and_counted(baselines: int) -> None:
    told = overflowing(baselines)
    source = html.render(told)
    assert len(source.encode()) <= html.MAX_BYTES
    Page(source)
    comment = markdown.render(told)
    assert len(comment) <= markdown.MAX_CHARACTERS
    assert "Left out here, since a comment holds no more: " in comment
    assert comment.count("<details>") == comment.count("</details>") >= 2
    assert markdown.GROUNDS in comment
    shown = comment.count("<summary>")
    (words,) = re.findall(r"Left out here[^:]*: (.*?)(?: and (\d+) more)?\. The JSON", comment)
    assert shown + len(words[0].split(", ")) - 1 + int(words[1] or 0) == 27, "and every section is shown or counted"


def test_a_page_that_is_too_large_leaves_out_parts_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    told = overflowing(0)
    assert "Left out, to keep" not in html.render(report())
    monkeypatch.setattr(html, "MAX_BYTES", 100_000)
    source = html.render(told)
    assert len(source.encode()) <= 100_000
    assert re.search(r"Left out, to keep the page small enough for a mail: 100 classes, 20 slices", source)
    assert "<h2>Slice" not in source


def test_a_slice_of_500_values_and_10_metrics_fits_the_worst_first() -> None:
    source = html.render(crowd())
    assert len(source.encode()) <= html.MAX_BYTES
    text = "\n".join(Page(source).text)
    words = re.search(r"The (\d+) worst of 500 values, the worst first \(.*\); (\d+) more are in the JSON", text)
    assert words
    assert int(words[1]) + int(words[2]) == 500
    values = [int(value) for value in re.findall(r"<td>Köln (\d+)", source)]
    assert values == list(range(int(words[1]))), "the lowest numbers are the worst here"
    read = document.document(crowd())
    assert len(read["slices"][0]["values"]) == 500, "the JSON has them all"
    assert set(read["slices"][0]["values"][0]["metrics"]) == set(CROWDED_METRICS), (
        "of every metric that a gate asks for"
    )


def test_small_slices_stay_in_their_order_and_say_nothing_of_cuts() -> None:
    source = html.render(report())
    assert re.findall(r"<td>(&lt;30|30-45|&gt;=45)</td>", source) == ["&lt;30", "30-45", "&gt;=45"]
    assert "worst first" not in source


def test_words_that_read_from_the_right_leave_their_neighbours() -> None:
    told = report()
    rows = tuple(dataclasses.replace(row, value="תל אביב 7") for row in told.slices[0].rows)
    source = html.render(dataclasses.replace(told, slices=(dataclasses.replace(told.slices[0], rows=rows),)))
    assert "<td>\u2068תל אביב\u2069 7</td>" in source
    assert not set("\u202a\u202b\u202d\u202e\u200f") & set(html.render(hostile()))


def test_levels_that_hold_are_marked() -> None:
    page = Page(html.render(report()))
    assert [value for tag, name, value in page.attributes if tag == "li" and name == "class"] == ["held", "", ""]


def test_a_page_without_obstacles_says_what_comes_next() -> None:
    spec = changed(autonomy={"target": "Shadow"})
    text = " ".join(Page(html.render(judged(spec, evidence()))).text)
    assert "Nothing up to Shadow." in text
    assert "apply the manifest" in text


def outcome(**fields: object) -> Outcome:
    return dataclasses.replace(Outcome("Pass", ">= 0.5", "overall", ""), **fields)  # type: ignore[arg-type]


def test_marks_stand_in_the_order_of_their_numbers() -> None:
    limit = Limit("AtLeast", 0.5)  # type: ignore[arg-type]
    drawn = plot.plots([(outcome(estimate=0.7, lower=0.6, upper=0.8), limit)], bounds=(0.0, 1.0))
    assert drawn is not None
    (row,) = drawn.rows
    assert row is not None
    assert row.low is not None
    assert row.high is not None
    assert row.estimate is not None
    assert row.limits[0] < row.low < row.estimate < row.high
    assert row.ok == (row.limits[0], plot.WIDTH)
    # The places are linear in the numbers.
    scale = (row.high - row.low) / 0.2
    assert abs(row.low - row.limits[0] - 0.1 * scale) < 0.2


def test_a_range_has_two_ends_and_is_met_between_them() -> None:
    asked = Range(0.8, 1.25)  # type: ignore[arg-type]
    drawn = plot.plots([(outcome(estimate=1.0, lower=0.7, upper=1.4), asked)], bounds=(0.0, float("inf")))
    assert drawn is not None
    assert drawn.rows[0] is not None
    assert drawn.rows[0].ok == drawn.rows[0].limits


def test_a_comparison_is_drawn_as_its_lead() -> None:
    asked = Against("BetterThan", "linear", 0, False)  # type: ignore[arg-type]
    drawn = plot.plots([(outcome(estimate=0.7, reference=0.6, lower=0.02, upper=0.18), asked)], bounds=(0.0, 1.0))
    assert drawn is not None
    assert drawn.lead
    assert drawn.start < 0 < drawn.end < 0.5


def test_an_open_interval_runs_off_the_scale() -> None:
    limit = Limit("AtMost", 0.04)  # type: ignore[arg-type]
    drawn = plot.plots([(outcome(estimate=0.03, lower=0.01, upper=None), limit)], bounds=(0.0, float("inf")))
    assert drawn is not None
    row = drawn.rows[0]
    assert row is not None
    assert (row.high, row.open_high, row.open_low) == (plot.WIDTH, True, False)


def test_facts_and_faults_get_no_picture() -> None:
    limit = Limit("AtLeast", 1)  # type: ignore[arg-type]
    assert plot.plots([(outcome(estimate=1.0, lower=1.0, upper=1.0), limit)], bounds=(0.0, 1.0)) is None
    assert plot.plots([(outcome(verdict="Error"), limit)], bounds=(0.0, 1.0)) is None


def test_a_page_of_a_model_in_whose_way_nothing_stands():
    told = dataclasses.replace(report(), obstacles=())
    assert "What to do" in html.render(told)
