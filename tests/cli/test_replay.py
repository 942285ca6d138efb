"""``pagemig replay`` plays a recorded program and tells where its accesses were served."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROWS = b" S 1fff000658,8\n L 04033e06,4\n M 04032ffc,8\n L 05000000,8\n S 05000000,8\n"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Five accesses: two pages written, one read and written, one straddling."""
    path = tmp_path / "small.lackey"
    path.write_bytes(ROWS)
    return path


def document(pagemig: Callable, *words: object) -> dict[str, Any]:
    """What ``--json`` prints."""
    done = pagemig("replay", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_access_is_counted_once_for_each_page_it_touches(pagemig: Callable, small: Path) -> None:
    """Method: five records by hand. The straddling modify is two writes; the page that is read before it
    is written meets the zero page first, and is copied on its first write.
    """
    told = document(pagemig, small)
    assert (told["records"], told["writes"], told["straddling"]) == (5, 3, 1)
    served = told["served"]
    assert served["accesses"] == 6
    assert served["minor_faults"] + served["copied_on_write"] >= 5
    assert sum(node["pages"] for node in told["nodes"]) == 4
    assert sum(node["accesses"] for node in told["nodes"]) + served["zero_page"] == 6


def test_pages_are_born_on_the_start_node(pagemig: Callable, small: Path) -> None:
    """The program runs on the last node unless told otherwise."""
    assert [node["pages"] for node in document(pagemig, small)["nodes"]] == [0, 4]
    assert [node["pages"] for node in document(pagemig, small, "--start-node", 0)["nodes"]] == [4, 0]


def test_when_the_start_node_is_full_pages_go_to_another(pagemig: Callable, small: Path) -> None:
    """One page fits on node 1; the others fall back to node 0."""
    nodes = document(pagemig, small, "--node-memory", "1MiB,4KiB")["nodes"]
    assert [node["pages"] for node in nodes] == [3, 1]


def test_a_recorded_sort_is_played_to_its_end(pagemig: Callable, trace: Path) -> None:
    """The trace in the repository: 2.4 million accesses, every one served by some node or the zero page."""
    told = document(pagemig, trace)
    assert told["records"] == 2_400_000
    served = told["served"]
    assert served["accesses"] == told["records"] + told["straddling"]
    assert sum(served["by_node"]) + served["zero_page"] == served["accesses"]
    assert told["move_hot"] is None


def test_moving_hot_pages_half_way_shows_the_same_accesses_with_and_without(
    pagemig: Callable, trace: Path
) -> None:
    """Both second halves have the same accesses; after the move the fast node serves more of them."""
    told = document(pagemig, trace, "--move-hot", 64)
    move = told["move_hot"]
    assert (
        move["first_half"]["accesses"] + move["second_half_moved"]["accesses"] == told["served"]["accesses"]
    )
    assert move["second_half_moved"]["accesses"] == move["second_half_unmoved"]["accesses"]
    assert move["second_half_unmoved"]["by_node"][0] == 0
    assert move["second_half_moved"]["by_node"][0] > told["records"] // 10
    assert [row["kind"] for row in move["outcomes"]] == ["moved"]
    assert sum(row["pages"] for row in move["outcomes"]) == move["chosen"] == 64
    assert told["nodes"][0]["pages"] == 64


def test_half_way_does_not_depend_on_how_the_trace_is_packed(
    pagemig: Callable, trace: Path, tmp_path: Path
) -> None:
    """Plain, gzip and xz hold the same records, so everything told about them is the same."""
    text = lzma.decompress(trace.read_bytes())
    text = text[: text.rindex(b"\n", 0, 4_000_000) + 1]
    plain, gz, xz = (tmp_path / name for name in ("t.lackey", "t.lackey.gz", "t.lackey.xz"))
    plain.write_bytes(text)
    gz.write_bytes(gzip.compress(text))
    xz.write_bytes(lzma.compress(text))
    told = [document(pagemig, path, "--move-hot", 10) for path in (plain, gz, xz)]
    for one in told:
        del one["trace"], one["seconds"]
    assert told[0] == told[1] == told[2]


def test_a_fast_node_that_is_full_is_said(pagemig: Callable, trace: Path) -> None:
    """The simulated move_pages answers ENOMEM; the replay goes on and says so."""
    told = document(pagemig, trace, "--node-memory", "64KiB,1GiB", "--move-hot", 100)
    assert "node 0 is full" in told["move_hot"]["refused"]
    assert told["served"]["accesses"] == told["records"] + told["straddling"]


def test_a_person_sees_nodes_the_move_and_the_difference(pagemig: Callable, trace: Path) -> None:
    """The same as tables, without a progress bar where nobody watches."""
    done = pagemig("replay", trace, "--move-hot", 64)
    assert done.returncode == 0 and done.stderr == ""
    for words in (
        "Nodes at the end",
        "first half",
        "had nothing moved",
        "after the move",
        "64",
        "start",
        "fast",
    ):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--nodes", "0"), "1 to 64"),
        (("--nodes", "65"), "1 to 64"),
        (("--node-memory", "lots"), "lots"),
        (("--node-memory", "5000"), "4096 or 8192"),
        (("--node-memory", "1MiB,1MiB,1MiB"), "3 sizes for 2 nodes"),
        (("--node-memory", "0"), "memory"),
        (("--node-memory", "4096TiB"), "TiB"),
        (("--fast-node", "2"), "the nodes are 0 to 1"),
        (("--start-node", "-1"), "the nodes are 0 to 1"),
        (("--move-hot", "0"), "at least 1"),
        (("--move-hot", "-3"), "at least 1"),
        (("--node-memory", "4KiB"), "touches more than"),
    ],
)
def test_a_machine_that_makes_no_sense_is_refused_in_one_line(
    complaint: Callable[..., str], small: Path, words: tuple[str, ...], said: str
) -> None:
    """The option or the number is named, and what would be right."""
    assert said in complaint("replay", small, *words)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.lackey", None, "no such file"),
        ("empty.lackey", b"", "empty"),
        ("cut.lackey", ROWS[:-5], "line 5"),
        ("prose.lackey", b"It was a dark and stormy night.\n", "line 1"),
        ("turns.lackey", ROWS + b"and then nothing\n", "line 6"),
        ("named.lackey.xz", ROWS, "xz"),
        ("named.lackey.gz", lzma.compress(ROWS), "gz"),
        ("cut.lackey.xz", lzma.compress(ROWS * 1000)[:-20], "cut off"),
        ("cut.lackey.gz", gzip.compress(ROWS * 1000, mtime=0)[:-20], "cut off"),
        ("kernel.lackey", b" L ffff800000000000,8\n", "user space"),
        ("code.lackey", b"I  04033e06,4\n", "no access"),
    ],
)
def test_a_file_that_is_no_whole_trace_is_refused_in_one_line(
    complaint: Callable[..., str], tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """The file is named, and the line where there is one."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    line = complaint("replay", path)
    assert str(path) in line and said in line


def test_a_folder_is_no_trace(complaint: Callable[..., str], tmp_path: Path) -> None:
    """Named, like any other file that is none."""
    assert str(tmp_path) in complaint("replay", tmp_path)
