"""The kinds of `mandate.dev/v1alpha1`: ModelDeployment, ModelEvaluation, AutonomyGrant."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from .catalogue import TASKS, Measurement, metrics_for
from .criteria import Level
from .references import MAX_CONTAINERS, TIMED, of_task
from .spec import (
    BASELINE_PORT,
    CHAMPION_PORT,
    DATA_TABLES,
    LIST_MAP_BY_NAME,
    LIST_SET,
    MAX_COSTS,
    PREDICTOR_PORT,
    Autonomy,
    Baseline,
    Batch,
    Burden,
    Data,
    Digest,
    ErrorCost,
    Evaluation,
    Gate,
    Model,
    Name,
    Percent,
    PinnedImage,
    Readiness,
    RiskTier,
    Serving,
    Spec,
    Task,
    Text,
    UseCase,
    cel,
    quoted,
    rules,
)

Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$", max_length=32)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, max_length=64)]
VerdictWord = Literal["Pass", "Fail", "Inconclusive", "Error", "Waived", "Skipped"]

# Whole words are compared by the spaces around them: splitting costs more than the API server's budget for a rule.
_REFERENCE_KNOWN = (
    "(!r.contains(' than ') || (r + ' ').contains(' than champion ') || (r + ' ').contains(' than rest ') || "
    "(has(self.baselines) && self.baselines.exists(b, (r + ' ').contains(' than ' + b.name + ' '))))"
)
_REQUIREMENTS = "[g.require.?Shadow.orValue(''), g.require.?Suggest.orValue(''), g.require.?Automate.orValue('')]"
_SLICE_KNOWN = "(has(self.data.slices) && self.data.slices.exists(d, d.name == {}))"
_EACH_KNOWN = f"s == 'overall' || {_SLICE_KNOWN.format('s')}"
_METRIC_KNOWN = (
    "("
    + " && ".join(
        f"(self.task.type != '{task}' || g.metric in {[metric.name for metric in metrics_for(task)]})" for task in TASKS
    )
    + ")"
)
_BASELINE_OF_TASK = (
    "(" + " && ".join(f"(self.task.type != '{task}' || b.type in {list(of_task(task))})" for task in TASKS) + ")"
)
_NOT_OF_TASK = (
    '", which isn\'t for " + self.task.type + " tasks; for those there are " + '
    + str({task: ", ".join(of_task(task)) for task in TASKS})
    + "[self.task.type]"
)
_MODELS_PORT = f"(has(self.model.source.image) ? self.model.source.?port.orValue({PREDICTOR_PORT}) : {PREDICTOR_PORT})"
_OWN_PORT, _OTHERS_PORT = (f"{b}.container.?port.orValue({BASELINE_PORT})" for b in "bc")
_PORT_FREE = (
    f"(!has(b.container) || ({_OWN_PORT} != {CHAMPION_PORT} && "
    f"(has(self.model.source.columns) || {_OWN_PORT} != {_MODELS_PORT}) && "
    f"self.baselines.exists_one(c, has(c.container) && {_OTHERS_PORT} == {_OWN_PORT})))"
)
_PORT_TAKEN = "the model listens, the champion may (8081), or another baseline does; set container.port to another one"
_TASKS_METRICS = str({task: ", ".join(sorted(metric.name for metric in metrics_for(task))) for task in TASKS})


def _each_gate(holds: str) -> str:
    """CEL: `holds` of each gate `g`."""
    return f"!has(self.gates) || self.gates.all(g, {holds})"


def _of_gates(fails: str, words: str) -> str:
    """CEL: `words` about the first gate `g` that `fails`."""
    # Texts are put together where the API server still knows how long the parts may be: within walks over what was
    # declared, not over what a filter left.
    return f"self.gates.map(g, {fails}, {words})[0]"


_OUTPUTS = "': a Regression task needs Value or Quantiles, Forecast Value, classification Probability or Label'"
_CHOOSES = "(has(self.model.output) && has(self.model.output.choose))"
_GATE = '"gate \'" + g.name + "\', {} " + '
_EACH = f"!has(g.each) || g.each.all(s, {_EACH_KNOWN})"
_ACROSS = f"!has(g.across) || {_SLICE_KNOWN.format('g.across')}"
_REFERENCES = f"{_REQUIREMENTS}.all(r, {_REFERENCE_KNOWN})"


class ModelDeploymentSpec(Spec):
    """What is declared: the use case, the model, the data, what must hold at each level, how far it should get."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                _each_gate(_EACH),
                "gates[].each names a slice that data.slices doesn't declare; use overall or a declared slice's name",
                said=_of_gates(
                    f"!({_EACH})",
                    f"g.each.map(s, !({_EACH_KNOWN}), {_GATE.format('each: unknown slice')} {quoted('s')} + "
                    "'; use overall or a name that data.slices declares')[0]",
                ),
                field=".gates",
            ),
            cel(
                _each_gate(_ACROSS),
                "gates[].across names a slice that data.slices doesn't declare",
                said=_of_gates(
                    f"!({_ACROSS})",
                    f"{_GATE.format('across: unknown slice')} {quoted('g.across')} + "
                    "'; use a name that data.slices declares'",
                ),
                field=".gates",
            ),
            cel(
                _each_gate(_REFERENCES),
                "gates[].require compares with a baseline that baselines doesn't declare; "
                "use a declared baseline's name, champion or rest",
                said=_of_gates(
                    f"!({_REFERENCES})",
                    f"{_REQUIREMENTS}.map(r, !{_REFERENCE_KNOWN}, {_GATE.format('require: unknown reference in')} "
                    f"{quoted('r')} + '; use champion, rest or a name that baselines declares')[0]",
                ),
                field=".gates",
            ),
            cel(
                _each_gate(_METRIC_KNOWN),
                "gates[].metric names a metric that this task doesn't have",
                said=_of_gates(
                    f"!{_METRIC_KNOWN}",
                    f"{_GATE.format('metric:')} {quoted('g.metric')} + ': ' + self.task.type + "
                    f'" tasks don\'t have this metric; known are " + {_TASKS_METRICS}[self.task.type]',
                ),
                field=".gates",
            ),
            *(
                cel(
                    _each_gate(f"g.metric != '{metric}' || has(self.{field})"),
                    f"a gate on {metric} needs {field}; declare it",
                    field=".gates",
                )
                for metric, field in (
                    ("cohen_kappa", "data.annotations"),
                    ("fleiss_kappa", "data.annotations"),
                    ("domain_auc", "data.domainClassifier"),
                    ("unrepresented_groups", "data.production"),
                    ("data_age", "task.time"),
                    ("f_beta", "task.beta"),
                    ("top_k_accuracy", "task.topK"),
                    ("ndcg_at_k", "task.topK"),
                    ("recall_at_k", "task.topK"),
                    ("precision_at_k", "task.topK"),
                    ("pinball_loss", "task.quantiles"),
                    ("interval_coverage", "task.quantiles"),
                    ("crossed_quantiles", "task.quantiles"),
                )
            ),
            cel(
                "self.task.type != 'Ranking' || "
                "(has(self.model.output) && has(self.model.output.kind) && self.model.output.kind == 'Value')",
                "a Ranking task needs model.output.kind: Value",
                field=".model",
            ),
            cel(
                "has(self.task.quantiles) == "
                "(has(self.model.output) && has(self.model.output.kind) && self.model.output.kind == 'Quantiles')",
                "task.quantiles belongs to model.output.kind Quantiles: set both or neither",
                field=".task",
            ),
            cel(
                _each_gate("!has(g.quantile) || (has(self.task.quantiles) && g.quantile in self.task.quantiles)"),
                "gates[].quantile isn't among task.quantiles",
                field=".gates",
            ),
            cel(
                _each_gate("!has(g.horizon) || has(self.task.horizon)"),
                "gates[].horizon needs task.horizon: the column that says how many steps ahead a forecast was made",
                field=".gates",
            ),
            cel(
                _each_gate("!has(g.window) || has(self.data.windows)"),
                "gates[].window needs data.windows: how long they are; declare it",
                field=".gates",
            ),
            cel(
                "!has(self.data.windows) || !has(self.data.windows.length) || has(self.task.time)",
                "data.windows.length needs task.time: the column that says when a row happened",
                field=".data",
            ),
            cel(
                "self.task.type != 'Forecast' || "
                "(has(self.model.output) && has(self.model.output.kind) && self.model.output.kind == 'Value')",
                "a Forecast task needs model.output.kind: Value",
                field=".model",
            ),
            cel(
                "!has(self.data.personal) || (!(self.task.target in self.data.personal) && "
                "(!has(self.task.time) || !(self.task.time in self.data.personal)))",
                "data.personal holds task.target or task.time, whose values reports tell; remove it there",
                field=".data.personal",
            ),
            cel(
                "self.task.type != 'Forecast' || !has(self.data.split) || self.data.split.method == 'Time'",
                "a Forecast task is split by method Time: other methods train on what comes after a test row",
                field=".data.split",
            ),
            cel(
                _each_gate(
                    "g.metric != 'label_noise' || (has(self.data.annotations) && "
                    "has(self.data.annotations.independent) && self.data.annotations.independent)"
                ),
                "a gate on label_noise needs data.annotations.independent; declare it",
                field=".gates",
            ),
            cel(
                _each_gate("g.metric != 'expected_cost' || (has(self.useCase) && has(self.useCase.errorCosts))"),
                "a gate on expected_cost needs useCase.errorCosts; declare it",
                field=".gates",
            ),
            cel(
                f"!{_CHOOSES} || self.task.type == 'Binary'",
                "model.output.choose belongs to Binary tasks; remove it",
                field=".model.output.choose",
            ),
            cel(
                f"!{_CHOOSES} || has(self.data.validation) || "
                "(has(self.data.split) && double(self.data.split.validation) > 0.0)",
                "model.output.choose needs validation rows: set data.validation, or data.split.validation above 0",
                field=".model.output.choose",
            ),
            cel(
                f"!{_CHOOSES} || self.model.output.choose.metric != 'expected_cost' || "
                "(has(self.useCase) && has(self.useCase.errorCosts))",
                "model.output.choose by expected_cost needs useCase.errorCosts; declare it",
                field=".model.output.choose.metric",
            ),
            cel(
                f"!{_CHOOSES} || self.model.output.choose.metric != 'f_beta' || has(self.task.beta)",
                "model.output.choose by f_beta needs task.beta; declare it",
                field=".model.output.choose.metric",
            ),
            cel(
                _each_gate(
                    "!(g.metric in ['cost_per_million', 'used_cost_per_million']) || "
                    "(has(self.serving) && has(self.serving.prices))"
                ),
                "a gate on cost_per_million or used_cost_per_million needs serving.prices; declare it",
                field=".gates",
            ),
            cel(
                "!has(self.serving) || !has(self.serving.latency) || !has(self.gates) || self.gates.size() == 0",
                "serving.latency is for the built-in gates; with gates of your own, add one on latency_p99",
                field=".serving.latency",
            ),
            cel(
                "!has(self.serving) || !has(self.serving.latency) || !has(self.model.source.columns)",
                "columns of answers aren't served: leave serving.latency out",
                field=".serving.latency",
            ),
            cel(
                "self.task.type == 'Multiclass' || " + _each_gate("!has(g.class)"),
                "gates[].class belongs to Multiclass tasks",
                field=".gates",
            ),
            cel(
                f"!has(self.baselines) || self.baselines.all(b, {_BASELINE_OF_TASK})",
                "baselines[].type is for another task",
                said=f"self.baselines.map(b, !{_BASELINE_OF_TASK}, b.name + ' is a ' + b.type + {_NOT_OF_TASK})[0]",
                field=".baselines",
            ),
            cel(
                f"!has(self.baselines) || self.baselines.filter(b, b.type == 'Container').size() <= {MAX_CONTAINERS}",
                f"at most {MAX_CONTAINERS} baselines may be of type Container: put the answers of others into columns",
                field=".baselines",
            ),
            cel(
                f"!has(self.baselines) || self.baselines.all(b, {_PORT_FREE})",
                f"a baseline's container is to listen where {_PORT_TAKEN}",
                field=".baselines",
            ),
            cel(
                "!has(self.baselines) || has(self.model.inputs) || "
                "self.baselines.all(b, !has(b.container) || has(b.container.inputs))",
                "a baseline's container needs inputs where model.inputs isn't declared: the columns that it is fed",
                field=".baselines",
            ),
            cel(
                "!has(self.baselines) || has(self.data.annotations) || self.baselines.all(b, b.type != 'Human')",
                "a baseline of type Human needs data.annotations: what people said; declare it",
                field=".baselines",
            ),
            cel(
                "!has(self.data.annotations) || has(self.task.id)",
                "data.annotations needs task.id: the column that names a row",
                field=".task",
            ),
            cel(
                "!has(self.data.annotations) || self.task.type in ['Binary', 'Multiclass']",
                "data.annotations are of classes, and this task has none; remove them",
                field=".data",
            ),
            cel(
                f"!has(self.baselines) || has(self.task.time) || self.baselines.all(b, !(b.type in {list(TIMED)}))",
                f"a baseline of type {', '.join(TIMED)} needs task.time: the column that says when a row happened",
                field=".task",
            ),
            cel(
                "!has(self.data.split) || self.data.split.method != 'Time' || has(self.task.time)",
                "data.split.method Time needs task.time: the column that says when a row happened",
                field=".task",
            ),
            cel(
                "!has(self.data.split) || self.data.split.method != 'Group' || has(self.task.cluster)",
                "data.split.method Group needs task.cluster: the column whose rows stay together",
                field=".task",
            ),
            cel(
                "!has(self.data.sampling) || self.task.type in ['Binary', 'Multiclass']",
                "data.sampling is of classes, and this task has none; remove it",
                field=".data.sampling",
            ),
            cel(
                "!has(self.data.sampling) || !has(self.task.labels)",
                "task.labels and data.sampling both weigh rows: leave out one, or put its weights into task.weight",
                field=".data.sampling",
            ),
            cel(
                "!has(self.readiness) || !has(self.readiness.labels) || has(self.task.labels)",
                "readiness.labels needs task.labels: which decisions reveal labels; declare it",
                field=".readiness",
            ),
            cel(
                "!has(self.task.unit) || self.task.unit.answers != 'Mean' || "
                "!(has(self.model.output) && has(self.model.output.kind) && self.model.output.kind == 'Label')",
                "labels have no mean: task.unit.answers must be Max or Last where model.output.kind is Label",
                field=".task.unit.answers",
            ),
            cel(
                "!has(self.task.unit) || " + _each_gate("!has(g.rows) || g.rows != 'live'"),
                "live rows don't roll up: leave gates[].rows live out where task.unit is set",
                field=".gates",
            ),
            cel(
                "has(self.model.source.columns) || has(self.model.inputs)",
                "model.inputs is needed: the columns that the model is fed",
                field=".model",
            ),
            cel(
                "!has(self.model.output) || self.task.type != 'Regression' || "
                "self.model.output.kind in ['Value', 'Quantiles']",
                "a Regression task needs model.output.kind: Value or Quantiles",
                said=f'"got " + {quoted("self.model.output.kind")} + {_OUTPUTS}',
                field=".model.output",
            ),
            cel(
                "!has(self.model.output) || self.task.type in ['Regression', 'Ranking', 'Forecast'] || "
                "!(self.model.output.kind in ['Value', 'Quantiles'])",
                "a classification task needs model.output.kind: Probability or Label",
                said=f'"got " + {quoted("self.model.output.kind")} + {_OUTPUTS}',
                field=".model.output",
            ),
        )
    )

    use_case: UseCase = UseCase()
    """What the model decides, for whom, at which risk."""
    model: Model
    """The model under judgement."""
    task: Task
    """What is predicted."""
    data: Data
    """The evaluation data."""
    baselines: Annotated[tuple[Baseline, ...], Field(max_length=10, json_schema_extra=LIST_MAP_BY_NAME)] = ()
    """What the model is compared with."""
    gates: Annotated[tuple[Gate, ...], Field(max_length=64, json_schema_extra=LIST_MAP_BY_NAME)] = ()
    """What must hold. Without any, the built-in gates for the task apply."""
    readiness: Readiness | None = None
    """What must be declared or known of the data, from which level on, beside the gates."""
    autonomy: Autonomy
    """How far the model should get, and how."""
    serving: Serving = Serving()
    """How the model is served once it is granted."""
    batch: Batch | None = None
    """Lets Jobs and CronJobs score batches with the model, at the level that it is granted: `kubectl mandate batch`."""
    evaluation: Evaluation | None = None
    """Who does the work of measuring; no part of what is measured."""


