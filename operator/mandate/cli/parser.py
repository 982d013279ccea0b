"""The command line as a user types it. Imports the standard library only, so that --help is quick."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("text", "json", "markdown", "html", "junit", "github", "model-card", "evidence")
COMPARISON_FORMATS = ("text", "json", "markdown", "html")
LEVELS = ("Shadow", "Suggest", "Automate")
PARTS = ("train", "validation", "test")
TASKS = ("Binary", "Multiclass", "Regression", "Ranking", "Forecast")

EXIT_CODES = """\
exit codes:
  0  the target level's gates hold
  1  they don't: a Fail, or an Inconclusive where Pass is asked
  2  what was given can't be used: manifest, data, model or options
  3  not judged: the model couldn't be run, or a gate in the way is Error and none is Fail
"""

VERBS = {
    "pause": "nobody climbs until resume; coming down goes on",
    "resume": "lift a pause, and a halt",
    "abort": "the candidate loses its traffic and is refused",
    "retry": "judge a refused or failed version again",
    "promote": "spare the next step its wait, never its evidence",
    "rollback": "from a candidate that answers to the champion; without one, to the champion before",
    "halt": "take the model to Shadow, or off, at once",
    "drill": "send the declared request to the fallback, and say whether it answered",
}
EXIT_CODES_OF_VERBS = """\
exit codes:
  0  seen to by the operator (with --wait 0: asked)
  1  the operator had nothing to do, or the fallback didn't answer a drill: it says why
  2  refused, or what was given can't be used
  3  asked, but the operator hasn't seen to it in time, or the API server doesn't answer
