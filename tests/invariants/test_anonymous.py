"""Invariants 8, anonymous memory and the reverse map: I-70 to I-77."""

from __future__ import annotations

import pytest

import pagemig as pm
from tests.invariants.follow import Follower
from tests.invariants.recount import MIGRATION, PRESENT, F, Recount
from tests.invariants.situations import KINDS, PAGE, SHARED, fill, leave_in_swap, merged, steps

every_kind = pytest.mark.parametrize("kind", KINDS)
KSM = pm.OwnerKind.KSM


def assert_found(now: Recount) -> None:
    """I-70, I-71: walking from the page leads to each of its entries."""
    for leaf in now.mapped:
        pfn = leaf.entry.pfn
        assert pfn is not None
        owner = now.frames[pfn].owner
        assert owner is not None, f"{pfn} is mapped and belongs to nothing"
        if owner.kind is not KSM:
            assert leaf.key in now.walk(pfn)


def live_lists(now: Recount) -> set[int]:
    """The anon_vmas that some area is on."""
    return {link for areas in now.areas.values() for area in areas for link in area.anon_vmas}


def assert_merged(now: Recount) -> None:
    """I-72, I-76, I-77: entries of a merged page are read-only and found; nodes and places are counted."""
    nodes = {node.number: node for node in now.ksm_nodes}
    for leaf in (*now.mapped, *now.entries):
        owner = now.frames[leaf.entry.pfn or 0].owner
        if owner is None or owner.kind is not KSM or owner.id not in nodes:
            continue
        assert not leaf.entry.writable
        assert leaf.address in {place.address for place in nodes[owner.id].places}
    for node in now.ksm_nodes:
        owner = now.frames[node.pfn].owner
        is_stale = owner is None or (owner.kind, owner.id) != (KSM, node.number)
        assert is_stale <= (node.pfn in now.idle), "a node names its page, or the page was freed"
    with_places = [node for node in now.ksm_nodes if node.places]
    sharing = sum(len(node.places) - 1 for node in with_places)
    assert now.ksm == (len(with_places), sharing)


@every_kind
def test_every_entry_is_found_from_its_page(kind: str) -> None:
    """I-70, I-71: anonymous pages by their anon_vma, pages of files by ``i_mmap``, at every step."""
    for now in steps(kind):
        assert_found(now)


@every_kind
def test_a_mapped_anonymous_page_points_to_a_live_list(kind: str) -> None:
    """I-73: at every step; also after Q14 has re-pointed it to the oldest list."""
    for now in steps(kind):
        for leaf in now.mapped:
            owner = now.frames[leaf.entry.pfn or 0].owner
            if owner is not None and owner.kind is pm.OwnerKind.ANON:
                assert owner.id in live_lists(now)