class Condition(Spec):
    """A Kubernetes condition."""

    type: Annotated[str, StringConstraints(max_length=64)]
    """CamelCase type."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]+$", max_length=64)]
    """CamelCase reason."""
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    """For people."""
    last_transition_time: Time
    """When the status last changed."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation this was true of."""


CONDITIONS = Field(
    max_length=24, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
)


class GateSummary(Spec):
    """One gate's verdict at the level that stands next."""

    name: Name
    """The gate."""
    level: Level
    """The level asked about: the first one where it doesn't hold, else the target."""
    verdict: VerdictWord
    """What came out."""
    message: Annotated[str, StringConstraints(max_length=512)] = ""
    """Which slice, which number, what would help."""


class Leaving(Spec):
    """Why a candidate is on its way out."""

    reason: Annotated[str, StringConstraints(max_length=64)]
    """CamelCase reason."""
    message: Text = ""
    """For people."""
    by: Annotated[str, StringConstraints(max_length=253)]
    """Who asked for it; `mandate` where evidence did."""


class Asked(Spec):
    """Who paused or halted the model, when and why."""

    by: Annotated[str, StringConstraints(max_length=253)]
    """Who."""
    at: Time
    """When."""
    why: Text = ""
    """Why, in the asker's words."""
    level: Level | None = None
    """A halt: the most that is allowed; absent for off."""


