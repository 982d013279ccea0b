"""Settings for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# What lands must not depend on luck: examples are fixed in CI. On a developer's machine they differ with every run.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("local", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
