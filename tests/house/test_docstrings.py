"""The reference is made of docstrings, so whatever is public has one, and it says what the code says.

Method: walk from every ``__all__`` that a user meets, and from what ``docs/reference.md`` draws besides,
into classes and their members, inherited ones included. Every argument is named under *Parameters* and
none that is not there; what comes back is under *Returns* or *Yields*, of the type that the signature says;
a function that refuses something says so under *Raises*. Names in back quotes are names of something.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import enum
import importlib
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pagemig
from tests.house.repository import ROOT, line_of, matching, place, text_of

ROOMS = ("", ".calls", ".syscalls", ".filesystems", ".inputs", ".scenario", ".report", ".errors", ".host")
REFERENCE = text_of(ROOT / "docs" / "reference.md")

SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Notes", "Examples")
"""Those that we write, in the order in which numpydoc wants them."""

_SECTION = re.compile(r"^([A-Z]\w+)\n-+\n(.*?)(?=^[A-Z]\w+\n-+\n|\Z)", re.MULTILINE | re.DOTALL)
_ARRAYS = {"NDArray", "Nodes", "Addresses"}


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What a module offers."""
    here = module.__name__
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == here]
    for name in getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]:
        yield f"{here}.{name}", getattr(module, name)


def found_at(path: str) -> Any:
    """What a dotted name of the package leads to, fields of frozen values included."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            at: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            at = getattr(at, part) if hasattr(at, part) else at.__annotations__[part]
        return at
    raise AttributeError(path)


@cache
def objects() -> dict[str, Any]:
    """Every public class, and every public function, method and property, by its name."""
    offered = [pair for room in ROOMS for pair in public(importlib.import_module(f"pagemig{room}"))]
    drawn = re.findall(r"auto(?:class|exception|function):: (pagemig\.\S+)", REFERENCE)
    offered += [(name, found_at(name)) for name in drawn]
    found: dict[str, Any] = {}
    for name, value in offered:
        if not (getattr(value, "__module__", None) or "").startswith("pagemig"):
            continue
        if inspect.isfunction(value):
            found[name] = value
        elif inspect.isclass(value):
            found[name] = value
            for part, member in members(value):
                if (inner := unwrapped(member)) is not None:
                    found[f"{name}.{part}"] = inner
    return found


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public members of a class, those that it has from classes of ours included."""
    for above in reversed(kind.__mro__):
        if above.__module__.startswith("pagemig"):
            yield from ((name, part) for name, part in vars(above).items() if not name.startswith("_"))


