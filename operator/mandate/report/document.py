"""The report as JSON: a stable schema, told in docs/user/report.md. New fields may come, none goes or changes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from pydantic.alias_generators import to_camel

from mandate.evidence.schema import dump
from mandate.verdict.judge import Outcome

from .about import Change, Declared
from .content import AtLevel, Calibration, GateRow, Number, Report, requirement_text, steps
from .fairness import FairnessRow

SCHEMA = "mandate.dev/report/v1"


def document(report: Report) -> dict[str, Any]:
    """The report as plain JSON types."""
    return {
        "schema": SCHEMA,
        "name": report.name,
        "version": report.version,
        "useCase": {"decision": report.decision, "owner": report.owner, "riskTier": report.tier},
        "task": report.task,
        "result": report.result,
        "target": report.target,
        "reached": report.reached,
        "headline": report.headline,
        "answer": report.answer,
        "obstacles": [dataclasses.asdict(obstacle) for obstacle in report.obstacles],
        "steps": steps(report),
        "levels": [
            {"level": level, "held": report.held[level][0], "asked": report.held[level][1]} for level in report.levels
        ],
        "gates": [_gate(gate) for gate in report.gates],
        "metrics": [
            {
                "metric": row.metric,
                "test": _number(row.test),
                "train": _number(row.train),
                "validation": _number(row.validation),
                "references": {
                    name: _number(number) for name, number in zip(report.references, row.references, strict=True)
                },
            }
            for row in report.metrics
        ],
        "baselines": dict(report.learnt),
        "classes": None
        if report.classes is None
        else [
            {
                "class": row.name,
                "rows": row.rows,
                "metrics": {
                    name: _number(number) for name, number in zip(report.classes.metrics, row.numbers, strict=True)
                },
            }
            for row in report.classes.rows
        ],
        "horizons": None
        if report.horizons is None
        else [
            {
                "horizon": int(row.name),
                "rows": row.rows,
                "metrics": {
                    name: _number(number) for name, number in zip(report.horizons.metrics, row.numbers, strict=True)
                },
            }
            for row in report.horizons.rows
        ],
        "windows": None
        if report.windows is None
        else {
            "told": report.windows.told,
            "sentence": report.windows.sentence,
            "normal": report.windows.normal,
            **_camel_keys(dump(report.windows.record)),
        },
        "reliability": None if report.calibration is None else _reliability(report.calibration),
        "slices": [
            {
                "name": table.name,
                "column": table.column,
                "sensitive": table.sensitive,
                "values": [
                    {
                        "value": row.value,
                        "rows": row.rows,
                        "events": row.events,
                        "verdict": row.verdict,
                        "metrics": {
                            name: _number(number) for name, number in zip(table.metrics, row.numbers, strict=True)
                        },
                    }
                    for row in table.rows
                ],
            }
            for table in report.slices
        ],
        "fairness": [
            {"name": table.name, "of": table.of, "rows": [_fairness(row) for row in table.rows]}
            for table in report.fairness
        ],
        "weakest": None
        if report.weakest is None
        else {
            "told": report.weakest.told,
            "sentences": list(report.weakest.sentences),
            "leftOut": list(report.weakest.left_out),
            "search": _camel_keys(dump(report.weakest.record)),
        },
        "service": [
            {"metric": item.metric, "load": item.load, "number": _number(item.number)} for item in report.service
        ],
        "serviceNotes": list(report.service_notes),
        "rows": report.rows,
        "look": {"number": report.look, "source": report.look_source, "share": report.look_share},
        "heldOut": {"status": report.held_out, "reason": report.held_out_reason},
        "labels": report.labels or None,
        "personal": report.personal or None,
        "isolation": report.isolation,
        "newest": report.newest,
        "findings": list(report.findings),
        "data": None if report.data is None else dump(report.data),
        "digests": {
            "criteria": report.criteria_digest,
            "computed": report.computed_digest,
            "evidence": report.evidence_digest,
            **report.inputs,
        },
        "versions": report.versions,
        "seconds": report.seconds,
        "declared": _camel(report.declared),
        "history": [_camel(change) for change in report.history],
    }


def render(report: Report) -> str:
    """The document as indented JSON text, ending in a newline."""
    text = json.dumps(document(report), indent=2, ensure_ascii=False, allow_nan=False)
    # Only strings can hold `##`; GitHub's runner would take a printed `##[…]` for a command.
    return text.replace("##", "#\\u0023") + "\n"


def _gate(gate: GateRow) -> dict[str, Any]:
    return {
        "name": gate.name,
        "metric": gate.metric,
        "confidence": gate.confidence,
        "levels": [_level(at) for at in gate.levels],
        "decided": {"level": gate.decided.level, "outcomes": [_outcome(outcome) for outcome in gate.outcomes]},
    }


def _level(at: AtLevel) -> dict[str, Any]:
    return {
        "level": at.level,
        "verdict": at.verdict,
        "holds": at.holds,
        "burden": at.burden,
        "requirement": requirement_text(at),
        "message": at.message,
    }


def _camel(part: Declared | Change) -> dict[str, Any]:
    return {to_camel(name): value for name, value in dataclasses.asdict(part).items()}


def _camel_keys(part: Any) -> Any:
    if isinstance(part, dict):
        return {to_camel(key): _camel_keys(value) for key, value in part.items()}
    return [_camel_keys(item) for item in part] if isinstance(part, list) else part


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return dataclasses.asdict(outcome)


def _reliability(calibration: Calibration) -> dict[str, Any]:
    return {
        "error": calibration.error,
        "chance": calibration.chance,
        "bins": [
            {"low": item.low, "high": item.high, "rows": item.rows, "predicted": item.predicted}
            | {"observed": _number(number)}
            for item, number in calibration.bins
        ],
    }


def _fairness(row: FairnessRow) -> dict[str, Any]:
    ends = {"lowest": row.lowest, "highest": row.highest}
    return {
        "notion": row.notion,
        "metric": row.metric,
        **{key: end and {"group": end.group, "number": _number(end.number)} for key, end in ends.items()},
        "difference": _number(row.difference),
        "ratio": _number(row.ratio),
        "verdict": row.verdict,
    }


def _number(number: Number) -> dict[str, Any] | None:
    parts = {
        "value": number.value,
        "lower": _finite(number.lower),
        "upper": _finite(number.upper),
        "fault": number.fault,
    }
    present = {key: value for key, value in parts.items() if value not in (None, "")}
    return present or None


def _finite(value: float | None) -> float | None:
    return None if value is None or value in (float("inf"), float("-inf")) else value
