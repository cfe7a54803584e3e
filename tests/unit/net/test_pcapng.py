import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import pcapng

packets = st.lists(
    st.tuples(st.binary(max_size=70), st.integers(0, 2**63 - 1), st.text(max_size=20)), max_size=12
)  # fmt: skip


def build(rows):
    blob = b"".join(data for data, _, _ in rows)
    caplen = np.array([len(data) for data, _, _ in rows], np.uint32)
    ends = np.cumsum(caplen, dtype=np.int64)
    return pcapng.packet_blocks(
        ts=np.array([ts for _, ts, _ in rows], np.int64), caplen=caplen, wirelen=caplen + 9,
        iface=np.zeros(len(rows), np.uint16), start=ends - caplen, blob=blob,
        options=[pcapng.packet_options(comment=comment) for _, _, comment in rows],
    )  # fmt: skip


def naive(data, ts, comment):
    body = struct.pack("<IIIII", 0, ts >> 32, ts & 0xFFFFFFFF, len(data), len(data) + 9) + data
    body += bytes(-len(data) % 4) + pcapng.packet_options(comment=comment)
    return pcapng.block(pcapng.PACKET, body)


@given(packets)
def test_columns_give_the_same_bytes_as_one_packet_at_a_time(rows):
    data, ends = build(rows)
    assert bytes(data) == b"".join(naive(*row) for row in rows)
    assert ends.tolist() == np.cumsum([len(naive(*row)) for row in rows], dtype=np.int64).tolist()


@given(packets, st.integers(0, 2000))
def test_a_torn_file_is_whole_up_to_its_last_whole_block(rows, cut):
    head = pcapng.section_header(application="t") + pcapng.interface_description(name="e", linktype=1, snaplen=0)
    data, ends = build(rows)
    torn = (head + bytes(data))[: len(head) + cut]
    good, count = pcapng.whole_blocks(torn)
    assert count == sum(end <= cut for end in ends.tolist())
    assert good == len(head) + (int(ends[count - 1]) if count else 0)


@given(st.binary(max_size=200))
def test_walking_anything_ends_inside_it(data):
    good, _ = pcapng.whole_blocks(data)
    assert 0 <= good <= len(data)


def test_a_time_before_1970_is_written_as_0():
    data, _ = build([(b"x", 5, "")])
    early, _ = build([(b"x", 0, "")])
    blocks = pcapng.packet_blocks(
        ts=np.array([-7], np.int64), caplen=np.array([1], np.uint32), wirelen=np.array([10], np.uint32),
        iface=np.zeros(1, np.uint16), start=np.zeros(1, np.int64), blob=b"x", options=[b""],
    )  # fmt: skip
    assert blocks[0] == early != data


def test_a_long_comment_is_cut_between_characters():
    made = pcapng.packet_options(comment="\u00e5" * 5000)
    size = struct.unpack_from("<HH", made)[1]
    assert size == pcapng.MAX_OPTION
    made[4 : 4 + size].decode()