def test_an_unmapped_page_may_point_to_a_list_that_is_gone(machine: pm.Machine) -> None:
    """I-73, Q26, S46: a page of the swap cache that outlives its mm: a walk finds nothing, and it moves."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(PAGE)
    pfn = leave_in_swap(machine, app, area)
    owner = machine.frame(pfn).owner
    assert owner is not None
    assert owner.id in live_lists(Recount(machine))
    app.exit()
    while machine.complete_io():
        pass
    machine.drain()
    now = Recount(machine)
    assert (now.frames[pfn].owner, now.frames[pfn].mapcount) == (owner, 0)
    assert F.SWAPCACHE in now.frames[pfn].flags
    assert (live_lists(now), now.walk(pfn)) == (set(), [])
    result = machine.migrate_pages([pfn], pm.ToNode(0))
    assert result.statuses.tolist() == [0]


def test_a_child_comes_behind_its_parent_in_every_list(machine: pm.Machine, app: pm.Task) -> None:
    """I-74: entries are replaced and restored in the order of the list: parent, child, its child, late child.

    The links of each area are those of its parent behind one of its own, so the last is the oldest.
    """
    area = app.mmap(PAGE)
    fill(machine, app, area)
    child = app.fork("child")
    family = [app, child, child.fork("grandchild"), app.fork("late")]
    (oldest,) = app.vmas[0].anon_vmas
    links = [task.vmas[0].anon_vmas for task in family]
    assert [each[-1] for each in links] == [oldest] * 4
    assert links[1][1:] == links[0] == links[3][1:]
    assert links[2][1:] == links[1]
    call = machine.start(pm.calls.move_pages(area, 1, scope=SHARED), by=app)
    orders: dict[pm.EntryKind, list[int]] = {MIGRATION: [], PRESENT: []}
    before = {task.pid: PRESENT for task in family}
    while not call.done:
        call.step()
        for task in family:
            kind = task.entry_at(area.start).kind
            if kind is not before[task.pid]:
                orders[kind].append(task.pid)
            before[task.pid] = kind
    assert orders == {kind: [task.pid for task in family] for kind in orders}


def test_a_child_comes_behind_the_areas_of_its_parents_group(machine: pm.Machine, app: pm.Task) -> None:
    """I-74, data-model 7.2: the same for files: right behind the parent, before whoever mapped it later."""
    file = machine.create_file("data", PAGE)
    area = app.mmap(PAGE, file=file, shared=True)
    other = machine.spawn("other", stack=False)
    elsewhere = other.mmap(PAGE, file=file, shared=True)
    child = app.fork("child")
    assert [each.task for each in file.areas] == [app.pid, other.pid, child.pid]
    small = app.mmap(2 * PAGE, file=file, shared=True)
    second = other.fork("second")
    tasks = [each.task for each in file.areas]
    assert tasks.index(second.pid) > tasks.index(other.pid)
    assert len({area, elsewhere, small}) == 3


@every_kind
def test_a_writable_private_leaf_is_alone(kind: str) -> None:
    """I-75: at rest it names an anonymous page with map count 1."""
    writable = 0
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        for leaf in now.mapped:
            flags = leaf.area.flags
            is_private = pm.VmFlags.MAYWRITE in flags and pm.VmFlags.SHARED not in flags
            if is_private and leaf.entry.writable:
                writable += 1
                frame = now.frames[leaf.entry.pfn or 0]
                assert now.is_anon(frame.pfn)
                assert frame.mapcount == now.ptes[frame.pfn] == 1
    if kind in ("anonymous", "locked", "pinned", "charged", "offlined"):
        assert writable >= 3


def test_sharing_takes_the_write_bit_away(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """I-75: fork shares the page read-only; a move in between changes nothing; a store copies."""
    assert app.entry_at(page.start).writable
    child = app.fork("child")
    app.move_pages(page, 1, scope=SHARED)
    for leaf in Recount(machine).mapped:
        assert not leaf.entry.writable
    child.write(page.start, b"own")
    now = Recount(machine)
    assert {leaf.pid: (leaf.entry.writable, now.ptes[leaf.entry.pfn]) for leaf in now.mapped} == {
        app.pid: (False, 1),
        child.pid: (True, 1),
    }


# KSM --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["merged", "refused"])
def test_a_merged_page_is_read_only_and_found_at_every_step(kind: str) -> None:
    """I-72, I-76, I-77: MC-7 and MC-9 fall into one step, so that the node never names another page."""
    for now in steps(kind):
        assert_merged(now)
        assert now.ksm == (1, 2)
    if kind == "merged":
        assert {now.ents[now.holds.old] for now in steps(kind)} == {0, 1, 2, 3}, "the walk finds all three"


def test_merging_and_coming_apart_keep_the_books(machine: pm.Machine, app: pm.Task) -> None:
    """I-72, I-76, I-77: at every step of scans, of a store, of unmerging."""
    area = app.mmap(4 * PAGE)
    app.madvise(area, pm.Advice.MERGEABLE)
    for page in area:
        app.write(page.start, b"same")
    machine.drain()
    seen = set()
    calls: list[pm.call.CallValue] = [
        *[pm.calls.ksm_scan()] * 3,
        pm.calls.write(area.start, b"other"),
        pm.calls.munmap(area[3]),
        pm.calls.madvise(area[:3], pm.Advice.UNMERGEABLE),
    ]
    for what in calls:
        call = machine.start(what, by=app)
        while not call.done:
            assert call.step()
            now = Recount(machine)
            if not {"SP16-append", "SP16-insert", "SP16-leave"} & set(call.labels):
                seen.add(now.ksm)
            assert all(
                not leaf.entry.writable
                for leaf in now.mapped
                if (owner := now.frames[leaf.entry.pfn or 0].owner) is not None and owner.kind is KSM
            )
        machine.drain()
        assert_merged(Recount(machine))
    assert max(seen) == (1, 3)
    while machine.ksm.scan():
        machine.drain()
    assert Recount(machine).ksm == (0, 0), "a scan notices that nothing is merged any more"


def test_a_stale_node_is_removed_when_it_is_looked_at(machine: pm.Machine) -> None:
    """I-76: its page was freed; the next scan that meets it removes it."""
    merged(machine)
    for task in machine.tasks:
        task.exit()
    machine.drain()
    now = Recount(machine)
    assert_merged(now)
    (node,) = now.ksm_nodes
    assert (node.pfn in now.idle, node.number) == (True, 0)
    app = machine.spawn("fresh", stack=False)
    area = app.mmap(2 * PAGE)
    app.madvise(area, pm.Advice.MERGEABLE)
    for page in area:
        app.write(page.start, b"same")
    machine.drain()
    while machine.ksm.scan():
        machine.drain()
    now = Recount(machine)
    assert_merged(now)
    assert [len(each.places) for each in now.ksm_nodes] == [2]


def test_a_child_of_a_place_is_found_by_the_second_round(machine: pm.Machine) -> None:
    """I-72: fork copies the leaf of a place; its ancestor's item leads to it; all move together."""
    stage = merged(machine)
    child = stage.app.fork("child")
    assert_merged(Recount(machine))
    result = machine.migrate_pages(stage.pfns, pm.ToNode(1), offlining=True)
    assert result.statuses.tolist() == [1]
    now = Recount(machine)
    assert_merged(now)
    (pfn,) = now.ptes
    assert now.ptes[pfn] == 5
    assert {leaf.entry.pfn for leaf in now.mapped if leaf.pid == child.pid} == {pfn}


