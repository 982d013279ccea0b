"""Models and tables in real S3-compatible storage: Versity's gateway before a folder, over TLS."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from mandate.evaluate.data import read
from mandate.sources import Place, Reader, SourceError
from tests.evaluation import digest
from tests.integration.sources.conftest import built, free_port, running

KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "a-long-5ecret"}
OBJECT = os.urandom(21 << 20)  # three ranges


@dataclass(frozen=True, kw_only=True)
class Storage:
    endpoint: str
    secrets: Path
    """A folder per Secret."""

    def place(self, uri: str, credentials: str | None = "reader") -> Place:
        return Place(uri=uri, endpoint=self.endpoint, credentials=credentials)

    def reader(self) -> Reader:
        return Reader(mounts={}, credentials={path.name: path for path in self.secrets.iterdir()})


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[Storage]:
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    (folder / "data").mkdir()
    own = {"ca.crt": certificate[0].read_text()}
    secrets = {
        "reader": KEYS | own,
        "wrong": KEYS | own | {"AWS_SECRET_ACCESS_KEY": "another-5ecret"},
        "authority": own,
        "untrusting": KEYS,
    }
    for name, keys in secrets.items():
        (folder / "secrets" / name).mkdir(parents=True)
        for key, text in keys.items():
            (folder / "secrets" / name / key).write_text(text)
    command = [built("versitygw"), "--port", f"127.0.0.1:{port}"]
    command += ["--cert", str(certificate[0]), "--key", str(certificate[1]), "posix", str(folder / "data")]
    environment = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    with running(command, port=port, log=folder / "log", environment=environment):
        found = Storage(endpoint=f"https://127.0.0.1:{port}", secrets=folder / "secrets")
        put(found, certificate[0], {"bucket/big file.bin": OBJECT}, bucket="bucket")
        yield found


def put(storage: Storage, authority: Path, objects: dict[str, bytes], *, bucket: str) -> None:
    writer = fs.S3FileSystem(
        access_key=KEYS["AWS_ACCESS_KEY_ID"],
        secret_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        endpoint_override=storage.endpoint.removeprefix("https://"),
        tls_ca_file_path=str(authority),
        allow_bucket_creation=True,
    )
    writer.create_dir(bucket)
    for path, content in objects.items():
        with writer.open_output_stream(path) as stream:
            stream.write(content)


def test_an_object_of_several_ranges_is_read_whole(storage: Storage, tmp_path: Path) -> None:
    expected = "sha256:" + hashlib.sha256(OBJECT).hexdigest()
    place = storage.place("s3://bucket/big file.bin")
    assert storage.reader().copy(place, tmp_path / "t", declared=expected) == expected
    assert (tmp_path / "t").read_bytes() == OBJECT
    with pytest.raises(SourceError) as caught:
        storage.reader().copy(place, tmp_path / "u", declared="sha256:" + "0" * 64)
    assert caught.value.code == "DigestMismatch"
    assert not (tmp_path / "u").exists()


@pytest.mark.parametrize(
    ("uri", "credentials", "code"),
    [
        ("s3://bucket/none.bin", "reader", "NotFound"),
        ("s3://nobucket/none.bin", "reader", "NotFound"),
        ("s3://bucket/big file.bin", "wrong", "AccessDenied"),
        ("s3://bucket/big file.bin", "authority", "AccessDenied"),
        ("s3://bucket/big file.bin", "untrusting", "Unreachable"),
        ("s3://bucket/big file.bin", "nobody", "NoCredentials"),
    ],
)
def test_what_can_not_be_had_is_said(storage: Storage, tmp_path: Path, uri: str, credentials: str, code: str) -> None:
    with pytest.raises(SourceError) as caught:
        storage.reader().copy(storage.place(uri, credentials), tmp_path / "t", declared=None)
    assert caught.value.code == code, str(caught.value)
    assert "5ecret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_fetches_the_same_rows_as_from_volumes(
    storage: Storage, certificate: tuple[Path, Path], pod: Any, declared: dict[str, Any]
) -> None:
    code, before = pod.fetch(declared)
    there, _ = read(pod.data)
    assert code == 0
    files = {name: (pod.claims / name).read_bytes() for name in ("models/model.onnx", "data/loans.parquet")}
    put(storage, certificate[0], {f"lending/{name}": content for name, content in files.items()}, bucket="lending")
    more = {"credentialsRef": {"name": "reader"}, "s3": {"endpoint": storage.endpoint}}
    declared["model"]["source"] |= {"uri": "s3://lending/models/model.onnx"} | more
    declared["data"]["source"] |= {"uri": "s3://lending/data/loans.parquet"} | more
    pod.declare(declared)
    where = ("--model-dir", pod.model, "--data-dir", pod.data, "--champion-dir", pod.champion)
    code, after = pod.run("fetch", *where, "--credentials", storage.secrets)
    assert (code, after.failure, after.digests) == (0, None, before.digests)
    assert read(pod.data)[0].table.equals(there.table)
    (pod.model / "model.onnx").unlink()
    model = ("--uri", "s3://lending/models/model.onnx", "--digest", before.digests["model"], "--model-dir", pod.model)
    opened = ("--credentials", storage.secrets, "--credentials-ref", "reader", "--s3-endpoint", storage.endpoint)
    assert pod.run("fetch-model", *model, *opened)[0] == 0
    assert digest(pod.model / "model.onnx") == before.digests["model"]
