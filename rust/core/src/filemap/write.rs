//! `write(2)`: bytes into a file, page by page, through the page cache.

use serde::{Deserialize, Serialize};

use super::fetch::{Fetch, NoPage, Purpose};
use crate::base::{Errno, MappingId, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::kernel::Kernel;
use crate::pagecache::{buffers, dirty, tree};
use crate::state::frame::PageFlags;
use crate::state::lru;
use crate::state::mapping::{BufferState, FILE_BYTES_MAX};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// The next page, if there is more to write.
    Starting,
    Fetching(Fetch),
    /// Copy into the page, which is locked.
    Copying(Pfn),
    Done(Result<(), Errno>),
}

/// One write. It makes the file longer where it goes beyond its end.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct WriteFile {
    file: MappingId,
    offset: u64,
    size: u64,
    done: u64,
    /// What to write; none: bytes that nobody looks at.
    data: Option<Vec<u8>>,
    phase: Phase,
}

impl WriteFile {
    /// Will write `size` bytes from byte `offset` on; `data`, if given, is as long.
    pub fn new(file: MappingId, offset: u64, size: u64, data: Option<Vec<u8>>) -> WriteFile {
        let room = FILE_BYTES_MAX.saturating_sub(offset);
        let is_too_big = room == 0 && size > 0;
        let phase = if is_too_big { Phase::Done(Err(Errno::TooBig)) } else { Phase::Starting };
        WriteFile { file, offset, size: size.min(room), done: 0, data, phase }
    }

    /// How many bytes were written, or why none. Only once done.
    ///
    /// # Errors
    /// `InputOutput` if the first page, written in part, cannot be read; `NoMemory` if there is no
    /// frame for it; `TooBig` if no file is that long.
    pub fn result(&self) -> Result<u64, Errno> {
        match self.phase {
            Phase::Done(result) => result.map(|()| self.done),
            _ => unreachable!("asked before the call was done"),
        }
    }

    /// How many pages are done, of how many.
    pub const fn done_of(&self) -> (u64, u64) {
        (self.done >> PAGE_SHIFT, self.size.div_ceil(PAGE_SIZE))
    }

    /// Ends the call here, between two pages, as a fatal signal would.
    pub fn cut(&mut self) {
        if let Phase::Starting = self.phase {
            self.phase = Phase::Done(Ok(()));
        }
    }

    /// The page that it holds a reference to.
    pub fn held_page(&self) -> Option<Pfn> {
        match &self.phase {
            Phase::Fetching(fetch) => fetch.held_page(),
            Phase::Copying(page) => Some(*page),
            Phase::Starting | Phase::Done(_) => None,
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting => &["SP7-write"],
            Phase::Fetching(fetch) => fetch.labels(),
            Phase::Copying(_) => &["SP7-write-copy"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let mut may_pause = false;
            self.phase = match &mut self.phase {
                Phase::Starting => self.start(),
                Phase::Fetching(fetch) => match fetch.advance::<M>(kernel, me) {
                    Progress::Done => match fetch.result() {
                        Ok(page) => Phase::Copying(page),
                        Err(no_page) => self.stopped(no_page),
                    },
                    other => return other,
                },
                Phase::Copying(page) => {
                    let page = *page;
                    if !tree::is_free::<M>(kernel, me, self.file) {
                        return Progress::Waiting(LockId::Tree(self.file));
                    }
                    self.copy::<M>(kernel, me, page);
                    may_pause = true;
                    Phase::Starting
                }
                Phase::Done(_) => return Progress::Done,
            };
            if matches!(self.phase, Phase::Done(_)) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) || (may_pause && kernel.pauses::<M>(1)) {
                return Progress::Ran;
            }
        }
    }

    /// Where in its page the next byte goes, and how many go into that page.
    fn span(&self) -> (usize, usize) {
        let from = (self.offset + self.done) % PAGE_SIZE;
        (from as usize, (PAGE_SIZE - from).min(self.size - self.done) as usize)
    }

    fn start(&self) -> Phase {
        if self.done == self.size {
            return Phase::Done(Ok(()));
        }
        let index = (self.offset + self.done) >> PAGE_SHIFT;
        let is_whole = self.span().1 as u64 == PAGE_SIZE;
        Phase::Fetching(Fetch::new(self.file, index, Purpose::Write { is_whole }))
    }

    /// No page: what was written so far counts.
    fn stopped(&self, no_page: NoPage) -> Phase {
        Phase::Done(match no_page {
            _ if self.done > 0 => Ok(()),
            NoPage::NoMemory => Err(Errno::NoMemory),
            NoPage::Unreadable | NoPage::BeyondEnd => Err(Errno::InputOutput),
        })
    }

    fn copy<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, page: Pfn) {
        let (from, len) = self.span();
        if let Some(data) = self.data.as_ref().filter(|_| kernel.contents.exist()) {
            let start = self.done as usize;
            let bytes = &data[start..start + len];
            kernel.contents.page_mut(page)[from..from + len].copy_from_slice(bytes);
        }
        let had_all = kernel.frames[page].has(PageFlags::UPTODATE);
        kernel.frames[page].set(PageFlags::UPTODATE);
        match buffers::ring_of(kernel, page) {
            // A whole page over one that could not be read.
            Some(ring) if !had_all => buffers::set_uptodate(kernel, ring),
            None if kernel.mappings[self.file].kind.buffer_bytes > 0 => {
                buffers::attach(kernel, page, BufferState::MAPPED | BufferState::UPTODATE);
            }
            _ => {}
        }
        dirty::set_page_dirty(kernel, page);
        self.done += len as u64;
        let host = kernel.mappings[self.file].host.as_mut().expect("a file");
        host.size = host.size.max(self.offset + self.done);
        if kernel.shadow.is_on() {
            let at = self.offset + self.done - len as u64;
            let bytes = kernel.contents.page(page)[from..from + len].to_vec();
            kernel.note_file_store(self.file, at >> PAGE_SHIFT, from, &bytes);
        }
        kernel.unlock_page::<M>(me, page);
        let Kernel { frames, zones, lru, .. } = kernel;
        lru::mark_accessed(frames, zones, lru, page);
        kernel.put_page(page);
    }
}
