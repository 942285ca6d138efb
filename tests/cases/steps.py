"""The steps of a setup, one function each.

Start with :func:`perform`. A step may have the fields named in :data:`STEPS`;
one with another field is not performed half: the case is skipped and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pagemig as pm

from . import areas, cpusets, flagged, placed, samepage, threads, words
from .form import Excepted, Failed, Skipped
from .invocation import KNOWN, prepare
from .placement import CALLS
from .placement import prepare as prepare_placement
from .world import World

Step = dict[str, Any]
READING_PROCESSES = 3


def perform(world: World, step: Step) -> None:
    """Perform one step of a setup."""
    op = step["op"]
    if op == "machine":
        return
    if op not in STEPS:
        raise Skipped(f"setup step {op!r} is not understood")
    fields, function = STEPS[op]
    unknown = set(step) - {"op"} - set(fields)
    if unknown:
        raise Skipped(f"setup step {op!r} has unknown fields {sorted(unknown)}")
    function(world, step)


def _task(world: World, step: Step) -> None:
    capabilities = None
    if "caps" in step:
        capabilities = pm.Capability.NONE
        for name in step["caps"]:
            if name != "CAP_SYS_NICE":
                raise Skipped(f"capability {name!r} is not modelled")
            capabilities |= pm.Capability.SYS_NICE
    ids = {key: words.user(step[key]) for key in ("uid", "euid", "suid") if key in step}
    uid = ids.get("uid", 0)
    world.tasks[step["id"]] = world.machine.spawn(
        step["id"],
        uid=uid,
        euid=ids.get("euid", uid),
        suid=ids.get("suid", uid),
        capabilities=capabilities,
        cpu=step.get("cpu", 0),
    )
    world.regions[step["id"]] = {}


def _kernel_thread(world: World, step: Step) -> None:
    world.tasks[step["id"]] = world.machine.spawn(step["id"], kernel_thread=True)
    world.regions[step["id"]] = {}


def _mmap(world: World, step: Step) -> None:
    region = areas.map_area(world, step)
    if "fill" in step:
        value = words.number(step["fill"], "fill")
        for page in region:
            world.task(step["task"]).write(page.start, bytes([value & 255]) * 4096)
            world.stored[step["task"], page.start] = value & 255
        threads.touch(world, step["task"], region)


def _policy(world: World, step: Step) -> pm.Policy:
    nodes = step.get("nodes") or []
    if nodes == "all":
        nodes = world.with_memory
    if not all(isinstance(node, int) for node in nodes):
        raise Skipped(f"policy nodes {nodes!r} are not understood")
    return pm.Policy(words.mode(step["mode"]), nodes)


def _mbind(world: World, step: Step) -> None:
    task, flags = world.task(step["task"]), pm.MbindFlags(words.flags(step.get("flags")))
    task.mbind(world.region(step["task"], step["region"]), _policy(world, step), flags=flags)


def _set_mempolicy(world: World, step: Step) -> None:
    world.task(step["task"]).set_mempolicy(_policy(world, step))


def _touch(world: World, step: Step) -> None:
    task = world.task(step["task"])
    region = world.region(step["task"], step["region"])
    write = step.get("access", "write") == "write"
    for page in words.page_numbers(step.get("pages", "all"), len(region)):
        address = region.start + page * 4096
        threads.touch(world, step["task"], [address], write=write)
        if write and step.get("value") is not None:
            value = page if step["value"] == "page index" else words.number(step["value"], "value")
            task.write(address, bytes([value & 255]))
            world.stored[step["task"], address] = value & 255


def _munmap(world: World, step: Step) -> None:
    word = step["region"]
    match = re.fullmatch(r"(\w+)(?:\[(\d+)(?::(\d+))?\])?", word) if isinstance(word, str) else None
    if match is None:
        raise Skipped(f"region {word!r} is not understood")
    region = world.region(step["task"], match[1])
    if match[2]:
        first = int(match[2])
        region = region[first : int(match[3]) if match[3] else first + 1]
    threads.unmap(world, step["task"], region)


def _mprotect(world: World, step: Step) -> None:
    region = world.region(step["task"], step["region"])
    world.task(step["task"]).mprotect(region, words.protection(step["prot"]))


def _mlock(world: World, step: Step) -> None:
    world.task(step["task"]).mlock(world.region(step["task"], step["region"]))


def _fork(world: World, step: Step) -> None:
    world.fork(step["parent"], step["child"])


def _fork_tree(world: World, step: Step) -> None:
    """Every process forks all the children it may; ``W`` is one of them, far from the root."""
    root = str(step.get("task", next(iter(world.tasks), None)))
    world.task(root)
    world.tree = [root]
    parents = [root]
    for _ in range(words.number(step["levels"], "levels")):
        children = []
        for parent in parents:
            for number in range(words.number(step["max_children"], "children")):
                children.append(f"{parent}.{number}")
                world.fork(parent, children[-1])
        world.tree += children
        parents = children
    chosen = world.tree[len(world.tree) * 2 // 3]
    world.tasks["W"], world.regions["W"] = world.tasks[chosen], world.regions[chosen]


def _each(world: World, step: Step) -> None:
    match = re.fullmatch(r"(read|write|touch) (\w+\+\d+)", str(step["do"]))
    if match is None:
        raise Skipped(f"what each task does, {step['do']!r}, is not understood")
    for name in world.tree or list(world.tasks):
        address = words.address(match[2], world.starts(name))
        world.task(name).touch([address], write=match[1] == "write")


def _exit(world: World, step: Step) -> None:
    world.task(step["task"]).exit()
    del world.tasks[step["task"]]


def _setuid(world: World, step: Step) -> None:
    task, uid = world.task(step["task"]), words.user(step["uid"])
    task.uid = task.euid = task.suid = uid
    if step.get("drops_caps", uid != 0):
        task.capabilities = pm.Capability.NONE


def _assert_on_nodes(world: World, step: Step) -> None:
    region = world.region(step["task"], step["region"])
    found = world.task(step["task"]).nodes_of(region).tolist()
    wanted = step["nodes"]
    per_page = len(wanted) == len(found)
    if per_page and len(set(wanted)) > 1 and set(wanted) <= set(world.with_memory):
        found = _put_on_nodes(world, step["task"], region, wanted)
    if found != wanted if per_page else not set(found) <= set(wanted):
        raise Failed(f"setup: pages of {step['region']} are on {found}, expected on {wanted}")


def _put_on_nodes(world: World, name: str, region: pm.Region, wanted: list[int]) -> list[int]:
    """Put each page on its node: no first touch does, but the case wants them there.

    Done by the engine, to which a cpuset means nothing.
    """
    task = world.task(name)
    threads.touch(world, name, region)
    world.machine.drain()
    nodes = dict(zip((page.start for page in region), wanted, strict=True))
    frames = {at: frame for at in nodes if (frame := task.page_at(at)) is not None}
    astray = {frame.pfn: nodes[at] for at, frame in frames.items() if frame.node != nodes[at]}
    if astray:
        world.machine.migrate_pages(astray, pm.ByPage(astray))
        world.machine.drain()
    return [int(node) for node in task.nodes_of(region)]


def _isolate(world: World, step: Step) -> None:
    world.machine.drain()
    world.machine.isolate(_page(world, step).pfn)


def _pin(world: World, step: Step) -> None:
    address = words.address(step["page"], world.starts(step["task"]))
    if world.task(step["task"]).pin(address, write=step.get("access") == "write") is None:
        raise Failed(f"setup: {step['page']} cannot be pinned")


def _page(world: World, step: Step) -> pm.FrameInfo:
    found = world.task(step["task"]).page_at(words.address(step["page"], world.starts(step["task"])))
    if found is None:
        raise Failed(f"setup: nothing is present at {step['page']}")
    return found


def _swap_out(world: World, step: Step) -> None:
    word = step["pages"] if "pages" in step else step["page"]
    addresses = words.addresses(word, world.starts(step["task"]))
    world.machine.drain()
    freed = world.task(step["task"]).swap_out(addresses)
    if freed != len(addresses):
        raise Failed(f"setup: {freed} of {len(addresses)} pages of {word} were swapped out")


def _thread(world: World, step: Step) -> None:
    threads.make(world, step["task"], step["thread"])


def _readers(world: World, step: Step) -> None:
    owner = step.get("task", next(iter(world.tasks)))
    world.region(owner, step["region"])
    if step["kind"] == "threads":
        world.readers.append((owner, step["region"]))
        return
    if step["kind"] not in ("forked processes", "processes", "children"):
        raise Skipped(f"readers of the kind {step['kind']!r} are not understood")
    for number in range(READING_PROCESSES):
        reader = world.fork(owner, f"reader {number}")
        reader.touch(world.region(f"reader {number}", step["region"]), write=False)
        world.readers.append((f"reader {number}", step["region"]))


def _call(world: World, step: Step) -> None:
    syscall, caller = str(step.get("syscall")), str(step.get("task", next(iter(world.tasks), None)))
    world.task(caller)
    args = {key: value for key, value in step.items() if key not in ("op", "syscall", "task", "args")}
    args |= step.get("args", {})
    if syscall in CALLS:
        results = [answer.result for answer in prepare_placement(world, caller, syscall, args).run()]
        if any(result < 0 for result in results):
            raise Failed(f"setup: {syscall} returned {results}")
        return
    if syscall != "move_pages":
        raise Skipped(f"system call {syscall!r} is not understood")
    if "pages" not in args:
        name = world.region_meant(caller)
        args["pages"] = f"{name}+0..{name}+{len(world.regions[caller][name]) - 1}"
    answer = prepare(world, caller, {"status": "array"} | args).run()
    if answer.result:
        raise Failed(f"setup: move_pages returned {answer.result}")


def _check(world: World, step: Step) -> None:
    match = re.fullmatch(r"query: all (\d+) except index (\d+)", str(step.get("text")))
    regions = [(name, region) for name, named in world.regions.items() for region in named.values()]
    if match is None or len(regions) != 1:
        raise Skipped(f"setup in prose: {step.get('text')!r}")
    placed.require_query(world.task(regions[0][0]), regions[0][1], int(match[1]), int(match[2]))


def _note(world: World, step: Step) -> None:
    text = str(step.get("text"))
    if text == "each process has an own equal mergeable page":
        samepage.own_equal_pages(world)
    elif not re.fullmatch(r"another mapping exists above \w+", text):
        # That one is always so: the stack of every task is mapped above everything else.
        raise Skipped(f"setup in prose: {text!r}")


def _unmap_fails(world: World, step: Step) -> None:
    raise Excepted(
        "the one thing that cannot be set up: no call that a program can make meets a mapping that "
        "refuses to be removed, and faults are not injected; what then happens is tested where it "
        "can be, with merged pages under offlining (S36)"
    )


CALL_FIELDS = tuple(
    {"syscall": 0, "task": 0, "args": 0, **dict.fromkeys(KNOWN)}
    | {field: 0 for fields, _ in CALLS.values() for field in fields}
)

STEPS: dict[str, tuple[tuple[str, ...], Callable[[World, Step], None]]] = {
    "task": (("id", "uid", "euid", "suid", "caps", "cpu", "dumpable"), _task),
    "kernel_thread": (("id",), _kernel_thread),
    "mmap": (("task", "region", "pages", "kind", "share", "prot", "fixed", "mergeable", "fill", "fs"), _mmap),
    "mbind": (("task", "region", "mode", "nodes", "flags"), _mbind),
    "set_mempolicy": (("task", "mode", "nodes"), _set_mempolicy),
    "task_policy": (("task", "mode", "nodes"), _set_mempolicy),
    "touch": (("task", "region", "pages", "access", "value"), _touch),
    "munmap": (("task", "region"), _munmap),
    "mprotect": (("task", "region", "prot"), _mprotect),
    "mlock": (("task", "region"), _mlock),
    "fork": (("parent", "child"), _fork),
    "fork_tree": (("levels", "max_children", "task"), _fork_tree),
    "each": (("do",), _each),
    "exit": (("task",), _exit),
    "setuid": (("task", "uid", "drops_caps"), _setuid),
    "assert_on_nodes": (("task", "region", "nodes"), _assert_on_nodes),
    "isolate_from_lru": (("task", "page"), _isolate),
    "pin": (("task", "page", "how", "access"), _pin),
    "drain": ((), lambda world, step: world.machine.drain()),
    "swap_out": (("task", "page", "pages"), _swap_out),
    "thread": (("task", "thread"), _thread),
    "unmap_fails": (("task", "page"), _unmap_fails),
    "readers": (("kind", "region", "task"), _readers),
    "call": (CALL_FIELDS, _call),
    "check": (("text",), _check),
    "note": (("text",), _note),
    **cpusets.STEPS,
    **flagged.STEPS,
    **samepage.STEPS,
}
