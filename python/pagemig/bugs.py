"""Rules that a machine can be made to break: what real code once got wrong, or easily could.

`Bug` names them; each knows its story. ``Machine(..., bugs=(Bug.NO_FREEZE,))`` has one built in, and
makes every call step by step. `pagemig.gallery` has a small situation for each, in which exploring
finds it.

Source: migration 5 to 14, concurrency 3 and 4. Left out: Q21, which is no switch but the kernel that is
modelled: `pagemig.Profile.EXACT` has it, ``REPAIRED`` has not.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from .errors import UsageError


class Tale(NamedTuple):
    """What is known of a bug."""

    title: str
    """What is done wrong, in one line."""
    story: str
    """What happens, and why it is easily written."""
    rule: str
    """The step or window of the specification that is broken."""
    breaks: tuple[str, ...]
    """The invariants that no longer hold."""


class Bug(enum.Enum):
    """One rule that is broken, by the name that people type.

    Examples
    --------
    >>> Bug.NO_FREEZE.value, Bug("no-freeze").title
    ('no-freeze', 'The slot is replaced without freezing the count')
    >>> Bug.NO_FREEZE.rule
    'MM-6'
    """

    NO_FREEZE = "no-freeze"
    NO_RECHECK = "no-recheck"
    COPY_LATE = "copy-late"
    DIRTY_DROPPED = "dirty-dropped"
    FORK_KEEPS_WRITE = "fork-keeps-write"
    MPROTECT_KEEPS_WRITE = "mprotect-keeps-write"
    NO_RCU = "no-rcu"
    CHILD_FIRST = "child-first"
    NEW_UNLOCKED = "new-unlocked"
    NO_WRITEBACK_WAIT = "no-writeback-wait"
    DROP_EARLY = "drop-early"
    ISOLATED_LEFT = "isolated-left"

    @property
    def title(self) -> str:
        """What is done wrong, in one line."""
        return _TALES[self].title

    @property
    def story(self) -> str:
        """What happens, and why it is easily written: two to six sentences."""
        return _TALES[self].story

    @property
    def rule(self) -> str:
        """The step or window of the specification that is broken."""
        return _TALES[self].rule

    @property
    def breaks(self) -> tuple[str, ...]:
        """The invariants that no longer hold."""
        return _TALES[self].breaks


_TALES = {
    Bug.NO_FREEZE: Tale(
        "The slot is replaced without freezing the count",
        "A look-up takes its reference without any lock, so a count that was right a moment ago proves "
        "nothing. The kernel therefore sets the count to 0 in one atomic step, if and only if it is the "
        "expected one, and replaces the slot while nobody can get a reference. Code that compares the "
        "count under the tree lock and then replaces the slot looks just as safe: all who change the "
        "tree are kept out. But the reader who found the old page in between keeps it, and reads from it "
        "long after the file has a new one (concurrency S02).",
        "MM-6",
        ("I-110", "I-11"),
    ),
    Bug.NO_RECHECK: Tale(
        "A look-up does not read the slot again",
        "The look-up reads the slot, raises the count unless it is 0, and reads the slot again. The third "
        "step looks like a waste, for the reference is there. It is not: between the first two the page "
        "may have been replaced, and its count is above 0 again while the migrator and a pagevec hold it "
        "(concurrency S04). Without the second look a program reads a page that is no longer the file's, "
        "or, after the frame has been used again, somebody else's.",
        "SP9-4",
        ("I-110",),
    ),
    Bug.COPY_LATE: Tale(
        "The bytes are copied after the entries are restored",
        "Waiters sleep on the page while it moves, so it is tempting to let them go early: first the "
        "entries, then the copy. But an entry that is present is live at once. A load through it finds "
        "an empty page, and a store through it is overwritten by the copy that follows: a lost store that "
        "no crash will ever report (concurrency W8, S10).",
        "MC-1",
        ("I-110", "I-112"),
    ),
    Bug.DIRTY_DROPPED: Tale(
        "The dirty bit of an entry is not handed over to the page",
        "Whether a page was written is known in two places: in the page, and in each entry through which "
        "the hardware wrote. When an entry is taken away its bit must go to the page; a migration entry "
        "has no room for it, and the entry comes back clean. Forgotten once, the page counts as clean "
        "while it holds the only copy of a store, and reclaim may drop it without writing (I-111). "
        "Nothing fails until memory is short.",
        "UM-9",
        ("I-111",),
    ),
    Bug.FORK_KEEPS_WRITE: Tale(
        "Fork copies a write migration entry as it is",
        "Fork turns a writable entry into a read-only one, in parent and child, so that the first store "
        "copies the page. A migration entry remembers whether it was writable and needs the same care: "
        "it is not present, so code that only looks at present entries passes it by. When the page has "
        "moved, both processes have it writable, and each sees what the other stores (concurrency S20).",
        "S20",
        ("I-24", "I-75"),
    ),
    Bug.MPROTECT_KEEPS_WRITE: Tale(
        "mprotect leaves write migration entries alone",
        "The walk that restores an entry takes the write bit from the migration entry and does not ask "
        "what the area permits by then (Q27). So whoever changes the permission must downgrade the entries "
        "that are away, too. An mprotect that only rewrites present entries leaves one that comes back "
        "writable in an area that is read-only: the write protection that a program relies on, a garbage "
        "collector's say, has a hole (concurrency S22).",
        "S22",
        ("I-24",),
    ),
    Bug.NO_RCU: Tale(
        "The reverse map may be freed during the walk",
        "While the entries are away nothing maps the page, so nothing keeps its anon_vma alive: the last "
        "area may be unmapped, and the list of areas freed with it. The page still names the list, and "
        "the walk that is to restore the entries follows it into freed memory. The kernel holds an RCU "
        "read lock from before the unmapping until after the restoring for this reason alone (Q26, "
        "concurrency W14); a patch that dropped it would pass every test that does not unmap at that "
        "very moment.",
        "UM-7",
        ("I-73",),
    ),
    Bug.CHILD_FIRST: Tale(
        "Fork puts the child's area before its parent's",
        "The walk that restores entries visits the areas of a list in order. Fork links the child's area "
        "first and fills its tables afterwards, so an entry can be copied while the walk is under way. "
        "That is safe only because the child comes after its parent: either the walk has not reached the "
        "parent yet, and finds both, or the parent's entry is ordinary already. With the child in front "
        "the walk passes its empty table, and the entry copied a moment later stays for ever "
        "(concurrency W13).",
        "W13",
        ("I-20", "I-21", "I-74"),
    ),
    Bug.NEW_UNLOCKED: Tale(
        "The new page is not locked while it is empty",
        "From the moment when the slot names the new page anybody can find it, and its bytes come later. "
        "The page lock makes early finders wait. Without it a reader sees a page that is not up to date, "
        "takes the lock itself and reads it from disk: into the frame that the migrator is copying to, "
        "with the bytes of before the last store (concurrency W7, Y12).",
        "MN-1",
        ("I-110", "I-113"),
    ),
    Bug.NO_WRITEBACK_WAIT: Tale(
        "A page is moved while it is being written",
        "A filesystem without a method of its own has its dirty pages written by the fallback, and the "
        "next pass moves what is clean. Clean is not written: the write has only begun, and that pass must "
        "wait for its end or give up. An out-of-tree filesystem crashed after Linux 6.3 because its pages "
        "came to the fallback again while the first write was still under way. The disk holds on to the "
        "old frame, whoever has it by then.",
        "UM-6",
        ("I-65",),
    ),
    Bug.DROP_EARLY: Tale(
        "The migrator's reference goes before the pagevec has its own",
        "Putting a page back is two acts: the pagevec takes a reference, the migrator drops his. In the "
        "other order it works nearly always, for the entries hold the new page, too. But when its last "
        "user has gone meanwhile, the migrator's reference is the last, the frame is freed, and a pagevec "
        "holds a frame that belongs to somebody else (concurrency W11, S18).",
        "UM-17",
        ("I-03", "I-10"),
    ),
    Bug.ISOLATED_LEFT: Tale(
        "The isolated counter is not lowered",
        "An isolated page is counted, and uncounted when it is put back. The two stand in different files, "
        "so a caller that isolates by itself, or puts back by itself, easily does one without the other; "
        "soft offlining really lowers a counter that it never raised (Q19). Nothing breaks at once. The "
        "counter tells direct reclaim when too many pages are isolated, so tasks are throttled for pages "
        "that nobody holds, and in the end for ever.",
        "UM-16",
        ("I-57", "I-58"),
    ),
}

BITS = {bug: 1 << number for number, bug in enumerate(Bug)}
"""The number of each in the core: the order above."""


def bits_of(bugs: object) -> int:
    """Return some bugs as the core has them; `UsageError` for anything else."""
    try:
        items = [bugs] if isinstance(bugs, str) else list(bugs)  # type: ignore[call-overload]
    except TypeError:
        items = [bugs]
    bits = 0
    for bug in items:
        if not isinstance(bug, Bug):
            known = ", ".join(f"Bug.{other.name}" for other in Bug)
            raise UsageError(f"bugs has {bug!r}; each must be one of {known}")
        bits |= BITS[bug]
    return bits


def bugs_of(bits: int) -> tuple[Bug, ...]:
    """Return the bugs of a number of the core, in their order."""
    return tuple(bug for bug in Bug if bits & BITS[bug])
