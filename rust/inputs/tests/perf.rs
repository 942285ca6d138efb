//! `perf script` and DAMON's reports in the forms that their versions and options give.
//!
//! The samples are written after output that was recorded here; each is also fed in pieces.

use pagemig_inputs::{Columns, Format, TraceParser};

type Rows = Vec<(u64, u8)>;

fn parse(
    format: Format,
    text: &str,
    length: usize,
    with_instructions: bool,
) -> Result<Rows, String> {
    let mut parser = TraceParser::new(format, with_instructions);
    let mut columns = Columns::default();
    for piece in text.as_bytes().chunks(length) {
        parser.feed(piece, &mut columns).map_err(|error| error.to_string())?;
    }
    parser.finish(&mut columns).map_err(|error| error.to_string())?;
    Ok(columns.addresses.iter().copied().zip(columns.kinds.iter().copied()).collect())
}

/// Addresses and kinds, which are the same in pieces of any size.
fn rows(format: Format, text: &str) -> Result<Rows, String> {
    let whole = parse(format, text, text.len(), false);
    for length in [1, 7, 30] {
        assert_eq!(parse(format, text, length, false), whole, "in pieces of {length}");
    }
    whole
}

fn perf(text: &str) -> Result<Rows, String> {
    rows(Format::Perf, text)
}

#[test]
fn the_address_of_an_instruction_is_never_taken_for_one_of_data() {
    for line in [
        "sort 42 228.683330:          1  page-faults:      7fb907edd7ad _dl_start+0x3d (/lib/ld.so)",
        "sort 42 228.683330:          1  page-faults:  ffffffff81752a2a elf_load+0x28a ([kernel])",
        "sort 42 228.683330: page-faults:      7fb907edd7ad",
        "sort 42 228.683330: page-faults:                              7fb907edd7ad",
        "sort 42 228.683330:     250000 cpu-clock:ppp:      7ffa05628a77 malloc+0x147 (/lib/libc.so)",
        "wp 42 228.683330:          1 mem:0x404040:rw:            40113e main+0x18 (/x/wp)",
        "sort 42 228.683330:          1 branches:            401000 f (/x) =>           402000 g (/x)",
        "page-faults:      7fb907edd7ad _start",
    ] {
        let said = perf(&format!("{line}\n")).expect_err(line);
        assert!(
            said.starts_with("line 1: expected the address of the data, not that of"),
            "{said}"
        );
        assert!(said.contains("perf script -F comm,tid,time,event,addr"), "{said}");
    }
    for line in [
        "sort 42 228.683330: page-faults: 7fb907edd7ad _dl_start+0x3d (/lib/ld.so)",
        "sort 42 228.683330: branches: 401000 f (/x) => 402000 g (/x)",
        "sort 42 228.683330: page-faults: 7fb907edd7ad 7fb907edd7ad",
    ] {
        let said = perf(&format!("{line}\n")).expect_err(line);
        assert!(said.contains("as perf writes it: this may be that of the instruction"), "{said}");
    }
}

#[test]
fn an_address_of_data_is_read_whatever_field_follows_it() {
    for line in [
        "page-faults:     7fd5ac544024",
        "page-faults:     7fd5ac544024 [unknown]",
        "page-faults:     7fd5ac544024     7fd668faf670",
        "page-faults:     7fd5ac544024 add (//anon)     7fd668faf670 malloc+0x2c0 (/lib/libc.so)",
        "page-faults:                             7fd5ac544024",
        "page-faults:     7fd5ac544024      1e05080021 |OP N/A|LVL N/A or N/A|SNP N/A|TLB N/A",
        "page-faults: 7fd5ac544024 1e05080021 |OP N/A|LVL N/A",
        "page-faults: 7fd5ac544024",
    ] {
        for head in ["", "42 ", "sort 42/43 [003] 228.683330:          1 "] {
            let read = perf(&format!("{head}{line}\n"));
            assert_eq!(read, Ok(vec![(0x7fd5_ac54_4024, 0)]), "{head}{line}");
        }
    }
}

