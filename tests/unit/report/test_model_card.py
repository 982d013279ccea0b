"""The model card: a head that the Hugging Face Hub reads, and a body that says what is known and what isn't."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from mandate.api.check import load_spec
from mandate.api.defaults import effective
from mandate.api.kinds import Transition
from mandate.report import markdown, model_card
from mandate.report.content import Report, build
from mandate.verdict.judge import judge
from tests.unit.report.runner import LINKED
from tests.unit.report.sample import changed, crowd, evidence, report
from tests.unit.report.test_formats import hostile


def parts(card: str) -> tuple[dict[str, Any], str]:
    """The head as data, and the body; as the Hub tells them apart."""
    found = re.match(r"---\n(.*?)\n---\n(.*)", card, flags=re.DOTALL)
    assert found
    head = yaml.safe_load(found[1])
    assert isinstance(head, dict)
    return head, found[2]


def shown(source: str) -> tuple[list[Any], str]:
    """Tokens of GitHub's Markdown, inline ones too, and the text that readers see."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    inner = [child for token in tokens for child in token.children or ()]
    return [*tokens, *inner], "\n".join(
        "".join(child.content for child in token.children) for token in tokens if token.children
    )


@pytest.mark.row("R5/card")
def test_the_head_is_what_the_hub_asks_for() -> None:
    told = report()
    head, _ = parts(model_card.render(told))
    assert head["pipeline_tag"] == "tabular-classification"
    assert all(isinstance(item, str) for key in ("tags", "metrics") for item in head[key])
    (model,) = head["model-index"]
    assert model["name"] == "credit 7"
    (result,) = model["results"]
    # The Hub refuses a result without these.
    assert set(result) == {"task", "dataset", "metrics"}
    assert result["task"]["type"]
    assert result["dataset"]["type"]
    assert result["dataset"]["name"] == "loans.csv"
    values = {metric["type"]: metric for metric in result["metrics"]}
    for row in told.metrics:
        assert values[row.metric]["value"] == row.test.value
        if row.test.lower is not None:
            assert values[row.metric]["args"] == {"lower": row.test.lower, "upper": row.test.upper, "look": 1}


@pytest.mark.row("D4/training", "R5/card")
def test_the_body_says_what_may_be_done_and_what_is_unknown() -> None:
    told = report()
    tokens, words = shown(parts(model_card.render(told))[1])
    titles = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert [title for title in titles if not re.search("column|across|weakest", title)] == [
        "Model card: credit 7", "Model", "Intended use", "Data", "Results", "Groups", "Gates", "Limits", "History",
        "What it rests on",
    ]  # fmt: skip
    assert told.headline in words
    assert "Shadow: its answers are recorded and never used" in words
    assert "Suggest (people see its answers and decide); Automate (its answers act)" in words
    assert "not declared" in words
    assert "None on record" in words
    for obstacle in told.obstacles:
        assert obstacle.gate in words
    for digest in (told.criteria_digest, told.computed_digest):
        assert digest in words


def test_history_is_told_the_latest_first() -> None:
    document = changed()
    spec = effective(load_spec(document))
    history = [
        Transition(at="2026-01-01T00:00:00Z", what="Began", by="mandate", version="6", after="Shadow"),
        Transition(at="2026-01-08T00:00:00Z", what="Promoted", by="jane", why="held for 7d", version="6",
                   before="Shadow", after="Suggest", evidence="credit-abc"),
    ]  # fmt: skip
    verdict = judge(gates=spec.gates, tier="Medium", evidence=evidence(), look=1, champion=False)
    told = build(name="credit", spec=spec, evidence=evidence(), verdict=verdict, look_source="Ledger", history=history)
    section = parts(model_card.render(told))[1].partition("## History\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert [cell.strip() for cell in rows[0].strip("|").split("|")] == [
        "2026-01-08T00:00:00Z", "Promoted 6", "Shadow → Suggest", "jane", "held for 7d", "credit-abc",
    ]  # fmt: skip
    assert "nowhere → Shadow" in rows[1]


@pytest.mark.parametrize("render", [markdown.render, model_card.render])
def test_names_are_neither_markup_nor_links_nor_mentions(render: Any) -> None:
    source = render(hostile())
    body = source if source.startswith("##") else parts(source)[1]
    tokens, words = shown(body)
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "html_inline", "s_open", "fence", "code_block", "hr"}
    html = {line for token in tokens if token.type == "html_block" for line in token.content.splitlines()}
    assert not {line for line in html if not re.fullmatch(r"</?details>|<summary>[\w ,]+</summary>|", line)}
    assert not LINKED.search(words), LINKED.search(words)
    assert "<script>alert(1)</script>" in words
    assert not set("\x00\x08\x1b\u202e\u2028") & set(words)
    for block in re.findall(r"(?:^\|.*\n)+", body, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
    headings = [token.tag for token in tokens if token.type == "heading_open"]
    assert len(headings) == (1 if source is body else 10 + len(hostile().slices) + len(hostile().fairness) + 1)


@pytest.mark.parametrize("render", [markdown.render, model_card.render])
def test_a_crowd_fits_into_a_comment(render: Any) -> None:
    told: Report = crowd()
    source = render(told)
    assert len(source) <= 65_536
    words = source.replace("\\", "")
    assert "worst of 500 values, the worst first (by what gates say of them, then by Accuracy)" in words
    rows = [int(row) for row in re.findall(r"^\| Köln (\d+)", source, flags=re.MULTILINE)]
    assert rows == list(range(len(rows))), "the lowest numbers are the worst here"


def test_a_name_that_reads_from_the_right_leaves_its_neighbours() -> None:
    assert markdown.escape("age תל אביב: 0.5 [0.4, 0.6]") == "age \u2068תל אביב\u2069: 0.5 \\[0.4, 0.6\\]"
    assert markdown.escape("\u202egnp.exe") == " gnp.exe"


def test_what_is_cut_says_so() -> None:
    assert markdown.escape("x" * 500) == "x" * 320 + "…"
    assert markdown.name("x" * 80) == "x" * 80
