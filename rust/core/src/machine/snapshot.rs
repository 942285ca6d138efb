//! A machine as bytes, and back: calls in flight included.
//!
//! A snapshot is a magic, a version, the length and the checksum of what follows, and the machine
//! itself. Start with [`Machine::snapshot`]; [`Machine::snapshot_while`] and [`Machine::restore_while`] can
//! be told to stop, and have changed nothing then. What is restored is equal to what was kept: it goes on in
//! the same way, step for step. A version reads its own snapshots only.

use postcard::ser_flavors::Flavor;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use serde_bytes::{ByteBuf, Bytes};

use super::Machine;
use super::pieces::{Pieces, Window};
use crate::base::{Lookout, Misuse, Pfn, sparse};
use crate::kernel::Kernel;
use crate::state::frame::{Contents, FrameTable};
use crate::state::rmap::complete_lists;

/// How every snapshot begins.
const MAGIC: &[u8; 8] = b"pagemig\0";
/// What the bytes after the header mean. Any change of what a machine keeps is another version.
const VERSION: u32 = 3;
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
#[derive(Deserialize)]
struct Memory {
    frames: Vec<sparse::Line>,
    has_bytes: bool,
    pages: Vec<(Pfn, ByteBuf)>,
}

/// The same on its way out: nothing of it is copied first.
#[derive(Serialize)]
struct KeptMemory<'a> {
    frames: sparse::Lines<'a>,
    has_bytes: bool,
    pages: KeptPages<'a>,
}

/// The pages of a machine that are not all zeroes.
struct KeptPages<'a> {
    kernel: &'a Kernel,
    lookout: &'a Lookout<'a>,
}

impl Serialize for KeptPages<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let KeptPages { kernel: Kernel { contents, zones, .. }, lookout } = self;
        let goes_on = |_: &usize| lookout.pass(PAGE);
        let touched = || zones.touched_spans().flatten().take_while(goes_on).map(Pfn::from);
        let kept = || touched().filter(|&pfn| contents.is_written(pfn));
        let mut sequence = to.serialize_seq(Some(kept().count()))?;
        for pfn in kept() {
            sequence.serialize_element(&(pfn, Bytes::new(contents.page(pfn))))?;
        }
        sequence.end()
    }
}

impl Machine {
    /// Everything there is, as bytes.
    ///
    /// # Panics
    /// If the host has no room for them.
    pub fn snapshot(&self) -> Vec<u8> {
        let kept = self.snapshot_while(&mut || true).expect("room for a snapshot");
        kept.expect("nobody ends it").concat()
    }

