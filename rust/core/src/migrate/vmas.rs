//! `migrate_vmas`: areas whose file has something of its own to move (migration 23).
//!
//! In the kernel that is a wrapper around files of sysfs; here the method is a number that it
//! returns ([`crate::state::mapping::FileSystem::area_migrate`]).

use crate::base::{Errno, MmId, NodeMask};
use crate::kernel::Kernel;
use crate::step::{Me, Mode};
use crate::trace::EventKind;

/// Calls the `migrate` method of every area of `mm` that has one, in address order, and stops at
/// the first that does not return 0.
///
/// `masks` are handed on as they come: the caller gives source and target, and that is what the
/// method expects. (The kernel calls them target and source on the way, to no effect: Q20.)
///
/// # Errors
/// What the method returned; a positive number as [`Errno::returned`] has it.
pub(super) fn migrate_vmas<M: Mode>(
    kernel: &mut Kernel,
    me: Me,
    mm: MmId,
    masks: [NodeMask; 2],
) -> Result<(), Errno> {
    let areas: Vec<_> = kernel.mms[mm].areas().collect();
    for id in areas {
        let (file, start) = (kernel.vmas[id].file, kernel.vmas[id].start);
        let method = file.and_then(|file| kernel.mappings[file].kind.area_migrate);
        let Some(value) = method else { continue };
        let [source, _] = masks;
        kernel.note::<M>(me, EventKind::MigrateArea, None, start, source.0 as i64);
        if value != 0 {
            return Err(Errno::returned(value));
        }
    }
    Ok(())
}