class Transition(Spec):
    """One change on the ladder."""

    at: Time
    """When."""
    what: Annotated[str, StringConstraints(max_length=64)]
    """What happened, in CamelCase."""
    by: Annotated[str, StringConstraints(max_length=253)]
    """Who asked for it; `mandate` where rules and evidence did."""
    why: Text = ""
    """Why."""
    revision: Annotated[str, StringConstraints(max_length=32)] = ""
    """Of which revision."""
    version: Annotated[str, StringConstraints(max_length=63)] = ""
    """spec.model.version at that revision."""
    before: Annotated[str, StringConstraints(max_length=32)] = ""
    """Where it stood: `Suggest`, `Automate at 10 %`; empty for nowhere."""
    after: Annotated[str, StringConstraints(max_length=32)] = ""
    """Where it stands."""
    evidence: Annotated[str, StringConstraints(max_length=512)] = ""
    """The evaluation, and what was seen in use."""


class RevisionStatus(Spec):
    """Where one revision stands."""

    revision: Revision
    """Its key in the grant."""
    version: Annotated[str, StringConstraints(max_length=63)]
    """spec.model.version at that revision."""
    level: Level | None = None
    """The level granted to it."""
    evaluation: Annotated[str, StringConstraints(max_length=63)] = ""
    """The ModelEvaluation it was judged on."""
    model_digest: Digest | None = None
    """The model's digest."""
    criteria_digest: Digest | None = None
    """Digest of the criteria that it was last judged by."""
    since: Time | None = None
    """Since when it stands at this level: from when on evidence counts for it."""
    share: Annotated[int, Field(ge=1, le=100)] | None = None
    """At Automate: the percentage of requests that it answers."""
    stepped: Time | None = None
    """Since when it has this share, or this level."""
    begun: Time | None = None
    """Since when the provider has shown that to be true; absent while it hasn't."""
    fallen: bool = False
    """Whether it lost a level in use, so that it climbs on fresh evidence only."""
    leaving: Leaving | None = None
    """Why it is on its way out: it has lost its traffic, and is refused once nothing of it is used any more."""


