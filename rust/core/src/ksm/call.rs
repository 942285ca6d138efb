//! One pass of `ksmd` over everything that may be merged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::breaks::Breaks;
use super::merge::Merge;
use super::scan::{Finger, Found, Hand, forget, page_at, take_off_tree};
use super::stable;
use crate::base::{AnonVmaId, MmId, Pfn, RmapItemId, StableNodeId};
use crate::kernel::Kernel;
use crate::mmap::MmRelease;
use crate::state::frame::Owner;
use crate::state::lock::{AtPause, Want};
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
/// Looking at one page, and comparing it with others, is as long as the work on so many elsewhere.
const PAGE_WORK: usize = 8;

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
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
    Breaking(Breaks),
    Parting(Option<MmRelease>),
    Leaving(MmRelease),
    Done,
}

/// A full pass, over address spaces in the order of their making, and over addresses ascending.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct KsmScan {
    /// Places of pages seen in this pass and found alone, by a hash of their contents: the
    /// unstable tree.
    unstable: BTreeMap<u64, Vec<RmapItemId>>,
    /// The hash under which the page under way was looked for.
    key: u64,
    /// The address space that was scanned last, by age and number.
    last: Option<(u32, MmId)>,
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
            last: None,
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
            Phase::Breaking(breaks) => breaks.labels(),
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
            Phase::Joining(_, merge) | Phase::Upgrading(merge) | Phase::Merging(_, merge) => {
                pages.extend(merge.isolated());
            }
            Phase::Breaking(breaks) => pages.extend(breaks.held_pages().into_iter().flatten()),
            Phase::Parting(Some(release)) | Phase::Leaving(release) => {
                pages.extend(release.held_pages());
            }
            _ => {}
        }
        pages
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        let mut locks = vec![(LockId::KsmThread, Want::Exclusive)];
        if let Phase::Parting(Some(release)) | Phase::Leaving(release) = &self.phase {
            locks.extend(release.locks_at_pause());
        }
        locks
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
            let progress = match &self.phase {
                Phase::Joining(..) | Phase::Upgrading(_) | Phase::Merging(..) => {
                    self.merge::<M>(kernel, me)
                }
                Phase::Breaking(_) | Phase::Parting(Some(_)) | Phase::Leaving(_) => {
                    self.nested::<M>(kernel, me)
                }
                _ => match self.step::<M>(kernel, me) {
                    Ok(phase) => {
                        // Done with a page, or a place in between: nobody else's locks are held.
                        let is_between = matches!(self.phase, Phase::Parting(_));
                        self.phase = phase;
                        if is_between && kernel.pauses::<M>(PAGE_WORK) {
                            return Progress::Ran;
                        }
                        Progress::Done
                    }
                    Err(lock) => Progress::Waiting(lock),
                },
            };
            if progress != Progress::Done {
                return progress;
            }
            if let Phase::Done = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// One step that is the pass's own; what comes after it, or what it waits for.
    fn step<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        match self.phase {
            Phase::Starting if !kernel.lock::<M>(me, LockId::KsmThread, Want::Exclusive) => {
                Err(LockId::KsmThread)
            }
            Phase::Starting => {
                kernel.ksm.pages_unshared = 0;
                Ok(Phase::Moving)
            }
            Phase::Moving => self.move_on::<M>(kernel, me),
            Phase::Finding => self.find::<M>(kernel, me),
            Phase::Searching => self.search::<M>(kernel, me),
            Phase::Fetching(other) => self.fetch::<M>(kernel, me, other),
            Phase::Appending(node, list, stray) => {
                self.append::<M>(kernel, me, (node, list), stray)
            }
            Phase::Inserting(first, second) => self.insert::<M>(kernel, me, first, second),
            _ => Ok(self.part(kernel)),
        }
    }

    /// One step of a merge under way.
    fn merge<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let (Phase::Joining(_, merge) | Phase::Upgrading(merge) | Phase::Merging(_, merge)) =
            &mut self.phase
        else {
            unreachable!("called while a merge is under way")
        };
        let progress = merge.advance::<M>(kernel, me);
        if progress != Progress::Done {
            return progress;
        }
        let (list, stray) = (merge.result(), merge.stray());
        self.phase = match (&self.phase, list) {
            (Phase::Joining(node, _), Some(list)) => Phase::Appending(*node, list, stray),
            (Phase::Upgrading(_), Some(list)) => {
                let (into, other) = (self.hand().page, self.other.expect("two pages"));
                Phase::Merging(list, Merge::new(kernel, other.item, other.page, Some(into)))
            }
            (Phase::Merging(first, _), Some(second)) => Phase::Inserting(*first, second),
            (Phase::Merging(..), None) => Phase::Breaking(Breaks::new(vec![self.hand().item])),
            _ => Phase::Parting(None),
        };
        Progress::Done
    }

    /// One step of an operation that ends with the page, or with an address space.
    fn nested<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        let (progress, next) = match &mut self.phase {
            Phase::Breaking(breaks) => (breaks.advance::<M>(kernel, me), Phase::Parting(None)),
            Phase::Parting(Some(release)) => (release.advance::<M>(kernel, me), Phase::Finding),
            Phase::Leaving(release) => (release.advance::<M>(kernel, me), Phase::Moving),
            _ => unreachable!("called while an operation is under way"),
        };
        if progress == Progress::Done {
            self.phase = next;
        }
        progress
    }

    /// The next address space that somebody still uses. The first time, places in those that are
    /// gone, or being torn down, are forgotten; of later ones the next pass will know.
    fn move_on<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Result<Phase, LockId> {
        if self.last.is_none() {
            let dying = kernel.mms.iter().filter(|(_, mm)| mm.users == 0).map(|(id, _)| id);
            let mut places = kernel.ksm.gone();
            for mm in dying {
                places.extend(kernel.ksm.places_in(mm, 0, u64::MAX));
            }
            places.into_iter().try_for_each(|item| forget::<M>(kernel, me, item))?;
        }
        // Numbers are used again, so the older one may have the higher one.
        let used = kernel.mms.iter().filter(|(_, mm)| mm.users > 0);
        let next = used.map(|(id, mm)| Some((mm.born, id))).filter(|key| *key > self.last).min();
        match next.flatten() {
            Some((born, mm)) => {
                kernel.get_mm(mm);
                self.last = Some((born, mm));
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
    fn append<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        (node, list): (StableNodeId, AnonVmaId),
        stray: Option<u64>,
    ) -> Result<Phase, LockId> {
        let Hand { item, page } = self.hand();
        let shared = self.shared.expect("merged into something");
        if !kernel.lock_page::<M>(me, shared) {
            return Err(LockId::Page(shared));
        }
        if let Some(address) = stray {
            kernel.ksm.nodes[node].strays.remove(&address);
        }
        kernel.ksm.append(item, node, list);
        self.merged += u32::from(shared != page);
        kernel.unlock_page::<M>(me, shared);
        Ok(Phase::Parting(None))
    }

    /// The new page of KSM gets its node, and both places an item. Its like may have come first.
    fn insert<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        first: AnonVmaId,
        second: AnonVmaId,
    ) -> Result<Phase, LockId> {
        let (current, other) = (self.hand(), self.other.expect("two pages"));
        if !kernel.lock_page::<M>(me, current.page) {
            return Err(LockId::Page(current.page));
        }
        self.forget_alone(kernel, other.item);
        let node = stable::insert(kernel, current.page);
        if let Some(node) = node {
            kernel.ksm.append(other.item, node, second);
            kernel.ksm.append(current.item, node, first);
            stable::note_strays(kernel, node, self.family, current.item);
            self.merged += 1;
        }
        kernel.unlock_page::<M>(me, current.page);
        Ok(match node {
            Some(_) => Phase::Parting(None),
            None => Phase::Breaking(Breaks::new(vec![current.item, other.item])),
        })
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
}

impl Default for KsmScan {
    fn default() -> Self {
        KsmScan::new()
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
