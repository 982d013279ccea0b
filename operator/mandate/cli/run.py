"""From a command to its exit code; every error becomes words for people and one of the documented codes."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import traceback

from mandate.report.names import plain, uncommanding

from .errors import InputError

EXIT_HOLDS = 0
EXIT_REFUSED = 1
EXIT_INPUT = 2
EXIT_NOT_JUDGED = 3
EXIT_INTERRUPTED = 130
"""As shells report a command that SIGINT ended."""


def run(options: argparse.Namespace) -> int:
    """Run `options.command`."""
    # Each command is a module with `execute(options) -> int`, loaded when it is asked for.
    command = importlib.import_module(f"mandate.cli.{options.command}")
    try:
        code: int = command.execute(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except InputError as error:
        return say(str(error), code=EXIT_INPUT)
    except KeyboardInterrupt:
        return say("interrupted", code=EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more while it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NOT_JUDGED
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return say(f"{error.filename or 'output'}: {error.strerror}; nothing was judged", code=EXIT_NOT_JUDGED)
        return _known(error)


def _known(error: Exception) -> int:
    from mandate.api.check import SpecError

    if isinstance(error, SpecError):
        return say(*map(str, error.problems), code=EXIT_INPUT)
    from mandate.evaluate.failures import EvaluationError
    from mandate.evaluate.frame import EXIT_INPUT as BAD_INPUT

    if isinstance(error, EvaluationError):
        failure = error.failure
        where = f"{failure.field}: " if failure.field else ""
        code = EXIT_INPUT if error.exit_code == BAD_INPUT else EXIT_NOT_JUDGED
        return say(f"{where}{failure.code}: {failure.message}", code=code)
    traceback.print_exception(error)
    return say("this is a defect of mandate, not of what was given; nothing was judged", code=EXIT_NOT_JUDGED)


def say(*messages: str, code: int) -> int:
    """Tell what went wrong; returns `code`."""
    for message in messages:
        print(f"mandate: {clean(message)}", file=sys.stderr)
    return code


def clean(text: str) -> str:
    """On one line, harmless to a terminal and a CI runner: names of files, columns and people could be anything."""
    return uncommanding(plain(text, instead="�"))