class PreviousChampion(RevisionStatus):
    """The champion to fall back on: granted, though nothing of it runs, until its successor has held."""

    replaced: Time | None = None
    """Since when its successor answers in its place without a break; absent while it doesn't."""
    released: bool = False
    """Whether it has left the grant; it is still remembered for a rollback."""


class Refusal(Spec):
    """A revision that was refused; remembered until the spec changes or a retry is asked."""

    revision: Revision
    """Which revision."""
    version: Annotated[str, StringConstraints(max_length=63)]
    """spec.model.version at that revision."""
    reason: Annotated[str, StringConstraints(max_length=64)]
    """CamelCase reason."""
    message: Text = ""
    """For people."""
    retry: Annotated[str, StringConstraints(max_length=253)] = ""
    """The retry annotation's value when it was refused."""


NumberText = Annotated[str, StringConstraints(pattern=r"^-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?$", max_length=16)]
"""A measured number at six significant digits."""


class MeanLimits(Spec):
    """A mean with limits that hold at any time of looking, at 95 % two-sided."""

    mean: NumberText
    """The mean, or the share."""
    lower: NumberText | None = None
    """Lower limit; absent where nothing can be said yet."""
    upper: NumberText | None = None
    """Upper limit."""


class PairedRight(Spec):
    """Pairs with an outcome, by whose answer was right."""

    both: Annotated[int, Field(ge=0)] = 0
    """Both."""
    candidate: Annotated[int, Field(ge=0)] = 0
    """Only the candidate's."""
    champion: Annotated[int, Field(ge=0)] = 0
    """Only the champion's."""
    neither: Annotated[int, Field(ge=0)] = 0
    """Neither."""


