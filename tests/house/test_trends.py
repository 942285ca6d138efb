"""What ``make trends`` is made of: which lines it types, how, and when it finds something missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.house.repository import text_of
from tests.house.trends import PAGE, SETUP, asv_lines, check, graph_of, measured, quickened, typed

ADDED = re.compile(r""" --steps 2| --quick| --bench '[^']*'|(?<=make asv) ASV_FLAGS="[^"]*\"""")


def test_every_line_of_asv_is_typed_as_it_stands_but_for_options() -> None:
    """Goal: what is typed is what the page says. Method: take the added options away again."""
    lines = asv_lines(text_of(PAGE))
    verbs = ("make asv", "asv run", "asv continuous", "asv publish", "asv preview")
    assert all(any(verb in line for line in lines) for verb in verbs)
    for line in lines:
        told = [command.replace(" --quick", "") for command in line.split(" && ")]
        for command, typed_in in zip(told, quickened(line), strict=True):
            bare = ADDED.sub("", typed_in)
            assert bare == command
            is_run = bool(re.search("asv run|asv continuous|make asv", typed_in))
            assert is_run == ("--quick" in typed_in)


def test_the_page_says_what_a_clean_clone_needs() -> None:
    """The two commands that come first."""
    assert all(f"`{command}`" in text_of(PAGE) for command in SETUP)


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    """All but a comparison that has found a change, which asv says by failing."""
    assert typed("echo said", tmp_path) == "said\n"
    with pytest.raises(AssertionError, match="ended with 3"):
        typed("exit 3", tmp_path)
    assert "CHANGED" in typed("echo SOME BENCHMARKS HAVE CHANGED; : continuous ; exit 1", tmp_path)


COMMIT = "a" * 40
MACHINE = {"machine": "box", "branch": "main", "python": "3.11"}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """What asv would have published of one benchmark with one commit."""
    graph = json.dumps([[7, 0.25]])
    for name in ("graphs/summary/Suite.time_it.json", graph_of(MACHINE, "Suite.time_it")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(graph)
    (tmp_path / "index.html").write_text("<title>airspeed velocity</title>")
    index = {
        "revision_to_hash": {"7": COMMIT},
        "graph_param_list": [MACHINE],
        "benchmarks": {"Suite.time_it": {}},
    }
    (tmp_path / "index.json").write_text(json.dumps(index))
    return tmp_path


def test_a_graph_of_each_benchmark_with_a_point_for_each_commit_is_looked_for(published: Path) -> None:
    """One benchmark, one commit: a point in the summary, and one in the graph of the machine."""
    assert check(lambda path: (published / path).read_bytes(), {"Suite.time_it": {COMMIT}}) == 2


@pytest.mark.parametrize("graph", ["graphs/summary/Suite.time_it.json", graph_of(MACHINE, "Suite.time_it")])
def test_a_graph_without_the_point_is_found(published: Path, graph: str) -> None:
    """Nothing in it, or nothing at that commit."""
    for points in ([], [[6, 0.25]], [[7, None]]):
        (published / graph).write_text(json.dumps(points))
        with pytest.raises(AssertionError, match=r"Suite\.time_it\.json has"):
            check(lambda path: (published / path).read_bytes(), {"Suite.time_it": {COMMIT}})


def test_nothing_measured_and_nothing_published_are_found(published: Path) -> None:
    """An empty run shows nothing; a benchmark that is not among the published ones is missing."""
    with pytest.raises(AssertionError, match="nothing was measured"):
        check(lambda path: (published / path).read_bytes(), {})
    with pytest.raises(AssertionError, match="not among the benchmarks"):
        check(lambda path: (published / path).read_bytes(), {"Suite.time_other": {COMMIT}})


def test_what_asv_keeps_is_read_without_what_failed(tmp_path: Path) -> None:
    """A benchmark that failed has no number, and no graph either."""
    (tmp_path / "box").mkdir()
    kept = {"commit_hash": COMMIT, "results": {"a": [[0.5], []], "b": [[None], []], "c": None, "d": [None]}}
    (tmp_path / "box" / "one.json").write_text(json.dumps(kept))
    (tmp_path / "box" / "machine.json").write_text(json.dumps({"machine": "box"}))
    assert measured(tmp_path) == {"a": {COMMIT}}
