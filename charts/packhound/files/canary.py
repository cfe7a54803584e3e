"""Hunt a canary: write a HuntFilter for a name nobody asks for, ask for it, wait until its status says it was matched.

Promise: `helm test` runs it in a pod of the operator's image; the standard library only. Ends within the time given,
with 0 when the packets were matched and none lost; the filter is deleted in any case.
"""

import json
import os
import secrets
import socket
import ssl
import struct
import sys
import time
import urllib.error
import urllib.request

ACCOUNT = os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
RESOLVERS = os.environ.get("RESOLVERS", "/etc/resolv.conf")


def say(text):
    """Print it now, with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def ask(method, path, body=None):
    """One request to the API server: the answer, None for 404."""
    with open(f"{ACCOUNT}/token", encoding="ascii") as file:
        token = file.read().strip()
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    where = f"https://{f'[{host}]' if ':' in host else host}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    request = urllib.request.Request(  # noqa: S310 - https
        where + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )  # fmt: skip
    try:
        context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310 - https
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise SystemExit(f"{method} {path}: {error.code} {error.read(2000).decode(errors='replace')}") from None


def question(name):
    """A DNS query for the address of a name."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">6H", secrets.randbits(16), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def resolver():
    """Address of the first name server."""
    with open(RESOLVERS, encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.startswith("nameserver"))


def condition(status, kind):
    """A condition of a status, empty when it is not there."""
    return next((each for each in status.get("conditions", ()) if each["type"] == kind), {})


def hunt(path, name, deadline):
    """Until it is matched: True, or time is over: False."""
    server = resolver()
    said, asked = "", 0
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        while time.monotonic() < deadline:
            status = (ask("GET", path) or {}).get("status", {})
            out, packets = condition(status, "Distributed"), status.get("packets") or {}
            now = f"Distributed={out.get('status', 'not said yet')}, {packets.get('matched', 0)} matched"
            now += f": {out['message']}" if out.get("message") else ""
            if now != said:
                say(said := now)
            if packets.get("matched"):
                say(f"the canary was hunted: asked {asked} times, {json.dumps(packets)}")
                return not packets.get("lost")
            if out.get("status") == "True":
                way.sendto(question(name), (server, int(os.environ.get("RESOLVER_PORT", "53"))))
                asked += 1
            time.sleep(1)
    say(f"not matched in time; asked {asked} times")
    return False


def main(namespace, release, seconds):
    """Hunt, clean up, and say how it went."""
    name = f"canary-{secrets.token_hex(8)}.packhound.test"
    path = f"/apis/packhound.dev/v1alpha1/namespaces/{namespace}/huntfilters"
    mine = f"{path}/{release}-canary"
    ask("DELETE", mine)
    ask("POST", path, {
        "apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFilter",
        "metadata": {"name": f"{release}-canary", "namespace": namespace,
                     "labels": {"app.kubernetes.io/part-of": "packhound", "app.kubernetes.io/component": "canary"}},
        "spec": {
            "purpose": "helm test", "schedule": {"ttl": "10m"},
            "target": {"podSelector": {"matchLabels": {"packhound.dev/canary": release}}},
            "match": {"field": "dns.qname", "equals": [name]},
        },
    })  # fmt: skip
    say(f"hunting {name}")
    try:
        return 0 if hunt(mine, name, time.monotonic() + int(seconds)) else 1
    finally:
        ask("DELETE", mine)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
