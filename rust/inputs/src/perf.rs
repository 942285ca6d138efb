//! `perf script`: samples of accesses as text, one a line.
//!
//! ```text
//! sort 4242 22228.683330:  1 cpu/mem-loads,ldlat=30/P:   7f24b4272110 |OP LOAD|LVL L1 hit|...
//! sort 4242/4242 [003] 22228.683330: page-faults:     564102210424 ...
//! ```
//!
//! What counts is the name of the event, which ends with a colon, and the word after it: the
//! address that was accessed (`-F ...,event,addr`), in hexadecimal. Whether it was a store is
//! read off the decoded source of the data (`|OP STORE|`), if it is there, or off the event's
//! name. A sample tells no size: it counts as one byte. Address 0 means that the hardware knew
//! none; such samples are passed over, as are comments, blank lines and call chains.
//!
//! Start with [`Perf`]. Source: perf-script(1), perf-mem(1), and output recorded with perf 6.1.
//! Left out: physical addresses, weights, and whose sample it is.

use crate::columns::{AccessKind, Columns};
use crate::error::ParseError;
use crate::lines::LineFormat;
use crate::words::{find, hexadecimal, words};

/// The lines of `perf script`.
#[derive(Clone, Debug, Default)]
pub struct Perf;

impl LineFormat for Perf {
    const LINE_MAX: usize = 64 << 10;

    const EXPECTED: &'static str = "a sample such as 'sort 4242 22228.683330: cpu/mem-loads/P: 7f24b4272110' \
         (perf script -F comm,tid,time,event,addr)";

    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        if is_no_sample(line) {
            return Ok(());
        }
        let Some((event, address)) = sample(line) else {
            return Err(ParseError::malformed(number, Self::EXPECTED, line));
        };
        if address != 0 {
            out.push(address, 1, kind_of(event, line));
        }
        Ok(())
    }
}

/// Returns whether a line is a comment, empty, or part of a call chain.
fn is_no_sample(line: &[u8]) -> bool {
    line.starts_with(b"#") || line.starts_with(b"\t") || words(line).next().is_none()
}

/// Returns the name of the event and the address of a sample.
fn sample(line: &[u8]) -> Option<(&[u8], u64)> {
    // A name of a program may hold blanks and colons; the time of day comes after it.
    let from = after_time(line).unwrap_or(0);
    let mut rest = words(&line[from..]).skip_while(|word| !word.ends_with(b":"));
    let event = rest.next()?.strip_suffix(b":")?;
    let address = hexadecimal(rest.next()?)?;
    (!event.is_empty()).then_some((event, address))
}

/// Returns where the time of a sample, `22228.683330:`, ends.
fn after_time(line: &[u8]) -> Option<usize> {
    let mut at = 0;
    for word in line.split(|&byte| byte == b' ') {
        at += word.len() + 1;
        let Some(time) = word.strip_suffix(b":") else { continue };
        let Some(point) = time.iter().position(|&byte| byte == b'.') else { continue };
        let (seconds, fraction) = (&time[..point], &time[point + 1..]);
        let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if is_number(seconds) && is_number(fraction) {
            return Some(at.min(line.len()));
        }
    }
    None
}

fn kind_of(event: &[u8], line: &[u8]) -> AccessKind {
    if find(line, b"|OP STORE").is_some() {
        return AccessKind::Store;
    }
    if find(line, b"|OP LOAD").is_some() || find(event, b"store").is_none() {
        return AccessKind::Load;
    }
    AccessKind::Store
}
