"""What a broker held when it died: its files read by another broker."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nats

from packhound.processor.intake.ledger import Verdict
from packhound.processor.track.shard import ShardTrack
from packhound.wire.batch import Batch, BatchId
from packhound.wire.codec import decode
from tests.chaos.fleet import NAMES, Fleet

SHARDS = 16
PORT = 4333


def save(fleet: Fleet) -> None:
    """Keep a copy of the dead broker's files."""
    shutil.copytree(fleet.folder / "nats", fleet.folder / "nats-before")


def parcels_of(store: Path) -> list[Batch]:
    """Every packet parcel that a broker's files hold."""
    folder = store.parent
    (folder / "other.json").write_text(json.dumps({
        "listen": f"127.0.0.1:{PORT}", "max_payload": 1 << 20, "jetstream": {"store_dir": str(store)},
    }))  # fmt: skip
    words = [Path(sys.executable).with_name("nats-server"), "-c", folder / "other.json"]
    with (folder / "other.log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", PORT), timeout=0.5):
                break
            time.sleep(0.1)
        return asyncio.run(_read())
    finally:
        server.kill()
        server.wait(10)


async def _read() -> list[Batch]:
    client = await nats.connect(f"nats://127.0.0.1:{PORT}")
    found = []
    try:
        state = (await client.jetstream().stream_info(NAMES.packets_stream)).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            with suppress(nats.js.errors.NotFoundError):
                message = await client.jetstream().get_msg(NAMES.packets_stream, sequence)
                parcel = decode(message.data or b"")
                if isinstance(parcel, Batch):
                    found.append(parcel)
    finally:
        await client.close()
    return found


def unsettled(fleet: Fleet) -> tuple[int, int]:
    """Parcels and packets that the broker of `save` held and that no processor has settled since."""
    shared = fleet.shared()
    tracks = {}
    for shard in range(SHARDS):
        tracks[shard] = ShardTrack(shard)
        tracks[shard].restore(shared.load(shard))
    shared.close()
    gone = [
        parcel for parcel in parcels_of(fleet.folder / "nats-before")
        if tracks[parcel.shard].ledger.judge(BatchId(parcel.epoch, parcel.shard, parcel.sequence)) is Verdict.NEW
    ]  # fmt: skip
    return len(gone), sum(map(len, gone))
