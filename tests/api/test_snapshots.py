"""Snapshots: a machine as bytes comes back as it was, and bytes that are none are refused in words.

What is kept of calls in every situation is in ``tests/races/test_determinism.py``.
"""

from __future__ import annotations

import copy
import pickle
import re
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagemig as pm
from pagemig import PAGE_SIZE
from tests.api import kept

HEADER = 24
"""Magic, version, checksum."""
CORE_HEADER = 24
MOVE = rb'\[\d+,1,(?={"of":"MovePages")'
"""Where the text has the number of the call that moves pages."""
COPIES: dict[str, Callable[[pm.Machine], pm.Machine]] = {
    "snapshot": lambda machine: pm.Machine.restore(machine.snapshot()),
    "pickle": lambda machine: pickle.loads(pickle.dumps(machine)),
    "clone": pm.Machine.clone,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(scope="module")
def snapshot() -> bytes:
    """A machine with something in every store and calls in flight."""
    return kept.machine().snapshot()


def told(machine: pm.Machine) -> list[object]:
    """Much of what a program can ask of a machine."""
    tasks = [
        (task.pid, task.name, task.uid, task.rss, task.numa_maps(), task.cpuset and task.cpuset.number)
        for task in machine.tasks
    ]
    calls = [
        (call.number, call.pid, repr(call.what), call.at, call.labels, call.waiting_for, call.history)
        for call in machine.calls
    ]
    files = [(file.name, file.size, file.filesystem, file.cached) for file in machine.files]
    groups = [(group.name, group.limit, group.statistics) for group in machine.memcgs]
    rest = (machine.security_hook, machine.nodes, machine.cpus, machine.profile, machine.contents)
    counted = (machine.vmstat(), machine.cost, machine.drift, machine.swap, machine.pending_io, machine.now)
    return [tasks, files, groups, rest, counted, calls, machine.locks, [tuple(e) for e in machine.trace]]


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_equal_and_goes_on_in_the_same_way(way: str) -> None:
    """Calls in flight included: in lockstep both make the same steps and write the same."""
    machine = kept.machine()
    twin = COPIES[way](machine)
    assert told(twin) == told(machine)
    ours, theirs = machine.calls, twin.calls
    assert [call.number for call in theirs] == [call.number for call in ours]
    for _ in range(400):
        for mine, its in zip(ours, theirs, strict=True):
            if not mine.done:
                assert its.step() == mine.step()
        if all(call.done for call in ours):
            break
        if not any(call.waiting_for is None for call in ours if not call.done):
            assert machine.complete_io() is twin.complete_io() is True
        assert twin.audit() == machine.audit() == []
        assert twin.snapshot() == machine.snapshot()
    assert [repr(call.error or call.result) for call in theirs] == [
        repr(call.error or call.result) for call in ours
    ]
    assert told(twin) == told(machine)


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_shares_nothing_with_what_it_was_made_from(way: str) -> None:
    """Neither memory nor the user memory that a call in flight writes to."""
    machine = kept.machine()
    before = machine.snapshot()
    twin = COPIES[way](machine)
    twin.calls[2].run()
    twin.run()
    twin.spawn("late")
    twin.security_hook = pm.SecurityHook()
    assert machine.snapshot() == before


def test_user_memory_comes_along_with_what_was_written_to_it() -> None:
    """The first chunk is delivered; its array in the copy has the same bytes and the same faults."""
    machine = pm.Machine(nodes=[4 * pm.MiB] * 2)
    app = machine.spawn()
    heap = app.mmap(200 * PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    status = pm.UserMemory(np.full(200, 77, np.int32), valid_bytes=700)
    call = machine.start(pm.calls.move_pages(heap, 1, status=status), by=app)
    while status.array[0] == 77:
        assert call.step()
    assert status.array.tolist() == [1] * 169 + [77] * 31
    twin = pm.Machine.restore(machine.snapshot())
    theirs = twin.calls[0].what.status  # type: ignore[attr-defined]
    assert repr(theirs) == repr(status)
    assert theirs.array.tolist() == status.array.tolist()
    theirs.array[:169] = 5
    twin.run()
    assert theirs.array.tolist() == [5] * 169 + [1] * 6 + [77] * 25
    assert isinstance(twin.spawn(), pm.Task)


def test_a_read_only_status_array_stays_read_only() -> None:
    """It faults in the copy as it did."""
    machine = pm.Machine(nodes=[pm.MiB])
    app = machine.spawn()
    status = np.zeros(1, np.int32)
    status.setflags(write=False)
    machine.start(pm.calls.move_pages(app.mmap(PAGE_SIZE), 0, status=status), by=app)
    twin = pm.Machine.restore(machine.snapshot())
    twin.run()
    assert not twin.calls
    assert status.tolist() == [0]


def test_handles_in_one_pickle_are_handles_of_one_machine() -> None:
    """Tasks, files, groups and calls, in flight and ended, with their machine or without it."""
    machine = kept.machine()
    done, moving = machine.calls[2], machine.calls[0]
    done.run()
    handles = (
        *(machine.task(1), machine.file("log"), machine.memcg("batch"), machine.cpuset("set")),
        *(machine.ksm, moving, done, machine),
    )
    for twins in (pickle.loads(pickle.dumps(handles)), copy.deepcopy(handles)):
        task, file, group, cpuset, ksm, call, ended, twin = twins
        assert (task, file, group) == (twin.task(1), twin.file("log"), twin.memcg("batch"))
        assert (cpuset, ksm, call) == (twin.cpuset("set"), twin.ksm, twin.calls[0])
        assert task != machine.task(1)
        assert (ended.result, ended.history, ended.number) == (done.result, done.history, done.number)
        twin.run()
        assert call.done
        assert not moving.done
    alone = pickle.loads(pickle.dumps(machine.task(1)))
    assert alone.rss == machine.task(1).rss
    assert copy.copy(machine.task(1)) == machine.task(1)


def test_an_ended_call_is_pickled_with_its_error() -> None:
    """What it raised before it raises again."""
    machine = pm.Machine(nodes=[pm.MiB], contents=True)
    app = machine.spawn(stack=False)
    call = machine.start(pm.calls.read(4096, 1), by=app)
    call.run()
    twin = pickle.loads(pickle.dumps(call))
    assert (repr(twin), twin.done) == (repr(call), True)
    with pytest.raises(OSError, match="SIGSEGV at 0x1000"):
        assert twin.result


def every_call(heap: pm.Region, file: pm.File, group: pm.Cpuset) -> dict[str, pm.call.CallValue]:
    """One call of each kind, by the name of its maker."""
    at, bind = heap.start, pm.Policy(pm.PolicyMode.BIND, [0], static=True)
    return {
        "access": pm.calls.access([at, at + 1], [True, False]),
        "attach_cpuset": pm.calls.attach_cpuset(group, 1),
        "complete_io": pm.calls.complete_io(),
        "drain": pm.calls.drain(),
        "exit": pm.calls.exit(),
        "fork": pm.calls.fork("child"),
        "invalidate": pm.calls.invalidate(file, 0),
        "ksm_scan": pm.calls.ksm_scan(),
        "lookup": pm.calls.lookup(file, 0),
        "madvise": pm.calls.madvise(heap, pm.Advice.MERGEABLE),
        "mbind": pm.calls.mbind(heap, bind, flags=pm.MbindFlags.MOVE),
        "migrate_frames": pm.calls.migrate_frames([3], pm.ByPage({3: 1})),
        "migrate_pages": pm.calls.migrate_pages(None, [0], [1]),
        "mlock": pm.calls.mlock(heap),
        "move_pages": pm.calls.move_pages([at], [1], status=np.zeros(4, np.uint8)),
        "mprotect": pm.calls.mprotect(heap, pm.R),
        "mremap": pm.calls.mremap(heap, to=1 << 40),
        "munlock": pm.calls.munlock(heap),
        "munmap": pm.calls.munmap(heap[:1]),
        "offline": pm.calls.offline(64, 8, timeout=5),
        "pin": pm.calls.pin(at, write=True),
        "read": pm.calls.read(at, 3),
        "read_file": pm.calls.read_file(file, 0, 3),
        "reclaim": pm.calls.reclaim(0, 3, family=pm.PageFamily.FILE),
        "set_cpuset_mems": pm.calls.set_cpuset_mems(group, [0]),
        "soft_offline": pm.calls.soft_offline(3),
        "swap_out": pm.calls.swap_out(at),
        "touch": pm.calls.touch(heap, write=False),
        "truncate": pm.calls.truncate(file, 10),
        "unpin": pm.calls.unpin(0),
        "write": pm.calls.write(at, b"\0\xff"),
        "write_file": pm.calls.write_file(file, 0, size=3),
        "writeback": pm.calls.writeback(file, 0),
    }


def test_every_call_there_is_can_be_kept() -> None:
    """Begun and not yet run: the value comes back equal, and goes on in the same way."""
    machine = kept.machine()
    machine.run()
    app = machine.task(1)
    heap = app.mmap(2 * PAGE_SIZE)
    app.touch(heap)
    app.pin(heap.start)
    made = every_call(heap, machine.file("log").number, machine.cpuset("set").number)
    assert set(made) == set(pm.calls.__all__)
    for name, what in made.items():
        ours = machine.clone()
        if name == "unpin":
            what = pm.calls.unpin(next(iter(ours.pins)))
        call = ours.start(what, by=1)
        twin = pm.Machine.restore(ours.snapshot())
        assert [repr(it.what) for it in twin.calls] == [repr(what)]
        its = twin.calls[0]
        ours.run()
        twin.run()
        assert repr(its.error or its.result) == repr(call.error or call.result), name
        assert twin.snapshot() == ours.snapshot(), name


def test_a_call_of_somebody_elses_making_is_refused_by_name() -> None:
    """Only values of `pagemig.calls` can be kept; nothing has changed."""

    class Strange:
        def _request(self, system: object, pid: int) -> object:
            return pm.calls.drain()._request(system, pid)  # type: ignore[arg-type]

        def _result(self, system: object, pid: int, outcome: object) -> None:
            return None

        def _deliver(self, core: object, number: int, done: int) -> int:
            return done

        def _for_clone(self) -> Strange:
            return self

    machine = pm.Machine(nodes=[pm.MiB])
    machine.start(Strange(), by=machine.spawn())  # type: ignore[arg-type]
    with pytest.raises(pm.UsageError, match=r"Strange object .* cannot be kept"):
        machine.snapshot()
    machine.run()
    assert not pm.Machine.restore(machine.snapshot()).calls


# bytes that are no snapshot ----------------------------------------------------------------


def refusal(data: bytes) -> str:
    """Why bytes are refused."""
    with pytest.raises(pm.UsageError) as refused:
        pm.Machine.restore(data)
    return str(refused.value)


def test_any_changed_byte_is_noticed(snapshot: bytes) -> None:
    """The whole header, and a sample of the rest, one bit or all bits of a byte at a time."""
    kinds = set()
    for at in (*range(HEADER + 16), *range(HEADER + 16, len(snapshot), 211), len(snapshot) - 1):
        for flip in (1, 0x80, 0xFF):
            bad = bytearray(snapshot)
            bad[at] ^= flip
            kinds.add(refusal(bytes(bad)).split(":")[0])
    version = {kind for kind in kinds if kind.startswith("a snapshot of version")}
    assert kinds - version == {"not a snapshot of a machine", "a damaged snapshot"}
    assert version


def test_any_other_length_is_noticed(snapshot: bytes) -> None:
    """Cut off anywhere, or with something behind."""
    for length in (*range(HEADER + 60), *range(HEADER + 60, len(snapshot), 97), len(snapshot) - 1):
        assert refusal(snapshot[:length]).startswith(("not a snapshot", "a damaged snapshot"))
    assert "header says" in refusal(snapshot + b"\0")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a snapshot of a machine"),
        (b"GIF89a" * 100, "not a snapshot of a machine"),
        (pickle.dumps({"a": 1}), "not a snapshot of a machine"),
        ("text", "data is str; it must be the bytes of machine.snapshot()"),
        (None, "data is NoneType; it must be the bytes of machine.snapshot()"),
    ],
)
def test_what_is_foreign_is_called_so(data: bytes, words: str) -> None:
    """Nothing of it is run."""
    assert words in refusal(data)


