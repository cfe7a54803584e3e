# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The native kernel: one call per block, no Python object per packet, the GIL released while it walks.

Promise: same events, flows and counters as `portable`, packet by packet; every read of packet bytes is checked
against the end of that packet. It imports nothing of packhound but the tables it is handed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

import numpy as np

include "_types.pxi"
include "_decode.pxi"
include "_detect.pxi"
include "_flows.pxi"
include "_prefilter.pxi"
include "_bpf.pxi"
include "_index.pxi"
include "_messages.pxi"
include "_watch.pxi"
include "_hold.pxi"
include "_copies.pxi"
include "_walk.pxi"
include "_kernel.pxi"
