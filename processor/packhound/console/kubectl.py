"""`kubectl packhound`: hunt, look and capture with the kubeconfig and rights of the user.

Exit codes: 0 ok, 1 a bug, 2 usage, 3 bad input (or a cluster that cannot do it), 4 not permitted.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from packhound.console import shown
from packhound.console.portforward import Kubectl, Missing
from packhound.kit.errors import BAD_INPUT, FAULT, OK, USAGE, BadInput, NotPermitted, Stop, Usage

VERSION = "0.1.0"
KIND, CLUSTER_KIND = "huntfilters.packhound.dev", "clusterhuntfilters.packhound.dev"
app = App(name="kubectl packhound", version=VERSION, help="Hunt packets in a Kubernetes cluster, as yourself.",
          help_format="plaintext", result_action="return_value")  # fmt: skip


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Who:
    """Where and as whom."""

    namespace: Annotated[str, Parameter(name=["--namespace", "-n"], help="Namespace; default: of the context.")] = ""
    kubeconfig: Annotated[str, Parameter(help="As kubectl's.")] = ""
    context: Annotated[str, Parameter(help="As kubectl's.")] = ""
    user: Annotated[str, Parameter(name="--as", help="As kubectl's: act for somebody else.")] = ""
    fleet: Annotated[str, Parameter(help="Name of the HuntFleet; default: any.")] = ""
    fleet_namespace: Annotated[str, Parameter(help="Where its processors run, if you may not look everywhere.")] = ""

    @property
    def kubectl(self) -> Kubectl:
        """The user's kubectl."""
        return Kubectl(self.kubeconfig, self.context, self.user)

    @property
    def where(self) -> Any:
        """The fleet."""
        from packhound.console.live import Where

        return Where(self.kubectl, self.fleet, self.fleet_namespace)

    @property
    def space(self) -> str:
        """The namespace."""
        return self.namespace or self.kubectl.namespace()


NOBODY = Who()
Json = Annotated[bool, Parameter(name="--json", negative="", help="Results as JSON.")]
Everywhere = Annotated[bool, Parameter(name=["--all-namespaces", "-A"], negative="", help="Of every namespace.")]
OfCluster = Annotated[bool, Parameter(name="--cluster", negative="", help="A ClusterHuntFilter.")]
Count = Annotated[int, Parameter(name=["--count", "-c"], help="End after so many.")]
Seconds = Annotated[float, Parameter(help="End after so many seconds.")]
Pods = Annotated[bool, Parameter(name="--pods", help="Name pods, as far as you may list them.")]


@app.command
def hunt(
    name: str = "",
    /,
    *,
    field: Annotated[list[str] | None, Parameter(help="Registry field; several: all must match.")] = None,
    op: Annotated[list[str] | None, Parameter(help="Operator of the field; default: the usual one.")] = None,
    value: Annotated[list[str] | None, Parameter(help="Value; several for one field: any of them.",
                                                 allow_leading_hyphen=True)] = None,
    pcap: Annotated[str, Parameter(help="pcap-filter expression, in force beside the fields.")] = "",
    ttl: Annotated[str, Parameter(help="How long it is in force; none: until it is deleted.")] = "1h",
    scope: Annotated[str, Parameter(help="packet, flow or call; default: by the fields.")] = "",
    pod: Annotated[list[str] | None, Parameter(help="LABEL=VALUE of the pods to hunt.")] = None,
    purpose: Annotated[str, Parameter(help="Why, for whoever finds it.")] = "",
    per_call: Annotated[bool, Parameter(negative="", help="Also one recording a call.")] = False,
    cluster: OfCluster = False,
    wait: Annotated[float, Parameter(help="Seconds to wait until the sensors have it.")] = 5.0,
    dry_run: Annotated[bool, Parameter(negative="", help="Print the filter as YAML, change nothing.")] = False,
    who: Who = NOBODY,
    json: Json = False,
) -> int:  # fmt: skip
    """Put a HuntFilter in force.

    For example:

      kubectl packhound hunt alice --field sip.user --value alice -n voice
      kubectl packhound hunt --pcap 'tcp port 5432' --pod app=shop --ttl 10m
      kubectl packhound hunt x --field tls.sni --op domain --value .example.com --dry-run

    """
    from packhound.run import hunting, show

    fields, values = list(field or ()), list(value or ())
    raw = hunting.made(
        name or _name(fields, pcap), namespace="" if cluster else who.space, cluster=cluster, fields=fields,
        operators=list(op or ()), values=values, pcap=pcap, ttl=ttl, scope=scope, pods=list(pod or ()),
        purpose=purpose, per_call=per_call,
    )  # fmt: skip
    for note in hunting.notes_of(raw):
        show.complain(note)
    if dry_run:
        show.line(show.as_json(raw) if json else hunting.as_yaml(raw).rstrip("\n"))
        return OK
    kubectl = who.kubectl
    given = kubectl.json("apply", "-f", "-", given=show.as_json(raw), doing=f"apply {hunting.full_name(raw)}")
    if wait > 0:
        given = _waited(kubectl, given, wait)
    row = hunting.status_row(given, now=time.time_ns())
    if hunting.is_expired(given, now=time.time_ns()):
        raise BadInput(f"{row['name']} is there already and its ttl is over, which goes by its creation", notes=(
            f"give it another name, or: kubectl delete {_kind(given)} {shown.words(given)}",
        ))  # fmt: skip
    if json:
        show.line(show.as_json(row))
    else:
        show.line(f"{row['name']}: {row['state']}, {row['sensors']} sensors have it")
        shown.conditions(row)
        show.line(f"see it: kubectl packhound tail {row['name']}" + (" --cluster" if cluster else ""))
    return BAD_INPUT if row["state"] == "refused" else OK


