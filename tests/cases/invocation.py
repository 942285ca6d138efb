"""The call of a case: its arguments as the kernel gets them, and what it answered.

Start with :func:`prepare`, which reads the arguments of ``move_pages`` once; a
:class:`Call` can then be run any number of times.

User memory ends where a case says so: an array is as long as it is written, so
that a count beyond it faults; ``ptr:-1`` and ``ptr:end`` fault at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import pagemig as pm

from . import addressing, threads, words
from .form import Skipped
from .world import World

UNWRITTEN = 99
UNUSED_PID = 0x7FFF_FFF0
OTHER_NODE = ("another node", "the other node")
KNOWN = {"pid", "pages", "nodes", "status", "flags", "count", "repeat", "then"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a call returned, and the status array afterwards; None without one."""

    result: int
    statuses: list[int] | None
    nodes: list[int] | None
    after: pm.Machine | None = None
    """The machine as it was then, where a later call follows."""


@dataclasses.dataclass
class Call:
    """A ``move_pages`` call, ready to be made."""

    world: World
    caller: str
    pid: int
    count: int
    pages: npt.NDArray[np.uint64] | pm.UserMemory | None
    nodes: npt.NDArray[np.int32] | pm.UserMemory | None
    status: npt.NDArray[np.int32] | pm.UserMemory | None
    flags: int
    addresses: list[int]
    wanted: list[int] | None
    owner: str
    """The id of the task whose pages are meant."""
    filled: int = UNWRITTEN
    """What is in the status array before the call."""

    def run(self) -> Answer:
        """Make the call."""
        array = self.status.array if isinstance(self.status, pm.UserMemory) else self.status
        result = pm.syscalls.move_pages(
            self.world.task(self.caller),
            self.pid,
            self.count,
            self.pages,
            self.nodes,
            self.status,
            self.flags,
        )
        return Answer(result, None if array is None else array.tolist(), self.wanted)

    def to(self, nodes: Sequence[int]) -> Call:
        """The same call with another node array."""
        return dataclasses.replace(self, nodes=np.array(nodes, np.int32), wanted=list(nodes))


def prepare(world: World, caller: str, args: dict[str, Any]) -> Call:
    """Read the arguments of a ``move_pages`` call."""
    unknown = set(args) - KNOWN
    if unknown:
        raise Skipped(f"the call has unknown arguments {sorted(unknown)}")
    if "pages" not in args:
        raise Skipped("the call names no pages: the case describes a program, not a call")
    pid, owner = target_pid(world, caller, args.get("pid", 0))
    addresses, pages = _pages(world, owner, args["pages"])
    count = _count(args.get("count"), len(addresses))
    wanted, nodes = _nodes(world, owner, args.get("nodes"), addresses)
    status = _status(args.get("status", "array"), max(count, 0) if count < 1 << 20 else len(addresses))
    flags = words.flags(args.get("flags", 0))
    if nodes is not None:
        threads.require_all_pages(world, owner, moves_shared=bool(flags & 4))
    array = status.array if isinstance(status, pm.UserMemory) else status
    filled = UNWRITTEN if array is None or not len(array) else int(array[0])
    return Call(world, caller, pid, count, pages, nodes, status, flags, addresses, wanted, owner, filled)


def target_pid(world: World, caller: str, word: object) -> tuple[int, str]:
    """Return the pid as given to the call, and the id of the task that it names."""
    if isinstance(word, str) and word.count("|") == 1:
        # A number that fills the upper half of the argument, before or after the pid.
        parts = [part.strip() for part in word.split("|")]
        high, low = parts if parts[0][:1].isdecimal() else parts[::-1]
        pid, owner = target_pid(world, caller, low)
        return words.number(high, "pid") | pid, owner
    if isinstance(word, str) and word in world.tasks:
        return world.task(word).pid, word
    if isinstance(word, str) and word in world.ended:
        return world.ended[word], caller
    if word in ("own", "self"):
        return world.task(caller).pid, caller
    if word in ("unused", "none", "nonexistent", "exited", "a pid that does not exist"):
        return UNUSED_PID, caller
    return words.number(word, "pid"), caller


def _count(word: object, entries: int) -> int:
    if word is None or word == "all":
        return entries
    if isinstance(word, str) and (match := re.fullmatch(r"n\s*(?:([+-])\s*(\d+))?", word)):
        return entries + int(f"{match[1] or '+'}{match[2] or 0}")
    return words.number(word, "count")


def times(word: object, most: int) -> int:
    """Read how often a call is made; a time span becomes a fixed number of calls."""
    if isinstance(word, int) and not isinstance(word, bool) and 0 < word <= most:
        return word
    if isinstance(word, str) and re.fullmatch(r"\d+ s(econds)?", word):
        return 16
    raise Skipped(f"repeat {word!r} is not understood")


def faults_at_once(word: object) -> bool:
    """Return whether a word is a pointer to nothing."""
    return isinstance(word, str) and bool(
        re.fullmatch(r"ptr:(-1|end|unmapped|bad|none|0x[0-9a-fA-F]+)", word)
    )


def is_null(word: object) -> bool:
    """Return whether a word is the null pointer."""
    return word is None or word in ("null", "NULL", "ptr:null", "ptr:0")


def _pages(
    world: World, owner: str, word: object
) -> tuple[list[int], npt.NDArray[np.uint64] | pm.UserMemory | None]:
    if is_null(word):
        return [], None
    if faults_at_once(word):
        return [0], pm.UserMemory(np.zeros(1, np.uint64), valid_bytes=0)
    addresses = addressing.addresses(word, world.regions_of(owner))
    return addresses, np.array(addresses, np.uint64)


def _nodes(
    world: World, owner: str, word: object, addresses: list[int]
) -> tuple[list[int] | None, npt.NDArray[np.int32] | pm.UserMemory | None]:
    if is_null(word):
        return None, None
    if faults_at_once(word):
        return None, pm.UserMemory(np.zeros(max(1, len(addresses)), np.int32), valid_bytes=0)
    task, allowed = world.task(owner), sorted(world.task(owner).mems_allowed & set(world.with_memory))
    if word == "alternating":
        word = "another node"

    def one(part: object, index: int) -> int:
        own = int(task.nodes_of([addresses[index]])[0]) if part in OTHER_NODE else None
        return words.node(part, highest=max(world.machine.nodes), own=own, with_memory=allowed)

    wanted = words.nodes(word, len(addresses), one, allowed)
    return wanted, np.array(wanted, np.int32)


def _status(word: object, count: int) -> npt.NDArray[np.int32] | pm.UserMemory | None:
    """Read ``array``, ``array init 99``, ``array init 99, 6 bytes writable``, a pointer, or null."""
    if is_null(word):
        return None
    if faults_at_once(word):
        return pm.UserMemory(np.full(max(count, 1), UNWRITTEN, np.int32), valid_bytes=0)
    if word in ("read-only", "unwritable", "ptr:readonly", "ptr:read-only"):
        word = "array, read-only"
    match = isinstance(word, str) and re.fullmatch(
        r"array(?: of (\d+))?(?: init (-?\d+))?(?:,? (?:first )?(\d+) bytes writable)?(, read-only)?", word
    )
    if not match:
        raise Skipped(f"status {word!r} is not understood")
    array = np.full(int(match[1]) if match[1] else count, int(match[2] or UNWRITTEN), np.int32)
    if match[3]:
        return pm.UserMemory(array, valid_bytes=min(int(match[3]), array.nbytes))
    return pm.UserMemory(array, writable=False) if match[4] else array
