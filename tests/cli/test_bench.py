"""``pagemig bench``: a table beside the host's kernel, honest about what was not measured."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Run


def test_every_verb_is_timed_and_the_host_beside_it_or_the_reason_why_not(pagemig: Run) -> None:
    """Goal: four rows of positive times; either the host's for what it can do, or why not."""
    done = pagemig("bench", "--pages", 3000, "--rounds", 1, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["pages"], told["rounds"], told["build"] in ("debug", "release")) == (3000, 1, True)
    assert len(told["rows"]) == 4
    assert all(row["ns_per_page"] > 0 for row in told["rows"])
    hosts = [row["host_ns_per_page"] for row in told["rows"]]
    if told["host_refused"] is None:
        assert all(host > 0 for host in hosts[:2])
    else:
        assert hosts == [None] * 4
    assert hosts[2:] == [None, None], "the host is not asked to move or to touch"


def test_the_table_says_how_it_was_measured(pagemig: Run) -> None:
    """A person sees pages, rounds, the build, and one line a verb."""
    done = pagemig("bench", "--pages", 500, "--rounds", 2)
    assert "500 pages in address order, median of 2" in done.stdout
    assert "moved to another node" in done.stdout


@pytest.mark.parametrize("words", [("--pages", 0), ("--rounds", 0), ("--pages", 1 << 25)])
def test_numbers_out_of_range_are_refused(complaint: Callable[..., str], words: tuple[str, int]) -> None:
    """Exit code 2, and the line names the number."""
    assert words[0][2:] in complaint("bench", *words)
