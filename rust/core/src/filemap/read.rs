//! `read(2)`: bytes of a file, page by page, through the page cache.

use serde::{Deserialize, Serialize};

use super::fetch::{Fetch, NoPage, Purpose};
use crate::base::{Errno, MappingId, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::kernel::Kernel;
use crate::state::lru;
use crate::step::{Label, Me, Mode, Point, Progress};

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// The next page, if the file reaches it.
    Starting,
    Fetching(Fetch),
    /// Copy from the page. It is not locked: only the reference keeps it.
    Copying(Pfn),
    Done(Result<(), Errno>),
}

/// One read. It stops at the end of the file as that is when it gets there.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct ReadFile {
    file: MappingId,
    offset: u64,
    size: u64,
    done: u64,
    data: Vec<u8>,
    phase: Phase,
}

impl ReadFile {
    /// Will read `size` bytes from byte `offset` on.
    pub const fn new(file: MappingId, offset: u64, size: u64) -> ReadFile {
        ReadFile { file, offset, size, done: 0, data: Vec::new(), phase: Phase::Starting }
    }

    /// The bytes read, zeroes on a machine without contents, or why there are none. Only once done.
    ///
    /// # Errors
    /// `InputOutput` if the first page cannot be read, `NoMemory` if there is no frame for it.
    pub fn into_result(self) -> Result<Vec<u8>, Errno> {
        match self.phase {
            Phase::Done(result) => result.map(|()| self.data),
            _ => unreachable!("asked before the call was done"),
        }
    }

    /// How many pages are done, of how many, if the file is as long as that.
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
            Phase::Starting => &["SP7-read"],
            Phase::Fetching(fetch) => fetch.labels(),
            Phase::Copying(_) => &["SP7-read-copy"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            let mut may_pause = false;
            self.phase = match &mut self.phase {
                Phase::Starting => self.start(kernel),
                Phase::Fetching(fetch) => match fetch.advance::<M>(kernel, me) {
                    Progress::Done => match fetch.result() {
                        Ok(page) => Phase::Copying(page),
                        Err(no_page) => self.stopped(no_page),
                    },
                    other => return other,
                },
                Phase::Copying(page) => {
                    let page = *page;
                    self.copy(kernel, page);
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

    /// Bytes that are still wanted and there.
    fn left(&self, kernel: &Kernel) -> u64 {
        let size = kernel.mappings[self.file].host.as_ref().map_or(0, |host| host.size);
        size.saturating_sub(self.offset + self.done).min(self.size - self.done)
    }

    fn start(&self, kernel: &Kernel) -> Phase {
        if self.left(kernel) == 0 {
            return Phase::Done(Ok(()));
        }
        let index = (self.offset + self.done) >> PAGE_SHIFT;
        Phase::Fetching(Fetch::new(self.file, index, Purpose::Read))
    }

    /// No page: what was read so far counts.
    fn stopped(&self, no_page: NoPage) -> Phase {
        Phase::Done(match no_page {
            _ if self.done > 0 => Ok(()),
            NoPage::BeyondEnd => Ok(()),
            NoPage::Unreadable => Err(Errno::InputOutput),
            NoPage::NoMemory => Err(Errno::NoMemory),
        })
    }

    fn copy(&mut self, kernel: &mut Kernel, page: Pfn) {
        let from = ((self.offset + self.done) % PAGE_SIZE) as usize;
        let len = self.left(kernel).min(PAGE_SIZE - from as u64) as usize;
        let before = self.data.len();
        self.data.resize(before + len, 0);
        if kernel.contents.exist() {
            let bytes = &kernel.contents.page(page)[from..from + len];
            self.data[before..].copy_from_slice(bytes);
            if kernel.shadow.is_on() {
                let index = (self.offset + self.done) >> PAGE_SHIFT;
                kernel.note_file_load(self.file, index, page, from, &self.data[before..]);
            }
        }
        self.done += len as u64;
        let Kernel { frames, zones, lru, .. } = kernel;
        lru::mark_accessed(frames, zones, lru, page);
        kernel.put_page(page);
    }
}
