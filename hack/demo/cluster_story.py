"""The main job on a real Kubernetes."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import by_hand
import example
from story import DemoError, Story

NAMESPACE = "flights"
SYSTEM = "mandate-system"
OPERATOR = "mandate-controller"
EXAMPLE = Path("examples") / "flights"
IN_A_SLICE = re.compile(r"(origin|haul|daypart) \S+: \d\S* (\[\S+, \S+\]|against \d\S*) misses ")
"""As in `daypart <9: 0.4329 [0.3759, 0.4985] misses within 0.67 .. 1.5`."""


def tell(story: Story, root: Path, *, keep: bool) -> None:
    """From nothing to a model that suggests: refused, bypass tried, granted, served."""
    cluster = (sys.executable, str(root / "hack" / "cluster"))
    ours = not story.succeeds(*cluster, "status")
    try:
        _cluster(story, cluster)
        _install(story, root, cluster)
        _first_version(story)
        _bypass(story, root)
        _operator_down(story, root)
        _second_version(story, root)
        _served(story, root)
        _why_not_automate(story)
        _explained(story)
        _metrics(story)
        _end(story, keep=keep or not ours)
    finally:
        if ours and not keep:
            story.say("taking the cluster down again …")
            story.quietly(*cluster, "down")


def _cluster(story: Story, cluster: tuple[str, ...]) -> None:
    story.chapter("A Kubernetes cluster, the images, the data")
    story.say("bringing up a cluster (the first time builds it: about ten minutes; later half a minute) …")
    story.environment["KUBECONFIG"] = story.visibly(*cluster, "up").strip().splitlines()[-1]
    tools = story.quietly(*cluster, "build", "kubectl", "helm").split()
    story.environment["PATH"] = ":".join([*(str(Path(tool).parent) for tool in tools), os.environ["PATH"]])
    story.run("kubectl", "get", "nodes")


def _install(story: Story, root: Path, cluster: tuple[str, ...]) -> None:
    story.chapter("Mandate, installed with Helm")
    story.say("building the images from operator/Dockerfile and loading them (the first time: a few minutes) …")
    images: dict[str, str] = json.loads(story.visibly(*cluster, "images"))
    values = [f"images.{name}.digest={reference.rpartition('@')[2]}" for name, reference in sorted(images.items())]
    story.run(
        *("helm", "upgrade", "--install", "mandate", "helm/mandate", "--namespace", SYSTEM, "--create-namespace"),
        *(part for value in values for part in ("--set", value)),
        *("--wait", "--timeout", "3m"),
        show=f"helm upgrade --install mandate helm/mandate -n {SYSTEM} --create-namespace --set images.… --wait",
    )
    story.say("A namespace is enrolled by a label; from then on the API server refuses what isn't granted there.")
    pinned = f"image: {images['predictor']} "
    setup = (root / EXAMPLE / "namespace.yaml").read_text().replace("image: mandate/predictor ", pinned)
    story.run("kubectl", "apply", "-f", "-", stdin=setup, show=f"kubectl apply -f {EXAMPLE}/namespace.yaml")
    for claim, folder in example.prepare(story, root).items():
        volume = Path(story.quietly(*cluster, "volume", f"{NAMESPACE}/{claim}").strip())
        shutil.copytree(folder, volume, dirs_exist_ok=True)
    story.quietly("kubectl", "-n", NAMESPACE, "rollout", "status", "deployment/rule", "--timeout", "120s")


def _first_version(story: Story) -> None:
    story.chapter("Version 1 asks to act on its own, and is refused")
    story.run("kubectl", "apply", "-f", str(EXAMPLE / "flights-v1.yaml"))
    story.wait(
        "the operator runs the evaluation in a Pod: 327,346 real flights through the real model server",
        lambda: _condition(_model(story), "Stalled") or _condition(_model(story), "CandidateRefused"),
        seconds=900,
    )
    _show(story)
    model = _model(story)
    story.expect(model["status"]["level"] == "None", "version 1 got no level at all")
    failed = [gate["message"] for gate in model["status"]["gates"] if gate["verdict"] == "Fail"]
    story.expect(any(IN_A_SLICE.match(message) for message in failed), "a Fail names its slice and its numbers")
    story.expect(any("what may help: " in message for message in failed), "and what may help")
    story.expect(_backend(story, "flights") == "rule", "the Service `flights` answers with the fallback, today's rule")


def _bypass(story: Story, root: Path) -> None:
    story.chapter("Somebody starts it by hand, and the API server refuses")
    story.say("The Pod is, to the last field, what the operator would make of version 1: only the grant is missing.")
    _refused(story, root)


def _operator_down(story: Story, root: Path) -> None:
    story.chapter("The operator is gone, and the API server still refuses")
    story.run("kubectl", "-n", SYSTEM, "scale", "deployment", OPERATOR, "--replicas=0")
    story.wait(
        "every Pod of Mandate ends",
        lambda: not story.json("kubectl", "-n", SYSTEM, "get", "pods", "-o", "json")["items"],
        seconds=90,
    )
    _refused(story, root)
    story.run("kubectl", "-n", SYSTEM, "scale", "deployment", OPERATOR, "--replicas=1")
    story.quietly("kubectl", "-n", SYSTEM, "rollout", "status", f"deployment/{OPERATOR}", "--timeout", "120s")


def _second_version(story: Story, root: Path) -> None:
    story.chapter("Version 2 earns Suggest")
    story.run("kubectl", "apply", "-f", str(EXAMPLE / "flights-v2.yaml"))
    story.wait(
        "the operator evaluates it, grants what it earned, and serves it",
        lambda: (
            _model(story)["status"].get("version") == "2"
            and _model(story)["status"]["level"] == "Suggest"
            and _condition(_model(story), "Ready")
        ),
        seconds=900,
    )
    _show(story)
    story.run("kubectl", "-n", NAMESPACE, "get", "deployments,services,modelevaluations,autonomygrants")
    _admitted(story, root)


def _served(story: Story, root: Path) -> None:
    story.chapter("A real prediction: the level is part of the address")
    body = (root / EXAMPLE / "request.json").read_text()
    path = "/v2/models/model/infer"
    for service, who in (("flights-suggest", "the model, for people who decide"), ("flights", "today's rule")):
        with _forwarded(story, service) as port:
            answer = _post(port, path, body)
        story.say("")
        story.say(f"$ curl -d @{EXAMPLE}/request.json http://{service}.{NAMESPACE}{path}")
        story.say(json.dumps(answer)[:400])
        story.expect(bool(answer.get("outputs")), f"{service} answers: {who}")
    story.expect(_backend(story, "flights") == "rule", "`flights`, for machines that act, is still the rule")
    story.expect(_backend(story, "flights-suggest") == "2", "`flights-suggest`, for people, is version 2")


def _why_not_automate(story: Story) -> None:
    story.chapter("Why not Automate?")
    model = _model(story)
    lines = [c for c in model["status"]["conditions"] if "Automate" in c.get("message", "")]
    story.expect(bool(lines), "the status says what is missing for Automate")
    for condition in lines:
        story.say(f"{condition['type']}={condition['status']} {condition['reason']}: {condition['message']}")


def _explained(story: Story) -> None:
    story.chapter("What is declared and what was found, where people look for it")
    story.run("kubectl", "explain", "modeldeployment.spec.gates", shown_lines=24)
    command = ("kubectl", "-n", NAMESPACE, "describe", "modeldeployment", "flights")
    told = story.quietly(*command).splitlines()
    story.say("")
    story.say(f"$ {' '.join(command)}")
    for title, most in (("Status:", 24), ("Events:", 12)):
        lines = _section(told, title)
        for line in lines[:most]:
            story.say(line)
        if len(lines) > most:
            story.say(f"… and {len(lines) - most} more lines")
        story.expect(any("version 2" in line for line in lines), f"`{title}` tells of version 2")


def _section(lines: list[str], title: str) -> list[str]:
    """What `kubectl describe` printed under a title: up to the next line that isn't indented."""
    begin = next((index for index, line in enumerate(lines) if line.startswith(title)), len(lines))
    inside = takewhile(lambda line: line.startswith(" "), lines[begin + 1 :])
    return [*lines[begin : begin + 1], *inside]