#[test]
fn a_sample_without_any_address_says_what_to_ask_for() {
    for line in [
        "sort 42 228.683330:          1 page-faults: ",
        "sort 42 1.5: page-faults: main",
        "page-faults:       1e05080021 |OP N/A|LVL N/A or N/A|SNP N/A",
        "page-faults: 1e05080021 |OP N/A|LVL N/A or N/A|SNP N/A",
    ] {
        let said = perf(&format!("{line}\n")).expect_err(line);
        assert!(said.contains("perf script -F comm,tid,time,event,addr"), "{said}");
    }
}

#[test]
fn a_sample_is_a_store_by_its_source_or_by_the_name_of_its_event() {
    for (event, source, kind) in [
        ("mem_inst_retired.all_stores:P", "", 1),
        ("MEM_INST_RETIRED.ALL_STORES:P", "", 1),
        ("cpu/mem-stores/P", "", 1),
        ("dTLB-store-misses:P", "", 1),
        ("ld_blocks.store_forward:P", "", 0),
        ("cpu/LD_BLOCKS.STORE_FORWARD/P", "", 0),
        ("mem_load_retired.l1_hit", "", 0),
        ("mem:0x404040:w", "", 1),
        ("mem:0x404040/8:w:u", "", 1),
        ("mem:0x404040:rw", "", 0),
        ("mem:0x404040:x", "", 3),
        ("ibs_op//", " 1 |OP STORE|LVL L1 hit", 1),
        ("cpu/mem-stores/P", " 1 |OP LOAD|LVL L1 hit", 0),
        ("cpu/mem-stores/P", " 1 |OP N/A|LVL L1 hit", 1),
        ("ibs_op//", " 1 |OP EXEC|LVL L1 hit", 3),
        ("l1d-access", " 68100144 L1 hit|SNP None|TLB L1 or L2 hit|LCK No", 1),
        ("l1d-access", " 68100142 L1 hit|SNP None|TLB L1 or L2 hit|LCK No", 0),
        ("cpu/mem-stores/P", " 68100142 LFB or LFB hit|SNP None|TLB N/A|LCK No", 0),
        ("cpu/mem-loads/P", " [unknown] 68100144 Remote RAM (1 hop) hit|SNP None|TLB N/A", 1),
        ("mem_inst_retired.all_stores", " 1e05080021 N/A|SNP N/A|TLB N/A|LCK N/A", 1),
        ("page-faults:u", " 1e05080021 N/A|SNP N/A|TLB N/A|LCK N/A", 0),
        ("ibs_op//", " 1e05080030 N/A|SNP N/A|TLB N/A|LCK N/A", 3),
        ("ibs_op//", " 444000288100144 |OP STORE SIMD|LVL L1 hit|SNP None", 1),
    ] {
        let line = format!("sort 42 1.5: {event}:           404040{source}\n");
        let all = parse(Format::Perf, &line, line.len(), true);
        assert_eq!(all, Ok(vec![(0x40_4040, kind)]), "{line}");
        assert_eq!(perf(&line).map(|rows| rows.len()), Ok(usize::from(kind != 3)), "{line}");
    }
}

#[test]
fn what_the_source_of_the_data_calls_no_access_is_passed_over() {
    for said in [
        "ibs_op//:           404040 1 |OP PFETCH|LVL L1 hit",
        "ibs_op//:           404040 68 L1 hit|SNP N/A|TLB N/A|LCK N/A",
        "ibs_op//:           404040 1e05080021 |OP N/A|LVL N/A|SNP N/A|TLB N/A|LCK N/A",
        "ibs_op//:           404040 1e05080021 N/A|SNP N/A|TLB N/A|LCK N/A",
        "memory:           404040 0 |OP No|LVL N/A|SNP N/A|TLB N/A|LCK No",
        "branch-miss:           404040",
        "branches:u:           404040 1e05080021 |OP N/A|LVL N/A",
    ] {
        let line = format!("sort 42 1.500000:          1 {said}\n");
        assert_eq!(parse(Format::Perf, &line, line.len(), true), Ok(vec![]), "{line}");
    }
}

