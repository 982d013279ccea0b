"""CEL that several policies share."""

from __future__ import annotations

from mandate.admission.policy import Actors
from mandate.api.names import GROUP

OURS = f"{GROUP}/"
"""The prefix of the labels and annotations that mean something here."""

LABELS = "object.metadata.?labels.orValue({})"
OLD_LABELS = "(oldObject == null ? {} : oldObject.metadata.?labels.orValue({}))"

CONTROLLERS = ("system:kube-controller-manager",)
"""The controller manager where it doesn't give each controller an account of its own."""


def kube_controller(name: str) -> tuple[str, ...]:
    """The user names under which one of kube-controller-manager's controllers may act."""
    return (f"system:serviceaccount:kube-system:{name}", *CONTROLLERS)


def not_operator(actors: Actors) -> dict[str, str]:
    """A match condition: the operator itself passes unseen."""
    return {"not-the-operator": f"request.userInfo.username != '{actors.operator}'"}


def same_entries(kind: str) -> str:
    """CEL: our own entries of metadata.`kind` (labels or annotations) are what they were before the update."""
    new, old = f"object.metadata.?{kind}.orValue({{}})", f"oldObject.metadata.?{kind}.orValue({{}})"
    return (
        f"{new}.all(k, !k.startsWith('{OURS}') || {old}[?k].orValue('') == {new}[k]) &&\n"
        f"{old}.all(k, !k.startsWith('{OURS}') || k in {new})"
    )


def same_content(*, ignoring: tuple[str, ...] = ("metadata", "status")) -> str:
    """CEL: every top-level field, `ignoring` aside, and our own labels and annotations are what they were.

    Removing finalizers and owner references changes none of that, so nothing hangs in deletion. An owner can't be
    added: the garbage collector would delete the object with it.
    """
    owners = "metadata.?ownerReferences.orValue([])"
    listed = "[" + ", ".join(f"'{name}'" for name in ignoring) + "]"
    return (
        f"dyn(object).all(f, f in {listed} || (f in dyn(oldObject) && dyn(oldObject)[f] == dyn(object)[f])) &&\n"
        f"dyn(oldObject).all(f, f in {listed} || f in dyn(object)) &&\n"
        f"{same_entries('labels')} &&\n{same_entries('annotations')} &&\n"
        f"object.{owners}.all(o, oldObject.{owners}.exists(p, p.uid == o.uid))"
    )
