"""Calls that place memory otherwise than page by page, as the kernel gets them.

Start with :func:`prepare`, which reads the arguments of ``migrate_pages``,
``mbind``, ``set_mempolicy`` and ``get_mempolicy``, and of the first touches that are
written as calls. Neighbours: ``cpusets`` and ``samepage`` have more calls, ``segments``
what ``mbind`` does to parts of a segment, ``invocation`` does the same for ``move_pages``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from typing import Any

import numpy as np
import numpy.typing as npt

import pagemig as pm

from . import addressing, areas, cpusets, samepage, segments, threads, words
from .form import Skipped
from .invocation import faults_at_once, is_null, target_pid, times
from .planned import Make, PlacementCall
from .world import World

NodeMask = npt.NDArray[np.uint64] | pm.UserMemory | Set[int] | None
MASK_WORDS = 512
REPEATED = ("migrate_pages", "mbind", "set_mempolicy", "get_mempolicy")
"""Calls that mean the same when made again."""
ROUNDS_MAX = 1000


def prepare(world: World, caller: str, syscall: str, args: dict[str, Any]) -> PlacementCall:
    """Read the arguments of a call."""
    fields, function = CALLS[syscall]
    unknown = set(args) - set(fields) - {"then"} - ({"repeat"} if syscall in REPEATED else set())
    if unknown:
        raise Skipped(f"the call has unknown arguments {sorted(unknown)}")
    call = function(world, caller, args)
    if "repeat" in args and syscall in REPEATED:
        call.makes *= times(args["repeat"], ROUNDS_MAX)
    for word in _list(args.get("then")):
        if isinstance(word, dict) and "syscall" in word:
            changed = {key: value for key, value in word.items() if key != "syscall"}
            if word["syscall"] != syscall or set(changed) - set(fields):
                raise Skipped(f"what shall be done then, {word!r}, is not understood")
            call.makes += function(world, caller, {**args, **changed}).makes
    regions = world.regions.get(call.owner, {})
    call.addresses = [page.start for region in regions.values() for page in region]
    return call


def follow(call: PlacementCall, then: object) -> None:
    """Do what a case says comes after its call, apart from more calls."""
    for word in _list(then):
        if isinstance(word, dict) and ("syscall" in word or word.get("op") == "fork"):
            if set(word) - {"syscall", "op", "parent", "child"} and "op" in word:
                raise Skipped(f"what shall be done then, {word!r}, is not understood")
            if word.get("op") == "fork":
                call.world.fork(str(word["parent"]), str(word["child"]))
            continue
        for part in str(word).split(", "):
            _follow(call, part)


def _list(word: object) -> list[Any]:
    return word if isinstance(word, list) else [] if word is None else [word]


def _follow(call: PlacementCall, word: str) -> None:
    world = call.world
    if match := re.fullmatch(r"(\d+) anonymous pages touched in (\w+)", word):
        world.last_touch = int(match[1])
        _touch_new(world, match[2], int(match[1]))
    elif match := re.fullmatch(r"then in (\w+)", word):
        _touch_new(world, match[1], world.last_touch)
    elif match := re.fullmatch(r"touch (\d+|(\d+)\*N) anonymous pages", word):
        pages = int(match[2]) * len(world.with_memory) if match[2] else int(match[1])
        world.fork(call.caller, "its child")
        _touch_new(world, "its child", pages)
        _touch_new(world, call.caller, pages)
    elif match := re.fullmatch(r"touch a new page (\w+)", word):
        _touch_new(world, call.caller, 1, match[1])
    elif match := re.fullmatch(r"unmap (\w+)", word):
        threads.unmap(world, call.caller, world.region(call.caller, match[1]))
        call.addresses = []
    elif match := re.fullmatch(r"write every page of (\w+)", word):
        threads.touch(world, call.caller, world.region(call.caller, match[1]))
    elif match := re.fullmatch(r"write (\d+)\*N files of (\d+)\*i \+ j%(\d+) pages", word):
        _write_files(world, call.caller, *(int(group) for group in match.groups()))
    elif word in segments.FOLLOW:
        segments.FOLLOW[word](call)
    else:
        raise Skipped(f"what shall be done then, {word!r}, is not understood")


def _touch_new(world: World, name: str, pages: int, region: str = "touched") -> None:
    mapped = areas.map_area(world, {"task": name, "region": region, "pages": pages})
    world.touched[name] = [mapped]
    threads.touch(world, name, mapped)


def _write_files(world: World, name: str, files: int, step: int, cycle: int) -> None:
    """Write files of many sizes through mappings: i counts the nodes, j the files of each."""
    regions = []
    for i in range(1, len(world.with_memory) + 1):
        for j in range(1, files + 1):
            area = {"task": name, "region": f"file{i}_{j}", "kind": "file", "share": "shared"}
            regions.append(areas.map_area(world, {**area, "pages": step * i + j % cycle}))
            threads.touch(world, name, regions[-1])
    world.touched[name] = regions


def _mask(world: World, word: object) -> NodeMask:
    """Read ``[0, 1]``, ``0-1``, ``none``, ``all``, ``all bits``, ``bits 1 and 40``, a pointer, or null."""
    if is_null(word):
        return None
    if faults_at_once(word):
        return pm.UserMemory(np.zeros(1, np.uint64), valid_bytes=0)
    if word == "all":
        return set(world.with_memory)
    if word == "all bits":
        return set(range(64))
    if isinstance(word, str) and (match := re.fullmatch(r"bits (\d+(?:(?:, | and )\d+)*)", word)):
        return {int(bit) for bit in re.findall(r"\d+", match[1])}
    if isinstance(word, list) and all(isinstance(node, int) for node in word):
        return set(word)
    # A number would be the mask itself, or a node.
    if isinstance(word, str) and not re.search("0[xX]", word):
        return set(words.node_set(re.sub(r"^(bit|node)s? (?=\d)", "", word), world.with_memory))
    raise Skipped(f"node mask {word!r} is not understood")


def _maxnode(world: World, word: object) -> int:
    """Read how many bits a mask has, and one: ``possible`` and ``max`` are all that there can be."""
    if word is None:
        return 65
    match = re.fullmatch(r"(\w+?)\s*(?:\+\s*(\d+))?", word) if isinstance(word, str) else None
    known = {"possible": 64, "max": 8 * 4096, "max_node": max(world.machine.nodes)}
    if match and match[1] in known:
        return known[match[1]] + int(match[2] or 0)
    return words.number(word, "maxnode")


def _migrate_pages(world: World, caller: str, args: dict[str, Any]) -> PlacementCall:
    pid, owner = target_pid(world, caller, args.get("pid", 0))
    old, new = _mask(world, args.get("old")), _mask(world, args.get("new"))
    task, bits = world.task(caller), _maxnode(world, args.get("maxnode"))
    moves_shared = pm.Capability.SYS_NICE in task.capabilities
    threads.require_all_pages(world, owner, moves_shared=moves_shared)
    return PlacementCall(world, caller, owner, [lambda: pm.syscalls.migrate_pages(task, pid, bits, old, new)])


def _mbind(world: World, caller: str, args: dict[str, Any]) -> PlacementCall:
    task, bits = world.task(caller), _maxnode(world, args.get("maxnode"))
    flags, mask = words.flags(args.get("flags")), _mask(world, args.get("nodemask"))
    threads.require_all_pages(world, caller, moves_shared=flags & 6 != 2)

    def make(start: int, length: int, mode: int, nodes: NodeMask) -> Make:
        return lambda: pm.syscalls.mbind(task, start, length, mode, nodes, bits, flags)

    if "seq" not in args:
        start, length = _address(world, caller, args["addr"]), words.size(args["len"], "length")
        return PlacementCall(
            world, caller, caller, [make(start, length, words.mode_word(args["mode"]), mask)]
        )
    if beside := sorted(set(args) & {"addr", "len", "mode"}):
        raise Skipped(f"a call that is a sequence and has {beside} is not understood")
    call = PlacementCall(world, caller, caller, [])
    for word in args["seq"]:
        start, length, mode, nodes = segments.piece(world, caller, word)
        wanted = mask if nodes is None and mode != pm.PolicyMode.DEFAULT else set(nodes or ()) or None
        call.ranges.append((start, length, mode, sorted(nodes or ())))
        call.makes.append(make(start, length, mode, wanted))
    return call


def _set_mempolicy(world: World, caller: str, args: dict[str, Any]) -> PlacementCall:
    task, bits = world.task(caller), _maxnode(world, args.get("maxnode"))
    mode, mask = words.mode_word(args["mode"]), _mask(world, args.get("nodemask"))
    make = [lambda: pm.syscalls.set_mempolicy(task, mode, mask, bits)]
    return PlacementCall(world, caller, caller, make)


def _get_mempolicy(world: World, caller: str, args: dict[str, Any]) -> PlacementCall:
    task, bits = world.task(caller), _maxnode(world, args.get("maxnode"))
    flags, address = words.flags(args.get("flags")), _address(world, caller, args.get("addr", 0))
    mode, mask = np.full(1, -1, np.int32), np.full(MASK_WORDS, 1 << 63, np.uint64)

    def pointer(word: object, array: Any) -> Any:
        if is_null(word):
            return None
        if word != "ptr" and not faults_at_once(word):
            raise Skipped(f"pointer {word!r} is not understood")
        return array if word == "ptr" else pm.UserMemory(array, valid_bytes=0)

    to = pointer(args.get("mode"), mode), pointer(args.get("nodemask"), mask)
    make = [lambda: pm.syscalls.get_mempolicy(task, *to, bits, address, flags)]
    return PlacementCall(
        world, caller, caller, make, mode if to[0] is mode else None, mask if to[1] is mask else None
    )


def _address(world: World, caller: str, word: object) -> int:
    if word == "ptr:-1":
        return (1 << 64) - 1
    if word in ("mapped", "an object on the heap"):
        return world.task(caller).regions[0].start + (0 if word == "mapped" else 24)
    if is_null(word):
        return 0
    regions = world.regions_of(caller)
    if isinstance(word, str) and word.strip() in regions:
        return regions[word.strip()].start
    found = addressing.addresses(word, regions)
    if len(found) != 1:
        raise Skipped(f"address {word!r} is not one address")
    return found[0]


def _first_touch(world: World, caller: str, args: dict[str, Any]) -> PlacementCall:
    """Map memory, lock it where the case says so, and touch it."""
    locked = args.get("locked")
    if args.get("op") != "mmap":
        raise Skipped(f"a first touch after {args.get('op')!r} is not understood")
    if locked not in (None, "MAP_LOCKED", "mlock"):
        raise Skipped(f"locking with {locked!r} is not understood")

    def make() -> int:
        flags = (pm.VmFlags.LOCKED,) if locked == "MAP_LOCKED" else ()
        region = areas.map_area(world, args, flags=flags)
        if locked == "mlock":
            world.task(args["task"]).mlock(region)
        threads.touch(world, args["task"], region)
        return 0

    return PlacementCall(world, caller, args["task"], [make])


def _touch_1_mib(world: World, caller: str, args: dict[str, Any]) -> PlacementCall:
    def make() -> int:
        _touch_new(world, caller, 256)
        return 0

    return PlacementCall(world, caller, caller, [make])


AREA_FIELDS = ("op", "task", "region", "pages", "kind", "share", "prot", "locked", "fs")

CALLS: dict[str, tuple[tuple[str, ...], Callable[[World, str, dict[str, Any]], PlacementCall]]] = {
    "migrate_pages": (("pid", "maxnode", "old", "new"), _migrate_pages),
    "mbind": (("addr", "len", "mode", "nodemask", "maxnode", "flags", "seq"), _mbind),
    "set_mempolicy": (("mode", "nodemask", "maxnode"), _set_mempolicy),
    "get_mempolicy": (("mode", "nodemask", "maxnode", "addr", "flags"), _get_mempolicy),
    "(first touch)": (AREA_FIELDS, _first_touch),
    "(touch 1 MiB)": ((), _touch_1_mib),
    **cpusets.CALLS,
    **samepage.CALLS,
}
