"""`packhound run` on captures: each thing a filter can ask for, and the books after it."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.support.hunting import Ran, call, hunt, hunt_filter, leaf, recorded, write_filters
from tests.support.tape import Tape, offer, phone_call, rtp, sip, tls, udp

ONE_CALL = phone_call()
NOISE = [udp(9, 7000, 8, 7001, bytes(40))] * 3


def query(name: str, *, sport: int = 3000, number: int = 7) -> bytes:
    """A DNS query of host 1."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    body = number.to_bytes(2, "big") + bytes.fromhex("01000001000000000000") + labels + bytes.fromhex("0000010001")
    return udp(1, sport, 2, 53, body)


def tape(*frames: bytes) -> Tape:
    return Tape().add(*frames)


def data(ran: Ran) -> list[bytes]:
    return [packet.data for packet in ran.packets()]


# what a scope takes ------------------------------------------------------------------------------------------------


def test_without_a_filter_nothing_is_kept_but_flows_are(tmp_path: Path) -> None:
    ran = hunt(tmp_path, tape(*ONE_CALL, *tls("a.example", sport=4100)).save(tmp_path / "x.pcap")).balanced()
    assert ran.packets() == []
    assert (ran.account["matched"], ran.account["unmatched"]) == (0, ran.account["seen"])
    assert Counter(row["app.protocol"] for row in ran.rows("flows"))["tls"] == 1
    assert len(ran.rows("flows")) == 4


def test_scope_packet_takes_the_messages_that_match_and_no_others(tmp_path: Path) -> None:
    frames = [query("a.example"), query("b.example", number=8), query("a.example", number=9)]
    chosen = hunt_filter("a", leaf("dns.qname", "equals", "a.example"), scope="packet")
    ran = hunt(tmp_path, tape(*frames).save(tmp_path / "x.pcap"), [chosen]).balanced()
    assert data(ran) == [frames[0], frames[2]]


def test_scope_flow_takes_what_follows_too(tmp_path: Path) -> None:
    frames = [query("a.example", number=9), udp(2, 53, 1, 3000, query("a.example")[42:]), query("c.example", number=10)]
    ran = hunt(
        tmp_path,
        tape(*frames, *NOISE).save(tmp_path / "x.pcap"),
        [hunt_filter("a", leaf("dns.qname", "equals", "a.example"))],
    )
    assert data(ran.balanced()) == frames


def test_scope_flow_takes_the_flow_from_its_first_packet_when_a_later_message_decides(tmp_path: Path) -> None:
    frames = [query("b.example"), query("a.example", number=9)]
    ran = hunt(
        tmp_path, tape(*frames).save(tmp_path / "x.pcap"), [hunt_filter("a", leaf("dns.qname", "equals", "a.example"))]
    )
    assert data(ran.balanced()) == frames


@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_a_hello_decides_its_flow_from_the_syn_on(tmp_path: Path, pieces: int) -> None:
    wanted, other = tls("want.example", sport=4100, pieces=pieces), tls("other.example", sport=4200, pieces=pieces)
    mixed = [frame for pair in zip(wanted, other, strict=True) for frame in pair]
    ran = hunt(
        tmp_path,
        tape(*mixed).save(tmp_path / "x.pcap"),
        [hunt_filter("sni", leaf("tls.sni", "equals", "want.example"))],
    )
    assert data(ran.balanced()) == wanted
    assert [row["filter"] for row in ran.rows("flows") if row["port.src"] == 4100] == [["t/sni"]]
    assert [row["filter"] for row in ran.rows("flows") if row["port.src"] == 4200] == [[]]


def test_a_call_that_a_later_message_decides_is_taken_from_its_invite_on(tmp_path: Path) -> None:
    mine = phone_call(call="c1@x", ok=("Server: LatePhone/1.0",))
    other = phone_call(call="c2@x", sip_port=5070, media=(4200, 5200))
    mixed = [frame for pair in zip(mine, other, strict=True) for frame in pair]
    ran = hunt(
        tmp_path, tape(*mixed, *NOISE).save(tmp_path / "x.pcap"),
        [hunt_filter("late", leaf("sip.user_agent", "prefix", "LatePhone"), scope="call", actions={"record": {"perCall": True}})],
    ).balanced()  # fmt: skip
    assert sorted(data(ran)) == sorted(mine)
    assert {row["sip.call_id"]: row["filter"] for row in ran.rows("calls")} == {"c1@x": ["t/late"]}
    [file] = ran.call_files()
    assert sorted(packet.data for packet in recorded(file)) == sorted(mine)
    ways = Counter((p.data[26:30], p.data[34:36]) for p in ran.packets() if p.data[42] == 0x80)
    assert len(ways) == 4, "RTP and RTCP, both ways"


