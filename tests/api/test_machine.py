"""What a machine is made of, and what it refuses to be made of."""

from __future__ import annotations

import os

import pytest

import pagemig as pm


def test_a_machine_has_the_nodes_it_was_given_with_gaps_and_without_memory() -> None:
    """Node ids may have gaps; a node of 0 bytes exists but has no memory."""
    machine = pm.Machine(nodes={5: 0, 0: 8 * pm.PAGE_SIZE, 3: pm.Node(memory=4 * pm.PAGE_SIZE)})
    assert machine.nodes == {0: 8 * pm.PAGE_SIZE, 3: 4 * pm.PAGE_SIZE, 5: 0}
    assert machine.frame_count == 12
    assert [machine.frame(pfn).node for pfn in (0, 7, 8, 11)] == [0, 0, 3, 3]
    assert [machine.zone_counters(node)["nr_free_pages"] for node in (0, 3)] == [8, 4]
    assert machine.vmstat()["nr_free_pages"] == 12


def test_cpus_go_round_the_nodes() -> None:
    """Data-model 1.2: CPU c is on the (c mod n)-th of the n nodes."""
    machine = pm.Machine(nodes={0: pm.MiB, 3: pm.MiB, 5: 0}, cpus=5)
    assert machine.cpus == (0, 3, 5, 0, 3)


@pytest.mark.parametrize(
    ("first", "second", "homes"), [([0, 2], [1], (0, 1, 0)), (2, 1, (0, 0, 1)), (1, None, (0,))]
)
def test_nodes_may_say_which_cpus_they_have(first: object, second: object, homes: tuple[int, ...]) -> None:
    """By id or by number; a node that says nothing then has none."""
    nodes = [pm.Node(pm.MiB, cpus=first), pm.Node(pm.MiB, cpus=second)]  # type: ignore[arg-type]
    assert pm.Machine(nodes=nodes).cpus == homes


def test_a_task_allocates_on_the_node_of_its_cpu() -> None:
    """Supporting-paths 14: DEFAULT starts at the current CPU's node."""
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB])
    for cpu in (0, 1):
        task = machine.spawn(cpu=cpu)
        region = task.mmap(pm.PAGE_SIZE)
        task.touch(region)
        assert task.nodes_of(region).tolist() == [cpu]


