"""S23 to S27 and S31 to S33 in every order of their calls, with a disk that answers when all wait for it."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import pytest

import pagemig as pm
from tests.races.scenarios.exploring import explored, free, seen
from tests.races.scenarios.stages import WRITTEN_FIRST, FileStage, file_page

SMALL = (16, 16)
EXT, BLOCKDEV = pm.filesystems.EXT, pm.filesystems.BLOCKDEV


def plainly(result: Any) -> Any:
    """Of a move by frames its one status; of a name that name."""
    if isinstance(result, enum.Enum):
        return result.name
    return result.statuses.tolist()[0] if isinstance(result, pm.MigrationResult) else result


def node_of(result: Any) -> Any:
    """The node of a frame that a call returned, on a machine of nodes of 16 frames; else as above."""
    return result // 16 if isinstance(result, int) else plainly(result)


def move(stage: FileStage) -> tuple[Any, pm.Task]:
    """M: the task that maps the page moves it to node 1."""
    return pm.calls.move_pages(stage.area[:1], 1), stage.app


def frames(stage: FileStage, *, offlining: bool = False) -> tuple[Any, pm.Task]:
    """M: the frame is moved through nobody's mm."""
    return pm.calls.migrate_frames([stage.old], pm.ToNode(1), offlining=offlining), stage.app


def cut(stage: FileStage, size: int = 0) -> tuple[Any, pm.Task]:
    """T: a truncation."""
    return pm.calls.truncate(stage.file, size), stage.other


def file_counter(machine: pm.Machine, stage: FileStage) -> int:
    """FILEPAGES of who maps the file."""
    return machine.task(stage.app.pid).counters.file


def cached(machine: pm.Machine, stage: FileStage) -> int:
    """Pages of the file in the cache."""
    return machine.file(stage.file.number).cached


def test_s23_explored_a_truncation_beside_a_clean_page() -> None:
    """S23 to S25, Q16: nothing is in the cache in the end, and every frame is free; the counter is one too
    high if T met the entry; -EAGAIN if T had the page for ten passes, -ENOENT if it was gone.
    """
    stage = file_page(nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        cut(stage),
        observe=lambda end: (cached(end, stage), file_counter(end, stage), free(end)),
    )
    assert outcomes == {
        ((-11,), None, (0, 0, (16, 16))),
        ((-11,), None, (0, 1, (16, 16))),
        ((-2,), None, (0, 0, (16, 16))),
        ((1,), None, (0, 0, (16, 16))),
        ((1,), None, (0, 1, (16, 16))),
    }


def test_s24_explored_a_truncation_of_a_dirty_page_of_a_file_with_buffers() -> None:
    """S24, S27: the same with buffers and dirt; nothing dirty remains.

    At most three preemptions.
    """
    stage = file_page(filesystem=EXT, write=True, nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        cut(stage),
        observe=lambda end: (cached(end, stage), end.vmstat()["nr_dirty"], free(end)),
        preemptions=3,
    )
    assert outcomes == {
        ((-11,), None, (0, 0, (16, 16))),
        ((-2,), None, (0, 0, (16, 16))),
        ((1,), None, (0, 0, (16, 16))),
    }


def test_s25_explored_a_truncation_that_cuts_the_page_in_its_middle() -> None:
    """S25: the page stays in the file and mapped, on either node; its tail reads as zeroes everywhere."""
    stage = file_page(write=True, nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        cut(stage, 2),
        observe=lambda end: (
            seen(end, stage.app, stage.address),
            end.task(stage.app.pid).read(stage.address, 4),
            free(end),
        ),
    )
    assert outcomes == {
        ((-11,), None, ("node 0: 1 mapped, 2 counted, writable", b"pa\x00\x00", (15, 16))),
        ((1,), None, ("node 1: 1 mapped, 2 counted, writable", b"pa\x00\x00", (16, 15))),
    }


