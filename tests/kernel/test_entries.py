"""What entries look like, bit by bit. Source: data-model 6.1, 6.3, 6.4."""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import finish, pfn_at, reach

PRESENT, WRITABLE, USER, ACCESSED, DIRTY, PROTNONE, SPECIAL = 1, 2, 4, 1 << 5, 1 << 6, 1 << 8, 1 << 9
NX = 1 << 63


def raw(task: pm.Task, page: pm.Region) -> int:
    """The bits of an entry."""
    return task.entry_at(page.start).raw


def test_an_empty_entry_is_all_zero(app: pm.Task) -> None:
    """Data-model 6.3: none, whether the table is there or not."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    assert raw(app, region[0]) == 0
    app.touch(region[0])
    entry = app.entry_at(region[1].start)
    assert (entry.raw, entry.kind) == (0, pm.EntryKind.NONE)


@pytest.mark.parametrize(("protection", "extra"), [(pm.RW, NX), (pm.RWX, 0)])
def test_a_written_page_is_writable_used_and_executable_only_on_request(
    app: pm.Task, protection: pm.Protection, extra: int
) -> None:
    """Data-model 6.1, 6.3: bits 0, 1, 2, 5, 6; bit 63 unless EXEC."""
    region = app.mmap(pm.PAGE_SIZE, protection=protection)
    app.touch(region)
    bits = PRESENT | WRITABLE | USER | ACCESSED | DIRTY
    assert raw(app, region) == extra | bits | pfn_at(app, region.start) << 12


@pytest.mark.parametrize(("protection", "extra"), [(pm.R, NX), (pm.RW, NX), (pm.RX, 0)])
def test_the_zero_page_is_special_and_read_only(app: pm.Task, protection: pm.Protection, extra: int) -> None:
    """Data-model 6.3: a private area's protection never has the write bit; bit 9 says special."""
    region = app.mmap(pm.PAGE_SIZE, protection=protection)
    app.touch(region, write=False)
    low = (1 << 12) - 1 | NX
    assert raw(app, region) & low == extra | PRESENT | USER | ACCESSED | SPECIAL
    assert app.entry_at(region.start).pfn is None


def test_an_entry_without_any_access_still_counts_as_present(app: pm.Task, page: pm.Region) -> None:
    """Data-model 6.3: bit 8 instead of bit 0; frame and dirty stay, kind is present."""
    app.mprotect(page, pm.NONE)
    entry = app.entry_at(page.start)
    assert (entry.kind, entry.pfn, entry.writable, entry.dirty) == (pm.EntryKind.PRESENT, 0, False, True)
    assert entry.raw & (PRESENT | PROTNONE) == PROTNONE
    assert app.page_at(page.start).mapcount == 1
    assert app.rss == 4


@pytest.mark.parametrize(("writable", "low"), [(True, 62), (False, 60)])
def test_a_migration_entry_is_the_frame_times_512_and_its_flavour(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, writable: bool, low: int
) -> None:
    """Data-model 6.4: type 31 (write) or 30 (read) in bits 1 to 5, the old frame from bit 9 upward."""
    if not writable:
        app.mprotect(heap[3], pm.R)
    pfn = pfn_at(app, heap[3].start)
    assert pfn == 3
    move = reach(machine, machine.start(pm.calls.move_pages(heap[3], 1), by=app), "UM-10")
    entry = app.entry_at(heap[3].start)
    assert entry.raw == pfn * 512 + low
    assert (entry.kind, entry.writable, entry.pfn) == (pm.EntryKind.MIGRATION, writable, pfn)
    assert entry.raw >> 1 & 31 == (31 if writable else 30)
    assert entry.raw & (PRESENT | PROTNONE | DIRTY) == 0
    finish(machine, move)


def test_loads_set_accessed_and_stores_dirty(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 2, the hardware model: on a restored entry, which has neither."""
    app.move_pages(page, 1)
    states = []
    for write in (None, False, True):
        if write is not None:
            assert app.touch(page, write=write).hits == 1
        entry = app.entry_at(page.start)
        states.append((entry.accessed, entry.dirty))
    assert states == [(False, False), (True, False), (True, True)]


def test_a_page_of_an_area_without_access_moves_like_any_other(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 6.3 with RP-6: the restored entry is PROT_NONE, without accessed."""
    app.mprotect(page, pm.NONE)
    assert app.move_pages(page, 1).tolist() == [1]
    assert raw(app, page) == PROTNONE | pfn_at(app, page.start) << 12
    app.mprotect(page, pm.RW)
    assert app.touch(page).sigsegv.size == 0