def test_zones_have_watermarks_that_are_kept() -> None:
    """A frame is refused to this-node requests when no more than LOW are free (syscalls 3.6)."""
    tight = pm.Node(zones=[pm.Zone(pm.ZoneKind.NORMAL, 8 * pm.PAGE_SIZE, low=6)])
    machine = pm.Machine(nodes=[pm.Node(pm.MiB), tight])
    task = machine.spawn()
    region = task.mmap(3 * pm.PAGE_SIZE)
    task.touch(region)
    machine.drain()
    with pytest.raises(OSError, match="move_pages") as refused:
        task.move_pages(region, 1)
    assert refused.value.errno == 12
    assert task.nodes_of(region).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"nodes": []}, "0 nodes"),
        ({"nodes": [0, 0]}, "no node has memory"),
        ({"nodes": 7}, "nodes is 7"),
        ({"nodes": "64MiB"}, "64MiB"),
        ({"nodes": ["64MiB"]}, "memory of node 0 is '64MiB'"),
        ({"nodes": [4097]}, "0x1000 or 0x2000 would be"),
        ({"nodes": [-4096]}, "memory of node 0 is -4096"),
        ({"nodes": [1.5]}, "must be an integer"),
        ({"nodes": [True]}, "must be an integer"),
        ({"nodes": {64: pm.MiB}}, "0 to 63"),
        ({"nodes": {-1: pm.MiB}}, "0 to 63"),
        ({"nodes": [pm.MiB] * 65}, "65 nodes"),
        ({"nodes": [1 << 44, 4096]}, "4294967280"),
        ({"nodes": [pm.MiB], "cpus": 0}, "cpus is 0"),
        ({"nodes": [pm.MiB], "swap": -1}, "swap is -1"),
        ({"nodes": [pm.MiB], "contents": 1}, "contents is 1"),
        ({"nodes": [pm.MiB], "profile": "exact"}, "Profile.EXACT"),
        ({"nodes": [pm.MiB], "topology": [[10]]}, "Topology"),
        ({"nodes": [pm.MiB], "topology": pm.Topology([[10, 20], [20, 10]])}, "for 2 nodes"),
        ({"nodes": [pm.Node(pm.MiB, cpus=[0]), pm.Node(pm.MiB, cpus=[0])]}, "CPU 0 is on node 0"),
        ({"nodes": [pm.Node(pm.MiB, cpus=[1])]}, "no node names CPU 0"),
        ({"nodes": [pm.Node(pm.MiB, cpus=[0]), pm.Node(pm.MiB, cpus=1)]}, "do one of the two"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_in_words(arguments: dict[str, object], words: str) -> None:
    """The message names what is wrong and what would be right."""
    with pytest.raises(pm.UsageError) as refused:
        pm.Machine(**arguments)  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_a_machine_larger_than_the_host_is_refused_with_the_arithmetic() -> None:
    """Contents take a page for each frame; the message says what is needed and what there is."""
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    too_much = host // pm.PAGE_SIZE * pm.PAGE_SIZE
    with pytest.raises(pm.UsageError, match=r"4096 of contents each need .* GiB; this host has"):
        pm.Machine(nodes=[too_much], contents=True)


def test_a_touch_of_more_than_the_host_can_give_is_refused_with_the_arithmetic() -> None:
    """A machine is described, not written to: it may have more frames than the host could back at once."""
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    frames = min(host // 40, 0xFFFF_0000)
    machine = pm.Machine(nodes=[frames * pm.PAGE_SIZE])
    task = machine.spawn()
    region = task.mmap(frames * pm.PAGE_SIZE)
    with pytest.raises(pm.UsageError, match=r"new pages of 32 bytes, .* need .* GiB available"):
        task.touch(region)
    assert machine.cost["faults"] == 0
    assert task.touch(region[:10]).minor == 10


def test_a_machine_costs_what_is_touched_and_not_what_there_is() -> None:
    """P9: a terabyte is described, not written to."""
    machine = pm.Machine(nodes=[256 * pm.GiB] * 4)
    task = machine.spawn()
    region = task.mmap(pm.PAGE_SIZE)
    task.touch(region)
    assert machine.vmstat()["nr_free_pages"] == (1 << 28) - 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pm.Zone(pm.ZoneKind.DMA, 0), "leave it out"),
        (lambda: pm.Zone(2, pm.MiB), "ZoneKind"),
        (lambda: pm.Zone(pm.ZoneKind.DMA, pm.MiB, min=5, low=3), "low of a zone is 3"),
        (lambda: pm.Node(), "needs memory"),
        (lambda: pm.Node(pm.MiB, zones=[pm.Zone(pm.ZoneKind.DMA, pm.GiB)]), "add up to 1073741824"),
        (lambda: pm.Node(zones=[pm.Zone(pm.ZoneKind.DMA, pm.MiB)] * 2), "another kind"),
        (lambda: pm.Topology([[10, 20], [21, 10]]), "the way back is 20"),
        (lambda: pm.Topology([[10, 20]]), "1 rows"),
        (lambda: pm.Topology([[0]]), "1 to 255"),
        (lambda: pm.Topology(7), "rows of numbers"),
        (lambda: pm.Topology.flat("two"), "nodes is 'two'"),
        (lambda: pm.Topology.flat(65), "0 to 64"),
    ],
)
def test_parts_that_make_no_sense_are_refused(make: object, words: str) -> None:
    """Zones, nodes and distances check themselves when they are written down."""
    with pytest.raises(pm.UsageError) as refused:
        make()  # type: ignore[operator]
    assert words in str(refused.value)


