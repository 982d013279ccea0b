"""A real single node from plain binaries, for machines without a container engine. Needs Linux and root.

The whole node lives in namespaces of its own (network, mounts, processes), held open by one small process. The host
sees one network interface and two routes; iptables rules, bridges, mounts and Pod processes exist inside only, so that
taking the node down is to end that process. Several nodes can run side by side, each with its own state folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from pathlib import Path

import dns
import images
import oci
import toolbox
import volumes
from containers_storage import Storage
from control_plane import ControlPlane, Plan
from proc import Ledger, gone, wait_for
from say import ClusterError, Steps, note

DEFAULT_STATE = Path("/var/lib/mandate-node")
NODE = "mandate-node"
PAUSE_IMAGE = "docker.io/mandate/pause:1"
PROBE_IMAGE = "docker.io/mandate/probe:1"
COREDNS_IMAGE = "docker.io/mandate/coredns:1"
TOOLS = (
    *("kube-apiserver", "kube-controller-manager", "kubectl", "etcd", "kube-scheduler", "kubelet", "kube-proxy"),
    *("coredns", "netpol", "pod"),
)
COMMANDS = ("containerd", "ctr", "runc", "iptables", "conntrack", "ip", "nsenter", "openssl")
START_ORDER = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("containerd", "kubelet", "kube-proxy", "netpol"),
)
HOLDER = "namespaces"
INTERFACE = "mandate"
MOST_NODES = 16
LONGEST_STATE = 60
"""Characters of the state folder's path: sockets below it must stay within 107."""
CAP_SYS_RESOURCE = 24
HOST_SETTINGS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")
"""What the kubelet changes beyond its namespaces; put back when the last node goes."""
FIXED_FOLDERS = (Path("/var/lib/cni"), Path("/var/lib/kubelet"), volumes.INSIDE.parent, volumes.INSIDE)
"""Where the node mounts folders of its own: they have to exist on the host, but stay empty there."""
HOST_RECORD = Path("/run/mandate-node-host.json")
"""How the host was before the first node came."""
NODES_LOCK = Path("/run/mandate-nodes.lock")


@dataclass(frozen=True)
class Network:
    """The addresses of node number `index` on this machine."""

    index: int

    @property
    def interface(self) -> str:
        return f"{INTERFACE}{self.index}"

    @property
    def host(self) -> str:
        return f"10.243.{self.index}.1"

    @property
    def node(self) -> str:
        return f"10.243.{self.index}.2"

    @property
    def link(self) -> IPv4Network:
        return IPv4Network(f"10.243.{self.index}.0/30")

    @property
    def pods(self) -> IPv4Network:
        return IPv4Network(f"10.244.{self.index}.0/24")

    @property
    def services(self) -> IPv4Network:
        return IPv4Network(f"10.96.{self.index * 16}.0/20")

    @property
    def dns(self) -> str:
        return str(self.services[10])


