"""Files: made, read, written, mapped, cut, written back, and looked at."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable

import pytest

import pagemig as pm
from pagemig.filesystems import EXT, RAMFS, TMPFS

PAGE = pm.PAGE_SIZE


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 64 frames each with contents, one CPU."""
    return pm.Machine(nodes=[64 * PAGE] * 2, cpus=1, contents=True)


@pytest.fixture
def file(machine: pm.Machine) -> pm.File:
    """Four pages of zeroes, none in memory."""
    return machine.create_file("data", 4 * PAGE)


def test_a_new_file_is_all_zeroes_and_none_of_it_in_memory(machine: pm.Machine, file: pm.File) -> None:
    """It can be found by its name and by its number."""
    assert (file.name, file.size, file.filesystem, file.cached) == ("data", 4 * PAGE, EXT, 0)
    assert (file.flags, file.is_dirty, file.areas) == (pm.MappingFlags.NONE, False, ())
    assert machine.files == (file,) == (machine.file("data"),) == (machine.file(file.number),)
    assert file.disk(3) == bytes(PAGE)
    assert machine.vmstat()["nr_file_pages"] == 0
    assert repr(file) == f"<File {file.number} 'data'>"


def test_what_is_written_is_read_up_to_the_end(machine: pm.Machine) -> None:
    """A write extends the file; a hole reads as zeroes; beyond the end there is nothing."""
    file = machine.create_file("notes", 0)
    assert file.read(0, 10) == b""
    assert file.write(PAGE - 2, b"hello") == 5
    assert (file.size, file.cached) == (PAGE + 3, 2)
    assert file.read(PAGE - 4, 100) == b"\0\0hello"
    assert file.read(PAGE + 3, 1) == b""
    assert machine.audit() == []


def test_a_page_that_was_read_is_in_the_page_cache_with_its_buffers(
    machine: pm.Machine, file: pm.File
) -> None:
    """Data-model 2.5 and 5.1: cache, buffers and pagevec hold it; buffers are mapped, up to date, clean."""
    file.read(2 * PAGE, 1)
    pages = file.pages
    assert (pages["offset"].tolist(), pages["dirty"].tolist(), pages["writeback"].tolist()) == (
        [2],
        [False],
        [False],
    )
    page = machine.frame(int(pages["pfn"][0]))
    assert page.owner == pm.Owner(pm.OwnerKind.FILE, file.number)
    assert (page.index, page.count, page.mapcount) == (2, 3, 0)
    assert page.flags == pm.PageFlags.UPTODATE | pm.PageFlags.PRIVATE | page.flags & pm.PageFlags.REFERENCED
    assert machine.pagevec(0, pm.LruList.INACTIVE_FILE) == (page.pfn,)
    clean = pm.BufferState.UPTODATE | pm.BufferState.MAPPED
    assert [buffer.state & ~pm.BufferState.REQ for buffer in file.buffers(2)] == [clean] * 4
    assert not any(buffer.is_busy for buffer in machine.buffers(page.pfn))
    assert file.buffers(0) == ()


def test_a_write_makes_page_tag_and_buffers_dirty_until_it_was_written_back(
    machine: pm.Machine, file: pm.File
) -> None:
    """Supporting-paths 10: NR_FILE_DIRTY, then NR_WRITEBACK, then neither; the bytes are on disk."""
    file.write(PAGE, b"x" * PAGE)
    assert (file.pages["dirty"].tolist(), machine.vmstat()["nr_dirty"]) == ([True], 1)
    assert all(buffer.is_busy for buffer in file.buffers(1))
    assert file.is_dirty
    assert file.disk(1) == bytes(PAGE)
    assert file.writeback(1) is pm.Written.STARTED
    assert (file.pages["writeback"].tolist(), machine.vmstat()["nr_writeback"]) == ([True], 1)
    (transfer,) = machine.pending_io
    assert (transfer.direction, transfer.pfn) == (pm.IoDirection.WRITE, file.pfn_of(1))
    assert machine.complete_io()
    assert (machine.pending_io, machine.vmstat()["nr_dirty"], machine.vmstat()["nr_writeback"]) == ((), 0, 0)
    assert file.disk(1) == b"x" * PAGE
    assert not machine.complete_io()
    assert machine.audit() == []


