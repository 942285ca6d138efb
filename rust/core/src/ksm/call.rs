//! One pass of `ksmd` over everything that may be merged.

use std::collections::BTreeMap;

use super::merge::{Merge, mergeable_area};
use super::scan::{Finger, Found, Hand, forget, page_at, take_off_tree};
use super::stable;
use crate::base::{AnonVmaId, MmId, Pfn, RmapItemId, StableNodeId, VmaId};
use crate::fault::BreakKsm;
use crate::kernel::Kernel;
use crate::mmap::MmRelease;
use crate::state::frame::Owner;
use crate::state::ksm::RmapItem;
use crate::state::lock::Want;
use crate::state::mm::Mm;
use crate::state::pagetable::leaf_index;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// How far the pass has got. `ksm_thread_mutex` is held from `Moving` on.
///
/// ```text
///   phase       the next advance
///   Starting    takes the mutex; then forgets places in address spaces that are gone
///   Moving      on to the next address space
///   Finding     the next page of it
///   Searching   among the pages merged before, then among those seen in this pass
///   Joining     one merged before: the page is merged into it
///   Appending   and the place is entered there, under its page lock
///   Fetching    one seen in this pass: its page is looked up again
///   Upgrading   two plain pages: the first becomes one of KSM's
///   Merging     the second is merged into it
///   Inserting   which then enters the stable tree
///   Breaking    something failed: places get pages of their own again
///   Parting     done with the page, and with the other one's address space
///   Leaving     done with the address space
/// ```
#[derive(Clone, Debug)]
enum Phase {
    Starting,
    Moving,
    Finding,
    Searching,
    Joining(StableNodeId, Merge),
    Appending(StableNodeId, AnonVmaId, Option<u64>),
    Fetching(RmapItemId),
    Upgrading(Merge),
    Merging(AnonVmaId, Merge),
    Inserting(AnonVmaId, AnonVmaId),
    Breaking(Vec<RmapItemId>, Option<BreakKsm>),
    Parting(Option<MmRelease>),
    Leaving(MmRelease),
    Done,
}

/// A full pass, in the order of address spaces and addresses.
#[derive(Clone, Debug)]
pub struct KsmScan {
    /// Places of pages seen in this pass and found alone, by a hash of their contents: the
    /// unstable tree.
    unstable: BTreeMap<u64, Vec<RmapItemId>>,
    /// The hash under which the page under way was looked for.
    key: u64,
    /// The address space after this one is next.
    next_mm: u32,
    finger: Option<Finger>,
    /// The page under way.
    current: Option<Hand>,
    /// The page that it may be merged with, or into. A use of `partner` goes with it.
    other: Option<Hand>,
    shared: Option<Pfn>,
    partner: Option<MmId>,
    /// What the first page belonged to before it was upgraded.
    family: Owner,
    merged: u32,
    phase: Phase,
}

impl KsmScan {
    /// Will go over all address spaces. The machine must have contents.
    pub const fn new() -> KsmScan {
        KsmScan {
            unstable: BTreeMap::new(),
            key: 0,
            next_mm: 0,
            finger: None,
            current: None,
            other: None,
            shared: None,
            partner: None,
            family: Owner::None,
            merged: 0,
            phase: Phase::Starting,
        }
    }

