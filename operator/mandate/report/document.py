"""The report as JSON: a stable schema, told in docs/user/report.md. New fields may come, none goes or changes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from mandate.verdict.judge import Outcome

from .content import AtLevel, GateRow, Number, Report, requirement_text, steps

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
                        "metrics": {
                            name: _number(number) for name, number in zip(table.metrics, row.numbers, strict=True)
                        },
                    }
                    for row in table.rows
                ],
            }
            for table in report.slices
        ],
        "service": [
            {"metric": item.metric, "load": item.load, "number": _number(item.number)} for item in report.service
        ],
        "rows": report.rows,
        "look": {"number": report.look, "source": report.look_source, "share": report.look_share},
        "heldOut": {"status": report.held_out, "reason": report.held_out_reason},
        "isolation": report.isolation,
        "findings": list(report.findings),
        "digests": {
            "criteria": report.criteria_digest,
            "computed": report.computed_digest,
            "evidence": report.evidence_digest,
            **report.inputs,
        },
        "versions": report.versions,
        "seconds": report.seconds,
    }


def render(report: Report) -> str:
    """The document as indented JSON text, ending in a newline."""
    return json.dumps(document(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return dataclasses.asdict(outcome)


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