"""


def build() -> argparse.ArgumentParser:
    """The parser of `mandate`; `command` names what to run."""
    parser = argparse.ArgumentParser(
        prog="mandate", description="Decides, on measured evidence, how far an ML model may act on its own."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _evaluate(commands)
    _report(commands)
    _compare(commands)
    _split(commands)
    _init(commands)
    _profile(commands)
    _drift(commands)
    commands.add_parser("version", help="print the version")
    return parser


def build_kubectl() -> argparse.ArgumentParser:
    """The parser of `kubectl mandate`; `command` names what to run, `verb` what is asked."""
    parser = argparse.ArgumentParser(
        prog="kubectl mandate", description="Asks a ModelDeployment's operator for something, and shows how it stands."
    )
    commands = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="who stands where, what is missing, the last changes")
    status.set_defaults(command="status")
    _target(status)
    batch = commands.add_parser(
        "batch",
        help="print the Job that scores batches with what is granted now",
        description="Prints the Job, or the CronJob, that scores batches with the champion, else the candidate, at "
        "the level granted now: pipe it to `kubectl create -f -`. Once the version, the level or the operator "
        "changes, the API server refuses its Pods: print it anew.",
    )
    batch.set_defaults(command="batch")
    _target(batch)
    batch.add_argument("--schedule", default="", metavar="CRON", help="a CronJob, such as '0 2 * * *'")
    compare = commands.add_parser(
        "compare",
        help="show the evaluations that are kept side by side: quality, latency, cost",
        description="Shows the model's evaluations whose evidence is kept side by side, as `mandate compare` does\n"
        "with files: which version is surely better than which on quality, latency and cost together.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.set_defaults(command="compare_stored")
    _target(compare)
    _comparing(compare)
    _report_stored(commands)
    for verb, help_ in VERBS.items():
        command = commands.add_parser(
            verb,
            help=help_,
            description=f"{verb}: {help_}.",
            epilog=EXIT_CODES_OF_VERBS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(command="ask", level="None")
        _target(command)
        command.add_argument("--why", default="", metavar="TEXT", help="the reason, for status.history")
        command.add_argument(
            "--revision", default="", metavar="KEY", help="only while this is the candidate or the champion (32 hex)"
        )
        if verb == "halt":
            command.add_argument(
                "--level", choices=("Shadow", "None"), help="what may stay: Shadow, or nothing (default: %(default)s)"
            )
        command.add_argument(
            "--wait",
            type=_seconds,
            default=30.0,
            metavar="SECONDS",
            help="until the operator has seen to it; 0: don't wait (default: %(default)g)",
        )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 to 86400 seconds")
    return value


def _threads(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 to 1024 threads")
    return value


def _bytes(text: str) -> int:
    from mandate.api.quantity import quantity

    value = quantity(text)
    if value is None or not value.is_finite() or value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected bytes as Kubernetes writes them, such as 1500Mi or 4Gi")
    return int(value)


def _addressed(text: str) -> tuple[str, str]:
    from mandate.evaluate.addresses import addressed

    return addressed(text)


def _target(
    command: argparse.ArgumentParser, *, metavar: str = "MODEL", help_: str = "the ModelDeployment's name"
) -> None:
    command.add_argument("model", metavar=metavar, help=help_)
    command.add_argument("-n", "--namespace", help="its namespace (default: the context's)")
    command.add_argument("--context", help="the kubeconfig's context to use")
    command.add_argument("--kubeconfig", metavar="FILE", help="the kubeconfig (default: as kubectl's)")


Commands = argparse._SubParsersAction


def _evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "evaluate",
        help="measure the model and judge it",
        description="Runs the evaluation that a manifest declares and judges it, as the cluster would.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _manifest(command)
    _mount(command)
    _outputs(command)
    _looks(command)
    command.add_argument(
        "--champion",
        type=Path,
        metavar="FILE",
        help="YAML with the ModelDeployment that serves now: gates against `champion` compare with its model on the "
        "same rows; without it there is no champion yet",
    )
    command.add_argument(
        "--baseline",
        type=_addressed,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="where a server answers for the baseline NAME, of type Container: it is asked for the same rows, as the "
        "model named `model`; once per such baseline",
    )
    command.add_argument(
        "--serve",
        action="store_true",
        help="also serve the model on this machine and measure latencies; without it such gates are Error NotMeasured",
    )
    command.add_argument(
        "--workers",
        type=_threads,
        metavar="N",
        help="threads that look through the data (default: as there are cores); the evidence is the same",
    )
    command.add_argument(
        "--memory",
        type=_bytes,
        metavar="BYTES",
        help="map tables that would take more than half of this, such as 1500Mi, from a file in TMPDIR instead of "
        "holding them, and what is known of each of their rows with them; the evidence is the same",
    )
    command.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="have the workers of a Dask cluster look through the data, such as tcp://HOST:8786: rows are sent there; "
        "the evidence is the same",
    )


def _report(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "report",
        help="judge stored evidence anew, without measuring",
        description="Judges stored evidence on a manifest's criteria. Changed numbers, levels, burdens and confidence\n"
        "take effect; changed measurement settings (cut-off, slices, split, baselines, costs) need `mandate evaluate`.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _manifest(command)
    command.add_argument(
        "-e",
        "--evidence",
        type=Path,
        required=True,
        metavar="FILE",
        help="evidence as written by `mandate evaluate -o evidence=FILE`",
    )
    _outputs(command)
    _looks(command)


def _report_stored(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "report",
        help="show the evidence that is kept of an evaluation, judged",
        description="Judges the evidence that the cluster keeps of an evaluation and reports, as `mandate report`\n"
        "does with a file: on the criteria of the ModelDeployment, or of --file.",
        epilog=EXIT_CODES.rstrip() + "; or the API server doesn't answer\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command="report_stored")
    _target(
        command, metavar="NAME", help_="a ModelDeployment's name, for its newest evaluation; or a ModelEvaluation's"
    )
    command.add_argument("-f", "--file", type=Path, metavar="FILE", help="YAML with the criteria to judge on instead")
    command.add_argument("--name", help="which ModelDeployment, where the YAML holds several")
    _outputs(command)
    _looks(command, default="the operator's count, where it is of this verdict; else 1, and the report says so")


def _compare(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "compare",
        help="show candidates side by side: quality, latency, cost",
        description="Shows several evaluations of the same rows side by side, and which candidate is surely better\n"
        "than which on quality, latency and cost together.",
        epilog="exit codes:\n  0  compared\n  2  what was given can't be compared, or can't be used\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "evidence",
        nargs="+",
        metavar="[NAME=]FILE",
        help="evidence as written by `mandate evaluate -o evidence=FILE`, or as the cluster keeps it",
    )
    _comparing(command)


def _comparing(command: argparse.ArgumentParser) -> None:
    command.add_argument("-f", "--file", type=Path, metavar="FILE", help="YAML with the gates that all must pass")
    command.add_argument("--name", help="which ModelDeployment, where the YAML holds several")
    command.add_argument(
        "--metric", help="what quality is (default: ROC AUC, balanced accuracy or mean absolute error)"
    )
    command.add_argument("--load", metavar="RATE", help="at which load latencies are compared, where there are several")
    command.add_argument(
        "--look",
        type=int,
        default=1,
        metavar="N",
        help="this is the N-th look at these test rows (default: %(default)s)",
    )
    _outputs(command, COMPARISON_FORMATS)


def _split(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "split",
        help="execute the declared split",
        description="Divides the declared data into train, validation and test, as the evaluation does; prints the "
        "sizes and the digest that goes into model.training.splitDigest.",
    )
    _manifest(command)
    _mount(command)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="also write each row's part to FILE (.parquet or .csv), in the data's row order",
    )


def _init(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "init",
        help="write a first manifest from a table",
        description="Looks at a table and writes a manifest to start from. Guesses are marked by comments.",
    )
    command.add_argument("table", type=Path, metavar="TABLE", help="a table: Parquet, CSV or Arrow")
    command.add_argument("--target", required=True, metavar="COLUMN", help="column with the truth")
    command.add_argument("--task", choices=TASKS, help="kind of task; guessed from the target")
    command.add_argument("--positive", metavar="CLASS", help="Binary: the class that counts; guessed: the rarer one")
    command.add_argument("--query", metavar="COLUMN", help="Ranking: rows with one value are ranked together")
    command.add_argument("--score", metavar="COLUMN", help="Ranking: column with the model's score, the largest first")
    command.add_argument("--id", metavar="COLUMN", help="column that names a row; guessed")
    command.add_argument("--time", metavar="COLUMN", help="column that says when a row happened; guessed")
    command.add_argument("--series", metavar="COLUMN", help="Forecast: column that tells series apart; guessed")
    command.add_argument("--horizon", metavar="COLUMN", help="Forecast: column with the steps ahead; guessed")
    command.add_argument("--name", help="the ModelDeployment's name; guessed from the file's")
    command.add_argument("--model", default="model.onnx", metavar="URI", help="the model file (default: %(default)s)")
    command.add_argument("--level", choices=LEVELS, default="Suggest", help="the target level (default: %(default)s)")
    command.add_argument("--out", type=Path, metavar="FILE", help="write to FILE, which must not exist yet")


def _profile(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "profile",
        help="write a part's profile, to compare new data with",
        description="Writes the profile of a part of the declared data: how the inputs, the target and the columns of "
        "slices are\ndistributed, without rows, small, with a digest of its own. Columns that name rows or entities "
        "are left out; the\nvalues of others are in it, so it is as private as the data.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _manifest(command)
    _mount(command)
    rows = command.add_mutually_exclusive_group()
    rows.add_argument("--part", choices=PARTS, default="train", help="which rows (default: %(default)s)")
    rows.add_argument(
        "--table",
        type=Path,
        metavar="TABLE",
        help="the rows of a table instead, such as what production scored, for data.production",
    )
    command.add_argument("--out", type=Path, metavar="FILE", required=True, help="the profile: JSON")


def _drift(commands: Commands[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "drift",
        help="compare new data with a stored profile",
        description="Compares a table with a profile that `mandate profile` wrote: what is distributed otherwise, and "
        "what is wrong\nwith its columns, each with what to do about it.",
        epilog="exit codes:\n  0  nothing was found\n  1  something was\n  2  what was given can't be used\n"
        "  3  nothing was found, and something couldn't be looked at, such as too few rows\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("table", type=Path, metavar="TABLE", help="a table: Parquet, CSV or Arrow")
    command.add_argument(
        "--reference", type=Path, required=True, metavar="FILE", help="the profile, from `mandate profile`"
    )
    command.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column that the table isn't expected to have, such as a label that comes later; several times",
    )
    command.add_argument(
        "--personal",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column that isn't compared, and whose values errors don't tell, as data.personal has it; several times",
    )
    command.add_argument("--id", metavar="COLUMN", help="column that names a row: each occurs once, and everywhere")
    command.add_argument(
        "--cluster", metavar="COLUMN", help="rows of one value may be alike, and tell as much as their clusters"
    )
    command.add_argument("--time", metavar="COLUMN", help="column that says when a row happened; for --max-age")
    command.add_argument("--max-age", metavar="DURATION", help="how old the newest row may be, such as 36h or 7d")
    command.add_argument(
        "--usual-rows", type=_count, metavar="N", help="how many rows are usual: half to twice as many"
    )
    _outputs(command, COMPARISON_FORMATS)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**12:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number of rows above 0")
    return int(text)


def _manifest(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-f",
        "--file",
        type=Path,
        required=True,
        metavar="FILE",
        help="YAML with a ModelDeployment; other documents in it are passed over; - reads standard input",
    )
    command.add_argument("--name", help="which ModelDeployment, where FILE holds several")


def _mount(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--mount",
        action="append",
        default=[],
        metavar="pvc://CLAIM=DIR",
        help="read pvc://CLAIM/… from this directory; may be given several times",
    )
    command.add_argument(
        "--credentials",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="stands for the Secret NAME: a directory with a file per key; may be given several times",
    )


def _outputs(command: argparse.ArgumentParser, formats: tuple[str, ...] = FORMATS) -> None:
    command.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FORMAT[=FILE]",
        help=f"{', '.join(formats)}; to FILE or standard output; may be given several times. "
        "Text goes to standard output unless another format does",
    )


def _looks(command: argparse.ArgumentParser, *, default: str = "1, and the report says so") -> None:
    group = command.add_mutually_exclusive_group()
    group.add_argument(
        "--look",
        type=int,
        metavar="N",
        help=f"this is the N-th look at these test rows (default: {default})",
    )
    group.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE",
        help="count looks in FILE (JSON), and add this one; made if it isn't there",
    )