def test_time_ends_a_transfer(machine: pm.Machine) -> None:
    """After ``io_ticks``, and not before."""
    file = machine.create_file("slow", PAGE, filesystem=dataclasses.replace(EXT, io_ticks=10))
    file.write(0, b"x")
    file.writeback(0)
    machine.advance(9)
    assert [transfer.due for transfer in machine.pending_io] == [10]
    machine.advance(1)
    assert machine.pending_io == ()


def test_nothing_is_written_back_where_there_is_nothing_to_write(file: pm.File) -> None:
    """A page that is absent, clean or under writeback already."""
    assert file.writeback(0) is pm.Written.NOTHING
    file.read(0, 1)
    assert file.writeback(0) is pm.Written.NOTHING
    file.write(0, b"x")
    assert [file.writeback(0), file.writeback(0)] == [pm.Written.STARTED, pm.Written.NOTHING]


def test_a_filesystem_fails_as_its_script_says(machine: pm.Machine) -> None:
    """An errno is raised, AOP_WRITEPAGE_ACTIVATE is told, an I/O error is remembered; then all goes well."""
    script = [errno.ENOSPC, pm.WriteOutcome.ACTIVATE, pm.WriteOutcome.IO_ERROR]
    file = machine.create_file("odd", PAGE, filesystem=pm.FileSystem("odd", write_script=script))
    file.write(0, b"x")
    with pytest.raises(OSError, match="writepage") as refused:
        file.writeback(0)
    assert refused.value.errno == errno.ENOSPC
    file.write(0, b"x")
    assert file.writeback(0) is pm.Written.ACTIVATE
    assert file.pages["dirty"].tolist() == [True]
    assert file.writeback(0) is pm.Written.STARTED
    machine.complete_io()
    assert file.flags & pm.MappingFlags.EIO
    assert machine.audit() == []


def test_a_read_that_fails_is_an_error_and_may_be_tried_again(machine: pm.Machine) -> None:
    """``failing_reads``: EIO from read(2), a signal from a fault; later reads go well."""
    file = machine.create_file("worn", PAGE, filesystem=dataclasses.replace(EXT, failing_reads=1))
    with pytest.raises(OSError, match="read") as refused:
        file.read(0, 1)
    assert refused.value.errno == errno.EIO
    assert file.read(0, 1) == b"\0"


def test_a_whole_page_written_over_one_that_could_not_be_read_is_up_to_date_with_its_buffers(
    machine: pm.Machine,
) -> None:
    """Data-model 5.3: a page that is up to date has buffers that are."""
    worn = dataclasses.replace(EXT, failing_reads=1, buffer_bytes=1024)
    file = machine.create_file("worn", PAGE, filesystem=worn)
    with pytest.raises(OSError, match="read"):
        file.read(0, 1)
    file.write(0, bytes(PAGE))
    (pfn,) = file.pages["pfn"].tolist()
    assert machine.frame(pfn).flags & pm.PageFlags.UPTODATE
    assert all(buffer.state & pm.BufferState.UPTODATE for buffer in machine.buffers(pfn))
    assert machine.audit() == []


def test_writing_a_mapped_page_of_shmem_cleans_its_entries_before_it_is_sent_back(
    machine: pm.Machine,
) -> None:
    """supporting-paths 10: ``clear_page_dirty_for_io`` comes first; ``writepage`` then dirties it again."""
    counting = dataclasses.replace(TMPFS, accounts_dirty=True, dirtying=pm.DirtyMethod.NO_BUFFERS)
    file = machine.create_file("shm", PAGE, filesystem=counting)
    app = machine.spawn("app", stack=False)
    region = app.mmap(PAGE, file=file, shared=True)
    app.touch(region)
    machine.drain()
    (pfn,) = file.pages["pfn"].tolist()
    machine.set_page_flag(pfn, pm.PageFlags.RECLAIM)
    assert file.writeback(0) is pm.Written.ACTIVATE
    entry = app.entry_at(region.start)
    assert (entry.writable, entry.dirty) == (False, False)
    flags = machine.frame(pfn).flags
    assert (bool(flags & pm.PageFlags.DIRTY), bool(flags & pm.PageFlags.RECLAIM)) == (True, False)
    assert machine.audit() == []


