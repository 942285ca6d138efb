"""The door to the Rust core: plain numbers and arrays in, plain numbers and arrays out.

Nothing here is public. Every rule about who may call what, with which arguments, is above
this module; every rule of the kernel is below it.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

_U64: TypeAlias = npt.NDArray[np.uint64]
_Progress: TypeAlias = Callable[[int, int], object]
_I32: TypeAlias = npt.NDArray[np.int32]
_U32: TypeAlias = npt.NDArray[np.uint32]
_U8: TypeAlias = npt.NDArray[np.uint8]
_Bool: TypeAlias = npt.NDArray[np.bool_]

# A memory policy: (mode DEFAULT 0, PREFERRED 1, BIND 2, INTERLEAVE 3; mask of the nodes that hold;
# mode flags STATIC 0x8000 or RELATIVE 0x4000; with one of these the mask as the user gave it).
_Policy: TypeAlias = tuple[int, int, int, int]

build_profile: str
"""``"debug"`` or ``"release"``."""

step_labels: tuple[str, ...]
"""Every step label that a call can stop at, in the order of the specification."""

audit_rules: tuple[tuple[str, str], ...]
"""Every rule of ``Machine.audit`` as (name, invariant ids)."""

@final
class Request:
    """What a call shall do, decided and checked; not yet started. It can be started once."""

    @staticmethod
    def move_pages(
        target: int,
        count: int,
        pages: _U64 | tuple[int, int],
        nodes: _I32 | int,
        fill_error: tuple[int, int] | None,
        statuses_writable: int,
        shared_too: bool,
    ) -> Request:
        """Node-array mode. ``pages`` and ``nodes`` hold the entries before ``fill_error``.

        A single node is for all of them.

        ``fill_error`` is (entry, positive errno) of the first entry that does not pass the
        checks of DP-5b; ``statuses_writable`` is how many leading entries of the status array can be written.
        """

    @staticmethod
    def query_pages(
        target: int,
        count: int,
        pages: _U64 | tuple[int, int],
        pages_readable: int,
        status_bytes_writable: int,
    ) -> Request:
        """Query mode. ``pages``: their addresses, or the first one's and how many neighbours there are;
        ``pages_readable`` is how many leading entries can be read."""

    @staticmethod
    def migrate_pages(target: int, old_nodes: int, new_nodes: int, shared_too: bool) -> Request:
        """``migrate_pages(2)`` with checked node masks."""

    @staticmethod
    def mbind(
        start: int,
        length: int,
        policy_row: _Policy,
        user_nodes: int,
        strict: bool,
        may_move: bool,
        shared_too: bool,
    ) -> Request:
        """``user_nodes`` is the mask that the scan asks about."""

    @staticmethod
    def migrate_frames(pfns: _U32, kind: int, node: int, nodes: _I32, offlining: bool) -> Request:
        """The engine itself. ``kind``: 0 to ``node`` with fallback, 1 anywhere, 2 to ``nodes[i]`` exactly."""

    @staticmethod
    def touch_range(start: int, pages: int, write: bool) -> Request: ...
    @staticmethod
    def touch_list(addresses: _U64, writes: _Bool) -> Request: ...
    @staticmethod
    def read(address: int, size: int) -> Request: ...
    @staticmethod
    def write(address: int, data: bytes) -> Request: ...
    @staticmethod
    def fork(name: str) -> Request: ...
    @staticmethod
    def exit() -> Request: ...
    @staticmethod
    def munmap(start: int, length: int) -> Request: ...
    @staticmethod
    def mprotect(start: int, length: int, vm_flags: int) -> Request:
        """``vm_flags``: the new VM_READ | VM_WRITE | VM_EXEC bits."""

    @staticmethod
    def mlock(start: int, length: int, lock: bool) -> Request: ...
    @staticmethod
    def pin(address: int, write: bool) -> Request: ...
    @staticmethod
    def unpin(pfn: int) -> Request: ...
    @staticmethod
    def drain() -> Request: ...

    # files; ``file`` is a number that ``create_file`` gave
    @staticmethod
    def read_file(file: int, offset: int, size: int) -> Request:
        """``read(2)`` through the page cache, up to the end of the file."""

    @staticmethod
    def write_file(file: int, offset: int, size: int, data: bytes | None) -> Request:
        """``write(2)`` through the page cache; extends the file. Without ``data``: ``size`` bytes of any."""

    @staticmethod
    def truncate(file: int, size: int) -> Request: ...
    @staticmethod
    def lookup(file: int, page: int) -> Request:
        """The speculative look-up. The reference taken counts as a pin from then on."""

    @staticmethod
    def writeback(file: int, page: int) -> Request:
        """Locks the page and, if it is dirty and not under writeback, calls ``writepage``."""

    @staticmethod
    def complete_io() -> Request: ...
    @staticmethod
    def invalidate(file: int, page: int) -> Request:
        """``invalidate_inode_page`` of a page that can be locked at once."""

    # memory
    @staticmethod
    def mremap(start: int, length: int, new_length: int, to: int | None) -> Request:
        """``to`` None: wherever there is room, in place if it only shrinks or can grow."""

    @staticmethod
    def madvise(start: int, length: int, advice: int) -> Request:
        """``advice``: MADV_DONTNEED 4, MADV_MERGEABLE 12, MADV_UNMERGEABLE 13, DONTFORK 10, DOFORK 11."""

    # what the kernel does
    @staticmethod
    def swap_out(address: int) -> Request:
        """Reclaim of the one page at an address of the caller: isolate, ``shrink_page_list``, put back."""

    @staticmethod
    def reclaim(node: int, pages: int, anonymous: bool) -> Request:
        """``shrink_inactive_list`` on one node and family, at most ``pages`` pages scanned."""

    @staticmethod
    def ksm_scan() -> Request: ...
    @staticmethod
    def offline(first_pfn: int, count: int, timeout: int) -> Request:
        """``timeout`` in ticks."""

    @staticmethod
    def soft_offline(pfn: int) -> Request: ...
    @staticmethod
    def set_cpuset_mems(cpuset: int, mems: int) -> Request: ...
    @staticmethod
    def attach_cpuset(cpuset: int, pid: int) -> Request: ...

# What a call returns, by request:
#   move_pages, query_pages  (result, statuses, status_bytes_written)  result 0 or -errno
#   migrate_pages            pages that did not move, or -errno
#   mbind                    0 or -errno
#   migrate_frames           (result, statuses, attempts, passes, frames_discarded)
#   touch_*                  (hits, minor, major, cow, spurious, sigsegv, sigbus, out_of_memory)
#   read                     (data or None, then the eight of touch)
#   write                    the eight of touch
#   fork                     pid of the child, or -errno
#   munmap, mprotect, mlock  0 or -errno
#   pin                      pfn or None
#   exit, unpin, drain       None
#   read_file                (bytes read, data; zeroes on a machine without contents) or -errno
#   write_file               bytes written, or -errno
#   truncate, mremap's failure, madvise, offline, soft_offline, set_cpuset_mems, attach_cpuset   0 or -errno
#   mremap                   the new address, or -errno
#   lookup                   pfn or None
#   writeback                0, -errno, or 0x80000 (AOP_WRITEPAGE_ACTIVATE); 1 if there was nothing to write
#   complete_io              whether a transfer ended
#   invalidate               whether the page is gone
#   swap_out                 whether the page was freed; reclaim: pages freed
#   ksm_scan                 pages merged
_Outcome: TypeAlias = Any

@final
class Machine:
    def __new__(
        cls,
        *,
        nodes: Sequence[int],
        zones: Sequence[tuple[int, int, int, int, int, int]],
        cpu_nodes: Sequence[int],
        distances: Sequence[int],
        contents: bool,
        repaired: bool,
        swap_pages: int = 0,
        pageblock_frames: int = 512,
    ) -> Machine:
        """``nodes``: ids, ascending. ``zones``: (node, kind 0..3, frames, min, low, high) in frame order.

        ``distances``: row by row over ``nodes``.
        """

    # tasks
    def spawn(
        self,
        name: str,
        uid: int,
        euid: int,
        suid: int,
        capabilities: int,
        mems_allowed: int,
        cpu: int,
        kernel_thread: bool,
        stack: bool,
    ) -> int: ...
    def pids(self) -> list[int]: ...
    def task(self, pid: int) -> tuple[str, int, int, int, int, int, int, bool, bool]:
        """(name, uid, euid, suid, capabilities, mems_allowed, cpu, has_mm, kernel_thread)."""

    def set_credentials(self, pid: int, uid: int, euid: int, suid: int, capabilities: int) -> None: ...
    def set_mems_allowed(self, pid: int, mask: int) -> None: ...
    def set_cpu(self, pid: int, cpu: int) -> None: ...
    def set_signal(self, pid: int, pending: bool) -> None:
        """A signal is pending for the task, or none any more; only offlining looks."""

    def set_kernel_cpu(self, cpu: int) -> None:
        """Where the machine itself runs, who acts as pid 0."""

    def set_task_policy(self, pid: int, row: _Policy) -> int:
        """With the nodes as they were asked for: 0, or -EINVAL if the task may use none of them."""

    def task_policy(self, pid: int) -> _Policy: ...
    def next_interleave(self, pid: int) -> int:
        """The node of the task's next interleaved page that belongs to no area."""

    # address spaces
    def mmap(
        self, pid: int, length: int, at: int | None, vm_flags: int, file: int | None = None, offset: int = 0
    ) -> int:
        """Maps an area and returns its start. ``file``: what it maps, from byte ``offset`` (page-aligned) on.

        Without ``file``, an area with VM_SHARED maps a new shmem file of its own.
        """

    def vmas(self, pid: int) -> list[tuple[int, int, int, int, _Policy | None, int, tuple[int, ...]]]:
        """(start, end, vm_flags, pgoff, policy, id, anon_vma links oldest last)."""

    def vma_pages(self, pid: int) -> list[tuple[int, int, int, int, int, int, int, tuple[int, ...]]]:
        """Per VMA what numa_maps counts: (start, anon, dirty, mapmax, swapcache, active, writeback, pages per
        node id 0..63)."""

    def policy_at(self, pid: int, address: int) -> _Policy | None:
        """The policy of the area at an address: the file's own at that place for shmem, else the area's."""

    def nodes_of(self, pid: int, addresses: _U64) -> _I32: ...
    def frames_of(self, pid: int, addresses: _U64) -> npt.NDArray[np.int64]: ...  # -1 where none is present
    def entry(self, pid: int, address: int) -> tuple[int, bool, bool, bool, bool, int, int]:
        """(kind 0 none 1 present 2 swap 3 migration, writable, dirty, accessed, special, pfn, raw value)."""

    def entries_to(self, pfn: int) -> list[tuple[int, int]]: ...  # pid, address
    def mm_counters(self, pid: int) -> tuple[int, int, int]:
        """(file pages, anonymous pages, swap entries), as stored: may be negative (Q16)."""

    def vma_files(self, pid: int) -> list[int | None]:
        """The file that each area maps, in the order of ``vmas``."""

    # files
    def create_file(self, name: str, size: int, filesystem: dict[str, Any]) -> int:
        """``filesystem``: name, migrate ("fallback", "page", "buffers", "fail" or a number), write ("never",
        "buffers", "page", "swap"), dirtying ("buffers", "nobuffers", "never"), release ("buffers", "never"),
        accounts_dirty, swap_backed, unevictable, buffer_bytes, page_mkwrite, congested, write_script (list of
        "well", "activate", "io-error" or a positive errno), failing_reads, io_ticks (None: never),
        area_migrate (None or a number), below_policy_zone."""

    def files(self, only: int | str | None = None) -> list[tuple[int, str, int, int, int, bool]]:
        """(number, name, size, pages cached, flags EIO 1 ENOSPC 2 UNEVICTABLE 4, has dirty pages).

        ``only`` those of a number or a name, here and below.
        """

    def file_pages(self, file: int) -> dict[str, npt.NDArray[Any]]:
        """Columns offset (in pages), pfn, dirty and writeback (tags), ascending; file 0 is the swap cache."""

    def file_page(self, file: int, page: int) -> int | None:
        """The pfn of one page, if it is cached."""

    def file_areas(self, file: int) -> list[int]:
        """Ids of the areas that map it, in the order of a walk (``i_mmap``)."""

    def file_disk(self, file: int, page: int) -> bytes:
        """What is on disk; zeroes where nothing was written."""

    def buffers(self, pfn: int) -> list[tuple[int, int, int]]:
        """(state bits, count, block) of each buffer of a page; empty without."""

    def hold_buffer(self, pfn: int, at: int, lock: bool) -> None:
        """By hand: takes a reference to a buffer (``b_count``), and its lock if ``lock``. Not if locked."""

    def release_buffer(self, pfn: int, at: int) -> None: ...
    def buffered_page(self, file: int, page: int) -> int | None:
        """The page that carries the buffers of a page of a file, half way through a move and cut off, too."""

    def set_page_flag(self, pfn: int, flag: int, on: bool) -> None:
        """By hand, as a filesystem or firmware might: PG_checked, PG_mappedtodisk, PG_error, PG_private_2,
        PG_reserved, PG_referenced, PG_reclaim only."""

    def pending_io(self) -> list[tuple[int, int, str, int | None]]:
        """(number, pfn, "read" or "write", due tick or None), in the order in which they end."""

    # swap
    def swap(self) -> tuple[int, int, int]:
        """(slots, free slots, pages in the swap cache)."""

    def swap_slot(self, entry: int) -> tuple[int, bool, bool]:
        """(use count, in the swap cache, owned by shmem) of a slot given by its neutral value."""

    def set_swap_device(self, io_ticks: int | None, congested: bool) -> None: ...

    # memory cgroups; 0 is the root
    def create_memcg(self, name: str, limit_pages: int | None, parent: int) -> int: ...
    def memcgs(
        self, only: int | str | None = None
    ) -> list[tuple[int, str, int | None, int, int | None, int, int, int, int]]:
        """(number, name, parent, usage, limit, cache, rss, mapped file, swapout), all in pages."""

    def set_memcg_limit(self, memcg: int, limit_pages: int | None) -> int:
        """0, or -EBUSY if the usage cannot be brought under it."""

    def attach_memcg(self, memcg: int, pid: int) -> None: ...
    def task_groups(self, pid: int) -> tuple[int | None, int]:
        """(cpuset or None, memcg)."""

    def frame_memcg(self, pfn: int) -> tuple[int, int]:
        """(record flags: Used 1, Cache 2, FileMapped 4, AcctLRU 8; owner)."""

    # cpusets; 0 is the root
    def create_cpuset(self, name: str, mems: int, memory_migrate: bool, parent: int) -> int:
        """The number, or -errno."""

    def cpusets(self, only: int | str | None = None) -> list[tuple[int, str, int | None, int, bool]]:
        """(number, name, parent, nodes, memory_migrate)."""

    def cpuset_pids(self, cpuset: int) -> list[int]: ...
    def set_memory_migrate(self, cpuset: int, on: bool) -> None: ...

    # KSM
    def ksm(self) -> tuple[int, int, int]:
        """(pages shared, pages sharing, pages unshared)."""

    def ksm_nodes(self) -> list[tuple[int, int, list[tuple[int, int]]]]:
        """(node, kpfn, [(mm, address), ...] newest first)."""

    # ledgers
    def drift(self) -> list[tuple[str, int, int]]:
        """What documented quirks carried off: (ledger, where, by how much); empty in REPAIRED.

        Ledgers: a zone counter's name with the zone's node (Q15, Q19), ``"anon"``/``"file"`` with the mm
        (Q16), ``"mapped_file"`` (Q17) and ``"charge"`` (Q18) with the memcg."""

    def memory_mask(self) -> int:
        """N_HIGH_MEMORY: the nodes with present frames, bit n for node n."""

    def zone_rows(
        self,
    ) -> list[tuple[int, int, int, int, int, tuple[int, int, int], list[tuple[str, int]]]]:
        """(node, zone kind, first frame, frames spanned, present, (min, low, high), counters) by frame."""

    def present_pages(self, node: int) -> int:
        """Frames of a node that are not offline."""

    def pageblocks(self, node: int) -> list[tuple[int, int]]:
        """(first pfn, migrate type: MOVABLE 2, ISOLATE 4, and 5 for a block that is offline)."""

    # frames
    def frame(self, pfn: int) -> tuple[int, int, int, int, int, int, int, int, int, int]:
        """(pfn, node, zone kind, flags, count, mapcount, owner kind 0 none 1 anon 2 file 3 ksm, owner id,
        index, private). ``mapcount`` counts from 0."""

    def frames(self, node: int) -> dict[str, npt.NDArray[Any]]:
        """Columns of the node's allocated frames, in frame order, under the names of ``frame``'s fields."""

    def frame_bytes(self, pfn: int) -> bytes: ...
    def zone_counters(self, node: int) -> dict[str, int]: ...
    def vmstat(self) -> dict[str, int]: ...
    def lru(self, node: int, zone: int, index: int) -> list[int]:
        """The pages of one LRU list, head first: 0 inactive anon ... 4 unevictable."""

    def pagevec(self, cpu: int, index: int) -> list[int]:
        """A per-CPU pagevec in insertion order: 0..4 additions, 5 rotate."""

    def zonelist(self, node: int) -> list[tuple[int, int]]:
        """The node's fallback list as (node, zone kind)."""

    def isolate(self, pfn: int) -> int:
        """Takes a page off its LRU list on behalf of nobody in particular: 0 or -EBUSY."""

    def putback(self, pfn: int) -> None: ...
    def pins(self) -> dict[int, int]: ...

    # calls
    def do(self, pid: int, request: Request, progress: _Progress | None = None) -> _Outcome:
        """Runs a call to its end, now. Refused, with nothing changed, if it would have to wait for a call
        in flight. Between slices signals are handled; what raises ends the call or leaves it in flight."""

    def start(self, pid: int, request: Request, fine: bool) -> int: ...
    def step(self, call: int) -> bool:
        """One step; whether it ran (False: it is waiting, and stays so)."""

    def run_until(self, call: int, label: str) -> bool:
        """Steps until just before ``label``; False if the call ended or must wait first."""

    def finish(self, call: int) -> None: ...
    def run(self) -> None: ...
    def finish_for(self, call: int, steps: int) -> int:
        """As finish, at most so many steps; return how many it made: where only time passed is none."""

    def run_for(self, rounds: int) -> bool:
        """As run, at most so many rounds of a step each; return whether all calls are done."""

    def calls(self) -> list[int]: ...
    def call(self, call: int) -> tuple[int, str, bool, str, tuple[str, int, int] | None, tuple[str, ...]]:
        """(pid, kind, done, label of the next step, waiting for (lock, number, holder call), labels held)."""

    def history(self, call: int) -> tuple[str, ...]: ...
    def outcome(self, call: int) -> _Outcome: ...
    def statuses(self, call: int) -> _I32:
        """What a ``move_pages`` in flight has written so far."""

    def forget(self, call: int) -> None: ...
    def replay(self, calls: Sequence[int], schedule: str) -> None:
        """Steps the calls in the order of a schedule; time passes while none of them can go on."""

    def judge(self, calls: Sequence[int]) -> list[tuple[str, str, str, str]]:
        """(kind "invariant", "lost_store" or "deadlock" of these calls, rule, invariant ids, detail)."""

    # the whole
    @property
    def now(self) -> int: ...
    def advance(self, ticks: int) -> None: ...
    @property
    def steps(self) -> int: ...
    @property
    def bugs(self) -> int:
        """The rules that are broken on purpose: a bit each, in the order of `pagemig.bugs.Bug`."""

    def set_bugs(self, bugs: int) -> None: ...
    def watch_stores(self) -> None:
        """Notes stores from now on; the machine must have contents."""

    @property
    def watches_stores(self) -> bool: ...
    def audit(self) -> list[tuple[str, str, int | None, str]]:
        """(rule, invariant ids, pfn, what is wrong)."""

    def locks(self) -> list[tuple[str, int, list[int], list[int]]]: ...  # kind, number, holders, waiters
    def cost(self) -> dict[str, int]: ...
    def drain_cpu(self, cpu: int | None) -> None: ...
    def record(self, limit: int) -> None:
        """Keeps the last ``limit`` events; 0 stops recording."""

    def trace(self) -> dict[str, Any]:
        """Columns: time, pid, call, event, label, pfn, address, value."""

    def snapshot(self) -> list[bytes]:
        """The snapshot in pieces of some MiB."""

    @staticmethod
    def restore(data: bytes, start: int) -> Machine:
        """The machine of the snapshot that begins at ``start``."""
    def clone(self) -> Machine: ...

