"""The guides are complete: every key of a scenario, every verb and option of the command line.

What a guide says of a key is what the schema says of it, so the two cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from pagemig.cli.app import app
from pagemig.scenario import schema
from tests.house.repository import ROOT, place, text_of

GUIDES = ROOT / "docs" / "guides"
SCENARIOS = GUIDES / "scenarios.md"
COMMAND_LINE = GUIDES / "command-line.md"
LIBRARY = ROOT / "python" / "pagemig" / "library"


def keys() -> Iterator[tuple[str, str, str]]:
    """Every key of the scenario format: of which part, its name, and what the schema says of it."""
    made = schema()
    for part, said in [("Page", made), *made["$defs"].items()]:
        for key, value in said["properties"].items():
            yield part, key, " ".join(value.get("description", "").replace("``", "`").split())


def test_the_guide_to_scenarios_has_every_key() -> None:
    """Method: a key has a row in a table, which ends with what the schema says."""
    rows = re.findall(r"^\|(?: \|)? `(\w+)` \|.* \| ?(.*) \|$", text_of(SCENARIOS), re.MULTILINE)
    known = {(key, said) for key, said in rows} | {(key, "") for key, _ in rows}
    missing = [
        f"{part}.{key}: {said}"
        for part, key, said in keys()
        if key not in ("do", "by") and (key, said) not in known
    ]
    assert rows and not missing, "\n".join(missing)


def test_the_guide_to_scenarios_has_every_verb() -> None:
    """Method: a verb has a row in bold, with its sentence."""
    guide = text_of(SCENARIOS)
    verbs: dict[str, Any] = {
        part["properties"]["do"]["const"]: part["description"]
        for part in schema()["$defs"].values()
        if "do" in part["properties"]
    }
    assert len(verbs) > 40
    assert not [
        verb for verb, said in verbs.items() if not re.search(rf"\*\*`{verb}`\*\* .*{re.escape(said)}", guide)
    ]


def test_the_guide_to_scenarios_quotes_one_as_it_is() -> None:
    """The scenario that the guide begins with is a file of the library, to the letter."""
    quoted = re.search(r"^```toml\n(.*?)^```", text_of(SCENARIOS), re.MULTILINE | re.DOTALL)
    assert quoted and quoted.group(1) == text_of(LIBRARY / "pinned-page.toml")


def test_the_guide_to_the_command_line_has_every_verb_and_every_option() -> None:
    """Method: a verb has a heading, and below it are its options in code."""
    sections = dict(
        re.findall(r"^### `pagemig ([\w-]+)[^\n]*\n(.*?)(?=^#|\Z)", text_of(COMMAND_LINE), re.M | re.S)
    )
    group: Any = typer.main.get_command(app)
    missing = [verb for verb in group.commands if verb not in sections]
    for verb, command in group.commands.items():
        for option in command.params:
            names = [name for name in option.opts if name.startswith("--")]
            missing += [f"{verb} {name}" for name in names if f"`{name}" not in sections.get(verb, "")]
    assert len(group.commands) > 8
    assert not missing, ", ".join(missing)


def test_every_page_is_in_the_table_of_contents() -> None:
    """A page of ``docs`` that nobody links to is a page that nobody reads."""
    listed = set(re.findall(r"^([\w/-]+)$", text_of(ROOT / "docs" / "index.md"), re.MULTILINE))
    linked = {Path("docs") / f"{name}.md" for name in listed}
    pages = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")}
    decisions = {page for page in pages if page.parts[1] == "decisions" and page.name != "README.md"}
    left = pages - decisions - linked - {Path("docs/index.md")}
    assert not left, ", ".join(sorted(place(ROOT / page) for page in left))