def test_a_shared_mapping_and_the_file_are_the_same_bytes(machine: pm.Machine, file: pm.File) -> None:
    """Stores reach the file, and other tasks that map it."""
    app, other = machine.spawn(), machine.spawn()
    region = app.mmap(2 * PAGE, file=file, offset=PAGE, shared=True)
    view = other.mmap(2 * PAGE, file=file, offset=PAGE, shared=True)
    app.write(region.start + 3, b"shared")
    assert file.read(PAGE + 3, 6) == b"shared"
    assert other.read(view.start + 3, 6) == b"shared"
    assert app.page_at(region.start) == other.page_at(view.start)
    assert file.areas == (region, view)
    assert app.counters == pm.MemoryCounters(file=1, anon=0, swap=0)
    assert machine.audit() == []


def test_a_private_mapping_gets_a_page_of_its_own_when_it_is_written(
    machine: pm.Machine, file: pm.File
) -> None:
    """The file keeps its bytes (supporting-paths 2.3)."""
    file.write(0, b"file")
    app = machine.spawn()
    region = app.mmap(PAGE, file=file)
    assert app.read(region.start, 4) == b"file"
    app.write(region.start, b"mine")
    assert (app.read(region.start, 4), file.read(0, 4)) == (b"mine", b"file")
    assert app.counters == pm.MemoryCounters(file=0, anon=1, swap=0)


def test_accesses_beyond_the_end_of_the_file_are_answered_with_sigbus(
    machine: pm.Machine, file: pm.File
) -> None:
    """The mapping may be longer than the file (supporting-paths 2.3, step 1)."""
    app = machine.spawn()
    region = app.mmap(6 * PAGE, file=file)
    result = app.touch(region, write=False)
    assert result.sigbus.tolist() == [region[4].start, region[5].start]
    assert (result.minor + result.major, file.cached) == (4, 4)


def test_shared_anonymous_memory_is_a_file_of_shmem(machine: pm.Machine) -> None:
    """Parent and child share its pages; it counts as shmem and is on the anonymous lists."""
    app = machine.spawn()
    region = app.mmap(PAGE, shared=True)
    child = app.fork()
    child.write(region.start, b"both")
    assert app.read(region.start, 4) == b"both"
    (file,) = machine.files
    assert (file.filesystem, file.cached, len(file.areas)) == (TMPFS, 1, 2)
    assert machine.vmstat()["nr_shmem"] == 1
    assert app.vmas[0].file == file.number


def test_cutting_a_file_takes_its_pages_out_of_all_mappings(machine: pm.Machine, file: pm.File) -> None:
    """Supporting-paths 8: what is beyond is gone, the rest of the last page reads as zeroes."""
    app = machine.spawn()
    region = app.mmap(4 * PAGE, file=file, shared=True)
    for page in region:
        app.write(page.start, b"x" * 8)
    file.truncate(PAGE + 4)
    assert (file.size, file.pages["offset"].tolist()) == (PAGE + 4, [0, 1])
    assert app.nodes_of(region[2:]).tolist() == [-1, -1]
    file.truncate(2 * PAGE)
    assert file.read(PAGE, 8) == b"xxxx\0\0\0\0"
    assert app.touch(region[2]).sigbus.tolist() == [region[2].start]
    assert machine.audit() == []


def test_a_page_that_was_looked_up_is_held_until_it_is_let_go(machine: pm.Machine, file: pm.File) -> None:
    """The reference counts as a pin, and keeps the page where it is (S01)."""
    assert file.lookup(0) is None
    app = machine.spawn()
    region = app.mmap(PAGE, file=file)
    app.touch(region, write=False)
    machine.drain()
    pfn = file.lookup(0, by=app)
    assert pfn == file.pfn_of(0)
    assert machine.pins == {pfn: 1}
    assert app.move_pages(region, 1).tolist() == [-errno.EAGAIN]
    assert pfn is not None
    app.unpin(pfn)
    machine.drain()
    assert app.move_pages(region, 1).tolist() == [1]
    assert file.pfn_of(0) != pfn