@final
class Exploration:
    # strategy: ("exhaustive", preemptions, 0, 0), ("random", None, runs, seed), ("pct", depth, runs, seed)
    def __new__(
        cls,
        machine: Machine,
        calls: Sequence[int],
        *,
        strategy: tuple[str, int | None, int, int],
        memory: int,
        transitions: int | None,
        steps: int,
        stop_at_first: bool,
        reduction: bool,
    ) -> Exploration: ...
    def advance(self, transitions: int) -> bool: ...
    def stopped(self) -> str | None: ...
    def statistics(self) -> tuple[int, int, int, int, int, int, int]: ...
    def schedules(self) -> tuple[int, bool]: ...
    # (state, number of what the calls came to, schedules)
    def ends(self) -> list[tuple[int, int, int]]: ...
    def schedule(self, state: int) -> str: ...
    def findings(self) -> list[tuple[str, str, str, str, int, str]]:
        """(kind as of ``judge`` or "assertion", rule, ids, detail, schedules, shortest schedule)."""

@final
class TraceParser:
    """A trace of one format to columns, in chunks of any size.

    ``format``: lackey, perf, damon, dynamorio, champsim or csv.
    """

    def __new__(cls, format: str, *, instructions: bool = False) -> TraceParser: ...
    def feed(self, data: bytes) -> tuple[_U64, _U8, _U8]:
        """Addresses, sizes, kinds (0 load, 1 store, 2 modify, 3 instruction) of the complete lines so far."""

    def finish(self) -> tuple[_U64, _U8, _U8]:
        """What a last line without a newline says. Raises ``UsageError`` where the data is cut off."""

    @property
    def lines(self) -> int: ...
