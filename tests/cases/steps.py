"""The steps of a setup, one function each.

Start with :func:`perform`. A step may have the fields named in :data:`STEPS`;
one with another field is not performed half: the case is skipped and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pagemig as pm

from . import placed, words
from .form import Failed, Skipped
from .invocation import prepare
from .world import World

Step = dict[str, Any]


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
    kind = step.get("kind", "anon")
    if kind != "anon":
        raise Skipped("files and shared memory objects arrive in a later stage")
    if step.get("share", "private") != "private":
        raise Skipped("shared anonymous memory arrives in a later stage")
    if step.get("mergeable"):
        raise Skipped("KSM arrives in a later stage")
    task = world.task(step["task"])
    length = words.number(step["pages"], "size") * 4096
    at = None
    if "fixed" in step:
        at = words.address(step["fixed"], world.starts(step["task"]))
        task.munmap(pm.Region(task, at, length))
    region = task.mmap(length, at=at, protection=words.protection(step.get("prot", "rw")))
    world.regions[step["task"]][step["region"]] = region
    if "fill" in step:
        value = words.number(step["fill"], "fill")
        for page in region:
            task.write(page.start, bytes([value & 255]) * 4096)
            world.stored[step["task"], page.start] = value & 255


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
        task.touch([address], write=write)
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
    world.task(step["task"]).munmap(region)


def _mprotect(world: World, step: Step) -> None:
    region = world.region(step["task"], step["region"])
    world.task(step["task"]).mprotect(region, words.protection(step["prot"]))


def _mlock(world: World, step: Step) -> None:
    world.task(step["task"]).mlock(world.region(step["task"], step["region"]))


def _fork(world: World, step: Step) -> None:
    parent, child = step["parent"], step["child"]
    world.tasks[child] = world.task(parent).fork(child)
    task = world.tasks[child]
    world.regions[child] = {name: task.same(region) for name, region in world.regions[parent].items()}
    for (owner, address), value in list(world.stored.items()):
        if owner == parent:
            world.stored[child, address] = value


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
                _fork(world, {"parent": parent, "child": children[-1]})
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
        # No first touch puts pages on different nodes: the case wants them there.
        found = world.task(step["task"]).move_pages(region, wanted).tolist()
        world.machine.drain()
    if found != wanted if per_page else not set(found) <= set(wanted):
        raise Failed(f"setup: pages of {step['region']} are on {found}, expected on {wanted}")


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


def _cpuset(world: World, step: Step) -> None:
    world.cpusets[step["name"]] = {**step, "tasks": []}


def _cpuset_attach(world: World, step: Step) -> None:
    cpuset = world.cpusets.get(step["cpuset"])
    if cpuset is None:
        raise Skipped(f"cpuset {step['cpuset']!r} is not made by the setup")
    if cpuset.get("memory_migrate"):
        raise Skipped("cpusets that migrate memory arrive in a later stage")
    world.task(step["task"]).mems_allowed = cpuset["mems"]
    for other in world.cpusets.values():
        other["tasks"] = [name for name in other["tasks"] if name != step["task"]]
    cpuset["tasks"].append(step["task"])


def _readers(world: World, step: Step) -> None:
    if step["kind"] != "threads":
        raise Skipped(f"readers of the kind {step['kind']!r} are not understood")
    owner = step.get("task", next(iter(world.tasks)))
    world.region(owner, step["region"])
    world.readers.append((owner, step["region"]))


def _call(world: World, step: Step) -> None:
    if step.get("syscall") != "move_pages":
        raise Skipped(f"system call {step.get('syscall')!r} arrives in a later stage")
    caller = str(step.get("task", next(iter(world.tasks), None)))
    world.task(caller)
    args = {key: value for key, value in step.items() if key not in ("op", "syscall", "task", "args")}
    args |= step.get("args", {})
    if "pages" not in args:
        if len(world.regions[caller]) != 1:
            raise Skipped("setup step 'call' does not say which pages")
        name, region = next(iter(world.regions[caller].items()))
        args["pages"] = f"{name}+0..{name}+{len(region) - 1}"
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
    # The stack of every task is mapped above everything else.
    if not re.fullmatch(r"another mapping exists above \w+", str(step.get("text"))):
        raise Skipped(f"setup in prose: {step.get('text')!r}")


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
    "cpuset": (("name", "cpus", "mems", "memory_migrate"), _cpuset),
    "cpuset_attach": (("cpuset", "task"), _cpuset_attach),
    "readers": (("kind", "region", "task"), _readers),
    "call": (("syscall", "task", "args", "pid", "pages", "nodes", "status", "flags", "count"), _call),
    "check": (("text",), _check),
    "note": (("text",), _note),
}

LATER = {
    "ksm": "KSM arrives in a later stage",
    "ksm_full_scan": "KSM arrives in a later stage",
    "swap_out": "swap arrives in a later stage",
    "cpuset_set": "cpusets that migrate memory arrive in a later stage",
    "thread": "threads with a policy of their own arrive in a later stage",
    "set_flags": "files and shared memory objects arrive in a later stage",
    "unmap_fails": "no anonymous mapping of this version refuses to be removed, and faults are not injected",
}
