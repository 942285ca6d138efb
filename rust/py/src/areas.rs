//! A task's areas, as plain Python values.

use numpy::{PyArray1, PyReadonlyArray1};
use pagemig_core::base::{Lookout, MappingId, Misuse, Pfn, TaskId, VmaId};
use pagemig_core::kernel::Kernel;
use pagemig_core::machine::Machine;
use pagemig_core::state::frame::PageFlags;
use pagemig_core::state::mm::VmFlags;
use pagemig_core::state::pagetable::Entry;
use pyo3::prelude::*;

use crate::arrays::array;
use crate::entries::copied;
use crate::errors::Refusal;
use crate::machine::PyMachine;
use crate::policies::{PolicyRow, policy_row};
use crate::slices::GoesOn;
use crate::views::memory;
use crate::views::{self, EntryRow};

/// (start, end, flags, pgoff, policy, id, links)
pub(crate) type VmaRow = (u64, u64, u64, u64, Option<PolicyRow>, u32, Vec<u32>);
/// (start, anonymous, dirty, highest map count, in the swap cache, active, under writeback, pages by
/// node)
pub(crate) type PagesRow = (u64, u64, u64, u32, u64, u64, u64, Vec<u64>);

/// So few addresses are looked up without letting Python go.
const FEW: usize = 1 << 12;

pub(crate) fn areas(machine: &Machine, pid: u32) -> Result<Vec<VmaRow>, Refusal> {
    let kernel = machine.kernel();
    let row = |id: VmaId| {
        let vma = &kernel.vmas[id];
        let links = vma.links.iter().map(|list| list.0).collect();
        let policy = vma.policy.map(policy_row);
        (vma.start, vma.end, vma.flags.bits(), vma.pgoff, policy, id.0, links)
    };
    Ok(memory(machine, pid)?.areas().map(row).collect())
}

/// The file that each area maps.
pub(crate) fn files(machine: &Machine, pid: u32) -> Result<Vec<Option<u32>>, Refusal> {
    let kernel = machine.kernel();
    let file = |id: VmaId| kernel.vmas[id].file.map(|file| file.0);
    Ok(memory(machine, pid)?.areas().map(file).collect())
}

/// The policy of the area at an address, where the file does not have its own.
pub(crate) fn policy_at(
    machine: &Machine,
    pid: u32,
    address: u64,
) -> Result<Option<PolicyRow>, Refusal> {
    let kernel = machine.kernel();
    let found = memory(machine, pid)?.area_at(&kernel.vmas, address);
    let nothing = || Misuse::Other(format!("task {pid} maps nothing at {address:#x}"));
    let area = found.ok_or_else(nothing)?;
    Ok(kernel.area_policy(area, address).map(policy_row))
}

/// What `numa_maps` counts of each area; nothing, if that was over early.
pub(crate) fn pages(
    machine: &Machine,
    pid: u32,
    goes_on: GoesOn<'_>,
) -> Result<Option<Vec<PagesRow>>, Refusal> {
    let lookout = Lookout::new(goes_on);
    let kernel = machine.kernel();
    let mm = memory(machine, pid)?;
    let mut entries = lookout.watch(kernel.tables.entries(mm.root)).peekable();
    let mut rows = Vec::new();
    for id in mm.areas() {
        let vma = &kernel.vmas[id];
        let mut row: PagesRow = (vma.start, 0, 0, 0, 0, 0, 0, vec![0; 64]);
        while let Some((_, _, entry)) = entries.next_if(|&(address, ..)| address < vma.end) {
            count(kernel, entry, &mut row);
        }
        rows.push(row);
    }
    Ok((!lookout.is_over()).then_some(rows))
}

/// Adds one entry to what is counted of its area: no reserved pages and none of KSM (syscalls 6.3).
fn count(kernel: &Kernel, entry: Entry, row: &mut PagesRow) {
    let Some(page) = entry.normal_page().filter(|_| entry.is_present()) else { return };
    let frame = &kernel.frames[page];
    if frame.has(PageFlags::RESERVED) || frame.is_ksm() {
        return;
    }
    row.1 += u64::from(frame.is_anon());
    row.2 += u64::from(entry.has(Entry::DIRTY) || frame.has(PageFlags::DIRTY));
    row.3 = row.3.max(frame.mapcount());
    row.4 += u64::from(frame.has(PageFlags::SWAPCACHE));
    row.5 += u64::from(frame.has(PageFlags::ACTIVE | PageFlags::UNEVICTABLE));
    row.6 += u64::from(frame.has(PageFlags::WRITEBACK));
    row.7[kernel.zones.node_of(page).index()] += 1;
}

