"""A task's memory in the kernel's own words: `numa_maps` and `status`.

The formats are those of ``/proc/PID/numa_maps`` (numa(7); for mode flags the kernel's documentation of
tmpfs, which writes policies alike) and ``/proc/PID/status`` (proc(5)).
`pagemig.numa_maps` reads the former. Left out: fields about things that the model does not have
(threads, signals, groups), and the mark ``heap``, because no area of the model is the heap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .arguments import nodes_in
from .flags import USER_END, PolicyMode, VmFlags
from .policy import Effective

if TYPE_CHECKING:
    from .system import System

_MODE_NAMES = {
    PolicyMode.DEFAULT: "default",
    PolicyMode.PREFERRED: "prefer",
    PolicyMode.BIND: "bind",
    PolicyMode.INTERLEAVE: "interleave",
}


# MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES.
_FLAG_NAMES = {0x8000: "=static", 0x4000: "=relative"}


class AreaPages(NamedTuple):
    """What ``numa_maps`` counts of one area, pages, in the order in which the core tells it."""

    anon: int
    dirty: int
    """In the entry or in the page."""
    mapmax: int
    """How often its most shared page is mapped."""
    swapcache: int
    active: int
    """Marked as active or unevictable."""
    writeback: int
    per_node: tuple[int, ...]


def numa_maps(system: System, pid: int) -> str:
    """Return the text of ``/proc/PID/numa_maps``, one line an area, lowest address first."""
    counted = {start: AreaPages._make(counts) for start, *counts in system.core.vma_pages(pid)}
    of_task = policy_text(Effective.from_core(system.core.task_policy(pid)))
    names = {number: path_text(name) for number, name, *_ in system.core.files()}
    files = system.core.vma_files(pid)
    lines = []
    for (start, end, _, _, holds, *_), file in zip(system.core.vmas(pid), files, strict=True):
        of_area = holds if file is None else system.core.policy_at(pid, start)
        policy = of_task if of_area is None else policy_text(Effective.from_core(of_area))
        words = [f"{start:08x}", policy]
        if file is not None:
            words.append(f"file={names[file]}")
        elif end == USER_END:
            words.append("stack")
        words += page_words(counted[start])
        lines.append(" ".join(words))
    return "".join(f"{line}\n" for line in lines)


def path_text(name: str) -> str:
    """Return a path as a word: what would end it, or the line, in octal.

    >>> print(path_text("my data"))
    my\\040data
    """
    return "".join(f"\\{ord(letter):03o}" if letter in " \t\n=" else letter for letter in name)


def page_words(pages: AreaPages) -> list[str]:
    """Return the counts of one area, in the kernel's order, without those it leaves out.

    >>> page_words(AreaPages(3, 2, 1, 0, 0, 0, (1, 2)))
    ['anon=3', 'dirty=2', 'active=0', 'N0=1', 'N1=2']
    >>> page_words(AreaPages(0, 2, 3, 1, 4, 1, (4,)))
    ['dirty=2', 'mapped=4', 'mapmax=3', 'swapcache=1', 'writeback=1', 'N0=4']
    """
    total = sum(pages.per_node)
    if not total:
        return []
    words = [f"anon={pages.anon}"] if pages.anon else []
    if pages.dirty:
        words.append(f"dirty={pages.dirty}")
    if total not in (pages.anon, pages.dirty):
        words.append(f"mapped={total}")
    if pages.mapmax > 1:
        words.append(f"mapmax={pages.mapmax}")
    if pages.swapcache:
        words.append(f"swapcache={pages.swapcache}")
    if pages.active < total:
        words.append(f"active={pages.active}")
    if pages.writeback:
        words.append(f"writeback={pages.writeback}")
    return words + [f"N{node}={count}" for node, count in enumerate(pages.per_node) if count]


def policy_text(policy: Effective) -> str:
    """Return a policy as ``numa_maps`` writes it.

    A mode flag stands behind the mode as in the options of tmpfs; the nodes are those that hold.

    >>> policy_text(Effective(PolicyMode.BIND, 0b1011))
    'bind:0-1,3'
    >>> policy_text(Effective(PolicyMode.PREFERRED, 0b10, 0x4000, 0b1))
    'prefer=relative:1'

    Without nodes, as when none of a policy's own is left, PREFERRED acts as local (supporting-paths 18):

    >>> [policy_text(Effective(mode, 0, 0x8000, 0b1)) for mode in (PolicyMode.BIND, PolicyMode.PREFERRED)]
    ['bind=static', 'local=static']
    """
    if policy.mode is PolicyMode.DEFAULT:
        return "default"
    flag = _FLAG_NAMES.get(policy.mode_flags, "")
    if not policy.mask:
        is_local = policy.mode is PolicyMode.PREFERRED
        return f"{'local' if is_local else _MODE_NAMES[policy.mode]}{flag}"
    return f"{_MODE_NAMES[policy.mode]}{flag}:{node_ranges(policy.mask)}"


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
