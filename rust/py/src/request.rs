//! What a call shall do, made in Python.

use std::sync::Mutex;

use numpy::{PyReadonlyArray1, PyUntypedArrayMethods};
use pagemig_core::base::{CpusetId, Errno, MappingId, NODES_MAX, NodeId, NodeMask, Pfn, TaskId};
use pagemig_core::cpuset::Change;
use pagemig_core::fault::Pages;
use pagemig_core::machine::Request;
use pagemig_core::migrate::collect::Wanted;
use pagemig_core::migrate::move_pages;
use pagemig_core::migrate::query::Question;
use pagemig_core::migrate::target::Target;
use pagemig_core::mmap::Advice;
use pagemig_core::state::mm::VmFlags;
use pyo3::prelude::*;

use crate::entries::{Nodes, Places, collected, copied, kept, node_ids};
use crate::errors::usage;
use crate::policies::{PolicyRow, policy};

/// One operation and its arguments, checked, not yet begun. Whoever begins it takes it out, so that
/// long arrays are not copied once more.
#[pyclass(frozen, module = "pagemig._core", name = "Request")]
pub(crate) struct PyRequest(Mutex<Option<Request>>);

impl PyRequest {
    fn of(request: Request) -> PyRequest {
        PyRequest(Mutex::new(Some(request)))
    }

    /// Takes the request out: it can be begun once.
    pub(crate) fn take(&self) -> PyResult<Request> {
        let taken = self.0.lock().ok().and_then(|mut request| request.take());
        taken.ok_or_else(|| usage("this request was made already; make another one"))
    }
}

#[pymethods]
impl PyRequest {
    #[staticmethod]
    #[allow(clippy::too_many_arguments, reason = "what the call is made of")]
    fn move_pages(
        py: Python<'_>,
        target: u32,
        count: u64,
        pages: Places<'_>,
        nodes: Nodes<'_>,
        fill_error: Option<(u64, i32)>,
        statuses_writable: u64,
        shared_too: bool,
    ) -> PyResult<PyRequest> {
        let fill_error = match fill_error {
            Some((entry, code)) => Some((entry, errno(code)?)),
            None => None,
        };
        let present = fill_error.map_or(count, |(entry, _)| entry);
        let given = (pages.len(), nodes.len().unwrap_or(pages.len()));
        if given.0 as u64 != present || given.1 as u64 != present {
            let (pages, nodes) = given;
            return Err(usage(format!("{pages} pages and {nodes} nodes for {present} entries")));
        }
        let request = move_pages::Request {
            count,
            addresses: pages.listed(py)?,
            nodes: nodes.listed(py, given.0)?,
            fill_error,
            statuses_writable,
            is_shared_too: shared_too,
        };
        Ok(PyRequest::of(Request::MovePages { target: TaskId(target), request }))
    }

    #[staticmethod]
    fn query_pages(
        py: Python<'_>,
        target: u32,
        count: u64,
        pages: Places<'_>,
        pages_readable: u64,
        status_bytes_writable: u64,
    ) -> PyResult<PyRequest> {
        let mut addresses = pages.listed(py)?;
        addresses.truncate(usize::try_from(pages_readable).unwrap_or(usize::MAX));
        let question = Question { count, addresses, status_bytes_writable };
        Ok(PyRequest::of(Request::QueryPages { target: TaskId(target), question }))
    }

    #[staticmethod]
    fn migrate_pages(target: u32, old_nodes: u64, new_nodes: u64, shared_too: bool) -> PyRequest {
        PyRequest::of(Request::MigratePages {
            target: TaskId(target),
            from: NodeMask(old_nodes),
            to: NodeMask(new_nodes),
            is_shared_too: shared_too,
        })
    }

