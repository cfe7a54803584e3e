"""Before the operator goes: delete every HuntFleet and wait until what belongs to it is gone.

Promise: `helm uninstall` runs it (pre-delete) in a pod of the operator's image; the standard library only. Ends within
the time given; fleets that are still there then are let go (finalizers taken off), so that nothing waits for an
operator that is no more. Recordings stay: they are on the claims of the processors.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request

ACCOUNT = os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
FLEETS = "/apis/packhound.dev/v1alpha1/huntfleets"


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
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = urllib.request.Request(  # noqa: S310 - https
        where + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": kind},
    )  # fmt: skip
    try:
        context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310 - https
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise SystemExit(f"{method} {path}: {error.code} {error.read(2000).decode(errors='replace')}") from None


def names():
    """Names of the fleets that are there."""
    return [each["metadata"]["name"] for each in (ask("GET", FLEETS) or {}).get("items", ())]


def main(namespace, release, seconds):
    """Delete, wait, let go."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    chosen = f"app.kubernetes.io%2Finstance%3D{release},app.kubernetes.io%2Fcomponent%3Dcanary"
    ask("DELETE", f"{pods}?labelSelector={chosen}")
    for name in names():
        say(f"deleting the fleet {name}")
        ask("DELETE", f"{FLEETS}/{name}", {"propagationPolicy": "Foreground"})
    deadline = time.monotonic() + int(seconds)
    while (left := names()) and time.monotonic() < deadline:
        time.sleep(0.5)
    for name in left:
        say(f"the fleet {name} is not gone after {seconds} s: it is let go as it is")
        ask("PATCH", f"{FLEETS}/{name}", {"metadata": {"finalizers": None}})
    say("no fleet is left")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
