"""What a schema can't say about a spec: one pass that names field, value, what was expected and what to do.

The CLI prints these; the operator puts the same words into the condition `Stalled`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from itertools import combinations, pairwise
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from . import personal
from .catalogue import CLASSIFICATION, METRICS, QUANTILES, Metric, Task, derived, metrics_for
from .criteria import (
    BESIDE_GATES,
    CHAMPION,
    OVERALL,
    REST,
    Against,
    CriteriaError,
    requirements,
)
from .formats import PROFILE_SUFFIX, S3, SERVERS, TABLE_SUFFIXES
from .kinds import ModelDeploymentSpec
from .names import suggest_name
from .references import FIELDS, KINDS, MAX_CONTAINERS, of_task, that_take
from .spec import (
    CHAMPION_PORT,
    DATA_TABLES,
    LIVE_METRICS,
    PREDICTOR_PORT,
    Amount,
    Baseline,
    BaselineContainer,
    Beta,
    BoundedRate,
    Confidence,
    Currency,
    DecimalText,
    Digest,
    Duration,
    Endpoint,
    Folder,
    Fraction,
    Gate,
    Horizon,
    Hostname,
    Name,
    Percent,
    Period,
    PinnedImage,
    Production,
    Rate,
    Region,
    RequireText,
    SchedulerAddress,
    SecretName,
    Serving,
    Slice,
    SomePercent,
    TableSource,
    Uri,
    Version,
)

_EXPECTED = {
    get_args(kind)[1].pattern: words
    for kind, words in (
        (Name, "lower-case letters, digits and hyphens, such as beats-linear"),
        (Version, "letters, digits, '-', '_' and '.', such as 7 or 2024-06.1"),
        (Digest, "sha256: and 64 hex digits"),
        (PinnedImage, "an image by its digest: name@sha256: and 64 hex digits"),
        (DecimalText, "a decimal number, such as 0.25"),
        (Fraction, "a share from 0 to 1, such as 0.2"),
        (Confidence, "a confidence from 0.95 to below 1"),
        (Amount, "an amount of 0 or more, such as 5200 or 0.25"),
        (Beta, "a number above 0 and below 100, such as 2 or 0.5"),
        (Horizon, "Each, or whole steps from 1 on, such as 7"),
        (Period, "Hour, Day, Week, Month, Quarter, Year, or a whole number and its unit, such as 30d"),
        (Duration, "a whole number and its unit (ms, s, m, h or d), such as 24h"),
        (Rate, "whole requests per second, such as 50/s"),
        (Currency, "three letters, such as EUR"),
        (Percent, "a whole percentage from 0% to 100%, such as 10%"),
        (SomePercent, "a whole percentage above 0 %, such as 25%"),
        (Hostname, "a full host name, such as credit.example.com, with at most 55 characters before its first dot"),
        (Folder, "pvc://CLAIM/PATH of a folder: names of letters, digits, and ._- after the first"),
        (
            Uri,
            "pvc://CLAIM/PATH, https://HOST/PATH, s3://BUCKET/KEY or oci://HOST/REPOSITORY:TAG; on the command line "
            "also a path or file:///PATH",
        ),
        (Endpoint, "https://HOST or https://HOST:PORT"),
        (Region, "a region's name, such as eu-central-1"),
        (SchedulerAddress, "a scheduler's address, such as tcp://scheduler.dask:8786 or tls://10.0.0.7:8786"),
        (SecretName, "the name of a Secret: lower-case letters, digits, '-' and '.'"),
        (
            RequireText,
            "'>= 0.70', '<= 40ms' (ms, s, m, h or d), 'within 0.8 .. 1.25', 'better than linear', "
            "'better than linear by 0.02' or 'no worse than champion by 2 %'",
        ),
    )
}
"""What a pattern asks, in words."""
NO_CREDENTIALS_NEEDED = "belongs to a uri on a server, such as https://…, s3://… or oci://…; leave it out"
NO_STORAGE = "belongs to s3://BUCKET/KEY; leave it out"
_OUTPUTS: dict[Task, tuple[str, ...]] = {
    "Binary": ("Probability", "Label"),
    "Multiclass": ("Probability", "Label"),
    "Regression": ("Value", "Quantiles"),
    "Ranking": ("Value",),
    "Forecast": ("Value",),
}
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
    found = _shape(spec) + _forecast(spec) + _costs(spec) + _sampling(spec) + _latency(spec)
    for index, gate in enumerate(spec.gates):
        if gate.name in BESIDE_GATES:
            found.append(Problem(f"spec.gates[{index}].name", f"{gate.name!r} is taken: it stands beside the gates"))
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
        found += _slice(item, f"spec.data.slices[{index}]", spec)
    return tuple(found + _search(spec) + _windows(spec) + _personal(spec))


def _personal(spec: ModelDeploymentSpec) -> list[Problem]:
    every = [*personal.told(task=spec.task, model=spec.model, data=spec.data, baselines=spec.baselines)]
    told = {column: (field, why) for column, field, why in reversed(every)}
    found = [
        Problem("spec.data.personal", f"{name!r} is {told[name][0]}, which can't be withheld: {told[name][1]}")
        for name in spec.data.personal
        if name in told
    ]
    names = spec.data.personal
    twice = sorted({name for name in names if names.count(name) > 1})
    return found + [Problem("spec.data.personal", f"{name!r} stands twice; remove one") for name in twice]


def _windows(spec: ModelDeploymentSpec) -> list[Problem]:
    """Windows that can't be cut."""
    windows, field = spec.data.windows, "spec.data.windows"
    if windows is None:
        return []
    found = []
    if (windows.length is None) == (windows.count is None):
        got = "neither" if windows.length is None else f"length {windows.length!r} and count {windows.count}"
        found.append(Problem(field, f"set either length, such as Month or 30d, or count; got {got}"))
    if windows.length is not None and spec.task.time is None:
        message = (
            f"got {windows.length!r}, but spec.task.time, the column that says when a row happened, isn't declared"
        )
        found.append(Problem(f"{field}.length", f"{message}; declare it, or set count instead"))
    if windows.time_zone is not None and windows.length is None:
        found.append(Problem(f"{field}.timeZone", f"got {windows.time_zone!r}, which belongs to length; leave it out"))
    return found


