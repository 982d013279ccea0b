"""The ModelDeployment in a YAML file, read as strictly as the API server reads it."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mandate.api.check import load_spec
from mandate.api.defaults import effective
from mandate.api.kinds import ModelDeploymentSpec, Transition
from mandate.api.names import API_VERSION, GROUP, KSERVE_NAME_LENGTH, MODEL_NAME_LENGTH

from .errors import InputError

KIND = "ModelDeployment"
MAX_BYTES = 1 << 20
"""More than the API server would take."""
MAX_VALUES = 100_000
"""Mappings, lists and plain values, each counted as often as aliases (`*name`) repeat it."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A ModelDeployment as declared, and as it is judged (with built-in gates where it declares none).

    Relative paths in it start from `folder`. `path` is None for standard input. `history` is what a cluster recorded,
    where the file comes from one (`kubectl get -o yaml`).
    """

    name: str
    declared: ModelDeploymentSpec
    spec: ModelDeploymentSpec
    folder: Path
    path: Path | None
    text: str
    history: tuple[Transition, ...]


def read(path: Path, *, name: str | None = None, choose: str = "say which with --name") -> Manifest:
    """The ModelDeployment in `path` (`-` is standard input); `choose` is the advice where there are several.

    Raises InputError and SpecError.
    """
    text, folder = _text(path)
    found = [document for document in _documents(text, path=path) if _is_ours(document, path=path)]
    if name is not None:
        found = [document for document in found if _name(document) == name]
    if not found:
        wanted = f" named {name!r}" if name else ""
        raise InputError(f"{path}: holds no {KIND}{wanted}; expected a document with kind: {KIND}")
    if len(found) > 1:
        names = ", ".join(sorted(str(_name(document)) for document in found))
        raise InputError(f"{path}: holds {len(found)} {KIND}s ({names}); {choose}")
    document = found[0]
    unknown = sorted(set(document) - {"apiVersion", "kind", "metadata", "spec", "status"})
    if unknown:
        raise InputError(f"{path}: {unknown[0]}: unknown field; known are apiVersion, kind, metadata, spec")
    own_name = checked_name(_name(document), field=f"{path}: metadata.name")
    if "spec" not in document:
        raise InputError(f"{path}: spec: is required")
    try:
        declared = load_spec(document["spec"])
    except RecursionError:
        raise InputError(f"{path}: spec: is nested too deeply to be read") from None
    if declared.serving.provider == "KServe" and len(own_name) > KSERVE_NAME_LENGTH:
        words = f"has {len(own_name)} characters, at most {KSERVE_NAME_LENGTH} fit with the provider KServe"
        raise InputError(f"{path}: metadata.name: {own_name!r} {words}")
    return Manifest(
        name=own_name,
        declared=declared,
        spec=effective(declared),
        folder=folder,
        path=None if str(path) == "-" else path,
        text=text,
        history=_history(document, path=path),
    )


def gate_lines(manifest: Manifest) -> dict[str, int]:
    """At which line of its file each declared gate starts, from 1."""
    for root in yaml.compose_all(manifest.text, Loader=yaml.SafeLoader):
        if _at(root, "kind") == KIND and _at(root, "metadata", "name") == manifest.name:
            gates = _below(root, "spec", "gates")
            found = gates.value if isinstance(gates, yaml.SequenceNode) else []
            return {str(_at(gate, "name")): gate.start_mark.line + 1 for gate in found}
    return {}


def _below(node: yaml.Node | None, *keys: str) -> yaml.Node | None:
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in pairs if name.value == key), None)
    return node


def _at(node: yaml.Node | None, *keys: str) -> str | None:
    found = _below(node, *keys)
    return str(found.value) if isinstance(found, yaml.ScalarNode) else None


def _history(document: dict[str, Any], *, path: Path) -> tuple[Transition, ...]:
    """The transitions in the status, without what a newer operator may have added to them."""
    status = document.get("status")
    entries = status.get("history") if isinstance(status, dict) else None
    if entries is None:
        return ()
    try:
        return tuple(
            Transition.model_validate({key: value for key, value in entry.items() if key in Transition.model_fields})
            for entry in entries
        )
    except (AttributeError, TypeError, ValidationError):
        raise InputError(
            f"{path}: status.history: isn't what an operator writes; leave the status out, or take it from the cluster"
        ) from None


def checked_name(name: Any, *, field: str) -> str:
    """A ModelDeployment's name, if it can be one. Raises InputError."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name):
        raise InputError(
            f"{field}: got {_short(name)}, expected lower-case letters, digits and hyphens, such as credit"
        )
    if len(name) > MODEL_NAME_LENGTH:
        raise InputError(f"{field}: {_short(name)} has {len(name)} characters, at most {MODEL_NAME_LENGTH} fit")
    return name


