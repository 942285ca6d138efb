"""How the kernel tests drive a call and look under the machine: one step at a time, audited.

Start with `reach`, which brings a call to a step of the specification and runs every
invariant after every step on the way. `lru`, `pagevec` and `links` show what has no public
face: the order of a list, the entries of a pagevec, the reverse map of an area. `cached` makes the
page of a file that most tests of address spaces start from.

Neighbours: ``conftest.py`` for the machine that most tests start from.
"""

from __future__ import annotations

import pagemig as pm

NORMAL = pm.ZoneKind.NORMAL


def reach(machine: pm.Machine, call: pm.Call, label: str) -> pm.Call:
    """Step ``call`` until just before ``label``, auditing after every step.

    How many steps that takes is found on a clone, because only `Call.run_until` knows every
    label of a step.
    """
    twin = machine.clone()
    ahead = next(other for other in twin.calls if other.number == call.number)
    assert ahead.run_until(label), f"{call!r} does not come to {label}"
    for _ in range(len(ahead.history) - len(call.history)):
        call.step()
        machine.check()
    return call


def never_reaches(machine: pm.Machine, call: pm.Call, label: str) -> bool:
    """Whether ``call``, if it runs alone from here, ends or waits without coming to ``label``."""
    twin = machine.clone()
    return not next(other for other in twin.calls if other.number == call.number).run_until(label)


def finish(machine: pm.Machine, call: pm.Call) -> pm.Call:
    """Step ``call`` to its end, auditing after every step; it must not have to wait."""
    while not call.done:
        assert call.step(), f"{call!r} waits for {call.waiting_for}"
        machine.check()
    return call


def block(machine: pm.Machine, call: pm.Call) -> pm.WaitFor:
    """Step ``call`` until it waits, auditing after every step; return what for."""
    while call.step():
        machine.check()
        assert not call.done, f"{call!r} ended without waiting"
    machine.check()
    wait = call.waiting_for
    assert wait is not None
    return wait


def settle(machine: pm.Machine) -> None:
    """Step all calls in flight in turn until all are done, auditing after every step."""
    while machine.calls:
        ran = []
        for call in machine.calls:
            ran.append(call.step())
            machine.check()
        assert any(ran), "no call can go on"


def run(machine: pm.Machine, call: object, by: pm.Task) -> object:
    """Start a call, step it to its end with audits, and return its result."""
    return finish(machine, machine.start(call, by=by)).result  # type: ignore[arg-type]


def attempts(machine: pm.Machine, call: pm.Call, count: int) -> None:
    """Bring a migration past ``count`` further attempts, to the step before the next one."""
    for _ in range(count):
        reach(machine, call, "UM-17")
        call.step()
        machine.check()


def lru(machine: pm.Machine, node: int, which: pm.LruList, zone: pm.ZoneKind = NORMAL) -> list[int]:
    """One LRU list of a zone, head first."""
    return list(machine._system.core.lru(node, int(zone), int(which)))


def pagevec(machine: pm.Machine, which: pm.LruList, cpu: int = 0) -> list[int]:
    """The additions to one LRU list that wait on a CPU, in insertion order."""
    return list(machine._system.core.pagevec(cpu, int(which)))


def waiting(machine: pm.Machine, cpu: int = 0) -> dict[pm.LruList, list[int]]:
    """All pagevecs of a CPU that are not empty."""
    return {which: found for which in pm.LruList if (found := pagevec(machine, which, cpu))}


def links(task: pm.Task, address: int) -> tuple[int, ...]:
    """The anon_vmas that the area at an address is linked to, its own first, the oldest last."""
    for start, end, *_, found in task._system.core.vmas(task.pid):
        if start <= address < end:
            return tuple(found)
    raise AssertionError(f"nothing is mapped at {address:#x}")


def area_flags(task: pm.Task, address: int) -> pm.VmFlags:
    """The flags of the area at an address."""
    for start, end, flags, *_ in task._system.core.vmas(task.pid):
        if start <= address < end:
            return pm.VmFlags(flags)
    raise AssertionError(f"nothing is mapped at {address:#x}")


def zonelist(machine: pm.Machine, node: int) -> list[tuple[int, int]]:
    """The fallback list of a node, as (node, zone kind)."""
    return list(machine._system.core.zonelist(node))


def pfn_at(task: pm.Task, address: int) -> int:
    """The frame that an address maps."""
    page = task.page_at(address)
    assert page is not None, f"no page at {address:#x}"
    return page.pfn


def pfns_in(task: pm.Task, region: pm.Region) -> list[int]:
    """The frames that a region maps, in address order."""
    return [pfn_at(task, page.start) for page in region]


def counts(machine: pm.Machine, pfn: int) -> tuple[int, int]:
    """(references, map count) of a frame."""
    frame = machine.frame(pfn)
    return frame.count, frame.mapcount


def free(machine: pm.Machine, node: int) -> int:
    """Free frames of a node."""
    return machine.zone_counters(node)["nr_free_pages"]


def delta(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """The counters that differ, and by how much."""
    return {name: after[name] - count for name, count in before.items() if after[name] != count}


def cached(
    machine: pm.Machine, task: pm.Task, filesystem: pm.FileSystem, *, write: bool = False, pages: int = 1
) -> tuple[pm.File, pm.Region]:
    """A file that a task maps shared, its first page read or written there, and drained."""
    file = machine.create_file("data", pages * pm.PAGE_SIZE, filesystem=filesystem)
    area = task.mmap(pages * pm.PAGE_SIZE, file=file, shared=True)
    task.touch(area[0], write=write)
    machine.drain()
    return file, area


def moved_between(before: list[dict[str, int]], after: list[dict[str, int]]) -> dict[str, int]:
    """What node 1 gained of what node 0 lost; asserts that nothing else changed but free frames."""
    lost, gained = (delta(old, new) for old, new in zip(before, after, strict=True))
    for changes in (lost, gained):
        changes.pop("nr_free_pages", None)
    assert lost == {name: -count for name, count in gained.items()}
    return gained


def counters(machine: pm.Machine) -> list[dict[str, int]]:
    """The counters of all nodes."""
    return [machine.zone_counters(node) for node in machine.nodes]
