"""From text or data to a `Page`, with every mistake named at once, each with its place.

Start with `page_from_toml` and `page_from`. A mistake is one line such as ``calls[1].nodes: it
is 'x'; ...``; all of them are one `UsageError`. Below: `pagemig.scenario.model`.
"""

from __future__ import annotations

import copy
import re
import tomllib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import UsageError
from .model import CALL_CLASSES, STEP_CLASSES, Page
from .naming import Names, collect, nearest
from .ranges import OutOfRange

Path = tuple[str | int, ...]

BYTES_MAX = 16 << 20
"""Bytes of the longest scenario that is read."""

_POSITION = re.compile(
    r"^(?P<reason>.*?)\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|(?P<end>end of document))\)$",
    re.DOTALL,
)


def page_from_toml(text: str, source: str) -> Page:
    """Read a scenario from TOML.

    Parameters
    ----------
    text
        The TOML.
    source
        What to call it in messages: the name of the file.
    """
    text = text.removeprefix("\ufeff")  # Some editors begin a file with a mark that says it is UTF-8.
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_told_by_toml(str(error), text, source)) from None
    except RecursionError:
        raise UsageError(f"{source}: it is nested too deeply to be read") from None
    return page_from(raw, source)


def _told_by_toml(message: str, text: str, source: str) -> str:
    """Say file, line and reason; the reader of TOML puts the place at the end."""
    found = _POSITION.match(message)
    if found is None:
        return f"{source}: not TOML: {message}"
    reason = found["reason"].strip()
    if found["line"]:
        return f"{source}, line {found['line']}, column {found['column']}: not TOML: {reason}"
    return f"{source}, line {text.count(chr(10)) + 1}: not TOML: {reason} at the end"


def page_from(raw: Mapping[str, Any], source: str = "the scenario") -> Page:
    """Read a scenario from data: what TOML or a Python call gives."""
    names = collect(raw)
    found: list[tuple[Path, str]] = list(names.twice)
    page: Page | None = None
    try:
        page = Page.model_validate(dict(raw), context=names)
    except ValidationError as error:
        details = error.errors(include_url=False)
        found += [_line(detail) for detail in details]
        found += _seen_beside(raw, names, details)
    else:
        found += checks_of(page)
    if found or page is None:
        raise UsageError(_all(found, source))
    return page


def _seen_beside(raw: Mapping[str, Any], names: Names, details: list[ErrorDetails]) -> list[tuple[Path, str]]:
    """Return the mistakes that the whole shows beside those of single fields.

    The fields with mistakes are mended on a copy: what is out of range becomes the nearest that is not, what
    may be left out is left out. Where that gives a page, its other parts are looked at; of the parts that
    were mended nothing is said, nor of anything if it is the machine that was.
    """
    places = [_line(detail)[0] for detail in details]
    if any(not place or place[0] == "machine" for place in places):
        return []
    copied = copy.deepcopy(dict(raw))
    try:
        for place, detail in zip(places, details, strict=True):
            _mend(copied, place, detail)
        page = Page.model_validate(copied, context=names)
    except (ValidationError, LookupError, TypeError):
        return []
    mended = {place[:2] for place in places}
    doubtful = frozenset(str(place[1]) for place in mended if place[0] == "regions" and len(place) > 1)
    return [mistake for mistake in checks_of(page, doubtful) if mistake[0][:2] not in mended]


def _mend(data: Any, place: Path, detail: ErrorDetails) -> None:
    for part in place[:-1]:
        data = data[part]
    wrong = detail.get("ctx", {}).get("error")
    if isinstance(wrong, OutOfRange):
        data[place[-1]] = wrong.nearest
    elif isinstance(data, dict):
        del data[place[-1]]
    else:
        raise LookupError(place)


def _all(found: list[tuple[Path, str]], source: str) -> str:
    lines = []
    for path, words in found:
        line = f"{told_path(path)}: {words}" if path else words
        if line not in lines:
            lines.append(line)
    if len(lines) == 1:
        return f"{source}: {lines[0]}"
    return f"{source}: {len(lines)} mistakes:\n" + "\n".join(f"  {line}" for line in lines)


