"""The parts of a spec, as the user writes them (camelCase on the wire, snake_case here).

Kubernetes API conventions: no floats (decimals are strings), bounded strings and lists, lists of named things are
maps by name, every field explained. CEL rules stand beside the types they guard.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints
from pydantic.alias_generators import to_camel

from .catalogue import METRICS
from .criteria import LEVELS, NAME, PATTERN, Level

Name = Annotated[str, StringConstraints(pattern=rf"^{NAME}$", min_length=1, max_length=40)]
Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
DecimalText = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$", max_length=32)]
Fraction = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$", max_length=11)]
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(ms|s|m|h|d)$", max_length=16)]
Percent = Annotated[str, StringConstraints(pattern=r"^([1-9]?[0-9]|100)%$", max_length=4)]
SomePercent = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]?|100)%$", max_length=4)]
"""Above 0 %."""
Rate = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}/s$", max_length=16)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$", max_length=3)]
Confidence = Annotated[str, StringConstraints(pattern=r"^0\.9[5-9][0-9]{0,3}$", max_length=8)]
RequireText = Annotated[str, StringConstraints(pattern=PATTERN, max_length=96)]
Hostname = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$", max_length=245
    ),
]
"""A full host name whose first label has room for `-suggest`."""
Uri = Annotated[str, StringConstraints(pattern=r"^(pvc://[a-z0-9]|file:///|[^:]+$)", min_length=1, max_length=512)]
PinnedImage = Annotated[str, StringConstraints(pattern=r"^.+@sha256:[0-9a-f]{64}$", max_length=512)]
ImageRef = Annotated[str, StringConstraints(min_length=1, max_length=512)]
MetricName = Annotated[str, Field(json_schema_extra={"enum": sorted(METRICS)}, max_length=64)]

RiskTier = Literal["Low", "Medium", "High"]
Burden = Literal["NotRefuted", "Shown"]


def cel(rule: str, message: str, *, said: str | None = None, field: str | None = None) -> dict[str, Any]:
    """One CEL rule for `x-kubernetes-validations`; `field` is a path below the type that carries it.

    `said` is CEL as well: words that name the value; `message` stands where they can't be had.
    """
    extra = {"messageExpression": said, "fieldPath": field}
    return {"rule": rule, "message": message} | {key: value for key, value in extra.items() if value}


def quoted(expression: str) -> str:
    """CEL: a text in quotes, as the command line shows it."""
    return f'"\'" + {expression} + "\'"'


def _first(sign: str) -> str:
    """CEL: a gate's first requirement that holds `sign`, in quotes."""
    texts = ", ".join(f"self.require.?{level}.orValue('')" for level in LEVELS)
    return quoted(f"[{texts}].filter(r, r.contains('{sign}'))[0]")


_ALL_LEVELS = " + ".join(f"(has(self.{level}) ? \" {level} '\" + self.{level} + \"'\" : '')" for level in LEVELS)
"""CEL: what each level requires."""


def rules(*validations: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """JSON schema extras: CEL validations and other Kubernetes extensions."""
    return {"x-kubernetes-validations": list(validations)} | extra


def _never_looser(sign: str, order: str) -> str:
    """CEL: among plain numbers with `sign`, each level's stands in `order` to those of the levels above."""
    # Written out, not as a list: the API server knows how long a field is, and reckons a rule's cost from that.
    pairs = (("Shadow", "Suggest"), ("Shadow", "Automate"), ("Suggest", "Automate"))
    plain = f"^{sign}-?[0-9]+([.][0-9]+)?$"
    return " && ".join(
        f"(!has(self.{low}) || !has(self.{high}) || "
        f"!self.{low}.matches('{plain}') || !self.{high}.matches('{plain}') || "
        f"double(self.{low}.substring(3)) {order} double(self.{high}.substring(3)))"
        for low, high in pairs
    )


def _wrong_direction(sign: str, better: str) -> str:
    """CEL: no requirement with `sign` on a metric whose better direction is `better`, taken as it stands."""
    names = sorted(metric.name for metric in METRICS.values() if metric.better == better)
    return (
        f"has(self.across) || self.rows == 'train-test' || !(self.metric in {names}) || "
        "("
        + " && ".join(f"(!has(self.require.{level}) || !self.require.{level}.startsWith('{sign}'))" for level in LEVELS)
        + ")"
    )


LIVE_METRICS = {
    "Binary": ("accuracy", "recall", "precision", "false_positive_rate", "selection_rate"),
    "Multiclass": ("accuracy",),
    "Regression": ("mean_absolute_error", "bias"),
}
"""Per task: metrics that counts and sums over live rows give: means, or means among the rows with a condition."""

LIST_MAP_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
LIST_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
LIST_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}


