"""What a schema can't say about a spec: one pass that names field, value, what was expected and what to do.

The CLI prints these; the operator puts the same words into the condition `Stalled`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from .catalogue import METRICS, Metric, derived, metrics_for
from .criteria import CHAMPION, OVERALL, REST, Against, CriteriaError, requirements
from .kinds import ModelDeploymentSpec
from .names import suggest_name
from .spec import (
    LIVE_METRICS,
    Confidence,
    Currency,
    DecimalText,
    Digest,
    Duration,
    Folder,
    Fraction,
    Gate,
    Hostname,
    Name,
    Percent,
    Rate,
    RequireText,
    Serving,
    SomePercent,
    Uri,
    Version,
)

_EXPECTED = {
    get_args(kind)[1].pattern: words
    for kind, words in (
        (Name, "lower-case letters, digits and hyphens, such as beats-linear"),
        (Version, "letters, digits, '-', '_' and '.', such as 7 or 2024-06.1"),
        (Digest, "sha256: and 64 hex digits"),
        (DecimalText, "a decimal number, such as 0.25"),
        (Fraction, "a share from 0 to 1, such as 0.2"),
        (Confidence, "a confidence from 0.95 to below 1"),
        (Duration, "a whole number and its unit (ms, s, m, h or d), such as 24h"),
        (Rate, "whole requests per second, such as 50/s"),
        (Currency, "three letters, such as EUR"),
        (Percent, "a whole percentage from 0% to 100%, such as 10%"),
        (SomePercent, "a whole percentage above 0 %, such as 25%"),
        (Hostname, "a full host name, such as credit.example.com, with at most 55 characters before its first dot"),
        (Folder, "pvc://CLAIM/PATH of a folder: names of letters, digits, and ._- after the first"),
        (Uri, "pvc://CLAIM/PATH; on the command line also a path or file:///PATH"),
        (
            RequireText,
            "'>= 0.70', '<= 40ms' (ms, s, m, h or d), 'within 0.8 .. 1.25', 'better than linear', "
            "'better than linear by 0.02' or 'no worse than champion by 2 %'",
        ),
    )
}
"""What a pattern asks, in words."""
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i|[eE][0-9]+)?")
"""Kubernetes' quantities, as people write them."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a spec."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class SpecError(ValueError):
    """A spec that can't be judged; `problems` says why, in full."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


def load_spec(document: Any) -> ModelDeploymentSpec:
    """A ModelDeployment's `spec` as declared; raises SpecError with every problem that was found."""
    try:
        spec = ModelDeploymentSpec.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecError(tuple(_schema_problem(detail) for detail in error.errors())) from None
    if found := problems(spec):
        raise SpecError(found)
    return spec


def _schema_problem(detail: Any) -> Problem:
    field = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _fields(detail["loc"][:-1])
        return Problem(field, f"unknown field{_nearest(str(detail['loc'][-1]), known)}; known are {', '.join(known)}")
    if detail["type"] == "missing":
        return Problem(field, "is required")
    found, context = detail.get("input"), detail.get("ctx") or {}
    if detail["type"] == "string_type" and isinstance(found, (bool, int, float)):
        return Problem(field, f"got {_short(found)}, expected text: put it in quotes")
    if detail["type"] == "string_pattern_mismatch" and context["pattern"] in _EXPECTED:
        return Problem(field, f"got {_short(found)}, expected {_EXPECTED[context['pattern']]}")
    if detail["type"] in ("int_type", "bool_type"):
        expected = "a whole number" if detail["type"] == "int_type" else "true or false"
        return Problem(field, f"got {_short(found)}, expected {expected}, without quotes")
    if detail["type"] == "literal_error":
        return Problem(field, f"got {_short(found)}, expected {context['expected']}")
    if detail["type"] in ("model_type", "model_attributes_type"):
        return Problem(field, f"got {_short(found)}, expected a mapping with {', '.join(_fields(detail['loc']))}")
    if detail["type"] == "tuple_type":
        return Problem(field, f"got {_short(found)}, expected a list")
    return Problem(field, f"got {_short(found)}: {detail['msg']}")


