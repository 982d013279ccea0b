"""The parts of a spec, as the user writes them (camelCase on the wire, snake_case here).

Kubernetes API conventions: no floats (decimals are strings), bounded strings and lists, lists of named things are
maps by name, every field explained. CEL rules stand beside the types they guard.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints
from pydantic.alias_generators import to_camel

from .catalogue import METRICS
from .criteria import BESIDE_GATES, LEVELS, NAME, PATTERN, Level
from .formats import (
    PROFILE_SUFFIX,
    TABLE_SUFFIXES,
    CsvEncoding,
    CsvSeparator,
    TableFormat,
    format_by_suffix,
    is_profile,
)
from .references import FIELDS as REFERENCE_FIELDS
from .references import BaselineType, that_take

Name = Annotated[str, StringConstraints(pattern=rf"^{NAME}$", min_length=1, max_length=40)]
Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
DecimalText = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$", max_length=32)]
Fraction = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$", max_length=11)]
Quantile = Annotated[str, StringConstraints(pattern=r"^0\.[0-9]{0,5}[1-9]$", max_length=8)]
Horizon = Annotated[str, StringConstraints(pattern=r"^(Each|[1-9][0-9]{0,5})$", max_length=6)]
EACH = "Each"
"""Every horizon there is, instead of one."""
Duration = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(ms|s|m|h|d)$", max_length=16)]
Period = Annotated[
    str, StringConstraints(pattern=r"^(Hour|Day|Week|Month|Quarter|Year|[1-9][0-9]{0,8}(s|m|h|d))$", max_length=16)
]
"""What repeats: of the calendar, or of one length."""
TimeZone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$", max_length=64)]
Percent = Annotated[str, StringConstraints(pattern=r"^([1-9]?[0-9]|100)%$", max_length=4)]
SomePercent = Annotated[str, StringConstraints(pattern=r"^([1-9][0-9]?|100)%$", max_length=4)]
"""Above 0 %."""
Amount = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}(\.[0-9]{1,15})?$", max_length=31)]
Beta = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}(\.[0-9]{1,3})?$", max_length=6)]
Rate = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}/s$", max_length=16)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=63)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$", max_length=3)]
Confidence = Annotated[str, StringConstraints(pattern=r"^0\.9[5-9][0-9]{0,3}$", max_length=8)]
RequireText = Annotated[str, StringConstraints(pattern=PATTERN, max_length=96)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$", max_length=63)]
Hostname = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,53}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$", max_length=245
    ),
]
"""A full host name whose first label has room for `-suggest`."""
_WEB = r"https?://[A-Za-z0-9\[][^/?#@]*/[^#]+$"
_OBJECT = r"s3://[a-z0-9][-a-z0-9.]+/[^/]"
_VERSION_OF_ARTEFACT = r"(:[A-Za-z0-9_][-A-Za-z0-9_.]*|@sha256:[0-9a-f]{64})"
_ARTEFACT = rf"oci://[A-Za-z0-9\[][^/?#@]*/[a-z0-9][-a-z0-9._/]*{_VERSION_OF_ARTEFACT}(#[^/]+)?$"
Uri = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(pvc://[a-z0-9]|{_WEB}|{_OBJECT}|{_ARTEFACT}|file:///|[^:]+$)", min_length=1, max_length=512
    ),
]
"""A web address names a host without a user, a path, and no fragment; s3://BUCKET/KEY an object;
oci://HOST/REPOSITORY:TAG or @sha256:… an artefact, #FILE which of its files."""
Endpoint = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9\[][^/?#@]*$", max_length=253)]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][-a-z0-9]*$", max_length=63)]
SecretName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253)
]
SchedulerAddress = Annotated[
    str,
    StringConstraints(
        pattern=r"^(tcp|tls)://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}$",
        max_length=253,
    ),
]
DaskClusterName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=53)
]
PinnedImage = Annotated[str, StringConstraints(pattern=r"^.+@sha256:[0-9a-f]{64}$", max_length=512)]
ImageRef = Annotated[str, StringConstraints(min_length=1, max_length=512)]
PREDICTOR_PORT, CHAMPION_PORT, BASELINE_PORT = 8080, 8081, 8082
"""Where, in one Pod, our predictor listens, the champion's, and a baseline's container where it doesn't say."""
Resources = Annotated[
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
]
"""`{limits, requests: {name: quantity}}`, as Kubernetes has them."""
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
    "Ranking": (),
    "Forecast": ("mean_absolute_error", "bias"),
}
"""Per task: metrics that counts and sums over live rows give: means, or means among the rows with a condition."""

NO_CREDENTIALS = cel(
    "!has(self.credentialsRef) || (has(self.uri) && self.uri.matches('^(https?|s3|oci)://'))",
    "credentialsRef belongs to a uri on a server, such as https://…, s3://… or oci://…: leave it out",
    field=".credentialsRef",
)
"""On what has a uri: volumes and files need no credentials."""
ONLY_S3 = cel("!has(self.s3) || (has(self.uri) && self.uri.startsWith('s3://'))", "s3 belongs to s3://…", field=".s3")

LIST_MAP_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
LIST_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
MAX_PERSONAL = 200
"""Columns that may be declared personal."""
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


MAX_COSTS = 380
"""Every error among 20 classes."""


class ErrorCost(Spec):
    """What one wrong answer costs."""

    actual: Text
    """The true class."""
    predicted: Text
    """The class that was answered."""
    cost: Amount
    """Cost of one such error."""
    currency: Currency
    """ISO 4217 code."""


