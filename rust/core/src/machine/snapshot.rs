//! A machine as bytes, and back: calls in flight included.
//!
//! A snapshot is a magic, a version, the length and the checksum of what follows, and the machine
//! itself. Start with [`Machine::snapshot`]. What is restored is equal to what was kept: it goes on in
//! the same way, step for step. A version reads its own snapshots only.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Machine;
use crate::base::{Misuse, Pfn, sparse};
use crate::state::frame::{Contents, FrameTable};

/// How every snapshot begins.
const MAGIC: &[u8; 8] = b"pagemig\0";
/// What the bytes after the header mean. Any change of what a machine keeps is another version.
const VERSION: u32 = 2;
/// Magic, version, length, checksum.
const HEADER_BYTES: usize = 8 + 4 + 8 + 4;

/// Why bytes are no snapshot that can be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// The magic is missing.
    #[error("not a snapshot of a pagemig machine: it does not begin with {:?}", "pagemig")]
    Foreign,
    /// Another version wrote it.
    #[error("a snapshot of version {found}; this package reads version {VERSION}")]
    Version {
        /// The version that it says it has.
        found: u32,
    },
    /// It is not as long as it says.
    #[error("a damaged snapshot: {found} bytes, but its header says {expected}")]
    Length {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// A byte has changed.
    #[error(
        "a damaged snapshot: its checksum is {found:#010x}, but its header says {expected:#010x}"
    )]
    Checksum {
        /// The sum of the bytes there are.
        found: u32,
        /// The sum they should have.
        expected: u32,
    },
    /// The checksum is right and the machine is not: nobody kept such a one.
    #[error("a snapshot of no machine: {0}")]
    Nonsense(String),
}

impl From<BadSnapshot> for Misuse {
    fn from(bad: BadSnapshot) -> Misuse {
        Misuse::Other(bad.to_string())
    }
}

/// What stands beside the kernel's stores: descriptors and bytes, as far as they were touched.
#[derive(Serialize, Deserialize)]
struct Memory {
    frames: Vec<sparse::Line>,
    has_bytes: bool,
    pages: Vec<(Pfn, ByteBuf)>,
}

impl Machine {
    /// Everything there is, as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let spans = || self.kernel.zones.touched_spans();
        let pages = self.kernel.contents.pages(spans());
        let memory = Memory {
            frames: self.kernel.frames.lines(spans()),
            has_bytes: self.kernel.contents.exist(),
            pages: pages.map(|(pfn, bytes)| (pfn, ByteBuf::from(bytes))).collect(),
        };
        let kept = postcard::to_allocvec(&(self, memory)).expect("a machine is plain data");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + kept.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(kept.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&kept).to_le_bytes());
        bytes.extend_from_slice(&kept);
        bytes
    }

    /// The machine of a snapshot.
    ///
    /// # Errors
    /// If the bytes are not a whole, undamaged snapshot of this version, or the host has no room for
    /// the machine.
    pub fn restore(bytes: &[u8]) -> Result<Machine, BadSnapshot> {
        let kept = checked(bytes)?;
        let nonsense = |error: postcard::Error| BadSnapshot::Nonsense(error.to_string());
        let (read, rest) =
            postcard::take_from_bytes::<(Machine, Memory)>(kept).map_err(nonsense)?;
        let (mut machine, memory) = read;
        let wrong = |what: &str| BadSnapshot::Nonsense(what.into());
        if !rest.is_empty() {
            return Err(wrong("there are bytes after its end"));
        }
        let zones = machine.kernel.zones.iter();
        let len = zones.fold(0, |sum: usize, (_, zone)| sum.saturating_add(zone.free.len()));
        if u32::try_from(len).is_err() {
            return Err(wrong("it has more frames than can be numbered"));
        }
        machine.kernel.frames = FrameTable::from_lines(len, &memory.frames)
            .ok_or_else(|| wrong("its frames do not fit its zones, or this host has no room"))?;
        machine.kernel.contents = Contents::new(len + 1, memory.has_bytes)
            .ok_or_else(|| wrong("this host has no room for its bytes"))?;
        for (pfn, bytes) in memory.pages {
            let fits = pfn.index() <= len && memory.has_bytes && bytes.len() == PAGE;
            if !fits {
                return Err(wrong("bytes of a frame that it does not have"));
            }
            machine.kernel.contents.page_mut(pfn).copy_from_slice(&bytes);
        }
        Ok(machine)
    }
}

const PAGE: usize = crate::base::PAGE_SIZE as usize;

/// The machine's own bytes, once the header has been believed.
fn checked(bytes: &[u8]) -> Result<&[u8], BadSnapshot> {
    if !bytes.starts_with(MAGIC) {
        return Err(BadSnapshot::Foreign);
    }
    let cut = |from: usize, len: usize| bytes.get(from..from + len).unwrap_or_default();
    let short = BadSnapshot::Length { found: bytes.len() as u64, expected: HEADER_BYTES as u64 };
    let version = cut(8, 4).try_into().map(u32::from_le_bytes).map_err(|_| short.clone())?;
    if version != VERSION {
        return Err(BadSnapshot::Version { found: version });
    }
    let len = cut(12, 8).try_into().map(u64::from_le_bytes).map_err(|_| short.clone())?;
    let expected = cut(20, 4).try_into().map(u32::from_le_bytes).map_err(|_| short)?;
    let kept = &bytes[HEADER_BYTES..];
    if kept.len() as u64 != len {
        let whole = len.saturating_add(HEADER_BYTES as u64);
        return Err(BadSnapshot::Length { found: bytes.len() as u64, expected: whole });
    }
    let found = crc32fast::hash(kept);
    if found != expected {
        return Err(BadSnapshot::Checksum { found, expected });
    }
    Ok(kept)
}
