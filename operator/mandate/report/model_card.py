"""The report as a model card: Markdown with the metadata head that the Hugging Face Hub reads.

What the card says was declared, measured or recorded; what nobody declared is named as missing. Sections follow
Mitchell et al., "Model Cards for Model Reporting" (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from mandate.api.criteria import LEVELS

from .content import MEANING, AtLevel, Report, SliceTable, requirement_text, rows_text
from .markdown import (
    MARKS,
    data_lines,
    escape,
    fairness_table,
    grounds_table,
    horizons_table,
    in_the_way,
    metrics_table,
    name,
    service_table,
    slice_table,
    table,
    todo,
    weakest_list,
    windows_lines,
)
from .names import cut, plain, uncommanding

MOST_COLUMNS = 60
"""Of the model's inputs; the rest is counted."""
MOST_VALUES = 40
"""Of one slice."""
MOST_COSTS = 20
MOST_FINDINGS = 20
MISSING = "*not declared*"
LIBRARIES = {"ONNX": "onnx", "Skops": "sklearn"}
PIPELINES = {
    "Binary": "tabular-classification",
    "Multiclass": "tabular-classification",
    "Regression": "tabular-regression",
    "Ranking": "text-ranking",
    "Forecast": "time-series-forecasting",
}
"""The Hub's names, by task."""


def render(report: Report) -> str:
    """Markdown text with its metadata head, ending in a newline."""
    return f"---\n{_yaml(metadata(report))}---\n\n" + "\n".join(_body(report)).rstrip() + "\n"


def metadata(report: Report) -> dict[str, Any]:
    """The head: what the Hub shows beside the card and searches by. Only metrics with a value on the test rows."""
    pipeline = PIPELINES[report.task]
    measured = [row for row in report.metrics if row.test.value is not None]
    test = next(iter(report.declared.tables.values()), report.name)
    dataset = {"type": "tabular", "name": _short(report.declared.tables.get("test", test)), "split": "test"}
    results = [
        {
            "type": row.metric,
            "name": row.title,
            "value": row.test.value,
            **({"args": limits} if (limits := _limits(report, row.test.lower, row.test.upper)) else {}),
        }
        for row in measured
    ]
    found: dict[str, Any] = {
        **({"library_name": LIBRARIES[report.declared.format]} if report.declared.format in LIBRARIES else {}),
        "pipeline_tag": pipeline,
        "tags": ["mandate", report.task.lower()],
        "metrics": [row.metric for row in measured],
    }
    if results:
        task = {"type": pipeline, "name": _short(f"{report.task}: {report.declared.target}")}
        found["model-index"] = [
            {
                "name": _short(f"{report.name} {report.version}"),
                "results": [{"task": task, "dataset": dataset, "metrics": results}],
            }
        ]
    return found


def _limits(report: Report, lower: float | None, upper: float | None) -> dict[str, Any]:
    return {} if lower is None or upper is None else {"lower": lower, "upper": upper, "look": report.look}


def _yaml(values: dict[str, Any]) -> str:
    class Plain(yaml.SafeDumper):
        """Writes what stands in two places twice: readers of cards needn't know aliases."""

        def ignore_aliases(self, _: Any) -> bool:
            return True

    return yaml.dump(values, Dumper=Plain, sort_keys=False, allow_unicode=True, width=4096)


def _short(text: str) -> str:
    return uncommanding(cut(plain(text), most=120))


def _body(report: Report) -> list[str]:
    return [
        f"# Model card: {name(f'{report.name} {report.version}')}",
        "",
        f"{MARKS[report.result]} **{escape(report.headline)}.** {escape(report.answer)}",
        "",
        *_section("Model", _model(report)),
        *_section("Intended use", _use(report)),
        *_section("Data", _data(report)),
        *_section("Results", _results(report)),
        *_section("Groups", _groups(report)),
        *_section("Gates", _gates(report)),
        *_section("Limits", _caveats(report)),
        *_section("History", _history(report)),
        *_section("What it rests on", grounds_table(report)),
    ]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _pairs(pairs: Sequence[tuple[str, str]]) -> list[str]:
    return table(["", ""], [[key, value or MISSING] for key, value in pairs])


def _model(report: Report) -> list[str]:
    declared = report.declared
    inputs = ", ".join(map(name, declared.inputs[:MOST_COLUMNS]))
    left = len(declared.inputs) - MOST_COLUMNS
    positive = f", the class that counts is {name(declared.positive)}" if declared.positive else ""
    return _pairs(
        [
            ("Version", name(report.version)),
            ("Source", escape(declared.source)),
            ("Format", name(declared.format)),
            ("Digest", escape(report.inputs.get("model", ""))),
            ("Predicts", f"{report.task}: {escape(declared.target)}{positive}"),
            ("Answers", escape(declared.output)),
            ("Inputs", inputs + (f" and {left} more" if left > 0 else "")),
            ("Training run", escape(declared.training_run)),
            ("Code revision", escape(declared.code_revision)),
            ("Owner", escape(report.owner)),
        ]
    )


