"""`mandate evaluate` and `split` on what a server holds, as on files."""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.serving import Site, serve
from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC


def from_server(url: str, **more: Any) -> dict[str, Any]:
    data = copy.deepcopy(SPEC["data"])
    data["source"] = {"uri": f"{url}/loans.csv"} | more
    return {"data": data}


def split(project: Project, *more: str) -> Any:
    assert project.run("split", "-f", "model.yaml", "--json", *more) == 0, project.err
    return json.loads(project.out)


def test_a_table_on_a_server_is_judged_as_its_file_is(project: Project) -> None:
    here = split(project)
    assert project.run("evaluate", "-f", "model.yaml", "-o", "evidence=here.json") in (0, 1)
    said = project.out
    with serve(Site(files={"/loans.csv": (project.folder / "loans.csv").read_bytes()})) as site:
        project.manifest(**from_server(site.url))
        assert split(project) == here
        project.run("evaluate", "-f", "model.yaml", "-o", "evidence=there.json")
        assert project.out.replace("there.json", "here.json") == said


def test_credentials_stand_in_a_folder_for_the_secret(project: Project) -> None:
    (project.folder / "keys").mkdir()
    (project.folder / "keys" / "token").write_text("t0ken\n")
    files = {"/loans.csv": (project.folder / "loans.csv").read_bytes()}
    with serve(Site(files=files, secret="Bearer t0ken")) as site:
        project.manifest(**from_server(site.url, credentialsRef={"name": "reader"}))
        assert project.run("split", "-f", "model.yaml") == 2
        assert "spec.data.source: NoCredentials: " in project.err
        assert "--credentials reader=DIR" in project.err
        split(project, "--credentials", "reader=keys")
        (project.folder / "keys" / "token").write_text("other")
        assert project.run("split", "-f", "model.yaml", "--credentials", "reader=keys") == 2
        assert "AccessDenied" in project.err
    for wrong in ("reader", "reader=none", "=keys"):
        assert project.run("split", "-f", "model.yaml", "--credentials", wrong) == 2
        assert f"--credentials {wrong}" in project.err


def test_a_server_that_is_down_is_not_judged(project: Project) -> None:
    with serve(Site()) as site:
        project.manifest(**from_server(site.url))
        assert project.run("evaluate", "-f", "model.yaml") == 2
        assert "spec.data.source: NotFound: " in project.err
    assert project.run("evaluate", "-f", "model.yaml") == 3
    assert "spec.data.source: Unreachable: " in project.err
