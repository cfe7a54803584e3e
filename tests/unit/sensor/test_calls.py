"""Calls as the sensor sees them: who announced which endpoint, when a call is over."""

from __future__ import annotations

from typing import Any

import pytest

from packhound.sensor.calls import IDLE, LINGER, SECOND, Call, CallBoard, Endpoint, endpoints_of


def end(host: int, port: int) -> Endpoint:
    return 4, bytes((10, 0, 0, host)).ljust(16, b"\0"), port


def sdp(*media: str, at: tuple[str, ...] = ("10.0.0.1",)) -> dict[str, Any]:
    return {"sdp.media": media, "sdp.connection": at}


def message(method: str, status: int | None = None, **fields: Any) -> dict[str, Any]:
    found = {"sip.method": method, "sip.cseq.method": method, **{k.replace("_", "."): v for k, v in fields.items()}}
    return found if status is None else found | {"sip.status": status}


@pytest.fixture
def board() -> CallBoard:
    return CallBoard(capacity=3)


def opened(board: CallBoard, name: str = "a", *, now: int = 0) -> Call:
    call, _ = board.open(name, None, now=now)  # type: ignore[arg-type]
    return call


def test_sdp_announces_rtp_and_the_rtcp_port_after_it() -> None:
    assert set(endpoints_of(sdp("audio 4000 RTP/AVP"))) == {end(1, 4000), end(1, 4001)}
    assert set(endpoints_of(sdp("audio 65535 RTP/AVP"))) == {end(1, 65535)}


def test_as_many_addresses_as_media_go_together() -> None:
    found = set(endpoints_of(sdp("audio 4000 X", "video 5000 X", at=("10.0.0.1", "10.0.0.2"))))
    assert found == {end(1, 4000), end(1, 4001), end(2, 5000), end(2, 5001)}


def test_one_address_serves_every_medium() -> None:
    assert {port for *_, port in endpoints_of(sdp("audio 4000 X", "video 5000 X"))} == {4000, 4001, 5000, 5001}


@pytest.mark.parametrize("fields", [
    {}, sdp("audio 0 RTP/AVP"), sdp("audio"), sdp("audio x RTP/AVP"), sdp("audio 70000 X"), sdp("audio ² X"),
    sdp("audio 4000 X", at=("0.0.0.0",)), sdp("audio 4000 X", at=("224.1.1.1",)), sdp("audio 4000 X", at=("host.example",)),
])  # fmt: skip
def test_what_cannot_receive_media_announces_nothing(fields: dict[str, Any]) -> None:
    assert list(endpoints_of(fields)) == []


def test_an_endpoint_is_new_once_and_belongs_to_all_who_announced_it(board: CallBoard) -> None:
    one, two = opened(board, "a"), opened(board, "b")
    invite = message("INVITE") | sdp("audio 4000 X")
    assert board.message(one, invite, now=1) == {end(1, 4000), end(1, 4001)}
    assert board.message(one, invite, now=2) == set()
    board.message(two, invite, now=3)
    assert board.announced(end(9, 9), end(1, 4000)) == [one, two]
    assert board.close(one) == set()
    assert board.announced(end(1, 4000)) == [two]
    assert board.close(two) == {end(1, 4000), end(1, 4001)}
    assert board.announced(end(1, 4000)) == []


@pytest.mark.parametrize(("said", "ended"), [
    (message("INVITE"), False), (message("INVITE", 180), False), (message("INVITE", 200), False),
    (message("INVITE", 401), False), (message("INVITE", 407), False), (message("INVITE", 486), True),
    (message("BYE"), True), (message("ACK"), False), (message("REGISTER"), False),
    (message("REGISTER", 401), False), (message("REGISTER", 200), True), (message("OPTIONS", 200), True),
    (message("CANCEL", 200), False),
])  # fmt: skip
def test_what_ends_a_call(board: CallBoard, said: dict[str, Any], ended: bool) -> None:
    call = opened(board)
    board.message(call, said, now=5)
    assert call.ended_at == (5 if ended else None)


def test_a_call_lingers_after_its_end_and_ends_when_idle(board: CallBoard) -> None:
    call = opened(board)
    board.message(call, message("BYE"), now=SECOND)
    assert board.over(SECOND + LINGER, {}) == []
    assert board.over(SECOND + LINGER + 1, {}) == [call]
    quiet = opened(board, "b", now=0)
    assert quiet not in board.over(IDLE, {})
    assert quiet in board.over(IDLE + 1, {})


def test_media_keeps_a_call_alive(board: CallBoard) -> None:
    call = opened(board)
    call.flows[7] = 0
    assert board.over(IDLE + 1, {7: IDLE}) == []
    assert board.over(2 * IDLE + 1, {7: IDLE}) == [call]


def test_ended_calls_go_first_when_the_board_is_full(board: CallBoard) -> None:
    for name in ("a", "b", "c"):
        opened(board, name)
    board.message(board.find("b"), message("BYE"), now=1)  # type: ignore[arg-type]
    _, gone = board.open("d", None, now=2)  # type: ignore[arg-type]
    assert [each.call_id for each in gone] == ["b"]
    _, gone = board.open("e", None, now=2)  # type: ignore[arg-type]
    assert [each.call_id for each in gone] == ["a"]
    assert (len(board), board.evicted) == (3, 2)
