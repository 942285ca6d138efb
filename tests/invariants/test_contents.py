"""Invariants 12, contents: I-110 to I-114.

The shadow of the specification is a copy of what each address held before; stores of the tests update it.
"""

from __future__ import annotations

import dataclasses

import pytest

import pagemig as pm
from pagemig import filesystems
from tests.invariants.follow import Follower
from tests.invariants.recount import F, Leaf, Recount
from tests.invariants.situations import KINDS, PAGE, SHARED, fill, steps

every_kind = pytest.mark.parametrize("kind", KINDS)
Shadow = dict[tuple[int, int], bytes]


def content(now: Recount, leaf: Leaf) -> bytes:
    """What a load through a leaf would return once it completes.

    A migration entry leads to the page that is being moved, or to the new page once that was copied. A
    slot leads to the new page from MM-9 on, whose lock keeps loads waiting until it was copied (W7).
    """
    pfn = leaf.entry.pfn
    if pfn == now.holds.old and leaf.entry.kind is pm.EntryKind.MIGRATION and "MC-1" in now.holds.made:
        pfn = now.holds.new
    if leaf.entry.swap is not None:
        pfn = next(slot.pfn for slot in now.slots if (slot.mapping, slot.index) == (0, leaf.entry.swap.value))
    if pfn == now.holds.new and "MC-1" not in now.holds.made:
        pfn = now.holds.old
    assert pfn is not None
    return now.bytes[pfn]


def contents(now: Recount) -> Shadow:
    """The same of every leaf, but those whose page is on disk alone."""
    cached = {slot.index for slot in now.slots if slot.mapping == 0}
    return {
        leaf.key: content(now, leaf)
        for leaf in now.leaves
        if leaf.entry.swap is None or leaf.entry.swap.value in cached
    }


def is_dirty(now: Recount, leaf: Leaf) -> bool:
    """Whether the page behind a leaf is known to be dirty, by its flag or by one of its leaves."""
    if leaf.entry.swap is not None:
        pages = [slot.pfn for slot in now.slots if (slot.mapping, slot.index) == (0, leaf.entry.swap.value)]
    else:
        pages = [leaf.entry.pfn or 0]
    if now.holds.old in pages and "MC-5" in now.holds.made:
        pages = [now.holds.new or 0]
    by_leaf = any(other.entry.dirty for other in now.mapped if other.entry.pfn in pages)
    return by_leaf or any(F.DIRTY in now.frames[pfn].flags for pfn in pages)


@every_kind
def test_migration_changes_no_content(kind: str) -> None:
    """I-110: at every step, of every leaf that there was before."""
    seen = steps(kind)
    shadow = contents(seen[0])
    for now in seen:
        found = contents(now)
        assert {key: found[key] for key in shadow} == shadow
    if kind not in ("read ahead", "shmem in the swap cache"):
        assert len(shadow) >= 2
    if kind == "anonymous":
        assert len(set(shadow.values())) == 3, "different pages are told apart"


@every_kind
def test_a_store_is_never_lost(kind: str) -> None:
    """I-111: at every step, who was dirty before is dirty still, unless it was written to disk since."""
    seen = steps(kind)
    first = {leaf.key: is_dirty(seen[0], leaf) for leaf in seen[0].leaves}
    for now in seen:
        for leaf in now.leaves:
            if first.get(leaf.key) and kind != "block device":
                assert is_dirty(now, leaf), f"{leaf.key} after {now.holds.made[-1:]}"
    if kind in ("anonymous", "ext dirty", "shmem", "ramfs dirty", "merged"):
        assert all(first.values())


def test_a_page_that_was_written_in_between_is_clean_and_on_disk(machine: pm.Machine, app: pm.Task) -> None:
    """I-111: the other way not to lose it: the fallback writes it, and then moves it."""
    file = machine.create_file("data", PAGE, filesystem=filesystems.BLOCKDEV)
    area = app.mmap(PAGE, file=file, shared=True)
    app.write(area.start, b"stored")
    machine.drain()
    assert app.move_pages(area, 1).tolist() == [1]
    (leaf,) = Recount(machine).mapped
    assert not is_dirty(Recount(machine), leaf)
    assert file.disk(0)[:6] == b"stored"


@every_kind
def test_no_store_reaches_the_old_page_once_it_is_copied(kind: str) -> None:
    """I-112: its bytes stay as they were from MC-1 to MN-4, and the new page has the same."""
    copies = 0
    for now in steps(kind):
        old, new = now.holds.old, now.holds.new
        if old is not None and new is not None and now.holds.between("MC-1", "MN-5"):
            copies += 1
            assert now.bytes[old] == steps(kind)[0].bytes.get(old, now.bytes[old])
            assert now.bytes[new] == now.bytes[old]
    assert bool(copies) == any(now.holds.result == 0 for now in steps(kind))


@every_kind
def test_the_new_page_is_up_to_date_after_the_copy_and_not_before(kind: str) -> None:
    """I-113: clear before MC-2; then as the old page's."""
    before = after = 0
    for now in steps(kind):
        old, new = now.holds.old, now.holds.new
        if old is None or new is None:
            continue
        is_new = F.UPTODATE in now.frames[new].flags
        if "MC-2" not in now.holds.made:
            before += 1
            assert not is_new
        else:
            after += 1
            assert is_new == (F.UPTODATE in now.frames[old].flags)
    assert before
    assert bool(after) == any(now.holds.result == 0 for now in steps(kind))


