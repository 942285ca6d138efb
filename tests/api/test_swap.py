"""Swap: pages that leave memory and come back, and reclaim that sends them."""

from __future__ import annotations

import pytest

import pagemig as pm

PAGE = pm.PAGE_SIZE


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 64 frames each with contents, one CPU, 16 slots of swap."""
    return pm.Machine(nodes=[64 * PAGE] * 2, cpus=1, contents=True, swap=16 * PAGE)


def on_its_way(machine: pm.Machine, task: pm.Task, region: pm.Region) -> pm.Call:
    """Begin to swap a page out, and stop while it is being written."""
    machine.drain()
    call = machine.start(pm.calls.swap_out(region.start), by=task)
    while call.step():
        machine.check()
    wait = call.waiting_for
    assert wait is not None
    assert (wait.lock, wait.holder) == ("writeback", None)
    assert wait.pfn == machine.pending_io[0].pfn
    return call


def test_a_page_goes_to_swap_and_comes_back_with_its_bytes(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 2.5, 11 and 12; the fault that brings it back is a major one."""
    region = app.mmap(2 * PAGE)
    app.write(region.start, b"first")
    app.write(region[1].start, b"second")
    free = machine.vmstat()["nr_free_pages"]
    machine.drain()
    assert app.swap_out(region) == 2
    assert machine.vmstat()["nr_free_pages"] == free + 2
    assert app.counters == pm.MemoryCounters(file=0, anon=0, swap=2)
    assert "VmSwap:\t       8 kB" in app.status().splitlines()
    assert app.nodes_of(region).tolist() == [-1, -1]
    assert app.move_pages(region).tolist() == [-2, -2]
    assert app.read(region[1].start, 6) == b"second"
    assert app.counters.swap == 1
    result = app.touch(region[0], write=False)
    assert (result.major, result.minor, result.hits) in ((1, 0, 0), (0, 1, 0))
    assert app.read(region.start, 5) == b"first"
    assert machine.audit() == []


