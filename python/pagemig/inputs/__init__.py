"""What real programs did and where their memory is, read from files and from ``/proc``.

Two kinds of input. A *trace* is a list of accesses: `read_trace` finds out what the file is
and gives columns, `page_accesses` cuts them at page boundaries, `write_trace` writes them. A
*capture* is where the memory of a live process is, never what is in it: `capture` makes an
`AddressSpace`, which is saved and loaded as JSON, and `load` gives it to a task of a simulated
machine.

Start with `trace` or `address_space`. Below: `pagemig._core`, which parses. Above: the demo,
the playing of traces and the command line.

Left out: what is in the pages, and the order of accesses where a tool does not record it.
"""

from __future__ import annotations

from .accesses import Accesses, AccessKind, page_accesses
from .address_space import AddressSpace, Source, shipped_capture
from .area import Area
from .compressed import Compression
from .live import capture
from .loading import LeftOut, LoadReport, Reason, load, load_report
from .trace import Trace, read_trace
from .trace_format import TraceFormat
from .writing import write_trace

__all__ = [
    "AccessKind",
    "Accesses",
    "AddressSpace",
    "Area",
    "Compression",
    "LeftOut",
    "LoadReport",
    "Reason",
    "Source",
    "Trace",
    "TraceFormat",
    "capture",
    "load",
    "load_report",
    "page_accesses",
    "read_trace",
    "shipped_capture",
    "write_trace",
]
