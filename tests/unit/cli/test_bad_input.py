"""Bad input, as users and attackers give it: exit code 2 or 3, one clear line per problem, no traceback, no verdict."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyarrow import csv, parquet

from tests.models import columns_model, matrix_model
from tests.unit.cli.conftest import Project
from tests.unit.report.sample import SPEC, table

HEAD = "apiVersion: mandate.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: credit}\n"
Prepare = Callable[[Project], object]


def refused(project: Project, words: str, *arguments: str, code: int = 2) -> None:
    """Evaluating ends with `code` and one line for each problem, of which one holds `words`."""
    assert project.run("evaluate", "-f", "model.yaml", *arguments) == code, project.err
    assert project.out == ""
    lines = project.err.splitlines()
    assert all(line.startswith("mandate: ") for line in lines), project.err
    assert any(words in line for line in lines), project.err
    assert "this is a defect" not in project.err
    assert "InternalError" not in project.err


def changed(path: str, value: object) -> dict[str, Any]:
    """SPEC with the value at a path such as `gates.0.metric` replaced."""
    document = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    place: Any = document
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[int(last) if last.isdigit() else last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("taks", {}, "spec.taks: unknown field; did you mean task?"),
        ("gates.0.levle", "Shadow", "spec.gates[0].levle: unknown field"),
        ("gates.0.metric", "roc_aux", "spec.gates[0].metric: 'roc_aux': unknown metric; did you mean roc_auc?"),
        ("gates.0.metric", "r2", "'r2': Binary tasks don't have this metric"),
        ("gates.2.each", ["agee"], "spec.gates[2].each: unknown slice 'agee'; did you mean age?"),
        ("gates.3.across", "sexx", "spec.gates[3].across: unknown slice 'sexx'; did you mean sex?"),
        ("gates.0.require.Shadow", "better than linnear", "unknown reference 'linnear'; did you mean linear?"),
        ("gates.1.require.Suggest", ">= 0.6ms", "'>= 0.6ms': roc_auc has no unit, remove 'ms'"),
        ("gates.1.require.Suggest", "<= 40 parsec", "got '<= 40 parsec', expected '>= 0.70', '<= 40ms'"),
        ("gates.1.require.Suggest", "<= 0.6", "roc_auc is better higher, so ask for '>= …'"),
        (
            "gates.1.require.Suggest",
            ">= 0.9",
            "require.Automate: '>= 0.80': asks less than a level below",
        ),
        ("gates.1.require", ">= 0.6", "got '>= 0.6', expected a mapping with Shadow, Suggest, Automate"),
        ("gates.1.name", "<script>", "got '<script>', expected lower-case letters, digits and hyphens"),
        ("gates.1.confidence", "0.5", "got '0.5', expected a confidence from 0.95 to below 1"),
        ("gates", {}, "spec.gates: got {}, expected a list"),
        ("baselines.0.type", "Priorr", "got 'Priorr', expected 'Prior', 'MostFrequent'"),
        ("model.version", "$(reboot)", "got '$(reboot)', expected letters, digits"),
        ("model.version", 7, "got 7, expected text: put it in quotes"),
        ("model.source", {"uri": "m.pkl", "format": "Pickle"}, "got 'Pickle', expected 'ONNX'"),
        ("model.source", {"uri": "m.onnx"}, "spec.model.source.format: set uri and format, or neither"),
        ("data.source.uri", "gopher://hole/x.csv", "got 'gopher://hole/x.csv', expected pvc://CLAIM/PATH"),
        ("data.source.uri", "https://host", "got 'https://host', expected pvc://CLAIM/PATH, https://HOST/PATH, s3"),
        ("data.source", {"uri": "https://h/x.csv", "credentialsRef": {"name": "A"}}, "got 'A', expected the name of a"),
        ("data.source.digest", "md5:12", "got 'md5:12', expected sha256: and 64 hex digits"),
        ("data.split.seed", True, "got True, expected a whole number, without quotes"),
        ("data.split.seed", "7", "got '7', expected a whole number, without quotes"),
        ("data.split.gap", "-3d", "got '-3d', expected a whole number and its unit"),
        ("data.split.train", "90%", "got '90%', expected a share from 0 to 1"),
        ("data.slices.0.edges", ["45", "30"], "['45', '30'] must rise strictly"),
        ("data.slices.1.sensitive", "yes", "got 'yes', expected true or false, without quotes"),
        ("useCase.decision", "x" * 100_000, "String should have at most 1024 characters"),
        ("serving", {"resources": {"limit": {}}}, "spec.serving.resources.limit: unknown field"),
        ("serving", {"resources": {"limits": {"cpu": "lots"}}}, "spec.serving.resources.limits.cpu: got 'lots'"),
        ("serving", {"resources": {"limits": "1"}}, "spec.serving.resources.limits: got '1', expected a mapping"),
    ],
)
def test_a_spec_that_means_nothing(project: Project, path: str, value: object, words: str) -> None:
    project.manifest(**changed(path, value))
    refused(project, words)


def _bomb(*, reached: bool) -> str:
    """A list of 9^10 texts in 400 bytes; as `gates`, or beside the fields."""
    lines, last = ["a: &a [x, x, x, x, x, x, x, x, x]"], "a"
    for name in "bcdefghij":
        lines.append(f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]")
        last = name
    spec = "  gates: *j\n" if reached else ""
    return HEAD + "spec:\n  bomb:\n" + "".join(f"    {line}\n" for line in lines) + spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "holds no ModelDeployment; expected a document with kind: ModelDeployment"),
        (b"a: \0b\n", "holds the character U+0000 at position 3"),
        (HEAD.encode("utf-16"), "isn't UTF-8"),
        (_bomb(reached=True), "holds more than 100000 values once its aliases (*name) are written out"),
        (_bomb(reached=False), "holds more than 100000 values"),
        (HEAD + "spec: {gates: &a [*a]}\n", "model.yaml:4:15: found unconstructable recursive node"),
        (HEAD + "spec: &a {task: *a}\n", "model.yaml:4:7: found unconstructable recursive node"),
        (HEAD + "spec: {<<: {task: {}}}\n", "'<<' (a merge key) isn't read; write the fields out"),
        (HEAD + "spec: {version: 2024-01-01}\n", "'2024-01-01' is read as YAML's timestamp; if it is text"),
        (HEAD + "spec: {version: !!binary aGk=}\n", "'aGk=' is read as YAML's binary"),
        (HEAD + "spec: {gates: !!set {a, b}}\n", "is read as YAML's set"),
        (HEAD + "spec: {? [a] : b}\n", "keys are text"),
        (HEAD + "spec: {seed: " + "9" * 6000 + "}\n", "isn't YAML: Exceeds the limit"),
        (HEAD.replace("credit", "'a;reboot'") + "spec: {}\n", "metadata.name: got 'a;reboot', expected lower-case"),
        (HEAD.replace("credit", "'credit\\n'") + "spec: {}\n", "metadata.name: got "),
        (HEAD + "spec: null\n", "spec: got None, expected a mapping with useCase"),
        (HEAD + "spec: {}\n---\n" + HEAD + "spec: {}\n", "holds 2 ModelDeployments (credit, credit); say which"),
    ],
)
def test_a_file_that_is_no_manifest(project: Project, text: str | bytes, words: str) -> None:
    (project.folder / "model.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(project, words)


def unreadable(path: Path) -> None:
    """Make a file that can't be read, not even by root: reading a process's memory from its start is an error."""
    path.unlink(missing_ok=True)
    if os.geteuid() == 0:
        path.symlink_to("/proc/self/mem")
    else:
        path.touch(mode=0)


def _folder(name: str) -> Prepare:
    def prepare(project: Project) -> None:
        (project.folder / name).unlink()
        (project.folder / name).mkdir()

    return prepare


def _pipe(project: Project) -> None:
    (project.folder / "loans.csv").unlink()
    os.mkfifo(project.folder / "loans.csv")


def _from(uri: str) -> Prepare:
    return lambda project: project.manifest(**changed("data.source.uri", uri))


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_folder("model.yaml"), "model.yaml: Is a directory; expected a YAML file"),
        (lambda project: unreadable(project.folder / "model.yaml"), "model.yaml: "),
        (lambda project: unreadable(project.folder / "loans.csv"), "spec.data.source: Unreadable: "),
        (_folder("loans.csv"), "spec.data.source: IsDirectory: loans.csv"),
        (_pipe, "spec.data.source: NotFile: loans.csv: is a pipe, a socket or a device"),
        (_from("gone.csv"), "spec.data.source: NotFound: gone.csv: there is no such file"),
        (_from("$(touch x).csv"), "NotFound: $(touch x).csv"),
        (_from("a" * 400 + ".csv"), "File name too long; check the path"),
        (_from("a\nb.csv"), "NotFound: a�b.csv"),
        (_from("a\0b.csv"), "spec.data.source: NotFound: a�b.csv"),
        (_from("pvc://a[b/loans.csv"), "can't be a file: Invalid IPv6 URL"),
        (_from("pvc://data/../../etc/passwd.csv"), "NotMounted: pvc://data/../../etc/passwd.csv"),
        (_from("model.yaml"), "spec.data.source.uri: got 'model.yaml', must end in .parquet, .csv, .arrow"),
        (
            lambda project: project.manifest(**changed("data.source.digest", "sha256:" + "0" * 64)),
            "spec.data.source: DigestMismatch: loans.csv: its digest is sha256:",
        ),
    ],
)
def test_files_that_are_not_what_was_named(project: Project, prepare: Prepare, words: str) -> None:
    prepare(project)
    refused(project, words)


def _csv() -> bytes:
    file = io.BytesIO()
    csv.write_csv(table(), file)
    return file.getvalue()


def _parquet(rows: pa.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(rows, file)
    return file.getvalue()


def _column(name: str, values: pa.Array) -> pa.Table:
    rows = table()
    place = rows.column_names.index(name)
    return rows.set_column(place, name, values) if place >= 0 else rows


def _every(value: object, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array([value] * table().num_rows, kind)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_csv()[: len(_csv()) // 2], "RaggedLine: loans.csv: line "),
        (_csv() + b"1,2,3\n", f"line {table().num_rows + 2} has 3 fields, expected 6"),
        (_csv().replace(b"female", b"fe\xe9male", 3), "NotUtf8"),
        (_csv().decode().encode("utf-32"), "NotUtf8"),
        (_csv().replace(b",", b";").replace(b".", b","), "DecimalComma: loans.csv: column "),
        (_csv().replace(b'"amount"', b'"age"', 1), "DuplicateColumn: loans.csv: column 'age' occurs more than once"),
        (_csv().replace(b'"amount"', b"", 1), "spec.model.inputs.columns: MissingColumn: column 'amount' isn't in"),
        (b"\n", "EmptyTable"),
    ],
)
def test_a_csv_file_that_is_none(project: Project, data: bytes, words: str) -> None:
    (project.folder / "loans.csv").write_bytes(data)
    refused(project, words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "spec.data.source: Unreadable: loans.parquet: can't be read as Parquet"),
        (_parquet(table())[:-10], "spec.data.source: Unreadable"),
        (_parquet(table())[:200] + b"\xff" * 5000 + _parquet(table())[5200:], "spec.data.source: Unreadable"),
        (_parquet(table().slice(0, 0)), "EmptyTable: loans.parquet: has no rows"),
        (_parquet(table().slice(0, 1)), "NoTestRows: data: the split leaves no test rows"),
        (_parquet(table().drop_columns("sex")), "spec.data.slices[sex].column: MissingColumn: column 'sex' isn't in"),
        (_parquet(table().drop_columns("id")), "spec.task.id: MissingColumn"),
        (_parquet(_column("id", _every("x"))), "DuplicateId: task.id: column 'id' must name each row once"),
        (_parquet(_column("risk", _every(None, pa.string()))), "MissingLabels: task.target: column 'risk' is missing"),
        (_parquet(_column("risk", _every(float("nan")))), "MissingLabels: task.target: column 'risk' is missing"),
        (_parquet(_column("risk", _every("good"))), "UnknownPositive: task.positive: 'bad' never occurs"),
        (_parquet(_column("sex", _every(b"\xff\xfe"))), "NotText: column 'sex' holds bytes that aren't UTF-8"),
        (_parquet(_column("age", _every("old"))), "SliceNotNumeric: data.slices 'age'"),
    ],
)
def test_a_table_that_cannot_be_measured(project: Project, data: bytes, words: str) -> None:
    project.manifest(**changed("data.source.uri", "loans.parquet"))
    (project.folder / "loans.parquet").write_bytes(data)
    refused(project, words)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (_every("yesterday"), "column 'at' holds 'yesterday', expected ISO 8601 such as"),
        (pa.array(["2024-01-01T00:00:00Z", "2024-01-02"] * 1500), "column 'at' holds '2024-01-02', expected ISO 8601"),
        (_every(2**60, pa.timestamp("ms")), "column 'at' holds times beyond"),
        (_every(None, pa.timestamp("us")), "MissingTime: task.time: column 'at' is missing on 3000 rows"),
    ],
)
def test_times_that_are_none(project: Project, times: pa.Array, words: str) -> None:
    spec = changed("task.time", "at")
    spec["data"] |= {"source": {"uri": "loans.parquet"}, "split": {"method": "Time"}}
    project.manifest(**spec)
    (project.folder / "loans.parquet").write_bytes(_parquet(table().append_column("at", times)))
    refused(project, words)


MATRIX: dict[str, Any] = {
    "inputs": {"columns": ["amount", "age"], "encoding": "Matrix"},
    "output": {"name": "value"},
}


@pytest.mark.parametrize(
    ("model", "declared", "code", "words"),
    [
        (None, {}, 2, "spec.model.source.uri: NotFound: model.onnx: there is no such file"),
        (b"", {}, 2, "spec.model.source: Unreadable: model.onnx: not a self-contained ONNX model"),
        (b"\x80\x04K\x01.", {}, 2, "spec.model.source: Unreadable: model.onnx: expected ONNX, got a Python pickle"),
        (columns_model()[:-100], {}, 2, "spec.model.source: Unreadable: model.onnx: not a self-contained ONNX model"),
        (columns_model(), {}, 2, "spec.model.inputs: MissingInput: the model's input 'purpose'"),
        (matrix_model(2), MATRIX | {"output": {"name": "p"}}, 2, "UnknownOutput: the model has no output 'p'"),
        (matrix_model(3), MATRIX, 3, "WrongShape: input 'input' has shape [-1, 3], but 2 columns are declared"),
        (matrix_model(2, outputs=5), MATRIX, 3, "WrongShape: output 'value' has shape [1000, 5]"),
        (
            matrix_model(2),
            MATRIX | {"inputs": {"columns": ["amount", "sex"], "encoding": "Matrix"}},
            3,
            "WrongType: column 'sex' holds string",
        ),
    ],
)
def test_a_model_that_is_not_what_was_declared(
    project: Project, model: bytes | None, declared: dict[str, Any], code: int, words: str
) -> None:
    if model is not None:
        (project.folder / "model.onnx").write_bytes(model)
    source = {"source": {"uri": "model.onnx", "format": "ONNX"}}
    project.manifest(model=copy.deepcopy(SPEC["model"]) | source | declared)
    refused(project, words, code=code)


def test_a_model_that_nobody_may_read(project: Project) -> None:
    unreadable(project.folder / "model.onnx")
    project.manifest(model=copy.deepcopy(SPEC["model"]) | {"source": {"uri": "model.onnx", "format": "ONNX"}})
    refused(project, "spec.model.source: Unreadable: model.onnx: ")


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        (_column("score", _every(float("nan"))), 3, "NonFinitePredictions"),
        (_column("score", _every(None, pa.null())), 3, "NonFinitePredictions"),
        (_column("score", _every("high")), 3, "NotNumeric: model.output: the answers aren't numbers"),
        (_column("score", _every(1.5)), 3, "NotProbabilities: model.output: 1.5 on 3000 rows lies outside 0 to 1"),
        (_column("risk", _every("bad")), 1, "OneClass"),
        (_column("amount", _every(1e300)), 1, "may run in Shadow, not Automate"),
    ],
)
def test_answers_without_a_number_never_pass(project: Project, rows: pa.Table, code: int, words: str) -> None:
    parquet.write_table(rows, project.folder / "loans.parquet")
    project.manifest(**changed("data.source.uri", "loans.parquet"))
    assert project.run("evaluate", "-f", "model.yaml") == code
    assert words in " ".join(project.out.split())
    assert project.err == ""


def test_hostile_texts_in_the_data_stay_text(project: Project) -> None:
    """Slice values that are markup, terminal codes and shell words: in no report are they more than words."""
    hostile = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a|b`$(reboot)`\x1b[31m\u202e", "'\"&amp;"]
    values = pa.array([hostile[row % len(hostile)] for row in range(3000)])
    parquet.write_table(_column("sex", values), project.folder / "loans.parquet")
    project.manifest(**changed("data.source.uri", "loans.parquet"))
    assert project.run("evaluate", "-f", "model.yaml", "-o", "html=r.html", "-o", "markdown=r.md") == 1
    html, markdown = (project.folder / "r.html").read_text(), (project.folder / "r.md").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    for text in (html, markdown):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    for text in (html, markdown, project.out):
        assert "\x1b" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "-f", "model.yaml", "-o", "html=./model.yaml"], "would overwrite what is read"),
        (
            ["evaluate", "-f", "model.yaml", "--look", "99999999999999"],
            "expected 1 for the first look, or a number",
        ),
        (["split", "-f", "model.yaml", "--out", "loans.csv"], "would overwrite the data"),
        (["init", "loans.csv", "--target", "risk", "--name", "A b"], "--name: got 'A b', expected lower-case"),
        (["report", "-f", "model.yaml", "-e", "/dev/zero"], "which no evidence is"),
    ],
)
def test_options_that_would_do_harm(project: Project, arguments: list[str], words: str) -> None:
    before = {path.name: path.read_bytes() for path in project.folder.iterdir()}
    assert project.run(*arguments) == 2
    assert words in project.err
    assert {path.name: path.read_bytes() for path in project.folder.iterdir()} == before


def test_a_manifest_of_many_documents_is_read_once_each(project: Project) -> None:
    """Other kinds, empty documents and comments between; the one ModelDeployment is judged."""
    own = yaml.safe_load((project.folder / "model.yaml").read_text())
    others = [{"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "y"}}, None]
    project.write("model.yaml", yaml.safe_dump_all([*others, own, *others]))
    assert project.run("evaluate", "-f", "model.yaml") == 1


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ("", 2, "champion.yaml: holds no ModelDeployment"),
        (changed("model.sauce", {}), 2, "--champion champion.yaml: spec.model.sauce: unknown field"),
        (changed("task.positive", "good"), 2, "spec.task.positive: got 'good', the candidate's is 'bad'"),
        (changed("model.source", {"columns": ["score"]}), 2, "a champion is a model that runs"),
        (changed("model.source", {"uri": "no.onnx", "format": "ONNX"}), 2, "spec.model.source: NotFound: no.onnx"),
        (changed("model.source", {"uri": "bad.onnx", "format": "ONNX"}), 2, "spec.champion.source: Unreadable: "),
        (
            changed("model.source", {"uri": "bad.onnx", "format": "ONNX", "digest": "sha256:" + "0" * 64}),
            2,
            "spec.champion.source: DigestMismatch: ",
        ),
        (
            changed("model.source", {"image": "r/m@sha256:" + "a" * 64}),
            3,
            "spec.champion.source.image: NeedsCluster: r/m@sha256:",
        ),
    ],
)
def test_a_champion_that_is_none(project: Project, document: str | dict[str, Any], code: int, words: str) -> None:
    gate = {"name": "better", "metric": "roc_auc", "require": {"Shadow": "better than champion"}}
    project.manifest(gates=[gate], autonomy={"target": "Shadow"})
    project.write("bad.onnx", "this is no model")
    if isinstance(document, str):
        project.write("champion.yaml", document)
    else:
        project.manifest(name="champion.yaml", **document)
    refused(project, words, "--champion", "champion.yaml", code=code)
