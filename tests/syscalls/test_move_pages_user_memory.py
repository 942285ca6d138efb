"""``move_pages``: user memory that faults, at any byte, and chunks that end where it does."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

CHUNK = 169
QUERY_CHUNK = 16
UNTOUCHED = 99


class Arrays:
    """User memory for ``count`` pages of a heap that shall move to node 1."""

    def __init__(self, heap: pm.Region, count: int) -> None:
        self.pages = heap[:count].addresses.copy()
        self.nodes = np.full(count, 1, np.int32)
        self.status = np.full(count, UNTOUCHED, np.int32)

    def move(self, app: pm.Task, **other: object) -> int:
        """Call, with some arguments replaced."""
        given = {"count": self.pages.size, "pages": self.pages, "nodes": self.nodes, "status": self.status}
        given |= other
        return pm.syscalls.move_pages(
            app,
            0,
            given["count"],
            given["pages"],
            given["nodes"],
            given["status"],
            2,  # type: ignore[arg-type]
        )


def moved(app: pm.Task, heap: pm.Region) -> int:
    """How many pages are on node 1; they must be the first ones."""
    nodes = app.nodes_of(heap).tolist()
    count = nodes.count(1)
    assert nodes == [1] * count + [0] * (len(nodes) - count)
    return count


def test_e5_340_pages_in_chunks_of_169(app: pm.Task, heap: pm.Region) -> None:
    """Chunks of 169, 169 and 2; all moved, all reported."""
    user = Arrays(heap, 340)
    assert user.move(app) == 0
    assert user.status.tolist() == [1] * 340
    assert moved(app, heap) == 340


@pytest.mark.parametrize(
    ("node", "code"),
    [(99, errno.ENODEV), (-1, errno.ENODEV), (64, errno.ENODEV), (2, errno.ENODEV), (4, errno.ENODEV),
     (-559038239, errno.ENODEV), (3, errno.EACCES)],
)  # fmt: skip
@pytest.mark.parametrize(("entry", "done"), [(0, 0), (168, 0), (169, 169), (199, 169), (339, 338)])
def test_dp5b_a_bad_node_ends_the_call_before_its_chunk(
    app: pm.Task, heap: pm.Region, node: int, code: int, entry: int, done: int
) -> None:
    """E5: out of range, without memory, or outside the cpuset; earlier chunks are done and reported."""
    app.mems_allowed = [0, 1]
    user = Arrays(heap, 340)
    user.nodes[entry] = node
    assert user.move(app) == -code
    assert user.status.tolist() == [1] * done + [UNTOUCHED] * (340 - done)
    assert moved(app, heap) == done


def test_dp5b_the_first_bad_entry_decides_the_errno(app: pm.Task, heap: pm.Region) -> None:
    """Entries are read and checked strictly in order; small and large arrays alike."""
    app.mems_allowed = [0, 1]
    for count in (3, 100):
        user = Arrays(heap, count)
        user.nodes[1], user.nodes[2] = 3, 99
        assert user.move(app) == -errno.EACCES
        user.nodes[1], user.nodes[2] = 99, 3
        assert user.move(app) == -errno.ENODEV
        short = pm.UserMemory(user.pages, valid_bytes=15)
        assert user.move(app, pages=short) == -errno.EFAULT
    assert moved(app, heap) == 0


@pytest.mark.parametrize("array", ["pages", "nodes"])
@pytest.mark.parametrize(("entry", "done"), [(0, 0), (1, 0), (169, 169), (200, 169), (338, 338)])
@pytest.mark.parametrize("byte", [0, 3])
def test_dp5b_an_array_that_ends_is_efault_at_that_entry(
    app: pm.Task, heap: pm.Region, array: str, entry: int, done: int, byte: int
) -> None:
    """A value of which any byte is missing faults; its chunk has no effect."""
    user = Arrays(heap, 340)
    whole = getattr(user, array)
    short = pm.UserMemory(whole, valid_bytes=entry * whole.itemsize + byte)
    assert user.move(app, **{array: short}) == -errno.EFAULT
    assert user.status.tolist() == [1] * done + [UNTOUCHED] * (340 - done)
    assert moved(app, heap) == done


def test_e5_a_status_array_that_ends_faults_after_its_chunk_has_moved(app: pm.Task, heap: pm.Region) -> None:
    """DP-5e: entries 169..337 moved, statuses up to 299 written, the third chunk untouched."""
    user = Arrays(heap, 340)
    short = pm.UserMemory(user.status, valid_bytes=300 * 4)
    assert user.move(app, status=short) == -errno.EFAULT
    assert user.status.tolist() == [1] * 300 + [UNTOUCHED] * 40
    assert moved(app, heap) == 338


@pytest.mark.parametrize("extra", [1, 2, 3])
def test_dp5e_a_status_is_written_whole_or_not_at_all(app: pm.Task, heap: pm.Region, extra: int) -> None:
    """A single value works or faults: the odd bytes of the next one stay."""
    user = Arrays(heap, 3)
    short = pm.UserMemory(user.status, valid_bytes=4 + extra)
    assert user.move(app, status=short) == -errno.EFAULT
    assert user.status.tolist() == [1, UNTOUCHED, UNTOUCHED]
    assert moved(app, heap) == 3


@pytest.mark.parametrize("how", ["null", "forbidden", "read-only"])
def test_dp5e_a_status_that_cannot_be_written_is_found_out_after_the_move(
    app: pm.Task, heap: pm.Region, how: str
) -> None:
    """-EFAULT, but the first chunk has moved (syscalls 3.1)."""
    user = Arrays(heap, 200)
    status: object = None
    if how == "forbidden":
        status = pm.UserMemory(user.status, writable=False)
    if how == "read-only":
        status = user.status
        user.status.setflags(write=False)
    assert user.move(app, status=status) == -errno.EFAULT
    assert user.status.tolist() == [UNTOUCHED] * 200
    assert moved(app, heap) == CHUNK


def test_pointers_are_not_looked_at_before_they_are_needed(app: pm.Task, heap: pm.Region) -> None:
    """Null pages: -EFAULT at entry 0. With a count of 0 nothing is looked at."""
    user = Arrays(heap, 4)
    assert user.move(app, pages=None) == -errno.EFAULT
    assert user.move(app, pages=pm.UserMemory(user.pages, readable=False)) == -errno.EFAULT
    assert user.move(app, nodes=pm.UserMemory(user.nodes, readable=False)) == -errno.EFAULT
    assert user.move(app, count=0, pages=None, status=None) == 0
    assert moved(app, heap) == 0
    assert user.status.tolist() == [UNTOUCHED] * 4


@pytest.mark.parametrize("count", [5, 169, 1 << 40, 1 << 63, (1 << 64) - 1, -1])
def test_a_count_beyond_the_arrays_faults_where_they_end(app: pm.Task, heap: pm.Region, count: int) -> None:
    """``count`` is an unsigned number of 64 bits and not limited; nothing of its size is allocated."""
    user = Arrays(heap, 4)
    assert user.move(app, count=count) == -errno.EFAULT
    assert moved(app, heap) == 0
    user = Arrays(heap, 338)
    assert user.move(app, count=max(count, 400) if count > 0 else count) == -errno.EFAULT
    assert moved(app, heap) == 338


def test_arrays_longer_than_the_count_are_left_alone(app: pm.Task, heap: pm.Region) -> None:
    """Only the first ``count`` entries take part."""
    user = Arrays(heap, 20)
    user.nodes[5] = 99
    assert user.move(app, count=5) == 0
    assert user.status.tolist() == [1] * 5 + [UNTOUCHED] * 15
    assert moved(app, heap) == 5


def test_user_memory_may_be_plain_bytes_at_odd_places(app: pm.Task, heap: pm.Region) -> None:
    """uint8 arrays are seen as the kernel sees them: little-endian, aligned or not."""
    user = Arrays(heap, 4)
    buffer = np.zeros(1 + 4 * (8 + 4 + 4) + 2, np.uint8)
    pages, nodes, status = buffer[1:33], buffer[33:49], buffer[49:65]
    pages[:] = user.pages.view(np.uint8)
    nodes[:] = user.nodes.view(np.uint8)
    assert user.move(app, pages=pages, nodes=nodes, status=status) == 0
    assert status.view(np.int32).tolist() == [1] * 4
    assert buffer[65:].tolist() == [0, 0]
    assert user.move(app, pages=pages[:31], nodes=None, status=status) == -errno.EFAULT


def test_signed_and_unsigned_arrays_are_the_same_bytes(app: pm.Task, heap: pm.Region) -> None:
    """int64 addresses, uint32 nodes and statuses."""
    user = Arrays(heap, 2)
    status = user.status.view(np.uint32)
    assert (
        user.move(app, pages=user.pages.view(np.int64), nodes=user.nodes.view(np.uint32), status=status) == 0
    )
    assert user.status.tolist() == [1, 1]


def test_statuses_may_replace_the_nodes(app: pm.Task, heap: pm.Region) -> None:
    """One array for both: each entry is read before its status is written."""
    user = Arrays(heap, 340)
    both = user.nodes
    both[:] = np.arange(340) % 2
    wanted = both.tolist()
    assert user.move(app, nodes=both, status=both) == 0
    assert both.tolist() == wanted == app.nodes_of(heap[:340]).tolist()


def test_statuses_that_would_be_read_back_as_entries_are_refused(app: pm.Task, heap: pm.Region) -> None:
    """Overlapping arrays whose later entries the first chunk would overwrite: not modelled, so said."""
    user = Arrays(heap, 340)
    both = np.full(341, 1, np.int32)
    with pytest.raises(pm.UsageError, match="memory of its own"):
        user.move(app, nodes=both[:340], status=both[1:])
    assert moved(app, heap) == 0
    small = np.full(101, 1, np.int32)
    assert user.move(app, count=100, nodes=small[:100], status=small[1:]) == 0


@pytest.mark.parametrize("readable", [0, 7, 8, 127, 128, 129, 255, 256, 320])
def test_query_reads_addresses_in_blocks_of_16(app: pm.Task, heap: pm.Region, readable: int) -> None:
    """Migration 21: a block with an unreadable byte ends the call with nothing of it written."""
    user = Arrays(heap, 40)
    pages = pm.UserMemory(user.pages, valid_bytes=readable)
    done = 40 if readable == 320 else readable // 8 // QUERY_CHUNK * QUERY_CHUNK
    assert user.move(app, pages=pages, nodes=None) == (0 if done == 40 else -errno.EFAULT)
    assert user.status.tolist() == [0] * done + [UNTOUCHED] * (40 - done)


@pytest.mark.parametrize("writable", [0, 1, 5, 63, 64, 66, 100, 128, 159, 160])
def test_query_writes_statuses_up_to_the_very_byte(app: pm.Task, heap: pm.Region, writable: int) -> None:
    """Migration 21: a block copy transfers the bytes before the first that cannot be written."""
    user = Arrays(heap, 40)
    user.status.view(np.uint8)[:] = 0xA5
    status = pm.UserMemory(user.status, valid_bytes=writable)
    assert user.move(app, nodes=None, status=status) == (0 if writable == 160 else -errno.EFAULT)
    assert user.status.view(np.uint8).tolist() == [0] * writable + [0xA5] * (160 - writable)


def test_query_with_null_pointers_is_efault_unless_there_is_nothing_to_do(app: pm.Task) -> None:
    """Syscalls 4: a count of 0 touches nothing."""
    for count, result in ((0, 0), (1, -errno.EFAULT), (1 << 63, -errno.EFAULT)):
        assert pm.syscalls.move_pages(app, 0, count, None, None, None, 0) == result


def test_the_exception_of_the_verb_holds_what_was_written(app: pm.Task, heap: pm.Region) -> None:
    """Syscalls 3.2: chunks before the failing one are done and reported."""
    nodes = np.full(400, 1, np.int32)
    nodes[250] = 99
    with pytest.raises(OSError, match="No such device") as failed:
        app.move_pages(heap, nodes)
    assert isinstance(failed.value, pm.SyscallError)
    assert failed.value.errno == errno.ENODEV
    assert failed.value.statuses is not None
    assert failed.value.statuses.tolist() == [1] * CHUNK
    assert not failed.value.statuses.flags.writeable


@pytest.mark.parametrize(
    ("array", "arguments"),
    [
        (np.zeros(2, np.int32), {"valid_bytes": 9}),
        (np.zeros(2, np.int32), {"valid_bytes": -1}),
        (np.zeros((2, 2), np.int32), {}),
        (np.zeros(4, np.int32)[::2], {}),
        ([1, 2], {}),
        (None, {}),
    ],
)
def test_user_memory_is_made_of_a_plain_array(array: object, arguments: dict[str, int]) -> None:
    """Contiguous, one dimension, and no longer than it is."""
    with pytest.raises(pm.UsageError):
        pm.UserMemory(array, **arguments)  # type: ignore[arg-type]
