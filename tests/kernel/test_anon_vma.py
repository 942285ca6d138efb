"""Areas and their reverse map: anon_vma sharing, fork chains, splits. Source: data-model 6.1, 7.1."""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import finish, links, pfn_at, reach

SHARED = pm.MoveScope.SHARED


def written(task: pm.Task, at: int, pages: int = 1, **how: object) -> pm.Region:
    """An area at an address whose pages have been written."""
    region = task.mmap(pages * pm.PAGE_SIZE, at=at, **how)  # type: ignore[arg-type]
    task.touch(region)
    return region


def test_an_area_has_no_anon_vma_before_its_first_write(app: pm.Task) -> None:
    """Data-model 7.1: neither mapping nor reading makes one."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region, write=False)
    assert links(app, region.start) == ()
    app.touch(region)
    assert len(links(app, region.start)) == 1


def test_areas_that_touch_share_an_anon_vma(app: pm.Task) -> None:
    """Data-model 7.1: the next area's is reused; protection may differ."""
    high = written(app, 0x20000)
    low = written(app, 0x1F000, protection=pm.RWX)
    assert links(app, low.start) == links(app, high.start)


def test_the_next_area_is_asked_before_the_previous_one(app: pm.Task) -> None:
    """Data-model 7.1: both neighbours have one; the next one's is taken."""
    low, high = written(app, 0x10000), written(app, 0x12000)
    assert links(app, low.start) != links(app, high.start)
    middle = written(app, 0x11000)
    assert links(app, middle.start) == links(app, high.start)


def test_the_previous_area_will_do_when_there_is_no_next_one(app: pm.Task) -> None:
    """Data-model 7.1."""
    low, high = written(app, 0x10000), written(app, 0x11000)
    assert links(app, low.start) == links(app, high.start)


@pytest.mark.parametrize("why", ["gap", "flags", "policy"])
def test_areas_that_could_not_be_one_do_not_share(app: pm.Task, why: str) -> None:
    """Data-model 7.1: a hole between them, another flag, another policy."""
    low = written(app, 0x10000)
    at = 0x12000 if why == "gap" else 0x11000
    high = app.mmap(pm.PAGE_SIZE, at=at, flags=pm.VmFlags.RAND_READ if why == "flags" else ())
    if why == "policy":
        app.mbind(high, pm.Policy(pm.PolicyMode.BIND, [1]))
    app.touch(high)
    assert links(app, low.start) != links(app, high.start)


def test_an_area_with_a_chain_is_not_shared(app: pm.Task) -> None:
    """Data-model 7.1: exactly one link is asked for; a forked area has two."""
    low = written(app, 0x10000)
    high = app.mmap(pm.PAGE_SIZE, at=0x11000)
    child = app.fork()
    child.touch(child.same(high))
    assert len(links(child, low.start)) == 2
    assert len(links(child, high.start)) == 1
    assert links(child, high.start)[0] not in links(child, low.start)
    app.touch(high)
    assert links(app, high.start) == links(app, low.start)


def test_fork_clones_the_links_and_adds_a_private_one_in_front(app: pm.Task, page: pm.Region) -> None:
    """Data-model 7.1: same anon_vmas in the same order; the last is the oldest ancestor's."""
    child = app.fork()
    grandchild = child.fork()
    chains = [links(task, page.start) for task in (app, child, grandchild)]
    assert [len(chain) for chain in chains] == [1, 2, 3]
    assert chains[1][1:] == chains[0]
    assert chains[2][1:] == chains[1]
    assert len({chain[0] for chain in chains}) == 3


def test_fork_of_an_area_without_anon_vma_links_nothing(app: pm.Task) -> None:
    """Data-model 7.1: parent and child get theirs at their own first writes, which differ."""
    region = app.mmap(pm.PAGE_SIZE)
    child = app.fork()
    assert links(child, region.start) == ()
    app.touch(region)
    child.touch(child.same(region))
    assert links(app, region.start) != links(child, region.start)


def test_new_pages_of_a_child_belong_to_its_private_anon_vma(app: pm.Task, page: pm.Region) -> None:
    """Data-model 7.1: copied ones; shared ones keep the parent's."""
    child = app.fork()
    child.touch(child.same(page))
    assert child.page_at(page.start).owner.id == links(child, page.start)[0]
    assert app.page_at(page.start).owner.id == links(app, page.start)[0]


def test_a_reused_page_moves_to_the_areas_own_anon_vma(app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 2.4, point 2: the child that is left alone with the page takes it over."""
    child = app.fork()
    app.munmap(page)
    assert child.page_at(page.start).owner.id == links(child, page.start)[-1]
    assert child.touch(child.same(page)).cow == 1
    assert child.page_at(page.start).owner.id == links(child, page.start)[0]


def test_a_split_gives_both_parts_the_same_links(app: pm.Task, heap: pm.Region) -> None:
    """Data-model 7.1: by mprotect, by munmap of the middle; pages of all parts still move."""
    before = links(app, heap.start)
    app.mprotect(heap[1:3], pm.R)
    assert {links(app, page.start) for page in heap} == {before}
    assert len(app.regions) == 4
    app.munmap(heap[1])
    assert app.move_pages([heap[at].start for at in (0, 2, 3)], 1).tolist() == [1, 1, 1]


def test_a_part_split_off_after_a_fork_is_visited_after_the_child(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, heap: pm.Region
) -> None:
    """Data-model 7.1: it joins at the tail of the list, behind the descendant; UM-9 shows the order."""
    child = app.fork()
    app.mprotect(heap[2:], pm.R)
    first = []
    for page in (heap[0], heap[3]):
        move = pm.calls.move_pages([page.start], 1, target=app, scope=SHARED)
        call = reach(machine, machine.start(move, by=admin), "UM-9")
        while all(task.entry_at(page.start).kind.name == "PRESENT" for task in (app, child)):
            call.step()
            machine.check()
        first.append("child" if child.entry_at(page.start).kind.name == "MIGRATION" else "app")
        finish(machine, call)
    assert sorted(first) == ["app", "child"]


def test_a_removed_area_leaves_its_lists(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Data-model 7.1: the parent is gone; the child's pages are found and moved through what is left."""
    child = app.fork()
    app.exit()
    machine.check()
    assert child.move_pages(child.same(page), 1).tolist() == [1]
    assert child.page_at(page.start).owner.id == links(child, page.start)[-1]


def test_the_index_of_a_page_is_that_of_its_address(app: pm.Task, heap: pm.Region) -> None:
    """Data-model 6.1: `vm_pgoff` is start / 4096 at creation and stays right when areas are cut."""
    app.munmap(heap[0])
    app.mprotect(heap[2], pm.R)
    app.mprotect(heap[2], pm.RW)
    for page in heap[1:]:
        assert app.page_at(page.start).index == page.start // pm.PAGE_SIZE


def test_a_page_moves_after_its_area_was_cut_and_joined(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Data-model 7.1: part locked and unlocked, joined from below and from above again."""
    for part in (heap[0], heap[3], heap[1:3]):
        app.mlock(part)
        machine.check()
        app.munlock(part)
        machine.check()
    assert len(app.regions) == 2
    assert app.move_pages(heap, 1).tolist() == [1] * 4
    assert pfn_at(app, heap.start) == 64
