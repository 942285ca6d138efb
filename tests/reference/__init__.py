"""The plain way: a second, slow, readable implementation of anonymous memory.

Written from the specification alone, sharing nothing with the package, so that
two readings of the same pages can be compared operation by operation. Every
call runs to its end; nothing is ever half done.

Start with :mod:`tests.reference.machine`, whose methods are the operations.
Below it, in reading order: ``entries`` (leaf values), ``memory`` (frames and
nodes), ``lru`` (lists and pagevecs), ``rmap`` (who maps a page), ``vmas``
(address spaces), ``policy`` (where a frame comes from), ``faults``, ``mlock``,
``mapping`` (mmap, mprotect, munmap, fork, exit), ``engine`` (the ten passes),
``move_pages`` and ``placement`` (the system calls), ``snapshot`` (the whole state as plain data).

Source: the specification's data model, supporting paths, migration and system
call pages. Left out: files, swap, KSM, memory cgroups, huge pages, several
zones on a node, reclaim, and everything that happens between two steps.
"""