def unwrapped(member: Any) -> Callable[..., Any] | property | None:
    """The function behind a method, or a property; None for data."""
    if isinstance(member, (classmethod, staticmethod)):
        member = member.__func__
    return member if inspect.isfunction(member) or isinstance(member, property) else None


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What can be called by name: functions and methods."""
    return ((name, value) for name, value in objects().items() if inspect.isfunction(value))


def sections(value: Any) -> dict[str, str]:
    """The sections of a docstring, by title."""
    return dict(_SECTION.findall(inspect.getdoc(value) or ""))


def entries(section: str) -> list[str]:
    """What stands at the margin of a section: names, or types, several to a line if they share words."""
    return [word.strip("* ") for line in re.findall(r"^(\S.*)$", section, re.M) for word in line.split(",")]


def arguments(value: Any) -> set[str]:
    """The arguments that a caller gives."""
    return {name for name in inspect.signature(value).parameters if name not in ("self", "cls")}


def test_everything_public_says_what_it_is() -> None:
    """A class, a function, a method, a property: each has a docstring, which begins with a sentence."""
    assert len(objects()) > 500
    silent = [name for name, value in objects().items() if len((value.__doc__ or "").strip()) < 5]
    assert not silent, silent


def test_every_argument_is_told_and_no_other() -> None:
    """Goal: a reader finds each argument; one that is renamed, added or gone is so in the docstring."""
    wrong, seen = [], 0
    for name, value in functions():
        told, there = set(entries(sections(value).get("Parameters", ""))), arguments(value)
        seen += len(there)
        if told != there:
            wrong.append(f"{name}: {sorted(told ^ there)}")
    assert seen > 300 and not wrong, "\n".join(wrong)


def test_every_argument_of_a_constructor_is_told() -> None:
    """Under *Parameters*, or, of values that are mostly looked at, as an attribute or below the field.

    A handle takes the machine's inside, which nobody has: it says instead which verb makes it.
    """
    wrong, seen = [], 0
    for name, value in objects().items():
        if not inspect.isclass(value) or not is_made_by_us(value):
            continue
        there = arguments(value)
        if "system" in there:
            maker = re.search(r"[Mm]ade by `(pagemig\.[\w.]+)`", value.__doc__ or "")
            assert maker, f"{name} does not say what makes it"
            found_at(maker.group(1))
            continue
        said = sections(value)
        given = set(entries(said.get("Parameters", "")))
        told = given | set(entries(said.get("Attributes", ""))) | told_fields(value)
        seen += len(there)
        if not given <= there or not there <= told:
            wrong.append(f"{name}: {sorted(given - there | there - told)}")
    assert seen > 300 and not wrong, "\n".join(wrong)


def is_made_by_us(kind: type) -> bool:
    """Whether the arguments of a constructor are the package's own: written, or fields of a value."""
    if issubclass(kind, enum.Enum) or getattr(kind, "_is_protocol", False):
        return False
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return True
    return getattr(kind.__init__, "__module__", "").startswith("pagemig")


