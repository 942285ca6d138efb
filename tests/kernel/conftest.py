"""The machine that most kernel tests start from; every test ends with an audit of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pagemig as pm


@pytest.fixture
def machine() -> Iterator[pm.Machine]:
    """Two nodes of 64 frames each, one CPU (on node 0), real bytes."""
    made = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True)
    yield made
    made.check()


@pytest.fixture
def app(machine: pm.Machine) -> pm.Task:
    """A task of root."""
    return machine.spawn("app")


@pytest.fixture
def admin(machine: pm.Machine) -> pm.Task:
    """Another task of root, which moves the pages of others and has none of its own."""
    return machine.spawn("admin", stack=False)


@pytest.fixture
def heap(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """Four pages of app on node 0, written and drained to the active list."""
    region = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    return region


@pytest.fixture
def page(heap: pm.Region) -> pm.Region:
    """The first page of the heap."""
    return heap[0]
