import pytest

from packhound.processor.track.calls import IDLE, LINGER, CallTracker
from packhound.processor.track.dialog import CHALLENGES, Peer, call_row

SECOND = 1_000_000_000
ALICE, BOB = Peer("10.0.0.1", 5060), Peer("2001:db8::2", 5060)


def play(tracker: CallTracker, script: str, *, call_id: str = "c", start: int = 0):
    """`INVITE` is a request, `200 INVITE` a response; one second apart; `#n` sets CSeq."""
    call, cseq = None, 1
    for at, step in enumerate(script.split(", ")):
        words = step.split()
        if words[-1].startswith("#"):
            cseq = int(words.pop()[1:])
        fields = {
            "sip.call_id": call_id,
            "sip.method": words[-1],
            "sip.from": "<sip:a@x>;tag=1",
            "sip.to": "<sip:b@x>",
            "sip.cseq": cseq,
        }
        if len(words) == 2:
            fields["sip.status"] = int(words[0])
        call = tracker.message(fields, now=start + at * SECOND, src=ALICE, dst=BOB, filters=("n/f",))
    assert call
    return call


@pytest.mark.parametrize(
    ("script", "state", "reason"),
    [
        ("INVITE", "setup", ""),
        ("INVITE, 100 INVITE, 180 INVITE", "ringing", ""),
        ("INVITE, 183 INVITE, 200 INVITE, ACK", "established", ""),
        ("INVITE, 200 INVITE, ACK, BYE, 200 BYE", "ended", "BYE"),
        ("INVITE, 401 INVITE, ACK, INVITE #2, 200 INVITE, ACK", "established", ""),
        ("INVITE, 407 INVITE, ACK", "setup", ""),
        ("INVITE, 486 INVITE, ACK", "failed", "486"),
        ("INVITE, 486 INVITE, ACK, INVITE #1", "failed", "486"),
        ("INVITE, 486 INVITE, ACK, INVITE #2", "setup", ""),
        ("INVITE, 180 INVITE, CANCEL, 200 CANCEL, 487 INVITE, ACK", "cancelled", "CANCEL"),
        ("INVITE, CANCEL, 200 INVITE, ACK", "established", ""),
        ("INVITE, 200 INVITE, ACK, INVITE #2, 488 INVITE, ACK", "established", ""),
        ("INVITE, 200 INVITE, ACK, INVITE #2, 491 INVITE, ACK, BYE", "ended", "BYE"),
        ("INVITE, 200 INVITE, ACK, BYE, INVITE, 200 INVITE", "ended", "BYE"),
        ("180 INVITE, 200 INVITE", "established", ""),
        ("REGISTER, 401 REGISTER, REGISTER, 200 REGISTER", "none", ""),
        ("OPTIONS, 404 OPTIONS", "none", ""),
    ],
)
def test_a_call_is_in_the_state_its_messages_say(script, state, reason):
    call = play(CallTracker(), script)
    assert (call.state, call.end_reason) == (state, reason)
    assert call.is_call == ("INVITE" in script)