@app.command
def status(
    name: str = "", /, *, everywhere: Everywhere = False, cluster: OfCluster = False, who: Who = NOBODY,
    json: Json = False,
) -> int:  # fmt: skip
    """Tell how filters do: in force or not and why, how many sensors have them, what they matched and lost.

    For example:

      kubectl packhound status -A
      kubectl packhound status alice -n voice

    """
    from packhound.run import hunting, show

    now = time.time_ns()
    if name:
        row = hunting.status_row(_filter(who, name, cluster=cluster), now=now)
        if json:
            show.line(show.as_json(row))
            return OK
        shown.table([row])
        show.table([[each["type"], each["status"], each["reason"], each["message"]] for each in row["conditions"]],
                   ("CONDITION", "STATUS", "REASON", "MESSAGE"))  # fmt: skip
        shown.conditions(row)
        return OK
    scope = ["-A"] if everywhere else [f"--namespace={who.space}"]
    found = [] if cluster else who.kubectl.items(KIND, *scope, doing="list HuntFilters")
    if everywhere or cluster:
        with suppress(*(() if cluster else (NotPermitted,))):
            found += who.kubectl.items(CLUSTER_KIND, doing="list ClusterHuntFilters")
    rows = [hunting.status_row(each, now=now) for each in found]
    if json:
        show.line(show.as_json(rows))
    elif rows:
        shown.table(rows)
    else:
        show.complain("no filter here: kubectl packhound hunt makes one; -A shows those of every namespace")
    return OK


@app.command
def sensors(
    *, node: Annotated[str, Parameter(help="Only this one.")] = "", who: Who = NOBODY, json: Json = False
) -> int:
    """List the sensors of a fleet as its processors hear them: plan, link, books, clock.

    For example:

      kubectl packhound sensors --json

    """
    from packhound.console.live import answers
    from packhound.run import looking, show

    found, faults = answers(who.where, *looking.question(node))
    rows = looking.sensors(found)
    if json:
        show.line(show.as_json(rows))
    else:
        show.table(looking.sensor_cells(rows, now=time.time_ns()), looking.SENSOR_HEAD)
    for row in rows:
        for text in row["conditions"]:
            show.complain(f"{row['node']}: {text}")
    for fault in faults.values():
        show.complain(fault.reason)
    return OK


