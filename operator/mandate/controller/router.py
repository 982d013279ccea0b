"""Whom a change concerns: from an object before and after to the keys that must be looked at again. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mandate.api.names import (
    LABEL_ENFORCE,
    LABEL_EVALUATION,
    LABEL_MODEL,
    LABEL_SERVES,
    nobody_name,
    shadow_name,
    suggest_name,
)
from mandate.controller.others import is_ready
from mandate.controller.plan import Key
from mandate.controller.serve import is_serving
from mandate.controller.store import Store
from mandate.kube.resources import (
    AUTONOMY_GRANTS,
    BACKEND_TRAFFIC_POLICIES,
    DEPLOYMENTS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    JOBS,
    MODEL_DEPLOYMENTS,
    MODEL_EVALUATIONS,
    NAMESPACES,
    POD_TEMPLATES,
    PODS,
    SERVICES,
    Resource,
)

Object = Mapping[str, Any]


def concerned(resource: Resource, before: Object | None, after: Object | None, store: Store) -> set[Key]:
    """The keys to look at after one object came, changed or went."""
    keys: set[Key] = set()
    for item in (before, after):
        if item is not None:
            keys.update(_keys(resource, item, store))
    if resource == AUTONOMY_GRANTS:
        keys.update(_granted(before, after, store))
    if resource == PODS:
        served = [item for item in (before, after) if item is not None and is_serving(item)]
        if len(served) == 1:  # it came or went, and with it what the grant may drop
            keys.add(Key("Grant", served[0]["metadata"]["namespace"], ""))
        keys.update(_served(before, after))
    if resource == NAMESPACES and _enrolment(before) != _enrolment(after) and after is not None:
        name = after["metadata"]["name"]
        keys.update(Key("Model", name, mdep["metadata"]["name"]) for mdep in store.all(MODEL_DEPLOYMENTS, name))
        keys.add(Key("Grant", name, ""))
    return keys


def _keys(resource: Resource, item: Object, store: Store) -> Iterator[Key]:
    metadata = item["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    labels = metadata.get("labels") or {}
    if resource == MODEL_DEPLOYMENTS:
        yield Key("Model", namespace, name)
        yield Key("Grant", namespace, "")
        yield from _evaluations_of(namespace, name, store)
    elif resource == MODEL_EVALUATIONS:
        yield Key("Evaluation", namespace, name)
        yield Key("Model", namespace, str((item.get("spec") or {}).get("modelDeployment", "")))
        yield Key("Grant", namespace, "")
    elif resource == AUTONOMY_GRANTS:
        yield Key("Grant", namespace, "")
    elif resource == PODS:
        job = store.get(JOBS, namespace, labels.get(LABEL_EVALUATION, ""))
        if job is not None:
            yield from _owners(job, namespace)
    elif resource in (HTTP_ROUTES, BACKEND_TRAFFIC_POLICIES, POD_TEMPLATES):
        yield from (Key("Model", namespace, mdep) for mdep in _addressed(namespace, name, store))
    elif resource == INFERENCE_SERVICES:
        model = name.rpartition("-")[0]  # whoever made it, it may have a revision's name
        if store.get(MODEL_DEPLOYMENTS, namespace, model) is not None:
            yield Key("Model", namespace, model)
    elif resource == SERVICES:
        yield from _users_of(namespace, name, store)
    if LABEL_MODEL in labels and resource not in (PODS, MODEL_EVALUATIONS):
        yield Key("Model", namespace, labels[LABEL_MODEL])
        yield from _owners(item, namespace)
    if LABEL_MODEL in labels and resource in (JOBS, DEPLOYMENTS, INFERENCE_SERVICES, SERVICES):
        yield Key("Grant", namespace, "")  # ours are labelled, and what they are of stays in the grant


def _owners(item: Object, namespace: str) -> Iterator[Key]:
    for owner in item["metadata"].get("ownerReferences") or ():
        if owner.get("kind") == MODEL_EVALUATIONS.kind:
            yield Key("Evaluation", namespace, owner["name"])


def _users_of(namespace: str, service: str, store: Store) -> Iterator[Key]:
    """Models whose fallback, or whose own address, a Service is."""
    for mdep in store.all(MODEL_DEPLOYMENTS, namespace):
        name = mdep["metadata"]["name"]
        fallback = ((mdep.get("spec") or {}).get("useCase") or {}).get("fallback") or {}
        if service in (name, suggest_name(name), nobody_name(name), (fallback.get("serviceRef") or {}).get("name")):
            yield Key("Model", namespace, name)


def _addressed(namespace: str, address: str, store: Store) -> Iterator[str]:
    """Models of which this is an address, whoever made what has the name."""
    for mdep in store.all(MODEL_DEPLOYMENTS, namespace):
        name = mdep["metadata"]["name"]
        if address in (name, suggest_name(name), shadow_name(name)):
            yield name


def _served(before: Object | None, after: Object | None) -> Iterator[Key]:
    """The model of a Pod of somebody else's workload that came, went, or is ready now or not any more."""
    pod = after or before
    labels = ((pod or {}).get("metadata") or {}).get("labels") or {}
    if pod is None or LABEL_SERVES not in labels or LABEL_MODEL not in labels:
        return
    now, then = ((is_serving(item), is_ready(item)) if item is not None else None for item in (after, before))
    if now != then:
        yield Key("Model", pod["metadata"]["namespace"], labels[LABEL_MODEL])


def _granted(before: Object | None, after: Object | None, store: Store) -> Iterator[Key]:
    """Models and evaluations whose entry in the grant changed, or for whose there is room or none now."""
    old, new = ((item or {}).get("spec") or {} for item in (before, after))
    namespace = ((after or before) or {})["metadata"]["namespace"]
    for field in ("grants", "evaluations"):
        left, right = old.get(field) or {}, new.get(field) or {}
        for name in left.keys() | right.keys():
            if left.get(name) == right.get(name):
                continue
            model = (right.get(name) or left.get(name) or {}).get("model", "")
            if field == "grants":
                yield Key("Model", namespace, model)
            else:
                yield from _evaluations_of(namespace, model, store)
    left, right = old.get("leftOut") or {}, new.get("leftOut") or {}
    for model in left.keys() | right.keys():
        if left.get(model) != right.get(model):
            yield Key("Model", namespace, model)
            yield from _evaluations_of(namespace, model, store)


def _evaluations_of(namespace: str, model: str, store: Store) -> Iterator[Key]:
    for meval in store.labelled(MODEL_EVALUATIONS, namespace, LABEL_MODEL, model):
        yield Key("Evaluation", namespace, meval["metadata"]["name"])


def _enrolment(item: Object | None) -> str:
    return str((((item or {}).get("metadata") or {}).get("labels") or {}).get(LABEL_ENFORCE, ""))
