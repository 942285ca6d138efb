"""Values compare, print and pickle; so does every exception."""

from __future__ import annotations

import copy
import errno
import inspect
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import pagemig as pm
from pagemig import numa_maps

REGION = pm.Region(1, 0x10000, 8192)
ADDRESSES = np.array([4096], np.uint64)
FRAME = pm.FrameInfo(3, 0, pm.ZoneKind.NORMAL, pm.PageFlags.LRU, 1, 1, pm.Owner(pm.OwnerKind.ANON, 2), 5, 0)


def timeline() -> pm.Timeline:
    """Two steps of a move, as a picture."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    app = machine.spawn()
    heap = app.mmap(pm.PAGE_SIZE)
    app.touch(heap)
    return pm.Timeline.of(machine, [(pm.calls.move_pages(heap, 1), app)], "2a")


VALUES = [
    REGION,
    FRAME,
    pm.Owner(pm.OwnerKind.ANON, 2),
    pm.Entry(pm.EntryKind.PRESENT, True, False, True, False, 3, 0x3025),
    pm.MemoryCounters(0, 1, 0),
    pm.AccessResult(1, 2, 0, 0, 0, ADDRESSES, ADDRESSES[:0]),
    pm.MigrationResult(0, None, np.array([1], np.int32), np.array([1], np.uint32), 1, 0),
    pm.Vma(4096, 8192, pm.VmFlags.READ, 1, pm.Policy(pm.PolicyMode.PREFERRED), (2, 1)),
    pm.Vma(4096, 8192, pm.VmFlags.READ, 1, None, (), file=3),
    pm.Finding("rule", "I-10", None, "detail"),
    pm.Drift("nr_shmem", 1, -2),
    pm.Pageblock(512, pm.BlockState.ISOLATED),
    pm.MemcgRecord(pm.RecordFlags.USED | pm.RecordFlags.CACHE, 2),
    pm.MemcgStatistics(4096, 0, -4096, 0),
    pm.Buffer(pm.BufferState.DIRTY, 1, 77),
    pm.SwapEntry(1, 5),
    pm.SwapInfo(16, 3, 1),
    pm.SwapSlot(2, True, False),
    pm.Transfer(3, 4, pm.IoDirection.READ, None),
    pm.KsmPlace(1, 4096),
    pm.KsmNode(1, 2, (pm.KsmPlace(1, 4096),)),
    pm.FileSystem("odd", -5, write_script=[5, pm.WriteOutcome.ACTIVATE], io_ticks=None),
    pm.filesystems.EXT,
    pm.ToNode(1),
    pm.Anywhere(),
    pm.ByPage({3: 1}),
    pm.Policy(pm.PolicyMode.BIND, [0], static=True),
    pm.Node(pm.MiB, cpus=[0]),
    pm.Zone(pm.ZoneKind.DMA, pm.MiB, low=3),
    pm.Topology([[10, 20], [20, 10]]),
    pm.SecurityHook({(1, 2): errno.EACCES}),
    pm.WaitFor("page_lock", 3, 1),
    pm.WaitFor("writeback", 3, pm.Holder.DISK),
    pm.Lock("page_lock", 3, (1, pm.Holder.HAND), (2,)),
    pm.Event(0, 1, 1, "step", "UM-1", -1, 0, 0),
    pm.Table.of(node=[0, 1], share=[0.5, -0.0], name=["fast", "slow"]),
    pm.presets["two-socket-2010"],
    pm.calls.move_pages(REGION, 1),
    pm.calls.move_pages([4096], [1], target=3, scope=pm.MoveScope.SHARED, status=np.zeros(1, np.int32)),
    pm.calls.touch(REGION),
    pm.calls.touch([1, 2], write=False),
    pm.calls.access([1, 2], [True, False]),
    pm.calls.read(0, 4),
    pm.calls.write(0, b"x"),
    pm.calls.fork("child"),
    pm.calls.exit(),
    pm.calls.munmap(REGION),
    pm.calls.mprotect(REGION, pm.RX),
    pm.calls.mlock(REGION),
    pm.calls.munlock(REGION),
    pm.calls.pin(4096, write=True),
    pm.calls.unpin(3),
    pm.calls.drain(),
    pm.calls.read_file(1, 0, 4),
    pm.calls.write_file(1, 0, b"x"),
    pm.calls.write_file(1, 0, size=4),
    pm.calls.truncate(1, 0),
    pm.calls.lookup(1, 0),
    pm.calls.writeback(1, 0),
    pm.calls.invalidate(1, 0),
    pm.calls.complete_io(),
    pm.calls.mremap(REGION, 4096, to=0x20000),
    pm.calls.madvise(REGION, pm.Advice.MERGEABLE),
    pm.calls.swap_out(4096),
    pm.calls.reclaim(0, 32, family=pm.PageFamily.FILE),
    pm.calls.ksm_scan(),
    pm.calls.offline(0, 512, timeout=5),
    pm.calls.soft_offline(3),
    pm.calls.set_cpuset_mems(1, [0, 2]),
    pm.calls.attach_cpuset(1, 3),
    *(member for kind in (pm.Protection, pm.VmFlags, pm.PageFlags, pm.MoveScope) for member in kind),
    *(member for kind in (pm.Profile, pm.Granularity, pm.PolicyMode, pm.EntryKind) for member in kind),
    *(member for kind in (pm.Capability, pm.MbindFlags, pm.LruList, pm.OwnerKind) for member in kind),
    *(member for kind in (pm.ZoneKind, pm.PageFamily, pm.MappingFlags, pm.BufferState) for member in kind),
    *(member for kind in (pm.IoDirection, pm.Written, pm.Advice, pm.BlockState) for member in kind),
    *(member for kind in (pm.RecordFlags, pm.Holder, pm.MigrateMethod, pm.WriteMethod) for member in kind),
    pm.Exhaustive(),
    pm.Exhaustive(preemptions=2),
    pm.Random(5, 1),
    pm.Pct(3, 5, 1),
    pm.Outcome(3, ((1,), b"x"), None, "3a1b"),
    pm.Raised("SyscallError", errno.EFAULT),
    pm.Symptom(pm.ViolationKind.DEADLOCK, "rule #", "", "rule 3"),
    pm.ExplorationStatistics(1, 2, 3, 4, 5, 6, 7),
    *(member for kind in (pm.Stop, pm.ViolationKind, pm.Bug) for member in kind),
    *pm.gallery.values(),
    pm.Scenario.load("two-movers"),
    timeline(),
    *(member for kind in (pm.DirtyMethod, pm.ReleaseMethod, pm.WriteOutcome) for member in kind),
]
MAPPINGS = [pm.gallery, pm.Scenario.load("two-movers").run()]
"""What has no hash, because it is a mapping or has one."""
ERRORS = [
    pm.PagemigError("a"),
    pm.UsageError("a"),
    pm.MachineBusyError("a"),
    pm.InternalError("a"),
    pm.OutOfMemoryError("a"),
    pm.OutOfMemoryError("a", pm.AccessResult(1, 2, 0, 0, 0, ADDRESSES, ADDRESSES)),
    pm.InvariantError("rule", "detail", "3a1b"),
    pm.DeadlockError("a", ((1, 1, "page_lock 3", 2), (2, 2, "mmap_sem 1", 1))),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_survives_pickling_and_copying(value: object) -> None:
    """Equal, with an equal hash and the same words."""
    for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert twin == value
        assert repr(twin) == repr(value)
        assert type(twin) is type(value)
        assert hash(twin) == hash(value)


@pytest.mark.parametrize("value", MAPPINGS, ids=lambda value: type(value).__name__)
def test_a_value_without_a_hash_survives_pickling_and_copying(value: object) -> None:
    """Equal, with the same words."""
    for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert twin == value
        assert repr(twin) == repr(value)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exception_survives_pickling(error: Exception) -> None:
    """Type, words and attributes."""
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error)


def test_every_public_value_and_exception_is_pickled_here() -> None:
    """Goal: a new one cannot be forgotten. Method: compare with what the package exports."""
    handles = {"Call", "Machine", "Replay", "SyscallError", "Task", "Trace", "UserMemory"}
    handles |= {"Cpuset", "File", "Ksm", "Memcg", "ModelledTime"}
    # These carry machines; ``test_explore_claims`` sends them to another process.
    handles |= {"ExplorationInterrupted", "Verdict", "Violation"}
    classes = {
        name
        for name in pm.__all__
        if name != "inputs" and inspect.isclass(getattr(pm, name)) and name not in handles
    }
    assert classes - {type(thing).__name__ for thing in [*VALUES, *MAPPINGS, *ERRORS]} == set()


def test_handles_are_pickled_with_what_they_are_of(machine: pm.Machine, app: pm.Task) -> None:
    """A machine, its tasks, files and groups, its trace, a call: each goes on as it was."""
    heap = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(heap)
    machine.record()
    data = machine.create_file("data", 4096)
    box, pen = machine.create_memcg("box"), machine.create_cpuset("pen", mems=[0, 1])
    with pm.measured(machine, pm.presets["two-socket-2010"]) as took:
        app.move_pages(heap, 1)
    begun = machine.start(pm.calls.move_pages(heap, 0), by=app)
    begun.step()
    ran = pm.replay(machine, [begun], "2a")
    words = pm.UserMemory(np.arange(3, dtype=np.uint64), writable=False, valid_bytes=8)
    for thing in (took, words):
        twin = pickle.loads(pickle.dumps(thing))
        assert type(twin) is type(thing) and repr(twin) == repr(thing)
    assert list(pickle.loads(pickle.dumps(machine.trace))) == list(machine.trace)
    kept = pickle.loads(pickle.dumps((machine, app, data, box, pen, machine.ksm, begun, ran)))
    twin, task, file, group, cpuset, ksm, call, replayed = kept
    assert twin.snapshot() == machine.snapshot()
    assert task.nodes_of(heap).tolist() == [1] * 4
    assert (file.name, group.name, cpuset.mems) == ("data", "box", pen.mems)
    assert ksm.pages_shared == 0
    assert call.at == begun.at
    twin.run()
    assert call.done and not begun.done
    assert replayed.schedule == "2a" and replayed.calls[0].at == ran.calls[0].at


def test_what_submodules_answer_with_is_pickled(machine: pm.Machine, app: pm.Task) -> None:
    """Reports and their parts, areas of numa_maps."""
    heap = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(heap)
    report = pm.Scenario.load("pinned-page").run()
    history = report.history()
    things = [
        *numa_maps.parse(app.numa_maps()),
        *report.calls,
        *report.regions,
        *report.why_not,
        *report.counters,
        *report.expectations,
        history,
        report.table,
        pm.Scenario.load("pinned-page").page,
    ]
    assert len({type(thing) for thing in things}) == 9
    for thing in things:
        twin = pickle.loads(pickle.dumps(thing))
        assert twin == thing and type(twin) is type(thing)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EPERM, PermissionError),
        (errno.EACCES, PermissionError),
        (errno.ESRCH, ProcessLookupError),
        (errno.EINVAL, OSError),
        (errno.EAGAIN, BlockingIOError),
    ],
)
def test_a_failed_system_call_is_pythons_own_exception_too(
    machine: pm.Machine, app: pm.Task, code: int, kind: type[OSError]
) -> None:
    """Whatever errno the call fails with; statuses and errno survive pickling."""
    target = machine.spawn()
    machine.security_hook = pm.SecurityHook({(app.pid, target.pid): code})
    with pytest.raises(kind) as refused:
        app.move_pages([4096], target=target)
    error = refused.value
    assert isinstance(error, pm.SyscallError)
    assert not isinstance(error, pm.PagemigError)
    twin = pickle.loads(pickle.dumps(error))
    assert isinstance(twin, kind)
    assert (twin.errno, str(twin), twin.call) == (code, str(error), "move_pages")
    assert twin.statuses.tolist() == []


def test_our_own_errors_have_one_root() -> None:
    """All but `SyscallError` derive from PagemigError (the contract)."""
    for error in ERRORS:
        assert isinstance(error, pm.PagemigError)


def test_an_invariant_error_names_the_schedule_if_there_is_one() -> None:
    """So that it can be replayed."""
    assert str(pm.InvariantError("rule", "detail")) == "rule: detail"
    assert "replay with schedule '3a1b'" in str(pm.InvariantError("rule", "detail", "3a1b"))


def test_values_cannot_be_changed() -> None:
    """Neither their fields nor the arrays in them."""
    with pytest.raises(AttributeError):
        FRAME.pfn = 4  # type: ignore[misc]
    result = pm.AccessResult(0, 0, 0, 0, 0, ADDRESSES.copy(), ADDRESSES.copy())
    with pytest.raises(ValueError, match="read-only"):
        result.sigsegv[0] = 1
    assert result != pm.AccessResult(0, 0, 0, 0, 0, ADDRESSES[:0], ADDRESSES.copy())
    assert result != 7


def test_a_call_value_does_not_follow_its_callers_arrays() -> None:
    """Addresses are copied when the value is made; the status array is the caller's own."""
    addresses, status = np.array([4096], np.uint64), np.zeros(1, np.int32)
    call = pm.calls.move_pages(addresses, [1], status=status)
    addresses[0] = 0
    assert call == pm.calls.move_pages([4096], [1], status=status)
    assert call.status is status
    assert status.flags.writeable


