"""``mbind(2)``: what is refused, and in which order Linux finds out (syscalls 6.1, 6.4)."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

DEFAULT, PREFERRED, BIND, INTERLEAVE = range(4)
STATIC, RELATIVE = 0x8000, 0x4000
STRICT, MOVE, MOVE_ALL = 1, 2, 4
FAULTING = pm.UserMemory(np.zeros(1, np.uint64), valid_bytes=0)
HUGE = (1 << 64) - 8192


def call(
    app: pm.Task,
    start: int = 0x1000,
    length: int = 4096,
    mode: int = BIND,
    mask: object = None,
    flags: int = 0,
) -> int:
    """The raw call with 63 bits of a mask."""
    return pm.syscalls.mbind(app, start, length, mode, mask, 64, flags)  # type: ignore[arg-type]


def test_sy61_each_check_comes_before_the_next(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Method: calls with everything wrong from some check on; errors of equal number are told apart
    by mending the one and seeing the other."""
    assert call(app, 1, HUGE, 4, FAULTING, 99) == -errno.EINVAL
    assert call(app, 1, HUGE, BIND | STATIC | RELATIVE, FAULTING, 99) == -errno.EINVAL
    assert call(app, 1, HUGE, BIND, FAULTING, 99) == -errno.EFAULT
    assert call(app, 1, HUGE, BIND, None, 8 | MOVE_ALL) == -errno.EINVAL
    assert call(app, 1, HUGE, BIND, None, MOVE_ALL) == -errno.EPERM
    app.capabilities = pm.Capability.SYS_NICE
    assert call(app, 1, HUGE, BIND, None, MOVE_ALL) == -errno.EINVAL
    assert call(app, 0x1000, 0, BIND, None, MOVE_ALL) == 0
    assert call(app, 0x1000, 1, BIND, None, MOVE_ALL) == -errno.EINVAL
    assert call(app, heap.start, 1, BIND, {1}, MOVE_ALL) == 0


@pytest.mark.parametrize("mode", [4, 5, 7439, (1 << 64) - 1, -1, 1 << 32, BIND | 1 << 31, BIND | 0x2000])
def test_sy61_step_1_a_mode_beyond_interleave_is_einval(app: pm.Task, heap: pm.Region, mode: int) -> None:
    """All 64 bits of the register count."""
    assert call(app, heap.start, 4096, mode, {1}) == -errno.EINVAL


def test_sy61_step_3_flags_are_the_three_that_users_have(app: pm.Task, heap: pm.Region) -> None:
    """The internal ones of the scan, 8, 16 and 32, are never accepted; only 32 bits count."""
    for flags in (8, 16, 32, 1 << 31, STRICT | 8, -1):
        assert call(app, heap.start, 4096, BIND, {0}, flags) == -errno.EINVAL
    for flags in (0, STRICT, MOVE, STRICT | MOVE, 0xFACE_0000_0000_0000 | STRICT):
        assert call(app, heap.start, 4096, BIND, {0}, flags) == 0


def test_sy61_step_5_start_must_be_page_aligned(app: pm.Task, heap: pm.Region) -> None:
    """-EINVAL, even for nothing; the length need not be."""
    for length in (0, 4096):
        assert call(app, heap.start + 1, length, BIND, {1}) == -errno.EINVAL
    assert call(app, heap.start, 4097, BIND, {1}) == 0
    assert [len(area) for area in app.regions][:2] == [2, 398]


def test_sy61_step_7_the_range_is_rounded_up_and_may_wrap(app: pm.Task, heap: pm.Region) -> None:
    """A wrap is -EINVAL; a length that rounds to 2**64 is nothing, which is 0 before step 8."""
    assert call(app, heap.start, HUGE, BIND, {1}) == -errno.EINVAL
    assert call(app, 0x1000, (1 << 64) - 0x1FFF, BIND, {1}) == -errno.EINVAL
    for length in (0, (1 << 64) - 1, (1 << 64) - 4095):
        assert call(app, heap.start, length, DEFAULT, {1}) == 0
        assert call(app, heap.start, length, BIND, None) == 0
    assert "bind" not in app.numa_maps()


