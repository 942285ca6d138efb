"""Memory cgroups: who pays for a page.

Start with :func:`charge`, :func:`commit` and :func:`uncharge`. The record of a
frame stays with the frame when the page goes. Nothing is recorded before the
first group is made.

Source: data model 9, supporting paths 13.
Left out: reclaim on behalf of a group, moving charges between groups.
"""

from __future__ import annotations

import dataclasses
import enum

from .memory import Flag, Frame


@dataclasses.dataclass(eq=False)
class Group:
    """A memory cgroup, in pages. ``limit`` None is no limit; number 0 is the root."""

    number: int
    name: str
    parent: Group | None
    limit: int | None = None
    usage: int = 0
    cache: int = 0
    rss: int = 0
    mapped_file: int = 0
    swapout: int = 0

    @property
    def is_root(self) -> bool:
        """The root is unlimited, and its usage is not tracked."""
        return self.parent is None

    def with_ancestors(self) -> list[Group]:
        """The groups whose usage a charge counts in."""
        found, group = [], self
        while group.parent is not None:
            found.append(group)
            group = group.parent
        return found


@dataclasses.dataclass(eq=False)
class Record:
    """The memory cgroup's side of a frame that is, or was, charged."""

    owner: Group
    used: bool = True
    cache: bool = False
    file_mapped: bool = False
    leaked: bool = False
    """Whether it went to a page that was thrown away (Q18), and nobody has charged the frame since."""


class Kind(enum.Enum):
    """Why a page is charged or uncharged."""

    MAPPED = "mapped"
    CACHE = "cache"
    SHMEM = "shmem"
    SWAPOUT = "swap-out"
    DROPPED = "dropped swap cache"


def is_used(frame: Frame) -> bool:
    """Whether a frame is charged."""
    return frame.record is not None and frame.record.used


def charge(group: Group | None) -> bool:
    """``try-charge``: one page more for a group and its ancestors, or a refusal."""
    if group is None:
        return True
    groups = group.with_ancestors()
    if any(each.limit is not None and each.usage + 1 > each.limit for each in groups):
        return False
    for each in groups:
        each.usage += 1
    return True


def cancel(group: Group | None) -> None:
    """Take a charge back that was not committed."""
    if group is not None:
        for each in group.with_ancestors():
            each.usage -= 1


def commit(group: Group | None, frame: Frame, kind: Kind) -> None:
    """Write a charge down in the frame's record; one that is there already is enough."""
    if group is None:
        return
    if frame.record is not None and frame.record.used:
        cancel(group)
        frame.record.leaked = False
        return
    is_cache = kind in (Kind.CACHE, Kind.SHMEM)
    frame.record = Record(group, cache=is_cache)
    if is_cache:
        group.cache += 1
    else:
        group.rss += 1


def uncharge(frame: Frame, kind: Kind) -> None:
    """Give a charge back, unless something else still stands for it."""
    if frame.has(Flag.SWAPCACHE) or not is_used(frame):
        return
    if kind in (Kind.MAPPED, Kind.DROPPED) and frame.mapcount:
        return
    if kind is Kind.SWAPOUT:
        if frame.is_anon and frame.mapcount:
            return
        if not frame.is_anon and frame.owner is not None and frame.has(Flag.SWAPBACKED):
            return
    assert frame.record is not None
    group = frame.record.owner
    cancel(group)
    if frame.record.cache:
        group.cache -= 1
    else:
        group.rss -= 1
    frame.record.used = frame.record.leaked = False


def uncharge_mapped(frame: Frame) -> None:
    """``mem_cgroup_uncharge_page``: for anonymous pages that nobody maps any more."""
    if frame.mapcount or (frame.owner is not None and not frame.is_anon):
        return
    uncharge(frame, Kind.MAPPED)


def count_mapped_file(frame: Frame, change: int) -> None:
    """The mapped-file statistic of the page's group."""
    if frame.record is not None and frame.record.used:
        frame.record.owner.mapped_file += change
        frame.record.file_mapped = change > 0


@dataclasses.dataclass
class Migration:
    """The charge of a page on its way; ``group`` is None where nobody pays.

    With ``repaired`` (Q17, Q18) the page that survives gets the charge before it is
    mapped, and a null ``mapping`` is not mistaken for success.
    """

    group: Group | None
    repaired: bool
    target: Frame | None = None
    lost_mapping: bool = False
    """Whether a mapped file page was mapped before it was charged, and so not counted (Q17)."""

    def settle(self, survivor: Frame, unused: Frame | None) -> None:
        """Repaired only: commit before the survivor is mapped."""
        if self.repaired and self.group is not None:
            self._commit(survivor, unused)

    def end(self, old: Frame, new: Frame) -> None:
        """``mem_cgroup_end_migration``; a null ``mapping`` counts as success (Q18)."""
        if self.group is None:
            return
        if self.target is None and (old.owner is not None or self.repaired):
            self._commit(old, None)
        elif self.target is None:
            self._commit(new, old)
        assert self.target is not None
        if self.target.is_anon:
            uncharge_mapped(self.target)

    def _commit(self, target: Frame, unused: Frame | None) -> None:
        kind = Kind.SHMEM if target.has(Flag.SWAPBACKED) else Kind.CACHE
        if target.is_anon:
            kind = Kind.MAPPED
        if unused is not None:
            uncharge(unused, kind)
        self.lost_mapping = not is_used(target) and target.mapcount > 0 and not target.is_anon
        commit(self.group, target, kind)
        self.target = target


def prepare_migration(frame: Frame, *, repaired: bool) -> Migration | None:
    """``mem_cgroup_prepare_migration``: one page more for the owner; None where it is refused."""
    if not is_used(frame):
        return Migration(None, repaired)
    assert frame.record is not None
    group = frame.record.owner
    return Migration(group, repaired) if charge(group) else None
