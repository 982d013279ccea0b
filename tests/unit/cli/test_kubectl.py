"""`kubectl mandate`: what is asked in whose name, what came of it, and the ladder in words."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import mandate
from mandate.api.asks import VERBS, Ask, compose
from mandate.cli import ask as command
from mandate.cli import cluster, kubectl, ladder, parser
from mandate.cli.errors import InputError
from mandate.kube.errors import UnavailableError
from tests.unit.cli.test_parser import HEAVY
from tests.unit.controller.samples import mdep
from tests.unit.controller.test_climb import NOW, STEP, asking, settled, start
from tests.unit.virtual import run

REVISION = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


def wanted(*arguments: str, user: str = "ann") -> Ask:
    return command.wanted(parser.build_kubectl().parse_args(arguments), identity="7f3a21", user=user)


def test_every_verb_is_a_command_of_the_very_name() -> None:
    assert tuple(parser.VERBS) == tuple(verb.lower() for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (("halt", "credit"), "7f3a21 by ann"),
        (("halt", "credit", "--level", "None"), "7f3a21 by ann"),
        (
            ("halt", "credit", "--level", "Shadow", "--why", "worse: since noon"),
            "7f3a21 to Shadow by ann: worse: since noon",
        ),
        (("promote", "credit", "--revision", REVISION), f"7f3a21 of {REVISION} by ann"),
        (("retry", "credit"), "7f3a21 by ann"),
    ],
)
def test_what_is_asked(arguments: tuple[str, ...], value: str) -> None:
    assert compose(wanted(*arguments)) == value


@pytest.mark.parametrize(
    ("arguments", "user", "says"),
    [
        (("pause", "credit", "--why", "a\nb"), "ann", "on one line"),
        (("pause", "credit", "--why", "x" * 1100), "ann", "at most 1024 characters"),
        (("promote", "credit", "--revision", "latest"), "ann", "[of REVISION]"),
        (("retry", "credit", "--revision", "latest"), "ann", "[of REVISION]"),
        (("pause", "credit"), "ann: bob", "a USER without ': '"),
        (("pause", "credit"), "mandate", "USER other than mandate"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_written(
    arguments: tuple[str, ...], user: str, says: str
) -> None:
    with pytest.raises(InputError, match="annotations") as error:
        wanted(*arguments, user=user)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "arguments", [["pause", "credit", "--level", "Shadow"], ["halt", "credit", "--level", "Suggest"]]
)
def test_a_level_is_for_halt_and_only_downwards(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        kubectl.main(arguments)
    assert error.value.code == 2


def test_without_a_cluster_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kubectl.main(["status", "credit", "--kubeconfig", str(tmp_path / "none")]) == 2
    assert "no cluster to talk to" in capsys.readouterr().err


def kubeconfig(folder: Path) -> Path:
    """Two contexts of one cluster that isn't there."""
    contexts = [
        {"name": name, "context": {"cluster": "c", "user": "u", **more}}
        for name, more in (("here", {"namespace": "lending"}), ("there", {}))
    ]
    path = folder / "config"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("arguments", "namespace"),
    [
        ((), "lending"),
        (("--context", "there"), "default"),
        (("-n", "other"), "other"),
        (("--context", "there", "-n", "other"), "other"),
    ],
)
def test_the_namespace_is_the_contexts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], namespace: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path)))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")  # as in a Pod: what is named comes first

    async def found() -> str:
        async with cluster.connected(parser.build_kubectl().parse_args(["status", "credit", *arguments])) as (_, name):
            return name

    assert asyncio.run(found()) == namespace


