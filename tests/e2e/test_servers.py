"""Files on a web server with an authority of its own, opened by a Secret; and what a served model stands and costs."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import declared
from tests.e2e.cluster import OPERATOR, SYSTEM, Cluster, Object, Space, condition, eventually, holds, like, space
from tests.models import columns_model

PORT = 8443
USER = "reader"
WITHIN_REACH, OUT_OF_REACH = "<= 1000", "<= 0.000001"
"""EUR for a million predictions: of a server that answers ten in a second, and of one that would answer ten million."""
RECORDS = (
    ("Event", "v1"),
    ("Pod", "v1"),
    ("Job", "batch/v1"),
    ("Deployment", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("NetworkPolicy", "networking.k8s.io/v1"),
    *((kind, "mandate.dev/v1alpha1") for kind in ("ModelDeployment", "ModelEvaluation", "AutonomyGrant")),
)
"""What is kept of an evaluation, but for ConfigMaps, which are unpacked."""
FILES = """
import base64, functools, http.server, pathlib, ssl

user, password = (pathlib.Path("/secret", name).read_text() for name in ("username", "password"))
expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Authorization") == expected:
            super().do_GET()
        else:
            self.send_error(401)

    def log_message(self, *arguments):
        pass

server = http.server.ThreadingHTTPServer(("0.0.0.0", %d), functools.partial(Files, directory="/files"))
trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
trust.load_cert_chain("/secret/tls.crt", "/secret/tls.key")
server.socket = trust.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
"""Serves the volumes to whoever has the password."""


@dataclass(frozen=True)
class Shelf:
    """A namespace with such a server in it."""

    space: Space
    authority: str
    password: str
    wrong: str

    def model(self, name: str, *, secret: str, gates: tuple[Object, ...] = ()) -> Object:
        """A model whose file and table are on the server; `secret` opens them."""
        url, reference = f"https://{_host(self.space)}:{PORT}", {"credentialsRef": {"name": secret}}
        source = {"uri": f"{url}/models/good.onnx", "format": "ONNX"} | reference
        document = declared.model(name, source=source, data=f"{url}/data/loans.parquet")
        document["spec"]["data"]["source"] |= reference
        document["spec"]["gates"] += gates
        document["spec"]["serving"]["prices"] = {"cpuHour": "0.04", "gibHour": "0.005", "currency": "EUR"}
        return document

    def secret(self, name: str, **keys: str) -> None:
        """A Secret with these keys, where `_` stands for a dot."""
        strings = {key.replace("_", "."): value for key, value in keys.items()}
        self.space.apply(like("Secret", self.space.name, name) | {"stringData": strings})

    def credit(self, *, budget: str, **more: Any) -> Object:
        """The model that must stand bad input, and may cost as much as `budget` says at Suggest."""
        gates = (
            {"name": "robust", "metric": "robustness_failures", "require": {"Shadow": "<= 0"}},
            {"name": "price", "metric": "cost_per_million", "require": {"Shadow": WITHIN_REACH}},
            {"name": "budget", "metric": "cost_per_million", "require": {"Suggest": budget}} | more,
        )
        return self.model("credit", secret="reader", gates=gates)


def _host(space: Space) -> str:
    return f"files.{space.name}.svc"


def _issued(folder: Path, host: str) -> tuple[str, str, str]:
    """The certificate of an authority that nobody knows, and what it issued to `host`: certificate and key."""
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
    for name, subject, more in (
        ("ca", "/CN=our own authority", ()),
        ("tls", "/CN=files", ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{host}",
                              "-addext", "basicConstraints=critical,CA:FALSE")),
    ):  # fmt: skip
        files = ("-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", subject, "-days", "2")
        subprocess.run([*new, *files, *more], cwd=folder, check=True, capture_output=True)
    authority, certificate, key = ((folder / name).read_text() for name in ("ca.crt", "tls.crt", "tls.key"))
    return authority, certificate, key


def _server(space: Space) -> list[Object]:
    """The Pod and its Service."""
    pod, service = declared.bystander(space, "files", port=PORT)
    (container,) = pod["spec"]["containers"]
    container["command"] = ["python", "-c", FILES % PORT]
    container["volumeMounts"] = [
        {"name": "secret", "mountPath": "/secret"},
        *({"name": claim, "mountPath": f"/files/{claim}", "readOnly": True} for claim in ("models", "data")),
    ]
    claims = (
        {"name": claim, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}} for claim in ("models", "data")
    )
    pod["spec"]["volumes"] = [{"name": "secret", "secret": {"secretName": "files"}}, *claims]
    service["spec"]["ports"] = [{"port": PORT, "targetPort": PORT}]
    return [pod, service]