    #[staticmethod]
    fn mbind(
        start: u64,
        length: u64,
        policy_row: PolicyRow,
        user_nodes: u64,
        strict: bool,
        may_move: bool,
        shared_too: bool,
    ) -> PyResult<PyRequest> {
        let policy = policy(policy_row)?;
        let wanted = Wanted {
            nodes: NodeMask(user_nodes),
            is_inverted: true,
            is_strict: strict,
            may_move,
            is_shared_too: shared_too,
            may_have_holes: policy.is_none(),
        };
        Ok(PyRequest::of(Request::Mbind { start, len: length, policy, wanted }))
    }

    #[staticmethod]
    #[pyo3(signature = (pfns, kind, node, nodes, offlining))]
    fn migrate_frames(
        py: Python<'_>,
        pfns: PyReadonlyArray1<'_, u32>,
        kind: u8,
        node: u8,
        nodes: PyReadonlyArray1<'_, i32>,
        offlining: bool,
    ) -> PyResult<PyRequest> {
        let frames = collected(pfns.as_array().iter().map(|&pfn| Pfn(pfn)))?;
        let target = match kind {
            0 if usize::from(node) < NODES_MAX => Target::Preferably(NodeId(node)),
            1 => Target::Anywhere,
            2 if nodes.len() == frames.len() => Target::Exactly(node_ids(py, &nodes)?),
            _ => return Err(usage(format!("target {kind} with {} nodes", nodes.len()))),
        };
        Ok(PyRequest::of(Request::MigrateFrames { frames, target, is_offlining: offlining }))
    }

    #[staticmethod]
    fn touch_range(start: u64, pages: usize, write: bool) -> PyRequest {
        PyRequest::of(Request::Touch(Pages::Range { start, pages, is_write: write }))
    }

    #[staticmethod]
    fn touch_list(
        py: Python<'_>,
        addresses: PyReadonlyArray1<'_, u64>,
        writes: PyReadonlyArray1<'_, bool>,
    ) -> PyResult<PyRequest> {
        if addresses.len() != writes.len() {
            let (a, w) = (addresses.len(), writes.len());
            return Err(usage(format!("{a} addresses, but {w} flags that say which are stores")));
        }
        let (addresses, writes) = (copied(py, &addresses)?, copied(py, &writes)?);
        Ok(PyRequest::of(Request::Touch(Pages::List { addresses, writes })))
    }

    #[staticmethod]
    fn read(address: u64, size: usize) -> PyRequest {
        PyRequest::of(Request::Read { address, size })
    }

    #[staticmethod]
    fn write(py: Python<'_>, address: u64, data: &[u8]) -> PyResult<PyRequest> {
        Ok(PyRequest::of(Request::Write { address, data: kept(py, data)? }))
    }

    #[staticmethod]
    fn fork(name: String) -> PyRequest {
        PyRequest::of(Request::Fork { name })
    }

    #[staticmethod]
    fn exit() -> PyRequest {
        PyRequest::of(Request::Exit)
    }

    #[staticmethod]
    fn munmap(start: u64, length: u64) -> PyRequest {
        PyRequest::of(Request::Munmap { start, len: length })
    }

    #[staticmethod]
    fn mprotect(start: u64, length: u64, vm_flags: u64) -> PyRequest {
        let protection = VmFlags::from_bits_truncate(vm_flags) & VmFlags::PROTECTION;
        PyRequest::of(Request::Mprotect { start, len: length, protection })
    }

    #[staticmethod]
    #[pyo3(signature = (start, length, new_length, to))]
    fn mremap(start: u64, length: u64, new_length: u64, to: Option<u64>) -> PyRequest {
        PyRequest::of(Request::Mremap { start, len: length, new_len: new_length, to })
    }

    #[staticmethod]
    fn madvise(start: u64, length: u64, advice: i32) -> PyResult<PyRequest> {
        let advice = match advice {
            4 => Advice::DontNeed,
            10 => Advice::DontFork,
            11 => Advice::DoFork,
            12 => Advice::Mergeable,
            13 => Advice::Unmergeable,
            _ => return Err(usage(format!("no advice {advice}; 4 and 10 to 13 are known"))),
        };
        Ok(PyRequest::of(Request::Madvise { start, len: length, advice }))
    }

