"""Pod templates of evaluations and of serving revisions. Pure.

Both run the very same predictor container (image, arguments, resources), so that what is measured is what serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from mandate.api.criteria import Level
from mandate.api.formats import SERVERS
from mandate.api.kinds import EvaluationImages, ModelDeploymentSpec, ModelEvaluationSpec
from mandate.api.names import (
    ANNOTATION_AUTONOMY,
    ANNOTATION_MODEL_DIGEST,
    LABEL_BATCH,
    LABEL_EGRESS,
    LABEL_EVALUATION,
    LABEL_MODEL,
    LABEL_REVISION,
)
from mandate.api.spec import (
    CHAMPION_PORT,
    DATA_TABLES,
    PREDICTOR_PORT,
    Baseline,
    Batch,
    Model,
    ModelSource,
    Serving,
    TableSource,
    Task,
)
from mandate.controller.dask import Scheduler, arguments
from mandate.controller.settings import Images, Settings
from mandate.evaluate.frame import SETTINGS_VARIABLE, pack
from mandate.evidence.measurement import measurement_settings, stated

Object = dict[str, Any]

USER = 65532
TERMINATION_LOG = "/dev/termination-log"  # Kubernetes' default
EVALUATION_GRACE = 10
"""Seconds from when an evaluation's servers are asked to stop until they are killed."""
BASELINE_CONTAINERS = "baseline-"
"""What the names of baselines' containers begin with."""
RECORDING_PORTS = (8090, 8091)
"""Where the recording sidecar listens: the first, unless the model does."""
LEAVING_SECONDS = 5
"""For which a model behind a sidecar goes on after its Pod is deleted, until nobody sends it requests any more."""
SCRATCH = "64Mi"
SECRET_MODE = 0o440
"""For the group of our user, and nobody else."""
MODEL_LIMIT = "8Gi"
DATA_LIMIT = "16Gi"
DASK_VOLUME = "dask"
DASK_CREDENTIALS = "/mandate/dask"
"""Where the judge finds ca.crt, tls.crt and tls.key."""
PROBE_SECONDS = 5
STARTUP_FAILURES = 60