@pytest.mark.parametrize("profile", list(pm.Profile), ids=lambda profile: profile.name)
def test_s26_explored_a_truncation_beside_the_writeout_of_the_fallback(profile: pm.Profile) -> None:
    """S26, Q18: nothing is in the cache, all frames are free; a charge is left behind, in EXACT, if T had the
    page between WO-4 and WO-5.

    At most three preemptions.
    """
    stage = file_page(filesystem=WRITTEN_FIRST, write=True, nodes=SMALL, profile=profile, charged=True)
    outcomes = explored(
        stage,
        frames(stage),
        cut(stage),
        observe=lambda end: (cached(end, stage), end.memcg("group").usage // pm.PAGE_SIZE, free(end)),
        result=plainly,
        preemptions=3,
    )
    charged = {(status, None, (0, 1, (16, 16))) for status in (1, -11)}
    assert outcomes == {
        (-11, None, (0, 0, (16, 16))),
        (-16, None, (0, 0, (16, 16))),
        (1, None, (0, 0, (16, 16))),
        *(charged if profile is pm.Profile.EXACT else ()),
    }


def test_s27_explored_an_orphan_and_reclaim() -> None:
    """S27: M takes the buffers off and frees the page, or reclaim does: no frame is lost."""
    stubborn = dataclasses.replace(EXT, release=pm.ReleaseMethod.NEVER)
    stage = file_page(filesystem=stubborn, nodes=SMALL)
    stage.app.munmap(stage.area)
    stage.file.truncate(0)
    stage.machine.drain()
    assert (stage.counts(), stage.file.cached) == ((1, 0), 0)
    outcomes = explored(
        stage,
        frames(stage, offlining=True),
        (pm.calls.reclaim(0, 1, family=pm.PageFamily.FILE), stage.other),
        observe=free,
        result=plainly,
    )
    assert outcomes == {
        (-16, 1, (16, 16)),
        (1, 0, (16, 16)),
    }


def test_s31_explored_writeback_that_begins_and_ends_beside_a_migrator() -> None:
    """S31: the page moves, before it is written or after; the disk ends it at any time (a third call).

    At most three preemptions.
    """
    stage = file_page(filesystem=EXT, write=True, nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.writeback(stage.file, 0), stage.other),
        (pm.calls.complete_io(), stage.other),
        observe=lambda end: (seen(end, stage.app, stage.address), end.vmstat()["nr_writeback"], free(end)),
        preemptions=3,
        result=plainly,
    )
    assert outcomes == {
        ((-11,), "STARTED", False, ("node 0: 1 mapped, 3 counted, read-only", 1, (15, 16))),
        ((-11,), "STARTED", True, ("node 0: 1 mapped, 3 counted, read-only", 0, (15, 16))),
        ((1,), "STARTED", False, ("node 1: 1 mapped, 3 counted, read-only", 0, (16, 15))),
        ((1,), "STARTED", False, ("node 1: 1 mapped, 3 counted, read-only", 1, (16, 15))),
        ((1,), "STARTED", True, ("node 1: 1 mapped, 3 counted, read-only", 0, (16, 15))),
    }


def test_s32_explored_a_reader_and_a_new_mapper() -> None:
    """S32: a reader has a passing reference; a fault maps the page that it found, or the new one, and pins it
    (a pin, because it counts none of its rounds): in the end both map one page.

    At most two preemptions.
    """
    stage = file_page(write=True, nodes=SMALL)
    second = stage.app.fork("second")
    outcomes = explored(
        stage,
        frames(stage),
        (pm.calls.read_file(stage.file, 0, 4), stage.other),
        (pm.calls.pin(stage.address), second),
        observe=lambda end: (
            seen(end, stage.app, stage.address),
            seen(end, second, stage.address),
            free(end),
        ),
        result=node_of,
        preemptions=2,
    )
    assert outcomes == {
        (
            -11,
            b"page",
            0,
            ("node 0: 2 mapped, 4 counted, writable", "node 0: 2 mapped, 4 counted, read-only", (15, 16)),
        ),
        (
            1,
            b"page",
            1,
            ("node 1: 2 mapped, 4 counted, writable", "node 1: 2 mapped, 4 counted, read-only", (16, 15)),
        ),
    }


@pytest.mark.parametrize("filesystem", [EXT, BLOCKDEV], ids=lambda filesystem: filesystem.name)
def test_s33_explored_a_write_that_locks_the_buffers(filesystem: pm.FileSystem) -> None:
    """S33: the disk has the buffers locked while the page is written; M waits, or comes first; with buffers
    the page keeps them, by the fallback it loses them. If M wrote it (T: nothing to do) its entry came back
    writable (Q29); -EAGAIN if T's reference was there in all passes.
    """
    stage = file_page(filesystem=filesystem, write=True, nodes=SMALL)
    outcomes = explored(
        stage,
        move(stage),
        (pm.calls.writeback(stage.file, 0), stage.other),
        observe=lambda end: (
            seen(end, stage.app, stage.address),
            len(end.file(stage.file.number).buffers(0)),
            end.vmstat()["nr_dirty"],
            free(end),
        ),
        result=plainly,
    )
    if filesystem is EXT:
        assert outcomes == {
            ((-11,), "STARTED", ("node 0: 1 mapped, 3 counted, read-only", 4, 0, (15, 16))),
            ((1,), "STARTED", ("node 1: 1 mapped, 3 counted, read-only", 4, 0, (16, 15))),
        }
    else:
        assert outcomes == {
            ((-11,), "NOTHING", ("node 0: 1 mapped, 2 counted, writable", 0, 0, (15, 16))),
            ((1,), "NOTHING", ("node 1: 1 mapped, 2 counted, writable", 0, 0, (16, 15))),
            ((1,), "STARTED", ("node 1: 1 mapped, 2 counted, read-only", 0, 0, (16, 15))),
        }
