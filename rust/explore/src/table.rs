//! A set of fingerprints that numbers them in the order in which they came.
//!
//! Start with [`Table::number`]. Open addressing over 128-bit keys, which are hashes already. Nothing
//! can be asked about the order of its slots, so that order can decide nothing.

/// Fingerprints, numbered from 0 as they come.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    keys: Vec<u128>,
    /// Number plus one; 0 is empty. A power of two of them, never more than half full.
    slots: Vec<u32>,
}

const SLOTS_MIN: usize = 64;

impl Default for Table {
    fn default() -> Table {
        Table { keys: Vec::new(), slots: vec![0; SLOTS_MIN] }
    }
}

impl Table {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> u64 {
        (self.keys.capacity() * 16 + self.slots.len() * 4) as u64
    }

    /// Whether a fingerprint is there.
    pub(crate) fn has(&self, key: u128) -> bool {
        let mask = self.slots.len() - 1;
        let mut at = key as usize & mask;
        while self.slots[at] != 0 {
            if self.keys[self.slots[at] as usize - 1] == key {
                return true;
            }
            at = (at + 1) & mask;
        }
        false
    }

    /// The number of a fingerprint, and whether it is new.
    ///
    /// # Panics
    /// If there are more than 4 billion.
    pub(crate) fn number(&mut self, key: u128) -> (u32, bool) {
        let mask = self.slots.len() - 1;
        let mut at = key as usize & mask;
        loop {
            match self.slots[at] {
                0 => break,
                found if self.keys[found as usize - 1] == key => return (found - 1, false),
                _ => at = (at + 1) & mask,
            }
        }
        let number = u32::try_from(self.keys.len()).expect("room for the number of a state");
        self.slots[at] = number.checked_add(1).expect("room for the number of a state");
        self.keys.push(key);
        if self.keys.len() * 2 > self.slots.len() {
            self.grow();
        }
        (number, true)
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots = vec![0; mask + 1];
        for (number, key) in self.keys.iter().enumerate() {
            let mut at = *key as usize & mask;
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = number as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_numbered_as_they_come_and_found_again() {
        let mut table = Table::default();
        let key = |at: u128| at * 64;
        for at in 0..1000 {
            assert_eq!(table.number(key(at)), (at as u32, true));
            assert_eq!(table.number(key(at / 2)), (at as u32 / 2, false));
        }
        assert_eq!(table.len(), 1000);
        assert!((0..1000).all(|at| table.has(key(at))) && !table.has(key(1000)));
        assert!(!table.is_empty());
        assert!(table.bytes() >= 1000 * 20);
    }
}
