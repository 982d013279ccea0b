"""What people ask of a model: an annotation on its ModelDeployment per verb, which says who asks. Pure.

    mandate.dev/VERB: ID [to Shadow] [of REVISION] by USER[: WHY]

as in `mandate.dev/halt: 7f3a21 to Shadow by alice@example.org: complaints since noon`. Each ID is seen to once. USER is
proved by the API server's policy `verbs`, which reads the value as `parse` does: USER ends at the first `: `, or at the
end. `to` belongs to halt, which without it means off; with `of`, the verb counts only while that revision is the
candidate or the champion. For retry any other text is an ID too, and nobody knows who asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mandate.api.names import ANNOTATION_RETRY, GROUP

VerbName = Literal["Pause", "Resume", "Abort", "Retry", "Promote", "Rollback", "Halt", "Drill"]

VERBS: tuple[VerbName, ...] = ("Pause", "Resume", "Abort", "Retry", "Promote", "Rollback", "Halt", "Drill")

FORM = (
    r"(?P<id>[A-Za-z0-9][A-Za-z0-9._:+-]{0,62})(?: to (?P<level>Shadow))?(?: of (?P<revision>[0-9a-f]{32}))?"
    r" by (?P<tail>[^\x00-\x1f\x7f-\x9f]+)"
)
"""A whole value, in what RE2 (the API server's) and Python have in common."""
VALUE_LIMIT = 1024
USER_LIMIT = 253
PLAIN_LIMIT = 253
"""Of a retry that is an ID only."""
RESERVED = ("mandate", ANNOTATION_RETRY)
"""What stands for nobody in particular where somebody's name is expected, so nobody of this name may ask."""
EXPECTED = "ID [of REVISION] by USER[: WHY] on one line"
EXPECTED_HALT = "ID [to Shadow] [of REVISION] by USER[: WHY] on one line"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One verb, once per `id`. `level` belongs to Halt: Shadow, or None for off."""

    verb: VerbName
    id: str
    by: str
    why: str = ""
    revision: str = ""
    level: Literal["Shadow"] | None = None


class AskError(ValueError):
    """A value that asks for nothing; the message names field, value and what was expected."""


def annotation(verb: VerbName) -> str:
    """The annotation that asks for the verb."""
    return f"{GROUP}/{verb.lower()}"


def parse(verb: VerbName, value: str) -> Ask:
    """What the annotation's value asks; raises AskError."""
    found = re.fullmatch(FORM, value) if len(value) <= VALUE_LIMIT else None
    if found is None:
        if verb == "Retry" and len(value) <= PLAIN_LIMIT:
            return Ask(verb=verb, id=value, by=ANNOTATION_RETRY)
        raise _error(verb, value, f"of at most {VALUE_LIMIT} characters")
    user, _, why = found["tail"].partition(": ")
    if not 1 <= len(user) <= USER_LIMIT:
        raise _error(verb, value, f"USER of 1 to {USER_LIMIT} characters")
    if user in RESERVED:
        raise _error(verb, value, f"USER other than {user}, which stands for nobody")
    if found["level"] is not None and verb != "Halt":
        raise _error(verb, value, "no level: only halt has one")
    level: Literal["Shadow"] | None = "Shadow" if found["level"] is not None else None
    return Ask(verb=verb, id=found["id"], by=user, why=why, revision=found["revision"] or "", level=level)


def compose(ask: Ask) -> str:
    """The value that asks it; raises AskError where none does."""
    level = f" to {ask.level}" if ask.level is not None else ""
    revision = f" of {ask.revision}" if ask.revision else ""
    why = f": {ask.why}" if ask.why else ""
    value = f"{ask.id}{level}{revision} by {ask.by}{why}"
    if parse(ask.verb, value) != ask:
        raise _error(ask.verb, value, "an ID of one word and a USER without ': '")
    return value


def asks(annotations: Mapping[str, str]) -> tuple[tuple[Ask, ...], tuple[str, ...]]:
    """Everything that is asked, and what is wrong with values that ask for nothing, in words."""
    found: list[Ask] = []
    wrong: list[str] = []
    for verb in VERBS:
        value = annotations.get(annotation(verb), "")
        if not value:
            continue
        try:
            found.append(parse(verb, value))
        except AskError as error:
            wrong.append(str(error))
    return tuple(found), tuple(wrong)


def _error(verb: VerbName, value: str, besides: str) -> AskError:
    shown = repr(value if len(value) <= 100 else value[:99] + "…")
    expected = EXPECTED_HALT if verb == "Halt" else EXPECTED
    return AskError(f"metadata.annotations[{annotation(verb)}]: {shown}: expected {expected}, {besides}")
