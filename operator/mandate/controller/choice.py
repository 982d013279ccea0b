"""What a ModelDeployment asks for right now: its spec as understood, and the measurement it needs. Pure."""

from __future__ import annotations

import copy
import json
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, TypeVar

from pydantic import ValidationError

from mandate.api.asks import Ask, asks
from mandate.api.check import Problem, SpecError, load_spec
from mandate.api.formats import SERVERS
from mandate.api.kinds import ModelDeploymentSpec, ModelDeploymentStatus, ModelEvaluationSpec, ModelEvaluationStatus
from mandate.api.moments import age
from mandate.api.spec import DATA_TABLES, Model
from mandate.controller.pods import claim_of, ports_clash
from mandate.evidence.measurement import evaluation_name, evaluation_spec, key, measurement_digest, revision_digest

Object = dict[str, Any]
Status = TypeVar("Status", ModelDeploymentStatus, ModelEvaluationStatus)


def understood(mdep: Object) -> ModelDeploymentSpec:
    """The spec; raises SpecError with everything that is wrong with it, or can't be had in a cluster."""
    return _understood(json.dumps(mdep.get("spec"), sort_keys=True))


@lru_cache(maxsize=4096)
def _understood(text: str) -> ModelDeploymentSpec:
    spec = load_spec(json.loads(text))
    sources = {"model.source": spec.model.source.uri} | {
        f"data.{name}": table.uri for name in DATA_TABLES if (table := getattr(spec.data, name)) is not None
    }
    outside = tuple(
        Problem(
            f"spec.{field}.uri",
            f"got {uri!r}, expected pvc://CLAIM/PATH, https://…, s3://… or oci://…: in a cluster files are "
            "read from volumes and servers; put it into one",
        )
        for field, uri in sources.items()
        if uri is not None and claim_of(uri) is None and not uri.startswith(SERVERS)
    )
    if outside:
        raise SpecError(outside)
    return spec


def is_external(mdep: Object) -> bool:
    """Whether somebody else's workloads serve the model; also where the rest of the spec isn't understood."""
    return ((mdep.get("spec") or {}).get("serving") or {}).get("provider") == "External"


class StatusNotUnderstoodError(ValueError):
    """A status that this version can't read: whoever stands by it goes on standing, and nothing is decided."""


def status_of(mdep: Object) -> ModelDeploymentStatus:
    """The status as we, or a newer version of us, wrote it; raises StatusNotUnderstoodError.

    It holds who stands where: what isn't understood must never read as nobody.
    """
    try:
        return _read(ModelDeploymentStatus, mdep)
    except ValidationError as error:
        metadata, first = mdep["metadata"], error.errors(include_url=False)[0]
        where = ".".join(map(str, ("status", *first["loc"])))
        raise StatusNotUnderstoodError(
            f"ModelDeployment {metadata.get('namespace')}/{metadata['name']}: {where}: {first['msg']}, got "
            f"{first['input']!r:.100}; it was written by another version of the operator: install that one again, or "
            "remove the field from the status"
        ) from error


def evaluation_status(meval: Object) -> ModelEvaluationStatus:
    """The status as we wrote it; empty where there is none, or none that we understand: it is measured again."""
    try:
        return _read(ModelEvaluationStatus, meval)
    except ValidationError:
        return ModelEvaluationStatus()


def _read(kind: type[Status], item: Object) -> Status:
    """The status, without fields that a newer version may have written beside ours."""
    document = item.get("status") or {}
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        unknown = [part["loc"] for part in error.errors() if part["type"] == "extra_forbidden"]
        if not unknown:
            raise
        document = copy.deepcopy(document)
        for *path, field in unknown:
            owner: Any = reduce(operator.getitem, path, document)
            del owner[field]
        return kind.model_validate(document)


def asked_of(mdep: Object) -> tuple[Ask, ...]:
    """What people ask of the model by annotations, whether it was seen to already or not."""
    return asks(mdep["metadata"].get("annotations") or {})[0]


def not_asked(mdep: Object) -> tuple[str, ...]:
    """What is wrong with annotations that should ask for something and don't, in words."""
    return asks(mdep["metadata"].get("annotations") or {})[1]


def retry_of(mdep: Object, revision: str) -> str:
    """The id of the retry that is asked for this revision; empty where none is."""
    asks_it = (ask for ask in asked_of(mdep) if ask.verb == "Retry" and ask.revision in ("", revision))
    return next((ask.id for ask in asks_it), "")


@dataclass(frozen=True)
class Wanted:
    """The measurement to judge by, and the name of its ModelEvaluation, whether that exists or is still to be made."""

    name: str
    spec: ModelEvaluationSpec


def wanted(mdep: Object, mevals: Iterable[Object]) -> Wanted:
    """The measurement to judge by; raises SpecError.

    Whoever stands, stands on the measurement that carries it. A retry asks a revision that doesn't for another one,
    once per value of the annotation; each is another sample, and the last one counts, whatever the annotation says
    later. Where the last one's evidence isn't stored any more it is made again: the same, with a name of its own. What
    was learnt of the model when its revision was first measured holds from then on: other bytes are another revision's.
    """
    every = {meval["metadata"]["name"]: meval for meval in mevals}
    declared = _declared(mdep, every.values())
    kinds = {measurement_digest(declared), measurement_digest(_pinned(declared, mdep, every.values()))}
    alike = {
        name: spec
        for name, meval in every.items()
        if (spec := evaluation_of(meval)) is not None and measurement_digest(spec) in kinds
    }
    champion = status_of(mdep).champion
    if champion is not None and champion.revision == declared.revision:
        # It stands on the comparison with the champion before it: that it is the champion now asks for nothing new.
        earned = champion.evaluation
        if earned in alike and not is_forgotten(every[earned]):
            return Wanted(earned, alike[earned])
    needed = _needed(declared, mdep, every)
    name = evaluation_name(needed)
    complete = {name for name in alike if evaluation_status(every[name]).evidence is not None}
    if needed.retry and name not in complete and (name in every or _asks_again(mdep, needed)):
        return Wanted(name, needed)
    compared = (every[name] for name in complete if alike[name].champion == declared.champion)
    last = max(compared, key=age, default=None)
    if last is None:
        return Wanted(name, needed)
    measured = alike[last["metadata"]["name"]]
    if not is_forgotten(last):
        return Wanted(last["metadata"]["name"], measured)
    again = _needed(measured, mdep, every)
    return Wanted(evaluation_name(again), again)


