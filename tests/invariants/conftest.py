"""The machine of these tests; every test that takes it ends with an audit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pagemig as pm
from tests.invariants.situations import new_machine


@pytest.fixture
def profile() -> pm.Profile:
    """EXACT, unless a test says otherwise."""
    return pm.Profile.EXACT


@pytest.fixture
def machine(profile: pm.Profile) -> Iterator[pm.Machine]:
    """Two nodes of 32 frames each, one CPU, real bytes, eight slots of swap, pageblocks of 16."""
    made = new_machine(profile)
    yield made
    made.check()


@pytest.fixture
def app(machine: pm.Machine) -> pm.Task:
    """A task of root without any memory."""
    return machine.spawn("app", stack=False)


@pytest.fixture
def kernel(machine: pm.Machine) -> pm.Task:
    """A kernel thread, which offlines and scans."""
    return machine.spawn("kworker", kernel_thread=True)


@pytest.fixture
def page(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """One page of app on frame 0, written and drained."""
    area = app.mmap(pm.PAGE_SIZE)
    app.write(area.start, b"page")
    machine.drain()
    return area