def told_fields(kind: type) -> set[str]:
    """The fields of a class that have a docstring below them."""
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    classes = {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    return {
        field.target.id
        for field, text in itertools.pairwise(classes[kind.__name__])
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def test_what_comes_back_is_told_with_its_type() -> None:
    """A function that returns a value has *Returns*, a generator *Yields*, and another one neither."""
    wrong, seen = [], 0
    for name, value in functions():
        kinds = heads(ast.parse(str(inspect.signature(value).return_annotation), mode="eval").body)
        title = "Yields" if "Iterator" in kinds else "Returns"
        said = {part: text for part, text in sections(value).items() if part in ("Returns", "Yields")}
        if kinds == {"None"}:
            wrong += [f"{name}: {sorted(said)}, but it returns nothing"] if said else []
            continue
        seen += 1
        if set(said) != {title}:
            wrong.append(f"{name}: no {title}")
            continue
        kinds -= {"Iterator"}
        told = {kind.removeprefix("pagemig.") for line in entries(said[title]) for kind in line.split(" or ")}
        is_named = kinds == {"tuple"} and len(told) > 1  # each part of a tuple by a name
        if kinds != told and "Any" not in kinds and not is_named:
            wrong.append(f"{name}: told {sorted(told)}, returns {sorted(kinds)}")
    assert seen > 150 and not wrong, "\n".join(wrong)


def heads(node: ast.expr) -> set[str]:
    """The classes that an annotation names, without what they hold; of an iterator also what it gives."""
    match node:
        case ast.BinOp(left=left, right=right):
            return heads(left) | heads(right)
        case ast.Subscript(value=ast.Name(id="Iterator"), slice=inner):
            return {"Iterator"} | heads(inner)
        case ast.Subscript(value=whole):
            return heads(whole)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return {"numpy.ndarray" if name in _ARRAYS else name}
        case ast.Constant(value=str() as text):
            return heads(ast.parse(text, mode="eval").body)
        case ast.Constant(value=None):
            return {"None"}
    raise AssertionError(ast.unparse(node))


def test_what_is_refused_is_said() -> None:
    """A function with ``raise UsageError`` tells when, or whose errors it has; what it names is an error."""
    wrong = [
        name
        for name, value in functions()
        if "raise UsageError" in inspect.getsource(value)
        and "Raises" not in sections(value)
        and not re.search(r"UsageError|[Ss]ee `", value.__doc__ or "")
    ]
    for name, value in objects().items():
        for error in entries(sections(value).get("Raises", "")):
            kind = getattr(builtins, error, None) or getattr(pagemig.errors, error, None)
            kind = kind or getattr(pagemig.host, error, None) if name.startswith("pagemig.host") else kind
            if not (inspect.isclass(kind) and issubclass(kind, BaseException)):
                wrong.append(f"{name}: {error} is no error")
    assert not wrong, "\n".join(wrong)


def test_sections_are_those_of_numpydoc_in_its_order() -> None:
    """A title that numpydoc does not know would be a heading of the page; none is empty."""
    wrong = []
    for name, value in objects().items():
        titles = [title for title, _ in _SECTION.findall(inspect.getdoc(value) or "")]
        if titles != [title for title in SECTIONS if title in titles]:
            wrong.append(f"{name}: {titles}")
        wrong += [f"{name}: {title} is empty" for title, text in sections(value).items() if not text.strip()]
    assert not wrong, "\n".join(wrong)


def test_a_name_in_back_quotes_is_the_name_of_something() -> None:
    """What a docstring calls `pagemig.Task.touch` is there, in rooms that are not public, too."""
    wrong, seen = [], 0
    for path in matching(".py", under="python/pagemig"):
        text = text_of(path)
        for at in re.finditer(r"(?<!`)`(pagemig(?:\.\w+)+)`(?!`)", text):
            seen += 1
            try:
                found_at(at.group(1))
            except (AttributeError, KeyError):
                wrong.append(f"{place(path, line_of(text, at.start()))}: {at.group(1)}")
    assert seen > 300 and not wrong, "\n".join(wrong)


def test_a_short_name_in_back_quotes_is_one_of_its_neighbours() -> None:
    """`touch` in a docstring is a member of the class, an argument, or a name of the module or package."""
    wrong, seen = [], 0
    for name, value in objects().items():
        owner = name.rpartition(".")[0]
        for word in re.findall(r"(?<![`:])`([A-Za-z_][\w.]*)`(?!`)", inspect.getdoc(value) or ""):
            seen += 1
            module = inspect.getmodule(value.fget if isinstance(value, property) else value)
            places = [name, owner, module.__name__ if module else "pagemig", "pagemig", "builtins"]
            if not any(is_there(f"{at}.{word}") for at in places) and not is_there(word):
                wrong.append(f"{name}: {word}")
    assert seen > 200 and not wrong, "\n".join(wrong)


def is_there(path: str) -> bool:
    """Whether a dotted name leads somewhere."""
    try:
        found_at(path)
    except (AttributeError, KeyError, ValueError):
        return False
    return True


def test_arrays_that_come_out_have_a_type_and_a_shape() -> None:
    """A function or property that returns an array says of what in its docstring."""
    words = re.compile(
        r"u?int(?:8|32|64)|bool|float|shape|column|array|one (?:entry|for each)|node|address", re.I
    )
    wrong = []
    for name, value in objects().items():
        if inspect.isclass(value):
            continue
        returned = inspect.signature(value.fget if isinstance(value, property) else value).return_annotation
        if "NDArray" in str(returned) and not words.search(value.__doc__ or ""):
            wrong.append(name)
    assert not wrong, wrong


def test_the_reference_has_every_public_name() -> None:
    """Method: what ``docs/reference.md`` draws by name or by module, or, for constants, names in code."""
    rooms = re.findall(r"automodule:: (\S+)\n   :members:", REFERENCE)
    drawn = {
        name.rpartition(".")[2] for name in re.findall(r"auto(?:class|exception|function):: (\S+)", REFERENCE)
    }
    drawn |= {name.rpartition(".")[2] for name in re.findall(r"``([\w.]+)``", REFERENCE)}
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
