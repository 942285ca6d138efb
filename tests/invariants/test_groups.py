"""Invariants 11, memory cgroups: I-100 to I-104, with the ledgers of Q17 and Q18 exact."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import pagemig as pm
from pagemig import filesystems
from tests.invariants.follow import Follower
from tests.invariants.recount import Recount
from tests.invariants.situations import EXACT, KINDS, PAGE, REPAIRED, fill, leave_shmem_in_swap, new_machine

profiles = pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])


def payers(now: Recount, number: int | None) -> list[int]:
    """A group and those above it."""
    found = []
    while number is not None:
        found.append(number)
        number = now.groups[number][0]
    return found


def assert_charged(now: Recount, leaked: int = 0) -> None:
    """I-100 to I-102: usage is the number of charged frames; none of them is free but those that leaked."""
    used = Counter(payer for record in now.charged.values() for payer in payers(now, record.owner))
    for number, (parent, usage, limit) in now.groups.items():
        if parent is None:
            assert (usage, limit) == (0, None), "the root's is not kept"
            continue
        assert usage == used[number] * PAGE
        assert limit is None or usage <= limit
        statistics = now.statistics[number]
        mine = [pfn for pfn, record in now.charged.items() if record.owner == number]
        assert statistics.cache + statistics.rss == len(mine) * PAGE
    assert len(set(now.charged) & now.idle) == leaked
    assert sum(by for (name, _), by in now.drift.items() if name == "charge") == leaked


def mapped_files(now: Recount) -> Counter[int]:
    """The mapped charged file pages of each group."""
    return Counter(
        record.owner
        for pfn, record in now.charged.items()
        if now.frames[pfn].mapcount > 0 and not now.is_anon(pfn)
    )


def assert_mapped(now: Recount, lost: int = 0) -> None:
    """I-104: the statistic of each group, less the migrations of such pages."""
    found = mapped_files(now)
    for number, statistics in now.statistics.items():
        drift = now.drift["mapped_file", number]
        assert statistics.mapped_file == (found[number] + drift) * PAGE
    assert sum(by for (name, _), by in now.drift.items() if name == "mapped_file") == -lost


class Paying(pm.Machine):
    """A machine whose tasks belong to the group "paying", unless they are told otherwise."""

    __slots__ = ()

    def spawn(self, name: str = "task", **options: Any) -> pm.task.Task:
        """See `pagemig.Machine.spawn`."""
        return super().spawn(name, **{"memcg": self.memcg("paying"), **options})


@pytest.fixture
def group(machine: pm.Machine) -> pm.Memcg:
    """A group of eight pages within one of twelve; the first, so that everything is charged from here on."""
    return machine.create_memcg(
        "inner", limit=8 * PAGE, parent=machine.create_memcg("outer", limit=12 * PAGE)
    )


@pytest.fixture
def payer(machine: pm.Machine, group: pm.Memcg) -> pm.Task:
    """A task of the group."""
    return machine.spawn("payer", stack=False, memcg=group)


@pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])
@pytest.mark.parametrize("kind", KINDS)
def test_charges_add_up_after_migrations_of_every_kind(profile: pm.Profile, kind: str) -> None:
    """I-100 to I-102, I-104: in a group that has room, and nothing leaks; mapped files are lost by Q17."""
    machine = new_machine(profile, kind=Paying)
    machine.create_memcg("paying", limit=16 * PAGE)
    stage = KINDS[kind](machine)
    machine.drain()
    before = Recount(machine)
    assert_charged(before)
    files = {
        pfn for pfn in stage.pfns if pfn in before.charged and before.ptes[pfn] and not before.is_anon(pfn)
    }
    call = machine.start(stage.call, by=stage.by)
    while not call.done:
        if not call.step():
            assert machine.complete_io()
    moved = {pfn for pfn in files if pfn not in Recount(machine).slot}
    for _ in range(2):
        assert_charged(Recount(machine))
        assert_mapped(Recount(machine), lost=len(moved) if profile is EXACT else 0)
        machine.drain()


def test_what_is_charged_is_charged_upwards(machine: pm.Machine, payer: pm.Task, group: pm.Memcg) -> None:
    """I-100, I-102: faults, page cache, fork, swap-out, exit; both groups, at the end of each."""
    file = machine.create_file("data", 2 * PAGE)
    heap, view = payer.mmap(3 * PAGE), payer.mmap(2 * PAGE, file=file)
    for what in (
        pm.calls.touch(heap),
        pm.calls.touch(view, write=False),
        pm.calls.touch(view[0]),
        pm.calls.fork("child"),
        pm.calls.touch(heap[0]),
        pm.calls.swap_out(heap[1].start),
        pm.calls.truncate(file, PAGE),
        pm.calls.munmap(heap[2]),
        pm.calls.exit(),
    ):
        machine.drain()
        machine.start(what, by=payer).run()
        assert_charged(Recount(machine))
        assert_mapped(Recount(machine))
    assert group.usage > 0, "the child has its share"
    for task in machine.tasks:
        task.exit()
    file.truncate(0)
    machine.drain()
    now = Recount(machine)
    assert_charged(now)
    assert (group.usage, now.charged) == (0, {})


def test_usage_never_exceeds_the_limit_at_any_step(
    machine: pm.Machine, payer: pm.Task, group: pm.Memcg
) -> None:
    """I-102: a task that wants more than all of it is refused, and a move at the limit, too (S39)."""
    heap = payer.mmap(10 * PAGE)
    touch = machine.start(pm.calls.touch(heap), by=payer)
    most = 0
    while not touch.done:
        assert touch.step()
        assert group.usage <= 8 * PAGE
        most = max(most, group.usage)
    assert most == 8 * PAGE
    assert isinstance(touch.error, pm.OutOfMemoryError)
    machine.drain()
    move = machine.start(pm.calls.move_pages(heap[:2], 1), by=payer)
    while not move.done:
        assert move.step()
        assert group.usage == 8 * PAGE
    assert isinstance(move.error, OSError)
    assert_charged(Recount(machine))


@profiles
@pytest.mark.parametrize("sort", ["anonymous", "unmapped", "file", "pinned", "swap cache", "writeback"])
def test_an_attempt_costs_nothing_in_the_end(
    machine: pm.Machine, payer: pm.Task, group: pm.Memcg, sort: str
) -> None:
    """I-103: after UM-14 usage is what it was before UM-5, less one if nobody maps the page any more."""
    area = payer.mmap(PAGE)
    if sort in ("file", "writeback"):
        file = machine.create_file("data", PAGE)
        area = payer.mmap(PAGE, file=file, shared=True)
    fill(machine, payer, area)
    if sort == "writeback":
        file.writeback(0)
    if sort == "swap cache":
        payer.swap_out(area)
        payer.touch(area, write=False)
        machine.drain()
    if sort == "pinned":
        payer.pin(area.start)
    (leaf,) = Recount(machine).mapped
    by = machine.spawn("mover", stack=False)
    move = machine.start(pm.calls.migrate_frames([leaf.entry.pfn or 0], pm.ToNode(1)), by=by)
    mover = Follower(machine, move)
    attempts = 0
    while not move.done and attempts < 3:
        mover.run_until("UM-5")
        before = group.usage
        mover.step()
        assert group.usage == before + PAGE or sort == "writeback"
        if sort == "unmapped":
            mover.run_until("MM-1")
            payer.munmap(area)
        mover.run_until("UM-16")
        assert group.usage == before - (PAGE if sort == "unmapped" else 0)
        attempts += 1
        if sort not in ("pinned", "writeback"):
            break
    machine.complete_io()
    mover.finish()
    assert_charged(Recount(machine))


# Q18 --------------------------------------------------------------------------------------


@profiles
def test_a_page_truncated_in_writeout_leaves_its_charge_behind(
    machine: pm.Machine, payer: pm.Task, group: pm.Memcg, profile: pm.Profile
) -> None:
    """I-100, I-101, I-103, Q18, S26: the discarded frame is charged and freed; the ledger says one."""
    kind = pm.FileSystem("plain")
    file = machine.create_file("data", PAGE, filesystem=kind)
    area = payer.mmap(PAGE, file=file, shared=True)
    (pfn,) = fill(machine, payer, area)
    by, cutter = (machine.spawn(name, stack=False) for name in ("mover", "cutter"))
    move = machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1)), by=by)
    mover = Follower(machine, move).run_until("WO-5")
    cut = machine.start(pm.calls.truncate(file, 0), by=cutter)
    while cut.step():
        pass
    assert machine.complete_io()
    while not cut.done:
        assert cut.step()
    mover.finish()
    leaked = int(profile is EXACT)
    machine.drain()
    assert_charged(Recount(machine), leaked=leaked)
    assert (group.usage, machine.frame(pfn).count) == (leaked * PAGE, 0)
    payer.exit()
    machine.drain()
    assert_charged(Recount(machine), leaked=leaked)


@profiles
def test_a_shmem_page_in_the_swap_cache_leaks_with_every_failure(
    machine: pm.Machine, payer: pm.Task, group: pm.Memcg, profile: pm.Profile
) -> None:
    """I-100, I-101, Q18: its `mapping` is null all along; three failures, three charges in EXACT."""
    pfn = leave_shmem_in_swap(machine, payer)
    assert set(Recount(machine).charged) == {pfn}
    kernel = machine.spawn("kworker", kernel_thread=True)
    look = machine.start(pm.calls.touch(payer.mmap(PAGE, file=machine.file("shared")), write=False), by=payer)
    while machine.frame(pfn).count == 1:
        assert look.step()
    move = machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1)), by=kernel)
    mover = Follower(machine, move)
    for attempt in range(1, 4):
        mover.run_until("UM-18").step()
        assert group.usage == (1 + (attempt if profile is EXACT else 0)) * PAGE
    while machine.calls:
        for call in machine.calls:
            call.step()
    machine.drain()
    drift = Recount(machine).drift["charge", group.number]
    assert drift >= 3 if profile is EXACT else drift == 0
    assert_charged(Recount(machine), leaked=drift)


# Q17 --------------------------------------------------------------------------------------


@profiles
def test_the_mapped_file_statistic_loses_every_page_that_moves(
    machine: pm.Machine, payer: pm.Task, profile: pm.Profile
) -> None:
    """I-104, Q17: two of three move, back and forth: four in EXACT; a failed attempt loses none."""
    file = machine.create_file("data", 3 * PAGE, filesystem=filesystems.EXT)
    view = payer.mmap(3 * PAGE, file=file, shared=True)
    payer.touch(view, write=False)
    machine.drain()
    assert_mapped(Recount(machine))
    lost = 0
    for node in (1, 0):
        assert payer.move_pages(view[:2], node).tolist() == [node] * 2
        lost += 2 if profile is EXACT else 0
        machine.drain()
        assert_mapped(Recount(machine), lost=lost)
    pfn = file.lookup(2, by=payer)
    assert pfn is not None
    assert payer.move_pages(view[2], 1).tolist() == [-11]
    assert_mapped(Recount(machine), lost=lost)
    payer.unpin(pfn)
    payer.munmap(view)
    assert_mapped(Recount(machine), lost=lost)
    assert payer.memcg.statistics.mapped_file == -lost * PAGE
