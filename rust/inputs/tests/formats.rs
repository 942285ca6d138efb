//! Every format but lackey: what a line or record says, and what is refused.
//!
//! The samples are written from the public descriptions of the formats. Each is also fed in
//! pieces of every small size, which must change nothing.

use pagemig_inputs::{Columns, Format, TraceParser};

type Rows = Vec<(u64, u8, u8)>;

/// Parses in pieces of `length` bytes.
fn parse(format: Format, data: &[u8], length: usize, instructions: bool) -> Result<Rows, String> {
    let mut parser = TraceParser::new(format, instructions);
    let mut columns = Columns::default();
    for piece in data.chunks(length) {
        parser.feed(piece, &mut columns).map_err(|error| error.to_string())?;
    }
    parser.finish(&mut columns).map_err(|error| error.to_string())?;
    let rows = columns.addresses.iter().zip(&columns.sizes).zip(&columns.kinds);
    Ok(rows.map(|((&address, &size), &kind)| (address, size, kind)).collect())
}

/// Parses whole, and asserts that pieces of any size say the same.
fn rows(format: Format, data: &[u8]) -> Result<Rows, String> {
    let whole = parse(format, data, data.len().max(1), false);
    for length in 1..40 {
        assert_eq!(parse(format, data, length, false), whole, "in pieces of {length}");
    }
    whole
}

#[test]
fn a_perf_sample_gives_the_address_behind_its_event() {
    let text = b"# captured on: today\n\
        sort  4242 22228.683330:  1 cpu/mem-loads,ldlat=30/P:     7f24b4272110 68100142 |OP LOAD|LVL L1 hit 8 main\n\
        sort  4242 22228.683331:  1 cpu/mem-loads,ldlat=30/P:     7f24b4272118 68100144 |OP STORE|LVL L1 hit\n\
        Web: Content 4242/4243 [003] 22228.683332: cpu/mem-stores/P:     564102210424 sym+0x1\n\
        \t    7f24b4258b70 _start+0x0 (ld.so)\n\
        \n\
        mem_inst_retired.all_stores:  2000\n\
        sort  4242 22228.683334: page-faults:  0\n\
        sort  4242 22228.683335: page-faults: ffffffff81752a2a elf_load\n";
    let expected = vec![
        (0x7f24_b427_2110, 1, 0),
        (0x7f24_b427_2118, 1, 1),
        (0x5641_0221_0424, 1, 1),
        (0x2000, 1, 1),
        (0xffff_ffff_8175_2a2a, 1, 0),
    ];
    assert_eq!(rows(Format::Perf, text), Ok(expected));
}

#[test]
fn a_damon_region_becomes_loads_spread_over_its_pages() {
    let traced = b"kdamond.0 46568 [027] 79357.842179: damon:damon_aggregated: \
        target_id=0 nr_regions=11 4096-20480: 2 864\n\
        kdamond.0 46568 [027] 79357.842179: damon:damon_aggregated: target_id=0 nr_regions=11 \
        20480-24576: 0\n\
        kdamond.0 46568 [027] 79357.842179: damon:damon_aggregated: target_id=0 nr_regions=11 \
        20480-24576: 3 1\n";
    let expected =
        vec![(0x2000, 1, 0), (0x4000, 1, 0), (0x5000, 1, 0), (0x5000, 1, 0), (0x5000, 1, 0)];
    assert_eq!(rows(Format::Damon, traced), Ok(expected));
    let reported = b"base_time_absolute: 8 m 59.809 s\n\nmonitoring_start:                0 ns\n\
        monitoring_end:            104.599 ms\nmonitoring_duration:       104.599 ms\n\
        target_id: 18446623438842320000\nnr_regions: 2\n\
        1000-5000(  16.000 KiB):        2\n  7fff66b0a000-7fff66bb2000( 672.000 KiB): 0\n";
    assert_eq!(rows(Format::Damon, reported), Ok(vec![(0x2000, 1, 0), (0x4000, 1, 0)]));
}

