"""Settings for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# What lands must not depend on luck: examples are fixed. MANDATE_EXPLORE=1 takes others with every run.
settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("MANDATE_EXPLORE") else "fixed")
