"""The steps of a scenario, done: each verb as a value of `pagemig.calls`, or at once.

Start with `value_of`, which makes the call of a step, and `perform`, which does a step of a
setup to its end. Neighbours: `pagemig.scenario.steps` for what a step says, and
`pagemig.scenario.world` for what its names mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from .. import calls, syscalls
from ..call import CallValue
from ..calls.value import run_now
from ..errors import OutOfMemoryError, SyscallError, UsageError
from ..flags import NODES_MAX, Advice, MbindFlags, MoveScope, PageFamily, PageFlags, PolicyMode, Protection
from ..permissions import SecurityHook
from ..policy import Policy
from ..region import Region
from ..results import AccessResult, Anywhere, ToNode
from ..system import KERNEL
from ..user_memory import UserMemory
from . import call_steps, setup_steps
from .call_steps import PolicyPart
from .part import Step
from .raw_acting import RAW
from .values import ERRNOS, PROTECTIONS
from .world import World, capabilities, map_region

_NOWHERE = UserMemory(np.zeros(0, dtype=np.uint64))
"""User memory that the caller has not got."""

_NOWHERE_32 = UserMemory(np.zeros(0, dtype=np.int32))

Maker = Callable[[World, Any], CallValue]


def value_of(world: World, step: Step) -> CallValue:
    """Return the call that a step makes, with its names looked up now."""
    return _MAKERS[str(getattr(step, "do", ""))](world, step)


def refused_pointer(world: World, step: Step) -> int:
    """Make a system call whose arguments are partly nowhere; return the errno, positive, 0 for none.

    A call that cannot read its arguments ends before its first step, so it is made at once.
    """
    wrong, by = getattr(step, "bad_pointer", None), step.by
    if wrong is None or wrong == "status" or by is None:
        return 0
    caller = world.task(by)
    if isinstance(step, call_steps.MovePages):
        target = world.tasks[step.target] if isinstance(step.target, str) else step.target or 0
        where = world.where(step.pages, step.target if isinstance(step.target, str) else by)
        addresses = where.addresses if isinstance(where, Region) else where
        nodes = np.array(np.broadcast_to(step.nodes or 0, addresses.shape), dtype=np.int32)
        status = np.zeros(addresses.size, dtype=np.int32)
        flags = MoveScope[step.scope.upper()].value
        if wrong == "pages":
            return -syscalls.move_pages(caller, target, addresses.size, _NOWHERE, nodes, status, flags)
        return -syscalls.move_pages(caller, target, addresses.size, addresses, _NOWHERE_32, status, flags)
    if isinstance(step, call_steps.MigratePages):
        target = world.tasks[step.target] if isinstance(step.target, str) else step.target or 0
        old: Any = _NOWHERE if wrong == "old_nodes" else frozenset(step.old_nodes)
        new: Any = _NOWHERE if wrong == "new_nodes" else frozenset(step.new_nodes)
        return -syscalls.migrate_pages(caller, target, NODES_MAX + 1, old, new)
    if isinstance(step, call_steps.Mbind):
        region, flags = world.region(step.region, by), int(_bind_flags(step.flags))
        mode = policy_of(step.policy).word
        return -syscalls.mbind(caller, region.start, region.length, mode, _NOWHERE, NODES_MAX + 1, flags)
    return 0


def remember(world: World, step: Step, result: Any) -> None:
    """Keep what a step has made under the name that it gives."""
    verb = getattr(step, "do", "")
    if isinstance(step, call_steps.Unpin):
        _release(world, step)
    if result is None:
        return
    if verb == "fork":
        world.add_child(getattr(step, "name", ""), result.pid, world.tasks[str(step.by)])
    elif verb == "mremap" and isinstance(result, Region) and getattr(step, "name", None):
        world.add_region(getattr(step, "name", ""), result)
    elif verb in ("pin", "lookup"):
        for word in (getattr(step, "name", None), getattr(step, "id", None)):
            if word is not None:
                world.pins[word] = result
        by = step.by or "the kernel"
        known = getattr(step, "name", None) or getattr(step, "id", None)
        world.holders.setdefault(result, []).append(f"{known} of {by}" if known else by)


def _release(world: World, step: call_steps.Unpin) -> None:
    """Take one of those who hold a frame off the list: the one that is named, else the last."""
    held = world.holders.get(world.frame(step.pfn), [])
    named = next((who for who in held if who.startswith(f"{step.pfn} of ")), None)
    if held:
        gone = named if named is not None else held[-1]
        held.remove(gone)
        world.released.setdefault(world.frame(step.pfn), []).append(gone)


def perform(world: World, step: Step, where: str) -> None:
    """Do a step of a setup, to its end.

    Raises
    ------
    UsageError
        It cannot be done, or fails: a setup has to go well.
    """
    try:
        result = act(world, step)
    except (UsageError, SyscallError, OutOfMemoryError) as error:
        raise UsageError(f"{where}: {error}") from None
    if isinstance(result, AccessResult):
        for signal, addresses in (("SIGSEGV", result.sigsegv), ("SIGBUS", result.sigbus)):
            if addresses.size:
                raise UsageError(f"{where}: {signal} at {int(addresses[0]):#x}")
    verb = getattr(step, "do", "")
    if verb in ("pin", "lookup") and result is None:
        raise UsageError(f"{where}: there is no page to be had there")
    remember(world, step, result)
    world.released.clear()


def act(world: World, step: Step) -> Any:
    """Do a step to its end; raise what it raises."""
    verb = str(getattr(step, "do", ""))
    if verb in _AT_ONCE:
        return _AT_ONCE[verb](world, step)
    pid = KERNEL if step.by is None else world.task(step.by).pid
    return run_now(world.machine._system, pid, value_of(world, step))


# calls -----------------------------------------------------------------------------------


def _move_pages(world: World, step: call_steps.MovePages) -> CallValue:
    target = world.tasks[step.target] if isinstance(step.target, str) else step.target
    seen_by = step.target if isinstance(step.target, str) else step.by
    where = world.where(step.pages, seen_by)
    if isinstance(where, Region) and not isinstance(step.target, (str, type(None))):
        where = where.addresses
    scope = MoveScope[step.scope.upper()]
    status = _NOWHERE_32 if step.bad_pointer == "status" else None
    return calls.move_pages(where, step.nodes, target=target, scope=scope, status=status)


def _migrate_pages(world: World, step: call_steps.MigratePages) -> CallValue:
    target = world.tasks[step.target] if isinstance(step.target, str) else step.target
    return calls.migrate_pages(target, step.old_nodes, step.new_nodes)


def policy_of(part: PolicyPart) -> Policy:
    """Return the policy that a part describes."""
    return Policy(PolicyMode[part.mode.upper()], part.nodes, static=part.static, relative=part.relative)


def _mbind(world: World, step: call_steps.Mbind) -> CallValue:
    region = world.region(step.region, step.by)
    return calls.mbind(region, policy_of(step.policy), flags=_bind_flags(step.flags))


def _bind_flags(words: tuple[str, ...]) -> MbindFlags:
    return reduce(lambda have, word: have | MbindFlags[word], words, MbindFlags.NONE)


def _mprotect(world: World, step: call_steps.Mprotect) -> CallValue:
    return calls.mprotect(world.region(step.region, step.by), Protection(PROTECTIONS[step.protection]))


def _mremap(world: World, step: call_steps.Mremap) -> CallValue:
    return calls.mremap(world.region(step.region, step.by), step.length, to=step.to)


def _madvise(world: World, step: call_steps.Madvise) -> CallValue:
    return calls.madvise(world.region(step.region, step.by), Advice[step.advice.upper()])


def _swap_out(world: World, step: call_steps.SwapOut) -> CallValue:
    where = world.where(step.address, step.by)
    first = where.start if isinstance(where, Region) else int(where[0])
    return calls.swap_out(first)


def _write_file(world: World, step: call_steps.WriteFile) -> CallValue:
    data = None if step.data is None else step.data.encode()
    return calls.write_file(world.file(step.file), step.offset, data, size=step.size)


def _offline(world: World, step: call_steps.Offline) -> CallValue:
    if step.node is None:
        first, count = step.first_pfn or 0, step.count or 1
    else:
        first, count = node_frames(world, step.node)
        count = count if step.count is None else step.count
    return calls.offline(first, count, timeout=step.timeout)


def node_frames(world: World, node: int) -> tuple[int, int]:
    """Return the first frame of a node and how many it has."""
    first = 0
    for owner, _, frames, *_ in world.machine._system.plan.zones:
        if owner == node:
            break
        first += frames
    count = sum(frames for owner, _, frames, *_ in world.machine._system.plan.zones if owner == node)
    return first, count


def _migrate_frames(world: World, step: call_steps.MigrateFrames) -> CallValue:
    target = Anywhere() if step.node is None else ToNode(step.node)
    return calls.migrate_frames(world.frames(step.pfns), target, offlining=step.offlining)


_MAKERS: dict[str, Maker] = {
    "move_pages": _move_pages,
    "migrate_pages": _migrate_pages,
    "mbind": _mbind,
    "touch": lambda world, step: calls.touch(world.where(step.where, step.by), write=step.write),
    "read": lambda world, step: calls.read(_seen(world, step.address, step.by), step.size),
    "write": lambda world, step: calls.write(_seen(world, step.address, step.by), step.data.encode()),
    "fork": lambda world, step: calls.fork(step.name),
    "exit": lambda world, step: calls.exit(),
    "munmap": lambda world, step: calls.munmap(world.region(step.region, step.by)),
    "mprotect": _mprotect,
    "mremap": _mremap,
    "madvise": _madvise,
    "mlock": lambda world, step: calls.mlock(world.region(step.region, step.by)),
    "munlock": lambda world, step: calls.munlock(world.region(step.region, step.by)),
    "swap_out": _swap_out,
    "pin": lambda world, step: calls.pin(_seen(world, step.address, step.by), write=step.write),
    "unpin": lambda world, step: calls.unpin(world.frame(step.pfn)),
    "read_file": lambda world, step: calls.read_file(world.file(step.file), step.offset, step.size),
    "write_file": _write_file,
    "truncate": lambda world, step: calls.truncate(world.file(step.file), step.size),
    "lookup": lambda world, step: calls.lookup(world.file(step.file), step.page),
    "writeback": lambda world, step: calls.writeback(world.file(step.file), step.page),
    "invalidate": lambda world, step: calls.invalidate(world.file(step.file), step.page),
    "complete_io": lambda world, step: calls.complete_io(),
    "drain": lambda world, step: calls.drain(),
    "reclaim": lambda world, step: calls.reclaim(
        step.node, step.pages, family=PageFamily[step.family.upper()]
    ),
    "ksm_scan": lambda world, step: calls.ksm_scan(),
    "offline": _offline,
    "soft_offline": lambda world, step: calls.soft_offline(world.frame(step.pfn)),
    "migrate_frames": _migrate_frames,
    "set_cpuset_mems": lambda world, step: calls.set_cpuset_mems(world.cpusets[step.cpuset], step.mems),
    "attach_cpuset": lambda world, step: calls.attach_cpuset(
        world.cpusets[step.cpuset], world.task(step.task)
    ),
}


def _seen(world: World, text: str, task: str | None) -> int:
    """Return an address; which task sees it makes no difference to the number."""
    return world.address(text)


# steps that run at once ------------------------------------------------------------------


def _swap_out_all(world: World, step: call_steps.SwapOut) -> int:
    return world.task(step.by).swap_out(world.where(step.address, step.by))


def _mmap(world: World, step: setup_steps.Mmap) -> None:
    world.add_region(step.name, map_region(world, step.by, step))


def _set_swap_device(world: World, step: setup_steps.SetSwapDevice) -> None:
    ticks = None if isinstance(step.io_ticks, str) else step.io_ticks
    world.machine.set_swap_device(io_ticks=ticks, congested=step.congested)


def _veto(world: World, step: setup_steps.Veto) -> None:
    pair = world.task(step.caller).pid, world.task(step.target).pid
    vetoes = {**world.machine.security_hook.vetoes, pair: ERRNOS[step.errno]}
    world.machine.security_hook = SecurityHook(vetoes)


def _set_task(world: World, step: setup_steps.SetTask) -> None:
    task = world.task(step.by)
    for field in ("uid", "euid", "suid", "cpu", "mems_allowed"):
        value = getattr(step, field)
        if value is not None:
            setattr(task, field, value)
    if step.capabilities is not None:
        task.capabilities = capabilities(step.capabilities)
    if step.signal is not None:
        task.signal(pending=step.signal)


def _hold_buffer(world: World, step: setup_steps.HoldBuffer) -> None:
    world.file(step.file).hold_buffer(step.page, step.at, lock=step.lock)


def _isolate(world: World, step: setup_steps.Isolate) -> None:
    pfn = world.frame(step.pfn)
    world.machine.isolate(pfn)
    world.taken.add(pfn)


def _putback(world: World, step: setup_steps.Putback) -> None:
    pfn = world.frame(step.pfn)
    world.machine.putback(pfn)
    world.taken.discard(pfn)


_AT_ONCE: dict[str, Callable[[World, Any], Any]] = {
    **RAW,
    "swap_out": _swap_out_all,
    "mmap": _mmap,
    "set_mempolicy": lambda world, step: world.task(step.by).set_mempolicy(policy_of(step.policy)),
    "advance": lambda world, step: world.machine.advance(step.ticks),
    "hold_buffer": _hold_buffer,
    "release_buffer": lambda world, step: world.file(step.file).release_buffer(step.page, step.at),
    "set_page_flag": lambda world, step: world.machine.set_page_flag(
        world.frame(step.pfn), PageFlags[step.flag], step.on
    ),
    "isolate": _isolate,
    "putback": _putback,
    "set_swap_device": _set_swap_device,
    "veto": _veto,
    "set_task": _set_task,
}
