"""``set_mempolicy`` and ``get_mempolicy`` (syscalls 6.5)."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

DEFAULT, PREFERRED, BIND, INTERLEAVE = range(4)
STATIC, RELATIVE = 0x8000, 0x4000
NODE, ADDR, MEMS_ALLOWED = 1, 2, 4
ZEROES = pm.UserMemory(np.zeros(1, np.uint64), valid_bytes=0)


def ask(app: pm.Task, address: int = 0, flags: int = 0) -> tuple[int, int, set[int]]:
    """Result, mode and nodes of a call that asks for both."""
    mode, mask = np.full(1, -9, np.int32), np.full(1, 1 << 63, np.uint64)
    result = pm.syscalls.get_mempolicy(app, mode, mask, 64, address, flags)
    return result, int(mode[0]), {node for node in range(64) if int(mask[0]) >> node & 1}


def set_policy(app: pm.Task, mode: int, nodes: object = None, maxnode: int = 64) -> int:
    """The raw call."""
    return pm.syscalls.set_mempolicy(app, mode, nodes, maxnode)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "nodes", "reported"),
    [
        (DEFAULT, set(), (DEFAULT, set())),
        (DEFAULT | STATIC, set(), (DEFAULT, set())),
        (PREFERRED, set(), (PREFERRED, set())),
        (PREFERRED, {1, 3}, (PREFERRED, {1})),
        (BIND, {1, 2, 3, 9}, (BIND, {1, 3})),
        (INTERLEAVE, {0, 3}, (INTERLEAVE, {0, 3})),
        (BIND | STATIC, {1, 2, 9}, (BIND | STATIC, {1, 2, 9})),
        (INTERLEAVE | RELATIVE, {5, 7}, (INTERLEAVE | RELATIVE, {5, 7})),
        (PREFERRED | STATIC, {1, 3}, (PREFERRED | STATIC, {1, 3})),
    ],
)
def test_sy65_a_policy_is_reported_as_it_is_in_force_or_with_mode_flags_as_it_was_given(
    app: pm.Task, mode: int, nodes: set[int], reported: tuple[int, set[int]]
) -> None:
    """Steps 4 and 5, for the task and for an area; another task and area are not concerned."""
    region = app.mmap(3 * pm.PAGE_SIZE)
    middle = region[1]
    assert set_policy(app, mode, nodes) == 0
    assert ask(app) == (0, *reported)
    assert ask(app, region.start, ADDR) == (0, DEFAULT, set())
    assert set_policy(app, DEFAULT) == 0
    assert pm.syscalls.mbind(app, middle.start, 4096, mode, nodes, 64, 0) == 0
    assert ask(app, middle.start + 7, ADDR) == (0, *reported)
    assert ask(app, region.start, ADDR) == ask(app) == (0, DEFAULT, set())
    assert ask(app.fork(), middle.start, ADDR) == (0, *reported)


def test_mode_flags_of_an_area_survive_splits_and_clones(machine: pm.Machine, app: pm.Task) -> None:
    """An area that is cut in two follows what the whole was given, on a cloned machine too."""
    region = app.mmap(4 * pm.PAGE_SIZE)
    app.mbind(region, pm.Policy(pm.PolicyMode.BIND, [1, 9], static=True))
    app.munmap(region[1])
    for task in (app, machine.clone().task(app.pid)):
        for page in (region[0], region[3]):
            assert ask(task, page.start, ADDR) == (0, BIND | STATIC, {1, 9})


def test_areas_that_differ_only_in_what_was_asked_for_stay_apart(app: pm.Task) -> None:
    """Two requests come to the same nodes and are two policies still (syscalls 6.2: equal policy)."""
    both = app.mmap(2 * pm.PAGE_SIZE)
    app.mbind(both[0], pm.Policy(pm.PolicyMode.BIND, [1, 9], static=True))
    app.mbind(both[1], pm.Policy(pm.PolicyMode.BIND, [1]))
    assert ask(app, both.start, ADDR) == (0, BIND | STATIC, {1, 9})
    assert ask(app, both[1].start, ADDR) == (0, BIND, {1})
    assert [len(region) for region in app.regions[:2]] == [1, 1]


def test_sy65_set_mempolicy_checks_mode_then_mask_then_both(app: pm.Task) -> None:
    """Checks 1, 2, 8 and 11 of 6.1; a policy that is refused leaves the old one."""
    assert set_policy(app, PREFERRED, {3}) == 0
    before = ask(app)
    for mode in (4, 7439, -1, BIND | STATIC | RELATIVE, BIND | 1 << 31):
        assert set_policy(app, mode, ZEROES) == -errno.EINVAL
    assert set_policy(app, BIND, ZEROES) == -errno.EFAULT
    for mode, nodes in (
        (DEFAULT, {0}),
        (BIND, None),
        (INTERLEAVE, None),
        (PREFERRED | STATIC, None),
        (PREFERRED | RELATIVE, None),
        (BIND, {2}),
        (PREFERRED, {9}),
        (INTERLEAVE, {2, 9}),
    ):
        assert set_policy(app, mode, nodes) == -errno.EINVAL
    assert ask(app) == before
    assert set_policy(app, 0xFACE_0000_0000_0000 | BIND, {1}) == 0
    assert ask(app) == (0, BIND, {1})


def test_sy65_step_1_a_mask_must_hold_all_nodes_and_flags_be_known(app: pm.Task) -> None:
    """-EINVAL: maxnode below 64 with a mask, which is not read otherwise; any other flag bit."""
    mask = np.zeros(1, np.uint64)
    get = pm.syscalls.get_mempolicy
    for maxnode in (0, 1, 63):
        assert get(app, None, mask, maxnode, 0, 0) == -errno.EINVAL
        assert get(app, None, None, maxnode, 0, 0) == 0
    for flags in (8, 16, 1 << 31, 1 << 32, 1 << 63, -1):
        assert get(app, None, None, 0, 0, flags) == -errno.EINVAL


def test_sy65_step_2_mems_allowed_stands_alone(app: pm.Task) -> None:
    """Mode 0 and the caller's cpuset as it is; -EINVAL with another flag."""
    app.mems_allowed = [0, 2, 3]
    set_policy(app, BIND, {0})
    assert ask(app, 0, MEMS_ALLOWED) == (0, 0, {0, 2, 3})
    for flags in (MEMS_ALLOWED | ADDR, MEMS_ALLOWED | NODE, MEMS_ALLOWED | ADDR | NODE):
        assert ask(app, 0, flags)[0] == -errno.EINVAL


