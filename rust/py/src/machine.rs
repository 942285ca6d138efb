//! A machine, for Python: every method goes through the gate.
use std::collections::BTreeMap;
use std::str::FromStr;

use numpy::PyArray1;
use pagemig_core::base::{
    Bugs, CallId, CpuId, MachineSpec, Misuse, NodeId, NodeMask, Pfn, Profile, SwapEntry, TaskId,
    Watermarks, ZoneKind, ZoneSpec,
};
use pagemig_core::machine::verbs::Birth;
use pagemig_core::machine::{KERNEL_TASK, Machine, Request};
use pagemig_core::state::task::Credentials;
use pagemig_core::step::Schedule;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::arrays::array;
use crate::errors::{Refusal, usage};
use crate::explore::kind_name;
#[cfg(target_arch = "x86_64")]
use crate::far_copies;
use crate::gate::{Gate, no_room};
use crate::host_room;
use crate::huge_pages;
use crate::outcome::{code, to_python};
use crate::policies::{PolicyRow, policy, policy_row};
use crate::request::PyRequest;
use crate::slices::{self, GoesOn};
use crate::spare;
use crate::views::{self, CallRow, FrameRow};

/// (node, kind, frames, min, low, high)
type ZoneRow = (u8, u8, u64, u64, u64, u64);
/// (name, uid, euid, suid, capabilities, mems_allowed, cpu, has memory, kernel thread)
type TaskRow = (String, u32, u32, u32, u64, u64, u16, bool, bool);
/// (kind, rule, invariants, detail)
type JudgedRow = (&'static str, String, &'static str, String);

/// A simulated machine.
#[pyclass(frozen, module = "pagemig._core", name = "Machine")]
pub(crate) struct PyMachine(Gate);

impl PyMachine {
    pub(crate) fn of(mut machine: Machine) -> PyMachine {
        #[cfg(target_arch = "x86_64")]
        machine.copy_far_pages_with(far_copies::copy);
        machine.large_stores().into_iter().for_each(huge_pages::ask_for);
        PyMachine(Gate::new(machine))
    }

    pub(crate) fn enter<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Machine) -> Result<T, Misuse> + Send,
    ) -> PyResult<T> {
        self.0.enter(py, work)
    }

    /// As [`slices::watch`].
    pub(crate) fn watch<T: Send, E: Into<Refusal>>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Machine, GoesOn<'_>) -> Result<Option<T>, E> + Send,
    ) -> PyResult<T> {
        slices::watch(&self.0, py, work)
    }

    pub(crate) fn look<T>(&self, work: impl FnOnce(&Machine) -> Result<T, Refusal>) -> PyResult<T> {
        self.0.look(work)
    }
}

#[pymethods]
impl PyMachine {
    #[new]
    #[pyo3(signature = (*, nodes, zones, cpu_nodes, distances, contents, repaired, swap_pages=0, pageblock_frames=512))]
    #[allow(clippy::too_many_arguments, reason = "what a machine is made of")]
    fn new(
        py: Python<'_>,
        nodes: Vec<u8>,
        zones: Vec<ZoneRow>,
        cpu_nodes: Vec<u8>,
        distances: Vec<u32>,
        contents: bool,
        repaired: bool,
        swap_pages: u64,
        pageblock_frames: u64,
    ) -> PyResult<PyMachine> {
        let spec = MachineSpec {
            nodes: nodes.into_iter().map(NodeId).collect(),
            zones: zones.into_iter().map(zone).collect::<PyResult<_>>()?,
            cpu_nodes: cpu_nodes.into_iter().map(NodeId).collect(),
            distances,
            contents,
            profile: if repaired { Profile::Repaired } else { Profile::Exact },
            swap_slots: small(swap_pages, "pages of swap", SwapEntry::OFFSET_END - 1)?,
            pageblock_frames: small(pageblock_frames, "frames in a pageblock", 1 << 31)?,
        };
        if !spare::is_kept() {
            return Err(usage(no_room()));
        }
        let machine = py.detach(|| Machine::new(&spec)).map_err(usage)?;
        Ok(PyMachine::of(machine))
    }

    #[allow(clippy::too_many_arguments, reason = "the arguments of spawn")]
    fn spawn(
        &self,
        py: Python<'_>,
        name: String,
        uid: u32,
        euid: u32,
        suid: u32,
        capabilities: u64,
        mems_allowed: u64,
        cpu: u16,
        kernel_thread: bool,
        stack: bool,
    ) -> PyResult<u32> {
        let birth = Birth {
            name,
            credentials: Credentials { uid, euid, suid, capabilities },
            mems_allowed: NodeMask(mems_allowed),
            cpu: CpuId(cpu),
            is_kernel_thread: kernel_thread,
            has_stack: stack,
        };
        self.enter(py, |machine| machine.spawn(birth)).map(|pid| pid.0)
    }