def test_a_context_that_is_not_there_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--kubeconfig", str(kubeconfig(tmp_path)), "--context", "nowhere"]
    assert kubectl.main(["pause", "credit", *given]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_an_api_server_that_does_not_answer_is_neither_success_nor_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("pause", "status"):
        assert kubectl.main([verb, "credit", "--kubeconfig", str(kubeconfig(tmp_path))]) == 3
        assert "127.0.0.1:9" in capsys.readouterr().err


def test_help_loads_nothing_heavy_and_says_the_exit_codes() -> None:
    code = (
        "import sys, mandate.cli.kubectl, mandate.cli.parser as parser; parser.build_kubectl(); "
        f"print([name for name in {(*HEAVY, 'kubernetes', 'aiohttp')!r} if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(Path(mandate.__path__[0]).parent)}
    python = [sys.executable]
    loaded = subprocess.run([*python, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert loaded.stdout.strip() == "[]"
    run_help = [*python, "-m", "mandate.cli.kubectl", "halt", "--help"]
    text = subprocess.run(run_help, capture_output=True, text=True, check=True, env=environment).stdout
    assert "usage: kubectl mandate halt" in text
    assert "3  asked, but the operator hasn't seen to it in time" in text


ASK = Ask(verb="Pause", id="7f3a21", by="ann")


def test_it_waits_until_the_status_says_so_also_while_the_api_server_is_away() -> None:
    answers: list[Any] = [{}, {"status": {"handled": {"Pause": "old"}}}, UnavailableError("away")]
    done = {"status": {"handled": {"Pause": "7f3a21"}}}

    async def read() -> Any:
        answer = answers.pop(0) if answers else done
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert run(command.seen_to(read, ASK, seconds=30)) == done


def test_it_gives_up_in_time() -> None:
    async def never() -> Any:
        return {"status": {"handled": {"Halt": "7f3a21"}}}

    async def timed() -> tuple[Any, float]:
        clock = asyncio.get_running_loop().time
        begun = clock()
        return await command.seen_to(never, ASK, seconds=3), clock() - begun

    answer, passed = run(timed())
    assert answer is None
    assert passed == pytest.approx(3)


def test_what_came_of_it_is_what_the_history_says_since() -> None:
    before, _ = settled(start(autonomy__shadow={"minDuration": "1h", "minPredictions": 0}), NOW)
    after, _ = settled(asking(before, promote="7f3a21 by ann: it is urgent"), NOW + 1)
    ask = Ask(verb="Promote", id="7f3a21", by="ann", why="it is urgent")
    code, lines = command.outcome(before.mdep, after.mdep, ask)
    assert code == 0
    assert lines[0] == "Promoted version 2 from Shadow to Suggest: promote: it is urgent (by ann)"
    again, _ = settled(asking(after, resume="8 by ann"), NOW + 2)
    code, lines = command.outcome(after.mdep, again.mdep, Ask(verb="Resume", id="8", by="ann"))
    assert code == 1
    assert lines == ("Ignored: resume: nothing is paused or halted (by ann)",)
    assert command.outcome(again.mdep, again.mdep, ask) == (0, ("seen to; nothing changed",))


def test_the_ladder_in_words() -> None:
    snapshot, _ = settled(start(autonomy__shadow={"minDuration": "1h", "minPredictions": 0}), NOW)
    text = ladder.lines(snapshot.mdep)
    assert text[0] == "lending/credit: level Automate, target Automate"
    start_ = text.index("")
    assert text[start_ + 1].startswith("  Automate  champion version 1, 100 % of requests, since 2026-01-01T00:00:00Z")
    assert text[start_ + 2] == "  Suggest"
    assert text[start_ + 3] == "  Shadow    candidate version 2, since 2026-01-02T00:00:00Z"
    told = [line for line in text if line.startswith("Granted: ")]
    assert told == [
        "Granted: yes: version 2 may act at Shadow; Suggest isn't granted: Shadow must last 1h, about 60 min more"
    ]
    assert text[-1].endswith(
        "Promoted version 2 from no level to Shadow: its test evidence carries Shadow (by mandate)"
    )


def test_the_ladder_says_who_stopped_it_and_whom_it_would_go_back_to() -> None:
    snapshot, _ = settled(start(), NOW)
    snapshot, _ = settled(snapshot, NOW + STEP)
    snapshot, _ = settled(asking(snapshot, pause="1 by ann: lunch"), NOW + STEP + 1)
    text = "\n".join(ladder.lines(snapshot.mdep))
    assert "paused by ann since 2026-01-02T06:00:01Z: lunch" in text
    assert "  before    version 1 (still granted), to roll back to" in text
    snapshot, _ = settled(asking(snapshot, halt="2 by bob"), NOW + STEP + 2)
    text = "\n".join(ladder.lines(snapshot.mdep))
    assert "halted, off by bob since" in text
    assert "  -         champion version 2" in text


def test_a_refusal_and_a_bad_annotation_are_told() -> None:
    snapshot, _ = settled(start(accuracy=0.3), NOW)
    snapshot, _ = settled(asking(snapshot, halt="off"), NOW + 1)
    text = "\n".join(ladder.lines(snapshot.mdep))
    assert "CandidateRefused: Shadow isn't granted: " in text
    assert "AskUnderstood: metadata.annotations[mandate.dev/halt]: 'off'" in text


def test_a_model_that_nobody_has_looked_at_is_no_defect() -> None:
    new = mdep() | {"metadata": {"name": "credit", "namespace": "lending", "generation": 1}}
    text = ladder.lines(new)
    assert "the operator hasn't looked at the present spec yet" in text
    assert "the operator has said nothing about it yet" in text


def test_a_drill_that_failed_is_no_success() -> None:
    ask = Ask(verb="Drill", id="7f3a21", by="ann")
    for what, expected in (("Drilled", 0), ("DrillFailed", 1)):
        entry = {"at": "2026-01-02T00:00:05Z", "what": what, "by": "ann", "why": "Service rule:80 answered"}
        after = {"status": {"history": [entry]}}
        assert command.outcome({}, after, ask) == (expected, (f"{what}: Service rule:80 answered (by ann)",))