@app.command
def tail(
    name: str = "",
    /,
    *,
    what: Annotated[str, Parameter(help="packets, flows, calls; several with commas.")] = "packets",
    count: Count = 0,
    duration: Seconds = 0.0,
    pods: Pods = True,
    everywhere: Everywhere = False,
    cluster: OfCluster = False,
    who: Who = NOBODY,
    json: Json = False,
) -> int:
    """Show what filters take, as it comes: a line each.

    For example:

      kubectl packhound tail alice -n voice
      kubectl packhound tail -A --what calls,flows --json

    """
    from packhound.console import live

    return live.follow(
        who.where, _wanted(who, name, everywhere=everywhere, cluster=cluster, what=what), live.lines(json=json),
        out=live.to_stdout(), bounds=_bounds(count, duration), done=lambda _: None,
        pods=_scopes(who) if pods and "packets" in what else None,
    )  # fmt: skip


@app.command(name="pcap")
def capture(
    name: str = "",
    /,
    *,
    out: Annotated[str, Parameter(name=["--out", "-o"], help="File; - is standard output.")] = "",
    wireshark: Annotated[bool, Parameter(name=["--wireshark", "-w"], negative="", help="Into Wireshark.")] = False,
    count: Count = 0,
    duration: Seconds = 0.0,
    pods: Pods = True,
    everywhere: Everywhere = False,
    cluster: OfCluster = False,
    who: Who = NOBODY,
    json: Json = False,
) -> int:
    """Capture what a filter takes from now on as pcapng, with the filter, call and pods in each packet's comment.

    For example:

      kubectl packhound pcap alice -n voice -w
      kubectl packhound pcap alice -o alice.pcapng --duration 60
      kubectl packhound pcap alice -o - | tshark -r -

    """
    from packhound.console import live

    if bool(out) is wireshark:
        raise Usage("say where to: either -o FILE (- is standard output) or -w for Wireshark")
    wanted = _wanted(who, name, everywhere=everywhere, cluster=cluster, what="packets")
    target = live.to_wireshark() if wireshark else live.to_file(out)
    comment = "filter=" + (",".join(wanted.filters) or f"{wanted.namespace or '*'}/*")
    return live.follow(
        who.where, wanted, live.capture(comment), out=target, bounds=_bounds(count, duration),
        pods=_scopes(who) if pods else None, done=live.told("Wireshark" if wireshark else out, json=json),
    )  # fmt: skip


@app.command
def explain(name: str = "", /, *, cluster: OfCluster = False, who: Who = NOBODY, json: Json = False) -> int:
    """Explain a field, fields that begin alike (sip, tls.cert), or a filter of the cluster: what it takes, and what of
    it is decided where.

    For example:

      kubectl packhound explain sip
      kubectl packhound explain tls.sni
      kubectl packhound explain alice -n voice

    """
    from packhound.run import hunting, show, stored

    rows = [] if cluster or "/" in name else hunting.fields_like(name)
    if not rows:
        try:
            found = hunting.explained(_filter(who, name, cluster=cluster))
        except Missing as missing:
            notes = (hunting.near(name), *missing.notes)
            raise BadInput(f"neither a field nor a filter: {name}", notes=notes) from None
        if json:
            show.line(show.as_json(found))
        else:
            stored.show_one(found)
    elif json:
        show.line(show.as_json(rows[0] if len(rows) == 1 and rows[0]["field"] == name else rows))
    elif len(rows) == 1:
        stored.show_one({"name": rows[0].pop("field"), **rows[0]})
    else:
        show.table([[each["field"], each["type"], each["operators"] if each["matchable"] else "-", each["about"]]
                    for each in rows], ("FIELD", "TYPE", "OPERATORS", "ABOUT"))  # fmt: skip
    return OK


@app.command
def check(files: list[Path], /, *, json: Json = False) -> int:
    """Check files as the cluster would at admission, without a cluster.

    For example:

      kubectl packhound check filters/*.yaml

    """
    from packhound.run import hunting, show

    rows = hunting.checked(files)
    if json:
        show.line(show.as_json(rows))
    for row in rows:
        for each in row["faults"]:
            show.complain(f"{row['file']}:{each['line']}: {row['object']}: {each['fault']}")
        for note in row["notes"]:
            show.complain(f"{row['file']}:{row['line']}: {row['object']}: note: {note}")
        if row["ok"] and not json:
            show.line(f"{row['file']}:{row['line']}: {row['object']}: ok")
    if not rows:
        raise BadInput(f"nothing to check in {', '.join(map(str, files))}")
    return OK if all(row["ok"] for row in rows) else BAD_INPUT