@pytest.mark.parametrize(
    ("mode", "mask"),
    [
        (DEFAULT, {0}),
        (BIND, None),
        (INTERLEAVE, set()),
        (PREFERRED | STATIC, None),
        (PREFERRED | RELATIVE, None),
    ],
)
def test_sy61_step_8_the_mask_must_suit_the_mode(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, mode: int, mask: set[int] | None
) -> None:
    """-EINVAL before anything is drained (step 10)."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    before = machine.vmstat()
    assert call(app, heap.start, 4096, mode, mask, MOVE) == -errno.EINVAL
    assert machine.vmstat() == before


@pytest.mark.parametrize("mode", [BIND, INTERLEAVE, PREFERRED, BIND | STATIC])
def test_sy61_step_11_nodes_outside_the_cpuset_or_without_memory_are_einval(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, mode: int
) -> None:
    """The intersection is empty; pages that shall move have been drained by then."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    before = machine.vmstat()["nr_active_anon"]
    assert call(app, heap.start, 4096, mode, {2}) == call(app, heap.start, 4096, mode, {9}) == -errno.EINVAL
    assert machine.vmstat()["nr_active_anon"] == before
    app.mems_allowed = [0, 1]
    assert call(app, heap.start, 4096, mode, {3}, MOVE) == -errno.EINVAL
    assert machine.vmstat()["nr_active_anon"] == before + 1
    assert call(app, heap.start, 4096, mode, {1, 3}) == 0


def test_sy61_step_11_bind_needs_a_zone_that_policies_are_about() -> None:
    """A node with MOVABLE memory only can be preferred, and interleaved over, but not bound to."""
    movable = pm.Node(zones=[pm.Zone(pm.ZoneKind.MOVABLE, pm.MiB)])
    app = pm.Machine(nodes=[pm.MiB, movable], cpus=1).spawn()
    heap = app.mmap(4096)
    assert call(app, heap.start, 4096, BIND, {1}) == -errno.EINVAL
    assert call(app, heap.start, 4096, BIND, {0, 1}) == 0
    assert call(app, heap.start, 4096, PREFERRED, {1}) == call(app, heap.start, 4096, INTERLEAVE, {1}) == 0


def test_sy64_ranges_beyond_user_space_are_holes(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """-EFAULT where nothing ends above start; DEFAULT does not mind a tail of nothing (6.3)."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    before = machine.vmstat()["nr_active_anon"]
    assert call(app, 1 << 47, 4096, DEFAULT) == call(app, 1 << 63, 4096, BIND, {1}, MOVE) == -errno.EFAULT
    assert machine.vmstat()["nr_active_anon"] == before + 1
    assert call(app, heap.start, 1 << 60, DEFAULT) == 0
    assert call(app, heap.start, 1 << 60, BIND, {1}) == -errno.EFAULT


@pytest.mark.parametrize("length", [2 * 4096, 1 << 62, (1 << 64) - (1 << 47)])
def test_sy63_a_range_that_leaves_user_space_through_an_area_has_a_hole_at_its_end(
    machine: pm.Machine, app: pm.Task, length: int
) -> None:
    """The last area ends before the range: -EFAULT, and what was collected goes back. DEFAULT does
    not mind, and gives the pages new frames."""
    top = pm.Region(app, (1 << 47) - 8192, 4096)
    below = app.mmap(4096, at=top.start - 17 * 4096 + 4096)
    app.touch([below.start, top.start])
    machine.drain()
    start, span = below.start, top.start - below.start
    before = [app.page_at(at) for at in (below.start, top.start)]
    assert call(app, start, span + length, BIND, {1}, MOVE) == -errno.EFAULT
    assert [app.page_at(at) for at in (below.start, top.start)][1] == before[1]
    assert app.nodes_of([below.start, top.start]).tolist() == [0, 0]
    assert machine.vmstat()["nr_isolated_anon"] == 0
    assert call(app, start, span + length, DEFAULT, None, MOVE) == 0
    machine.drain()
    after = [app.page_at(at) for at in (below.start, top.start)]
    assert [page.pfn for page in after if page] != [page.pfn for page in before if page]
    assert machine.audit() == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"start": None},
        {"start": 1 << 64},
        {"length": "1"},
        {"mode": None},
        {"mode": 2.0},
        {"flags": 1 << 64},
        {"mask": [1]},
        {"mask": np.zeros(1, np.int32)},
    ],
)
def test_what_no_program_could_pass_is_a_usage_error(app: pm.Task, arguments: dict[str, object]) -> None:
    """A number fits into a register; a mask is memory or a set."""
    with pytest.raises(pm.UsageError):
        call(app, **arguments)  # type: ignore[arg-type]