    fn pids(&self) -> PyResult<Vec<u32>> {
        self.look(|machine| {
            let tasks = machine.kernel().tasks.iter();
            Ok(tasks
                .map(|(pid, _)| pid)
                .filter(|&pid| pid != KERNEL_TASK)
                .map(|pid| pid.0)
                .collect())
        })
    }

    fn task(&self, pid: u32) -> PyResult<TaskRow> {
        self.look(|machine| {
            let found = machine.kernel().tasks.find(TaskId(pid));
            let task = found.ok_or(Misuse::NoSuchTask(TaskId(pid)))?;
            let who = task.credentials;
            Ok((
                task.name.clone(),
                who.uid,
                who.euid,
                who.suid,
                who.capabilities,
                task.mems_allowed.0,
                task.cpu.0,
                task.mm.is_some(),
                task.is_kernel_thread,
            ))
        })
    }

    fn set_credentials(
        &self,
        py: Python<'_>,
        pid: u32,
        uid: u32,
        euid: u32,
        suid: u32,
        capabilities: u64,
    ) -> PyResult<()> {
        let to = Credentials { uid, euid, suid, capabilities };
        self.enter(py, |machine| machine.set_credentials(TaskId(pid), to))
    }

    fn set_mems_allowed(&self, py: Python<'_>, pid: u32, mask: u64) -> PyResult<()> {
        self.enter(py, |machine| machine.set_mems_allowed(TaskId(pid), NodeMask(mask)))
    }

    fn set_signal(&self, py: Python<'_>, pid: u32, pending: bool) -> PyResult<()> {
        self.enter(py, |machine| machine.set_signal(TaskId(pid), pending))
    }

    fn set_cpu(&self, py: Python<'_>, pid: u32, cpu: u16) -> PyResult<()> {
        self.enter(py, |machine| machine.set_cpu(TaskId(pid), CpuId(cpu)))
    }

    fn set_kernel_cpu(&self, py: Python<'_>, cpu: u16) -> PyResult<()> {
        self.enter(py, |machine| machine.set_kernel_cpu(CpuId(cpu)))
    }

    fn set_task_policy(&self, py: Python<'_>, pid: u32, row: PolicyRow) -> PyResult<i32> {
        let policy = policy(row)?.unwrap_or_default();
        self.enter(py, |machine| machine.set_task_policy(TaskId(pid), policy)).map(code)
    }

    fn task_policy(&self, pid: u32) -> PyResult<PolicyRow> {
        self.look(|machine| {
            let found = machine.kernel().tasks.find(TaskId(pid));
            Ok(policy_row(found.ok_or(Misuse::NoSuchTask(TaskId(pid)))?.policy))
        })
    }

    fn next_interleave(&self, pid: u32) -> PyResult<u8> {
        self.look(|machine| {
            let found = machine.kernel().tasks.find(TaskId(pid));
            Ok(found.ok_or(Misuse::NoSuchTask(TaskId(pid)))?.next_interleave.0)
        })
    }

    fn frame(&self, pfn: u32) -> PyResult<FrameRow> {
        self.look(|machine| {
            machine.check_frame(Pfn(pfn))?;
            Ok(views::frame(machine.kernel(), Pfn(pfn)))
        })
    }

