"""Mutual TLS 1.3 over real sockets: who gets in, who does not, and new certificates without a restart."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys

import grpc
import pytest

from packhound.kit.errors import BadInput, Usage
from packhound.kit.rpc import RpcError, bearer, certificates, new_channel, new_server, peer_name, token_check
from tests.support.certificates import Authority


class Echo(grpc.GenericRpcHandler):
    """Answers any unary call with the caller's name and token."""

    def service(self, details):
        async def answer(request, context):
            return f"{peer_name(context)}|{bearer(context)}".encode()

        return grpc.unary_unary_rpc_method_handler(answer)


async def serving(listen="127.0.0.1:0", **options):
    server, port = new_server(listen, **options)
    server.add_generic_rpc_handlers((Echo(),))
    await server.start()
    return server, port


async def call(port, *, tls, token=""):
    async with new_channel(f"127.0.0.1:{port}", tls=tls) as channel:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        answer = await channel.unary_unary("/a/b")(b"", timeout=3, metadata=metadata)
        return answer.decode()


def test_a_peer_is_known_by_its_certificate(tmp_path):
    async def go():
        authority = Authority(tmp_path)
        server, port = await serving(tls=authority.issue("processor"))
        assert await call(port, tls=authority.issue("node-1"), token="t0") == "node-1|t0"
        await server.stop(0)

    asyncio.run(go())


def test_a_proxy_of_the_environment_is_not_asked_for_this_host(monkeypatch):
    async def go():
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.delenv("no_proxy", raising=False)
        server, port = await serving(tls=None)
        assert await call(port, tls=None, token="t0") == "|t0"
        await server.stop(0)

    asyncio.run(go())


def test_a_stranger_and_a_caller_in_clear_are_refused(tmp_path):
    async def go():
        authority, stranger = Authority(tmp_path), Authority(tmp_path, "somebody else")
        server, port = await serving(tls=authority.issue("processor"))
        bad = stranger.issue("node-1")
        for tls in (bad, type(bad)(bad.chain, bad.key, authority.path), None):
            with pytest.raises(RpcError):
                await call(port, tls=tls)
        await server.stop(0)

    asyncio.run(go())


def test_certificates_are_renewed_without_a_restart(tmp_path):
    async def go():
        old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
        files = old.issue("processor", file="server")
        server, port = await serving(tls=files)
        assert await call(port, tls=old.issue("a"))
        fresh = new.issue("processor", file="server")
        files.authorities.write_bytes(fresh.authorities.read_bytes())
        assert await call(port, tls=new.issue("b")) == "b|"
        with pytest.raises(RpcError):
            await call(port, tls=type(files)(tmp_path / "a.pem", tmp_path / "a.key", new.path))
        files.key.write_text("half a fi")
        assert await call(port, tls=new.issue("c")) == "c|"
        await server.stop(0)

    asyncio.run(go())


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_only_tls_1_3(tmp_path):
    authority = Authority(tmp_path)
    tls, client = authority.issue("processor"), authority.issue("node")
    script = (
        "import asyncio, sys; from pathlib import Path; from packhound.kit.rpc import *\n"
        "async def go():\n"
        "    server, port = new_server('127.0.0.1:0', tls=Certificates(*map(Path, sys.argv[1:4])))\n"
        "    await server.start(); print(port, flush=True); await asyncio.sleep(20)\n"
        "asyncio.run(go())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, tls.chain, tls.key, tls.authorities], stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip()

        def handshake(version: str) -> bool:
            found = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-alpn", "h2", "-CAfile", tls.authorities,
                 "-cert", client.chain, "-key", client.key], input="", capture_output=True, text=True, timeout=10,
            )  # fmt: skip
            return found.returncode == 0 and "Verify return code: 0" in found.stdout

        assert handshake("-tls1_3")
        assert not handshake("-tls1_2")
        server.kill()


def test_open_doors_are_refused_with_what_to_do(tmp_path):
    async def go():
        with pytest.raises(Usage, match="give a certificate"):
            new_server("0.0.0.0:0", tls=None)
        server, port = await serving("127.0.0.1:0", tls=None)
        assert await call(port, tls=None) == "|"
        with pytest.raises(BadInput, match="cannot listen"):
            new_server(f"127.0.0.1:{port}", tls=None)
        await server.stop(0)

    asyncio.run(go())
    with pytest.raises(Usage, match="all three"):
        certificates(tmp_path, None, None)
    (tmp_path / "x").write_text("no pem")
    with pytest.raises(BadInput, match="is not a PEM file"):
        certificates(tmp_path / "x", tmp_path / "x", tmp_path / "x").read()


def test_tokens_can_be_changed_in_place(tmp_path):
    path = tmp_path / "tokens"
    check = token_check(path)
    assert not check("a")
    path.write_text("a\nb\n")
    assert check("a")
    assert check("b")
    assert not check("")
    path.write_text("c\n")
    assert not check("a")
