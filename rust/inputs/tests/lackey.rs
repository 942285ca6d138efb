//! Lackey text, whole, cut anywhere, and broken.
//!
//! Two questions: is what a line says what the columns hold, and does it matter how the
//! bytes arrive? The second is asked of every input here, by feeding it in pieces.

use pagemig_inputs::{ACCESS_SIZE_MAX, AccessKind, Columns, LackeyParser, ParseError};

/// Parses `text` in one piece.
fn parse(text: &[u8]) -> Result<Columns, ParseError> {
    parse_in_pieces(text, &[text.len().max(1)], false).map(|(columns, _)| columns)
}

/// Parses `text` in pieces of these lengths, over and over; also returns the lines counted.
fn parse_in_pieces(
    text: &[u8],
    lengths: &[usize],
    keep_instructions: bool,
) -> Result<(Columns, u64), ParseError> {
    let mut parser = LackeyParser::new(keep_instructions);
    let mut columns = Columns::default();
    let mut rest = text;
    for &length in lengths.iter().cycle() {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        parser.feed(piece, &mut columns)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    parser.finish(&mut columns)?;
    Ok((columns, parser.lines()))
}

/// A generator of numbers that are the same on every host (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Some text as lackey writes it, and what it says.
fn recording(numbers: &mut Numbers, lines: usize) -> (Vec<u8>, Columns) {
    let mut text = String::new();
    let mut said = Columns::default();
    for _ in 0..lines {
        let address = numbers.next() >> (8 + numbers.below(50));
        let size = [1, 2, 4, 8, 16, 32, 160, 255][numbers.below(8)];
        match numbers.below(12) {
            0 => text += &format!("==7715== something the tool says: {address}\n"),
            1 => text += &format!("I  {address:08x},{size}\n"),
            2..=5 => {
                text += &format!(" L {address:08x},{size}\n");
                said.push(address, size, AccessKind::Load);
            }
            6..=9 => {
                text += &format!(" S {address:08x},{size}\n");
                said.push(address, size, AccessKind::Store);
            }
            _ => {
                text += &format!(" M {address:08x},{size}\n");
                said.push(address, size, AccessKind::Modify);
            }
        }
    }
    (text.into_bytes(), said)
}

#[test]
fn every_line_becomes_one_access_in_order() {
    let columns =
        parse(b"==1== Lackey\n L 1fff000650,8\n S 04033ad0,16\n M 04033e06,1\nI  0401ab70,3\n")
            .expect("legal text");
    assert_eq!(columns.addresses, [0x1f_ff00_0650, 0x0403_3ad0, 0x0403_3e06]);
    assert_eq!(columns.sizes, [8, 16, 1]);
    assert_eq!(columns.kinds, [0, 1, 2]);
}

#[test]
fn instructions_are_kept_when_asked_for() {
    let text = b"I  0401ab70,3\n L 1fff000650,8\n";
    let (columns, lines) = parse_in_pieces(text, &[100], true).expect("legal text");
    assert_eq!(columns.kinds, [AccessKind::Instruction as u8, AccessKind::Load as u8]);
    assert_eq!(lines, 2);
}

#[test]
fn short_long_and_upper_case_addresses_are_read_alike() {
    let text = b" L 0,1\n L F,1\n L 00000000000000ff,1\n L fffffffffffffffe,2\n L 1FFF00065a,8\n";
    let columns = parse(text).expect("legal text");
    assert_eq!(columns.addresses, [0, 15, 255, u64::MAX - 1, 0x1f_ff00_065a]);
}

#[test]
fn an_access_too_wide_for_the_column_becomes_neighbours() {
    let columns = parse(b" S 1fff000000,300\n").expect("legal text");
    assert_eq!(columns.addresses, [0x1f_ff00_0000, 0x1f_ff00_0080, 0x1f_ff00_0100]);
    assert_eq!(columns.sizes, [128, 128, 44]);
    assert_eq!(columns.kinds, [1, 1, 1]);
}

#[test]
fn warnings_of_valgrind_are_skipped_however_long() {
    let mut text = b"--7715-- WARNING: unhandled amd64-linux syscall: 334\n==7715== ".to_vec();
    text.extend(std::iter::repeat_n(b'x', 100_000));
    text.extend(b"\n L 04033ad0,8\n**7715** a word from the program\n");
    for length in [1, 7, 63, 64, 65, 4096, 200_000] {
        let (columns, lines) = parse_in_pieces(&text, &[length], false).expect("legal text");
        assert_eq!((columns.len(), lines), (1, 4), "in pieces of {length}");
    }
}

#[test]
fn where_the_data_is_cut_makes_no_difference() {
    let mut numbers = Numbers(1);
    for round in 0..60 {
        let (text, said) = recording(&mut numbers, 1 + round * 3);
        for _ in 0..6 {
            let lengths: Vec<usize> = (0..5).map(|_| 1 + numbers.below(90)).collect();
            let (columns, _) = parse_in_pieces(&text, &lengths, false).expect("legal text");
            assert_eq!(columns, said, "in pieces of {lengths:?}");
        }
    }
}

/// Goal: whatever the bytes are, no panic, and one verdict: the same columns or the same
/// error, whether the data come whole (the quick reader) or byte by byte (the careful one).
#[test]
fn broken_text_gets_one_verdict_however_it_is_cut() {
    let mut numbers = Numbers(2);
    let mut refused = 0;
    for _ in 0..4000 {
        let (mut text, _) = recording(&mut numbers, 12);
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(text.len());
            match numbers.below(5) {
                0 => text[at] = numbers.next() as u8,
                1 => text[at] = b"0189afAF ,\n\rLSMIxg=:`/@G"[numbers.below(24)],
                2 => drop(text.remove(at)),
                3 => text.insert(at, b"0f, \n\0"[numbers.below(6)]),
                _ => text.truncate(at.max(1)),
            }
        }
        let whole = parse_in_pieces(&text, &[text.len()], true);
        refused += u32::from(whole.is_err());
        let lengths = [1 + numbers.below(40), 1 + numbers.below(40)];
        for lengths in [&[1][..], &lengths] {
            assert_eq!(parse_in_pieces(&text, lengths, true), whole, "{}", text.escape_ascii());
        }
    }
    assert!(refused > 2000, "{refused}");
}