#[test]
fn the_number_of_a_source_is_never_taken_for_an_address() {
    for said in [
        "l1d-miss:         88000182 L1 miss|SNP N/A|TLB Walker hit|LCK No",
        "memory:         88000184 L3 or L3 hit|SNP N/A|TLB Walker hit|LCK No|BLK  N/A aaaac17c3e88 f",
        "cpu/mem-loads/P:         68100142 Local RAM hit|SNP None|TLB L1 or L2 hit|LCK No",
        "cpu/mem-loads/P: 1e05080021 N/A|SNP N/A|TLB N/A|LCK N/A",
        "cpu/mem-loads/P:         68100142 |OP LOAD|LVL L1 hit|SNP None",
    ] {
        let line = format!("sort 42 [011] 3678.072400:          1 {said}\n");
        let refused = perf(&line).expect_err(&line);
        assert!(refused.starts_with("line 1: expected an address of data behind"), "{refused}");
    }
}

#[test]
fn a_weight_is_not_taken_for_an_address() {
    for said in [
        "l1d-access:               12 ffffaf629d4cb320",
        "l1d-access:               12",
        "cpu/mem-loads,ldlat=30/P:           43",
        "cpu/mem-loads/P:              999",
    ] {
        for head in ["", "sort 42 1.500000:          1 "] {
            let refused = perf(&format!("{head}{said}\n")).expect_err(said);
            assert!(refused.contains("below 4096 nothing is mapped, and this looks"), "{refused}");
        }
    }
    let other = "memory:     aaaac17d0040\nl1d-access:              12\n";
    assert!(perf(other).expect_err(other).starts_with("line 2: expected the address"));
}

#[test]
fn a_small_address_is_read_where_it_can_be_no_weight() {
    for said in [
        "page-faults:u:               10",
        "minor-faults:                8 [unknown]               401000",
        "l1d-access:               10        88000182 |OP LOAD|LVL L1 miss|SNP N/A",
        "l1d-access:               10        88000182 L1 miss|SNP N/A|TLB Walker hit|LCK No",
        "exceptions:page_fault_user: address=0x10 ip=0x401000 error_code=0x4",
    ] {
        let read = perf(&format!("sort 42 1.500000:          1 {said}\n"));
        assert!(matches!(read.as_deref(), Ok([(1..=16, 0)])), "{said}: {read:?}");
    }
    let beside = "memory:     aaaac17d0040\nmemory:               10\n";
    assert_eq!(perf(beside), Ok(vec![(0xaaaa_c17d_0040, 0), (16, 0)]));
}

#[test]
fn an_operation_that_perf_prints_once_a_group_is_one_access() {
    let of = |names: &[&str], time: u32, rest: &str| -> String {
        let line = |name| format!("  sort  42 [020]   122.46375{time}:  1  {name:>20}: {rest}\n");
        names.iter().map(line).collect()
    };
    let all = ["l1d-miss", "l1d-access", "llc-miss", "llc-access", "tlb-access", "memory"];
    let store = "    aaaac17d0040       8688000844 |OP STORE|LVL L3 hit|SNP N/A|TLB Walker hit";
    let load = "    aaaac17d0040";
    let one = vec![(0xaaaa_c17d_0040, 1)];
    let two = vec![(0xaaaa_c17d_0040, 0); 2];
    assert_eq!(perf(&of(&all, 4, store)), Ok(one.clone()));
    assert_eq!(perf(&of(&["tlb-access:u", "memory:u"], 4, store)), Ok(one));
    for (text, why) in [
        (of(&all, 4, load) + &of(&all, 5, load), "at another time"),
        (of(&all, 4, load).repeat(2), "under the same names again"),
        (of(&["memory"; 2], 4, load), "memory alone"),
        (of(&["instructions"; 2], 4, load), "as --itrace=i1i prints"),
        (of(&["cpu/mem-loads/P", "cpu/mem-loads-aux/P"], 4, load), "of another processor"),
    ] {
        assert_eq!(perf(&text), Ok(two.clone()), "{why}");
    }
    let apart = of(&["memory"], 4, load) + &of(&["tlb-access"], 4, "    aaaac17d0048");
    assert_eq!(perf(&apart), Ok(vec![(0xaaaa_c17d_0040, 0), (0xaaaa_c17d_0048, 0)]));
}

