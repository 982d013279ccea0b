"""The operator's Prometheus metrics.

Series are bounded by what exists: those about a model are read from the store at each scrape, so they vanish with the
object, and nothing is labelled by run, request or Pod.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mandate.api.criteria import LEVELS
from mandate.api.moments import instant

Object = Mapping[str, Any]

LEVEL_VALUES = {"None": 0} | {level: index for index, level in enumerate(LEVELS, start=1)}
DECISIONS = {
    "agreement": ("agreement", "Share of decisions at Suggest that say what the model says, blind or with it in sight"),
    "errors": ("errors", "Share of decisions at Suggest, where the outcome is known, in which people were wrong"),
    "modelErrors": ("model_errors", "Share of the same decisions in which the model was wrong"),
    "sharedErrors": ("shared_errors", "Of these, the share in which people were wrong too"),
}
"""What is shown of people's decisions, by its name in the status: the metric's name, and its help."""
EVALUATION_BUCKETS = (5, 10, 30, 60, 120, 300, 600, 1800, 3600)
RECONCILE_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


class Metrics:
    """What the operator counts about itself, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge("mandate_leader", "1 while this process leads", registry=self.registry)
        self.queue_depth = Gauge("mandate_queue_depth", "Keys waiting for a worker", registry=self.registry)
        self.reconcile_seconds = Histogram(
            "mandate_reconcile_seconds",
            "Time to gather, decide and apply, by kind of key",
            ["kind"],
            buckets=RECONCILE_BUCKETS,
            registry=self.registry,
        )
        self.reconcile_errors = Counter(
            "mandate_reconcile_errors",
            "Reconciles that failed and are tried again, by kind of key and of error",
            ["kind", "error"],
            registry=self.registry,
        )
        self.actions = Counter(
            "mandate_actions",
            "Writes to the API server, by action and kind",
            ["action", "kind"],
            registry=self.registry,
        )
        self.taken_back = Counter(
            "mandate_taken_back",
            "Times that somebody else had set fields of the operator's objects, which it set back, by kind",
            ["kind"],
            registry=self.registry,
        )
        self.transitions = Counter(
            "mandate_transitions",
            "Changes of where a version stands, and what people asked, by what happened",
            ["what"],
            registry=self.registry,
        )
        self.relist_news = Counter(
            "mandate_relist_news",
            "Changes that a re-list brought before the watch did, by kind",
            ["kind"],
            registry=self.registry,
        )
        self.evaluations = Counter(
            "mandate_evaluations", "Attempts at evaluations that ended, by result", ["result"], registry=self.registry
        )
        self.evaluation_seconds = Histogram(
            "mandate_evaluation_seconds",
            "Time from an evaluation's first Job to its stored evidence",
            buckets=EVALUATION_BUCKETS,
            registry=self.registry,
        )


class ModelCollector(Collector):
    """What is true of every ModelDeployment now; `models` gives them as the API server has them."""

    def __init__(self, models: Callable[[], Iterable[Object]]) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        level = GaugeMetricFamily(
            "mandate_model_autonomy_level",
            "Highest level that is granted and served: 0 none, 1 Shadow, 2 Suggest, 3 Automate",
            labels=["namespace", "model"],
        )
        target = GaugeMetricFamily(
            "mandate_model_target_level", "Level that the spec asks for", labels=["namespace", "model"]
        )
        gates = GaugeMetricFamily(
            "mandate_gate_verdict",
            "1 for each gate's present verdict",
            labels=["namespace", "model", "gate", "verdict"],
        )
        conditions = GaugeMetricFamily(
            "mandate_model_condition",
            "1 where the condition is True, 0 where it is False, -1 where it is Unknown",
            labels=["namespace", "model", "condition"],
        )
        info = GaugeMetricFamily(
            "mandate_model_info",
            "The champion's and the candidate's version",
            labels=["namespace", "model", "role", "version"],
        )
        agreement = GaugeMetricFamily(
            "mandate_pairs_agreement",
            "Share of requests to which candidate and champion gave the same answer, while the candidate was at Shadow",
            labels=["namespace", "model"],
        )
        missing = GaugeMetricFamily(
            "mandate_pairs_missing",
            "Share of the copies for the candidate at Shadow that have no answer of its beside the champion's",
            labels=["namespace", "model"],
        )
        drilled = GaugeMetricFamily(
            "mandate_fallback_drill_timestamp_seconds",
            'When the fallback was last drilled; mandate_model_condition{condition="FallbackDrilled"} says the result',
            labels=["namespace", "model"],
        )
        answer = GaugeMetricFamily(
            "mandate_fallback_drill_seconds",
            "From sending the last drill's request to the end of the answer; absent where none came",
            labels=["namespace", "model"],
        )
        people = {
            field: GaugeMetricFamily(f"mandate_decisions_{name}", words, labels=["namespace", "model", "answer"])
            for field, (name, words) in DECISIONS.items()
        }
        for item in self._models():
            place = [item["metadata"]["namespace"], item["metadata"]["name"]]
            status = item.get("status") or {}
            level.add_metric(place, LEVEL_VALUES.get(status.get("level", "None"), 0))
            wanted = ((item.get("spec") or {}).get("autonomy") or {}).get("target", "None")
            target.add_metric(place, LEVEL_VALUES.get(wanted, 0))
            for gate in status.get("gates") or ():
                gates.add_metric([*place, gate["name"], gate["verdict"]], 1)
            for condition in status.get("conditions") or ():
                value = {"True": 1, "False": 0}.get(condition["status"], -1)
                conditions.add_metric([*place, condition["type"]], value)
            for role in ("champion", "candidate"):
                if status.get(role):
                    info.add_metric([*place, role, status[role].get("version", "")], 1)
            pairs = status.get("pairs") or {}
            for family, share in ((agreement, "agreement"), (missing, "missing")):
                if share in pairs:
                    family.add_metric(place, float(pairs[share]["mean"]))
            drill = status.get("drill") or {}
            if "at" in drill:
                drilled.add_metric(place, instant(drill["at"]))
            if "microseconds" in drill:
                answer.add_metric(place, drill["microseconds"] / 1e6)
            for how in ("blind", "shown"):
                decided = (status.get("decisions") or {}).get(how) or {}
                for field, family in people.items():
                    if field in decided:
                        family.add_metric([*place, how], float(decided[field]["mean"]))
        yield from (level, target, gates, conditions, info, agreement, missing, drilled, answer, *people.values())


class GrantCollector(Collector):
    """What is true of every namespace's grant now; `grants` gives them as the API server has them."""

    def __init__(self, grants: Callable[[], Iterable[Object]]) -> None:
        self._grants = grants

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        size = GaugeMetricFamily(
            "mandate_grant_bytes",
            "Size of the namespace's AutonomyGrant; from 1,400,000 on nothing more is granted there",
            labels=["namespace"],
        )
        left_out = GaugeMetricFamily(
            "mandate_grant_left_out_models",
            "Models of which something may not run because the namespace's AutonomyGrant has no room",
            labels=["namespace"],
        )
        for item in self._grants():
            place, spec = [item["metadata"]["namespace"]], item.get("spec") or {}
            size.add_metric(place, len(json.dumps(spec, separators=(",", ":"), ensure_ascii=False).encode()))
            left_out.add_metric(place, len(spec.get("leftOut") or ()))
        yield from (size, left_out)
