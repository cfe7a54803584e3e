"""A `kubectl` that knows the cluster of a file instead: what tests of the plugin put on PATH.

    write(FOLDER, CLUSTER)   makes FOLDER/kubectl; CLUSTER is a JSON file:
    {"pods": [Pod...], "ports": {"NAMESPACE/POD": port on 127.0.0.1}, "filters": [HuntFilter...],
     "forbidden": ["pods -A", ...], "says": {"apply": "text of standard error"}, "namespace": "t"}

It forwards ports, lists, watches (the file, for changes), gets and applies, with the messages of the real one; what it
was called with, and by which pid, is appended to FOLDER/calls.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any


def write(folder: Path, cluster: Path) -> Path:
    """The executable."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "kubectl"
    made.write_text(
        f"#!{sys.executable} -S\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"from fake_kubectl import main\nmain({str(cluster)!r}, {str(folder / 'calls')!r})\n"
    )
    made.chmod(0o755)
    return made


def pod(name: str, ip: str, *, namespace: str = "t", labels: dict[str, str] | None = None, since: str = "2020-01-01T00:00:00Z",
        host: bool = False) -> dict[str, Any]:  # fmt: skip
    """A running pod."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"u-{namespace}-{name}", "labels": labels or {}},
        "spec": {"nodeName": "n1", "hostNetwork": host},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": since,
                   "containerStatuses": [{"name": "c", "restartCount": 0}]},
    }  # fmt: skip


def processor(name: str, *, namespace: str = "packhound", fleet: str = "main") -> dict[str, Any]:
    """A processor's pod."""
    labels = {"app.kubernetes.io/name": "packhound", "app.kubernetes.io/component": "processor",
              "app.kubernetes.io/instance": fleet}  # fmt: skip
    return pod(name, "10.9.9.9", namespace=namespace, labels=labels)


def main(cluster: str, calls: str) -> None:
    words = sys.argv[1:]
    with open(calls, "a") as out:
        out.write(json.dumps({"pid": os.getpid(), "words": words}) + "\n")
    state = json.loads(Path(cluster).read_text())
    flags = dict(word.lstrip("-").split("=", 1) for word in words if word.startswith("-") and "=" in word)
    verb = words[0]
    if said := state.get("says", {}).get(verb):
        fail(said)
    if verb == "config":
        print(state.get("namespace", ""), end="")
    elif verb == "port-forward":
        forward(state, f"{flags['namespace']}/{words[2].removeprefix('pod/')}", words[3].lstrip(":"))
    elif verb == "apply":
        apply(cluster, state, json.load(sys.stdin))
    elif verb == "get" and words[1] == "pods":
        pods(cluster, state, words, flags)
    elif verb == "get":
        get(state, words, flags)
    else:
        fail(f"error: unknown command {verb!r}")


def fail(said: str) -> None:
    print(said, file=sys.stderr)
    sys.exit(1)


def pods(cluster: str, state: dict[str, Any], words: list[str], flags: dict[str, str]) -> None:
    everywhere = "-A" in words or "--all-namespaces" in words
    scope = "everywhere" if everywhere else flags.get("namespace", "default")
    if scope in state.get("forbidden", ()):
        where = "at the cluster scope" if everywhere else f'in the namespace "{scope}"'
        fail(f'Error from server (Forbidden): pods is forbidden: User "alice" cannot list resource "pods" in API group "" {where}')

    def chosen(state: dict[str, Any]) -> list[dict[str, Any]]:
        found = [each for each in state["pods"] if everywhere or each["metadata"]["namespace"] == scope]
        if "-l" in words:
            wanted = dict(pair.split("=") for pair in words[words.index("-l") + 1].split(","))
            found = [each for each in found if wanted.items() <= each["metadata"]["labels"].items()]
        return found

    if "--watch" not in words:
        print(json.dumps({"kind": "List", "items": chosen(state)}))
        return
    shown: dict[str, str] = {}
    while True:
        for each in chosen(json.loads(Path(cluster).read_text())):
            meta, status = each["metadata"], each["status"]
            row = "   ".join([meta["namespace"], meta["name"], meta["uid"], status["podIP"],
                              "true" if each["spec"].get("hostNetwork") else "<none>", status["startTime"],
                              meta.get("deletionTimestamp", "<none>"), status["phase"]])  # fmt: skip
            if shown.get(meta["uid"]) != row:
                shown[meta["uid"]] = row
                print(row, flush=True)
        time.sleep(0.1)


def get(state: dict[str, Any], words: list[str], flags: dict[str, str]) -> None:
    kind = {"huntfilters.packhound.dev": "HuntFilter", "clusterhuntfilters.packhound.dev": "ClusterHuntFilter"}.get(words[1])
    if kind is None or state.get("bare"):
        fail(f'error: the server doesn\'t have a resource type "{words[1].partition(".")[0]}"')
    scope = flags.get("namespace")
    if kind in state.get("forbidden", ()):
        fail(f'Error from server (Forbidden): {words[1]} is forbidden: User "alice" cannot list resource')
    found = [each for each in state["filters"] if each["kind"] == kind and scope in (None, each["metadata"].get("namespace"))]
    name = words[2] if len(words) > 2 and not words[2].startswith("-") else None
    if name is None:
        print(json.dumps({"kind": "List", "items": found}))
        return
    for each in found:
        if each["metadata"]["name"] == name:
            print(json.dumps(each))
            return
    fail(f'Error from server (NotFound): {words[1]} "{name}" not found')


def apply(cluster: str, state: dict[str, Any], raw: dict[str, Any]) -> None:
    def key(each: dict[str, Any]) -> Any:
        return each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]

    old = next((each for each in state["filters"] if key(each) == key(raw)), None)
    raw["metadata"] |= {"creationTimestamp": old["metadata"]["creationTimestamp"] if old else time.strftime("%FT%TZ", time.gmtime()),
                        "generation": 1}  # fmt: skip
    raw["status"] = state.get("answer") or {}
    state["filters"] = [each for each in state["filters"] if key(each) != key(raw)] + [raw]
    Path(cluster).write_text(json.dumps(state))
    print(json.dumps(raw))


def forward(state: dict[str, Any], name: str, port: str) -> None:
    if "forward" in state.get("forbidden", ()):
        fail(f'Error from server (Forbidden): pods "{name}" is forbidden: User "alice" cannot create resource "pods/portforward"')
    if name not in state["ports"]:
        fail(f'Error from server (NotFound): pods "{name.partition("/")[2]}" not found')
    server = socket.create_server(("127.0.0.1", 0))
    print(f"Forwarding from 127.0.0.1:{server.getsockname()[1]} -> {port}", flush=True)
    while True:
        ours, _ = server.accept()
        print(f"Handling connection for {port}", flush=True)
        try:
            theirs = socket.create_connection(("127.0.0.1", state["ports"][name]))
        except OSError as error:
            print(f"E1121 12:00:00.000000 1 portforward.go:424] an error occurred forwarding: {error}", file=sys.stderr)
            fail("error: lost connection to pod")
        for one, other in ((ours, theirs), (theirs, ours)):
            threading.Thread(target=pump, args=(one, other), daemon=True).start()


def pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    for each in (one, other):
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
