"""What the machine says in the kernel's own words can be read by what reads the kernel's words."""

from __future__ import annotations

import re

import pytest

import pagemig as pm


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes, the first in two zones with watermarks."""
    zones = [pm.Zone(pm.ZoneKind.DMA32, pm.MiB, min=4), pm.Zone(pm.ZoneKind.NORMAL, 2 * pm.MiB, min=8)]
    return pm.Machine(nodes=[pm.Node(zones=zones), pm.MiB], cpus=2)


def test_vmstat_reads_as_pairs(machine: pm.Machine) -> None:
    """Method: split as every reader of /proc/vmstat does; compare with the counters."""
    task = machine.spawn()
    task.touch(task.mmap(9 * pm.PAGE_SIZE))
    machine.drain()
    pairs = dict(line.split() for line in machine.vmstat_text().splitlines())
    assert {name: int(value) for name, value in pairs.items()} == machine.vmstat()
    assert pairs["nr_anon_pages"] == "9"


def test_zoneinfo_reads_zone_by_zone(machine: pm.Machine) -> None:
    """Method: the regular expressions of a common monitoring script; sums agree with the nodes."""
    task = machine.spawn()
    task.touch(task.mmap(5 * pm.PAGE_SIZE))
    machine.drain()
    text = machine.zoneinfo_text()
    heads = re.findall(r"^Node (\d+), zone\s+(\w+)$", text, re.MULTILINE)
    assert heads == [("0", "DMA32"), ("0", "Normal"), ("1", "Normal")]
    zones = re.split(r"^Node .*$", text, flags=re.MULTILINE)[1:]
    free = [int(number) for zone in zones for number in re.findall(r"pages free\s+(\d+)", zone)]
    assert free[0] + free[1] == machine.zone_counters(0)["nr_free_pages"]
    assert [re.findall(r"^ {8}(?:min|low|high) +(\d+)$", zone, re.MULTILINE) for zone in zones][1][0] == "8"
    assert [re.findall(r"(?:spanned|present)\s+(\d+)", zone) for zone in zones] == [
        ["256", "256"],
        ["512", "512"],
        ["256", "256"],
    ]
    anon = [int(number) for number in re.findall(r"nr_anon_pages\s+(\d+)", text)]
    assert sum(anon) == 5
    assert re.findall(r"start_pfn:\s+(\d+)", text) == ["0", "256", "768"]


LINE = re.compile(
    r"^\s*(?P<task>.{1,16})-(?P<pid>\d+)\s+\[(?P<cpu>\d{3})\]\s+(?P<flags>\S+)\s+(?P<time>\d+\.\d{6}): "
    r"mm_migrate_pages: nr_succeeded=(?P<good>\d+) nr_failed=(?P<bad>\d+) mode=(?P<mode>\w+) "
    r"reason=(?P<reason>\w+)$"
)


def lines_of(machine: pm.Machine) -> list[dict[str, str]]:
    """The lines of the tracepoint, taken apart; comments are skipped as tools do."""
    lines = [line for line in machine.ftrace_text().splitlines() if not line.startswith("#")]
    return [match.groupdict() for line in lines if (match := LINE.match(line)) is not None]


def test_migrations_read_as_the_tracepoint_of_later_kernels(machine: pm.Machine) -> None:
    """Three callers, three reasons; a pinned page is one that failed; unrecorded calls have no line."""
    app = machine.spawn("app", cpu=1)
    heap = app.mmap(6 * pm.PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    app.move_pages(heap, 0)
    machine.record()
    pinned = app.pin(heap.start)
    assert pinned is not None
    assert (app.move_pages(heap, 1) == 1).sum() == 5
    app.mbind(heap, pm.Policy(pm.PolicyMode.BIND, [0]), flags=pm.MbindFlags.MOVE)
    app.unpin(pinned)
    app.migrate_pages(None, [0], [1])
    rows = lines_of(machine)
    assert [(row["good"], row["bad"], row["reason"]) for row in rows] == [
        ("5", "1", "syscall_or_cpuset"),
        ("5", "0", "mempolicy_mbind"),
        ("6", "0", "syscall_or_cpuset"),
    ]
    assert {(row["task"], row["pid"], row["cpu"], row["mode"]) for row in rows} == {
        ("app", str(app.pid), "001", "MIGRATE_SYNC")
    }
    times = [float(row["time"]) for row in rows]
    assert times == sorted(times)
    app.exit()
    assert {row["task"] for row in lines_of(machine)} == {"<...>"}


def test_memory_that_goes_offline_is_a_reason_of_its_own() -> None:
    """memory_hotplug for a range of frames, memory_failure for one."""
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB], pageblock_frames=16)
    app = machine.spawn(mems_allowed=[1])
    heap = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    machine.record()
    first = app.page_at(heap.start)
    assert first is not None
    machine.offline(first.pfn // 16 * 16, 16)
    other = app.page_at(heap.start)
    assert other is not None
    machine.soft_offline(other.pfn)
    assert [row["reason"] for row in lines_of(machine)] == ["memory_hotplug", "memory_failure"]


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (pm.Policy(pm.PolicyMode.PREFERRED, [1], static=True), "prefer=static:1"),
        (pm.Policy(pm.PolicyMode.BIND, [0, 1], relative=True), "bind=relative:0-1"),
        (pm.Policy(pm.PolicyMode.INTERLEAVE, [0, 1]), "interleave:0-1"),
        (pm.Policy(pm.PolicyMode.PREFERRED), "local"),
    ],
)
def test_numa_maps_writes_the_flags_of_a_policy(machine: pm.Machine, policy: pm.Policy, text: str) -> None:
    """Behind the mode, as tmpfs spells them; and our own reader of the text keeps the word whole."""
    app = machine.spawn(stack=False)
    heap = app.mmap(pm.PAGE_SIZE)
    app.mbind(heap, policy)
    line = app.numa_maps()
    assert line.split()[1] == text
    from pagemig.numa_maps import parse

    assert parse(line)[0].policy == text