class Spec(BaseModel):
    """Base of all declared types: strict, frozen, camelCase on the wire."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        str_strip_whitespace=False,
        use_attribute_docstrings=True,
    )


class ServiceRef(Spec):
    """A Service in the same namespace."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Name of the Service."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535)]
    """Port of the Service."""


class Fallback(Spec):
    """What answers when the model may not."""

    service_ref: ServiceRef
    """The Service whose Pods answer."""
    request: Annotated[str, StringConstraints(min_length=2, max_length=16384)] | None = None
    """One request as callers send it to the model, Open Inference Protocol v2 in JSON: what the verb `drill` sends to
    the fallback, to prove that it answers."""


class ErrorCost(Spec):
    """What one wrong answer costs."""

    actual: Text
    """The true class."""
    predicted: Text
    """The class that was answered."""
    cost: DecimalText
    """Cost of one such error."""
    currency: Currency
    """ISO 4217 code."""


class UseCase(Spec):
    """What the model decides, for whom, at which risk."""

    decision: Text = ""
    """The decision that the model makes or suggests, in a sentence."""
    owner: Annotated[str, StringConstraints(max_length=253)] = ""
    """Who answers for it."""
    risk_tier: RiskTier = "Medium"
    """Selects how much must be shown; an undeclared tier is Medium."""
    error_costs: Annotated[tuple[ErrorCost, ...], Field(max_length=64)] = ()
    """Costs of wrong answers, recorded with the evidence."""
    fallback: Fallback | None = None
    """What answers when the model may not. Without it nothing answers until a model is granted."""


class ModelSource(Spec):
    """Where the model comes from: a file (`uri` and `format`), a container `image`, or prediction `columns`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "[has(self.uri), has(self.image), has(self.columns)].filter(x, x).size() == 1",
                "exactly one of uri, image or columns must be set",
                said="'exactly one of uri, image or columns must be set, got ' + "
                "(has(self.uri) || has(self.image) || has(self.columns) ? (has(self.uri) ? 'uri ' : '') + "
                "(has(self.image) ? 'image ' : '') + (has(self.columns) ? 'columns' : '') : 'none')",
            ),
            cel("has(self.uri) == has(self.format)", "format belongs to uri: set both or neither"),
            cel(
                "!has(self.image) || has(self.digest) || self.image.matches('@sha256:[0-9a-f]{64}$')",
                "image must be pinned by digest: name@sha256:<64 hex>",
                said=f"{quoted('self.image')} + ' must be pinned by digest: name@sha256:<64 hex>'",
                field=".image",
            ),
        )
    )

    uri: Uri | None = None
    """The model file: `pvc://CLAIM/PATH` in a cluster; the CLI also takes a path or `file:///…`."""
    format: Literal["ONNX"] | None = None
    """Format of the file at `uri`."""
    digest: Digest | None = None
    """sha256 of the file at `uri`. Undeclared, it is learnt at the first evaluation and pinned in status for this
    revision."""
    image: ImageRef | None = None
    """A container that speaks the Open Inference Protocol v2 over HTTP, by digest."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = 8080
    """Where the container listens."""
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=100)] | None = None
    """Columns of the data that already hold the answers. Can be judged, but not served."""

    @property
    def pinned_image(self) -> str | None:
        """The container by digest, `name@sha256:…`; None where the model isn't a container."""
        if self.image is None or "@" in self.image or self.digest is None:
            return self.image
        return f"{self.image}@{self.digest}"

    @property
    def image_digest(self) -> str | None:
        """The digest that pins the container; None where the model isn't a container, or isn't pinned."""
        _, _, digest = (self.pinned_image or "").partition("@")
        return digest or None


class ModelInputs(Spec):
    """What the model is fed, and how."""

    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=2000)]
    """Feature columns in the order in which the model takes them."""
    encoding: Literal["Columns", "Matrix"] = "Columns"
    """`Columns`: one tensor per column, named after it. `Matrix`: one float tensor of shape [rows, columns]."""
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] = "input"
    """Name of the tensor for `Matrix`."""


