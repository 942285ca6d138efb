"""A capture says where the memory of a live process is, page by page where the host tells."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import pagemig as pm
from pagemig.inputs import AddressSpace, Area, Source, capture
from tests.inputs.conftest import DATA

PROC = DATA / "proc"

# Maps 64 pages that no neighbour merges with, writes to three of them and reads none.
PROGRAM = """
import ctypes, mmap, sys
memory = mmap.mmap(-1, 66 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for page in (4, 5, 21):
    memory[page * 4096] = 42
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
for guard in (0, 65):
    libc.mprotect(ctypes.c_void_p(start + guard * 4096), ctypes.c_size_t(4096), 0)
print(start + 4096, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A program of our own that waits, and where its 64 pages are."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """The hand-made process 4242, with a ``pagemap`` to go with it."""
    root = tmp_path / "proc"
    shutil.copytree(PROC, root)
    words = np.zeros(0x80, dtype=np.uint64)
    present, swapped, of_file = (np.uint64(1 << bit) for bit in (63, 62, 61))
    words[0x10:0x14] = present | of_file
    words[0x14], words[0x15] = present, present | of_file
    words[0x20:0x24] = words[0x28:0x2A] = present
    words[0x24] = words[0x2A] = words[0x2F] = swapped
    words[0x40:0x42] = present
    words[0x50:0x53] = present | of_file
    words[0x53] = swapped
    words[0x60] = words[0x70] = present
    words[0x62] = present | of_file
    words.tofile(root / "4242" / "pagemap")
    return root


def area_at(space: AddressSpace, address: int) -> Area:
    """The area that holds an address."""
    return next(area for area in space.areas if area.start <= address < area.end)


def test_a_live_child_is_captured_page_by_page(child: tuple[subprocess.Popen[bytes], int]) -> None:
    """Goal: exactly the pages that were written to. Where the host hides positions, their number."""
    process, start = child
    space = capture(process.pid)
    area = area_at(space, start)
    assert (area.start, area.length) == (start, 64 * pm.PAGE_SIZE)
    assert (area.protection, area.shared, area.is_heap) == ("rw-", False, True)
    expected = ((3, 2), (20, 1)) if space.source is Source.PAGEMAP else ((0, 3),)
    assert area.resident == area.anonymous == expected
    assert not area.swapped
    assert sum(area.nodes.values()) in (0, 3)
    assert area_at(space, start - 1).protection == "---"
    assert space.pid == process.pid and space.name
    assert space.page_size == os.sysconf("SC_PAGESIZE")
    assert not area_at(space, start).is_kernels_own


def test_capturing_a_stopped_process_twice_gives_the_same(
    child: tuple[subprocess.Popen[bytes], int],
) -> None:
    """Looking changes nothing; and the file holds all of it."""
    process, _ = child
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    space = capture(process.pid)
    assert capture(process.pid) == space
    assert AddressSpace.from_json(space.to_json()) == space


def test_a_process_may_capture_itself() -> None:
    """It runs while it is looked at; its own code is resident, and its variables are."""
    space = capture(os.getpid())
    here = ctypes.create_string_buffer(b"here", 16)
    area = area_at(space, ctypes.addressof(here))
    assert area.anonymous and "w" in area.protection
    assert any(area.permits == pm.RX and area.resident and not area.anonymous for area in space.areas)
    assert all(area.end <= 1 << 47 for area in space.areas)


def test_a_hand_made_process_shows_every_kind_of_area(proc: Path) -> None:
    """Each area of ``data/proc/4242`` is there for one rule.

    Code of a file; its data, one page copied on write; a heap with holes and swap; pages behind a
    closed protection; shared memory, which bit 61 calls a file's; what the kernel or a device maps
    without page descriptors is no anonymous memory; ``[vsyscall]`` is no memory of the process.
    """
    space = capture(4242, proc=proc)
    assert (space.pid, space.name, space.source) == (4242, "mixed program", Source.PAGEMAP)
    name = "/opt/mixed/bin/mixed program"
    assert space.areas == (
        Area(
            0x10000, 0x14000, "r-x", False, 0x2000, name, ((0, 4),), (), (), ((0, 3), (1, 1)), "fe:00", 1234
        ),
        Area(
            0x14000, 0x16000, "rw-", False, 0x6000, name, ((0, 2),), ((0, 1),), (), ((1, 2),), "fe:00", 1234
        ),
        Area(
            0x20000,
            0x30000,
            "rw-",
            name="[heap]",
            resident=((0, 4), (8, 2)),
            anonymous=((0, 4), (8, 2)),
            swapped=((4, 1), (10, 1), (15, 1)),
            node_pages=((0, 2), (1, 4)),
        ),
        Area(0x40000, 0x48000, "---", resident=((0, 2),), anonymous=((0, 2),)),
        Area(
            0x50000, 0x54000, "rw-", True, 0, "/dev/zero (deleted)", ((0, 3),), (), ((3, 1),), (), "00:01", 5
        ),
        Area(0x60000, 0x62000, "r--", name="[vvar]", resident=((0, 1),)),
        Area(0x62000, 0x64000, "r-x", name="[vdso]", resident=((0, 1),)),
        Area(0x70000, 0x72000, "rw-", True, 0, "/dev/mixed", ((0, 1),), (), (), (), "00:06", 99),
    )


def test_where_pagemap_is_refused_smaps_tells_how_many_pages_there_are(proc: Path) -> None:
    """Counted from the start of each area: in memory, anonymous, then swapped."""
    (proc / "4242" / "pagemap").unlink()
    space = capture(4242, proc=proc)
    assert space.source is Source.SMAPS
    told = [(area.resident, area.anonymous, area.swapped) for area in space.areas]
    assert told == [
        (((0, 4),), (), ()),
        (((0, 2),), ((0, 1),), ()),
        (((0, 6),), ((0, 6),), ((6, 3),)),
        (((0, 2),), ((0, 2),), ()),
        (((0, 3),), (), ((3, 1),)),
        ((), (), ()),
        (((0, 1),), (), ()),
        ((), (), ()),
    ]


def test_without_numa_maps_and_smaps_pagemap_is_enough(proc: Path) -> None:
    """A kernel without NUMA has no numa_maps; nodes are then unknown."""
    whole = capture(4242, proc=proc)
    for name in ("numa_maps", "smaps"):
        (proc / "4242" / name).unlink()
    space = capture(4242, proc=proc)
    assert not any(area.node_pages for area in space.areas)
    assert [area.resident for area in space.areas] == [area.resident for area in whole.areas]


def test_when_nothing_tells_about_pages_the_capture_is_refused(proc: Path) -> None:
    """Better none than one without pages."""
    for name in ("pagemap", "smaps"):
        (proc / "4242" / name).unlink()
    with pytest.raises(pm.UsageError, match="process 4242: the host refuses to show pagemap and smaps"):
        capture(4242, proc=proc)


def test_a_pagemap_that_ends_early_is_noticed(proc: Path) -> None:
    """As when the process ends while it is looked at."""
    with (proc / "4242" / "pagemap").open("r+b") as pagemap:
        pagemap.truncate(0x28 * 8)
    with pytest.raises(pm.UsageError, match="ended while it was captured"):
        capture(4242, proc=proc)


@pytest.mark.parametrize("shown", [b"", None], ids=["zombie", "waited for"])
@pytest.mark.parametrize("missing", ["comm", "smaps", "last"])
def test_a_process_that_ends_in_between_is_told_as_such(
    proc: Path, monkeypatch: pytest.MonkeyPatch, shown: bytes | None, missing: str
) -> None:
    """Goal: neither a refusal nor a kernel thread. Method: from one file on, all are gone."""
    read_bytes = Path.read_bytes
    read: list[str] = []

    def read_until_it_ends(path: Path) -> bytes:
        read.append(path.name)
        if missing not in read and read.count("maps") < 2:
            return read_bytes(path)
        (proc / "4242" / "pagemap").unlink(missing_ok=True)
        if path.name == "maps" and shown is not None:
            return shown
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(Path, "read_bytes", read_until_it_ends)
    with pytest.raises(pm.UsageError, match=r"^process 4242 ended while it was captured$"):
        capture(4242, proc=proc)


def show(monkeypatch: pytest.MonkeyPatch, contents: list[bytes]) -> None:
    """Make ``maps`` hold something else each time it is read, as that of a busy process does."""
    read_bytes = Path.read_bytes
    left = iter(contents)
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: next(left) if path.name == "maps" else read_bytes(path)
    )


def test_a_carriage_return_in_a_name_ends_no_line(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel writes it as it is, and only a line feed as \\012."""
    line = b"00010000-00014000 r-xp 00002000 fe:00 1234    /odd\r00400000-00500000 rw-p 00000000 00:00 0\n"
    show(monkeypatch, [line, line])
    (area,) = capture(4242, proc=proc).areas
    assert (area.end, area.name) == (0x14000, "/odd\r00400000-00500000 rw-p 00000000 00:00 0")


def test_the_first_segment_of_a_host_has_inode_0_and_is_an_object_too(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment's inode is its id, and ids begin with 0; memory of no object has device 0 too."""
    name = b"/SYSV00000000 (deleted)"
    lines = [
        b"00050000-00054000 rw-s 00000000 00:01 %d %s\n00070000-00072000 rw-p 00000000 00:00 0\n"
        % (inode, name)
        for inode in (0, 1)
    ]
    spaces = []
    for line in lines:
        show(monkeypatch, [line, line])
        spaces.append(capture(4242, proc=proc))
    assert [[(area.device, area.inode) for area in space.areas] for space in spaces] == [
        [("00:01", inode), ("", 0)] for inode in (0, 1)
    ]
    assert [AddressSpace.from_json(space.to_json()) for space in spaces] == spaces
    machine = pm.Machine(nodes=[pm.MiB])
    for space in (*spaces, spaces[0]):
        machine.load(space)
    assert [file.name for file in machine.files] == ["/SYSV00000000@00:01:0", "/SYSV00000000@00:01:1"]


def test_areas_that_change_while_they_are_read_are_read_again(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after differ once: the second look counts."""
    maps = (proc / "4242" / "maps").read_bytes()
    shorter = b"".join(maps.splitlines(keepends=True)[:3])
    show(monkeypatch, [maps, shorter, shorter])
    assert len(capture(4242, proc=proc).areas) == 3


def test_areas_that_never_stop_changing_are_refused(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five looks, with what to do about it."""
    lines = (proc / "4242" / "maps").read_bytes().splitlines(keepends=True)
    show(monkeypatch, [b"".join(lines[:count]) for count in range(1, 7)])
    with pytest.raises(pm.UsageError, match="kill -STOP 4242"):
        capture(4242, proc=proc)


def test_a_process_that_is_gone_is_named() -> None:
    """Ended and waited for: its pid means nothing now."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises(pm.UsageError, match=f"there is no process {process.pid}"):
        capture(process.pid)


def test_a_process_without_memory_is_refused() -> None:
    """Ended and not waited for."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(pm.UsageError, match=f"process {process.pid} has no memory"):
            capture(process.pid)


def in_a_fork(action: Callable[[], object]) -> str:
    """What ``action`` says in a process without root's rights: the words of its UsageError, or nothing."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forking beside threads; this child runs nothing but what stands here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        said = ""
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            action()
        except pm.UsageError as error:
            said = str(error)
        finally:
            os.write(writer, said.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read().decode()


def test_a_host_that_refuses_is_quoted_with_what_would_do() -> None:
    """Method: a child that hides itself (PR_SET_DUMPABLE), looked at by somebody who is not root."""
    hidden = "import ctypes, sys; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hidden], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        said = in_a_fork(lambda: capture(process.pid))
        process.kill()
    assert f"process {process.pid}: the host refuses to show maps" in said
    assert "Permission denied" in said and "as root" in said


@pytest.mark.parametrize("pid", [0, -1, 1 << 31, True, "self", 1.5, None])
def test_what_is_no_pid_is_refused(pid: object) -> None:
    """Named, with what would be right."""
    with pytest.raises(pm.UsageError, match="pid is "):
        capture(pid)  # type: ignore[arg-type]


def test_a_host_without_proc_is_told_so(tmp_path: Path, proc: Path) -> None:
    """And a proc file system whose lines are none of it."""
    with pytest.raises(pm.UsageError, match="there is no proc file system"):
        capture(1, proc=tmp_path / "none")
    with pytest.raises(pm.UsageError, match="proc is 7"):
        capture(1, proc=7)  # type: ignore[arg-type]
    with pytest.raises(pm.UsageError, match="there is no process 1"):
        capture(1, proc=proc)
    with (proc / "4242" / "maps").open("ab") as maps:
        maps.write(b"a line of something else\n")
    with pytest.raises(pm.UsageError, match="maps: line 10: not an area: b'a line of something else'"):
        capture(4242, proc=proc)
