//! Long arrays that are mostly zero: hashed and kept by the lines that are not.
//!
//! Start with [`hash`] (what two equal machines share) and [`lines`] with [`fill`] (what a snapshot
//! keeps). A line is 64 bytes, so that an untouched stretch costs one glance.

use std::borrow::Borrow;
use std::hash::Hasher;
use std::ops::Range;

use bytemuck::Pod;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

/// Words of 32 bits in a line.
const WORDS: usize = 16;
/// Bytes in a line.
const LINE: usize = 64;

/// One line that is not all zeroes, and which one it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Line(u32, [u32; WORDS]);

/// Lines that are looked at together: most blocks are empty, and one glance tells.
const BLOCK_LINES: usize = 8;

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(8);
    let rest = words.remainder().iter().all(|&byte| byte == 0);
    // No early way out: so the compiler can look at many words at once.
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    rest && words.fold(0, |all, bytes| all | word(bytes)) == 0
}

/// How many items of a sort are in a line.
pub const fn per_line<T>() -> usize {
    LINE / size_of::<T>()
}

/// Feeds the non-zero lines of `items` to `state`.
pub fn hash<T: Pod, H: Hasher>(items: &[T], state: &mut H) {
    hash_lines(items, 0, state);
    // A number that no line has: here the array ends.
    state.write_usize(usize::MAX);
}

/// Feeds the non-zero lines of a part of an array to `state`; the part begins with line `first`.
pub fn hash_lines<T: Pod, H: Hasher>(items: &[T], first: usize, state: &mut H) {
    let bytes: &[u8] = bytemuck::cast_slice(items);
    for (block_at, block) in bytes.chunks(BLOCK_LINES * LINE).enumerate() {
        if is_zero(block) {
            continue;
        }
        let lines = block.chunks_exact(LINE);
        let (first, rest) = (first + block_at * BLOCK_LINES, lines.remainder());
        let rest_at = first + lines.len();
        lines.enumerate().for_each(|(at, line)| hash_line(first + at, line, state));
        if !rest.is_empty() {
            let mut line = [0; LINE];
            line[..rest.len()].copy_from_slice(rest);
            hash_line(rest_at, &line, state);
        }
    }
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

/// Two odd numbers with irregular bits: the square roots of 2 and 3.
const ROOTS: [u64; 2] = [0x6A09_E667_F3BC_C909, 0xBB67_AE85_84CA_A73B];

/// 128 bits that stand for some bytes, the same on every host; 0 if and only if all are zero, and
/// never [`u128::MAX`]. It keeps honest bytes apart, and is no defence against somebody who
/// chooses them.
pub fn digest(bytes: &[u8]) -> u128 {
    if is_zero(bytes) {
        return 0;
    }
    let fold = |word: u64, root: u64| {
        let product = u128::from(word) * u128::from(root);
        product as u64 ^ (product >> 64) as u64
    };
    let (mut left, mut right) = (ROOTS[1], ROOTS[0] ^ bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        left = fold(left ^ word, ROOTS[0]).wrapping_add(word);
        right = fold(right.wrapping_add(word), ROOTS[1]).rotate_left(23) ^ word;
    }
    let whole = u128::from(left) << 64 | u128::from(fold(right ^ left.rotate_left(17), ROOTS[0]));
    whole.clamp(1, u128::MAX - 1)
}

/// The non-zero lines of a long array, one after another: what a snapshot keeps of it.
#[derive(Debug)]
pub struct Lines<'a> {
    words: &'a [u32],
    /// Numbers of lines to look at, ascending.
    looked_at: Vec<Range<usize>>,
}

/// The non-zero lines of those `items` that lie in `spans`, which ascend.
pub fn lines<T: Pod>(items: &[T], spans: impl Iterator<Item = Range<usize>>) -> Lines<'_> {
    let per_item = size_of::<T>() / size_of::<u32>();
    let mut next = 0;
    let mut looked_at = Vec::new();
    for span in spans {
        // Two spans may share a line.
        let first = (span.start * per_item / WORDS).max(next);
        next = (span.end * per_item).div_ceil(WORDS).max(first);
        looked_at.push(first..next);
    }
    Lines { words: bytemuck::cast_slice(items), looked_at }
}

impl Lines<'_> {
    /// One after another.
    pub fn iter(&self) -> impl Iterator<Item = Line> {
        let line = |at: usize| {
            let stop = self.words.len().min((at + 1) * WORDS);
            let mut line = Line(at as u32, [0; WORDS]);
            line.1[..stop - at * WORDS].copy_from_slice(&self.words[at * WORDS..stop]);
            (line.1 != [0; WORDS]).then_some(line)
        };
        self.looked_at.iter().cloned().flatten().filter_map(line)
    }
}

/// As a sequence of lines; none of them is kept longer than it takes to write it.
impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut sequence = to.serialize_seq(Some(self.iter().count()))?;
        self.iter().try_for_each(|line| sequence.serialize_element(&line))?;
        sequence.end()
    }
}

/// Puts `lines` back into `items`, which are all zeroes; tells whether they fit.
pub fn fill<T: Pod>(items: &mut [T], lines: impl IntoIterator<Item: Borrow<Line>>) -> bool {
    let words: &mut [u32] = bytemuck::cast_slice_mut(items);
    lines.into_iter().all(|line| {
        let &Line(at, line) = line.borrow();
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
        assert!(fill(&mut again, lines(&items, std::iter::once(0..1001)).iter()));
        assert_eq!(items, again);
        assert!(!fill(&mut vec![0u64; 900], lines(&items, std::iter::once(0..1001)).iter()));
    }

    #[test]
    fn a_digest_tells_bytes_apart_and_zeroes_at_once() {
        assert_eq!(digest(&[0; 4096]), 0);
        let mut bytes = [0; 100];
        let mut seen = std::collections::BTreeSet::new();
        for bit in 0..800 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = digest(&bytes);
            assert!(found != 0 && found != u128::MAX && seen.insert(found), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_ne!(digest(&[1; 8]), digest(&[1; 9]));
    }

    #[test]
    fn spans_that_share_a_line_keep_it_once() {
        let items = [1u64; 32];
        assert_eq!(lines(&items, [0..3, 4..9].into_iter()).iter().count(), 2);
    }
}
