"""CustomResourceDefinitions from the types: structural schemas, CEL rules, printer columns, short names.

`python -m mandate.api.crds generate|check DIR` writes the YAML or fails where it has drifted.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from .grant import AutonomyGrantSpec
from .kinds import (
    ModelDeployment,
    ModelDeploymentSpec,
    ModelDeploymentStatus,
    ModelEvaluation,
    ModelEvaluationSpec,
    ModelEvaluationStatus,
)
from .names import GROUP, KSERVE_NAME_LENGTH, VERSION

_DROPPED = {"title", "additionalProperties", "discriminator"}


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema as Kubernetes takes it: references inlined, no unions, no pydantic extras."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.pop("$defs", {})
    result = _convert(schema, definitions)
    assert isinstance(result, dict)
    return result


def _convert(node: Any, definitions: dict[str, Any]) -> Any:
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _convert({**target, **{key: value for key, value in node.items() if key != "$ref"}}, definitions)
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option.get("type") != "null"]
        if len(options) != 1:
            raise TypeError(f"a structural schema has no unions: {node}")
        rest = {key: value for key, value in node.items() if key not in {"anyOf", "default"}}
        return _convert({**options[0], **rest}, definitions)
    if "allOf" in node and len(node["allOf"]) == 1:
        rest = {key: value for key, value in node.items() if key != "allOf"}
        return _convert({**node["allOf"][0], **rest}, definitions)
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {name: _convert(child, definitions) for name, child in value.items()}
        elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
            result[key] = _convert(value, definitions)
        elif key == "const":
            result["enum"] = [value]
        elif key == "description":
            result[key] = " ".join(str(value).split())
        elif key not in _DROPPED:
            result[key] = value
    if isinstance(result.get("default"), dict):
        result["default"] = _own_defaults(result)
    elif result.get("default") in ("", None, []):
        # An empty default says nothing, and has() would be true of a field that nobody set.
        result.pop("default", None)
    if result.get("default") == {} and "properties" not in result:
        del result["default"]
    result.pop("propertyNames", None)
    return result


def _own_defaults(node: dict[str, Any]) -> dict[str, Any]:
    """What an object's default says beyond its properties' own defaults, which the API server fills in anyway."""
    properties = node.get("properties", {})
    return {
        key: value
        for key, value in node["default"].items()
        if value not in (None, "", [], {}) and value != properties.get(key, {}).get("default")
    }


def crd(
    *,
    kind: str,
    plural: str,
    short: str,
    description: str,
    spec: type[BaseModel],
    status: type[BaseModel] | None,
    columns: list[dict[str, Any]],
    validations: list[dict[str, Any]],
) -> dict[str, Any]:
    """One CustomResourceDefinition."""
    schema: dict[str, Any] = {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
            "kind": {"type": "string", "description": kind},
            "metadata": {"type": "object"},
            "spec": structural(spec),
        },
    }
    if validations:
        schema["x-kubernetes-validations"] = validations
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": columns,
    }
    if status is not None:
        schema["properties"]["status"] = structural(status)
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["mandate"],
            },
            "versions": [version],
        },
    }


def column(name: str, path: str, *, kind: str = "string", wide: bool = False) -> dict[str, Any]:
    """One printer column; `wide` shows with `-o wide` only."""
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


AGE = column("Age", ".metadata.creationTimestamp", kind="date")


def all_crds() -> dict[str, dict[str, Any]]:
    """Every CRD by file name."""
    crds = (
        crd(
            kind="ModelDeployment",
            plural="modeldeployments",
            short="mdep",
            description=(ModelDeployment.__doc__ or "").strip(),
            spec=ModelDeploymentSpec,
            status=ModelDeploymentStatus,
            columns=[
                column("Version", ".spec.model.version"),
                column("Level", ".status.level"),
                column("Target", ".spec.autonomy.target"),
                column("Gates", ".status.gatesPassed"),
                column("Ready", _condition("Ready")),
                column("Reason", _condition("Ready", "reason")),
                column("Champion", ".status.champion.version", wide=True),
                column("Tier", ".spec.useCase.riskTier", wide=True),
                column("Message", _condition("Ready", "message"), wide=True),
                AGE,
            ],
            validations=[
                {
                    "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')",
                    "message": "metadata.name must be a DNS label of at most 40 characters that starts with a letter: "
                    "Services and Deployments are named after it",
                },
                {
                    "rule": "!has(self.spec.serving) || !has(self.spec.serving.provider) || "
                    f"self.spec.serving.provider != 'KServe' || size(self.metadata.name) <= {KSERVE_NAME_LENGTH}",
                    "message": f"metadata.name must have at most {KSERVE_NAME_LENGTH} characters with the provider "
                    "KServe, which makes a label value of it: name the model otherwise, or use another provider",
                },
            ],
        ),
        crd(
            kind="ModelEvaluation",
            plural="modelevaluations",
            short="meval",
            description=(ModelEvaluation.__doc__ or "").strip(),
            spec=ModelEvaluationSpec,
            status=ModelEvaluationStatus,
            columns=[
                column("Model", ".spec.modelDeployment"),
                column("Version", ".spec.model.version"),
                column("Complete", _condition("Complete")),
                column("Reason", _condition("Complete", "reason")),
                column("Evidence", ".status.computedDigest", wide=True),
                AGE,
            ],
            validations=[],
        ),
        crd(
            kind="AutonomyGrant",
            plural="autonomygrants",
            short="grant",
            description="What may run in this namespace, and at which level. Written by the operator, read by the API "
            "server's admission policies. There is one per namespace, named mandate.",
            spec=AutonomyGrantSpec,
            status=None,
            # A column's path can't count: lists and maps show whole, as JSON.
            columns=[
                column("Models", ".spec.models"),
                column("Left Out", ".spec.leftOut"),
                column("Allowed Images", ".spec.allowedImages", wide=True),
                AGE,
            ],
            validations=[
                {
                    "rule": "self.metadata.name == 'mandate'",
                    "message": "there is one AutonomyGrant per namespace, named mandate",
                }
            ],
        ),
    )
    return {f"{document['spec']['names']['plural']}.yaml": document for document in crds}


def render(document: dict[str, Any]) -> str:
    """YAML with a line on where it comes from."""
    body = yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)
    return f"# Generated by `make generate` from operator/mandate/api; do not edit.\n{body}"


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or say which have drifted and exit 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["generate", "check"])
    parser.add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    texts = {options.directory / name: render(document) for name, document in all_crds().items()}
    if options.action == "generate":
        options.directory.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text)
        return 0
    drifted = [str(path) for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if drifted:
        print(f"{', '.join(drifted)}: differs from the types; run `make generate`", file=sys.stderr)
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