class UseCase(Spec):
    """What the model decides, for whom, at which risk."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.errorCosts) || self.errorCosts.all(c, c.currency == self.errorCosts[0].currency)",
                "errorCosts can't be added up in several currencies; give all in one",
                field=".errorCosts",
            ),
            cel(
                "!has(self.errorCosts) || self.errorCosts.all(c, c.actual != c.predicted)",
                "errorCosts holds the same class as actual and as predicted, which is no error; remove it",
                field=".errorCosts",
            ),
        )
    )

    decision: Text = ""
    """The decision that the model makes or suggests, in a sentence."""
    owner: Annotated[str, StringConstraints(max_length=253)] = ""
    """Who answers for it."""
    risk_tier: RiskTier = "Medium"
    """Selects how much must be shown; an undeclared tier is Medium."""
    error_costs: Annotated[tuple[ErrorCost, ...], Field(max_length=MAX_COSTS)] = ()
    """Costs of wrong answers, all in one currency; what isn't listed costs nothing. Their mean over the rows is the
    metric expected_cost."""
    fallback: Fallback | None = None
    """What answers when the model may not. Without it nothing answers until a model is granted."""


class SecretRef(Spec):
    """A Secret in the same namespace."""

    name: SecretName
    """Name of the Secret."""


class S3Storage(Spec):
    """Which storage holds a bucket."""

    endpoint: Endpoint | None = None
    """`https://HOST:PORT` of S3-compatible storage. Left out: AWS's own, for the region."""
    region: Region | None = None
    """Its region; us-east-1 where left out."""


class Signature(Spec):
    """Who signed the model's file: checked before the file is opened, and told in evidence."""

    value: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]+={0,2}$", min_length=40, max_length=1400)]
    """Base64 of an ECDSA or RSA (PKCS #1 v1.5) signature over the file's SHA-256: what `cosign sign-blob` prints, or
    `openssl dgst -sha256 -sign KEY FILE | base64 -w0`."""
    public_key: Annotated[
        str, StringConstraints(pattern=r"^-----BEGIN PUBLIC KEY-----\n", min_length=100, max_length=2000)
    ]
    """The signer's public key, in PEM: EC, or RSA of 2048 bits at least."""


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
                "!has(self.signature) || has(self.uri)",
                "signature is of the file at uri; an image's own is looked at where images are admitted",
                field=".signature",
            ),
            cel(
                "!has(self.format) || self.format != 'MLflow' || !self.uri.matches('^oci://|[?#]')",
                "format MLflow is a folder: pvc://, s3:// or https:// without a query",
                said=f"'format MLflow needs the uri of a folder, got ' + {quoted('self.uri')} + "
                "'; expected pvc://CLAIM/FOLDER, s3://BUCKET/FOLDER or https:// without a query'",
                field=".uri",
            ),
            NO_CREDENTIALS,
            ONLY_S3,
            cel(
                "!has(self.image) || has(self.digest) || self.image.matches('@sha256:[0-9a-f]{64}$')",
                "image must be pinned by digest: name@sha256:<64 hex>",
                said=f"{quoted('self.image')} + ' must be pinned by digest: name@sha256:<64 hex>'",
                field=".image",
            ),
        )
    )

    uri: Uri | None = None
    """The model file, or folder: `pvc://CLAIM/PATH`, `https://…`, `s3://BUCKET/KEY` or `oci://HOST/REPOSITORY:TAG`; the
    CLI also takes a path or `file:///…`."""
    format: Literal["ONNX", "Skops", "MLflow"] | None = None
    """What is at `uri`: an ONNX file, a skops file of a scikit-learn model, or the folder of an MLflow model in one of
    both formats."""
    digest: Digest | None = None
    """sha256 of the file at `uri`; of an MLflow model's folder, of the file that its MLmodel names. Undeclared, it is
    learnt at the first evaluation and pinned in status for this revision."""
    signature: Signature | None = None
    """Who signed the file; one that isn't signed so is never opened."""
    credentials_ref: SecretRef | None = None
    """Whose keys open `uri`, where it is on a server: `token`, or `username` and `password`; for s3
    `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`; for oci also `.dockerconfigjson`; `ca.crt`. Only the container that
    fetches sees it."""
    s3: S3Storage | None = None
    """Where the storage of an `s3://…` is."""
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


BoundedRate = Literal["recall", "precision", "specificity", "negative_predictive_value"]


class AtLeast(Spec):
    """What a cut-off must keep on the validation rows."""

    metric: BoundedRate
    """Which rate."""
    value: Fraction
    """Its least value."""


class CutoffChoice(Spec):
    """By what a cut-off is chosen on the validation rows."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.atLeast) || !(self.metric in ['recall', 'precision', 'specificity', "
                "'negative_predictive_value'])",
                "one cut-off gives the best of this rate by giving up all else; set atLeast to another rate",
                said=f"{quoted('self.metric')} + ' alone is best where all else is given up; set atLeast to another "
                "rate that must be kept'",
                field=".metric",
            ),
            cel(
                "!has(self.atLeast) || self.atLeast.metric != self.metric",
                "atLeast must be on another metric than the one that is to be best",
                field=".atLeast",
            ),
        )
    )

    metric: Literal[
        "expected_cost",
        "f1",
        "f_beta",
        "balanced_accuracy",
        "matthews_corrcoef",
        "accuracy",
        "recall",
        "precision",
        "specificity",
        "negative_predictive_value",
    ]
    """What is to be best: `expected_cost` by `useCase.errorCosts`, `f_beta` by `task.beta`."""
    at_least: AtLeast | None = None
    """Only cut-offs that keep this rate are taken."""


class ModelOutput(Spec):
    """Which output is the answer."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.choose) || !has(self.kind) || self.kind == 'Probability'",
                "choose belongs to kind Probability: other answers have no cut-off",
                field=".choose",
            )
        )
    )

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] = "probabilities"
    """Name of the output tensor."""
    kind: Literal["Probability", "Label", "Value", "Quantiles"] = "Probability"
    """`Probability` of the positive class or of each class, `Label`, a numeric `Value`, or one number for each of
    `task.quantiles`, in their order."""
    classes: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    """Class of each probability column, in order. Needed for Multiclass probabilities; for Binary with two columns
    the second is the positive class unless declared here."""
    cutoff: Fraction = "0.5"
    """Binary: from this probability on the answer is the positive class."""
    choose: CutoffChoice | None = None
    """Binary: choose the cut-off on the validation rows. All is measured at the chosen one, and nothing acts before
    `cutoff` declares it, since `cutoff` is what answers are read with."""


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