#[test]
fn a_bad_line_is_named_with_its_number_and_what_it_holds() {
    for (line, said) in [
        (&b" X 04033ad0,8"[..], " X 04033ad0,8"),
        (b" L04033ad0,8", " L04033ad0,8"),
        (b" L 04033ad0;8", " L 04033ad0;8"),
        (b" L 04033ag0,8", " L 04033ag0,8"),
        (b" L ,8", " L ,8"),
        (b" L 04033ad0,", " L 04033ad0,"),
        (b" L 04033ad0,8 ", " L 04033ad0,8 "),
        (b" L 04033ad0,8\r\r", r" L 04033ad0,8\r"),
        (b"I   04033ad0,8", "I   04033ad0,8"),
        (b"\xef\xbb\xbf L 04033ad0,8", r"\xef\xbb\xbf L 04033ad0,8"),
        (b"SB main", "SB main"),
        (b" L 04033ad0,-8", " L 04033ad0,-8"),
        (b" L 10000000000000000,8", " L 10000000000000000,8"),
        (b" L 04033ad0,99999999999999999999", " L 04033ad0,99999999999999999999"),
        (b"", ""),
        (b"\x7fELF\x02\x01", r"\x7fELF\x02\x01"),
        (b"-- a comment", "-- a comment"),
    ] {
        let text = [b"==1== Lackey\n L 04033ad0,8\n", line, b"\n L 04033ad0,8\n"].concat();
        let error = parse(&text).expect_err("not lackey text");
        let expected = "expected ' L addr,size' (or ' S', ' M', 'I ', or the tool's own '==')";
        assert_eq!(error.to_string(), format!("line 3: {expected}, found '{said}'"));
    }
}

