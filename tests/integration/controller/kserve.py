"""KServe's own controller and webhooks, as a process beside the API server: what its release installs, unchanged."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.integration.conftest import ROOT

HACK = (sys.executable, str(ROOT / "hack" / "cluster"))
KINDS = (
    *("inferenceservices", "trainedmodels", "clusterservingruntimes", "servingruntimes", "inferencegraphs"),
    "clusterstoragecontainers",
)
WEBHOOKS = "inferenceservice.serving.kserve.io"
PATIENCE = 120.0


def output(*command: str, stdin: str = "") -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, input=stdin).stdout.strip()


def module() -> Path:
    """The folder of KServe's Go module, at the release that hack/cluster pins."""
    return Path(output(*HACK, "module", "kserve"))


def kinds() -> list[str]:
    """The files that define KServe's kinds, whole schemas included."""
    full = module() / "config" / "crd" / "full"
    return [str(next(full.rglob(f"serving.kserve.io_{kind}.yaml"))) for kind in KINDS]


@contextmanager
def kserve(kubeconfig: Path, folder: Path) -> Iterator[Path]:
    """KServe at work on this API server; yields its log."""
    kubectl = (output(*HACK, "build", "kubectl"), "--kubeconfig", str(kubeconfig))
    files = [part for path in kinds() for part in ("-f", path)]
    output(*kubectl, "apply", "--server-side", *files)
    # KServe's files say `status.conditions: null`, over which `kubectl wait` stumbles; no kind, no answer here.
    names = ",".join(f"{kind}.serving.kserve.io" for kind in KINDS)
    _until(lambda: subprocess.run([*kubectl, "get", names, "-A"], capture_output=True, check=False).returncode == 0)
    output(*kubectl, "create", "namespace", "kserve")
    output(*kubectl, "apply", "-f", str(module() / "config" / "configmap" / "inferenceservice.yaml"))
    port, certificates = _free_port(), folder / "k8s-webhook-server" / "serving-certs"
    certificates.mkdir(parents=True)
    key, certificate = certificates / "tls.key", certificates / "tls.crt"
    name = ("-subj", "/CN=kserve", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(key), "-out", str(certificate))
    output("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name, *files)
    log = folder / "kserve.log"
    addresses = (f"--webhook-port={port}", "--metrics-addr=0", "--health-probe-addr=0")
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "TMPDIR": str(folder)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [output(*HACK, "build", "kserve"), *addresses], stdout=out, stderr=out, env=environment
        )
    try:
        _until(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-3000:]
        output(*kubectl, "apply", "-f", "-", stdin=json.dumps(_webhooks(port, certificate.read_bytes())))
        yield log
    finally:
        process.terminate()
        process.wait(30)


def _webhooks(port: int, authority: bytes) -> dict[str, Any]:
    """Its webhooks for InferenceServices and Pods, where this process listens; the others are for kinds not used."""
    documents = yaml.safe_load_all((module() / "config" / "webhook" / "manifests.yaml").read_text())
    chosen = [document for document in documents if document and document["metadata"]["name"] == WEBHOOKS]
    for document in chosen:
        document["metadata"].pop("creationTimestamp")
        for webhook in document["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            bundle = base64.b64encode(authority).decode("ascii")
            webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": bundle}
    assert [len(document["webhooks"]) for document in chosen] == [2, 1]
    return {"apiVersion": "v1", "kind": "List", "items": chosen}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s"
        time.sleep(0.2)
