//! Entries carried from one place to another as they are (`move_page_tables`, supporting-paths 6).

use serde::{Deserialize, Serialize};

use crate::base::{MmId, PAGE_SIZE, Profile, TableId, VmaId};
use crate::kernel::Kernel;
use crate::state::frame::Owner;
use crate::state::lock::Want;
use crate::state::pagetable::{Entry, LEAF_ENTRIES, leaf_index, leaf_span_end};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// Two leaf tables, and what lies in both of the part that is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Chunk {
    from: TableId,
    to: TableId,
    /// Bytes moved when this chunk is.
    end: u64,
}

/// How far the move has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    /// The next pair of tables; no lock is held.
    Opening,
    /// The entry after `moved` bytes is next; all locks are held.
    Lifting(Chunk),
    /// An entry is in neither table: the instant of S34.
    Carrying(Chunk, Entry),
    Done,
    /// No room for a table.
    Failed,
}

/// One run over a range, under the caller's `mmap_sem`. Whatever an entry is, it goes as it is: a
/// migration entry, too, behind the back of the walk that is to find it (Q21).
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct MoveEntries {
    mm: MmId,
    /// The area at the destination, which is on the same lists as that of the source.
    area: VmaId,
    from: u64,
    to: u64,
    len: u64,
    moved: u64,
    phase: Phase,
}

impl MoveEntries {
    /// Will carry the entries of `len` bytes from `from` to `to`, a part of `area`.
    pub(super) const fn new(mm: MmId, area: VmaId, from: u64, to: u64, len: u64) -> MoveEntries {
        MoveEntries { mm, area, from, to, len, moved: 0, phase: Phase::Opening }
    }

    /// Carries back what has been moved; that needs no table.
    pub(super) const fn back(&self) -> MoveEntries {
        MoveEntries::new(self.mm, self.area, self.to, self.from, self.moved)
    }

    /// Where the entries come from.
    pub(super) const fn source(&self) -> u64 {
        self.from
    }

    /// Where they go to.
    pub(super) const fn target(&self) -> u64 {
        self.to
    }

    /// Whether it ended for want of a table.
    pub(super) fn has_failed(&self) -> bool {
        self.phase == Phase::Failed
    }

    /// The entry that is in neither table, with the address where it will be.
    pub(super) fn carried(&self) -> Option<(MmId, u64, Entry)> {
        match self.phase {
            Phase::Carrying(_, entry) => Some((self.mm, self.to + self.moved, entry)),
            _ => None,
        }
    }

    /// The steps that the next advance makes.
    pub(super) const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Opening | Phase::Lifting(_) => &["SP6-move"],
            Phase::Carrying(..) => &["SP6-carry"],
            Phase::Done | Phase::Failed => &[],
        }
    }

    /// Makes one step: one pair of tables; in fine mode, half an entry.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let mut point = Point::Held;
            match self.phase {
                Phase::Opening => match self.open::<M>(kernel, me) {
                    Ok(phase) => self.phase = phase,
                    Err(lock) => return Progress::Waiting(lock),
                },
                Phase::Lifting(chunk) => {
                    if !self.lift::<M>(kernel, chunk) {
                        self.give_back::<M>(kernel, me, &self.locks(kernel, chunk));
                        self.phase = Phase::Opening;
                        point = Point::Open;
                    }
                }
                Phase::Carrying(chunk, entry) => {
                    kernel.tables.set(chunk.to, leaf_index(self.to + self.moved), entry);
                    self.moved += PAGE_SIZE;
                    self.phase = Phase::Lifting(chunk);
                }
                Phase::Done | Phase::Failed => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done | Phase::Failed) {
                return Progress::Done;
            }
            let may_pause = self.phase == Phase::Opening;
            if point.stops::<M>(me) || (may_pause && kernel.pauses::<M>(LEAF_ENTRIES)) {
                return Progress::Ran;
            }
        }
    }

    /// Finds the next pair of tables and takes the locks for it.
    fn open<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        let root = kernel.mms[self.mm].root;
        while self.moved < self.len {
            let (from, to) = (self.from + self.moved, self.to + self.moved);
            let room = (leaf_span_end(from) - from).min(leaf_span_end(to) - to);
            let end = (self.moved + room).min(self.len);
            let Some(old) = kernel.tables.find_leaf(root, from) else {
                self.moved = end;
                continue;
            };
            let Some(new) = kernel.tables.make_leaf(root, to) else {
                return Ok(Phase::Failed);
            };
            let chunk = Chunk { from: old, to: new, end };
            let locks = self.locks(kernel, chunk);
            for (at, &lock) in locks.iter().enumerate() {
                if !kernel.lock::<M>(me, lock, Want::Exclusive) {
                    self.give_back::<M>(kernel, me, &locks[..at]);
                    return Err(lock);
                }
            }
            return Ok(Phase::Lifting(chunk));
        }
        Ok(Phase::Done)
    }

    /// Takes the next entry of the chunk out of its table; false if there is none.
    fn lift<M: Mode>(&mut self, kernel: &mut Kernel, chunk: Chunk) -> bool {
        while self.moved < chunk.end {
            let at = leaf_index(self.from + self.moved);
            let entry = kernel.tables.get(chunk.from, at);
            if !entry.is_none() {
                kernel.tables.set(chunk.from, at, Entry::NONE);
                if kernel.shadow.is_on() {
                    kernel.shadow.carry(self.mm, self.from + self.moved, self.to + self.moved);
                }
                kernel.cost.flushes += u64::from(entry.is_present());
                if M::STEPS {
                    note_merged(kernel, entry, self.to + self.moved);
                }
                self.phase = Phase::Carrying(chunk, entry);
                return true;
            }
            self.moved += PAGE_SIZE;
        }
        false
    }

    /// The lock of the area's file and both leaf locks. The lists of anonymous memory are left alone
    /// (Q21); profile REPAIRED keeps walks over them out.
    fn locks(&self, kernel: &Kernel, chunk: Chunk) -> Vec<LockId> {
        let area = &kernel.vmas[self.area];
        let mut locks = Vec::new();
        if kernel.profile == Profile::Repaired {
            locks.extend(area.links.iter().map(|&list| LockId::AnonVma(list)));
            locks.sort_unstable();
        }
        locks.extend(area.file.map(LockId::FileMap));
        locks.push(LockId::Leaf(chunk.from));
        if chunk.to != chunk.from {
            locks.push(LockId::Leaf(chunk.to));
        }
        locks
    }

    fn give_back<M: Mode>(&self, kernel: &mut Kernel, me: Me, locks: &[LockId]) {
        for &lock in locks.iter().rev() {
            kernel.unlock::<M>(me, lock);
        }
    }
}

/// An entry that leaves for `address`: a page that was merged through another address space since the
/// source was unmerged is not found there by KSM's walk (I-72).
fn note_merged(kernel: &mut Kernel, entry: Entry, address: u64) {
    let Some(page) = entry.normal_page().filter(|_| entry.is_present()) else { return };
    if let Owner::Ksm(Some(node)) = kernel.frames[page].owner() {
        kernel.ksm.note_stray(node, address);
    }
}
