"""Brings up a cluster to try Mandate on. `python3 hack/cluster --help` lists the commands.

Uses only the standard library: it runs before any virtual environment exists.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("hack/cluster needs Python 3.11 or newer")

import control_plane
import toolbox
from proc import Ledger
from say import Problem


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 hack/cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="build the tools that the cache lacks, print where they are")
    build.add_argument("tools", nargs="*", metavar="TOOL", help=f"from: {', '.join(toolbox.GO_TOOLS)} (default: all)")

    api = commands.add_parser("apiserver", help="etcd and kube-apiserver alone, on free ports, without root; for tests")
    api.add_argument("action", choices=["up", "down", "status"])
    api.add_argument("--state", type=Path, required=True, metavar="DIR", help="where this one keeps its data")
    api.add_argument("--controller-manager", action="store_true", help="run kube-controller-manager too")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if sys.platform != "linux":
        raise Problem(f"this runs on Linux; here is {sys.platform}")
    match options.command:
        case "build":
            for path in toolbox.ensure(options.tools or toolbox.GO_TOOLS).values():
                print(path)
        case "apiserver":
            state: Path = options.state.resolve()
            match options.action:
                case "up":
                    print(control_plane.apiserver_up(state, controller_manager=options.controller_manager))
                case "down":
                    control_plane.apiserver_down(state)
                case "status":
                    for name, does in control_plane.status(Ledger(state), ("etcd", "kube-apiserver")):
                        print(f"{name}\t{does}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(f"hack/cluster: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
