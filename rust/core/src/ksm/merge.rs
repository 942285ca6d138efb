//! One place made to share a page (`try_to_merge_with_ksm_page`).

use serde::{Deserialize, Serialize};

use crate::base::{AnonVmaId, MmId, Pfn, RmapItemId, TableId, VmaId};
use crate::kernel::Kernel;
use crate::mmap::{clear_mlocked, keep_if_locked_elsewhere, mlock_page};
use crate::state::frame::{Owner, PageFlags};
use crate::state::lock::Want;
use crate::state::lru;
use crate::state::mm::VmFlags;
use crate::state::pagetable::{Entry, leaf_index};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::unmap::mapcount;

/// How far a merge has got.
///
/// ```text
///   phase       holds                       the next advance
///   Entering    nothing                     takes mmap_sem, tries the page lock
///   Protecting  mmap_sem, page lock         write-protects the entry; upgrades
///   Replacing   mmap_sem, page lock         compares, and maps the shared page instead
///   Munlocking  mmap_sem, page lock         clears PG_mlocked of the page, isolates it
///   Searching   the same, page isolated     looks for who else keeps it, puts it back
///   Mlocking    mmap_sem                    sets it on the shared page
/// ```
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Entering,
    Protecting(VmaId),
    Replacing(VmaId, Entry),
    Munlocking(VmaId),
    Searching(VmaId),
    Mlocking(VmaId),
    Done(Option<AnonVmaId>),
}

/// One attempt to make the page at a place the shared one (`into`), or, for want of one, to make it
/// the page that others can be merged into. The caller has references to both pages and a use of
/// the memory.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct Merge {
    mm: MmId,
    address: u64,
    page: Pfn,
    into: Option<Pfn>,
    /// Whether the shared page's node was told that no place leads here yet.
    is_stray: bool,
    phase: Phase,
}

impl Merge {
    /// Will merge `page`, which `item` says where to find, into `into`, or upgrade it.
    pub(super) fn new(kernel: &Kernel, item: RmapItemId, page: Pfn, into: Option<Pfn>) -> Merge {
        let item = kernel.ksm.items[item];
        let (mm, address) = (item.mm, item.address);
        Merge { mm, address, page, into, is_stray: false, phase: Phase::Entering }
    }

    /// The address, if the shared page is mapped there already and its node knows that as an
    /// exception, until the place is entered.
    pub(super) const fn stray(&self) -> Option<u64> {
        if self.is_stray { Some(self.address) } else { None }
    }

