"""``migrate_pages(2)`` and ``mbind(2)``: pages by whole nodes, and by ranges.

Start with :func:`migrate_pages` and :func:`mbind`; :func:`migrate_frames` is the
engine by frame numbers. Node masks are sets here, read
and decoded; ``check_range`` finds the pages for both.

Source: syscalls 5.2 to 5.4, 6.1 to 6.3.
Left out: reading masks from user memory, the security hook.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Collection, Sequence

from . import engine, policy, rmap, vmas
from .cpusets import allowed_nodes
from .entries import PAGE_SIZE, VM_HUGETLB
from .lookup import follow
from .memory import Flag, Frame
from .tasks import CAP_SYS_NICE, State, Task

Rule = Callable[[Frame], tuple[policy.Policy | None, int | None]]
STRICT, MOVE, MOVE_ALL = 1, 2, 4
USER_END = (1 << 47) - PAGE_SIZE


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What ``check_range`` looks for; ``inverted`` and ``with_holes`` are its internal flags."""

    nodes: Collection[int]
    flags: int
    inverted: bool = False
    with_holes: bool = False


def check_range(state: State, task: Task, start: int, end: int, wanted: Wanted, pages: list[Frame]) -> int:
    """Collect pages of a range (6.3); return 0 or an error, what was collected stays in ``pages``."""
    mm = task.memory_map
    if mm.find_vma(start) is None:
        return -errno.EFAULT
    previous: vmas.Vma | None = None
    for vma in [vma for vma in mm.vmas if vma.end > start and vma.start < end]:
        if not wanted.with_holes:
            if vma is mm.vmas[-1] and vma.end < end:
                return -errno.EFAULT
            if previous is not None and previous.end < vma.start:
                return -errno.EFAULT
        previous = vma
        moves = wanted.flags & (MOVE | MOVE_ALL) and vma.is_migratable
        if vma.flags & VM_HUGETLB or not (wanted.flags & STRICT or moves):
            continue
        for address in range(max(start, vma.start), min(end, vma.end), PAGE_SIZE):
            result = _visit(state, task, address, wanted, pages)
            if result:
                return result
    return 0


def _visit(state: State, task: Task, address: int, wanted: Wanted, pages: list[Frame]) -> int:
    """One leaf: passed by, collected (``migrate_page_add``), or an error."""
    frame = follow(state, task.memory_map, address)
    if not isinstance(frame, Frame) or frame.has(Flag.RESERVED) or frame.is_ksm:
        return 0
    if (frame.node in wanted.nodes) == wanted.inverted:
        return 0
    if not wanted.flags & (MOVE | MOVE_ALL):
        return -errno.EIO
    if wanted.flags & MOVE_ALL or frame.mapcount == 1:
        engine.collect(state, pages, frame)
    return 0


def migrate_pages(state: State, caller: Task, pid: int, old: set[int], new: set[int]) -> int:
    """Return how many isolated pages stayed, or -errno (5.2, 5.3)."""
    target = caller if pid == 0 else state.tasks.get(pid)
    if target is None:
        return -errno.ESRCH
    if target.mm is None:
        return -errno.EINVAL
    privileged = bool(caller.capabilities & CAP_SYS_NICE)
    if not {caller.euid, caller.uid} & {target.suid, target.uid} and not privileged:
        return -errno.EPERM
    if not new <= allowed_nodes(state, target) and not privileged:
        return -errno.EPERM
    if not new <= state.memory.with_memory:
        return -errno.EINVAL
    return do_migrate_pages(state, caller, target, old, new, MOVE_ALL if privileged else MOVE)


def do_migrate_pages(
    state: State, caller: Task, target: Task, old: set[int], new: set[int], flags: int
) -> int:
    """Pages of whole nodes, pair after pair (5.3)."""
    state.drain_all()
    for vma in target.memory_map.vmas:  # migrate_vmas
        answer = None if vma.file is None else vma.file.filesystem.area_migrate
        if answer:
            return min(answer, 0)
    remaining, busy = set(old), 0
    while pair := _next_pair(old, new, remaining):
        remaining.remove(pair[0])
        result = _migrate_to_node(state, caller, target, *pair, flags)
        if result < 0:
            return result
        busy += result
    return busy


def _next_pair(old: set[int], new: set[int], remaining: set[int]) -> tuple[int, int] | None:
    """Step 5: the last candidate, unless one has a destination that is no source any more."""
    found = None
    for source in sorted(remaining):
        destination = source
        if new:
            destination = sorted(new)[sorted(old).index(source) % len(new)]
        if destination == source:
            continue
        found = source, destination
        if destination not in remaining:
            break
    return found


