"""Reading and writing scenarios: all mistakes at once, each with its place; nothing is read by halves."""

from __future__ import annotations

import copy
import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagemig as pm
from pagemig.scenario import library, schema
from pagemig.scenario.shelf import text_of
from tests.scenarios.json_schema import fits

Mistakes = Callable[[dict[str, Any]], list[str]]


def test_a_scenario_from_python_is_the_one_from_toml(plain: dict[str, Any]) -> None:
    """Sizes may be numbers or text, enumerations members or words."""
    made = pm.Scenario(**plain)
    plain["machine"] = {"nodes": {0: pm.MiB, 1: {"memory": "1024KiB"}}, "profile": pm.Profile.EXACT}
    assert pm.Scenario(**plain) == made
    assert pm.Scenario.loads(made.to_toml()) == made


def test_a_scenario_is_written_to_a_file_and_read_from_it(plain: dict[str, Any], tmp_path: Path) -> None:
    """By path, as text or as a Path; prose with quotes and backslashes comes back as it was."""
    plain["story"] = 'He said "now",\nand\\then """ nothing.\n\tThe end"'
    told = pm.Scenario(**plain)
    told.dump(tmp_path / "mine.toml")
    assert pm.Scenario.load(tmp_path / "mine.toml") == told
    assert pm.Scenario.load(str(tmp_path / "mine.toml")).story == plain["story"]


def test_a_scenario_is_written_as_a_whole_or_not_at_all(plain: dict[str, Any], tmp_path: Path) -> None:
    """What was there stays if it cannot be written, a link stays a link, and a device stays a device."""
    told = pm.Scenario(**plain)
    for path, words in (
        (tmp_path, "Is a directory"),
        (tmp_path / "none" / "x.toml", "No such file or directory"),
        (Path("/dev/full"), "No space left on device"),
    ):
        with pytest.raises(pm.UsageError, match=f"^{re.escape(str(path))}: cannot be written: {words}$"):
            told.dump(path)
    assert Path("/dev/full").is_char_device()
    (tmp_path / "mine.toml").write_text("kept")
    (tmp_path / "link.toml").symlink_to("mine.toml")
    told.dump(tmp_path / "link.toml")
    assert (tmp_path / "link.toml").is_symlink()
    assert pm.Scenario.load(tmp_path / "mine.toml") == told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.toml", "mine.toml"]
    with pytest.raises(pm.UsageError, match="it must name a file"):
        told.dump("")


def test_every_mistake_is_told_with_its_place(plain: dict[str, Any], mistakes: Mistakes) -> None:
    """Goal: one look at the message is enough to mend the file."""
    plain["machine"]["cpu"] = 2
    plain["machine"]["nodes"][1] = "5000"
    plain["tasks"]["app"]["capabilities"] = ["SYS_NIC"]
    plain["regions"]["heap"]["task"] = "ap"
    plain["setup"][0]["do"] = "tuch"
    plain["calls"][0]["nodes"] = "1"
    plain["calls"][0]["expect"] = {"statuses": ["-EBUSSY"]}
    found = mistakes(plain)
    assert [line.split(":")[0] for line in found] == [
        "machine.nodes.1.memory",
        "machine.cpu",
        "tasks.app.capabilities",
        "regions.heap.task",
        "setup[0].do",
        "calls[0].nodes",
        "calls[0].expect.statuses",
    ]
    assert "4096 or 8192 would be" in found[0]
    assert "did you mean 'cpus'?" in found[1]
    assert "did you mean 'SYS_NICE'?" in found[2]
    assert "did you mean 'app'?" in found[3]
    assert "did you mean 'touch'?" in found[4]
    assert "did you mean '-EBUSY'?" in found[6]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": {"move": {}}}, "calls[0].id: 'move' is a task already; give it another name"),
        ({"order": "parallel"}, "order: it is 'parallel'; there is: sequence, together"),
        ({"schedule": "1a"}, "schedule: the calls run one after the other; set order = 'together'"),
        ({"tasks": {"9lives": {}}}, "tasks.9lives: '9lives' is no name; a letter comes first"),
        ({"setup": [{"by": "app", "do": "touch"}]}, "setup[0].where: it is missing"),
        ({"setup": [{"by": "app"}]}, "setup[0].do: it is missing; say what is done: move_pages"),
        ({"setup": [{"by": "app", "do": "touch", "where": "heap[9]"}]}, "heap has 4 pages, 0 to 3"),
        ({"setup": [{"by": "app", "do": "touch", "where": "heap[2:2]"}]}, "has no page in it"),
        ({"setup": [{"by": "app", "do": "touch", "where": "heap]"}]}, "is not in the notation 'heap'"),
        (
            {"setup": [{"by": "other", "do": "touch", "where": "heap"}]},
            "other is neither app nor forked from it",
        ),
        (
            {"setup": [{"by": "app", "do": "read", "address": "heap", "size": 1}]},
            "set machine.contents = true",
        ),
        ({"setup": [{"do": "unpin", "pfn": "dma"}]}, "'dma' is no region, file or pin"),
        (
            {"setup": [{"by": "app", "do": "touch", "where": "heap", "nodes": 1}]},
            "setup[0].nodes: unknown key",
        ),
        ({"calls": [{"id": "x", "do": "advance", "ticks": 1}]}, "'advance' is for a setup only"),
        ({"expect": {"pages": [{"page": "heap", "node": True}]}}, "expect.pages[0].node: it is True"),
        (
            {"expect": {"outcomes": [{"move": [1]}]}},
            "the calls run one after the other: expect it of the calls",
        ),
        ({"machine": {"nodes": []}}, "it must be a size for each node"),
        ({"machine": {"nodes": {"x": "1MiB"}}}, "'x' is no node; a node is numbered 0 to 63"),
        ({"machine": {"nodes": ["1MiB"], "bugs": ["no-freze"]}}, "did you mean 'no-freeze'?"),
        ({"regions": {"heap": {"task": "app"}}}, "a region wants either size or pages"),
        ({"files": {"f": {"size": "1KiB", "filesystem": "ext9"}}}, "did you mean 'ext'?"),
    ],
)
def test_a_mistake_says_what_would_be_right(
    plain: dict[str, Any], mistakes: Mistakes, change: dict[str, Any], words: str
) -> None:
    """One mistake each; the message names it."""
    found = mistakes({**plain, **change})
    assert any(words in line for line in found), found


