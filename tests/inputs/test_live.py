"""Captures of live programs of every kind: with files, shared, closed, locked, huge, forked, ending."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pagemig as pm
from pagemig.inputs import AddressSpace, Area, Source, capture, load, load_report
from pagemig.inputs.page_scan import tells_ranges
from pagemig.inputs.pagemap import Pagemap
from pagemig.inputs.proc_text import counts_in

Start = Callable[[str], tuple[int, list[int]]]

BEGIN = """
import ctypes, mmap, os, sys

def start_of(memory):
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))

def tell(*numbers):
    print(*numbers, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program that tells some numbers and then waits."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(code: str) -> tuple[int, list[int]]:
        program = subprocess.Popen(
            [sys.executable, "-I", "-c", BEGIN + code],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(program)
        assert program.stdout is not None
        return program.pid, [int(word) for word in program.stdout.readline().split()]

    yield begin
    for program in running:
        program.kill()
        program.communicate()


def area_at(space: AddressSpace, address: int) -> Area:
    """The area that holds an address."""
    return next(area for area in space.areas if area.start <= address < area.end)


def pages(runs: tuple[tuple[int, int], ...]) -> int:
    """How many pages some runs have."""
    return sum(length for _, length in runs)


def host_tells_ranges(pid: int) -> bool:
    """Whether the kernel of this host has `PAGEMAP_SCAN`."""
    pagemap = Pagemap.opened(Path(f"/proc/{pid}/pagemap"))
    if pagemap is None:
        return False
    with pagemap:
        return tells_ranges(pagemap._descriptor)


def numbers(runs: tuple[tuple[int, int], ...]) -> set[int]:
    """Which pages some runs have."""
    return {page for first, length in runs for page in range(first, first + length)}


def put(space: AddressSpace) -> pm.Task:
    """The program on a machine, with as many pages as the report says and all rules kept."""
    report = load_report(space)
    machine = pm.Machine(nodes=[512 * pm.MiB] * 2)
    task = load(machine, space)
    assert (task.counters.anon, task.counters.file) == (report.anonymous, report.of_files)
    assert machine.audit() == []
    return task


def test_a_private_mapping_tells_copies_from_pages_of_the_file(start: Start, tmp_path: Path) -> None:
    """Eight pages of a file: all read, two written to."""
    (tmp_path / "data").write_bytes(bytes(8 * 4096))
    pid, (at,) = start(
        "memory = mmap.mmap(os.open('data', os.O_RDONLY), 8 * 4096, flags=mmap.MAP_PRIVATE, prot=3)\n"
        "sum(memory[::4096])\n"
        "memory[0] = memory[5 * 4096] = 42\n"
        "tell(start_of(memory))\n"
    )
    space = capture(pid)
    area = area_at(space, at)
    assert (area.name, area.shared, area.length) == (str(tmp_path / "data"), False, 8 * pm.PAGE_SIZE)
    assert (pages(area.resident), pages(area.anonymous)) == (8, 2)
    if space.source is Source.PAGEMAP:
        assert area.anonymous == ((0, 1), (5, 1))
    task = put(space)
    found = task.page_at(area.start + pm.PAGE_SIZE)
    assert found is not None and found.owner.kind is pm.OwnerKind.FILE


def test_a_shared_mapping_of_a_file_has_no_page_of_its_own(start: Start, tmp_path: Path) -> None:
    """Two of four pages written, through the page cache."""
    (tmp_path / "data").write_bytes(bytes(4 * 4096))
    pid, (at,) = start(
        "memory = mmap.mmap(os.open('data', os.O_RDWR), 4 * 4096)\n"
        "memory[0] = memory[3 * 4096] = 42\n"
        "tell(start_of(memory))\n"
    )
    area = area_at(capture(pid), at)
    assert area.shared and not area.anonymous and pages(area.resident) >= 2


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("memory = mmap.mmap(-1, 4 * 4096)\n", "/dev/zero (deleted)"),
        (
            "file = os.memfd_create('mine')\n"
            "os.ftruncate(file, 4 * 4096)\n"
            "memory = mmap.mmap(file, 4 * 4096)\n",
            "/memfd:mine (deleted)",
        ),
    ],
)
def test_shared_memory_is_put_on_the_machine_as_shmem(start: Start, code: str, name: str) -> None:
    """Anonymous and shared, or a memfd: three of four pages written."""
    pid, (at,) = start(code + "memory[0] = memory[4096] = memory[2 * 4096] = 42\ntell(start_of(memory))\n")
    space = capture(pid)
    area = area_at(space, at)
    assert (area.name, area.shared, pages(area.resident), area.anonymous) == (name, True, 3, ())
    found = put(space).page_at(at)
    assert found is not None and pm.PageFlags.SWAPBACKED in found.flags


