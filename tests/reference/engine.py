"""The migration engine: ten passes over a list of isolated pages.

Start with :func:`migrate_pages`. Below it ``_attempt`` is ``unmap_and_move``,
``_move_to_new`` is ``move_to_new_page``; step labels stand beside the steps. The
methods of address spaces are in ``engine_methods``.

Source: migration.md 2 to 4, 13 to 15; supporting paths 13.
Left out: waiting for page locks (nobody else ever holds one).
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable

from . import engine_methods, groups, lru, transfers, writeback
from .lru import isolated_counter
from .memory import Flag, Frame
from .tasks import State
from .unmap import restore, try_to_unmap


@dataclasses.dataclass
class Target:
    """A new frame, and where the result of the attempt is written (may be nowhere)."""

    frame: Frame
    report: Callable[[int], None]


@dataclasses.dataclass
class Batch:
    """What is being migrated, and how.

    ``tolerant`` is for soft offline, which does not raise the isolated counter that
    is lowered here (Q19).
    """

    pages: list[Frame]
    new_page: Callable[[Frame], Target | None]
    offlining: bool = False
    uncounted: bool = False
    passes: int = 0
    attempts: int = 0
    moved: int = 0


def migrate_pages(state: State, cpu: lru.Cpu, batch: Batch) -> int:
    """Move isolated pages; return how many stayed, or -ENOMEM (MP-1 to MP-6)."""
    failed = 0
    retry = 1
    for number in range(10):
        if not retry:
            break
        retry = 0
        batch.passes += 1
        for frame in list(batch.pages):
            result = _attempt(state, cpu, batch, frame, force=number > 2)
            if result == -errno.ENOMEM:
                putback_all(state, cpu, batch)
                return result
            if result == -errno.EAGAIN:
                retry += 1
            elif result:
                failed += 1
    putback_all(state, cpu, batch)
    return failed + retry


def collect(state: State, pages: list[Frame], frame: Frame) -> bool:
    """Isolate a page for migration and count it; False where it is on no list."""
    if not lru.isolate(state.memory, frame):
        return False
    pages.append(frame)
    state.memory.add(frame, isolated_counter(frame), 1)
    return True


def putback_all(state: State, cpu: lru.Cpu, batch: Batch) -> None:
    """``putback_lru_pages`` (PB-1 to PB-4)."""
    for frame in batch.pages:
        _uncount(state, batch, frame)
        lru.putback(state.memory, cpu, frame)
    batch.pages.clear()


def _uncount(state: State, batch: Batch, frame: Frame) -> None:
    state.memory.add(frame, isolated_counter(frame), -1)
    if batch.uncounted:
        state.drift[isolated_counter(frame), frame.node] -= 1


def _attempt(state: State, cpu: lru.Cpu, batch: Batch, old: Frame, *, force: bool) -> int:
    """``unmap_and_move``."""
    target = batch.new_page(old)  # UM-1
    if target is None:
        return -errno.ENOMEM
    batch.attempts += 1
    result = 0
    if old.count > 1:  # UM-2
        assert not old.has(Flag.LOCKED)
        old.flags |= Flag.LOCKED  # UM-3
        result = _locked(state, cpu, batch, target.frame, old, force=force)
        old.flags &= ~Flag.LOCKED  # UM-15
        batch.moved += int(result == 0)
        if result != -errno.EAGAIN:  # UM-16
            batch.pages.remove(old)
            _uncount(state, batch, old)
            lru.putback(state.memory, cpu, old)
    node = target.frame.node
    lru.putback(state.memory, cpu, target.frame)  # UM-17
    target.report(result or node)  # UM-18
    return result


def _locked(state: State, cpu: lru.Cpu, batch: Batch, new: Frame, old: Frame, *, force: bool) -> int:
    """UM-4 to UM-14."""
    if old.is_ksm and not batch.offlining:  # UM-4
        return -errno.EBUSY
    charge = groups.prepare_migration(old, repaired=state.repaired)  # UM-5
    if charge is None:
        return -errno.ENOMEM
    result = -errno.EAGAIN
    if not old.has(Flag.WRITEBACK) or force:  # UM-6
        transfers.wait_for_writeback(state, old)
        result = _unmap_and_move(state, cpu, charge, new, old)
    charge.end(old, new)  # UM-14
    if charge.group is not None and not state.repaired:
        _write_down(state, charge, new, result)
    return result


def _write_down(state: State, charge: groups.Migration, new: Frame, result: int) -> None:
    """The ledgers of Q17 and Q18: a mapped file page moved, a charge went to a page that is thrown away."""
    assert charge.group is not None
    if charge.lost_mapping:
        state.drift["mapped_file", charge.group.number] -= 1
    if result and charge.target is new and new.record is not None:
        new.record.leaked = True


def _unmap_and_move(state: State, cpu: lru.Cpu, charge: groups.Migration, new: Frame, old: Frame) -> int:
    """UM-8 to UM-11."""
    if old.owner is None and old.has_private:  # UM-8
        writeback.try_to_free_buffers(state, old)
        return -errno.EAGAIN
    if old.owner is not None:
        try_to_unmap(state, cpu, old, migration=True)  # UM-9
    result = -errno.EAGAIN
    if old.mapcount == 0:
        result = _move_to_new(state, charge, new, old)  # UM-10
    if result:
        charge.settle(old, None)
        restore(state, old, old)  # UM-11
    return result


def _move_to_new(state: State, charge: groups.Migration, new: Frame, old: Frame) -> int:
    """``move_to_new_page``."""
    assert not new.has(Flag.LOCKED)
    new.flags |= Flag.LOCKED  # MN-1
    new.index, new.owner = old.index, old.owner  # MN-2
    new.flags |= old.flags & Flag.SWAPBACKED
    result = engine_methods.migrate(state, new, old)  # MN-3
    if result == 0:
        charge.settle(new, old)
        restore(state, old, new)  # MN-4
    else:
        new.owner = None
    new.flags &= ~Flag.LOCKED  # MN-5
    return result
