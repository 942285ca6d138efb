//! One index of pages, and the file that it belongs to.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::{AreaList, FileSystem, RadixTree};
use crate::base::{MappingId, PAGE_SHIFT, PAGE_SIZE, SwapEntry};
use crate::state::policy::Policy;

bitflags::bitflags! {
    /// What an address space remembers of its pages.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct MappingFlags: u8 {
        /// A write failed (AS_EIO).
        const EIO = 1;
        /// A write found no room (AS_ENOSPC).
        const ENOSPC = 2;
        /// Pages are never reclaimed (AS_UNEVICTABLE).
        const UNEVICTABLE = 4;
    }
}

/// The bytes that were written back, by page; on a machine without bytes always empty.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Disk {
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Disk {
    /// The bytes of one page; none where nothing but zeroes was ever written.
    pub fn page(&self, index: u64) -> Option<&[u8]> {
        self.pages.get(&index).map(|bytes| &**bytes)
    }

    /// Keeps the bytes of one page.
    pub fn keep(&mut self, index: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.pages.insert(index, bytes.into());
        }
    }

    /// Forgets one page.
    pub fn forget(&mut self, index: u64) {
        self.pages.remove(&index);
    }

    /// Forgets the pages from `first` on.
    pub fn cut(&mut self, first: u64) {
        self.pages.split_off(&first);
    }

    /// Zeroes the bytes of one page from `from` on.
    pub fn zero_tail(&mut self, index: u64, from: usize) {
        if let Some(bytes) = self.pages.get_mut(&index) {
            bytes[from..].fill(0);
        }
    }
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inode {
    /// What people call it.
    pub name: String,
    /// Bytes (`i_size`).
    pub size: u64,
    /// What was written back.
    pub disk: Disk,
    /// shmem: pages that were moved to swap, by offset.
    pub swapped: BTreeMap<u64, SwapEntry>,
    /// shmem: memory policies by offset, as half-open runs `start -> (end, policy)`.
    pub policies: BTreeMap<u64, (u64, Policy)>,
    /// Whether nobody can open it: it goes with the last area that maps it (shared anonymous memory).
    pub is_nameless: bool,
    /// Whether it has dirty pages to be written some day.
    pub is_dirty: bool,
    /// Calls of `writepage` so far, for the filesystem's script.
    pub writes: u32,
    /// Reads of pages so far, for the filesystem's script.
    pub reads: u32,
}

impl Inode {
    /// What decides how it goes on: of what has been read and written no more than the scripts ask.
    fn hash<H: Hasher>(&self, kind: &FileSystem, state: &mut H) {
        let Inode { name, size, disk, swapped, policies, is_nameless, is_dirty, writes, reads } =
            self;
        (name, size, disk, swapped, policies, is_nameless, is_dirty).hash(state);
        ((*writes as usize).min(kind.write_script.len())).hash(state);
        (*reads).min(kind.failing_reads).hash(state);
    }
}

/// One index of pages (`address_space`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AddressSpace {
    /// The file; none for the swap cache.
    pub host: Option<Inode>,
    /// What its filesystem does.
    pub kind: FileSystem,
    /// Page by offset; `nrpages` is its length.
    pub tree: RadixTree,
    /// Areas that map it, in the order of a walk (`i_mmap`).
    pub areas: AreaList,
    /// Times that ranges of it were unmapped.
    pub truncate_count: u64,
    /// What it remembers.
    pub flags: MappingFlags,
}

/// Nothing goes on differently for how often ranges were unmapped.
impl Hash for AddressSpace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let AddressSpace { host, kind, tree, areas, truncate_count: _, flags } = self;
        host.is_some().hash(state);
        if let Some(host) = host {
            host.hash(kind, state);
        }
        (kind, tree, areas, flags).hash(state);
    }
}

impl AddressSpace {
    /// The pages that `i_size` reaches into.
    pub fn pages_in_file(&self) -> u64 {
        let size = self.host.as_ref().map_or(u64::MAX, |host| host.size);
        size.checked_add(PAGE_SIZE - 1).map_or(u64::MAX, |size| size >> PAGE_SHIFT)
    }
}

/// All address spaces. Number 0 is the swap cache. Files are never forgotten.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Mappings {
    rows: Vec<AddressSpace>,
}

impl Default for Mappings {
    fn default() -> Self {
        let swapper = AddressSpace {
            host: None,
            kind: FileSystem::swapper(),
            tree: RadixTree::default(),
            areas: AreaList::default(),
            truncate_count: 0,
            flags: MappingFlags::empty(),
        };
        Mappings { rows: vec![swapper] }
    }
}

impl Mappings {
    /// A new, empty file.
    pub fn create(&mut self, name: String, size: u64, kind: FileSystem) -> MappingId {
        let is_unevictable = kind.is_unevictable;
        self.rows.push(AddressSpace {
            host: Some(Inode {
                name,
                size,
                disk: Disk::default(),
                swapped: BTreeMap::new(),
                policies: BTreeMap::new(),
                is_nameless: false,
                is_dirty: false,
                writes: 0,
                reads: 0,
            }),
            kind,
            tree: RadixTree::default(),
            areas: AreaList::default(),
            truncate_count: 0,
            flags: if is_unevictable { MappingFlags::UNEVICTABLE } else { MappingFlags::empty() },
        });
        MappingId::from(self.rows.len() - 1)
    }

    /// The address space, if there is one.
    pub fn find(&self, id: MappingId) -> Option<&AddressSpace> {
        self.rows.get(id.index())
    }

    /// All address spaces, the swap cache first.
    pub fn iter(&self) -> impl Iterator<Item = (MappingId, &AddressSpace)> {
        self.rows.iter().enumerate().map(|(id, row)| (MappingId::from(id), row))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut AddressSpace> {
        self.rows.iter_mut()
    }

    /// A file by its name.
    pub fn by_name(&self, name: &str) -> Option<MappingId> {
        let named = |(_, row): &(MappingId, &AddressSpace)| {
            row.host.as_ref().is_some_and(|host| host.name == name)
        };
        self.iter().find(named).map(|(id, _)| id)
    }
}

impl std::ops::Index<MappingId> for Mappings {
    type Output = AddressSpace;

    #[inline]
    fn index(&self, id: MappingId) -> &AddressSpace {
        &self.rows[id.index()]
    }
}

impl std::ops::IndexMut<MappingId> for Mappings {
    #[inline]
    fn index_mut(&mut self, id: MappingId) -> &mut AddressSpace {
        &mut self.rows[id.index()]
    }
}