class ModelOutput(Spec):
    """Which output is the answer."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] = "probabilities"
    """Name of the output tensor."""
    kind: Literal["Probability", "Label", "Value"] = "Probability"
    """`Probability` of the positive class or of each class, `Label`, or a numeric `Value`."""
    classes: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    """Class of each probability column, in order. Needed for Multiclass probabilities; for Binary with two columns
    the second is the positive class unless declared here."""
    cutoff: Fraction = "0.5"
    """Binary: from this probability on the answer is the positive class."""


class Training(Spec):
    """What the training run recorded."""

    split_digest: Digest | None = None
    """Digest of the split that training used; where it is ours, the test rows are proven to be held out."""
    held_out: StrictBool = False
    """Declares that the test rows were not used for training."""
    run: Text = ""
    """The training run, for lineage."""
    code_revision: Text = ""
    """The code's revision, for lineage."""


class Model(Spec):
    """The model under judgement."""

    version: Version
    """The version's name, as people call it."""
    source: ModelSource
    """Where it comes from."""
    inputs: ModelInputs | None = None
    """What it is fed. Needed unless its answers are columns of the data."""
    output: ModelOutput = ModelOutput()
    """Which output is the answer."""
    training: Training = Training()
    """What the training run recorded."""


class Task(Spec):
    """What is predicted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self.type != 'Binary' || has(self.positive)", "a Binary task needs positive: the class that counts"),
            cel("self.type == 'Binary' || !has(self.positive)", "positive belongs to Binary tasks", field=".positive"),
        )
    )

    type: Literal["Binary", "Multiclass", "Regression"]
    """Kind of task."""
    target: Column
    """Column with the truth."""
    positive: Text | None = None
    """Binary: the class whose probability is predicted."""
    id: Column | None = None
    """Column that names a row. Without it rows are known by their content."""
    cluster: Column | None = None
    """Rows with the same value belong together (a customer, a patient) and are not independent."""
    time: Column | None = None
    """When the row happened; needed for the split method Time."""


class TableSource(Spec):
    """One table."""

    uri: Uri
    """`pvc://CLAIM/PATH` in a cluster; the CLI also takes a path or `file:///…`. Ends in .parquet or .csv."""
    digest: Digest | None = None
    """sha256 of the file. Undeclared, it is learnt at the evaluation and pinned in status."""


class Split(Spec):
    """How the table is divided; executed by the evaluation, reproducible to the digest."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self.method == 'Time' || !has(self.gap)", "gap belongs to method Time", field=".gap"),
            cel(
                "(double(self.train) + double(self.validation) + double(self.test)) <= 1.000001",
                "train, validation and test must add up to at most 1",
                said="'train ' + self.train + ', validation ' + self.validation + ' and test ' + self.test + "
                "' add up to more than 1, must be at most 1'",
            ),
            cel("double(self.test) > 0.0", "test must be above 0", field=".test"),
        )
    )

    method: Literal["Time", "Random", "Group"]
    """`Time`: earlier rows train, later rows test. `Random`: by row. `Group`: rows of a cluster stay together."""
    train: Fraction = "0.6"
    """Share of the training rows."""
    validation: Fraction = "0.2"
    """Share of the validation rows."""
    test: Fraction = "0.2"
    """Share of the test rows."""
    gap: Duration | None = None
    """Time left out between the parts."""
    seed: Annotated[int, Field(strict=True, ge=0, le=2147483647)] = 0
    """Seed for Random and Group."""


class Slice(Spec):
    """Rows by the value of one column."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self.name != 'overall'", "'overall' is taken: it means all rows; rename it", field=".name")
        )
    )

    name: Name
    """Name by which gates refer to it."""
    column: Column
    """Column to slice by; needn't be a feature."""
    edges: Annotated[tuple[DecimalText, ...], Field(max_length=50)] = ()
    """For numbers: rising inner edges; a value on an edge belongs to the slice above it."""
    sensitive: StrictBool = False
    """Whether groups of this column must be treated alike."""


DATA_TABLES = ("source", "train", "validation", "test")
"""The fields of Data that are tables."""


