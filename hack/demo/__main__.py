"""The main job end to end on a real Kubernetes; with --offline the same verdicts without a cluster."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import cluster_story
import offline_story
from story import DemoError, Story, fail

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--offline", action="store_true", help="judge only; no cluster")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running afterwards")
    options = parser.parse_args()
    source = os.pathsep.join([str(ROOT / "operator"), str(ROOT)])
    story = Story(environment={**os.environ, "PYTHONPATH": source})
    try:
        if options.offline:
            offline_story.tell(story, ROOT)
        else:
            cluster_story.tell(story, ROOT, keep=options.keep)
    except DemoError as error:
        fail(error)
    story.end()
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
