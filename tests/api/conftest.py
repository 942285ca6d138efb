"""The machine that most of these tests look at: two nodes, one task, a heap that is there."""

from __future__ import annotations

import pytest

import pagemig as pm


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 64 frames each, one CPU."""
    return pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1)


@pytest.fixture
def app(machine: pm.Machine) -> pm.Task:
    """A task of root."""
    return machine.spawn("app")


@pytest.fixture
def heap(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """Four pages of its memory on node 0, touched and drained to the LRU."""
    region = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    return region