#[test]
fn a_view_record_gives_what_was_read_or_written() {
    let text = b"Output format:\n<--record#-> <--instr#->: <---tid---> <record details>\n\
        ------------------------------------------------------------\n\
        \x20    1           0:     2765542 <marker: version 5>\n\
        47445       37770:     2765543 ifetch       5 byte(s) @ 0x0000000000404a7e 48 8b 5c 24 08 mov\n\
        \x20                                                       00 00\n\
        47446       37770:     2765543 read         8 byte(s) @ 0x00007fdf64e2adc8 by PC 0x404a7e\n\
        47447       37771:     2765543 write      512 byte(s) @ 0x00007fdf64e2a000 by PC 0x404a83\n\
        47448       37771:     2765543 prefetch_t0  1 byte(s) @ 0x00007fdf64e2a000 by PC 0x404a83\n\
        View tool results:\n           37771 : total instructions\n";
    let at = 0x7fdf_64e2_a000;
    let stores = (0..4).map(|piece| (at + 128 * piece, 128, 1));
    let expected: Rows = [(at + 0xdc8, 8, 0)].into_iter().chain(stores).collect();
    assert_eq!(rows(Format::View, text), Ok(expected));
    let all = parse(Format::View, text, 1 << 20, true).expect("the same text");
    assert_eq!(all.first(), Some(&(0x40_4a7e, 5, 3)));
}

#[test]
fn a_table_is_read_by_the_names_of_its_columns() {
    let expected = || Ok(vec![(0x1000, 8, 0), (0x2000, 4, 1), (4096, 1, 2)]);
    for text in [
        &b"address,size,kind\n0x1000,8,load\n8192,4,store\n4096,1,modify\n"[..],
        b"# ours\r\nkind;ADDR;extra;bytes\r\nL;0x1000;;8\r\n\r\nw;0x2000;x;4\r\nm;0x1000;\"\";1\r\n",
        b"\xef\xbb\xbf\"vaddr\"\t\"rw\"\t\"size\"\n\"0X1000\"\t0\t8\n8192\t1\t4\n4096\t2\t1",
    ] {
        assert_eq!(rows(Format::Csv, text), expected(), "{}", text.escape_ascii());
    }
    let written = b"write,address\nfalse,1\n1,2\nNO,3\n";
    assert_eq!(rows(Format::Csv, written), Ok(vec![(1, 1, 0), (2, 1, 1), (3, 1, 0)]));
    assert_eq!(rows(Format::Csv, b"addr\n1\n"), Ok(vec![(1, 1, 0)]));
}

#[test]
fn a_column_that_tells_size_or_direction_is_known_by_its_usual_names() {
    let expected = || Ok(vec![(0x1000, 8, 0), (0x2000, 4, 1)]);
    for text in [
        "Address,Access Type,Size\n0x1000,Read,8\n0x2000,Write,4\n",
        "address,access,length\n0x1000,R,8\n0x2000,W,4\n",
        "virtual_address,r/w,len\n0x1000,ld,8\n0x2000,ST,4\n",
        "va,mode,width\n0x1000,loads,0x8\n0x2000,stores,0x4\n",
        "addresses,sizes,kinds\n0x1000,8,0\n0x2000,4,1\n",
        "tid,PC,timestamp,addr,is_store,bytes\n1,0x4,2.5,0x1000,f,8\n1,0x4,2.5,0x2000,T,4\n",
        ",address,size,is_read\n0,4096,8,y\n1,8192,4,n\n",
        "address,size,load,store\n0x1000,8,1,0\n0x2000,4,0,1\n",
        "address,op,write,bytes\n0x1000,R,0,8\n0x2000,W,1,4\n",
    ] {
        assert_eq!(rows(Format::Csv, text.as_bytes()), expected(), "{text}");
    }
    let both = rows(Format::Csv, b"addr,read,write\n1,1,1\n");
    assert_eq!(both, Ok(vec![(1, 1, 2)]));
    for (row, head) in [("1,load,1", "addr,op,write"), ("1,0,0", "addr,read,write")] {
        let said = rows(Format::Csv, format!("{head}\n{row}\n").as_bytes()).expect_err(row);
        assert!(said.starts_with("line 2: expected as many values"), "{said}");
    }
}

#[test]
fn a_column_of_unknown_name_is_refused_unless_others_tell_size_and_direction() {
    for head in ["address,rhubarb", "address,size,rhubarb", "address,rhubarb,kind"] {
        let said = rows(Format::Csv, format!("{head}\n1,1,1\n").as_bytes()).expect_err(head);
        assert!(said.starts_with("line 1: the column 'rhubarb' is not known"), "{said}");
        assert!(said.contains("size (or bytes, length, width), kind (or type, op"), "{said}");
    }
    let told = rows(Format::Csv, b"address,rhubarb,size,rw\n1,x,2,w\n");
    assert_eq!(told, Ok(vec![(1, 2, 1)]));
}

