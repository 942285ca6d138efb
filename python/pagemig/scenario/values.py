"""The kinds of values that a scenario's fields take, each with its own words for what is wrong.

Every one is a type annotated with how it is read, and with what the JSON schema says of it.
A value stays what the person wrote, brought into one form: sizes become bytes, enumerations
their lower-case names, references stay text that `pagemig.scenario.world` looks up.

What a reference may name is known from the `Names` in the validation's context.
"""

from __future__ import annotations

import enum
import errno
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from .. import flags
from ..flags import FILE_PAGES_MAX, NODES_MAX, PAGE_SIZE, USER_END
from ..machine_kernel import BY_HAND
from ..task_memory import BY_PROTECTION
from . import naming
from .naming import NOTATION, Names, Reference, nearest
from .ranges import U32, U64, Between, is_number

Int = Annotated[int, Strict()]
Bool = Annotated[bool, Strict()]


def _schedule(value: str) -> str:
    at = re.match(r"(?:[0-9]+[a-z])*", value, re.ASCII)
    end = at.end() if at is not None else 0
    if end < len(value):
        raise ValueError(f"it is {value!r}; at character {end + 1}: it must be like 3a1b2a")
    return value


Schedule = Annotated[
    str,
    Strict(),
    AfterValidator(_schedule),
    WithJsonSchema({"type": "string", "pattern": "^([0-9]+[a-z])*$"}),
]


def _writable(value: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"it is {value!r}; half a surrogate pair is no character, and no file can hold it")
    return value


Text = Annotated[str, Strict(), AfterValidator(_writable)]


class Shown:
    """Says in the JSON schema what a field with a reader of its own takes."""

    def __init__(self, **schema: Any) -> None:
        self._schema = schema

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self._schema)


def known(info: ValidationInfo) -> Names:
    """Return the names of the scenario that is being read."""
    return info.context if isinstance(info.context, Names) else Names()


