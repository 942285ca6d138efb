"""Moving pages on both sides: the system calls and the ranges they take.

Start with :class:`Moves`, a part of :class:`tests.properties.twin.Twin`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import numpy as np

import pagemig as pm
from tests.reference.move_pages import UserArrays

from .twin_base import BASE, POLICIES, WINDOW, Sides


class Moves(Sides):
    """``move_pages(2)``, ``migrate_pages(2)``, ``mbind(2)`` with any arguments."""

    # move_pages --------------------------------------------------------------------------

    def move_pages(
        self, caller: int, target: int, pages: Sequence[int], nodes: Sequence[int], shape: int
    ) -> None:
        """The system call with lists of any kind; ``shape`` chooses flags and which array ends early."""
        by, of = self._who(caller), self._who(target)
        if by is None or of is None:
            return
        count = len(pages)
        addresses = np.array([self._address(of, page) for page in pages], np.uint64)
        wanted = (
            np.array([self._node(nodes[i % len(nodes)]) for i in range(count)], np.int32) if nodes else None
        )
        flags = (2, 4, 2, 4, 0, 2, 4, 1)[shape % 8]
        pid = 0 if by == of and shape // 8 % 2 else of
        cut = (shape // 32 % 16, (shape // 512) % (8 * count + 8))
        self._move(by, pid, addresses, wanted, flags, cut)

    def _address(self, pid: int, page: int) -> int:
        """Mostly a page that is there, sometimes any of the window, seldom far away."""
        if page % 61 == 7:
            return (0, 5000, (1 << 47) - 4096, (1 << 63) + 8192, (1 << 64) - 1)[page % 5]
        present = sorted(self.reference.task(pid).memory_map.entries)
        if present and page % 4:
            return present[page // 4 % len(present)] + page % 3 * 100
        return BASE + page % WINDOW * 4096 + page % 3 * 100

    def _node(self, node: int) -> int:
        return node % 97 - 3 if node % 53 == 11 else node % len(self.machine.nodes)

    def _move(
        self,
        by: int,
        pid: int,
        addresses: np.ndarray[tuple[int], np.dtype[np.uint64]],
        wanted: np.ndarray[tuple[int], np.dtype[np.int32]] | None,
        flags: int,
        cut: tuple[int, int],
    ) -> None:
        count = len(addresses)
        status = np.full(count, 99, np.int32)
        limits = [addresses.nbytes, 0 if wanted is None else wanted.nbytes, status.nbytes]
        if cut[0] < 3:
            limits[cut[0]] = min(cut[1], limits[cut[0]])
        theirs = pm.syscalls.move_pages(
            self.tasks[by],
            self.tasks[pid].pid if pid else 0,
            count,
            pm.UserMemory(addresses, valid_bytes=limits[0]),
            None if wanted is None else pm.UserMemory(wanted, valid_bytes=limits[1]),
            pm.UserMemory(status, valid_bytes=limits[2]),
            flags,
        )
        room = bytearray(np.full(count, 99, np.int32).tobytes()[: limits[2]])
        user = UserArrays(
            count,
            addresses.tobytes()[: limits[0]],
            None if wanted is None else wanted.tobytes()[: limits[1]],
            room,
        )
        ours = self.reference.move_pages(by, pid, user, flags)
        plain = None if wanted is None else wanted.tolist()
        said = f"move_pages by={by} pid={pid} {addresses.tolist()} {plain} flags={flags} {limits}"
        assert ours == theirs, (ours, theirs, said, self._recent())
        expected = bytes(room) + np.full(count, 99, np.int32).tobytes()[limits[2] :]
        assert np.frombuffer(expected, np.int32).tolist() == status.tolist(), (said, self._recent())
        self._compare(f"{said} -> {theirs} {status.tolist()}")

    def move_all_of(self, who: int, times: int, node: int, flags: int) -> None:
        """Every page there is, ``times`` times over, mostly to one node: more than one chunk."""
        pid = self._who(who)
        if pid is not None:
            present = sorted(self.reference.task(pid).memory_map.entries)
            window = present if flags // 2 % 4 else range(BASE, BASE + WINDOW * 4096, 4096)
            addresses = np.tile(np.array(window, np.uint64), times % 4 + 1)
            wanted = np.full(len(addresses), node % len(self.machine.nodes), np.int32)
            wanted[:: times % 7 + 3] = (node + 1) % len(self.machine.nodes)
            self._move(pid, 0, addresses, wanted, 4 if flags % 2 else 2, (11, 0))

    def move_nobodys(self, who: int) -> None:
        """A pid that names nobody, which is ESRCH."""
        pid = self._who(who)
        if pid is not None:
            status = np.full(1, 99, np.int32)
            pages, nodes = np.zeros(1, np.uint64), np.zeros(1, np.int32)
            got = pm.syscalls.move_pages(self.tasks[pid], 99_999, 1, pages, nodes, status, 2)
            assert (got, status.tolist()) == (-errno.ESRCH, [99])
            self._compare("move_pages of nobody")

    # whole nodes and ranges -----------------------------------------------------------------

    def migrate_pages(self, caller: int, target: int, old: int, new: int) -> None:
        """All pages of a task between sets of nodes; seldom one that does not exist."""
        by, of = self._who(caller), self._who(target)
        if by is None or of is None:
            return
        nodes = len(self.machine.nodes)
        sources = {node for node in range(nodes + 1) if old >> node & 1}
        targets = {node for node in range(nodes) if new >> node & 1}
        if new % 37 == 5:
            targets.add(nodes)
        pid = 0 if by == of and old // 16 % 2 else of
        number = self.tasks[pid].pid if pid else 0
        theirs = pm.syscalls.migrate_pages(self.tasks[by], number, 64, sources, targets)
        ours = self.reference.migrate_pages(by, pid, sources, targets)
        said = f"migrate_pages by={by} pid={pid} {sources} {targets}"
        assert ours == theirs, (ours, theirs, said, self._recent())
        self._compare(f"{said} -> {theirs}")

    def mbind(self, who: int, page: int, count: int, choice: int, flags: int) -> None:
        """A policy for a range, mostly without holes, and its pages with it."""
        pid = self._who(who)
        if pid is None:
            return
        start = BASE + page % WINDOW * 4096
        end = start + count % 40 * 4096
        area = self._area(pid, page, count)
        if area is not None and flags // 8 % 4:
            start, end = area
        rule = POLICIES[choice % len(POLICIES)]
        nodes = set(rule.nodes)
        word = (2, 3, 4, 5, 6, 7, 1, 0)[flags % 8]
        said = f"mbind {pid} {start:#x}..{end:#x} {rule} flags={word}"
        theirs = pm.syscalls.mbind(self.tasks[pid], start, end - start, rule.word, nodes, 64, word)
        ours = self.reference.mbind(pid, start, end - start, rule.word, nodes, word)
        self._agree(ours, theirs, said)
        self._compare(f"{said} -> {theirs}")

    def migrate_frames(self, first: int, count: int, node: int, kind: int) -> None:
        """The engine on frames in a row: to a node, to a node exactly, or anywhere."""
        total = len(self.reference.state.memory.frames)
        start = first * 7 % total
        step = count % 3 + 1
        pfns = list(range(start, min(start + count % 24 * step + 1, total), step))
        node %= len(self.machine.nodes)
        offlining = kind % 3 == 2
        target: pm.ToNode | pm.Anywhere | pm.ByPage = pm.ToNode(node)
        if kind % 4 == 1:
            target = pm.ByPage(dict.fromkeys(pfns, node))
        elif kind % 4 == 2:
            target = pm.Anywhere()
        theirs = self.machine.migrate_pages(pfns, target, offlining=offlining)
        ours = self.reference.migrate_frames(
            pfns, None if kind % 4 == 2 else node, exact=kind % 4 == 1, offlining=offlining
        )
        said = f"migrate_frames {pfns} {target} {offlining}"
        self._agree(
            (ours.result, ours.statuses, ours.attempts, ours.passes, ours.discarded),
            (
                -theirs.error if theirs.error else theirs.not_migrated,
                theirs.statuses.tolist(),
                theirs.attempts.tolist(),
                theirs.passes,
                theirs.frames_discarded,
            ),
            said,
        )
        self._compare(f"{said} -> {ours.result}")
