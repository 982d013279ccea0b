"""Fixtures of an evaluation; see tests/evaluation.py."""

import pytest

from tests.evaluation import Pod, declare, make_claims


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