def _metrics(story: Story) -> None:
    story.chapter("The numbers, for Prometheus")
    with _forwarded(story, OPERATOR, namespace=SYSTEM, target=f"deployment/{OPERATOR}", remote=8080) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found = [line for line in text.splitlines() if re.match(r"mandate_.*flights", line)]
    story.say(f"$ curl http://{OPERATOR}.{SYSTEM}:8080/metrics | grep flights")
    for line in found[:12]:
        story.say(line)
    story.expect(bool(found), "the operator exports the model's level and gates")


def _end(story: Story, *, keep: bool) -> None:
    story.chapter("What to look at next")
    if keep:
        story.say(f"export KUBECONFIG={story.environment['KUBECONFIG']}")
        story.say("kubectl -n flights describe modeldeployment flights")
        story.say("kubectl explain modeldeployment.spec.gates")
    else:
        story.say("make demo KEEP=1 leaves the cluster running, to look around with kubectl")
    story.say("make demo-offline judges the same manifests without a cluster and leaves HTML reports")
    story.say("docs/user/ explains the manifest; docs/contributor/architecture.md how it works")


def _show(story: Story) -> None:
    story.run("kubectl", "-n", NAMESPACE, "get", "modeldeployments")
    story.say("")
    for gate in _model(story)["status"].get("gates", []):
        story.say(f"{gate['verdict']:12} {gate['level']:9} {gate['name']}: {gate.get('message', '')}")
    for condition in _model(story)["status"]["conditions"]:
        if condition["type"] in ("Ready", "Enforced"):
            story.say(
                f"{condition['type']}={condition['status']} {condition['reason']}: {condition.get('message', '')}"
            )