def told_path(path: Path) -> str:
    """Write a path in a scenario as a person would.

    >>> told_path(("calls", 1, "expect", "statuses"))
    'calls[1].expect.statuses'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


# what pydantic found, in our words -------------------------------------------------------

_KINDS = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def _line(detail: ErrorDetails) -> tuple[Path, str]:
    """Return where a mistake is, in the file's own terms, and what is wrong."""
    path, kind = _walk(detail["loc"])
    error, given = detail["type"], detail["input"]
    if error == "extra_forbidden":
        keys = list(kind.model_fields) if kind is not None else []
        return path, f"unknown key{nearest(str(path[-1]), keys)}"
    if error == "missing":
        return path, f"it is missing{_about(kind, str(path[-1]))}"
    if error == "union_tag_not_found":
        return (*path, "do"), f"it is missing; say what is done: {', '.join(_verbs(path))}"
    if error == "union_tag_invalid":
        word = given.get("do") if isinstance(given, Mapping) else given
        return (*path, "do"), _unknown_verb(word, path)
    if error == "value_error":
        return path, str(detail["ctx"]["error"])
    if error == "literal_error":
        allowed = str(detail["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        if isinstance(given, str):
            return path, f"it is {given!r}{nearest(given, allowed)}"
        return path, f"it is {given!r}; there is: {', '.join(allowed)}"
    if error in _KINDS:
        return path, f"it is {given!r}; it must be {_KINDS[error]}"
    return path, f"it is {given!r}; {detail['msg']}"


def _verbs(path: Path) -> list[str]:
    return list(CALL_CLASSES if path and path[0] == "calls" else STEP_CLASSES)


def _unknown_verb(word: object, path: Path) -> str:
    verbs = _verbs(path)
    if isinstance(word, str) and word in STEP_CLASSES:
        return f"{word!r} is for a setup only; it cannot be a call"
    close = nearest(word, verbs) if isinstance(word, str) else f"; there is: {', '.join(verbs)}"
    return f"there is no verb {word!r}{close}"


def _about(kind: type[BaseModel] | None, field: str) -> str:
    told = kind.model_fields[field].description if kind is not None and field in kind.model_fields else None
    return f": {told[0].lower()}{told[1:].rstrip('.')}" if told else ""


def _walk(loc: tuple[str | int, ...]) -> tuple[Path, type[BaseModel] | None]:
    """Follow a place of pydantic's through the model: the path without tags, and the model it ends in."""
    at: Any = Page
    path: list[str | int] = []
    inside: type[BaseModel] | None = None
    for part in loc:
        if part == "[key]":
            continue
        at = _plain(at)
        if isinstance(at, type) and issubclass(at, BaseModel):
            inside = at
            path.append(part)
            known = at.model_fields.get(str(part))
            at = known.annotation if known is not None else None
            continue
        origin = get_origin(at)
        if origin is tuple:
            path.append(part)
            at = get_args(at)[0]
        elif origin is dict:
            path.append(part)
            at = get_args(at)[1]
        elif origin in (Union, types.UnionType) and part in (tags := _by_tag(at)):
            at = tags[str(part)]
        elif at is None:
            path.append(part)
    return tuple(path), inside


def _plain(kind: Any) -> Any:
    """Take off what an annotation adds, and the None of an optional."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        rest = [arg for arg in get_args(kind) if arg is not type(None)]
        if len(rest) == 1:
            return _plain(rest[0])
    return kind


def _by_tag(kind: Any) -> dict[str, Any]:
    found = {}
    for arg in get_args(kind):
        if isinstance(arg, type) and issubclass(arg, BaseModel) and "do" in arg.model_fields:
            word: Any = arg.model_fields["do"].annotation
            found[str(get_args(word)[0])] = arg
    return found


# what only the whole shows ---------------------------------------------------------------


def checks_of(page: Page, doubtful: frozenset[str] = frozenset()) -> list[tuple[Path, str]]:
    """Return the mistakes that no single field shows."""
    from .checking import check

    return check(page, doubtful)
