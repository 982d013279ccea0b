"""Telling a story on the terminal: chapters in plain words, the commands a reader could type, what they printed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import Any


class DemoError(Exception):
    """The story didn't come out as told; the message says what was expected and what to do."""


class Story:
    """Prints chapters and runs commands. Every claim is checked as it is made: see `expect`."""

    def __init__(self, *, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.began = time.monotonic()
        self.chapters = 0

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.chapters += 1
        print(f"\n━━ {self.chapters}. {title}  ({self._elapsed()})", flush=True)

    def end(self) -> None:
        """Say how long it all took."""
        self.say("")
        self.say(f"all of this took {self._elapsed()} (minutes:seconds)")

    def say(self, text: str) -> None:
        """A sentence of the story, wrapped."""
        for line in textwrap.wrap(text, 130, subsequent_indent="    ") or [""]:
            print(f"   {line}", flush=True)

    def run(
        self,
        *command: str,
        show: str | None = None,
        fails: bool = False,
        stdin: str | None = None,
        shown_lines: int | None = None,
    ) -> str:
        """Run a command a reader could type, print it and what it said; `fails` where a refusal is the point.

        With `shown_lines` only so many lines are printed, and how many there are.
        """
        print(f"\n   $ {show or shlex.join(command)}", flush=True)
        done = self._execute(command, stdin)
        text = (done.stdout + done.stderr).rstrip()
        lines = text.splitlines()
        print("\n".join(f"   {line}" for line in lines[:shown_lines]), flush=True)
        if shown_lines is not None and len(lines) > shown_lines:
            print(f"   … and {len(lines) - shown_lines} more lines", flush=True)
        if fails and done.returncode == 0:
            raise DemoError(f"this must be refused, but it was taken: {shlex.join(command)}")
        if not fails and done.returncode != 0:
            raise DemoError(f"failed with exit code {done.returncode}: {shlex.join(command)}")
        return text

    def quietly(self, *command: str, stdin: str | None = None) -> str:
        """Run a command behind the scenes; its output matters only if it fails."""
        done = self._execute(command, stdin)
        if done.returncode != 0:
            raise DemoError(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def expect(self, holds: bool, claim: str) -> None:
        """Check a claim; the story ends where it isn't true."""
        if not holds:
            raise DemoError(f"expected: {claim}")
        print(f"   ✓ {claim}", flush=True)

    def visibly(self, *command: str) -> str:
        """Run a command whose progress (on standard error) the reader sees; returns its standard output."""
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=self.environment)
        if done.returncode != 0:
            raise DemoError(f"failed with exit code {done.returncode}: {shlex.join(command)}")
        return done.stdout

    def succeeds(self, *command: str) -> bool:
        """Whether a command ends well; says nothing."""
        return self._execute(command, None).returncode == 0

    def wait(self, what: str, probe: Callable[[], Any], *, seconds: float) -> Any:
        """Poll until `probe` gives something; say every ten seconds that we still wait."""
        deadline = time.monotonic() + seconds
        said = time.monotonic()
        print(f"   … {what}", flush=True)
        while True:
            found = probe()
            if found:
                return found
            now = time.monotonic()
            if now > deadline:
                raise DemoError(f"waited {seconds:.0f} s for this and it didn't come: {what}")
            if now - said > 10:
                said = now
                print(f"   … still waiting ({int(deadline - now)} s left)", flush=True)
            time.sleep(0.5)

    def json(self, *command: str) -> Any:
        """A command's JSON."""
        return json.loads(self.quietly(*command))

    def _elapsed(self) -> str:
        elapsed = int(time.monotonic() - self.began)
        return f"{elapsed // 60}:{elapsed % 60:02d}"

    def _execute(self, command: tuple[str, ...], stdin: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env=self.environment)


def fail(error: DemoError) -> None:
    """Say where the story broke, and end."""
    print(f"\n   ✗ {error}", file=sys.stderr, flush=True)
    sys.exit(1)