def test_the_cores_own_bytes_are_no_snapshot_of_the_whole(snapshot: bytes) -> None:
    """What Python keeps would be missing."""
    assert "not a snapshot" in refusal(snapshot[snapshot.rindex(kept.CORE_MAGIC) :])


def test_another_version_is_named(snapshot: bytes) -> None:
    """Of either part, whatever follows it."""
    assert "a snapshot of version 99; this package reads version 2" in refusal(
        snapshot[:16] + struct.pack("<I", 99) + snapshot[20:]
    )
    core = snapshot.rindex(kept.CORE_MAGIC) + 8
    forged = sealed(snapshot[:core] + struct.pack("<I", 99) + snapshot[core + 4 :])
    assert "a snapshot of version 99; this package reads version" in refusal(forged)


def sealed(data: bytes) -> bytes:
    """A forged snapshot with checksums that are right, so that what is inside must be judged."""
    core = data.rindex(kept.CORE_MAGIC)
    inner = struct.pack("<I", zlib.crc32(data[core + CORE_HEADER :]))
    data = data[: core + 20] + inner + data[core + CORE_HEADER :]
    return data[:20] + struct.pack("<I", zlib.crc32(data[HEADER:])) + data[HEADER:]


def with_beside(data: bytes, beside: bytes) -> bytes:
    """The same core under another text."""
    core = data[data.rindex(kept.CORE_MAGIC) :]
    lengths = struct.pack("<QQ", len(beside), len(core))
    return sealed(data[:HEADER] + lengths + beside + core)


