"""What traces are written in: how to know each format, and what its lines look like.

Start with `recognised`, which looks at the beginning of a file. The parsers themselves are Rust
(``rust/inputs``), but for npz, which numpy reads (`npz`). Above: `trace`.

Sources: valgrind's manual (chapter Lackey), perf-script(1), the kernel's documentation of DAMON and
damo's usage guide, DynamoRIO's documentation of drcachesim, ChampSim's description of its traces,
numpy's description of npy and npz. Our own CSV is described in ``rust/inputs/src/csv.rs``.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from ..errors import UsageError
from .column_names import Role, role_of

RECORD_BYTES = 64
"""Bytes of a record of ChampSim."""


class TraceFormat(enum.Enum):
    """What a trace is written in."""

    LACKEY = "valgrind lackey"
    """``valgrind --tool=lackey --trace-mem=yes``: text."""
    PERF = "perf script"
    """``perf script`` with the fields ``event`` and ``addr``: text, samples."""
    DAMON = "DAMON"
    """The tracepoint ``damon_aggregated``, or ``damo report raw``: text, how often regions were hit."""
    DYNAMORIO = "DynamoRIO view"
    """``drrun -t drcachesim -tool view``: text."""
    CHAMPSIM = "ChampSim"
    """Binary records of 64 bytes, one an instruction."""
    CSV = "CSV"
    """A table whose first line names its columns, such as ``address``, ``size`` and ``kind``."""
    NPZ = "npz"
    """numpy arrays in one file: ``addresses``, ``sizes``, and ``kinds`` or ``writes``."""

    @property
    def short_name(self) -> str:
        """What `pagemig.inputs.read_trace` takes for ``format``: the name in small letters."""
        return self.name.lower()


class _About(NamedTuple):
    """What is said about a format in messages."""

    looks: str
    hint: str


_ABOUT = {
    TraceFormat.LACKEY: _About("' L 1fff000650,8'", "was it recorded with --trace-mem=yes?"),
    TraceFormat.PERF: _About(
        "'sort 42 2228.683: cpu/mem-loads/P: 7f24b4272110'",
        "was it recorded with -d, and printed with -F comm,tid,time,event,addr?",
    ),
    TraceFormat.DAMON: _About(
        "'damon_aggregated: target_id=0 nr_regions=3 4096-8192: 1 0'",
        "every region that was watched was idle",
    ),
    TraceFormat.DYNAMORIO: _About(
        "'2 1: 77 read 8 byte(s) @ 0x7fdf64e2adc8 by PC 0x404a7e'", "did the program run?"
    ),
    TraceFormat.CHAMPSIM: _About("records of 64 bytes", "its instructions touch no memory"),
    TraceFormat.CSV: _About("'address,size,kind'", "there is nothing below its first line"),
    TraceFormat.NPZ: _About("an archive with addresses.npy", "its arrays are empty"),
}

_LACKEY = (b" L ", b" S ", b" M ", b"I ", b"SB ", b"SYSCALL[", b"==", b"--", b"**")
_DYNAMORIO = re.compile(rb" byte\(s\) @ 0x|^\s*\d+\s+\d+:\s+\S+ <")
_DAMON = re.compile(rb"damon_aggregated: |^base_time_absolute: |^\s*[0-9a-f]+-[0-9a-f]+ ?\([^)]*\):?\s+\d")
_PERF = re.compile(
    rb"(?:^|\s)[^\s:][^\s]*:\s+[0-9a-f]+(?:\s|$)"
    rb"|page_fault_(?:user|kernel):(?:\S*:)?(?: \w+ page fault,)? address="
    rb"|\d\.\d{6,9}:\s+(?:\d+\s+)?\S+:\s*$|\d\.\d{6,9}: PERF_RECORD_"
)
_NAME = re.compile(r"[^$\0-\x1f]*")
_PLAIN_NAME = re.compile(r"[\w /().\[\]-]*")
_BETWEEN_NAMES = (",", ";", "|", "\t")
_SEPARATOR_TOLD = re.compile(rb"sep=.", re.IGNORECASE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_UTF_16_SEEN = 66
"""Bytes that UTF-16 is known by: a mark, and a zero in every letter of a trace."""
_LINES = 40
"""Lines that a text is known by, comments aside."""
_CHAMPSIM_SEEN = 64 * RECORD_BYTES
"""Bytes that ChampSim is known by; a record further on may be odd."""


def recognised(beginning: bytes) -> TraceFormat | None:
    """Return what a file that begins so is written in, None if it is nothing known here.

    >>> recognised(b" S 1fff000658,8\\n"), recognised(b"size,address\\n"), recognised(b"once upon a time")
    (<TraceFormat.LACKEY: 'valgrind lackey'>, <TraceFormat.CSV: 'CSV'>, None)
    """
    if beginning.startswith(b"PK\x03\x04"):
        return TraceFormat.NPZ
    if _is_champsim(beginning):
        return TraceFormat.CHAMPSIM
    beginning = beginning.removeprefix(_BYTE_ORDER_MARK)
    lines = _first_lines(beginning)
    if not lines:
        return None
    if lines[0].startswith(b"Output format:") or any(_DYNAMORIO.search(line) for line in lines):
        return TraceFormat.DYNAMORIO
    if lines[0].startswith(_LACKEY):
        return TraceFormat.LACKEY
    if any(_DAMON.search(line) for line in lines):
        return TraceFormat.DAMON
    told = [line for line in lines if not line.startswith(b"#") and not _SEPARATOR_TOLD.fullmatch(line)]
    if told and _names_columns(told[0], _NAME):
        return TraceFormat.CSV
    if any(_PERF.search(line) for line in told):
        return TraceFormat.PERF
    # numpy puts the names of columns behind a sign of comments.
    commented = (line[1:] for line in lines if line.startswith(b"#"))
    return TraceFormat.CSV if any(_names_columns(line, _PLAIN_NAME) for line in commented) else None


def _names_columns(line: bytes, name_like: re.Pattern[str]) -> bool:
    """Return whether a line is names between commas, or whatever stands there, with an address among them."""
    text = line.decode("latin-1")
    separator = next((one for one in _BETWEEN_NAMES if one in text), None)
    names = [name.strip().removeprefix('"').removesuffix('"') for name in text.split(separator)]
    if not all((name_like if separator else _PLAIN_NAME).fullmatch(name) for name in names):
        return False
    return any(role_of(name) is Role.ADDRESS for name in names)


def unreadable(beginning: bytes, found: TraceFormat | None) -> str | None:
    """Return why text that begins so cannot be read whatever it says, None if nothing is wrong.

    >>> unreadable("address".encode("utf-16"), None)
    'this is text in UTF-16; save it in UTF-8'
    """
    if found in (TraceFormat.CHAMPSIM, TraceFormat.NPZ):
        return None
    marked = {b"\xff\xfe": 1, b"\xfe\xff": 0}.get(beginning[:2])
    if marked is not None and len(beginning) > 2 and not any(beginning[2:_UTF_16_SEEN][marked::2]):
        return "this is text in UTF-16; save it in UTF-8"
    if found is not None and b"\r" in beginning and b"\n" not in beginning:
        return "its lines end with a carriage return alone; end them with a newline"
    return None


def _first_lines(beginning: bytes) -> list[bytes]:
    """Return the first lines that are not blank; comments, of which perf writes many, do not count."""
    lines: list[bytes] = []
    told = 0
    for line in beginning.splitlines():
        if told == _LINES:
            break
        if line.strip():
            lines.append(line)
            told += not line.startswith(b"#")
    return lines


def _is_champsim(beginning: bytes) -> bool:
    """Return whether every whole record says 0 or 1 where it tells of branches, which no text does."""
    whole = range(0, min(len(beginning), _CHAMPSIM_SEEN) - RECORD_BYTES + 1, RECORD_BYTES)
    if len(beginning) < RECORD_BYTES:
        return False
    # A branch that is none cannot have been taken.
    return all((beginning[at + 8], beginning[at + 9]) in ((0, 0), (1, 0), (1, 1)) for at in whole)


def expected() -> str:
    """Return what the first line of a trace may look like, for messages."""
    return "; ".join(f"{format.short_name}: {about.looks}" for format, about in _ABOUT.items())


def hint(format: TraceFormat) -> str:
    """Return what is likely wrong with a trace that holds no access."""
    return _ABOUT[format].hint


def require_format(format: TraceFormat | str) -> TraceFormat:
    """Return the format that a person named.

    Raises
    ------
    UsageError
        There is none of that name.

    Examples
    --------
    >>> require_format("perf")
    <TraceFormat.PERF: 'perf script'>
    """
    if isinstance(format, TraceFormat):
        return format
    for known in TraceFormat:
        if format == known.short_name:
            return known
    names = ", ".join(known.short_name for known in TraceFormat)
    raise UsageError(f"format is {format!r}; it must be a TraceFormat or one of {names}")