class Data(Spec):
    """The evaluation data: one `source` and how to split it, or train, validation and test one by one."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.source) != has(self.test)", "set either source with split, or test with train and validation"
            ),
            cel("has(self.source) == has(self.split)", "split belongs to source: set both or neither"),
            cel(
                "has(self.test) || (!has(self.train) && !has(self.validation))",
                "train and validation belong to test: set source, or test with train and validation",
            ),
        )
    )

    source: TableSource | None = None
    """One table, divided by `split`."""
    split: Split | None = None
    """How `source` is divided."""
    train: TableSource | None = None
    """Training rows, for baselines and the train-test gap."""
    validation: TableSource | None = None
    """Validation rows."""
    test: TableSource | None = None
    """Test rows."""
    slices: Annotated[tuple[Slice, ...], Field(max_length=20, json_schema_extra=LIST_MAP_BY_NAME)] = ()
    """Parts of the rows that are judged on their own."""


class Baseline(Spec):
    """What the model is compared with, on the same rows."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!(self.name in ['champion', 'rest'])",
                "champion and rest are taken; rename it",
                said=f"{quoted('self.name')} + ' is taken; rename it'",
                field=".name",
            ),
            cel("(self.type == 'Column') == has(self.column)", "column belongs to type Column: set both or neither"),
        )
    )

    name: Name
    """Name by which gates refer to it."""
    type: Literal["Prior", "MostFrequent", "Mean", "Median", "Linear", "Column"]
    """`Prior`: class shares of the training rows. `MostFrequent` class. `Mean`, `Median` of the training rows.
    `Linear`: a logistic or linear model fitted to the training rows. `Column`: answers that the data already holds."""
    column: Column | None = None
    """For `Column`: where the answers stand (a probability, a label or a value, as the model's own output)."""


class Require(Spec):
    """What each level asks. A lower level's requirement also holds above, and no level asks less than one below."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.Shadow) || has(self.Suggest) || has(self.Automate)",
                "at least one level must be set: Shadow, Suggest or Automate",
            ),
            cel(
                _never_looser(">= ", "<="),
                "a level asks less than a level below: '>= …' must not fall from Shadow to Suggest to Automate",
                said=f"'got' + {_ALL_LEVELS} + \": a level asks less than a level below; '>= …' must not fall\"",
            ),
            cel(
                _never_looser("<= ", ">="),
                "a level asks less than a level below: '<= …' must not rise from Shadow to Suggest to Automate",
                said=f"'got' + {_ALL_LEVELS} + \": a level asks less than a level below; '<= …' must not rise\"",
            ),
        )
    )

    shadow: Annotated[RequireText | None, Field(alias="Shadow")] = None
    """Asked at Shadow and above."""
    suggest: Annotated[RequireText | None, Field(alias="Suggest")] = None
    """Asked at Suggest and above."""
    automate: Annotated[RequireText | None, Field(alias="Automate")] = None
    """Asked at Automate."""

    def texts(self) -> dict[Level, str]:
        """The declared requirements by level."""
        every: dict[Level, str | None] = {"Shadow": self.shadow, "Suggest": self.suggest, "Automate": self.automate}
        return {level: text for level, text in every.items() if text is not None}


class Gate(Spec):
    """One criterion: a metric, where it is measured, and what each level requires of it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("!(has(self.each) && has(self.across))", "set each or across, not both"),
            cel("has(self.across) == has(self.as)", "as belongs to across: set both or neither"),
            cel(
                _wrong_direction("<=", "Higher"),
                "this metric is better higher: ask for '>= …'",
                said=f"{_first('<=')} + ': ' + self.metric + \" is better higher, so ask for '>= …'\"",
                field=".require",
            ),
            cel(
                _wrong_direction(">=", "Lower"),
                "this metric is better lower: ask for '<= …'",
                said=f"{_first('>=')} + ': ' + self.metric + \" is better lower, so ask for '<= …'\"",
                field=".require",
            ),
            cel(
                "!self.metric.startsWith('latency_') || has(self.load)",
                "latencies need a load, for example 50/s",
                said="'load: ' + self.metric + ' needs a load, for example 50/s'",
            ),
            cel(
                "self.metric.startsWith('latency_') || self.metric == 'crashes' || !has(self.load)",
                "load belongs to latencies and crashes",
                field=".load",
            ),
            cel(
                f"self.rows != 'live' || self.metric in {sorted(set().union(*LIVE_METRICS.values()))}",
                "this metric isn't known of live rows; leave rows out, or ask for one of those that are",
                said=f"{quoted('self.metric')} + \" isn't known of live rows; leave rows out, or ask for one of "
                f'{", ".join(sorted(set().union(*LIVE_METRICS.values())))}"',
                field=".rows",
            ),
            cel(
                "self.rows != 'live' || !has(self.across)",
                "across belongs to test rows: live groups aren't compared with each other",
                field=".across",
            ),
            cel(
                "self.rows != 'live' || ("
                + " && ".join(
                    f"(!has(self.require.{level}) || !self.require.{level}.contains(' than '))" for level in LEVELS
                )
                + ")",
                "live rows are held against numbers only: '>= …', '<= …' or 'within … .. …'",
                said=f"{_first(' than ')} + \": live rows are held against numbers only: '>= …', '<= …' or "
                "'within … .. …'\"",
                field=".require",
            ),
        )
    )

    name: Name
    """The gate's name."""
    metric: MetricName
    """Metric from the catalogue."""
    each: Annotated[tuple[Name, ...], Field(min_length=1, max_length=21, json_schema_extra=LIST_SET)] | None = None
    """Where it must hold: `overall` and names of slices; every value of a slice must hold. Default: overall."""
    across: Column | None = None
    """A slice's name whose groups are compared with each other."""
    as_: Annotated[Literal["difference", "ratio"] | None, Field(alias="as")] = None
    """How groups are compared: largest minus smallest, or smallest divided by largest."""
    rows: Literal["test", "validation", "train", "train-test", "live"] = "test"
    """Which rows; `train-test` is by how much the metric is better on train than on test. `live`: rows of real traffic
    with their outcomes, since the revision came to its level; asked before the level that requires it, and held
    against while it stands there."""
    load: Rate | None = None
    """Requests per second while a latency is measured."""
    require: Require
    """What each level asks."""
    burden: Burden | None = None
    """`Shown`: only a Pass will do. `NotRefuted`: an Inconclusive is allowed. Default: by level and risk tier."""
    confidence: Confidence = "0.95"
    """Two-sided confidence of the deciding interval before looks are accounted for; at least 0.95."""
    first_model: Literal["Skip"] | None = None
    """`Skip`: while there is no champion yet, a comparison with it is skipped and recorded, else it is an Error."""