def _use(report: Report) -> list[str]:
    above = [level for level in LEVELS if report.reached is None or LEVELS.index(level) > LEVELS.index(report.reached)]
    beyond = "; ".join(f"{level} ({MEANING[level]})" for level in above)
    reached = f"{report.reached}: {MEANING[report.reached]}" if report.reached else "no level holds: it may not run"
    return _pairs(
        [
            ("Decision", escape(report.decision)),
            ("Risk tier", report.tier),
            ("May go as far as", reached),
            ("Not shown to be fit for", beyond or "no level is above"),
            ("When it doesn't answer", escape(report.declared.fallback)),
        ]
    )


def _data(report: Report) -> list[str]:
    declared = report.declared
    found = [] if report.data is None else ["", *data_lines(report.data, most=MOST_FINDINGS)]
    return [
        *_pairs(
            [
                *((field.capitalize(), escape(uri)) for field, uri in declared.tables.items()),
                *((field.capitalize(), escape(words)) for field, words in declared.lineage.items()),
                ("Split", escape(declared.split)),
                ("Rows", rows_text(report)),
                ("Held out", escape(f"{report.held_out}: {report.held_out_reason}")),
                *([("Labels", escape(report.labels))] if report.labels else []),
                *([("Personal columns", escape(report.personal))] if report.personal else []),
                ("Groups that must be treated alike", ", ".join(map(name, declared.sensitive))),
            ]
        ),
        *found,
    ]


def _results(report: Report) -> list[str]:
    words = "On the test rows with the interval at this look; on train and validation, and by the baselines, without."
    lines = [words, "", *metrics_table(report)] if report.metrics else ["No metric was measured."]
    if report.horizons is not None:
        lines += ["", "Each horizon, in steps, on the test rows:", "", *horizons_table(report.horizons)]
    if report.windows is not None:
        lines += ["", f"Over windows of {report.windows.words}:", "", *windows_lines(report.windows)]
    if report.service:
        lines += ["", "Measured at the running server:", "", *service_table(report)]
    return lines


def _groups(report: Report) -> list[str]:
    lines: list[str] = []
    for part in report.slices:
        lines += [_group_title(part), "", *slice_table(part, most=MOST_VALUES), ""]
    for found in report.fairness:
        lines += [f"### Fairness across {name(found.name)}", "", *fairness_table(found), ""]
    if report.weakest is not None:
        lines += ["### Where it is weakest", "", *weakest_list(report.weakest), ""]
    across = [
        f"- `{gate.name}`: **{outcome.verdict}**: {escape(outcome.message)}"
        for gate in report.gates
        for outcome in gate.outcomes
        if " across " in outcome.where
    ]
    if across:
        lines += ["Between the groups:", "", *across]
    return lines or ["No slice is declared, so nothing is known of groups."]


def _group_title(part: SliceTable) -> str:
    return f"### {name(part.name)} (column {name(part.column)}{', sensitive' if part.sensitive else ''})"


def _gates(report: Report) -> list[str]:
    body = []
    for gate in report.gates:
        levels = [gate.at(level) for level in report.levels]
        what = ", ".join(part for part in (gate.title, gate.asks) if part)
        body.append([f"`{gate.name}`", escape(what), *("–" if at is None else _at(at) for at in levels)])
    return [*table(["Gate", "Metric", *report.levels], body), "", "✗ stands in the way of the level."]


def _at(at: AtLevel) -> str:
    word = at.verdict if at.holds else f"**{at.verdict}** ✗"
    return f"{word}: {escape(requirement_text(at))}"


def _caveats(report: Report) -> list[str]:
    blocked = report.obstacles
    lines = [*in_the_way(report), "**What to do**", "", *todo(report), ""] if blocked else []
    costs = report.declared.error_costs
    if costs:
        left = len(costs) - MOST_COSTS
        lines += ["**What errors cost**", "", *(f"- {escape(cost)}" for cost in costs[:MOST_COSTS])]
        lines += [f"- … and {left} more", ""] if left > 0 else [""]
    open_ = [gate for gate in report.gates if gate.decided.verdict == "Inconclusive" and gate.decided.holds]
    if open_:
        lines += ["**Not refuted, and not shown either**", ""]
        lines += [f"- `{gate.name}`: {escape(gate.decided.message)}" for gate in open_]
    return lines or ["Every gate up to the target holds. What no gate asks about isn't known."]


def _history(report: Report) -> list[str]:
    if not report.history:
        return ["None on record: this card was made outside of a cluster, or the model hasn't stood on the ladder yet."]
    body = [
        [
            name(change.at),
            name(f"{change.what} {change.version}"),
            name(change.moved),
            name(change.by),
            escape(change.why),
            escape(change.evidence),
        ]
        for change in reversed(report.history)
    ]
    return ["The latest first.", "", *table(["When", "What", "Moved", "By", "Why", "On which evidence"], body)]
