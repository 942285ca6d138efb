//! Writing one page back: cleaned in every shared entry, then given to `writepage`
//! (supporting-paths 10).

use serde::{Deserialize, Serialize};

use super::lookup::Lookup;
use crate::base::{Errno, MappingId, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::writeback::{Wrote, writepage};
use crate::pagecache::{dirty, tree};
use crate::state::frame::PageFlags;
use crate::state::mapping::{MappingFlags, Write};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::unmap::clean_entries;

/// How a write of one page ended, unless in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PageWritten {
    /// There was nothing to write: no such page, or it is clean, or being written already.
    Nothing,
    /// `writepage` returned 0.
    Started,
    /// `writepage` returned AOP_WRITEPAGE_ACTIVATE: the page is dirty still.
    Activated,
}

#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Looking(Lookup),
    /// See whether it is to be written at all.
    Starting(Pfn),
    /// Clean its entries in shared areas.
    Cleaning(Pfn),
    /// Clear PG_dirty and call the method.
    Writing(Pfn),
    Done(Result<PageWritten, Errno>),
}

/// One page on its way to disk.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct WritePage {
    file: MappingId,
    phase: Phase,
}

impl WritePage {
    /// Will write the page at `index` of `file`, if it is there and dirty.
    pub const fn new(file: MappingId, index: u64) -> WritePage {
        WritePage { file, phase: Phase::Looking(Lookup::locking(file, index)) }
    }

    /// How it ended. Only once done.
    ///
    /// # Errors
    /// What the method returned; `Invalid` if there is none.
    pub fn result(&self) -> Result<PageWritten, Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the call was done"),
        }
    }

    /// The page that it holds a reference to.
    pub const fn held_page(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Looking(lookup) => lookup.held_page(),
            Phase::Starting(page) | Phase::Cleaning(page) | Phase::Writing(page) => Some(*page),
            Phase::Done(_) => None,
        }
    }

    /// The steps that the next advance makes.
    pub const fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Looking(lookup) => lookup.labels(),
            Phase::Starting(_) => &["SP10-write"],
            Phase::Cleaning(_) => &["SP10-clean"],
            Phase::Writing(_) => &["SP10-writepage"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let next = match &mut self.phase {
                Phase::Looking(lookup) => match lookup.advance::<M>(kernel, me) {
                    Progress::Done => Ok(lookup
                        .found()
                        .map_or(Phase::Done(Ok(PageWritten::Nothing)), Phase::Starting)),
                    other => return other,
                },
                Phase::Starting(page) => {
                    let page = *page;
                    Ok(self.start::<M>(kernel, me, page))
                }
                Phase::Cleaning(page) => {
                    let page = *page;
                    clean_entries::<M>(kernel, me, page).map(|_| Phase::Writing(page))
                }
                Phase::Writing(page) => {
                    let page = *page;
                    self.write::<M>(kernel, me, page)
                }
                Phase::Done(_) => return Progress::Done,
            };
            match next {
                Ok(next) => self.phase = next,
                Err(lock) => return Progress::Waiting(lock),
            }
            if matches!(self.phase, Phase::Done(_)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    fn start<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Phase {
        let flags = kernel.frames[page].flags();
        let is_wanted = flags.contains(PageFlags::DIRTY) && !flags.contains(PageFlags::WRITEBACK);
        let kind = &kernel.mappings[self.file].kind;
        let (write, accounts) = (kind.write, kind.accounts_dirty);
        if !is_wanted {
            return self.end::<M>(kernel, me, page, Ok(PageWritten::Nothing));
        }
        match write {
            Write::Never => self.end::<M>(kernel, me, page, Err(Errno::Invalid)),
            _ if accounts => Phase::Cleaning(page),
            _ => Phase::Writing(page),
        }
    }

    fn write<M: Mode>(&self, kernel: &mut Kernel, me: Me, page: Pfn) -> Result<Phase, LockId> {
        let is_shmem = kernel.mappings[self.file].kind.is_shmem();
        for mapping in [Some(self.file), is_shmem.then_some(MappingId::SWAPPER)] {
            let Some(mapping) = mapping else { continue };
            if !tree::is_free::<M>(kernel, me, mapping) {
                return Err(LockId::Tree(mapping));
            }
        }
        dirty::clear_dirty_for_io(kernel, page);
        let wrote = writepage::<M>(kernel, me, page);
        if let Err(errno) = wrote {
            let is_full = errno == Errno::NoSpace;
            let flag = if is_full { MappingFlags::ENOSPC } else { MappingFlags::EIO };
            kernel.mappings[self.file].flags |= flag;
        }
        let result = wrote.map(|wrote| match wrote {
            Wrote::Unlocked => PageWritten::Started,
            Wrote::Activate => PageWritten::Activated,
        });
        if result == Ok(PageWritten::Activated) {
            kernel.unlock_page::<M>(me, page);
        }
        kernel.put_page(page);
        Ok(Phase::Done(result))
    }

    fn end<M: Mode>(
        &self,
        kernel: &mut Kernel,
        me: Me,
        page: Pfn,
        result: Result<PageWritten, Errno>,
    ) -> Phase {
        kernel.unlock_page::<M>(me, page);
        kernel.put_page(page);
        Phase::Done(result)
    }
}
