"""Infrastructure protocols against what Zeek logs of the same captures, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.oracle.score import rows_of
from tests.support.corpus import expected, needs_corpus

pytestmark = [needs_corpus, pytest.mark.timeout(120)]
Row = dict[str, Any]


@cache
def rows(capture: str) -> tuple[Row, ...]:
    return tuple(rows_of(capture))


def logs(name: str) -> Iterator[tuple[str, Row]]:
    """Rows of one of Zeek's logs, with their capture."""
    for entry in expected("zeek_logs"):
        if entry["check"] == f"zeek_{name}":
            for row in entry["expected"]:
                yield entry["capture"], row


def kept(capture: str, kind: str) -> list[Row]:
    return [row for row in rows(capture) if row["kind"] == kind]


def test_ntp_messages_of_zeek() -> None:
    wanted: dict[str, Counter[Any]] = {}
    for capture, row in logs("ntp"):
        key = row["version"], row["mode"], row.get("stratum"), row.get("ref_id", "").replace("\\x00", "")
        wanted.setdefault(capture, Counter())[key] += 1
    modes = {"symmetric-active": 1, "symmetric-passive": 2, "client": 3, "server": 4, "broadcast": 5, "control": 6}
    missing: Counter[Any] = Counter()
    for capture, theirs in wanted.items():
        ours = Counter(
            (row["ntp.version"], modes[row["ntp.mode"]], row.get("ntp.stratum"), row.get("ntp.ref_id", ""))
            for row in kept(capture, "ntp")
        )
        missing += Counter({(capture, *key): count for key, count in (theirs - ours).items()})
    assert missing == Counter()
    assert sum(each.total() for each in wanted.values()) == 72


def test_leases_of_zeek() -> None:
    for capture, row in logs("dhcp"):
        found = [each for each in kept(capture, "dhcp") if each["dhcp.client_mac"] == row["mac"]]
        assert {each["dhcp.type"] for each in found} >= set(row["msg_types"])
        for theirs, ours in (
            ("host_name", "dhcp.hostname"), ("requested_addr", "dhcp.requested_ip"), ("assigned_addr", "dhcp.your_ip"),
            ("lease_time", "dhcp.lease_time"),
        ):  # fmt: skip
            if theirs in row:
                assert row[theirs] in {each.get(ours) for each in found}, (capture, theirs)


def test_operations_of_zeek() -> None:
    names = {"bind": "bindRequest", "unbind": "unbindRequest", "extended": "extendedReq", "modify": "modifyRequest"}
    compared = 0
    for capture, row in logs("ldap"):
        operation, _, auth = row["opcode"].partition(" ")
        found = [
            each for each in kept(capture, "ldap")
            if each["ldap.operation"] == names[operation] and each["ldap.message_id"] == row["message_id"]
            and each["port.src"] == row["id.orig_p"]
        ]  # fmt: skip
        assert len(found) == 1, (capture, row)
        if auth == "SASL":
            assert found[0]["ldap.mechanism"] == row["argument"]
        elif "object" in row and operation == "extended":
            assert row["object"].startswith(found[0]["ldap.oid"])
        elif "object" in row:
            assert found[0]["ldap.dn"] == row["object"]
        compared += 1
    assert compared == 15


def test_searches_of_zeek() -> None:
    scopes = {"base": "base", "tree": "sub", "single": "one"}
    compared = 0
    for capture, row in logs("ldap_search"):
        found = [
            each for each in kept(capture, "ldap")
            if each["ldap.operation"] == "searchRequest" and each["ldap.message_id"] == row["message_id"]
            and each["port.src"] == row["id.orig_p"]
        ]  # fmt: skip
        assert len(found) == 1, (capture, row)
        assert found[0]["ldap.scope"] == scopes[row["scope"]]
        assert found[0].get("ldap.dn", "") == row.get("base_object", "")
        if "[" not in row["filter"]:  # Zeek writes substrings in a way of its own
            assert found[0]["ldap.filter"] == row["filter"]
        compared += 1
    assert compared == 20


def test_banners_of_zeek() -> None:
    for capture, row in logs("ssh"):
        found = {f"SSH-{each['ssh.version']}-{each['ssh.software']}" for each in kept(capture, "ssh")}
        assert {row["client"], row["server"]} <= found


def test_shares_of_zeek() -> None:
    for capture, row in logs("smb_mapping"):
        assert row["path"].replace("\\\\", "\\") in {each.get("smb.share") for each in kept(capture, "smb")}
