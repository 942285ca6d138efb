"""Dropping a cached page that nobody needs, as reclaim and invalidation do.

Start with :func:`remove_unused`.

Source: supporting paths 7 (``__remove_mapping``) and 8 (``invalidate_inode_page``).
"""

from __future__ import annotations

from . import groups, lru, mlock_page, page_cache, swap, writeback
from .cache import AddressSpace
from .memory import Flag, Frame
from .tasks import State


def remove_unused(state: State, frame: Frame) -> bool:
    """``__remove_mapping``: out of its cache if nothing but the caller and the cache refer to it.

    The page is left with the caller's one reference.
    """
    if frame.count != 2 or frame.has(Flag.DIRTY):
        return False
    if frame.has(Flag.SWAPCACHE):
        swap.delete_from_cache(state, frame)
        return True
    assert isinstance(frame.owner, AddressSpace)
    kind = groups.Kind.SHMEM if frame.has(Flag.SWAPBACKED) else groups.Kind.CACHE
    page_cache.remove(state.memory, frame)
    groups.uncharge(frame, kind)
    lru.put(state.memory, frame)
    return True


def invalidate(state: State, cpu: lru.Cpu, frame: Frame) -> bool:
    """``invalidate_inode_page`` of a locked page that the caller holds; whether it is gone."""
    space = writeback.mapping_of(state, frame)
    if space is None or frame.has(Flag.DIRTY | Flag.WRITEBACK) or frame.mapcount:
        return False
    if frame.owner is not space:
        return False
    if frame.has_private and not writeback.try_to_release(state, frame):
        return False
    mlock_page.clear(state.memory, cpu, frame)
    return remove_unused(state, frame)
