"""A connection that becomes a WebSocket (RFC 6455 section 4); its frames are not read.

Promise: pure, never raises.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode

from packhound.net.facts import Fact, Value
from packhound.net.http_headers import Header, put

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FIELDS = frozenset({
    "websocket.host", "websocket.path", "websocket.version", "websocket.subprotocol", "websocket.extensions",
    "websocket.valid",
})  # fmt: skip


def websocket_fact(request: Header, response: Header, *, host: str, path: str) -> Fact | None:
    """Return the `websocket` fact of a switch that was agreed; None when it was to something else.

    `websocket.valid`: the server proved that it understood the request (RFC 6455 section 4.2.2).
    """
    if "websocket" not in response("upgrade").lower():
        return None
    proof = hashlib.sha1((request("sec-websocket-key") + _GUID).encode(), usedforsecurity=False).digest()
    fields: dict[str, Value] = {"websocket.valid": response("sec-websocket-accept") == b64encode(proof).decode()}
    put(fields, "websocket.host", host)
    put(fields, "websocket.path", path)
    put(fields, "websocket.version", request("sec-websocket-version"))
    put(fields, "websocket.subprotocol", response("sec-websocket-protocol"))
    put(fields, "websocket.extensions", response("sec-websocket-extensions"))
    return Fact("websocket", fields)
