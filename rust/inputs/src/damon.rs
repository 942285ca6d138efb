//! DAMON: how often regions of memory were accessed, as text.
//!
//! Two forms. The tracepoint, as `perf script` and the trace file of the kernel show it, with
//! decimal addresses, and the raw report of the `damo` tool, with hexadecimal ones:
//!
//! ```text
//! kdamond.0 46568 [027] 79357.842179: damon:damon_aggregated: target_id=0 nr_regions=11 122509119488-135708762112: 5 864
//! 7f938d7e1000-7f938ddfc000(   6.105 MiB):        3
//! 7f938d7e1000-7f938ddfc000 (   6.105 MiB)           3     1
//! ```
//!
//! The second is what `damo` 1.1 writes, the last what later versions write, with an age, which is
//! -1 where the kernel did not tell it, and in the newest hits of probes, if there are any.
//!
//! DAMON does not see accesses: it looks now and then at one page of a region, and counts how
//! often that had been accessed. So a region with count *n* becomes *n* loads, spread evenly
//! over its pages: the first at the middle of the first *n*-th, and so on. They are
//! representatives, good for finding hot and cold memory, not for the order of accesses.
//!
//! Start with [`Damon`]. Source: the kernel's documentation of DAMON, and `damo`'s usage guide.
//! Left out: ages, times and targets; two processes in one record become one. DAMON's other
//! tracepoints and ftrace's word on lost events say nothing of a region, and are passed over.

use crate::columns::{AccessKind, Columns};
use crate::error::ParseError;
use crate::lines::LineFormat;
use crate::words::{decimal, find, hexadecimal, words};

/// The lines of DAMON.
#[derive(Clone, Debug, Default)]
pub struct Damon {
    /// Within the notice that `damo` puts before a report that is going away.
    in_notice: bool,
}

/// The largest count of a region that is believed: samples within one aggregation.
const COUNT_MAX: u64 = 1 << 16;

const PAGE: u64 = 4096;

/// One region and its count.
struct Region {
    start: u64,
    end: u64,
    count: u64,
}

impl LineFormat for Damon {
    const LINE_MAX: usize = 1024;

    const EXPECTED: &'static str = "'damon_aggregated: target_id=0 nr_regions=3 4096-8192: 1 0', or \
                                    '1000-2000( 4.000 KiB): 1' of damo's raw report";

    fn line(&mut self, line: &[u8], number: u64, out: &mut Columns) -> Result<(), ParseError> {
        self.in_notice = match self.in_notice {
            true => !line.starts_with(b"base_time_absolute:"),
            false => line.starts_with(b"WARNING: \"damo "),
        };
        if self.in_notice || is_head(line) || is_other_event(line) {
            return Ok(());
        }
        let region = traced(line).or_else(|| reported(line));
        match region {
            Some(region) if region.start < region.end && region.count <= COUNT_MAX => {
                spread(&region, out);
                Ok(())
            }
            _ => Err(ParseError::malformed(number, Self::EXPECTED, line)),
        }
    }
}

/// Returns whether a line tells when and whose, and nothing of a region.
fn is_head(line: &[u8]) -> bool {
    let Some(first) = words(line).next() else {
        return true;
    };
    let keys: [&[u8]; 6] = [
        b"base_time_absolute:",
        b"monitoring_start:",
        b"monitoring_end:",
        b"monitoring_duration:",
        b"target_id:",
        b"nr_regions:",
    ];
    first.starts_with(b"#") || keys.contains(&first) || line.starts_with(b"data source:")
}

/// Returns whether a line is another tracepoint of DAMON, or ftrace's `CPU:1 [LOST 127 EVENTS]`.
fn is_other_event(line: &[u8]) -> bool {
    if line.starts_with(b"CPU:") && line.ends_with(b" EVENTS]") {
        return find(line, b" [LOST ").is_some();
    }
    let event = words(line).filter_map(|word| word.strip_suffix(b":")).find_map(|word| {
        let name = word.strip_prefix(b"damon:").unwrap_or(word);
        (name.starts_with(b"damon_") || name.starts_with(b"damos_")).then_some(name)
    });
    event.is_some_and(|name| name != b"damon_aggregated")
}

/// Returns the region of a tracepoint's line.
fn traced(line: &[u8]) -> Option<Region> {
    const NAME: &[u8] = b"damon_aggregated:";
    let mut words = words(&line[find(line, NAME)? + NAME.len()..]);
    decimal(words.next()?.strip_prefix(b"target_id=")?)?;
    decimal(words.next()?.strip_prefix(b"nr_regions=")?)?;
    let range = words.next()?.strip_suffix(b":")?;
    let dash = range.iter().position(|&byte| byte == b'-')?;
    let (start, end) = (decimal(&range[..dash])?, decimal(&range[dash + 1..])?);
    let count = decimal(words.next()?)?;
    // Newer kernels add the age.
    if let Some(age) = words.next() {
        decimal(age)?;
    }
    words.next().is_none().then_some(Region { start, end, count })
}

/// Returns the region of a line of damo's raw report.
fn reported(line: &[u8]) -> Option<Region> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let dash = line.iter().position(|&byte| byte == b'-')?;
    let close = line.iter().position(|&byte| byte == b')')?;
    if !(dash < open && open < close) {
        return None;
    }
    let start = hexadecimal(words(&line[..dash]).next()?)?;
    let end = hexadecimal(line[dash + 1..open].trim_ascii_end())?;
    let after = &line[close + 1..];
    let mut rest = words(after.strip_prefix(b":").unwrap_or(after));
    let count = decimal(rest.next()?)?;
    let is_age = |word: &[u8]| word == b"-1" || decimal(word).is_some();
    let are_hits =
        |word: &[u8]| word.split(|&byte| byte == b',').all(|hits| decimal(hits).is_some());
    let is_whole =
        rest.next().is_none_or(is_age) && rest.next().is_none_or(are_hits) && rest.next().is_none();
    is_whole.then_some(Region { start, end, count })
}

/// Appends as many loads as the count says, at pages that are evenly apart.
fn spread(region: &Region, out: &mut Columns) {
    let pages = (region.end - region.start).div_ceil(PAGE);
    for at in 0..region.count {
        let page = u128::from(pages) * u128::from(2 * at + 1) / u128::from(2 * region.count);
        out.push(region.start + page as u64 * PAGE, 1, AccessKind::Load);
    }
}
