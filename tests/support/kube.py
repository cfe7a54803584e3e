"""A real Kubernetes API of a test's own: etcd and kube-apiserver on free ports in a folder, RBAC, certificates.

PACKHOUND_E2E_KUBECONFIG names a cluster that is there already; else KUBEBUILDER_ASSETS a folder with the binaries, as
envtest has it (kube-controller-manager and kube-scheduler too where a test asks for controllers). Neither: skipped.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import datetime as dt
import http.client
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
STARTED = 60.0
ATTEMPTS = 3


class ApiError(AssertionError):
    """What the API server answered."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"HTTP {status}: {body.get('message') if isinstance(body, dict) else body}")
        self.status, self.body = status, body


class Api:
    """The API by one person's kubeconfig; plain HTTP, so that nothing of ours tests itself."""

    def __init__(self, kubeconfig: Path) -> None:
        raw = yaml.safe_load(kubeconfig.read_text())
        context = next(each["context"] for each in raw["contexts"] if each["name"] == raw["current-context"])
        cluster = next(each["cluster"] for each in raw["clusters"] if each["name"] == context["cluster"])
        user = next(each["user"] for each in raw["users"] if each["name"] == context["user"])
        url = urlsplit(cluster["server"])
        self.kubeconfig = kubeconfig
        self._host, self._port = url.hostname, url.port
        ca = _data(cluster, "certificate-authority")
        self._tls = ssl.create_default_context(cadata=ca.decode() if ca else None)
        self._token = user.get("token")
        if cert := _data(user, "client-certificate"):
            both = kubeconfig.with_suffix(".client.pem")
            both.write_bytes(cert + b"\n" + (_data(user, "client-key") or b""))
            both.chmod(0o600)
            self._tls.load_cert_chain(both)
        self._connection: http.client.HTTPSConnection | None = None

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": kind}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        for attempt in range(2):
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls, timeout=30)
            try:
                self._connection.request(method, path, data, headers)
                answer = self._connection.getresponse()
                raw = answer.read()
                break
            except (http.client.HTTPException, OSError):
                self._connection = None
                if attempt:
                    raise
        try:
            found = json.loads(raw)
        except ValueError:
            found = raw.decode("utf-8", "replace")
        if answer.status >= 400:
            raise ApiError(answer.status, found)
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # objects ---------------------------------------------------------------------------------------------------------

    def path(self, kind: str, name: str = "", namespace: str = "", sub: str = "") -> str:
        version, plural, namespaced = KINDS[kind]
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        middle = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return "/".join(part for part in (f"{root}{middle}/{plural}", name, sub) if part)

    def get(self, kind: str, name: str = "", namespace: str = "") -> Any:
        return self.call("GET", self.path(kind, name, namespace))

    def items(self, kind: str, namespace: str = "") -> list[dict[str, Any]]:
        return self.get(kind, namespace=namespace)["items"]

    def create(self, raw: Mapping[str, Any]) -> Any:
        return self.call("POST", self.path(raw["kind"], namespace=raw["metadata"].get("namespace", "")), raw)

    def apply(self, raw: Mapping[str, Any], *, manager: str = "kubectl", dry: bool = False) -> Any:
        """As `kubectl apply --server-side` does it."""
        meta = raw["metadata"]
        path = self.path(raw["kind"], meta["name"], meta.get("namespace", ""))
        return self.call("PATCH", f"{path}?fieldManager={manager}&force=true" + ("&dryRun=All" if dry else ""), raw,
                         "application/apply-patch+yaml")  # fmt: skip

    def merge(self, kind: str, name: str, change: Mapping[str, Any], *, namespace: str = "", sub: str = "") -> Any:
        return self.call("PATCH", self.path(kind, name, namespace, sub), change, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str = "", *, now: bool = True) -> None:
        with contextlib.suppress(ApiError):
            self.call("DELETE", self.path(kind, name, namespace), {"gracePeriodSeconds": 0} if now else {})

    def gone(self, kind: str, name: str, namespace: str = "") -> bool:
        try:
            self.get(kind, name, namespace)
        except ApiError as error:
            return error.status == 404
        return False

    def metrics(self, name: str) -> dict[str, float]:
        """Samples of one of the API server's own metrics, by labels."""
        found: dict[str, float] = {}
        for line in str(self.call("GET", "/metrics")).splitlines():
            if line.startswith((name + "{", name + " ")):
                labels, _, value = line.removeprefix(name).rpartition(" ")
                found[labels] = float(value)
        return found