def test_a_row_of_a_call_says_when_what_happened_and_where_it_lies() -> None:
    call = play(CallTracker(), "INVITE, 180 INVITE, 200 INVITE, ACK, BYE, 200 BYE", start=100 * SECOND)
    row = call_row(call, ("2023/call.pcapng",))
    times = {name: row[f"call.{name}"] // SECOND for name in ("start_ns", "ringing_ns", "answer_ns", "end_ns", "last_ns")}
    assert times == {"start_ns": 100, "ringing_ns": 101, "answer_ns": 102, "end_ns": 104, "last_ns": 105}
    assert (row["call.messages"], row["call.recordings"]) == (6, ("2023/call.pcapng",))
    assert "call.recordings" not in call_row(call)
    assert not {"call.ringing_ns", "call.answer_ns", "call.end_ns"} & call_row(play(CallTracker(), "INVITE")).keys()


@pytest.mark.parametrize("status", sorted(CHALLENGES))
def test_a_challenge_fails_no_call(status):
    assert play(CallTracker(), f"INVITE, {status} INVITE, ACK").state == "setup"


def test_a_row_says_who_when_and_how_often():
    tracker = CallTracker()
    play(tracker, "INVITE, INVITE, 100 INVITE, 180 INVITE, 200 INVITE, ACK, BYE, 200 BYE", start=100 * SECOND)
    tracker.media("c", packets=70, last=105 * SECOND)
    tracker.media("c", packets=3, last=105 * SECOND, rtcp=True)
    (call,) = tracker.flush()
    row = call_row(call)
    assert row["call.methods"] == {"INVITE": 2, "ACK": 1, "BYE": 1}
    assert row["call.responses"] == {"100 INVITE": 1, "180 INVITE": 1, "200 INVITE": 1, "200 BYE": 1}
    assert [row[f"call.{name}_ns"] // SECOND for name in ("start", "ringing", "answer", "end", "last")] == [
        100,
        103,
        104,
        106,
        107,
    ]
    assert (row["call.rtp_packets"], row["call.rtcp_packets"], row["call.media_flows"]) == (70, 3, 1)
    assert row["sip.from"] == "<sip:a@x>;tag=1"
    assert row["filter"] == ("n/f",)
    assert row["call.peers"] == ("10.0.0.1:5060", "[2001:db8::2]:5060")


def test_media_of_an_sdp_has_its_own_address_per_line_or_one_for_all():
    tracker = CallTracker()
    fields = {"sip.call_id": "c", "sip.method": "INVITE", "sdp.media": ("audio 1000 RTP/AVP", "video 1002 RTP/AVP")}
    tracker.message(fields | {"sdp.connection": ("10.0.0.9",)}, now=0)
    call = tracker.message(fields | {"sdp.connection": ("10.0.0.8", "::1")}, now=0)
    assert list(call.media) == ["audio 10.0.0.9:1000", "video 10.0.0.9:1002", "audio 10.0.0.8:1000", "video [::1]:1002"]


def test_a_call_is_handed_out_when_it_has_ended_and_its_media_had_time_to():
    tracker = CallTracker()
    play(tracker, "INVITE, 200 INVITE, ACK, BYE")
    assert tracker.finished(3 * SECOND + LINGER) == []
    assert [call.call_id for call in tracker.finished(4 * SECOND + LINGER)] == ["c"]
    assert len(tracker) == 0


def test_a_silent_call_lives_as_long_as_its_media():
    tracker = CallTracker()
    play(tracker, "INVITE, 200 INVITE, ACK")
    tracker.alive("c", now=IDLE)
    assert tracker.finished(IDLE + 10 * SECOND) == []
    assert len(tracker.finished(2 * IDLE + 10 * SECOND)) == 1


def test_ended_calls_go_before_live_ones_and_are_still_handed_out():
    tracker = CallTracker(capacity=2)
    play(tracker, "INVITE, 200 INVITE", call_id="live")
    play(tracker, "INVITE, 486 INVITE", call_id="over")
    play(tracker, "INVITE", call_id="new")
    assert {call.call_id for call in tracker.calls()} == {"live", "new"}
    play(tracker, "INVITE", call_id="newer")
    assert dict(tracker.evicted) == {"ended": 1, "live": 1}
    assert [call.call_id for call in tracker.finished(0)] == ["over", "live"]


def test_a_message_without_call_id_is_nobodys():
    assert CallTracker().message({"sip.method": "INVITE"}, now=0) is None


def test_values_of_a_hostile_call_are_bounded():
    tracker = CallTracker()
    for at in range(1000):
        call = tracker.message({"sip.call_id": "c", "sip.method": "INVITE", "sip.user": (f"u{at}",)}, now=at)
    assert len(call.users) == 64
