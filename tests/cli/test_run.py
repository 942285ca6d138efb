"""``pagemig run``, ``scenarios`` and ``schema``: as a person meets them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pagemig.scenario import library

from .conftest import Run

GOOD = """
title = "Mine"
machine = { nodes = ["1MiB", "1MiB"] }
tasks.app = {}
regions.heap = { task = "app", pages = 2 }
setup = [{ by = "app", do = "touch", where = "heap" }, { do = "drain" }]
calls = [{ id = "move", by = "app", do = "move_pages", pages = "heap", nodes = 1, expect = { statuses = 1 } }]
"""


def test_a_scenario_of_the_library_runs_by_its_name(pagemig: Run) -> None:
    """A person reads what happened, and why a page stayed."""
    done = pagemig("run", "pinned-page")
    assert done.returncode == 0, done.stderr
    assert "A pinned page stays" in done.stdout
    assert "attempts 1 to 10: someone else held a reference to it" in done.stdout
    assert "pinned:" in done.stdout
    assert "As expected" in done.stdout


def test_a_scenario_of_ones_own_runs_from_its_file(pagemig: Run, tmp_path: Path) -> None:
    """And tells machines in JSON what it tells people in tables."""
    (tmp_path / "mine.toml").write_text(GOOD)
    done = pagemig("run", "mine.toml", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["title"] == "Mine"
    assert told["statuses"] == {"1": 2}
    assert told["ok"] is True


def test_an_expectation_that_fails_ends_with_1(pagemig: Run, tmp_path: Path) -> None:
    """What was expected and what was found is said."""
    (tmp_path / "mine.toml").write_text(GOOD.replace("statuses = 1", "statuses = 0"))
    done = pagemig("run", "mine.toml")
    assert done.returncode == 1
    assert "expected node 0 for every page, found 2 x node 1" in done.stdout
    assert "Not as expected: 1 of 1 expectation fails" in done.stdout


def test_every_mistake_of_a_file_is_a_line(pagemig: Run, tmp_path: Path) -> None:
    """Exit code 2, nothing on standard output, no traceback."""
    (tmp_path / "bad.toml").write_text(
        GOOD.replace("nodes = 1,", "nodse = 1,").replace("tasks.app", "tasks.ap")
    )
    done = pagemig("run", "bad.toml")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "pagemig: bad.toml: 4 mistakes:"
    assert lines[1] == "pagemig:   regions.heap.task: there is no task 'app'; did you mean 'ap'?"
    assert lines[-1] == "pagemig:   calls[0].nodse: unknown key; did you mean 'nodes'?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = \n", "bad.toml, line 1"),
        (GOOD.replace("pages = 2", "pages = 900"), "setup[0]: no frame"),
        (GOOD.replace('"1MiB", "1MiB"', '"1MiB", "1MB?"'), "machine.nodes.1.memory: '1MB?' is not a size"),
    ],
)
def test_bad_input_is_one_line_with_file_and_place(
    complaint: Callable[..., str], tmp_path: Path, text: str, words: str
) -> None:
    """Each documented error, exit code 2."""
    (tmp_path / "bad.toml").write_text(text)
    assert words in complaint("run", "bad.toml")


def test_a_name_that_nobody_knows_is_answered_with_the_nearest(complaint: Callable[..., str]) -> None:
    """So is a file that is not there."""
    assert "did you mean 'two-movers'?" in complaint("run", "two-mover")
    assert complaint("run", "none.toml") == "pagemig: none.toml: No such file or directory"


def test_a_schedule_for_calls_in_sequence_is_refused(complaint: Callable[..., str]) -> None:
    """Only calls at once have an order."""
    assert "one after the other" in complaint("run", "first-move", "--schedule", "1a")


def test_the_library_is_listed_with_a_line_for_each(pagemig: Run) -> None:
    """As a table and as JSON."""
    done = pagemig("scenarios")
    assert done.returncode == 0
    assert all(name in done.stdout for name in library())
    listed = json.loads(pagemig("scenarios", "--json").stdout)["scenarios"]
    assert [item["name"] for item in listed] == list(library())


# the schema ------------------------------------------------------------------------------


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value is as a JSON schema says; as much of JSON schema as ours uses."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return fits(value, root["$defs"][name], root)
    for word, need in (("anyOf", any), ("oneOf", any), ("allOf", all)):
        if word in schema and not need(fits(value, one, root) for one in schema[word]):
            return False
    kinds = {
        "string": str,
        "integer": int,
        "object": dict,
        "array": list,
        "boolean": bool,
        "null": type(None),
    }
    kind = kinds.get(schema.get("type", ""))
    if kind is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if isinstance(value, list) and "items" in schema:
        return all(fits(item, schema["items"], root) for item in value)
    return not isinstance(value, dict) or fits_table(value, schema, root)


def fits_table(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether the keys of a table, and what they hold, are as a JSON schema says."""
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    others = next(iter(schema.get("patternProperties", {}).values()), others)
    if not set(schema.get("required", ())) <= set(value):
        return False
    for key, item in value.items():
        if key in known:
            if not fits(item, known[key], root):
                return False
        elif others is False or (isinstance(others, dict) and not fits(item, others, root)):
            return False
    return True


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema that the package makes."""
    from pagemig.scenario import schema as made

    return made()


@pytest.mark.parametrize("name", library())
def test_the_schema_accepts_every_scenario_of_the_library(name: str, schema: dict[str, Any]) -> None:
    """As it is written, not as it is understood."""
    at = files("pagemig") / "library"
    for part in f"{name}.toml".split("/"):
        at = at / part
    assert fits(tomllib.loads(at.read_text(encoding="utf-8")), schema, schema)


@pytest.mark.parametrize(
    ("old", "new"), [("do =", "dos ="), ('"touch"', '"tuch"'), ("pages = 2", 'pages = "2"')]
)
def test_the_schema_refuses_what_the_reader_refuses(old: str, new: str, schema: dict[str, Any]) -> None:
    """An unknown key, an unknown verb, a value of another kind."""
    assert fits(tomllib.loads(GOOD), schema, schema)
    assert not fits(tomllib.loads(GOOD.replace(old, new)), schema, schema)


def test_the_schema_is_printed_or_written(pagemig: Run, tmp_path: Path, schema: dict[str, Any]) -> None:
    """The same either way."""
    assert json.loads(pagemig("schema").stdout) == schema
    assert pagemig("schema", "--output", "scenario.json").returncode == 0
    assert json.loads((tmp_path / "scenario.json").read_text()) == schema
