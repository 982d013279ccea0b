"""An evaluation's claims, its declaration, and the Pod's steps by their command lines, for tests of several rooms.

The fixtures at the end are for a room's conftest.py to import.
"""

import csv
import hashlib
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mandate.api.kinds import ModelEvaluationSpec
from mandate.evaluate import frame
from mandate.evaluate.__main__ import main
from mandate.evaluate.local import evaluate_locally
from mandate.sources import Reader
from tests.models import columns_model

ROWS = 1200
NOW = datetime(2024, 5, 10, 12, tzinfo=UTC)


def loans(rows=ROWS, *, seed=1):
    random = np.random.default_rng(seed)
    amount = random.normal(size=rows)
    age = random.integers(18, 80, rows)
    purpose = random.choice(["car", "tv", "ü"], rows)
    probability = 1 / (1 + np.exp(-(amount + age / 100 + (purpose == "car") - 1)))
    known = random.random(rows) > 0.1
    return pa.table(
        {
            "id": pa.array([f"L{number:05d}" for number in range(rows)]),
            "amount": pa.array(amount, mask=~known),
            "age": pa.array(age),
            "purpose": pa.array(purpose),
            "sex": pa.array(random.choice(["f", "m"], rows)),
            "risk": pa.array(np.where(random.random(rows) < probability, "bad", "good")),
        }
    )


def write_csv(table, path):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        writer.writerows(zip(*(["" if v is None else v for v in column.to_pylist()] for column in table), strict=True))


def make_claims(folder):
    """Folders as claims are mounted: models/model.onnx, data/loans.parquet, data/loans.csv."""
    (folder / "models").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "models" / "model.onnx").write_bytes(columns_model())
    parquet.write_table(loans(), folder / "data" / "loans.parquet")
    write_csv(loans(), folder / "data" / "loans.csv")


def declare():
    """The evaluation's spec as JSON; tests change it."""
    return {
        "modelDeployment": "credit",
        "revision": "0" * 32,
        "model": {
            "version": "7",
            "source": {"uri": "pvc://models/model.onnx", "format": "ONNX"},
            "inputs": {"columns": ["amount", "age", "purpose"]},
        },
        "task": {"type": "Binary", "target": "risk", "positive": "bad", "id": "id"},
        "data": {
            "source": {"uri": "pvc://data/loans.parquet"},
            "split": {"method": "Random", "seed": 7},
            "slices": [{"name": "sex", "column": "sex", "sensitive": True}],
        },
        "baselines": [{"name": "prior", "type": "Prior"}, {"name": "linear", "type": "Linear"}],
    }


class Pod:
    """The Pod's folders, and its steps by their command lines."""

    def __init__(self, folder, claims, monkeypatch, capsys):
        self.claims, self.monkeypatch, self.capsys = claims, monkeypatch, capsys
        self.model, self.champion, self.data = folder / "model", folder / "champion", folder / "data"
        self.log = folder / "termination-log"
        for directory in (self.model, self.champion, self.data):
            directory.mkdir()

    def declare(self, declared):
        document = {"metadata": {"name": "credit-1", "namespace": "lending"}, "spec": declared}
        self.monkeypatch.setenv(frame.SETTINGS_VARIABLE, frame.pack(document))

    def run(self, *arguments):
        code = main([*map(str, arguments), "--termination-log", str(self.log)])
        return code, frame.read_termination(self.log.read_text())

    def fetch(self, declared):
        self.declare(declared)
        folders = ("--model-dir", self.model, "--champion-dir", self.champion, "--data-dir", self.data)
        return self.run("fetch", "--sources", self.claims, *folders)

    def judge(self, url="http://127.0.0.1:9", *options):
        self.capsys.readouterr()
        code, ended = self.run("judge", "--data-dir", self.data, "--predictor", url, *options)
        out = self.capsys.readouterr().out
        return code, ended, frame.read(out.encode(), sha256=ended.sha256)


def locally(declared, claims, **options):
    mounts = {path.name: path for path in claims.iterdir()}
    spec = ModelEvaluationSpec.model_validate(declared)
    return evaluate_locally(spec, reader=Reader(mounts=mounts), **{"now": NOW, **options})


def digest(path):
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def claims(tmp_path):
    folder = tmp_path / "sources"
    make_claims(folder)
    return folder


@pytest.fixture
def declared():
    return declare()


@pytest.fixture
def pod(tmp_path, claims, monkeypatch, capsys):
    monkeypatch.setenv("MANDATE_EGRESS_PROBES", "")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return Pod(tmp_path, claims, monkeypatch, capsys)