def test_a_parent_outside_the_list_of_the_place_is_not_found(machine: pm.Machine, app: pm.Task) -> None:
    """I-72: the exception: the child's place holds the child's own list, on which the parent is not.

    So offlining cannot unmap the page: ten attempts, -EAGAIN, all entries as they were.
    """
    area = app.mmap(2 * PAGE)
    for page in area:
        app.write(page.start, b"same")
    machine.drain()
    child = app.fork("child")
    child.madvise(child.same(area), pm.Advice.MERGEABLE)
    while machine.ksm.scan():
        machine.drain()
    (node,) = machine.ksm.nodes
    assert {place.address for place in node.places} == {page.start for page in area}
    mappers = {leaf.pid for leaf in Recount(machine).mapped if leaf.entry.pfn == node.pfn}
    assert mappers == {app.pid, child.pid}
    before = {leaf.key: leaf.entry.pfn for leaf in Recount(machine).mapped}
    result = machine.migrate_pages([node.pfn], pm.ToNode(1), offlining=True)
    assert (result.statuses.tolist(), result.attempts.tolist()) == ([-11], [10])
    assert {leaf.key: leaf.entry.pfn for leaf in Recount(machine).mapped} == before
    machine.drain()


# with others in the way -------------------------------------------------------------------


@pytest.mark.parametrize("label", ["UM-3", "UM-9", "MM-1", "MC-1", "MN-4", "RP-4", "MN-5", "UM-16"])
def test_entries_are_found_when_a_mapper_forks_in_the_window(machine: pm.Machine, label: str) -> None:
    """I-70, I-73, S20, S21: at this point of an attempt; then both step in turn."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(PAGE)
    fill(machine, app, area)
    child = app.fork("child")
    call = machine.start(pm.calls.move_pages(area, 1, scope=SHARED), by=app)
    mover = Follower(machine, call).run_until(label)
    fork = machine.start(pm.calls.fork("grandchild"), by=child)
    while machine.calls:
        for step in (mover.step, fork.step):
            if not (mover.call if step == mover.step else fork).done:
                step()
        assert_found(Recount(machine, mover.holds()))
    now = Recount(machine)
    assert len(now.mapped) == 3
    assert {now.frames[leaf.entry.pfn or 0].node for leaf in now.mapped} == {1}
