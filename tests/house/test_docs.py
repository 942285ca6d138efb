"""What the documents say is so: links lead somewhere, rooms exist, labels are in the specification."""

from __future__ import annotations

import re
from functools import cache
from itertools import chain
from pathlib import Path

from tests.house.repository import ROOT, line_of, matching, place, text_of
from tests.house.test_layering import CORE, CORE_FLOORS, PACKAGE, PYTHON_FLOORS

SPEC = ROOT / "docs" / "spec"

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
# ZZ is the prefix of labels that a test makes up because they must not exist.
_LABEL = re.compile(r"(?<![\w-])(?:(?!ZZ)[A-Z]{2}-\d+|I-\d+|Q\d\d|S\d\d|W\d+|Y\d\d)(?![\w-])")
_SECTION_LABEL = re.compile(r"\bSP(\d+(?:\.\d+)?)-")


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors that a page's headings make, spelled as code hosts spell them."""
    titles = _HEADING.findall(_FENCE.sub("", text_of(path)))
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)


def broken(page: Path, link: str) -> bool:
    """Whether a link of a page leads nowhere in the repository; addresses elsewhere are not tried."""
    if re.match(r"[a-z]+:", link):
        return False
    target, _, anchor = link.partition("#")
    goal = (page.parent / target).resolve() if target else page
    if not goal.exists() or ROOT not in (goal, *goal.parents):
        return True
    return bool(anchor) and goal.suffix == ".md" and anchor not in anchors(goal)


def test_every_link_of_a_markdown_page_leads_somewhere() -> None:
    """Files and headings; addresses on the network are left alone."""
    wrong = [
        f"{place(page)}: {link}"
        for page in matching(".md")
        for link in _LINK.findall(_FENCE.sub("", text_of(page)))
        if broken(page, link)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_file_that_the_architecture_names_exists() -> None:
    """Method: every path in back quotes, seen from the top of the repository."""
    path = r"`([\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:md|toml|rs|py|pyi|json))`"
    named = re.findall(path, text_of(ROOT / "ARCHITECTURE.md"))
    roots = (ROOT, CORE, PACKAGE, ROOT / "rust")
    assert named
    assert not [name for name in named if not any((root / name).exists() for root in roots)]


def test_every_page_that_a_source_names_exists() -> None:
    """A comment that sends its reader to a page in ``docs`` sends him somewhere."""
    wrong = [
        f"{place(path, line_of(text, found.start()))}: {found.group()}"
        for path in matching(".rs", ".py", ".pyi", ".toml")
        for text in [text_of(path)]
        for found in re.finditer(r"\bdocs/[\w/-]+\.md\b", text)
        if not (ROOT / found.group()).is_file()
    ]
    assert not wrong, "\n".join(wrong)


def drawn_floors(title: str) -> list[set[str]]:
    """The floors that ``ARCHITECTURE.md`` draws under a title, from the ground up."""
    text = text_of(ROOT / "ARCHITECTURE.md")
    block = re.search(rf"^### {re.escape(title)}\n.*?^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block, f"ARCHITECTURE.md draws no floors under {title!r}"
    return [set(line.split()) for line in reversed(block.group(1).splitlines()) if line.strip()]


def test_the_architecture_draws_the_floors_that_are_enforced() -> None:
    """One drawing for the reader, one table for the test, and no difference between them."""
    assert drawn_floors("Floors of the core") == [set(floor) for floor in CORE_FLOORS]
    assert drawn_floors("Floors of the package") == [set(floor) for floor in PYTHON_FLOORS]


def test_the_architecture_says_of_every_room_of_the_package_what_it_is_for() -> None:
    """Once each, in the table below the drawing; folders of data are no rooms, but are there, too."""
    text = text_of(ROOT / "ARCHITECTURE.md")
    table = text.partition("Where to look, and where the next thing goes:")[2].partition("\n## ")[0]
    named = re.findall(r"`(\w+)`", table)
    assert sorted(named) == sorted([*chain.from_iterable(PYTHON_FLOORS), "library", "pages"])


@cache
def known_labels() -> frozenset[str]:
    """Every label that the specification itself writes."""
    return frozenset(label for page in SPEC.glob("*.md") for label in _LABEL.findall(text_of(page)))


def test_every_label_that_is_cited_is_in_the_specification() -> None:
    """A step, an invariant, a quirk or a scenario that a comment or a test cites can be looked up."""
    known = known_labels()
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?)", text_of(SPEC / "supporting-paths.md"), re.MULTILINE))
    wrong = []
    for folder in ("rust", "python", "tests", "benchmarks"):
        for path in matching(".rs", ".py", ".pyi", under=folder):
            text = text_of(path)
            cited = [(found, found.group() in known) for found in _LABEL.finditer(text)]
            cited += [(found, found.group(1) in sections) for found in _SECTION_LABEL.finditer(text)]
            wrong += [
                f"{place(path, line_of(text, found.start()))}: {found.group()}"
                for found, is_known in cited
                if not is_known
            ]
    assert not wrong, "\n".join(wrong)


def test_the_specification_has_the_labels_that_the_others_lean_on() -> None:
    """Goal: the test above can fail. Method: look at what it takes for known."""
    known = known_labels()
    assert {"UM-9", "MM-6", "RP-7", "DP-5", "MV-8", "I-53", "Q12", "S34"} <= known
    assert not {f"UM-{99}", f"Q{99}"} & known


def test_every_decision_has_a_number_of_its_own() -> None:
    """Four digits and a title in lower case, each number once."""
    names = [path.name for path in matching(".md", under="docs/decisions") if path.name != "README.md"]
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name) for name in names), names
    assert len({name[:4] for name in names}) == len(names), names
