"""Sources on servers: who sees the credentials, who may reach the network, and what doesn't change for volumes."""

from __future__ import annotations

from typing import Any

import pytest

from mandate.api.check import SpecError, load_spec
from mandate.api.spec import Batch
from mandate.controller import pods
from mandate.controller.choice import understood
from mandate.controller.settings import Images, Settings
from mandate.evidence.measurement import evaluation_spec
from tests.unit.controller.samples import MODEL_DIGEST, mdep

Object = dict[str, Any]
IMAGE = "mandate/x@sha256:" + "1" * 64
IMAGES = Images(fetch=IMAGE, judge=IMAGE, predictor=IMAGE)
MODEL = {
    "uri": "https://models.example/7/model.onnx",
    "format": "ONNX",
    "digest": MODEL_DIGEST,
    "credentialsRef": {"name": "models"},
}
TABLE = {"uri": "https://data.example/credit.parquet?version=3", "credentialsRef": {"name": "data"}}


def containers(template: Object) -> dict[str, Object]:
    spec = template["spec"]
    return {item["name"]: item for item in (*spec.get("initContainers", ()), *spec["containers"])}


def secrets_seen(template: Object) -> dict[str, dict[str, str]]:
    """By container: which Secret it sees where."""
    names = {item["name"]: item["secret"]["secretName"] for item in template["spec"]["volumes"] if "secret" in item}
    return {
        name: {names[m["name"]]: m["mountPath"] for m in item["volumeMounts"] if m["name"] in names}
        for name, item in containers(template).items()
    }


def evaluation(**changes: Any) -> tuple[Object, bool]:
    """The Pod template of an evaluation, and whether it is sealed."""
    asked = evaluation_spec("credit", load_spec(mdep(**changes)["spec"]))
    settings = Settings(images=IMAGES)
    template = pods.evaluation_template(job="j", namespace="n", evaluation="e", spec=asked, settings=settings)
    return template, asked.sealed


def test_only_the_container_that_fetches_sees_credentials() -> None:
    template, sealed = evaluation(model__source=MODEL, data__source=TABLE)
    seen = secrets_seen(template)
    assert seen.pop("fetch") == {"data": "/mandate/credentials/data", "models": "/mandate/credentials/models"}
    assert seen == {"predictor": {}, "judge": {}}
    mounts = containers(template)["fetch"]["volumeMounts"]
    assert all(mount["readOnly"] for mount in mounts if mount["mountPath"].startswith("/mandate/credentials/"))
    [volume] = [item for item in template["spec"]["volumes"] if item.get("secret", {}).get("secretName") == "data"]
    assert volume["secret"] == {"secretName": "data", "defaultMode": 0o440, "optional": True}
    assert not sealed


def test_a_serving_pod_fetches_with_the_models_credentials_only() -> None:
    spec = load_spec(mdep(model__source=MODEL, data__source=TABLE)["spec"])
    template = pods.serving_template(
        namespace="n", model_name="credit", revision="r", spec=spec, images=IMAGES, digest=MODEL_DIGEST, recorder_url=""
    )
    assert secrets_seen(template) == {"fetch": {"models": "/mandate/credentials/models"}, "predictor": {}}
    assert containers(template)["fetch"]["command"][-2:] == ["--credentials-ref", "models"]


def test_only_pods_that_fetch_from_servers_are_let_out() -> None:
    """A network policy can't tell containers apart: it must be able to leave sealed evaluations alone."""
    volume = {"uri": "pvc://models/model.onnx", "format": "ONNX", "digest": MODEL_DIGEST}

    def labels(model: Object) -> list[Object]:
        spec = load_spec(mdep(model__source=model)["spec"])
        told: Object = {"model_name": "credit", "revision": "r", "images": IMAGES, "digest": MODEL_DIGEST, "spec": spec}
        batch = Batch(input="pvc://in/a", output="pvc://out/b")
        return [
            evaluation(model__source=model)[0]["metadata"]["labels"],
            pods.serving_template(namespace="n", recorder_url="", **told)["metadata"]["labels"],
            pods.batch_template(batch=batch, level="Shadow", **told)["metadata"]["labels"],
        ]

    assert [each.get("mandate.dev/egress") for each in labels(MODEL)] == ["Sources"] * 3
    assert [each.get("mandate.dev/egress") for each in labels(volume)] == [None] * 3
    assert evaluation(model__source=volume, data__source=TABLE)[0]["metadata"]["labels"]["mandate.dev/egress"]


