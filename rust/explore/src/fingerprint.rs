//! 128 bits that stand for a state: a hash of our own, the same on every host and in every process.
//!
//! Start with [`Fingerprint::of`]. Four lanes of folded multiplication, which take words in turn; each
//! word is mixed into both halves of its lane. It keeps honest states apart; it is no defence against
//! somebody who chooses them.

use std::hash::{Hash, Hasher};

/// Two odd numbers with irregular bits: the square roots of 2 and 3.
const LEFT: u64 = 0x6A09_E667_F3BC_C909;
const RIGHT: u64 = 0xBB67_AE85_84CA_A73B;

/// Words that wait until they are mixed in together.
const WAITING: usize = 8;
/// Lanes that mix next to each other: a multiplication need not wait for the one before.
const LANES: usize = 4;

/// A hasher with four lanes of 128 bits; each word is in one of them, by its turn.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint {
    lanes: [(u64, u64); LANES],
    waiting: [u64; WAITING],
    /// Words so far. Those beyond the last multiple of [`WAITING`] wait.
    len: usize,
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
fn mixed((left, right): (u64, u64), word: u64) -> (u64, u64) {
    // Each half sees the word in its own way, so that a word that one of them swallows
    // (its product is zero) is kept by the other.
    (
        fold(left ^ word, LEFT).wrapping_add(word),
        fold(right.wrapping_add(word), RIGHT).rotate_left(23) ^ word,
    )
}

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        let lane = |at: usize| (RIGHT.rotate_left(at as u32), LEFT.rotate_right(at as u32));
        Fingerprint { lanes: std::array::from_fn(lane), waiting: [0; WAITING], len: 0 }
    }
}

impl Fingerprint {
    /// The fingerprint of a value.
    pub fn of(value: &impl Hash) -> u128 {
        let mut hasher = Fingerprint::default();
        value.hash(&mut hasher);
        hasher.value()
    }

    #[inline(always)]
    fn mix(&mut self, word: u64) {
        self.waiting[self.len % WAITING] = word;
        self.len += 1;
        if self.len % WAITING == 0 {
            self.mix_waiting();
        }
    }

    #[inline(never)]
    fn mix_waiting(&mut self) {
        for words in self.waiting.chunks_exact(LANES) {
            for (lane, &word) in self.lanes.iter_mut().zip(words) {
                *lane = mixed(*lane, word);
            }
        }
    }

    /// All 128 bits.
    pub fn value(&self) -> u128 {
        let mut last = (self.len as u64, LEFT);
        for &word in &self.waiting[..self.len % WAITING] {
            last = mixed(last, word);
        }
        for (left, right) in self.lanes {
            last = mixed(mixed(last, left), right);
        }
        let left = fold(last.0 ^ last.1.rotate_left(32), RIGHT);
        let right = fold(last.1 ^ last.0.rotate_left(17), LEFT);
        u128::from(left) << 64 | u128::from(right ^ last.0)
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.value() as u64
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let rest = words.remainder();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.mix(number.into());
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.mix(number.into());
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    #[inline]
    fn write_u128(&mut self, number: u128) {
        self.mix(number as u64);
        self.mix((number >> 64) as u64);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    #[inline]
    fn write_i64(&mut self, number: i64) {
        self.mix(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_differ_in_one_bit_differ_in_both_halves() {
        let base = [0_u64; 8];
        let whole = Fingerprint::of(&base);
        for word in 0..8 {
            for bit in 0..64 {
                let mut other = base;
                other[word] ^= 1 << bit;
                let found = Fingerprint::of(&other) ^ whole;
                assert_ne!(found as u64, 0, "word {word} bit {bit}");
                assert_ne!((found >> 64) as u64, 0, "word {word} bit {bit}");
                assert!(
                    (30..100).contains(&found.count_ones()),
                    "word {word} bit {bit}: {found:x}"
                );
            }
        }
    }

    #[test]
    fn order_and_length_count() {
        assert_ne!(Fingerprint::of(&(1_u8, 2_u8)), Fingerprint::of(&(2_u8, 1_u8)));
        assert_ne!(Fingerprint::of(&vec![0_u8; 3]), Fingerprint::of(&vec![0_u8; 4]));
        assert_ne!(Fingerprint::of(&"ab"), Fingerprint::of(&"ba"));
    }

    #[test]
    fn a_fingerprint_is_the_same_everywhere() {
        assert_eq!(Fingerprint::of(&(7_u32, "page", 3_u64)), GOLDEN);
    }

    /// Kept from the first run: no host, process or release of the compiler may change it.
    const GOLDEN: u128 = 90856498474116410527180190012270353361;
}
