"""The file of a captured address space: JSON text, plain or packed, checked while it is read.

This room knows files and the shape of JSON, not what the fields mean: `address_space` does.
Start with `read` and `write`; `Members` takes an object apart and says where in the file
something is not as it should be.

Left out: what the versions of the format differ in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UsageError
from ..flags import MiB
from .compressed import look, pieces, regular_file
from .writing import packer, packing_of, replacing

_TEXT_MAX = 512 * MiB
_QUOTED = 40


class Members:
    """One JSON object, whose members are taken out one by one.

    Parameters
    ----------
    value
        What stands in the file.
    where
        The path to it, such as ``areas[3]``; empty for the whole document.
    names
        The members it must have, no more and no less.

    Raises
    ------
    UsageError
        It is no object, or its members are others.
    """

    def __init__(self, value: object, where: str, names: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise UsageError(f"{where or 'the document'} is {quoted(value)}; it must be an object")
        self._prefix = f"{where}." if where else ""
        self._value = value
        expected = list(names)
        for name in expected:
            if name not in value:
                raise UsageError(f"{self._prefix}{name} is missing")
        for name in value:
            if name not in expected:
                known = ", ".join(expected)
                raise UsageError(f"{self._prefix}{quoted(name)[1:-1]} is not known here; there are {known}")

    def __getitem__(self, name: str) -> Any:
        return self._value[name]

    def where(self, name: str) -> str:
        """Return the path to a member."""
        return self._prefix + name

    def array(self, name: str) -> list[Any]:
        """Return a member that must be an array."""
        value = self._value[name]
        if not isinstance(value, list):
            raise UsageError(f"{self._prefix}{name} is {quoted(value)}; it must be an array")
        return value

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a member that must be an object with names of its own."""
        value = self._value[name]
        if not isinstance(value, dict):
            raise UsageError(f"{self._prefix}{name} is {quoted(value)}; it must be an object")
        return value


def quoted(value: object) -> str:
    """Return a value as it stands in the file, or its beginning if it is long."""
    text = json.dumps(value)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."


def parse(text: str | bytes) -> object:
    """Return what a JSON text says.

    Raises
    ------
    UsageError
        It is no JSON, with line and column; or an object has a member twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise UsageError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"byte {error.start}: not JSON: it is no {error.encoding} text") from None
    except RecursionError:
        raise UsageError("not a capture: nested too deep") from None
    except ValueError as error:
        raise UsageError(f"not JSON that can be read: {error}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"member {quoted(twice)} stands twice in one object")
    return members


def read(path: str | os.PathLike[str]) -> bytes:
    """Return the text of a file, unpacked.

    Raises
    ------
    UsageError
        With the file: it is not there, cannot be read, is damaged, cut off or larger than
        any capture.
    """
    file = regular_file(path)
    text = bytearray()
    for piece, _ in pieces(file, look(file), MiB):
        text += piece
        if len(text) > _TEXT_MAX:
            raise UsageError(f"{file}: more than {_TEXT_MAX // MiB} MiB of text; this is no capture")
    return bytes(text)


def write(path: str | os.PathLike[str], text: str) -> None:
    """Write a file, packed if its name ends with ``.gz``, ``.xz`` or ``.zst``: all of it, or nothing.

    Raises
    ------
    UsageError
        With the file and why it cannot be written; what was there stays.
    """
    data = text.encode("ascii")
    packing = packing_of(str(path))
    with replacing(path) as file, packer(packing, path)(file) as packed:
        packed.write(data)