def _refused(story: Story, root: Path) -> None:
    text = story.run("kubectl", "apply", "-f", _by_hand(story, root), fails=True)
    story.expect(
        "ValidatingAdmissionPolicy" in text and f"not granted in namespace {NAMESPACE}" in text,
        "Mandate's policy refused the Pod, and said why: its revision isn't granted",
    )


def _admitted(story: Story, root: Path) -> None:
    """The same by hand for what was granted, as a dry run: so nothing but the grant was missing before."""
    text = story.run("kubectl", "apply", "--dry-run=server", "-f", _by_hand(story, root))
    story.expect("created (server dry run)" in text, "made by hand in the same way, a Pod of version 2 is admitted")


def _by_hand(story: Story, root: Path) -> str:
    """Write the Pod that somebody would make by hand of the present revision; returns its manifest's path."""
    status = _model(story)["status"]
    revision = (status.get("candidate") or status["refused"][-1])["revision"]
    if status["pinned"]["revision"] != revision:
        raise DemoError(f"the status names no digest for revision {revision}: {status['pinned']}")
    selector = f"mandate.dev/model=flights,mandate.dev/revision={revision}"
    found = story.json("kubectl", "-n", NAMESPACE, "get", "controllerrevisions", "-l", selector, "-o", "json")
    path = Path("out") / "by-hand.json"
    (root / path).write_text(json.dumps(by_hand.pod(found["items"][0], digest=status["pinned"]["model"]), indent=2))
    return str(path)


def _model(story: Story) -> dict[str, Any]:
    found: dict[str, Any] = story.json("kubectl", "-n", NAMESPACE, "get", "modeldeployment", "flights", "-o", "json")
    found.setdefault("status", {}).setdefault("conditions", [])
    found["status"].setdefault("level", "None")
    return found


def _condition(model: dict[str, Any], kind: str) -> bool:
    """Whether a condition holds, of the present generation."""
    generation = model["metadata"]["generation"]
    return any(
        condition["type"] == kind
        and condition["status"] == "True"
        and condition.get("observedGeneration", 0) >= generation
        for condition in model["status"]["conditions"]
    )


def _backend(story: Story, service: str) -> str:
    """Who answers at a Service: the version of the model, or `rule`."""
    slices = story.json(
        *("kubectl", "-n", NAMESPACE, "get", "endpointslices"),
        *("-l", f"kubernetes.io/service-name={service}", "-o", "json"),
    )
    pods = {endpoint["targetRef"]["name"] for item in slices["items"] for endpoint in item.get("endpoints") or []}
    names = {pod.rsplit("-", 2)[0] for pod in pods}
    if names == {"rule"}:
        return "rule"
    model = _model(story)["status"]
    for standing in (model.get("candidate"), model.get("champion")):
        if standing and names == {f"flights-{standing['revision'][:10]}"}:
            return str(standing["version"])
    return f"unknown ({', '.join(sorted(pods)) or 'nobody'})"


@contextmanager
def _forwarded(
    story: Story, service: str, *, namespace: str = NAMESPACE, target: str = "", remote: int = 80
) -> Iterator[int]:
    """A local port that reaches the Service's Pods while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = ["kubectl", "-n", namespace, "port-forward", target or f"service/{service}", f"{port}:{remote}"]
    process = subprocess.Popen(
        command, env=story.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"couldn't reach {service}: {' '.join(command)}")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _post(port: int, path: str, body: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer
