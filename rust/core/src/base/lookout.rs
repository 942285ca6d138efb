//! Work of one long pass, and whoever may tell it to stop: he is asked now and then.
//!
//! Start with [`Lookout::watch`], which ends an iteration early, and [`Lookout::pass`] for work that is
//! no iteration. Whoever made the lookout asks it when all is done ([`Lookout::is_over`]) and throws away
//! what an early end left half made. Only passes that change nothing use it: calls that change a
//! machine pause where that is legal instead (decision 0011).
//!
//! Source: none, this is about whoever waits. Left out: clocks; what counts is work.

use std::cell::{Cell, RefCell};
use std::fmt;

/// Bytes that are copied between two questions: a few milliseconds. Whoever asks Python does not do so
/// oftener than another thread of it would want to be asked.
const PIECE: usize = 1 << 23;
/// What one item of an iteration counts for.
const ITEM: usize = 64;

/// Asks every so much work whether it is to go on.
pub struct Lookout<'a> {
    goes_on: RefCell<&'a mut dyn FnMut() -> bool>,
    left: Cell<usize>,
    is_over: Cell<bool>,
}

impl<'a> Lookout<'a> {
    /// Asks `goes_on`; once that has said no, it is over.
    pub fn new(goes_on: &'a mut dyn FnMut() -> bool) -> Lookout<'a> {
        Lookout { goes_on: RefCell::new(goes_on), left: Cell::new(0), is_over: Cell::new(false) }
    }

    /// Whether somebody said that it is over.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Work that looks at `bytes`, or takes as long, is about to be done; tells whether to do it.
    #[inline]
    pub fn pass(&self, bytes: usize) -> bool {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                !self.is_over.get()
            }
            None => self.ask(),
        }
    }

    /// Asks now.
    #[cold]
    pub fn ask(&self) -> bool {
        self.left.set(PIECE);
        if !self.is_over.get() && !(self.goes_on.borrow_mut())() {
            self.is_over.set(true);
        }
        !self.is_over.get()
    }

    /// The same items, until it is over.
    pub fn watch<I: IntoIterator>(&self, items: I) -> impl Iterator<Item = I::Item> {
        items.into_iter().take_while(|_| self.pass(ITEM))
    }

    /// Copies `from` to `to`, which is as long, piece by piece, until it is over.
    pub fn copy<T: Copy>(&self, from: &[T], to: &mut [T]) {
        let piece = (PIECE / size_of::<T>()).max(1);
        for (to, from) in to.chunks_mut(piece).zip(from.chunks(piece)) {
            if !self.pass(size_of_val(from)) {
                return;
            }
            to.copy_from_slice(from);
        }
    }
}

impl fmt::Debug for Lookout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iteration_ends_soon_after_somebody_said_so_and_stays_over() {
        let mut questions = 0;
        let mut goes_on = || {
            questions += 1;
            questions < 3
        };
        let lookout = Lookout::new(&mut goes_on);
        let seen = lookout.watch(0..1_000_000).count();
        assert!((2 * PIECE / ITEM..=2 * PIECE / ITEM + 2).contains(&seen), "{seen} items");
        assert!(lookout.is_over() && !lookout.pass(0) && !lookout.ask());
        assert_eq!(questions, 3, "nobody is asked again");
    }

    #[test]
    fn a_copy_is_whole_or_it_is_over() {
        let from: Vec<u64> = (0..500_000).collect();
        let mut to = vec![0; from.len()];
        Lookout::new(&mut || true).copy(&from, &mut to);
        assert_eq!(from, to);
        let mut goes_on = || false;
        let lookout = Lookout::new(&mut goes_on);
        lookout.copy(&from, &mut to[1..]);
        assert!(lookout.is_over());
        assert_eq!(from, to, "nothing was copied");
    }
}
