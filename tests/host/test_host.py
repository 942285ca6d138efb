"""The yardstick: what the host's kernel needs for its own pages, or why it does not say."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pagemig.errors import PagemigError, UsageError
from pagemig.host import HostPages, HostUnavailable, host_query_ns_per_page


def test_a_look_up_takes_time_or_the_host_says_why_not() -> None:
    """Goal: right on every host. One that answers gives a figure, one that refuses gives a reason."""
    try:
        assert host_query_ns_per_page(64, rounds=3) > 0
    except HostUnavailable as refused:
        assert refused.reason


def test_pages_that_were_written_to_are_on_a_node_and_may_stay_there() -> None:
    """Method: ask where the pages are, then ask for them to be moved to just there."""
    try:
        with HostPages(32) as memory:
            elapsed, nodes = memory.query(memory.addresses[::-1].copy())
            assert elapsed > 0
            assert (nodes >= 0).all()
            assert np.array_equal(memory.stay(memory.addresses, nodes[::-1].copy())[1], nodes[::-1])
    except HostUnavailable as refused:
        assert refused.reason


@pytest.mark.parametrize("pages", [0, -1, 2.5, "many"])
def test_a_number_of_pages_that_makes_no_sense_is_refused(pages: object) -> None:
    """Before anything is asked of the host."""
    with pytest.raises(UsageError, match="pages"):
        host_query_ns_per_page(pages)
    with pytest.raises(UsageError, match="rounds"):
        host_query_ns_per_page(1, rounds=0)


def test_memory_that_the_host_does_not_have_is_its_refusal_and_not_a_crash() -> None:
    """2**50 pages are more than any address space."""
    with pytest.raises(HostUnavailable, match="memory"):
        HostPages(1 << 50)


def test_a_refusal_can_be_pickled() -> None:
    """It crosses processes like every error of the package."""
    refused = pickle.loads(pickle.dumps(HostUnavailable("no such call")))
    assert refused.reason == "no such call"
    assert isinstance(refused, PagemigError)
