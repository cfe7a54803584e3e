"""SSH: banners, key exchange offers and their fingerprints."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import hassh, ssh
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.streams import SshStream
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts, stream
from tests.support.mutations import chunks, damaged, is_linear


def packet(payload: bytes, *, padding: int = 4) -> bytes:
    return (1 + len(payload) + padding).to_bytes(4, "big") + bytes((padding,)) + payload + bytes(padding)


def offer(*lists: bytes) -> bytes:
    return packet(b"\x14" + bytes(16) + b"".join(len(each).to_bytes(4, "big") + each for each in lists) + bytes(5))


LISTS = (b"kex1,kex2", b"ssh-rsa", b"aes-c", b"aes-s", b"mac-c", b"mac-s", b"none", b"zlib", b"", b"")
OFFER = offer(*LISTS)
CLIENT = Fact("ssh.kexinit", {
    "ssh.hassh": hashlib.md5(b"kex1,kex2;aes-c;mac-c;none").hexdigest(), "ssh.kex": ("kex1", "kex2"),
    "ssh.host_key": ("ssh-rsa",), "ssh.cipher": ("aes-c",), "ssh.mac": ("mac-c",), "ssh.compression": ("none",),
})  # fmt: skip


@needs_corpus
def test_fingerprints_of_a_capture() -> None:
    found = facts("ndpi/ssh.pcap", "ssh.kexinit")
    assert found[0]["ssh.hassh"] == "21b457a327ce7a2d4fce5ef2c42400bd"
    assert found[1]["ssh.hassh_server"] == "b1c6c0d56317555b85c7005a3de29325"
    assert found[0]["ssh.kex"] == (
        "diffie-hellman-group-exchange-sha256", "diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    )  # fmt: skip


@needs_corpus
def test_an_offer_of_a_thousand_names_is_fingerprinted_whole() -> None:
    client, server = facts("zeek/kex-quadratic-1000.pcap.gz", "ssh.kexinit")
    assert client["ssh.hassh"] == "f5f40d15a3e578de97286b7821a1aae4"
    assert server["ssh.hassh_server"] == "8e277b726fc62e8b3d346585456ea0d0"


def test_the_banner_of_each_side() -> None:
    session = SshStream()
    assert session.feed(0, b"SSH-2.0-OpenSSH_9.6 Debian", now=0) == []
    assert session.feed(0, b"-1\r\n\0\0\5kex", now=0) == [
        Fact("ssh", {"ssh.version": "2.0", "ssh.software": "OpenSSH_9.6 Debian-1"})
    ]
    assert session.feed(1, b"Welcome\r\nSSH-1.5-Cisco-1.25 \0\0\0\n", now=0) == [
        Fact("ssh", {"ssh.version": "1.5", "ssh.software": "Cisco-1.25"})
    ]
    assert session.done


@given(st.lists(st.integers(1, 40), max_size=6))
def test_any_cut_of_a_stream_gives_banner_and_offer(sizes: list[int]) -> None:
    session = SshStream()
    banner, found = stream(session, chunks(b"hello\r\nSSH-2.0-x\r\n" + packet(b"\2ignored") + OFFER + bytes(99), sizes))
    assert (banner, found) == (Fact("ssh", {"ssh.version": "2.0", "ssh.software": "x"}), CLIENT)


def test_the_server_is_told_by_its_own_direction() -> None:
    session = SshStream()
    _, found = stream(session, [b"SSH-2.0-x\r\n" + OFFER], direction=1)
    assert isinstance(found, Fact)
    assert found.fields["ssh.hassh_server"] == hashlib.md5(b"kex1,kex2;aes-s;mac-s;zlib").hexdigest()
    assert "ssh.hassh" not in found.fields


def test_it_is_done_after_both_offers_or_where_keys_are_changed() -> None:
    session = SshStream()
    stream(session, [b"SSH-2.0-x\r\n" + OFFER])
    assert not session.done
    stream(session, [b"SSH-2.0-y\r\n" + packet(b"\x15")], direction=1)
    assert session.done


def test_a_lost_part_ends_its_direction() -> None:
    session = SshStream()
    stream(session, [b"SSH-2.0-x\r\n"])
    session.gap(0, 100)
    assert stream(session, [OFFER]) == []


def test_an_offer_larger_than_the_cap_is_given_up() -> None:
    session = SshStream(max_bytes=500)
    large = offer(b"k" * 5000, *LISTS[1:])
    assert len(stream(session, chunks(b"SSH-2.0-x\r\n" + large, [400]))) == 1


@pytest.mark.parametrize("data", [offer(b"a" * 9)[:-4], packet(b"\x14" + bytes(16) + b"\xff" * 8), packet(b"\2x")])
def test_an_offer_that_breaks_is_malformed(data: bytes) -> None:
    assert isinstance(hassh.parse(data), Malformed)


def test_cut_anywhere_it_never_raises() -> None:
    def read(data: bytes) -> list[Fact | Malformed]:
        found = hassh.parse(data)
        return [found if isinstance(found, Malformed) else hassh.kexinit_fact(found, client=True)]

    assert cut_everywhere(read, OFFER)
    assert cut_everywhere(lambda data: stream(SshStream(), [data]), b"SSH-2.0-x\r\n" + OFFER) == 0
    assert ssh.banner_end(b"no banner") == 0


@given(damaged([b"SSH-2.0-x\r\n" + OFFER, b"SSH-1.99-y\r\n" + packet(b"\2") * 3 + OFFER]))
def test_no_bytes_raise(data: bytes) -> None:
    stream(SshStream(max_bytes=64), chunks(data, [17]))


def test_hostile_streams_stay_linear() -> None:
    def ignored(count: int) -> bytes:
        return b"SSH-2.0-x\r\n" + packet(b"\2") * count

    assert is_linear(lambda data: stream(SshStream(), [data]), ignored, size=5000)
    assert is_linear(
        lambda data: stream(SshStream(), chunks(data, [30])), lambda n: b"SSH-2.0-x\r\n" + offer(b"k," * n), size=5000
    )
