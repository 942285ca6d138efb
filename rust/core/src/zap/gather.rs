//! A gather of unmapped pages, whose references are dropped in batches.

use std::ops::Range;

use crate::base::{CpuId, MmId, PAGE_SIZE, Pfn, Profile, TableId};
use crate::kernel::Kernel;
use crate::state::pagetable::{Entry, leaf_index};
use crate::unmap::mapcount;

/// Pages that a batch holds.
const BATCH_PAGES: usize = 506;
/// Work between two forced flushes: 1024 entries, empty ones counting 1/4096.
const WORK: i64 = 1024 * 4096;

/// Pages unmapped but not yet released (supporting-paths 6, points 3 to 5).
#[derive(Clone, Debug)]
pub struct Gather {
    pages: Vec<Pfn>,
    needs_flush: bool,
    work: i64,
}

impl Gather {
    /// Nothing gathered yet.
    pub const fn new() -> Gather {
        Gather { pages: Vec::new(), needs_flush: false, work: WORK }
    }

    /// Pages whose references wait to be dropped.
    pub fn pages(&self) -> &[Pfn] {
        &self.pages
    }

    /// A page table was freed.
    pub fn note_freed_table(&mut self) {
        self.needs_flush = true;
    }

    /// Clears the entries of `range`, which lies within leaf table `leaf`.
    pub fn zap(
        &mut self,
        kernel: &mut Kernel,
        cpu: CpuId,
        mm: MmId,
        leaf: TableId,
        range: Range<u64>,
    ) {
        for address in range.step_by(PAGE_SIZE as usize) {
            let entry = kernel.tables.get(leaf, leaf_index(address));
            if entry.is_none() {
                self.work -= 1;
            } else {
                self.work -= 4096;
                kernel.cost.zaps += 1;
                kernel.tables.set(leaf, leaf_index(address), Entry::NONE);
                self.clear(kernel, cpu, mm, entry);
            }
            self.flush_if_worked(kernel, cpu);
        }
    }

    /// A range without a table was passed over.
    pub fn pass_over(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        self.work -= 1;
        self.flush_if_worked(kernel, cpu);
    }

    fn flush_if_worked(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        if self.work <= 0 {
            self.flush(kernel, cpu);
            self.work = WORK;
        }
    }

    /// What follows from one entry that is gone. A migration entry changes no counter (Q16).
    fn clear(&mut self, kernel: &mut Kernel, cpu: CpuId, mm: MmId, entry: Entry) {
        if !entry.is_present() {
            if entry.as_migration().is_some() {
                match kernel.profile {
                    Profile::Exact => kernel.mms[mm].anon_drift += 1,
                    Profile::Repaired => kernel.mms[mm].resident.anon -= 1,
                }
            }
            return;
        }
        self.needs_flush = true;
        let Some(page) = entry.normal_page() else {
            return;
        };
        kernel.mms[mm].resident.anon -= 1;
        mapcount::remove(kernel, page);
        if kernel.zones.cpus() == 1 {
            kernel.put_page(page);
            return;
        }
        self.pages.push(page);
        if self.pages.len() == BATCH_PAGES {
            self.flush(kernel, cpu);
        }
    }

    /// Drains the CPU and drops the references, if anything was unmapped since the last time. With
    /// one CPU there are no batches and no draining.
    pub fn flush(&mut self, kernel: &mut Kernel, cpu: CpuId) {
        if std::mem::take(&mut self.needs_flush) && kernel.zones.cpus() > 1 {
            kernel.cost.flushes += 1;
            kernel.drain(cpu);
            for page in std::mem::take(&mut self.pages) {
                kernel.put_page(page);
            }
        }
    }
}
