"""What a report tells without having measured it: what the spec declares, and what the cluster recorded."""

from __future__ import annotations

from dataclasses import dataclass

from mandate.api.kinds import ModelDeploymentSpec, Transition
from mandate.api.spec import DATA_TABLES


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What the spec says of the model and its data: told, not measured. Empty where nothing is declared."""

    source: str
    format: str
    inputs: tuple[str, ...]
    output: str
    target: str
    positive: str
    training_run: str
    code_revision: str
    lineage: dict[str, str]
    """Where the data comes from, in words, by field of data.lineage: those that are declared."""
    tables: dict[str, str]
    """URI by field: source, or train, validation and test."""
    split: str
    sensitive: tuple[str, ...]
    error_costs: tuple[str, ...]
    fallback: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change on the ladder, as the cluster recorded it."""

    at: str
    what: str
    version: str
    moved: str
    by: str
    why: str
    evidence: str


def declared(spec: ModelDeploymentSpec) -> Declared:
    """The declared part of a report."""
    source, training, output = spec.model.source, spec.model.training, spec.model.output
    tables = {name: table.uri for name in DATA_TABLES if (table := getattr(spec.data, name)) is not None}
    cutoff = f", cut-off {output.cutoff}" if spec.task.type == "Binary" and output.kind == "Probability" else ""
    chosen = "" if output.choose is None else f", to be the one chosen by {output.choose.metric}"
    return Declared(
        source=source.uri or source.pinned_image or f"columns of the data: {', '.join(source.columns or ())}",
        format=source.format or ("container" if source.image else ""),
        inputs=() if spec.model.inputs is None else spec.model.inputs.columns,
        output=f"{output.kind}{cutoff}{chosen}",
        target=spec.task.target,
        positive=spec.task.positive or "",
        training_run=training.run,
        code_revision=training.code_revision,
        lineage=_lineage(spec),
        tables=tables,
        split=_split_text(spec),
        sensitive=tuple(part.of for part in spec.data.slices if part.sensitive),
        error_costs=tuple(
            f"{error.cost} {error.currency} for answering {error.predicted} where {error.actual} is true"
            for error in spec.use_case.error_costs
        ),
        fallback="" if spec.use_case.fallback is None else f"the Service {spec.use_case.fallback.service_ref.name}",
    )


def _lineage(spec: ModelDeploymentSpec) -> dict[str, str]:
    told = {} if spec.data.lineage is None else spec.data.lineage.model_dump()
    return {field: words for field, words in told.items() if words.strip()}


def lineage_pairs(told: Declared) -> list[tuple[str, str]]:
    """What reports list of where model and data come from, where anything is declared."""
    every = {**told.lineage, "code revision": told.code_revision, "training run": told.training_run}
    return [(f"data's {field}" if field in told.lineage else field, words) for field, words in every.items() if words]


def _split_text(spec: ModelDeploymentSpec) -> str:
    split = spec.data.split
    if split is None:
        return "given table by table"
    gap = f", {split.gap} left out between" if split.gap else ""
    how = {"Time": "by time", "Random": f"by row, seed {split.seed}", "Group": f"by cluster, seed {split.seed}"}
    return f"{how[split.method]}: train {split.train}, validation {split.validation}, test {split.test}{gap}"


def change(transition: Transition) -> Change:
    """One of a report's changes."""
    before, after = transition.before or "nowhere", transition.after or "nowhere"
    return Change(
        at=str(transition.at),
        what=transition.what,
        version=transition.version,
        moved="" if before == after else f"{before} → {after}",
        by=transition.by,
        why=transition.why,
        evidence=transition.evidence,
    )
