"""Reading Rust sources the way the house tests need it: code only, and the paths it names.

This is not a parser. It blanks what is not code (comments, literals, test modules), so that a plain
search afterwards finds only what the compiler would see. Start with :func:`code_of` and
:func:`paths_in`. Left out: macros that build paths, and `super` inside inline modules, which this
project does not use outside tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_NOT_CODE = re.compile(
    r"""
    //[^\n]*                                    # line comment
    | /\*.*?\*/                                 # block comment
    | b?r(?P<hashes>\#*)".*?"(?P=hashes)        # raw string
    | b?"(?:\\.|[^"\\])*"                       # string
    | b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])'     # character, but not a lifetime
    """,
    re.VERBOSE | re.DOTALL,
)
_CFG_TEST = re.compile(r"#\[cfg\(test\)\]")
_TEST_FILE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;")
_VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
_USE = re.compile(r"\buse\s+([^;]+);")
_PATH = re.compile(r"\b(?:crate|super|self)(?:\s*::\s*\w+)+")
_FUNCTION = re.compile(r"\bfn\s+(\w+)")


def blanked(text: str) -> str:
    """The text with comments and literals turned to blanks; every line stays where it was."""
    return _NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def item_end(code: str, start: int) -> int:
    """Where the item that begins at ``start`` ends: after its ``;`` or its closing brace."""
    depth = 0
    for at in range(start, len(code)):
        if code[at] in "{[(":
            depth += 1
        elif code[at] in "}])":
            depth -= 1
            if depth == 0 and code[at] == "}":
                return at + 1
        elif code[at] == ";" and depth == 0:
            return at + 1
    return len(code)


def code_of(text: str) -> str:
    """The code that ships: no comments, no literals, no test modules; lines stay where they were."""
    code = blanked(text)
    while found := _CFG_TEST.search(code):
        end = item_end(code, found.end())
        code = code[: found.start()] + re.sub(r"[^\n]", " ", code[found.start() : end]) + code[end:]
    return code


def shipping_files(source: Path) -> list[Path]:
    """Every file below ``source`` that is not declared under ``#[cfg(test)]``, in order."""
    files = sorted(source.rglob("*.rs"))
    tests: set[Path] = set()
    for file in files:
        home = file.parent if file.name in ("lib.rs", "mod.rs") else file.with_suffix("")
        for name in _TEST_FILE.findall(blanked(file.read_text(encoding="utf-8"))):
            tests |= {home / f"{name}.rs", home / name}
    return [file for file in files if not any(test == file or test in file.parents for test in tests)]


def module_of(file: Path, source: Path) -> tuple[str, ...]:
    """The module path of a file: ``state/lru/mod.rs`` is ``("state", "lru")``."""
    parts = file.relative_to(source).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def _leaves(tree: str) -> Iterator[tuple[str, ...]]:
    """The paths of one use tree: ``a::{b, c::d}`` has ``a::b`` and ``a::c::d``."""
    head, brace, rest = tree.partition("{")
    prefix = tuple(word.split(" as ")[0].strip() for word in head.split("::") if word.strip())
    if not brace:
        yield prefix
        return
    depth, word = 0, ""
    for letter in rest.rpartition("}")[0] + ",":
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            if word.strip():
                yield from (prefix + leaf for leaf in _leaves(word.strip()))
            word = ""
        else:
            word += letter


def _absolute(path: tuple[str, ...], module: tuple[str, ...]) -> tuple[str, ...] | None:
    """The path seen from the crate's root; None for one that leads outside the crate."""
    first, rest = path[0], path[1:]
    if first == "crate":
        return rest
    if first == "self":
        return module + rest
    if first != "super":
        return None
    base = module[:-1]
    while rest and rest[0] == "super":
        base, rest = base[:-1], rest[1:]
    return base + rest


def paths_in(code: str, module: tuple[str, ...]) -> list[tuple[int, tuple[str, ...]]]:
    """Every path into the own crate that the code of ``module`` names: (line, segments from the root)."""
    code = _VISIBILITY.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), code)
    named: list[tuple[int, tuple[str, ...]]] = []
    for found in _USE.finditer(code):
        line = code.count("\n", 0, found.start()) + 1
        named += [(line, leaf) for leaf in _leaves(found.group(1).strip()) if leaf]
    for found in _PATH.finditer(_USE.sub(lambda use: re.sub(r"[^\n]", " ", use.group()), code)):
        line = code.count("\n", 0, found.start()) + 1
        named.append((line, tuple(part.strip() for part in found.group().split("::"))))
    resolved = ((line, _absolute(path, module)) for line, path in named)
    return [(line, path) for line, path in resolved if path]


def functions_in(code: str) -> list[tuple[str, int, int]]:
    """Every function with a body: (name, first line, lines)."""
    functions = []
    for found in _FUNCTION.finditer(code):
        end = item_end(code, found.end())
        if code[end - 1] == "}":
            first = code.count("\n", 0, found.start()) + 1
            functions.append((found.group(1), first, code.count("\n", found.start(), end) + 1))
    return functions