#[test]
fn the_tracepoints_of_page_faults_tell_stores_from_loads() {
    let text = "\
ls  2539 [000] 70480.544117: exceptions:page_fault_kernel: address=0x55d3abb4b5c0 ip=elf_load error_code=0x2
ls  2539 [000] 70480.544184:   exceptions:page_fault_user: address=0x7fdb20c40e06 ip=0x7fdb20c287ad error_code=0x4
ls  2539 [000] 70480.544181:   exceptions:page_fault_user: address=0x7fdb20c27b70 ip=0x7fdb20c27b70 error_code=0x14
  ls-2539  [000] d.... 70480.544190: page_fault_user: address=0x1000 ip=0x7fdb20c287ad error_code=0x6
";
    let expected = vec![(0x55d3_abb4_b5c0, 1), (0x7fdb_20c4_0e06, 0), (0x1000, 1)];
    assert_eq!(perf(text), Ok(expected));
    let riscv = "\
ls  826 [007] 894.795520:   exceptions:page_fault_user: user page fault, address=0x7fff95af4400 cause=0xd
ls  826 [007] 894.795521:   exceptions:page_fault_user: user page fault, address=0x10 epc=0x5000 cause=0xf
page_fault_kernel: kernel page fault, address=0x7fff95af4408 epc=0xffffffff80000000 cause=0xf
ls  826 [007] 894.795522:   exceptions:page_fault_user: user page fault, address=0x5000 epc=0x5000 cause=0xc
";
    assert_eq!(perf(riscv), Ok(vec![(0x7fff_95af_4400, 0), (16, 1), (0x7fff_95af_4408, 1)]));
    let all = parse(Format::Perf, text, text.len(), true).expect("the same text");
    assert_eq!(all[2], (0x7fdb_20c2_7b70, 3));
    for bad in [
        "address=elf_load ip=0x1 error_code=0x2",
        "address=0x1000 ip=0x1",
        "1000",
        "user page fault, address=0x1000 cause=0x7",
        "user page fault, address=0x1000 cause=0xd error_code=0x2",
    ] {
        let said = perf(&format!("ls 1 1.5: page_fault_user: {bad}\n")).expect_err(bad);
        assert!(said.contains("expected 'address=0x7fdb20c40e06 ip=... error_code=0x6'"), "{said}");
    }
}

#[test]
fn a_program_of_any_name_is_told_from_its_event() {
    for comm in [
        "Web Content",
        "a: 12.5: x",
        "12345",
        "foo: dead",
        "1.5:",
        "#comm",
        "\t tab",
        "cc1: 7f00 ",
        "  lead",
    ] {
        for head in [format!("{comm:>16}"), comm.to_owned()] {
            let line =
                format!("{head}  2415 70471.953082:          1 page-faults:u:     7fe7121b1000\n");
            assert_eq!(perf(&line), Ok(vec![(0x7fe7_121b_1000, 0)]), "{line:?}");
        }
    }
    for line in [
        "    tmux: server  2415 page-faults:u:     7fe7121b1000\n",
        "\t tab 2415 page-faults:u:     7fe7121b1000\n",
        "#comm 2415 page-faults:u:     7fe7121b1000\n",
    ] {
        assert_eq!(perf(line), Ok(vec![(0x7fe7_121b_1000, 0)]));
    }
    for line in [
        "      cc1: 7f00   2415 page-faults:u:     7fe7121b1000\n",
        "  page-faults: 0  2415 page-faults:u:     7fe7121b1000\n",
        "        12.5: x:  2415 70471.953082: page-faults:u:     7fe7121b1000\n",
        " 1.5: 1: add x page-faults:u:     7fe7121b1000\n",
        "\t tab page-faults:u: 1 x:     7fe7121b1000\n",
    ] {
        let said = perf(line).map(|rows| rows.len()).expect_err(line);
        assert!(said.contains("told from the name of the program"), "{said}");
    }
}

