"""Memory policies: where new pages go, and what Linux refuses."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

BIND, PREFER, INTERLEAVE = pm.PolicyMode.BIND, pm.PolicyMode.PREFERRED, pm.PolicyMode.INTERLEAVE
DEFAULT = pm.PolicyMode.DEFAULT


@pytest.fixture
def machine() -> pm.Machine:
    """Four nodes, the last without memory."""
    return pm.Machine(nodes=[pm.MiB, pm.MiB, pm.MiB, 0], cpus=1)


def placed(app: pm.Task, region: pm.Region) -> list[int]:
    """Touch a region and tell where its pages are."""
    app.touch(region)
    return app.nodes_of(region).tolist()


def test_a_task_policy_places_new_pages(app: pm.Task) -> None:
    """Preferred, bind and interleave; default is the local node again."""
    expected = [
        (pm.Policy(PREFER, [2]), [2, 2, 2]),
        (pm.Policy(BIND, [1, 2]), [1, 1, 1]),
        (pm.Policy(DEFAULT), [0, 0, 0]),
        (pm.Policy(PREFER), [0, 0, 0]),
    ]
    for policy, nodes in expected:
        app.set_mempolicy(policy)
        assert placed(app, app.mmap(3 * pm.PAGE_SIZE)) == nodes, policy


def test_interleaving_goes_by_the_offset_in_the_area(app: pm.Task) -> None:
    """Supporting-paths 14: (vm_pgoff + page) mod number of nodes."""
    app.set_mempolicy(pm.Policy(INTERLEAVE, [0, 1, 2]))
    region = app.mmap(4 * pm.PAGE_SIZE, at=3 * 0x1000 * 0x100)
    assert placed(app, region) == [0, 1, 2, 0]


def test_a_policy_of_a_range_comes_before_the_tasks(app: pm.Task) -> None:
    """mbind of the middle of an area splits it."""
    region = app.mmap(3 * pm.PAGE_SIZE)
    app.set_mempolicy(pm.Policy(PREFER, [1]))
    app.mbind(region[1], pm.Policy(BIND, [2]))
    assert placed(app, region) == [1, 2, 1]
    assert len(app.regions) == 4


def test_a_child_inherits_the_policy(app: pm.Task) -> None:
    """fork copies it; a change afterwards is the parent's alone."""
    app.set_mempolicy(pm.Policy(PREFER, [2]))
    child = app.fork()
    app.set_mempolicy(pm.Policy(DEFAULT))
    assert placed(child, child.mmap(pm.PAGE_SIZE)) == [2]


@pytest.mark.parametrize(
    ("policy", "node"),
    [
        (pm.Policy(BIND, [1], relative=True), 2),
        (pm.Policy(BIND, [2], relative=True), 0),
        (pm.Policy(BIND, [2], static=True), 2),
        (pm.Policy(PREFER, [3], relative=True), 2),
        (pm.Policy(BIND, [1, 2]), 2),
    ],
)
def test_nodes_are_seen_through_the_cpuset(app: pm.Task, policy: pm.Policy, node: int) -> None:
    """Syscalls 6.1, step 11: the cpuset is {0, 2}; relative bits are positions in it."""
    app.mems_allowed = [0, 2]
    app.set_mempolicy(policy)
    assert placed(app, app.mmap(pm.PAGE_SIZE)) == [node]


@pytest.mark.parametrize(
    "policy",
    [
        pm.Policy(DEFAULT, [0]),
        pm.Policy(BIND),
        pm.Policy(INTERLEAVE),
        pm.Policy(PREFER, static=True),
        pm.Policy(PREFER, relative=True),
        pm.Policy(BIND, [0], static=True, relative=True),
        pm.Policy(BIND, [3]),
        pm.Policy(INTERLEAVE, [3, 9]),
        pm.Policy(PREFER, [3]),
    ],
)
def test_a_policy_that_linux_refuses_is_einval_and_changes_nothing(app: pm.Task, policy: pm.Policy) -> None:
    """Syscalls 6.1, steps 1, 8 and 11: for set_mempolicy and for mbind."""
    region = app.mmap(pm.PAGE_SIZE)
    before = app.numa_maps()
    for act in (lambda: app.set_mempolicy(policy), lambda: app.mbind(region, policy)):
        with pytest.raises(OSError, match="Invalid argument") as refused:
            act()
        assert refused.value.errno == errno.EINVAL
    assert app.numa_maps() == before


