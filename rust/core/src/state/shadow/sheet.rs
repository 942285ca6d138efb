//! One page of the second memory: the bytes of it that were stored.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::sparse;

/// The bytes of one page that were stored, in runs that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Runs", into = "Runs")]
pub struct Sheet {
    runs: Runs,
    /// Stands for the runs where a machine is told from others.
    digest: u128,
}

type Runs = BTreeMap<u16, Vec<u8>>;

impl From<Runs> for Sheet {
    fn from(runs: Runs) -> Sheet {
        let mut sheet = Sheet { runs, digest: 0 };
        sheet.look();
        sheet
    }
}

impl From<Sheet> for Runs {
    fn from(sheet: Sheet) -> Runs {
        sheet.runs
    }
}

impl Hash for Sheet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Sheet {
    /// The runs: where each begins, and its bytes.
    pub fn runs(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.runs.iter().map(|(&from, bytes)| (usize::from(from), &bytes[..]))
    }

    /// Bytes are stored at `from`.
    pub(super) fn store(&mut self, from: usize, bytes: &[u8]) {
        self.forget(from..from + bytes.len());
        let (mut from, mut run) = (from, bytes.to_vec());
        if let Some(after) = self.runs.remove(&((from + run.len()) as u16)) {
            run.extend(after);
        }
        let before = self.runs.range(..from as u16).next_back();
        if let Some(start) = before
            .filter(|(start, bytes)| usize::from(**start) + bytes.len() == from)
            .map(|(&start, _)| start)
        {
            let mut whole = self.runs.remove(&start).expect("just seen");
            whole.extend(run);
            (from, run) = (usize::from(start), whole);
        }
        self.runs.insert(from as u16, run);
        self.look();
    }

    fn look(&mut self) {
        // Zeroes that were stored count, too: so the places and lengths of the runs are part of it.
        let run = |(&from, run): (&u16, &Vec<u8>)| {
            let digest = sparse::digest(run).to_le_bytes();
            let place = [from.to_le_bytes(), (run.len() as u16).to_le_bytes()].concat();
            place.into_iter().chain(digest)
        };
        let all: Vec<u8> = self.runs.iter().flat_map(run).collect();
        self.digest = sparse::digest(&all);
    }

    /// Nothing is known of a range any more.
    pub(super) fn forget(&mut self, range: Range<usize>) {
        let touched: Vec<u16> = self
            .runs
            .range(..range.end as u16)
            .filter(|(start, bytes)| usize::from(**start) + bytes.len() > range.start)
            .map(|(&start, _)| start)
            .collect();
        for start in touched {
            let mut run = self.runs.remove(&start).expect("just seen");
            let from = usize::from(start);
            if from + run.len() > range.end {
                let tail = run.split_off(range.end - from);
                self.runs.insert(range.end as u16, tail);
            }
            if from < range.start {
                run.truncate(range.start - from);
                self.runs.insert(start, run);
            }
        }
        self.look();
    }

    /// The first byte that is not as it was stored: where, what was stored, what is there. `bytes` are
    /// those of the page from `from` on; shorter ones are compared as far as they go.
    pub fn first_lost(&self, from: usize, bytes: &[u8]) -> Option<(usize, u8, u8)> {
        let end = from + bytes.len();
        self.runs().find_map(|(start, run)| {
            let (first, stop) = (start.max(from), end.min(start + run.len()));
            let both = |at: usize| (run[at - start], bytes[at - from]);
            // All at once: mostly nothing is lost.
            if first >= stop || run[first - start..stop - start] == bytes[first - from..stop - from]
            {
                return None;
            }
            let at = (first..stop).find(|&at| both(at).0 != both(at).1)?;
            Some((at, both(at).0, both(at).1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(sheet: &Sheet) -> Vec<(usize, Vec<u8>)> {
        sheet.runs().map(|(at, run)| (at, run.to_vec())).collect()
    }

    #[test]
    fn stores_that_touch_become_one_run_and_later_ones_win() {
        let mut sheet = Sheet::default();
        sheet.store(4, &[1, 1]);
        sheet.store(8, &[2, 2]);
        sheet.store(6, &[3, 3]);
        assert_eq!(runs(&sheet), [(4, vec![1, 1, 3, 3, 2, 2])]);
        sheet.store(5, &[9]);
        assert_eq!(runs(&sheet), [(4, vec![1, 9, 3, 3, 2, 2])]);
    }

    #[test]
    fn a_hole_may_be_forgotten_and_what_is_around_it_stays() {
        let mut sheet = Sheet::default();
        sheet.store(0, &[1; 10]);
        sheet.forget(3..5);
        assert_eq!(runs(&sheet), [(0, vec![1; 3]), (5, vec![1; 5])]);
        assert_eq!(sheet.first_lost(0, &[1, 1, 1, 7, 7, 1, 1, 2]), Some((7, 1, 2)));
        assert_eq!(sheet.first_lost(3, &[7, 7]), None);
    }
}
