//! Verbs of one step about files: making them, and what a filesystem does to pages and buffers by
//! itself.
//!
//! What can be interleaved (reading, writing, truncation) is a [`super::Call`].

use super::{Call, Machine, Request};
use crate::base::{MappingId, Misuse, Pfn, RingId};
use crate::filemap::{Invalidate, Lookup, ReadFile, Truncate, WriteFile, WritePage};
use crate::kernel::Kernel;
use crate::pagecache::{buffers, tree};
use crate::state::frame::PageFlags;
use crate::state::mapping::{FILE_BYTES_MAX, FileSystem};

/// Flags that a filesystem, or firmware, may change by itself.
const BY_HAND: PageFlags = PageFlags::CHECKED
    .union(PageFlags::MAPPEDTODISK)
    .union(PageFlags::ERROR)
    .union(PageFlags::PRIVATE_2)
    .union(PageFlags::RESERVED)
    .union(PageFlags::REFERENCED)
    .union(PageFlags::RECLAIM);

/// Checks the arguments of a request about one file and makes the call.
///
/// # Errors
/// If there is no such file, or the bytes are not as many as were announced.
pub(super) fn begin(kernel: &Kernel, request: Request) -> Result<Call, Misuse> {
    let checked = |file| checked_file(kernel, file);
    Ok(match request {
        Request::ReadFile { file, offset, size } => {
            Call::ReadFile(ReadFile::new(checked(file)?, offset, size))
        }
        Request::WriteFile { file, offset, size, data } => {
            check_data(size, data.as_deref())?;
            Call::WriteFile(WriteFile::new(checked(file)?, offset, size, data))
        }
        Request::Truncate { file, size } => Call::Truncate(Truncate::new(checked(file)?, size)),
        Request::Lookup { file, page } => Call::Lookup(Lookup::new(checked(file)?, page)),
        Request::Writeback { file, page } => Call::WritePage(WritePage::new(checked(file)?, page)),
        Request::Invalidate { file, page } => {
            Call::Invalidate(Invalidate::new(checked(file)?, page))
        }
        other => unreachable!("{} is about no file", other.verb()),
    })
}

/// The number of a file that somebody made: not the swap cache.
fn checked_file(kernel: &Kernel, file: MappingId) -> Result<MappingId, Misuse> {
    let is_file = kernel.mappings.find(file).is_some_and(|space| space.host.is_some());
    if is_file { Ok(file) } else { Err(Misuse::Other(format!("no file number {file}"))) }
}

fn check_data(size: u64, data: Option<&[u8]>) -> Result<(), Misuse> {
    match data.map(|data| data.len() as u64) {
        Some(len) if len != size => {
            Err(Misuse::Other(format!("{len} bytes to write, but a size of {size}")))
        }
        _ => Ok(()),
    }
}

impl Machine {
    /// A new file of `size` bytes, all zeroes, and none of it in memory.
    ///
    /// # Errors
    /// If the name is taken or empty, the size is beyond what a file can have, or the filesystem
    /// contradicts itself.
    pub fn create_file(
        &mut self,
        name: String,
        size: u64,
        kind: FileSystem,
    ) -> Result<MappingId, Misuse> {
        if name.is_empty() {
            return Err(Misuse::Other("a file needs a name".into()));
        }
        if self.kernel.mappings.by_name(&name).is_some() {
            return Err(Misuse::Other(format!("there is a file {name:?} already")));
        }
        if size > FILE_BYTES_MAX {
            let what = format!("a file of {size} bytes; at most {FILE_BYTES_MAX} are possible");
            return Err(Misuse::Other(what));
        }
        kind.check()?;
        Ok(tree::create(&mut self.kernel, name, size, kind))
    }

    /// Checks the number of a file.
    ///
    /// # Errors
    /// If nobody made it.
    pub fn check_file(&self, file: MappingId) -> Result<MappingId, Misuse> {
        checked_file(&self.kernel, file)
    }

    /// Uses buffer number `at` of a page, by hand, and locks it if `is_locking`.
    ///
    /// # Errors
    /// If the page has no such buffer, or somebody has locked it.
    pub fn hold_buffer(&mut self, page: Pfn, at: usize, is_locking: bool) -> Result<(), Misuse> {
        let ring = self.checked_buffer(page, at)?;
        if !buffers::hold_by_hand(&mut self.kernel, ring, at, is_locking) {
            return Err(Misuse::Other(format!("buffer {at} of frame {page} is locked already")));
        }
        Ok(())
    }

    /// Gives back a buffer, and its lock if that was taken by hand.
    ///
    /// # Errors
    /// If the page has no such buffer, or it is not held by hand.
    pub fn release_buffer(&mut self, page: Pfn, at: usize) -> Result<(), Misuse> {
        let ring = self.checked_buffer(page, at)?;
        if !buffers::release_by_hand(&mut self.kernel, ring, at) {
            return Err(Misuse::Other(format!("buffer {at} of frame {page} is not held by hand")));
        }
        self.wake();
        Ok(())
    }

    fn checked_buffer(&self, page: Pfn, at: usize) -> Result<RingId, Misuse> {
        self.check_frame(page)?;
        let ring = buffers::ring_of(&self.kernel, page);
        let len = ring.map_or(0, |ring| self.kernel.rings[ring].buffers.len());
        match ring.filter(|_| at < len) {
            Some(ring) => Ok(ring),
            None => {
                Err(Misuse::Other(format!("frame {page} has {len} buffers, and no number {at}")))
            }
        }
    }

    /// Sets or clears a flag of a page in use, as a filesystem or firmware might.
    ///
    /// # Errors
    /// If the frame is free, or the flag is not one that they may change.
    pub fn set_page_flag(&mut self, page: Pfn, flag: PageFlags, on: bool) -> Result<(), Misuse> {
        self.check_frame(page)?;
        if flag.bits().count_ones() != 1 || !BY_HAND.contains(flag) {
            let what = format!("no flag {:#x} to be set by hand; {BY_HAND:?} are", flag.bits());
            return Err(Misuse::Other(what));
        }
        let kernel = &mut self.kernel;
        if page == kernel.frames.zero_page() || kernel.frames[page].count() == 0 {
            return Err(Misuse::Other(format!("frame {page} is no page in use")));
        }
        if on {
            kernel.frames[page].set(flag);
        } else {
            kernel.frames[page].clear(flag);
        }
        Ok(())
    }
}