@pytest.fixture(scope="module")
def shelf(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """The server, a model that it lets have its files, and one whose password is wrong."""
    with space(cluster, "files", enforce="Labelled") as found:
        found.put(found.data / "loans.parquet", declared.table())
        found.put(found.models / "good.onnx", columns_model())
        authority, certificate, key = _issued(tmp_path_factory.mktemp("pki"), _host(found))
        shelf = Shelf(found, authority, password=f"right-{uuid.uuid4().hex}", wrong=f"wrong-{uuid.uuid4().hex}")
        known = {"username": USER, "password": shelf.password}
        shelf.secret("files", **known, tls_crt=certificate, tls_key=key)
        shelf.secret("reader", **known, ca_crt=authority)
        shelf.secret("mistyped", username=USER, password=shelf.wrong, ca_crt=authority)
        for document in _server(found):
            eventually("the server", lambda document=document: found.apply(document), seconds=60)
        eventually("the server to be ready", lambda: found.endpoints("files") or None, seconds=120)
        found.apply(shelf.model("mistyped", secret="mistyped"))
        found.apply(shelf.credit(budget=OUT_OF_REACH, burden="Shown"))
        yield shelf


def test_a_wrong_password_is_told_by_its_field_and_mended_in_the_secret(shelf: Shelf) -> None:
    found = shelf.space
    item = found.failed("mistyped")
    stalled = condition(item, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "AccessDenied"), found.describe("mistyped")
    for words in (
        "spec.model.source: ",
        f"https://{_host(found)}:{PORT}/models/good.onnx",
        "status 401",
        "check credentialsRef",
    ):
        assert words in stalled["message"], stalled["message"]
    assert item["status"].get("level", "None") == "None"
    (evaluation,) = found.evaluations("mistyped")
    assert "evidence" not in evaluation["status"]
    _tells_no_password(shelf)
    shelf.secret("mistyped", username=USER, password=shelf.password, ca_crt=shelf.authority)
    found.admin.merge(item, {"metadata": {"annotations": {"mandate.dev/retry": "mended"}}})
    item = found.until("mistyped", "served once mended", lambda item: holds(item, "Ready"))
    assert item["status"]["level"] == "Suggest"


@pytest.mark.row("R2/probes", "L3/cost")
def test_a_sane_server_passes_and_a_price_beyond_the_budget_stops_the_level(shelf: Shelf) -> None:
    """Shadow is granted and Suggest isn't, by the budget alone; with more money it is, on the same evidence."""
    found = shelf.space
    item = found.judged("credit", seconds=330)
    assert item["status"]["level"] == "Shadow", found.describe("credit")
    (evaluation,) = found.evaluations("credit")
    evidence = found.evidence(evaluation)["measured"]
    verdicts = {gate["name"]: gate for gate in item["status"]["gates"]}
    assert verdicts["robust"]["verdict"] == "Pass"
    assert sum(kind["refused"] + kind["answered"] for kind in evidence["robustness"].values()) > 20
    assert {estimate["quantity"]["metric"] for estimate in evidence["estimates"]} >= {
        "robustness_failures",
        "cost_per_million",
    }
    # Whether a rate held, and whether the judge was slower than the server, is a busy machine's affair.
    assert verdicts["price"]["verdict"] in ("Pass", "Inconclusive")
    assert verdicts["budget"]["verdict"] in ("Fail", "Inconclusive")
    assert evidence["saturated"]["currency"] == "EUR"
    jobs = {job["metadata"]["uid"] for job in found.jobs("credit")}

    found.apply(shelf.credit(budget=WITHIN_REACH))
    item = found.until(
        "credit", "at Suggest", lambda item: holds(item, "Ready") and item["status"]["level"] == "Suggest"
    )
    assert {meval["metadata"]["name"] for meval in found.evaluations("credit")} == {evaluation["metadata"]["name"]}
    assert {job["metadata"]["uid"] for job in found.jobs("credit")} <= jobs


def test_files_behind_a_password_are_judged_and_served_and_nothing_tells_it(shelf: Shelf) -> None:
    """The container that fetches has the Secret, no other; the model that answers came through it, too."""
    found = shelf.space
    found.until("credit", "Ready", lambda item: holds(item, "Ready"), seconds=330)
    (evaluation,) = found.evaluations("credit")
    evidence = found.evidence(evaluation)
    assert evidence["measured"]["isolation"] == "Open"
    pods = found.all("Pod", "mandate.dev/model=credit")
    assert {"mandate.dev/evaluation", "mandate.dev/revision"} <= {
        key for pod in pods for key in pod["metadata"]["labels"]
    }
    for pod in pods:
        assert pod["metadata"]["labels"]["mandate.dev/egress"] == "Sources"
        assert _holders(pod, "reader") == {"fetch"}
    _tells_no_password(shelf)


def _holders(pod: Object, secret: str) -> set[str]:
    """The containers of a Pod that see the Secret."""
    volumes = {
        volume["name"] for volume in pod["spec"]["volumes"] if volume.get("secret", {}).get("secretName") == secret
    }
    containers = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    return {each["name"] for each in containers if volumes & {mount["name"] for mount in each.get("volumeMounts", ())}}


def _tells_no_password(shelf: Shelf) -> None:
    """Neither in what is recorded of the evaluations, nor in a log, as it is or as it travels."""
    found = shelf.space
    told = [str(item) for kind, api in RECORDS for item in found.all(kind, api=api)]
    told += [str(found.evidence(meval)) for meval in found.all("ModelEvaluation", api="mandate.dev/v1alpha1")
             if (meval.get("status") or {}).get("evidenceConfigMap")]  # fmt: skip
    told += [str({**item, "binaryData": None}) for item in found.all("ConfigMap")]
    logs = [found.cluster.run("kubectl", "-n", SYSTEM, "logs", f"deployment/{OPERATOR}", "--all-containers")]
    logs += [
        _log(found, pod["metadata"]["name"], container["name"])
        for pod in found.all("Pod")
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    ]
    everything = "\n".join([*told, *logs])
    assert _host(found) in everything, "nothing was looked at"
    for password in (shelf.password, shelf.wrong):
        for sent in (password, f"{USER}:{password}"):
            for form in (sent, base64.b64encode(sent.encode()).decode()):
                assert form not in everything


def _log(space: Space, pod: str, container: str) -> str:
    """A container's log; of one that hasn't begun, or whose Pod is gone by now, what is said of that."""
    done = space.cluster.tried("kubectl", "-n", space.name, "logs", pod, "-c", container)
    return done.stdout + done.stderr