def test_a_call_is_taken_whole_when_only_the_invite_matches(tmp_path: Path) -> None:
    ran = hunt(
        tmp_path,
        tape(*ONE_CALL, *NOISE).save(tmp_path / "x.pcap"),
        [hunt_filter("bob", leaf("sip.user", "equals", "bob"))],
    )
    assert data(ran.balanced()) == ONE_CALL


def test_two_calls_on_one_signalling_flow_are_told_apart(tmp_path: Path) -> None:
    mine = phone_call(call="c1@x", user="alice")
    other = phone_call(call="c2@x", user="carol", peer="dave", media=(4200, 5200))
    mixed = [frame for pair in zip(mine, other, strict=True) for frame in pair]
    ran = hunt(
        tmp_path, tape(*mixed).save(tmp_path / "x.pcap"), [hunt_filter("alice", leaf("sip.user", "equals", "alice"))]
    )
    assert sorted(data(ran.balanced())) == sorted(mine)


@pytest.mark.parametrize("method", ["REGISTER", "OPTIONS", "MESSAGE"])
def test_a_request_without_sdp_is_first_class(tmp_path: Path, method: str) -> None:
    def pair(user: str, ident: str) -> list[bytes]:
        asked = sip(f"{method} sip:example.org SIP/2.0", call=ident, cseq=f"1 {method}", user=user)
        return [
            udp(1, 5060, 2, 5060, asked),
            udp(2, 5060, 1, 5060, sip("SIP/2.0 200 OK", call=ident, cseq=f"1 {method}", user=user)),
        ]

    frames = [*pair("zoe", "r1"), *pair("alice", "r2"), *pair("zoe", "r3")]
    ran = hunt(
        tmp_path, tape(*frames).save(tmp_path / "x.pcap"), [hunt_filter("a", leaf("sip.user", "equals", "alice"))]
    )
    assert data(ran.balanced()) == frames[2:4]


def test_pcap_filter_alone_is_a_filter(tmp_path: Path) -> None:
    frames = [*ONE_CALL, *tls("a.example", sport=4100), query("a.example")]
    ran = hunt(
        tmp_path, tape(*frames).save(tmp_path / "x.pcap"), [hunt_filter("dns", pcapFilter="udp port 53")]
    ).balanced()
    assert data(ran) == frames[-1:]


def test_pcap_filter_and_match_are_anded(tmp_path: Path) -> None:
    frames = tls("a.example", sport=4100)
    chosen = hunt_filter("a", leaf("tls.sni", "equals", "a.example"), pcapFilter="src host 10.0.0.1")
    ran = hunt(tmp_path, tape(*frames).save(tmp_path / "x.pcap"), [chosen]).balanced()
    assert data(ran) == [frame for frame in frames if frame[26:30] == bytes((10, 0, 0, 1))]


# who wanted a packet -----------------------------------------------------------------------------------------------


