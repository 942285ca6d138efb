"""Protobuf read by hand: fields as they stand in the bytes, for tests that believe no library.

Start with :func:`read`. Only the two wire types that our traces have: numbers and bytes.
"""

from __future__ import annotations


def read(data: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a message in their order: (number of the field, value)."""
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        value, at = _varint(data, at)
        if kind == 0:
            fields.append((number, value))
        elif kind == 2:
            assert at + value <= len(data), "a field that ends beyond its message"
            fields.append((number, data[at : at + value]))
            at += value
        else:
            raise AssertionError(f"field {number} has wire type {kind}")
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


class Message:
    """The fields of a message, asked for by number; the last of a kind counts."""

    def __init__(self, data: bytes) -> None:
        self._fields = dict(read(data))

    def has(self, field: int) -> bool:
        """Whether the field is there."""
        return field in self._fields

    def number(self, field: int) -> int:
        """A field that is a number; 0 if it is not there."""
        value = self._fields.get(field, 0)
        assert isinstance(value, int)
        return value

    def bytes(self, field: int) -> bytes:
        """A field that is bytes or a message."""
        value = self._fields[field]
        assert isinstance(value, bytes)
        return value

    def text(self, field: int) -> str:
        """A field that is text."""
        return self.bytes(field).decode()
