//! What was stored where: a second memory that nothing but stores ever changes.
//!
//! Private memory is known by who stored and at which page; memory of a file by the file and the
//! page's number there, whoever stored. [`Shadow::store`] notes bytes, [`Shadow::forget`] what
//! becomes of them when their place goes. Nothing is noted before [`Shadow::watch`].
//!
//! Below us: [`crate::base`]. Above us: [`crate::kernel`], which knows whose a page is, and the rule
//! `no_store_is_lost` (I-110, I-111, I-114), which compares. Left out: bytes that nobody stored.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::base::{MappingId, MmId, PAGE_SIZE, Pfn, sparse};

/// How many wrong loads are kept: the first says it all.
const WRONG_MAX: usize = 4;

/// One page of memory as programs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// A page of private memory, by its address.
    Own(MmId, u64),
    /// A page of a file, by its number.
    File(MappingId, u64),
}

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
    fn store(&mut self, from: usize, bytes: &[u8]) {
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
    fn forget(&mut self, range: Range<usize>) {
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

/// A load that did not return what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wrong {
    /// A byte that nobody stored there last.
    Byte {
        /// The page, as programs see it.
        place: Place,
        /// Which byte of it.
        at: u16,
        /// What was stored.
        stored: u8,
        /// What was loaded.
        loaded: u8,
        /// From which frame.
        page: Pfn,
    },
    /// Bytes of a page that is not the file's any more, and was not cut off it.
    Stale {
        /// The page that was meant.
        place: Place,
        /// The frame that was read.
        page: Pfn,
    },
}

/// Everything that was stored since somebody watches.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Shadow {
    is_on: bool,
    sheets: BTreeMap<Place, Sheet>,
    /// Pages that truncation took out of their file while others may still read them.
    orphans: BTreeSet<Pfn>,
    wrong: Vec<Wrong>,
}

impl Shadow {
    /// Whether stores are noted: the one test that everybody else pays for.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// From now on stores are noted.
    pub fn watch(&mut self) {
        self.is_on = true;
    }

    /// Bytes are stored into a page from byte `from` on.
    pub fn store(&mut self, place: Place, from: usize, bytes: &[u8]) {
        debug_assert!(from + bytes.len() <= PAGE_SIZE as usize, "a store across pages");
        if !bytes.is_empty() {
            self.sheets.entry(place).or_default().store(from, bytes);
        }
    }

    /// What was stored into a page.
    pub fn sheet(&self, place: Place) -> Option<&Sheet> {
        self.sheets.get(&place)
    }

    /// All pages that anything was stored into.
    pub fn sheets(&self) -> impl Iterator<Item = (Place, &Sheet)> {
        self.sheets.iter().map(|(&place, sheet)| (place, sheet))
    }

    /// The bytes of a page are gone, and rightly so, from byte `from` on.
    pub fn forget(&mut self, place: Place, from: usize) {
        if from == 0 {
            self.sheets.remove(&place);
        } else if let Some(sheet) = self.sheets.get_mut(&place) {
            sheet.forget(from..PAGE_SIZE as usize);
        }
    }

    /// So are those of all private pages in a range.
    pub fn forget_range(&mut self, mm: MmId, range: Range<u64>) {
        for place in self.own(mm, range) {
            self.sheets.remove(&place);
        }
    }

    /// A file ends at byte `size` now.
    pub fn cut_file(&mut self, file: MappingId, size: u64) {
        self.forget(Place::File(file, size / PAGE_SIZE), (size % PAGE_SIZE) as usize);
        let beyond = Place::File(file, size.div_ceil(PAGE_SIZE))..=Place::File(file, u64::MAX);
        let gone: Vec<Place> = self.sheets.range(beyond).map(|(&place, _)| place).collect();
        for place in gone {
            self.sheets.remove(&place);
        }
    }

    /// Truncation took a page out of its file.
    pub fn orphan(&mut self, place: Place, page: Pfn) {
        self.forget(place, 0);
        self.orphans.insert(page);
    }

    /// A page enters a file.
    pub fn adopt(&mut self, page: Pfn) {
        self.orphans.remove(&page);
    }

    /// Whether truncation took the page out of its file.
    pub fn is_orphan(&self, page: Pfn) -> bool {
        self.orphans.contains(&page)
    }

    /// A child gets a copy of the private pages in a range.
    pub fn fork(&mut self, parent: MmId, child: MmId, range: Range<u64>) {
        for place in self.own(parent, range) {
            let Place::Own(_, address) = place else { continue };
            let sheet = self.sheets[&place].clone();
            self.sheets.insert(Place::Own(child, address), sheet);
        }
    }

    /// The private page at one address is at another one now.
    pub fn carry(&mut self, mm: MmId, from: u64, to: u64) {
        if let Some(sheet) = self.sheets.remove(&Place::Own(mm, from)) {
            self.sheets.insert(Place::Own(mm, to), sheet);
        }
    }

    /// A load went wrong.
    pub fn note_wrong(&mut self, wrong: Wrong) {
        if self.wrong.len() < WRONG_MAX && !self.wrong.contains(&wrong) {
            self.wrong.push(wrong);
        }
    }

    /// Loads that went wrong.
    pub fn wrong(&self) -> &[Wrong] {
        &self.wrong
    }

    fn own(&self, mm: MmId, range: Range<u64>) -> Vec<Place> {
        let places = Place::Own(mm, range.start)..Place::Own(mm, range.end);
        self.sheets.range(places).map(|(&place, _)| place).collect()
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

    #[test]
    fn a_child_has_what_its_parent_had_and_a_cut_file_forgets_its_tail() {
        let mut shadow = Shadow::default();
        let (parent, child, file) = (MmId(0), MmId(1), MappingId(3));
        shadow.store(Place::Own(parent, 0x1000), 7, &[1]);
        shadow.fork(parent, child, 0..0x2000);
        shadow.forget_range(parent, 0..0x2000);
        assert_eq!(shadow.sheets().count(), 1);
        shadow.carry(child, 0x1000, 0x9000);
        assert!(shadow.sheet(Place::Own(child, 0x9000)).is_some());
        shadow.store(Place::File(file, 0), 0, &[5; 4]);
        shadow.store(Place::File(file, 1), 0, &[5; 4]);
        shadow.cut_file(file, 2);
        assert_eq!(runs(shadow.sheet(Place::File(file, 0)).unwrap()), [(0, vec![5, 5])]);
        assert_eq!(shadow.sheet(Place::File(file, 1)), None);
    }
}
