"""Perfetto traces: what our writer writes is what Perfetto's own messages read, and what we read by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

import pagemig as pm
from pagemig.perfetto import TraceWriter, varint
from tests.reports.wire import Message, read

NAMES = st.text(max_size=20)
NOTES = st.dictionaries(st.text(min_size=1, max_size=5), st.one_of(NAMES, st.integers(-(2**63), 2**63 - 1)))


def parsed(data: bytes) -> Trace:
    """What Perfetto's own protocol makes of a trace; everything in it must be known to it."""
    trace = Trace()
    trace.ParseFromString(data)
    size = trace.ByteSize()
    trace.DiscardUnknownFields()
    assert trace.ByteSize() == size
    return trace


@given(st.integers(0, 2**64 - 1))
def test_a_number_is_written_in_groups_of_seven_bits(number: int) -> None:
    """Every byte but the last says that more follow; read back, it is the number."""
    written = varint(number)
    assert all(byte & 0x80 for byte in written[:-1])
    assert not written[-1] & 0x80
    assert sum((byte & 0x7F) << 7 * at for at, byte in enumerate(written)) == number


@given(NAMES, NAMES, NOTES, st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_perfettos_own_messages_read_what_was_written(
    name: str, slice_name: str, notes: dict[str, str | int], values: list[int]
) -> None:
    """Oracle: the classes that Perfetto ships for its protocol."""
    writer = TraceWriter()
    lane = writer.track(name)
    counter = writer.track("counter", parent=lane, unit="pages")
    writer.begin(lane, 5, slice_name, notes, category="step")
    for value in values:
        writer.count(counter, 6, value)
    writer.instant(lane, 7, "here", notes)
    writer.end(lane, 9)
    packets = parsed(writer.trace()).packet
    described = [packet.track_descriptor for packet in packets if packet.HasField("track_descriptor")]
    assert [(it.name, it.uuid, it.parent_uuid) for it in described] == [(name, 1, 0), ("counter", 2, 1)]
    assert [it.HasField("counter") for it in described] == [False, True]
    assert described[1].counter.unit_name == "pages"
    events = [packet for packet in packets if packet.HasField("track_event")]
    kinds = TrackEvent.Type
    first, *counts, here, last = events
    assert (first.timestamp, first.track_event.type) == (5, kinds.TYPE_SLICE_BEGIN)
    assert (first.track_event.name, list(first.track_event.categories)) == (slice_name, ["step"])
    found = {
        note.name: note.string_value if note.HasField("string_value") else note.int_value
        for note in first.track_event.debug_annotations
    }
    assert found == notes
    assert [(it.track_event.track_uuid, it.track_event.counter_value) for it in counts] == [
        (counter, value) for value in values
    ]
    assert (here.track_event.type, here.track_event.name) == (kinds.TYPE_INSTANT, "here")
    assert (last.timestamp, last.track_event.type) == (9, kinds.TYPE_SLICE_END)
    assert {packet.trusted_packet_sequence_id for packet in packets} == {1}
    assert packets[0].sequence_flags == 1


def test_a_trace_is_read_by_hand() -> None:
    """Without Perfetto's classes: field numbers and wire types one by one."""
    writer = TraceWriter()
    writer.begin(writer.track("a"), 300, "x")
    (_, first), (_, second) = read(writer.trace())
    assert isinstance(first, bytes)
    assert isinstance(second, bytes)
    descriptor, event = Message(first), Message(second)
    assert Message(descriptor.bytes(60)).text(2) == "a"
    assert event.number(8) == 300
    inner = Message(event.bytes(11))
    assert (inner.number(9), inner.number(11), inner.text(23)) == (1, 1, "x")


def test_what_makes_no_trace_is_refused() -> None:
    """An end without a beginning, and time that goes back."""
    writer = TraceWriter()
    lane = writer.track("lane")
    with pytest.raises(pm.UsageError, match="no slice is open on track 1"):
        writer.end(lane, 1)
    writer.begin(lane, 10, "x")
    with pytest.raises(pm.UsageError, match="an event at 9, after one at 10"):
        writer.end(lane, 9)
