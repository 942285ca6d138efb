"""A captured address space is a checked value: it round-trips through JSON, or says what is wrong where."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagemig as pm
from pagemig.inputs import AddressSpace, Area, Source, shipped_capture

Write = Callable[[str, bytes], Path]

HEAP = Area(
    0x10000,
    0x20000,
    "rw-",
    name="[heap]",
    resident=((0, 4), (8, 2)),
    anonymous=((0, 4), (9, 1)),
    swapped=((5, 1), (10, 6)),
    node_pages=((0, 5), (3, 1)),
)
CODE = Area(0x400000, 0x402000, "r-x", offset=0x1000, name="/bin/true (deleted)", resident=((0, 2),))
DATA = dataclasses.replace(CODE, start=0x402000, end=0x403000, resident=(), device="fe:00", inode=1 << 40)
SPACE = AddressSpace(7, "app", (HEAP, CODE, DATA), source=Source.SMAPS)


@pytest.fixture
def document() -> dict[str, Any]:
    """A real capture as JSON objects, ready to be spoiled."""
    loaded: dict[str, Any] = json.loads(shipped_capture().to_json())
    return loaded


@pytest.mark.parametrize("space", [SPACE, AddressSpace(1, "", ()), shipped_capture()], ids=lambda s: s.name)
def test_json_holds_all_of_it(space: AddressSpace) -> None:
    """There and back; the text is the same each time, and ASCII."""
    text = space.to_json()
    assert AddressSpace.from_json(text) == AddressSpace.from_json(text.encode()) == space
    assert AddressSpace.from_json(text).to_json() == text
    assert text.isascii()
    assert pickle.loads(pickle.dumps(space)) == space


def test_a_capture_of_the_first_version_is_read_without_devices_and_inodes() -> None:
    """Goal: what was saved before areas had them loads as ever. Method: its text, as it was written then."""
    text = (
        '{"format": "pagemig address space", "version": 1, "pid": 7, "name": "app", "page_size": 4096, '
        '"source": "pagemap", "areas": [\n'
        '{"start":65536,"end":73728,"protection":"r-x","shared":false,"offset":4096,"name":"/lib/x",'
        '"resident":[[0,2]],"anonymous":[],"swapped":[],"nodes":{"0":2}}\n]}\n'
    )
    space = AddressSpace.from_json(text)
    area = Area(0x10000, 0x12000, "r-x", False, 0x1000, "/lib/x", ((0, 2),), node_pages=((0, 2),))
    assert space == AddressSpace(7, "app", (area,))
    assert (area.device, area.inode) == ("", 0)
    assert AddressSpace.from_json(space.to_json()) == space
    machine = pm.Machine(nodes=[pm.MiB])
    machine.load(space)
    assert machine.file("/lib/x").cached == 2
    with pytest.raises(pm.UsageError, match=r"areas\[0\]\.inode is not known here"):
        AddressSpace.from_json(text.replace('"nodes"', '"inode":5,"nodes"'))


def test_names_of_any_letters_survive() -> None:
    """Also such as no terminal can show."""
    space = dataclasses.replace(SPACE, name="größe\n\x1b", areas=(dataclasses.replace(HEAP, name='/ü"\\x'),))
    assert AddressSpace.from_json(space.to_json()) == space


@pytest.mark.parametrize("name", ["space.json", "space.json.gz", "space.json.xz", "space.json.zst"])
def test_a_saved_space_is_loaded_as_it_was(tmp_path: Path, name: str) -> None:
    """The same space is the same file, byte for byte; nothing else is left beside it."""
    path = tmp_path / name
    SPACE.save(path)
    before = path.read_bytes()
    SPACE.save(path)
    assert path.read_bytes() == before
    assert AddressSpace.load(path) == SPACE
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert before.startswith(b"\x1f\x8b") == name.endswith(".gz")


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    """A folder in the way, a folder that is missing, a name that is none."""
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "missing" / "space.json"):
        with pytest.raises(pm.UsageError, match=f"{path}: cannot be written"):
            SPACE.save(path)
    for path in ("", "a\0b", 7):
        with pytest.raises(pm.UsageError, match="it must name a file"):
            SPACE.save(path)  # type: ignore[arg-type]
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_bytes_in_memory_are_counted() -> None:
    """All resident pages, and the anonymous among them; areas tell their length and nodes."""
    assert (SPACE.resident, SPACE.anonymous) == (8 * pm.PAGE_SIZE, 5 * pm.PAGE_SIZE)
    assert (HEAP.length, HEAP.nodes) == (0x10000, {0: 5, 3: 1})
    assert CODE.permits == pm.Protection.READ | pm.Protection.EXEC


@pytest.mark.parametrize(
    ("area", "is_heap"),
    [
        (Area(0, 4096, "rw-", name="[heap]"), True),
        (Area(0, 4096, "rw-"), True),
        (Area(0, 4096, "rw-", name="[anon:arena]"), True),
        (Area(0, 4096, "r--"), False),
        (Area(0, 4096, "rw-", shared=True), False),
        (Area(0, 4096, "rw-", name="[stack]"), False),
        (Area(0, 4096, "rw-", name="/lib/libc.so"), False),
    ],
)
def test_a_heap_is_private_writable_memory_of_no_file(area: Area, is_heap: bool) -> None:
    """By what ``maps`` says of it."""
    assert area.is_heap is is_heap


def test_paths_can_be_taken_out() -> None:
    """What is given away need not tell where things lie; names that are no paths stay."""
    names = [area.name for area in SPACE.without_paths().areas]
    assert names == ["[heap]", "true (deleted)", "true (deleted)"]


def test_the_shipped_capture_is_a_real_program() -> None:
    """A Python program with some tens of MiB, page by page, and no directory of any host in it."""
    space = shipped_capture()
    assert space.source is Source.PAGEMAP
    assert 20 * pm.MiB < space.anonymous < space.resident < 64 * pm.MiB
    assert {area.name for area in space.areas} > {"[heap]", "[stack]", "[vdso]"}
    assert not any("/" in area.name for area in space.areas)
    assert sum(area.length for area in space.areas if area.is_heap) > 20 * pm.MiB


def spoil(document: dict[str, Any], where: tuple[str | int, ...], value: object) -> str:
    """The document with one thing replaced, as text."""
    inner: Any = document
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("format",), "something", "format is not"),
        (("version",), 3, "version is 3; this pagemig reads versions 1 and 2"),
        (("version",), True, "version is true"),
        (("pid",), 0, "pid is 0; it must be an integer, 1 to"),
        (("pid",), "7", "pid is '7'"),
        (("name",), None, "name is None; it must be text"),
        (("page_size",), 4095, "page_size is 4095; it must be one of"),
        (("source",), "guess", 'source is "guess"; it must be one of pagemap, smaps'),
        (("source",), [], "source is []"),
        (("areas",), {}, "areas is {}; it must be an array"),
        (("areas", 3), 5, "areas[3] is 5; it must be an object"),
        (("areas", 3, "end"), 0, "areas[3].end is 0; it must be 4096 to"),
        (("areas", 3, "end"), 1 << 48, "areas[3].end is 281474976710656; it must be 4096 to 140737488355328"),
        (("areas", 3, "end"), 4097, "areas[3].end is 0x1001; it must be a multiple of 4096"),
        (("areas", 3, "end"), 4096, "areas[3].end is 0x1000; it must be beyond start"),
        (("areas", 3, "end"), 1e9, "areas[3].end is 1000000000.0; it must be a plain integer"),
        (("areas", 3, "start"), -4096, "areas[3].start is -4096; it must be 0 to"),
        (("areas", 3, "start"), 4096, "areas[3].start is 0x1000; it must be at or above"),
        (("areas", 3, "start"), True, "areas[3].start is True; it must be a plain integer"),
        (("areas", 3, "offset"), 5, "areas[3].offset is 0x5; it must be a multiple of 4096"),
        (("areas", 3, "offset"), 1 << 64, "areas[3].offset is 18446744073709551616"),
        (("areas", 3, "protection"), "rwxp", "areas[3].protection is 'rwxp'; it must be like 'rw-'"),
        (("areas", 3, "shared"), 0, "areas[3].shared is 0; it must be true or false"),
        (("areas", 3, "name"), 5, "areas[3].name is 5; it must be text"),
        (("areas", 5, "resident"), 5, "areas[5].resident is 5; it must be an array"),
        (("areas", 5, "resident"), [[0]], "areas[5].resident[0] is [0]; it must be [first page, pages]"),
        (("areas", 5, "resident"), [[0, 0]], "areas[5].resident[0][1] is 0; it must be 1 to"),
        (("areas", 5, "resident"), [[0, 1 << 40]], "areas[5].resident[0][1] is 1099511627776"),
        (("areas", 5, "resident"), [[4, 2], [5, 1]], "areas[5].resident[1][0] is 5; it must be 6 to"),
        (("areas", 5, "resident"), [["0", 1]], "areas[5].resident[0][0] is '0'"),
        (("areas", 5, "resident"), [], "areas[5].anonymous names pages that are not in resident"),
        (("areas", 5, "swapped"), [[0, 1]], "areas[5].swapped names pages that are in resident, too"),
        (("areas", 5, "nodes"), [], "areas[5].nodes is []; it must be an object"),
        (("areas", 5, "nodes"), {"one": 1}, 'areas[5].nodes: "one" is no node id'),
        (("areas", 5, "nodes"), {"01": 1}, 'areas[5].nodes: "01" is no node id'),
        (("areas", 5, "nodes"), {"1024": 1}, "areas[5].nodes: node id is 1024; it must be 0 to 1023"),
        (("areas", 5, "nodes"), {"0": -1}, "areas[5].nodes: pages on node 0 is -1"),
        (
            ("areas", 5, "nodes"),
            {"0": 100, "2": 1000},
            "areas[5].nodes: pages on node 2 is 1000; it must be 0 to 37",
        ),
        (("areas", 5, "device"), 5, "areas[5].device is 5; it must be like 'fe:00', or empty"),
        (("areas", 5, "device"), "disk", "areas[5].device is 'disk'; it must be like 'fe:00'"),
        (("areas", 5, "inode"), 7, "areas[5]: inode is 7 of no device; they name an object together"),
        (("areas", 5, "inode"), -1, "areas[5].inode is -1; it must be 0 to"),
        (("areas", 5, "inode"), "7", "areas[5].inode is '7'; it must be a plain integer"),
        (("areas", 5, "extra"), 1, "areas[5].extra is not known here"),
    ],
)
def test_a_field_that_makes_no_sense_is_named_with_its_path(
    document: dict[str, Any], where: tuple[str | int, ...], value: object, said: str
) -> None:
    """Where in the file, what was found, and what would be right."""
    with pytest.raises(pm.UsageError) as refused:
        AddressSpace.from_json(spoil(document, where, value))
    assert said in str(refused.value)


def test_a_missing_field_is_named(document: dict[str, Any]) -> None:
    """At every level."""
    del document["areas"][4]["name"]
    with pytest.raises(pm.UsageError, match=r"^areas\[4\]\.name is missing$"):
        AddressSpace.from_json(json.dumps(document))
    del document["page_size"]
    with pytest.raises(pm.UsageError, match=r"^page_size is missing$"):
        AddressSpace.from_json(json.dumps(document))


def test_areas_out_of_order_or_overlapping_are_refused(document: dict[str, Any]) -> None:
    """The later one is named, and where the earlier one ends."""
    areas = document["areas"]
    areas[1], areas[2] = areas[2], areas[1]
    with pytest.raises(pm.UsageError, match=r"areas\[2\]\.start is .* where areas\[1\] ends"):
        AddressSpace.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "line 1, column 1: not JSON"),
        (b"{", "line 1, column 2: not JSON"),
        (b"[]", "this is no capture"),
        (b"null", "this is no capture"),
        (b'{"pid": 1}', "this is no capture"),
        (b'{"pid": 1, "pid": 2}', 'member "pid" stands twice'),
        (b"\xff\xfe\x00\xd8", "not JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"format": ' + b"1" * 5000 + b"}", "not JSON that can be read"),
    ],
)
def test_what_is_no_capture_is_refused(text: bytes, said: str) -> None:
    """One line, whatever it was."""
    with pytest.raises(pm.UsageError, match=said) as refused:
        AddressSpace.from_json(text)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_wrong_is_named(written: Write, document: dict[str, Any]) -> None:
    """Its name comes before everything else that is said."""
    text = spoil(document, ("areas", 0, "end"), 7).encode()
    for name, content, said in (
        ("space.json", text, r"areas\[0\]\.end is 7"),
        ("space.json.gz", gzip.compress(text), r"areas\[0\]\.end is 7"),
        ("cut.json.gz", gzip.compress(text)[:-9], "cut off"),
        ("plain.json.gz", text, "not gzip as its name says"),
        ("empty.json", b"", "the file is empty"),
    ):
        path = written(name, content)
        with pytest.raises(pm.UsageError, match=f"^{path}: .*{said}"):
            AddressSpace.load(path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"areas": [HEAP]}, "areas must be a tuple"),
        ({"areas": (HEAP, 5)}, r"areas\[1\] is 5; it must be an Area"),
        ({"areas": (CODE, HEAP)}, r"areas\[1\]\.start"),
        ({"areas": (dataclasses.replace(HEAP, resident=[(0, 1)]),)}, r"areas\[0\]\.resident"),
        ({"areas": (dataclasses.replace(HEAP, resident=((0, 1, 2),)),)}, r"areas\[0\]\.resident\[0\]"),
        ({"areas": (dataclasses.replace(HEAP, node_pages={0: 1}),)}, r"areas\[0\]\.nodes"),
        ({"source": "pagemap"}, "it must be a Source"),
        ({"page_size": "4KiB"}, "page_size"),
    ],
)
def test_a_space_made_by_hand_is_checked_just_the_same(wrong: dict[str, Any], said: str) -> None:
    """A space that exists makes sense, wherever it came from."""
    with pytest.raises(pm.UsageError, match=said):
        dataclasses.replace(SPACE, **wrong)


@given(at=st.integers(0, 1 << 20), new=st.binary(max_size=4), dropped=st.integers(0, 4))
def test_a_mutated_capture_is_read_as_some_capture_or_refused(at: int, new: bytes, dropped: int) -> None:
    """Goal: no crash. Method: a real file with bytes changed; what is read is checked and round-trips."""
    text = shipped_capture().to_json().encode()
    where = at % len(text)
    try:
        space, said = AddressSpace.from_json(text[:where] + new + text[where + dropped :]), ""
    except pm.UsageError as refused:
        space, said = None, str(refused)
    if space is None:
        assert said and "\n" not in said
    else:
        assert AddressSpace.from_json(space.to_json()) == space
