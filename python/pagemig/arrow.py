"""Columns for dataframes: the Arrow C data interface, made by ctypes.

A library that knows the PyCapsule interface asks an object for ``__arrow_c_stream__`` and gets a stream
of one record batch. Numbers are lent, not copied: what is lent is kept in `_kept` until the reader
releases it, which it may do from any thread and in any order.

Start with `stream`. Above: `tables`. Source: the Arrow project's specifications "C data interface", "C
stream interface" and "PyCapsule interface". Left out: missing values, and types that no table has.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

_FORMATS = {
    "b1": b"b",
    "i1": b"c",
    "u1": b"C",
    "i2": b"s",
    "u2": b"S",
    "i4": b"i",
    "u4": b"I",
    "i8": b"l",
    "u8": b"L",
    "f4": b"f",
    "f8": b"g",
}
_TEXT = b"U"


class _Schema(ctypes.Structure):
    """``struct ArrowSchema``: a type and a name."""


class _Array(ctypes.Structure):
    """``struct ArrowArray``: the values of a column, or columns."""


class _Stream(ctypes.Structure):
    """``struct ArrowArrayStream``: batches, one after the other."""


_ReleaseSchema = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))
_ReleaseArray = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))
_ReleaseStream = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))
_GetSchema = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema))
_GetNext = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))
_GetLastError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Stream))

_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.POINTER(_Schema)),
    ("release", _ReleaseSchema),
    ("private_data", ctypes.c_void_p),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.POINTER(_Array)),
    ("release", _ReleaseArray),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    ("get_schema", _GetSchema),
    ("get_next", _GetNext),
    ("get_last_error", _GetLastError),
    ("release", _ReleaseStream),
    ("private_data", ctypes.c_void_p),
]

# What is lent, by the number that stands in ``private_data``.
_kept: dict[int, Any] = {}
_numbers = itertools.count(1)


def lent() -> int:
    """Return how many structures are lent at the moment."""
    return len(_kept)


def _keep(*what: Any) -> int:
    number = next(_numbers)
    _kept[number] = what
    return number


def _release_schema(pointer: Any) -> None:
    _release(pointer.contents, _ReleaseSchema)


def _release_array(pointer: Any) -> None:
    _release(pointer.contents, _ReleaseArray)


def _release(structure: Any, kind: Any) -> None:
    """Release what was not taken out of a structure, and forget what it lends."""
    for at in range(structure.n_children):
        child = structure.children[at]
        if child.contents.release:
            child.contents.release(child)
    number = structure.private_data
    structure.release = kind()
    _kept.pop(number, None)


def _release_stream(pointer: Any) -> None:
    number = pointer.contents.private_data
    pointer.contents.release = _ReleaseStream()
    _kept.pop(number, None)


def _get_schema(stream: Any, out: Any) -> int:
    columns, _ = _kept[stream.contents.private_data][0]
    _fill_schema(out.contents, b"+s", b"", [(_format_of(column), name) for name, column in columns.items()])
    return 0


def _get_next(stream: Any, out: Any) -> int:
    state = _kept[stream.contents.private_data][0]
    columns, is_over = state
    if is_over:
        out.contents.release = _ReleaseArray()
        return 0
    state[1] = True
    _fill_batch(out.contents, columns)
    return 0


def _get_last_error(_stream: Any) -> int:
    return 0


# What readers call; these must live as long as the process.
_RELEASE_SCHEMA: Any = _ReleaseSchema(_release_schema)
_RELEASE_ARRAY: Any = _ReleaseArray(_release_array)
_RELEASE_STREAM: Any = _ReleaseStream(_release_stream)
_GET_SCHEMA: Any = _GetSchema(_get_schema)
_GET_NEXT: Any = _GetNext(_get_next)
_GET_LAST_ERROR: Any = _GetLastError(_get_last_error)


def _format_of(column: Any) -> bytes:
    return _TEXT if isinstance(column, tuple) else _FORMATS[column.dtype.str[1:]]


def _fill_schema(out: Any, format: bytes, name: bytes, fields: list[tuple[bytes, str]]) -> None:
    children = []
    for child_format, child_name in fields:
        child = _Schema()
        _fill_schema(child, child_format, child_name.encode(), [])
        children.append(child)
    pointers = (ctypes.POINTER(_Schema) * max(1, len(children)))(*map(ctypes.pointer, children))
    out.format, out.name, out.metadata = format, name, None
    out.flags, out.n_children = 0, len(children)
    out.children = ctypes.cast(pointers, ctypes.POINTER(ctypes.POINTER(_Schema)))
    out.dictionary = None
    out.release = _RELEASE_SCHEMA
    out.private_data = _keep(format, name, children, pointers)


def _buffers_of(column: Any) -> list[Any]:
    """Return the buffers of a column behind its (absent) bitmap of missing values."""
    if isinstance(column, tuple):
        encoded = [text.encode("utf-8", "surrogatepass") for text in column]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return [ends, np.frombuffer(b"".join(encoded) or b"\0", dtype=np.uint8)]
    if column.dtype.kind == "b":
        return [np.packbits(column, bitorder="little")]
    native = column.dtype.newbyteorder("=")
    return [np.ascontiguousarray(column, dtype=native)]


def _fill_array(out: Any, length: int, buffers: list[Any], children: list[Any]) -> None:
    # The first buffer would say which values are missing; none is.
    addresses = (ctypes.c_void_p * (1 + len(buffers)))(None, *(buffer.ctypes.data for buffer in buffers))
    pointers = (ctypes.POINTER(_Array) * max(1, len(children)))(*map(ctypes.pointer, children))
    out.length, out.null_count, out.offset = length, 0, 0
    out.n_buffers, out.n_children = 1 + len(buffers), len(children)
    out.buffers = ctypes.cast(addresses, ctypes.POINTER(ctypes.c_void_p))
    out.children = ctypes.cast(pointers, ctypes.POINTER(ctypes.POINTER(_Array)))
    out.dictionary = None
    out.release = _RELEASE_ARRAY
    out.private_data = _keep(buffers, addresses, children, pointers)


def _fill_batch(out: Any, columns: Mapping[str, Any]) -> None:
    children = []
    for column in columns.values():
        child = _Array()
        _fill_array(child, len(column), _buffers_of(column), [])
        children.append(child)
    _fill_array(out, len(next(iter(columns.values()), ())), [], children)


_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

# The structures inside capsules, by address.
_in_capsules: dict[int, Any] = {}

_SCHEMA_NAME = b"arrow_schema"
_STREAM_NAME = b"arrow_array_stream"


def _drop_schema(capsule: int) -> None:
    _drop(_capsule_pointer(capsule, _SCHEMA_NAME))


def _drop_stream(capsule: int) -> None:
    _drop(_capsule_pointer(capsule, _STREAM_NAME))


_DROP_SCHEMA: Any = _Destructor(_drop_schema)
_DROP_STREAM: Any = _Destructor(_drop_stream)


def _drop(address: int) -> None:
    """Release what nobody took out of a capsule, and its memory."""
    structure = _in_capsules.pop(address)
    if structure.release:
        structure.release(ctypes.pointer(structure))


def _capsule(structure: Any, name: bytes, destructor: Any) -> object:
    address = ctypes.addressof(structure)
    _in_capsules[address] = structure
    made: object = _new_capsule(address, name, ctypes.cast(destructor, ctypes.c_void_p))
    return made


def schema(columns: Mapping[str, Any]) -> object:
    """Return a capsule that tells names and types of columns."""
    structure = _Schema()
    _fill_schema(structure, b"+s", b"", [(_format_of(column), name) for name, column in columns.items()])
    return _capsule(structure, _SCHEMA_NAME, _DROP_SCHEMA)


def stream(columns: Mapping[str, Any]) -> object:
    """Return a capsule that gives columns as one batch.

    Parameters
    ----------
    columns
        By name: flat arrays of numbers or bools, or tuples of str, of one length.
    """
    structure = _Stream()
    structure.get_schema, structure.get_next = _GET_SCHEMA, _GET_NEXT
    structure.get_last_error, structure.release = _GET_LAST_ERROR, _RELEASE_STREAM
    structure.private_data = _keep([dict(columns), False])
    return _capsule(structure, _STREAM_NAME, _DROP_STREAM)
