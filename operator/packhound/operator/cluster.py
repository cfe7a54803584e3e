"""The only door to the Kubernetes API (beside kopf's watches): apply, patch, list in pages, watch one object.

Promise: what is written is written under one field manager; every call ends within its deadline, in a value or a
ClusterError. Calls run in a few threads of their own; any task may make them. Nothing is cached or retried here.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import urllib3
from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from packhound.kit.errors import BadInput
from packhound.operator.errors import ClusterError, Unreachable, error_of
from packhound.operator.kinds import Kind, Ref, ref_of

MANAGER = "packhound"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PLAIN = "application/json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
PAGE = 500
THREADS = 8
CONNECT, READ = 5.0, 15.0
MAX_ANSWER = 64 << 20
Object = dict[str, Any]


class Access(NamedTuple):
    """How to reach the API, for kopf: paths of PEM files, and a token (empty: none)."""

    server: str
    ca: str | None
    cert: str | None
    key: str | None
    token: str | None
    insecure: bool


class Cluster:
    """One connection pool. `kubeconfig`: a file, empty for the service account of our pod. Raises BadInput when
    neither gives a way in. `told` hears of every call that is about to be made (tests count them)."""

    def __init__(
        self, kubeconfig: str = "", *, agent: str = "packhound-operator", told: Callable[[str, str], None] | None = None
    ) -> None:
        self._configuration = client.Configuration()
        self._configuration.connection_pool_maxsize = THREADS + 2
        try:
            if kubeconfig:
                config.load_kube_config(kubeconfig, client_configuration=self._configuration)
            else:
                config.load_incluster_config(client_configuration=self._configuration)
        except (ConfigException, OSError) as error:
            where = f"kubeconfig {kubeconfig}" if kubeconfig else "this is no pod with a service account"
            raise BadInput(f"cannot find the Kubernetes API: {where}: {error}") from None
        self._pool: Any = client.ApiClient(self._configuration).rest_client.pool_manager
        self._agent, self._told = agent, told
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")

    def close(self) -> None:
        """Begin no new call; those that run end by their deadlines."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pool.clear()

    @property
    def access(self) -> Access:
        """What kopf needs to log in; asked again when its token is refused."""
        had = self._configuration
        bearer = had.auth_settings().get("BearerToken")
        token = str(bearer["value"]).removeprefix("Bearer ").removeprefix("bearer ") if bearer else None
        return Access(had.host, had.ssl_ca_cert, had.cert_file, had.key_file, token, not had.verify_ssl)

    # calls -----------------------------------------------------------------------------------------------------------

    async def get(self, ref: Ref) -> Object:
        """Read an object."""
        return await self._call("GET", ref.path)

    async def apply(self, raw: Mapping[str, Any], *, dry: bool = False) -> Object:
        """Server-side apply: make the object have these fields, whoever had them; `dry`: only say what would be."""
        query = f"?fieldManager={MANAGER}&force=true" + ("&dryRun=All" if dry else "")
        return await self._call("PATCH", ref_of(raw).path + query, raw, APPLY)

    async def create(self, raw: Mapping[str, Any]) -> Object:
        """Create an object. Raises Conflict when it exists."""
        ref = ref_of(raw)
        return await self._call("POST", f"{ref.kind.path(ref.namespace)}?fieldManager={MANAGER}", raw)

    async def replace(self, raw: Mapping[str, Any]) -> Object:
        """Replace an object. Raises Conflict when its resourceVersion is no longer that of `raw`."""
        return await self._call("PUT", f"{ref_of(raw).path}?fieldManager={MANAGER}", raw)

    async def merge(self, ref: Ref, change: Mapping[str, Any], *, sub: str = "") -> Object:
        """Merge into an object, or its subresource; only into the one with `ref.uid`, where that is given."""
        body = dict(change)
        if ref.uid:
            body["metadata"] = {**body.get("metadata", {}), "uid": ref.uid}
        path = ref.kind.path(ref.namespace, ref.name, sub)
        return await self._call("PATCH", f"{path}?fieldManager={MANAGER}", body, MERGE)

    async def patch(self, ref: Ref, operations: list[Object]) -> Object:
        """JSON Patch: all of it or nothing."""
        return await self._call("PATCH", f"{ref.path}?fieldManager={MANAGER}", operations, JSON_PATCH)

    async def delete(self, ref: Ref) -> None:
        """Delete an object, in the background. Raises Missing."""
        body: Object = {"propagationPolicy": "Background"}
        if ref.uid:
            body["preconditions"] = {"uid": ref.uid}
        await self._call("DELETE", ref.path, body)

    async def served(self, kind: Kind) -> bool:
        """Tell whether the API server has such a kind now."""
        root = kind.path().rpartition("/")[0]
        with suppress(ClusterError):
            found = await self._call("GET", root)
            return any(each.get("name") == kind.plural for each in found.get("resources") or ())
        return False

    async def pages(self, kind: Kind, *, namespace: str = "", selector: str = "") -> AsyncIterator[list[Object]]:
        """The metadata of every object of a kind, in pages."""
        token = ""
        while True:
            query = f"?limit={PAGE}" + (f"&continue={token}" if token else "")
            query += f"&labelSelector={selector}" if selector else ""
            found = await self._call("GET", kind.path(namespace) + query, accept=METADATA_ONLY)
            yield [each["metadata"] for each in found.get("items") or ()]
            token = (found.get("metadata") or {}).get("continue", "")
            if not token:
                return

    async def follow(self, ref: Ref, *, version: str, seconds: int) -> AsyncGenerator[Object, None]:
        """What becomes of an object after `version`, whole each time, for so many seconds. Raises ClusterError."""
        query = f"?watch=true&timeoutSeconds={seconds}&resourceVersion={version}"
        path = ref.kind.path(ref.namespace) + query + f"&fieldSelector=metadata.name%3D{ref.name}"
        if self._told is not None:
            self._told("WATCH", path)
        came: asyncio.Queue[Object | ClusterError | None] = asyncio.Queue()
        loop, over = asyncio.get_running_loop(), threading.Event()
        work = self._in_thread(self._events, path, seconds + READ, over,
                               lambda each: loop.call_soon_threadsafe(came.put_nowait, each))  # fmt: skip
        running = asyncio.ensure_future(work)
        try:
            while (each := await came.get()) is not None:
                if isinstance(each, ClusterError):
                    raise each
                yield each
        finally:
            over.set()
            running.add_done_callback(lambda done: done.cancelled() or done.exception())

    # under the hood --------------------------------------------------------------------------------------------------

    async def _call(
        self, method: str, path: str, body: Any = None, kind: str = PLAIN, *, accept: str = PLAIN
    ) -> Object:
        if self._told is not None:
            self._told(method, path)
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        answer: Object = await self._in_thread(self._request, method, path, data, kind, accept)
        return answer

    async def _in_thread(self, work: Callable[..., Any], *given: Any) -> Any:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work, *given)
        except RuntimeError:
            raise Unreachable("the operator is ending") from None
        return await future

    def _headers(self, accept: str) -> dict[str, str]:
        found = {"Accept": accept, "User-Agent": self._agent}
        bearer = self._configuration.auth_settings().get("BearerToken")
        if bearer and bearer["value"]:
            found["Authorization"] = str(bearer["value"])
        return found

    def _request(self, method: str, path: str, data: bytes | None, kind: str, accept: str) -> Object:
        headers = self._headers(accept)
        if data is not None:
            headers["Content-Type"] = kind
        answer = self._send(method, path, headers, data, preload=True, read=READ)
        raw = answer.data
        found = _json(raw)
        if answer.status >= 400:
            raise error_of(answer.status, f"{method} {path.partition('?')[0]}: {_why(found, raw)}")
        return found

    def _events(
        self, path: str, seconds: float, over: threading.Event, tell: Callable[[Object | ClusterError | None], object]
    ) -> None:
        try:
            answer = self._send("GET", path, self._headers(PLAIN), None, preload=False, read=seconds)
        except Unreachable as error:
            tell(error)
            return
        try:
            if answer.status >= 400:
                tell(error_of(answer.status, f"watch {path.partition('?')[0]}: HTTP {answer.status}"))
                return
            rest = b""
            while not over.is_set() and (some := answer.read1(1 << 16)):
                *lines, rest = (rest + some).split(b"\n")
                for event in map(_json, lines):
                    tell(event["object"] if event.get("type") != "ERROR" else Unreachable("the watch is too old"))
            tell(None)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            tell(Unreachable(f"the watch broke: {error}"))
        finally:
            answer.close()
            answer.release_conn()

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None, *, preload: bool, read: float
    ) -> Any:
        timeout = urllib3.Timeout(connect=CONNECT, read=read)
        try:
            return self._pool.request(
                method, self._configuration.host + path, headers=headers, body=data, timeout=timeout,
                preload_content=preload, retries=False, redirect=False,
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"{method} {path.partition('?')[0]}: {error}") from None


def _json(raw: bytes) -> Object:
    try:
        found = json.loads(raw) if raw and len(raw) <= MAX_ANSWER else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _why(found: Object, raw: bytes) -> str:
    return str(found.get("message") or raw[:200].decode("utf-8", "replace"))


