"""What the recorder counts, in a registry of its own. Labels are bounded: no model, no request, no sender."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

LAG_BUCKETS = (0.1, 1, 10, 60, 600, 3600, 86_400, 604_800, 2_592_000)
COMMIT_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5)
QUERY_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)


class RecorderMetrics:
    """Counters and histograms of one recorder."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "mandate_recorder_events",
            "Events taken in, by type and by what became of them",
            ["type", "result"],
            registry=self.registry,
        )
        self.refused_requests = Counter(
            "mandate_recorder_refused_requests",
            "Requests refused as a whole, by HTTP status",
            ["status"],
            registry=self.registry,
        )
        self.lag_seconds = Histogram(
            "mandate_recorder_lag_seconds",
            "From what an event tells of to its being on disk, by type of event",
            ["type"],
            buckets=LAG_BUCKETS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "mandate_recorder_commit_seconds",
            "Time of one transaction with its sync to disk",
            buckets=COMMIT_BUCKETS,
            registry=self.registry,
        )
        self.query_seconds = Histogram(
            "mandate_recorder_query_seconds",
            "Time of one question for live aggregates",
            buckets=QUERY_BUCKETS,
            registry=self.registry,
        )
        self.pruned = Counter(
            "mandate_recorder_pruned_rows", "Rows forgotten because of their age or number", registry=self.registry
        )