class PairedSlice(Spec):
    """The pairs in one value of a slice."""

    slice: Annotated[str, StringConstraints(max_length=64)]
    """The slice."""
    value: Annotated[str, StringConstraints(max_length=256)]
    """Its value."""
    compared: Annotated[int, Field(ge=0)]
    """Pairs in which both answered."""
    agreement: MeanLimits
    """Share of them in which both said the same; the limits hold for all values of all slices together."""


class PairsStatus(Spec):
    """The candidate at Shadow beside the champion, on the same requests; differences are candidate - champion."""

    revision: Revision
    """The candidate."""
    against: Revision
    """The champion."""
    since: Time
    """Since when they are compared: since this share of requests is copied."""
    copied: Annotated[str, StringConstraints(pattern=r"^[0-9]+/[0-9]+$", max_length=16)]
    """Share of requests that the candidate gets copies of, as a fraction."""
    until: Time | None = None
    """Until when that was counted; absent while nothing was."""
    paired: Annotated[int, Field(ge=0)] = 0
    """The champion's answers that have the candidate's beside them."""
    unpaired: Annotated[int, Field(ge=0)] = 0
    """Those that don't, not copied ones too, and after a minute."""
    waiting: Annotated[int, Field(ge=0)] = 0
    """Those that don't yet."""
    missing: MeanLimits | None = None
    """Of the copies that must have been sent, the share without the candidate's answer."""
    compared: Annotated[int, Field(ge=0)] = 0
    """Pairs in which neither answer was an error."""
    agreement: MeanLimits | None = None
    """Share of them in which both said the same."""
    score_difference: MeanLimits | None = None
    """Of values, or of probabilities."""
    latency_difference: MeanLimits | None = None
    """In milliseconds."""
    right: PairedRight | None = None
    """Classes: who was right, where the outcome is known."""
    error_difference: MeanLimits | None = None
    """Regression: of absolute errors, where the outcome is known."""
    slices: Annotated[tuple[PairedSlice, ...], Field(max_length=3)] = ()
    """Where they agree least."""


