//! The free frames of one zone: a bitmap, lowest number first.

/// Which frames of a zone are taken, with summaries so that the lowest free one is found at once.
///
/// A set bit means *taken*, so that an untouched zone is all zeroes and costs nothing.
/// Level 0 has a bit a frame; a bit of level n + 1 says that a word of level n is full.
#[derive(Clone, Debug)]
pub struct FreeFrames {
    levels: Vec<Vec<u64>>,
    len: usize,
    count: u64,
    /// One past the highest frame that was ever taken.
    touched: usize,
    /// Every word of level 0 before this one is full.
    hint: usize,
}

impl FreeFrames {
    /// `len` free frames.
    pub fn new(len: usize) -> FreeFrames {
        let mut levels: Vec<Vec<u64>> = vec![bytemuck::zeroed_vec(len.div_ceil(64))];
        while let Some(words) = levels.last().map(Vec::len).filter(|&words| words > 1) {
            levels.push(bytemuck::zeroed_vec(words.div_ceil(64)));
        }
        FreeFrames { levels, len, count: len as u64, touched: 0, hint: 0 }
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

    /// How many are free (`NR_FREE_PAGES`).
    #[inline]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Frames from here on were never taken.
    #[inline]
    pub fn touched(&self) -> usize {
        self.touched
    }

    /// Whether frame `at` is free.
    pub fn is_free(&self, at: usize) -> bool {
        self.levels[0][at / 64] >> (at % 64) & 1 == 0
    }

    /// Takes the lowest free frame.
    #[inline]
    pub fn take_lowest(&mut self) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        if self.levels[0][self.hint] == u64::MAX {
            self.hint = self.lowest_open_word();
        }
        let word = self.hint;
        let bit = (!self.levels[0][word]).trailing_zeros() as usize;
        let at = word * 64 + bit;
        debug_assert!(at < self.len);
        self.levels[0][word] |= 1 << bit;
        if self.levels[0][word] == u64::MAX {
            self.mark_full(word);
        }
        self.count -= 1;
        self.touched = self.touched.max(at + 1);
        Some(at)
    }

    /// Gives frame `at` back.
    #[inline]
    pub fn give_back(&mut self, at: usize) {
        let word = at / 64;
        debug_assert!(!self.is_free(at), "frame {at} given back twice");
        if self.levels[0][word] == u64::MAX {
            self.mark_open(word);
        }
        self.levels[0][word] &= !(1 << (at % 64));
        self.count += 1;
        self.hint = self.hint.min(word);
    }

    /// Descends from the top summary. The caller knows that something is free.
    fn lowest_open_word(&self) -> usize {
        let top = self.levels.len() - 1;
        (1..=top).rev().fold(0, |word, level| {
            word * 64 + (!self.levels[level][word]).trailing_zeros() as usize
        })
    }

    fn mark_full(&mut self, word: usize) {
        let mut at = word;
        for level in &mut self.levels[1..] {
            level[at / 64] |= 1 << (at % 64);
            if level[at / 64] != u64::MAX {
                return;
            }
            at /= 64;
        }
    }

    fn mark_open(&mut self, word: usize) {
        let mut at = word;
        for level in &mut self.levels[1..] {
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
}
