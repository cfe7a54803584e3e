"""SMB: commands, dialects, shares, files and users of every version, and what breaks."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.session import TCP, open_session
from packhound.net.smb import Smb, packet_start
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts, held, stream
from tests.support.mutations import chunks, damaged, is_linear


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def smb1(
    command: int,
    words: bytes = b"",
    data: bytes = b"",
    *,
    response: bool = False,
    unicode: bool = True,
    status: int = 0,
) -> bytes:
    head = struct.pack("<4sBIBH", b"\xffSMB", command, status, 0x80 * response, 0x8000 * unicode)
    return head.ljust(32, b"\0") + bytes((len(words) // 2,)) + words + struct.pack("<H", len(data)) + data


def smb2(command: int, body: bytes = b"", *, response: bool = False, status: int = 0, following: int = 0) -> bytes:
    head = struct.pack("<4sHHIHHII", b"\xfeSMB", 64, 0, status, command, 0, int(response), following)
    return head.ljust(64, b"\0") + body


def ntlm(domain: str, user: str, host: str) -> bytes:
    names, parts, at = b"", b"", 64
    for each in (domain, user, host):
        parts += struct.pack("<HHI", len(utf16(each)), len(utf16(each)), at + len(names))
        names += utf16(each)
    return b"NTLMSSP\0\3\0\0\0" + bytes(16) + parts + bytes(8) + struct.pack("<I", 1) + names


OFFER_1 = smb1(0x72, data=b"\2LANMAN1.0\0\2NT LM 0.12\0")
CHOICE_1 = smb1(0x72, b"\1\0" + bytes(32), response=True)
TREE_1 = smb1(
    0x75, b"\xff\0\0\0\0\0\1\0", b"\0" + utf16("\\\\srv\\C$\0") + b"?????\0"
)  # the path starts on an even offset
OPEN_1 = smb1(0xA2, b"\xff\0\0\0\0" + struct.pack("<H", 12) + bytes(41), b"\0" + utf16("\\a.exe"))
OFFER_2 = smb2(0, struct.pack("<HHHHI", 36, 3, 1, 0, 0) + bytes(24) + struct.pack("<HHH", 0x0202, 0x0210, 0x0311))
CHOICE_2 = smb2(0, struct.pack("<HHH", 65, 1, 0x0302) + bytes(60), response=True)
LOGON_2 = smb2(1, bytes(24) + b"spnego" + ntlm("LAN", "alice", "PC"))
TREE_2 = smb2(3, struct.pack("<HHHH", 9, 0, 72, 20) + utf16("\\\\srv\\ IPC$"[:10]))
OPEN_2 = smb2(5, bytes(44) + struct.pack("<HH", 120, 10) + bytes(8) + utf16("a.exe"))
DENIED = smb2(3, bytes(8), response=True, status=0xC0000022)
SAMPLES = [OFFER_1, CHOICE_1, TREE_1, OPEN_1, OFFER_2, CHOICE_2, LOGON_2, TREE_2, OPEN_2, DENIED]


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def fields(*messages: bytes) -> dict[str, object]:
    reader = Smb()
    for message in messages:
        (fact,) = held(reader.read(message))
    assert isinstance(fact, Fact)
    return {name.removeprefix("smb."): value for name, value in fact.fields.items()}


@needs_corpus
def test_a_tool_is_copied_to_a_share_and_started() -> None:
    found = facts("suricata-verify/smb2-07__20171220_smb_psexec_add_user.pcap", "smb")
    assert {each["smb.share"] for each in found if "smb.share" in each} == {"\\\\dc1\\IPC$", "\\\\dc1\\ADMIN$"}
    assert {"PSEXESVC.exe", "svcctl"} <= {each.get("smb.file") for each in found}
    assert [each["smb.dialect"] for each in found[1:4]] == [("2.???",), ("2.0.2", "2.1"), ("2.1",)]


@needs_corpus
def test_log_ons_of_version_1() -> None:
    found = facts("arkime/ntlm_synthetic.pcap", "smb")
    who = {(each.get("smb.domain"), each.get("smb.user"), each.get("smb.host")) for each in found}
    assert {("ARKDOM1", "alice1", "ARKHOST1"), ("V6DOM", "charlie", "V6HOST")} <= who


def test_dialects_offered_and_chosen() -> None:
    assert fields(OFFER_1)["dialect"] == ("LANMAN1.0", "NT LM 0.12")
    assert fields(OFFER_1, CHOICE_1)["dialect"] == ("NT LM 0.12",)
    assert "dialect" not in fields(CHOICE_1)
    assert fields(OFFER_2)["dialect"] == ("2.0.2", "2.1", "3.1.1")
    assert fields(CHOICE_2)["dialect"] == ("3.0.2",)


def test_shares_and_files() -> None:
    assert fields(TREE_1)["share"] == "\\\\srv\\C$"
    assert fields(OPEN_1)["file"] == "\\a.exe"
    assert fields(TREE_2)["share"] == "\\\\srv\\ IPC"
    assert fields(OPEN_2)["file"] == "a.exe"
    plain = smb1(0x75, b"\xff\0\0\0\0\0\1\0", b"\0\\\\SRV\\IPC$\0?????\0", unicode=False)
    assert fields(plain)["share"] == "\\\\SRV\\IPC$"


def test_who_logs_on() -> None:
    assert fields(LOGON_2) == {
        "version": 2, "command": "SESSION_SETUP", "response": False, "domain": "LAN", "user": "alice", "host": "PC",
    }  # fmt: skip


def test_accounts_of_log_ons_without_ntlm_messages() -> None:
    def logon(secrets: bytes, names: bytes, *, unicode: bool) -> bytes:
        words = bytes(14) + struct.pack("<HH", len(secrets), 0) + bytes(8)
        return smb1(0x73, words, secrets + names, unicode=unicode)

    found = fields(logon(b"secret", b"bob\0WORKGROUP\0Unix\0Samba\0", unicode=False))
    assert (found["user"], found["domain"]) == ("bob", "WORKGROUP")
    for secrets in (b"1234", b"12345"):  # text of two octets a character starts on an even offset
        pad = b"" if (61 + len(secrets)) % 2 == 0 else b"\0"
        found = fields(logon(secrets, pad + "bob\0WORK\0".encode("utf-16-le"), unicode=True))
        assert (found["user"], found["domain"]) == ("bob", "WORK")
    assert "user" not in fields(logon(b"", b"\0\0", unicode=False))


def test_status_and_commands_without_a_name() -> None:
    assert fields(DENIED) == {"version": 2, "command": "TREE_CONNECT", "response": True, "status": 0xC0000022}
    assert fields(smb1(0xE7))["command"] == "0xe7"
    assert fields(smb2(0x77))["command"] == "0x0077"


def test_commands_that_follow_in_one_packet() -> None:
    second = smb2(6, bytes(24))
    found = Smb().read(smb2(5, bytes(56), following=120) + second)
    assert [each.fields["smb.command"] for each in found if isinstance(each, Fact)] == ["CREATE", "CLOSE"]


def test_what_is_encrypted_says_nothing_and_what_is_strange_is_malformed() -> None:
    assert Smb().read(b"\xfdSMB" + bytes(60)) == []
    assert Smb().read(b"\0SMB") == [Malformed("no SMB message")]
    assert Smb().read(OFFER_2[:63]) == [Malformed("SMB header is cut short", 63)]
    assert "share" not in fields(smb2(3, struct.pack("<HHHH", 9, 0, 8, 20)))  # a path inside the header


@given(st.lists(st.integers(1, 70), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    session, reader = open_session(App.SMB, proto=TCP), Smb()
    assert session
    sent = b"\x85\0\0\0".join(map(framed, SAMPLES))
    assert stream(session, [framed(OFFER_2), *chunks(sent, sizes)]) == [
        fact for each in (OFFER_2, *SAMPLES) for fact in reader.read(each)
    ]


def test_a_large_write_is_passed_over_and_losses_inside_it_do_not_matter() -> None:
    session = open_session(App.SMB, proto=TCP, max_bytes=256)
    assert session
    first = stream(session, [(100_000).to_bytes(4, "big") + smb2(9, bytes(936))])
    session.gap(0, 99_000)
    assert [each.fields["smb.command"] for each in (*first, *stream(session, [framed(OPEN_2)])) if isinstance(each, Fact)] == [
        "WRITE", "CREATE",
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"\0\0\0\x20HTTP", b"\x01", b"\x85\0\0\0\xfeSMB"])
def test_what_starts_no_packet(data: bytes) -> None:
    assert packet_start(data) == -1


def test_cut_anywhere_it_never_raises() -> None:
    for sample in SAMPLES:
        assert cut_everywhere(lambda data: Smb().read(data), sample) >= 32


@given(damaged([*SAMPLES, b"".join(map(framed, SAMPLES))]))
def test_no_bytes_raise(data: bytes) -> None:
    held(Smb().read(data))
    session = open_session(App.SMB, proto=TCP, max_bytes=128)
    assert session
    stream(session, [framed(data), data])


def test_hostile_messages_stay_linear() -> None:
    assert is_linear(Smb().read, lambda n: smb2(0, bytes(64), following=128) * n, size=200)
    assert is_linear(Smb().read, lambda n: smb1(0x72, data=b"\2a\0" * n), size=4000)
