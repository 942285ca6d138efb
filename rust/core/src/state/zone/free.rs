//! The free frames of one zone: a bitmap, lowest number first.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::sparse;

/// More frames than any machine has.
const MAX_LEN: usize = 1 << 32;

/// Which frames of a zone are taken, with summaries so that the lowest free one is found at once.
///
/// A set bit means *taken*, so that an untouched zone is all zeroes and costs nothing.
/// Level 0 has a bit a frame; a bit of level n + 1 says that a word of level n is full.
///
/// A free frame that is *withdrawn* (on the ISOLATE free list) has its bit set, too, so that nobody
/// finds it, and another one that says why.
#[derive(Clone, Debug)]
pub struct FreeFrames {
    /// Level 0.
    words: Vec<u64>,
    /// The levels above.
    summaries: Vec<Vec<u64>>,
    len: usize,
    /// Frames within reach.
    reach: u64,
    /// A set bit: free, but withdrawn. Empty until some frame is.
    withdrawn: Vec<u64>,
    withdrawn_count: u64,
    /// One past the highest frame that was ever taken.
    touched: usize,
    /// Every word of level 0 before this one is full.
    hint: usize,
}

impl Hash for FreeFrames {
    fn hash<H: Hasher>(&self, state: &mut H) {
        sparse::hash(&self.words[..self.touched.div_ceil(64)], state);
        sparse::hash(&self.withdrawn, state);
    }
}

/// What a snapshot keeps: frames, the highest one ever taken, those taken, those withdrawn.
type Kept = (usize, usize, Vec<sparse::Line>, Vec<sparse::Line>);

impl Serialize for FreeFrames {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let touched = std::iter::once(0..self.touched.div_ceil(64));
        let taken = sparse::lines(&self.words, touched);
        let withdrawn = sparse::lines(&self.withdrawn, std::iter::once(0..self.withdrawn.len()));
        (self.len, self.touched, taken, withdrawn).serialize(to)
    }
}

impl<'de> Deserialize<'de> for FreeFrames {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (len, touched, taken, withdrawn) = Kept::deserialize(from)?;
        FreeFrames::from_kept(len, touched, &taken, &withdrawn).ok_or_else(|| {
            serde::de::Error::custom("a bitmap of free frames that contradicts itself")
        })
    }
}

impl FreeFrames {
    fn from_kept(
        len: usize,
        touched: usize,
        taken: &[sparse::Line],
        withdrawn: &[sparse::Line],
    ) -> Option<FreeFrames> {
        if len > MAX_LEN || touched > len {
            return None;
        }
        let mut made = FreeFrames::new(len);
        made.touched = touched;
        if !withdrawn.is_empty() {
            made.withdrawn = bytemuck::zeroed_vec(len.div_ceil(64));
        }
        if !sparse::fill(&mut made.words, taken) || !sparse::fill(&mut made.withdrawn, withdrawn) {
            return None;
        }
        // What is withdrawn is taken, and may lie beyond what was ever touched.
        for (taken, withdrawn) in made.words.iter_mut().zip(&made.withdrawn) {
            *taken |= withdrawn;
        }
        let words = touched.div_ceil(64).max(made.withdrawn.len());
        for word in 0..words {
            let bits = made.words[word];
            made.reach = made.reach.checked_sub(u64::from(bits.count_ones()))?;
            if bits == u64::MAX {
                made.mark_full(word);
            }
        }
        made.withdrawn_count = made.withdrawn.iter().map(|word| u64::from(word.count_ones())).sum();
        Some(made)
    }

    /// `len` free frames.
    pub fn new(len: usize) -> FreeFrames {
        let words: Vec<u64> = bytemuck::zeroed_vec(len.div_ceil(64));
        let mut summaries: Vec<Vec<u64>> = Vec::new();
        let mut below = words.len();
        while below > 1 {
            below = below.div_ceil(64);
            summaries.push(bytemuck::zeroed_vec(below));
        }
        FreeFrames {
            words,
            summaries,
            len,
            reach: len as u64,
            withdrawn: Vec::new(),
            withdrawn_count: 0,
            touched: 0,
            hint: 0,
        }
    }