#[test]
fn only_the_beginning_of_a_long_bad_line_is_quoted() {
    let text = vec![b'z'; 1 << 20];
    let error = parse(&text).expect_err("not lackey text").to_string();
    assert!(error.ends_with(&format!("found '{}...'", "z".repeat(40))), "{error}");
}

#[test]
fn a_size_that_no_access_has_is_refused() {
    for size in ["0", "00", "4097", "9999999999999999", "10000000000000001"] {
        let error = parse(format!(" L 04033ad0,{size}\n").as_bytes()).expect_err("no such size");
        let found = format!(" L 04033ad0,{size}");
        assert_eq!(error, ParseError::Size { line: 1, max: ACCESS_SIZE_MAX, found });
    }
}

#[test]
fn an_access_beyond_the_last_address_is_refused() {
    assert!(parse(b" L ffffffffffffffff,1\n").is_ok());
    let error = parse(b" L ffffffffffffffff,2\n").expect_err("wraps");
    assert!(matches!(error, ParseError::Wraps { line: 1, .. }), "{error}");
}

/// Goal: what is visibly cut is refused. One digit of the last size may be missing unseen.
#[test]
fn a_last_line_without_its_newline_is_read_unless_it_is_visibly_cut() {
    let whole = b" L 04033ad0,8\n L 1fff000650,8\n";
    for cut in 15..whole.len() - 2 {
        let error = parse(&whole[..cut]).expect_err("cut off");
        assert!(matches!(error, ParseError::Truncated { line: 2, .. }), "{error}");
    }
    assert!(parse(&whole[..14]).is_ok());
    let all = parse(whole);
    for text in [&whole[..whole.len() - 1], b"\xef\xbb\xbf L 04033ad0,8\n L 1fff000650,8\r"] {
        for length in 1..text.len() {
            assert_eq!(parse_in_pieces(text, &[length], false).map(|read| read.0), all);
        }
    }
    assert_eq!(parse(b" L 04033ad0,8\n L 1fff000650,8\n==7== Exit").ok(), all.ok());
}

/// What an editor of another system adds to a line changes nothing of what it says.
#[test]
fn lines_that_went_through_another_system_are_read_alike() {
    let (text, said) = recording(&mut Numbers(3), 50);
    let text = String::from_utf8(text).expect("plain text");
    let foreign = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    for length in [1, 7, 64, 10_000] {
        let read = parse_in_pieces(foreign.as_bytes(), &[length], false);
        assert_eq!(read.map(|read| read.0), Ok(said.clone()), "in pieces of {length}");
    }
}

#[test]
fn superblocks_and_system_calls_are_skipped_and_one_blank_after_an_instruction_is_enough() {
    let text = b"SB 0401ab70\nI 0401ab70,3\n L 1fff000650,8\n\
        SYSCALL[7715,1](257) sys_openat ( 4294967196, 0x4034bb0(/usr/lib/a/long/name), 0 ) --> ...\n\
        I  0401ab73,3\n";
    for length in [1, 30, 1000] {
        let (columns, lines) = parse_in_pieces(text, &[length], true).expect("legal text");
        assert_eq!(columns.addresses, [0x0401_ab70, 0x1f_ff00_0650, 0x0401_ab73]);
        assert_eq!((columns.kinds, lines), (vec![3, 0, 3], 5));
    }
}

#[test]
fn an_error_takes_nothing_in_and_stays() {
    let mut parser = LackeyParser::new(false);
    let mut columns = Columns::default();
    parser.feed(b" L 04033ad0,8\n", &mut columns).expect("legal text");
    let before = columns.clone();
    let error = parser.feed(b" L 04033ad8,8\nnonsense\n", &mut columns).expect_err("nonsense");
    assert_eq!(columns, before);
    assert_eq!(parser.feed(b" L 04033ad0,8\n", &mut columns), Err(error.clone()));
    assert_eq!(parser.finish(&mut columns), Err(error));
    assert_eq!(columns, before);
}

#[test]
fn no_data_is_no_error() {
    assert_eq!(parse(b""), Ok(Columns::default()));
}