class LiveMinimum(Spec):
    """What a level must have seen in use before the next one is possible."""

    min_duration: Duration = "24h"
    """How long."""
    min_predictions: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] = 1000
    """How many predictions."""
    min_labelled: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] = 0
    """How many of them with their outcome."""


class ShadowMinimum(LiveMinimum):
    """What Shadow must have seen in use, and how much of it must be comparable with the champion."""

    max_missing_pairs: Fraction | None = None
    """While a champion answers, it must be shown, with the upper limit, that at most this share of the requests that
    are copied to Shadow is without an answer."""


class SuggestMinimum(LiveMinimum):
    """What Suggest must have seen in use, and how people's decisions are taken there."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.minBlind) || self.minBlind == 0 || (has(self.blindShare) && self.blindShare != '0%')",
                # The value isn't named: the API server reckons text of a number as endless.
                "no decision is taken blind while blindShare is 0%; set it, for example to 10%",
                field=".minBlind",
            ),
            cel(
                "!has(self.maxOverrideRate) || !has(self.blindShare) || self.blindShare != '100%'",
                "maxOverrideRate is of decisions with the answer in sight, and blindShare 100% leaves none",
                field=".maxOverrideRate",
            ),
        )
    )

    min_duration: Duration = "7d"
    """How long."""
    min_labelled: Annotated[int, Field(ge=0, le=1_000_000_000)] = 500
    """How many of them with their outcome."""
    max_override_rate: Fraction | None = None
    """People's decisions must show, with the upper limit, that they differ from the answer at most this often."""
    blind_share: Percent = "0%"
    """Share of decisions that people take before they see the answer, so that rubber-stamping shows."""
    min_blind: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] = 0
    """How many of those there must be."""