# what they share -----------------------------------------------------------------------------------------------------


def _name(fields: list[str], pcap: str) -> str:
    about = re.sub(r"[^a-z0-9]+", "-", (fields[0] if fields else pcap).lower()).strip("-")[:40].strip("-")
    return f"hunt-{about or 'packets'}-{secrets.token_hex(3)}"


def _filter(who: Who, name: str, *, cluster: bool) -> dict[str, Any]:
    """A filter of the cluster by `NAME`, `NAMESPACE/NAME`, or the name of a ClusterHuntFilter. Raises Missing."""
    space, slash, own = name.rpartition("/")
    if cluster and slash:
        raise Usage("a ClusterHuntFilter has no namespace: give its name alone")
    kubectl = who.kubectl
    if not cluster:
        space = space or who.space
        try:
            return _object(kubectl, KIND, own, f"--namespace={space}", doing=f"get HuntFilter {space}/{own}")
        except Missing:
            if slash:
                raise
    try:
        return _object(kubectl, CLUSTER_KIND, own, doing=f"get ClusterHuntFilter {own}")
    except (Missing, NotPermitted):
        if cluster:
            raise
        raise Missing(f"there is no HuntFilter {space}/{own}, nor a ClusterHuntFilter {own} that you may see",
                      notes=("kubectl packhound status -A lists them; -n NAMESPACE says where",)) from None  # fmt: skip


def _object(kubectl: Kubectl, *words: str, doing: str) -> dict[str, Any]:
    found = kubectl.json("get", *words, doing=doing)
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise BadInput(f"kubectl printed no object: {doing}")
    return found


def _wanted(who: Who, name: str, *, everywhere: bool, cluster: bool, what: str) -> Any:
    from packhound.run import hunting
    from packhound.run.merged import KINDS, Wanted

    kinds = [each for each in KINDS if each in what.split(",")]
    if not kinds or len(kinds) != len(what.split(",")):
        raise Usage(f"--what {what!r}: give some of {', '.join(KINDS)}")
    if name:
        return Wanted((hunting.full_name(_filter(who, name, cluster=cluster)),), "", kinds)
    return Wanted((), "" if everywhere else who.space, kinds)


def _scopes(who: Who) -> tuple[str, ...]:
    return ("--all-namespaces", f"--namespace={who.space}")


def _bounds(count: int, seconds: float) -> Any:
    from packhound.console.live import Bounds

    if count < 0 or seconds < 0:
        raise Usage("--count and --duration are not below 0")
    return Bounds(count, seconds)


def _waited(kubectl: Kubectl, given: dict[str, Any], wait: float) -> dict[str, Any]:
    """The filter once sensors have it, or as it is when the wait is over."""
    from packhound.run import hunting

    until = time.monotonic() + wait
    while True:
        row = hunting.status_row(given, now=time.time_ns())
        if row["state"] not in ("not taken up", "changing", "distributing", "waiting", "nosensor"):
            return given
        if time.monotonic() >= until:
            return given
        time.sleep(min(0.5, wait))
        given = kubectl.json("get", _kind(given), *shown.words(given).split(" "), doing=f"get {row['name']}")


def _kind(raw: dict[str, Any]) -> str:
    return CLUSTER_KIND if raw.get("kind") == "ClusterHuntFilter" else KIND


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(command(sys.argv[1:] if arguments is None else arguments))


def command(arguments: list[str]) -> int:
    """Run one command line; the exit code. Errors are lines on standard error that say what to do."""
    from packhound.run.show import complain

    try:
        result = app(_named(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        complain(f"{error}; see kubectl packhound --help")
        return USAGE
    except Stop as stop:
        complain(stop.reason)
        for note in stop.notes:
            complain(note)
        return stop.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else OK if result is None else FAULT


def _named(arguments: list[str]) -> list[str]:
    """A lone hyphen by its path, for the parser takes it for an option."""
    before = ["", *arguments]
    return [("/dev/stdout" if old in ("-o", "--out") else "/dev/stdin") if new == "-" else new
            for old, new in zip(before, arguments, strict=False)]  # fmt: skip


if __name__ == "__main__":
    main()
