"""Everything that one decision may know, read beforehand and frozen. Objects are raw, as the API server gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mandate.api.spec import Task
from mandate.controller.intake import IntakeError
from mandate.controller.settings import Settings
from mandate.evidence.live import Drawn, Live
from mandate.evidence.replay import ReplayState
from mandate.evidence.schema import Evidence
from mandate.rollout.pairs import Comparison
from mandate.rollout.state import Holder

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class EvaluationSnapshot:
    """One ModelEvaluation. `mevals` are all of its model, itself included; `jobs` are all of its Jobs, `pods` those of
    the present attempt.

    `unread` says why the result couldn't be read yet; `refusal` why the API server wouldn't take the Pod. `first_seen`
    is when models were first seen, by digest; empty where nobody knows.
    """

    meval: Object
    mdep: Object | None
    grant: Object | None
    mevals: tuple[Object, ...]
    jobs: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    seals: tuple[Object, ...] = ()
    result: Evidence | IntakeError | None = None
    unread: str = ""
    refusal: str = ""
    first_seen: Mapping[str, str] = field(default_factory=dict)
    settings: Settings


@dataclass(frozen=True)
class LiveUnavailable:
    """Why nothing is known of a revision's use."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class LiveQuestion:
    """What is asked of a revision's use: `task` is what its answers are for, `blind_share` the percentage of people's
    decisions that were to be taken before they see the answer.
    """

    holder: Holder
    task: Task
    compared: Comparison | None = None
    blind_share: int = 0


@dataclass(frozen=True, kw_only=True)
class LiveAnswer:
    """What is known of a revision's use; `alone` says why it isn't compared, where that was asked and isn't known."""

    live: Live | LiveUnavailable
    alone: str = ""


@dataclass(frozen=True, kw_only=True)
class DrillOutcome:
    """What came of the drill `id`: whether the fallback answered, None where nothing was sent to it.

    `microseconds`: from sending to the end of the answer, if there was one. `service` and `port` say who was asked.
    """

    id: str
    answered: bool | None
    reason: str
    message: str
    service: str = ""
    port: int = 0
    microseconds: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSnapshot:
    """One ModelDeployment and what belongs to it.

    `services` holds the model's own Services, and by whomever those of the names that are its; `routes` the HTTPRoutes
    NAME and NAME-suggest whoever made them, None where the cluster doesn't know the kind; `policies` likewise the
    BackendTrafficPolicy NAME, and `inference_services` those with the names of the model's revisions. `deployments` may
    be KServe's. `templates` are the PodTemplates of the names that are the model's, whoever made them; `pods` those of
    somebody else's workloads that serve it. `evidence` is by ModelEvaluation, `looks` by look, `first_seen` by model
    digest; `records` are the evidence ConfigMaps, without their data. `live` is what use shows of the revisions of
    which the present rules ask that, `alone` why it doesn't show them beside the champion; `drawn` where the draws of a
    step under way led. `drill` is what came of the one that is asked, `replay` what the recorder says of replays, None
    where none are asked for.
    """

    mdep: Object
    namespace: Object | None
    grant: Object | None
    mevals: tuple[Object, ...] = ()
    revisions: tuple[Object, ...] = ()
    deployments: tuple[Object, ...] = ()
    services: Mapping[str, Object] = field(default_factory=dict)
    routes: Mapping[str, Object] | None = None
    policies: Mapping[str, Object] | None = None
    inference_services: Mapping[str, Object] | None = None
    templates: Mapping[str, Object] = field(default_factory=dict)
    pods: tuple[Object, ...] = ()
    fallback: Object | None = None
    records: tuple[Object, ...] = ()
    evidence: Mapping[str, Evidence | IntakeError] = field(default_factory=dict)
    looks: Mapping[str, int] = field(default_factory=dict)
    first_seen: Mapping[str, str] = field(default_factory=dict)
    live: Mapping[str, Live | LiveUnavailable] = field(default_factory=dict)
    alone: Mapping[str, str] = field(default_factory=dict)
    drawn: Drawn | LiveUnavailable | None = None
    drill: DrillOutcome | None = None
    replay: ReplayState | LiveUnavailable | None = None
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class GrantSnapshot:
    """One namespace. `templates` are Pod templates as the API server defaults them, by grant or evaluation key.

    `pods` are the serving ones, deleted ones too until they are gone.
    """

    namespace: str
    enrolled: bool
    grant: Object | None
    mdeps: tuple[Object, ...] = ()
    mevals: tuple[Object, ...] = ()
    revisions: tuple[Object, ...] = ()
    jobs: tuple[Object, ...] = ()
    deployments: tuple[Object, ...] = ()
    inference_services: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    templates: Mapping[str, Object] = field(default_factory=dict)
    settings: Settings


Snapshot = EvaluationSnapshot | ModelSnapshot | GrantSnapshot