def test_two_machines_share_nothing() -> None:
    """What one does is not seen on another."""
    one, other = (pm.Machine(nodes=[pm.MiB]) for _ in range(2))
    task = one.spawn()
    task.touch(task.mmap(pm.PAGE_SIZE))
    assert other.tasks == ()
    assert other.vmstat()["nr_free_pages"] == one.vmstat()["nr_free_pages"] + 1


def test_a_clone_goes_its_own_way(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """It is equal at first; neither sees what the other does afterwards."""
    machine.security_hook = pm.SecurityHook({(7, 8): 13})
    twin = machine.clone()
    copy = twin.task(app.pid)
    assert (twin.nodes, twin.vmstat(), copy.name) == (machine.nodes, machine.vmstat(), "app")
    assert twin.security_hook == machine.security_hook
    assert copy.move_pages(heap, 1).tolist() == [1] * 4
    assert app.nodes_of(heap).tolist() == [0] * 4
    assert copy.nodes_of(heap).tolist() == [1] * 4
    assert copy != app


def test_a_machine_says_what_it_is(machine: pm.Machine) -> None:
    """Plain facts, and a repr that builds it again."""
    assert (machine.contents, machine.profile, machine.cpus) == (False, pm.Profile.EXACT, (0,))
    assert repr(machine) == "Machine(nodes={0: 262144, 1: 262144}, cpus=1)"


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.frame(1 << 40),
        lambda m: m.frame(-1),
        lambda m: m.frame("0"),
        lambda m: m.frames(2),
        lambda m: m.zone_counters(-1),
        lambda m: m.drain(cpu=1),
        lambda m: m.task(99),
        lambda m: m.task(1 << 40),
        lambda m: m.task(None),
        lambda m: m.record(-1),
        lambda m: m.isolate(10_000),
        lambda m: m.putback(0),
        lambda m: m.load(7),
        lambda m: setattr(m, "security_hook", {}),
    ],
)
def test_what_the_machine_does_not_have_cannot_be_asked_for(machine: pm.Machine, ask: object) -> None:
    """Frames, nodes, CPUs and tasks that do not exist are a UsageError, never a crash."""
    with pytest.raises(pm.UsageError):
        ask(machine)  # type: ignore[operator]


def test_time_passes_only_when_it_is_told_to() -> None:
    """Spec README 3: one virtual clock, advanced only by explicit waits."""
    machine = pm.Machine(nodes=[pm.MiB])
    app = machine.spawn()
    app.touch(app.mmap(pm.PAGE_SIZE))
    assert machine.now == 0
    machine.advance(250)
    assert machine.clone().now == machine.now == 250
    for wrong in (-1, 2**64, "1"):
        with pytest.raises(pm.UsageError, match="ticks"):
            machine.advance(wrong)  # type: ignore[arg-type]
    with pytest.raises(pm.UsageError, match="clock"):
        machine.advance(2**64 - 1)
    assert machine.now == 250


def test_files_and_groups_are_found_by_name_or_number_among_many() -> None:
    """The last of many, and what nothing is called: half a character, or more than any number."""
    machine = pm.Machine(nodes=[8 * pm.MiB])
    for number in range(300):
        machine.create_file(f"file {number}", number * pm.PAGE_SIZE)
        machine.create_memcg(f"group {number}")
        machine.create_cpuset(f"set {number}", mems=[0])
    assert machine.file("file 299").size == 299 * pm.PAGE_SIZE
    assert machine.file(machine.file("file 7").number).name == "file 7"
    assert [machine.memcg(n).name for n in (0, 300)] == ["root", "group 299"]
    assert [machine.cpuset(n).name for n in (0, 300)] == ["root", "set 299"]
    for find in (machine.file, machine.memcg, machine.cpuset):
        for unknown in ("no such", "", "half \ud800", 5000, 1 << 40):
            with pytest.raises(pm.UsageError, match=r"no .* on this machine"):
                find(unknown)
    for make in (machine.create_memcg, lambda name: machine.create_cpuset(name, mems=[0])):
        with pytest.raises(pm.UsageError, match="called 'root' already"):
            make("root")