def test_a_range_with_a_gap_is_efault_unless_the_default_is_wanted(app: pm.Task) -> None:
    """Syscalls 6.3 and 6.4: a real policy needs the range mapped throughout."""
    app.mmap(4096, at=0x400000)
    app.mmap(4096, at=0x402000)
    gap = pm.Region(app, 0x400000, 3 * 4096)
    with pytest.raises(OSError, match="Bad address") as refused:
        app.mbind(gap, pm.Policy(BIND, [1]))
    assert refused.value.errno == errno.EFAULT
    app.mbind(gap, pm.Policy(DEFAULT))
    with pytest.raises(OSError, match="Bad address"):
        app.mbind(pm.Region(app, 0x401000, 4096), pm.Policy(DEFAULT))
    app.mbind(gap[:0], pm.Policy(BIND, [1]))


def test_a_gap_at_the_end_is_noticed_only_when_no_area_follows(machine: pm.Machine) -> None:
    """Syscalls 6.3: the walk ends with the last area that starts inside the range."""
    policy = pm.Policy(BIND, [1])
    for stack in (True, False):
        task = machine.spawn(stack=stack)
        task.mmap(4096, at=0x400000)
        beyond = pm.Region(task, 0x400000, 2 * 4096)
        if stack:
            task.mbind(beyond, policy)
            assert task.numa_maps().startswith("00400000 bind:1")
            continue
        with pytest.raises(OSError, match="Bad address"):
            task.mbind(beyond, policy)


def test_strict_refuses_pages_that_are_elsewhere(app: pm.Task) -> None:
    """EIO (6.4), the policy is not applied; DEFAULT drops STRICT (step 6)."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region[0], write=False)
    strict = pm.MbindFlags.STRICT
    app.mbind(region, pm.Policy(BIND, [1]), flags=strict)
    app.mbind(region, pm.Policy(DEFAULT))
    app.touch(region[1])
    with pytest.raises(OSError, match="mbind") as refused:
        app.mbind(region, pm.Policy(BIND, [1]), flags=strict)
    assert refused.value.errno == errno.EIO
    assert "bind" not in app.numa_maps()
    app.mbind(region, pm.Policy(BIND, [0, 1]), flags=strict)
    app.mbind(region, pm.Policy(DEFAULT), flags=strict)


def test_what_is_no_policy_is_refused(app: pm.Task) -> None:
    """Modes are PolicyMode, nodes are ids, flags are MbindFlags."""
    region = app.mmap(pm.PAGE_SIZE)
    wrong = [
        lambda: pm.Policy("bind", [0]),  # type: ignore[arg-type]
        lambda: pm.Policy(2, [0]),  # type: ignore[arg-type]
        lambda: pm.Policy(BIND, [64]),
        lambda: pm.Policy(BIND, [-1]),
        lambda: pm.Policy(BIND, "0"),  # type: ignore[arg-type]
        lambda: app.set_mempolicy("default"),  # type: ignore[arg-type]
        lambda: app.mbind(region, None),  # type: ignore[arg-type]
        lambda: app.mbind(region, pm.Policy(DEFAULT), flags=1),  # type: ignore[arg-type]
    ]
    for act in wrong:
        with pytest.raises(pm.UsageError):
            act()


def test_the_flags_of_a_policy_are_bools() -> None:
    """Those of numpy become Python's; nothing else is taken for one."""
    made = pm.Policy(BIND, [1], static=np.True_, relative=np.False_)  # type: ignore[arg-type]
    assert made == pm.Policy(BIND, [1], static=True)
    assert type(made.static) is type(made.relative) is bool
    for flag in ("static", "relative"):
        with pytest.raises(pm.UsageError, match=f"{flag} is 'no'; it must be True or False"):
            pm.Policy(BIND, [1], **{flag: "no"})


def test_a_piece_that_starts_inside_an_area_is_split_off_before_it_merges_upwards() -> None:
    """Syscalls 6.2: so what is left below is the new area, which goes to the end of the file's list."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", 4 * pm.PAGE_SIZE)
    bound = pm.Policy(pm.PolicyMode.BIND, [1])
    region = app.mmap(4 * pm.PAGE_SIZE, file=file, shared=True)
    app.mbind(region[2:4], bound)
    other = app.mmap(4 * pm.PAGE_SIZE, file=file, shared=True)
    app.mbind(region[1:2], bound)
    assert [area.start for area in file.areas] == [region[1].start, other.start, region.start]
    assert [(vma.end - vma.start) // pm.PAGE_SIZE for vma in app.vmas] == [1, 3, 4]
    machine.check()
