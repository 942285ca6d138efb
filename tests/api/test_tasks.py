"""Who a task is, and what memory it maps."""

from __future__ import annotations

import pytest

import pagemig as pm


def test_root_may_do_everything_and_others_nothing(machine: pm.Machine) -> None:
    """Unless told otherwise."""
    assert machine.spawn().capabilities == pm.Capability.ALL
    assert machine.spawn(uid=1000).capabilities == pm.Capability.NONE
    assert machine.spawn(capabilities=pm.Capability.NONE).capabilities == pm.Capability.NONE
    nice = machine.spawn(uid=1000, capabilities=pm.Capability.SYS_NICE)
    assert nice.capabilities == pm.Capability.SYS_NICE


def test_effective_and_saved_ids_are_the_real_one_unless_given(machine: pm.Machine) -> None:
    """``euid`` and ``suid`` default to ``uid``."""
    plain, other = machine.spawn(uid=5), machine.spawn(uid=5, euid=6, suid=7)
    assert (plain.uid, plain.euid, plain.suid) == (5, 5, 5)
    assert (other.uid, other.euid, other.suid) == (5, 6, 7)


def test_what_can_change_can_be_set(machine: pm.Machine, app: pm.Task) -> None:
    """Credentials, cpuset and CPU; each by itself."""
    machine = pm.Machine(nodes=[pm.MiB] * 2, cpus=2)
    app = machine.spawn("app")
    app.uid, app.euid, app.suid = 1, 2, 3
    app.capabilities = pm.Capability.NONE
    app.mems_allowed = {1}
    app.cpu = 1
    assert (app.uid, app.euid, app.suid, app.cpu) == (1, 2, 3, 1)
    assert (app.capabilities, app.mems_allowed) == (pm.Capability.NONE, frozenset({1}))
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region)
    assert app.nodes_of(region).tolist() == [1]


def test_a_cpuset_is_all_nodes_with_memory_unless_given() -> None:
    """A node without memory is not among them."""
    machine = pm.Machine(nodes=[pm.MiB, 0, pm.MiB])
    assert machine.spawn().mems_allowed == frozenset({0, 2})
    assert machine.spawn(mems_allowed=[2, 1]).mems_allowed == frozenset({1, 2})


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t, "uid", -1),
        lambda t: setattr(t, "euid", 1 << 32),
        lambda t: setattr(t, "suid", "root"),
        lambda t: setattr(t, "capabilities", 1 << 23),
        lambda t: setattr(t, "mems_allowed", []),
        lambda t: setattr(t, "mems_allowed", [7]),
        lambda t: setattr(t, "mems_allowed", 0),
        lambda t: setattr(t, "cpu", 1),
    ],
)
def test_a_change_that_makes_no_sense_changes_nothing(app: pm.Task, change: object) -> None:
    """The error comes before the first effect."""
    before = app.status()
    with pytest.raises(pm.UsageError):
        change(app)  # type: ignore[operator]
    assert app.status() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": 7},
        {"name": "two\nlines"},
        {"uid": -1},
        {"cpu": 9},
        {"memcg": "group"},
        {"mems_allowed": [9]},
        {"capabilities": 3},
    ],
)
def test_a_task_that_cannot_be_is_not_made(machine: pm.Machine, arguments: dict[str, object]) -> None:
    """And takes no pid."""
    with pytest.raises(pm.UsageError):
        machine.spawn(**arguments)  # type: ignore[arg-type]
    assert machine.tasks == ()


def test_handles_of_one_task_are_equal(machine: pm.Machine, app: pm.Task) -> None:
    """Also as keys; tasks of different machines never are."""
    other = machine.spawn()
    assert machine.task(app.pid) == app != other
    assert machine.tasks == (app, other)
    assert {app: 1}[machine.task(app.pid)] == 1
    assert app != machine.clone().task(app.pid)
    assert repr(app) == f"<Task {app.pid}>"


def test_a_stack_lies_at_the_top_unless_the_memory_shall_be_empty(machine: pm.Machine) -> None:
    """16 untouched pages just below the end of user space (what Q10 needs)."""
    (stack,) = machine.spawn().regions
    assert (stack.end, len(stack)) == ((1 << 47) - 4096, 16)
    assert machine.spawn(stack=False).regions == ()


