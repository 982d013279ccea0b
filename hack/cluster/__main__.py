"""Brings up a cluster to try Mandate on, builds the project's images and loads them into it.

Where Docker or Podman answers, the cluster is kind's, in a container; elsewhere it is a node from plain binaries, which
needs Linux and root. This program uses only Python's standard library: it runs before any virtual environment exists.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 — whatever python3 is here runs this
    sys.exit("hack/cluster needs Python 3.11 or newer")

import control_plane
import gateway
import images
import kind
import node
import rollouts
import toolbox
import volumes
from say import ClusterError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 hack/cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--provider",
        choices=["kind", "node"],
        help="what to make the cluster with (default: what exists, else what works here)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help=f"a node of its own, kept in this folder (default: {node.DEFAULT_STATE}); implies --provider node",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="bring the cluster up, or what of it is missing; prints its kubeconfig")
    commands.add_parser("down", help="take the cluster down and leave nothing behind")
    commands.add_parser("status", help="say what runs; ends with 1 when something doesn't")
    commands.add_parser("provider", help="print what the cluster is or would be made with: kind or node")
    commands.add_parser("kubeconfig", help="print the path of the cluster's kubeconfig")
    commands.add_parser(
        "env", help='print shell settings: eval "$(python3 hack/cluster env)" gives KUBECONFIG and kubectl'
    )

    load = commands.add_parser("load", help="load images into the cluster")
    load.add_argument(
        "images", nargs="+", metavar="IMAGE", help="an archive (OCI or Docker), or the full name of a built image"
    )

    project = commands.add_parser(
        "images", help="build the project's images, load them, print {name: reference by digest}"
    )
    project.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"from: {', '.join(images.TARGETS)} (default: all)"
    )
    project.add_argument("--tag", default="dev")
    project.add_argument(
        "--file", type=Path, default=images.DOCKERFILE, help="another Dockerfile, whose targets must then be named"
    )

    traffic = commands.add_parser(
        "gateway", help="install Envoy Gateway with one Gateway for all namespaces; prints their names and the address"
    )
    traffic.add_argument(
        "--definitions", action="store_true", help="only print where the files are that define the kinds; for tests"
    )

    commands.add_parser("rollouts", help="install Argo Rollouts; prints its namespace")

    volume = commands.add_parser("volume", help="make a volume and its claim; prints the folder to put files into")
    volume.add_argument("claim", metavar="NAMESPACE/CLAIM")

    build = commands.add_parser("build", help="build the tools that the cache lacks, print where they are")
    build.add_argument("tools", nargs="*", metavar="TOOL", help=f"from: {', '.join(toolbox.GO_TOOLS)} (default: all)")

    module = commands.add_parser("module", help="print the folder of a tool's Go module, fetched where missing")
    module.add_argument("tool", choices=[name for name, tool in toolbox.GO_TOOLS.items() if tool.module])

    commands.add_parser("go", help="print a Go command that is new enough, fetched where missing")

    api = commands.add_parser("apiserver", help="etcd and kube-apiserver alone, on free ports, without root; for tests")
    api.add_argument("action", choices=["up", "down", "status"])
    api.add_argument(
        "--state", type=Path, required=True, metavar="DIR", dest="api_state", help="where this one keeps its data"
    )
    api.add_argument("--controller-manager", action="store_true", help="run kube-controller-manager too")
    return parser


def _cluster(options: argparse.Namespace) -> node.Node | kind.Kind:
    """The cluster that the options mean: the one that exists, else the one that can be made here."""
    state = (options.state or node.DEFAULT_STATE).resolve()
    own = node.Node(state)
    if options.provider == "node" or options.state or (options.provider is None and own.exists):
        return own
    engine = kind.engine()
    if engine:
        return kind.Kind(engine)
    if options.provider == "kind":
        raise ClusterError("neither Docker nor Podman answers here: start one of them, or leave --provider out")
    return own


def _images(cluster: node.Node | kind.Kind, targets: list[str], tag: str, file: Path) -> dict[str, str]:
    """Build and load; returns {target: NAME@DIGEST}."""
    if file == images.DOCKERFILE and (unknown := set(targets) - set(images.TARGETS)):
        raise ClusterError(f"unknown image {', '.join(sorted(unknown))}; known are {', '.join(images.TARGETS)}")
    wanted = targets or list(images.TARGETS)
    if isinstance(cluster, node.Node):
        built = images.build_with_buildah(wanted, tag, file)
        images.load_built(built, cluster.ctr())
        return {target: image.reference for target, image in zip(wanted, built, strict=True)}
    references = {}
    for target, name in zip(wanted, images.build_with_engine(cluster.engine, wanted, tag, file), strict=True):
        cluster.load(name)
        references[target] = f"{name.rpartition(':')[0]}@{images.digest_in(cluster.ctr(), name)}"
        images.name_by_digest(cluster.ctr(), name, references[target])
    return references


def _apiserver(options: argparse.Namespace) -> int:
    state: Path = options.api_state.resolve()
    match options.action:
        case "up":
            print(control_plane.apiserver_up(state, controller_manager=options.controller_manager))
        case "down":
            control_plane.apiserver_down(state)
        case "status":
            return _show(control_plane.apiserver_status(state))
    return 0


def _show(status: list[tuple[str, str, bool]]) -> int:
    for name, text, _ in status:
        print(f"{name:28}{text}")
    return 0 if all(well for _, _, well in status) else 1


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "build":
        for path in toolbox.ensure(options.tools or toolbox.GO_TOOLS).values():
            print(path)
        return 0
    if options.command == "module":
        print(toolbox.module_folder(options.tool))
        return 0
    if options.command == "go":
        print(toolbox.go_command())
        return 0
    if options.command == "apiserver":
        return _apiserver(options)
    if options.command == "gateway" and options.definitions:
        for path in gateway.definitions(toolbox.module_folder(gateway.TOOL)):
            print(path)
        return 0
    cluster = _cluster(options)
    if options.command == "provider":
        print("kind" if isinstance(cluster, kind.Kind) else "node")
        return 0
    if options.command == "up":
        cluster.up()
        print(cluster.kubeconfig)
        return 0
    if options.command == "down":
        cluster.down()
        return 0
    if options.command == "status":
        return _show(cluster.status())
    if not cluster.exists:
        raise ClusterError("there is no cluster: `python3 hack/cluster up` brings one up")
    match options.command:
        case "kubeconfig":
            print(cluster.kubeconfig)
        case "env":
            kubectl = toolbox.ensure(["kubectl"])["kubectl"]
            print(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
            print(f"export PATH={shlex.quote(str(kubectl.parent))}:$PATH")
        case "load":
            for image in options.images:
                cluster.load(image)
        case "images":
            print(json.dumps(_images(cluster, options.targets, options.tag, options.file), indent=2))
        case "gateway":
            installed = gateway.install(
                cluster, lambda: _images(cluster, ["envoy"], "dev", gateway.DOCKERFILE)["envoy"]
            )
            print(json.dumps(installed, indent=2))
        case "rollouts":
            print(rollouts.install(cluster))
        case "volume":
            print(volumes.create(cluster.kubeconfig, cluster.volumes, options.claim))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as problem:
        sys.exit(f"hack/cluster: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)