#[test]
fn lines_that_are_no_samples_are_passed_over() {
    let text = "\
# ========
# cmdline : /usr/bin/perf record -e page-faults -d ls
#  distances: 10 20
#by hand
#
 swapper     0     0.000000: PERF_RECORD_MMAP -1/0: [0xffffffff81000000(0x1208d88) @ 0]: x [kernel]_text
    dead     0     0.000000: PERF_RECORD_COMM exec: add x:12/12
PERF_RECORD_FINISHED_ROUND
    sort  4242 22228.683330: page-faults:     7f4416f00b70 [unknown]     7fd668faf670 wait4
  wait4.c:30
    sort  4242 22228.683331: page-faults:     7f4416f00b78 [unknown]     7fd668faf670 [unknown]
  libc.so.6[26270]
\t    7f24b4258b70 _start+0x0 (ld.so)
\t          401000 main (inlined)
";
    assert_eq!(perf(text), Ok(vec![(0x7f44_16f0_0b70, 0), (0x7f44_16f0_0b78, 0)]));
    for bad in ["  wait4.c:", "  [26270]", "  main", " wait4.c:30"] {
        perf(&format!("{bad}\n")).expect_err(bad);
    }
}

#[test]
fn every_form_of_damos_raw_report_says_the_same() {
    let old = "base_time_absolute: 19 h 45 m 6.211 s\n\nnr_regions: 2\n\
        1000-5000(  16.000 KiB):\t2\n6000-7000(   4.000 KiB):\t0\n";
    let named = old.replacen("\n\n", "\ndata source: unknown\n\n", 1);
    let new = "\nWARNING: \"damo report raw\" is deprecated.\n    \
        Use \"damo report access --raw_form\" instead.\n\n    [1] https://example.org/damo\n\n\
        base_time_absolute: 19 h 45 m 6.211 s\n\nnr_regions: 2\n\
        # start_addr     end_addr        length  nr_accesses   age\n\
        1000-5000 (  16.000 KiB)           2     1\n6000-7000 (   4.000 KiB)           0     3\n";
    let expected = Ok(vec![(0x2000, 0), (0x4000, 0)]);
    assert_eq!(rows(Format::Damon, old), expected);
    assert_eq!(rows(Format::Damon, &named), expected);
    assert_eq!(rows(Format::Damon, new), expected);
    for more in ["   -1", "    5 ", "   -1 ", "    5 3", "    5 3,4"] {
        let text = format!(
            "# start_addr     end_addr        length  nr_accesses   age probe_hits\n\
             1000-5000 (  16.000 KiB)           2 {more}\n6000-7000 (   4.000 KiB)           0 {more}\n"
        );
        assert_eq!(rows(Format::Damon, &text), expected, "{more}");
    }
    for bad in [
        "1000-5000 (16 KiB) 2 1 7 9",
        "1000-5000 (16 KiB) 2 -2",
        "1000-5000 (16 KiB) 2 1 3,",
        "1000-5000 (16 KiB) -1",
        "1000-5000 (16 KiB)",
        "1000- 5000 7 (16 KiB) 2",
        "WARNING: x",
    ] {
        rows(Format::Damon, &format!("{bad}\n")).expect_err(bad);
    }
}

#[test]
fn other_tracepoints_of_damon_and_lost_events_say_nothing_of_regions() {
    let text = "\
CPU:1 [LOST 127 EVENTS]
kdamond.0 76 [001] 71106.310696: damon:damon_aggregated: target_id=0 nr_regions=2 4096-8192: 1 11
kdamond.0 76 [001] 71106.310697: damon:damos_before_apply: ctx_idx=0 scheme_idx=0 nr_regions=11 4096-8192: 0 136
kdamond.0-76 [001] ..... 71106.310698: damon_monitor_intervals_tune: sample_us=5000
";
    assert_eq!(rows(Format::Damon, text), Ok(vec![(0x1000, 0)]));
    rows(Format::Damon, "kdamond.0 76 1.5: sched:sched_switch: prev=1\n").expect_err("not DAMON's");
}