def test_call_values_check_what_can_be_checked_without_a_machine() -> None:
    """Types and ranges, when they are written down."""
    wrong = [
        lambda: pm.calls.move_pages("heap", 1),
        lambda: pm.calls.move_pages([1], [1, 2]),
        lambda: pm.calls.move_pages([1], 1 << 31),
        lambda: pm.calls.move_pages([1], [1 << 40]),
        lambda: pm.calls.move_pages([1], [0.5]),
        lambda: pm.calls.move_pages([1], True),
        lambda: pm.calls.move_pages([1], 1, scope=4),  # type: ignore[arg-type]
        lambda: pm.calls.move_pages([1], 1, target="app"),  # type: ignore[arg-type]
        lambda: pm.calls.move_pages([1], 1, status=[0]),  # type: ignore[arg-type]
        lambda: pm.calls.touch([1], write=1),  # type: ignore[arg-type]
        lambda: pm.calls.fork(""),
        lambda: pm.calls.write(0, "text"),  # type: ignore[arg-type]
        lambda: pm.calls.pin(1 << 47),
        lambda: pm.calls.unpin(-1),
        lambda: pm.calls.mprotect(REGION, 7),  # type: ignore[arg-type]
        lambda: pm.calls.read_file("data", 0, 1),  # type: ignore[arg-type]
        lambda: pm.calls.write_file(1, 0, "text"),  # type: ignore[arg-type]
        lambda: pm.calls.truncate(1, 1 << 52),
        lambda: pm.calls.swap_out(1 << 47),
        lambda: pm.calls.offline(0, 0),
        lambda: pm.calls.reclaim(0, 1, family=True),  # type: ignore[arg-type]
    ]
    for make in wrong:
        with pytest.raises(pm.UsageError):
            make()