Reduction = Literal["Mean", "Max", "Last"]


class Unit(Spec):
    """What production scores, where it is more than a row: rows roll up to it before anything is measured."""

    column: Column
    """Rows with the same value are one unit."""
    answers: Reduction
    """What the rows' answers become: their mean, the largest, or the last by `task.time`."""
    labels: Reduction
    """What the rows' labels become; of a Binary task `Max` is positive where any row is."""


class RevealedBy(Spec):
    """The decision that lets an outcome be seen."""

    column: Column
    """Column with the decision that was taken on a row."""
    values: Annotated[tuple[Text, ...], Field(min_length=1, max_length=20, json_schema_extra=LIST_SET)]
    """The decisions after which the outcome shows, as texts: `approve`, or `"true"`."""


class Labels(Spec):
    """Where decisions hide outcomes (a refused loan never repays): which rows have a label, and what makes up for it.

    With neither `holdout` nor `propensity`, every number is of the rows whose label was revealed, and is marked so.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("!has(self.holdout) || !has(self.propensity)", "set holdout or propensity, not both"),
            cel(
                "!has(self.minPropensity) || has(self.propensity)",
                "minPropensity belongs to propensity: set both, or leave it out",
                field=".minPropensity",
            ),
            cel(
                "!has(self.minPropensity) || double(self.minPropensity) > 0.0",
                "minPropensity must be above 0",
                field=".minPropensity",
            ),
        )
    )

    revealed_by: RevealedBy
    """Which decisions reveal a row's label."""
    holdout: Column | None = None
    """Column of truth values: rows drawn at random whose label was revealed whatever would have been decided. Every
    number is measured on them; baselines are still fitted to all training rows with a label."""
    propensity: Column | None = None
    """Column with the probability, above 0 and up to 1, that a row's label was to be revealed. A revealed row counts as
    much as its inverse."""
    min_propensity: Fraction | None = None
    """Smaller propensities count as this one (clipping), so that no row counts for more than its inverse. How many
    did is told. Left out: none is clipped."""


Quantiles = Annotated[tuple[Quantile, ...], Field(min_length=2, max_length=19, json_schema_extra=LIST_SET)]