def beside_of(data: bytes) -> bytes:
    """What Python keeps, as text."""
    return data[HEADER + 16 : data.rindex(kept.CORE_MAGIC)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (rb'"EXACT"', rb'"EXACTLY"', "EXACTLY"),
        (rb'"of":"Write"', rb'"of":"System"', "System"),
        (rb'"of":"Write"', rb'"of":"Drain"', "zip"),
        (rb'"of":"KeptCall"', rb'"of":"Region"', "length of Region is MovePages"),
        (rb'"array":"<i4"', rb'"array":"O"', "an array of object"),
        (rb'"array":"<i4"', rb'"array":"<i8"', "status is an array of int64"),
        (rb'"bytes":"', rb'"bytes":"?', "base64"),
        (rb"^\{", b"[" * 100_000, "RecursionError"),
        (rb"^.*$", b"null", "a NoneType where a Beside should be"),
        (rb"^.*$", b"\xff\xfe\xff", "decode"),
        (rb"^.*$", b'{"of":"Region","values":[1,4096,4096]}', "a Region where a Beside should be"),
        (MOVE, rb"[99,1,", r"calls \[99, \d+, \d+\] in flight, but \[\d+, \d+, \d+\] inside"),
        (MOVE, rb"[13.5,1,", r"13.5 is no integer"),
        (MOVE, rb"[true,1,", "number of KeptCall is True"),
        (MOVE, b"[1" + b"0" * 5000 + b",1,", "4300 digits"),
    ],
)
def test_a_forged_text_beside_the_core_is_refused(
    snapshot: bytes, old: bytes, new: bytes, words: str
) -> None:
    """Checksums right, content wrong: only public values of the right types are made of it."""
    text = beside_of(snapshot)
    forged = re.sub(old, lambda _: new, text, count=1, flags=re.DOTALL)
    assert forged != text
    said = refusal(with_beside(snapshot, forged))
    assert said.startswith("a snapshot of no machine")
    assert re.search(words, said), said


