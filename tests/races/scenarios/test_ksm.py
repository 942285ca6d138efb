"""Pages that KSM takes, or has taken, while they are moved: S35 and S36 of the concurrency page.

Every step is audited. Pages 0 and 1 of ``app`` are equal and on frames 0 and 1; a scan takes frame 1 over and
lets page 0 map it, too.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest

import pagemig as pm
from tests.races.stage import SHARED, finish, free_frames, step, until, waits

PAGE = pm.PAGE_SIZE
KSM, ANON = pm.OwnerKind.KSM, pm.OwnerKind.ANON
MIGRATION, PRESENT = pm.EntryKind.MIGRATION, pm.EntryKind.PRESENT


@dataclass(frozen=True)
class Merging:
    """Two equal pages that may be merged."""

    machine: pm.Machine
    app: pm.Task
    other: pm.Task
    """Somebody without memory."""
    pair: pm.Region

    def mover(self, *, offlining: bool = False) -> pm.Call:
        """Start a move of frame 1 to node 1, through nobody's mm."""
        what = pm.calls.migrate_frames([1], pm.ToNode(1), offlining=offlining)
        return self.machine.start(what, by=self.other)

    def scan(self) -> pm.Call:
        """Start a pass of KSM."""
        return self.machine.start(pm.calls.ksm_scan(), by=self.other)

    def counts(self, pfn: int) -> tuple[int, int]:
        """Count and map count of a frame."""
        frame = self.machine.frame(pfn)
        return frame.count, frame.mapcount

    def owner(self, pfn: int) -> pm.OwnerKind | None:
        """What a frame belongs to."""
        owner = self.machine.frame(pfn).owner
        return None if owner is None else owner.kind


def equal_pages(*, merged: bool = False, nodes: tuple[int, ...] = (64, 64)) -> Merging:
    """Equal pages, and if ``merged`` one page of KSM on frame 1 with map count 2."""
    machine = pm.Machine(
        nodes=[frames * PAGE for frames in nodes], cpus=1, contents=True, pageblock_frames=16
    )
    app, other = (machine.spawn(name, stack=False) for name in ("app", "other"))
    pair = app.mmap(2 * PAGE)
    app.madvise(pair, pm.Advice.MERGEABLE)
    for page in pair:
        app.write(page.start, b"same")
    machine.drain()
    if merged:
        assert machine.ksm.scan() == 1
        machine.drain()
        assert [app.entry_at(page.start).pfn for page in pair] == [1, 1]
    return Merging(machine, app, other, pair)


@pytest.mark.parametrize("label", ["MP-2", "UM-3"])
@pytest.mark.parametrize("through", ["move_pages", "frames"])
def test_s35_a_page_that_ksm_takes_between_isolation_and_lock_is_refused(through: str, label: str) -> None:
    """S35, UM-4: read-only everywhere after a fork, so its extra reference does not protect it at Y01 to Y03:
    -EBUSY in the first pass: unlocked, unlinked, put back; counted in the positive result.
    """
    stage = equal_pages()
    stage.app.fork("child")
    if through == "frames":
        mover = stage.mover()
    else:
        what = pm.calls.move_pages([stage.pair[1].start], 1, target=stage.app, scope=SHARED)
        mover = stage.machine.start(what, by=stage.other)
    until(stage, mover, label)
    assert (stage.owner(1), stage.counts(1)) == (ANON, (3, 2))
    scan = stage.scan()
    finish(stage, scan)
    assert (scan.result, stage.owner(1), stage.counts(1)) == (2, KSM, (5, 4))
    until(stage, mover, "UM-4")
    assert pm.PageFlags.LOCKED in stage.machine.frame(1).flags
    until(stage, mover, "UM-17")
    assert pm.PageFlags.LOCKED not in stage.machine.frame(1).flags
    assert stage.machine.zone_counters(0)["nr_isolated_anon"] == 0
    finish(stage, mover)
    assert mover.history.count("UM-3") == 1
    if through == "frames":
        assert (mover.result.statuses.tolist(), mover.result.not_migrated) == ([-errno.EBUSY], 1)
    else:
        assert mover.result.tolist() == [-errno.EBUSY]
    stage.machine.drain()
    assert (stage.counts(1), free_frames(stage, 1)) == ((4, 4), 64)


def test_s35_a_writable_page_cannot_be_taken_while_it_is_isolated() -> None:
    """S35: KSM's count test fails: one reference too many; the page moves, and is merged later."""
    stage = equal_pages()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    scan = stage.scan()
    finish(stage, scan)
    assert (scan.result, stage.machine.ksm.nodes, stage.owner(1)) == (0, (), ANON)
    assert stage.app.entry_at(stage.pair[1].start).writable
    finish(stage, mover)
    assert mover.result.statuses.tolist() == [1]
    stage.machine.drain()
    assert stage.machine.ksm.scan() == 1


