"""Personal columns: which a spec may declare, and which names look like some. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .spec import Baseline, Data, Model, Task

_LOOKS = re.compile(
    r"^name$|_(first|last|full|given|middle|maiden|family|customer|client|patient|person|user|applicant|employee)_?name_"
    r"|_(surname|forename|e_?mails?|phones?|telephone|fax|mobile_(phone|number|no)|ssn|social_security|national_id|passport"
    r"|tax_id|iban|birth_?(day|date|year)|(date|day|year)_of_birth|dob|address|street|post_?code|postal_code|zip_?code|zip"
    r"|ip_addr)_"
)
"""What names people directly or nearly so, by the name of its column; what a model may well be fed (age, sex) isn't."""


def looks_personal(name: str) -> bool:
    """Whether a column's name reads as that of something that names people; its values aren't looked at."""
    words = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
    return bool(_LOOKS.search(words) or _LOOKS.search(f"_{words}_"))


def told(*, task: Task, model: Model, data: Data, baselines: Iterable[Baseline]) -> Iterator[tuple[str, str, str]]:
    """Columns whose values evidence consists of, which therefore can't be personal: column, field, and why."""
    counts = "its values are what rows count for, which findings tell"
    labels = task.labels
    every = [
        (task.target, "task.target", "classes, or their mean, are what evidence tells"),
        (task.time, "task.time", "reports tell its newest values; round times that are personal to days or months"),
        (task.weight, "task.weight", counts),
        (task.horizon, "task.horizon", "numbers are told by horizon"),
        (labels.revealed_by.column if labels else None, "task.labels.revealedBy.column", counts),
        (labels.holdout if labels else None, "task.labels.holdout", counts),
        (labels.propensity if labels else None, "task.labels.propensity", counts),
        (
            data.annotations.label if data.annotations else None,
            "data.annotations.label",
            "labels are classes, which are told",
        ),
        *((name, "model.source.columns", "the answers are what is measured") for name in model.source.columns or ()),
        *((item.column, f"baselines[{item.name}].column", "the answers are what is measured") for item in baselines),
    ]
    yield from ((column, field, why) for column, field, why in every if column is not None)
