"""What the tools that record write beside traces: known by its lines, refused with what to ask for.

The samples are written after output of perf 6.1 and damo 2.7 and 3.4 that was recorded here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import pagemig as pm
from pagemig.inputs import TraceFormat, read_trace
from tests.inputs.conftest import DATA

Write = Callable[[str, bytes], Path]

SAMPLE = b"            sort  4242 22228.683303: page-faults:     7f24b4272110\n"
RAW_NUMBER = b"""kdamond 0 / context 0 / scheme None / target id 0 / recorded for 400000000 from 7110621
snapshot time: [0, 100000000] (100000000)
intervals: sample 5000 aggr 100000 (max access hz 200.000000)
0   addr 94355079561216 size 25071616    access 0.000000 age 0
"""


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"PERFILE2\x68\0\0\0\0\0\0\0" * 20, 1, "this is perf's recording, not its text; print it with"),
        (b"$ perf script -F comm,tid,time,event,addr\n" + SAMPLE, 1, "this is the command"),
        (b"# first\nperf script -F comm,tid,time,event,addr\n" + SAMPLE, 2, "this is the command"),
        (RAW_NUMBER, 1, "damo convert_record_format --format perf_script"),
        (RAW_NUMBER.splitlines(keepends=True)[-1], 1, "damo convert_record_format --format perf_script"),
        (b'[\n    {\n        "kdamond_idx": 0,\n', 3, "this is DAMON's record as JSON"),
        (b'{\n\t"linux-perf-json-version": 1,\n', 2, "this is perf's recording as JSON"),
        (
            b"     0.101 ( 0.000 ms): ls/2790 minfault [_dl_start+0x30] => [stack]@0x7fff38afbfb8 (d.)\n",
            1,
            "perf record -e page-faults -d",
        ),
        (
            b"# PID, TID, IP, ADDR, LOCAL WEIGHT, DSRC, SYMBOL\n9 9 0xffff 0x7f7f 0 0x1e [kernel]:elf\n",
            1,
            "perf script -F comm,tid,time,event,addr,data_src",
        ),
        (b"\n0x1a8@x.data [0x90]: event: 69\n.\n. ... raw event: size 144 bytes\n", 2, "print it without -D"),
        (b"     7fd5ac544024\n     7fd5ac541020\n", 1, "'perf script' without the field event"),
        (b" 2412 70471.952204:     7fe7121ddb70\n", 1, "'perf script' without the field event"),
    ],
)
def test_output_that_is_no_trace_says_what_to_ask_for(
    written: Write, content: bytes, line: int, said: str
) -> None:
    """With the line that tells; a format that is named has its own say."""
    path = written("t", content)
    with pytest.raises(pm.UsageError, match=re.escape(said)) as refused:
        read_trace(path)
    assert str(refused.value).startswith(f"{path}: line {line}: not a trace: this is ")
    assert "\n" not in str(refused.value)
    assert read_trace(path, format="csv").format is TraceFormat.CSV


def test_an_odd_record_far_on_does_not_hide_what_a_trace_is(written: Write) -> None:
    """ChampSim is known by its first records: what is taken and no branch says nothing after those."""
    plain = b"\1" + bytes(7) + bytes(56)
    odd = b"\1" + bytes(7) + b"\0\1" + b"\0\0\0\0\0\0" + bytes(16) + b"\7" + bytes(31)
    trace = read_trace(written("t", plain * 100 + odd))
    assert trace.format is TraceFormat.CHAMPSIM
    assert trace.columns().addresses.tolist() == [7]


def test_a_long_head_of_perf_hides_no_trace(written: Write) -> None:
    """``perf script --header -I``: some fifty lines of comment, one of which may be long."""
    head = b"# ========\n# cmdline : /usr/bin/perf record " + b"x" * 5000 + b"\n" + b"# cpu : 1\n" * 60
    trace = read_trace(written("t", head + b"#\n" + SAMPLE))
    assert trace.format is TraceFormat.PERF
    assert trace.columns().addresses.tolist() == [0x7F24B4272110]


@pytest.mark.parametrize(
    "text",
    [
        b"sort  42 22228.683303:          1 page-faults:      7f24b4258b70 _start+0x0 (/lib/ld.so)\n",
        b"sort  42 22228.683303:          1 page-faults: \n\t    7f24b4258b70 _start+0x0 (/lib/ld.so)\n",
        b"sort  42 22228.683303:     250000 cpu-clock:ppp:      7f24b4258b70 _start+0x0 (/lib/ld.so)\n",
    ],
)
def test_a_recording_printed_without_addresses_says_how_to_print_it(written: Write, text: bytes) -> None:
    """perf's own choice of fields has no address of data for events of software."""
    trace = read_trace(written("t", text))
    assert trace.format is TraceFormat.PERF
    with pytest.raises(pm.UsageError, match="perf script -F comm,tid,time,event,addr"):
        trace.columns()


def test_recorded_tracepoints_of_page_faults_tell_stores() -> None:
    """Method: perf's words, taken apart by plain Python: bit 1 of the error code is a write, bit 4 code."""
    found = re.findall(r"address=0x(\w+) ip=\S+ error_code=0x(\w+)", (DATA / "date.faults.perf").read_text())
    told = [(int(address, 16), int(code, 16)) for address, code in found]
    accesses = read_trace(DATA / "date.faults.perf").columns()
    data = [(address, bool(code & 2)) for address, code in told if not code & 16]
    assert list(zip(accesses.addresses.tolist(), accesses.writes.tolist(), strict=True)) == data
    assert 10 < sum(is_write for _, is_write in data) < len(data) < len(told)
    with_code = read_trace(DATA / "date.faults.perf", instructions=True).columns()
    assert with_code.addresses.tolist() == [address for address, _ in told]


def test_a_report_of_damo_is_found_behind_its_notice(written: Write) -> None:
    """What damo 2.7 writes: a notice, then regions with a blank before the length, and an age."""
    text = (
        b'\nWARNING: "damo report raw" is deprecated.\n    Use "damo report access --raw_form" instead.\n\n'
        b"base_time_absolute: 19 h 45 m 6.211 s\n\nmonitoring_start:                0 ns\nnr_regions: 1\n"
        b"# start_addr     end_addr        length  nr_accesses   age\n"
        b"55d0c1000000-55d0c1002000 (   8.000 KiB)           2     1\n"
    )
    for part in (text, text.splitlines(keepends=True)[-1]):
        trace = read_trace(written("t", part))
        assert trace.format is TraceFormat.DAMON
        assert trace.columns().addresses.tolist() == [0x55D0C1000000, 0x55D0C1001000]
