"""What programs must see, kept beside the machine: a shadow of every byte that was ever stored.

The shadow knows nothing of frames, swap, migration or KSM; only what ``mmap(2)`` promises. A
private page is the file's until it is stored to and the task's own from then on; a shared page is
always the file's; a file has a size, and what was cut off it is gone (I-110, I-114).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pagemig import PAGE_SIZE

ZEROES = bytes(PAGE_SIZE)


@dataclass
class ShadowFile:
    """The bytes of a file, page by page; pages that nobody wrote are zeroes."""

    size: int
    pages: dict[int, bytes] = field(default_factory=dict)

    def page(self, index: int) -> bytes | None:
        """One page, or None beyond the end of the file."""
        if index * PAGE_SIZE >= self.size:
            return None
        return self.pages.get(index, ZEROES)

    def store(self, offset: int, data: bytes) -> None:
        """Bytes that do not cross a page."""
        index, at = divmod(offset, PAGE_SIZE)
        before = self.pages.get(index, ZEROES)
        self.pages[index] = before[:at] + data + before[at + len(data) :]

    def extend(self, size: int) -> None:
        """The file is at least so long; what a mapping stored beyond its old end is gone."""
        self.size = max(self.size, size)

    def cut(self, size: int) -> None:
        """``truncate``: what lies beyond reads as zeroes if the file grows again."""
        whole, rest = divmod(size, PAGE_SIZE)
        for index in [index for index in self.pages if index > whole or (index == whole and not rest)]:
            del self.pages[index]
        if rest and whole in self.pages:
            self.pages[whole] = self.pages[whole][:rest] + bytes(PAGE_SIZE - rest)
        self.size = size


@dataclass(frozen=True)
class ShadowArea:
    """One page of one task's memory: what it maps, and how."""

    file: ShadowFile | None
    index: int
    shared: bool
    writable: bool


@dataclass
class ShadowMemory:
    """One task's memory, page by page."""

    areas: dict[int, ShadowArea] = field(default_factory=dict)
    own: dict[int, bytes] = field(default_factory=dict)

    def load(self, page: int) -> bytes | None:
        """What a load of the page at an address must give; None where it must fail."""
        area = self.areas.get(page)
        if area is None:
            return None
        if page in self.own:
            return self.own[page]
        return ZEROES if area.file is None else area.file.page(area.index)

    def store(self, page: int, at: int, data: bytes) -> bool:
        """Stores bytes within one page; whether that must succeed."""
        area = self.areas.get(page)
        before = self.load(page)
        if area is None or before is None or not area.writable:
            return False
        if area.shared and area.file is not None:
            area.file.store(area.index * PAGE_SIZE + at, data)
        else:
            self.own[page] = before[:at] + data + before[at + len(data) :]
        return True

    def unmap(self, page: int) -> None:
        """Nothing is there any more."""
        self.areas.pop(page, None)
        self.own.pop(page, None)

    def move(self, old: int, new: int) -> None:
        """``mremap`` of one page."""
        self.areas[new] = self.areas.pop(old)
        if old in self.own:
            self.own[new] = self.own.pop(old)

    def fork(self) -> ShadowMemory:
        """The child's memory: everything as it is now."""
        return ShadowMemory(dict(self.areas), dict(self.own))

    def cut_off(self, file: ShadowFile) -> None:
        """The file shrank: private copies of pages that it has no more are gone, too (even_cows)."""
        first = -(-file.size // PAGE_SIZE)
        for page, area in self.areas.items():
            if area.file is file and area.index >= first:
                self.own.pop(page, None)
