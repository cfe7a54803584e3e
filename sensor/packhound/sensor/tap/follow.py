"""Interfaces of this machine, now and as they change: the rtnetlink socket.

Promise: never blocks but for one dump at the start; a burst of changes that the kernel could not queue leads to a
fresh dump, so that nothing is missed for good. Linux only (elsewhere `list_interfaces` knows names alone).
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from packhound.net import linktypes
from packhound.sensor.tap import links
from packhound.sensor.tap.links import Address, Gone, Link

_RTMGRP_LINK = 1
_PATIENCE = 5.0
_ROOM = 1 << 16


@dataclass(frozen=True, slots=True)
class InterfaceInfo:
    """One interface for a person who chooses: `linktype` is named as in capture files, `why_not` says what forbids it.

    `addresses` are `address/prefix`, `mtu` bytes, `state` is `up` or `down`.
    """

    name: str
    index: int
    state: str
    linktype: str
    mtu: int
    addresses: tuple[str, ...]
    supported: bool
    why_not: str = ""


class Follower:
    """The interfaces that exist (`present`, by index), kept up to date by `changes`."""

    def __init__(self) -> None:
        self.present: dict[int, Link] = {}
        self._socket = _netlink(_RTMGRP_LINK)
        self._missed = False
        _dump(self._socket, links.GET_LINK, self._note)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Descriptor that becomes readable when something changed."""
        return self._socket.fileno()

    def changes(self) -> list[Link | Gone]:
        """What changed since the last call, oldest first; `present` is as new as that."""
        found: list[Link | Gone] = []
        while True:
            try:
                data = self._socket.recv(_ROOM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found += self._look_again()
                continue
            for entry in links.parse(data):
                if isinstance(entry, (Link, Gone)):
                    self._note(entry)
                    found.append(entry)
        return found

    def _note(self, entry: Link | Gone | Address) -> None:
        if isinstance(entry, Link):
            self.present[entry.index] = entry
        elif isinstance(entry, Gone):
            self.present.pop(entry.index, None)

    def _look_again(self) -> list[Link | Gone]:
        """A dump in place of changes that were lost, on a socket of its own: as changes."""
        fresh: dict[int, Link] = {}
        with _netlink(0) as sock:
            _dump(
                sock,
                links.GET_LINK,
                lambda entry: fresh.update({entry.index: entry}) if isinstance(entry, Link) else None,
            )
        gone = [Gone(index, link.name) for index, link in self.present.items() if index not in fresh]
        self.present = fresh
        return [*gone, *fresh.values()]

    def close(self) -> None:
        """Stop following."""
        self._socket.close()


def list_interfaces() -> list[InterfaceInfo]:
    """Every interface of this machine, by index."""
    if not sys.platform.startswith("linux"):
        return [
            InterfaceInfo(name, index, "unknown", "unknown", 0, (), supported=True)
            for index, name in socket.if_nameindex()
        ]
    found: dict[int, Link] = {}
    addresses: dict[int, list[str]] = {}

    def note(entry: Link | Gone | Address) -> None:
        if isinstance(entry, Link):
            found[entry.index] = entry
        elif isinstance(entry, Address):
            addresses.setdefault(entry.index, []).append(entry.text)

    with _netlink(0) as sock:
        _dump(sock, links.GET_LINK, note)
        _dump(sock, links.GET_ADDRESS, note)
    return [_info(link, tuple(addresses.get(index, ()))) for index, link in sorted(found.items())]


def why_not(link: Link) -> str:
    """What forbids a capture on `link`, "" when nothing does."""
    if link.strange:
        return f"{link.strange} devices carry no network packets"
    if not linktypes.supported(link.linktype):
        return f"link type {linktypes.name(link.linktype)} is not supported"
    return ""


def _info(link: Link, addresses: tuple[str, ...]) -> InterfaceInfo:
    reason = why_not(link)
    return InterfaceInfo(
        name=link.name,
        index=link.index,
        state="up" if link.up else "down",
        linktype=link.strange or linktypes.name(link.linktype),
        mtu=link.mtu,
        addresses=addresses,
        supported=not reason,
        why_not=reason,
    )


def _netlink(groups: int) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        sock.settimeout(_PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((0, groups))
    except OSError:
        sock.close()
        raise
    return sock


def _dump(sock: socket.socket, kind: int, note: Callable[[Link | Gone | Address], None]) -> None:
    sock.send(links.dump_request(kind, sequence=kind))
    while True:
        for entry in links.parse(sock.recv(_ROOM)):
            if isinstance(entry, int):
                return
            note(entry)
