"""Pod templates of evaluations and of serving revisions. Pure.

Both run the very same predictor container (image, arguments, resources), so that what is measured is what serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mandate.api.criteria import Level
from mandate.api.kinds import EvaluationImages, ModelDeploymentSpec, ModelEvaluationSpec
from mandate.api.names import (
    ANNOTATION_AUTONOMY,
    ANNOTATION_MODEL_DIGEST,
    LABEL_BATCH,
    LABEL_EVALUATION,
    LABEL_MODEL,
    LABEL_REVISION,
)
from mandate.api.spec import Batch, Model, Serving, Task
from mandate.controller.settings import Images, Settings
from mandate.evaluate.frame import SETTINGS_VARIABLE, pack
from mandate.evidence.measurement import measurement_settings

Object = dict[str, Any]

USER = 65532
TERMINATION_LOG = "/dev/termination-log"  # Kubernetes' default
PREDICTOR_PORT = 8080
CHAMPION_PORT = 8081
SCRATCH = "64Mi"
MODEL_LIMIT = "8Gi"
DATA_LIMIT = "16Gi"
PROBE_SECONDS = 5
STARTUP_FAILURES = 60


def claim_of(uri: str) -> str | None:
    """The claim of `pvc://CLAIM/PATH`, or None for any other URI."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme == "pvc" else None


def source_uris(spec: ModelEvaluationSpec) -> tuple[str, ...]:
    """Every URI that an evaluation reads."""
    tables = (spec.data.source, spec.data.train, spec.data.validation, spec.data.test)
    models = [spec.model, *([spec.champion] if spec.champion is not None else [])]
    uris = [*(model.source.uri for model in models), *(table.uri for table in tables if table is not None)]
    return tuple(uri for uri in uris if uri is not None)


def evaluation_template(
    *, job: str, namespace: str, evaluation: str, spec: ModelEvaluationSpec, settings: Settings
) -> Object:
    """The Pod of one attempt: fetch, then the predictor beside the judge.

    The deadline stands here, not on the Job, which would delete the Pod and its log. The judge is always the present
    one; the settings that all are told leave the images out, which older ones wouldn't understand.
    """
    images = spec.images or EvaluationImages(fetch=settings.images.fetch, predictor=settings.images.predictor)
    packed = pack({"metadata": {"name": evaluation, "namespace": namespace}, "spec": measurement_settings(spec)})
    environment = [{"name": SETTINGS_VARIABLE, "value": packed}]
    claims = sorted({claim for uri in source_uris(spec) if (claim := claim_of(uri))})
    source, champion = spec.model.source, spec.champion
    fetched = {
        name: model.source.uri is not None
        for name, model in (("model", spec.model), ("champion", champion))
        if model is not None
    }
    writable = [_mount(name, f"/mandate/{name}") for name, wanted in fetched.items() if wanted]
    writable.append(_mount("data", "/mandate/data"))
    init = [_fetch(images.fetch, ["fetch"], claims=claims, environment=environment, writable=writable)]
    volumes = [*_volumes("fetch", "judge", claims=claims), _scratch("data", DATA_LIMIT)]
    volumes += [_scratch(name, MODEL_LIMIT) for name, wanted in fetched.items() if wanted]
    if source.columns is None:
        sidecar = predictor(spec.model, serving=spec.serving, image=images.predictor, digest=source.digest)
        init.append({**sidecar, "restartPolicy": "Always"})
        volumes += _volumes("predictor")
    if champion is not None:
        runtime = images.champion or settings.images.predictor
        init.append({**_champion(champion, spec.serving, runtime), "restartPolicy": "Always"})
        volumes += _volumes("champion")
    judge = {
        "name": "judge",
        "image": settings.images.judge,
        "command": ["python", "-m", "mandate.evaluate", "judge"],
        "env": environment,
        "resources": _resources(cpu=settings.judge_cpu, memory=settings.judge_memory),
        "securityContext": _locked(),
        "terminationMessagePolicy": "File",
        "volumeMounts": [_mount("data", "/mandate/data", read_only=True), _mount("tmp-judge", "/tmp")],  # noqa: S108
    }
    if source.image is not None:
        judge["command"] = [*judge["command"], "--predictor", f"http://127.0.0.1:{source.port}"]
    if champion is not None:
        judge["command"] = [*judge["command"], "--champion", f"http://127.0.0.1:{champion_port(champion)}"]
    return {
        "metadata": {"labels": {LABEL_MODEL: spec.model_deployment, LABEL_EVALUATION: job}},
        "spec": _pod(init=init, containers=[judge], volumes=volumes)
        | {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(settings.pod_deadline),
            "terminationGracePeriodSeconds": 10,
        },
    }