def test_a_kernel_thread_has_no_memory(machine: pm.Machine) -> None:
    """It can be named, but nothing can be mapped."""
    thread = machine.spawn("kswapd0", kernel_thread=True)
    assert thread.is_kernel_thread
    assert "VmRSS" not in thread.status()
    with pytest.raises(pm.UsageError):
        thread.mmap(pm.PAGE_SIZE)


def test_mappings_are_whole_pages_where_asked_for(app: pm.Task) -> None:
    """``mmap(2)`` rounds lengths up; areas are never merged."""
    low = app.mmap(1, at=0x10000)
    high = app.mmap(2 * pm.PAGE_SIZE, at=0x11000, protection=pm.R)
    assert (low.start, low.length, high.start, len(high)) == (0x10000, 4096, 0x11000, 2)
    assert app.regions[:2] == (low, high)


@pytest.mark.parametrize(
    ("length", "arguments"),
    [
        (0, {}),
        (-1, {}),
        (1 << 47, {}),
        (1 << 70, {}),
        ("4KiB", {}),
        (4096, {"at": 5}),
        (4096, {"at": -4096}),
        (8192, {"at": (1 << 47) - 8192}),
        (4096, {"at": 1 << 70}),
        (4096, {"at": 0x20000}),
        (4096, {"file": "x"}),
        (4096, {"offset": 4096}),
        (4096, {"shared": 1}),
        (4096, {"protection": 3}),
        (4096, {"flags": 1}),
        (4096, {"flags": [pm.VmFlags.WRITE]}),
        (4096, {"flags": ["LOCKED"]}),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(
    app: pm.Task, length: object, arguments: dict[str, object]
) -> None:
    """And leaves the address space as it was."""
    app.mmap(pm.PAGE_SIZE, at=0x20000)
    before = app.regions
    with pytest.raises(pm.UsageError):
        app.mmap(length, **arguments)  # type: ignore[arg-type]
    assert app.regions == before


def test_areas_carry_the_flags_they_were_given(app: pm.Task) -> None:
    """VM_IO areas cannot be moved (vma_migratable, Q33): -EFAULT, while a query tells the node."""
    region = app.mmap(pm.PAGE_SIZE, flags=[pm.VmFlags.IO, pm.VmFlags.DONTCOPY])
    app.touch(region)
    assert app.move_pages(region, 1).tolist() == [-14]
    assert app.move_pages(region).tolist() == [0]


def test_what_is_unmapped_is_gone(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """munmap of the middle leaves both ends, and the frames come back."""
    free = machine.vmstat()["nr_free_pages"]
    app.munmap(heap[1:3])
    machine.drain()
    assert app.nodes_of(heap).tolist() == [0, -1, -1, 0]
    assert machine.vmstat()["nr_free_pages"] == free + 2
    assert heap[0] in app.regions


def test_a_child_shares_its_parents_pages(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """fork: same frames, mapped twice; a write gives the child its own."""
    child = app.fork("child")
    mine, theirs = app.page_at(heap.start), child.page_at(heap.start)
    assert mine == theirs
    assert mine is not None
    assert mine.mapcount == 2
    result = child.touch(child.same(heap)[0])
    assert result.cow == 1
    assert child.page_at(heap.start) != app.page_at(heap.start)
    assert (child.name, app.fork().name) == ("child", "app")
    assert child.rss == app.rss == 4


def test_a_task_that_has_exited_is_nobody(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Its frames are free, its pid names nobody, its handle is refused."""
    app.exit()
    machine.drain()
    assert machine.tasks == ()
    assert machine.vmstat()["nr_free_pages"] == 128
    with pytest.raises(pm.UsageError):
        app.touch(heap)


@pytest.mark.parametrize("verb", ["munmap", "mlock", "munlock", "touch", "nodes_of", "move_pages"])
def test_a_region_of_another_task_is_refused(machine: pm.Machine, heap: pm.Region, verb: str) -> None:
    """The message names the way out: ``task.same(region)``."""
    other = machine.spawn()
    with pytest.raises(pm.UsageError, match=r"task\.same\(region\)"):
        getattr(other, verb)(heap)


@pytest.mark.parametrize("verb", ["munmap", "mlock", "munlock", "same"])
def test_what_is_no_region_is_refused(app: pm.Task, verb: str) -> None:
    """An address is not a region."""
    with pytest.raises(pm.UsageError):
        getattr(app, verb)(0x10000)