def _text(path: Path) -> tuple[str, Path]:
    try:
        if str(path) == "-":
            if sys.stdin is None:
                raise InputError("-: standard input is closed; name a file")
            data, folder = sys.stdin.buffer.read(MAX_BYTES + 1), Path()
        else:
            with path.open("rb") as file:
                data, folder = file.read(MAX_BYTES + 1), path.parent
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; expected a YAML file with a {KIND}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: is larger than {MAX_BYTES} bytes, which no cluster takes; is it the manifest?")
    try:
        return data.decode("utf-8-sig"), folder
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: isn't UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


class _Loader(yaml.SafeLoader):
    """Reads what JSON can say too; refuses keys that stand twice, of which YAML would silently keep the last."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == _MERGE:
            raise _refusal("'<<' (a merge key) isn't read; write the fields out", key_node)
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            written = f"key {key_node.value!r} is read as {key!r}" if isinstance(key_node, yaml.ScalarNode) else "a key"
            raise _refusal(f"{written}; put it in quotes, keys are text", key_node)
        if key in seen:
            raise _refusal(f"{key!r} stands twice; keep one of them", key_node)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _unknown_to_json(_: _Loader, node: yaml.Node) -> Any:
    kind = node.tag.rpartition(":")[2]
    written = repr(node.value) if isinstance(node, yaml.ScalarNode) else "this"
    raise _refusal(f"{written} is read as YAML's {kind}; if it is text, put it in quotes", node)


def _refusal(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_MERGE = "tag:yaml.org,2002:merge"
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
for _kind in ("binary", "omap", "pairs", "set", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _unknown_to_json)


def _documents(text: str, *, path: Path) -> list[Any]:
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.reader.ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise InputError(
            f"{path}: holds the character U+{code:04X} at position {error.position}, which YAML doesn't take; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise InputError(f"{where}: {error.problem or error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: isn't YAML: {error}") from None
    if _values(documents) > MAX_VALUES:
        raise InputError(
            f"{path}: holds more than {MAX_VALUES} values once its aliases (*name) are written out; "
            "write out what it needs, without aliases"
        )
    return documents


def _values(documents: list[Any]) -> float:
    """How many values there are, what aliases repeat counted each time; infinite where one holds itself."""
    counted: dict[int, float] = {}

    def count(value: Any) -> float:
        if not isinstance(value, (dict, list)):
            return 1
        if id(value) not in counted:
            counted[id(value)] = math.inf  # until its parts are counted: who meets it meanwhile stands inside of it
            counted[id(value)] = 1 + sum(map(count, value.values() if isinstance(value, dict) else value))
        return counted[id(value)]

    return count(documents)


def _is_ours(document: Any, *, path: Path) -> bool:
    """Whether a document is the kind that we judge; other kinds are passed over, other versions of ours refused."""
    if document is None:
        return False
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a mapping with apiVersion, kind, metadata and spec, got {_short(document)}")
    version, kind = document.get("apiVersion"), document.get("kind")
    if kind != KIND:
        if kind is None or version is None:
            raise InputError(f"{path}: {'kind' if kind is None else 'apiVersion'}: is required, such as {KIND}")
        return False
    if version != API_VERSION:
        known = f"; {GROUP} has no other version" if str(version).startswith(f"{GROUP}/") else ""
        raise InputError(f"{path}: apiVersion: got {version!r}, expected {API_VERSION!r}{known}")
    return True


def _name(document: dict[str, Any]) -> Any:
    metadata = document.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