def _fields(path: tuple[int | str, ...]) -> list[str]:
    """The fields that the schema knows at a path of names and list indices."""
    node: type[BaseModel] = ModelDeploymentSpec
    for part in path:
        field = next((item for name, item in node.model_fields.items() if part in (name, item.alias)), None)
        if field is not None:
            node = next(iter(_models(field.annotation)), node)
    return [item.alias or name for name, item in node.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The records that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _nearest(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def problems(spec: ModelDeploymentSpec) -> tuple[Problem, ...]:
    """Everything that is wrong with a well-formed spec; empty when it can be judged."""
    found = _shape(spec)
    for index, gate in enumerate(spec.gates):
        found += _gate(gate, f"spec.gates[{index}]", spec)
    if spec.gates and not any(gate.require.shadow for gate in spec.gates):
        message = "no gate asks anything at Shadow, and no level stands on nothing; give one gate a Shadow requirement"
        found.append(Problem("spec.gates", message))
    for kind, items in (("gates", spec.gates), ("baselines", spec.baselines), ("data.slices", spec.data.slices)):
        names = [item.name for item in items]
        found += [
            Problem(f"spec.{kind}", f"{name!r} stands twice; names must differ")
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
    for index, item in enumerate(spec.data.slices):
        if item.name == OVERALL:
            found.append(Problem(f"spec.data.slices[{index}].name", "'overall' is taken: it means all rows; rename it"))
        edges = [Decimal(edge) for edge in item.edges]
        if any(later <= earlier for earlier, later in pairwise(edges)):
            found.append(Problem(f"spec.data.slices[{index}].edges", f"{list(item.edges)} must rise strictly"))
    return tuple(found)


def _shape(spec: ModelDeploymentSpec) -> list[Problem]:
    found: list[Problem] = []
    source, data, task = spec.model.source, spec.data, spec.task

    def require(holds: bool, field: str, message: str) -> None:
        if not holds:
            found.append(Problem(f"spec.{field}", message))

    kinds = [name for name in ("uri", "image", "columns") if getattr(source, name) is not None]
    require(len(kinds) == 1, "model.source", f"exactly one of uri, image or columns must be set, got {kinds or 'none'}")
    require((source.uri is None) == (source.format is None), "model.source.format", "set uri and format, or neither")
    require(source.columns is not None or spec.model.inputs is not None, "model.inputs", "is required")
    require(
        source.image is None or "@sha256:" in source.image,
        "model.source.image",
        f"{source.image!r} must be pinned by digest: name@sha256:<64 hex>",
    )
    require((data.source is None) != (data.test is None), "data", "set source with split, or test; exactly one of them")
    require((data.source is None) == (data.split is None), "data.split", "belongs to data.source: set both or neither")
    if data.split is not None:
        shares = sum(Decimal(share) for share in (data.split.train, data.split.validation, data.split.test))
        require(shares <= 1, "data.split", f"train, validation and test add up to {shares}, must be at most 1")
        require(Decimal(data.split.test) > 0, "data.split.test", "must be above 0")
        require(
            data.split.method != "Time" or task.time is not None,
            "task.time",
            "data.split.method Time needs the column that says when a row happened",
        )
        require(
            data.split.method != "Group" or task.cluster is not None,
            "task.cluster",
            "data.split.method Group needs the column whose rows stay together",
        )
        require(data.split.method == "Time" or data.split.gap is None, "data.split.gap", "belongs to method Time")
    require(
        (task.type == "Binary") == (task.positive is not None),
        "task.positive",
        "a Binary task needs the class that counts; other tasks have none",
    )
    kind = spec.model.output.kind
    require(
        (task.type == "Regression") == (kind == "Value"),
        "model.output.kind",
        f"got {kind!r}: a Regression task needs Value, classification needs Probability or Label",
    )
    require(
        not (task.type == "Multiclass" and kind == "Probability") or bool(spec.model.output.classes),
        "model.output.classes",
        "Multiclass probabilities need the class of each column, in order",
    )
    found += _resources(spec.serving.resources) + _gateway(spec.serving)
    if spec.batch is not None and spec.model.source.uri is None:
        found.append(Problem("spec.batch", "needs a model file: spec.model.source.uri"))
    steps = [int(step.removesuffix("%")) for step in spec.autonomy.automate.steps]
    require(
        steps[-1] == 100 and steps[0] > 0 and all(later > earlier for earlier, later in pairwise(steps)),
        "autonomy.automate.steps",
        f"{list(spec.autonomy.automate.steps)} must rise, from above 0%, and end at 100%",
    )
    suggest = spec.autonomy.suggest
    require(
        suggest.min_blind == 0 or suggest.blind_share != "0%",
        "autonomy.suggest.minBlind",
        f"{suggest.min_blind} decisions can't be taken blind while blindShare is 0%; set it, for example to 10%",
    )
    require(
        suggest.max_override_rate is None or suggest.blind_share != "100%",
        "autonomy.suggest.maxOverrideRate",
        "is of decisions with the answer in sight, and blindShare 100% leaves none; lower it, or leave this out",
    )
    for index, baseline in enumerate(spec.baselines):
        require(
            baseline.name not in {CHAMPION, REST}, f"baselines[{index}].name", f"{baseline.name!r} is taken; rename it"
        )
        require(
            (baseline.type == "Column") == (baseline.column is not None),
            f"baselines[{index}].column",
            "belongs to type Column: set both or neither",
        )
    return found


def _resources(resources: dict[str, Any]) -> list[Problem]:
    """What isn't `{limits, requests: {name: quantity}}`."""
    found: list[Problem] = []
    for side, amounts in resources.items():
        field = f"spec.serving.resources.{side}"
        if side not in ("limits", "requests"):
            found.append(Problem(field, "unknown field; known are limits, requests"))
        elif not isinstance(amounts, dict):
            found.append(
                Problem(field, f"got {_short(amounts)}, expected a mapping such as {{cpu: '1', memory: 512Mi}}")
            )
        else:
            found += [
                Problem(f"{field}.{name}", f"got {_short(amount)}, expected a quantity in quotes, such as '512Mi'")
                for name, amount in amounts.items()
                if not isinstance(amount, str) or _QUANTITY.fullmatch(amount) is None
            ]
    return found


def _gateway(serving: Serving) -> list[Problem]:
    gateway = serving.gateway
    if (serving.provider == "GatewayAPI") != (gateway is not None):
        return [Problem("spec.serving.gateway", "belongs to provider GatewayAPI: set both or neither")]
    if gateway is None:
        return []
    found = []
    for host in gateway.hostnames:
        first, dot, rest = host.partition(".")
        if (derived := f"{suggest_name(first)}{dot}{rest}") in gateway.hostnames:
            message = f"{derived!r} is where suggestions for {host!r} are answered; leave it out"
            found.append(Problem("spec.serving.gateway.hostnames", message))
    return found


def _gate(gate: Gate, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    known = {metric.name for metric in metrics_for(spec.task.type)}
    if gate.metric not in known:
        what = "unknown metric" if gate.metric not in METRICS else f"{spec.task.type} tasks don't have this metric"
        near = _nearest(gate.metric, sorted(known))
        return [Problem(f"{field}.metric", f"{gate.metric!r}: {what}{near}; known are {', '.join(sorted(known))}")]
    metric = METRICS[gate.metric]
    found = _needs(metric, field, spec) + _place(gate, metric, field, spec)
    try:
        asked = requirements(gate.require.texts(), metric=derived(metric, on=gate.rows, shape=gate.as_), field=field)
    except CriteriaError as error:
        return [*found, Problem(error.field, f"{error.value!r}: {error.expected}")]
    if not gate.require.texts():
        found.append(Problem(f"{field}.require", "at least one level must be set: Shadow, Suggest or Automate"))
    references = {CHAMPION, REST} | {baseline.name for baseline in spec.baselines}
    for requirement in {item for level in asked.values() for item in level}:
        if isinstance(requirement, Against):
            if requirement.ref not in references:
                found.append(
                    Problem(
                        f"{field}.require",
                        f"unknown reference {requirement.ref!r}{_nearest(requirement.ref, sorted(references))}; "
                        f"known are {', '.join(sorted(references))}; declare it in baselines",
                    )
                )
            if requirement.ref == REST and OVERALL in (gate.each or (OVERALL,)):
                found.append(Problem(f"{field}.each", "'rest' is a slice's complement: name slices, not overall"))
    return found


def _needs(metric: Metric, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    if metric.needs == "Probability" and spec.model.output.kind == "Label":
        return [
            Problem(f"{field}.metric", f"{metric.name!r} needs probabilities, but model.output.kind is Label"),
        ]
    return []


def _place(gate: Gate, metric: Metric, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    found: list[Problem] = []
    slices = {item.name for item in spec.data.slices}
    if gate.each is not None and gate.across is not None:
        found.append(Problem(field, "set each or across, not both"))
    if (gate.across is None) != (gate.as_ is None):
        found.append(Problem(f"{field}.as", "belongs to across: set both (difference or ratio) or neither"))
    for name in [*(gate.each or ()), *([gate.across] if gate.across else [])]:
        if name not in slices and not (name == OVERALL and name != gate.across):
            known = ", ".join([OVERALL, *sorted(slices)])
            found.append(
                Problem(
                    f"{field}.{'across' if name == gate.across else 'each'}",
                    f"unknown slice {name!r}{_nearest(name, sorted(slices))}; known are {known}; "
                    "declare it in data.slices",
                )
            )
    if not metric.groups and (gate.across is not None or (gate.each or (OVERALL,)) != (OVERALL,)):
        found.append(Problem(f"{field}.each", f"{metric.name} is measured overall only"))
    if metric.origin == "Service" and metric.unit == "duration" and gate.load is None:
        found.append(Problem(f"{field}.load", "latencies need a load, for example 50/s"))
    if metric.origin != "Service" and gate.load is not None:
        found.append(Problem(f"{field}.load", "belongs to latencies and crashes"))
    if gate.rows == "live":
        found += _live(gate, field, spec)
    if metric.origin == "Service" and gate.rows != "test":
        found.append(Problem(f"{field}.rows", f"{metric.name} isn't measured on rows; remove rows"))
    if metric.origin == "Service" and spec.model.source.columns is not None:
        found.append(
            Problem(f"{field}.metric", f"{metric.name!r} needs a model that runs, not only columns of answers")
        )
    return found


def _live(gate: Gate, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    """Live rows are known as counts and sums: they give means, and nothing to compare them with."""
    found = []
    known = LIVE_METRICS[spec.task.type]
    if gate.metric not in known:
        message = f"{gate.metric!r} isn't known of live rows of this task; known are {', '.join(known)}"
        found.append(Problem(f"{field}.metric", message))
    if gate.across is not None:
        found.append(Problem(f"{field}.across", "live groups aren't compared with each other; remove across"))
    for level, text in gate.require.texts().items():
        if " than " in text:
            message = "live rows are held against numbers only: '>= …', '<= …' or 'within … .. …'"
            found.append(Problem(f"{field}.require.{level}", message))
    return found
