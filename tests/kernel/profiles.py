"""The same story on a machine of either profile: what is different at its end.

Start with `differences`. A story is a function of a machine; whatever of the machine can be seen
afterwards is compared, so that a quirk that REPAIRED turns off shows up in its own terms and in
no others (spec README 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pagemig as pm

Story = Callable[[pm.Machine], None]


def state(machine: pm.Machine) -> dict[str, object]:
    """Everything that can be seen of a machine, by name."""
    found: dict[str, object] = {"drift": machine.drift, "swap": machine.swap, "io": machine.pending_io}
    for row in (_nodes(machine), _frames(machine), _tasks(machine), _stores(machine)):
        found.update(row)
    return found


def _nodes(machine: pm.Machine) -> Iterator[tuple[str, object]]:
    for node in machine.nodes:
        for name, count in machine.zone_counters(node).items():
            yield f"node {node} {name}", count
        for which in pm.LruList:
            yield f"node {node} {which.name}", machine.lru(node, which)
    for cpu in range(len(machine.cpus)):
        for which in pm.LruList:
            yield f"cpu {cpu} {which.name}", machine.pagevec(cpu, which)


def _frames(machine: pm.Machine) -> Iterator[tuple[str, object]]:
    for pfn in range(machine.frame_count):
        yield f"frame {pfn}", machine.frame(pfn)
        yield f"buffers {pfn}", machine.buffers(pfn)
        yield f"record {pfn}", machine.memcg_record(pfn)
        if machine.contents and machine.frame(pfn).count:
            yield f"bytes {pfn}", machine.frame_bytes(pfn)


def _tasks(machine: pm.Machine) -> Iterator[tuple[str, object]]:
    for task in machine.tasks:
        yield f"{task.name} counters", task.counters
        yield f"{task.name} areas", task.vmas
        for address in (page.start for region in task.regions for page in region):
            yield f"{task.name} entry {address:#x}", task.entry_at(address)


def _stores(machine: pm.Machine) -> Iterator[tuple[str, object]]:
    for file in machine.files:
        rows = zip(*(column.tolist() for column in file.pages.values()), strict=True)
        yield f"file {file.name}", (tuple(rows), file.flags, file.is_dirty, file.size)
    for group in machine.memcgs:
        yield f"group {group.name} usage", group.usage
        for name in ("cache", "rss", "mapped_file", "swapout"):
            yield f"group {group.name} {name}", getattr(group.statistics, name)
    yield "ksm", machine.ksm.nodes


def differences(
    story: Story, *, swap: int = 0, pageblock_frames: int = 512
) -> dict[str, tuple[object, object]]:
    """What the story leaves different: in EXACT, in REPAIRED. Both machines are audited."""
    ends = []
    for profile in (pm.Profile.EXACT, pm.Profile.REPAIRED):
        machine = pm.Machine(
            nodes=[64 * pm.PAGE_SIZE] * 2,
            cpus=1,
            contents=True,
            swap=swap,
            profile=profile,
            pageblock_frames=pageblock_frames,
        )
        story(machine)
        machine.check()
        ends.append(state(machine))
    exact, repaired = ends
    assert repaired["drift"] == ()
    names = [*exact, *(name for name in repaired if name not in exact)]
    return {
        name: (exact.get(name), repaired.get(name)) for name in names if exact.get(name) != repaired.get(name)
    }
