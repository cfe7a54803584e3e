"""The three doors of a processor for subscribers: a certificate, a token, and this host; each at once, none in clear but the last."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from packhound.kit.rpc import Certificates, RpcError, new_channel
from packhound.wire.v1 import events_pb2 as pb
from packhound.wire.v1 import events_pb2_grpc as stubs
from tests.support.certificates import Authority
from tests.support.fleet_processes import Process, fleet, until
from tests.support.nats_server import nats_server, needs_nats


def _ports(process: Process) -> dict[str, int]:
    rows = [row for row in process.rows if row.get("event") == "listening" and row.get("part") == "processor"]
    return {row["address"]: row["port"] for row in rows}


async def _ask(port: int, *, tls: Certificates | None = None, host: str = "127.0.0.1") -> str:
    async with new_channel(f"{host}:{port}", tls=tls) as channel:
        return str((await stubs.SubscriberStub(channel).Status(pb.StatusRequest(), timeout=20)).processor)


async def _ask_by_token(port: int, authority: bytes, token: str) -> str:
    """As somebody does who has the authority and no certificate."""
    made = grpc.ssl_channel_credentials(authority)
    async with grpc.aio.secure_channel(f"localhost:{port}", made) as channel:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        return str((await stubs.SubscriberStub(channel).Status(pb.StatusRequest(), timeout=20, metadata=metadata)).processor)


@needs_nats
def test_each_door_lets_in_whom_it_is_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours, theirs = authority.issue("processor"), authority.issue("person")
    trusted = authority.path.read_bytes()
    (tmp_path / "tokens").write_text("hunter-2\n")
    doors: dict[str, Any] = {
        "grpc_listen": "localhost:0", "grpc_api": "127.0.0.1:0", "grpc_local": "127.0.0.2:0",
        "grpc_cert": ours.chain, "grpc_key": ours.key, "grpc_ca": authority.path, "grpc_tokens": tmp_path / "tokens",
    }  # fmt: skip
    with nats_server(tmp_path / "nats") as server, fleet(tmp_path / "fleet", nats=server.url) as made:
        process = made.processor("p1", **doors)
        ports = until(lambda: (found := _ports(process)) and len(found) == 3 and found, what="listening")

        def asked(coroutine: Any) -> str:
            return asyncio.run(coroutine)

        sealed, token, local = (ports[doors[name]] for name in ("grpc_listen", "grpc_api", "grpc_local"))
        assert asked(_ask(sealed, tls=theirs)) == "p1"
        assert asked(_ask_by_token(token, trusted, "hunter-2")) == "p1"
        assert asked(_ask(local, host="127.0.0.2")) == "p1"
        for wrong in (_ask(sealed), _ask_by_token(sealed, trusted, "hunter-2"), _ask(token),
                      _ask_by_token(token, trusted, "hunter-3"), _ask_by_token(token, trusted, "")):  # fmt: skip
            with pytest.raises(RpcError):
                asked(wrong)
