"""What is known of blocks, swap slots and transfers: frozen values.

`pagemig.File`, `pagemig.Machine` and `pagemig.Entry` answer with them.

Source: data-model 5.3, 6.4 and 8; spec README, section 3 (disk and swap I/O).
"""

from __future__ import annotations

from dataclasses import dataclass

from .arguments import integer
from .flags import BufferState, IoDirection

_OFFSET_BITS = 59
_DEVICE_BITS = 5


@dataclass(frozen=True, slots=True)
class Buffer:
    """One block of a page."""

    state: BufferState
    """Its flags."""
    count: int
    """Who uses it besides the page (``b_count``)."""
    block: int
    """Its place on disk."""

    @property
    def is_busy(self) -> bool:
        """Whether it cannot be freed: in use, dirty or locked."""
        return self.count > 0 or bool(self.state & (BufferState.DIRTY | BufferState.LOCK))


@dataclass(frozen=True, slots=True)
class SwapEntry:
    """A slot of a swap device; slot 0 is the header of the device and never used.

    Parameters
    ----------
    device
        Its number, 0 to 31; a machine has device 0 only.
    offset
        The number of the slot, below 2^59.

    Raises
    ------
    UsageError
        A number is out of range.

    Examples
    --------
    >>> SwapEntry(1, 7).value == (1 << 59) + 7
    True
    >>> SwapEntry.from_leaf(SwapEntry(1, 7).leaf)
    SwapEntry(device=1, offset=7)
    """

    device: int
    offset: int

    def __post_init__(self) -> None:
        integer(self.device, "device", high=(1 << _DEVICE_BITS) - 1)
        integer(self.offset, "offset", high=(1 << _OFFSET_BITS) - 1)

    @property
    def value(self) -> int:
        """The number under which the swap cache has it (the neutral form)."""
        return self.device << _OFFSET_BITS | self.offset

    @property
    def leaf(self) -> int:
        """The same as a page-table entry."""
        return self.device << 1 | self.offset << 9

    @staticmethod
    def from_leaf(raw: int) -> SwapEntry:
        """Read a page-table entry of swap type.

        Parameters
        ----------
        raw
            Its 64 bits.

        Returns
        -------
        SwapEntry
            The slot that it names.

        Raises
        ------
        UsageError
            ``raw`` has not 64 bits.
        """
        bits = integer(raw, "raw")
        return SwapEntry(bits >> 1 & (1 << _DEVICE_BITS) - 1, bits >> 9)

    @staticmethod
    def from_value(value: int) -> SwapEntry:
        """Read the neutral form.

        Parameters
        ----------
        value
            As of `value`.

        Returns
        -------
        SwapEntry
            The slot that it names.
        """
        number = integer(value, "value")
        return SwapEntry(number >> _OFFSET_BITS, number & (1 << _OFFSET_BITS) - 1)


@dataclass(frozen=True, slots=True)
class SwapInfo:
    """Swap space, in pages."""

    slots: int
    """How many pages fit in."""
    free: int
    """How many more fit in."""
    cached: int
    """Pages in the swap cache."""


@dataclass(frozen=True, slots=True)
class SwapSlot:
    """One slot of swap space."""

    uses: int
    """Page-table entries that name it, and 1 if shmem owns it."""
    is_cached: bool
    """Whether its page is in the swap cache."""
    is_shmem: bool
    """Whether a file of shmem owns it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A page on its way between memory and a disk."""

    number: int
    """Transfers are numbered as they are submitted."""
    pfn: int
    """The frame of the page."""
    direction: IoDirection
    """Into the page, or out of it."""
    due: int | None
    """The tick at which it ends; None: never by itself."""