def serving_template(
    *,
    namespace: str,
    model_name: str,
    revision: str,
    spec: ModelDeploymentSpec,
    images: Images,
    digest: str,
    recorder_url: str,
) -> Object:
    """The Pod that serves one revision. `digest` is the model's, as evaluated.

    Our runtime tells the recorder what it answers, where there is one; an image of the user's own has to do so itself.
    """
    model, serving = spec.model, spec.serving
    source = model.source
    init, volumes = [], _volumes("predictor")
    if source.uri is not None:
        claim = claim_of(source.uri)
        claims = [claim] if claim else []
        arguments = ["fetch-model", "--uri", source.uri, "--digest", digest]
        writable = [_mount("model", "/mandate/model")]
        init.append(_fetch(images.fetch, arguments, claims=claims, environment=[], writable=writable))
        volumes += [*_volumes("fetch", claims=claims), _scratch("model", MODEL_LIMIT)]
    port = source.port if source.image is not None else PREDICTOR_PORT
    probe = {"httpGet": {"path": "/v2/health/ready", "port": port, "scheme": "HTTP"}, "periodSeconds": PROBE_SECONDS}
    container = predictor(model, serving=serving, image=images.predictor, digest=digest) | {
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "readinessProbe": probe,
        "startupProbe": probe | {"failureThreshold": STARTUP_FAILURES},
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": port, "scheme": "HTTP"},
            "periodSeconds": 2 * PROBE_SECONDS,
            "timeoutSeconds": PROBE_SECONDS,
            "failureThreshold": 6,
        },
    }
    if recorder_url and source.image is None:
        container["command"] += [
            *("--record", recorder_url, "--namespace", namespace),
            *("--model-deployment", model_name, "--revision", revision),
            *_answer(model, spec.task),
        ]
    return {
        "metadata": {
            "labels": {LABEL_MODEL: model_name, LABEL_REVISION: revision},
            "annotations": {ANNOTATION_MODEL_DIGEST: digest},
        },
        "spec": _pod(init=init, containers=[container], volumes=volumes),
    }


