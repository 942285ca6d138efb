"""What the tools that record traces write beside traces, and what to ask them for instead.

Start with `advice`. Beside it: `trace_format`, which knows what can be read. Used by `trace`.

Sources: perf-script(1), perf-trace(1), perf-mem(1), damo's usage guide, the kernel's documentation of ftrace,
DynamoRIO's on its traces, tar(5), and output that was recorded with perf 6.1 and damo 2.7 and 3.4.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PRINT = "perf script -F comm,tid,time,event,addr"
_CONVERT = "damo convert_record_format --format perf_script --record_file RECORD --output_file TEXT"


class _Other(NamedTuple):
    """One kind of output: how it is known, what it is, and what would be right."""

    pattern: re.Pattern[bytes]
    is_what: str
    instead: str


_BINARY = (
    _Other(
        re.compile(rb"\APERFILE2|\A2ELIFREP"), "perf's recording, not its text", f"print it with '{_PRINT}'"
    ),
    _Other(
        re.compile(rb"\A[^\0].{256}ustar", re.DOTALL), "a tar archive", "unpack it, and read what was in it"
    ),
    _Other(
        # A record of twelve bytes with the version, and one with the thread or a marker.
        re.compile(rb"\A\x19\0\0\0[^\0]\0{7}[\x16\x1c]\0"),
        "DynamoRIO's trace itself, not its text",
        "print it with 'drrun -t drcachesim -tool view -indir DIRECTORY'",
    ),
)

_IN_FIRST_LINE = (
    _Other(
        re.compile(
            rb"^\s*(?:(?:\[[^]]*\]|[\w.-]{1,64}@\S{1,200})?[$#%>]\s+)?(?:sudo\s+)?(?:[\w.~-]*/)*"
            rb"(?:perf|damo|valgrind|drrun)\s+[a-z-](?!.*:\s)"
        ),
        "the command, not what it prints",
        "take the line out",
    ),
    _Other(
        re.compile(
            rb"^\s*\d+(?:/\d+)?\s+\d+\.\d{6,9}:\s+[0-9a-f]+\s*$|^ {1,16}[0-9a-f]{8,16}(?: +[0-9a-f]+)?\s*$"
        ),
        "'perf script' without the field event",
        f"print with '{_PRINT}'",
    ),
    _Other(
        re.compile(rb"^(?:.*\s\d+\.\d{6,9}:)?\s*(?:\d+\s+)?[0-9a-f]+\s+(?:\|OP |[^|:]+\|SNP )"),
        "'perf script' without the fields event and addr",
        f"print with '{_PRINT},data_src'",
    ),
)

_IN_LINE = (
    _Other(
        re.compile(
            rb"^kdamond \d+ / context |^snapshot time: \[|^heatmap: \d|^total number of regions: \d"
            rb"|^intervals: sample \S.* aggr |^\s*\d+\s+addr (?:\S.* size \S|\[).* access "
            rb"|^\s*\d+\s+(?:[\d.]+ (?:B|[KMGTP]iB)\s+){2}[\d.]+ hz "
        ),
        "damo's report for people, which rounds addresses and tells rates instead of counts",
        f"convert the record with '{_CONVERT}'",
    ),
    _Other(
        re.compile(rb"^\s*\d+\.\d+ \(\s*(?:\d+\.\d+ ms)?\s*\): "),
        "'perf trace', which tells most addresses as places in files",
        f"record with 'perf record -e page-faults -d', and print with '{_PRINT}'",
    ),
    _Other(
        re.compile(rb"^#\s*PID, TID, (?:IP|ADDR)"),
        "'perf mem report -D'",
        f"print with '{_PRINT},data_src'",
    ),
    _Other(
        re.compile(rb"^(?:\d+ )*0x[0-9a-f]+(?:@\S+)? \[0x[0-9a-f]+\]: (?:event: \d+|PERF_RECORD_)"),
        "a dump of perf's recording",
        f"print it without -D, with '{_PRINT}'",
    ),
    _Other(re.compile(rb"^\[ perf \w+: .*\]"), "what perf says while it records", "take the line out"),
    _Other(
        re.compile(rb"^\s*\d+\)[^|]*\|  "),
        "ftrace's function_graph",
        "record with the tracer nop, or with 'perf record -e exceptions:page_fault_user'",
    ),
    _Other(
        re.compile(rb'^\s*"linux-perf-json-version":'),
        "perf's recording as JSON",
        f"print it with '{_PRINT}'",
    ),
    _Other(
        re.compile(rb'^\s*"kdamond_idx":'),
        "DAMON's record as JSON",
        f"convert it with '{_CONVERT}'",
    ),
)

_LINES = 40


def advice(beginning: bytes) -> tuple[int, str] | None:
    """Return which line tells that this is no trace and what to do, None if nothing is known of it.

    >>> advice(b"$ perf script -F event,addr\\nx 1 1.5: page-faults: 1000\\n")
    (1, 'this is the command, not what it prints; take the line out')
    >>> advice(b" L 1000,8\\n") is None
    True
    """
    for other in _BINARY:
        if other.pattern.search(beginning):
            return 1, f"this is {other.is_what}; {other.instead}"
    told = 0
    for number, line in enumerate(beginning.splitlines(), 1):
        is_comment = not line.strip() or line.startswith(b"#")
        known = _IN_LINE if told or is_comment else _IN_FIRST_LINE + _IN_LINE
        for other in known:
            if other.pattern.search(line):
                return number, f"this is {other.is_what}; {other.instead}"
        told += not is_comment
        if told == _LINES:
            break
    return None
