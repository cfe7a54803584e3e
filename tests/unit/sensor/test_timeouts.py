"""Timeouts by state: on by default, the same as the table's own, and set by file, environment or flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from packhound.net.timeouts import DEFAULT, Timeouts
from packhound.run.look import Inspection
from packhound.run.options import Options, agent_settings, read
from packhound.sensor.agent import AgentSettings
from packhound.sensor.tap.merge import open_captures
from tests.support.capture_files import pcap_header, record
from tests.support.tape import ACK, DATA, FIN, SYN, SYN_ACK, tcp


def test_what_nobody_sets_is_the_default() -> None:
    assert agent_settings(Options()).timeouts == DEFAULT == Timeouts()


def test_they_are_set_in_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "packhound.toml"
    config.write_text("[timeouts]\ntcp = 7.5\nopening = 2\n")
    monkeypatch.setenv("PACKHOUND_TIMEOUTS_OPENING", "3")
    timeouts = agent_settings(read(config, {}).value).timeouts
    assert (timeouts.tcp, timeouts.opening, timeouts.web) == (7_500_000_000, 3_000_000_000, DEFAULT.web)


OPEN = [(SYN, False), (SYN_ACK, True), (ACK, False)]


@pytest.mark.parametrize("kernel", ["native", "portable"])
@pytest.mark.parametrize(("flags", "name"), [
    ([(SYN, False)], "opening"), ([*OPEN, (DATA, False)], "tcp"), ([*OPEN, (FIN | ACK, False)], "closing"),
    ([*OPEN, (4 | ACK, True)], "closed"),
], ids=["opening", "established", "closing", "reset"])  # fmt: skip
def test_each_state_ends_after_its_own_silence(
    kernel: str, flags: list[tuple[int, bool]], name: str, tmp_path: Path
) -> None:
    """Two halves of a conversation, a little more or less apart than the timeout: two flows or one."""
    if kernel == "native":
        pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")

    def flows(silence: float) -> int:
        frames = [
            tcp(2, 80, 1, 4000, flag, 501, 101) if back else tcp(1, 4000, 2, 80, flag, 100, 501, b"x" * (flag == DATA))
            for flag, back in flags
        ]
        last = tcp(1, 4000, 2, 80, ACK, 101, 501)
        path = tmp_path / "talk.pcap"
        path.write_bytes(
            pcap_header() + b"".join(record(1_700_000_000, at, data) for at, data in enumerate(frames))
            + record(1_700_000_000 + int(silence), 500_000, last)
        )  # fmt: skip
        tap = open_captures([str(path)])
        rows = list(Inspection(tap, settings=AgentSettings(kernel=kernel, timeouts=Timeouts(**{name: 20 * 10**9}))).rows())
        tap.close()
        return sum(row["kind"] == "flow" for row in rows)

    assert (flows(18), flows(21)) == (1, 2)
