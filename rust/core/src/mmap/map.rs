//! `mmap`: new areas, of anonymous memory and of files.

use serde::{Deserialize, Serialize};

use crate::base::{MappingId, Misuse, MmId, PAGE_SHIFT, PAGE_SIZE};
use crate::kernel::Kernel;
use crate::state::mapping::FileSystem;
use crate::state::mm::{VmFlags, Vma, check_range};
use crate::state::rmap::link_file;

/// Page offsets from here on do not fit a descriptor: files end at 2 PiB.
const PGOFF_END: u64 = 1 << 39;
/// What the files behind shared anonymous memory are called.
const NAMELESS: &str = "/dev/zero (deleted)";

/// What an area maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Backing {
    /// Anonymous memory; with VM_SHARED a shmem file of the area's own, which goes with its last
    /// area.
    Anonymous,
    /// A file, from this byte on.
    File(MappingId, u64),
}

/// Maps an area and returns its start. Never merges it with a neighbour.
///
/// # Errors
/// For a range that is empty, unaligned, outside user space, or in use, and for a file that does not
/// exist or an offset that is unaligned or too high; nothing has changed then.
pub fn map(
    kernel: &mut Kernel,
    mm: MmId,
    len: u64,
    at: Option<u64>,
    flags: VmFlags,
    backing: Backing,
) -> Result<u64, Misuse> {
    let checked = check_range(at.unwrap_or(0), len)?;
    if let Backing::File(file, offset) = backing {
        check_file(kernel, file, offset, checked - at.unwrap_or(0))?;
    }
    let (start, end) = match at {
        Some(start) => {
            kernel.mms[mm].check_free(&kernel.vmas, start, checked)?;
            (start, checked)
        }
        None => {
            let Kernel { mms, vmas, .. } = kernel;
            let start = mms[mm].place(vmas, checked)?;
            (start, start + checked)
        }
    };
    let flags = flags | VmFlags::MAY_ALL;
    let vma = match backing {
        Backing::File(file, offset) => of_file(kernel, mm, start..end, flags, (file, offset)),
        Backing::Anonymous if flags.contains(VmFlags::SHARED) => {
            let file = nameless_file(kernel, end - start);
            of_file(kernel, mm, start..end, flags, (file, 0))
        }
        Backing::Anonymous => Vma::anonymous(mm, start, end, flags),
    };
    if flags.contains(VmFlags::LOCKED) {
        kernel.mms[mm].locked_vm += vma.pages();
    }
    let id = kernel.vmas.insert(vma);
    kernel.mms[mm].insert(end, id);
    link_file(&mut kernel.mappings, &kernel.vmas, id);
    Ok(start)
}

fn of_file(
    kernel: &Kernel,
    mm: MmId,
    range: std::ops::Range<u64>,
    flags: VmFlags,
    (file, offset): (MappingId, u64),
) -> Vma {
    let is_shared = flags.contains(VmFlags::SHARED);
    let flags = if is_shared { flags | VmFlags::MAYSHARE } else { flags };
    let kind = &kernel.mappings[file].kind;
    Vma::of_file(mm, range.start, range.end, flags, (file, kind, offset >> PAGE_SHIFT))
}

/// The file behind one area of shared anonymous memory: shmem, forgotten when nothing maps it.
fn nameless_file(kernel: &mut Kernel, size: u64) -> MappingId {
    let file = kernel.mappings.create(NAMELESS.into(), size, FileSystem::tmpfs());
    let host = kernel.mappings[file].host.as_mut().expect("just made");
    host.is_nameless = true;
    file
}

fn check_file(kernel: &Kernel, file: MappingId, offset: u64, len: u64) -> Result<(), Misuse> {
    if file == MappingId::SWAPPER || kernel.mappings.find(file).is_none() {
        return Err(Misuse::Other(format!("no file {file} on this machine")));
    }
    if offset % PAGE_SIZE != 0 {
        return Err(Misuse::Unaligned(offset, offset - offset % PAGE_SIZE));
    }
    if offset.checked_add(len).is_none_or(|end| end >> PAGE_SHIFT > PGOFF_END) {
        return Err(Misuse::Other(format!(
            "{len:#x} bytes from offset {offset:#x} reach beyond {:#x}, where files end",
            PGOFF_END << PAGE_SHIFT
        )));
    }
    Ok(())
}
