//! Truncation: a file becomes shorter, and its pages beyond the end go (supporting-paths 8).
//!
//! `truncate_pagecache` unmaps, takes the pages out in two passes ([`Pass`]), and unmaps once more
//! what was mapped in between. A page whose buffers are in use leaves the file without them: an
//! orphan.

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Pass};
use super::partial::PartialPage;
use crate::base::{Errno, MappingId, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::{swapcache, tree};
use crate::state::lock::AtPause;
use crate::state::mapping::FILE_BYTES_MAX;
use crate::state::shadow::Place;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::zap::FileUnmapping;

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// The file gets its new size.
    Resizing,
    /// Everything beyond is unmapped, private copies too.
    Unmapping(FileUnmapping),
    /// Pages beyond leave the file.
    Passing(Batch),
    /// The tail of the last page left becomes zeroes.
    Trimming(PartialPage),
    /// Everything beyond is unmapped again.
    UnmappingAgain(FileUnmapping),
    /// shmem: what is in swap goes as well.
    Freeing,
    Done,
}

/// One `truncate(2)`: to a smaller size, or a greater one.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Truncate {
    file: MappingId,
    size: u64,
    phase: Phase,
}

impl Truncate {
    /// Will give `file` the size `size`, in bytes.
    pub const fn new(file: MappingId, size: u64) -> Truncate {
        Truncate { file, size, phase: Phase::Resizing }
    }

    /// Success, or `TooBig` if no file is that long.
    pub const fn result(&self) -> Result<(), Errno> {
        if self.size > FILE_BYTES_MAX { Err(Errno::TooBig) } else { Ok(()) }
    }

    /// Pages that it holds one reference each to.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Unmapping(unmapping) | Phase::UnmappingAgain(unmapping) => {
                unmapping.held_pages()
            }
            Phase::Passing(batch) => batch.held_pages(),
            Phase::Trimming(partial) => partial.held_page().into_iter().collect(),
            Phase::Resizing | Phase::Freeing | Phase::Done => Vec::new(),
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        match &self.phase {
            Phase::Unmapping(unmapping) | Phase::UnmappingAgain(unmapping) => {
                unmapping.locks_at_pause()
            }
            _ => AtPause::new(),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Resizing => &["SP8-size"],
            Phase::Unmapping(unmapping) | Phase::UnmappingAgain(unmapping) => unmapping.labels(),
            Phase::Passing(batch) => batch.labels(),
            Phase::Trimming(partial) => partial.labels(),
            Phase::Freeing => &["SP8-swap"],
            Phase::Done => &[],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let progress = match &mut self.phase {
                Phase::Resizing => {
                    self.phase = self.resize(kernel);
                    None
                }
                Phase::Unmapping(unmapping) | Phase::UnmappingAgain(unmapping) => {
                    Some(unmapping.advance::<M>(kernel, me))
                }
                Phase::Passing(batch) => Some(batch.advance::<M>(kernel, me)),
                Phase::Trimming(partial) => Some(partial.advance::<M>(kernel, me)),
                Phase::Freeing => {
                    if !tree::is_free::<M>(kernel, me, MappingId::SWAPPER) {
                        return Progress::Waiting(LockId::Tree(MappingId::SWAPPER));
                    }
                    if !self.free_swap::<M>(kernel, me) {
                        return Progress::Ran;
                    }
                    self.phase = Phase::Done;
                    None
                }
                Phase::Done => return Progress::Done,
            };
            match progress {
                None => {}
                Some(Progress::Done) => self.phase = self.next(kernel),
                Some(other) => return other,
            }
            if matches!(self.phase, Phase::Done) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// The first page that is wholly beyond the new end.
    const fn first(&self) -> u64 {
        self.size.div_ceil(PAGE_SIZE)
    }

    /// The page that the new end lies within.
    fn partial(&self) -> Option<u64> {
        (self.size % PAGE_SIZE > 0).then_some(self.size >> PAGE_SHIFT)
    }

    fn resize(&self, kernel: &mut Kernel) -> Phase {
        if self.result().is_err() {
            return Phase::Done;
        }
        let host = kernel.mappings[self.file].host.as_mut().expect("a file");
        let is_growing = self.size > host.size;
        host.size = self.size;
        if is_growing {
            return Phase::Done;
        }
        kernel.shadow.cut_file(self.file, self.size);
        host.disk.cut(self.first());
        if let Some(index) = self.partial() {
            host.disk.zero_tail(index, (self.size % PAGE_SIZE) as usize);
        }
        Phase::Unmapping(self.unmapping())
    }

    fn unmapping(&self) -> FileUnmapping {
        FileUnmapping::new(self.file, self.first()..u64::MAX, true)
    }

    /// What follows on a phase that is done.
    fn next(&self, kernel: &Kernel) -> Phase {
        let space = &kernel.mappings[self.file];
        let pass = |pass| Phase::Passing(Batch::new(self.file, self.first(), pass));
        match &self.phase {
            Phase::Unmapping(_) if space.tree.is_empty() => match self.partial() {
                Some(index) if super::shmem::slot_at(kernel, self.file, index).is_some() => {
                    Phase::Trimming(PartialPage::new(kernel, self.file, index, self.size))
                }
                _ => Phase::UnmappingAgain(self.unmapping()),
            },
            Phase::Unmapping(_) => pass(Pass::First),
            Phase::Passing(batch) if batch.pass() == Pass::First => match self.partial() {
                Some(index) => {
                    Phase::Trimming(PartialPage::new(kernel, self.file, index, self.size))
                }
                None => pass(Pass::Second),
            },
            Phase::Trimming(_) => pass(Pass::Second),
            Phase::Passing(_) => Phase::UnmappingAgain(self.unmapping()),
            Phase::UnmappingAgain(_) if self.has_swapped(kernel) => Phase::Freeing,
            Phase::Resizing | Phase::UnmappingAgain(_) | Phase::Freeing | Phase::Done => {
                Phase::Done
            }
        }
    }

    fn has_swapped(&self, kernel: &Kernel) -> bool {
        let host = kernel.mappings[self.file].host.as_ref();
        host.is_some_and(|host| host.swapped.range(self.first()..).next().is_some())
    }

    /// Gives the slots back, in the order of their pages; tells whether there was fuel for all of them.
    fn free_swap<M: Mode>(&self, kernel: &mut Kernel, me: Me) -> bool {
        loop {
            let host = kernel.mappings[self.file].host.as_mut().expect("a file");
            let next = host.swapped.range(self.first()..).next();
            let Some((index, slot)) = next.map(|(&index, &slot)| (index, slot)) else {
                return true;
            };
            host.swapped.remove(&index);
            kernel.shadow.forget(Place::File(self.file, index), 0);
            swapcache::free_swap_and_cache::<M>(kernel, me, slot);
            if kernel.pauses::<M>(1) {
                return false;
            }
        }
    }
}