    /// How many frames the zone spans.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it spans none; never true of a zone.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many are free (`NR_FREE_PAGES`), those that are withdrawn included.
    #[inline]
    pub fn count(&self) -> u64 {
        self.reach + self.withdrawn_count
    }

    /// How many are free and can be taken.
    #[inline]
    pub fn in_reach(&self) -> u64 {
        self.reach
    }

    /// Frames from here on were never taken, nor marked in any way.
    #[inline]
    pub fn touched(&self) -> usize {
        self.touched
    }

    /// Whether frame `at` is free, within reach or withdrawn.
    pub fn is_free(&self, at: usize) -> bool {
        self.is_in_reach(at) || self.is_withdrawn(at)
    }

    /// Whether frame `at` is free and can be taken.
    pub fn is_in_reach(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 0
    }

    /// Whether frame `at` is free, but withdrawn.
    pub fn is_withdrawn(&self, at: usize) -> bool {
        self.withdrawn.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Frame `at` bears a mark, although it was never taken.
    pub fn touch(&mut self, at: usize) {
        self.touched = self.touched.max(at + 1);
    }

    /// The lowest free frame within reach.
    pub fn lowest(&self) -> Option<usize> {
        if self.reach == 0 {
            return None;
        }
        let word = self.lowest_open_word();
        Some(word * 64 + (!self.words[word]).trailing_zeros() as usize)
    }

    /// Takes the lowest free frame within reach.
    #[inline(always)]
    pub fn take_lowest(&mut self) -> Option<usize> {
        if self.reach == 0 {
            return None;
        }
        if self.words[self.hint] == u64::MAX {
            self.hint = self.lowest_open_word();
        }
        let hint = self.hint;
        let word = &mut self.words[hint];
        let at = hint * 64 + word.trailing_ones() as usize;
        debug_assert!(at < self.len);
        // The lowest clear bit.
        *word |= *word + 1;
        if *word == u64::MAX {
            self.mark_full(hint);
        }
        self.reach -= 1;
        self.touched = self.touched.max(at + 1);
        Some(at)
    }

    /// Gives frame `at` back.
    #[inline]
    pub fn give_back(&mut self, at: usize) {
        let word = at / 64;
        debug_assert!(!self.is_free(at), "frame {at} given back twice");
        let bits = self.words[word];
        self.words[word] = bits & !(1 << (at % 64));
        if bits == u64::MAX {
            self.mark_open(word);
        }
        self.reach += 1;
        self.hint = self.hint.min(word);
    }

    /// Gives frame `at` back to those that are withdrawn.
    pub fn give_back_withdrawn(&mut self, at: usize) {
        debug_assert!(!self.is_free(at), "frame {at} given back twice");
        if self.withdrawn.is_empty() {
            self.withdrawn = bytemuck::zeroed_vec(self.words.len());
        }
        self.withdrawn[at / 64] |= 1 << (at % 64);
        self.withdrawn_count += 1;
    }

    /// Withdraws the free frames among `places`.
    pub(super) fn withdraw(&mut self, places: Range<usize>) {
        for at in places {
            let word = at / 64;
            if !self.is_in_reach(at) {
                continue;
            }
            self.words[word] |= 1 << (at % 64);
            if self.words[word] == u64::MAX {
                self.mark_full(word);
            }
            self.reach -= 1;
            self.give_back_withdrawn(at);
        }
    }

    /// The withdrawn frames among `places` are within reach again.
    pub(super) fn return_withdrawn(&mut self, places: Range<usize>) {
        for at in places {
            if self.forget_withdrawn(at) {
                self.give_back(at);
            }
        }
    }

    /// The withdrawn frames among `places` are free no more, nor anybody's.
    pub(super) fn remove_withdrawn(&mut self, places: Range<usize>) {
        self.touched = self.touched.max(places.end);
        for at in places {
            self.forget_withdrawn(at);
        }
    }

    fn forget_withdrawn(&mut self, at: usize) -> bool {
        let is_withdrawn = self.is_withdrawn(at);
        if is_withdrawn {
            self.withdrawn[at / 64] &= !(1 << (at % 64));
            self.withdrawn_count -= 1;
        }
        is_withdrawn
    }

    /// Descends from the top summary. The caller knows that something is free.
    #[cold]
    fn lowest_open_word(&self) -> usize {
        self.summaries
            .iter()
            .rev()
            .fold(0, |word, level| word * 64 + (!level[word]).trailing_zeros() as usize)
    }

    #[cold]
    fn mark_full(&mut self, word: usize) {
        let mut at = word;
        for level in &mut self.summaries {
            level[at / 64] |= 1 << (at % 64);
            if level[at / 64] != u64::MAX {
                return;
            }
            at /= 64;
        }
    }

    #[cold]
    fn mark_open(&mut self, word: usize) {
        let mut at = word;
        for level in &mut self.summaries {
            let was_full = level[at / 64] == u64::MAX;
            level[at / 64] &= !(1 << (at % 64));
            if !was_full {
                return;
            }
            at /= 64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_lowest_free_frame_is_taken_like_from_a_sorted_set() {
        for len in [1, 63, 64, 65, 5000, 70_000] {
            let mut free = FreeFrames::new(len);
            let mut set: BTreeSet<usize> = (0..len).collect();
            let mut state = 12345_u64;
            for _ in 0..4 * len.min(20_000) {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let taken = len - set.len();
                if state >> 33 & 3 != 0 || taken == 0 {
                    assert_eq!(free.take_lowest(), set.pop_first());
                } else {
                    let at = (state >> 35) as usize % len;
                    if set.insert(at) {
                        free.give_back(at);
                    }
                }
                assert_eq!(free.count(), set.len() as u64);
            }
            (0..len).for_each(|at| assert_eq!(free.is_free(at), set.contains(&at)));
        }
    }

    #[test]
    fn withdrawn_frames_are_free_and_out_of_reach() {
        let mut free = FreeFrames::new(200);
        (0..70).for_each(|at| assert_eq!(free.take_lowest(), Some(at)));
        free.withdraw(64..128);
        assert_eq!((free.count(), free.in_reach()), (130, 72));
        assert_eq!(free.take_lowest(), Some(128), "the second word has none to offer");
        free.give_back_withdrawn(65);
        assert_eq!((free.count(), free.in_reach()), (130, 71));
        assert!(free.is_free(65) && !free.is_in_reach(65) && !free.is_free(66));
        free.return_withdrawn(64..128);
        assert_eq!(free.take_lowest(), Some(65));
        assert_eq!(free.take_lowest(), Some(70));
        free.withdraw(128..192);
        free.remove_withdrawn(128..192);
        assert_eq!((free.count(), free.touched()), (65, 192));
    }

    #[test]
    fn a_kept_bitmap_comes_back_with_what_was_withdrawn() {
        let mut free = FreeFrames::new(70_000);
        (0..130).for_each(|at| assert_eq!(free.take_lowest(), Some(at)));
        free.withdraw(64..256);
        free.give_back_withdrawn(65);
        let again = |free: &FreeFrames| -> FreeFrames {
            postcard::from_bytes(&postcard::to_allocvec(free).unwrap()).unwrap()
        };
        let mut twin = again(&free);
        for _ in 0..3 {
            assert_eq!((twin.count(), twin.in_reach()), (free.count(), free.in_reach()));
            assert_eq!(twin.touched(), free.touched());
            (0..300).for_each(|at| assert_eq!(twin.is_free(at), free.is_free(at), "frame {at}"));
            assert_eq!(twin.take_lowest(), free.take_lowest());
        }
        free.return_withdrawn(64..256);
        twin = again(&free);
        assert_eq!(twin.take_lowest(), Some(65));
        twin.give_back_withdrawn(65);
        assert!(twin.is_free(65), "although nothing was withdrawn when it was kept");
    }
}