def test_a_page_that_could_not_be_read_is_not_up_to_date_elsewhere(machine: pm.Machine, app: pm.Task) -> None:
    """I-113: PG_uptodate is copied, not set."""
    kind = dataclasses.replace(filesystems.EXT, failing_reads=1)
    file = machine.create_file("worn", PAGE, filesystem=kind)
    with pytest.raises(OSError, match="read"):
        file.read(0, 1, by=app)
    machine.drain()
    old = file.pfn_of(0)
    assert old is not None
    assert F.UPTODATE not in machine.frame(old).flags
    assert machine.migrate_pages([old], pm.ToNode(1)).statuses.tolist() == [1]
    new = file.pfn_of(0)
    assert new is not None
    assert F.UPTODATE not in machine.frame(new).flags
    assert file.read(0, 4) == bytes(4), "read again, now it goes well"


# stores in the window ---------------------------------------------------------------------

WINDOWS = ["UM-1", "UM-3", "UM-9", "UM-10", "MC-1", "MN-4", "RP-4", "MN-5", "UM-16", "UM-17"]


@pytest.mark.parametrize("label", WINDOWS)
@pytest.mark.parametrize("sort", ["own", "shared", "file"])
def test_a_store_at_any_point_of_an_attempt_is_kept(machine: pm.Machine, sort: str, label: str) -> None:
    """I-110, I-111, I-112, S05 to S10: the shadow is updated when the store is done, wherever that is."""
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", PAGE) if sort == "file" else None
    area = app.mmap(PAGE, file=file, shared=sort == "file")
    fill(machine, app, area)
    storer = app.fork("child") if sort == "shared" else app
    shadow = contents(Recount(machine))
    call = machine.start(pm.calls.move_pages(area, 1, scope=SHARED), by=app)
    mover = Follower(machine, call).run_until(label)
    store = machine.start(pm.calls.write(area.start, b"STORED"), by=storer)
    copied: dict[int, bytes] = {}
    while machine.calls:
        if not store.done:
            store.step()
            if store.done:
                key = storer.pid, area.start
                shadow[key] = b"STORED" + shadow[key][6:]
        if not mover.call.done:
            mover.step()
        now = Recount(machine, mover.holds())
        assert_like(contents(now), shadow, store, (storer.pid, area.start))
        old = now.holds.old
        if old is not None and now.holds.between("MC-1", "MN-5"):
            assert copied.setdefault(old, now.bytes[old]) == now.bytes[old], "I-112"
        if store.done:
            (leaf,) = (leaf for leaf in now.leaves if leaf.pid == storer.pid)
            assert is_dirty(now, leaf), "I-111"
    assert contents(Recount(machine)) == shadow


def assert_like(found: Shadow, shadow: Shadow, store: pm.Call, where: tuple[int, int]) -> None:
    """Contents are the shadow's; at the place of a store that is not done they may be the new ones."""
    for key, text in shadow.items():
        if key == where and not store.done:
            assert found[key] in (text, b"STORED" + text[6:])
        else:
            assert found[key] == text


# what comes back --------------------------------------------------------------------------


def test_what_was_swapped_out_comes_back_as_it_was(machine: pm.Machine, app: pm.Task) -> None:
    """I-114: out, moved while in the swap cache, out again, in: three different pages."""
    area = app.mmap(3 * PAGE)
    fill(machine, app, area)
    shadow = contents(Recount(machine))
    app.swap_out(area)
    app.touch(area[0], write=False)
    machine.drain()
    app.move_pages(area, 1)
    assert [app.read(page.start, PAGE) for page in area] == list(shadow.values())
    machine.drain()
    app.write(area[1].start, b"STORED")
    app.swap_out(area)
    expected = list(shadow.values())
    expected[1] = b"STORED" + expected[1][6:]
    assert [app.read(page.start, PAGE) for page in area] == expected


@pytest.mark.parametrize("name", ["EXT", "BLOCKDEV"])
def test_what_was_written_back_and_dropped_is_read_again_as_it_was(
    machine: pm.Machine, app: pm.Task, name: str
) -> None:
    """I-114: written, moved, written back, dropped, read."""
    file = machine.create_file("data", 2 * PAGE, filesystem=getattr(filesystems, name))
    text = bytes(range(256)) * 32
    file.write(0, text, by=app)
    machine.drain()
    pfns = [file.pfn_of(0), file.pfn_of(1)]
    machine.migrate_pages([pfn for pfn in pfns if pfn is not None], pm.ToNode(1))
    machine.drain()
    assert not {file.pfn_of(0), file.pfn_of(1)} & set(pfns)
    assert file.read(0, 2 * PAGE) == text
    for page in range(2):
        file.writeback(page)
        machine.complete_io()
        assert file.invalidate(page)
    assert file.cached == 0
    assert file.read(0, 2 * PAGE) == text


def test_a_write_that_did_not_happen_is_not_read_back(machine: pm.Machine, app: pm.Task) -> None:
    """I-114: a refused store leaves the shadow as it was."""
    area = app.mmap(PAGE)
    fill(machine, app, area)
    app.mprotect(area, pm.R)
    with pytest.raises(OSError, match="SIGSEGV"):
        app.write(area.start, b"STORED")
    app.move_pages(area, 1)
    assert app.read(area.start, 6) == b"page 0"
