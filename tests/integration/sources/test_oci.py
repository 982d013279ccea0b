"""Models and tables in a real registry: the CNCF's distribution, over TLS, with a password."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from mandate.evaluate.data import read
from mandate.sources import Place, Reader, SourceError
from mandate.sources.oci import MANIFESTS, TITLE
from tests.evaluation import digest
from tests.integration.sources.conftest import built, free_port, running

USER, PASSWORD = "puller", "a-long-5ecret"
HTPASSWD = f"{USER}:$2b$05$abcdefghijklmnopqrstuuJDOk/klNXLh/NQX3hkwy92h2R05uhfu\n"
FILE = os.urandom(9 << 20)


@dataclass(frozen=True, kw_only=True)
class Shelf:
    host: str
    secrets: Path
    authority: Path

    def reader(self) -> Reader:
        return Reader(mounts={}, credentials={path.name: path for path in self.secrets.iterdir()})

    def place(self, rest: str, credentials: str | None = "puller") -> Place:
        return Place(uri=f"oci://{self.host}/{rest}", credentials=credentials)

    def push(self, repository: str, tag: str, files: dict[str, bytes]) -> str:
        """Push files as one artefact, each a layer with its title; returns the manifest's digest."""
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}
        base = f"https://{self.host}/v2/{repository}"
        with urllib3.PoolManager(ca_certs=str(self.authority), retries=False) as pool:

            def put(url: str, content: bytes, kind: str) -> str:
                answer = pool.request("PUT", url, body=content, headers=headers | {"Content-Type": kind})
                assert answer.status == 201, answer.data
                return str(answer.headers["Docker-Content-Digest"])

            layers = []
            for title, content in {"": b"{}", **files}.items():
                begun = pool.request("POST", f"{base}/blobs/uploads/", headers=headers)
                assert begun.status == 202, begun.data
                found = "sha256:" + hashlib.sha256(content).hexdigest()
                put(f"{begun.headers['Location']}&digest={found}", content, "application/octet-stream")
                layers.append({"mediaType": "application/octet-stream", "digest": found, "size": len(content)})
                layers[-1] |= {"annotations": {TITLE: title}} if title else {}
            config = layers[0] | {"mediaType": "application/vnd.oci.empty.v1+json"}
            manifest = {"schemaVersion": 2, "mediaType": MANIFESTS[0], "config": config, "layers": layers[1:]}
            return put(f"{base}/manifests/{tag}", json.dumps(manifest).encode(), MANIFESTS[0])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[Shelf]:
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    host, own = f"127.0.0.1:{port}", {"ca.crt": certificate[0].read_text()}
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    secrets = {
        "puller": {"username": USER, "password": PASSWORD} | own,
        "docker": {".dockerconfigjson": json.dumps({"auths": {host: {"auth": login}}})} | own,
        "wrong": {"username": USER, "password": "another-5ecret"} | own,
        "authority": own,
    }
    for name, keys in secrets.items():
        (folder / "secrets" / name).mkdir(parents=True)
        for key, text in keys.items():
            (folder / "secrets" / name / key).write_text(text)
    (folder / "htpasswd").write_text(HTPASSWD)
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host, "tls": {"certificate": str(certificate[0]), "key": str(certificate[1])}},
        "auth": {"htpasswd": {"realm": "shelf", "path": str(folder / "htpasswd")}},
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))
    command = [built("registry"), "serve", str(folder / "settings.yaml")]
    with running(command, port=port, log=folder / "log", environment={"OTEL_TRACES_EXPORTER": "none"}):
        yield Shelf(host=host, secrets=folder / "secrets", authority=certificate[0])


@pytest.mark.parametrize("credentials", ["puller", "docker"])
def test_a_file_by_tag_and_by_digest(shelf: Shelf, tmp_path: Path, credentials: str) -> None:
    expected = "sha256:" + hashlib.sha256(FILE).hexdigest()
    pushed = shelf.push("lending/credit", "7", {"model.bin": FILE, "card.md": b"# Credit"})
    for number, rest in enumerate(("lending/credit:7#model.bin", f"lending/credit@{pushed}#model.bin")):
        into = tmp_path / str(number)
        assert shelf.reader().copy(shelf.place(rest, credentials), into, declared=expected) == expected
        assert into.read_bytes() == FILE


@pytest.mark.parametrize(
    ("rest", "credentials", "code"),
    [
        ("lending/other:7", "puller", "NotFound"),
        ("lending/small:8", "puller", "NotFound"),
        ("lending/small@sha256:" + "0" * 64, "puller", "NotFound"),
        ("lending/small:7#none", "puller", "BadArtefact"),
        ("lending/small:7", "wrong", "AccessDenied"),
        ("lending/small:7", "authority", "AccessDenied"),
        ("lending/small:7", "nobody", "NoCredentials"),
    ],
)
def test_what_can_not_be_had_is_said(shelf: Shelf, tmp_path: Path, rest: str, credentials: str, code: str) -> None:
    shelf.push("lending/small", "7", {"a.csv": b"a\n1\n"})
    with pytest.raises(SourceError) as caught:
        shelf.reader().copy(shelf.place(rest, credentials), tmp_path / "t", declared=None)
    assert caught.value.code == code, str(caught.value)
    assert "5ecret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_fetches_the_same_rows_as_from_volumes(shelf: Shelf, pod: Any, declared: dict[str, Any]) -> None:
    code, before = pod.fetch(declared)
    there, _ = read(pod.data)
    assert code == 0
    shelf.push("lending/model", "7", {"model.onnx": (pod.claims / "models" / "model.onnx").read_bytes()})
    shelf.push("lending/loans", "3", {"loans.parquet": (pod.claims / "data" / "loans.parquet").read_bytes()})
    more = {"credentialsRef": {"name": "puller"}}
    declared["model"]["source"] |= {"uri": f"oci://{shelf.host}/lending/model:7"} | more
    declared["data"]["source"] |= {"uri": f"oci://{shelf.host}/lending/loans:3#loans.parquet"} | more
    pod.declare(declared)
    where = ("--model-dir", pod.model, "--data-dir", pod.data, "--champion-dir", pod.champion)
    code, after = pod.run("fetch", *where, "--credentials", shelf.secrets)
    assert (code, after.failure, after.digests) == (0, None, before.digests)
    assert read(pod.data)[0].table.equals(there.table)
    assert digest(pod.model / "model.onnx") == before.digests["model"]