class Node:
    """The node of one state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.ledger = Ledger(state)

    # --- what others ask for ---

    @property
    def kubeconfig(self) -> Path:
        return self.state / "pki" / "admin.kubeconfig"

    @property
    def exists(self) -> bool:
        return (self.state / "node.json").exists()

    @property
    def socket(self) -> Path:
        """containerd's socket, as the host sees it."""
        return self.state / "run" / "containerd.sock"

    @property
    def volumes(self) -> Path:
        """The folder of this machine that holds its volumes: the node's own, so it goes with the node."""
        return self.state / "volumes"

    def ctr(self) -> list[str]:
        """The command that talks to this node's containerd about the kubelet's images."""
        return ["ctr", "--address", str(self.socket), "--namespace", "k8s.io"]

    def status(self) -> list[tuple[str, str, bool]]:
        """(name, what it does, whether that is well) for each process."""
        return self.ledger.status((HOLDER, *START_ORDER))

    def load(self, name: str) -> None:
        """Load an image archive, or an image by the full name that buildah has it under."""
        if Path(name).is_file():
            toolbox.run([*self.ctr(), "images", "import", "--digests", name], what=f"loading {name}")
        else:
            images.load_built([Storage().image(name)], self.ctr())

    # --- up ---

    def up(self) -> None:
        """Bring the node up, or what of it is missing; returns when it is Ready and answers DNS queries."""
        self._check()
        toolbox.ensure_host(COMMANDS, cni=True)
        tools = toolbox.ensure(TOOLS)
        archives = _system_images(tools)
        steps = Steps(5)
        with toolbox.locked(_lock(self.state), busy=f"another command works on the node in {self.state}; wait for it"):
            if self.ledger.find(HOLDER) is None:
                # Whatever ran in the namespaces ended with them; a reboot leaves only files.
                self._stop_all()
            with steps.step("making the node's network and mounts"):
                network = self._namespaces(tools["pod"])
            wrap = self._inside()
            plane = ControlPlane(self.state, _plan(network, wrap))
            kubectl = [str(tools["kubectl"]), "--kubeconfig", str(self.kubeconfig)]
            with steps.step(f"starting containerd, and the control plane at {plane.plan.server}"):
                plane.certify()
                plane.authority.kubeconfig("kubelet", f"/O=system:nodes/CN=system:node:{NODE}", plane.plan.server)
                plane.authority.kubeconfig("netpol", "/CN=mandate-netpol", plane.plan.server)
                self._start("containerd", ["containerd", "--config", self._containerd_config()])
                plane.start_api(tools)
                self._load_system_images(archives)  # while the API server starts
                plane.wait_ready()
                plane.start_controller_manager(tools)
                plane.start_scheduler(tools)
                self._apply(kubectl, network)
            with steps.step("starting kubelet, kube-proxy and the enforcement of NetworkPolicies"):
                self._start(
                    "kubelet",
                    [
                        *(tools["kubelet"], "--config", self._kubelet_config(network), "--hostname-override", NODE),
                        *("--kubeconfig", plane.authority.file("kubelet.kubeconfig")),
                        *("--node-ip", network.node),
                    ],
                )
                self._start("kube-proxy", [tools["kube-proxy"], "--config", self._proxy_config(network)])
                self._start("netpol", [tools["netpol"], plane.authority.file("netpol.kubeconfig")])
            with steps.step("waiting for the node to be Ready"):
                self._wait_ready(kubectl, ["node", NODE], "Ready", log="kubelet")
            with steps.step("waiting for DNS"):
                self._wait_ready(kubectl, ["-n", "kube-system", "deployment/coredns"], "Available", log="kubelet")
                # Through the Service's address, as Pods ask: kube-proxy has done its part as well.
                wait_for(
                    lambda: dns.answers(network.dns, "kubernetes.default.svc.cluster.local"),
                    seconds=30,
                    what=f"an answer from the DNS Service at {network.dns}",
                    log=lambda: self.ledger.tail("kube-proxy"),
                )

    def _check(self) -> None:
        toolbox.ensure_linux("a node from plain binaries", instead="start Docker or Podman, where it becomes kind's")
        if os.geteuid() != 0:
            raise ClusterError(
                "no Docker or Podman answers here, and a node from plain binaries needs root: "
                "start Docker or Podman, or run this as root"
            )
        if len(str(self.state)) > LONGEST_STATE:
            raise ClusterError(
                f"--state {self.state} is too long a path for sockets below it: at most {LONGEST_STATE} characters"
            )

    def _namespaces(self, holder: Path) -> Network:
        """Make the namespaces and what connects them to the host, unless they are there."""
        with toolbox.locked(NODES_LOCK):
            network = self._network()
            _prepare_host()
            self.ledger.start(
                HOLDER,
                [
                    *("unshare", "--fork", "--kill-child", "--net", "--pid", "--ipc", "--mount-proc", "--mount"),
                    *("--propagation", "slave", holder, "pause"),
                ],
                inside=True,
            )
            wait_for(self._inside_ready, seconds=10, what="the node's namespaces")
            if not _interface_exists(network.interface):
                self._connect(network)
        self._mount()
        return network

    def _network(self) -> Network:
        """The network of this node: chosen once, kept in its state folder."""
        record = self.state / "node.json"
        if record.exists():
            return Network(**json.loads(record.read_text()))
        taken = _host_networks()
        for index in range(MOST_NODES):
            network = Network(index)
            if not any(
                own.overlaps(other) for own in (network.link, network.pods, network.services) for other in taken
            ):
                self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
                record.write_text(json.dumps(asdict(network)))
                return network
        raise ClusterError(
            f"no room for another node: {MOST_NODES} ranges within 10.96.0.0/16, 10.243.0.0/16 and 10.244.0.0/16 "
            "overlap this machine's own routes (`ip route` lists them); free one"
        )

    def _connect(self, network: Network) -> None:
        process = self.ledger.find(HOLDER)
        assert process is not None
        outside: list[list[str]] = [
            ["link", "add", network.interface, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid)],
            ["address", "add", f"{network.host}/30", "dev", network.interface],
            ["link", "set", network.interface, "up"],
        ]
        inside = [
            ["link", "set", "lo", "up"],
            ["address", "add", f"{network.node}/30", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["route", "add", "default", "via", network.host],
        ]
        routes = [["route", "add", str(target), "via", network.node] for target in (network.pods, network.services)]
        for arguments in outside:
            toolbox.run(["ip", *arguments], what="connecting the node's network")
        for arguments in inside:
            toolbox.run([*self._inside(), "ip", *arguments], what="connecting the node's network")
        for arguments in routes:
            toolbox.run(["ip", *arguments], what="connecting the node's network")

    def _mount(self) -> None:
        """Give the node folders of its own where programs have fixed paths, and show it the folder of its volumes."""
        mounted = toolbox.run([*self._inside(), "cat", "/proc/self/mountinfo"], what="reading the node's mounts")
        points = {line.split()[4] for line in mounted.splitlines()}
        if "/var/log" not in points:
            toolbox.run([*self._inside(), "mount", "--make-rshared", "/"], what="sharing mounts within the node")
        for source, target in (
            (self.state / "run", Path("/run")),
            (self.state / "varlog", Path("/var/log")),
            (self.state / "cni-results", Path("/var/lib/cni")),
            (self.state / "kubelet", Path("/var/lib/kubelet")),
            (self.volumes, volumes.INSIDE),
        ):
            if str(target) not in points:
                source.mkdir(parents=True, exist_ok=True)
                toolbox.run([*self._inside(), "mount", "--bind", source, target], what=f"mounting {target}")
        toolbox.run(
            [*self._inside(), "tee", "/proc/sys/net/ipv4/ip_forward"],
            what="letting the node forward packets",
            stdin=b"1",
        )

    def _inside(self) -> tuple[str, ...]:
        """The words that run a command within the node."""
        process = self.ledger.find(HOLDER)
        if process is None:
            raise ClusterError("the process that holds the node's namespaces has ended; run `up` again")
        return ("nsenter", "--target", str(process.pid), "--net", "--pid", "--ipc", "--mount", "--")

    def _inside_ready(self) -> bool | None:
        """Whether the holder has reached its own program, so that its mounts are in place."""
        process = self.ledger.find(HOLDER)
        if process is None:
            raise ClusterError(
                f"the namespaces couldn't be made; this is not root with all its rights?\n{self.ledger.tail(HOLDER)}"
            )
        return True if os.readlink(f"/proc/{process.pid}/exe").endswith("/pod") else None

    def _start(self, name: str, command: Sequence[str | Path]) -> None:
        self.ledger.start(name, [*self._inside(), *command], inside=True)

    def _containerd_answers(self) -> bool | None:
        if self.ledger.find("containerd") is None:
            raise ClusterError(f"containerd ended; the end of its log:\n{self.ledger.tail('containerd')}")
        done = subprocess.run([*self.ctr(), "version"], capture_output=True, check=False)
        return True if done.returncode == 0 else None

    def _load_system_images(self, archives: Sequence[Path]) -> None:
        wait_for(self._containerd_answers, seconds=30, what="containerd", log=lambda: self.ledger.tail("containerd"))
        for archive in archives:
            toolbox.run([*self.ctr(), "images", "import", archive], what=f"loading {archive.name}")

    def _wait_ready(self, kubectl: list[str], target: list[str], condition: str, *, log: str) -> None:
        def ready() -> bool | None:
            self._all_alive()
            jsonpath = f'{{.status.conditions[?(@.type=="{condition}")].status}}'
            done = subprocess.run(
                [*kubectl, "get", *target, "-o", f"jsonpath={jsonpath}"], capture_output=True, text=True, check=False
            )
            return True if done.stdout == "True" else None

        wait_for(ready, seconds=90, what=f"{target[-1]} to be {condition}", log=lambda: self.ledger.tail(log))

    def _all_alive(self) -> None:
        for name in START_ORDER:
            if self.ledger.find(name) is None:
                raise ClusterError(f"{name} ended; the end of its log:\n{self.ledger.tail(name)}")

    # --- configuration files ---

    def _containerd_config(self) -> Path:
        folder = self.state / "cni"
        network = self._network()
        conflist = {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "ipMasq": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": str(network.pods)}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": str(self.state / "ipam"),
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
        folder.mkdir(exist_ok=True)
        (folder / "10-pods.conflist").write_text(json.dumps(conflist, indent=1))
        # Without this capability runc may not lower a process's oom_score_adj, and every Pod sandbox would fail.
        capabilities = int(_status_field("CapEff"), 16)
        restrict = "false" if capabilities >> CAP_SYS_RESOURCE & 1 else "true"
        config = self.state / "containerd.toml"
        config.write_text(
            f"""version = 2
root = "{self.state}/containerd"
state = "/run/containerd"
[grpc]
address = "/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = {restrict}
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{toolbox.cni_folder()}"
conf_dir = "{folder}"
"""
        )
        return config

    def _kubelet_config(self, network: Network) -> Path:
        (self.state / "resolv.conf").write_text("")
        cgroup = f"{INTERFACE}{network.index}"
        return self._write(
            "kubelet.json",
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "authentication": {
                    "anonymous": {"enabled": False},
                    "x509": {"clientCAFile": str(self.state / "pki" / "ca.crt")},
                    "webhook": {"enabled": True},
                },
                "authorization": {"mode": "Webhook"},
                "clusterDNS": [network.dns],
                "clusterDomain": "cluster.local",
                "resolvConf": str(self.state / "resolv.conf"),
                "cgroupDriver": "cgroupfs",
                "cgroupRoot": _make_cgroup(cgroup),
                "containerRuntimeEndpoint": "unix:///run/containerd.sock",
                "failSwapOn": False,
                # Images are loaded, not pulled: one that was collected as garbage would not come back.
                "imageGCHighThresholdPercent": 100,
                "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
                "volumePluginDir": str(self.state / "volume-plugins"),
            },
        )

    def _proxy_config(self, network: Network) -> Path:
        return self._write(
            "kube-proxy.json",
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "iptables",
                "clientConnection": {"kubeconfig": str(self.state / "pki" / "kube-proxy.kubeconfig")},
                "clusterCIDR": str(network.pods),
                "hostnameOverride": NODE,
                # Zero: leave the kernel's settings alone; they may not be changed from a network namespace.
                "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            },
        )

    def _write(self, name: str, content: dict[str, object]) -> Path:
        path = self.state / name
        text = json.dumps(content, indent=1)
        if not path.exists() or path.read_text() != text:  # kube-proxy ends when its file is touched
            path.write_text(text)
        return path

    def _apply(self, kubectl: list[str], network: Network) -> None:
        manifests = (toolbox.HERE / "system.yaml").read_text()
        manifests = manifests.replace("${DNS_IP}", network.dns).replace("${IMAGE}", COREDNS_IMAGE)
        command = [*kubectl, "apply", "--server-side", "--force-conflicts", "-f", "-"]
        toolbox.run(command, what="deploying what the cluster itself needs", stdin=manifests.encode())

    # --- down ---

    def down(self) -> None:
        """Take the node down and leave nothing of it behind."""
        if not self.state.exists():
            note(f"no node in {self.state}")
            return
        if os.geteuid() != 0:
            raise ClusterError(f"the node in {self.state} belongs to root: run this as root")
        busy = f"another command works on the node in {self.state}; wait for it"
        with toolbox.locked(_lock(self.state), busy=busy), Steps(1).step("taking the node down"):
            self._stop_all()
            if self.exists:
                network = self._network()
                _delete_interface(network.interface)
                _remove_cgroup(f"{INTERFACE}{network.index}")
            shutil.rmtree(self.state)
            with toolbox.locked(NODES_LOCK):
                _restore_host()
        _lock(self.state).unlink(missing_ok=True)

    def _stop_all(self) -> None:
        """End every process of the node: with the holder, the kernel ends whatever lives in its process namespace."""
        if holder := self.ledger.find(HOLDER):
            holder.kill(signal.SIGKILL)
            if not gone(holder, seconds=30):
                raise ClusterError(
                    f"process {holder.pid}, which holds the node's namespaces, doesn't end; look at it with `ps`"
                )
        for name, process in self.ledger.all().items():
            if process and not gone(process, seconds=30):
                raise ClusterError(
                    f"{name} (process {process.pid}) outlives the namespaces it was started in; look at it with `ps`"
                )
        self.ledger.forget()


def _plan(network: Network, wrap: tuple[str, ...]) -> Plan:
    return Plan(
        address=network.node,
        api_port=6443,
        etcd_port=2379,
        etcd_peer_port=2380,
        service_cidr=str(network.services),
        first_service_ip=str(network.services[1]),
        pod_cidr=str(network.pods),
        wrap=wrap,
    )


def _lock(state: Path) -> Path:
    return state.with_name(state.name + ".lock")


def _system_images(tools: dict[str, Path]) -> list[Path]:
    """The archives of the images that the node itself needs, made from our own static programs."""
    folder = toolbox.cache_folder() / "images"
    wanted = (
        (PAUSE_IMAGE, tools["pod"], ("pause",)),
        (PROBE_IMAGE, tools["pod"], ()),
        (COREDNS_IMAGE, tools["coredns"], ()),
    )
    archives = []
    for name, program, arguments in wanted:
        archive = folder / f"{name.rsplit('/')[-1].replace(':', '-')}-{program.parent.name}.tar"
        if not archive.exists():
            oci.program_image(archive, name, program, arguments=arguments)
        archives.append(archive)
    return archives


# --- the host --------------------------------------------------------------------------------------------------------


def _status_field(name: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def _delete_interface(name: str) -> None:
    """Delete it, if it is there: the kernel takes it away by itself some time after the namespace of its other end."""
    try:
        if _interface_exists(name):
            toolbox.run(["ip", "link", "delete", name], what="deleting the node's interface")
    except ClusterError:
        if _interface_exists(name):
            raise


def _interface_exists(name: str) -> bool:
    return Path("/sys/class/net", name).exists()


def _host_networks() -> list[IPv4Network]:
    """Every IPv4 network that this machine has a route to, the default route aside."""
    routes = json.loads(toolbox.run(["ip", "-json", "-4", "route"], what="reading this machine's routes"))
    return [IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]


def _prepare_host() -> None:
    """Note the host's settings that the kubelet will change, and make the folders that the node mounts on."""
    if not HOST_RECORD.exists():
        settings = {name: Path("/proc/sys", name).read_text().strip() for name in HOST_SETTINGS}
        made = [str(folder) for folder in FIXED_FOLDERS if not folder.exists()]
        HOST_RECORD.write_text(json.dumps({"settings": settings, "folders": made}))
    for folder in FIXED_FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)


def _restore_host() -> None:
    """Put the host back as it was, unless other nodes are still there."""
    others = any(file.name.removeprefix(INTERFACE).isdigit() for file in Path("/sys/class/net").glob(f"{INTERFACE}*"))
    if others or not HOST_RECORD.exists():
        return
    record = json.loads(HOST_RECORD.read_text())
    for name, value in record["settings"].items():
        Path("/proc/sys", name).write_text(value)
    for folder in reversed(record["folders"]):
        with suppress(FileNotFoundError):
            Path(folder).rmdir()
    HOST_RECORD.unlink()


def _cgroup_roots() -> list[Path]:
    """The cgroup hierarchies: one with version 2, one per controller with version 1."""
    base = Path("/sys/fs/cgroup")
    if (base / "cgroup.controllers").exists():
        return [base]
    return [folder for folder in base.iterdir() if folder.is_dir() and not folder.is_symlink()]


def _make_cgroup(name: str) -> str:
    """Make the cgroup under which the kubelet makes those of its Pods; returns its path as the kubelet wants it."""
    for root in _cgroup_roots():
        folder = root / name
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty until told, and then no process may enter
            if (folder / setting).exists() and not (folder / setting).read_text().strip():
                (folder / setting).write_text((root / setting).read_text())
    return f"/{name}"


def _remove_cgroup(name: str) -> None:
    for root in _cgroup_roots():
        folders = [Path(path) for path, _, _ in os.walk(root / name, topdown=False)]
        for folder in folders:
            _retry(folder.rmdir, seconds=10, what=f"removing the cgroup {folder}")


def _retry(action: Callable[[], None], *, seconds: float, what: str) -> None:
    """Processes that were killed leave their cgroup a moment later."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            action()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise ClusterError(f"{what}: {error}") from None
            time.sleep(0.05)