#[pymethods]
impl PyMachine {
    #[pyo3(signature = (pid, length, at, vm_flags, file=None, offset=0))]
    #[allow(clippy::too_many_arguments, reason = "the arguments of mmap")]
    fn mmap(
        &self,
        py: Python<'_>,
        pid: u32,
        length: u64,
        at: Option<u64>,
        vm_flags: u64,
        file: Option<u32>,
        offset: u64,
    ) -> PyResult<u64> {
        let (pid, flags) = (TaskId(pid), VmFlags::from_bits_truncate(vm_flags));
        self.enter(py, |machine| match file.map(MappingId) {
            Some(file) => machine.mmap_file(pid, length, at, flags, file, offset),
            None => machine.mmap(pid, length, at, flags),
        })
    }

    fn vmas(&self, py: Python<'_>, pid: u32) -> PyResult<Vec<Py<PyAny>>> {
        let rows: Vec<VmaRow> = self.look(|machine| areas(machine, pid))?;
        let object = |(start, end, flags, pgoff, policy, id, links): VmaRow| {
            let links = pyo3::types::PyTuple::new(py, links)?;
            let row = (start, end, flags, pgoff, policy, id, links).into_pyobject(py)?;
            Ok(row.into_any().unbind())
        };
        rows.into_iter().map(object).collect()
    }

    fn vma_pages(&self, py: Python<'_>, pid: u32) -> PyResult<Vec<Py<PyAny>>> {
        let rows = self.watch(py, |machine, goes_on| pages(machine, pid, goes_on))?;
        let object = |row: PagesRow| {
            let (start, anon, dirty, mapmax, swapcache, active, writeback, nodes) = row;
            let nodes = pyo3::types::PyTuple::new(py, nodes)?;
            let row = (start, anon, dirty, mapmax, swapcache, active, writeback, nodes);
            Ok(row.into_pyobject(py)?.into_any().unbind())
        };
        rows.into_iter().map(object).collect()
    }

    fn vma_files(&self, pid: u32) -> PyResult<Vec<Option<u32>>> {
        self.look(|machine| files(machine, pid))
    }

    fn policy_at(&self, pid: u32, address: u64) -> PyResult<Option<PolicyRow>> {
        self.look(|machine| policy_at(machine, pid, address))
    }

    fn nodes_of<'py>(
        &self,
        py: Python<'py>,
        pid: u32,
        addresses: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let addresses = copied(py, &addresses)?;
        let nodes = if addresses.len() < FEW {
            let goes_on = &mut || true;
            let nodes = self.look(|machine| views::nodes_of(machine, pid, &addresses, goes_on))?;
            nodes.unwrap_or_default()
        } else {
            self.watch(py, |machine, goes_on| views::nodes_of(machine, pid, &addresses, goes_on))?
        };
        Ok(array(py, nodes))
    }

    fn frames_of<'py>(
        &self,
        py: Python<'py>,
        pid: u32,
        addresses: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let addresses = addresses.as_array().to_vec();
        let frames = self.look(|machine| views::frames_of(machine, pid, &addresses))?;
        Ok(array(py, frames))
    }

    fn entry(&self, pid: u32, address: u64) -> PyResult<EntryRow> {
        self.look(|machine| views::entry(machine, pid, address))
    }

    fn entries_to(&self, py: Python<'_>, pfn: u32) -> PyResult<Vec<(u32, u64)>> {
        self.watch(py, |machine, goes_on| {
            Ok::<_, Refusal>(views::entries_to(machine.kernel(), Pfn(pfn), goes_on))
        })
    }

    fn mm_counters(&self, pid: u32) -> PyResult<(i64, i64, i64)> {
        self.look(|machine| {
            let resident = views::memory(machine, pid)?.resident;
            Ok((resident.file, resident.anon, resident.swap))
        })
    }
}
