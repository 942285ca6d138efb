"""Numbers and sizes of a scenario, each with the range that it lies in.

Every kind is a type annotated with how it is read and with what the JSON schema says of it: an editor marks
what is out of range while one types, and `pagemig.scenario.reading` says it in words. A number that is out
of range also knows the nearest one that is not, so that the rest of the page can be looked at all the same.

Start with `Between`. Ranges that depend on the rest of the page are in `pagemig.scenario.fitting`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

from ..calls.accesses import READ_MAX
from ..calls.files import TRANSFER_MAX
from ..flags import FILE_BYTES_MAX, FILE_PAGES_MAX, NODES_MAX, PAGE_SIZE, USER_END
from ..machine import SWAP_BYTES_MAX
from ..memcg import LIMIT_MAX
from ..topology import CPUS_MAX, FRAMES_MAX
from . import naming

U16, U32, U64 = (1 << 16) - 1, (1 << 32) - 1, (1 << 64) - 1
_I32 = (1 << 31) - 1
_ERRNO_MAX = 4095


class OutOfRange(ValueError):
    """A number or size that is too small or too large.

    Attributes
    ----------
    nearest
        The nearest one that would be right.
    """

    def __init__(self, words: str, nearest: int) -> None:
        super().__init__(words)
        self.nearest = nearest


def is_number(value: object) -> bool:
    """Whether something is an int, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


