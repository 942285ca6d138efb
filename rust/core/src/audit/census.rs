//! Counting from scratch what the machine keeps counts of.

use std::collections::BTreeMap;

use super::Holdings;
use crate::base::{CpuId, Lookout, MmId, Pfn, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::pagetable::Entry;

/// What was found for one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Ordinary entries that map it.
    pub entries: u32,
    /// Migration entries that name it.
    pub migration_entries: u32,
    /// Pagevec entries that hold it.
    pub pagevecs: u32,
    /// Slots of files and of the swap cache that hold it.
    pub slots: u32,
    /// 1 if it has private data (PG_private).
    pub private: u32,
    /// Whether it is on a private list, a call's or by hand.
    pub isolated: u32,
    /// References of calls in flight, of pins, and those that were forgotten.
    pub held: u32,
}

impl Row {
    /// The references that there should be (I-10).
    pub const fn references(&self) -> u32 {
        self.entries + self.slots + self.private + self.pagevecs + self.isolated + self.held
    }
}

/// One entry of one address space.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    /// Whose.
    pub mm: MmId,
    /// Where.
    pub address: u64,
    /// What.
    pub entry: Entry,
    /// The area around it, mapped or on its way out.
    pub vma: Option<VmaId>,
}

/// Frames whose rows are kept together.
const BLOCK: usize = 1 << 10;

/// Something for each frame, with room for those that have it and their neighbours.
#[derive(Debug)]
pub(super) struct PerFrame<T> {
    blocks: Vec<Vec<T>>,
}

impl<T> Default for PerFrame<T> {
    fn default() -> Self {
        PerFrame { blocks: Vec::new() }
    }
}

impl<T: Copy + Default + PartialEq> PerFrame<T> {
    /// What a frame has.
    pub(super) fn of(&self, page: Pfn) -> T {
        let block = self.blocks.get(page.index() / BLOCK);
        block.and_then(|block| block.get(page.index() % BLOCK)).copied().unwrap_or_default()
    }

    /// The same, to be changed.
    pub(super) fn at(&mut self, page: Pfn) -> &mut T {
        let number = page.index() / BLOCK;
        if self.blocks.len() <= number {
            self.blocks.resize_with(number + 1, Vec::new);
        }
        let block = &mut self.blocks[number];
        if block.is_empty() {
            block.resize(BLOCK, T::default());
        }
        &mut block[page.index() % BLOCK]
    }

    /// Frames that have something, ascending.
    fn iter(&self) -> impl Iterator<Item = (Pfn, &T)> {
        self.blocks.iter().enumerate().flat_map(|(number, block)| {
            let row = move |(at, row)| (Pfn::from(number * BLOCK + at), row);
            block.iter().enumerate().map(row).filter(|(_, row)| **row != T::default())
        })
    }
}

/// Everything counted.
#[derive(Debug, Default)]
pub struct Census {
    rows: PerFrame<Row>,
    /// All entries that are not empty.
    pub leaves: Vec<Leaf>,
}

impl Census {
    /// Walks all page tables, trees, pagevecs and holdings, unless that is over early.
    pub fn take(kernel: &Kernel, holdings: &Holdings, lookout: &Lookout<'_>) -> Census {
        let mut census = Census::default();
        census.count_entries(kernel, holdings, lookout);
        census.count_cache(kernel, lookout);
        for &page in holdings.isolated.iter().chain(&kernel.isolated_by_hand) {
            census.row(page).isolated += 1;
        }
        for &page in &holdings.references {
            census.row(page).held += 1;
        }
        for (&page, &pins) in &kernel.pins {
            census.row(page).held += pins;
        }
        for (page, references) in kernel.ledger.leaked_references() {
            census.row(page).held += references;
        }
        census
    }

    fn count_entries(&mut self, kernel: &Kernel, holdings: &Holdings, lookout: &Lookout<'_>) {
        let census = self;
        let mut areas: BTreeMap<(MmId, u64), VmaId> = BTreeMap::new();
        for (id, vma) in lookout.watch(kernel.vmas.iter()) {
            areas.insert((vma.mm, vma.start), id);
        }
        for (mm, space) in kernel.mms.iter() {
            let entries = kernel.tables.entries(space.root).map(|(at, _, entry)| (at, entry));
            // An entry between two tables counts as where it will be.
            let carried = holdings.carried.iter().filter(|(of, ..)| *of == mm);
            let carried = carried.map(|&(_, at, entry)| (at, entry));
            for (address, entry) in lookout.watch(entries.chain(carried)) {
                let below = areas.range(..=(mm, address)).next_back().map(|(_, &id)| id);
                let holds =
                    |id: &VmaId| kernel.vmas[*id].mm == mm && kernel.vmas[*id].contains(address);
                census.leaves.push(Leaf { mm, address, entry, vma: below.filter(holds) });
                if let Some((page, _)) = entry.as_migration() {
                    census.row(page).migration_entries += 1;
                } else if let Some(page) = entry.normal_page().filter(|_| entry.is_present()) {
                    census.row(page).entries += 1;
                }
            }
        }
    }

    fn count_cache(&mut self, kernel: &Kernel, lookout: &Lookout<'_>) {
        for (_, space) in kernel.mappings.iter() {
            for (_, page) in lookout.watch(space.tree.iter()) {
                self.row(page).slots += 1;
            }
        }
        let has_data = |page: &Pfn| kernel.frames[*page].has(PageFlags::PRIVATE);
        for page in lookout.watch(touched(kernel)).filter(has_data) {
            self.row(page).private = 1;
        }
        for cpu in 0..kernel.zones.cpus() {
            for index in 0..6 {
                for &page in kernel.lru.pagevec(CpuId::from(cpu), index).pages() {
                    self.row(page).pagevecs += 1;
                }
            }
        }
    }

    fn row(&mut self, page: Pfn) -> &mut Row {
        self.rows.at(page)
    }

    /// What was found for a frame; nothing, mostly.
    pub fn of(&self, page: Pfn) -> Row {
        self.rows.of(page)
    }

    /// Frames that something was found for.
    pub fn rows(&self) -> impl Iterator<Item = (Pfn, &Row)> {
        self.rows.iter()
    }
}

/// The frames of a machine that were ever taken, ascending.
pub(super) fn touched(kernel: &Kernel) -> impl Iterator<Item = Pfn> {
    kernel.zones.touched_spans().flatten().map(Pfn::from)
}