def test_an_entry_names_its_slot(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 6.4 and 8: slot 0 is the header, so the first that is taken is 1."""
    region = app.mmap(PAGE)
    app.touch(region)
    assert app.entry_at(region.start).swap is None
    assert machine.swap == pm.SwapInfo(slots=16, free=16, cached=0)
    machine.drain()
    assert app.swap_out(region.start) == 1
    entry = app.entry_at(region.start)
    assert entry.swap == pm.SwapEntry(device=0, offset=1)
    assert (entry.raw, entry.pfn) == (1 << 9, None)
    assert machine.swap == pm.SwapInfo(slots=16, free=15, cached=0)
    assert machine.swap_slot(entry.swap) == pm.SwapSlot(uses=1, is_cached=False, is_shmem=False)
    app.fork()
    assert machine.swap_slot(entry.swap).uses == 2


def test_a_page_on_its_way_out_is_in_the_swap_cache(machine: pm.Machine, app: pm.Task) -> None:
    """Under writeback it belongs to swapper_space; a touch finds it there, without reading, and it stays."""
    region = app.mmap(PAGE)
    app.write(region.start, b"warm")
    call = on_its_way(machine, app, region)
    page = machine.frame(machine.pending_io[0].pfn)
    assert page.flags & pm.PageFlags.SWAPCACHE
    assert page.flags & pm.PageFlags.WRITEBACK
    assert machine.swap.cached == 1
    assert machine.swap_slot(pm.SwapEntry(0, 1)).is_cached
    result = app.touch(region, write=False)
    assert (result.minor, result.major) == (1, 0)
    machine.run()
    assert call.result is False
    assert app.read(region.start, 4) == b"warm"
    assert machine.audit() == []


def test_numa_maps_counts_pages_of_the_swap_cache(machine: pm.Machine, app: pm.Task) -> None:
    """numa(7): swapcache= before active=, writeback= behind it."""
    region = app.mmap(PAGE, at=0x400000)
    app.touch(region)
    on_its_way(machine, app, region)
    app.touch(region, write=False)
    line = app.numa_maps().splitlines()[0]
    assert line == "00400000 default anon=1 swapcache=1 active=0 writeback=1 N0=1"


def test_without_swap_nothing_anonymous_can_leave(app: pm.Task) -> None:
    """No slot: the page is activated and stays (supporting-paths 12)."""
    machine = pm.Machine(nodes=[64 * PAGE])
    app = machine.spawn()
    region = app.mmap(PAGE)
    app.touch(region)
    machine.drain()
    assert machine.swap == pm.SwapInfo(0, 0, 0)
    assert [app.swap_out(region) for _ in range(3)] == [0, 0, 0]
    assert app.nodes_of(region).tolist() == [0]


def test_a_clean_file_page_is_dropped(machine: pm.Machine, app: pm.Task) -> None:
    """Nothing has to be written; the next touch reads it again."""
    file = machine.create_file("data", PAGE)
    region = app.mmap(PAGE, file=file)
    app.touch(region, write=False)
    for _ in range(4):
        machine.drain()
        if app.swap_out(region):
            break
    assert (file.cached, app.nodes_of(region).tolist()) == (0, [-1])
    assert app.touch(region, write=False).major == 1


def test_reclaim_takes_from_the_tail_of_an_inactive_list(machine: pm.Machine, app: pm.Task) -> None:
    """It frees clean file pages that nobody used; the other family is left alone."""
    file = machine.create_file("data", 4 * PAGE)
    file.read(0, 4 * PAGE)
    machine.drain()
    assert machine.reclaim(0, 4, family=pm.PageFamily.ANON) == 0
    freed = sum(machine.reclaim(0, 2, family=pm.PageFamily.FILE) for _ in range(2))
    assert freed == 4 - file.cached
    assert freed > 0
    assert machine.reclaim(1, family=pm.PageFamily.FILE) == 0
    assert machine.audit() == []


def test_a_device_that_never_answers_keeps_what_was_sent_to_it(machine: pm.Machine, app: pm.Task) -> None:
    """``io_ticks=None``: the transfer has no end."""
    machine.set_swap_device(io_ticks=None)
    region = app.mmap(PAGE)
    app.touch(region)
    machine.drain()
    with pytest.raises(pm.UsageError, match="wait for writeback"):
        app.swap_out(region)
    assert app.nodes_of(region).tolist() == [0]
    call = on_its_way(machine, app, region)
    machine.advance(1_000_000)
    assert [transfer.due for transfer in machine.pending_io] == [None]
    with pytest.raises(pm.DeadlockError):
        call.run()


def test_a_congested_device_is_not_written_to(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 12: pageout refuses; the page waits in the swap cache."""
    machine.set_swap_device(congested=True)
    region = app.mmap(PAGE)
    app.touch(region)
    machine.drain()
    for _ in range(3):
        app.swap_out(region)
        machine.drain()
    assert machine.pending_io == ()
    assert machine.vmstat()["nr_writeback"] == 0


def test_swapping_can_be_started_as_a_call(machine: pm.Machine, app: pm.Task) -> None:
    """One address a call; reclaim by any task."""
    region = app.mmap(PAGE)
    app.touch(region)
    machine.drain()
    calls = [pm.calls.swap_out(region.start), pm.calls.reclaim(0, 4, family=pm.PageFamily.FILE)]
    started = [machine.start(call, by=app) for call in calls]
    machine.run()
    machine.check()
    assert [call.result for call in started] == [True, 0]


@pytest.mark.parametrize(
    ("swap", "words"),
    [
        (-PAGE, "swap is -4096"),
        (100, "0x0 or 0x1000 would be"),
        ("1MiB", "must be an integer"),
        ((1 << 27) * PAGE, "swap is 549755813888; it must be 0 to"),
    ],
)
def test_swap_space_that_cannot_be_is_refused(swap: object, words: str) -> None:
    """Whole pages, not too many."""
    with pytest.raises(pm.UsageError, match=words):
        pm.Machine(nodes=[pm.MiB], swap=swap)  # type: ignore[arg-type]


def test_slots_and_pages_that_do_not_exist_are_refused(machine: pm.Machine, app: pm.Task) -> None:
    """What is asked for must be there; nothing changes."""
    wrong = [
        lambda: machine.swap_slot(pm.SwapEntry(0, 0)),
        lambda: machine.swap_slot(pm.SwapEntry(0, 17)),
        lambda: machine.swap_slot(pm.SwapEntry(1, 1)),
        lambda: machine.swap_slot(1),  # type: ignore[arg-type]
        lambda: pm.SwapEntry(32, 1),
        lambda: pm.SwapEntry(0, -1),
        lambda: pm.SwapEntry.from_leaf("7"),  # type: ignore[arg-type]
        lambda: pm.SwapEntry.from_leaf(1 << 64),
        lambda: app.swap_out([1 << 47]),
        lambda: app.swap_out("heap"),
        lambda: machine.reclaim(7),
        lambda: machine.reclaim(0, 0),
        lambda: machine.reclaim(0, family="anon"),  # type: ignore[arg-type]
        lambda: machine.set_swap_device(congested=1),  # type: ignore[arg-type]
    ]
    region = app.mmap(PAGE)
    app.touch(region)
    machine.drain()
    wrong.append(lambda: app.swap_out([region.start, 1 << 47]))
    for ask in wrong:
        with pytest.raises(pm.UsageError):
            ask()
    assert machine.swap == pm.SwapInfo(16, 16, 0)


def test_swapping_out_several_pages_beside_a_call_reclaims_all_or_is_refused_with_nothing_done() -> None:
    """The second page's leaf is held by a call in flight: the first one stays, too."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, swap=16 * pm.PAGE_SIZE)
    app = machine.spawn()
    near = app.mmap(pm.PAGE_SIZE, at=0x10000000)
    far = app.mmap(pm.PAGE_SIZE, at=0x20000000)
    app.touch([near.start, far.start])
    machine.drain()
    move = machine.start(pm.calls.move_pages(far, 1), by=app)
    assert move.run_until("RP-6")
    before = machine.snapshot()
    with pytest.raises(pm.UsageError, match="would have to wait"):
        app.swap_out([near.start, far.start])
    assert machine.snapshot() == before
    machine.run()
    assert app.swap_out([near.start, far.start]) >= 1
    machine.check()
