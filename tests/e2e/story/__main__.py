"""`python -m tests.e2e.story`: tell the story on a real cluster, and write what it came to into a page."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.e2e.cluster import running
from tests.e2e.story.telling import Plan, staged
from tests.e2e.story.writing import figures, written


def main() -> int:
    parser = argparse.ArgumentParser(prog="make story", description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000, help="at least so many (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=50, help="of the operator (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second (default: %(default)s)")
    parser.add_argument("--day", type=float, default=60.0, help="seconds that a day takes (default: %(default)s)")
    parser.add_argument("--gap", type=float, default=22.0, help="seconds between kills (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the moments of kills (default: %(default)s)")
    lease = parser.add_argument("--lease", nargs=3, default=("10", "6", "2"), metavar=("LASTS", "RENEW", "RETRY"))
    lease.help = "seconds of the operator's Lease (default: the chart's own, 10 6 2; longer where the machine is busy)"
    parser.add_argument("--keep-api-server", action="store_true", help="don't kill the API server")
    parser.add_argument("--page", type=Path, help="the page whose figures are written anew")
    options = parser.parse_args()
    plan = Plan(
        requests=options.requests,
        kills=options.kills,
        rate=options.rate,
        day=options.day,
        gap=options.gap,
        seed=options.seed,
        lease=tuple(options.lease),
        restart=not options.keep_api_server,
        sharp=True,
    )
    with running() as cluster, staged(cluster, plan, address=cluster.gateway()["address"]) as story:
        told = story.told()
    print(told.summary)
    problems = told.problems()
    for problem in problems:
        print(f"   ✗ {problem}", file=sys.stderr)
    if problems:
        return 1
    if options.page is not None:
        text = figures(told, machine=f"{os.cpu_count()} cores that do everything: node, gateway, models, callers")
        options.page.write_text(written(options.page.read_text(), text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