def test_only_a_clean_page_that_nobody_maps_can_be_dropped(machine: pm.Machine, file: pm.File) -> None:
    """Supporting-paths 8, ``invalidate_inode_page``."""
    app = machine.spawn()
    file.read(0, 1)
    file.write(PAGE, b"x")
    region = app.mmap(PAGE, file=file, offset=2 * PAGE)
    app.touch(region, write=False)
    machine.drain()
    assert [file.invalidate(page) for page in range(4)] == [True, False, False, False]
    assert file.pages["offset"].tolist() == [1, 2]
    assert machine.audit() == []


def test_a_buffer_can_be_held_by_hand_and_let_go(machine: pm.Machine, file: pm.File) -> None:
    """A reference makes it busy; its lock cannot be taken twice; nothing can be let go twice."""
    file.read(0, 1)
    file.hold_buffer(0, 3)
    assert [buffer.count for buffer in file.buffers(0)] == [0, 0, 0, 1]
    assert not file.invalidate(0)
    file.hold_buffer(0, 2, lock=True)
    assert file.buffers(0)[2].state & pm.BufferState.LOCK
    with pytest.raises(pm.UsageError):
        file.hold_buffer(0, 2, lock=True)
    for at in (2, 3):
        file.release_buffer(0, at)
        with pytest.raises(pm.UsageError):
            file.release_buffer(0, at)
    assert not any(buffer.is_busy for buffer in file.buffers(0))
    assert machine.audit() == []


def test_a_flag_can_be_set_by_hand_if_nothing_else_follows_from_it(
    machine: pm.Machine, file: pm.File
) -> None:
    """PG_checked is a filesystem's own; PG_dirty is not for anybody to set."""
    file.read(0, 1)
    pfn = file.pfn_of(0)
    assert pfn is not None
    machine.set_page_flag(pfn, pm.PageFlags.CHECKED)
    assert machine.frame(pfn).flags & pm.PageFlags.CHECKED
    machine.set_page_flag(pfn, pm.PageFlags.CHECKED, False)
    assert not machine.frame(pfn).flags & pm.PageFlags.CHECKED
    for flag in (pm.PageFlags.DIRTY, pm.PageFlags.LRU, pm.PageFlags(0), 1 << 8, pm.PageFlags(0x102)):
        with pytest.raises(pm.UsageError, match="by hand"):
            machine.set_page_flag(pfn, flag)  # type: ignore[arg-type]


def test_numa_maps_names_the_file_of_an_area(machine: pm.Machine) -> None:
    """numa(7): file=, dirty, mapped if neither anon nor dirty says as much, mapmax; a space in octal."""
    file = machine.create_file("lib one", 3 * PAGE)
    app = machine.spawn()
    region = app.mmap(3 * PAGE, at=0x400000, file=file, shared=True)
    app.touch(region, write=False)
    app.touch(region[0])
    machine.drain()
    line = app.numa_maps().splitlines()[0]
    assert line == "00400000 default file=lib\\040one dirty=1 mapped=3 active=0 N0=3"
    file.writeback(0)
    app.fork().touch(region[1].addresses * 0 + region[1].start, write=False)
    line = app.numa_maps().splitlines()[0]
    assert " mapped=3 mapmax=2 active=0 writeback=1 N0=3" in line


def test_status_counts_file_pages_as_resident(machine: pm.Machine, file: pm.File) -> None:
    """``VmRSS`` is file and anonymous pages together."""
    app = machine.spawn()
    app.touch(app.mmap(2 * PAGE, file=file), write=False)
    app.touch(app.mmap(PAGE))
    assert "VmRSS:\t      12 kB" in app.status().splitlines()
    assert app.rss == 3