class _Read(ABC):
    """What has a reader of its own, `read`, and a `shown` for the JSON schema."""

    @abstractmethod
    def read(self, value: Any) -> Any:
        """Return the value; `ValueError` if it is none."""

    @abstractmethod
    def shown(self) -> dict[str, Any]:
        """Return what the JSON schema says."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.shown()


class Between(_Read):
    """The reader of a whole number from ``low`` to ``high``, or of one of some words instead.

    Examples
    --------
    >>> Between(0, 7).read(9)
    Traceback (most recent call last):
        ...
    pagemig.scenario.ranges.OutOfRange: it is 9; it must be 0 to 7
    """

    def __init__(self, low: int, high: int, words: Iterable[str] = ()) -> None:
        self.low, self.high, self.words = low, high, tuple(words)

    def read(self, value: Any) -> int | str:
        """Return the number or the word."""
        if isinstance(value, str) and value in self.words:
            return value
        if not is_number(value):
            close = naming.nearest(value, self.words) if isinstance(value, str) and self.words else ""
            instead = close or (f" or {', '.join(map(repr, self.words))}" if self.words else "")
            must = "" if close else f"; it must be a whole number{instead}"
            raise ValueError(f"it is {value!r}{must}{close}")
        if not self.low <= value <= self.high:
            nearest = min(max(value, self.low), self.high)
            raise OutOfRange(f"it is {value}; it must be {self.low} to {self.high}", nearest)
        return int(value)

    def shown(self) -> dict[str, Any]:
        """Return what the JSON schema says."""
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [number, {"type": "string", "enum": list(self.words)}]} if self.words else number


class OneNumber(_Read):
    """The reader of a number that is one of a few."""

    def __init__(self, numbers: Iterable[int], words: str) -> None:
        self.numbers, self.words = tuple(numbers), words

    def read(self, value: Any) -> int:
        """Return the number."""
        if not is_number(value):
            raise ValueError(f"it is {value!r}; it must be a whole number")
        if value not in self.numbers:
            nearest = min(self.numbers, key=lambda number: abs(number - value))
            raise OutOfRange(f"it is {value}; it must be {self.words}", nearest)
        return int(value)

    def shown(self) -> dict[str, Any]:
        """Return what the JSON schema says."""
        return {"type": "integer", "enum": list(self.numbers)}


class Bytes(_Read):
    """The reader of a size from ``low`` to ``high`` bytes, as a number or as text such as ``64MiB``."""

    def __init__(self, low: int = 0, high: int = U64, *, whole_pages: bool = False) -> None:
        self.low, self.high, self.whole_pages = low, high, whole_pages

    def read(self, value: Any) -> int:
        """Return bytes."""
        if isinstance(value, str):
            amount = naming.bytes_in(value)
        elif is_number(value) and value >= 0:
            amount = int(value)
        else:
            raise ValueError(f"it is {value!r}; it must be a size such as '64MiB', or a number of bytes")
        if self.whole_pages and amount % PAGE_SIZE:
            below = amount - amount % PAGE_SIZE
            raise OutOfRange(
                f"it is {amount} bytes, no whole pages; {below} or {below + PAGE_SIZE} would be",
                min(max(below, self.low), self.high),
            )
        if not self.low <= amount <= self.high:
            nearest = min(max(amount, self.low), self.high)
            most = f"at most {naming.told(self.high)}"
            must = f"at least {naming.told(self.low)} and {most}" if self.low else most
            raise OutOfRange(f"it is {naming.told(amount)}; it must be {must}", nearest)
        return amount

    def shown(self) -> dict[str, Any]:
        """Return what the JSON schema says."""
        number = {"type": "integer", "minimum": self.low, "maximum": self.high}
        if self.whole_pages:
            number["multipleOf"] = PAGE_SIZE
        text = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[KMGTkmgt]?(i?[Bb])?$"}
        return {"anyOf": [number, text], "description": "Bytes: a number, or text such as '64MiB'."}


class CpusOfNode(_Read):
    """The reader of the CPUs of a node: how many there are, or a list with the number of each."""

    def read(self, value: Any) -> int | tuple[int, ...]:
        """Return the number, or the list."""
        if isinstance(value, (list, tuple)):
            return tuple(int(_CPU.read(cpu)) for cpu in value)
        if not is_number(value):
            raise ValueError(f"it is {value!r}; it must be how many CPUs it has, or a list of their numbers")
        return int(_CPUS_OF_NODE.read(value))

    def shown(self) -> dict[str, Any]:
        """Return what the JSON schema says."""
        return {"anyOf": [_CPUS_OF_NODE.shown(), {"type": "array", "items": _CPU.shown()}]}


class NonZero(Between):
    """The reader of a number that is not 0, or of one of some words instead."""

    def read(self, value: Any) -> int | str:
        """Return the number or the word."""
        if is_number(value) and value == 0:
            raise OutOfRange("it is 0, but what moves nothing cannot succeed; give an errno, negative", -1)
        return super().read(value)

    def shown(self) -> dict[str, Any]:
        """Return what the JSON schema says."""
        return {**super().shown(), "not": {"const": 0}}


# numbers ---------------------------------------------------------------------------------

Count = Annotated[int, Between(0, U64)]
"""How many of something, ticks, frames; from 0 on."""
SomeOf64 = Annotated[int, Between(1, U64)]
"""As `Count`, but at least one."""
Count32 = Annotated[int, Between(0, U32)]
Frames32 = Annotated[int, Between(1, U32)]
"""A number of frames, at least one."""
Depth = Annotated[int, Between(1, 1 << 16)]
UserId = Annotated[int, Between(0, U32)]
_CPU = Between(0, CPUS_MAX - 1)
_CPUS_OF_NODE = Between(0, CPUS_MAX)
CpuNumber = Annotated[int, _CPU]
Cpus = Annotated[int, Between(1, CPUS_MAX)]
Distance = Annotated[int, Between(1, 255)]
Pageblock = Annotated[int, OneNumber((1 << bit for bit in range(32)), f"a power of two, 1 to {1 << 31}")]
BufferBytes = Annotated[
    int,
    OneNumber((0, *(512 << bit for bit in range(4))), f"0, or a power of two from 512 to {PAGE_SIZE}"),
]
BufferIndex = Annotated[int, Between(0, PAGE_SIZE // 512 - 1)]
Result = Annotated[int, Between(-_I32, _I32)]
"""What a method of the kernel returns: an int of C."""
FilePage = Annotated[int, Between(0, FILE_PAGES_MAX - 1)]
Pages = Annotated[int, Between(1, USER_END // PAGE_SIZE)]
"""The length of a region."""
SeenNode = Annotated[int, Between(-1, NODES_MAX - 1)]
"""Where a page is found: a node, or -1 for nowhere."""
Register = Annotated[int, Between(0, U64)]
"""An unsigned number of 64 bits."""
Ticks = Annotated[int | str, Between(0, U64, ["never"])]


def method_or_result(words: Iterable[str]) -> Any:
    """Return the type of a migrate method: one of some words, or the number that it only returns."""
    return Annotated[int | str, NonZero(-_I32, _I32, words)]


def outcome_or_errno(words: Iterable[str]) -> Any:
    """Return the type of how a call of writepage goes: one of some words, or an errno."""
    return Annotated[int | str, Between(1, _ERRNO_MAX, words)]


# sizes -----------------------------------------------------------------------------------

_WRITE_SIZE = PlainSerializer(naming.told, return_type=str)

Size = Annotated[int, Bytes(), _WRITE_SIZE]
NodeMemory = Annotated[int, Bytes(0, FRAMES_MAX * PAGE_SIZE, whole_pages=True), _WRITE_SIZE]
ZoneMemory = Annotated[int, Bytes(PAGE_SIZE, FRAMES_MAX * PAGE_SIZE, whole_pages=True), _WRITE_SIZE]
SwapSize = Annotated[int, Bytes(0, SWAP_BYTES_MAX, whole_pages=True), _WRITE_SIZE]
Limit = Annotated[int, Bytes(0, LIMIT_MAX), _WRITE_SIZE]
RegionSize = Annotated[int, Bytes(1, USER_END), _WRITE_SIZE]
MapOffset = Annotated[int, Bytes(0, FILE_BYTES_MAX, whole_pages=True), _WRITE_SIZE]
FileSize = Annotated[int, Bytes(0, FILE_BYTES_MAX), _WRITE_SIZE]
Transfer = Annotated[int, Bytes(0, TRANSFER_MAX), _WRITE_SIZE]
"""Bytes that are read from a file or written to one."""
ReadSize = Annotated[int, Bytes(0, READ_MAX), _WRITE_SIZE]
"""Bytes that are read from memory."""
