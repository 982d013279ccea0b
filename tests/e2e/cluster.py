"""A real cluster with the product on it, for tests: requests as anybody, waiting for what must come."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.integration.admission.api import Api, Refused, connect

ROOT = Path(__file__).parents[2]
HACK = ROOT / "hack" / "cluster"
FIRST_WORKER = "gw0"
RELEASE = "mandate"
SYSTEM = "mandate-system"
OPERATOR = "mandate-controller"
API = "mandate.dev/v1alpha1"
DOCKERFILE = ROOT / "tests" / "e2e" / "images" / "Dockerfile"
TEST_IMAGES = ("test-model", "test-dying", "test-judge")
DASK_PORT = 8786
DASK = f"tcp://dask.{SYSTEM}.svc:{DASK_PORT}"
"""The one Dask scheduler that evaluations may use; who needs it runs it."""
VALUES = {
    "evaluation.dask.schedulers[0]": DASK,
    "evaluation.deadline": "260",
    "evaluation.podDeadline": "210",
    "evaluation.maxAttempts": "2",
    # Longer than a module of tests takes: what failed stays as it is, until somebody asks for another try.
    "evaluation.retryBase": "1800",
    # Machines that run tests are often busy; an operator that can't renew its Lease in time ends, as it should.
    "controller.leaderElection.leaseDuration": "60",
    "controller.leaderElection.renewDeadline": "40",
    "controller.leaderElection.retryPeriod": "4",
}
"""How the tests install the chart."""

Object = dict[str, Any]
T = TypeVar("T")


def eventually(what: str, attempt: Callable[[], T | None], *, seconds: float, seen: Callable[[], Any] = str) -> T:
    """The first answer of `attempt` that isn't None; fails with `what`, and with what was `seen` last."""
    end = time.monotonic() + seconds
    while True:
        answer = attempt()
        if answer is not None:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {seen()}")
        time.sleep(0.5)


def refused(act: Callable[[], Any]) -> str:
    """What a policy of ours said when the API server refused; fails where it didn't, or refused for another reason."""
    try:
        answer = act()
    except Refused as error:
        refusal = error
    else:
        raise AssertionError(f"this should have been refused: {json.dumps(answer)[:2000]}")
    assert "ValidatingAdmissionPolicy '" in refusal.message, str(refusal)
    return refusal.message


def like(kind: str, namespace: str, name: str = "", *, api: str = "v1") -> Object:
    """What `Api` needs to find an object, or with no name a collection."""
    return {"apiVersion": api, "kind": kind, "metadata": {"namespace": namespace, "name": name}}