class Task(Spec):
    """What is predicted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self.type != 'Binary' || has(self.positive)", "a Binary task needs positive: the class that counts"),
            cel("self.type == 'Binary' || !has(self.positive)", "positive belongs to Binary tasks", field=".positive"),
            cel(
                "self.type in ['Binary', 'Multiclass'] || !has(self.beta)",
                "beta belongs to classification tasks",
                field=".beta",
            ),
            cel(
                "self.type == 'Regression' || !has(self.quantiles)",
                "quantiles belong to Regression tasks",
                field=".quantiles",
            ),
            cel(
                "!has(self.quantiles) || self.quantiles.map(q, double(q)).isSorted()",
                "quantiles must rise",
                field=".quantiles",
            ),
            cel(
                "!has(self.quantiles) || '0.5' in self.quantiles",
                "quantiles must hold 0.5, which is the answer where one number is asked for",
                field=".quantiles",
            ),
            cel(
                "!has(self.unit) || has(self.time) || !('Last' in [self.unit.answers, self.unit.labels])",
                "unit needs time where it takes the last row",
                field=".unit",
            ),
            cel(
                "!has(self.unit) || self.type == 'Regression' || self.unit.labels != 'Mean'",
                "classes have no mean: unit.labels must be Last, or Max for Binary",
                field=".unit.labels",
            ),
            cel(
                "!has(self.unit) || self.type != 'Multiclass' || !('Max' in [self.unit.answers, self.unit.labels])",
                "several classes have no largest: unit.labels must be Last, unit.answers Mean or Last",
                field=".unit",
            ),
            cel("!has(self.beta) || double(self.beta) > 0.0", "beta must be above 0", field=".beta"),
            cel(
                "!has(self.weight) || !(self.weight in [self.target, self.?id.orValue('')])",
                "weight is target or id; name the column that says how much a row counts for",
                said=f"{quoted('self.weight')} + ' is target or id; "
                "name the column that says how much a row counts for'",
                field=".weight",
            ),
            cel(
                "self.type == 'Forecast' || (!has(self.series) && !has(self.horizon) && !has(self.season))",
                "series, horizon and season belong to Forecast tasks",
            ),
            cel(
                "self.type != 'Forecast' || has(self.time)",
                "a Forecast task needs time: the column that says which time a forecast is for",
            ),
            cel(
                "self.type != 'Forecast' || !has(self.unit)",
                "unit belongs to other tasks: a forecast is of a series at a time",
                field=".unit",
            ),
            cel(
                "self.type in ['Multiclass', 'Ranking'] || !has(self.topK)",
                "topK belongs to Multiclass and Ranking tasks",
                field=".topK",
            ),
            cel(
                "self.type != 'Multiclass' || !has(self.topK) || self.topK > 1",
                "topK must be 2 at least: of one class it is the accuracy",
                field=".topK",
            ),
            cel(
                "(self.type == 'Ranking') == has(self.query)",
                "a Ranking task needs query: the column that says which rows are ranked together; others have none",
                field=".query",
            ),
            cel(
                "!has(self.query) || !(self.query in [self.target, self.?id.orValue('')])",
                "query is target or id; name the column that says which rows are ranked together",
                field=".query",
            ),
            cel(
                "self.type != 'Ranking' || !has(self.unit)",
                "unit is of rows, and a Ranking is measured by query: leave it out",
            ),
            cel(
                "!has(self.labels) || self.type != 'Ranking'",
                "labels are of rows, and a Ranking is measured by query: leave them out",
                field=".labels",
            ),
            cel(
                "!has(self.labels) || !has(self.unit)",
                "labels are of rows, which unit rolls up: leave out one of both",
                field=".labels",
            ),
            cel(
                "!has(self.labels) || !(self.target in [self.labels.revealedBy.column, "
                "self.labels.?holdout.orValue(''), self.labels.?propensity.orValue('')])",
                "labels names target; name the columns with the decision, the holdout or the propensity",
                field=".labels",
            ),
        )
    )

    type: Literal["Binary", "Multiclass", "Regression", "Ranking", "Forecast"]
    """Kind of task."""
    target: Column
    """Column with the truth; of a Ranking the relevance, 0 or more, and above 0 where a row is relevant."""
    positive: Text | None = None
    """Binary: the class whose probability is predicted."""
    query: Column | None = None
    """Ranking: rows with the same value are ranked together: the results of one search, the offers to one customer."""
    id: Column | None = None
    """Column that names a row. Without it rows are known by their content."""
    cluster: Column | None = None
    """Rows with the same value belong together (a customer, a patient) and are not independent."""
    time: Column | None = None
    """When the row happened; needed for the split method Time. Of a Forecast: the time that it is for."""
    series: Column | None = None
    """Forecast: rows with the same value are one series; left out, there is one."""
    horizon: Column | None = None
    """Forecast: column with how many steps ahead it was made, 1 or more; left out, one step. A step is a time at which
    the series has a row."""
    season: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    """Forecast: steps of a season, 1 where left out. `mase` is in units of the training rows' mean difference from the
    value a season before."""
    weight: Column | None = None
    """Column that says how much a row counts for in every number and every baseline's fit: 0 or more. Rows of weight 0
    count for nothing."""
    unit: Unit | None = None
    """What production scores, where it is more than a row: segments make one video, transactions one customer."""
    labels: Labels | None = None
    """Where decisions hide outcomes: which rows have a label. Left out, every row must have one."""
    beta: Beta | None = None
    """Classification: how many times as much recall counts as precision in f_beta, which needs it."""
    top_k: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """Multiclass: how many of the likeliest classes count as an answer in top_k_accuracy, which needs it. Ranking: how
    many places count in ndcg_at_k, recall_at_k and precision_at_k, which need it."""
    quantiles: Quantiles | None = None
    """Regression: the quantiles that the model answers with (`model.output.kind: Quantiles`), rising, 0.5 among
    them."""


_BY_SUFFIX = "[.](" + "|".join(suffix[1:] for suffix in TABLE_SUFFIXES) + ")([?].*)?$"


class Csv(Spec):
    """What a CSV file doesn't say of itself. Left out, what is beyond doubt is taken, and the rest refused."""

    encoding: CsvEncoding | None = None
    """How its text is written. Left out: UTF-8, or UTF-16 with a byte order mark."""
    separator: CsvSeparator | None = None
    """What stands between its fields. Left out: the one that divides the line of the columns' names."""


class TableSource(Spec):
    """One table."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                f"has(self.format) || self.uri.lowerAscii().matches('{_BY_SUFFIX}')",
                f"uri must end in {', '.join(TABLE_SUFFIXES)}, or format must be set",
                said=f"{quoted('self.uri')} + ' must end in {', '.join(TABLE_SUFFIXES)}, or format must be set'",
                field=".uri",
            ),
            cel(
                "!has(self.csv) || (has(self.format) ? self.format == 'CSV' : "
                "self.uri.lowerAscii().matches('[.]csv([?].*)?$'))",
                "csv belongs to tables in CSV: leave it out",
                field=".csv",
            ),
            NO_CREDENTIALS,
            ONLY_S3,
        )
    )

    uri: Uri
    """`pvc://CLAIM/PATH`, `https://…`, `s3://BUCKET/KEY` or `oci://HOST/REPOSITORY:TAG`; the CLI also
    takes a path or `file:///…`."""
    format: TableFormat | None = None
    """Format of the file. Left out, it is by its ending: .parquet, .csv, or .arrow, .arrows and .feather (version 2)
    for Arrow IPC."""
    csv: Csv | None = None
    """What a CSV file doesn't say of itself."""
    credentials_ref: SecretRef | None = None
    """Whose keys open `uri`, where it is on a server: `token`, or `username` and `password`; for s3
    `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`; for oci also `.dockerconfigjson`; `ca.crt`. Only the container that
    fetches sees it."""
    s3: S3Storage | None = None
    """Where the storage of an `s3://…` is."""
    digest: Digest | None = None
    """sha256 of the file. Undeclared, it is learnt at the evaluation and pinned in status."""

    @property
    def stored_as(self) -> TableFormat | None:
        """The format, as declared or by the ending; None where neither says."""
        return self.format or format_by_suffix(self.uri)


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
    """Rows by the value of one column, or of two slices at once."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("self.name != 'overall'", "'overall' is taken: it means all rows; rename it", field=".name"),
            cel("has(self.column) != has(self.cross)", "set either column, or cross with two slices' names"),
            cel(
                "!has(self.quantiles) || !has(self.edges)",
                "set edges or quantiles, not both",
                field=".quantiles",
            ),
            cel(
                "!has(self.cross) || (!has(self.edges) && !has(self.quantiles))",
                "edges and quantiles belong to column: set them on the slices that are crossed",
                field=".cross",
            ),
        )
    )

    name: Name
    """Name by which gates refer to it."""
    column: Column | None = None
    """Column to slice by; needn't be a feature."""
    edges: Annotated[tuple[DecimalText, ...], Field(max_length=50)] = ()
    """For numbers: rising inner edges; a value on an edge belongs to the slice above it."""
    quantiles: Annotated[int | None, Field(strict=True, ge=2, le=20)] = None
    """For numbers, instead of edges: into how many ranges of about equally many training rows. Evidence holds the edges
    that were found."""
    cross: Annotated[tuple[Name, ...], Field(min_length=2, max_length=2, json_schema_extra=LIST_SET)] | None = None
    """Instead of column: two slices of this list; every pair of their values is a value."""
    sensitive: StrictBool = False
    """Whether groups of this column must be treated alike."""

    @property
    def of(self) -> str:
        """The column, or the names of the two slices."""
        return self.column or " × ".join(self.cross or ())