def _as_it_is(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


AS_IT_IS = PlainSerializer(_as_it_is)
"""Writes a value that may be one or several."""


# names -----------------------------------------------------------------------------------


def _name_of(kind: str) -> Callable[[Any, ValidationInfo], str]:
    def read(value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str):
            raise ValueError(f"it is {value!r}; it must be the name of one of the {kind}")
        known(info).find(kind, value)
        return value

    return read


def _new_name(value: Any) -> str:
    if not naming.is_name(value):
        raise ValueError(f"{value!r} is no name; a letter comes first, then letters, digits and '_'")
    return str(value)


_NAME_SCHEMA = Shown(type="string", pattern="^[A-Za-z_][A-Za-z0-9_]*$")

NewName = Annotated[str, PlainValidator(_new_name), _NAME_SCHEMA]
TaskName = Annotated[str, PlainValidator(_name_of("tasks")), _NAME_SCHEMA]
FileName = Annotated[str, PlainValidator(_name_of("files")), _NAME_SCHEMA]
MemcgName = Annotated[str, PlainValidator(_name_of("memcgs")), _NAME_SCHEMA]
CpusetName = Annotated[str, PlainValidator(_name_of("cpusets")), _NAME_SCHEMA]


def _target(low: int, high: int) -> Any:
    """The type of a task by its name, or of a pid."""

    def read(value: Any, info: ValidationInfo) -> str | int:
        if is_number(value):
            return int(Between(low, high).read(value))
        if not isinstance(value, str):
            raise ValueError(f"it is {value!r}; it must be the name of a task, or a pid")
        known(info).find("tasks", value)
        return value

    shown = [{"type": "string"}, Between(low, high).shown()]
    return PlainValidator(read), Shown(anyOf=shown, description="A task, or a pid that nobody has.")


Target = Annotated[str | int, *_target(-(1 << 31), (1 << 31) - 1), AS_IT_IS]
RawTarget = Annotated[str | int, *_target(-(1 << 63), (1 << 64) - 1), AS_IT_IS]
"""What a register holds; the kernel looks at its lower half."""


def _node(value: Any, info: ValidationInfo) -> int:
    if not is_number(value):
        raise ValueError(f"it is {value!r}; it must be the number of a node")
    nodes = known(info).nodes
    if nodes is not None and value not in nodes:
        raise ValueError(f"there is no node {value}; the machine has {', '.join(map(str, nodes))}")
    return int(value)


def _any_node(value: Any) -> int:
    if not is_number(value) or not 0 <= value < NODES_MAX:
        raise ValueError(f"it is {value!r}; the number of a node is 0 to {NODES_MAX - 1}")
    return int(value)


Node = Annotated[int, PlainValidator(_node), Shown(type="integer", minimum=0, maximum=NODES_MAX - 1)]
AnyNode = Annotated[int, PlainValidator(_any_node), Shown(type="integer", minimum=0, maximum=NODES_MAX - 1)]


_INT = Between(-(1 << 31), (1 << 31) - 1)


def _wanted_nodes(value: Any) -> int | tuple[int, ...]:
    if is_number(value):
        return int(_INT.read(value))
    if isinstance(value, (list, tuple)) and all(map(is_number, value)):
        for number in value:
            if not _INT.low <= number <= _INT.high:
                raise ValueError(f"it holds {number}; the number of a node must fit into 32 bits")
        return tuple(value)
    raise ValueError(f"it is {value!r}; it must be one node for all pages, or a list with one for each")


WantedNodes = Annotated[
    int | tuple[int, ...],
    PlainValidator(_wanted_nodes),
    AS_IT_IS,
    Shown(anyOf=[_INT.shown(), {"type": "array", "items": _INT.shown()}]),
]


# references to memory --------------------------------------------------------------------


def _refer(text: str, names: Names) -> Reference:
    """Read a reference to a region and check what can be checked before anything runs."""
    found = naming.parse(text)
    names.find("regions", found.name)
    if found.task is not None:
        names.find("tasks", found.task)
    pages = names.regions[found.name][1]
    if pages is not None and found.stop is not None and found.stop > pages:
        raise ValueError(f"{text!r}: {found.name} has {pages} pages, 0 to {pages - 1}")
    return found


def _number(value: Any, high: int) -> str | None:
    """Read a number from 0 on, also one that is written as text; None if it is neither."""
    number = naming.number_in(value) if isinstance(value, str) else value if is_number(value) else None
    if number is None:
        return None
    Between(0, high).read(number)
    return value if isinstance(value, str) else hex(value)


def _address(value: Any, info: ValidationInfo) -> str:
    number = _number(value, U64)
    if number is not None:
        return number
    if not isinstance(value, str):
        raise ValueError(f"it is {value!r}; it must be an address, such as 'heap[3]', 'heap+16' or 0x7000")
    found = _refer(value, known(info))
    if found.first is not None and found.stop != found.first + 1:
        raise ValueError(
            f"{value!r} is several pages; one address is wanted, such as '{found.name}[{found.first}]'"
        )
    return value


def _region(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str) or naming.number_in(value) is not None:
        raise ValueError(f"it is {value!r}; it must be a region or pages of one: {NOTATION}")
    if _refer(value, known(info)).offset:
        raise ValueError(f"{value!r} is an address; whole pages are wanted: {NOTATION}")
    return value


def _one_where(value: Any, info: ValidationInfo) -> str:
    number = _number(value, U64)
    if number is not None:
        return number
    if not isinstance(value, str):
        raise ValueError(f"it is {value!r}; it must be pages: {NOTATION}, an address, or a list of such")
    found = _refer(value, known(info))
    if found.offset and found.first is not None and found.stop != found.first + 1:
        raise ValueError(
            f"{value!r} is several pages with an offset; give one, such as '{found.name}[{found.first}]'"
        )
    return value


def _where(value: Any, info: ValidationInfo) -> str | tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(_one_where(item, info) for item in value)
    return _one_where(value, info)


def _frame(value: Any, info: ValidationInfo) -> str:
    number = _number(value, U32)
    if number is not None:
        return number if isinstance(value, str) else str(value)
    if not isinstance(value, str):
        raise ValueError(
            f"it is {value!r}; it must be a page, such as 'heap[3]', a pin, or the number of a frame"
        )
    names = known(info)
    if value in names.pins:
        return value
    found = naming.parse(value)
    if found.name in names.files and found.task is None:
        if found.first is None or found.stop != found.first + 1 or found.offset:
            raise ValueError(f"{value!r}: say which page of the file, such as '{found.name}[0]'")
        if found.first >= FILE_PAGES_MAX:
            raise ValueError(f"{value!r}: a file has pages 0 to {FILE_PAGES_MAX - 1}")
        return value
    if found.name not in names.regions:
        listed = [*names.regions, *names.files, *names.pins]
        raise ValueError(f"{found.name!r} is no region, file or pin{nearest(found.name, listed)}")
    return _region(value, info)


def _frames(value: Any, info: ValidationInfo) -> str | tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(_frame(item, info) for item in value)
    return _frame(value, info)


def _text_or_number(high: int) -> list[dict[str, Any]]:
    return [{"type": "string"}, Between(0, high).shown()]


_ADDRESS_SHOWN, _FRAME_SHOWN = _text_or_number(U64), _text_or_number(U32)

RegionRef = Annotated[
    str, PlainValidator(_region), Shown(type="string", description=f"A region or pages of one: {NOTATION}.")
]
Address = Annotated[
    str,
    PlainValidator(_address),
    Shown(anyOf=_ADDRESS_SHOWN, description="An address: 'heap[3]', 'heap+16' or a number."),
]
Where = Annotated[
    str | tuple[str, ...],
    PlainValidator(_where),
    AS_IT_IS,
    Shown(
        anyOf=[*_ADDRESS_SHOWN, {"type": "array", "items": {"anyOf": _ADDRESS_SHOWN}}],
        description=f"Pages: {NOTATION}, an address, or a list of such.",
    ),
]
Frame = Annotated[
    str,
    PlainValidator(_frame),
    Shown(anyOf=_FRAME_SHOWN, description="A frame: the one under 'heap[3]', a page of a file, or a pin."),
]
Frames = Annotated[
    str | tuple[str, ...],
    PlainValidator(_frames),
    AS_IT_IS,
    Shown(anyOf=[*_FRAME_SHOWN, {"type": "array", "items": {"anyOf": _FRAME_SHOWN}}]),
]


# one of several words --------------------------------------------------------------------

PROTECTIONS = {"none": 0, "r": 1, "w": 2, "rw": 3, "x": 4, "rx": 5, "wx": 6, "rwx": 7}
ERRNOS = {name: code for code, name in sorted(errno.errorcode.items())}


def words_of(kind: type[enum.Enum]) -> dict[str, Any]:
    """Return the members of an enumeration under their names as a scenario spells them."""
    return {name.lower().replace("_", "-"): member for name, member in kind.__members__.items()}


class OneOf:
    """The reader of a field that takes one of some words, or a member of an enumeration."""

    def __init__(
        self, words: Iterable[str], kind: type[enum.Enum] | None = None, *, others: str = ""
    ) -> None:
        self.words = tuple(words)
        self.kind = kind
        self.others = others
        """What to say of a member of the enumeration that is none of the words."""

    def read(self, value: Any) -> str:
        """Return the word; `ValueError` if it is none of them."""
        if self.kind is not None and isinstance(value, self.kind):
            value = (value.name or "").lower().replace("_", "-")
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"it is {value!r}{self._hint(value)}")
        return value

    def _hint(self, value: Any) -> str:
        listed = f"; there is: {', '.join(self.words)}"
        if not isinstance(value, str):
            return listed
        if self.others and self.kind is not None and value in self.kind.__members__:
            return f"; {self.others}"
        return nearest(value, self.words)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}


