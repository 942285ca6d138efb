"""Leaf entries of a page table, as the 64-bit values the hardware would see.

Start with :func:`classify`. An entry is a plain ``int``; 0 is none.

Source: data model 6.1 (protection), 6.3 (bits), 6.4 (swap-type encoding).
Left out: file-offset entries, swap devices other than number 0.
"""

from __future__ import annotations

PAGE_SIZE = 4096

PRESENT = 1 << 0
WRITABLE = 1 << 1
USER = 1 << 2
ACCESSED = 1 << 5
DIRTY = 1 << 6
PROTNONE = 1 << 8
SPECIAL = 1 << 9
NO_EXECUTE = 1 << 63

MIGRATION_READ = 30
MIGRATION_WRITE = 31

VM_READ = 0x1
VM_WRITE = 0x2
VM_EXEC = 0x4
VM_SHARED = 0x8
VM_MAYWRITE = 0x20
VM_MAY = 0x70
VM_MAYSHARE = 0x80
VM_PFNMAP = 0x400
VM_LOCKED = 0x2000
VM_IO = 0x4000
VM_SEQ_READ = 0x8000
VM_DONTCOPY = 0x20000
VM_DONTEXPAND = 0x40000
VM_RESERVED = 0x80000
VM_HUGETLB = 0x400000
VM_NONLINEAR = 0x800000
VM_INSERTPAGE = 0x2000000
VM_MIXEDMAP = 0x10000000
VM_MERGEABLE = 0x80000000
VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC


def classify(entry: int) -> str:
    """Return ``"none"``, ``"present"``, ``"migration"`` or ``"swap"``."""
    if entry == 0:
        return "none"
    if entry & (PRESENT | PROTNONE):
        return "present"
    if (entry >> 1) & 31 in (MIGRATION_READ, MIGRATION_WRITE):
        return "migration"
    return "swap"


def pfn_of(entry: int) -> int:
    """Return the frame a present entry names (bits 12 to 51)."""
    return (entry >> 12) & ((1 << 40) - 1)


def make(pfn: int, protection: int) -> int:
    """Return a present entry for a frame under a protection."""
    return (pfn << 12) | protection


def make_migration(pfn: int, *, write: bool) -> int:
    """Return the entry that stands for ``pfn`` while it is being migrated."""
    return pfn * 512 + (MIGRATION_WRITE if write else MIGRATION_READ) * 2


def migration_pfn(entry: int) -> int:
    """Return the frame a migration entry names."""
    return entry >> 9


def is_write_migration(entry: int) -> bool:
    """Return whether a migration entry is the write flavour."""
    return (entry >> 1) & 31 == MIGRATION_WRITE


def make_swap(slot: int) -> int:
    """Return the leaf that names a slot of device 0; the slot is its neutral value too.

    >>> hex(make_swap(3)), classify(make_swap(3))
    ('0x600', 'swap')
    """
    return slot << 9


def swap_slot(entry: int) -> int:
    """Return the slot a swap entry names."""
    assert (entry >> 1) & 31 == 0
    return entry >> 9


def protection(vm_flags: int, *, wants_notice: bool = False) -> int:
    """Return ``vm_page_prot``: writable only if shared, and nobody wants a notice of writes.

    >>> hex(protection(VM_READ | VM_WRITE))
    '0x8000000000000025'
    >>> hex(protection(VM_READ | VM_WRITE | VM_SHARED))
    '0x8000000000000027'
    >>> hex(protection(0))
    '0x120'
    """
    if not vm_flags & VM_ACCESS:
        return PROTNONE | ACCESSED
    bits = PRESENT | USER | ACCESSED
    if vm_flags & VM_SHARED and vm_flags & VM_WRITE and not wants_notice:
        bits |= WRITABLE
    return bits if vm_flags & VM_EXEC else bits | NO_EXECUTE


def reprotect(entry: int, new_protection: int) -> int:
    """Replace the protection, keeping frame, accessed, dirty and special."""
    kept = entry & ((((1 << 40) - 1) << 12) | ACCESSED | DIRTY | SPECIAL)
    return kept | (new_protection & ~(ACCESSED | DIRTY | SPECIAL))