class ClassSampling(Spec):
    """How rows of one class were drawn, where rows were drawn by their class alone."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.prevalence) != has(self.kept)", "set prevalence or kept, not both"),
            cel(
                "!has(self.prevalence) || double(self.prevalence) > 0.0",
                "prevalence must be above 0",
                field=".prevalence",
            ),
            cel("!has(self.kept) || double(self.kept) > 0.0", "kept must be above 0", field=".kept"),
        )
    )

    class_: Annotated[Text, Field(alias="class")]
    """The class."""
    prevalence: Fraction | None = None
    """Its share of what production scores."""
    kept: Fraction | None = None
    """The share of its rows that was kept."""


class Annotations(TableSource):
    """A table of labels that people gave, one label of one annotator on one row each."""

    row: Column
    """Column that names the row, as task.id does."""
    annotator: Column
    """Column that names the annotator."""
    label: Column
    """Column with the class that was given; missing where none was."""
    independent: StrictBool = False
    """Declares that task.target was not made of these labels, and that nobody saw one while giving the other. Then
    label_noise is measured: how often the target is wrong."""


_ROWS_OR_PROFILE = f"{', '.join(TABLE_SUFFIXES)}, or {PROFILE_SUFFIX} for a profile, or format must be set"
_CSV_ONLY = cel(
    "!has(self.csv) || (has(self.format) ? self.format == 'CSV' : self.uri.lowerAscii().matches('[.]csv([?].*)?$'))",
    "csv belongs to tables in CSV: leave it out",
    field=".csv",
)


class Production(TableSource):
    """What production scores: a table of its rows, without labels, or a profile of them (`mandate profile`)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                f"has(self.format) || self.uri.lowerAscii().matches('{_BY_SUFFIX}') || "
                "self.uri.lowerAscii().matches('[.]json([?].*)?$')",
                f"uri must end in {_ROWS_OR_PROFILE}",
                said=f"{quoted('self.uri')} + ' must end in {_ROWS_OR_PROFILE}'",
                field=".uri",
            ),
            _CSV_ONLY,
            NO_CREDENTIALS,
            ONLY_S3,
        )
    )

    @property
    def is_profile(self) -> bool:
        """Whether it is a stored profile and not a table."""
        return self.format is None and is_profile(self.uri)


class DomainClassifier(Spec):
    """Asks whether train and test rows can be told apart by all inputs together: `domain_auc`."""

    folds: Annotated[int, Field(strict=True, ge=2, le=10)] = 5
    """Into how many the rows are divided: each is scored by a fit to the others."""


class Windows(Spec):
    """Windows of the length over which production will be watched: every metric is measured in each."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.length) != has(self.count)", "set either length, or count"),
            cel(
                "!has(self.timeZone) || has(self.length)", "timeZone belongs to length: leave it out", field=".timeZone"
            ),
        )
    )

    length: Period | None = None
    """How long a window is, by task.time: Hour, Day, Week (from Monday), Month, Quarter, Year, or a duration such as
    30d, counted from 1970-01-01 00:00 on a clock on the wall."""
    count: Annotated[int | None, Field(strict=True, ge=30, le=1_000_000_000)] = None
    """Instead of length: of how many rows a window is (units where rows roll up, queries of a Ranking), in order of
    task.time; without one, as if drawn at random."""
    time_zone: TimeZone | None = None
    """Whose clock says where windows begin, such as Europe/Berlin, for times with an offset from UTC. Left out: that of
    task.time's column, or UTC."""


class Search(Spec):
    """Where reports look for the parts of the test rows that the model is weakest on; no gate asks for it."""

    columns: Annotated[tuple[Column, ...], Field(max_length=100, json_schema_extra=LIST_SET)] | None = None
    """Columns to search by, alone and in pairs, besides those of slices. Default: model.inputs.columns."""
    loss: Literal["Error", "LogLoss", "AbsoluteError"] | None = None
    """What is compared, per row. Default: `Error` (a wrong answer) for classification, `AbsoluteError` for
    Regression and Forecast. `LogLoss` needs probabilities."""
    min_rows: Annotated[int, Field(strict=True, ge=30, le=1_000_000)] = 50
    """Test rows that a part must have to be looked at."""


_PLAIN = "self.slices.exists(d, d.name == n && has(d.column))"
"""CEL: `n` names a slice with a column."""

DATA_TABLES = ("source", "train", "validation", "test", "annotations", "production")
"""The fields of Data that are tables; production may be a profile of one."""