def test_s36_the_entries_of_a_ksm_page_follow_its_items_in_two_rounds() -> None:
    """S36: UM-9 walks the stable node's items, newest first, own mm first; all PTEs become read entries; MC-7
    sets the node's frame before MC-9 clears ``mapping``; RP maps the new page in all; it keeps the tag.
    """
    stage = equal_pages(merged=True)
    child = stage.app.fork("child")
    family = [(task, page.start) for task in (stage.app, child) for page in stage.pair]
    (node,) = stage.machine.ksm.nodes
    mover = stage.mover(offlining=True)
    until(stage, mover, "UM-9")
    seen: dict[pm.EntryKind, list[int]] = {MIGRATION: [], PRESENT: []}
    before = [task.entry_at(address) for task, address in family]
    while not mover.done:
        assert step(stage, mover)
        now = [task.entry_at(address) for task, address in family]
        for at, (old, new) in enumerate(zip(before, now, strict=True)):
            if old.kind is not new.kind:
                seen[new.kind].append(at)
            assert not new.writable
            assert new.kind is PRESENT or new.pfn == 1
        before = now
        (follows,) = stage.machine.ksm.nodes
        assert (follows.number, follows.places) == (node.number, node.places)
        assert (follows.pfn == 1) is (stage.owner(1) is KSM)
        assert stage.owner(follows.pfn) is KSM
    assert seen == {MIGRATION: [1, 0, 3, 2], PRESENT: [1, 0, 3, 2]}
    assert mover.result.statuses.tolist() == [1]
    (new,) = {entry.pfn for entry in before}
    stage.machine.drain()
    assert (stage.counts(new), stage.machine.frame(new).node, stage.counts(1)) == ((4, 4), 1, (0, 0))
    assert (stage.machine.ksm.pages_shared, stage.machine.ksm.pages_sharing) == (1, 1)
    assert {task.read(address, 4) for task, address in family} == {b"same"}


def test_s36_a_place_that_has_no_item_yet_is_not_found_and_the_page_stays() -> None:
    """S36: items of an mm that exited are forgotten, those of the copies not known yet: still mapped: -EAGAIN
    each pass, with the entries that were found restored.
    """
    stage = equal_pages(merged=True)
    child = stage.app.fork("child")
    stage.app.exit()
    stage.machine.drain()
    scan = stage.machine.start(pm.calls.ksm_scan(), by=child)
    assert scan.step()
    while len(stage.machine.ksm.nodes[0].places) != 1 or scan.at != "SP16-follow":
        assert step(stage, scan)
    assert stage.counts(1) == (2, 2)
    mover = stage.mover(offlining=True)
    until(stage, mover, "UM-11")
    kinds = [child.entry_at(page.start).kind for page in stage.pair]
    assert (sorted(kinds, key=str), stage.counts(1)) == (sorted([MIGRATION, PRESENT], key=str), (2, 1))
    finish(stage, mover)
    assert mover.result.statuses.tolist() == [-errno.EAGAIN]
    assert (mover.result.passes, "MN-4" in mover.history) == (10, False)
    finish(stage, scan)
    stage.machine.drain()
    again = stage.mover(offlining=True)
    finish(stage, again)
    assert again.result.statuses.tolist() == [1]
    assert child.read(stage.pair.start, 4) == b"same"


def test_s36_a_page_without_a_stable_node_is_found_nowhere() -> None:
    """S36: upgraded, not in the tree yet: SWAP_FAIL, still mapped: -EAGAIN each pass, no entry touched."""
    stage = equal_pages()
    scan = stage.scan()
    until(stage, scan, "SP16-insert")
    assert (stage.machine.ksm.nodes, stage.owner(1)) == ((), KSM)
    unmaps = stage.machine.cost["unmaps"]
    mover = stage.mover(offlining=True)
    finish(stage, mover)
    assert mover.result.statuses.tolist() == [-errno.EAGAIN]
    assert (mover.result.passes, stage.machine.cost["unmaps"]) == (10, unmaps)
    assert "MN-4" not in mover.history
    finish(stage, scan)
    assert stage.app.read(stage.pair.start, 4) == b"same"


def test_s36_whoever_takes_memory_offline_keeps_the_scanner_out() -> None:
    """S36, syscalls 7: the mutex is held from step 3 to step 9, so no scanner sees node and frame disagree;
    the node leaves the range with its page.
    """
    stage = equal_pages(merged=True)
    offline = stage.machine.start(pm.calls.offline(0, 16), by=stage.other)
    scan = stage.machine.start(pm.calls.ksm_scan(), by=stage.app)
    until(stage, offline, "UM-3")
    wait = waits(stage, scan)
    assert (wait.lock, wait.holder) == ("ksm_thread_mutex", offline.number)
    until(stage, offline, "SY7-9")
    assert scan.waiting_for == wait
    finish(stage, offline)
    assert (offline.result, scan.waiting_for) == (None, None)
    finish(stage, scan)
    (node,) = stage.machine.ksm.nodes
    assert not 0 <= node.pfn < 16
    assert {stage.app.entry_at(page.start).pfn for page in stage.pair} == {node.pfn}