class SomeOf(OneOf):
    """The reader of a field that takes a list of words, or flags of an enumeration."""

    def read_all(self, value: Any) -> tuple[str, ...]:
        """Return the words, in the order given; `ValueError` if one is none of them."""
        if self.kind is not None and isinstance(value, self.kind):
            return tuple(member.name or "" for member in self.kind if int(member.value) & int(value.value))
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"it is {value!r}; it must be a list, such as [{self.words[0]!r}]")
        for word in value:
            if word not in self.words:
                raise ValueError(f"it holds {word!r}{self._hint(word)}")
        return tuple(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read_all)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string", "enum": list(self.words)}}


Protection = Annotated[str, OneOf(PROTECTIONS)]
Profile = Annotated[str, OneOf(words_of(flags.Profile), flags.Profile)]
Scope = Annotated[str, OneOf(words_of(flags.MoveScope), flags.MoveScope)]
Advice = Annotated[str, OneOf(words_of(flags.Advice), flags.Advice)]
Family = Annotated[str, OneOf(words_of(flags.PageFamily), flags.PageFamily)]
Fineness = Annotated[str, OneOf(words_of(flags.Granularity), flags.Granularity)]
Mode = Annotated[str, OneOf(words_of(flags.PolicyMode), flags.PolicyMode)]
EntryWord = Annotated[str, OneOf(words_of(flags.EntryKind), flags.EntryKind)]
ListWord = Annotated[str, OneOf([*words_of(flags.LruList), "none"], flags.LruList)]
ErrnoWord = Annotated[str, OneOf(ERRNOS)]
Capabilities = Annotated[
    tuple[str, ...],
    SomeOf([name for name in flags.Capability.__members__ if name != "NONE"], flags.Capability),
]
AreaFlags = Annotated[
    tuple[str, ...],
    SomeOf(
        [name for name, flag in flags.VmFlags.__members__.items() if not flag & BY_PROTECTION],
        flags.VmFlags,
        others="say that with protection and shared",
    ),
]
BindFlags = Annotated[
    tuple[str, ...],
    SomeOf([name for name in flags.MbindFlags.__members__ if name != "NONE"], flags.MbindFlags),
]
_BY_HAND = [name for name, flag in flags.PageFlags.__members__.items() if flag & BY_HAND]
FlagByHand = Annotated[
    str, OneOf(_BY_HAND, flags.PageFlags, others=f"by hand it must be one of {', '.join(_BY_HAND)}")
]
FlagWords = Annotated[
    tuple[str, ...],
    SomeOf([*flags.PageFlags.__members__, *(f"!{name}" for name in flags.PageFlags.__members__)]),
]