class Lineage(Spec):
    """Where the data comes from, in words: told, not measured."""

    source: Text = ""
    """The system, survey or supplier that it comes from."""
    collection: Text = ""
    """How it was collected: by whom, by which method, with which exclusions."""
    period: Text = ""
    """From when to when, such as 2019-01-01 to 2023-12-31."""
    consent: Text = ""
    """On what legal basis people's data is used, such as their consent. Where there is none to ask for, `licence`
    suffices."""
    licence: Text = ""
    """Under which licence or contract it may be used."""


class Readiness(Spec):
    """What must be declared or known of the data, and from which level on; missing, that level doesn't hold."""

    fallback: Level | None = None
    """From this level on, useCase.fallback must be declared; and nobody rises to Automate before a drill of it was
    answered. The built-in gates ask it from Suggest on, of a model that is served."""
    labels: Level | None = None
    """From this level on, numbers must be of everyone, not of those alone whose label a decision revealed: task.labels
    needs a holdout or a propensity. Tier High asks it from Suggest on, wherever task.labels is declared."""
    latency: Level | None = None
    """From this level on, it must be declared how fast answers must come: serving.latency, or a gate on latency_p99.
    The built-in gates ask it from Suggest on, of a model that is served."""
    lineage: Level | None = None
    """From this level on, data.lineage must give source, collection, period, and consent or licence; model.training its
    run and codeRevision."""
    signature: Level | None = None
    """From this level on, the model's file must be signed: model.source.signature."""


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
            cel(
                "!has(self.sampling) || self.sampling.all(s, has(s.prevalence)) || self.sampling.all(s, has(s.kept))",
                "sampling gives the prevalence of every class, or how many of each were kept: one of both throughout",
                field=".sampling",
            ),
            cel(
                "!has(self.sampling) || !self.sampling.all(s, has(s.prevalence)) || "
                "(self.sampling.map(s, double(s.prevalence)).sum() > 0.999999 && "
                "self.sampling.map(s, double(s.prevalence)).sum() < 1.000001)",
                "the prevalences in sampling must add up to 1",
                field=".sampling",
            ),
            cel(
                f"!has(self.slices) || self.slices.all(s, !has(s.cross) || s.cross.all(n, {_PLAIN}))",
                "slices[].cross names a slice that isn't declared, or is a cross itself",
                said=f"self.slices.map(s, has(s.cross) && !s.cross.all(n, {_PLAIN}), "
                f'"slice \'" + s.name + "\', cross: " + s.cross.map(n, !({_PLAIN}), {quoted("n")})[0] + '
                "' is no slice with a column; name one that is')[0]",
                field=".slices",
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
    annotations: Annotations | None = None
    """What people said of the rows: for agreement, and for a baseline of type Human."""
    production: Production | None = None
    """What production scores, without labels: which groups it has that the training rows lack."""
    slices: Annotated[tuple[Slice, ...], Field(max_length=20, json_schema_extra=LIST_MAP_BY_NAME)] = ()
    """Parts of the rows that are judged on their own."""
    sampling: Annotated[
        tuple[ClassSampling, ...],
        Field(
            max_length=100,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["class"]},
        ),
    ] = ()
    """Classification, where rows were drawn by their class alone: what makes up for it. Rows get weights, so that every
    number is as production would show it; answers stay as they are served."""
    domain_classifier: DomainClassifier | None = None
    """Whether it is measured how well train and test rows can be told apart; left out, it isn't."""
    search: Search | None = None
    """How the weakest parts are searched for; left out, by its defaults."""
    personal: Annotated[tuple[Column, ...], Field(max_length=MAX_PERSONAL, json_schema_extra=LIST_SET)] = ()
    """Columns of any of the tables whose values are people's. The model is fed them and everything is measured on them;
    evidence, reports, metrics, events and errors tell none of their values."""
    windows: Windows | None = None
    """Windows of the test rows, as long as those over which production will be watched: how far metrics vary from one
    to the next."""
    lineage: Lineage | None = None
    """Where the data comes from, for reports, model cards and spec.readiness. Measures nothing."""


def _of_types(field: str) -> dict[str, Any]:
    """A field of a baseline that only some types have."""
    types = that_take(field)
    return cel(
        f"!has(self.{field}) || self.type in {list(types)}",
        f"{field} belongs to type {' or '.join(types)}: leave it out",
        said=f"{quoted('self.name')} + ' is a ' + self.type + ': {field} belongs to type {' or '.join(types)}'",
        field=f".{field}",
    )


