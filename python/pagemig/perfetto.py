"""Traces in the format of Perfetto: tracks, slices on them, instants and counters, as protobuf.

Start with `TraceWriter`. It writes the few messages that a picture needs (``TracePacket``,
``TrackDescriptor``, ``TrackEvent``, ``DebugAnnotation``) and nothing else, so that no library is
needed for it. Equal calls give equal bytes.

Source: Perfetto's public documentation of its trace protocol; the numbers of the fields are its
`.proto` files'. Above: `pagemig.timeline`. Left out: interned names, processes, clocks.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from .errors import UsageError

_PACKET = 1  # Trace.packet
_TIMESTAMP, _SEQUENCE, _EVENT, _FLAGS, _DESCRIPTOR = 8, 10, 11, 13, 60  # TracePacket
_UUID, _NAME, _PARENT, _COUNTER, _ORDERING, _RANK = 1, 2, 5, 8, 11, 12  # TrackDescriptor
_UNIT_NAME = 6  # CounterDescriptor
_NOTE, _TYPE, _TRACK, _CATEGORY, _EVENT_NAME, _VALUE = 4, 9, 11, 22, 23, 30  # TrackEvent
_NOTE_INT, _NOTE_TEXT, _NOTE_NAME = 4, 6, 10  # DebugAnnotation
_STATE_CLEARED = 1  # of sequence_flags
_EXPLICIT = 3  # of child_ordering


class _Kind(enum.IntEnum):
    """``TrackEvent.Type``."""

    BEGIN = 1
    END = 2
    INSTANT = 3
    COUNTER = 4


class TraceWriter:
    """A trace that grows. Times are nanoseconds and must not go back.

    Examples
    --------
    >>> writer = TraceWriter()
    >>> lane = writer.track("lane")
    >>> writer.begin(lane, 0, "step")
    >>> writer.end(lane, 1000)
    >>> len(writer.trace())
    53
    """

    __slots__ = ("_open", "_packets", "_sequence", "_time", "_tracks")

    def __init__(self, *, part: int = 0) -> None:
        """Begin a trace, or a further part of one.

        Parts have tracks and a time of their own; their bytes, one after the other, are one trace.
        """
        self._packets: list[bytes] = []
        self._tracks = part << 32
        self._sequence = part + 1
        self._open: dict[int, int] = {}
        """How many slices are open on each track."""
        self._time = 0

    def track(self, name: str, *, parent: int | None = None, unit: str | None = None) -> int:
        """Make a track and return its number.

        Parameters
        ----------
        name
            What to call it.
        parent
            The track that it is drawn below; children are drawn in the order in which they were made.
        unit
            Makes it a track of counters, of this unit.
        """
        self._tracks += 1
        fields = _number(_UUID, self._tracks) + _text(_NAME, name)
        if parent is not None:
            fields += _number(_PARENT, parent)
        if unit is not None:
            fields += _bytes(_COUNTER, _text(_UNIT_NAME, unit))
        fields += _number(_ORDERING, _EXPLICIT) + _number(_RANK, self._tracks)
        self._open[self._tracks] = 0
        self._add(_bytes(_DESCRIPTOR, fields))
        return self._tracks

    def begin(
        self,
        track: int,
        time: int,
        name: str,
        notes: Mapping[str, str | int] | None = None,
        *,
        category: str = "",
    ) -> None:
        """Begin a slice; it lies within those that are open on its track."""
        self._open[track] += 1
        self._event(track, time, _Kind.BEGIN, _described(name, category, notes or {}))

    def end(self, track: int, time: int) -> None:
        """End the slice that was begun last on a track."""
        if not self._open[track]:
            raise UsageError(f"no slice is open on track {track}")
        self._open[track] -= 1
        self._event(track, time, _Kind.END, b"")

    def instant(self, track: int, time: int, name: str, notes: Mapping[str, str | int] | None = None) -> None:
        """Mark one moment."""
        self._event(track, time, _Kind.INSTANT, _described(name, "", notes or {}))

    def count(self, track: int, time: int, value: int) -> None:
        """Say what a counter is from now on."""
        self._event(track, time, _Kind.COUNTER, _number(_VALUE, value))

    def trace(self) -> bytes:
        """Return the whole trace."""
        return b"".join(_bytes(_PACKET, packet) for packet in self._packets)

    def _event(self, track: int, time: int, kind: _Kind, rest: bytes) -> None:
        if time < self._time:
            raise UsageError(f"an event at {time}, after one at {self._time}: times must not go back")
        self._time = time
        event = _number(_TYPE, kind) + _number(_TRACK, track) + rest
        self._add(_number(_TIMESTAMP, time) + _bytes(_EVENT, event))

    def _add(self, fields: bytes) -> None:
        flags = b"" if self._packets else _number(_FLAGS, _STATE_CLEARED)
        self._packets.append(fields + _number(_SEQUENCE, self._sequence) + flags)


def _described(name: str, category: str, notes: Mapping[str, str | int]) -> bytes:
    """Write name, category and notes of an event."""
    fields = _text(_EVENT_NAME, name)
    if category:
        fields += _text(_CATEGORY, category)
    for key, value in notes.items():
        said = _text(_NOTE_TEXT, value) if isinstance(value, str) else _number(_NOTE_INT, value)
        fields += _bytes(_NOTE, _text(_NOTE_NAME, key) + said)
    return fields


def varint(number: int) -> bytes:
    """Write a number as protobuf does: seven bits a byte, the lowest first; negative ones in 64 bits.

    >>> varint(300).hex(), len(varint(-1))
    ('ac02', 10)
    """
    rest = number & (1 << 64) - 1
    written = bytearray()
    while rest > 0x7F:
        written.append(rest & 0x7F | 0x80)
        rest >>= 7
    written.append(rest)
    return bytes(written)


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
