"""A page whose mappings cannot all be removed: what the case DOC-mapcount is about.

Goal: such a page is not migrated, and its mappings are as before. No program can bring this
about with ``move_pages``, as the case would have it: there every mapping is found. Method: merged
pages under offlining (S36), whose mappings are found by items that KSM keeps; while a scan is
half way, items are missing, or the page has no node yet. Nobody holds a further reference,
except where it is said, so nothing but the mapping keeps the page.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

PAGE = pm.PAGE_SIZE
PASSES = 10


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 64 frames each with contents, one CPU."""
    return pm.Machine(nodes=[64 * PAGE] * 2, cpus=1, contents=True)


def equal_pages(machine: pm.Machine) -> tuple[pm.Task, pm.Region]:
    """A task with two equal pages that may be merged."""
    app = machine.spawn("app")
    region = app.mmap(2 * PAGE)
    app.madvise(region, pm.Advice.MERGEABLE)
    for page in region:
        app.write(page.start, b"same")
    machine.drain()
    return app, region


def inherited(machine: pm.Machine) -> tuple[pm.Task, pm.Region]:
    """A child that has inherited a merged page, and whose parent, to whom the items belong, is gone."""
    app, region = equal_pages(machine)
    while machine.ksm.scan():
        pass
    child = app.fork("child")
    app.exit()
    machine.drain()
    return child, child.same(region)


def scan_until_items(machine: pm.Machine, child: pm.Task, items: int) -> None:
    """Let KSM forget the parent and find so many places of the child, and hold on to no page."""
    scan = machine.start(pm.calls.ksm_scan(), by=child)
    scan.step()
    while len(machine.ksm.nodes[0].places) != items or scan.at != "SP16-follow":
        scan.step()


def kinds_during(machine: pm.Machine, app: pm.Task, region: pm.Region) -> list[set[pm.EntryKind]]:
    """Try to move the page as offlining does; return what each entry was on the way."""
    page = app.page_at(region.start)
    assert page is not None
    what = pm.calls.migrate_frames([page.pfn], pm.ToNode(1), offlining=True)
    mover = machine.start(what, by=machine.spawn("operator"))
    kinds: list[set[pm.EntryKind]] = [set() for _ in region]
    while not mover.done:
        mover.step()
        machine.check()
        for seen, place in zip(kinds, region, strict=True):
            seen.add(app.entry_at(place.start).kind)
    assert mover.result.statuses.tolist() == [-errno.EAGAIN]
    assert mover.result.attempts.tolist() == [PASSES]
    return kinds


def assert_as_before(machine: pm.Machine, app: pm.Task, region: pm.Region, before: pm.FrameInfo) -> None:
    """The mapping works as before: the same frame, mapped and referenced as often, and copied on write."""
    machine.drain()
    now = app.page_at(region.start)
    assert now is not None and app.page_at(region[1].start) == now
    assert (now.pfn, now.mapcount, now.count) == (before.pfn, before.mapcount, before.count)
    assert app.read(region.start, 4) == b"same"
    app.write(region.start, b"mine")
    assert app.read(region.start, 4) + app.read(region[1].start, 4) == b"minesame"
    machine.check()


@pytest.mark.parametrize("found", [0, 1])
def test_a_page_whose_mappings_cannot_all_be_found_stays_and_is_restored(
    machine: pm.Machine, found: int
) -> None:
    """S36: an item that is missing means an entry that is not found, still mapped: -EAGAIN each pass.

    With one item of two, the entry it leads to is replaced in each pass, and restored (UM-10, UM-11).
    """
    child, region = inherited(machine)
    before = child.page_at(region.start)
    assert before is not None and before.count == before.mapcount == 2
    scan_until_items(machine, child, found)
    kinds = kinds_during(machine, child, region)
    replaced = [pm.EntryKind.MIGRATION in seen for seen in kinds]
    assert replaced.count(True) == found
    assert_as_before(machine, child, region, before)


def test_with_all_items_the_same_page_moves(machine: pm.Machine) -> None:
    """The counter-example: once KSM has found both places, nothing keeps the page."""
    child, region = inherited(machine)
    before = child.page_at(region.start)
    assert before is not None
    scan_until_items(machine, child, 2)
    result = machine.migrate_pages([before.pfn], pm.ToNode(1), offlining=True)
    assert result.statuses.tolist() == [1]
    assert child.nodes_of(region).tolist() == [1, 1]
    assert child.read(region[1].start, 4) == b"same"


def test_a_page_that_has_no_stable_node_yet_stays_mapped(machine: pm.Machine) -> None:
    """S36: SWAP_FAIL. The scanner has a reference to the page, but the entry is not even replaced."""
    app, region = equal_pages(machine)
    scan = machine.start(pm.calls.ksm_scan(), by=app)
    while not (page := merged_page(app, region)):
        scan.step()
    assert page.owner is not None
    assert page.owner.id not in {node.number for node in machine.ksm.nodes}
    at = [page.start for page in region if app.page_at(page.start) == merged_page(app, region)]
    (kinds,) = kinds_during(machine, app, pm.Region(app, at[0], PAGE))
    assert kinds == {pm.EntryKind.PRESENT}
    machine.run()
    assert [app.read(place.start, 4) for place in region] == [b"same"] * 2
    assert app.nodes_of(region).tolist() == [0, 0]


def merged_page(app: pm.Task, region: pm.Region) -> pm.FrameInfo | None:
    """The first page of a region that carries the mark of a merged page."""
    frames = [app.page_at(page.start) for page in region]
    marked = [f for f in frames if f is not None and f.owner is not None and f.owner.kind is pm.OwnerKind.KSM]
    return marked[0] if marked else None
