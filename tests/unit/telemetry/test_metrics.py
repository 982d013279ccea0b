"""The metrics that a scrape sees: bounded, and gone with their object."""

from __future__ import annotations

from typing import Any

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mandate.telemetry.metrics import GrantCollector, Metrics, ModelCollector

MODEL: dict[str, Any] = {
    "metadata": {"name": "credit", "namespace": "lending"},
    "spec": {"autonomy": {"target": "Automate"}},
    "status": {
        "level": "Suggest",
        "champion": {"version": "7"},
        "candidate": {"version": "8"},
        "drill": {"at": "2026-01-02T00:00:05Z", "by": "ann", "reason": "Answered", "microseconds": 1500},
        "gates": [{"name": "recall", "verdict": "Fail"}, {"name": "fair", "verdict": "Pass"}],
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "Stalled", "status": "False"},
            {"type": "Evaluated", "status": "Unknown"},
        ],
    },
}


def scraped(metrics: Metrics) -> dict[str, float]:
    """Every sample by name and labels, histograms and their time stamps left out."""
    text = generate_latest(metrics.registry).decode()
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_a_model_is_seen_while_it_exists() -> None:
    models = [MODEL, {"metadata": {"name": "new", "namespace": "lending"}, "spec": {}}]
    metrics = Metrics()
    metrics.registry.register(ModelCollector(lambda: models))
    before = scraped(metrics)
    assert before["mandate_model_autonomy_level['credit', 'lending']"] == 2
    assert before["mandate_model_autonomy_level['lending', 'new']"] == 0
    assert before["mandate_model_target_level['credit', 'lending']"] == 3
    assert before["mandate_gate_verdict['Fail', 'credit', 'lending', 'recall']"] == 1
    assert before["mandate_model_condition['Evaluated', 'credit', 'lending']"] == -1
    assert before["mandate_model_condition['Ready', 'credit', 'lending']"] == 1
    assert before["mandate_fallback_drill_timestamp_seconds['credit', 'lending']"] == 1_767_312_005
    assert before["mandate_fallback_drill_seconds['credit', 'lending']"] == 0.0015
    assert "mandate_fallback_drill_seconds['lending', 'new']" not in before
    assert before["mandate_model_info['8', 'candidate', 'credit', 'lending']"] == 1
    models.clear()
    assert not [name for name in scraped(metrics) if "lending" in name]


def test_a_gates_old_verdict_goes_with_the_new_one() -> None:
    metrics = Metrics()
    model = {**MODEL, "status": {"gates": [{"name": "recall", "verdict": "Fail"}]}}
    metrics.registry.register(ModelCollector(lambda: [model]))
    scraped(metrics)
    model["status"] = {"gates": [{"name": "recall", "verdict": "Pass"}]}
    verdicts = [name for name in scraped(metrics) if name.startswith("mandate_gate_verdict")]
    assert verdicts == ["mandate_gate_verdict['Pass', 'credit', 'lending', 'recall']"]


def test_the_operator_counts_without_labels_that_grow() -> None:
    metrics = Metrics()
    for index in range(100):
        metrics.reconcile_errors.labels("Model", "ConflictError").inc()
        metrics.actions.labels("Create", "Job").inc()
        metrics.evaluation_seconds.observe(index)
    samples = scraped(metrics)
    assert samples["mandate_reconcile_errors_total['ConflictError', 'Model']"] == 100
    assert samples["mandate_evaluation_seconds_count[]"] == 100
    assert len(samples) < 20


def test_a_grants_size_and_what_found_no_room() -> None:
    spec = {"models": ["credit"], "grants": {}, "leftOut": {"credit": 3000}}
    metrics = Metrics()
    metrics.registry.register(GrantCollector(lambda: [{"metadata": {"namespace": "lending"}, "spec": spec}]))
    samples = scraped(metrics)
    whole = '{"models":["credit"],"grants":{},"leftOut":{"credit":3000}}'
    assert samples["mandate_grant_bytes['lending']"] == len(whole)
    assert samples["mandate_grant_left_out_models['lending']"] == 1
