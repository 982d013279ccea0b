"""What an installation decides about the operator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mandate.controller.dask import DNS_PORTS
from mandate.controller.queue import Backoff


@dataclass(frozen=True, kw_only=True)
class Images:
    """The product's own images, each `name@sha256:<64 hex>`.

    `fetch` brings models and data into evaluation and serving Pods; an installation may give `judge`'s for it.
    `recording` is the sidecar's before users' own images, the predictor's where empty.
    """

    fetch: str
    judge: str
    predictor: str
    recording: str = ""

    def __post_init__(self) -> None:
        for role in ("fetch", "judge", "predictor"):
            if re.search(r".@sha256:[0-9a-f]{64}\Z", getattr(self, role)) is None:
                raise ValueError(f"the {role} image must be pinned, name@sha256:<64 hex>, got {getattr(self, role)!r}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Durations are seconds."""

    images: Images
    allowed_images: tuple[str, ...] = ()
    """Images that any Pod of a Strict namespace may run, by digest."""
    evaluation_deadline: float = 3600.0
    """Overall time for one attempt, disruptions and waiting for a node included."""
    pod_deadline: float = 1800.0
    """Time for one evaluation Pod once a kubelet has taken it."""
    max_attempts: int = 5
    """Attempts at an evaluation in Error before it waits for a change or for mandate.dev/retry."""
    retry: Backoff = field(default_factory=lambda: Backoff(base=30.0, cap=1800.0, jitter=0.0))
    """Time from one attempt's error to the next attempt."""
    keep_finished: int = 3600
    """How long a finished Job stays, for its logs, after its result is stored."""
    kserve: bool = False
    """Whether InferenceServices are looked after, for which the operator needs the rights."""
    dask_schedulers: tuple[str, ...] = ()
    """Addresses of Dask schedulers that evaluations may send rows to, and take numbers from."""
    dns_ports: tuple[int, ...] = DNS_PORTS
    """Where Pods reach name servers, before and behind their Service."""
    judge_memory: str = "2Gi"
    judge_cpu: str = "2"
    recorder_url: str = ""
    """Where model servers send what they answered, and live use is asked about; empty where nothing is recorded."""
    recorder_orders_url: str = ""
    """Where the recorder takes orders for replays; empty where it takes none."""
    drills: bool = False
    """Whether the operator sends a drill's request, which takes a way to Pods of enrolled namespaces."""
    live_every: float = 60.0
    """Time after which live use is asked about again."""
