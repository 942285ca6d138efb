"""``mremap``: mappings that move, grow and shrink, with the pages in them."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

PAGE = pm.PAGE_SIZE


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 64 frames each with contents, one CPU."""
    return pm.Machine(nodes=[64 * PAGE] * 2, cpus=1, contents=True)


def test_pages_move_with_their_mapping(machine: pm.Machine, app: pm.Task) -> None:
    """Same frames, same bytes, another address; nothing is left at the old one."""
    old = app.mmap(2 * PAGE, at=0x400000)
    app.write(old[1].start, b"here")
    machine.drain()
    page = app.page_at(old[1].start)
    new = app.mremap(old, to=0x800000)
    assert new == pm.Region(app, 0x800000, 2 * PAGE)
    assert app.page_at(new[1].start) == page
    assert app.read(new[1].start, 4) == b"here"
    assert app.nodes_of(old).tolist() == [-1, -1]
    assert old not in app.regions
    assert new in app.regions
    assert machine.audit() == []


def test_a_mapping_shrinks_where_it_is(machine: pm.Machine, app: pm.Task) -> None:
    """What is cut off is unmapped."""
    old = app.mmap(4 * PAGE, at=0x400000)
    app.touch(old)
    new = app.mremap(old, 2 * PAGE - 1)
    assert new == old[:2]
    assert app.nodes_of(old).tolist() == [0, 0, -1, -1]
    assert machine.audit() == []


def test_a_mapping_grows_where_there_is_room_and_moves_where_there_is_none(
    machine: pm.Machine, app: pm.Task
) -> None:
    """In place if the pages behind are free; the new part is empty."""
    old = app.mmap(2 * PAGE, at=0x400000)
    app.touch(old)
    grown = app.mremap(old, 4 * PAGE)
    assert grown == pm.Region(app, 0x400000, 4 * PAGE)
    assert app.nodes_of(grown).tolist() == [0, 0, -1, -1]
    app.mmap(PAGE, at=0x404000)
    moved = app.mremap(grown, 5 * PAGE)
    assert (moved.start != grown.start, len(moved)) == (True, 5)
    assert app.nodes_of(moved).tolist() == [0, 0, -1, -1, -1]
    assert machine.audit() == []


def test_part_of_a_mapping_can_be_moved(machine: pm.Machine, app: pm.Task) -> None:
    """The rest stays."""
    old = app.mmap(3 * PAGE, at=0x400000)
    app.write(old[1].start, b"middle")
    new = app.mremap(old[1], to=0x800000)
    assert app.read(new.start, 6) == b"middle"
    assert [each.start for each in app.regions[:3]] == [0x400000, 0x402000, 0x800000]
    assert machine.audit() == []


def test_what_was_mapped_at_the_destination_is_gone(machine: pm.Machine, app: pm.Task) -> None:
    """As by munmap."""
    old, other = app.mmap(PAGE, at=0x400000), app.mmap(PAGE, at=0x800000)
    app.write(old.start, b"old")
    app.write(other.start, b"other")
    new = app.mremap(old, to=0x800000)
    assert app.read(new.start, 5) == b"old\0\0"
    assert machine.audit() == []


def test_a_file_mapping_moves_with_its_place_in_the_walk(machine: pm.Machine, app: pm.Task) -> None:
    """The file knows the new area and no longer the old one."""
    file = machine.create_file("data", 2 * PAGE)
    old = app.mmap(2 * PAGE, at=0x400000, file=file, shared=True)
    app.write(old.start, b"file")
    new = app.mremap(old, to=0x800000)
    assert file.areas == (new,)
    assert app.read(new.start, 4) == b"file"
    assert machine.audit() == []


def test_ranges_that_are_not_one_mapping_are_refused(machine: pm.Machine, app: pm.Task) -> None:
    """EFAULT where nothing is mapped, or more than one area; nothing changes."""
    low = app.mmap(PAGE, at=0x400000)
    app.mmap(PAGE, at=0x401000, protection=pm.R)
    before = app.regions
    for region in (pm.Region(app, 0x900000, PAGE), pm.Region(app, low.start, 2 * PAGE)):
        with pytest.raises(OSError, match="mremap") as refused:
            app.mremap(region, to=0xA00000)
        assert refused.value.errno == errno.EFAULT
    assert app.regions == before


def test_old_and_new_range_must_not_overlap(machine: pm.Machine, app: pm.Task) -> None:
    """EINVAL, as mremap(2) says of MREMAP_FIXED."""
    old = app.mmap(4 * PAGE, at=0x400000)
    with pytest.raises(OSError, match="mremap") as refused:
        app.mremap(old, to=0x401000)
    assert refused.value.errno == errno.EINVAL


def test_mremap_can_be_started_as_a_call(machine: pm.Machine, app: pm.Task) -> None:
    """And is audited after every step."""
    old = app.mmap(2 * PAGE, at=0x400000)
    app.touch(old)
    call = machine.start(pm.calls.mremap(old, to=0x800000), by=app)
    while not call.done:
        call.step()
        machine.check()
    assert call.result == pm.Region(app, 0x800000, 2 * PAGE)


def test_what_makes_no_sense_is_refused(machine: pm.Machine, app: pm.Task) -> None:
    """Regions, lengths, addresses; nothing changes."""
    region = app.mmap(2 * PAGE)
    wrong = [
        lambda: app.mremap(region.start),  # type: ignore[arg-type]
        lambda: machine.spawn().mremap(region),
        lambda: app.mremap(region[:0]),
        lambda: app.mremap(region, 0),
        lambda: app.mremap(region, -1),
        lambda: app.mremap(region, 1 << 48),
        lambda: app.mremap(region, to=5),
        lambda: app.mremap(region, to=-PAGE),
        lambda: app.mremap(region, to=(1 << 47) - PAGE),
        lambda: app.mremap(region, "8KiB"),  # type: ignore[arg-type]
    ]
    before = app.regions
    for ask in wrong:
        with pytest.raises(pm.UsageError):
            ask()
    assert app.regions == before


def test_an_entry_that_mremap_carries_while_its_page_is_merged_elsewhere_breaks_no_rule() -> None:
    """I-72 excepts what mremap moved after a fork; KSM goes through the parent meanwhile."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True)
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(2 * pm.PAGE_SIZE, flags=[pm.VmFlags.MERGEABLE])
    for page in heap:
        parent.write(page.start, b"same")
    child = parent.fork("child")
    machine.drain()
    move = pm.calls.mremap(child.same(heap[1]), to=0x2000_0000)
    race = [(pm.calls.ksm_scan(), parent), (move, child)]
    verdict = pm.explore(machine, race, pm.Exhaustive(preemptions=2))
    assert verdict.findings == ()
    assert verdict.complete