def claim_of(uri: str) -> str | None:
    """The claim of `pvc://CLAIM/PATH`, or None for any other URI."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme == "pvc" else None


def credentials_of(*sources: ModelSource | TableSource | None) -> list[str]:
    """Names of the Secrets that open them, each once."""
    named = (source.credentials_ref for source in sources if source is not None)
    return sorted({reference.name for reference in named if reference is not None})


def evaluation_template(
    *,
    job: str,
    namespace: str,
    evaluation: str,
    spec: ModelEvaluationSpec,
    settings: Settings,
    scheduler: Scheduler | None = None,
) -> Object:
    """The Pod of one attempt: fetch, then the predictor beside the judge, which may have a Dask cluster's `scheduler`.

    The deadline stands here, not on the Job, which would delete the Pod and its log. The judge is always the present
    one; the settings that all are told leave out the images, and the first-seen time stands beside them: older images
    wouldn't understand either.
    """
    images = spec.images or EvaluationImages(fetch=settings.images.fetch, predictor=settings.images.predictor)
    told: Object = {"metadata": {"name": evaluation, "namespace": namespace}, "spec": measurement_settings(spec)}
    if spec.first_seen is not None:
        told["firstSeen"] = stated(spec.first_seen)
    packed = pack(told)
    environment = [{"name": SETTINGS_VARIABLE, "value": packed}]
    claims = sorted({claim for uri in spec.source_uris if (claim := claim_of(uri))})
    source, champion = spec.model.source, spec.champion
    fetched = {
        name: model.source.uri is not None
        for name, model in (("model", spec.model), ("champion", champion))
        if model is not None
    }
    writable = [_mount(name, f"/mandate/{name}") for name, wanted in fetched.items() if wanted]
    writable.append(_mount("data", "/mandate/data"))
    tables = [getattr(spec.data, name) for name in DATA_TABLES]
    secrets = credentials_of(source, champion.source if champion is not None else None, *tables)
    init = [_fetch(images.fetch, ["fetch"], claims=claims, secrets=secrets, environment=environment, writable=writable)]
    volumes = [*_volumes("fetch", "judge", claims=claims, secrets=secrets), _scratch("data", DATA_LIMIT)]
    volumes += [_scratch(name, MODEL_LIMIT) for name, wanted in fetched.items() if wanted]
    if source.columns is None:
        sidecar = predictor(spec.model, serving=spec.serving, image=images.predictor, digest=source.digest)
        init.append({**sidecar, "restartPolicy": "Always"})
        volumes += _volumes("predictor")
    if champion is not None:
        runtime = images.champion or settings.images.predictor
        init.append({**_champion(champion, spec.serving, runtime), "restartPolicy": "Always"})
        volumes += _volumes("champion")
    for baseline in spec.baselines:
        if baseline.container is not None:
            init.append(_baseline(baseline, spec.serving))
            volumes += _volumes(baseline_container(baseline.name))
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
    judge["command"] = [*judge["command"], *arguments(scheduler)]
    if scheduler is not None and scheduler.secret:
        judge["volumeMounts"] = [*judge["volumeMounts"], _mount(DASK_VOLUME, DASK_CREDENTIALS, read_only=True)]
        volumes.append(_secret_volume(DASK_VOLUME, scheduler.secret))
    return {
        "metadata": {
            "labels": {LABEL_MODEL: spec.model_deployment, LABEL_EVALUATION: job, **_egress(*spec.source_uris)}
        },
        "spec": _pod(init=init, containers=[judge], volumes=volumes)
        | {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(settings.pod_deadline),
            "terminationGracePeriodSeconds": EVALUATION_GRACE,
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

    Our runtime tells the recorder what it answers, where there is one; before an image of the user's own stands a
    sidecar that does, unless KServe's logger or the image itself is to.
    """
    model, serving = spec.model, spec.serving
    source = model.source
    init, volumes = [], _volumes("predictor")
    recording: list[str] = []
    if recorder_url:
        recording = [
            *("--record", recorder_url, "--namespace", namespace),
            *("--model-deployment", model_name, "--revision", revision),
            *_answer(model, spec.task),
        ]
    if source.uri is not None:
        fetching, needed = _fetch_model(source, image=images.fetch, digest=digest)
        init.append(fetching)
        volumes += [*_volumes("fetch"), *needed, _scratch("model", MODEL_LIMIT)]
    port = source.port if source.image is not None else PREDICTOR_PORT
    probe = {"httpGet": {"path": "/v2/health/ready", "port": port, "scheme": "HTTP"}, "periodSeconds": PROBE_SECONDS}
    sidecar = None
    if recording and source.image is not None and records_by_sidecar(spec):
        sidecar = next(each for each in RECORDING_PORTS if each != port)
    container = predictor(model, serving=serving, image=images.predictor, digest=digest) | {
        "ports": _ports(port, sidecar),
        "readinessProbe": probe,
        "startupProbe": probe | {"failureThreshold": STARTUP_FAILURES},
        "livenessProbe": {
            "httpGet": {"path": "/v2/health/live", "port": port, "scheme": "HTTP"},
            "periodSeconds": 2 * PROBE_SECONDS,
            "timeoutSeconds": PROBE_SECONDS,
            "failureThreshold": 6,
        },
    }
    if source.image is None:
        container["command"] += recording
    if sidecar is not None:
        # The sidecar goes on passing requests for as long as others may still send them here.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": LEAVING_SECONDS}}}
        image = images.recording or images.predictor
        init.append(_recording_sidecar(image, port=sidecar, before=port, recording=recording))
        volumes += _volumes("recording")
    return {
        "metadata": {
            "labels": {LABEL_MODEL: model_name, LABEL_REVISION: revision, **_egress(source.uri or "")},
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
    model = spec.model
    if model.source.uri is None:
        raise ValueError("only a model file scores batches")
    fetching, needed = _fetch_model(model.source, image=images.fetch, digest=digest)
    sidecar = predictor(model, serving=spec.serving, image=images.predictor, digest=digest)
    init = [
        fetching,
        {**sidecar, "command": [*sidecar["command"], "--host", "127.0.0.1"], "restartPolicy": "Always"},
    ]
    volumes = [*_volumes("score", "predictor", "fetch"), *needed, _scratch("model", MODEL_LIMIT)]
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
            "labels": {LABEL_MODEL: model_name, LABEL_BATCH: revision, **_egress(model.source.uri)},
            "annotations": {ANNOTATION_MODEL_DIGEST: digest, ANNOTATION_AUTONOMY: level},
        },
        "spec": _pod(init=init, containers=[score], volumes=volumes) | {"restartPolicy": "Never"},
    }


def _answer(model: Model, task: Task) -> list[str]:
    """How the recorder is to read an answer, as declared."""
    output = model.output
    # One word each, since a class may begin with a dash.
    arguments = [f"--output={output.name}", f"--output-kind={output.kind}"]
    arguments += [f"--class={name}" for name in task.quantiles or output.classes]
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
            # An ONNX model's command stays what it was before there were other formats, and with it its Pods.
            *(("--format", str(model.source.format)) if model.source.format != "ONNX" else ()),
        ]
        container["volumeMounts"] = [_mount("model", "/mandate/model", read_only=True), *container["volumeMounts"]]
    return container


def records_by_sidecar(spec: ModelDeploymentSpec) -> bool:
    """Whether a sidecar tells the recorder what an image of the user's own answers."""
    return spec.serving.recording == "Sidecar" and spec.serving.provider != "KServe"


def _ports(port: int, sidecar: int | None) -> list[Object]:
    """The model's port, or the sidecar's, by the name that Services know.

    Both stand on the model's container: before Kubernetes 1.33, EndpointSlices don't find a name on a sidecar.
    """
    own = {"name": "http" if sidecar is None else "model", "containerPort": port, "protocol": "TCP"}
    return [own] if sidecar is None else [own, {"name": "http", "containerPort": sidecar, "protocol": "TCP"}]