def test_names_have_the_kernels_numbers() -> None:
    """Data-model 2.2 and 6.1; a few of each."""
    assert pm.PageFlags.SWAPBACKED == 1 << 20
    assert pm.PageFlags.HWPOISON == 1 << 24
    assert pm.VmFlags.MERGEABLE == 0x80000000
    assert pm.VmFlags.LOCKED == 0x2000
    assert pm.Capability.SYS_NICE == 1 << 23
    assert pm.RW == pm.R | pm.W
    assert (pm.KiB, pm.MiB, pm.GiB, pm.PAGE_SIZE) == (2**10, 2**20, 2**30, 4096)
    assert pm.build_profile in ("debug", "release")


ZERO = np.array(1)
"""An array without a dimension: it looks like a list, and cannot be listed."""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda app, heap: app.read_file(5, 0, 1), "file is 5; it must be a File"),
        (lambda app, heap: app.write_file(None, 0, b"x"), "file is None; it must be a File"),
        (lambda app, heap: app.migrate_pages(app, ZERO, [1]), "old_nodes is array"),
        (lambda app, heap: app.migrate_pages(app, [1], ZERO), "new_nodes is array"),
        (lambda app, heap: app.mmap(4096, flags=ZERO), "flags is array"),
        (
            lambda app, heap: app.mmap("64KiB"),
            r"'64KiB'; it must be an integer, such as 64 \* pm.KiB",
        ),
        (lambda app, heap: app.access(heap, heap), "writes holds a Region"),
        (lambda app, heap: app.access(heap, pm.Region(app, 0, 1 << 40)), "writes holds a Region"),
        (lambda app, heap: app.access(heap, [[True], [True, False]]), "rows differ in length"),
        (lambda app, heap: pm.calls.access(heap, [heap, heap]), "writes holds a Region"),
        (lambda app, heap: app.touch(heap, progress=5), "progress is 5; it must be a function or None"),
        (lambda app, heap: pm.Node(zones=5), "zones of a node must be Zone"),
        (lambda app, heap: pm.Machine(nodes=[4096], bugs=ZERO), "bugs has array"),
        (
            lambda app, heap: pm.Machine(nodes=[4096], swap=1 << 50),
            "swap is 1125899906842624; it must be",
        ),
        (lambda app, heap: pm.FileSystem("odd", write_script=ZERO), "write_script is array"),
    ],
)
def test_what_no_verb_can_use_is_refused_in_words_before_anything_changes(
    machine: pm.Machine, app: pm.Task, wrong: Callable[[pm.Task, pm.Region], object], said: str
) -> None:
    """No error of numpy or of Python, and no gigabytes for a large region."""
    heap = app.mmap(2 * pm.PAGE_SIZE)
    before = machine.snapshot()
    with pytest.raises(pm.UsageError, match=said):
        wrong(app, heap)
    assert machine.snapshot() == before


