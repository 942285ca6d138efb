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
        (
            b"7 0x1a8 [0x90]: PERF_RECORD_SAMPLE(IP, 0x2): 9/9: 0x40 period: 1 addr: 0\n",
            1,
            "print it without",
        ),
        (
            b"$ ./perf script|grep ldlat=|head\n" + SAMPLE,
            1,
            "this is the command, not what it prints; take the",
        ),
        (b"[me@host ~]# perf script\n" + SAMPLE, 1, "this is the command, not what it prints; take the line"),
        (b"me@host:~/x$ sudo /usr/bin/perf script -F addr\n" + SAMPLE, 1, "this is the command"),
        (b"[ perf record: Woken up 1 times to write data ]\n" + SAMPLE, 1, "take the line out"),
        (SAMPLE + b"[ perf mem: Captured and wrote 0.1 MB perf.data (9 samples) ]\n", 2, "take the line out"),
        (
            b" 1 88000142 |OP LOAD|LVL L1 hit|SNP None|TLB L1 or L2 hit|LCK No    47\n",
            1,
            "fields event and addr; print with 'perf script -F comm,tid,time,event,addr,data_src'",
        ),
        (b"sve 9 65.714341:   288100144 |OP STORE|LVL L1 hit|SNP None\n", 1, "without the fields event and"),
        (
            b"   88000142 L3 or L3 hit|SNP None|TLB Walker hit|LCK No\n",
            1,
            "without the fields event and addr",
        ),
        (b" 2)   0.764 us    |  exit_to_user_mode_prepare();\n", 1, "ftrace's function_graph; record with"),
        (b"heatmap: 88\n0   4.000 GiB    8.000 KiB    200 hz 700 ms\n", 1, "damo convert_record_format"),
        (b"0   4.000 GiB    8.000 KiB    200 hz 700 ms\n", 1, "damo's report for people"),
        (
            b"total number of regions: 2\n  0 addr [4.000 KiB, 8.000 KiB) (4.000 KiB) access 0 % age 1 s\n",
            1,
            "damo's report for people",
        ),
        (b"  0 addr [4.000 KiB, 8.000 KiB) (4.000 KiB) access 0 % age 1 s\n", 1, "damo's report for people"),
        (b"\x19\0\0\0\1" + bytes(7) + b"\x16\0\4\0" + bytes(8), 1, "-tool view -indir DIRECTORY"),
        (
            b"sort.champsim".ljust(257, b"\0") + b"ustar  \0".ljust(255, b"\0"),
            1,
            "this is a tar archive; unpack",
        ),
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


def test_the_tracepoint_of_riscv_is_found(written: Write) -> None:
    """It has words before the address, and a cause instead of x86's error code."""
    line = b"ls 8 [007] 894.795520:   exceptions:page_fault_user: user page fault, address=0x%x cause=0x%x\n"
    trace = read_trace(written("t", line % (0x1000, 13) + line % (0x2008, 15)))
    assert trace.format is TraceFormat.PERF
    assert trace.columns().writes.tolist() == [False, True]


def test_a_sample_in_the_words_of_an_older_perf_is_found(written: Write) -> None:
    """The operation is in the number alone: 4 is a store."""
    line = (
        b"ls 8 [011] 3678.072400:  1  l1d-access:     ffffa7c22b40         8800018%d L1 hit|SNP N/A|LCK No\n"
    )
    trace = read_trace(written("t", line % 2 + line % 4))
    assert trace.format is TraceFormat.PERF
    assert trace.columns().writes.tolist() == [False, True]


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
