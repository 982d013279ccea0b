"""`mandate init`: a first manifest from a look at a table. Guesses carry a comment that says what they rest on."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mandate.api.names import API_VERSION, MODEL_NAME_LENGTH
from mandate.api.personal import looks_personal
from mandate.measure.queries import torn
from mandate.measure.table import MeasureError, column, is_numeric, text_codes
from mandate.sources import SourceError, read_table

from .errors import InputError
from .manifest import checked_name
from .progress import progress

MAX_CLASSES = 20
"""Numbers with more distinct values than this are a Regression target."""
MAX_EDGE = 1e15
"""Edges of slices have at most 15 digits before the point."""
_ID = re.compile(r"(^|_)(id|uuid|guid)$|_(key|number|no)$", re.IGNORECASE)
_TIME = re.compile(r"(^|_)(time|timestamp|date|datetime|at|day)$", re.IGNORECASE)
_HORIZON = re.compile(r"^(h|horizon|lead(_time)?|(steps?_)?ahead)$", re.IGNORECASE)
_SENSITIVE = re.compile(r"(^|_)(sex|gender|age|race|ethnicity|nationality|religion|disability)(_|$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A value and the comment that says where it comes from; empty where the user gave it."""

    value: str | None
    why: str = ""


def execute(options: argparse.Namespace) -> int:
    """Write the manifest to standard output or a new file."""
    try:
        with progress(f"looking at {options.table.name}"):
            table = read_table(options.table, name=str(options.table))
            text = manifest(table, options)
    except (SourceError, MeasureError) as error:
        raise InputError(f"{error.code}: {error}") from None
    if options.out is None:
        print(text, end="")
        return 0
    try:
        with options.out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"--out {options.out}: exists already; name another file, or remove it") from None
    except OSError as error:
        raise InputError(f"--out {options.out}: {error.strerror or error}") from None
    print(f"wrote {options.out}; check its lines with comments, then `mandate split -f {options.out}`", file=sys.stderr)
    return 0


def manifest(table: pa.Table, options: argparse.Namespace) -> str:
    """YAML with 15 to 30 lines for `table`. Raises InputError, MeasureError."""
    target = options.target
    column(table, target)  # refuses a column that isn't there
    if options.query is not None or options.score is not None or options.task == "Ranking":
        return _ranking(table, options)
    time = Guess(value=_there(table, options.time)) if options.time else _time(table, target)
    horizon = Guess(value=_there(table, options.horizon)) if options.horizon else _horizon(table, target)
    task = Guess(value=options.task) if options.task else _task(table, target, time=time, horizon=horizon)
    series = Guess(value=None)
    if task.value == "Forecast":
        if time.value is None:
            raise InputError("--time: a Forecast needs the column that says which time a forecast is for; name it")
        given = Guess(value=_there(table, options.series)) if options.series else None
        series = given or _series(table, target, time.value, horizon.value)
    elif options.series or options.horizon:
        raise InputError(f"--series and --horizon belong to Forecast tasks, this one is {task.value}; leave them out")
    else:
        horizon = Guess(value=None)
    positive = _positive(table, target, options.positive) if task.value == "Binary" else Guess(value=None)
    taken = {target, time.value, series.value, horizon.value}
    identity = Guess(value=_there(table, options.id)) if options.id else _identity(table, taken)
    features = [name for name in table.column_names if name not in {target, identity.value, time.value}]
    if not features:
        raise InputError(f"{options.table}: has no column left that the model could be fed")
    named = [identity.value] if identity.value and looks_personal(identity.value) else []
    people = [name for name in features if looks_personal(name)]
    slices = [name for name in features if _SENSITIVE.search(name) and name not in people]
    parts = [f"type: {task.value}", f"target: {_yaml(target)}"]
    parts += [f"positive: {_yaml(positive.value)}"] if positive.value is not None else []
    parts += [f"id: {_yaml(identity.value)}"] if identity.value else []
    parts += [f"time: {_yaml(time.value)}"] if time.value else []
    parts += [f"series: {_yaml(series.value)}"] if series.value else []
    parts += [f"horizon: {_yaml(horizon.value)}"] if horizon.value else []
    split = "Time" if time.value else "Random, seed: 7"
    lines = [
        *_head(table, options),
        f"    source: {{uri: {_yaml(options.model)}, format: {_format(options.model)}}}"
        "  # a path, or pvc://CLAIM/PATH in a cluster",
        "    inputs:  # in the model's order; remove what it isn't fed",
        *_listed(features),
        "      encoding: Columns  # Matrix, with name: its name, where the model takes one tensor for all columns",
        *_output(table, target, str(task.value)),
        *(f"  # {guess.why}" for guess in (task, positive, identity, time, series, horizon) if guess.why),
        f"  task: {{{', '.join(parts)}}}",
        *_data(table, options, split=split, slices=slices, people=[*named, *people]),
    ]
    return "\n".join(lines) + "\n"


