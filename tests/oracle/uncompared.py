"""Expected rows of the corpus that no check of the score compares, and why: with CHECKS every name of expected/*.jsonl."""

from __future__ import annotations

UNCOMPARED = {
    "summary": "frames and bytes: `tests/unit/tap/test_corpus.py`, for every capture and reader",
    "ndpi_protocols": "sums of `ndpi_flows`, which is compared flow by flow",
    "rtp_stream_stats": "jitter and loss of media belong to calls: `tests/oracle/test_calls_agree.py` compares packets",
    "ipfixprobe_basic": "flows cut by that tool's own timeouts; `tshark_flows` compares every flow of the same capture",
    "ipfixprobe_phists": "histograms of packet sizes and gaps: no field",
    "ipfixprobe_pstats": "sizes and times of first packets: no field",
    "ipfixprobe_nettisa": "statistics of time series: no field",
    "zeek_weird": "Zeek's own list of oddities, under names of its own",
    "zeek_notice": "Zeek's own notices, made by scripts of its tests",
    "zeek_files": "contents of files: not extracted, no field",
    "zeek_tunnel": "that a tunnel exists: what is inside is compared by `tshark_flows`",
    "zeek_ocsp": "OCSP answers inside TLS extensions and HTTP bodies: no field",
    "zeek_dce_rpc": "operations of DCE/RPC: detected (`ndpi_flows`, `zeek_conn`), not dissected",
    "zeek_ntlm": "names that a server tells in a challenge: those of the log-on are `smb.user`, `smb.domain`, `smb.host`",
    "zeek_dnp3": "DNP3: not one of our protocols",
    "zeek_irc": "IRC: detected, TLS behind it read, commands not dissected",
    "zeek_modbus": "Modbus: detected, functions not dissected",
    "zeek_mysql": "MySQL: detected, TLS behind it read, commands not dissected",
    "zeek_rdp": "RDP: detected, TLS behind it read, its own messages not dissected",
    "zeek_redis": "Redis: detected, commands not dissected",
    "zeek_rfb": "VNC: detected, messages not dissected",
    "zeek_syslog": "syslog: detected, messages not dissected",
    "labels": "for detectors of threats, which are not part of this version",
    "beacons": "for detectors of threats, which are not part of this version",
    "geoip_country": "for a look-up of countries, which is not part of this version",
}
"""Name in the key `check` -> why nothing is compared there, or where else it is."""
