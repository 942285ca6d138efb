"""Memory that a case maps: anonymous, a shared segment, or a file of some filesystem.

Start with :func:`map_area`. Anonymous shared memory, ``/dev/zero``, System V and
POSIX segments are files of shmem, as in the kernel. What a case says of a file's
filesystem (``fs``) becomes a `pagemig.FileSystem`.
"""

from __future__ import annotations

import dataclasses
import errno
from typing import Any

import pagemig as pm

from . import addressing, threads, words
from .form import Skipped
from .world import World

SEGMENTS = ("devzero", "sysv_shm", "shm", "posix_shm", "tmpfs")
REFUSED_AREAS = {
    "hugetlb": pm.VmFlags.HUGETLB,
    "io": pm.VmFlags.IO,
    "pfnmap": pm.VmFlags.PFNMAP,
}
"""Areas that cannot be migrated: only their refusal is modelled (data-model 6.1)."""
FILESYSTEMS = {
    "ext": pm.filesystems.EXT,
    "blockdev": pm.filesystems.BLOCKDEV,
    "tmpfs": pm.filesystems.TMPFS,
    "ramfs": pm.filesystems.RAMFS,
    "readonly": pm.filesystems.READONLY,
    "failing": pm.filesystems.FAILING,
}
MIGRATE_METHODS: dict[object, pm.MigrateMethod] = {
    "migrate_page": pm.MigrateMethod.PAGE,
    "buffer_migrate_page": pm.MigrateMethod.BUFFERS,
    "fail_migrate_page": pm.MigrateMethod.FAIL,
}
WRITES = 64
"""How often a ``writepage`` that is said to fail does so: more often than one call can ask it."""


def map_area(world: World, step: dict[str, Any], *, flags: tuple[pm.VmFlags, ...] = ()) -> pm.Region:
    """Map the region that a step describes, for its task and the tasks that share its memory."""
    name, task = step["region"], world.task(step["task"])
    length = words.number(step["pages"], "size") * 4096
    at = None
    if "fixed" in step:
        at = addressing.address(str(step["fixed"]), world.regions_of(step["task"]))
        task.munmap(pm.Region(task, at, length))
    kind, share = step.get("kind", "anon"), step.get("share", "private")
    if share not in ("private", "shared"):
        raise Skipped(f"sharing {share!r} is not understood")
    if kind in REFUSED_AREAS:
        flags = (*flags, REFUSED_AREAS[kind])
    is_shared = share == "shared"
    owner = step["task"]
    file = _file(world, step, kind, is_shared, length)
    if file is None and owner in world.threads:
        file, is_shared = _segment(world, f"{owner}.{name}", length), True
    if words.truth(step.get("mergeable", False), "mergeable"):
        if file is not None:
            raise Skipped("only private anonymous memory of one task can be merged")
        flags = (*flags, pm.VmFlags.MERGEABLE)
    protection = words.protection(step.get("prot", "rw"))
    region = task.mmap(length, at=at, protection=protection, file=file, shared=is_shared, flags=flags)
    world.regions[owner][name] = region
    if file is not None:
        world.files[owner, name] = file
        threads.map_for_others(world, owner, name, is_shared, protection)
    return region


def map_again(world: World, file: pm.File, task: str, name: str, region: pm.Region) -> pm.Region:
    """Map a segment of another task from its beginning, at the address where that one has it."""
    mapped = world.task(task).mmap(region.length, at=region.start, file=file, shared=True)
    world.regions[task][name] = mapped
    world.files[task, name] = file
    return mapped


def _file(world: World, step: dict[str, Any], kind: str, is_shared: bool, length: int) -> pm.File | None:
    """The file behind an area, None for private anonymous memory."""
    if "fs" in step and kind != "file":
        raise Skipped(f"memory of the kind {kind!r} has no filesystem to be described")
    name = f"{step['task']}.{step['region']}"
    if kind == "file":
        return _new_file(world, name, length, filesystem(step.get("fs", "ext")))
    if kind == "devzero" and not is_shared:
        return None
    if kind in SEGMENTS or (kind == "anon" and is_shared):
        return _segment(world, name, length)
    if kind == "anon" or kind in REFUSED_AREAS:
        return None
    raise Skipped(f"memory of the kind {kind!r} is not understood")


def _segment(world: World, name: str, length: int) -> pm.File:
    return _new_file(world, name, length, pm.filesystems.TMPFS)


def _new_file(world: World, name: str, length: int, kind: pm.FileSystem) -> pm.File:
    return world.machine.create_file(f"{name} {len(world.machine.files)}", length, filesystem=kind)


def filesystem(word: object) -> pm.FileSystem:
    """Read a filesystem: a name, or its properties as in ``{"migratepage": false, "writepage": null}``.

    >>> filesystem({"migratepage": False, "writepage": None}).write
    <WriteMethod.NEVER: 'never'>
    """
    if isinstance(word, str) and word in FILESYSTEMS:
        return FILESYSTEMS[word]
    if not isinstance(word, dict) or set(word) - {"migratepage", "writepage", "unevictable"}:
        raise Skipped(f"filesystem {word!r} is not understood")
    made = pm.FileSystem(
        "of the case",
        migrate=_migrate_method(word.get("migratepage", True)),
        unevictable=word.get("unevictable", False),
    )
    made = _with_write_method(made, word.get("writepage", True))
    if made.migrate is pm.MigrateMethod.BUFFERS:
        buffered = pm.filesystems.EXT
        made = dataclasses.replace(made, buffer_bytes=buffered.buffer_bytes, dirtying=buffered.dirtying)
    return made


def _migrate_method(word: object) -> pm.MigrateMethod | int:
    if word is None or word is False or word == "none":
        return pm.MigrateMethod.FALLBACK
    if word is True:
        return pm.MigrateMethod.PAGE
    if isinstance(word, str) and word in MIGRATE_METHODS:
        return MIGRATE_METHODS[word]
    return -_errno(word, "migratepage")


def _with_write_method(made: pm.FileSystem, word: object) -> pm.FileSystem:
    if word is None or word is False or word == "none":
        return dataclasses.replace(made, write=pm.WriteMethod.NEVER)
    if word is True:
        return made
    outcome: pm.WriteOutcome | int
    if word == "AOP_WRITEPAGE_ACTIVATE":
        outcome = pm.WriteOutcome.ACTIVATE
    elif word == "io error":
        outcome = pm.WriteOutcome.IO_ERROR
    else:
        outcome = _errno(word, "writepage")
    return dataclasses.replace(made, write_script=[outcome] * WRITES)


def _errno(word: object, method: str) -> int:
    """Read an errno, by name or by number, with or without its sign."""
    if isinstance(word, str) and hasattr(errno, word.lstrip("-")):
        return int(getattr(errno, word.lstrip("-")))
    if isinstance(word, int) and not isinstance(word, bool) and word:
        return abs(word)
    raise Skipped(f"{method} {word!r} is not understood")