def _ranking(table: pa.Table, options: argparse.Namespace) -> str:
    """The manifest of a ranking by a column of scores."""
    if options.query is None or options.score is None or options.task not in (None, "Ranking"):
        raise InputError(
            f"--task {options.task or 'Ranking'}: a Ranking needs --query, the column that says which rows are ranked "
            "together, and --score, the column that holds the model's score; other tasks have neither"
        )
    target, query, score = options.target, _there(table, options.query), _there(table, options.score)
    for flag, name in (("--target", target), ("--score", score)):
        if not is_numeric(table, name) and not pa.types.is_boolean(column(table, name).type):
            raise InputError(f"{flag} {name}: holds {column(table, name).type}, and a Ranking needs numbers")
    if options.series or options.horizon:
        raise InputError("--series and --horizon belong to Forecast tasks, this one is Ranking; leave them out")
    if len({target, query, score}) < 3:
        raise InputError(f"--target {target}, --query {query}, --score {score}: expected three columns")
    code = text_codes(table, query)[1]
    depth = max(1, min(10, int(np.median(np.bincount(code))) // 2))

    def whole(name: str) -> bool:
        return not torn(code, text_codes(table, name)[1])

    time = Guess(value=_there(table, options.time)) if options.time else _time(table, target)
    by_time = time.value is not None and whole(time.value)
    if not by_time and not options.time:
        time = Guess(value=None)
    identity = Guess(value=_there(table, options.id)) if options.id else _identity(table, {target, query, time.value})
    parts = [f"type: Ranking, target: {_yaml(target)}, query: {_yaml(query)}, cluster: {_yaml(query)}"]
    parts += [f"id: {_yaml(identity.value)}"] if identity.value else []
    parts += [f"time: {_yaml(time.value)}"] if time.value else []
    taken = {target, query, score, identity.value, time.value}
    people = [name for name in (query, identity.value) if name is not None and looks_personal(name)]
    slices = [name for name in table.column_names if name not in taken and _SENSITIVE.search(name) and whole(name)]
    lines = [
        *_head(table, options),
        f"    source: {{columns: [{_yaml(score)}]}}  # a ranking is measured on scores that the table holds",
        "    output: {kind: Value}",
        *(f"  # {guess.why}" for guess in (identity, time) if guess.why),
        "  # cluster: what belongs together; a column above the query, such as who asked, where there is one",
        "  # topK: how many places count in the metrics at k, fewer than a query has rows",
        f"  task: {{{', '.join(parts)}, topK: {depth}}}",
        *_data(
            table, options, split="Time" if by_time else "Group, seed: 7", slices=slices, people=people, served=False
        ),
    ]
    return "\n".join(lines) + "\n"


def _head(table: pa.Table, options: argparse.Namespace) -> list[str]:
    name = _name(options.table) if options.name is None else checked_name(options.name, field="--name")
    return [
        f"# From {table.num_rows:,} rows of {options.table.name}. Lines with a comment hold guesses: check them.",
        f"apiVersion: {API_VERSION}",
        "kind: ModelDeployment",
        f"metadata: {{name: {_yaml(name)}}}",
        "spec:",
        "  useCase:",
        '    decision: ""  # what is decided with the answers, in a sentence',
        "    riskTier: Medium  # Low | Medium | High: how much must be shown",
        "  model:",
        '    version: "1"',
    ]


def _data(
    table: pa.Table,
    options: argparse.Namespace,
    *,
    split: str,
    slices: Sequence[str],
    people: Sequence[str],
    served: bool = True,
) -> list[str]:
    lines = [
        "  data:",
        f"    source: {{uri: {_yaml(_reached(options.table, out=options.out))}}}  # pvc://CLAIM/PATH in a cluster",
        f"    split: {{method: {split}}}  # 60 % train, 20 % validation, 20 % test",
    ]
    if people:
        listed = ", ".join(_yaml(name) for name in people)
        lines.append(f"    personal: [{listed}]  # by their names: values stay out of evidence and reports; add others")
    if slices:
        lines.append("    slices:  # groups that are judged on their own; sensitive ones must be treated alike")
        lines += [f"    - {_slice(table, name)}" for name in slices]
    return [
        *lines,
        "  # Without gates the built-in ones for the task apply; `mandate evaluate` lists them.",
        f"  autonomy: {{target: {options.level}}}",
        *([_PROMISE, _FALLBACK] if served else []),
    ]


_PROMISE = (
    "  serving: {latency: {p99: 100ms, load: 50/s}}  # how fast answers must come, at how many requests per second"
)
_FALLBACK = (
    "  # What answers where no model may; Suggest asks for it, Automate for a drill of it:\n"
    "  # useCase: {fallback: {serviceRef: {name: NAME, port: 8080}}}"
)


def _task(table: pa.Table, target: str, *, time: Guess, horizon: Guess) -> Guess:
    classes, _ = text_codes(table, target)
    numeric = is_numeric(table, target)
    if numeric and time.value and horizon.value:
        return Guess(value="Forecast", why=f"type: {target} holds numbers, {horizon.value} the steps ahead")
    if len(classes) < 2:
        raise InputError(f"--target {target}: holds one value only ({classes[0]!r}); there is nothing to predict")
    if len(classes) == 2:
        return Guess(value="Binary", why=f"type: {target} holds two values")
    if numeric and (len(classes) > MAX_CLASSES or pa.types.is_floating(column(table, target).type)):
        return Guess(value="Regression", why=f"type: {target} holds numbers, {len(classes):,} different ones")
    if len(classes) > 1000:
        raise InputError(f"--target {target}: holds {len(classes):,} different texts, too many for classes")
    return Guess(value="Multiclass", why=f"type: {target} holds {len(classes)} values")


def _positive(table: pa.Table, target: str, given: str | None) -> Guess:
    classes, code = text_codes(table, target)
    if given is not None:
        if given not in classes:
            raise InputError(f"--positive {given}: column {target!r} holds {', '.join(map(repr, classes[:10]))}")
        return Guess(value=given)
    counts = {name: int((code == index).sum()) for index, name in enumerate(classes)}
    rarer = min(classes, key=lambda name: (counts[name], name))
    return Guess(value=rarer, why=f"positive: the rarer class, {counts[rarer]:,} of {table.num_rows:,} rows")


def _identity(table: pa.Table, taken: set[str | None]) -> Guess:
    for name in table.column_names:
        if name in taken or not (_ID.search(name) or name == ""):
            continue
        values = column(table, name)
        if values.null_count == 0 and pc.count_distinct(values).as_py() == table.num_rows:
            return Guess(value=name, why=f"id: {name or 'the column without a name'} is different on every row")
    return Guess(value=None)


def _time(table: pa.Table, target: str) -> Guess:
    for name in table.column_names:
        values = column(table, name)
        if name == target or values.null_count:
            continue
        if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
            return Guess(value=name, why=f"time: {name} holds times; the split is by time then")
        if _TIME.search(name) and pa.types.is_string(values.type) and _reads_as_time(values):
            return Guess(value=name, why=f"time: {name} reads as times; the split is by time then")
    return Guess(value=None)


def _horizon(table: pa.Table, target: str) -> Guess:
    for name in table.column_names:
        if name != target and _HORIZON.search(name) and is_numeric(table, name):
            return Guess(value=name, why=f"horizon: {name} reads as how many steps ahead a forecast was made")
    return Guess(value=None)


def _series(table: pa.Table, target: str, time: str, horizon: str | None) -> Guess:
    """The first column that tells apart what repeats a time and a horizon."""
    keys = [time] if horizon is None else [time, horizon]
    if _distinct(table, keys) == table.num_rows:
        return Guess(value=None)
    for name in table.column_names:
        if name not in (target, *keys) and _distinct(table, [*keys, name]) == table.num_rows:
            if text_codes(table, name)[1].max() + 1 == table.num_rows:
                continue  # it names rows
            return Guess(value=name, why=f"series: {name} tells apart rows that are for the same time")
    return Guess(value=None)


def _distinct(table: pa.Table, names: Sequence[str]) -> int:
    return int(table.select(list(names)).group_by(list(names)).aggregate([]).num_rows)


def _reads_as_time(values: pa.Array) -> bool:
    try:
        values.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return False
    return True


def _output(table: pa.Table, target: str, task: str) -> list[str]:
    if task in ("Regression", "Forecast"):
        return ["    output: {name: variable, kind: Value}  # the model's output tensor"]
    if task == "Binary":
        return ["    output: {name: probabilities, kind: Probability}  # the model's output tensor"]
    classes = ", ".join(map(_yaml, text_codes(table, target)[0]))
    return [f"    output: {{name: probabilities, kind: Probability, classes: [{classes}]}}  # in the model's order"]


def _format(model: str) -> str:
    """By the file's name; a name without an ending is a folder's, as MLflow writes them."""
    name = model.rstrip("/").rpartition("/")[2]
    return "Skops" if name.lower().endswith(".skops") else "ONNX" if "." in name else "MLflow"


def _slice(table: pa.Table, name: str) -> str:
    """Numbers at their quartiles, other columns by value."""
    parts = [f"name: {_yaml(_safe(name))}", f"column: {_yaml(name)}"]
    if is_numeric(table, name) and pc.count_distinct(column(table, name)).as_py() > MAX_CLASSES:
        edges = _whole(pc.quantile(column(table, name), [0.25, 0.5, 0.75]).to_pylist())
        parts.append("quantiles: 4" if edges is None else f"edges: [{', '.join(map(json.dumps, edges))}]")
    return f"{{{', '.join([*parts, 'sensitive: true'])}}}"


def _whole(quartiles: Sequence[float]) -> list[str] | None:
    """Whole numbers, which people read; None where they wouldn't keep the quartiles apart, or have too many digits."""
    if any(abs(value) >= MAX_EDGE for value in quartiles):
        return None
    edges = dict.fromkeys(str(round(value)) for value in quartiles)
    return list(edges) if len(edges) == len(set(quartiles)) else None


def _reached(table: Path, *, out: Path | None) -> str:
    """The table's path as the manifest must name it: relative ones start from the manifest's folder."""
    if table.is_absolute():
        return str(table)
    return os.path.relpath(table, Path() if out is None else out.parent)


def _there(table: pa.Table, name: str) -> str:
    column(table, name)
    return name


def _listed(names: Sequence[str], *, width: int = 100) -> list[str]:
    """`columns: [a, b, …]` over as many lines as it takes."""
    lines = ["      columns: ["]
    for index, name in enumerate(names):
        item = _yaml(name) + (", " if index < len(names) - 1 else "]")
        if len(lines[-1]) + len(item) > width and not lines[-1].endswith("["):
            lines[-1] = lines[-1].rstrip()
            lines.append("        ")
        lines[-1] += item
    return lines


def _yaml(text: str) -> str:
    """A plain word where that means the text, else a quoted one (JSON's strings are YAML's)."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) and text.lower() not in _WORDS:
        return text
    if re.fullmatch(
        r"(pvc://|file:///)[A-Za-z0-9_./-]+|[A-Za-z0-9_./-]*[A-Za-z_/][A-Za-z0-9_./-]*\.(csv|parquet|onnx|skops)", text
    ):
        return text
    return json.dumps(text, ensure_ascii=False)


_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"}
"""Words that YAML reads as something else than text."""


def _name(path: Path) -> str:
    return _safe(path.stem)


def _safe(text: str) -> str:
    """A name that Kubernetes takes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:MODEL_NAME_LENGTH].strip("-") or "model"