def _asks_again(mdep: Object, asked: ModelEvaluationSpec) -> bool:
    """Whether the annotation asks for another try of a refused revision."""
    status = status_of(mdep)
    refused = next((item for item in status.refused if item.revision == asked.revision), None)
    return refused is not None and asked.retry not in (refused.retry, status.handled.get("Retry"))


def _needed(declared: ModelEvaluationSpec, mdep: Object, every: Mapping[str, Object]) -> ModelEvaluationSpec:
    """The measurement itself while its evidence is stored, else the one to be made in its place."""
    known = every.get(evaluation_name(declared))
    if known is not None and not is_forgotten(known):
        return declared
    asked = _pinned(declared, mdep, every.values())
    while (known := every.get(evaluation_name(asked))) is not None and is_forgotten(known):
        asked = asked.model_copy(update={"repeat": asked.repeat + 1})
    return asked


def _declared(mdep: Object, mevals: Iterable[Object]) -> ModelEvaluationSpec:
    """The measurement as the spec declares it, whatever was measured before."""
    spec = understood(mdep)
    champion = _champion(mdep, spec, mevals)
    name = mdep["metadata"]["name"]
    retry = retry_of(mdep, key(revision_digest(name, spec)))
    return evaluation_spec(name, spec, retry=retry, champion=champion)


def _pinned(asked: ModelEvaluationSpec, mdep: Object, mevals: Iterable[Object]) -> ModelEvaluationSpec:
    """The measurement with the digests that were learnt for its revision, where none are declared."""
    made = [
        (spec, evaluation_status(meval))
        for meval in sorted(mevals, key=age)
        if (spec := evaluation_of(meval)) is not None and spec.revision == asked.revision
    ]
    learnt = _learnt(asked.revision, status_of(mdep)) + [status.model_digest for _, status in made]
    source = asked.model.source
    if source.uri is not None and source.digest is None:
        source = source.model_copy(update={"digest": next((known for known in learnt if known is not None), None)})
    data = asked.data
    for table in DATA_TABLES:
        declared = getattr(data, table)
        if declared is None or declared.digest is not None:
            continue
        same = (
            status.data_digests[table]
            for spec, status in made
            if table in status.data_digests and getattr(spec.data, table).uri == declared.uri
        )
        data = data.model_copy(update={table: declared.model_copy(update={"digest": next(same, None)})})
    return asked.model_copy(update={"model": asked.model.model_copy(update={"source": source}), "data": data})


def known_digest(asked: ModelEvaluationSpec, mdep: Object) -> str | None:
    """The digest of the model to be measured: declared, or learnt when its revision was measured before."""
    source = asked.model.source
    declared = source.image_digest or (source.digest if source.uri is not None else None)
    learnt = _learnt(asked.revision, status_of(mdep)) if source.columns is None else []
    return declared or next((known for known in learnt if known is not None), None)


def _learnt(revision: str, status: ModelDeploymentStatus) -> list[str | None]:
    """The digests of the revision's model that are on record, the one that was pinned first."""
    pinned = status.pinned
    known = [pinned.model] if pinned is not None and pinned.revision == revision else []
    standing = (item for item in (status.champion, status.candidate, status.previous) if item is not None)
    return [*known, *(item.model_digest for item in standing if item.revision == revision)]


def is_forgotten(meval: Object) -> bool:
    """Whether a measurement was made, and its evidence isn't stored any more."""
    status = evaluation_status(meval)
    return status.evidence is not None and not status.evidence_config_map


def _champion(mdep: Object, spec: ModelDeploymentSpec, mevals: Iterable[Object]) -> Model | None:
    """The champion's model, pinned by digest, as it was measured; None where there is none to compare with.

    Answers that are only columns can't be asked again, and two images that listen on one port can't share a Pod: then
    a gate against the champion finds nothing measured, and says so.
    """
    champion = status_of(mdep).champion
    if champion is None or champion.revision == key(revision_digest(mdep["metadata"]["name"], spec)):
        return None
    earned = next((meval for meval in mevals if meval["metadata"]["name"] == champion.evaluation), None)
    measured = evaluation_of(earned) if earned is not None else None
    if measured is None or measured.model.source.columns is not None:
        return None
    if ports_clash(spec.model, measured.model, spec.baselines):
        return None
    source = measured.model.source.model_copy(update={"digest": champion.model_digest})
    return measured.model.model_copy(update={"source": source})


def evaluation_of(meval: Object) -> ModelEvaluationSpec | None:
    """A ModelEvaluation's spec, or None where this version doesn't understand it."""
    return _evaluation_of(json.dumps(meval.get("spec"), sort_keys=True))


@lru_cache(maxsize=4096)
def _evaluation_of(text: str) -> ModelEvaluationSpec | None:
    try:
        return ModelEvaluationSpec.model_validate(json.loads(text))
    except ValueError:
        return None