def test_storage_is_named_to_what_fetches_before_serving() -> None:
    storage = {"endpoint": "https://minio.example:9000", "region": "eu-central-1"}
    spec = load_spec(mdep(model__source=MODEL | {"uri": "s3://models/7.onnx", "s3": storage})["spec"])
    template = pods.serving_template(
        namespace="n", model_name="credit", revision="r", spec=spec, images=IMAGES, digest=MODEL_DIGEST, recorder_url=""
    )
    command = containers(template)["fetch"]["command"]
    assert command[-6:] == [
        *("--credentials-ref", "models", "--s3-endpoint", "https://minio.example:9000", "--s3-region", "eu-central-1"),
    ]


def test_volumes_take_no_secrets_and_are_sealed() -> None:
    template, sealed = evaluation()
    assert not any("secret" in volume for volume in template["spec"]["volumes"])
    assert sealed


def test_one_secret_for_several_files_is_mounted_once() -> None:
    template, _ = evaluation(model__source=MODEL, data__source=TABLE | {"credentialsRef": {"name": "models"}})
    assert [item["name"] for item in template["spec"]["volumes"] if "secret" in item] == ["credentials-0"]


@pytest.mark.parametrize(
    "uri",
    [
        "https://data.example/credit.csv",
        "http://data/credit.arrow",
        "s3://data/credit.parquet",
        "oci://registry.example/data/credit:3#credit.csv",
    ],
)
def test_servers_are_understood_in_a_cluster(uri: str) -> None:
    table = understood(mdep(data__source={"uri": uri})).data.source
    assert table is not None
    assert table.uri == uri


def test_a_path_is_not() -> None:
    with pytest.raises(SpecError):
        understood(mdep(data__source={"uri": "credit.csv"}))


ANNOTATIONS = {"uri": "https://labels.example/said.csv", "row": "id", "annotator": "who", "label": "said"}


def test_annotations_are_fetched_like_any_table() -> None:
    annotations = ANNOTATIONS | {"credentialsRef": {"name": "labels"}}
    template, sealed = evaluation(data__annotations=annotations, task__id="id")
    assert secrets_seen(template)["fetch"] == {"labels": "/mandate/credentials/labels"}
    assert not sealed
    claimed, _ = evaluation(data__annotations=ANNOTATIONS | {"uri": "pvc://people/said.csv"}, task__id="id")
    claims = [item["persistentVolumeClaim"] for item in claimed["spec"]["volumes"] if "persistentVolumeClaim" in item]
    assert {"claimName": "people", "readOnly": True} in claims


def test_annotations_of_a_laptop_are_refused_in_a_cluster() -> None:
    with pytest.raises(SpecError, match=r"spec\.data\.annotations\.uri: got 'said.csv', expected pvc://"):
        understood(mdep(data__annotations=ANNOTATIONS | {"uri": "said.csv"}, task__id="id"))


@pytest.mark.parametrize(
    ("uri", "format_", "fetched", "served"),
    [
        ("pvc://models/7.onnx", "ONNX", (), ()),
        ("pvc://models/7.skops", "Skops", (), ("--format", "Skops")),
        ("pvc://models/7", "MLflow", ("--format", "MLflow"), ("--format", "MLflow")),
    ],
)
def test_a_models_format_goes_to_whom_it_concerns(
    uri: str, format_: str, fetched: tuple[str, ...], served: tuple[str, ...]
) -> None:
    """An ONNX model's commands are what they were before there were other formats, so its Pods stay."""
    spec = load_spec(mdep(model__source={"uri": uri, "format": format_, "digest": MODEL_DIGEST})["spec"])
    template = pods.serving_template(
        namespace="n",
        model_name="credit",
        revision="credit-1",
        spec=spec,
        images=IMAGES,
        digest=MODEL_DIGEST,
        recorder_url="",
    )
    for name, expected in (("fetch", fetched), ("predictor", served)):
        command = containers(template)[name]["command"]
        at = command.index("--format") if "--format" in command else len(command)
        assert tuple(command[at : at + 2]) == expected
