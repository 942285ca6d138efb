"""The steps of a setup, one function each.

Start with :func:`perform`. A step may have the fields named in :data:`STEPS`;
one with another field is not performed half: the case is skipped and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pagemig as pm

from . import addressing, areas, cpusets, credentials, flagged, parts, placed, samepage, threads, words
from .answers import check_result
from .form import Excepted, Failed, Skipped
from .invocation import KNOWN, prepare
from .placement import CALLS
from .placement import prepare as prepare_placement
from .world import World

Step = dict[str, Any]
READING_PROCESSES = 3
LEVELS_MAX, FAMILY_MAX = 64, 4096


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


def _mmap(world: World, step: Step) -> None:
    region = areas.map_area(world, _area(step), flags=_vm_flags(step))
    name, task = step["task"], world.task(step["task"])
    if step.get("locked") == "mlock":
        task.mlock(region)
    elif step.get("locked") or words.truth(step.get("populate", False), "populate"):
        threads.touch(world, name, region, write="w" in step.get("prot", "rw"))
    if "fill" in step:
        for number, page in enumerate(region):
            value = number & 255 if step["fill"] == "page index" else words.byte(step["fill"], "fill")
            task.write(page.start, bytes([value]) * 4096)
            world.stored[name, page.start] = value
        threads.touch(world, name, region)


def _area(step: Step) -> Step:
    """The area of a step, with its size in pages and its place as ``fixed``."""
    area = {key: value for key, value in step.items() if key not in ("size", "at")}
    if "size" in step:
        pages, rest = divmod(words.size(step["size"], "size"), 4096)
        if rest or area.setdefault("pages", pages) != pages:
            raise Skipped(f"size {step['size']!r} is not understood")
    if "at" in step and area.setdefault("fixed", step["at"]) != step["at"]:
        raise Skipped("an area at two places is not understood")
    return area


def _vm_flags(step: Step) -> tuple[pm.VmFlags, ...]:
    locked = step.get("locked", False)
    if locked not in (False, True, "MAP_LOCKED", "mlock"):
        raise Skipped(f"locking with {locked!r} is not understood")
    return (pm.VmFlags.LOCKED,) if locked in (True, "MAP_LOCKED") else ()


def _touch(world: World, step: Step) -> None:
    """Touch pages of a region, or a page by its own name; a value is stored in each."""
    task, op = world.task(step["task"]), step["op"]
    access = step.get("access", "write" if op == "touch" else op)
    if access not in ("read", "write") or op not in ("touch", access):
        raise Skipped(f"access {access!r} is not understood")
    if "value" in step and access == "read":
        raise Skipped("a value that is read in the setup is not understood")
    for number, address in _touched(world, step):
        threads.touch(world, step["task"], [address], write=access == "write")
        if "value" in step:
            value = number & 255 if step["value"] == "page index" else words.byte(step["value"], "value")
            task.write(address, bytes([value]))
            world.stored[step["task"], address] = value


def _touched(world: World, step: Step) -> list[tuple[int, int]]:
    """The numbers of the pages of a step, and where they are."""
    if ("page" in step) == ("region" in step):
        raise Skipped("the step needs a page or a region")
    if "region" not in step:
        if step.get("value") == "page index":
            raise Skipped("the index of a page without a region is not understood")
        return [(0, address) for address in _addresses(world, step)]
    region, named = world.region(step["task"], step["region"]), world.regions_of(step["task"])
    start = next(whole.start for whole in named.values() if region.start in whole)
    pages = addressing.page_numbers(step.get("pages", "all"), len(region), str(step["region"]))
    addresses = [region.start + page * 4096 for page in pages]
    return [((address - start) // 4096, address) for address in addresses]


def _addresses(world: World, step: Step) -> list[int]:
    """The pages that a step names one by one, or all of its region."""
    named = [key for key in ("page", "pages", "region") if key in step]
    if named == ["region"]:
        return [page.start for page in world.region(step["task"], step["region"])]
    if "region" in named:
        return [page.start for region in parts.parts(world, step) for page in region]
    if len(named) != 1:
        raise Skipped(f"a step about {' and '.join(named) or 'no page'} is not understood")
    found = addressing.addresses(step[named[0]], world.regions_of(step["task"]))
    if not found:
        raise Skipped("a step about no page is not understood")
    return found


def _fork(world: World, step: Step) -> None:
    world.fork(step["parent"], step["child"])


def _fork_tree(world: World, step: Step) -> None:
    """Every process forks all the children it may; ``W`` is one of them, far from the root."""
    root = str(step.get("task", next(iter(world.tasks), None)))
    world.task(root)
    world.tree = [root]
    parents = [root]
    levels, most = words.number(step["levels"], "levels"), words.number(step["max_children"], "children")
    if levels > LEVELS_MAX or most**levels > FAMILY_MAX:
        raise Skipped(f"a tree of {levels} levels with {most} children each is more than is built here")
    for _ in range(levels):
        children = []
        for parent in parents:
            for number in range(most):
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
        address = addressing.address(match[2], world.regions_of(name))
        world.task(name).touch([address], write=match[1] == "write")


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
    for address in _addresses(world, step):
        frame = world.task(step["task"]).page_at(address)
        if frame is None:
            raise Failed(f"setup: nothing is present at {address:#x}")
        world.machine.isolate(frame.pfn)
        world.isolated[address] = frame.pfn


def _putback(world: World, step: Step) -> None:
    for address in _addresses(world, step):
        if address not in world.isolated:
            raise Skipped(f"the setup took no page at {address:#x} off its list")
        world.machine.putback(world.isolated.pop(address))


def _pin(world: World, step: Step) -> None:
    access = step.get("access", "read")
    if access not in ("read", "write") or not isinstance(step.get("how", ""), str):
        raise Skipped(f"access {access!r} is not understood")
    for address in _addresses(world, step):
        frame = world.task(step["task"]).pin(address, write=access == "write")
        if frame is None:
            raise Failed(f"setup: {address:#x} cannot be pinned")
        world.pinned.setdefault(address, []).append(frame)


def _unpin(world: World, step: Step) -> None:
    for address in _addresses(world, step):
        if not world.pinned.get(address):
            raise Skipped(f"the setup pinned no page at {address:#x}")
        world.task(step["task"]).unpin(world.pinned[address].pop())


def _swap_out(world: World, step: Step) -> None:
    addresses = _addresses(world, step)
    world.machine.drain()
    freed = world.task(step["task"]).swap_out(addresses)
    if freed != len(addresses):
        word = step.get("pages", step.get("page", step.get("region")))
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
    expected = args.pop("expect", {"ret": "0 every time"})
    if not isinstance(expected, dict) or not expected or set(expected) - {"ret", "errno"}:
        raise Skipped(f"what the call of the setup shall return, {expected!r}, is not understood")
    if "then" in args or ("repeat" in args and syscall == "move_pages"):
        raise Skipped(f"{syscall} of the setup with more to be done after it is not understood")
    if syscall in CALLS:
        answers = prepare_placement(world, caller, syscall, args).run()
    elif syscall == "move_pages":
        if "pages" not in args:
            name = world.region_meant(caller)
            args["pages"] = f"{name}+0..{name}+{len(world.regions[caller][name]) - 1}"
        answers = [prepare(world, caller, {"status": "array"} | args).run()]
    else:
        raise Skipped(f"system call {syscall!r} is not understood")
    for answer in answers:
        try:
            check_result(answer, expected)
        except Failed as difference:
            raise Failed(f"setup: {syscall} {difference}") from None


def _check(world: World, step: Step) -> None:
    said = placed.nodes_said(str(step.get("text")))
    if said is not None:
        placed.require_on_nodes(world, next(iter(world.tasks)), said)
        return
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
    {"syscall": 0, "task": 0, "args": 0, "expect": 0, **dict.fromkeys(KNOWN)}
    | {field: 0 for fields, _ in CALLS.values() for field in fields}
)

PAGES = ("task", "page", "pages", "region")
AREA = (
    *("task", "region", "pages", "size", "kind", "share", "prot", "fixed", "at"),
    *("mergeable", "fill", "fs", "locked", "populate"),
)

STEPS: dict[str, tuple[tuple[str, ...], Callable[[World, Step], None]]] = {
    "mmap": (AREA, _mmap),
    "touch": ((*PAGES, "access", "value"), _touch),
    "write": ((*PAGES, "value"), _touch),
    "read": (PAGES, _touch),
    "fork": (("parent", "child"), _fork),
    "fork_tree": (("levels", "max_children", "task"), _fork_tree),
    "each": (("do",), _each),
    "assert_on_nodes": (("task", "region", "nodes"), _assert_on_nodes),
    "isolate_from_lru": (PAGES, _isolate),
    "putback": (PAGES, _putback),
    "pin": ((*PAGES, "how", "access"), _pin),
    "unpin": (PAGES, _unpin),
    "drain": ((), lambda world, step: world.machine.drain()),
    "swap_out": (PAGES, _swap_out),
    "thread": (("task", "thread"), _thread),
    "unmap_fails": (("task", "page"), _unmap_fails),
    "readers": (("kind", "region", "task"), _readers),
    "call": (CALL_FIELDS, _call),
    "check": (("text",), _check),
    "note": (("text",), _note),
    **credentials.STEPS,
    **cpusets.STEPS,
    **flagged.STEPS,
    **parts.STEPS,
    **samepage.STEPS,
}
