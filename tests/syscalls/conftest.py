"""The machine that the system-call tests call into."""

from __future__ import annotations

import pytest

import pagemig as pm


@pytest.fixture
def machine() -> pm.Machine:
    """Nodes 0, 1 and 3 of 1024 frames; node 2 exists but has no memory; one CPU."""
    size = 1024 * pm.PAGE_SIZE
    return pm.Machine(nodes={0: size, 1: size, 2: 0, 3: size}, cpus=1)


@pytest.fixture
def app(machine: pm.Machine) -> pm.Task:
    """A task of user 1000 without privileges."""
    return machine.spawn("app", uid=1000)


@pytest.fixture
def heap(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """400 pages on node 0, touched and drained to the LRU."""
    region = app.mmap(400 * pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    return region