    /// The same, in pieces, for as long as `goes_on` says so, which is asked every few
    /// milliseconds; none if it did not.
    ///
    /// # Errors
    /// If the host has no room for the pieces.
    pub fn snapshot_while(
        &self,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<Vec<u8>>>, Misuse> {
        let lookout = Lookout::new(goes_on);
        let kernel = &self.kernel;
        let memory = KeptMemory {
            frames: kernel.frames.lines(kernel.zones.touched_spans()),
            has_bytes: kernel.contents.exist(),
            pages: KeptPages { kernel, lookout: &lookout },
        };
        let room_for_header = [0; HEADER_BYTES];
        let mut to = Pieces::new(&lookout);
        let is_begun = to.try_extend(&room_for_header).is_ok();
        let written =
            if is_begun { postcard::serialize_with_flavor(&(self, memory), to).ok() } else { None };
        let Some(mut pieces) = written else {
            let no_room = || Misuse::Other("this host has no room for a snapshot".into());
            return if lookout.is_over() { Ok(None) } else { Err(no_room()) };
        };
        let (mut sum, mut len) = (crc32fast::Hasher::new(), 0);
        for (at, piece) in pieces.iter().enumerate() {
            let kept = &piece[if at == 0 { HEADER_BYTES } else { 0 }..];
            add_to(&mut sum, kept, &lookout);
            len += kept.len() as u64;
        }
        let header = &mut pieces[0][..HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&len.to_le_bytes());
        header[20..].copy_from_slice(&sum.finalize().to_le_bytes());
        Ok((!lookout.is_over()).then_some(pieces))
    }

    /// The machine of a snapshot.
    ///
    /// # Errors
    /// If the bytes are not a whole, undamaged snapshot of this version, or the host has no room for
    /// the machine.
    pub fn restore(bytes: &[u8]) -> Result<Machine, BadSnapshot> {
        Machine::restore_while(bytes, &mut || true).map(|made| made.expect("nobody ends it"))
    }

    /// The same, for as long as `goes_on` says so, which is asked every few milliseconds; none if
    /// it did not.
    ///
    /// # Errors
    /// As [`Machine::restore`].
    pub fn restore_while(
        bytes: &[u8],
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Machine>, BadSnapshot> {
        let lookout = Lookout::new(goes_on);
        let made = checked(bytes, &lookout).and_then(|kept| read(kept, &lookout));
        if lookout.is_over() { Ok(None) } else { made.map(Some) }
    }
}

/// The machine of the bytes that follow a header; nonsense, if that was over early.
fn read(kept: &[u8], lookout: &Lookout<'_>) -> Result<Machine, BadSnapshot> {
    let nonsense = |error: postcard::Error| BadSnapshot::Nonsense(error.to_string());
    let wrong = |what: &str| BadSnapshot::Nonsense(what.into());
    let mut from = postcard::Deserializer::from_flavor(Window::new(kept, lookout));
    let (mut machine, memory) = <(Machine, Memory)>::deserialize(&mut from).map_err(nonsense)?;
    if !from.finalize().map_err(nonsense)?.is_empty() {
        return Err(wrong("there are bytes after its end"));
    }
    let Kernel { anon_vmas, mappings, vmas, .. } = &mut machine.kernel;
    if !complete_lists(anon_vmas, mappings, vmas) {
        return Err(wrong("a list of areas names one that it does not have"));
    }
    let zones = machine.kernel.zones.iter();
    let len = zones.fold(0, |sum: usize, (_, zone)| sum.saturating_add(zone.free.len()));
    if u32::try_from(len).is_err() {
        return Err(wrong("it has more frames than can be numbered"));
    }
    machine.kernel.frames = FrameTable::from_lines(len, lookout.watch(&memory.frames))
        .ok_or_else(|| wrong("its frames do not fit its zones, or this host has no room"))?;
    machine.kernel.contents = Contents::new(len + 1, memory.has_bytes)
        .ok_or_else(|| wrong("this host has no room for its bytes"))?;
    for (pfn, bytes) in memory.pages {
        let fits = pfn.index() <= len && memory.has_bytes && bytes.len() == PAGE;
        if !fits || !lookout.pass(PAGE) {
            return Err(wrong("bytes of a frame that it does not have"));
        }
        machine.kernel.contents.page_mut(pfn).copy_from_slice(&bytes);
    }
    Ok(machine)
}

/// Adds bytes to a checksum, until it is over.
fn add_to(sum: &mut crc32fast::Hasher, bytes: &[u8], lookout: &Lookout<'_>) {
    const PIECE: usize = 1 << 20;
    let pieces = bytes.chunks(PIECE).take_while(|piece| lookout.pass(piece.len()));
    pieces.for_each(|piece| sum.update(piece));
}

const PAGE: usize = crate::base::PAGE_SIZE as usize;

/// The machine's own bytes, once the header has been believed.
fn checked<'a>(bytes: &'a [u8], lookout: &Lookout<'_>) -> Result<&'a [u8], BadSnapshot> {
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
    let mut sum = crc32fast::Hasher::new();
    add_to(&mut sum, kept, lookout);
    let found = sum.finalize();
    if found != expected {
        return Err(BadSnapshot::Checksum { found, expected });
    }
    Ok(kept)
}