def test_lists_have_one_entry_for_each_page(plain: dict[str, Any], mistakes: Mistakes) -> None:
    """Nodes that are asked for and statuses that are expected are counted before anything runs."""
    plain["calls"][0] |= {"nodes": [1, 1], "expect": {"statuses": [1, 1, 1]}}
    assert mistakes(plain) == [
        "calls[0].nodes: 2 nodes for 4 pages; give one, or one for each page",
        "calls[0].expect.statuses: 3 statuses for 4 pages",
    ]


def test_a_child_can_be_used_only_after_it_was_forked(plain: dict[str, Any], mistakes: Mistakes) -> None:
    """Names come to be in the order of the steps."""
    plain["setup"] += [
        {"by": "kid", "do": "touch", "where": "heap"},
        {"by": "app", "do": "fork", "name": "kid"},
        {"by": "kid", "do": "touch", "where": "heap"},
    ]
    assert mistakes(plain) == ["setup[2].by: there is no task 'kid' yet when this begins"]


def test_a_setup_that_fails_is_told_with_its_step(plain: dict[str, Any]) -> None:
    """A setup has to go well; which step did not is said."""
    plain["setup"].append({"by": "other", "do": "pin", "address": 0x7000, "name": "dma"})
    with pytest.raises(pm.UsageError, match=r"^setup\[2\]: there is no page to be had there$"):
        pm.Scenario(**plain).run()
    plain["setup"][2] = {"by": "app", "do": "touch", "where": 0x7000}
    with pytest.raises(pm.UsageError, match=r"^setup\[2\]: SIGSEGV at 0x7000$"):
        pm.Scenario(**plain).run()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('title = "x"\nmachine = {\n', r"bad\.toml, line \d+.*: not TOML: "),
        ('title = "x', r"bad\.toml, line 1.*: not TOML: "),
        ("", r"bad\.toml: 2 mistakes:\n  title: it is missing"),
    ],
)
def test_text_that_is_no_toml_is_told_with_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    """File, line and reason."""
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(pm.UsageError, match=words):
        pm.Scenario.load(tmp_path / "bad.toml")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Not there, a folder, and bytes that are no text."""
    for path, words in ((tmp_path / "none.toml", "No such file"), (tmp_path, "it is a folder")):
        with pytest.raises(pm.UsageError, match=words):
            pm.Scenario.load(path)
    (tmp_path / "bytes.toml").write_bytes(b'title = "x"\n# \xff\n')
    with pytest.raises(pm.UsageError, match=r"bytes\.toml, line 2: not UTF-8 text"):
        pm.Scenario.load(tmp_path / "bytes.toml")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_scenario_or_refused(text: str) -> None:
    """No text makes the reader fall over."""
    try:
        pm.Scenario.loads(text)
    except pm.UsageError as error:
        assert str(error)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(library()), st.integers(0, 1 << 32))
def test_a_mutated_scenario_is_a_scenario_or_refused(name: str, seed: int) -> None:
    """Method: lines are taken out, doubled and exchanged, and characters replaced."""
    dice = random.Random(seed)
    lines = pm.Scenario.load(name).to_toml().splitlines()
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(lines))
        kind = dice.randrange(4)
        if kind == 0 and len(lines) > 1:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[dice.randrange(len(lines))])
        elif lines[at]:
            place = dice.randrange(len(lines[at]))
            letter = dice.choice('"[]{}=,0123456789abcxyz-. ')
            lines[at] = lines[at][:place] + letter + lines[at][place + (kind == 2) :]
    try:
        told = pm.Scenario.loads("\n".join(lines))
    except pm.UsageError as error:
        assert str(error)
    else:
        assert pm.Scenario.loads(told.to_toml()) == told


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["machine", "tasks", "regions", "setup", "calls", "expect", "explore", "files"]), JUNK)
def test_junk_in_any_part_is_refused_in_words(part: str, junk: Any) -> None:
    """Goal: nothing but `UsageError` leaves the reader."""
    data = {"title": "x", "machine": {"nodes": ["1MiB"]}, part: junk}
    try:
        pm.Scenario(**data)
    except pm.UsageError as error:
        assert str(error)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40), st.text(alphabet='"\\\n ab\x00\x7f\r\t', max_size=12))
def test_any_title_and_story_can_be_written_and_read(title: str, story: str) -> None:
    """Quotes, backslashes and control characters in any order."""
    told = pm.Scenario(title=title, story=story, machine={"nodes": ["1MiB"]})
    assert pm.Scenario.loads(told.to_toml()) == told


def test_text_that_no_file_can_hold_is_refused(plain: dict[str, Any], mistakes: Mistakes) -> None:
    """Half a surrogate pair: Python has such text, TOML has not."""
    (line,) = mistakes(plain | {"title": "\ud800"})
    assert line.startswith("title: it is '\\ud800'; half a surrogate pair")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(library()), st.integers(0, 1 << 32))
def test_a_file_of_bytes_is_a_scenario_or_refused_with_its_name(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes, name: str, seed: int
) -> None:
    """Junk, and files of the library with junk in them: the message names the file and has no traceback."""
    dice = random.Random(seed)
    real = pm.Scenario.load(name).to_toml().encode()
    at = dice.randrange(len(real))
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    for data in (junk, real[:at] + junk[:8] + real[at + dice.randrange(8) :]):
        path.write_bytes(data)
        try:
            pm.Scenario.load(path)
        except pm.UsageError as error:
            assert str(error).startswith(str(path))
            assert "Traceback" not in str(error)


@pytest.mark.parametrize("name", library())
def test_the_schema_takes_every_scenario_of_the_library(name: str) -> None:
    """As an editor would read it; and not the same with a key, a verb or a type that is wrong."""
    made = schema()
    told = tomllib.loads(text_of(name))
    assert fits(told, made, made["$defs"])
    for path, wrong in ((("machine", "cpu"), 2), (("order",), "at once"), (("title",), 3)):
        broken = copy.deepcopy(told)
        at = broken
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = wrong
        assert not fits(broken, made, made["$defs"]), path
    broken = copy.deepcopy(told)
    broken["calls"] = [{"id": "x", "do": "fly"}]
    assert not fits(broken, made, made["$defs"])


@pytest.mark.parametrize(
    "name", [3, None, "a" * 5000, "nul\0", "\ud800"], ids=["number", "None", "long", "nul", "half"]
)
def test_what_cannot_name_a_file_names_no_scenario(name: object) -> None:
    """Whatever the host would say of such a name, it is one sentence here."""
    with pytest.raises(pm.UsageError, match=r"it must name a file|File name too long"):
        pm.Scenario.load(name)  # type: ignore[arg-type]


def test_a_file_may_begin_with_the_mark_of_utf_8(tmp_path: Path) -> None:
    """As some editors write it."""
    page = tmp_path / "marked.toml"
    page.write_text("title = 'x'\nmachine = { nodes = ['1MiB'] }\ntasks.app = {}\n", encoding="utf-8-sig")
    assert pm.Scenario.load(page).title == "x"
