"""etcd, kube-apiserver, and where asked kube-controller-manager and kube-scheduler, as plain processes."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

import toolbox
from certs import Authority
from proc import Ledger, free_ports, wait_for
from say import ClusterError, Steps, note

READY_SECONDS = 90.0
AUDITED = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""What service accounts ask for, and what they are answered, Kubernetes' own controllers left out."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one control plane is laid out. `wrap` is put before each command, to run it in a node's namespaces."""

    address: str
    """The address that the API server is reached at, and binds to when it is loopback."""
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    service_cidr: str
    first_service_ip: str
    pod_cidr: str = ""
    wrap: tuple[str, ...] = ()

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.api_port}"

    @property
    def loopback(self) -> bool:
        return self.address.startswith("127.")


class ControlPlane:
    """One control plane in one state folder. Starting what already runs does nothing, so a half-dead one is mended."""

    def __init__(self, state: Path, plan: Plan) -> None:
        self.state = state
        self.plan = plan
        self.ledger = Ledger(state)
        self.authority = Authority(state / "pki")

    @property
    def kubeconfig(self) -> Path:
        return self.authority.file("admin.kubeconfig")

    def certify(self) -> None:
        """Make every certificate and kubeconfig that the control plane needs."""
        plan, authority = self.plan, self.authority
        authority.ensure()
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        addresses = (plan.address, "127.0.0.1", plan.first_service_ip)
        authority.issue(
            "apiserver",
            "/CN=kube-apiserver",
            addresses=(*(f"DNS:{name}" for name in names), *(f"IP:{address}" for address in dict.fromkeys(addresses))),
        )
        authority.issue("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        authority.kubeconfig("admin", "/O=system:masters/CN=admin", plan.server)
        for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
            authority.kubeconfig(name, f"/CN=system:{name}", plan.server)

    def start_api(self, tools: dict[str, Path]) -> None:
        """Start etcd and kube-apiserver; `wait_ready` says when they have."""
        plan, file = self.plan, self.authority.file
        etcd = f"http://127.0.0.1:{plan.etcd_port}"
        peer = f"http://127.0.0.1:{plan.etcd_peer_port}"
        self._start(
            "etcd",
            tools["etcd"],
            *("--data-dir", self.state / "etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"default={peer}",
            ),
            "--unsafe-no-fsync",  # a power cut may cost this cluster its data, and nobody anything
        )
        self.state.joinpath("audited.json").write_text(json.dumps(AUDITED))
        audit = ("--audit-policy-file", self.state / "audited.json", "--audit-log-path", self.state / "audit.log")
        # Without a node nobody uses the `kubernetes` Service, and its endpoints may not be loopback addresses.
        where = (
            ("--bind-address", plan.address, "--advertise-address", plan.address, "--endpoint-reconciler-type", "none")
            if plan.loopback
            else ("--bind-address", "0.0.0.0", "--advertise-address", plan.address)
        )
        self._start(
            "kube-apiserver",
            tools["kube-apiserver"],
            *where,
            *(audit if plan.loopback else ()),  # for tests; a cluster to work with would only fill its disk
            *("--secure-port", str(plan.api_port), "--etcd-servers", etcd, "--authorization-mode", "Node,RBAC"),
            *("--tls-cert-file", file("apiserver.crt"), "--tls-private-key-file", file("apiserver.key")),
            *("--client-ca-file", file("ca.crt"), "--service-account-key-file", file("tokens.pub")),
            *("--service-account-signing-key-file", file("tokens.key")),
            *("--service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
            *("--service-cluster-ip-range", plan.service_cidr, "--kubelet-preferred-address-types", "InternalIP"),
            *("--kubelet-client-certificate", file("kubelet-client.crt")),
            *("--kubelet-client-key", file("kubelet-client.key"), "--allow-privileged=true"),
        )

    def wait_ready(self) -> None:
        """Return when the API server says that it is ready."""
        wait_for(
            self._ready,
            seconds=READY_SECONDS,
            what="kube-apiserver to be ready",
            log=lambda: self.ledger.tail("kube-apiserver"),
        )

    def start_controller_manager(self, tools: dict[str, Path]) -> None:
        file, plan = self.authority.file, self.plan
        pods = ("--allocate-node-cidrs", "--cluster-cidr", plan.pod_cidr) if plan.pod_cidr else ()
        self._start(
            "kube-controller-manager",
            tools["kube-controller-manager"],
            *("--kubeconfig", file("kube-controller-manager.kubeconfig"), "--leader-elect=false"),
            *("--service-account-private-key-file", file("tokens.key"), "--root-ca-file", file("ca.crt")),
            *("--use-service-account-credentials", "--bind-address", "127.0.0.1", *pods),
            # Several may run on this address; and their nodes are pretended, so that nobody renews a Lease.
            *(("--secure-port", "0", "--controllers", "*,-node-lifecycle-controller") if plan.loopback else ()),
        )

    def start_scheduler(self, tools: dict[str, Path]) -> None:
        self._start(
            "kube-scheduler",
            tools["kube-scheduler"],
            *("--kubeconfig", self.authority.file("kube-scheduler.kubeconfig"), "--leader-elect=false"),
            *("--bind-address", "127.0.0.1"),
        )

    def _start(self, name: str, *command: str | Path) -> None:
        self.ledger.start(name, [*self.plan.wrap, *command], inside=bool(self.plan.wrap))

    def _ready(self) -> bool | None:
        if self.ledger.find("kube-apiserver") is None:
            raise ClusterError(f"kube-apiserver ended; the end of its log:\n{self.ledger.tail('kube-apiserver')}")
        context = ssl.create_default_context(cafile=str(self.authority.file("ca.crt")))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(f"{self.plan.server}/readyz", timeout=2) as answer:
                return True if answer.status == 200 else None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError):
            return None


# --- a control plane alone, for tests against a real API server ------------------------------------------------------

STOP_ORDER = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")


def _alone(state: Path) -> ControlPlane:
    """The control plane of a state folder: the ports are chosen once and kept there."""
    file = state / "plan.json"
    if not file.exists():
        api, etcd, peer = free_ports(3)
        plan = Plan(
            address="127.0.0.1",
            api_port=api,
            etcd_port=etcd,
            etcd_peer_port=peer,
            service_cidr="10.96.0.0/20",
            first_service_ip="10.96.0.1",
        )
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(json.dumps(asdict(plan)))
    return ControlPlane(state, Plan(**json.loads(file.read_text())))


def apiserver_up(state: Path, *, controller_manager: bool) -> Path:
    """Start etcd and kube-apiserver on loopback, unprivileged; returns the administrator's kubeconfig."""
    toolbox.ensure_linux("an API server of its own", instead="run this in a container or a virtual machine with Linux")
    toolbox.ensure_host(["openssl"])
    names = ["etcd", "kube-apiserver", "kubectl"] + (["kube-controller-manager"] if controller_manager else [])
    tools = toolbox.ensure(names)
    with toolbox.locked(
        state.with_name(state.name + ".lock"), busy=f"another command works on {state}; try again later"
    ):
        plane = _alone(state)
        with Steps(1).step(f"starting etcd and kube-apiserver at {plane.plan.server}"):
            plane.certify()
            plane.start_api(tools)
            plane.wait_ready()
            if controller_manager:
                plane.start_controller_manager(tools)
    return plane.kubeconfig


def apiserver_down(state: Path) -> None:
    """Stop what `apiserver_up` started, and delete its state folder."""
    if not (state / "plan.json").exists():
        note(f"no API server in {state}")
        return
    Ledger(state).stop(STOP_ORDER, grace=10)
    shutil.rmtree(state)
    state.with_name(state.name + ".lock").unlink(missing_ok=True)


def apiserver_status(state: Path) -> list[tuple[str, str, bool]]:
    """(name, what it does, whether that is well) for each process."""
    return Ledger(state).status(("etcd", "kube-apiserver"))