class BaselineContainer(Spec):
    """A container of the user's that is asked for the rows that the model is asked for, in the evaluation's Pod."""

    image: PinnedImage
    """A container that speaks the Open Inference Protocol v2 over HTTP, as name@sha256:<64 hex>. It is asked as the
    model named `model`."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = BASELINE_PORT
    """Where it listens; 8082 where left out. All containers of an evaluation share one network, so it must be another
    one than the model's, than 8081, the champion's, and than another baseline's."""
    inputs: ModelInputs | None = None
    """What it is fed; what the model is fed where left out."""
    output: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """Name of its output tensor; the model's where left out. Its answers are read as the model's are."""
    resources: Resources | None = None
    """Resources of the container; those of the model's, serving.resources, where left out."""


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
            cel(
                "(self.type == 'Container') == has(self.container)",
                "container belongs to type Container: set both or neither",
            ),
            *(_of_types(field) for field in REFERENCE_FIELDS if field not in ("column", "container")),
            cel(
                f"!(self.type in {list(that_take('period'))}) || has(self.period)",
                "type SeasonalNaive needs a period, its season, and LastPeriodMean one, such as Week or 90m",
                said=f"{quoted('self.name')} + ' is a ' + self.type + ' and needs a period, such as Week or 90m'",
            ),
        )
    )

    name: Name
    """Name by which gates refer to it."""
    type: BaselineType
    """`Prior`: class shares of the training rows. `MostFrequent` class. `Uniform`, `Stratified`: classes guessed at
    random, all alike or as often as in the training rows. `Threshold`: the best rule of one column and one cut-off.
    `Mean`, `Median` of the training rows. `PreviousValue`, `SeasonalNaive`: the value before, or at the same place of
    the season before. `LastPeriodMean`: the mean of the period before. `Linear`: a logistic or linear model fitted to
    the training rows. `Column`: answers that the data already holds. `Container`: answers of a container of yours.
    `Popularity`: the mean relevance that an item had in the training rows. `Human`: the annotators of
    data.annotations."""
    column: Column | None = None
    """For `Column`: where the answers stand (a probability, a label or a value, as the model's own output)."""
    container: BaselineContainer | None = None
    """For `Container`: what runs beside the model, and how it is asked."""
    seed: Annotated[int, Field(strict=True, ge=0, le=2147483647)] | None = None
    """For what is drawn: `Uniform` and `Stratified` guesses, and labels that are equally frequent among a `Human`'s
    others; 0 where left out."""
    against: Literal["Others", "Target"] | None = None
    """For `Human`: what an annotator is held against, and the model with them: the most frequent label of the `Others`,
    or the `Target` where it doesn't come from the annotators. `Others` where left out."""
    by: Annotated[tuple[Column, ...], Field(min_length=1, max_length=8)] | None = None
    """For what looks back in time: columns whose values tell one series from another, such as a shop and a product.
    For `Popularity`: the columns that name the item."""
    period: Period | None = None
    """`SeasonalNaive`: the season; `LastPeriodMean`: the period. Hour, Day, Week (from Monday), Month, Quarter, Year,
    or a duration, counted from 1970-01-01 00:00 on a clock on the wall."""
    delay: Duration | None = None
    """For what looks back in time: how long after its time a row's value is known. Left out: at once."""
    time_zone: TimeZone | None = None
    """Whose clock says where periods begin, such as Europe/Berlin, for times with an offset from UTC. Left out: that of
    task.time's column, or UTC."""

    @property
    def as_measured(self) -> Baseline:
        """It without what its answers don't depend on: where its container listens, and on how much it runs."""
        if self.container is None:
            return self
        asked = self.container.model_copy(update={"port": BASELINE_PORT, "resources": None})
        return self.model_copy(update={"container": asked})


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
            cel(
                f"!(self.name in {list(BESIDE_GATES)})",
                f"{', '.join(BESIDE_GATES[:-1])} and {BESIDE_GATES[-1]} are taken: they stand beside the gates; "
                "rename it",
                field=".name",
            ),
            cel("!(has(self.each) && has(self.across))", "set each or across, not both"),
            cel("has(self.across) == has(self.as)", "as belongs to across: set both or neither"),
            cel(
                f"has(self.across) || !(self.metric in {sorted(m.name for m in METRICS.values() if m.spreads)})",
                "this metric compares groups: set across to a slice, and as to difference or ratio",
                said="self.metric + ' compares groups: set across to a slice, and as to difference or ratio'",
                field=".metric",
            ),
            cel(
                f"!has(self.as) || self.as != 'ratio' || "
                f"!(self.metric in {sorted(m.name for m in METRICS.values() if m.low < 0)})",
                "this metric can be negative, so its groups have no ratio: use difference",
                said="self.metric + ' can be negative, so its groups have no ratio: use difference'",
                field=".as",
            ),
            cel(
                "!has(self.class) || (!has(self.each) && !has(self.across) && self.rows == 'test')",
                "one class is measured on all test rows: leave each, across and rows out",
                field=".class",
            ),
            cel(
                f"!has(self.quantile) || self.metric in {sorted(m.name for m in METRICS.values() if m.by_quantile)}",
                "quantile belongs to pinball_loss",
                field=".quantile",
            ),
            cel(
                "!has(self.quantile) || (!has(self.each) && !has(self.across) && self.rows == 'test')",
                "one quantile is measured on all test rows: leave each, across and rows out",
                field=".quantile",
            ),
            cel(
                f"!has(self.horizon) || self.metric in {sorted(m.name for m in METRICS.values() if m.by_horizon)}",
                "horizon belongs to metrics of errors of a Forecast",
                field=".horizon",
            ),
            cel(
                "!has(self.horizon) || (!has(self.each) && !has(self.across) && self.rows == 'test')",
                "one horizon is measured on all test rows: leave each, across and rows out",
                field=".horizon",
            ),
            cel(
                f"!has(self.window) || self.metric in {sorted(m.name for m in METRICS.values() if m.by_window)}",
                "window belongs to metrics that are computed from answers and labels",
                field=".window",
            ),
            cel(
                "!has(self.window) || (!has(self.each) && !has(self.across) && !has(self.class) && "
                "!has(self.quantile) && !has(self.horizon) && self.rows == 'test')",
                "windows are of all test rows: leave each, across, class, quantile, horizon and rows out",
                field=".window",
            ),
            cel(
                "!has(self.window) || ("
                + " && ".join(
                    f"(!has(self.require.{level}) || !self.require.{level}.contains(' than '))" for level in LEVELS
                )
                + ")",
                "windows are held against numbers only: '>= …', '<= …' or 'within … .. …'",
                said=f"{_first(' than ')} + \": windows are held against numbers only: '>= …', '<= …' or "
                "'within … .. …'\"",
                field=".require",
            ),
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
                f"!has(self.load) || self.metric in {sorted(item.name for item in METRICS.values() if item.loaded)}",
                "load belongs to latencies, crashes and failed_requests",
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
    class_: Annotated[Text | None, Field(alias="class")] = None
    """Multiclass: precision, recall, f1 or f_beta of this class against all others, instead of the classes' mean."""
    quantile: Quantile | None = None
    """Regression: pinball_loss of this one of `task.quantiles`, instead of the quantiles' mean."""
    horizon: Horizon | None = None
    """Forecast: of this one horizon, in steps, such as "7", or `Each`: every horizon must hold. Default: all rows
    together."""
    window: Literal["Each"] | None = None
    """`Each`: it must hold in every whole window of data.windows. Default: all rows together."""
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
    entity_header: HeaderName | None = None
    """Request header that says whom a request is about: requests with the same value go to the same version, where the
    gateway is Envoy Gateway. Left out, each request is drawn by itself, as are those without the header."""


