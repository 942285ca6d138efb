"""Taking memory away: a range of frames, or a single bad one.

Start with :func:`offline` and :func:`soft_offline`.

Source: syscalls 7 and 8; data model 1.2 and 2.2.
Left out: signals, notifiers other than KSM's.
"""

from __future__ import annotations

import errno

from . import engine, lru, policy, removal, transfers
from .engine import Batch, Target, collect
from .memory import ISOLATE, MOVABLE, OFFLINE, Flag, Frame
from .tasks import State, Task

BUDGET = 256
TRIES = 5


def offline(state: State, task: Task, first: int, count: int, timeout: int) -> int:
    """``offline_pages``: 0 or -errno. A round that leaves pages behind takes a tick."""
    memory = state.memory
    end = first + count
    if first % memory.block or end % memory.block:
        return -errno.EINVAL
    if end > len(memory.frames) or len({frame.node for frame in memory.frames[first:end]}) != 1:
        return -errno.EINVAL
    blocks = range(first, end, memory.block)
    if any(memory.block_type(block) != MOVABLE for block in blocks):
        return -errno.EBUSY
    _mark(state, first, end, ISOLATE)
    result = _empty(state, task, first, end, timeout)
    if result == 0 and any(frame.count or not _is_free(state, frame) for frame in memory.frames[first:end]):
        result = -errno.EBUSY
    if result:
        _mark(state, first, end, MOVABLE)
        return result
    node = memory.nodes[memory.frames[first].node]
    node.isolated -= set(range(first, end))
    node.present -= count
    for block in blocks:
        node.blocks[block] = OFFLINE
    state.ksm.forget_range(first, end)
    return 0


def _is_free(state: State, frame: Frame) -> bool:
    return frame.pfn in state.memory.nodes[frame.node].isolated


def _mark(state: State, first: int, end: int, kind: int) -> None:
    """Set the type of pageblocks; their free frames move along."""
    node = state.memory.nodes[state.memory.frames[first].node]
    for block in range(first, end, state.memory.block):
        node.blocks[block] = kind
    span = set(range(first, end))
    source, target = (node.free, node.isolated) if kind == ISOLATE else (node.isolated, node.free)
    target |= source & span
    source -= span


def _empty(state: State, task: Task, first: int, end: int, timeout: int) -> int:
    """The loop of step 5."""
    deadline = state.now + timeout
    drain, tries = False, TRIES
    while True:
        if state.now > deadline:
            return -errno.EAGAIN
        if drain:
            state.drain_all()
        found = next((pfn for pfn in range(first, end) if state.memory.frames[pfn].has(Flag.LRU)), 0)
        if not found:
            state.drain_all()
            return 0
        result = _migrate_range(state, task, found, end)
        if result < 0:
            tries -= 1
            if not tries:
                return result
        if result:
            transfers.advance(state, 1)
        drain = True


def _migrate_range(state: State, task: Task, first: int, end: int) -> int:
    """``do_migrate_range``."""
    pages: list[Frame] = []
    unmanaged = 0
    for pfn in range(first, end):
        frame = state.memory.frames[pfn]
        if len(pages) == BUDGET:
            break
        if frame.count and not collect(state, pages, frame):
            unmanaged += 1
    batch = Batch(pages, lambda old: _anywhere(state, task), offlining=True)
    if unmanaged:
        engine.putback_all(state, state.cpu_of(task), batch)
        return -errno.EBUSY
    return engine.migrate_pages(state, state.cpu_of(task), batch) if pages else 0


def _anywhere(state: State, task: Task) -> Target | None:
    """A frame by the task's policy."""
    frame = state.allocate(task, task.policy, None)
    return None if frame is None else Target(frame, lambda result: None)


def soft_offline(state: State, task: Task, pfn: int) -> int:
    """Move what a bad frame holds, and let nobody have the frame again."""
    memory, cpu = state.memory, state.cpu_of(task)
    frame = memory.frames[pfn]
    for attempt in range(2):
        if not frame.count:
            node = memory.nodes[frame.node]
            if pfn not in node.free and pfn not in node.isolated:
                return -errno.EIO
            frame.flags |= Flag.HWPOISON
            return 0
        frame.count += 1
        if frame.has(Flag.LRU):
            break
        if attempt:
            return -errno.EIO
        lru.put(memory, frame)
        state.drain_all()
    frame.flags |= Flag.LOCKED
    transfers.wait_for_writeback(state, frame)
    if frame.has(Flag.HWPOISON):
        frame.flags &= ~Flag.LOCKED
        lru.put(memory, frame)
        return -errno.EBUSY
    gone = removal.invalidate(state, cpu, frame)
    frame.flags &= ~Flag.LOCKED
    lru.put(memory, frame)
    if gone:
        # Free by now, unless it is still referenced: poisoned like any free frame.
        frame.flags |= Flag.HWPOISON
        return 0
    if not lru.isolate(memory, frame):
        return -errno.EBUSY
    return _move_away(state, task, frame)


def _move_away(state: State, task: Task, frame: Frame) -> int:
    """Migrate one page; only the repaired profile counts it as isolated (Q19)."""
    if state.repaired:
        state.memory.add(frame, lru.isolated_counter(frame), 1)
    near = policy.Policy(policy.Mode.PREFERRED, (frame.node,))

    def new_page(old: Frame) -> Target | None:
        new = state.allocate(task, near, 0)
        return None if new is None else Target(new, lambda result: None)

    batch = Batch([frame], new_page, uncounted=not state.repaired)
    result = engine.migrate_pages(state, state.cpu_of(task), batch)
    if result > 0:
        return -errno.EIO
    if result == 0:
        frame.flags |= Flag.HWPOISON
    return result
