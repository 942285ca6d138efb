//! Swap, as plain Python values.

use pagemig_core::base::{MappingId, Misuse, SwapEntry};
use pagemig_core::kernel::Kernel;
use pyo3::prelude::*;

use crate::errors::Refusal;
use crate::machine::PyMachine;

/// (slots, free slots, pages in the swap cache)
pub(crate) fn totals(kernel: &Kernel) -> (u64, u64, u64) {
    let cached = kernel.mappings[MappingId::SWAPPER].tree.len();
    (kernel.swaps.total, kernel.swaps.free, cached)
}

/// (use count, in the swap cache, owned by shmem) of the slot with a neutral value.
pub(crate) fn slot(kernel: &Kernel, neutral: u64) -> Result<(u32, bool, bool), Refusal> {
    let (device, offset) = (neutral >> 59, neutral & ((1 << 59) - 1));
    let Some(found) = kernel.swaps.devices.get(device as usize) else {
        let devices = kernel.swaps.devices.len();
        return Err(Misuse::Other(format!("no swap device {device}; there are {devices}")).into());
    };
    let last = found.slots.len() as u64 - 1;
    if offset == 0 || offset > last {
        let what = format!("no swap slot {offset} on device {device}, which has slots 1 to {last}");
        return Err(Misuse::Other(what).into());
    }
    let slot = kernel.swaps.slot(SwapEntry::from_neutral(neutral));
    Ok((slot.uses, slot.has_cache, slot.is_shmem))
}

#[pymethods]
impl PyMachine {
    fn swap(&self) -> PyResult<(u64, u64, u64)> {
        self.look(|machine| Ok(totals(machine.kernel())))
    }

    fn swap_slot(&self, entry: u64) -> PyResult<(u32, bool, bool)> {
        self.look(|machine| slot(machine.kernel(), entry))
    }

    #[pyo3(signature = (io_ticks, congested))]
    fn set_swap_device(
        &self,
        py: Python<'_>,
        io_ticks: Option<u64>,
        congested: bool,
    ) -> PyResult<()> {
        self.enter(py, |machine| {
            machine.set_swap_device(io_ticks, congested);
            Ok(())
        })
    }
}
