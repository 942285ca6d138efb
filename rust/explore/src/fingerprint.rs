//! 128 bits that stand for a state: a hash of our own, the same on every host and in every process.
//!
//! Start with [`Fingerprint::of`]. Two lanes of folded multiplication, each word mixed into both. It
//! keeps honest states apart; it is no defence against somebody who chooses them.

use std::hash::{Hash, Hasher};

/// Two odd numbers with irregular bits: the square roots of 2 and 3.
const LEFT: u64 = 0x6A09_E667_F3BC_C909;
const RIGHT: u64 = 0xBB67_AE85_84CA_A73B;

/// A hasher with 128 bits of state.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint {
    left: u64,
    right: u64,
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint { left: RIGHT, right: LEFT }
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
        // Each lane sees the word in its own way, so that a word that one of them swallows
        // (its product is zero) is kept by the other.
        self.left = fold(self.left ^ word, LEFT).wrapping_add(word);
        self.right = fold(self.right.wrapping_add(word), RIGHT).rotate_left(23) ^ word;
    }

    /// All 128 bits.
    pub fn value(&self) -> u128 {
        let left = fold(self.left ^ self.right.rotate_left(32), RIGHT);
        let right = fold(self.right ^ self.left.rotate_left(17), LEFT);
        u128::from(left) << 64 | u128::from(right ^ self.left)
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
    const GOLDEN: u128 = 179525198060417991788426408376881474562;
}
