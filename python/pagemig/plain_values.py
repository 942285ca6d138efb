"""Values as text and back: what a snapshot keeps beside the core.

Start with `write` and `read`. The text is JSON, so it is the same for equal values in every process,
and reading it runs nothing: all that can come out are numbers, text, bytes, arrays of integers, and
the classes of `KINDS`, each field of the type that its annotation says. (A pickle has neither
property; that is why it is none.)

Above: `pagemig.snapshot`. Left out: handles, such as tasks and files; values hold their numbers.
"""

from __future__ import annotations

import binascii
import collections.abc
import dataclasses
import enum
import json
import types
import typing
from base64 import b64decode, b64encode
from typing import Any

import numpy as np

from . import filesystems, flags
from .call import CallValue, KeptCall
from .calls import accesses, cpusets, engine, files, kernel, life, memory, moving, placement
from .errors import UsageError
from .permissions import SecurityHook
from .policy import Policy
from .region import Region
from .results import Anywhere, ByPage, ToNode
from .system import Beside
from .topology import Plan
from .user_memory import UserMemory

_CALLS = (accesses, cpusets, engine, files, kernel, life, memory, moving, placement)
_MODULES = (*_CALLS, filesystems, flags)
_OTHERS = (Beside, KeptCall, Plan, Region, Policy, SecurityHook, ToNode, Anywhere, ByPage)


def _kinds() -> dict[str, type]:
    """Find the enums and frozen values of the rooms that have nothing else to keep."""
    found: dict[str, type] = {kind.__name__: kind for kind in _OTHERS}
    for module in _MODULES:
        for name, kind in sorted(vars(module).items()):
            is_own = isinstance(kind, type) and kind.__module__ == module.__name__
            if is_own and (issubclass(kind, enum.Enum) or dataclasses.is_dataclass(kind)):
                found[name] = kind
    return found


KINDS = _kinds()
"""Every class that can be written and read, by its name."""


def write(value: object) -> bytes:
    """Write a value.

    Raises
    ------
    UsageError
        It holds something that is no plain value.

    Examples
    --------
    >>> write((1, None, accesses.read(4096, 2)))
    b'[1,null,{"of":"Read","values":[4096,2]}]'
    """
    return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False).encode()


def read(text: bytes, kind: type) -> Any:
    """Read what `write` wrote, a value of class ``kind``.

    Raises
    ------
    ValueError
        It is not such a text.

    Examples
    --------
    >>> read(b'{"of":"Read","values":[4096,2]}', accesses.Read)
    Read(address=4096, size=2)
    >>> read(b'{"of":"Read","values":[4096,"two"]}', accesses.Read)
    Traceback (most recent call last):
        ...
    ValueError: size of Read is 'two'
    """
    try:
        value = _value(json.loads(text))
    except (KeyError, TypeError, RecursionError, UsageError, binascii.Error) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} should be")
    return value


def _plain(value: Any) -> Any:
    """Say a value in the words of JSON."""
    kind = type(value)
    if KINDS.get(kind.__name__) is kind:
        if isinstance(value, enum.Enum):
            return {"of": kind.__name__, "value": value.value if isinstance(value, int) else value.name}
        values = [_plain(getattr(value, field.name)) for field in dataclasses.fields(kind)]
        return {"of": kind.__name__, "values": values}
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is tuple:
        return [_plain(each) for each in value]
    if type(value) in (dict, types.MappingProxyType):
        return {"map": [[_plain(key), _plain(each)] for key, each in value.items()]}
    if type(value) is bytes:
        return {"bytes": b64encode(value).decode()}
    if type(value) is np.ndarray and value.dtype.kind in "biu" and value.ndim == 1:
        return {
            "array": value.dtype.str,
            "bytes": b64encode(value.tobytes()).decode(),
            "writable": value.flags.writeable,
        }
    if type(value) is UserMemory:
        faults = [value.readable, value.writable, value.valid_bytes]
        return {"user_memory": _plain(value.array), "faults": faults}
    raise UsageError(
        f"{value!r} cannot be kept: only values of pagemig.calls and their numbers, bytes and arrays can; "
        "let the call that holds it end first"
    )


def _value(plain: Any) -> Any:
    """Make the value that JSON says."""
    if isinstance(plain, list):
        return tuple(_value(each) for each in plain)
    if not isinstance(plain, dict):
        if isinstance(plain, float):
            raise ValueError(f"{plain} is no integer")
        return plain
    if "map" in plain:
        return {_value(key): _value(each) for key, each in plain["map"]}
    if "array" in plain:
        return _array(plain)
    if "user_memory" in plain:
        return UserMemory(_value(plain["user_memory"]), *plain["faults"])
    if "bytes" in plain:
        return b64decode(plain["bytes"], validate=True)
    kind = KINDS[plain["of"]]
    if issubclass(kind, enum.Enum):
        return kind(plain["value"]) if issubclass(kind, int) else kind[plain["value"]]
    return _made(kind, [_value(each) for each in plain["values"]])


def _array(plain: dict[str, Any]) -> Any:
    wanted = np.dtype(str(plain["array"]))
    if wanted.kind not in "biu":
        raise ValueError(f"an array of {wanted}")
    array = np.frombuffer(b64decode(plain["bytes"], validate=True), dtype=wanted).copy()
    array.setflags(write=plain["writable"] is True)
    return array


def _made(kind: type, values: list[Any]) -> Any:
    """Make a frozen value; every field must be what its annotation says."""
    fields = dataclasses.fields(kind)
    hints = _hints(kind)
    for field, value in zip(fields, values, strict=True):
        if not _fits(value, hints[field.name]):
            raise ValueError(f"{field.name} of {kind.__name__} is {value!r}")
    named = zip((field.name for field in fields), values, strict=True)
    return kind(**dict(named))


def _hints(kind: type) -> dict[str, Any]:
    """Return the types of the fields of a class."""
    return typing.get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as fields of `KINDS` are annotated."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is tuple:
        if len(inner) == 2 and inner[1] is ...:
            return type(value) is tuple and all(_fits(each, inner[0]) for each in value)
        is_long_enough = type(value) is tuple and len(value) == len(inner)
        return is_long_enough and all(map(_fits, value, inner))
    if origin is collections.abc.Iterable:
        return type(value) is tuple and all(_fits(each, inner[0]) for each in value)
    if origin in (dict, collections.abc.Mapping):
        pairs = value.items() if type(value) is dict else [(None, None)]
        return all(_fits(key, inner[0]) and _fits(each, inner[1]) for key, each in pairs)
    if origin is np.ndarray:
        scalar = typing.get_args(inner[1])[0]
        return isinstance(value, np.ndarray) and (scalar is Any or value.dtype == np.dtype(scalar))
    if hint is CallValue:
        return isinstance(value, CallValue)
    return type(value) is hint
