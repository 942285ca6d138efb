//! How far a call in mode `Run` goes before it pauses, so that whoever runs it can look up.
//!
//! A pause is no yield point of the specification: nothing follows from where it is, and a call goes on
//! from it as if it had not paused. It is only ever where no spinlock and no page lock is held. Decision
//! 0011 has the reasons.

/// What a call in mode `Run` may still do, in pages, roughly; without a limit it never pauses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fuel(Option<u64>);

impl Fuel {
    /// Enough for about this many pages.
    pub const fn for_pages(pages: u64) -> Fuel {
        Fuel(Some(pages))
    }

    /// Burns what `pages` take; tells whether none is left.
    #[inline]
    pub fn burn(&mut self, pages: usize) -> bool {
        match &mut self.0 {
            None => false,
            Some(left) => {
                *left = left.saturating_sub(pages as u64);
                *left == 0
            }
        }
    }

    /// How many of `pages` there is enough for.
    #[inline]
    pub fn reach(&self, pages: usize) -> usize {
        self.0.map_or(pages, |left| pages.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tank_runs_dry_and_no_tank_never_does() {
        let mut fuel = Fuel::for_pages(100);
        assert_eq!(fuel.reach(1000), 100);
        assert!(!fuel.burn(60));
        assert_eq!(fuel.reach(1000), 40);
        assert!(fuel.burn(60));
        assert!(!Fuel::default().burn(usize::MAX));
        assert_eq!(Fuel::default().reach(7), 7);
    }
}