OURS = "packhound.dev/v1alpha1"
KINDS: Mapping[str, tuple[str, str, bool]] = {
    "HuntFilter": (OURS, "huntfilters", True), "ClusterHuntFilter": (OURS, "clusterhuntfilters", False),
    "HuntFleet": (OURS, "huntfleets", False), "Pod": ("v1", "pods", True), "Node": ("v1", "nodes", False),
    "Namespace": ("v1", "namespaces", False), "Event": ("v1", "events", True), "Secret": ("v1", "secrets", True),
    "Service": ("v1", "services", True), "ServiceAccount": ("v1", "serviceaccounts", True),
    "DaemonSet": ("apps/v1", "daemonsets", True), "StatefulSet": ("apps/v1", "statefulsets", True),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers", True),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets", True),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "Lease": ("coordination.k8s.io/v1", "leases", True),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions", False),
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Role": ("rbac.authorization.k8s.io/v1", "roles", True),
    "RoleBinding": ("rbac.authorization.k8s.io/v1", "rolebindings", True),
    "ValidatingWebhookConfiguration": (
        "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", False,
    ),
}  # fmt: skip


def _data(row: Mapping[str, Any], key: str) -> bytes | None:
    if f"{key}-data" in row:
        return base64.b64decode(row[f"{key}-data"])
    return Path(row[key]).read_bytes() if key in row else None


