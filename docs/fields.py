"""Write docs/fields.md: every row of the field registry, and the capture of the corpus that proves it.

    python docs/fields.py [--check]

Captures are looked for where the corpus is (`PACKHOUND_CORPUS`, or ../shared/corpus); without it the proofs that the
page names already are kept. `--check` writes nothing and fails when the page is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from packhound.fields import FIELDS, FLOW, HEADER, POD, Field  # noqa: E402  # run from a checkout
from packhound.net.session import FIELDS_FILLED  # noqa: E402

PAGE = ROOT / "docs" / "fields.md"
HEAD = """# Fields

Made by `make fields` from `packhound.fields`; do not edit. A filter, a column of a table, a key of `packhound inspect`
and a comment in a capture all use these names. *Found in*: protocols of the flow (`app.protocol`) that a field can
occur in. *Proof*: a capture of the corpus in which `packhound inspect` shows it; where none does, the test that fills it;
a dash for what nothing fills in this version.
"""
TABLE = """| field | type | operators | found in | what | proof |
|---|---|---|---|---|---|"""
#: Tests that fill what no capture of the corpus does: by the start of a field's name, the longest that fits.
TESTS: Mapping[str, str] = {
    "ip.addr": "rules/test_golden_leaves.py", "port": "rules/test_latch.py", "filter": "store/test_tables.py",
    "dns.edns": "net/test_dns.py", "http.forwarded_for": "net/test_outside_corpus.py", "grpc": "net/test_http2.py",
    "websocket": "net/test_outside_corpus.py", "dhcpv6": "net/test_dhcpv6.py", "eigrp": "net/test_eigrp.py",
    "diameter": "net/test_diameter.py", "snmp.context": "net/test_snmp.py", "nbns": "net/test_netbios.py",
    "nbss": "net/test_netbios.py", "ldap.new_rdn": "net/test_ldap.py", "radius": "net/test_radius.py",
    "kerberos.error_text": "net/test_kerberos.py", "call": "track/test_calls.py", "k8s.pods": "store/test_enrich.py",
    "k8s.src": "store/test_enrich.py", "k8s.dst": "store/test_enrich.py", "k8s": "wire/test_pods.py",
    "container.id": "wire/test_pods.py", "alert": "store/test_service.py",
}  # fmt: skip
_ROW = re.compile(r"^\| `([a-z0-9_.]+)` \|.*\| (?:`([^`]+)`|-) \|$")


def proofs() -> dict[str, str]:
    """First capture of the corpus that fills each field that a dissector or the flow table fills."""
    from tests.oracle.score import rows_of
    from tests.support.corpus import captures

    found: dict[str, str] = {}
    for capture in captures():
        if "fuzz" not in capture and "oobr" not in capture:
            for row in rows_of(capture):
                for name in row.keys() - found.keys():
                    if name in FIELDS and _is_proof(name, row):
                        found[name] = capture.removeprefix("captures/")
    return found


def _is_proof(name: str, row: Mapping[str, Any]) -> bool:
    """A message proves what a dissector fills, and its time and frame; a flow's row proves what the flow table fills."""
    if name in ("time_ns", "frame"):
        return row["kind"] != "flow"
    return (row["kind"] == "flow") != any(name in filled for filled in FIELDS_FILLED.values())


def written() -> dict[str, str]:
    """Proofs that the page names."""
    if not PAGE.is_file():
        return {}
    rows = (_ROW.match(line) for line in PAGE.read_text().splitlines())
    return {row[1]: row[2] for row in rows if row and row[2] and not row[2].startswith("tests/")}


def test_of(name: str) -> str:
    """The test that fills a field which no capture does; empty where there is none."""
    starts = [start for start in TESTS if name == start or name.startswith(start + ".")]
    return f"tests/unit/{TESTS[max(starts, key=len)]}" if starts else ""


def page(proved: Mapping[str, str]) -> str:
    """Return the whole page."""
    lines = [HEAD]
    for title, rows in _groups():
        lines += [f"\n## {title}\n", TABLE]
        lines += [_line(row, proved.get(row.name) or test_of(row.name)) for row in rows]
    return "\n".join(lines) + "\n"


def _line(row: Field, proof: str) -> str:
    operators = ", ".join(row.operators) or ("shown only" if row.filled_by else "not yet")
    where = ", ".join(row.protocols) or "any"
    return f"| `{row.name}` | {row.type} | {operators} | {where} | {row.doc} | {f'`{proof}`' if proof else '-'} |"


def _groups() -> Iterator[tuple[str, list[Field]]]:
    """Rows by the first word of their name, in the registry's order; what has none in a group of its own."""
    groups: dict[str, list[Field]] = {}
    for row in FIELDS.values():
        first, dot, _ = row.name.partition(".")
        plain = {HEADER, FLOW, POD} & set(row.filled_by)
        title = "addresses, ports, tags" if HEADER in plain else first if dot else "of every row"
        groups.setdefault(title, []).append(row)
    yield from groups.items()


def main() -> None:
    """Write the page; with `--check` end with a word about it when it is stale."""
    from tests.support.corpus import CORPUS

    check = "--check" in sys.argv[1:]
    fresh = page(written() if check or not CORPUS.is_dir() else proofs())
    if check:
        if not PAGE.is_file() or PAGE.read_text() != fresh:
            sys.exit("docs/fields.md is stale: run `make fields`")
        return
    PAGE.write_text(fresh)


if __name__ == "__main__":
    main()
