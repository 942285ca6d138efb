"""The steps of a query, which moves nothing: PS."""

from __future__ import annotations

import errno

import pagemig as pm

from .stepping import block, finish, pfn_at, reach, settle


def test_a_query_holds_the_address_space_for_reading(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """PS-1, PS-3: a writer waits until the chunk of 16 has been looked up."""
    asking = machine.start(pm.calls.move_pages([page.start], target=app), by=admin)
    reach(machine, asking, "PS-2")
    unmapping = machine.start(pm.calls.munmap(page), by=app)
    assert block(machine, unmapping).lock == "mmap_sem"
    reach(machine, asking, "PS-3")
    assert not unmapping.step()
    finish(machine, asking)
    assert asking.result.tolist() == [0]
    settle(machine)


def test_a_query_answers_for_every_kind_of_address(machine: pm.Machine) -> None:
    """PS-2: no area -EFAULT; not present or zero page -ENOENT; else the node. No reference stays."""
    app = machine.spawn(stack=False)
    region = app.mmap(3 * pm.PAGE_SIZE, at=0x10000)
    app.touch(region[0])
    app.touch(region[1], write=False)
    asked = [*region.addresses.tolist(), 0x13000, 0x1000]
    answers = [0, -errno.ENOENT, -errno.ENOENT, -errno.EFAULT, -errno.ENOENT]
    before = machine.frame(pfn_at(app, region.start))
    assert app.move_pages(asked).tolist() == answers
    assert machine.frame(before.pfn) == before


def test_a_page_under_way_is_not_there(
    machine: pm.Machine, app: pm.Task, admin: pm.Task, page: pm.Region
) -> None:
    """PS-2, S44: a migration entry is -ENOENT; before and after, the node."""
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app), by=admin)
    seen = []
    for label in ("UM-9", "UM-10", "RP-1", "MN-5"):
        reach(machine, move, label)
        seen += app.move_pages(page).tolist()
    assert seen == [0, -errno.ENOENT, -errno.ENOENT, 1]
    settle(machine)
