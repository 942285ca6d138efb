//! What a filesystem can do with its pages, as data (data-model 5.1).

use serde::{Deserialize, Serialize};

use crate::base::{Misuse, PAGE_SIZE};

/// The `migratepage` method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Migrate {
    /// None: the fallback writes dirty pages and moves clean ones.
    Fallback,
    /// `migrate_page`.
    Page,
    /// `buffer_migrate_page`.
    Buffers,
    /// `fail_migrate_page`.
    Fail,
    /// Does nothing and returns this number, which is not 0.
    Returns(i32),
}

/// The `writepage` method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Write {
    /// None.
    Never,
    /// Buffer by buffer (`block_write_full_page`).
    Buffers,
    /// The whole page, without buffers.
    Page,
    /// To swap (shmem).
    ToSwap,
}

/// How one call of `writepage` goes, where that is scripted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Written {
    /// As it should.
    Well,
    /// Returns this errno (positive) after unlocking the page, with nothing submitted.
    Fails(i32),
    /// Returns AOP_WRITEPAGE_ACTIVATE: the page is dirty again and still locked.
    Activates,
    /// Submits the write, which then ends with an I/O error.
    EndsInError,
}

/// The `set_page_dirty` method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dirtying {
    /// Every buffer becomes dirty, too.
    Buffers,
    /// The page only.
    NoBuffers,
    /// The bare flag: nothing is ever written back.
    NoWriteback,
}

/// The `releasepage` method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Release {
    /// None: `try_to_free_buffers`.
    Buffers,
    /// Refuses always.
    Never,
}

/// One kind of file. The same for all files made with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileSystem {
    /// What people call it.
    pub name: String,
    /// The `migratepage` method.
    pub migrate: Migrate,
    /// The `writepage` method.
    pub write: Write,
    /// The `set_page_dirty` method.
    pub dirtying: Dirtying,
    /// The `releasepage` method.
    pub release: Release,
    /// Whether dirty pages are counted (no NO_ACCT_DIRTY).
    pub accounts_dirty: bool,
    /// Whether pages belong to the anonymous LRU family (SWAP_BACKED).
    pub is_swap_backed: bool,
    /// Whether pages are never reclaimed (AS_UNEVICTABLE).
    pub is_unevictable: bool,
    /// Bytes of a buffer (512 to 4096, a power of two); 0 for a filesystem without buffers.
    pub buffer_bytes: u32,
    /// Whether its areas have a `page_mkwrite` method.
    pub has_page_mkwrite: bool,
    /// Whether the device behind it is congested.
    pub is_congested: bool,
    /// How the first calls of `writepage` on a file go; later ones go well.
    pub write_script: Vec<Written>,
    /// How many reads of a file's pages fail with an I/O error before they go well.
    pub failing_reads: u32,
    /// Ticks that a transfer takes; none: it never ends.
    pub io_ticks: Option<u64>,
    /// What the `migrate` method of its areas returns (`migrate_vmas`); none: there is no method.
    pub area_migrate: Option<i32>,
    /// Whether pages come from a zone type below `policy_zone` (`vma_migratable` is false then).
    pub is_below_policy_zone: bool,
}

impl FileSystem {
    /// A journalling filesystem, with buffers and every method.
    #[cfg(test)]
    pub fn ext() -> FileSystem {
        FileSystem {
            name: "ext".into(),
            migrate: Migrate::Buffers,
            write: Write::Buffers,
            dirtying: Dirtying::Buffers,
            accounts_dirty: true,
            is_swap_backed: false,
            buffer_bytes: 1024,
            ..FileSystem::tmpfs()
        }
    }

    /// Memory only: never written, never reclaimed.
    #[cfg(test)]
    pub fn ramfs() -> FileSystem {
        FileSystem {
            name: "ramfs".into(),
            migrate: Migrate::Fallback,
            write: Write::Never,
            is_swap_backed: false,
            is_unevictable: true,
            io_ticks: Some(0),
            ..FileSystem::tmpfs()
        }
    }

    /// shmem: the kind of all shared memory, and of tmpfs.
    pub fn tmpfs() -> FileSystem {
        FileSystem {
            name: "tmpfs".into(),
            migrate: Migrate::Page,
            write: Write::ToSwap,
            dirtying: Dirtying::NoWriteback,
            release: Release::Buffers,
            accounts_dirty: false,
            is_swap_backed: true,
            is_unevictable: false,
            buffer_bytes: 0,
            has_page_mkwrite: false,
            is_congested: false,
            write_script: Vec::new(),
            failing_reads: 0,
            io_ticks: Some(1),
            area_migrate: None,
            is_below_policy_zone: false,
        }
    }

    /// The swap cache.
    pub fn swapper() -> FileSystem {
        FileSystem { name: "swap".into(), dirtying: Dirtying::NoBuffers, ..FileSystem::tmpfs() }
    }

    /// What contradicts itself in a description, if anything.
    ///
    /// # Errors
    /// With what is wrong, and what would be right.
    pub fn check(&self) -> Result<(), Misuse> {
        let bytes = u64::from(self.buffer_bytes);
        let is_size = bytes.is_power_of_two() && (512..=PAGE_SIZE).contains(&bytes);
        let wrong = match self.write {
            _ if bytes != 0 && !is_size => {
                format!(
                    "buffers of {bytes} bytes; 512, 1024, 2048 and 4096 are possible, 0 is none"
                )
            }
            Write::Buffers if bytes == 0 => "writing by buffers needs buffers".into(),
            Write::ToSwap if !self.is_swap_backed => "writing to swap needs swap_backed".into(),
            Write::ToSwap if bytes != 0 => "what is written to swap has no buffers".into(),
            Write::ToSwap if self.failing_reads > 0 => {
                "what is written to swap is read from there, and such reads never fail".into()
            }
            Write::ToSwap if self.write_script.contains(&Written::EndsInError) => {
                "what is written to swap gets there: the script may not say io-error".into()
            }
            _ if self.accounts_dirty && self.dirtying == Dirtying::NoWriteback => {
                "dirty pages that are never marked for writing cannot be counted".into()
            }
            _ if self.migrate == Migrate::Page && bytes != 0 => {
                "migrate_page moves no buffers: it is for filesystems without them".into()
            }
            _ if self.migrate == Migrate::Returns(0) => {
                "a migrate method that does nothing must not return 0".into()
            }
            _ => match self.write_script.iter().find(|&&step| is_no_errno(step)) {
                Some(step) => format!("the write script says {step:?}; errnos are 1 to 4095"),
                None => return Ok(()),
            },
        };
        Err(Misuse::Other(format!("filesystem {:?}: {wrong}", self.name)))
    }

    /// Whether it is shmem, whose pages may live in swap and whose areas keep policies by offset.
    pub fn is_shmem(&self) -> bool {
        self.is_swap_backed && self.write == Write::ToSwap
    }
}

const fn is_no_errno(step: Written) -> bool {
    matches!(step, Written::Fails(code) if code < 1 || code > 4095)
}