class ControlPlane:
    """Started by `start`. `admin` is the API as system:masters; `user` makes a kubeconfig for anybody."""

    def __init__(self, folder: Path, assets: Path, *, controllers: bool = False, scheduler: bool = False) -> None:
        self.folder, self.assets = folder, assets
        self.controllers, self.scheduler = controllers, scheduler
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.port = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._authority = _Authority(folder)
        atexit.register(self.stop)

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> ControlPlane:
        for attempt in range(ATTEMPTS):
            try:
                self._start()
                break
            except _PortTaken:
                self.stop()
                if attempt == ATTEMPTS - 1:
                    raise
        self.admin = Api(self.user("admin", "system:masters"))
        self._wait(lambda: self.admin.call("GET", "/readyz") == "ok", "kube-apiserver")
        if self.controllers:
            self._controllers()
        for name in ("default", "packhound", "packhound-sensors"):
            self._wait(lambda name=name: self._namespace(name), f"namespace {name}")
        return self

    def _namespace(self, name: str) -> bool:
        try:
            self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except ApiError as error:
            return error.status == 409
        return True

    def _start(self) -> None:
        client, peer, self.port = free_ports(3)
        etcd = f"http://127.0.0.1:{client}"
        self._run("etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", etcd, "--advertise-client-urls",
                  etcd, "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--unsafe-no-fsync")  # fmt: skip
        signed = self._authority.sign("kube-apiserver", "apiserver", server=True)
        key = self.folder / "sa.key"
        if not key.exists():
            key.write_bytes(_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
        self._run(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={self.port}",
            "--advertise-address=127.0.0.1", f"--client-ca-file={self._authority.path}",
            f"--tls-cert-file={signed[0]}", f"--tls-private-key-file={signed[1]}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC", "--anonymous-auth=false", "--allow-privileged=true", "--profiling=false",
            "--disable-admission-plugins=" + ("" if self.controllers else "ServiceAccount"),
            f"--cert-dir={self.folder}", "--endpoint-reconciler-type=none",
        )  # fmt: skip

    def _controllers(self) -> None:
        config = self.user("system:kube-controller-manager")
        self._run(
            "kube-controller-manager", f"--kubeconfig={config}", "--bind-address=127.0.0.1",
            f"--secure-port={free_ports(1)[0]}", "--leader-elect=false", "--use-service-account-credentials=true",
            f"--root-ca-file={self._authority.path}", f"--service-account-private-key-file={self.folder / 'sa.key'}",
            f"--cert-dir={self.folder}", "--profiling=false", "--node-monitor-grace-period=24h",
            "--kube-api-qps=200", "--kube-api-burst=400",
        )  # fmt: skip
        if self.scheduler:
            config = self.user("system:kube-scheduler")
            self._run("kube-scheduler", f"--kubeconfig={config}", "--bind-address=127.0.0.1", f"--secure-port={free_ports(1)[0]}",
                      "--leader-elect=false", f"--cert-dir={self.folder}", "--profiling=false")  # fmt: skip
        self._wait(lambda: not self.admin.gone("ServiceAccount", "default", "default"), "kube-controller-manager")

    def _run(self, name: str, *args: object) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [self.assets / name, *map(str, args)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder
            )

    def _wait(self, ready: Any, what: str) -> None:
        deadline = time.monotonic() + STARTED
        while True:
            with contextlib.suppress(OSError, ApiError, http.client.HTTPException):
                if ready():
                    return
            for name, process in self.processes.items():
                if process.poll() is not None:
                    told = (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]
                    if "address already in use" in told:
                        raise _PortTaken
                    raise AssertionError(f"{name} ended with {process.returncode}:\n{told}")
            assert time.monotonic() < deadline, f"{what} is not ready after {STARTED:g} s"
            time.sleep(0.05)

    def pause(self, name: str = "kube-apiserver") -> None:
        """The process hangs."""
        os.kill(self.processes[name].pid, signal.SIGSTOP)

    def resume(self, name: str = "kube-apiserver") -> None:
        os.kill(self.processes[name].pid, signal.SIGCONT)

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
        self.processes.clear()
        if hasattr(self, "admin"):
            self.admin.close()

    def user(self, name: str, *groups: str) -> Path:
        """A kubeconfig with a client certificate of `name` in `groups`."""
        stem = name.replace(":", "-").replace("/", "-")
        cert, key = self._authority.sign(name, stem, groups=groups)
        made = self.folder / f"{stem}.kubeconfig"
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": self.server, "certificate-authority": str(self._authority.path)}}],
            "users": [{"name": "c", "user": {"client-certificate": str(cert), "client-key": str(key)}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }  # fmt: skip
        made.write_text(yaml.safe_dump(config))
        return made


class Existing:
    """A cluster that somebody else runs; nothing of it is started, stopped or paused here."""

    def __init__(self, kubeconfig: Path) -> None:
        self.admin = Api(kubeconfig)


class _PortTaken(Exception):
    pass


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found


def _pem(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class _Authority:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test cluster")])
        self.path = folder / "ca.pem"
        cert = self._made(self._name, self._key.public_key(), ca=True)
        self.path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    def _made(self, subject: x509.Name, public: Any, *, ca: bool = False, server: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1)).add_extension(x509.BasicConstraints(ca, None), critical=True)
        )  # fmt: skip
        if server:
            names = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc"),
                     *(x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "10.96.0.1"))]  # fmt: skip
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def sign(self, name: str, stem: str, *, groups: tuple[str, ...] = (), server: bool = False) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        rows = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in groups]
        subject = x509.Name([*rows, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert, private = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        cert.write_bytes(self._made(subject, key.public_key(), server=server).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(_pem(key))
        private.chmod(0o600)
        return cert, private


def why_not() -> str:
    """Why no cluster can be had; empty when one can."""
    if os.environ.get("PACKHOUND_E2E_KUBECONFIG"):
        return ""
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not assets:
        return "needs a cluster: PACKHOUND_E2E_KUBECONFIG, or KUBEBUILDER_ASSETS with etcd and kube-apiserver"
    missing = [each for each in ("etcd", "kube-apiserver") if not (Path(assets) / each).exists()]
    return f"{', '.join(missing)} not in KUBEBUILDER_ASSETS" if missing else ""


needs_assets = pytest.mark.skipif(
    not os.environ.get("KUBEBUILDER_ASSETS"), reason="needs KUBEBUILDER_ASSETS: etcd and kube-apiserver of its own"
)


@contextlib.contextmanager
def control_plane(folder: Path, *, controllers: bool = False, scheduler: bool = False) -> Iterator[ControlPlane]:
    """A control plane of one's own for a block."""
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not assets:
        pytest.skip("needs KUBEBUILDER_ASSETS: etcd and kube-apiserver of its own")
    plane = ControlPlane(folder, Path(assets), controllers=controllers, scheduler=scheduler)
    try:
        yield plane.start()
    finally:
        plane.stop()
        atexit.unregister(plane.stop)


def install_crds(api: Api) -> None:
    """Our kinds, and wait until they are served."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        api.apply(yaml.safe_load(path.read_text()))
    deadline = time.monotonic() + 20
    for kind in ("HuntFilter", "ClusterHuntFilter", "HuntFleet"):
        while True:
            with contextlib.suppress(ApiError):
                api.get(kind)
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