Folder = Annotated[
    str, StringConstraints(pattern=r"^pvc://[a-z0-9][-a-z0-9.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)+$", max_length=256)
]
"""A folder of a claim; no part of its path begins with a dot."""


class Batch(Spec):
    """Where batches come from and where the answers go."""

    input: Folder
    """`pvc://CLAIM/PATH` of a folder: each table in it is a batch (.parquet, .csv, .arrow, .arrows, .feather)."""
    output: Folder
    """`pvc://CLAIM/PATH` of the folder for answers: `LEVEL/FILE.parquet`, LEVEL being Shadow, Suggest or Automate."""


class Dask(Spec):
    """A Dask cluster that you have, whose workers do what is cut into shards of rows. Those rows travel to it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel("has(self.address) != has(self.cluster)", "set either address or cluster"),
            cel(
                "has(self.credentialsRef) == (has(self.address) && self.address.startsWith('tls://'))",
                "credentialsRef belongs to an address tls://HOST:PORT, which needs it",
                field=".credentialsRef",
            ),
        )
    )

    address: SchedulerAddress | None = None
    """The scheduler's address: tcp://HOST:PORT, or tls://HOST:PORT with credentialsRef."""
    cluster: DaskClusterName | None = None
    """Name of a DaskCluster of Dask's Kubernetes operator in the same namespace: tcp://NAME-scheduler.NAMESPACE.svc:8786."""
    credentials_ref: SecretRef | None = None
    """For tls: the Secret with ca.crt, tls.crt and tls.key, by which scheduler and judge know each other."""


class Evaluation(Spec):
    """Who does the work of measuring. It changes no evidence, so nothing is measured again for it."""

    dask: Dask | None = None
    """Workers of a Dask cluster instead of the judge's own threads. The operator must allow the scheduler's address."""


class Replay(Spec):
    """Shadow by replay: what others are asked is held for a while and asked of the revision at Shadow as well."""

    rate: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,2}/s$", max_length=5)] = "5/s"
    """Most requests per second that are asked again, and that are held for it of each Pod that answers."""
    inputs: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1000
    """Most requests that wait for their turn; the oldest are forgotten first."""
    keep: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,2}(s|m|h)$", max_length=4)] = "1h"
    """How long a request waits for its turn at most; then it is forgotten."""


class Prices(Spec):
    """What serving resources cost, all in one currency."""

    cpu_hour: Amount
    """One CPU for an hour."""
    gib_hour: Amount
    """One GiB of memory for an hour."""
    currency: Currency
    """ISO 4217 code."""


class Latency(Spec):
    """How fast answers must come."""

    p99: Duration
    """In this time 99 of 100 requests must be answered, such as 40ms."""
    load: Rate
    """At how many requests per second, such as 50/s."""


class Serving(Spec):
    """How the model is served once it is granted."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.gateway) ? (has(self.provider) && self.provider in ['GatewayAPI', 'KServe']) "
                ": (!has(self.provider) || self.provider != 'GatewayAPI')",
                "gateway belongs to provider GatewayAPI, which needs one, or KServe, which may have one",
                field=".gateway",
            ),
            cel(
                "!has(self.replay) || !has(self.provider) || self.provider == 'Service'",
                "replay belongs to provider Service, which copies no requests: leave it out",
                field=".replay",
            ),
            cel(
                "!(has(self.provider) && self.provider == 'External' && has(self.replicas))",
                "replicas are your workload's where provider is External: leave them out",
                field=".replicas",
            ),
        )
    )

    provider: Literal["Service", "GatewayAPI", "KServe", "External"] = "Service"
    """`Service`: plain Services, whole shares only. `GatewayAPI`: HTTPRoutes besides, with shares and copies. `KServe`:
    Pods come from InferenceServices instead of Deployments; with a gateway as GatewayAPI, without one as Service.
    `External`: workloads and traffic are yours, or Argo Rollouts'; the operator grants, and makes PodTemplates."""
    gateway: GatewayRoutes | None = None
    """Where the routes attach; belongs to provider GatewayAPI or KServe."""
    replay: Replay | None = None
    """Asks a revision at Shadow what others are asked; belongs to provider Service. Left out, no request is ever held:
    they are people's data."""
    recording: Literal["Sidecar", "Model"] = "Sidecar"
    """Who tells the recorder what an image of your own answers: a `Sidecar` before it, or the `Model` image itself. A
    revision keeps what it began with. Says nothing of model files, whose server always does, nor where the provider is
    KServe, whose logger may."""
    replicas: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    """Pods per revision. Left out, one to begin with, and a HorizontalPodAutoscaler or you may scale the Deployment."""
    resources: Resources = {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}}
    """Resources of the model container; the evaluation measures under the very same."""
    prices: Prices | None = None
    """What those resources cost; with the measured throughput they give cost_per_million, and with what was used
    used_cost_per_million, which need them."""
    latency: Latency | None = None
    """The latency that is promised, and under which load: the built-in gates hold the model to it. A spec with gates of
    its own has one on latency_p99 instead."""
