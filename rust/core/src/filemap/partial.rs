//! The page that the new end of a file lies within: what is beyond the end becomes zeroes.

use serde::{Deserialize, Serialize};

use super::fetch::{Fetch, Purpose};
use super::lookup::Lookup;
use super::shmem;
use crate::base::{MappingId, PAGE_SIZE, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::{buffers, transfer};
use crate::state::frame::Owner;
use crate::state::shadow::Place;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Looking(Lookup),
    /// shmem: it is in swap.
    Fetching(Fetch),
    /// Locked: wait until it is not written any more.
    Waiting(Pfn),
    Zeroing(Pfn),
    Done,
}

/// One page that is cut.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub(super) struct PartialPage {
    /// The first byte of the page that is beyond the end.
    from: u64,
    phase: Phase,
}

impl PartialPage {
    /// Will zero the tail of page `index` of `file`, which shall end at byte `size`, if it is there.
    pub(super) fn new(kernel: &Kernel, file: MappingId, index: u64, size: u64) -> PartialPage {
        let phase = match shmem::slot_at(kernel, file, index) {
            Some(_) => Phase::Fetching(Fetch::new(file, index, Purpose::Fault)),
            None => Phase::Looking(Lookup::locking(file, index)),
        };
        PartialPage { from: size % PAGE_SIZE, phase }
    }

    /// The page that it holds a reference to.
    pub(super) fn held_page(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Looking(lookup) => lookup.held_page(),
            Phase::Fetching(fetch) => fetch.held_page(),
            Phase::Waiting(page) | Phase::Zeroing(page) => Some(*page),
            Phase::Done => None,
        }
    }

    /// The steps that the next advance makes.
    pub(super) fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Looking(lookup) => lookup.labels(),
            Phase::Fetching(fetch) => fetch.labels(),
            Phase::Waiting(_) => &["SP8-partial-writeback"],
            Phase::Zeroing(_) => &["SP8-partial"],
            Phase::Done => &[],
        }
    }

    /// Makes one step.
    pub(super) fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            self.phase = match &mut self.phase {
                Phase::Looking(lookup) => match lookup.advance::<M>(kernel, me) {
                    Progress::Done => lookup.found().map_or(Phase::Done, Phase::Waiting),
                    other => return other,
                },
                Phase::Fetching(fetch) => match fetch.advance::<M>(kernel, me) {
                    // Without a frame for it the tail stays as it was: nothing waits for memory here.
                    Progress::Done => fetch.result().map_or(Phase::Done, Phase::Waiting),
                    other => return other,
                },
                Phase::Waiting(page) => {
                    if !transfer::writeback_is_over::<M>(kernel, me, *page) {
                        return Progress::Waiting(LockId::Writeback(*page));
                    }
                    Phase::Zeroing(*page)
                }
                Phase::Zeroing(page) => {
                    let page = *page;
                    if kernel.contents.exist() {
                        kernel.contents.page_mut(page)[self.from as usize..].fill(0);
                    }
                    let frame = &kernel.frames[page];
                    if let Owner::File(file) = frame.owner() {
                        let place = Place::File(file, frame.index());
                        kernel.shadow.forget(place, self.from as usize);
                    }
                    buffers::discard(kernel, page, self.from);
                    kernel.unlock_page::<M>(me, page);
                    kernel.put_page(page);
                    Phase::Done
                }
                Phase::Done => return Progress::Done,
            };
            if matches!(self.phase, Phase::Done) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }
}
