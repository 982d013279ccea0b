"""MLServer reduced to one model and the endpoints of the Open Inference Protocol v2 over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mlserver import MLServer, ModelSettings, Settings
from mlserver.registry import MultiModelRegistry
from mlserver.rest import RESTServer
from mlserver.settings import ModelParameters
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .answering import Answering
from .binary import Binary
from .gateways import IDLE
from .model import Model
from .raw import EXTENSION
from .recording import Answered, Exchanges
from .runtime import FileRuntime
from .usage import PATH, age, usage

_PATHS = {
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{model_name}",
    "/v2/models/{model_name}/ready",
    "/v2/models/{model_name}/infer",
    "/v2/models/{model_name}/versions/{model_version}",
    "/v2/models/{model_name}/versions/{model_version}/ready",
    "/v2/models/{model_name}/versions/{model_version}/infer",
}
"""All that the server answers to: no repository (load, unload), no streaming, no documentation pages."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Which output is recorded, and where every answer goes; whether inputs are wanted too. Both return at once."""

    output: str
    record: Callable[[Answered], None]
    inputs: Callable[[], bool]


class PatientServer(RESTServer):  # type: ignore[misc]  # mlserver's types aren't followed
    """MLServer's HTTP server, but for how long it keeps idle connections: Uvicorn's own is 5 s."""

    def _get_config(self) -> Any:
        config = super()._get_config()
        config.timeout_keep_alive = IDLE
        return config


class ModelServer(MLServer):  # type: ignore[misc]  # mlserver's types aren't followed
    """Serves one model that is loaded before the port opens, so that ready means ready."""

    def __init__(
        self,
        settings: Settings,
        *,
        model: Model,
        name: str,
        label: str,
        threads: ThreadPoolExecutor,
        recording: Recording | None,
    ) -> None:
        """`label` is the version that answers carry."""
        self._recording = recording
        answering = Answering(model=model, recorded=None if recording is None else recording.output)
        self._initialise = partial(FileRuntime, answering=answering, threads=threads)
        paths = [f"/v2/models/{name}/infer", f"/v2/models/{name}/versions/{label}/infer"]
        self._binary = partial(Binary, answering=answering, paths=paths, name=name, version=label, threads=threads)
        super().__init__(settings)

    def _create_model_registry(self) -> MultiModelRegistry:
        return MultiModelRegistry(on_model_load=[self.add_custom_handlers], model_initialiser=self._initialise)

    def _create_servers(self) -> None:
        self._rest_server = PatientServer(self._settings, self._data_plane, self._model_repository_handlers)
        router = self._rest_server._app.router
        router.routes[:] = [route for route in router.routes if getattr(route, "path", None) in _PATHS]
        router.routes.append(Route(PATH, self._usage))
        answers = self._binary(self._rest_server._app)
        if self._recording is None:
            self._rest_server._app = Exchanges(answers, record=None)
        else:
            told = self._recording
            self._rest_server._app = Exchanges(answers, record=told.record, inputs=told.inputs)
        self._grpc_server = None
        self._kafka_server = None

    async def start(self, models_settings: list[ModelSettings]) -> None:
        """Register the model, then serve until a signal comes."""
        for settings in models_settings:
            await self._model_registry.load(settings)
        self._cold = age()
        await self._rest_server.start()

    async def _usage(self, request: Request) -> Response:
        """What is used, for whoever shares this Pod; for all others there is nothing here."""
        if request.client is None or not ip_address(request.client.host).is_loopback:
            return JSONResponse({"detail": "Not Found"}, status_code=404)
        return JSONResponse(usage(cold=self._cold))


async def serve(
    model: Model,
    *,
    name: str,
    version: str | None,
    host: str,
    port: int,
    cpus: int,
    recording: Recording | None = None,
) -> None:
    """Serve `model` as `name` until SIGTERM or SIGINT; `cpus` requests run at once."""
    settings = Settings(
        _env_file=None,
        debug=False,
        host=host,
        http_port=port,
        root_path="",
        parallel_workers=0,
        load_models_at_startup=False,
        metrics_endpoint=None,
        tracing_server=None,
        kafka_enabled=False,
        cache_enabled=False,
        gzip_enabled=False,
        cors_settings=None,
        logging_settings=None,
        server_name="mandate-predictor",
        extensions=[EXTENSION],
    )
    label = version or model.digest
    model_settings = ModelSettings(
        _env_file=None,
        name=name,
        implementation=FileRuntime,
        platform=model.platform,
        versions=[label],
        max_batch_size=0,
        parameters=ModelParameters(_env_file=None, version=label),
    )
    with ThreadPoolExecutor(max_workers=cpus, thread_name_prefix="run") as threads:
        server = ModelServer(settings, model=model, name=name, label=label, threads=threads, recording=recording)
        await server.start([model_settings])


def cpu_limit(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Whole CPUs that this container may use, at least 1: its cgroup's quota (v2 or v1), else those it may run on."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota_v2(cgroups / "cpu.max") or _quota_v1(cgroups / "cpu")
    return max(1, allowed if quota is None else min(allowed, -int(-quota // 1)))


def _quota_v2(file: Path) -> float | None:
    try:
        quota, period = file.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    try:
        quota, period = (int((folder / f"cpu.cfs_{part}_us").read_text()) for part in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return None if quota <= 0 else quota / period