#[test]
fn a_table_is_read_however_its_values_are_set_apart() {
    let expected = || Ok(vec![(0x1000, 8, 0), (0x2000, 4, 1)]);
    for text in [
        "# address,size,kind\n0x1000,8,load\n0x2000,4,store\n",
        "#address size kind\n# more\n0x1000 8 load\n0x2000 4 store",
        "# addresses of sort\n# address\naddress,size,kind\n0x1000,8,load\n0x2000,4,store\n",
        "\u{feff}# made by x\naddress,size,kind\n0x1000,8,load\n0x2000,4,store\n",
        "\u{feff}\r\naddress,size,kind\r\n0x1000,8,load\r\n0x2000,4,store\r\n",
        "  address   size kind\n   0x1000   8   load\n   0x2000   4   store\n",
        "address|size|kind\n0x1000|8|load\n0x2000|4|store\n",
        "tid\taddress\tsize\tkind\n\t0x1000\t8\tload\n7\t0x2000\t4\tstore\n",
        "sep=;\naddress;size;kind\n0x1000;8;load\n0x2000;4;store\n",
        "address,size,kind\n0x1000,8,load,\n0x2000,4,store,\n",
        "address,symbol,size,kind\n0x1000,\"f(a, \"\"b\"\")\",8,load\n0x2000,\"g\",4,store\n",
    ] {
        assert_eq!(rows(Format::Csv, text.as_bytes()), expected(), "{text}");
    }
    for text in ["address,size;kind\n", "address,size\n1,2,,\n", "# a word\nfrom,to\n"] {
        let said = rows(Format::Csv, text.as_bytes()).expect_err(text);
        assert!(said.contains(": expected "), "{said}");
    }
}

#[test]
fn what_stands_around_the_records_of_the_view_is_passed_over() {
    let head = "Output format:\n<--record#-> <--instr#->: <---tid---> <record details>\n-----\n";
    let body = "  94    68:   296231 ifetch  8 byte(s) @ 0x0000000000401012 48 8d 34 25 00 20 40 lea\n\
        \x20 94    68:   296231                            00\n\
        \x20 95    68:  T296231                            00 0f\n\
        \x20 96    69:   296231 read  8 byte(s) @ 0x00007fdf64e2adc8 by PC 0x0000000000401012\n";
    let tail =
        "View tool results:\n    6 : total instructions\n\n=====\nTrace invariant checks passed\n";
    let expected = || Ok(vec![(0x7fdf_64e2_adc8, 8, 0)]);
    for text in [
        format!("{head}{body}{tail}"),
        format!("Hello there!\n1: 2\n{head}{body}{tail}"),
        body.to_owned(),
    ] {
        assert_eq!(rows(Format::View, text.as_bytes()), expected(), "{text}");
    }
    for (text, line) in [
        (format!("Hello there!\n{body}"), 1),
        ("\nHello there!\n<marker: 1>\n".to_owned(), 2),
        (format!("{head}Hello there!\n{body}"), 4),
        (format!("{head}{body}Hello there!\n{tail}"), 8),
    ] {
        let said = rows(Format::View, text.as_bytes()).expect_err(&text);
        assert!(said.starts_with(&format!("line {line}: expected a record such as")), "{said}");
    }
}

#[test]
fn a_long_instruction_goes_on_in_a_second_line_whatever_threads_are_called() {
    let bytes = ("48 83 3d 16 fc 02 00 cmp    <rel> 0x00007fa9eaf07b70, $0x00", "00");
    let ten = ("48 b8 40 00 00 00 00 00 mov    $0x40 -> %rax", "00 00");
    let words = ("00001931 04020204 load store [4byte]       %rv0 %rv2 -> %rv0", "00000026");
    for record in [
        "         343         320:      872894 ",
        "         343         320:     T872894 ",
        "         343         320:   W#.T872894 ",
        "         343         320:       W1#.T3 ",
        "         343         320:       d51be ",
        "      343: T2538939 ",
        "343: W#.T25 ",
    ] {
        // The number of a workload.
        let record = record.replace('#', "0");
        for (first, second) in [bytes, ten, words] {
            let text = format!(
                "{record}ifetch       8 byte(s) @ 0x00007fa9eaed7f52 {first}\n\
                 {record}                              {second}\n\
                 {record}read         8 byte(s) @ 0x00007fa9eaf07b70 by PC 0x00007fa9eaed7f52\n"
            );
            let read = (0x7fa9_eaf0_7b70, 8, 0);
            assert_eq!(rows(Format::View, text.as_bytes()), Ok(vec![read]), "{text}");
            let all = parse(Format::View, text.as_bytes(), 9, true);
            assert_eq!(all, Ok(vec![(0x7fa9_eaed_7f52, 8, 3), read]), "{text}");
        }
    }
    for bad in [
        "343 320: 872894",
        "343: T25",
        "343: T25 000",
        "343 320: thread 00",
        "343 320: W.T3 00",
        "343 320 872894 00",
        "343 320: 872894 00 cmp",
    ] {
        let said = rows(Format::View, format!("{bad}\n").as_bytes()).expect_err(bad);
        assert!(said.starts_with("line 1: expected a record such as"), "{said}");
    }
}

