"""Every source keeps the house rules: its size, its sign, its names, and nothing left undone."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.repository import ROOT, files, line_of, matching, place, text_of
from tests.house.rust_source import blanked, code_of, functions_in

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

# Looked at twice, and left: file -> why one file reads better than two.
LONG_FILES = {"python/pagemig/_core.pyi": "an extension module has one stub"}

# Looked at twice, and left: file::function -> why one piece reads better than two.
LONG_FUNCTIONS: dict[str, str] = {}

FOLDERS = ("rust", "python", "tests", "benchmarks", ".ci")


def sources(*suffixes: str) -> list:
    """Our source files with one of the suffixes."""
    return [path for folder in FOLDERS for path in matching(*suffixes, under=folder)]


def test_no_source_file_is_longer_than_a_person_reads_at_once() -> None:
    """Method: count lines. A file that cannot be cut is named above with why."""
    lines = {place(path): text_of(path).count("\n") for path in sources(".rs", ".py", ".pyi")}
    assert not {
        name: many for name, many in lines.items() if many > FILE_LINES_MAX and name not in LONG_FILES
    }


def test_no_function_is_longer_than_a_screen() -> None:
    """Signature to last line; test code too. A function that reads better whole is named above with why."""
    lengths = {}
    for path in sources(".py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{place(path)}::{node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    for path in sources(".rs"):
        for name, _, lines in functions_in(blanked(text_of(path))):
            lengths[f"{place(path)}::{name}"] = lines
    long = {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX}
    assert long.keys() == LONG_FUNCTIONS.keys(), long


def test_every_module_opens_with_a_sign() -> None:
    """A Rust file with ``//!``, a Python file with a docstring: what it is, before anything else."""
    unsigned = [place(path) for path in sources(".rs") if not text_of(path).startswith("//! ")]
    for path in sources(".py", ".pyi"):
        text = text_of(path)
        if text.strip() and not ast.get_docstring(ast.parse(text)):
            unsigned.append(place(path))
    assert not unsigned


def test_no_room_is_called_after_nothing() -> None:
    """What is called util, common, misc or helpers has no home: the map is wrong, not the file."""
    names = {"util", "utils", "common", "misc", "helper", "helpers"}
    words = {path: {part.split(".")[0] for part in path.relative_to(ROOT).parts} for path in files()}
    assert not [place(path) for path in files() if names & words[path]]


def test_nothing_is_left_undone_or_skipped() -> None:
    """No reminders, no placeholders, no test that does not run."""
    undone = re.compile(
        r"\b(?:TO"
        r"DO|FIX"
        r"ME|XX"
        r"X)\b|\btodo!\(|\bunimplemented!\(|#\[ignore|\bNotImplemented"
        r"Error\b"
        r"|\bmark\.(?:skip|skipif|xfail)\b|\bpytest\.(?:skip|xfail)\("
    )
    wrong = []
    for path in (*sources(".rs", ".py", ".pyi"), *matching(".md", ".toml", ".json"), ROOT / "Makefile"):
        if path.name == "test_sources.py":
            continue
        text = text_of(path)
        wrong += [f"{place(path, line_of(text, at.start()))}: {at.group()}" for at in undone.finditer(text)]
    assert not wrong, "\n".join(wrong)


def test_nothing_names_a_path_of_one_machine() -> None:
    """A repository that stands alone names no home, no scratch folder and no checkout of anybody."""
    machine_path = re.compile(r"(?<![\w.}])/(?:work|root|tmp|home/\w+)/\w|\.\./shared\b|(?<![\w/])shared/\w")
    wrong = []
    for path in files():
        text = text_of(path)
        if path.name == "test_sources.py":
            continue
        wrong += [
            f"{place(path, line_of(text, at.start()))}: {at.group()}" for at in machine_path.finditer(text)
        ]
    assert not wrong, "\n".join(wrong[:20])


def test_shipping_rust_code_prints_nothing() -> None:
    """The crates answer with values; what a person sees is printed by the command line."""
    wrong = [
        place(path)
        for crate in sorted((ROOT / "rust").iterdir())
        for path in matching(".rs", under=f"rust/{crate.name}/src")
        if re.search(r"\be?print(?:ln)?!|\bdbg!", code_of(text_of(path)))
    ]
    assert not wrong


@pytest.mark.parametrize("name", ["LICENSE-MIT", "LICENSE-APACHE"])
def test_both_licences_are_in_the_repository(name: str) -> None:
    """Every line is ours, under either."""
    assert len(text_of(ROOT / name)) > 1000