SEGMENTS = """
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
starts = []
for _ in range(2):
    number = libc.shmget(0, 4 * 4096, 0o1600)
    starts.append(libc.shmat(number, None, 0))
    libc.shmctl(number, 0, None)
    ctypes.memset(starts[-1], 1, 4 * 4096)
tell(*starts)
"""

MEMORY_FILES = """
kept = []
for _ in range(2):
    file = os.memfd_create('same')
    os.ftruncate(file, 4 * 4096)
    kept.append(mmap.mmap(file, 4 * 4096))
    kept[-1][:] = b'x' * 4 * 4096
tell(*map(start_of, kept))
"""

DELETED_FILES = """
kept = []
for _ in range(2):
    file = os.open('same', os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, 4 * 4096)
    kept.append(mmap.mmap(file, 4 * 4096))
    kept[-1][:] = b'x' * 4 * 4096
    os.unlink('same')
tell(*map(start_of, kept))
"""


@pytest.mark.parametrize("code", [SEGMENTS, MEMORY_FILES, DELETED_FILES], ids=["shm", "memfd", "deleted"])
def test_two_objects_of_one_name_stay_two_files(start: Start, code: str) -> None:
    """Goal: no frame in common. Method: two of each kind, all four pages of each written."""
    pid, (first, second) = start(code)
    space = capture(pid)
    areas = [area_at(space, at) for at in (first, second)]
    assert areas[0].name == areas[1].name and areas[0].device == areas[1].device
    assert areas[0].inode != areas[1].inode
    task = put(AddressSpace.from_json(space.to_json()))
    frames = {page.pfn for at in (first, second) if (page := task.page_at(at)) is not None}
    assert len(frames) == 2


def test_an_object_that_two_programs_map_is_one_file_of_the_machine(start: Start) -> None:
    """Shared without a name, through a memfd, and a file that is deleted before the second is captured."""
    pid, (child, *starts) = start(
        "os.truncate(os.open('data', os.O_RDWR | os.O_CREAT), 4 * 4096)\n"
        "memory = os.memfd_create('mine')\n"
        "os.ftruncate(memory, 4 * 4096)\n"
        "kept = [mmap.mmap(file, 4 * 4096) for file in (-1, memory, os.open('data', os.O_RDWR))]\n"
        "for each in kept:\n"
        "    each[:] = b'x' * len(each)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    for each in kept:\n"
        "        sum(each[::4096])\n"
        "    sys.stdin.readline()\n"
        "    os._exit(0)\n"
        "tell(child, *map(start_of, kept))\n"
    )
    machine = pm.Machine(nodes=[512 * pm.MiB] * 2)
    tasks = [load(machine, capture(pid))]
    data = area_at(capture(pid), starts[2])
    os.unlink(data.name)
    space = capture(child)
    assert area_at(space, starts[2]).name == f"{data.name} (deleted)"
    free = sum(machine.zone_counters(node)["nr_free_pages"] for node in machine.nodes)
    report = load_report(space, machine)
    tasks.append(load(machine.clone(), space))
    tasks.append(load(pm.Machine.restore(machine.snapshot()), space))
    tasks.append(load(machine, space))
    left = sum(machine.zone_counters(node)["nr_free_pages"] for node in machine.nodes)
    assert 0 < free - left <= report.frames
    for at in starts:
        pages = [task.page_at(at) for task in tasks]
        assert len({page.pfn for page in pages if page is not None}) == 1
        assert pages[-1] is not None and pages[-1].mapcount == 2
    assert machine.audit() == []


