"""Kinds of files: what each can do with its pages, and what none can."""

from __future__ import annotations

import dataclasses
import errno

import pytest

import pagemig as pm
from pagemig import DirtyMethod, FileSystem, MigrateMethod, ReleaseMethod, WriteMethod, WriteOutcome
from pagemig.filesystems import BLOCKDEV, EXT, FAILING, RAMFS, READONLY, TMPFS

PAGE = pm.PAGE_SIZE


def test_the_kinds_that_come_with_the_package_are_those_of_the_specification() -> None:
    """Data-model 5.1, row by row: migrate, write, dirtying, accounting, buffers."""
    rows = {
        kind.name: (kind.migrate, kind.write, kind.dirtying, kind.accounts_dirty, kind.buffer_bytes)
        for kind in (EXT, BLOCKDEV, TMPFS, RAMFS, READONLY, FAILING)
    }
    assert rows == {
        "ext": (MigrateMethod.BUFFERS, WriteMethod.BUFFERS, DirtyMethod.BUFFERS, True, 1024),
        "blockdev": (MigrateMethod.FALLBACK, WriteMethod.BUFFERS, DirtyMethod.BUFFERS, True, 1024),
        "tmpfs": (MigrateMethod.PAGE, WriteMethod.SWAP, DirtyMethod.NO_WRITEBACK, False, 0),
        "ramfs": (MigrateMethod.FALLBACK, WriteMethod.NEVER, DirtyMethod.NO_WRITEBACK, False, 0),
        "readonly": (MigrateMethod.FALLBACK, WriteMethod.NEVER, DirtyMethod.NO_BUFFERS, True, 0),
        "failing": (MigrateMethod.FAIL, WriteMethod.PAGE, DirtyMethod.NO_BUFFERS, True, 0),
    }
    assert [kind.name for kind in (EXT, TMPFS, RAMFS) if kind.swap_backed] == ["tmpfs"]
    assert [kind.name for kind in (EXT, TMPFS, RAMFS) if kind.unevictable] == ["ramfs"]


@pytest.mark.parametrize("kind", [EXT, BLOCKDEV, TMPFS, RAMFS, READONLY, FAILING], ids=lambda kind: kind.name)
def test_a_file_of_each_kind_can_be_made_and_touched(kind: FileSystem) -> None:
    """And knows what it is made of; buffers are attached by reading where the kind has them."""
    machine = pm.Machine(nodes=[pm.MiB])
    file = machine.create_file("file", 2 * PAGE, filesystem=kind)
    app = machine.spawn()
    region = app.mmap(2 * PAGE, file=file)
    app.touch(region, write=False)
    assert (file.filesystem, file.cached) == (kind, 2)
    assert len(file.buffers(0)) == (4 if kind.buffer_bytes else 0)
    assert bool(file.flags & pm.MappingFlags.UNEVICTABLE) is kind.unevictable
    page = app.page_at(region.start)
    assert page is not None
    assert bool(page.flags & pm.PageFlags.SWAPBACKED) is kind.swap_backed
    assert machine.audit() == []