class DecidedStatus(Spec):
    """Some people's decisions beside the model's answers on the same rows."""

    count: Annotated[int, Field(ge=0)] = 0
    """How many."""
    labelled: Annotated[int, Field(ge=0)] = 0
    """How many of them with their outcome, which what follows is of."""
    agreement: MeanLimits | None = None
    """Of all, the share that say what the model says."""
    errors: MeanLimits | None = None
    """Share in which the person was wrong."""
    model_errors: MeanLimits | None = None
    """Share in which the model was wrong."""
    error_difference: MeanLimits | None = None
    """Person - model, of these shares."""
    shared_errors: MeanLimits | None = None
    """Of the rows that the model was wrong about, the share in which the person was wrong too."""


class DecisionsStatus(Spec):
    """What people decide at Suggest: alone, with the answer before them, and beside the model."""

    revision: Revision
    """Whose answers they decide on."""
    since: Time
    """Since when: since it came to Suggest."""
    until: Time
    """Until when that was counted."""
    blind_share: Percent
    """Share of decisions that are drawn to be taken before people see the answer."""
    blind: DecidedStatus = DecidedStatus()
    """Drawn, and decided before the person saw the answer: people alone."""
    shown: DecidedStatus = DecidedStatus()
    """Not drawn, and decided with the answer before them: people and model together."""
    agreement_difference: MeanLimits | None = None
    """Agreement, shown - blind: how much more often people say what the model says once they see it."""
    error_difference: MeanLimits | None = None
    """Errors, shown - blind: below 0 where seeing the answer helps."""
    peeked: Annotated[int, Field(ge=0)] = 0
    """Drawn, but the person saw the answer before deciding; compared with nothing."""
    revised: Annotated[int, Field(ge=0)] = 0
    """Drawn, and decided a second time with the answer before them; compared with nothing."""
    unasked: Annotated[int, Field(ge=0)] = 0
    """Not drawn, but decided blind; compared with nothing."""


class Pinned(Spec):
    """Digests that weren't declared, as the evaluation learnt them."""

    revision: Revision
    """The revision they were learnt for."""
    model: Digest | None = None
    """Of the model: written once for a revision, which is held to it from then on."""
    data: dict[Annotated[str, StringConstraints(max_length=16)], Digest] = Field(default_factory=dict, max_length=8)
    """Of each table: written once for a revision, unless another table or digest is declared."""


class FallbackDrill(Spec):
    """The last drill: what the declared fallback made of a real request."""

    at: Time
    """When."""
    by: Annotated[str, StringConstraints(max_length=253)]
    """Who asked for it."""
    service: Annotated[str, StringConstraints(max_length=63)] = ""
    """The Service that was to answer; empty where none was declared."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Its port."""
    answered: bool | None = None
    """Whether it gave the declared output for every row; absent where nothing was sent."""
    microseconds: Annotated[int, Field(ge=0)] | None = None
    """From sending the request to the end of the answer, connecting included."""
    reason: Annotated[str, StringConstraints(max_length=64)]
    """CamelCase reason."""
    message: Text = ""
    """For people."""