def test_a_read_in_steps_waits_for_the_disk(machine: pm.Machine, file: pm.File) -> None:
    """Spec README, section 3: when everybody waits, time passes and the transfer ends."""
    app = machine.spawn()
    reading = machine.start(pm.calls.read_file(file, 0, 4), by=app)
    while reading.step():
        machine.check()
        assert not reading.done
    wait = reading.waiting_for
    assert wait is not None
    assert (wait.lock, wait.pfn, wait.holder) == ("page_lock", file.pfn_of(0), pm.Holder.DISK)
    assert [transfer.direction for transfer in machine.pending_io] == [pm.IoDirection.READ]
    machine.run()
    assert reading.result == bytes(4)


def test_every_verb_of_a_file_can_be_started_as_a_call(machine: pm.Machine, file: pm.File) -> None:
    """With the same result as the verb."""
    app = machine.spawn()

    def run(call: object) -> object:
        started = machine.start(call, by=app)  # type: ignore[arg-type]
        machine.run()
        machine.check()
        return started.result

    assert run(pm.calls.write_file(file, 0, b"bytes")) == 5
    assert run(pm.calls.read_file(file.number, 0, 5)) == b"bytes"
    assert run(pm.calls.writeback(file, 0)) is pm.Written.STARTED
    assert run(pm.calls.complete_io()) is True
    pfn = run(pm.calls.lookup(file, 0))
    assert pfn == file.pfn_of(0)
    assert run(pm.calls.invalidate(file, 0)) is False
    assert run(pm.calls.unpin(file.pfn_of(0) or 0)) is None
    assert run(pm.calls.truncate(file, 0)) is None
    assert file.cached == 0
    assert app.write_file(file, 0, size=3) == 3
    assert app.read_file(file, 0, 9) == bytes(3)


def test_a_machine_without_contents_has_files_too() -> None:
    """Everything but the bytes: what is read is zeroes."""
    machine = pm.Machine(nodes=[pm.MiB])
    file = machine.create_file("data", 0)
    assert file.write(0, b"hello") == 5
    assert file.write(5, size=3) == 3
    assert file.read(0, 100) == bytes(8)
    with pytest.raises(pm.UsageError, match="no contents"):
        file.disk(0)


def test_a_clone_has_files_of_its_own(machine: pm.Machine, file: pm.File) -> None:
    """Neither sees what the other's file does; handles of the two are not equal."""
    twin = machine.clone()
    copy = twin.file("data")
    copy.write(0, b"x")
    assert (copy.cached, file.cached, copy.filesystem) == (1, 0, EXT)
    assert copy != file
    assert {file: 1}[machine.file("data")] == 1
    with pytest.raises(pm.UsageError, match="another machine"):
        twin.spawn().mmap(PAGE, file=file)
    with pytest.raises(pm.UsageError, match="another machine"):
        file.read(0, 1, by=twin.spawn())