    #[staticmethod]
    fn mlock(start: u64, length: u64, lock: bool) -> PyRequest {
        PyRequest::of(Request::Mlock { start, len: length, is_lock: lock })
    }

    #[staticmethod]
    fn pin(address: u64, write: bool) -> PyRequest {
        PyRequest::of(Request::Pin { address, is_write: write })
    }

    #[staticmethod]
    fn ksm_scan() -> PyRequest {
        PyRequest::of(Request::KsmScan)
    }

    #[staticmethod]
    fn unpin(pfn: u32) -> PyRequest {
        PyRequest::of(Request::Unpin(Pfn(pfn)))
    }

    #[staticmethod]
    fn drain() -> PyRequest {
        PyRequest::of(Request::Drain)
    }

    #[staticmethod]
    fn offline(first_pfn: u32, count: u32, timeout: u64) -> PyRequest {
        PyRequest::of(Request::Offline { first: Pfn(first_pfn), count, timeout })
    }

    #[staticmethod]
    fn soft_offline(pfn: u32) -> PyRequest {
        PyRequest::of(Request::SoftOffline(Pfn(pfn)))
    }

    #[staticmethod]
    fn set_cpuset_mems(cpuset: u16, mems: u64) -> PyRequest {
        let change = Change::Mems(NodeMask(mems));
        PyRequest::of(Request::ChangeCpuset { cpuset: CpusetId(cpuset), change })
    }

    #[staticmethod]
    fn attach_cpuset(cpuset: u16, pid: u32) -> PyRequest {
        let change = Change::Attach(TaskId(pid));
        PyRequest::of(Request::ChangeCpuset { cpuset: CpusetId(cpuset), change })
    }

    #[staticmethod]
    fn read_file(file: u32, offset: u64, size: u64) -> PyRequest {
        PyRequest::of(Request::ReadFile { file: MappingId(file), offset, size })
    }

    #[staticmethod]
    #[pyo3(signature = (file, offset, size, data))]
    fn write_file(
        py: Python<'_>,
        file: u32,
        offset: u64,
        size: u64,
        data: Option<&[u8]>,
    ) -> PyResult<PyRequest> {
        let data = data.map(|data| kept(py, data)).transpose()?;
        Ok(PyRequest::of(Request::WriteFile { file: MappingId(file), offset, size, data }))
    }

    #[staticmethod]
    fn truncate(file: u32, size: u64) -> PyRequest {
        PyRequest::of(Request::Truncate { file: MappingId(file), size })
    }

    #[staticmethod]
    fn lookup(file: u32, page: u64) -> PyRequest {
        PyRequest::of(Request::Lookup { file: MappingId(file), page })
    }

    #[staticmethod]
    fn writeback(file: u32, page: u64) -> PyRequest {
        PyRequest::of(Request::Writeback { file: MappingId(file), page })
    }

    #[staticmethod]
    fn complete_io() -> PyRequest {
        PyRequest::of(Request::CompleteIo)
    }

    #[staticmethod]
    fn invalidate(file: u32, page: u64) -> PyRequest {
        PyRequest::of(Request::Invalidate { file: MappingId(file), page })
    }

    #[staticmethod]
    fn swap_out(address: u64) -> PyRequest {
        PyRequest::of(Request::SwapOut { address })
    }

    #[staticmethod]
    fn reclaim(node: u8, pages: u32, anonymous: bool) -> PyRequest {
        PyRequest::of(Request::Reclaim { node: NodeId(node), pages, is_anon: anonymous })
    }
}

fn errno(code: i32) -> PyResult<Errno> {
    Errno::from_code(code).ok_or_else(|| usage(format!("no errno {code} in the model")))
}
