"""Flags and their environment, and what is served over HTTP."""

from __future__ import annotations

import aiohttp
import pytest

from mandate.controller.__main__ import parse
from mandate.controller.server import serving
from mandate.telemetry.metrics import Metrics

IMAGE = "registry.example/judge@sha256:" + "0" * 64
IMAGES = [f"--judge-image={IMAGE}", f"--predictor-image={IMAGE}"]


def test_flags_win_over_the_environment_and_both_over_defaults() -> None:
    environment = {
        "MANDATE_WORKERS": "3",
        "MANDATE_RESYNC": "7",
        "MANDATE_NAMESPACES": "a, b,",
        "MANDATE_JUDGE_IMAGE": IMAGE,
    }
    options = parse(["--predictor-image", IMAGE, "--workers", "5"], environment)
    assert (options.workers, options.resync, options.namespaces) == (5, 7.0, ("a", "b"))
    assert options.settings.images.fetch == IMAGE
    assert options.lease.duration == 10


def test_two_processes_of_one_host_are_told_apart() -> None:
    first, second = (parse([*IMAGES, "--identity=pod"], {}).lease.identity for _ in range(2))
    assert first != second
    assert first.startswith("pod_")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--judge-image"),
        (["--judge-image=judge:latest", f"--predictor-image={IMAGE}"], "must be pinned"),
        ([*IMAGES, "--lease-duration=1"], "duration > renew deadline"),
        ([*IMAGES, "--workers=many"], "many"),
        ([*IMAGES, "--log-format=xml"], "json or text"),
        ([*IMAGES, "--kserve=yes"], "--kserve must be true or false, got 'yes'"),
        ([*IMAGES, "--drills=yes"], "--drills must be true or false, got 'yes'"),
        ([*IMAGES, "--verdicts=yes"], "--verdicts must be true or false, got 'yes'"),
    ],
)
def test_bad_flags_are_named(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(flags, {})
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


async def test_health_readiness_and_metrics() -> None:
    metrics = Metrics()
    ready: list[bool] = []
    async with (
        serving("127.0.0.1:0", registry=metrics.registry, ready=lambda: bool(ready)) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        assert (await session.get("/healthz")).status == 200
        assert (await session.get("/readyz")).status == 503
        ready.append(True)
        assert (await session.get("/readyz")).status == 200
        metrics.leader.set(1)
        answer = await session.get("/metrics")
        assert "mandate_leader 1.0" in await answer.text()