    fn frames<'py>(&self, py: Python<'py>, node: u8) -> PyResult<Bound<'py, PyDict>> {
        let look = |machine: &Machine, goes_on: GoesOn<'_>| {
            views::frames(machine.kernel(), NodeId(node), goes_on)
        };
        self.watch(py, look)?.into_dict(py)
    }

    fn frame_bytes<'py>(&self, py: Python<'py>, pfn: u32) -> PyResult<Bound<'py, PyBytes>> {
        self.look(|machine| {
            machine.check_frame(Pfn(pfn))?;
            if !machine.kernel().contents.exist() {
                return Err(Misuse::NoContents.into());
            }
            Ok(PyBytes::new(py, machine.kernel().contents.page(Pfn(pfn))))
        })
    }

    fn zone_counters<'py>(&self, py: Python<'py>, node: u8) -> PyResult<Bound<'py, PyDict>> {
        let of_node = |other: NodeId| other.0 == node;
        self.look(|machine| Ok(views::counters(py, machine.kernel(), of_node)))?
    }

    fn vmstat<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.look(|machine| Ok(views::counters(py, machine.kernel(), |_| true)))?
    }

    fn lru<'py>(
        &self,
        py: Python<'py>,
        node: u8,
        zone: u8,
        index: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let look = |machine: &Machine, goes_on: GoesOn<'_>| {
            let list = views::find_list(machine.kernel(), NodeId(node), zone, index);
            let what = || format!("no LRU list {index} of zone kind {zone} on node {node}");
            let (zone, kind) = list.ok_or_else(|| Refusal::from(Misuse::Other(what())))?;
            views::list(machine.kernel(), zone, kind, goes_on)
        };
        views::to_list(py, &self.watch(py, look)?)
    }

    fn pagevec(&self, cpu: u16, index: usize) -> PyResult<Vec<u32>> {
        self.look(|machine| {
            machine.check_cpu(CpuId(cpu))?;
            if index > 5 {
                return Err(Misuse::Other(format!("no pagevec {index}; 0 to 5")).into());
            }
            Ok(views::pagevec(machine.kernel(), CpuId(cpu), index))
        })
    }

    fn zonelist(&self, node: u8) -> PyResult<Vec<(u8, u8)>> {
        self.look(|machine| {
            let zones = &machine.kernel().zones;
            if !zones.nodes().contains(&NodeId(node)) {
                return Err(Misuse::NoSuchNode(node.into()).into());
            }
            let list = zones.fallback_list(NodeId(node)).iter();
            Ok(list.map(|&zone| (zones[zone].node.0, zones[zone].kind as u8)).collect())
        })
    }

    fn isolate(&self, py: Python<'_>, pfn: u32) -> PyResult<i32> {
        self.enter(py, |machine| machine.isolate(Pfn(pfn))).map(code)
    }

    fn putback(&self, py: Python<'_>, pfn: u32) -> PyResult<()> {
        self.enter(py, |machine| machine.putback(Pfn(pfn)))
    }

    fn pins(&self) -> PyResult<BTreeMap<u32, u32>> {
        self.look(|machine| {
            let pins = machine.kernel().pins.iter();
            Ok(pins.map(|(page, &count)| (page.0, count)).collect())
        })
    }

    #[pyo3(name = "do", signature = (pid, request, progress=None))]
    fn run_now(
        &self,
        py: Python<'_>,
        pid: u32,
        request: &PyRequest,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let request = request.take()?;
        let is_read = matches!(request, Request::Read { .. });
        let outcome = slices::run(&self.0, py, TaskId(pid), request, progress)?;
        to_python(py, outcome, is_read)
    }

    fn start(&self, py: Python<'_>, pid: u32, request: &PyRequest, fine: bool) -> PyResult<u32> {
        let request = request.take()?;
        let start = |machine: &mut Machine| {
            host_room::check(machine, TaskId(pid), &request)?;
            machine.start(TaskId(pid), request, fine)
        };
        self.enter(py, start).map(|call| call.0)
    }

    fn step(&self, py: Python<'_>, call: u32) -> PyResult<bool> {
        self.enter(py, |machine| machine.step(CallId(call)))
    }

    fn run_until(&self, py: Python<'_>, call: u32, label: &str) -> PyResult<bool> {
        let call = CallId(call);
        slices::find(&self.0, py, |machine| machine.run_until_for(call, label, slices::STEPS))
    }

    fn finish(&self, py: Python<'_>, call: u32) -> PyResult<()> {
        slices::step(&self.0, py, |machine| machine.finish_for(CallId(call), slices::STEPS))
    }

    fn run(&self, py: Python<'_>) -> PyResult<()> {
        slices::step(&self.0, py, |machine| machine.run_all_for(slices::STEPS))
    }

    fn finish_for(&self, py: Python<'_>, call: u32, steps: u64) -> PyResult<usize> {
        self.0.enter(py, |machine| machine.step_towards_end(CallId(call), steps))
    }

    fn run_for(&self, py: Python<'_>, rounds: u64) -> PyResult<bool> {
        self.0.enter(py, |machine| machine.run_all_for(rounds))
    }

    fn calls(&self) -> PyResult<Vec<u32>> {
        self.look(|machine| {
            let flights = machine.flights().filter(|(_, flight)| !flight.is_done());
            Ok(flights.map(|(call, _)| call.0).collect())
        })
    }

    fn call(&self, py: Python<'_>, call: u32) -> PyResult<Py<PyAny>> {
        let (pid, verb, done, at, waiting, labels): CallRow =
            self.look(|machine| views::call(machine, call))?;
        let labels = PyTuple::new(py, labels)?;
        Ok((pid, verb, done, at, waiting, labels).into_pyobject(py)?.into_any().unbind())
    }

    /// Each label is one object, however often a call has been there: a call of many pages makes millions
    /// of steps.
    fn history<'py>(&self, py: Python<'py>, call: u32) -> PyResult<Bound<'py, PyTuple>> {
        self.look(|machine| {
            let labels = machine.flight(CallId(call))?.history();
            Ok(PyTuple::new(py, labels.iter().map(|label| PyString::intern(py, label))))
        })?
    }

    fn outcome(&self, py: Python<'_>, call: u32) -> PyResult<Py<PyAny>> {
        let (outcome, is_read) = self.look(|machine| {
            let is_read = machine.flight(CallId(call))?.verb() == "read";
            Ok((machine.outcome(CallId(call))?, is_read))
        })?;
        to_python(py, outcome, is_read)
    }

    fn statuses<'py>(&self, py: Python<'py>, call: u32) -> PyResult<Bound<'py, PyArray1<i32>>> {
        let statuses =
            self.look(|machine| Ok(machine.flight(CallId(call))?.call().statuses().to_vec()))?;
        Ok(array(py, statuses))
    }

    fn forget(&self, py: Python<'_>, call: u32) -> PyResult<()> {
        self.enter(py, |machine| machine.forget(CallId(call)))
    }

    fn replay(&self, py: Python<'_>, calls: Vec<u32>, schedule: &str) -> PyResult<()> {
        let schedule = Schedule::from_str(schedule).map_err(usage)?;
        let calls: Vec<CallId> = calls.into_iter().map(CallId).collect();
        let work = |machine: &mut Machine| pagemig_explore::replay(machine, &calls, &schedule);
        self.0.enter(py, work)
    }

    fn judge(&self, py: Python<'_>, calls: Vec<u32>) -> PyResult<Vec<JudgedRow>> {
        let calls: Vec<CallId> = calls.into_iter().map(CallId).collect();
        let found = self.enter(py, |machine| Ok(pagemig_explore::judge(machine, &calls)))?;
        let row = |(fault, detail): (pagemig_explore::Fault, String)| {
            (kind_name(fault.kind), fault.rule, fault.ids, detail)
        };
        Ok(found.into_iter().map(row).collect())
    }

    #[getter]
    fn now(&self) -> PyResult<u64> {
        self.look(|machine| Ok(machine.kernel().now))
    }

    fn advance(&self, py: Python<'_>, ticks: u64) -> PyResult<()> {
        slices::pass_time(&self.0, py, ticks)
    }

    #[getter]
    fn steps(&self) -> PyResult<u64> {
        self.look(|machine| Ok(machine.kernel().steps))
    }

    #[getter]
    fn bugs(&self) -> PyResult<u32> {
        self.look(|machine| Ok(machine.kernel().bugs.bits()))
    }

    fn set_bugs(&self, py: Python<'_>, bugs: u32) -> PyResult<()> {
        let known = Bugs::from_bits(bugs).ok_or_else(|| usage(format!("no bugs {bugs:#x}")))?;
        self.enter(py, |machine| {
            machine.set_bugs(known);
            Ok(())
        })
    }

    fn watch_stores(&self, py: Python<'_>) -> PyResult<()> {
        self.enter(py, Machine::watch_stores)
    }

    #[getter]
    fn watches_stores(&self) -> PyResult<bool> {
        self.look(|machine| Ok(machine.kernel().shadow.is_on()))
    }

    fn locks(&self) -> PyResult<Vec<views::LockRow>> {
        self.look(|machine| Ok(views::locks(machine.kernel())))
    }

    fn cost<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rows = self.look(|machine| Ok(machine.kernel().cost.rows()))?;
        let ledger = PyDict::new(py);
        for (name, count) in rows {
            ledger.set_item(name, count)?;
        }
        Ok(ledger)
    }

    #[pyo3(signature = (cpu))]
    fn drain_cpu(&self, py: Python<'_>, cpu: Option<u16>) -> PyResult<()> {
        self.enter(py, |machine| machine.drain(cpu.map(CpuId)))
    }

    fn record(&self, py: Python<'_>, limit: usize) -> PyResult<()> {
        self.enter(py, |machine| {
            machine.record(limit);
            Ok(())
        })
    }

    fn trace<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.look(|machine| Ok(views::trace(py, machine.kernel())))?
    }
}

/// A number that the core keeps in 32 bits, and that is no higher than `most`.
fn small(number: u64, what: &str, most: u32) -> PyResult<u32> {
    let small = u32::try_from(number).ok().filter(|&small| small <= most);
    small.ok_or_else(|| usage(format!("{number} {what}; at most {most}")))
}

fn zone((node, kind, frames, min, low, high): ZoneRow) -> PyResult<ZoneSpec> {
    let kind = *ZoneKind::ALL
        .get(usize::from(kind))
        .ok_or_else(|| usage(format!("no zone kind {kind}; 0 to 3")))?;
    Ok(ZoneSpec { node: NodeId(node), kind, frames, marks: Watermarks { min, low, high } })
}
