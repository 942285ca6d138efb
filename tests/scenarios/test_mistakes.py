"""Mistakes that the page itself shows are told when it is read: each with its place, all at once.

A table of mistakes in numbers, sizes and what depends on the rest of the page, with what is said of each;
and a table of scenarios that look odd and are meant so: they make calls that fail.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

import pagemig as pm
from pagemig.scenario import schema
from tests.scenarios.json_schema import KNOWN, fits, words_of

Mistakes = Callable[[dict[str, Any]], list[str]]
Row = tuple[dict[str, Any], str, str]

END = 0x7FFFFFFFF000
"""Where user space ends."""
FAR = "it must be 0 to 18446744073709551615"


def machine(*nodes: Any, **parts: Any) -> dict[str, Any]:
    """Another machine."""
    return {"machine": {"nodes": list(nodes) or ["1MiB", "1MiB"], **parts}}


def node(**parts: Any) -> dict[str, Any]:
    """A machine whose first node is described."""
    return machine(parts, "1MiB")


def zone(**parts: Any) -> dict[str, Any]:
    """A machine whose first node has one zone."""
    return node(zones=[{"kind": "normal", "memory": "1MiB", **parts}])


def task(**parts: Any) -> dict[str, Any]:
    """Another task."""
    return {"tasks": {"app": {}, "other": parts}}


def region(**parts: Any) -> dict[str, Any]:
    """A further region."""
    return {"regions": {"heap": {"task": "app", "pages": 4}, "x": {"task": "app", **parts}}}


def file(**parts: Any) -> dict[str, Any]:
    """A file that differs from ext."""
    return {"files": {"data": {"size": 1, "filesystem": {"base": "ext", **parts}}}}


def step(*steps: dict[str, Any]) -> dict[str, Any]:
    """Further steps of the setup, from number 1 on."""
    return {"setup": [{"by": "app", "do": "touch", "where": "heap"}, *steps]}


def call(**parts: Any) -> dict[str, Any]:
    """Another call."""
    return {"calls": [{"id": "move", **parts}]}


def together(**parts: Any) -> dict[str, Any]:
    """The call on its own, but as one of several at once."""
    return {"order": "together", **parts}


STATIC: list[Row] = [
    (machine(cpus=0), "machine.cpus", "it is 0; it must be 1 to 65535"),
    (machine(pageblock_frames=3), "machine.pageblock_frames", "it must be a power of two, 1 to 2147483648"),
    (machine(swap="1024TiB"), "machine.swap", "it must be at most 536870908KiB"),
    (machine(distances=[[0, 20], [20, 10]]), "machine.distances[0][0]", "it is 0; it must be 1 to 255"),
    (node(memory="1MiB", cpus=-1), "machine.nodes.0.cpus", "it is -1; it must be 0 to 65535"),
    (node(memory="1MiB", cpus=[65535]), "machine.nodes.0.cpus", "it is 65535; it must be 0 to 65534"),
    (node(memory="16TiB"), "machine.nodes.0.memory", "it is 16TiB; it must be at most 17179869120KiB"),
    (zone(memory=0), "machine.nodes.0.zones[0].memory", "it is 0B; it must be at least 4KiB"),
    (zone(min=-1), "machine.nodes.0.zones[0].min", f"it is -1; {FAR}"),
    (task(uid=-1), "tasks.other.uid", "it is -1; it must be 0 to 4294967295"),
    (task(suid=1 << 32), "tasks.other.suid", "it must be 0 to 4294967295"),
    (task(cpu=-1), "tasks.other.cpu", "it is -1; it must be 0 to 65534"),
    ({"memcgs": {"g": {"limit": 1 << 63}}}, "memcgs.g.limit", "it must be at most 9223372036854775807B"),
    ({"files": {"data": {"size": 1 << 60}}}, "files.data.size", "it must be at most 2048TiB"),
    (file(buffer_bytes=1000), "files.data.filesystem.buffer_bytes", "0, or a power of two from 512 to 4096"),
    (file(migrate=0), "files.data.filesystem.migrate", "what moves nothing cannot succeed"),
    (file(migrate="pages"), "files.data.filesystem.migrate", "it is 'pages'; did you mean 'page'?"),
    (file(io_ticks=-1), "files.data.filesystem.io_ticks", f"it is -1; {FAR}"),
    (file(io_ticks="nver"), "files.data.filesystem.io_ticks", "it is 'nver'; did you mean 'never'?"),
    (file(failing_reads=-1), "files.data.filesystem.failing_reads", "it must be 0 to 4294967295"),
    (file(write_script=["well", -5]), "files.data.filesystem.write_script[1]", "it must be 1 to 4095"),
    (file(area_migrate=1 << 40), "files.data.filesystem.area_migrate", "-2147483647 to 2147483647"),
    (region(pages=0), "regions.x.pages", "it is 0; it must be 1 to 34359738367"),
    (region(size=0), "regions.x.size", "it is 0B; it must be at least 1B"),
    (region(size="128TiB"), "regions.x.size", "and at most 137438953468KiB"),
    (region(pages=1, at=END), "regions.x.at", "it must be an address at the start of a page"),
    (region(pages=1, flags=["SHARED"]), "regions.x.flags", "say that with protection and shared"),
    (step({"by": "app", "do": "mremap", "region": "heap", "length": 0}), "setup[1].length", "at least 1B"),
    (step({"do": "truncate", "file": "data", "size": 1 << 60}), "setup[1].size", "at most 2048TiB"),
    (step({"do": "read_file", "file": "data", "size": "2GiB"}), "setup[1].size", "at most 1GiB"),
    (step({"do": "write_file", "file": "data", "size": "2GiB"}), "setup[1].size", "at most 1GiB"),
    (step({"do": "writeback", "file": "data", "page": -1}), "setup[1].page", "it must be 0 to 549755813887"),
    (step({"do": "reclaim", "node": 0, "pages": 0}), "setup[1].pages", "it must be 1 to 4294967295"),
    (step({"do": "advance", "ticks": -1}), "setup[1].ticks", FAR),
    (step({"do": "hold_buffer", "file": "data", "page": 0, "at": 8}), "setup[1].at", "it must be 0 to 7"),
    (step({"do": "set_swap_device", "io_ticks": -1}), "setup[1].io_ticks", FAR),
    (step({"do": "set_page_flag", "pfn": 0, "flag": "LOCKED"}), "setup[1].flag", "by hand it must be one of"),
    (step({"by": "app", "do": "set_task", "euid": -1}), "setup[1].euid", "it must be 0 to 4294967295"),
    (step({"do": "isolate", "pfn": 1 << 32}), "setup[1].pfn", "it must be 0 to 4294967295"),
    (call(do="soft_offline", pfn=-1), "calls[0].pfn", "it is -1; it must be 0 to 4294967295"),
    (call(do="offline", first_pfn=0, count=0), "calls[0].count", "it must be 1 to 4294967295"),
    (call(do="offline", node=0, timeout=-1), "calls[0].timeout", FAR),
    (call(do="touch", where="heap"), "calls[0].by", "it is missing: the task that does it"),
    (
        call(by="app", do="move_pages", pages="heap", nodes=1 << 40),
        "calls[0].nodes",
        "-2147483648 to 2147483647",
    ),
    (
        call(by="app", do="raw_move_pages", pages="heap", nodes=[1, 1 << 70, 1, 1]),
        "calls[0].nodes",
        "must fit into 32 bits",
    ),
    (
        call(by="app", do="move_pages", pages="heap", nodes=1, target=1 << 40),
        "calls[0].target",
        "it must be -2147483648 to 2147483647",
    ),
    (
        call(by="app", do="raw_mbind", start="heap", length=4096, mode=2, nodes=[1 << 70]),
        "calls[0].nodes[0]",
        FAR,
    ),
    (call(by="app", do="touch", where="heap", expect={"hits": -1}), "calls[0].expect.hits", FAR),
    (together(schedule="3x9"), "schedule", "at character 3: it must be like 3a1b2a"),
    (together(explore={"preemptions": -1}), "explore.preemptions", "it must be 0 to 4294967295"),
    (together(explore={"strategy": "random", "runs": 0}), "explore.runs", "it must be 1 to"),
    (together(explore={"strategy": "random", "seed": -1}), "explore.seed", FAR),
    (together(explore={"strategy": "pct", "depth": 0}), "explore.depth", "it must be 1 to 65536"),
    ({"expect": {"pages": [{"page": "heap", "node": -2}]}}, "expect.pages[0].node", "it must be -1 to 63"),
    ({"expect": {"pages": [{"page": "heap", "count": -1}]}}, "expect.pages[0].count", FAR),
    ({"expect": {"tasks": [{"task": "app", "rss": -1}]}}, "expect.tasks[0].rss", FAR),
]
"""Mistakes of a field by itself: an editor marks them, too."""

RESTING: list[Row] = [
    (machine(distances=[[10]]), "machine.distances", "it has 1 rows; the machine has 2 nodes"),
    (machine(distances=[[10, 20], [21, 10]]), "machine.distances", "is 21, but the way back is 20"),
    (machine("0B", "0B"), "machine.nodes", "no node has memory"),
    (machine("12TiB", "12TiB"), "machine.nodes", "6442450944 frames in all"),
    (node(), "machine.nodes.0", "say how much memory it has"),
    (node(memory="1MiB", cpus=[0, 2]), "machine.nodes", "name 2 CPUs, but no node names CPU 1"),
    (zone(min=5, low=3), "machine.nodes.0.zones[0].low", "it is 3; min is 5, and it cannot be less"),
    (zone(min=5, high=3), "machine.nodes.0.zones[0].high", "it is 3; min is 5"),
    (
        node(zones=[{"kind": "normal", "memory": "1MiB"}] * 2),
        "machine.nodes.0.zones[1].kind",
        "the node has a zone of kind 'normal' already",
    ),
    (
        node(memory="2MiB", zones=[{"kind": "normal", "memory": "1MiB"}]),
        "machine.nodes.0.memory",
        "it is 2MiB, but its zones add up to 1MiB",
    ),
    (task(cpu=9), "tasks.other.cpu", "it is 9; the machine has CPUs 0 to 1"),
    (task(mems_allowed=[7]), "tasks.other.mems_allowed", "there is no node 7; the machine has 0, 1"),
    (task(mems_allowed=[]), "tasks.other.mems_allowed", "none of its nodes has memory"),
    (
        {"cpusets": {"g": {"mems": []}}, **task(cpuset="g")},
        "tasks.other.cpuset",
        "'g' has no nodes, so no task can be in it",
    ),
    (
        {"cpusets": {"p": {"mems": [0]}, "g": {"mems": [1], "parent": "p"}}},
        "cpusets.g.mems",
        "node 1 is none of 'p', which has 0",
    ),
    ({**machine("1MiB", "1MiB", "0B"), "cpusets": {"g": {"mems": [2]}}}, "cpusets.g.mems", "has no memory"),
    ({"memcgs": {"root": {}}}, "memcgs.root", "give it another name"),
    ({"cpusets": {"root": {"mems": [0]}}}, "cpusets.root", "give it another name"),
    (file(buffer_bytes=0), "files.data.filesystem", "needs buffers"),
    (file(migrate="page"), "files.data.filesystem", "leaves buffers behind"),
    (region(pages=4, at=END - 4096), "regions.x.at", "16KiB at 0x7fffffffe000 leave user space"),
    (region(pages=1, at=END - 8192), "regions.x.at", "overlaps the stack, which has 0x7ffffffef000"),
    (region(pages=34359738367), "regions.x.pages", ""),
    (
        {
            "regions": {
                "heap": {"task": "app", "pages": 4, "at": 0x10000},
                "x": {"task": "app", "pages": 2, "at": 0xF000},
            }
        },
        "regions.x.at",
        "0xf000 to 0x11000 overlaps 'heap', which has 0x10000 to 0x14000",
    ),
    (region(pages=1, offset=4096), "regions.x.offset", "there is no file"),
    (region(pages=1, file="data", offset="2048TiB"), "regions.x.offset", "4KiB from 2048TiB on end beyond"),
    (
        step({"by": "app", "do": "mmap", "name": "y", "pages": 2, "at": END - 4096}),
        "setup[1].at",
        "leave user space",
    ),
    (
        step(
            {"by": "app", "do": "mmap", "name": "y", "pages": 2, "at": 0x10000},
            {"by": "app", "do": "mmap", "name": "z", "pages": 2, "at": 0x11000},
        ),
        "setup[2].at",
        "overlaps 'y'",
    ),
    (
        step({"by": "app", "do": "mremap", "region": "heap", "to": END - 4096}),
        "setup[1].to",
        "16KiB at 0x7fffffffe000 leave user space",
    ),
    (step({"by": "app", "do": "pin", "address": END, "name": "p"}), "setup[1].address", "leave user space"),
    (
        step({"do": "read_file", "file": "data", "size": 2, "offset": (1 << 51) - 1}),
        "setup[1].offset",
        "end beyond 2048TiB",
    ),
    (step({"by": "app", "do": "set_task", "cpu": 7}), "setup[1].cpu", "the machine has CPUs 0 to 1"),
    (step({"by": "app", "do": "set_task", "mems_allowed": []}), "setup[1].mems_allowed", "has memory"),
    (step({"do": "isolate", "pfn": 513}), "setup[1].pfn", "there is no frame 513; the machine has 0 to 511"),
    (call(do="soft_offline", pfn=512), "calls[0].pfn", "there is no frame 512"),
    (call(do="offline", first_pfn=0, count=513), "calls[0].count", "513 frames from frame 0 on"),
    (
        {**machine("1MiB", "1MiB", "0B"), **call(do="offline", node=2)},
        "calls[0].node",
        "node 2 has no memory that could go offline",
    ),
    (
        {**machine("1MiB", "1MiB", "0B"), **call(do="migrate_frames", pfns="heap", node=2)},
        "calls[0].node",
        "node 2 has no memory; nodes that have are 0, 1",
    ),
    (
        step({"by": "app", "do": "move_pages", "pages": "heap", "nodes": [1, 1]}),
        "setup[1].nodes",
        "2 nodes for 4 pages",
    ),
    (
        call(do="migrate_frames", pfns="heap", node=1, expect={"statuses": [1]}),
        "calls[0].expect.statuses",
        "1 statuses for 4 pages",
    ),
    (
        call(by="app", do="raw_move_pages", pages="heap", nodes=1, expect={"statuses": {"1": 3}}),
        "calls[0].expect.statuses",
        "these are 3 pages, but 4 are asked for",
    ),
    (
        step(
            {"do": "soft_offline", "pfn": "p"},
            {"by": "app", "do": "pin", "address": "heap[0]", "name": "p"},
        ),
        "setup[1].pfn",
        "there is no 'p' yet when this begins",
    ),
    (
        step({"by": "other", "do": "exit"}, {"by": "other", "do": "exit"}),
        "setup[2].by",
        "task 'other' has ended before this begins",
    ),
    (
        {**task(kernel_thread=True), **step({"by": "other", "do": "touch", "where": 4096})},
        "setup[1].by",
        "'other' is a kernel thread, which has no memory of its own",
    ),
    (together(schedule="3a1b"), "schedule", "there is no call 'b'; there is: a"),
    ({"expect": {"pages": [{"page": "heap", "node": 7}]}}, "expect.pages[0].node", "there is no node 7"),
    (
        {"expect": {"counters": [{"name": "nr_fre_pages", "value": 1}]}},
        "expect.counters[0].name",
        "there is no counter 'nr_fre_pages'; did you mean 'nr_free_pages'?",
    ),
    (
        {**machine(contents=True), "expect": {"bytes": [{"at": 4096, "text": "x"}]}},
        "expect.bytes[0].at",
        "say whose address it is",
    ),
]
"""Mistakes that only the rest of the page shows."""


def _data(plain: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {**plain, "files": {"data": {"size": "16KiB"}}, **copy.deepcopy(change)}


@pytest.mark.parametrize(("change", "place", "words"), STATIC + RESTING)
def test_a_mistake_is_told_with_its_place_when_the_page_is_read(
    plain: dict[str, Any], mistakes: Mistakes, change: dict[str, Any], place: str, words: str
) -> None:
    """One mistake is one line: its place in the file, what it is, and what would be right."""
    (line,) = mistakes(_data(plain, change))
    assert line.startswith(f"{place}: ")
    assert words in line


@pytest.mark.parametrize(("change", "place", "words"), STATIC)
def test_the_schema_marks_what_is_out_of_range(
    plain: dict[str, Any], change: dict[str, Any], place: str, words: str
) -> None:
    """Where a number is out of its range by itself; sizes as text an editor cannot know."""
    made = schema()
    assert fits(_data(plain, {}), made, made["$defs"])
    data = _data(plain, change)
    if not any(unit in str(_at(data, place)) for unit in ("TiB", "GiB")):
        assert not fits(data, made, made["$defs"])


def _at(data: Any, place: str) -> Any:
    for part in place.replace("[", ".").replace("]", "").split("."):
        data = data[int(part)] if isinstance(data, list) else data.get(part)
    return data


def test_the_schema_says_nothing_that_the_tests_do_not_read() -> None:
    """Otherwise a range could be written in a word that `fits` passes over."""
    assert words_of(schema()) <= KNOWN


def test_all_mistakes_of_all_kinds_are_told_at_once(plain: dict[str, Any], mistakes: Mistakes) -> None:
    """Ranges, names, wrong keys and what depends on the rest: one reading is enough."""
    plain["tasks"] = {"app": {"cpu": 9}, "other": {"uid": -1}, "third": {"cpux": 1}}
    plain["files"] = {"data": {"size": 4096, "filesystem": {"base": "ext", "buffer_bytes": 0}}}
    plain["regions"]["two"] = {"task": "app", "pages": 1, "at": 0x10000}
    plain["regions"]["three"] = {"task": "app", "pages": 1, "at": 0x10000}
    plain["setup"] += [{"do": "isolate", "pfn": 9999}, {"do": "advance", "ticks": -1}]
    plain["calls"][0]["nodes"] = [1, 1]
    plain["expect"] = {"counters": [{"name": "nr_fre", "value": 0}], "pages": [{"page": "heap", "node": 9}]}
    assert {line.split(":")[0] for line in mistakes(plain)} == {
        "tasks.other.uid",
        "tasks.third.cpux",
        "tasks.app.cpu",
        "files.data.filesystem",
        "regions.three.at",
        "setup[2].pfn",
        "setup[3].ticks",
        "calls[0].nodes",
        "expect.counters[0].name",
        "expect.pages[0].node",
    }


def test_a_mistake_brings_no_others_with_it(plain: dict[str, Any], mistakes: Mistakes) -> None:
    """What only follows from one is not told: pages that cannot be counted, CPUs that nobody knows."""
    plain["regions"]["heap"]["pages"] = -4
    plain["calls"][0]["nodes"] = [1, 1, 1, 1]
    (line,) = mistakes(plain)
    assert line.startswith("regions.heap.pages: it is -4")
    plain["regions"]["heap"]["pages"] = 4
    plain["machine"]["cpus"] = 0
    plain["tasks"]["other"] = {"cpu": 1}
    (line,) = mistakes(plain)
    assert line.startswith("machine.cpus: it is 0")


MEANT: list[tuple[dict[str, Any], str | None]] = [
    (call(by="app", do="move_pages", pages="heap", nodes=63), "ENODEV"),
    (call(by="app", do="move_pages", pages="heap", nodes=-7), "ENODEV"),
    (call(by="app", do="move_pages", pages="heap", nodes=1, target=4711), "ESRCH"),
    (
        {**step({"by": "other", "do": "exit"})}
        | call(by="app", do="move_pages", pages=4096, nodes=1, target="other"),
        "ESRCH",
    ),
    ({**task(kernel_thread=True)} | call(by="other", do="move_pages", pages=4096, nodes=0), "EINVAL"),
    ({**task(kernel_thread=True)} | call(by="other", do="migrate_pages", old_nodes=[0], new_nodes=[1]), None),
    (call(by="app", do="raw_move_pages", pages="heap", nodes=[1, 1]), "EFAULT"),
    (call(by="app", do="raw_move_pages", pages="heap", nodes=1, count=1 << 63), "EFAULT"),
    (call(by="app", do="mbind", region="heap", policy={"mode": "bind", "nodes": [9]}), "EINVAL"),
    (call(by="app", do="mbind", region="heap", policy={"mode": "bind"}), "EINVAL"),
    (call(do="offline", first_pfn=1, count=2), "EINVAL"),
    (call(by="app", do="read", address=0x7000, size=1) | machine(contents=True), "EFAULT"),
    (call(by="app", do="touch", where=1 << 63), None),
    (
        call(by="app", do="migrate_frames", pfns=["heap[0]", "heap[0]"], node=1, expect={"statuses": [1]}),
        None,
    ),
    (step({"by": "other", "do": "exit"}) | task(kernel_thread=True), None),
    (machine(cpus=4) | task(cpu=3), None),
    (node(memory="1MiB", cpus=3) | task(cpu=2), None),
    (
        task(stack=False)
        | {
            "regions": {
                "heap": {"task": "app", "pages": 4},
                "x": {"task": "other", "pages": 1, "at": END - 4096},
            }
        },
        None,
    ),
    ({"cpusets": {"g": {"mems": []}}}, None),
    (together(schedule=""), None),
]
"""What looks odd and is meant so, with the errno that it comes to."""


@pytest.mark.parametrize(("change", "errno"), MEANT)
def test_a_scenario_of_a_call_that_fails_is_no_mistake(
    plain: dict[str, Any], change: dict[str, Any], errno: str | None
) -> None:
    """It is read, and the call comes to what Linux says."""
    report = pm.Scenario(**_data(plain, change)).run()
    if errno is not None:
        assert [one.errno for one in report.calls] == [errno]


def test_a_schedule_of_any_length_is_followed_as_far_as_it_goes(plain: dict[str, Any]) -> None:
    """Numbers beyond any memory: the step that cannot be made is told."""
    told = pm.Scenario(**plain, order="together", schedule="9999999999999a")
    with pytest.raises(pm.UsageError, match="is for call 'a', which is done"):
        told.run()


def test_what_only_a_host_knows_is_told_when_it_runs(plain: dict[str, Any]) -> None:
    """A machine larger than this host is a fine scenario for another one."""
    plain["machine"]["nodes"] = {"0": "1MiB", "1": "15TiB"}
    told = pm.Scenario(**plain)
    with pytest.raises(pm.UsageError, match=r"machine: .* this host has"):
        told.run()


def test_a_flag_that_is_no_word_is_refused_with_the_words_that_are(mistakes: Mistakes) -> None:
    """A list or a table inside the list of flags of a region."""
    for odd in (["LOCKED"], {"LOCKED": True}):
        wrong = {"title": "Flags", **machine(), "tasks": {"app": {}}, **region(flags=[odd])}
        (said,) = mistakes(wrong | {"calls": []})
        assert said.startswith(f"regions.x.flags: it holds {odd!r}; there is: MAYREAD, ")