#[test]
fn instructions_without_a_size_are_passed_over_or_refused_where_they_are_asked_for() {
    let text = b"T444096 <marker: version 3>\n\
        T444096   0x00007f3e83b0b7f2  48 83 45 f0 01       addq   $0x01, -0x10(%rbp)\n\
        T444096     read  8 byte(s) @ 0x7ffc4c720190\n\
        \x20 0x0000000000401000  0f ae 3c 25 34 10 40 clflush 0x00401034\n\
        \x20                     00\n\
        T444096     write 8 byte(s) @ 0x7ffc4c720190\n";
    let at = 0x7ffc_4c72_0190;
    assert_eq!(rows(Format::View, text), Ok(vec![(at, 8, 0), (at, 8, 1)]));
    let said = parse(Format::View, text, 9, true).expect_err("no size");
    assert!(said.starts_with("line 2: expected an instruction with its size"), "{said}");
    for bad in ["T444096 0x7f3e83b0b7f2 addq", "T44x 0x7f3e83b0b7f2 48 83", "T444096 48 83"] {
        rows(Format::View, format!("{bad}\n").as_bytes()).expect_err(bad);
    }
}

/// A ChampSim record: an instruction, what it stores to and what it loads from.
fn record(ip: u64, stores: [u64; 2], loads: [u64; 4]) -> Vec<u8> {
    let mut bytes = ip.to_le_bytes().to_vec();
    bytes.extend([0, 0, 1, 0, 2, 3, 0, 0]);
    bytes.extend(stores.into_iter().chain(loads).flat_map(u64::to_le_bytes));
    bytes
}

#[test]
fn a_champsim_record_gives_its_loads_then_its_stores() {
    let trace = [record(0x40_0000, [0x9000, 0], [0x8000, 0, 0x8008, 0]), record(4, [0; 2], [0; 4])];
    let trace = trace.concat();
    let data = vec![(0x8000, 1, 0), (0x8008, 1, 0), (0x9000, 1, 1)];
    assert_eq!(rows(Format::ChampSim, &trace), Ok(data.clone()));
    let with = parse(Format::ChampSim, &trace, 7, true).expect("the same records");
    assert_eq!((with[0], with.len()), ((0x40_0000, 1, 3), 5));
    let cut = rows(Format::ChampSim, &trace[..100]).expect_err("cut off");
    assert_eq!(cut, "record 2: expected 64 bytes, found 36 and the end: the trace is cut off");
    let mut spoilt = trace;
    spoilt[64 + 9] = 7;
    let said = rows(Format::ChampSim, &spoilt).expect_err("no branch");
    assert!(said.starts_with("record 2: expected 0 or 1 at bytes 8 and 9"), "{said}");
    assert!(said.ends_with("found 0 and 7"), "{said}");
}

#[test]
fn an_instruction_at_address_0_is_none_so_that_wider_records_are_refused() {
    let good = record(0x40_0000, [0x9000, 0], [0x8000, 0, 0, 0]);
    let said = rows(Format::ChampSim, &[good.clone(), record(0, [0x9000, 0], [0; 4])].concat());
    let said = said.expect_err("no instruction");
    assert!(said.starts_with("record 2: expected the address of an instruction"), "{said}");
    // An instruction that loads two things, in 96 bytes.
    let mut wide = good[..24].to_vec();
    wide.extend([0; 4].into_iter().chain([0x8000, 0x8008, 0, 0, 0]).flat_map(u64::to_le_bytes));
    assert_eq!(wide.len(), 96);
    let said = rows(Format::ChampSim, &wide.repeat(6)).expect_err("wider records");
    assert!(said.contains("CloudSuite's records have 96 bytes, and are not read"), "{said}");
}

