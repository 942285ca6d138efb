"""A task's memory, area by area, and in the kernel's own words.

`Vma` is one area; `numa_maps` and `status` are the texts.

The formats are those of ``/proc/PID/numa_maps`` (numa(7)) and ``/proc/PID/status`` (proc(5)).
Left out: fields about things that the model does not have (threads, signals, groups), and the
mark ``heap``, because no area of the model is the heap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arguments import nodes_in
from .flags import USER_END, PolicyMode, VmFlags
from .policy import Effective, Policy

if TYPE_CHECKING:
    from .system import System

_MODE_NAMES = {
    PolicyMode.DEFAULT: "default",
    PolicyMode.PREFERRED: "prefer",
    PolicyMode.BIND: "bind",
    PolicyMode.INTERLEAVE: "interleave",
}


@dataclass(frozen=True, slots=True)
class Vma:
    """One area of a task's memory (data-model 6.1)."""

    start: int
    end: int
    """First address beyond."""
    flags: VmFlags
    pgoff: int
    policy: Policy | None
    """Its own memory policy, as it holds; None to follow the task's."""
    anon_vmas: tuple[int, ...]
    """The reverse-map lists it is linked to, newest first, under numbers of the model's own."""

    @staticmethod
    def from_core(
        row: tuple[int, int, int, int, tuple[int, int, int, int] | None, int, tuple[int, ...]],
    ) -> Vma:
        """Make one from the core's tuple."""
        start, end, flags, pgoff, holds, _, links = row
        policy = None if holds is None else Policy(PolicyMode(holds[0]), nodes_in(holds[1]))
        return Vma(start, end, VmFlags(flags), pgoff, policy, tuple(links))


def numa_maps(system: System, pid: int) -> str:
    """Return the text of ``/proc/PID/numa_maps``, one line an area, lowest address first."""
    counted = {row[0]: row[1:] for row in system.core.vma_pages(pid)}
    of_task = policy_text(Effective.from_core(system.core.task_policy(pid)))
    lines = []
    for start, end, _, _, holds, *_ in system.core.vmas(pid):
        policy = of_task if holds is None else policy_text(Effective.from_core(holds))
        words = [f"{start:08x}", policy]
        if end == USER_END:
            words.append("stack")
        words += page_words(*counted[start])
        lines.append(" ".join(words))
    return "".join(f"{line}\n" for line in lines)


def page_words(anon: int, dirty: int, mapmax: int, active: int, per_node: tuple[int, ...]) -> list[str]:
    """Return the counts of one area, in the kernel's order, without those it leaves out.

    >>> page_words(3, 2, 1, 0, (1, 2))
    ['anon=3', 'dirty=2', 'active=0', 'N0=1', 'N1=2']
    """
    pages = sum(per_node)
    if not pages:
        return []
    words = [f"anon={anon}"] if anon else []
    if dirty:
        words.append(f"dirty={dirty}")
    if pages not in (anon, dirty):
        words.append(f"mapped={pages}")
    if mapmax > 1:
        words.append(f"mapmax={mapmax}")
    if active < pages:
        words.append(f"active={active}")
    return words + [f"N{node}={count}" for node, count in enumerate(per_node) if count]


def policy_text(policy: Effective) -> str:
    """Return a policy as ``numa_maps`` writes it.

    >>> policy_text(Effective(PolicyMode.BIND, 0b1011))
    'bind:0-1,3'
    """
    if policy.mode is PolicyMode.DEFAULT:
        return "default"
    if not policy.mask:
        return "local"
    return f"{_MODE_NAMES[policy.mode]}:{node_ranges(policy.mask)}"


def node_ranges(mask: int) -> str:
    """Return a set of nodes as the kernel lists it: ``0-1,3``."""
    runs: list[list[int]] = []
    for node in nodes_in(mask):
        if runs and runs[-1][1] == node - 1:
            runs[-1][1] = node
        else:
            runs.append([node, node])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def status(system: System, pid: int) -> str:
    """Return the text of ``/proc/PID/status``, those fields that the model has."""
    facts = system.facts(pid)
    lines = [
        f"Name:\t{facts.name}",
        f"Pid:\t{pid}",
        f"Uid:\t{facts.uid}\t{facts.euid}\t{facts.suid}\t{facts.euid}",
    ]
    if facts.has_memory:
        areas = [(end - start, flags) for start, end, flags, *_ in system.core.vmas(pid)]
        file, anon, swap = (max(0, pages) for pages in system.core.mm_counters(pid))
        sizes = {
            "VmSize": sum(size for size, _ in areas) >> 10,
            "VmLck": sum(size for size, flags in areas if flags & VmFlags.LOCKED) >> 10,
            "VmRSS": (file + anon) * 4,
            "VmSwap": swap * 4,
        }
        lines += [f"{name}:\t{kib:8d} kB" for name, kib in sizes.items()]
    mask = facts.mems_allowed
    lines += [
        f"CapEff:\t{facts.capabilities:016x}",
        f"Mems_allowed:\t{mask >> 32:08x},{mask & 0xFFFFFFFF:08x}",
        f"Mems_allowed_list:\t{node_ranges(mask)}",
    ]
    return "".join(f"{line}\n" for line in lines)
