"""What the Pod fetches from a server is what it would find in a volume."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mandate.evaluate.data import read
from mandate.evaluate.failures import explain
from mandate.sources import SourceError
from tests.evaluation import digest
from tests.serving import Site, serve


@pytest.fixture
def site(claims: Path) -> Any:
    paths = ("models/model.onnx", "data/loans.parquet")
    with serve(Site(files={f"/{path}": (claims / path).read_bytes() for path in paths})) as found:
        yield found


def elsewhere(declared: dict[str, Any], url: str, **more: Any) -> dict[str, Any]:
    declared["model"]["source"] |= {"uri": f"{url}/models/model.onnx"} | more
    declared["data"]["source"] |= {"uri": f"{url}/data/loans.parquet"} | more
    return declared


def test_rows_and_digests_are_those_of_the_volume(
    pod: Any, declared: dict[str, Any], site: Site, tmp_path: Path
) -> None:
    code, before = pod.fetch(declared)
    there, _ = read(pod.data)
    assert code == 0
    code, after = pod.fetch(elsewhere(declared, site.url))
    assert (code, after.digests) == (0, before.digests)
    assert read(pod.data)[0].table.equals(there.table)
    assert [path.name for path in pod.model.iterdir()] == ["model.onnx"]
    assert not [path for path in pod.data.iterdir() if path.name.startswith((".", "copy"))]


def test_credentials_are_read_where_secrets_are_mounted(
    pod: Any, declared: dict[str, Any], site: Site, tmp_path: Path
) -> None:
    site.secret = "Bearer t0ken"
    elsewhere(declared, site.url, credentialsRef={"name": "reader"})
    folder = tmp_path / "credentials"
    pod.declare(declared)
    where = ("--credentials", folder, "--model-dir", pod.model, "--data-dir", pod.data, "--champion-dir", pod.champion)
    code, ended = pod.run("fetch", *where)
    assert (code, ended.failure.code, ended.failure.field) == (2, "NoCredentials", "spec.model.source")
    (folder / "reader").mkdir(parents=True)
    (folder / "reader" / "token").write_text("t0ken")
    assert pod.run("fetch", *where)[0] == 0
    (pod.model / "model.onnx").unlink()
    wanted = digest(pod.claims / "models" / "model.onnx")
    model = ("--uri", declared["model"]["source"]["uri"], "--digest", wanted, "--model-dir", pod.model)
    code, ended = pod.run("fetch-model", *model, "--credentials", folder, "--credentials-ref", "reader")
    assert (code, ended.digests) == (0, {"model": wanted})
    assert digest(pod.model / "model.onnx") == wanted


def test_a_server_in_trouble_is_no_bad_input(pod: Any, declared: dict[str, Any], site: Site) -> None:
    site.faults["/models/model.onnx"] = [404]
    code, ended = pod.fetch(elsewhere(declared, site.url))
    assert (code, ended.failure.code) == (2, "NotFound")
    declared["model"]["source"]["uri"] = f"{site.url}/short/models/model.onnx"
    code, ended = pod.fetch(declared)
    assert (code, ended.failure.code) == (3, "Truncated")
    assert list(pod.model.iterdir()) == []


def test_reading_volumes_starts_without_the_web() -> None:
    code = "import sys; import mandate.sources.reader; print('urllib3' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


CODES = Path(__file__).parents[3] / "docs" / "user" / "sources.md"


def documented() -> dict[str, int]:
    """Codes of sources by the table in docs/user, each with the exit code that it promises."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| .* \| (\d) \|$", CODES.read_text(), re.MULTILINE)
    return {code: int(ends) for codes, ends in rows for code in re.findall(r"\w+", codes)}


def test_failures_of_servers_exit_as_documented() -> None:
    assert {"UnexpectedAnswer": 2, "Truncated": 3}.items() <= documented().items()
    for code, ends in documented().items():
        assert explain(SourceError(code, "words"), stage="Fetch").exit_code == ends, code


def test_an_answer_that_is_no_file_is_bad_input(pod: Any, declared: dict[str, Any], site: Site) -> None:
    site.faults["/models/model.onnx"] = [409]
    code, ended = pod.fetch(elsewhere(declared, site.url))
    assert (code, ended.failure.code) == (2, "UnexpectedAnswer")