def _migrate_to_node(
    state: State, caller: Task, target: Task, source: int, destination: int, flags: int
) -> int:
    """5.4: all pages of the target on one node; fallback is allowed, the caller's cpuset counts."""
    pages: list[Frame] = []
    check_range(state, target, 0, USER_END, Wanted({source}, flags, with_holes=True), pages)
    prefer = policy.Policy(policy.Mode.PREFERRED, (destination,))
    return _move(state, caller, pages, lambda frame: (prefer, frame.index or 0))


def mbind(state: State, caller: Task, start: int, length: int, word: int, nodes: set[int], flags: int) -> int:
    """Return 0 or -errno (6.1, 6.2); ``word`` is the mode with its flags."""
    both = policy.STATIC | policy.RELATIVE
    mode = word & ~both
    if mode > policy.Mode.INTERLEAVE or word & both == both:
        return -errno.EINVAL
    if flags & ~(STRICT | MOVE | MOVE_ALL):
        return -errno.EINVAL
    if flags & MOVE_ALL and not caller.capabilities & CAP_SYS_NICE:
        return -errno.EPERM
    if start % PAGE_SIZE:
        return -errno.EINVAL
    if mode == policy.Mode.DEFAULT:
        flags &= ~STRICT
    end = start + -(-length // PAGE_SIZE) * PAGE_SIZE
    if end == start:
        return 0
    if policy.check_mode(word, nodes):
        return -errno.EINVAL
    if flags & (MOVE | MOVE_ALL):
        state.drain_all()
    new = policy.contextualise(word, nodes, allowed_nodes(state, caller))
    if isinstance(new, int):
        return new
    pages: list[Frame] = []
    wanted = Wanted(nodes, flags, inverted=True, with_holes=new is None)
    result = check_range(state, caller, start, end, wanted, pages)
    if result:
        engine.putback_all(state, state.cpu_of(caller), engine.Batch(pages, lambda frame: None))
        return result
    applied = vmas.set_policy(caller.memory_map, start, end, new)
    left = _move(state, caller, pages, lambda frame: _policy_for(state, caller, start, frame))
    if not applied:
        return -errno.EFAULT
    return -errno.EIO if left and flags & STRICT else 0


def _policy_for(
    state: State, caller: Task, start: int, frame: Frame
) -> tuple[policy.Policy | None, int | None]:
    """The policy of the first area from ``start`` on in which a page could lie, and the index there."""
    for vma in caller.memory_map.vmas if frame.owner is not None else ():
        if vma.end <= start or (not frame.is_anon and vma.file is not frame.owner):
            continue
        address = rmap.address_in(frame, vma)
        if address is not None:
            return state.policy_at(caller, vma, address), frame.index
    return caller.policy, None


def _move(state: State, caller: Task, pages: list[Frame], rule: Rule) -> int:
    """``migrate_pages``, each frame by the policy that ``rule`` gives; 0 for no pages."""
    if not pages:
        return 0

    def new_page(old: Frame) -> engine.Target | None:
        frame = state.allocate(caller, *rule(old))
        return None if frame is None else engine.Target(frame, lambda result: None)

    return engine.migrate_pages(state, state.cpu_of(caller), engine.Batch(pages, new_page))


@dataclasses.dataclass
class EngineResult:
    """What the engine did with a list of frames; ``result`` as the core's functions return it."""

    result: int
    statuses: list[int]
    attempts: list[int]
    passes: int
    discarded: int


def migrate_frames(
    state: State, pfns: Sequence[int], node: int | None, *, exact: bool, offlining: bool
) -> EngineResult:
    """Drain, isolate and migrate frames on behalf of the kernel."""
    state.drain_all()
    pages: list[Frame] = []
    seen = [engine.collect(state, pages, state.memory.frames[pfn]) for pfn in pfns]
    statuses: dict[int, int] = {}
    attempts = dict.fromkeys(pfns, 0)

    def new_page(old: Frame) -> engine.Target | None:
        if exact and node is not None:
            frame = policy.allocate_on(state.memory, node)
        else:
            rule = None if node is None else policy.Policy(policy.Mode.PREFERRED, (node,))
            frame = state.allocate(state.kernel, rule, None)
        if frame is None:
            return None
        attempts[old.pfn] += 1

        def report(result: int) -> None:
            statuses[old.pfn] = result

        return engine.Target(frame, report)

    result = 0
    batch = engine.Batch(pages, new_page, offlining=offlining)
    if pages:
        result = engine.migrate_pages(state, state.cpus[0], batch)
    answers = [
        statuses.get(pfn, result) if isolated else -errno.EBUSY
        for pfn, isolated in zip(pfns, seen, strict=True)
    ]
    tried = [attempts[pfn] if isolated else 0 for pfn, isolated in zip(pfns, seen, strict=True)]
    return EngineResult(result, answers, tried, batch.passes, batch.attempts - batch.moved)
