"""The reference is made of docstrings, so whatever is public has one, and it says what the code says.

Method: walk from every ``__all__`` that a user meets, into classes and their members. A section named
*Parameters* names the arguments, all of them; a function that refuses something says so under *Raises*,
or sends its reader to the verb that does ("see `pagemig.Task.mremap`").
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from tests.house.repository import ROOT, text_of

ROOMS = ("", ".calls", ".syscalls", ".filesystems", ".inputs", ".scenario", ".report", ".errors", ".host")

_SECTION = re.compile(r"^([A-Z]\w+)\n-+\n(.*?)(?=^[A-Z]\w+\n-+\n|\Z)", re.MULTILINE | re.DOTALL)


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What a module offers."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    for name in names:
        yield f"{module.__name__}.{name}", getattr(module, name)


@cache
def objects() -> dict[str, Any]:
    """Every public class, and every public function, method and property, by its name."""
    found: dict[str, Any] = {}
    for room in ROOMS:
        for name, value in public(importlib.import_module(f"pagemig{room}")):
            if not getattr(value, "__module__", "").startswith("pagemig"):
                continue
            if inspect.isfunction(value):
                found[name] = value
            elif inspect.isclass(value):
                found[name] = value
                for part, member in vars(value).items():
                    if not part.startswith("_") and (inner := unwrapped(member)) is not None:
                        found[f"{name}.{part}"] = inner
    return found


def unwrapped(member: Any) -> Callable[..., Any] | None:
    """The function behind a method or a property, None for data."""
    if isinstance(member, (classmethod, staticmethod)):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    return member if inspect.isfunction(member) else None


def sections(value: Any) -> dict[str, str]:
    """The sections of a docstring, by title."""
    return dict(_SECTION.findall(inspect.getdoc(value) or ""))


def test_everything_public_says_what_it_is() -> None:
    """A class, a function, a method, a property: each has a docstring, which begins with a sentence."""
    assert len(objects()) > 400
    silent = [name for name, value in objects().items() if len((value.__doc__ or "").strip()) < 5]
    assert not silent, silent


def test_parameters_are_those_that_there_are() -> None:
    """Goal: an argument that is renamed, added or gone is so in the docstring."""
    wrong, seen = [], 0
    for name, value in objects().items():
        told = sections(value).get("Parameters")
        if told is None or inspect.isclass(value):
            continue
        named = {word.strip("* ") for line in re.findall(r"^(\S.*)$", told, re.M) for word in line.split(",")}
        there = {word for word in inspect.signature(value).parameters if word not in ("self", "cls")}
        seen += 1
        if named != there:
            wrong.append(f"{name}: {sorted(named ^ there)}")
    assert seen > 50 and not wrong, wrong


def test_what_is_refused_is_said() -> None:
    """A function with ``raise UsageError`` tells when, or whose errors it has."""
    wrong = [
        name
        for name, value in objects().items()
        if inspect.isfunction(value)
        and "raise UsageError" in inspect.getsource(value)
        and "Raises" not in sections(value)
        and not re.search(r"UsageError|[Ss]ee `", value.__doc__ or "")
    ]
    assert not wrong, wrong


def test_arrays_that_come_out_have_a_type_and_a_shape() -> None:
    """A function or property that returns an array says of what in its docstring."""
    words = re.compile(
        r"u?int(?:8|32|64)|bool|float|shape|column|array|one (?:entry|for each)|node|address", re.I
    )
    wrong = [
        name
        for name, value in objects().items()
        if inspect.isfunction(value)
        and "NDArray" in str(inspect.signature(value).return_annotation)
        and not words.search(value.__doc__ or "")
    ]
    assert not wrong, wrong


def test_the_reference_has_every_public_name() -> None:
    """Method: what ``docs/reference.md`` draws by name or by module, or, for constants, names in code."""
    page = text_of(ROOT / "docs" / "reference.md")
    rooms = re.findall(r"automodule:: (\S+)\n   :members:", page)
    drawn = {name.rpartition(".")[2] for name in re.findall(r"auto(?:class|function):: (\S+)", page)}
    drawn |= {name.rpartition(".")[2] for name in re.findall(r"``([\w.]+)``", page)}
    for room in rooms:
        drawn |= {name for name in vars(importlib.import_module(room)) if not name.startswith("_")}
    offered = {
        name.rpartition(".")[2]
        for room in ("", ".inputs", ".scenario", ".report")
        for name, value in public(importlib.import_module(f"pagemig{room}"))
        if not inspect.ismodule(value)
    }
    assert len(offered) > 130
    assert not offered - drawn, sorted(offered - drawn)