#[test]
fn what_is_none_of_the_format_is_named_with_its_line() {
    for (format, good, bad) in [
        (Format::Perf, "s 1 2.5: page-faults: 10", "s 1 2.5: page-faults: main"),
        (Format::Perf, "s 1 2.5: page-faults: 10", "s 1 2.5: 1"),
        (Format::Perf, "s 1 2.5: page-faults: 10", "s 1 2.5: : 10"),
        (Format::Damon, "1000-2000( 4.000 KiB): 1", "2000-1000( 4.000 KiB): 1"),
        (Format::Damon, "1000-2000( 4.000 KiB): 1", "1000-2000( 4.000 KiB): 65537"),
        (Format::Damon, "1000-2000( 4.000 KiB): 1", "1000-2000( 4.000 KiB):"),
        (Format::Damon, "1000-2000( 4.000 KiB): 1", "damon_aggregated: target_id=0 5-9: 1"),
        (Format::View, "1 1: 7 read 8 byte(s) @ 0x10 by PC 0x1", "1 1: 7 read 8"),
        (Format::View, "1 1: 7 read 8 byte(s) @ 0x10 by PC 0x1", "1 1: 7 read 8 byte(s) @ 10"),
        (Format::View, "1 1: 7 read 8 byte(s) @ 0x10 by PC 0x1", "1 1: 7 re,d 8 byte(s) @ 0x10"),
        (Format::Csv, "addr,size\n1,1", "1"),
        (Format::Csv, "addr,size\n1,1", "1,1,1"),
        (Format::Csv, "addr,size\n1,1", "1f,1"),
        (Format::Csv, "addr,kind\n1,1", "1,4"),
    ] {
        let before = good.lines().count();
        let said = rows(format, format!("{good}\n{bad}\n{good}\n").as_bytes()).expect_err(bad);
        assert!(said.starts_with(&format!("line {}: expected ", before + 1)), "{said}");
        assert!(said.ends_with(&format!("found '{bad}'")), "{said}");
    }
    for head in ["size,kind", "addr,addr", "addr,size,bytes", "", "0x1000,8"] {
        let said = rows(Format::Csv, format!("{head}\n1,1\n").as_bytes()).expect_err(head);
        assert!(said.contains("expected a first line that names the columns"), "{said}");
    }
    for (size, said) in [("0", "a size of 1 to 4096"), ("9", "within 64 bits")] {
        let text = format!("addr,size\n0xffffffffffffffff,{size}\n");
        let found = rows(Format::Csv, text.as_bytes()).expect_err("no such access");
        assert!(found.starts_with("line 2: ") && found.contains(said), "{found}");
    }
}

#[test]
fn text_that_must_end_with_a_newline_is_cut_off_without() {
    for (format, line) in [
        (Format::Perf, "s 1 2.5: page-faults: 10"),
        (Format::Damon, "1000-2000( 4.000 KiB): 12"),
        (Format::View, "1 1: 7 read 8 byte(s) @ 0x10"),
    ] {
        let said = rows(format, line.as_bytes()).expect_err("cut off");
        assert!(said.starts_with("line 1: ") && said.ends_with("the trace is cut off"), "{said}");
    }
}

/// Numbers that are the same on every host (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[test]
fn any_bytes_are_read_or_refused_alike_however_they_are_cut() {
    let seeds: [&[u8]; 5] = [
        b"s 1 2.5: cpu/mem-stores/: 10 1 |OP LOAD\n\tff\n# c\n",
        b"1000-2000( 4.000 KiB): 1\ndamon_aggregated: target_id=0 nr_regions=1 5-9: 1 2\n",
        b"1 1: 7 read 8 byte(s) @ 0x10\n<marker: 1>\n48 8b\n  7 : sum\n",
        b"addr,size,kind\n0x1000,8,load\n12,1,\"s\"\n",
        b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\
          \x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0",
    ];
    let (mut state, mut refused, mut read) = (7, 0, 0);
    for round in 0..4000 {
        let mut data = seeds[round % seeds.len()].to_vec();
        for _ in 0..next(&mut state) % 4 {
            let at = (next(&mut state) % data.len() as u64) as usize;
            data[at] = next(&mut state) as u8;
        }
        for (_, format) in Format::NAMES {
            let whole = parse(format, &data, data.len(), true);
            let length = 1 + (next(&mut state) % 20) as usize;
            assert_eq!(parse(format, &data, length, true), whole, "{}", data.escape_ascii());
            if whole.is_ok() { read += 1 } else { refused += 1 }
        }
    }
    assert!(refused > 2000 && read > 2000, "{refused} {read}");
}