def _recording_sidecar(image: str, *, port: int, before: int, recording: list[str]) -> Object:
    """The container that requests reach first. It is ready when the model is."""
    return {
        "name": "recording",
        "image": image,
        "command": [
            *("python", "-m", "mandate.predictor.beside", "--port", str(port)),
            *("--upstream", f"http://127.0.0.1:{before}", *recording),
        ],
        "readinessProbe": {
            "httpGet": {"path": "/v2/health/ready", "port": port, "scheme": "HTTP"},
            "periodSeconds": PROBE_SECONDS,
        },
        "resources": {"limits": {"cpu": "1", "memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}},
        "restartPolicy": "Always",
        "securityContext": _locked(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_mount("tmp-recording", "/tmp")],  # noqa: S108 - the container's own emptyDir
    }


def champion_port(champion: Model) -> int:
    """Where the champion listens in an evaluation Pod, next to the model under judgement."""
    return champion.source.port if champion.source.image is not None else CHAMPION_PORT


def ports_clash(model: Model, champion: Model, baselines: Iterable[Baseline] = ()) -> bool:
    """Whether they can't listen in one Pod: the user's own images listen where they listen."""
    own = model.source.port if model.source.image is not None else PREDICTOR_PORT
    taken = {baseline.container.port for baseline in baselines if baseline.container is not None}
    return champion_port(champion) in (taken if model.source.columns is not None else taken | {own})


def baseline_container(name: str) -> str:
    """The name of the container of a baseline of this name."""
    return f"{BASELINE_CONTAINERS}{name}"


def _baseline(baseline: Baseline, serving: Serving) -> Object:
    """The user's container, locked as the model's is; it has nothing mounted but its own scratch."""
    container, name = baseline.container, baseline_container(baseline.name)
    assert container is not None
    return {
        "name": name,
        "image": container.image,
        "resources": serving.resources if container.resources is None else container.resources,
        "restartPolicy": "Always",
        "securityContext": _locked(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_mount(f"tmp-{name}", "/tmp")],  # noqa: S108 - its own emptyDir
    }


def _champion(champion: Model, serving: Serving, image: str) -> Object:
    """The champion's predictor, in its own name, with its own files."""
    container = predictor(champion, serving=serving, image=image, digest=champion.source.digest)
    container |= {"name": "champion", "volumeMounts": [_mount("tmp-champion", "/tmp")]}  # noqa: S108 - its own emptyDir
    if champion.source.image is None:
        command = [str(CHAMPION_PORT) if part == str(PREDICTOR_PORT) else part for part in container["command"]]
        mounts = [_mount("champion", "/mandate/model", read_only=True), *container["volumeMounts"]]
        container |= {"command": command, "volumeMounts": mounts}
    return container


def _egress(*uris: str) -> Mapping[str, str]:
    """What lets network policies tell Pods that fetch from servers from those that read volumes only."""
    return {LABEL_EGRESS: "Sources"} if any(uri.startswith(SERVERS) for uri in uris) else {}


def _fetch_model(source: ModelSource, *, image: str, digest: str) -> tuple[Object, list[Object]]:
    """The container that copies and verifies a model file, and the volumes that it reads."""
    uri = str(source.uri)
    claims = [claim for claim in (claim_of(uri),) if claim]
    secrets = credentials_of(source)
    arguments = ["fetch-model", "--uri", uri, "--digest", digest]
    arguments += ["--format", "MLflow"] if source.format == "MLflow" else []
    arguments += [part for name in secrets for part in ("--credentials-ref", name)]
    if source.s3 is not None:
        arguments += ["--s3-endpoint", source.s3.endpoint] if source.s3.endpoint else []
        arguments += ["--s3-region", source.s3.region] if source.s3.region else []
    writable = [_mount("model", "/mandate/model")]
    container = _fetch(image, arguments, claims=claims, secrets=secrets, environment=[], writable=writable)
    return container, _volumes(claims=claims, secrets=secrets)


def _fetch(
    image: str,
    arguments: list[str],
    *,
    claims: list[str],
    secrets: list[str],
    environment: list[Object],
    writable: list[Object],
) -> Object:
    mounts = [_mount(f"source-{claim}", f"/mandate/sources/{claim}", read_only=True) for claim in claims]
    mounts += [
        _mount(volume, f"/mandate/credentials/{name}", read_only=True) for volume, name in _secret_volumes(secrets)
    ]
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


def _volumes(*containers: str, claims: list[str] | None = None, secrets: list[str] | None = None) -> list[Object]:
    volumes = [_scratch(f"tmp-{container}", SCRATCH) for container in containers]
    volumes += [
        {"name": f"source-{claim}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        for claim in claims or ()
    ]
    return volumes + [_secret_volume(volume, name) for volume, name in _secret_volumes(secrets or [])]


def _secret_volume(volume: str, name: str) -> Object:
    # Optional, so that the container itself says what is missing; without it the Pod would wait for ever.
    return {"name": volume, "secret": {"secretName": name, "defaultMode": SECRET_MODE, "optional": True}}


def _secret_volumes(secrets: list[str]) -> list[tuple[str, str]]:
    """A volume's name for each Secret: by place, since names of Secrets may be longer than those of volumes."""
    return [(f"credentials-{index}", name) for index, name in enumerate(secrets)]
