"""pcap-filter expressions (pcap-filter(7)) -> classic BPF programs: the only door to pcapy.

Promise: nothing is executed or looked up for an expression; a bad one is a value with the reason. libpcap would ask DNS
for every word it does not know, on every sensor and with the name that is hunted for; so an expression may hold
keywords, numbers, addresses, and names of ports and protocols, and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packhound.rules.insns import ABS, ACCEPT, BACKWARD, EN10MB, JA, JMP, LD, NO_NETMASK, Program, validate

MAX_TEXT = 8192
MAX_BRACKETS = 64
MAX_COST = 512  # of all ports and addresses: libpcap's optimiser is cubic, 600 ports took it half a minute
_COSTS = {"port": 3, "portrange": 6}  # TCP, UDP and SCTP over IPv4 and IPv6; 1 where one of them is named
_TOKEN = re.compile(r"\\?[0-9A-Za-z_][0-9A-Za-z_.:-]*|::[0-9A-Fa-f:.]*|[\[\]()]|\S")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]+|[0-9][0-9.]*|[0-9]+-[0-9]+")
_DLT = {14: 12, 100: 11, 101: 12, 102: 15, 103: 16}  # link types whose number in files is not libpcap's own
_HEX = "[0-9A-Fa-f]"
_MAC = rf"{_HEX}{{1,2}}(?:-{_HEX}{{1,2}}){{5}}|(?:{_HEX}{{4}}\.){{2}}{_HEX}{{4}}"  # with colons it looks like IPv6
_ADDRESS = re.compile(rf"{_HEX}*:[0-9A-Fa-f:.]*|{_MAC}")
_NAMED = frozenset({"port", "portrange", "proto", "protochain"})  # names of /etc/services and protocols may follow
_KINDS = _NAMED | {"host", "net", "gateway"}
_JOINTS = frozenset({"and", "or", "not"})  # what stands behind `port` holds on across these
_KEYWORDS = _KINDS | {
    "src", "dst", "link", "ether", "ppp", "slip", "fddi", "tr", "wlan", "arp", "rarp", "ip", "sctp", "tcp", "udp",
    "icmp", "igmp", "igrp", "pim", "vrrp", "carp", "ip6", "ipv6", "icmp6", "ah", "esp", "atalk", "aarp", "decnet",
    "lat", "moprc", "mopdl", "iso", "esis", "es-is", "isis", "is-is", "clnp", "l1", "l2", "iih", "lsp", "snp", "csnp",
    "psnp", "stp", "ipx", "netbeui", "mask", "type", "subtype", "dir", "direction", "addr1", "addr2", "addr3",
    "addr4", "address1", "address2", "address3", "address4", "ra", "ta", "less", "greater", "byte", "broadcast",
    "multicast", "and", "or", "not", "len", "length", "vlan", "mpls", "pppoed", "pppoes", "geneve", "llc", "lane",
    "metac", "bcc", "sc", "ilmic", "oam", "oamf4", "oamf4ec", "oamf4sc", "oamf4e", "oamf4s", "connectmsg",
    "metaconnect", "vpi", "vci", "loopback", "i", "s", "u", "rr", "rnr", "rej", "ui", "ua", "disc", "test", "sabme",
    "xid", "frmr", "icmptype", "icmpcode", "icmp6type", "icmp6code", "tcpflags", "mgt", "ctl", "data", "assoc-req",
    "assoc-resp", "reassoc-req", "reassoc-resp", "probe-req", "probe-resp", "beacon", "atim", "disassoc", "auth",
    "deauth", "ps-poll", "rts", "cts", "ack", "cf-end", "cf-end-ack",
}  # fmt: skip
_CONSTANT = re.compile(r"(?:icmp|icmp6|tcp)-[a-z0-9]+")  # byte offsets and values: icmp-echo, tcp-syn, ...
_LIVE = frozenset({"inbound", "outbound", "ifname", "on", "ifindex", "rnum", "rulenum", "reason", "rset", "ruleset",
                   "srnr", "subrulenum", "action", "radio"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class BadExpression:
    """Why an expression cannot be used; `reason` may quote the user's text."""

    reason: str


def check_pcap(text: str) -> str | None:
    """What is wrong with a pcap expression, for any link type it may meet; None when it compiles for Ethernet."""
    found = compile_expression(text, linktype=EN10MB)
    return found.reason if isinstance(found, BadExpression) else None


def compile_expression(text: str, *, linktype: int = EN10MB, snaplen: int = ACCEPT) -> Program | BadExpression:
    """Compile a pcap-filter expression for packets of `linktype` (a LINKTYPE number, as in files)."""
    import pcapy

    fault = refusal(text)
    if fault:
        return BadExpression(fault)
    try:
        found = pcapy.compile(_DLT.get(linktype, linktype), snaplen, text, 1, NO_NETMASK).get_bpf()
    except Exception as error:  # pcapy raises its own and plain exceptions alike
        return BadExpression(str(error) or "libpcap cannot compile it")
    program: Program = tuple((int(code), int(jt), int(jf), int(k)) for code, jt, jf, k in found)
    if any(code == JMP | JA and k >= BACKWARD for code, _, _, k in program):
        return BadExpression("it needs a loop, which a kernel filter cannot have")
    if any(code & 7 == LD and code & 0xE0 == ABS and k >= BACKWARD for code, _, _, k in program):
        return BadExpression("it asks for what only a capturing kernel knows")
    fault = validate(program)
    return BadExpression(fault) if fault else program


def refusal(text: str) -> str | None:
    """Why libpcap is not to be asked about an expression; None when it may be."""
    if not text.strip():
        return "the expression is empty"
    if len(text) > MAX_TEXT or "\0" in text or not text.isascii():
        return f"the expression is longer than {MAX_TEXT} characters or holds one that is not ASCII"
    kind, before, cost, each = "", "", 0, 1
    words = _TOKEN.findall(text)
    if max(map(words.count, ("(", "[", "!", "not"))) > MAX_BRACKETS:
        return f"the expression has more than {MAX_BRACKETS} brackets or negations"
    for word in words:
        name = word.removeprefix("\\")
        if name in _KINDS:
            kind = name
            each = 1 if before in ("tcp", "udp", "sctp") else _COSTS.get(name, 2)
        elif name in _KEYWORDS and name not in _JOINTS and word == name:
            kind = ""
        elif name in _LIVE:
            return f"{name!r} asks the capturing kernel and means nothing for packets of a file: use target.interfaces"
        elif not _known(name, kind):
            return f"{name!r} is no keyword, number or address, and names are not looked up: write the address"
        elif name and name not in _KEYWORDS and name[0] not in "[]()":
            cost += each if kind else 1
        before = word
    if cost > MAX_COST:
        return "the expression has too many ports and addresses: use fields with `in`, or `udp port` and the like"
    return None


def _known(word: str, kind: str) -> bool:
    if not word or (not word[0].isalnum() and word[0] not in "_:"):  # empty: a lone backslash
        return True
    if word in _KEYWORDS or _NUMBER.fullmatch(word) or _ADDRESS.fullmatch(word) or _CONSTANT.fullmatch(word):
        return True
    return kind in _NAMED and word[0].isalpha()
