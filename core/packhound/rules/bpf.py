"""pcap-filter expressions and the classic BPF programs they become: compiled, checked, run, joined.

Promise: pure but for libpcap's compiler. This is the face; the parts are `expression`, `insns` and `pushdown`.
"""

from packhound.rules.expression import BadExpression, check_pcap, compile_expression
from packhound.rules.insns import ACCEPT, EN10MB, MAX_INSNS, RET, Insn, Program, run, validate
from packhound.rules.pushdown import VLAN_TAG_PRESENT, live_program, union

__all__ = [
    "ACCEPT",
    "EN10MB",
    "MAX_INSNS",
    "RET",
    "VLAN_TAG_PRESENT",
    "BadExpression",
    "Insn",
    "Program",
    "check_pcap",
    "compile_expression",
    "live_program",
    "run",
    "union",
    "validate",
]