@settings(max_examples=150)
@given(st.data())
def test_forged_snapshots_neither_crash_nor_hang(snapshot: bytes, data: st.DataObject) -> None:
    """A few bytes of the core changed under a right checksum: refused, or a machine that answers."""
    core = snapshot.rindex(kept.CORE_MAGIC) + CORE_HEADER
    forged = bytearray(snapshot)
    for _ in range(data.draw(st.integers(1, 3))):
        forged[data.draw(st.integers(core, len(snapshot) - 1))] = data.draw(st.integers(0, 255))
    try:
        machine = pm.Machine.restore(sealed(bytes(forged)))
        assert machine.vmstat()
        assert [machine.task(task.pid).name for task in machine.tasks]
    except pm.PagemigError as error:
        assert isinstance(error, (pm.UsageError, pm.InternalError))


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(snapshot: bytes, data: bytes) -> None:
    """By themselves, behind a right magic, as the text, and as the core under right checksums."""
    header = snapshot[: HEADER - 4]
    for bad in (data, header + data, with_beside(snapshot, data)):
        refusal(bad)
    core = kept.CORE_MAGIC + struct.pack("<IQI", kept.versions(snapshot)[1], len(data), 0) + data
    text = beside_of(snapshot)
    refusal(sealed(snapshot[:HEADER] + struct.pack("<QQ", len(text), len(core)) + text + core))


# the layout ----------------------------------------------------------------------------------


def test_the_kept_file_of_this_version_is_still_read_and_still_made() -> None:
    """Goal: nobody changes what a snapshot is without saying so.

    If this fails, what a machine keeps has changed. Old files then mean something else: raise
    ``VERSION`` in ``rust/core/src/machine/snapshot.rs`` (stores of the core) or in
    ``python/pagemig/snapshot.py`` (what is beside them), and write a file for the new version with
    ``python -m tests.api.kept``; the old one stays, to be refused. If only what the calls do has
    changed, and the file can still be read, writing it anew is enough.
    """
    made = kept.machine().snapshot()
    kept_bytes = kept.path_for(made).read_bytes()
    assert told(pm.Machine.restore(kept_bytes)) == told(kept.machine())
    assert kept_bytes == made


def test_the_files_of_other_versions_are_refused() -> None:
    """Each by the number of its version."""
    current = kept.path_for(kept.machine().snapshot())
    files = sorted(kept.DATA.glob("machine-*.snapshot"))
    assert current in files
    for file in files:
        if file != current:
            assert "a snapshot of version" in refusal(file.read_bytes())


def test_a_batch_of_stores_in_flight_is_kept_whether_it_has_one_word_for_all_or_a_list() -> None:
    """`calls.access` with one bool, which is no array in what is kept."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE])
    app = machine.spawn()
    heap = app.mmap(3 * pm.PAGE_SIZE)
    for writes in (True, np.True_, [True, False, True]):
        call = machine.start(pm.calls.access(heap, writes), by=app)
        call.step()
        twin = pm.Machine.restore(machine.snapshot())
        machine.run()
        twin.run()
        assert twin.snapshot() == machine.snapshot()