class ModelDeploymentStatus(Spec):
    """What is true now; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation that was last looked at."""
    level: Literal["None", "Shadow", "Suggest", "Automate"] = "None"
    """The highest level that is granted and served."""
    version: Annotated[str, StringConstraints(max_length=63)] = ""
    """The version that acts or, without one, the version that climbs."""
    champion: RevisionStatus | None = None
    """The last revision to reach the target."""
    candidate: RevisionStatus | None = None
    """The revision that is judged or climbs."""
    previous: PreviousChampion | None = None
    """The champion before this one: granted until this one has held for autonomy.automate.stepDuration, and remembered
    for a rollback after that."""
    pairs: PairsStatus | None = None
    """The candidate beside the champion, on the same requests; absent without one of them."""
    decisions: DecisionsStatus | None = None
    """What people decide at Suggest; absent while nothing is counted."""
    pinned: Pinned | None = None
    """Digests that the evaluation learnt."""
    criteria_digest: Digest | None = None
    """Digest of the criteria the verdict was given on."""
    look: Annotated[int, Field(ge=0)] = 0
    """Which look at these test rows the verdict is."""
    gates_passed: Annotated[str, StringConstraints(max_length=16)] = ""
    """Gates that hold at the target, of all."""
    gates: Annotated[tuple[GateSummary, ...], Field(max_length=64, json_schema_extra=LIST_MAP_BY_NAME)] = ()
    """The verdict per gate."""
    refused: Annotated[tuple[Refusal, ...], Field(max_length=10)] = ()
    """Revisions that were refused."""
    paused: Asked | None = None
    """Climbing is paused."""
    halted: Asked | None = None
    """The model is halted, at Shadow or off."""
    handled: dict[
        Annotated[str, StringConstraints(max_length=16)], Annotated[str, StringConstraints(max_length=253)]
    ] = Field(default_factory=dict, max_length=8)
    """Per verb, the id that was last seen to."""
    drill: FallbackDrill | None = None
    """The last drill of the fallback."""
    history: Annotated[tuple[Transition, ...], Field(max_length=20)] = ()
    """The last transitions, the latest at the end."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Ready, Reconciling, Stalled, Evaluated, Granted, CandidateRefused, Enforced; where there is something to say,
    CriteriaChanged, Degraded, Watched, Compared, Replayed, ClockTrusted, SharesByEntity, SharesAsDeclared,
    ServedElsewhere, FallbackReady, FallbackDrilled and AskUnderstood."""


class EvaluationImages(Spec):
    """The product's own images in an evaluation's Pod, the judge's aside: those that the revision is served with."""

    fetch: PinnedImage
    """Reads the sources."""
    predictor: PinnedImage
    """Runs the model, where it isn't an image itself."""
    champion: PinnedImage | None = None
    """Runs the champion, where it isn't an image itself: what the champion's own revision is served with."""


class FirstSeen(Spec):
    """Since when the operator has known a model's digest, by the API server's clock."""

    digest: Digest
    """The model's."""
    time: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
    """RFC 3339 in UTC, whole seconds."""


