//! Numbers from a seed: xoshiro256++, seeded by splitmix64, the same on every host for ever.
//!
//! Both are published algorithms of Blackman and Vigna in the public domain; this is our own writing
//! of them. No release of a library can change what a seed means.

/// A source of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: [u64; 4],
}

impl Dice {
    /// The numbers of a seed.
    pub(crate) fn new(seed: u64) -> Dice {
        let mut mixed = seed;
        let state = std::array::from_fn(|_| {
            mixed = mixed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let word = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^ (word >> 31)
        });
        Dice { state }
    }

    /// The next 64 bits.
    pub(crate) fn throw(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `limit`, each as likely as the others.
    ///
    /// # Panics
    /// If `limit` is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "there is no number below 0");
        // What is left over at the top of the range is thrown again.
        let fair = u64::MAX - (u64::MAX % limit + 1) % limit;
        loop {
            let number = self.throw();
            if number <= fair {
                return number % limit;
            }
        }
    }

    /// The same things in a random order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_algorithm() {
        let mut dice = Dice { state: [1, 2, 3, 4] };
        let expected = [41943041, 58720359, 3588806011781223, 3591011842654386];
        assert_eq!(std::array::from_fn(|_| dice.throw()), expected);
    }

    #[test]
    fn a_seed_is_spread_as_published() {
        // The first numbers of splitmix64 from 0.
        let expected = [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        assert_eq!(Dice::new(0).state[..3], expected);
    }

    #[test]
    fn numbers_stay_below_their_limit_and_reach_all_of_it() {
        let mut dice = Dice::new(7);
        let mut seen = [0; 3];
        (0..3000).for_each(|_| seen[dice.below(3) as usize] += 1);
        assert!(seen.iter().all(|&times| times > 900), "{seen:?}");
        let mut cards: Vec<u32> = (0..10).collect();
        dice.shuffle(&mut cards);
        assert_ne!(cards, (0..10).collect::<Vec<_>>());
        cards.sort_unstable();
        assert_eq!(cards, (0..10).collect::<Vec<_>>());
    }
}
