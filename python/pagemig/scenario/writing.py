"""A `Page` as TOML, in the form in which scenarios are written by hand.

Keys at the top, one inline table a line; what is as it would be anyway is left out. Reading
what `page_to_toml` writes gives an equal page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from .model import Page

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_TABLES = ("files", "memcgs", "cpusets", "tasks", "regions")


def plain_of(page: Page) -> dict[str, Any]:
    """Return a page as plain data: what TOML can say, without what is left at its default."""
    data = page.model_dump(mode="json", exclude_defaults=True)
    return {key: value for key, value in data.items() if value is not None}


def page_to_toml(page: Page) -> str:
    """Write a page as TOML."""
    return "\n".join(_lines(plain_of(page))).rstrip("\n") + "\n"


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"title = {_value(data['title'])}"
    if "story" in data:
        yield f"story = {_prose(data['story'])}"
    yield ""
    for key, value in _table(data, "machine"):
        yield f"machine.{_key(key)} = {_value(value)}"
    for kind in _TABLES:
        for name, value in _table(data, kind):
            yield f"{kind}.{_key(name)} = {_value(value)}"
    yield ""
    for kind in ("setup", "calls"):
        if kind in data:
            yield f"{kind} = ["
            yield from (f"    {_value(step)}," for step in data[kind])
            yield "]"
    for key in ("order", "schedule"):
        if key in data:
            yield f"{key} = {_value(data[key])}"
    yield ""
    for key, value in _table(data, "expect"):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"expect.{_key(key)} = ["
            yield from (f"    {_value(item)}," for item in value)
            yield "]"
        else:
            yield f"expect.{_key(key)} = {_value(value)}"
    for key, value in _table(data, "explore"):
        yield f"explore.{_key(key)} = {_value(value)}"


def _table(data: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    return list(data.get(key, {}).items())


def _key(key: object) -> str:
    text = str(key)
    return text if _BARE.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(letter, _escaped(letter)) for letter in text) + '"'


def _escaped(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 32 or ord(letter) == 127 else letter


def _prose(text: str) -> str:
    """Several lines between triple quotes, one line as it is."""
    if "\n" not in text or "\r" in text:
        return _value(text)
    # A quote stays as it is unless another follows or it is the last: so three never stand together.
    after = [*text[1:], '"']
    inner = "".join(
        letter
        if letter == "\n" or (letter == '"' and following != '"')
        else _ESCAPES.get(letter, _escaped(letter))
        for letter, following in zip(text, after, strict=False)
    )
    return f'"""\n{inner}"""'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, BaseModel):
        return _value(value.model_dump(mode="json", exclude_defaults=True))
    raise AssertionError(f"a scenario holds {value!r}, which TOML cannot say")