WRONG: dict[str, Callable[[pm.Machine, pm.File], object]] = {
    "name taken": lambda m, f: m.create_file("data", 0),
    "no name": lambda m, f: m.create_file("", 0),
    "odd name": lambda m, f: m.create_file("two\nlines", 0),
    "negative size": lambda m, f: m.create_file("new", -1),
    "huge size": lambda m, f: m.create_file("new", (1 << 51) + 1),
    "size as text": lambda m, f: m.create_file("new", "4KiB"),  # type: ignore[arg-type]
    "kind as text": lambda m, f: m.create_file("new", 0, filesystem="ext"),  # type: ignore[arg-type]
    "no such file": lambda m, f: m.file("other"),
    "no such number": lambda m, f: m.file(99),
    "read before": lambda m, f: f.read(-1, 1),
    "read nothing less": lambda m, f: f.read(0, -1),
    "read too much": lambda m, f: f.read(0, 1 << 40),
    "write beyond": lambda m, f: f.write(1 << 51, b"x"),
    "write text": lambda m, f: f.write(0, "text"),  # type: ignore[arg-type]
    "write nothing": lambda m, f: f.write(0),
    "write twice": lambda m, f: f.write(0, b"x", size=1),
    "truncate negative": lambda m, f: f.truncate(-1),
    "truncate huge": lambda m, f: f.truncate((1 << 51) + 1),
    "page beyond": lambda m, f: f.lookup(1 << 39),
    "page negative": lambda m, f: f.writeback(-1),
    "page as text": lambda m, f: f.invalidate("first"),  # type: ignore[arg-type]
    "disk beyond": lambda m, f: f.disk(1 << 39),
    "buffer of no page": lambda m, f: f.hold_buffer(0, 0),
    "buffers of no frame": lambda m, f: m.buffers(1 << 20),
    "no such task": lambda m, f: f.read(0, 1, by=99),  # type: ignore[arg-type]
    "swap cache": lambda m, f: pm.calls.truncate(0, 0),
    "map odd offset": lambda m, f: m.spawn().mmap(PAGE, file=f, offset=5),
    "map far offset": lambda m, f: m.spawn().mmap(2 * PAGE, file=f, offset=(1 << 51) - PAGE),
    "map a name": lambda m, f: m.spawn().mmap(PAGE, file="data"),  # type: ignore[arg-type]
    "offset of none": lambda m, f: m.spawn().mmap(PAGE, offset=PAGE),
    "shared as number": lambda m, f: m.spawn().mmap(PAGE, shared=1),  # type: ignore[arg-type]
    "swap device": lambda m, f: m.set_swap_device(io_ticks=-1),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    machine: pm.Machine, file: pm.File, what: str
) -> None:
    """The error comes before the first effect."""
    with pytest.raises(pm.UsageError):
        WRONG[what](machine, file)
    assert (machine.files, file.size, file.cached) == ((file,), 4 * PAGE, 0)
    assert machine.vmstat()["nr_free_pages"] == 128


def test_a_file_that_does_not_exist_cannot_be_worked_on(machine: pm.Machine) -> None:
    """Its number names none: also for a call that is started."""
    app = machine.spawn()
    for call in (pm.calls.truncate(7, 0), pm.calls.lookup(7, 0), pm.calls.read_file(7, 0, 1)):
        with pytest.raises(pm.UsageError):
            machine.start(call, by=app)
    assert machine.calls == ()


def test_pages_of_ramfs_are_unevictable(machine: pm.Machine) -> None:
    """Spec E6: the first putback moves them to the unevictable list; dirty ones do not move."""
    file = machine.create_file("ram", 2 * PAGE, filesystem=RAMFS)
    app = machine.spawn()
    region = app.mmap(2 * PAGE, file=file, shared=True)
    app.touch(region, write=False)
    app.touch(region[1])
    machine.drain()
    assert app.move_pages(region, 1).tolist() == [1, -errno.EINVAL]
    for page, node in zip(region, (1, 0), strict=True):
        found = app.page_at(page.start)
        assert found is not None
        assert (found.node, found.lru) == (node, pm.LruList.UNEVICTABLE)


def test_areas_on_their_way_out_are_no_areas_of_a_file(machine: pm.Machine, app: pm.Task) -> None:
    """A look works between any two steps, whoever is half way through an exit or a ``munmap``."""
    file = machine.create_file("fading", 4096)
    area = app.mmap(4096, file=file, shared=True)
    call = machine.start(pm.calls.munmap(area), by=app)
    seen = {file.areas}
    while not call.done:
        call.step()
        seen.add(file.areas)
    assert seen == {(area,), ()}


@pytest.mark.parametrize("flag", [pm.PageFlags.RESERVED, pm.PageFlags.PRIVATE_2])
def test_a_flag_set_by_hand_goes_with_the_page(
    machine: pm.Machine, file: pm.File, flag: pm.PageFlags
) -> None:
    """Nobody else would clear it before the frame is free (data-model 2.2)."""
    file.read(0, 1)
    pfn = file.pfn_of(0)
    assert pfn is not None
    machine.set_page_flag(pfn, flag)
    file.truncate(0)
    machine.drain()
    assert machine.frame(pfn).flags == pm.PageFlags(0)
    assert machine.audit() == []