def condition(item: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """A condition of an object, empty where there is none of the present generation."""
    metadata = item["metadata"]
    for entry in (item.get("status") or {}).get("conditions") or ():
        if entry["type"] == kind and entry.get("observedGeneration", 0) >= metadata.get("generation", 0):
            return dict(entry)
    return {}


def holds(item: Mapping[str, Any], kind: str) -> bool:
    """Whether a condition is True, of the present generation."""
    return condition(item, kind).get("status") == "True"


@dataclass
class Cluster:
    """The cluster, the product's images in it, and a client as administrator."""

    hack: tuple[str, ...]
    kubeconfig: Path
    tools: Mapping[str, str]
    images: dict[str, str]
    admin: Api
    values: dict[str, str] = field(default_factory=dict)
    leaving: dict[str, dict[str, Path]] = field(default_factory=dict)
    """Namespaces that are being deleted, with their volumes' folders."""

    def tried(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """kubectl or helm, however it ends."""
        return subprocess.run(
            [self.tools.get(command[0], command[0]), *command[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            check=False,
        )

    def run(self, *command: str, stdin: str = "", fails: bool = False) -> str:
        """The output of kubectl or helm; with `fails`, of one that must fail."""
        done = self.tried(*command, stdin=stdin)
        said = (done.stdout + done.stderr)[-4000:]
        assert (done.returncode != 0) == fails, f"{' '.join(command)}: code {done.returncode}: {said}"
        return said if fails else done.stdout

    def install(self, **images: str) -> None:
        """Install or upgrade the product with the tests' values; `images` replaces some of it. Waits until it runs."""
        values = dict(self.values)
        for name in ("controller", "judge", "predictor"):
            repository, _, digest = images.get(name, self.images[name]).rpartition("@")
            values |= {f"images.{name}.repository": repository, f"images.{name}.digest": digest}
        self.run(
            *("helm", "upgrade", "--install", RELEASE, "helm/mandate", "--namespace", SYSTEM, "--create-namespace"),
            *(part for name, value in values.items() for part in ("--set", f"{name}={value}")),
            *("--wait", "--timeout", "5m"),
        )
        self._led()

    @contextmanager
    def upgraded(self, *, judge: str, **values: str) -> Iterator[None]:
        """The product with another judge and other values while the block runs."""
        before = dict(self.values)
        self.values |= {name.replace("__", "."): value for name, value in values.items()}
        try:
            self.install(judge=judge)
            yield
        finally:
            self.values = before
            self.install()

    def left(self) -> None:
        """Return once every namespace that is being deleted is gone, its volumes too."""
        for name, folders in self.leaving.items():
            self.run("kubectl", "wait", "--for=delete", f"namespace/{name}", "--timeout=180s")
            self.run("kubectl", "delete", "persistentvolume", *(f"{name}-{claim}" for claim in folders))
            shutil.rmtree(next(iter(folders.values())).parent)
        self.leaving.clear()

    def scale(self, replicas: int) -> None:
        """Scale the operator; returns when as many of its Pods are there and work."""
        self.run("kubectl", "-n", SYSTEM, "scale", "deployment", OPERATOR, f"--replicas={replicas}")
        if replicas:
            self.run("kubectl", "-n", SYSTEM, "rollout", "status", f"deployment/{OPERATOR}", "--timeout=180s")
            self._led()
        else:
            eventually("the operator's Pods to end", lambda: None if self._operators() else True, seconds=120)

    def _operators(self) -> list[Object]:
        return self.admin.list(like("Pod", SYSTEM), "app.kubernetes.io/component=controller")

    def _led(self) -> None:
        """Wait until one of the present Pods leads."""

        def led() -> bool | None:
            names = {pod["metadata"]["name"] for pod in self._operators() if pod["status"].get("phase") == "Running"}
            lease = self.admin.get(like("Lease", SYSTEM, OPERATOR, api="coordination.k8s.io/v1"))
            holder = str(lease["spec"].get("holderIdentity") or "")
            return True if any(holder.startswith(name) for name in names) else None

        eventually("an operator to lead", led, seconds=120)

    def provider(self) -> str:
        """`kind`, or `node` for one from plain binaries."""
        return _output(*self.hack, "provider")

    def gateway(self) -> dict[str, str]:
        """Envoy Gateway's class, the Gateway for all namespaces, and the address that it answers at."""
        return dict(json.loads(_output(*self.hack, "gateway")))

    def volume(self, namespace: str, claim: str) -> Path:
        """The folder of this machine that is the claim's volume, readable by the Pods' user."""
        folder = Path(_output(*self.hack, "volume", f"{namespace}/{claim}"))
        folder.chmod(0o755)
        return folder


@dataclass
class Space:
    """A namespace of a test module, with its two volumes."""

    cluster: Cluster
    name: str
    models: Path
    data: Path

    @property
    def admin(self) -> Api:
        return self.cluster.admin

    def put(self, path: Path, content: bytes) -> Path:
        """A file in one of the volumes, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o755)
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.chmod(0o644)
        part.rename(path)
        return path

    def apply(self, document: Object) -> Object:
        """As the administrator."""
        document["metadata"].setdefault("namespace", self.name)
        return self.admin.apply(document)

    def get(self, kind: str, name: str, *, api: str = API) -> Object:
        return self.admin.get(like(kind, self.name, name, api=api))

    def all(self, kind: str, selector: str = "", *, api: str = "v1") -> list[Object]:
        found = self.admin.list(like(kind, self.name, api=api), selector)
        return [{"apiVersion": api, "kind": kind} | item for item in found]

    def delete(self, kind: str, name: str, *, api: str = API) -> None:
        self.admin.delete(like(kind, self.name, name, api=api))

    def until(self, name: str, what: str, check: Callable[[Object], bool], *, seconds: float = 240) -> Object:
        """The ModelDeployment as soon as `check` says so."""

        def attempt() -> Object | None:
            item = self.get("ModelDeployment", name)
            return item if check(item) else None

        return eventually(f"ModelDeployment {name}: {what}", attempt, seconds=seconds, seen=lambda: self.describe(name))

    def describe(self, name: str) -> str:
        """What there is to see of a model, for a failing test."""
        item = self.get("ModelDeployment", name)
        lines = [f"level {(item.get('status') or {}).get('level')}"]
        lines += [f"{c['type']}={c['status']} {c['reason']}: {c.get('message')}" for c in _conditions(item)]
        for meval in self.all("ModelEvaluation", f"mandate.dev/model={name}", api=API):
            lines += [
                f"{meval['metadata']['name']}: {c['type']}={c['status']} {c['reason']}" for c in _conditions(meval)
            ]
        for pod in self.all("Pod", f"mandate.dev/model={item['metadata']['name']}"):
            lines.append(f"Pod {pod['metadata']['name']}: {pod['status'].get('phase')}")
            for kind in ("initContainerStatuses", "containerStatuses"):
                for container in pod["status"].get(kind) or ():
                    now, before = container.get("state"), container.get("lastState")
                    lines.append(f"  {container['name']} ({container.get('restartCount')}): {now}, before {before}")
        return "\n  ".join(lines)[:6000]

    def judged(self, name: str, *, seconds: float = 240) -> Object:
        """The ModelDeployment once its present spec is judged and, if anything was granted, served."""
        return self.until(
            name,
            "judged",
            lambda item: holds(item, "Evaluated") and not holds(item, "Reconciling"),
            seconds=seconds,
        )

    def failed(self, name: str, *, seconds: float = 330) -> Object:
        """The ModelDeployment once its evaluation has ended without evidence."""

        def check(item: Object) -> bool:
            evaluated = condition(item, "Evaluated")
            return evaluated.get("status") == "False" and evaluated.get("reason") != "InvalidSpec"

        return self.until(name, "not judged", check, seconds=seconds)

    def evaluations(self, name: str) -> list[Object]:
        return self.all("ModelEvaluation", f"mandate.dev/model={name}", api=API)

    def jobs(self, name: str) -> list[Object]:
        return self.all("Job", f"mandate.dev/model={name}", api="batch/v1")

    def evaluation_pod(self, name: str, *, seconds: float = 120) -> Object:
        """The running Pod of the model's evaluation: both of its containers are up."""

        def running() -> Object | None:
            for pod in self.all("Pod", f"mandate.dev/model={name},mandate.dev/evaluation"):
                if pod["metadata"].get("deletionTimestamp") or pod["status"].get("phase") != "Running":
                    continue
                states = pod["status"].get("containerStatuses") or ()
                if any("running" in status["state"] for status in states if status["name"] == "judge"):
                    return pod
            return None

        return eventually(f"the judge of {name} to run", running, seconds=seconds, seen=lambda: self.describe(name))

    def serving_pods(self, name: str) -> list[Object]:
        pods = self.all("Pod", f"mandate.dev/model={name},mandate.dev/revision")
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def log(self, pod: str, container: str) -> list[Object]:
        """The JSON lines of a container's log."""
        text = self.cluster.run("kubectl", "-n", self.name, "logs", pod, "-c", container)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def evidence(self, evaluation: Object) -> Object:
        """The whole evidence of a ModelEvaluation, from its ConfigMap."""
        record = self.get("ConfigMap", evaluation["status"]["evidenceConfigMap"], api="v1")
        return dict(json.loads(gzip.decompress(base64.b64decode(record["binaryData"]["evidence.json.gz"]))))

    def ask(self, service: str, x: list[float], *, request_id: str = "", **columns: list[Any]) -> Object:
        """An answer over HTTP of whoever is behind the Service now; raises Refused where nobody is."""
        tensors: Object = {"x": ("FP64", x)} if x else {}
        tensors |= {name: (_datatype(values), values) for name, values in columns.items()}
        inputs = [
            {"name": name, "datatype": datatype, "shape": [len(values), 1], "data": values}
            for name, (datatype, values) in tensors.items()
        ]
        where = f"/api/v1/namespaces/{self.name}/services/{service}:80/proxy/v2/models/model/infer"
        return self.admin.request("POST", where, ({"id": request_id} if request_id else {}) | {"inputs": inputs})

    def endpoints(self, service: str) -> set[str]:
        """The names of the Pods behind a Service."""
        slices = self.all("EndpointSlice", f"kubernetes.io/service-name={service}", api="discovery.k8s.io/v1")
        return {
            endpoint["targetRef"]["name"]
            for item in slices
            for endpoint in item.get("endpoints") or ()
            if endpoint["conditions"].get("ready")
        }


def _conditions(item: Object) -> list[Object]:
    return list((item.get("status") or {}).get("conditions") or ())


def _datatype(values: list[Any]) -> str:
    return {str: "BYTES", int: "INT64"}.get(type(values[0]), "FP32")


@contextmanager
def space(cluster: Cluster, module: str, *, enforce: str) -> Iterator[Space]:
    """A namespace of its own with the volumes `models` and `data`, gone afterwards."""
    name = f"e2e-{module}-{uuid.uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"} | (
        {"mandate.dev/enforce": enforce} if enforce else {}
    )
    cluster.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    folders = {claim: cluster.volume(name, claim) for claim in ("models", "data")}
    try:
        yield Space(cluster, name, **folders)
    finally:
        # Its Pods take their time to end; the next module needn't wait for that.
        cluster.run("kubectl", "delete", "namespace", name, "--wait=false")
        cluster.leaving[name] = folders


@contextmanager
def running() -> Iterator[Cluster]:
    """The cluster with the product in it.

    A cluster that ran before runs on afterwards, with the release that it had. MANDATE_E2E_STATE names the folder of a
    node for these tests alone. Where several workers share the tests, all but the first have a node of their own.
    """
    own, worker = os.environ.get("MANDATE_E2E_STATE"), os.environ.get("PYTEST_XDIST_WORKER", FIRST_WORKER)
    if worker != FIRST_WORKER:
        own = f"{own or '/var/lib/mandate-e2e'}-{worker}"
    hack = (sys.executable, str(HACK), *(("--state", own) if own else ()))
    ran = subprocess.run([*hack, "kubeconfig"], capture_output=True, check=False).returncode == 0
    try:
        kubeconfig = Path(_output(*hack, "up"))
        tools = {Path(path).name: path for path in _output(*hack, "build", "kubectl", "helm").split()}
        images = json.loads(_output(*hack, "images"))
        images |= json.loads(_output(*hack, "images", "--file", str(DOCKERFILE), *TEST_IMAGES))
        cluster = Cluster(hack, kubeconfig, tools, images, connect(kubeconfig))
        cluster.values = VALUES | {"admission.allowedImages[0]": images["test-model"]} | _recorder(cluster)
        releases = json.loads(cluster.run("helm", "list", "--namespace", SYSTEM, "--output", "json"))
        before = next((item["revision"] for item in releases if item["name"] == RELEASE), None)
        cluster.install()
        yield cluster
        cluster.left()
        if ran and before is not None:
            cluster.run("helm", "rollback", RELEASE, before, "--namespace", SYSTEM, "--wait", "--timeout", "5m")
        elif ran:
            cluster.run("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    finally:
        if not ran:
            subprocess.run([*hack, "down"], check=True, stdout=subprocess.DEVNULL)


def _recorder(cluster: Cluster) -> dict[str, str]:
    """The values for a recorder on a folder of this machine, which the Pod's user may write to."""
    cluster.admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    cluster.volume(SYSTEM, "recorder").chmod(0o777)
    return {"recorder.enabled": "true", "recorder.storage.existingClaim": "recorder", "recorder.askEvery": "1"}


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
