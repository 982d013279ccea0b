"""Windows of the test rows in every form of a report."""

from __future__ import annotations

import copy
import datetime
import re

import numpy as np
import pyarrow as pa
import pytest

from mandate.api.check import load_spec
from mandate.evidence.windows import Windows
from mandate.report import document, html, markdown, model_card, plot, text
from mandate.report.content import Number, Report
from mandate.report.windows import Strip
from tests.unit.report import sample

SPEC = copy.deepcopy(sample.SPEC)
SPEC["task"]["time"] = "at"
SPEC["data"]["windows"] = {"length": "Month"}
SPEC["gates"] += [{"name": "months", "metric": "recall", "window": "Each", "require": {"Shadow": ">= 0.20"}}]


def report(length: str = "Month") -> Report:
    rows = sample.table()
    begin = int(datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC).timestamp() * 1e6)
    at = begin + np.arange(rows.num_rows) * 365 * 86_400_000_000 // rows.num_rows
    rows = rows.append_column("at", pa.array(at, pa.timestamp("us", "UTC")))
    given = {**SPEC, "data": {**SPEC["data"], "windows": {"length": length}}}
    return sample.judged(given, sample.measured(load_spec(given), rows))


def test_windows_are_told_in_every_form() -> None:
    told = report()
    found = told.windows
    assert found is not None
    assert found.strip is not None
    assert re.fullmatch(
        r"Recall over 1[01] windows of 1 month: 0\.\d+ \(0\.\d+ to 0?\.?\d+\); worst 2013-\d\d\.", found.sentence
    ), found.sentence
    assert found.normal.startswith("Were windows alike, a further one of 1 month would lie between 0.")
    assert [gate.asks for gate in told.gates if gate.name == "months"] == ["each window"]
    assert found.rows[0][0] == "Recall"
    assert found.rows[1][0] == "ROC AUC"
    for words in (text.render(told), html.render(told), markdown.render(told), model_card.render(told)):
        flat = " ".join(words.replace("\\", "").replace("\u00a0", " ").split())
        assert "Over windows of 1 month" in flat
        assert found.sentence in flat
    page = document.document(told)["windows"]
    assert (page["sentence"], page["length"], page["leftOut"]) == (found.sentence, "Month", found.record.left_out)
    assert page["metrics"][0]["lowerQuartile"] <= page["metrics"][0]["median"]
    assert "window 2013-07" in "\n".join(outcome.message for gate in told.gates for outcome in gate.outcomes)


def test_each_window_is_a_dot_with_its_interval() -> None:
    told = report()
    assert told.windows is not None
    page = html.render(told)
    strip = page[page.index('<div class="strip">') :]
    assert strip[: strip.index("</svg>")].count("<circle") == len(told.windows.record.names)
    assert 'class="ok"' in strip[: strip.index("</svg>")]


def test_no_windows_are_told_as_such_or_not_at_all() -> None:
    bare = sample.report()
    assert bare.windows is None
    assert document.document(bare)["windows"] is None
    assert "Over windows" not in text.render(bare) + html.render(bare) + markdown.render(bare)
    none = report("Year")
    assert none.windows is not None
    assert none.windows.strip is None
    for words in (text.render(none), html.render(none), markdown.render(none), model_card.render(none)):
        assert "the test rows span no whole window of Year" in " ".join(words.replace("\\", "").split())


def test_a_scale_of_windows_keeps_values_apart() -> None:
    """A limit far off doesn't squeeze the dots; one value alone has a scale; a window without one has no dot."""
    far = Number(value=0.5, lower=-1e9, upper=1e9)
    numbers = (far, Number(value=0.6, lower=0.55, upper=0.65), Number(fault="OneClass"), Number(value=0.7))
    strip = Strip(
        title="t", windows=tuple((str(place), 1, number) for place, number in enumerate(numbers)),
        band=None, bounds=(-np.inf, np.inf),
    )  # fmt: skip
    drawn = plot.bars(strip)
    assert drawn is not None
    assert [dot.x for dot in drawn.dots] == sorted(dot.x for dot in drawn.dots)
    assert len(drawn.dots) == 3
    assert drawn.dots[0].y - drawn.dots[2].y > 10
    assert (drawn.dots[0].high, drawn.dots[0].low) == (plot.MARGIN, plot.HEIGHT - plot.MARGIN)
    one = plot.bars(Strip(title="t", windows=(("1", 1, Number(value=0.0)),), band=None, bounds=(0.0, 1.0)))
    assert one is not None
    nothing = Strip(title="t", windows=(("1", 1, Number(fault="OneClass")),), band=None, bounds=(0.0, 1.0))
    assert plot.bars(nothing) is None


@pytest.mark.parametrize(
    ("length", "count", "words"),
    [("Month", None, "1 month"), ("30d", None, "30 days"), ("1h", None, "1 hour"), (None, 500, "500 queries")],
)
def test_a_length_in_words(length: str | None, count: int | None, words: str) -> None:
    assert Windows(length=length, count=count, ordered="Time", of="queries", left_out=0).words == words
