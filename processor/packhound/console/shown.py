"""How the plugin prints filters: as a table, with what stands against them, by names that kubectl takes."""

from __future__ import annotations

from typing import Any


def words(raw: dict[str, Any]) -> str:
    """A filter as kubectl wants it named."""
    space = raw["metadata"].get("namespace")
    return f"{raw['metadata']['name']} --namespace={space}" if space else str(raw["metadata"]["name"])


def table(rows: list[dict[str, Any]]) -> None:
    """Filters and how they do, a line each."""
    from packhound.run import show

    show.table([[row["name"], row["state"], row["sensors"], row["matched"], row["lost"], age(row["age_seconds"]),
                 row["expires"], row["purpose"]] for row in rows],
               ("NAME", "STATE", "SENSORS", "MATCHED", "LOST", "AGE", "EXPIRES", "PURPOSE"))  # fmt: skip


def conditions(row: dict[str, Any]) -> None:
    """Say what stands against it, in full."""
    from packhound.run import show

    if row["state"] == "not taken up":
        show.complain("no operator has said anything of it yet: kubectl get huntfleets; kubectl get pods -A -l "
                      "app.kubernetes.io/name=packhound")  # fmt: skip
    for each in row["conditions"]:
        good = "False" if each["type"] in ("Throttled", "Expired") else "True"
        if each["status"] != good and each["message"]:
            show.complain(f"{each['type']} is {each['status']}: {each['message']}")


def age(seconds: int) -> str:
    """A time as kubectl prints ages."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