    /// The list that leads to the place, if the merge came about. Only once done.
    pub(super) fn result(&self) -> Option<AnonVmaId> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the merge was done"),
        }
    }

    /// The page, while it is isolated, which is a reference more.
    pub(super) const fn isolated(&self) -> Option<Pfn> {
        match self.phase {
            Phase::Searching(_) => Some(self.page),
            _ => None,
        }
    }

    /// The steps that the next advance makes.
    pub(super) const fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Entering => &["SP16-lock"],
            Phase::Protecting(_) => &["SP16-protect"],
            Phase::Replacing(..) => &["SP16-replace"],
            Phase::Munlocking(_) => &["SP16-munlock"],
            Phase::Searching(_) => &["SP15-search"],
            Phase::Mlocking(_) => &["SP16-mlock"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let next = match self.phase {
                Phase::Entering => self.enter::<M>(kernel, me),
                Phase::Protecting(vma) => self.protect::<M>(kernel, me, vma),
                Phase::Replacing(vma, seen) => self.replace::<M>(kernel, me, vma, seen),
                Phase::Munlocking(vma) => {
                    if clear_mlocked(kernel, self.page) {
                        self.phase = Phase::Searching(vma);
                        continue;
                    }
                    Ok(self.munlocked::<M>(kernel, me, vma))
                }
                Phase::Searching(vma) => self.search::<M>(kernel, me, vma),
                Phase::Mlocking(vma) => self.mlock::<M>(kernel, me, vma),
                Phase::Done(_) => return Progress::Done,
            };
            match next {
                Ok(phase) => self.phase = phase,
                Err(lock) => return Progress::Waiting(lock),
            }
            if let Phase::Done(_) = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Area and page must still be fit, and the page lock must be free: nobody waits for it.
    fn enter<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        let sem = LockId::MmapSem(self.mm);
        if !kernel.lock::<M>(me, sem, Want::Shared) {
            return Err(sem);
        }
        let area = mergeable_area(kernel, self.mm, self.address);
        if let Some(vma) = area.filter(|_| self.into == Some(self.page)) {
            return Ok(self.succeed::<M>(kernel, me, vma));
        }
        let area = area.filter(|_| kernel.frames[self.page].is_anon());
        Ok(match area {
            Some(vma) if kernel.try_lock_page::<M>(me, self.page) => Phase::Protecting(vma),
            _ => self.leave::<M>(kernel, me, None),
        })
    }

    /// Takes the write permission away, unless somebody else has a reference to the page. An entry
    /// that is read-only already is not subjected to that test (S35).
    fn protect<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        vma: VmaId,
    ) -> Result<Phase, LockId> {
        let Some((leaf, at)) = self.lock_leaf::<M>(kernel, me)? else {
            return Ok(self.give_up::<M>(kernel, me));
        };
        let mut entry = kernel.tables.get(leaf, at);
        let frame = &kernel.frames[self.page];
        let expected = frame.mapcount() + 1 + u32::from(frame.has(PageFlags::SWAPCACHE));
        let is_here = entry.is_present() && entry.normal_page() == Some(self.page);
        let is_ours = !entry.has(Entry::WRITABLE) || frame.count() == expected;
        if is_here && is_ours {
            if entry.has(Entry::WRITABLE) {
                entry = entry.without(Entry::WRITABLE);
                kernel.tables.set(leaf, at, entry);
                kernel.cost.flushes += 1;
            }
            if self.into.is_none() {
                self.upgrade(kernel);
            }
        }
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        Ok(match self.into {
            _ if !(is_here && is_ours) => self.give_up::<M>(kernel, me),
            Some(_) => Phase::Replacing(vma, entry),
            None => {
                kernel.unlock_page::<M>(me, self.page);
                self.succeed::<M>(kernel, me, vma)
            }
        })
    }

    /// The first of two plain pages is KSM's from now on, though it has no node yet.
    fn upgrade(&self, kernel: &mut Kernel) {
        kernel.frames[self.page].set_owner(Owner::Ksm(None));
        let Kernel { frames, zones, lru, .. } = kernel;
        lru::mark_accessed(frames, zones, lru, self.page);
    }

    /// `replace_page`: if the contents are equal and the entry is as it was left.
    fn replace<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        vma: VmaId,
        seen: Entry,
    ) -> Result<Phase, LockId> {
        let into = self.into.expect("replaced by something");
        let is_equal = kernel.contents.page(self.page) == kernel.contents.page(into);
        let leaf = if is_equal { self.lock_leaf::<M>(kernel, me)? } else { None };
        let Some((leaf, at)) = leaf else {
            return Ok(self.give_up::<M>(kernel, me));
        };
        let is_same = kernel.tables.get(leaf, at) == seen;
        if is_same {
            kernel.frames[into].get();
            mapcount::add_anon(kernel, into, vma, self.address);
            let protection = kernel.vmas[vma].protection;
            let entry = Entry::page(into, protection).without(Entry::WRITABLE);
            kernel.tables.set(leaf, at, entry);
            kernel.cost.flushes += 1;
            mapcount::remove(kernel, self.page);
            kernel.put_page(self.page);
            if let Owner::Ksm(Some(node)) = kernel.frames[into].owner() {
                self.is_stray = kernel.ksm.nodes[node].strays.insert(self.address);
            }
        }
        kernel.unlock::<M>(me, LockId::Leaf(leaf));
        let is_mlocked = kernel.vmas[vma].flags.contains(VmFlags::LOCKED);
        Ok(match is_same {
            true if is_mlocked => Phase::Munlocking(vma),
            true => {
                kernel.unlock_page::<M>(me, self.page);
                self.succeed::<M>(kernel, me, vma)
            }
            false => self.give_up::<M>(kernel, me),
        })
    }

    fn search<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        vma: VmaId,
    ) -> Result<Phase, LockId> {
        keep_if_locked_elsewhere::<M>(kernel, me, self.page, None)?;
        Ok(self.munlocked::<M>(kernel, me, vma))
    }

    /// In a VM_LOCKED area the shared page must stay, and the other need not any more. The one page
    /// lock is dropped before the other is taken (data-model 11).
    fn munlocked<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, vma: VmaId) -> Phase {
        kernel.unlock_page::<M>(me, self.page);
        let into = self.into.expect("merged into something");
        if kernel.frames[into].has(PageFlags::MLOCKED) {
            self.succeed::<M>(kernel, me, vma)
        } else {
            Phase::Mlocking(vma)
        }
    }

    fn mlock<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, vma: VmaId) -> Result<Phase, LockId> {
        let into = self.into.expect("merged into something");
        if !kernel.lock_page::<M>(me, into) {
            return Err(LockId::Page(into));
        }
        mlock_page(kernel, me, into);
        kernel.unlock_page::<M>(me, into);
        Ok(self.succeed::<M>(kernel, me, vma))
    }

    /// The leaf table of the address, locked, and the slot in it.
    fn lock_leaf<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
    ) -> Result<Option<(TableId, usize)>, LockId> {
        let root = kernel.mms[self.mm].root;
        let Some(leaf) = kernel.tables.find_leaf(root, self.address) else { return Ok(None) };
        if !kernel.lock::<M>(me, LockId::Leaf(leaf), Want::Exclusive) {
            return Err(LockId::Leaf(leaf));
        }
        Ok(Some((leaf, leaf_index(self.address))))
    }

    fn give_up<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> Phase {
        kernel.unlock_page::<M>(me, self.page);
        self.leave::<M>(kernel, me, None)
    }

    fn succeed<M: Mode>(&self, kernel: &mut Kernel, me: Me, vma: VmaId) -> Phase {
        let list = kernel.vmas[vma].anon_vma;
        self.leave::<M>(kernel, me, list)
    }

    fn leave<M: Mode>(&self, kernel: &mut Kernel, me: Me, list: Option<AnonVmaId>) -> Phase {
        kernel.unlock::<M>(me, LockId::MmapSem(self.mm));
        Phase::Done(list)
    }
}

/// The area of an address whose pages may be merged.
pub(super) fn mergeable_area(kernel: &Kernel, mm: MmId, address: u64) -> Option<VmaId> {
    let vma = kernel.mms[mm].area_at(&kernel.vmas, address)?;
    let area = &kernel.vmas[vma];
    (area.flags.contains(VmFlags::MERGEABLE) && area.anon_vma.is_some()).then_some(vma)
}
