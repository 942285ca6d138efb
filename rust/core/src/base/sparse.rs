//! Long arrays that are mostly zero: hashed and kept by the lines that are not.
//!
//! Start with [`hash`] (what two equal machines share) and [`lines`] with [`fill`] (what a snapshot
//! keeps). A line is 64 bytes, so that an untouched stretch costs one glance.

use std::hash::Hasher;

use bytemuck::Pod;
use serde::{Deserialize, Serialize};

/// Words of 32 bits in a line.
const WORDS: usize = 16;
/// Bytes in a line.
const LINE: usize = 64;

/// One line that is not all zeroes, and which one it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Line(u32, [u32; WORDS]);

/// Feeds the non-zero lines of `items` to `state`.
pub fn hash<T: Pod, H: Hasher>(items: &[T], state: &mut H) {
    let bytes: &[u8] = bytemuck::cast_slice(items);
    let lines = bytes.chunks_exact(LINE);
    let (rest, rest_at) = (lines.remainder(), lines.len());
    lines.enumerate().for_each(|(at, line)| hash_line(at, line, state));
    if !rest.is_empty() {
        let mut line = [0; LINE];
        line[..rest.len()].copy_from_slice(rest);
        hash_line(rest_at, &line, state);
    }
    // A number that no line has: here the array ends.
    state.write_usize(usize::MAX);
}

#[inline]
fn hash_line<H: Hasher>(at: usize, line: &[u8], state: &mut H) {
    let mut words = [0; LINE / 8];
    for (word, bytes) in words.iter_mut().zip(line.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    }
    if words.iter().fold(0, |all, word| all | word) != 0 {
        state.write_usize(at);
        words.iter().for_each(|&word| state.write_u64(word));
    }
}

/// The non-zero lines of those `items` that lie in `spans`, which ascend.
pub fn lines<T: Pod>(
    items: &[T],
    spans: impl Iterator<Item = std::ops::Range<usize>>,
) -> Vec<Line> {
    let words: &[u32] = bytemuck::cast_slice(items);
    let per_item = size_of::<T>() / size_of::<u32>();
    let mut lines: Vec<Line> = Vec::new();
    for span in spans {
        let first = span.start * per_item / WORDS;
        let end = (span.end * per_item).div_ceil(WORDS);
        let first = lines.last().map_or(first, |last| first.max(last.0 as usize + 1));
        for at in first..end {
            let stop = words.len().min((at + 1) * WORDS);
            let mut line = Line(at as u32, [0; WORDS]);
            line.1[..stop - at * WORDS].copy_from_slice(&words[at * WORDS..stop]);
            if line.1 != [0; WORDS] {
                lines.push(line);
            }
        }
    }
    lines
}

/// Puts `lines` back into `items`, which are all zeroes; tells whether they fit.
pub fn fill<T: Pod>(items: &mut [T], lines: &[Line]) -> bool {
    let words: &mut [u32] = bytemuck::cast_slice_mut(items);
    lines.iter().all(|&Line(at, line)| {
        let first = at as usize * WORDS;
        let stop = words.len().min(first + WORDS);
        let fits = first < stop && line[stop - first..].iter().all(|&word| word == 0);
        if fits {
            words[first..stop].copy_from_slice(&line[..stop - first]);
        }
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_array_makes_it_again() {
        let mut items = vec![0u64; 1001];
        (items[3], items[500], items[1000]) = (7, u64::MAX, 9);
        let mut again = vec![0u64; 1001];
        assert!(fill(&mut again, &lines(&items, std::iter::once(0..1001))));
        assert_eq!(items, again);
        assert!(!fill(&mut vec![0u64; 900], &lines(&items, std::iter::once(0..1001))));
    }

    #[test]
    fn spans_that_share_a_line_keep_it_once() {
        let items = [1u64; 32];
        assert_eq!(lines(&items, [0..3, 4..9].into_iter()).len(), 2);
    }
}