def test_closed_and_locked_memory_is_seen(start: Start) -> None:
    """Two pages written and then closed to everybody; four locked, and so all in memory."""
    pid, (closed, locked) = start(
        "a = mmap.mmap(-1, 4 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "b = mmap.mmap(-1, 4 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "a[0] = a[4096] = 42\n"
        "libc = ctypes.CDLL(None)\n"
        "first, second = start_of(a), start_of(b)\n"
        "libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(4 * 4096), 0)\n"
        "libc.mlock(ctypes.c_void_p(second), ctypes.c_size_t(4 * 4096))\n"
        "b[0] = b[3 * 4096] = 42\n"
        "tell(first, second)\n"
    )
    space = capture(pid)
    area = area_at(space, closed)
    assert area.protection == "---" and pages(area.anonymous) == 2
    assert pages(area_at(space, locked).resident) >= 2
    put(space)


def test_a_huge_page_counts_as_the_small_ones_that_it_is_made_of(start: Start) -> None:
    """4 MiB for which huge pages are asked, all written: 1,024 pages, whatever the host gave."""
    pid, (at,) = start(
        "memory = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "memory.madvise(mmap.MADV_HUGEPAGE)\n"
        "memory[:] = b'x' * len(memory)\n"
        "tell(start_of(memory))\n"
    )
    space = capture(pid)
    area = area_at(space, at)
    assert area.start <= at and area.end >= at + (4 << 20)
    assert pages(area.anonymous) >= 1024
    if space.source is Source.PAGEMAP:
        first = (at - area.start) // mmap.PAGESIZE
        here = {page for run, length in area.resident for page in range(run, run + length)}
        assert here >= set(range(first, first + 1024))
    put(space)


def test_terabytes_with_a_few_pages_are_captured_at_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: what is not there costs no time. Method: 8 TiB with three pages; words would be 16 GiB."""
    pid, (at,) = start(
        "size, no_reserve = 8 << 40, 0x4000\n"
        "memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)\n"
        "memory.madvise(mmap.MADV_NOHUGEPAGE)\n"
        "for at in (0, size // 2, size - 1):\n"
        "    memory[at] = 42\n"
        "tell(start_of(memory))\n"
    )
    pagemap = Pagemap.opened(Path(f"/proc/{pid}/pagemap"))
    if pagemap is None:
        return
    with pagemap:
        if not pagemap.tells_ranges:
            return
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *wanted: read.append(wanted[1]) or pread(*wanted))
    area = area_at(capture(pid), at)
    assert sum(read) < 1 << 16
    first = (at - area.start) // mmap.PAGESIZE
    pages_of_it = (8 << 40) // mmap.PAGESIZE
    for page in (first, first + pages_of_it // 2, first + pages_of_it - 1):
        assert any(run <= page < run + length for run, length in area.anonymous)


def test_ranges_and_words_tell_the_same(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the quick way is exact. Method: pages of every kind, and 40,000 runs, read both ways.

    Words do not tell the page of zeros from memory of its own, and are not read where smaps counts nothing.
    """
    (tmp_path / "data").write_bytes(bytes(64 * 4096))
    pid, _ = start(
        "import random\n"
        "kept = [\n"
        "    mmap.mmap(os.open('data', os.O_RDONLY), 64 * 4096, flags=mmap.MAP_PRIVATE, prot=3),\n"
        "    mmap.mmap(-1, 4096 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),\n"
        "    mmap.mmap(-1, 64 * 4096),\n"
        "    mmap.mmap(-1, 80000 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),\n"
        "]\n"
        "kept[1].madvise(mmap.MADV_NOHUGEPAGE)\n"
        "kept[3].madvise(mmap.MADV_NOHUGEPAGE)\n"
        "chance = random.Random(7)\n"
        "for memory in kept[:3]:\n"
        "    for at in range(0, len(memory), 4096):\n"
        "        kind = chance.randrange(3)\n"
        "        if kind == 0:\n"
        "            memory[at] = 42\n"
        "        elif kind == 1:\n"
        "            memory[at]\n"
        "for at in range(0, len(kept[3]), 2 * 4096):\n"
        "    kept[3][at] = 42\n"
        "tell(0)\n"
    )
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    spaces = [capture(pid)]
    monkeypatch.setattr("pagemig.inputs.pagemap.tells_ranges", lambda descriptor: False)
    spaces.append(capture(pid))
    if spaces[0].source is Source.SMAPS:
        return
    assert spaces[0].anonymous > 40_000 * 4096
    counts = counts_in(Path(f"/proc/{pid}/smaps").read_bytes())
    tells = host_tells_ranges(pid)
    for quick, slow in zip(spaces[0].areas, spaces[1].areas, strict=True):
        assert quick.swapped == slow.swapped
        assert quick.resident == slow.resident or not slow.resident
        own, of_nobody = (numbers(area.anonymous) for area in (quick, slow))
        assert own <= of_nobody
        if tells and quick.start in counts:
            assert len(own) * mmap.PAGESIZE == counts[quick.start].anonymous


ZEROS = """
memory = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
sum(memory[::4096])
guards = [ctypes.CDLL(None).madvise(ctypes.c_void_p(start_of(memory) + 40 * 4096), 10 * 4096, 102)]
"""


@pytest.mark.parametrize("store", ["", "memory[0] = 42\n"])
def test_memory_that_was_only_read_is_nobodys_and_marks_are_no_pages(start: Start, store: str) -> None:
    """64 pages read, none or one written, and guard regions over ten where the host has them.

    A host that tells ranges tells the page of zeros, too; it is read on loading, and has no frame.
    """
    pid, (at, code) = start(ZEROS + store + "tell(start_of(memory), guards[0])\n")
    space = capture(pid)
    area = area_at(space, at)
    assert area.swapped == ()
    if host_tells_ranges(pid) and space.source is Source.PAGEMAP:
        assert pages(area.anonymous) == bool(store)
        assert pages(area.resident) == (54 if code == 0 else 64)
        task = put(space)
        there = [task.page_at(at + page * 4096) is not None for page in range(64)]
        assert there == [bool(store), *[False] * 63]
        entry = task.entry_at(at + 5 * 4096)
        assert entry.kind is pm.EntryKind.PRESENT and entry.special


def says_who_is_gone(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Stand for `scan` on a kernel that says of whom nothing is left."""
    raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))


def tells_nothing(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Stand for `scan` on a kernel that has no range to tell of one that is gone."""
    return iter(())


@pytest.mark.parametrize("scan", [None, says_who_is_gone, tells_nothing])
def test_memory_that_is_gone_is_not_told_as_empty(
    monkeypatch: pytest.MonkeyPatch, scan: Callable[[int, int, int], Iterator[tuple[int, int, int]]] | None
) -> None:
    """Method: a program that is killed between the opening of its pagemap and the question, as this host
    answers it and as each kind of host does."""
    if scan is not None:
        monkeypatch.setattr("pagemig.inputs.pagemap.tells_ranges", lambda descriptor: True)
        monkeypatch.setattr("pagemig.inputs.pagemap.scan", scan)
    with subprocess.Popen(["sleep", "60"]) as program:
        pagemap = Pagemap.opened(Path(f"/proc/{program.pid}/pagemap"))
        program.kill()
        program.wait()
    if pagemap is not None:
        with pagemap, pytest.raises(pm.UsageError, match=f"{program.pid}.* ended while it was captured"):
            pagemap.runs(0x10000, 1 << 40)


def test_what_a_child_shares_after_a_fork_is_in_both(start: Start) -> None:
    """Neither has written since: the pages are there for parent and child."""
    pid, (child, at) = start(
        "memory = mmap.mmap(-1, 8 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "memory[:] = b'x' * len(memory)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "tell(child, start_of(memory))\n"
    )
    for each in (pid, child):
        area = area_at(capture(each), at)
        assert pages(area.anonymous) >= 8


def test_programs_that_end_while_they_are_captured_are_captured_or_named(start: Start) -> None:
    """Goal: no crash and no half. Method: programs that are killed at any moment of their capture."""
    for delay in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008) * 4:
        program = subprocess.Popen(["sleep", str(delay)])
        said = ""
        try:
            for _ in range(200):
                assert capture(program.pid).areas
        except pm.UsageError as error:
            said = str(error)
        program.wait()
        assert str(program.pid) in said and "\n" not in said
        assert "refuses" not in said


def test_a_program_that_maps_and_unmaps_all_the_time_is_captured_or_refused(start: Start) -> None:
    """What is captured is one moment, or the advice to stop it is given."""
    pid, _ = start(
        "print(0, flush=True)\n"
        "while True:\n"
        "    memory = mmap.mmap(-1, 8 << 20)\n"
        "    memory[0] = 1\n"
        "    memory.close()\n"
    )
    try:
        assert capture(pid).areas
    except pm.UsageError as error:
        assert f"kill -STOP {pid}" in str(error) or "ended while it was captured" in str(error)
    assert capture(os.getpid()).pid == os.getpid()