    /// How many places got another page than they had.
    pub const fn merged(&self) -> u32 {
        self.merged
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting | Phase::Moving => &["SP16-scan"],
            Phase::Finding => &["SP16-follow"],
            Phase::Searching => &["SP16-search"],
            Phase::Fetching(_) => &["SP16-fetch"],
            Phase::Joining(_, merge) | Phase::Upgrading(merge) | Phase::Merging(_, merge) => {
                merge.labels()
            }
            Phase::Appending(..) => &["SP16-append"],
            Phase::Inserting(..) => &["SP16-insert"],
            Phase::Breaking(_, Some(breaking)) => breaking.labels(),
            Phase::Breaking(_, None) => &["SP16-break"],
            Phase::Parting(None) => &["SP16-leave"],
            Phase::Parting(Some(release)) | Phase::Leaving(release) => release.labels(),
            Phase::Done => &[],
        }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        let hands = [self.current, self.other].into_iter().flatten().map(|hand| hand.page);
        let mut pages: Vec<Pfn> = hands.chain(self.shared).collect();
        match &self.phase {
            Phase::Breaking(_, Some(breaking)) => {
                pages.extend(breaking.held_pages().into_iter().flatten());
            }
            Phase::Parting(Some(release)) | Phase::Leaving(release) => {
                pages.extend(release.held_pages());
            }
            _ => {}
        }
        pages
    }

    /// Address spaces that it has a use of each.
    pub fn mms_in_use(&self) -> impl Iterator<Item = MmId> {
        let releasing = match &self.phase {
            Phase::Parting(Some(release)) | Phase::Leaving(release) => release.mm_in_use(),
            _ => None,
        };
        let scanned = self.finger.map(|finger| finger.mm);
        [scanned, self.partner, releasing].into_iter().flatten()
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            if let Phase::Done = self.phase {
                return Progress::Done;
            }
            match self.step::<M>(kernel, me) {
                Ok(true) => {}
                Ok(false) => return Progress::Ran,
                Err(lock) => return Progress::Waiting(lock),
            }
            if let Phase::Done = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// One step of the phase; false: an operation within it has stopped.
    fn step<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<bool, LockId> {
        let merge = match &mut self.phase {
            Phase::Joining(_, merge) | Phase::Upgrading(merge) | Phase::Merging(_, merge) => {
                match merge.advance::<M>(kernel, me) {
                    Progress::Done => merge.result(),
                    Progress::Ran => return Ok(false),
                    Progress::Waiting(lock) => return Err(lock),
                }
            }
            _ => None,
        };
        self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Starting => {
                if !kernel.lock::<M>(me, LockId::KsmThread, Want::Exclusive) {
                    self.phase = Phase::Starting;
                    return Err(LockId::KsmThread);
                }
                kernel.ksm.pages_unshared = 0;
                Phase::Moving
            }
            Phase::Moving => {
                self.move_on::<M>(kernel, me).inspect_err(|_| self.phase = Phase::Moving)?
            }
            Phase::Finding => {
                self.find::<M>(kernel, me).inspect_err(|_| self.phase = Phase::Finding)?
            }
            Phase::Searching => {
                self.search::<M>(kernel, me).inspect_err(|_| self.phase = Phase::Searching)?
            }
            Phase::Fetching(other) => self
                .fetch::<M>(kernel, me, other)
                .inspect_err(|_| self.phase = Phase::Fetching(other))?,
            Phase::Joining(node, done) => match merge {
                Some(list) => Phase::Appending(node, list, done.stray()),
                None => Phase::Parting(None),
            },
            Phase::Appending(node, list, stray) => {
                let shared = self.shared.expect("merged into something");
                if !kernel.lock_page::<M>(me, shared) {
                    self.phase = Phase::Appending(node, list, stray);
                    return Err(LockId::Page(shared));
                }
                if let Some(address) = stray {
                    kernel.ksm.nodes[node].strays.remove(&address);
                }
                self.append(kernel, node, list, shared);
                kernel.unlock_page::<M>(me, shared);
                Phase::Parting(None)
            }
            Phase::Upgrading(_) => self.upgraded(kernel, merge),
            Phase::Merging(first, _) => match merge {
                Some(second) => Phase::Inserting(first, second),
                None => Phase::Breaking(vec![self.hand().item], None),
            },
            Phase::Inserting(first, second) => {
                let page = self.hand().page;
                if !kernel.lock_page::<M>(me, page) {
                    self.phase = Phase::Inserting(first, second);
                    return Err(LockId::Page(page));
                }
                let phase = self.insert(kernel, first, second);
                kernel.unlock_page::<M>(me, page);
                phase
            }
            Phase::Breaking(items, breaking) => {
                return self.break_again::<M>(kernel, me, items, breaking);
            }
            Phase::Parting(None) => self.part(kernel),
            Phase::Parting(Some(release)) => {
                return self.release::<M>(kernel, me, release, Phase::Parting);
            }
            Phase::Leaving(release) => {
                return self.release::<M>(kernel, me, release, |release| {
                    release.map_or(Phase::Moving, Phase::Leaving)
                });
            }
            Phase::Done => Phase::Done,
        };
        Ok(true)
    }

    /// The next address space that somebody still uses. The first time, places in those that are
    /// gone, or being torn down, are forgotten; of later ones the next pass will know.
    fn move_on<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        if self.next_mm == 0 {
            let dying = kernel.mms.iter().filter(|(_, mm)| mm.users == 0).map(|(id, _)| id);
            let mut places = kernel.ksm.gone();
            for mm in dying {
                places.extend(kernel.ksm.places_in(mm, 0, u64::MAX));
            }
            places.into_iter().try_for_each(|item| forget::<M>(kernel, me, item))?;
        }
        let is_next = |(id, mm): &(MmId, &Mm)| mm.users > 0 && id.0 >= self.next_mm;
        let next = kernel.mms.iter().find(is_next).map(|(id, _)| id);
        match next {
            Some(mm) => {
                kernel.get_mm(mm);
                self.next_mm = mm.0 + 1;
                self.finger = Some(Finger::new(mm));
                Ok(Phase::Finding)
            }
            None => {
                kernel.unlock::<M>(me, LockId::KsmThread);
                Ok(Phase::Done)
            }
        }
    }

    fn find<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        let finger = self.finger.as_mut().expect("an address space is being scanned");
        Ok(match finger.find::<M>(kernel, me)? {
            Found::Page(hand) => {
                self.current = Some(hand);
                Phase::Searching
            }
            Found::Nothing => Phase::Finding,
            Found::End => {
                let mm = finger.mm;
                self.finger = None;
                Phase::Leaving(MmRelease::new(mm))
            }
        })
    }

    fn hand(&self) -> Hand {
        self.current.expect("a page is under way")
    }

    /// The page among those merged before, then among those seen in this pass.
    fn search<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        let Hand { item, page } = self.hand();
        let node = kernel.ksm.items[item].node;
        if node.is_some() && kernel.frames[page].owner() == Owner::Ksm(node) {
            return Ok(Phase::Parting(None));
        }
        take_off_tree::<M>(kernel, me, item)?;
        if let Some((node, shared)) = stable::search(kernel, page) {
            self.shared = Some(shared);
            return Ok(Phase::Joining(node, Merge::new(kernel, item, page, Some(shared))));
        }
        self.key = hash(kernel.contents.page(page));
        let alike = self.unstable.get(&self.key);
        let other = alike.and_then(|items| items.first().copied());
        // What was seen in an address space that is on its way out is not to be had any more.
        let lives = |item: &RmapItemId| {
            let mm = kernel.mms.find(kernel.ksm.items[*item].mm);
            mm.is_some_and(|mm| mm.users > 0)
        };
        Ok(match other.filter(lives) {
            Some(other) => {
                let mm = kernel.ksm.items[other].mm;
                kernel.get_mm(mm);
                self.partner = Some(mm);
                Phase::Fetching(other)
            }
            None => self.keep_apart(kernel, other),
        })
    }

    /// The page is alone: it is remembered, in the place of `other`, which is not what it was.
    fn keep_apart(&mut self, kernel: &mut Kernel, other: Option<RmapItemId>) -> Phase {
        if let Some(other) = other {
            self.forget_alone(kernel, other);
        }
        let Hand { item, page } = self.hand();
        self.unstable.entry(hash(kernel.contents.page(page))).or_default().push(item);
        kernel.ksm.pages_unshared += 1;
        Phase::Parting(None)
    }

    /// A page that was found alone is so no more.
    fn forget_alone(&mut self, kernel: &mut Kernel, other: RmapItemId) {
        let alike = self.unstable.get_mut(&self.key).expect("found there");
        alike.retain(|&seen| seen != other);
        kernel.ksm.pages_unshared -= 1;
    }

    /// The page of the other place, if its contents are still the same.
    fn fetch<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        other: RmapItemId,
    ) -> Result<Phase, LockId> {
        let Hand { item, page } = self.hand();
        let place = kernel.ksm.items[other];
        let Some(found) = page_at::<M>(kernel, me, place.mm, place.address)? else {
            return Ok(self.keep_apart(kernel, Some(other)));
        };
        self.other = Some(Hand { item: other, page: found });
        if found == page {
            // A page that fork shares is not merged with itself.
            return Ok(Phase::Parting(None));
        }
        if kernel.contents.page(found) != kernel.contents.page(page) {
            return Ok(self.keep_apart(kernel, Some(other)));
        }
        self.family = kernel.frames[page].owner();
        Ok(Phase::Upgrading(Merge::new(kernel, item, page, None)))
    }

    /// The place is the newest of the node, which has not gone stale: there is a reference.
    fn append(&mut self, kernel: &mut Kernel, node: StableNodeId, list: AnonVmaId, shared: Pfn) {
        let Hand { item, page } = self.hand();
        kernel.ksm.append(item, node, list);
        self.merged += u32::from(shared != page);
    }

    fn upgraded(&self, kernel: &Kernel, merge: Option<AnonVmaId>) -> Phase {
        let other = self.other.expect("two pages");
        match merge {
            Some(list) => {
                let into = Some(self.hand().page);
                Phase::Merging(list, Merge::new(kernel, other.item, other.page, into))
            }
            None => Phase::Parting(None),
        }
    }

    /// The new page of KSM gets its node, and both places an item. Its like may have come first.
    fn insert(&mut self, kernel: &mut Kernel, first: AnonVmaId, second: AnonVmaId) -> Phase {
        let (current, other) = (self.hand(), self.other.expect("two pages"));
        self.forget_alone(kernel, other.item);
        let Some(node) = stable::insert(kernel, current.page) else {
            return Phase::Breaking(vec![current.item, other.item], None);
        };
        kernel.ksm.append(other.item, node, second);
        kernel.ksm.append(current.item, node, first);
        let place = kernel.ksm.items[current.item];
        let strays = strays(kernel, current.page, self.family, place);
        kernel.ksm.nodes[node].strays.extend(strays);
        self.merged += 1;
        Phase::Parting(None)
    }

    /// The last of `items` gets a page of its own again, under its `mmap_sem`.
    fn break_again<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        mut items: Vec<RmapItemId>,
        breaking: Option<BreakKsm>,
    ) -> Result<bool, LockId> {
        let Some(&item) = items.last() else {
            self.phase = Phase::Parting(None);
            return Ok(true);
        };
        let place = kernel.ksm.items[item];
        let sem = LockId::MmapSem(place.mm);
        if !kernel.lock::<M>(me, sem, Want::Shared) {
            self.phase = Phase::Breaking(items, breaking);
            return Err(sem);
        }
        let breaking = breaking.or_else(|| {
            let area = mergeable_area(kernel, place.mm, place.address);
            area.map(|_| BreakKsm::new(place.mm, place.address))
        });
        if let Some(mut breaking) = breaking {
            // Who owns the memory pays for the copy.
            let task = kernel.tasks.iter().find(|(_, task)| task.mm == Some(place.mm));
            let me = Me { task: task.map_or(me.task, |(pid, _)| pid), ..me };
            let progress = breaking.advance::<M>(kernel, me);
            if progress != Progress::Done {
                self.phase = Phase::Breaking(items, Some(breaking));
                return if let Progress::Waiting(lock) = progress { Err(lock) } else { Ok(false) };
            }
        }
        kernel.unlock::<M>(me, sem);
        items.pop();
        self.phase = Phase::Breaking(items, None);
        Ok(true)
    }

    /// Done with the page: references go, and the use of the other address space.
    fn part(&mut self, kernel: &mut Kernel) -> Phase {
        let hands = [self.current.take(), self.other.take()].into_iter().flatten();
        for page in hands.map(|hand| hand.page).chain(self.shared.take()) {
            kernel.put_page(page);
        }
        match self.partner.take() {
            Some(mm) => Phase::Parting(Some(MmRelease::new(mm))),
            None => Phase::Finding,
        }
    }

    fn release<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        mut release: MmRelease,
        phase: fn(Option<MmRelease>) -> Phase,
    ) -> Result<bool, LockId> {
        let progress = release.advance::<M>(kernel, me);
        let is_done = progress == Progress::Done;
        self.phase = phase((!is_done).then_some(release));
        match progress {
            Progress::Done => Ok(true),
            Progress::Ran => Ok(false),
            Progress::Waiting(lock) => Err(lock),
        }
    }
}