def test_sy65_step_3_an_address_needs_addr_and_addr_an_area(app: pm.Task) -> None:
    """-EFAULT in a hole, even below an area; -EINVAL for an address without the flag."""
    region = app.mmap(pm.PAGE_SIZE)
    for address in (0, region.start - 1, region.end, (1 << 64) - 1):
        assert ask(app, address, ADDR)[0] == -errno.EFAULT
        assert ask(app, address, ADDR | NODE)[0] == -errno.EFAULT
    assert ask(app, region.start)[0] == -errno.EINVAL
    assert ask(app, region.end - 1, ADDR)[0] == 0


def test_sy65_step_4_node_at_an_address_faults_the_page_in_for_reading(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """The node where it is; an untouched page becomes the zero page, of the lowest node with memory."""
    app.move_pages(heap[:1], 3)
    assert ask(app, heap.start + 5, NODE | ADDR)[:2] == (0, 3)
    assert ask(app, heap[1].start, NODE | ADDR)[:2] == (0, 0)
    fresh = app.mmap(pm.PAGE_SIZE)
    app.mbind(fresh, pm.Policy(pm.PolicyMode.BIND, [3]))
    assert ask(app, fresh.start, NODE | ADDR) == (0, 0, {3})
    assert app.entry_at(fresh.start).special
    assert machine.pins == {}
    assert machine.audit() == []


def test_sy65_step_4_a_page_that_cannot_be_had_is_efault(app: pm.Task) -> None:
    """An area without read permission, and one that is a device."""
    for region in (
        app.mmap(pm.PAGE_SIZE, protection=pm.NONE),
        app.mmap(pm.PAGE_SIZE, flags=[pm.VmFlags.IO]),
    ):
        assert ask(app, region.start, NODE | ADDR)[0] == -errno.EFAULT
        assert ask(app, region.start, ADDR) == (0, DEFAULT, set())


def test_sy65_step_4_node_alone_needs_an_interleaving_task(app: pm.Task) -> None:
    """-EINVAL for any other policy, and for none."""
    for mode, nodes in ((DEFAULT, None), (PREFERRED, {1}), (BIND, {1})):
        set_policy(app, mode, nodes)
        assert ask(app, 0, NODE)[0] == -errno.EINVAL


def test_sy65_step_6_the_mode_is_written_before_the_mask(app: pm.Task) -> None:
    """-EFAULT for either; null pointers ask for nothing."""
    get = pm.syscalls.get_mempolicy
    set_policy(app, BIND, {1, 3})
    mode, mask = np.full(1, -9, np.int32), np.full(3, 99, np.uint64)
    broken = pm.UserMemory(mode.copy(), valid_bytes=3)
    assert get(app, broken, mask, 64, 0, 0) == -errno.EFAULT
    assert (broken.array.tolist(), mask.tolist()) == ([-9], [99] * 3)
    assert get(app, mode, pm.UserMemory(mask, valid_bytes=0), 64, 0, 0) == -errno.EFAULT
    assert (mode.tolist(), mask.tolist()) == ([BIND], [99] * 3)
    assert get(app, None, None, 0, 0, 0) == 0
    assert get(app, None, pm.UserMemory(mask, writable=False), 64, 0, 0) == -errno.EFAULT
    read_only = np.zeros(1, np.int32)
    read_only.setflags(write=False)
    assert get(app, read_only, None, 0, 0, 0) == -errno.EFAULT


def test_sy65_step_6_words_above_the_first_are_zeroed(app: pm.Task) -> None:
    """ceil((maxnode - 1) / 64) words; more than 512 is -EINVAL; user memory has no types."""
    get = pm.syscalls.get_mempolicy
    set_policy(app, BIND, {1, 3})
    for maxnode, expected in ((64, [10, 99, 99]), (65, [10, 99, 99]), (66, [10, 0, 99]), (130, [10, 0, 0])):
        mask = np.full(3, 99, np.uint64)
        assert get(app, None, mask, maxnode, 0, 0) == 0
        assert mask.tolist() == expected
    assert get(app, None, np.full(3, 99, np.uint64), 194, 0, 0) == -errno.EFAULT
    page = np.full(512, 99, np.uint64)
    assert get(app, None, page, 32769, 0, 0) == 0
    assert page.tolist() == [10] + [0] * 511
    for maxnode in (32770, (1 << 64) - 1):
        assert get(app, None, page, maxnode, 0, 0) == -errno.EINVAL
    octets = np.full(8, 99, np.uint8)
    assert get(app, None, octets, 64, 0, 0) == 0
    assert octets.tolist() == [10] + [0] * 7


@pytest.mark.parametrize(
    "arguments",
    [
        (5, None, 64, 0, 0),
        (np.zeros(1, np.int64), None, 64, 0, 0),
        (None, {1}, 64, 0, 0),
        (None, np.zeros(1, np.int32), 64, 0, 0),
        (None, None, "64", 0, 0),
        (None, None, 64, None, 0),
        (None, None, 64, 0, 1 << 64),
    ],
)
def test_what_no_program_could_pass_is_a_usage_error(app: pm.Task, arguments: tuple[object, ...]) -> None:
    """The mode goes to 32 bits, the mask to words of 64; neither can be written to a set."""
    with pytest.raises(pm.UsageError):
        pm.syscalls.get_mempolicy(app, *arguments)  # type: ignore[arg-type]


def test_sy65_node_alone_tells_where_an_interleaving_task_goes_next(machine: pm.Machine) -> None:
    """Step 4: il_next, which starts at the first node of the mask; -EINVAL without an interleave."""
    app = machine.spawn()
    word = np.zeros(1, dtype=np.int32)
    assert pm.syscalls.get_mempolicy(app, word, None, 0, 0, 1) == -errno.EINVAL
    app.set_mempolicy(pm.Policy(pm.PolicyMode.INTERLEAVE, [1, 2]))
    assert pm.syscalls.get_mempolicy(app, word, None, 0, 0, 1) == 0
    assert word.tolist() == [1]


def test_sy65_memory_of_shmem_has_the_policies_of_its_file(machine: pm.Machine, app: pm.Task) -> None:
    """Step 3: the ops' policy where the area has that method, by place in the file, for whoever maps it."""
    file = machine.create_file("shm", 4 * pm.PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
    other = machine.spawn("other")
    mine = app.mmap(4 * pm.PAGE_SIZE, file=file, shared=True)
    theirs = other.mmap(3 * pm.PAGE_SIZE, file=file, offset=pm.PAGE_SIZE, shared=True)
    app.mbind(mine[2], pm.Policy(pm.PolicyMode.BIND, [3]))
    assert ask(app, mine[2].start, ADDR) == (0, BIND, {3})
    assert ask(other, theirs[1].start, ADDR) == (0, BIND, {3})
    assert ask(other, theirs[0].start, ADDR) == ask(other, theirs[2].start, ADDR) == (0, DEFAULT, set())
    other.touch(theirs[1])
    assert other.nodes_of(theirs[1]).tolist() == [3]
    assert ask(app, mine[2].start, NODE | ADDR)[:2] == (0, 3)


def test_sy65_the_node_of_a_page_of_a_file_is_found_by_reading_it(machine: pm.Machine, app: pm.Task) -> None:
    """Step 4: the page is faulted in; beyond the end of the file that fails with -EFAULT."""
    file = machine.create_file("data", pm.PAGE_SIZE)
    region = app.mmap(2 * pm.PAGE_SIZE, file=file)
    assert ask(app, region.start, NODE | ADDR)[:2] == (0, 0)
    assert file.cached == 1
    assert machine.pins == {}
    assert ask(app, region[1].start, NODE | ADDR)[0] == -errno.EFAULT


def test_sy65_the_policy_of_other_files_is_that_of_the_area(machine: pm.Machine, app: pm.Task) -> None:
    """Files without a policy method: each area has its own."""
    file = machine.create_file("data", pm.PAGE_SIZE)
    other = machine.spawn("other")
    mine, theirs = (task.mmap(pm.PAGE_SIZE, file=file, shared=True) for task in (app, other))
    app.mbind(mine, pm.Policy(pm.PolicyMode.BIND, [1]))
    assert ask(app, mine.start, ADDR) == (0, BIND, {1})
    assert ask(other, theirs.start, ADDR) == (0, DEFAULT, set())
