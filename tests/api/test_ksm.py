"""KSM: equal pages that become one, and come apart again (supporting-paths 16)."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

PAGE = pm.PAGE_SIZE


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 64 frames each with contents, one CPU."""
    return pm.Machine(nodes=[64 * PAGE] * 2, cpus=1, contents=True)


@pytest.fixture
def merged(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """Three equal pages and one that is like no other, scanned until nothing more merges."""
    region = app.mmap(4 * PAGE)
    app.madvise(region, pm.Advice.MERGEABLE)
    for page in region:
        app.write(page.start, b"same")
    app.write(region[3].start, b"alone")
    machine.drain()
    while machine.ksm.scan():
        machine.check()
    return region


def test_equal_pages_become_one(machine: pm.Machine, app: pm.Task, merged: pm.Region) -> None:
    """One stable node with three places; the fourth page stays as it is."""
    first = app.page_at(merged.start)
    assert first is not None
    assert [app.page_at(page.start) == first for page in merged] == [True, True, True, False]
    (node,) = machine.ksm.nodes
    assert (node.pfn, first.owner) == (first.pfn, pm.Owner(pm.OwnerKind.KSM, node.number))
    assert sorted(place.address for place in node.places) == [page.start for page in merged[:3]]
    assert len({place.mm for place in node.places}) == 1
    assert (machine.ksm.pages_shared, machine.ksm.pages_sharing) == (1, 2)
    assert first.mapcount == 3
    assert not app.entry_at(merged.start).writable
    assert app.read(merged[1].start, 4) == b"same"
    assert repr(machine.ksm).startswith("<Ksm: 1 pages shared, 2 sharing")


def test_a_write_takes_a_place_out(machine: pm.Machine, app: pm.Task, merged: pm.Region) -> None:
    """Copy-on-write: the others keep the merged page."""
    app.write(merged[1].start, b"mine")
    assert app.page_at(merged[1].start) != app.page_at(merged.start) == app.page_at(merged[2].start)
    assert app.read(merged.start, 4) == b"same"
    assert machine.audit() == []


def test_merged_pages_look_as_if_they_were_not_there(app: pm.Task, merged: pm.Region) -> None:
    """Q11: move_pages answers -ENOENT for them, the plain page moves."""
    assert app.move_pages(merged, 1, scope=pm.MoveScope.SHARED).tolist()[:3] == [-errno.ENOENT] * 3


def test_only_offlining_moves_a_merged_page(machine: pm.Machine, app: pm.Task, merged: pm.Region) -> None:
    """UM-4: -EBUSY for everybody else; S36: the node follows the page, and every place finds it."""
    page = app.page_at(merged.start)
    assert page is not None
    assert machine.migrate_pages([page.pfn], pm.ToNode(1)).statuses.tolist() == [-errno.EBUSY]
    machine.drain()
    assert machine.migrate_pages([page.pfn], pm.ToNode(1), offlining=True).statuses.tolist() == [1]
    machine.drain()
    moved = app.page_at(merged.start)
    assert moved is not None
    assert machine.ksm.nodes[0].pfn == moved.pfn
    assert [app.page_at(place.start) == moved for place in merged[:3]] == [True] * 3
    assert app.read(merged[2].start, 4) == b"same"
    assert machine.audit() == []


def test_what_is_no_longer_mergeable_comes_apart(
    machine: pm.Machine, app: pm.Task, merged: pm.Region
) -> None:
    """MADV_UNMERGEABLE gives every place a page of its own."""
    app.madvise(merged, pm.Advice.UNMERGEABLE)
    frames = {page.pfn for page in map(app.page_at, (each.start for each in merged)) if page is not None}
    assert len(frames) == 4
    assert [app.read(page.start, 4) for page in merged[:3]] == [b"same"] * 3
    machine.check()
    assert not app.vmas[0].flags & pm.VmFlags.MERGEABLE


def test_only_what_may_be_merged_is_looked_at(machine: pm.Machine, app: pm.Task) -> None:
    """Without madvise nothing happens."""
    region = app.mmap(2 * PAGE)
    app.touch(region)
    machine.drain()
    assert [machine.ksm.scan() for _ in range(3)] == [0, 0, 0]
    assert (machine.ksm.pages_shared, machine.ksm.pages_unshared, machine.ksm.nodes) == (0, 0, ())


def test_pages_of_two_tasks_merge(machine: pm.Machine, app: pm.Task) -> None:
    """Each has a place at the same node."""
    other = machine.spawn("other")
    regions = [task.mmap(PAGE) for task in (app, other)]
    for task, region in zip((app, other), regions, strict=True):
        task.madvise(region, pm.Advice.MERGEABLE)
        task.write(region.start, b"equal")
    machine.drain()
    while machine.ksm.scan(by=app):
        machine.check()
    assert app.page_at(regions[0].start) == other.page_at(regions[1].start)
    assert len({place.mm for node in machine.ksm.nodes for place in node.places}) == 2


def test_a_scan_can_be_started_as_a_call(machine: pm.Machine, app: pm.Task) -> None:
    """And is audited after every step."""
    region = app.mmap(2 * PAGE, flags=pm.VmFlags.MERGEABLE)
    app.touch(region)
    machine.drain()
    total = 0
    for _ in range(3):
        scan = machine.start(pm.calls.ksm_scan(), by=app)
        while not scan.done:
            scan.step()
            machine.check()
        total += scan.result
    assert (total > 0, machine.ksm.pages_shared) == (True, 1)


def test_handles_on_what_a_machine_merges_are_equal(machine: pm.Machine) -> None:
    """Of one machine, not of two."""
    assert machine.ksm == machine.ksm
    assert hash(machine.ksm) == hash(machine.ksm)
    assert machine.ksm != machine.clone().ksm
    assert machine.ksm != 7


def test_advice_that_makes_no_sense_is_refused(machine: pm.Machine, app: pm.Task) -> None:
    """Numbers, other people's regions; a hole is the kernel's ENOMEM."""
    region = app.mmap(2 * PAGE)
    other = machine.spawn()
    for ask in (
        lambda: app.madvise(region, 12),  # type: ignore[arg-type]
        lambda: app.madvise(region.start, pm.Advice.MERGEABLE),  # type: ignore[arg-type]
        lambda: other.madvise(region, pm.Advice.MERGEABLE),
    ):
        with pytest.raises(pm.UsageError):
            ask()
    app.munmap(region[0])
    with pytest.raises(OSError, match="madvise") as refused:
        app.madvise(region, pm.Advice.DONTFORK)
    assert refused.value.errno == errno.ENOMEM


def test_advice_about_forks_is_followed(app: pm.Task) -> None:
    """DONTFORK keeps an area from children, DOFORK gives it to them again."""
    region = app.mmap(PAGE)
    app.madvise(region, pm.Advice.DONTFORK)
    assert app.same(region) not in [app.same(each) for each in app.fork().regions]
    app.madvise(region, pm.Advice.DOFORK)
    assert app.same(region) in [app.same(each) for each in app.fork().regions]


def test_what_is_not_needed_goes(machine: pm.Machine, app: pm.Task) -> None:
    """DONTNEED: the next read finds zeroes."""
    region = app.mmap(2 * PAGE)
    app.write(region.start, b"gone")
    app.write(region[1].start, b"stays")
    app.madvise(region[0], pm.Advice.DONTNEED)
    assert app.nodes_of(region).tolist() == [-1, 0]
    assert (app.read(region.start, 4), app.read(region[1].start, 5)) == (bytes(4), b"stays")
    assert machine.audit() == []


def test_a_page_that_is_just_being_merged_for_the_first_time_is_unmerged_by_mremap() -> None:
    """Supporting-paths 6: the page is KSM's already, though no stable node is anywhere yet."""
    machine = pm.Machine(nodes=[64 * PAGE] * 2, contents=True)
    app = machine.spawn("app")
    heap = app.mmap(2 * PAGE, flags=[pm.VmFlags.MERGEABLE])
    for page in heap:
        app.write(page.start, b"same")
    machine.drain()
    scan = machine.start(pm.calls.ksm_scan(), by=machine.spawn("ksmd"))
    assert scan.run_until("SP16-insert")
    pfn = app.page_at(heap.start).pfn  # type: ignore[union-attr]
    assert machine.frame(pfn).owner.kind is pm.OwnerKind.KSM  # type: ignore[union-attr]
    move = machine.start(pm.calls.mremap(heap[:1], to=heap.start + 64 * PAGE), by=app)
    assert move.run_until("SP6-move")
    entry = app.entry_at(heap.start)
    assert entry.pfn is not None
    assert entry.writable
    assert machine.frame(entry.pfn).owner.kind is pm.OwnerKind.ANON  # type: ignore[union-attr]
    machine.run()
    machine.check()