impl Default for KsmScan {
    fn default() -> Self {
        KsmScan::new()
    }
}

/// Addresses at which areas map the page where the item that it was upgraded through does not lead
/// (I-72): areas that are not on its list, or moved by `mremap` since they were forked.
fn strays(kernel: &Kernel, page: Pfn, family: Owner, item: RmapItem) -> Vec<u64> {
    let Owner::Anon(list) = family else {
        // It was without node before: nobody knows any more whose it was.
        let roots = kernel.mms.iter().map(|(_, mm)| mm.root);
        let entries = roots.flat_map(|root| kernel.tables.entries(root));
        let maps = |entry: &crate::state::pagetable::Entry| entry.normal_page() == Some(page);
        let here = entries.filter(|(_, _, entry)| entry.is_present() && maps(entry));
        return here.map(|(address, _, _)| address).collect();
    };
    let index = kernel.frames[page].index();
    let led = item.anon_vma.map_or(&[] as &[VmaId], |own| kernel.anon_vmas.areas(own));
    let places = kernel.anon_vmas.areas(list).iter().filter_map(|vma| {
        let area = &kernel.vmas[*vma];
        let is_found = |at: &u64| *at == item.address && led.contains(vma);
        let address = area.address_of(index).filter(|at| !is_found(at))?;
        let leaf = kernel.tables.find_leaf(kernel.mms[area.mm].root, address)?;
        let entry = kernel.tables.get(leaf, leaf_index(address));
        (entry.is_present() && entry.normal_page() == Some(page)).then_some(address)
    });
    places.collect()
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
