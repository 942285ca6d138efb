//! What the fault method of a file does: its page, in memory, up to date and locked.
//!
//! supporting-paths 2.3, step 1.

use serde::{Deserialize, Serialize};

use super::fetch::{Fetch, NoPage, Purpose};
use crate::base::{MappingId, Pfn};
use crate::kernel::Kernel;
use crate::step::{Label, Me, Mode, Progress};

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PageInError {
    /// Beyond the end of the file, or it cannot be read (SIGBUS).
    BusError,
    /// No frame, or the memory cgroup is at its limit (OOM).
    NoMemory,
}

/// A page that was found or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PagedIn {
    /// The page: locked by the call, up to date, in its file, with one reference for the caller.
    pub page: Pfn,
    /// Whether it had to be read (VM_FAULT_MAJOR).
    pub is_major: bool,
}

/// One run of the fault method (`filemap_fault`, or shmem's), nested in a fault that holds
/// `mmap_sem` for reading and no spinlock.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct PageIn {
    fetch: Fetch,
}

impl PageIn {
    /// Will find, or read, the page at `index` of `file`.
    pub const fn new(file: MappingId, index: u64) -> PageIn {
        PageIn { fetch: Fetch::new(file, index, Purpose::Fault) }
    }

    /// How it ended. Only once done; from then on the lock and the reference are the caller's.
    ///
    /// # Errors
    /// See [`PageInError`]; nothing is held then.
    pub fn result(&self) -> Result<PagedIn, PageInError> {
        match self.fetch.result() {
            Ok(page) => Ok(PagedIn { page, is_major: self.fetch.is_major() }),
            Err(NoPage::BeyondEnd | NoPage::Unreadable) => Err(PageInError::BusError),
            Err(NoPage::NoMemory) => Err(PageInError::NoMemory),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        self.fetch.labels()
    }

    /// The page that it holds a reference to, while it is not done.
    pub fn held_page(&self) -> Option<Pfn> {
        self.fetch.held_page()
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        self.fetch.advance::<M>(kernel, me)
    }
}