def _status(value: Any) -> int:
    """A node, or a negative errno by number or name: 1, -16, '-EBUSY'."""
    if is_number(value):
        return int(value)
    if isinstance(value, str) and value.startswith("-") and value[1:] in ERRNOS:
        return -ERRNOS[value[1:]]
    words = [f"-{name}" for name in ERRNOS]
    close = nearest(value, words) if isinstance(value, str) else ""
    hint = close if close.startswith("; did") else "; it must be a node, or an errno such as '-EBUSY'"
    raise ValueError(f"it is {value!r}{hint}")


def _statuses(value: Any) -> int | tuple[int, ...] | dict[int, int]:
    if isinstance(value, dict):
        counts = {}
        for word, pages in value.items():
            digits = isinstance(word, str) and word.lstrip("-").isdigit()
            if not is_number(pages) or pages < 0:
                raise ValueError(f"{word!r} is for {pages!r} pages; it must be a number of them")
            counts[_status(int(word) if digits else word)] = pages
        return counts
    if isinstance(value, (list, tuple)):
        return tuple(map(_status, value))
    return _status(value)


def status_word(status: int) -> int | str:
    """Return a status as a scenario spells it: a node, or the name of an errno.

    >>> status_word(1), status_word(-16)
    (1, '-EBUSY')
    """
    return f"-{errno.errorcode[-status]}" if -status in errno.errorcode else status


def _write_statuses(value: int | tuple[int, ...] | dict[int, int]) -> Any:
    if isinstance(value, dict):
        return {str(status_word(status)): pages for status, pages in value.items()}
    if isinstance(value, tuple):
        return [status_word(status) for status in value]
    return status_word(value)


_STATUS = [{"type": "integer"}, {"type": "string", "enum": [f"-{name}" for name in ERRNOS]}]

Statuses = Annotated[
    int | tuple[int, ...] | dict[int, int],
    PlainValidator(_statuses),
    PlainSerializer(_write_statuses),
    Shown(
        anyOf=[
            *_STATUS,
            {"type": "array", "items": {"anyOf": _STATUS}},
            {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        ],
        description="One a page; one for all; or how many pages of each: {1 = 169, '-EBUSY' = 3}.",
    ),
]


def _start(value: Any) -> int:
    if isinstance(value, str):
        number = naming.number_in(value)
        if number is None:
            raise ValueError(f"{value!r} is not an address such as 0x10000000")
        value = number
    if not is_number(value) or value % PAGE_SIZE or not 0 <= value < USER_END:
        raise ValueError(f"it is {value!r}; it must be an address at the start of a page, such as 0x10000000")
    return int(value)


Start = Annotated[
    int,
    PlainValidator(_start),
    PlainSerializer(hex, return_type=str),
    Shown(
        anyOf=[
            {"type": "string"},
            {**Between(0, USER_END - PAGE_SIZE).shown(), "multipleOf": PAGE_SIZE},
        ],
        description="The address of a page.",
    ),
]
