from packhound.processor.track.flows import FlowNotes
from tests.support.batches import batch_of, udp_packet


def test_a_flow_collects_filters_call_community_id_and_ends():
    notes = FlowNotes()
    fsets = {1: ("n/a",), 2: ("n/a", "n/b")}
    notes.see(batch_of([udp_packet()], flow=7, fsets=fsets))
    notes.see(batch_of([udp_packet()], flow=7, fset=2, fsets=fsets, calls=["c"], sequence=2))
    note = notes.of(7)
    assert list(note.filters) == ["n/a", "n/b"]
    assert note.call == "c"
    assert [str(end) for end in note.ends] == ["10.0.0.1:40000", "10.0.0.2:5060"]
    assert note.community.startswith("1:")
    assert notes.community(7) == note.community


def test_a_packet_that_shows_no_address_leaves_the_next_one_to_tell():
    notes = FlowNotes()
    notes.see(batch_of([b"\0" * 10], flow=7))
    assert notes.community(7) == ""
    notes.see(batch_of([udp_packet()], flow=7, sequence=2))
    assert notes.community(7)


def test_packets_without_flow_are_nobodys():
    notes = FlowNotes()
    notes.see(batch_of([udp_packet()], flow=0))
    assert len(notes) == 0
    assert notes.community(0) == ""


def test_the_flow_longest_silent_is_forgotten_first():
    notes = FlowNotes(capacity=2)
    for sequence, flow in enumerate([1, 2, 1, 3], 1):
        notes.see(batch_of([udp_packet()], flow=flow, sequence=sequence))
    assert notes.forgotten == 1
    assert notes.community(2) == ""
    assert notes.community(1)
    notes.forget([1, 3])
    assert len(notes) == 0