class ModelEvaluationSpec(Spec):
    """One measurement: its inputs, pinned by digest, and its settings. Immutable."""

    model_config = ConfigDict(
        json_schema_extra=rules(cel("self == oldSelf", "a ModelEvaluation's spec is immutable; create another one"))
    )

    model_deployment: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    """The ModelDeployment it was made for."""
    revision: Revision
    """The revision under judgement."""
    model: Model
    """The model under judgement."""
    task: Task
    """What is predicted."""
    data: Data
    """The evaluation data."""
    baselines: Annotated[tuple[Baseline, ...], Field(max_length=10, json_schema_extra=LIST_MAP_BY_NAME)] = ()
    """What the model is compared with."""
    error_costs: Annotated[tuple[ErrorCost, ...], Field(max_length=MAX_COSTS)] = ()
    """Costs of wrong answers."""
    champion: Model | None = None
    """The champion's model, pinned by digest, asked about the same rows. Set where a gate compares with it."""
    loads: Annotated[tuple[Annotated[str, StringConstraints(max_length=16)], ...], Field(max_length=4)] = ()
    """Rates at which latency is measured."""
    service: Annotated[tuple[Measurement, ...], Field(max_length=4, json_schema_extra=LIST_SET)] = ()
    """What else is measured at the server. `Capacity`: what it can do when it never runs out of work.
    `Robustness`: what becomes of bad inputs."""
    serving: Serving = Serving()
    """The resources under which it is measured, and their prices."""
    images: EvaluationImages | None = None
    """What the Pod runs. No part of what is measured: an upgrade of the operator measures nothing again. Undeclared in
    objects from before it was kept: then the present operator's."""
    first_seen: FirstSeen | None = None
    """When the operator first knew the model's digest, written down before this measurement. Undeclared where the
    digest is learnt by measuring. No part of what is measured: test rows are held against it."""
    retry: Annotated[str, StringConstraints(max_length=253)] = ""
    """The value of the annotation mandate.dev/retry that asked for this measurement."""
    repeat: Annotated[int, Field(ge=0)] = 0
    """Tells apart measurements that are made again, as the evidence of those before isn't stored any more."""

    @property
    def source_uris(self) -> tuple[str, ...]:
        """Every URI that it reads."""
        tables = [getattr(self.data, name) for name in DATA_TABLES]
        models = [self.model, *([self.champion] if self.champion is not None else [])]
        uris = [*(model.source.uri for model in models), *(table.uri for table in tables if table is not None)]
        return tuple(uri for uri in uris if uri is not None)

    @property
    def sealed(self) -> bool:
        """Whether it does without any network: all that it reads is in volumes."""
        return all(uri.startswith("pvc://") for uri in self.source_uris)


class ModelEvaluationStatus(Spec):
    """What came out; `evidence` is written once."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(oldSelf.evidence) || (has(self.evidence) && self.evidence == oldSelf.evidence)",
                "evidence is written once",
                field=".evidence",
            )
        )
    )

    evidence: Annotated[str, StringConstraints(max_length=32768)] | None = None
    """Canonical JSON of the evidence's summary; a string, since the API server re-serialises numbers."""
    evidence_digest: Digest | None = None
    """Digest of the whole evidence, kept in the ConfigMap named below."""
    computed_digest: Digest | None = None
    """Digest of the part that is a pure function of predictions, labels and settings."""
    evidence_config_map: Annotated[str, StringConstraints(max_length=253)] = ""
    """Immutable ConfigMap with the whole evidence, compressed; empty once it isn't kept any more."""
    model_digest: Digest | None = None
    """The model's digest as measured."""
    data_digests: dict[Annotated[str, StringConstraints(max_length=16)], Digest] = Field(
        default_factory=dict, max_length=8
    )
    """The tables' digests as measured."""
    criteria_digest: Digest | None = None
    """Digest of the criteria that stood before the measurement started; later changes show against it."""
    attempt: Annotated[int, Field(ge=0, le=1000)] = 0
    """Which attempt is under way, or ended last; each has its own Job."""
    failures: Annotated[int, Field(ge=0)] = 0
    """Pods that were lost to disruptions and replaced."""
    started: Time | None = None
    """When the Job was first created."""
    completed: Time | None = None
    """When the result was stored."""
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    """Complete, Failed."""


class ObjectMeta(BaseModel):
    """The metadata that the product reads; the rest passes by."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=Spec.model_config["alias_generator"])

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = Field(default="", alias="resourceVersion")
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = Field(default=None, alias="deletionTimestamp")


class ModelDeployment(Spec):
    """Declares a model, what must hold for it at each level of autonomy, and how far it should get."""

    api_version: Literal["mandate.dev/v1alpha1"]
    kind: Literal["ModelDeployment"]
    metadata: ObjectMeta
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus = ModelDeploymentStatus()


class ModelEvaluation(Spec):
    """One measurement of one model revision, and the evidence that came out."""

    api_version: Literal["mandate.dev/v1alpha1"]
    kind: Literal["ModelEvaluation"]
    metadata: ObjectMeta
    spec: ModelEvaluationSpec
    status: ModelEvaluationStatus = ModelEvaluationStatus()


def tier_burden(tier: RiskTier, level: Level) -> Burden:
    """The burden where a gate declares none: Shadow exists to gather evidence; the tier decides about Suggest."""
    if level == "Shadow" or (level == "Suggest" and tier == "Low"):
        return "NotRefuted"
    return "Shown"


def wire(record: Spec) -> dict[str, Any]:
    """A record as the API server takes it: camelCase, without unset fields."""
    return record.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