class Promotion(Spec):
    """How a revision takes over from the champion before it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.steps) || self.steps[size(self.steps) - 1] == '100%'",
                "the last step must be 100%",
                said="'[' + self.steps.join(', ') + '] must rise, from above 0%, and end at 100%'",
                field=".steps",
            ),
            cel(
                "!has(self.steps) || (self.steps.map(s, int(s.replace('%', ''))).isSorted() && "
                "self.steps.all(a, a != '0%' && self.steps.exists_one(b, a == b)))",
                "steps must rise, from above 0%",
                said="'[' + self.steps.join(', ') + '] must rise, from above 0%, and end at 100%'",
                field=".steps",
            ),
        )
    )

    steps: Annotated[tuple[Percent, ...], Field(min_length=1, max_length=10, json_schema_extra=LIST_ATOMIC)] = (
        "10%",
        "50%",
        "100%",
    )
    """Shares of traffic at Automate, one after the other. A provider without shares goes to 100% at once."""
    step_duration: Duration = "6h"
    """How long each step must hold, and how long a new champion must have answered alone, with Pods ready, before the
    one before it leaves the grant."""


class Autonomy(Spec):
    """How far the model should get, and how."""

    target: Level
    """The highest level it may reach."""
    shadow: ShadowMinimum = ShadowMinimum()
    """Asked of Shadow before Suggest."""
    suggest: SuggestMinimum = SuggestMinimum()
    """Asked of Suggest before Automate."""
    automate: Promotion = Promotion()
    """How a revision that reached the target takes over."""
    on_degradation: Literal["Demote", "Rollback", "Hold"] = "Demote"
    """What happens when evidence turns."""


class ParentRef(Spec):
    """A Gateway, or one listener of it, that routes attach to."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Name of the Gateway."""
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """Its namespace; the model's own where left out."""
    section_name: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None
    """Name of the listener; all of them where left out."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = None
    """Port of the listener."""


class GatewayRoutes(Spec):
    """Through which Gateway the model's two addresses are reached, and by which host names."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!self.hostnames.exists(h, "
                "(h.split('.')[0] + '-suggest' + h.substring(h.split('.')[0].size())) in self.hostnames)",
                "hostnames holds a name at which suggestions are answered; leave it out",
                said="'[' + self.hostnames.join(', ') + "
                "'] holds a name at which suggestions are answered; leave it out'",
                field=".hostnames",
            )
        )
    )

    parent_refs: Annotated[tuple[ParentRef, ...], Field(min_length=1, max_length=4, json_schema_extra=LIST_ATOMIC)]
    """The Gateways. They must let HTTPRoutes of this namespace attach."""
    hostnames: Annotated[tuple[Hostname, ...], Field(min_length=1, max_length=8, json_schema_extra=LIST_SET)]
    """Where NAME answers. NAME-suggest answers at each of them with `-suggest` behind its first label."""
    mirror: SomePercent = "100%"
    """Share of requests, to either address, that a revision at Shadow gets a copy of."""


Folder = Annotated[
    str, StringConstraints(pattern=r"^pvc://[a-z0-9][-a-z0-9.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)+$", max_length=256)
]
"""A folder of a claim; no part of its path begins with a dot."""


class Batch(Spec):
    """Where batches come from and where the answers go."""

    input: Folder
    """`pvc://CLAIM/PATH` of a folder: each .parquet or .csv file in it is a batch."""
    output: Folder
    """`pvc://CLAIM/PATH` of the folder for answers: `LEVEL/FILE.parquet`, LEVEL being Shadow, Suggest or Automate."""


class Serving(Spec):
    """How the model is served once it is granted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "(has(self.provider) && self.provider == 'GatewayAPI') == has(self.gateway)",
                "gateway belongs to provider GatewayAPI: set both or neither",
                field=".gateway",
            )
        )
    )

    provider: Literal["Service", "GatewayAPI"] = "Service"
    """`Service`: plain Services, whole shares only. `GatewayAPI`: HTTPRoutes besides, with shares and copies."""
    gateway: GatewayRoutes | None = None
    """Where the routes attach; belongs to provider GatewayAPI."""
    replicas: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    """Pods per revision. Left out, one to begin with, and a HorizontalPodAutoscaler or you may scale the Deployment."""
    resources: Annotated[
        dict[str, Any],
        Field(
            json_schema_extra={
                "type": "object",
                "properties": {
                    side: {
                        "type": "object",
                        "maxProperties": 10,
                        "additionalProperties": {"type": "string", "maxLength": 32},
                        "description": f"{side.capitalize()} by resource name.",
                    }
                    for side in ("limits", "requests")
                },
            }
        ),
    ] = {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}}
    """Resources of the model container; the evaluation measures under the very same."""