def test_one_node_may_be_an_array_without_a_dimension(app: pm.Task, heap: pm.Region) -> None:
    """It is a number, and holds for all pages."""
    assert app.move_pages(heap, ZERO).tolist() == [1] * 4


def test_who_does_it_must_be_a_task(machine: pm.Machine, heap: pm.Region) -> None:
    """The message names the argument and what would be right."""
    with pytest.raises(pm.UsageError, match="by is None; it must be a task of this machine, or its pid"):
        machine.start(pm.calls.touch(heap), by=None)  # type: ignore[arg-type]


def test_a_security_hook_and_the_nodes_of_pages_cannot_be_changed_behind_the_machines_back(
    machine: pm.Machine,
) -> None:
    """They are read-only; equality, copies, pickles and snapshots go on to work."""
    machine.security_hook = hook = pm.SecurityHook({(1, 2): 13})
    with pytest.raises(TypeError):
        machine.security_hook.vetoes[1, 3] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        pm.ByPage({7: 1}).nodes[7] = 0  # type: ignore[index]
    for value in (hook, pm.ByPage({7: 1})):
        for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
            assert (twin, hash(twin), repr(twin)) == (value, hash(value), repr(value))
    assert pm.Machine.restore(machine.snapshot()).security_hook == hook
    assert repr(hook) == "SecurityHook(vetoes={(1, 2): 13})"


def test_the_statuses_of_an_error_are_read_only_wherever_they_come_from(
    app: pm.Task, heap: pm.Region
) -> None:
    """From a check before the first page, from the call, out of a pickle."""
    for pages, node, target, error in (
        (heap.addresses, 1, 99, "No such process"),
        (heap, 5, None, "No such dev"),
    ):
        with pytest.raises(OSError, match=error) as caught:
            app.move_pages(pages, node, target=target)
        for raised in (caught.value, pickle.loads(pickle.dumps(caught.value))):
            assert isinstance(raised, pm.SyscallError)
            assert raised.statuses is not None
            assert not raised.statuses.flags.writeable


def test_a_syscall_error_that_a_person_makes_can_be_printed_and_pickled() -> None:
    """It names no call, and has no statuses."""
    error = pickle.loads(pickle.dumps(pm.SyscallError(1, "no")))
    assert (str(error), error.call, error.statuses) == ("[Errno 1] no", "", None)