def batch_template(
    *,
    model_name: str,
    revision: str,
    spec: ModelDeploymentSpec,
    batch: Batch,
    level: Level,
    images: Images,
    digest: str,
) -> Object:
    """The Pod that scores batches with one revision of a model file: our runtime beside the scorer.

    The level stands in the scorer's command, which the grant fixes: it names the folder and marks every row. The
    runtime answers on loopback only: Jobs label their Pods, so a Service could select one.
    """
    model, uri = spec.model, spec.model.source.uri
    if uri is None:
        raise ValueError("only a model file scores batches")
    claim = claim_of(uri)
    claims = [claim] if claim else []
    arguments = ["fetch-model", "--uri", uri, "--digest", digest]
    writable = [_mount("model", "/mandate/model")]
    sidecar = predictor(model, serving=spec.serving, image=images.predictor, digest=digest)
    init = [
        _fetch(images.fetch, arguments, claims=claims, environment=[], writable=writable),
        {**sidecar, "command": [*sidecar["command"], "--host", "127.0.0.1"], "restartPolicy": "Always"},
    ]
    volumes = [*_volumes("score", "predictor", "fetch", claims=claims), _scratch("model", MODEL_LIMIT)]
    read, write = urlsplit(batch.input), urlsplit(batch.output)
    told = {
        "model": model.model_dump(mode="json", by_alias=True, exclude_none=True),
        "task": spec.task.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    score = {
        "name": "score",
        "image": images.judge,
        "command": [
            *("python", "-m", "mandate.evaluate", "score", "--predictor", f"http://127.0.0.1:{PREDICTOR_PORT}"),
            *("--input", f"/mandate/input{read.path}", "--output", f"/mandate/output{write.path}"),
            *("--autonomy", level, "--version", model.version, "--revision", revision, "--digest", digest),
        ],
        "env": [{"name": SETTINGS_VARIABLE, "value": pack(told)}],
        "resources": _resources(cpu="1", memory="1Gi"),
        "securityContext": _locked(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            _mount("batch-input", "/mandate/input", read_only=True),
            _mount("batch-output", "/mandate/output"),
            _mount("tmp-score", "/tmp"),  # noqa: S108 - the container's own emptyDir
        ],
    }
    volumes += [
        {"name": "batch-input", "persistentVolumeClaim": {"claimName": read.netloc, "readOnly": True}},
        {"name": "batch-output", "persistentVolumeClaim": {"claimName": write.netloc}},
    ]
    return {
        "metadata": {
            "labels": {LABEL_MODEL: model_name, LABEL_BATCH: revision},
            "annotations": {ANNOTATION_MODEL_DIGEST: digest, ANNOTATION_AUTONOMY: level},
        },
        "spec": _pod(init=init, containers=[score], volumes=volumes) | {"restartPolicy": "Never"},
    }


def _answer(model: Model, task: Task) -> list[str]:
    """How the recorder is to read an answer, as declared."""
    output = model.output
    # One word each, since a class may begin with a dash.
    arguments = [f"--output={output.name}", f"--output-kind={output.kind}"]
    arguments += [f"--class={name}" for name in output.classes]
    arguments += [f"--positive={task.positive}"] if task.positive is not None else []
    arguments += [f"--cutoff={output.cutoff}"] if output.kind == "Probability" and task.type == "Binary" else []
    return arguments


def predictor(model: Model, *, serving: Serving, image: str, digest: str | None) -> Object:
    """The container that answers: our runtime with the file's digest, or the user's own image as it is."""
    container: Object = {
        "name": "predictor",
        "image": model.source.pinned_image or image,
        "resources": serving.resources,
        "securityContext": _locked(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_mount("tmp-predictor", "/tmp")],  # noqa: S108 - the container's own emptyDir
    }
    if model.source.image is None:
        container["command"] = [
            *("python", "-m", "mandate.predictor", "--model-dir", "/mandate/model", "--name", "model"),
            *("--port", str(PREDICTOR_PORT), "--version", model.version),
            *("--termination-log", TERMINATION_LOG),
            *(("--digest", digest) if digest else ()),
        ]
        container["volumeMounts"] = [_mount("model", "/mandate/model", read_only=True), *container["volumeMounts"]]
    return container


def champion_port(champion: Model) -> int:
    """Where the champion listens in an evaluation Pod, next to the model under judgement."""
    return champion.source.port if champion.source.image is not None else CHAMPION_PORT


def ports_clash(model: Model, champion: Model) -> bool:
    """Whether the two can't listen in one Pod: the user's own images listen where they listen."""
    own = model.source.port if model.source.image is not None else PREDICTOR_PORT
    return model.source.columns is None and own == champion_port(champion)


def _champion(champion: Model, serving: Serving, image: str) -> Object:
    """The champion's predictor, in its own name, with its own files."""
    container = predictor(champion, serving=serving, image=image, digest=champion.source.digest)
    container |= {"name": "champion", "volumeMounts": [_mount("tmp-champion", "/tmp")]}  # noqa: S108 - its own emptyDir
    if champion.source.image is None:
        command = [str(CHAMPION_PORT) if part == str(PREDICTOR_PORT) else part for part in container["command"]]
        mounts = [_mount("champion", "/mandate/model", read_only=True), *container["volumeMounts"]]
        container |= {"command": command, "volumeMounts": mounts}
    return container


def _fetch(
    image: str, arguments: list[str], *, claims: list[str], environment: list[Object], writable: list[Object]
) -> Object:
    mounts = [_mount(f"source-{claim}", f"/mandate/sources/{claim}", read_only=True) for claim in claims]
    mounts += writable
    container = {
        "name": "fetch",
        "image": image,
        "command": ["python", "-m", "mandate.evaluate", *arguments],
        "resources": _resources(cpu="1", memory="1Gi"),
        "securityContext": _locked(),
        "terminationMessagePolicy": "File",
        "volumeMounts": [*mounts, _mount("tmp-fetch", "/tmp")],  # noqa: S108 - the container's own emptyDir
    }
    return container | ({"env": environment} if environment else {})


def _pod(*, init: list[Object], containers: list[Object], volumes: list[Object]) -> Object:
    spec: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": "default",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": volumes,
    }
    return spec | ({"initContainers": init} if init else {})


def _locked() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }


def _resources(*, cpu: str, memory: str) -> Mapping[str, Mapping[str, str]]:
    return {"limits": {"cpu": cpu, "memory": memory}, "requests": {"cpu": "100m", "memory": "256Mi"}}


def _mount(volume: str, path: str, *, read_only: bool = False) -> Object:
    return {"name": volume, "mountPath": path} | ({"readOnly": True} if read_only else {})


def _scratch(name: str, limit: str) -> Object:
    return {"name": name, "emptyDir": {"sizeLimit": limit}}


def _volumes(*containers: str, claims: list[str] | None = None) -> list[Object]:
    volumes = [_scratch(f"tmp-{container}", SCRATCH) for container in containers]
    return volumes + [
        {"name": f"source-{claim}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        for claim in claims or ()
    ]