@pytest.mark.parametrize(
    ("kind", "status"),
    [(EXT, 1), (BLOCKDEV, 1), (TMPFS, 1), (RAMFS, 1), (READONLY, 1), (FAILING, -errno.EIO)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_clean_page_moves_unless_its_kind_refuses(kind: FileSystem, status: int) -> None:
    """Migration 8 to 12: `fail_migrate_page` answers -EIO whatever the page is."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    file = machine.create_file("file", PAGE, filesystem=kind)
    app = machine.spawn()
    region = app.mmap(PAGE, file=file)
    app.touch(region, write=False)
    machine.drain()
    assert app.move_pages(region, 1).tolist() == [status]
    assert app.nodes_of(region).tolist() == [max(status, 0)]


def test_a_dirty_page_that_can_neither_move_nor_be_written_is_refused_for_good() -> None:
    """Q30: -EINVAL for a dirty page of a kind without migrate and write methods."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    file = machine.create_file("file", PAGE, filesystem=READONLY)
    app = machine.spawn()
    region = app.mmap(PAGE, file=file, shared=True)
    app.touch(region)
    machine.drain()
    assert app.move_pages(region, 1).tolist() == [-errno.EINVAL]


def test_a_scripted_migrate_method_answers_what_it_was_told() -> None:
    """Data-model 5.1, "scripted": any return code reaches the status."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    file = machine.create_file("file", PAGE, filesystem=FileSystem("odd", migrate=-errno.EPERM))
    app = machine.spawn()
    region = app.mmap(PAGE, file=file)
    app.touch(region, write=False)
    machine.drain()
    assert app.move_pages(region, 1).tolist() == [-errno.EPERM]


def test_a_kind_can_be_changed_in_one_thing() -> None:
    """``dataclasses.replace``; the original stays as it is."""
    slow = dataclasses.replace(EXT, name="slow", io_ticks=None)
    assert (slow.io_ticks, slow.migrate, EXT.io_ticks) == (None, EXT.migrate, 1)
    assert slow != EXT
    script = FileSystem("script", write_script=[WriteOutcome.WELL, errno.ENOSPC])
    assert script.write_script == (WriteOutcome.WELL, errno.ENOSPC)
    assert hash(script) == hash(dataclasses.replace(script))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "printable"),
        ({"name": 7}, "printable"),
        ({"migrate": "page"}, "FALLBACK, PAGE, BUFFERS, FAIL"),
        ({"migrate": WriteMethod.PAGE}, "MigrateMethod"),
        ({"migrate": 0}, "migrate is 0"),
        ({"migrate": 1 << 31}, "migrate is 2147483648"),
        ({"write": "swap"}, "WriteMethod"),
        ({"write": -5}, "WriteMethod"),
        ({"dirtying": None}, "DirtyMethod"),
        ({"release": True}, "ReleaseMethod"),
        ({"accounts_dirty": 1}, "True or False"),
        ({"swap_backed": None}, "True or False"),
        ({"page_mkwrite": "yes"}, "True or False"),
        ({"buffer_bytes": 256}, "from 512 to 4096"),
        ({"buffer_bytes": 1000}, "from 512 to 4096"),
        ({"buffer_bytes": 8192}, "from 512 to 4096"),
        ({"buffer_bytes": -1024}, "from 512 to 4096"),
        ({"buffer_bytes": 512.0}, "must be an integer"),
        ({"write_script": "well"}, "list of WriteOutcome"),
        ({"write_script": 5}, "list of WriteOutcome"),
        ({"write_script": ["well"]}, "WELL, ACTIVATE, IO_ERROR"),
        ({"write_script": [0]}, "1 to 4095"),
        ({"write_script": [-5]}, "1 to 4095"),
        ({"failing_reads": -1}, "failing_reads is -1"),
        ({"io_ticks": -1}, "io_ticks is -1"),
        ({"io_ticks": 0.5}, "must be an integer"),
        ({"area_migrate": "fail"}, "must be an integer"),
        ({"write": WriteMethod.BUFFERS}, "give buffer_bytes"),
        ({"write": WriteMethod.SWAP}, "swap_backed=True"),
        ({"migrate": MigrateMethod.PAGE, "buffer_bytes": 512}, "MigrateMethod.BUFFERS"),
        ({"dirtying": DirtyMethod.NO_WRITEBACK}, "accounts_dirty=False"),
        ({"migrate": MigrateMethod.PAGE, "buffer_bytes": 1024}, "MigrateMethod.BUFFERS"),
    ],
)
def test_a_kind_that_cannot_be_is_refused_in_words(fields: dict[str, object], words: str) -> None:
    """The message names the field, and what would be right."""
    with pytest.raises(pm.UsageError) as refused:
        FileSystem(**{"name": "odd", **fields})  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_a_kind_that_never_lets_go_of_its_buffers_keeps_its_pages() -> None:
    """`ReleaseMethod.NEVER`: invalidation needs the buffers gone (supporting-paths 8)."""
    machine = pm.Machine(nodes=[pm.MiB])
    kinds = [EXT, dataclasses.replace(EXT, name="sticky", release=ReleaseMethod.NEVER)]
    for kind, is_gone in zip(kinds, (True, False), strict=True):
        file = machine.create_file(kind.name, PAGE, filesystem=kind)
        file.read(0, 1)
        machine.drain()
        assert file.invalidate(0) is is_gone
        assert file.cached == (0 if is_gone else 1)


def test_the_fallback_cannot_send_a_page_to_swap_that_it_has_just_mapped_again() -> None:
    """WO-3 before WO-4: shmem's method sees a mapped page, which cannot leave its file: still dirty."""
    kind = FileSystem(
        "odd",
        MigrateMethod.FALLBACK,
        WriteMethod.SWAP,
        DirtyMethod.NO_WRITEBACK,
        accounts_dirty=False,
        swap_backed=True,
    )
    machine = pm.Machine(nodes=[16 * PAGE] * 2, cpus=1, swap=16 * PAGE)
    app = machine.spawn()
    file = machine.create_file("f", PAGE, filesystem=kind)
    area = app.mmap(PAGE, file=file, shared=True)
    app.touch(area)
    machine.drain()
    assert app.move_pages(area, 1).tolist() == [-errno.EAGAIN]
    page = app.page_at(area.start)
    assert page is not None
    assert page.flags & (pm.PageFlags.DIRTY | pm.PageFlags.SWAPCACHE) == pm.PageFlags.DIRTY
    assert machine.audit() == []
