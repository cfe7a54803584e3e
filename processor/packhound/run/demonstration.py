"""`packhound demo`: the example filters over the example captures, with a readable result."""

from __future__ import annotations

import os
from pathlib import Path

from packhound.kit.errors import BadInput
from packhound.net.facts import Malformed
from packhound.processor.store.tables import query
from packhound.run import capture, options, show

EXAMPLES = "examples"
CALLS = 'SELECT "sip.from", "sip.to", "call.state", "call.rtp_packets" FROM calls ORDER BY "time"'
FLOWS = """
    SELECT "ip.src", "port.src", "ip.dst", "port.dst", "app.protocol", "flow.host",
           "flow.packets.fwd" + "flow.packets.rev" AS packets, "filter"
    FROM flows WHERE len("filter") > 0 ORDER BY "flow.id"
"""


def folder() -> Path:
    """The examples of the checkout that this runs from. Raises BadInput when there are none."""
    for base in (Path.cwd(), Path(__file__).resolve().parents[3]):
        if (base / EXAMPLES / "captures").is_dir():
            return base / EXAMPLES
    raise BadInput("no examples/ folder here", notes=("run this in a checkout of the project",))


def demo(out: Path, *, json: bool) -> int:
    """Hunt a SIP user and a TLS server name; show calls and names found."""
    examples = folder()
    captures = [os.path.relpath(path) for path in sorted((examples / "captures").glob("*.pcapng"))]
    filters = examples / "filters"
    settings = options.read(None, {"output.out": ("demo", str(out)), "log.level": ("demo", "warning")})
    if not json:
        show.line(f"packhound run -r {' '.join(captures)} -f {os.path.relpath(filters)} --out {out}\n")
    code = capture.run(captures, (), [filters], settings.value, json=json, progress=None)
    if not json:
        _tell(out)
    return code


def _tell(out: Path) -> None:
    for title, sql in (("CALLS", CALLS), ("MATCHED FLOWS", FLOWS)):
        found = query(sql, out)
        if not isinstance(found, Malformed):
            show.line(f"\n{title}")
            show.table(found.rows, found.columns)