def _latency(spec: ModelDeploymentSpec) -> list[Problem]:
    """A promised latency that nothing would hold the model to."""
    if (declared := spec.serving.latency) is None:
        return []
    field, found = "spec.serving.latency", []
    if spec.gates:
        gate = (
            f"{{name: latency, metric: latency_p99, load: {declared.load}, require: {{Automate: <= {declared.p99}}}}}"
        )
        found.append(Problem(field, f"is for the built-in gates, and spec.gates are declared: add {gate} to them"))
    if spec.model.source.columns is not None:
        found.append(Problem(field, "columns of answers aren't served, so nothing answers in time or late; remove it"))
    return found


def _search(spec: ModelDeploymentSpec) -> list[Problem]:
    loss = None if spec.data.search is None else spec.data.search.loss
    known = {"AbsoluteError"} if spec.task.type not in CLASSIFICATION else {"Error"}
    known |= {"LogLoss"} if spec.model.output.kind == "Probability" else set()
    if loss is None or loss in known:
        return []
    message = f"got {loss!r}, expected {' or '.join(sorted(known))}: {spec.task.type}, output {spec.model.output.kind}"
    return [Problem("spec.data.search.loss", message)]


def _slice(item: Slice, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    found = []
    if item.name == OVERALL:
        found.append(Problem(f"{field}.name", "'overall' is taken: it means all rows; rename it"))
    if (item.column is None) == (item.cross is None):
        got = "neither" if item.column is None else f"column {item.column!r} and cross {list(item.cross or ())}"
        found.append(Problem(field, f"set either column, or cross with two slices' names; got {got}"))
    edges = [Decimal(edge) for edge in item.edges]
    if any(later <= earlier for earlier, later in pairwise(edges)):
        found.append(Problem(f"{field}.edges", f"{list(item.edges)} must rise strictly"))
    if item.quantiles is not None and item.edges:
        message = f"got {item.quantiles} beside edges {list(item.edges)}: set edges or quantiles, not both"
        found.append(Problem(f"{field}.quantiles", message))
    if item.cross is None:
        return found
    if item.edges or item.quantiles is not None:
        message = f"{list(item.cross)}: edges and quantiles belong to column, set them on the slices that are crossed"
        found.append(Problem(f"{field}.cross", message))
    if len(set(item.cross)) < len(item.cross):
        found.append(
            Problem(f"{field}.cross", f"{list(item.cross)}: a slice can't be crossed with itself; name another")
        )
    plain = sorted(other.name for other in spec.data.slices if other.cross is None)
    for name in item.cross:
        if name not in plain:
            crossed = any(other.name == name for other in spec.data.slices)
            what = "is a cross itself" if crossed else f"unknown slice{_nearest(name, plain)}"
            message = f"{name!r}: {what}; slices with a column are {', '.join(plain) or 'none'}"
            found.append(Problem(f"{field}.cross", message))
    return found


def _shape(spec: ModelDeploymentSpec) -> list[Problem]:
    found: list[Problem] = []
    source, data, task = spec.model.source, spec.data, spec.task

    def require(holds: bool, field: str, message: str) -> None:
        if not holds:
            found.append(Problem(f"spec.{field}", message))

    kinds = [name for name in ("uri", "image", "columns") if getattr(source, name) is not None]
    require(len(kinds) == 1, "model.source", f"exactly one of uri, image or columns must be set, got {kinds or 'none'}")
    require((source.uri is None) == (source.format is None), "model.source.format", "set uri and format, or neither")
    require(
        source.signature is None or source.uri is not None,
        "model.source.signature",
        "is of the file at uri; an image's own is looked at where images are admitted",
    )
    require(
        source.format != "MLflow" or not re.search("^oci://|[?#]", source.uri or ""),
        "model.source.uri",
        f"format MLflow needs the uri of a folder, got {source.uri!r}; "
        "expected pvc://CLAIM/FOLDER, s3://BUCKET/FOLDER or https:// without a query",
    )
    require(source.columns is not None or spec.model.inputs is not None, "model.inputs", "is required")
    require(
        source.image is None or "@sha256:" in source.image,
        "model.source.image",
        f"{source.image!r} must be pinned by digest: name@sha256:<64 hex>",
    )
    require((data.source is None) != (data.test is None), "data", "set source with split, or test; exactly one of them")
    require((data.source is None) == (data.split is None), "data.split", "belongs to data.source: set both or neither")
    require(
        source.credentials_ref is None or (source.uri or "").startswith(SERVERS),
        "model.source.credentialsRef",
        NO_CREDENTIALS_NEEDED,
    )
    require(source.s3 is None or (source.uri or "").startswith(S3), "model.source.s3", NO_STORAGE)
    for part in DATA_TABLES:
        table: TableSource | None = getattr(data, part)
        if table is not None:
            profiled = isinstance(table, Production) and table.is_profile
            endings = ", ".join((*TABLE_SUFFIXES, *([PROFILE_SUFFIX] if isinstance(table, Production) else [])))
            require(
                table.stored_as is not None or profiled,
                f"data.{part}.uri",
                f"got {table.uri!r}, must end in {endings}, or data.{part}.format must be set",
            )
            words = f"belongs to tables in CSV, this one is {table.stored_as or 'a profile'}; leave it out"
            require(table.csv is None or table.stored_as == "CSV", f"data.{part}.csv", words)
            require(table.s3 is None or table.uri.startswith(S3), f"data.{part}.s3", NO_STORAGE)
            require(
                table.credentials_ref is None or table.uri.startswith(SERVERS),
                f"data.{part}.credentialsRef",
                NO_CREDENTIALS_NEEDED,
            )
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
    require(task.beta is None or task.type in CLASSIFICATION, "task.beta", "belongs to classification tasks; remove it")
    require(task.beta is None or Decimal(task.beta) > 0, "task.beta", f"got {task.beta!r}, must be above 0")
    ranks = task.type == "Ranking"
    require(
        task.top_k is None or ranks or task.type == "Multiclass",
        "task.topK",
        "belongs to Multiclass and Ranking tasks; remove it",
    )
    require(
        task.type != "Multiclass" or task.top_k != 1, "task.topK", "got 1, must be 2 at least: of one it is accuracy"
    )
    require(
        ranks == (task.query is not None),
        "task.query",
        "a Ranking task needs the column that says which rows are ranked together; other tasks have none",
    )
    require(
        task.query is None or task.query not in (task.target, task.id),
        "task.query",
        f"{task.query!r} is task.target or task.id; name the column that says which rows are ranked together",
    )
    require(
        not ranks or data.search is None,
        "data.search",
        "looks for rows that are wrong, and a Ranking's rows have no error of their own; remove it",
    )
    require(not ranks or task.unit is None, "task.unit", "is of rows, and a Ranking is measured by query; remove it")
    require(
        not ranks or spec.model.output.kind == "Value",
        "model.output.kind",
        f"got {spec.model.output.kind!r}: a Ranking task needs Value, the score that rows are ranked by",
    )
    require(
        task.weight is None or task.weight not in (task.target, task.id),
        "task.weight",
        f"{task.weight!r} is task.target or task.id; name the column that says how much a row counts for",
    )
    known = len(spec.model.output.classes)
    require(
        not known or task.top_k is None or task.top_k < known,
        "task.topK",
        f"got {task.top_k}, must be below the number of classes ({known})",
    )
    kind = spec.model.output.kind
    require(
        kind in _OUTPUTS[task.type],
        "model.output.kind",
        f"got {kind!r}: a {task.type} task needs {' or '.join(_OUTPUTS[task.type])}",
    )
    require(
        (task.quantiles is not None) == (kind == "Quantiles"),
        "task.quantiles",
        "belongs to model.output.kind Quantiles: set both or neither",
    )
    levels = [Decimal(level) for level in task.quantiles or ("0.5",)]
    require(
        all(later > earlier for earlier, later in pairwise([Decimal(0), *levels])),
        "task.quantiles",
        f"got {', '.join(task.quantiles or ())}, must rise from above 0",
    )
    require(
        Decimal("0.5") in levels, "task.quantiles", "must hold 0.5, which is the answer where one number is asked for"
    )
    require(
        not (task.type == "Multiclass" and kind == "Probability") or bool(spec.model.output.classes),
        "model.output.classes",
        "Multiclass probabilities need the class of each column, in order",
    )
    found += _choice(spec)
    if (unit := task.unit) is not None:
        both = (unit.answers, unit.labels)
        require("Last" not in both or task.time is not None, "task.unit", "needs task.time where it takes the last row")
        require(
            task.type == "Regression" or unit.labels != "Mean",
            "task.unit.labels",
            "classes have no mean: must be Last, or Max for Binary",
        )
        require(
            task.type != "Multiclass" or "Max" not in both,
            "task.unit",
            "several classes have no largest: labels must be Last, answers Mean or Last",
        )
        require(
            unit.answers != "Mean" or kind != "Label",
            "task.unit.answers",
            "labels have no mean: must be Max or Last where model.output.kind is Label",
        )
    found += _labels(spec) + _resources(spec.serving.resources) + _gateway(spec.serving) + _dask(spec)
    if spec.batch is not None and spec.model.source.uri is None:
        found.append(Problem("spec.batch", "needs a model file: spec.model.source.uri"))
    require(
        spec.serving.replay is None or spec.serving.provider == "Service",
        "serving.replay",
        "belongs to provider Service, which copies no requests: leave it out",
    )
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
    require(
        data.annotations is None or task.id is not None,
        "task.id",
        "data.annotations needs the column that names a row, so that labels find theirs",
    )
    require(
        data.annotations is None or task.type in CLASSIFICATION,
        "data.annotations",
        f"are of classes, and a {task.type} task has none; remove them",
    )
    for index, baseline in enumerate(spec.baselines):
        require(
            baseline.name not in {CHAMPION, REST}, f"baselines[{index}].name", f"{baseline.name!r} is taken; rename it"
        )
        found += _baseline(baseline, f"spec.baselines[{index}]", spec)
    containers = [baseline.name for baseline in spec.baselines if baseline.type == "Container"]
    require(
        len(containers) <= MAX_CONTAINERS,
        "baselines",
        f"got {len(containers)} of type Container ({', '.join(containers)}), expected at most {MAX_CONTAINERS}, since "
        "each runs beside the model: put the answers of others into columns",
    )
    return found


def _labels(spec: ModelDeploymentSpec) -> list[Problem]:
    """Selective labels: what makes up for them, and what can't stand beside them."""
    labels, readiness = spec.task.labels, spec.readiness
    if labels is None:
        if readiness is None or readiness.labels is None:
            return []
        message = f"got {readiness.labels!r} without spec.task.labels: declare which decisions reveal labels"
        return [Problem("spec.readiness.labels", message)]
    found, field = [], "spec.task.labels"
    if labels.holdout is not None and labels.propensity is not None:
        message = f"got holdout {labels.holdout!r} and propensity {labels.propensity!r}: set one, not both"
        found.append(Problem(field, message))
    if labels.min_propensity is not None and labels.propensity is None:
        message = f"got {labels.min_propensity!r}, but belongs to propensity: set both, or leave it out"
        found.append(Problem(f"{field}.minPropensity", message))
    if labels.min_propensity is not None and Decimal(labels.min_propensity) == 0:
        found.append(Problem(f"{field}.minPropensity", f"got {labels.min_propensity!r}, must be above 0"))
    columns = {
        "revealedBy.column": labels.revealed_by.column,
        "holdout": labels.holdout,
        "propensity": labels.propensity,
    }
    for name, column in columns.items():
        if column == spec.task.target:
            message = f"{column!r} is task.target; name the column with the decision, the holdout or the propensity"
            found.append(Problem(f"{field}.{name}", message))
    if spec.task.unit is not None:
        found.append(Problem(field, "are of rows, which task.unit rolls up; leave out one of both"))
    if spec.task.type == "Ranking":
        found.append(Problem(field, "are of rows, and a Ranking is measured by query: leave them out"))
    if spec.data.sampling:
        message = "and task.labels both weigh rows: leave out one, or put its weights into task.weight"
        found.append(Problem("spec.data.sampling", message))
    return found


def _baseline(baseline: Baseline, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    """Fields that a type doesn't have or lacks, and tasks that it isn't for."""
    kind, task = KINDS[baseline.type], spec.task.type
    found = []
    given = baseline.model_dump(by_alias=True, exclude_none=True)
    for name in FIELDS:
        types = " or ".join(that_take(name))
        if name in given and name not in (*kind.needs, *kind.takes):
            found.append(
                Problem(f"{field}.{name}", f"belongs to type {types}, this one is {baseline.type}; leave it out")
            )
        if name not in given and name in kind.needs:
            found.append(Problem(f"{field}.{name}", f"is needed by type {baseline.type}; declare it"))
    if baseline.type == "Uniform" and task == "Ranking" and baseline.seed is not None:
        found.append(Problem(f"{field}.seed", "a Ranking's random order is the mean of all orders; leave it out"))
    if task not in kind.tasks:
        others = ", ".join(of_task(task))
        found.append(
            Problem(f"{field}.type", f"{baseline.type!r} isn't for {task} tasks; for those there are {others}")
        )
    if baseline.type == "Human" and spec.data.annotations is None:
        found.append(Problem(f"{field}.type", "'Human' needs spec.data.annotations: what people said; declare it"))
    if baseline.container is not None:
        found += _container(baseline.container, f"{field}.container", spec)
    if kind.timed and spec.task.time is None:
        message = f"{baseline.type!r} looks back in time and needs spec.task.time: the column that says when a row was"
        found.append(Problem(f"{field}.type", message))
    return found


def _container(container: BaselineContainer, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    """What keeps a baseline's container from being asked beside the model."""
    found, model, port = [], spec.model, container.port
    others = [item.container.port for item in spec.baselines if item.container is not None]
    own = model.source.port if model.source.image is not None else PREDICTOR_PORT
    taken = {CHAMPION_PORT: "where the champion listens"}
    taken |= {port: "which another baseline's container has"} if others.count(port) > 1 else {}
    taken |= {} if model.source.columns is not None else {own: "where the model listens"}
    if port in taken:
        message = f"got {port}, {taken[port]}: all are in one Pod; have the container listen at another port"
        found.append(Problem(f"{field}.port", f"{message}, and say which"))
    if container.inputs is None and model.inputs is None:
        found.append(Problem(f"{field}.inputs", "is needed where spec.model.inputs isn't declared: what it is fed"))
    return found + _resources(container.resources or {}, f"{field}.resources")


def _resources(resources: dict[str, Any], under: str = "spec.serving.resources") -> list[Problem]:
    """What isn't `{limits, requests: {name: quantity}}`."""
    found: list[Problem] = []
    for side, amounts in resources.items():
        field = f"{under}.{side}"
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


def _dask(spec: ModelDeploymentSpec) -> list[Problem]:
    dask = spec.evaluation.dask if spec.evaluation is not None else None
    if dask is None:
        return []
    field = "spec.evaluation.dask"
    found: list[Problem] = []
    if (dask.address is None) == (dask.cluster is None):
        found.append(Problem(field, "set either address or cluster"))
    port = 1 if dask.address is None else int(dask.address.rpartition(":")[2])
    if port > 65535:
        found.append(Problem(f"{field}.address", f"got port {port}, expected 1 to 65535"))
    over_tls = dask.address is not None and dask.address.startswith("tls://")
    if over_tls and dask.credentials_ref is None:
        message = "is needed for a tls address: the Secret with ca.crt, tls.crt and tls.key"
        found.append(Problem(f"{field}.credentialsRef", message))
    if not over_tls and dask.credentials_ref is not None:
        found.append(Problem(f"{field}.credentialsRef", "belongs to an address tls://HOST:PORT; leave it out"))
    return found


def _gateway(serving: Serving) -> list[Problem]:
    gateway = serving.gateway
    if serving.provider == "External" and serving.replicas is not None:
        message = f"got {serving.replicas}, but the workload is yours where provider is External: leave it out"
        return [Problem("spec.serving.replicas", message)]
    if serving.provider in (("GatewayAPI",) if gateway is None else ("Service", "External")):
        message = "belongs to provider GatewayAPI, which needs one, or KServe, which may have one"
        return [Problem("spec.serving.gateway", message)]
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
    found = _needs(metric, field, spec) + _class(gate, metric, field, spec) + _place(gate, metric, field, spec)
    found += _quantile(gate, metric, field, spec) + _horizon(gate, metric, field, spec)
    found += _window(gate, metric, field, spec)
    try:
        asked = requirements(gate.require.texts(), metric=derived(metric, on=gate.rows, shape=gate.as_), field=field)
    except CriteriaError as error:
        return [*found, Problem(error.field, f"{error.value!r}: {error.expected}")]
    if not gate.require.texts():
        found.append(Problem(f"{field}.require", "at least one level must be set: Shadow, Suggest or Automate"))
    references = {CHAMPION, REST} | {baseline.name for baseline in spec.baselines}
    people = {baseline.name for baseline in spec.baselines if baseline.type == "Human"}
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
            if requirement.ref in people and metric.needs != "Label":
                found.append(
                    Problem(
                        f"{field}.require", f"{requirement.ref!r} is people, who give labels: {metric.name} needs more"
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
    present = {
        "": True,
        "task.beta": spec.task.beta is not None,
        "task.topK": spec.task.top_k is not None,
        "task.quantiles": spec.task.quantiles is not None,
        "task.time": spec.task.time is not None,
        "useCase.errorCosts": bool(spec.use_case.error_costs),
        "serving.prices": spec.serving.prices is not None,
        "data.annotations": spec.data.annotations is not None,
        "data.annotations.independent": spec.data.annotations is not None and spec.data.annotations.independent,
        "data.domainClassifier": spec.data.domain_classifier is not None,
        "data.production": spec.data.production is not None,
    }
    if not present[metric.declaration]:
        return [Problem(f"{field}.metric", f"{metric.name!r} needs spec.{metric.declaration}; declare it")]
    return []


def _class(gate: Gate, metric: Metric, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    """Multiclass, one class against all others."""
    if gate.class_ is None:
        return []
    found = []
    if spec.task.type != "Multiclass" or not metric.by_class:
        names = ", ".join(item.name for item in METRICS.values() if item.by_class)
        found.append(Problem(f"{field}.class", f"belongs to {names} of Multiclass tasks; remove it"))
    if gate.each is not None or gate.across is not None or gate.rows != "test":
        found.append(
            Problem(f"{field}.class", "one class is measured on all test rows: leave each, across and rows out")
        )
    known = spec.model.output.classes
    if known and gate.class_ not in known:
        what = f"unknown class {_short(gate.class_)}{_nearest(gate.class_, known)}"
        found.append(Problem(f"{field}.class", f"{what}; known are {', '.join(known[:20])}"))
    return found


def _quantile(gate: Gate, metric: Metric, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    """Regression, one quantile of several."""
    if gate.quantile is None:
        return []
    found = []
    if not metric.by_quantile:
        names = ", ".join(item.name for item in METRICS.values() if item.by_quantile)
        found.append(Problem(f"{field}.quantile", f"belongs to {names}; remove it"))
    if gate.each is not None or gate.across is not None or gate.rows != "test":
        message = "one quantile is measured on all test rows: leave each, across and rows out"
        found.append(Problem(f"{field}.quantile", message))
    known = spec.task.quantiles or ()
    if gate.quantile not in known:
        found.append(
            Problem(f"{field}.quantile", f"{gate.quantile!r} isn't among task.quantiles: {', '.join(known) or 'none'}")
        )
    return found


def _horizon(gate: Gate, metric: Metric, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    """Forecast, one horizon of several, or each."""
    if gate.horizon is None:
        return []
    found = []
    if not metric.by_horizon:
        names = ", ".join(item.name for item in METRICS.values() if item.by_horizon)
        found.append(Problem(f"{field}.horizon", f"belongs to {names}; remove it"))
    if gate.each is not None or gate.across is not None or gate.rows != "test":
        message = "one horizon is measured on all test rows: leave each, across and rows out"
        found.append(Problem(f"{field}.horizon", message))
    if spec.task.horizon is None:
        message = f"got {gate.horizon!r}, but spec.task.horizon, the column with the steps ahead, isn't declared"
        found.append(Problem(f"{field}.horizon", f"{message}; declare it, or leave horizon out"))
    return found


def _window(gate: Gate, metric: Metric, field: str, spec: ModelDeploymentSpec) -> list[Problem]:
    """Each window of the test rows."""
    if gate.window is None:
        return []
    found = []
    if not metric.by_window:
        what = "is no number of answers and labels, which windows have; remove it"
        found.append(Problem(f"{field}.window", f"got {gate.window!r}: {metric.name} {what}"))
    parts = {"each": gate.each, "across": gate.across, "class": gate.class_}
    parts |= {"quantile": gate.quantile, "horizon": gate.horizon, "rows": None if gate.rows == "test" else gate.rows}
    if given := [name for name, value in parts.items() if value is not None]:
        message = f"windows are of all test rows: leave {', '.join(given)} out"
        found.append(Problem(f"{field}.window", message))
    if spec.data.windows is None:
        message = f"got {gate.window!r}, but spec.data.windows isn't declared; declare how long windows are"
        found.append(Problem(f"{field}.window", message))
    for level, text in gate.require.texts().items():
        if " than " in text:
            message = f"{text!r}: windows are held against numbers only: '>= …', '<= …' or 'within … .. …'"
            found.append(Problem(f"{field}.require.{level}", message))
    return found


def _forecast(spec: ModelDeploymentSpec) -> list[Problem]:
    """What a Forecast needs, and what only it has."""
    task, field = spec.task, "spec.task"
    given = {"series": task.series, "horizon": task.horizon, "season": task.season}
    if task.type != "Forecast":
        return [
            Problem(f"{field}.{name}", f"got {_short(value)}, which belongs to Forecast tasks; remove it")
            for name, value in given.items()
            if value is not None
        ]
    found = []
    if task.time is None:
        message = "a Forecast task needs the column that says which time a forecast is for; declare it"
        found.append(Problem(f"{field}.time", message))
    if task.unit is not None:
        found.append(Problem(f"{field}.unit", "a forecast is of a series at a time and rolls up to nothing; remove it"))
    columns = {"target": task.target, "time": task.time, "series": task.series, "horizon": task.horizon}
    for (first, one), (second, other) in combinations(columns.items(), 2):
        if one is not None and one == other:
            found.append(Problem(f"{field}.{second}", f"{_short(other)} is task.{first} already; name another column"))
    split = spec.data.split
    if split is not None and split.method != "Time":
        message = f"got {split.method!r}: it trains on what comes after a test row; a Forecast task needs Time"
        found.append(Problem("spec.data.split.method", message))
    return found


def _sampling(spec: ModelDeploymentSpec) -> list[Problem]:
    """How classes were drawn: as prevalences that add up to 1, or as shares that were kept."""
    drawn, field = spec.data.sampling, "spec.data.sampling"
    if not drawn:
        return []
    if spec.task.type not in CLASSIFICATION:
        return [Problem(field, f"is of classes, and a {spec.task.type} task has none; remove it")]
    found = []
    for index, item in enumerate(drawn):
        if (item.prevalence is None) == (item.kept is None):
            found.append(Problem(f"{field}[{index}]", "set prevalence or kept, not both"))
        elif Decimal(item.prevalence or item.kept or "0") <= 0:
            name = "kept" if item.prevalence is None else "prevalence"
            found.append(Problem(f"{field}[{index}].{name}", f"got {item.prevalence or item.kept!r}, must be above 0"))
        if item.class_ in [other.class_ for other in drawn[:index]]:
            found.append(Problem(f"{field}[{index}]", f"{_short(item.class_)} is there already; remove one"))
    given = [item.prevalence for item in drawn if item.prevalence is not None]
    if 0 < len(given) < len(drawn):
        found.append(Problem(field, "gives prevalence for some classes and kept for others; give one throughout"))
    elif given and abs((total := sum(map(Decimal, given), Decimal())) - 1) > Decimal("0.000001"):
        found.append(Problem(field, f"the prevalences add up to {total}, must be 1"))
    return found


def _choice(spec: ModelDeploymentSpec) -> list[Problem]:
    """A cut-off that is to be chosen, and can't be."""
    output, data, field = spec.model.output, spec.data, "spec.model.output.choose"
    if (choose := output.choose) is None:
        return []
    found = []
    if spec.task.type != "Binary" or output.kind != "Probability":
        message = (
            f"belongs to Binary tasks with kind Probability, this is {spec.task.type} with {output.kind}; remove it"
        )
        found.append(Problem(field, message))
    if choose.at_least is None and choose.metric in get_args(BoundedRate):
        message = f"{choose.metric!r} alone is best where all else is given up; set atLeast to a rate that must be kept"
        found.append(Problem(f"{field}.metric", message))
    if choose.at_least is not None and choose.at_least.metric == choose.metric:
        found.append(Problem(f"{field}.atLeast.metric", f"got {choose.metric!r} twice; name another rate to be kept"))
    if choose.metric == "expected_cost" and not spec.use_case.error_costs:
        found.append(Problem(f"{field}.metric", "'expected_cost' needs useCase.errorCosts; declare it"))
    if choose.metric == "f_beta" and spec.task.beta is None:
        found.append(Problem(f"{field}.metric", "'f_beta' needs task.beta; declare it"))
    if data.validation is None and (data.split is None or not Decimal(data.split.validation)):
        message = "needs validation rows: set data.validation, or data.split.validation above 0; never test rows"
        found.append(Problem(field, message))
    return found


def _costs(spec: ModelDeploymentSpec) -> list[Problem]:
    """Costs of errors that don't go together."""
    costs, field = spec.use_case.error_costs, "spec.useCase.errorCosts"
    found = []
    if costs and spec.task.type not in CLASSIFICATION:
        found.append(Problem(field, f"are of classes, and a {spec.task.type} task has none; remove them"))
    currencies = sorted({cost.currency for cost in costs})
    if len(currencies) > 1:
        found.append(Problem(field, f"currencies {', '.join(currencies)} can't be added up; give all costs in one"))
    pairs = [(cost.actual, cost.predicted) for cost in costs]
    for index, (actual, predicted) in enumerate(pairs):
        if actual == predicted:
            found.append(Problem(f"{field}[{index}]", f"{_short(actual)} for {_short(actual)} is no error; remove it"))
        elif (actual, predicted) in pairs[:index]:
            message = f"{_short(predicted)} for {_short(actual)} has a cost already; remove one"
            found.append(Problem(f"{field}[{index}]", message))
    return found


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
    if metric.spreads and gate.across is None:
        message = f"{metric.name} compares groups; set across to a slice, and as to difference or ratio"
        found.append(Problem(f"{field}.across", message))
    if gate.as_ == "ratio" and metric.low < 0:
        message = f"{metric.name} can be negative, so its groups have no ratio; use difference"
        found.append(Problem(f"{field}.as", message))
    elsewhere = gate.across is not None or (gate.each or (OVERALL,)) != (OVERALL,)
    if not metric.groups and not metric.spreads and elsewhere:
        found.append(Problem(f"{field}.each", f"{metric.name} is measured overall only"))
    if metric.name in QUANTILES and gate.load is None:
        found.append(Problem(f"{field}.load", "latencies need a load, for example 50/s"))
    if not metric.loaded and gate.load is not None:
        found.append(Problem(f"{field}.load", "belongs to latencies, crashes and failed_requests: leave it out"))
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
    if spec.task.unit is not None:
        found.append(Problem(f"{field}.rows", "live rows don't roll up to task.unit; leave rows out"))
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
