"""Merged pages and areas that move (supporting-paths 6, 16)."""

from __future__ import annotations

import pagemig as pm

from .stepping import pfns_in


def test_pages_that_an_ancestor_let_ksm_merge_are_parted_before_an_area_moves(
    machine: pm.Machine, app: pm.Task
) -> None:
    """I-72: a child whose area is not mergeable maps its parent's merged page; `mremap` parts them."""
    heap = app.mmap(2 * pm.PAGE_SIZE, flags=pm.VmFlags.MERGEABLE)
    for page in heap:
        app.write(page.start, b"same")
    child = app.fork("child")
    mine = child.same(heap)
    child.madvise(mine, pm.Advice.UNMERGEABLE)
    machine.ksm.scan()
    merged = pfns_in(app, heap)
    assert machine.ksm.pages_shared == 1
    assert set(pfns_in(child, mine)) & set(merged), "upgraded while the child mapped it, too"
    moved = child.mremap(mine, to=heap.start + 64 * pm.PAGE_SIZE)
    machine.check()
    assert not set(pfns_in(child, moved)) & set(merged)
    assert child.read(moved.start, 4) == child.read(moved.start + pm.PAGE_SIZE, 4) == b"same"


def test_a_merged_page_comes_back_from_swap_where_ksm_never_looked() -> None:
    """I-72: the swap entry of a moved child brings the parent's merged page in, under no place of it."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, swap=32 * pm.PAGE_SIZE)
    app = machine.spawn("app")
    heap = app.mmap(2 * pm.PAGE_SIZE, flags=pm.VmFlags.MERGEABLE)
    for page in heap:
        app.write(page.start, b"same")
    machine.drain()
    child = app.fork("child")
    moved = child.mremap(child.same(heap), to=heap.start + 64 * pm.PAGE_SIZE)
    assert app.swap_out(heap) == 2
    app.touch(heap, write=False)
    machine.ksm.scan()
    machine.check()
    assert child.touch(moved, write=False).sigsegv.size == 0
    machine.check()
    assert child.read(moved.start, 4) == app.read(heap.start, 4) == b"same"
