"""A model that somebody else's workloads serve, and what they run; for tests of decide()."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mandate.api.criteria import Level
from mandate.api.moments import instant
from mandate.api.names import LABEL_MODEL, LABEL_REVISION, LABEL_SERVES
from mandate.controller import desired
from mandate.controller.choice import status_of, understood
from mandate.controller.decide import decide
from mandate.controller.external import template_names
from mandate.controller.plan import Plan
from mandate.controller.snapshot import ModelSnapshot
from mandate.controller.verdicts import Answer, answer
from tests.unit.controller.judged import SETTINGS, carried_out, declared, judged, revision_of, standing

Object = dict[str, Any]
NOW = instant("2026-01-02T00:00:00Z")
ASKED: Object = {
    "serving": {"provider": "External"},
    "autonomy__target": "Automate",
    "autonomy__automate": {"stepDuration": "1h"},
}
OLD = standing("1", "Automate", share=100)
ONE, TWO = (revision_of(declared(version, **ASKED)) for version in ("1", "2"))


def pod(revision: str, level: Level, *, ready: bool = True, leaving: bool = False) -> Object:
    """A Pod of somebody else's workload."""
    labels = {LABEL_MODEL: "credit", LABEL_REVISION: revision, LABEL_SERVES: level}
    gone = {"deletionTimestamp": "2026-01-02T00:00:00Z"} if leaving else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": f"credit-{revision[:4]}-x", "namespace": "lending", "labels": labels} | gone,
        "status": {"phase": "Running", "conditions": conditions},
    }


class Others:
    """A model that others serve; `at` is the time, and `runs` what they run."""

    def __init__(self, snapshot: ModelSnapshot) -> None:
        self.snapshot = snapshot
        self.at = NOW
        self.again: float | None = None
        self.kinds: set[str] = set()
        self.plans: list[Plan] = []

    def runs(self, *pods: Object, after: float = 0.0) -> Others:
        self.at += after
        self.snapshot = replace(self.snapshot, pods=pods)
        for _ in range(20):
            plan = decide(self.snapshot, self.at)
            self.plans.append(plan)
            self.kinds |= {getattr(action, "document", {}).get("kind", "") for action in plan.actions}
            self.again = plan.again
            if not plan.actions:
                return self
            self.snapshot = carried_out(self.snapshot, plan)
        raise AssertionError(f"it doesn't come to rest: {plan.actions}")

    def named(self) -> dict[str, str]:
        """Whom each PodTemplate names."""
        return {name: item["metadata"]["labels"][LABEL_REVISION] for name, item in self.snapshot.templates.items()}

    def led(self) -> dict[str, Object]:
        """Whom each Service selects."""
        return {name: item["spec"]["selector"] for name, item in self.snapshot.services.items()}

    def condition(self, kind: str) -> tuple[str, str, str]:
        item = next(item for item in status_of(self.snapshot.mdep).conditions if item.type == kind)
        return item.status, item.reason, item.message

    def levels(self) -> tuple[str, str]:
        """Of champion and candidate."""
        status = status_of(self.snapshot.mdep)
        champion, candidate = (
            str(item.level) if item is not None else "" for item in (status.champion, status.candidate)
        )
        return champion, candidate

    def ask(self, **annotations: str) -> Others:
        metadata = self.snapshot.mdep["metadata"]
        said = {f"mandate.dev/{name}": value for name, value in annotations.items()}
        document = {**self.snapshot.mdep, "metadata": {**metadata, "annotations": said}}
        self.snapshot = replace(self.snapshot, mdep=document)
        return self

    def respecified(self, **fields: Any) -> Others:
        """The same version under another spec."""
        spec = {**self.snapshot.mdep["spec"], **fields}
        self.snapshot = replace(self.snapshot, mdep={**self.snapshot.mdep, "spec": spec})
        return self

    def verdict(self, level: Level = "Automate", revision: str | None = None) -> Answer:
        template = self.snapshot.templates.get(template_names("credit")[level])
        return answer(self.snapshot.mdep, grant=self.snapshot.grant, template=template, level=level, revision=revision)


def first(**changes: Any) -> Others:
    """A first version, with nobody before it."""
    return Others(judged(declared("1", **ASKED | changes), accuracy=0.97))


def second(**changes: Any) -> Others:
    """Version 2's evidence is in; version 1 is the champion."""
    document = declared("2", status={"champion": OLD}, **ASKED | changes)
    snapshot = judged(document, accuracy=0.97)
    before = declared("1", **ASKED)
    kept = desired.controller_revision(before, understood(before), images=SETTINGS.images)
    return Others(replace(snapshot, revisions=(*snapshot.revisions, kept)))