def test_each_packet_is_kept_once_and_names_every_filter_that_wanted_it(tmp_path: Path) -> None:
    frames = [*ONE_CALL, query("a.example")]
    filters = [
        hunt_filter("alice", leaf("sip.user", "equals", "alice")),
        hunt_filter("twin", leaf("sip.user", "equals", "alice")),
        hunt_filter("all", pcapFilter="udp"),
        hunt_filter("invite", leaf("sip.method", "equals", "INVITE"), scope="packet"),
    ]
    ran = hunt(tmp_path, tape(*frames).save(tmp_path / "x.pcap"), filters).balanced()
    assert data(ran) == frames
    wanted = [packet.filters for packet in ran.packets()]
    assert wanted[0] == ["t/alice", "t/all", "t/invite", "t/twin"]
    assert wanted[7] == ["t/alice", "t/all", "t/twin"]
    assert wanted[-1] == ["t/all"]
    assert ran.matched("t/alice") == ran.matched("t/twin") == len(ONE_CALL)
    assert ran.matched("t/all") == len(frames)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_tshark_reads_the_comments(tmp_path: Path) -> None:
    ran = hunt(
        tmp_path, tape(*ONE_CALL[:3]).save(tmp_path / "x.pcap"), [hunt_filter("a", leaf("sip.user", "equals", "alice"))]
    )
    done = subprocess.run(
        ["tshark", "-r", ran.segments()[0], "-T", "fields", "-e", "frame.comment", "-e", "frame.time_epoch"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    comments = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert len(comments) == 3
    assert all(c.startswith("filter=t/a protocol=sip flow=1:") and c.endswith("call=c1@x") for c in comments)
    assert done.stdout.splitlines()[0].endswith("1700000000.000000000")


# how much is kept --------------------------------------------------------------------------------------------------


def test_a_sample_takes_whole_flows_and_says_what_it_left_out(tmp_path: Path) -> None:
    flows = [tls("a.example", sport=4000 + n) for n in range(60)]
    capture = tape(*[frame for flow in flows for frame in flow]).save(tmp_path / "x.pcap")
    chosen = hunt_filter("half", leaf("tls.sni", "equals", "a.example"), sample={"rate": 0.5})
    ran = hunt(tmp_path, capture, [chosen]).balanced()
    taken = Counter(
        int.from_bytes(p.data[34:36]) if p.data[29] == 1 else int.from_bytes(p.data[36:38]) for p in ran.packets()
    )
    assert set(taken.values()) == {len(flows[0])}
    assert 15 <= len(taken) <= 45
    assert ran.account["sampled_out"] == ran.account["seen"] - ran.account["matched"] > 0
    assert ran.account["unmatched"] == 0
    assert all("rate=t/half:0.5" in packet.comment for packet in ran.packets())
    assert data(hunt(tmp_path, capture, [chosen], out="again")) == data(ran)


def test_a_budget_sheds_what_is_over_it_and_counts_it(tmp_path: Path) -> None:
    frames = [udp(1, 1000, 2, 2000, n.to_bytes(4) + bytes(60)) for n in range(300)]
    limited = hunt_filter("few", pcapFilter="udp", budget={"packetsPerSecond": 10})
    ran = hunt(tmp_path, Tape(step=10).add(*frames).save(tmp_path / "x.pcap"), [limited]).balanced()
    assert 30 <= len(ran.packets()) <= 45, "3 s at 10 a second, and a burst"
    assert sum(ran.account["shed"].values()) == 300 - len(ran.packets())
    assert set(ran.account["shed"]) == {"budget"}
    both = hunt(
        tmp_path, tmp_path / "x.pcap", [limited, hunt_filter("all", pcapFilter="udp port 2000")], out="both"
    ).balanced()
    assert len(both.packets()) == 300, "a filter over its budget takes nothing from others"
    assert both.matched("t/few") == len(ran.packets())


def test_a_budget_of_bytes_ends_a_filter(tmp_path: Path) -> None:
    frames = [udp(1, 1000, 2, 2000, n.to_bytes(4) + bytes(954)) for n in range(20)]
    ran = hunt(
        tmp_path,
        tape(*frames).save(tmp_path / "x.pcap"),
        [hunt_filter("few", pcapFilter="udp", budget={"totalBytes": "5Ki"})],
    )
    assert data(ran.balanced()) == frames[:5]
    assert ran.account["shed"] == {"budget": 15}


def test_a_suspended_filter_matches_nothing(tmp_path: Path) -> None:
    ran = hunt(
        tmp_path, tape(*ONE_CALL).save(tmp_path / "x.pcap"), [hunt_filter("off", pcapFilter="udp", suspend=True)]
    ).balanced()
    assert (ran.packets(), ran.account["unmatched"]) == ([], len(ONE_CALL))


@pytest.mark.parametrize(("payload", "size"), [("headers", 42), ("none", 42), ("full", 202)])
def test_payload_is_cut_as_asked_and_the_length_kept(tmp_path: Path, payload: str, size: int) -> None:
    frame = udp(1, 1000, 2, 2000, bytes(160))
    ran = hunt(
        tmp_path,
        tape(frame).save(tmp_path / "x.pcap"),
        [hunt_filter("a", pcapFilter="udp", capture={"payload": payload})],
    )
    [packet] = ran.balanced().packets()
    assert (packet.data, packet.wirelen) == (frame[:size], 202)


def test_a_snap_length_of_a_filter_cuts_unless_another_wants_more(tmp_path: Path) -> None:
    frames = [udp(1, 1000, 2, 2000, bytes(160)), udp(1, 1000, 2, 3000, bytes(160))]
    filters = [
        hunt_filter("short", pcapFilter="udp", capture={"snaplen": 64}),
        hunt_filter("long", pcapFilter="port 3000"),
    ]
    ran = hunt(tmp_path, tape(*frames).save(tmp_path / "x.pcap"), filters).balanced()
    assert [(len(p.data), p.wirelen) for p in ran.packets()] == [(64, 202), (202, 202)]


def test_a_filter_listens_on_its_interfaces_only(tmp_path: Path) -> None:
    one, two = (
        tape(udp(1, 1, 2, 2, b"one")).save(tmp_path / "one.pcap"),
        tape(udp(1, 1, 2, 2, b"two")).save(tmp_path / "two.pcap"),
    )
    code, _, _ = call("run", "-r", one, "-r", two, "-f", write_filters(tmp_path / "a.yaml", hunt_filter("a", pcapFilter="udp")),
                      "--out", tmp_path / "names", "--json")  # fmt: skip
    assert code == 0
    names = {p.data[-3:]: p.interface for p in Ran(0, {}, "", tmp_path / "names").packets()}
    assert len(set(names.values())) == 2
    filters = [hunt_filter("two", pcapFilter="udp", target={"interfaces": [names[b"two"]]})]
    assert data(hunt(tmp_path, [one, two], filters).balanced()) == [udp(1, 1, 2, 2, b"two")]


def test_without_record_packets_are_processed_only(tmp_path: Path) -> None:
    filters = [
        hunt_filter("a", leaf("sip.user", "equals", "alice"), actions={"record": None, "alert": {"severity": "high"}})
    ]
    ran = hunt(tmp_path, tape(*ONE_CALL).save(tmp_path / "x.pcap"), filters).balanced()
    assert ran.packets() == []
    assert (ran.account["processed_only"], ran.account["recorded"]) == (len(ONE_CALL), 0)
    assert [row["sip.call_id"] for row in ran.rows("calls")] == ["c1@x"]


def test_an_alert_is_raised_once_for_a_call_and_once_for_a_flow(tmp_path: Path) -> None:
    filters = [
        hunt_filter("a", leaf("sip.user", "equals", "alice"), actions={"alert": {"severity": "critical"}}),
        hunt_filter("n", leaf("tls.sni", "domain", ".example"), actions={"alert": {"severity": "low"}}),
    ]
    capture = tape(*ONE_CALL, *tls("a.example", sport=4100), *tls("b.example", sport=4101)).save(tmp_path / "x.pcap")
    rows = hunt(tmp_path, capture, filters).balanced().rows("alerts")
    assert Counter((row["filter"], row["alert.severity"]) for row in rows) == {
        ("t/a", "critical"): 1,
        ("t/n", "low"): 2,
    }


def test_an_early_reply_stream_is_not_lost_when_media_goes_elsewhere(tmp_path: Path) -> None:
    """Media from a port that nobody announced, toward one that was (a NAT): taken with the call."""
    frames = [*ONE_CALL[:7], *[udp(2, 61000, 1, 4000, rtp(n, 22)) for n in range(5)], *ONE_CALL[-2:]]
    ran = hunt(
        tmp_path, tape(*frames).save(tmp_path / "x.pcap"), [hunt_filter("a", leaf("sip.user", "equals", "alice"))]
    )
    assert data(ran.balanced()) == frames


def test_media_that_moves_with_a_new_offer_stays_in_the_call(tmp_path: Path) -> None:
    moved = [
        udp(
            1,
            5060,
            2,
            5060,
            sip("INVITE sip:bob@example.org SIP/2.0", call="c1@x", cseq="2 INVITE", sdp=offer(1, 4600)),
        ),
        udp(2, 5060, 1, 5060, sip("SIP/2.0 200 OK", call="c1@x", cseq="2 INVITE", sdp=offer(2, 5600))),
        *[udp(1, 4600, 2, 5600, rtp(n, 11)) for n in range(5)],
    ]
    frames = [*ONE_CALL[:-4], *moved, *ONE_CALL[-2:]]
    ran = hunt(
        tmp_path, tape(*frames).save(tmp_path / "x.pcap"), [hunt_filter("a", leaf("sip.user", "equals", "alice"))]
    )
    assert data(ran.balanced()) == frames


# flags -------------------------------------------------------------------------------------------------------------


def test_count_stops_after_so_many_packets(tmp_path: Path) -> None:
    capture = tape(*ONE_CALL).save(tmp_path / "x.pcap")
    ran = hunt(tmp_path, capture, [hunt_filter("all", pcapFilter="udp")], "--count", 7).balanced()
    assert (ran.account["seen"], data(ran)) == (7, ONE_CALL[:7])


def test_bpf_decides_what_is_captured_at_all(tmp_path: Path) -> None:
    frames = [*ONE_CALL, *tls("a.example", sport=4100)]
    capture = tape(*frames).save(tmp_path / "x.pcap")
    ran = hunt(tmp_path, capture, [hunt_filter("all", pcapFilter="ip")], "--bpf", "tcp").balanced()
    assert data(ran) == frames[len(ONE_CALL) :]
    assert ran.account["seen"] == len(frames) - len(ONE_CALL)
    assert [row["app.protocol"] for row in ran.rows("flows")] == ["tls"]


def test_recordings_rotate_by_size_and_lose_nothing(tmp_path: Path) -> None:
    frames = [udp(1, 1000, 2, 2000, n.to_bytes(4) + bytes(1300)) for n in range(2500)]
    (tmp_path / "settings.toml").write_text("[output]\nrotate_mib = 1\n")
    ran = hunt(tmp_path, Tape(step=0.1).add(*frames).save(tmp_path / "x.pcap"), [hunt_filter("all", pcapFilter="udp")],
               "--config", tmp_path / "settings.toml").balanced()  # fmt: skip
    assert data(ran) == frames
    assert len(ran.segments()) == 4
    assert all(path.stat().st_size <= 1 << 20 for path in ran.segments())


def test_both_kernels_leave_the_same(tmp_path: Path) -> None:
    capture = tape(*ONE_CALL, *tls("a.example", sport=4100), query("a.example")).save(tmp_path / "x.pcap")
    filters = [
        hunt_filter("a", leaf("sip.user", "equals", "alice")),
        hunt_filter("s", leaf("tls.sni", "equals", "a.example")),
    ]
    native = hunt(tmp_path, capture, filters, out="one").balanced()
    portable = hunt(tmp_path, capture, filters, "--kernel", "portable", out="two").balanced()
    assert native.packets() == portable.packets()
    for table in ("flows", "calls", "messages"):
        assert native.rows(table) == portable.rows(table)


def test_a_run_for_people_says_what_was_hunted_and_where_it_is(tmp_path: Path) -> None:
    capture = tape(*ONE_CALL).save(tmp_path / "x.pcap")
    chosen = write_filters(
        tmp_path / "f.yaml", hunt_filter("a", leaf("sip.user", "equals", "alice"), purpose="INC-4711")
    )
    code, printed, _ = call("run", "-r", capture, "-f", chosen, "--out", tmp_path / "out")
    assert code == 0
    assert [line for line in printed.splitlines() if line.isupper()] == ["HUNTED", "FOUND", "BOOKS", "FILES"]
    assert "t/a: scope call, INC-4711: " in printed
    assert "residual 0 (balanced)" in printed
    assert f"wireshark {tmp_path / 'out'}" in printed


def test_pre_trigger_bounds_how_old_a_packet_kept_back_may_be(tmp_path: Path) -> None:
    frames = [query("b.example"), query("a.example", number=9)]
    capture = Tape(step=5000).add(*frames).save(tmp_path / "x.pcap")
    late = hunt_filter("late", leaf("dns.qname", "equals", "a.example"), capture={"preTrigger": "2s"})
    early = hunt_filter("early", leaf("dns.qname", "equals", "a.example"), capture={"preTrigger": "30s"})
    assert data(hunt(tmp_path, capture, [late]).balanced()) == frames[1:]
    assert data(hunt(tmp_path, capture, [early], out="two").balanced()) == frames


def test_a_call_that_only_its_bye_decides_is_taken_from_its_invite_on(tmp_path: Path) -> None:
    mine = phone_call(call="c1@x")
    last = leaf("sip.method", "equals", "BYE")
    ran = hunt(tmp_path, tape(*mine, *NOISE).save(tmp_path / "x.pcap"), [hunt_filter("bye", last, scope="call")]).balanced()
    assert sorted(data(ran)) == sorted(mine)
