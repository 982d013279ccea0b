"""What the user gave can't be used."""

from __future__ import annotations


class InputError(Exception):
    """Ends a command with exit code 2; the message says what was found, what was expected and what to do."""
