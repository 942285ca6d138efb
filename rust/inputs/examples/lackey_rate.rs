//! How fast lackey text is read: records a second on one core.
//!
//! Reads the file named on the command line, or else text of its own making, several times,
//! and prints the median. Run it with `cargo run --release -p pagemig-inputs --example lackey_rate`.

#![expect(clippy::disallowed_types, reason = "a measurement needs a clock; nothing else here does")]

use std::fmt::Write as _;
use std::time::Instant;

use pagemig_inputs::{Columns, LackeyParser};

const ROUNDS: usize = 7;
const PIECE: usize = 4 << 20;

/// Makes text like that of a sorting program: a stack and a heap, loads and stores mixed.
fn recording(lines: u64) -> String {
    let mut text = String::new();
    let mut state = 1_u64;
    for _ in 0..lines {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let mixed = state >> 33;
        let tag = if mixed % 3 == 0 { 'S' } else { 'L' };
        let size = 1 << (mixed >> 5 & 3);
        let base = if mixed >> 8 & 3 == 0 { 0x1f_fefe_0000_u64 } else { 0x0850_0000 };
        writeln!(text, " {tag} {:08x},{size}", base + (mixed >> 10)).expect("memory suffices");
    }
    text
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = match std::env::args_os().nth(1) {
        Some(path) => std::fs::read(path)?,
        None => recording(4_000_000).into_bytes(),
    };
    let mut seconds = Vec::new();
    let mut records = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut parser = LackeyParser::new(false);
        records = 0;
        let mut columns = Columns::default();
        for piece in text.chunks(PIECE) {
            columns.truncate(0);
            parser.feed(piece, &mut columns)?;
            records += columns.len();
        }
        parser.finish(&mut columns)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let rate = records as f64 / seconds[ROUNDS / 2] / 1e6;
    println!("{records} records, {rate:.0} M records/s (median of {ROUNDS} rounds)");
    Ok(())
}
