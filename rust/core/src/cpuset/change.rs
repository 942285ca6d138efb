//! New nodes for a cpuset, or a new cpuset for a task: what the tasks concerned go through.

use serde::{Deserialize, Serialize};

use super::check_mems;
use crate::base::{CpusetId, Errno, MmId, NodeMask, Pfn, TaskId};
use crate::kernel::Kernel;
use crate::migrate::batch::Batch;
use crate::migrate::migrate_pages::MigratePages;
use crate::mmap::MmRelease;
use crate::state::lock::{AtPause, Want};
use crate::state::policy::Policy;
use crate::step::{Label, LockId, Me, Mode, Point, Progress};

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// These are the cpuset's nodes now.
    Mems(NodeMask),
    /// This task is in the cpuset now.
    Attach(TaskId),
}

#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// The refusals; then the cpuset, or the task, is changed.
    Checking,
    /// Step 1, first half: a task may use the old nodes and the new. Tasks after `after` are next.
    Widening {
        after: Option<TaskId>,
    },
    /// Step 1, second half: the new nodes only.
    Narrowing(TaskId),
    /// Step 2: the policies of its areas, under `mmap_sem`.
    Rebinding(TaskId, MmId),
    /// Step 3: its pages follow. The writer's own nodes come back afterwards.
    Migrating(TaskId, Box<MigratePages>, NodeMask),
    /// Without step 3, its memory is let go.
    Releasing(TaskId, Box<MmRelease>),
    Done(Result<(), Errno>),
}

/// One change of a cpuset, on behalf of the task that writes it. There is no lock between such
/// changes: every step goes by the nodes in force when it is made.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct ChangeCpuset {
    cpuset: CpusetId,
    change: Change,
    /// The nodes before (step 3).
    from: NodeMask,
    phase: Phase,
}

impl ChangeCpuset {
    /// Will make the change; cpuset and task exist.
    pub const fn new(cpuset: CpusetId, change: Change) -> ChangeCpuset {
        ChangeCpuset { cpuset, change, from: NodeMask(0), phase: Phase::Checking }
    }

    /// 0 or an errno. Only once done.
    pub fn result(&self) -> Result<(), Errno> {
        match self.phase {
            Phase::Done(result) => result,
            _ => unreachable!("asked before the change was done"),
        }
    }

    /// The batch under way.
    pub fn batch(&self) -> Option<&Batch> {
        match &self.phase {
            Phase::Migrating(_, call, _) => call.batch(),
            _ => None,
        }
    }

    /// The memory, while the call has a use of it.
    pub const fn mm_in_use(&self) -> Option<MmId> {
        match &self.phase {
            Phase::Rebinding(_, mm) => Some(*mm),
            Phase::Migrating(_, call, _) => call.mm_in_use(),
            Phase::Releasing(_, release) => release.mm_in_use(),
            _ => None,
        }
    }

    /// The locks that it has at a pause.
    pub fn locks_at_pause(&self) -> AtPause {
        match &self.phase {
            Phase::Migrating(_, call, _) => call.locks_at_pause(),
            Phase::Releasing(_, release) => release.locks_at_pause(),
            _ => AtPause::new(),
        }
    }

    /// Pages that it holds one reference each to, besides the batch's.
    pub fn held_pages(&self) -> Vec<Pfn> {
        match &self.phase {
            Phase::Migrating(_, call, _) => call.held_pages(),
            Phase::Releasing(_, release) => release.held_pages(),
            _ => Vec::new(),
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Checking => &["SP18-check"],
            Phase::Widening { .. } => &["SP18-1-union"],
            Phase::Narrowing(_) => &["SP18-1-new"],
            Phase::Rebinding(..) => &["SP18-2"],
            Phase::Migrating(_, call, _) if call.is_starting() => &["SP18-3"],
            Phase::Migrating(_, call, _) => call.labels(),
            Phase::Releasing(_, release) => release.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Checking => self.check(kernel),
                Phase::Widening { after } => {
                    let after = *after;
                    self.widen(kernel, me, after);
                }
                Phase::Narrowing(pid) => {
                    let pid = *pid;
                    self.narrow(kernel, me, pid);
                }
                Phase::Rebinding(pid, mm) => {
                    let (pid, mm) = (*pid, *mm);
                    if !kernel.lock::<M>(me, LockId::MmapSem(mm), Want::Exclusive) {
                        return Progress::Waiting(LockId::MmapSem(mm));
                    }
                    self.rebind_areas(kernel, me, pid, mm);
                    kernel.unlock::<M>(me, LockId::MmapSem(mm));
                }
                Phase::Migrating(pid, call, before) => match call.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let (pid, before) = (*pid, *before);
                        kernel.tasks[me.task].mems_allowed = before;
                        kernel.tasks[me.task].mems_allowed = kernel.mems_of(me.task);
                        self.next_task(pid);
                    }
                    other => return other,
                },
                Phase::Releasing(pid, release) => match release.advance::<M>(kernel, me) {
                    Progress::Done => {
                        let pid = *pid;
                        self.next_task(pid);
                    }
                    other => return other,
                },
                Phase::Done(_) => return Progress::Done,
            }
            if let Phase::Done(_) = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    fn check(&mut self, kernel: &mut Kernel) {
        let with_memory = kernel.zones.nodes_with_memory();
        let id = self.cpuset;
        match self.change {
            Change::Mems(mems) => match check_mems(kernel, id, mems) {
                Ok(true) => {
                    self.from = kernel.cpusets.mems_allowed(id, with_memory);
                    kernel.cpusets.rows[id.index()].mems = mems;
                    self.phase = Phase::Widening { after: None };
                }
                Ok(false) => self.phase = Phase::Done(Ok(())),
                Err(errno) => self.phase = Phase::Done(Err(errno)),
            },
            Change::Attach(pid) => {
                let is_there = kernel.tasks.find(pid).map(|task| task.cpuset == Some(id));
                self.phase = match is_there {
                    // It has gone since, or is where it shall be.
                    None => Phase::Done(Err(Errno::NoProcess)),
                    Some(true) => Phase::Done(Ok(())),
                    Some(false) if kernel.cpusets.rows[id.index()].mems.is_empty() => {
                        Phase::Done(Err(Errno::NoSpace))
                    }
                    Some(false) => {
                        self.from = kernel.mems_of(pid);
                        kernel.tasks[pid].cpuset = Some(id);
                        Phase::Widening { after: None }
                    }
                };
            }
        }
    }

    fn concerns(&self, kernel: &Kernel, pid: TaskId) -> bool {
        match self.change {
            Change::Attach(task) => pid == task,
            Change::Mems(_) => {
                let with_memory = kernel.zones.nodes_with_memory();
                let goes_by = |id| kernel.cpusets.goes_by(id, self.cpuset, with_memory);
                kernel.tasks[pid].cpuset.is_some_and(goes_by)
            }
        }
    }

    /// The tasks concerned come one after the other, by pid.
    fn next_concerned(&self, kernel: &Kernel, after: Option<TaskId>) -> Option<TaskId> {
        let mut pids = kernel.tasks.iter().map(|(pid, _)| pid);
        pids.find(|&pid| Some(pid) > after && self.concerns(kernel, pid))
    }

    fn widen(&mut self, kernel: &mut Kernel, me: Me, after: Option<TaskId>) {
        let Some(pid) = self.next_concerned(kernel, after) else {
            self.phase = Phase::Done(Ok(()));
            return;
        };
        let union = kernel.tasks[pid].mems_allowed.or(kernel.mems_of(pid));
        kernel.tasks[pid].mems_allowed = union;
        rebind_task(kernel, me, pid, union);
        self.phase = Phase::Narrowing(pid);
    }

    fn narrow(&mut self, kernel: &mut Kernel, me: Me, pid: TaskId) {
        if kernel.tasks.find(pid).is_none() {
            self.next_task(pid);
            return;
        }
        let mems = kernel.mems_of(pid);
        rebind_task(kernel, me, pid, mems);
        kernel.tasks[pid].mems_allowed = mems;
        match kernel.tasks[pid].mm {
            Some(mm) => {
                kernel.get_mm(mm);
                self.phase = Phase::Rebinding(pid, mm);
            }
            None => self.next_task(pid),
        }
    }

    /// Step 2; then step 3, if the pages are to follow.
    fn rebind_areas(&mut self, kernel: &mut Kernel, me: Me, pid: TaskId, mm: MmId) {
        let to = match kernel.tasks.find(pid) {
            Some(_) => kernel.mems_of(pid),
            None => kernel.cpusets.mems_allowed(self.cpuset, kernel.zones.nodes_with_memory()),
        };
        let areas: Vec<_> = kernel.mms[mm].areas().collect();
        for area in areas {
            if let Some(policy) = kernel.vmas[area].policy.and_then(|policy| policy.rebound(to)) {
                kernel.vmas[area].policy = Some(policy);
                resume_interleave(kernel, me, policy);
            }
        }
        self.phase = if kernel.cpusets.rows[self.cpuset.index()].memory_migrate {
            let writer = &mut kernel.tasks[me.task];
            let before = std::mem::replace(&mut writer.mems_allowed, to);
            let call = MigratePages::new(mm, self.from, to, true);
            Phase::Migrating(pid, Box::new(call), before)
        } else {
            Phase::Releasing(pid, Box::new(MmRelease::new(mm)))
        };
    }

    fn next_task(&mut self, pid: TaskId) {
        self.phase = match self.change {
            Change::Mems(_) => Phase::Widening { after: Some(pid) },
            Change::Attach(_) => Phase::Done(Ok(())),
        };
    }
}

/// A task's own policy follows its nodes.
fn rebind_task(kernel: &mut Kernel, me: Me, pid: TaskId, to: NodeMask) {
    if let Some(policy) = kernel.tasks[pid].policy.rebound(to) {
        kernel.tasks[pid].policy = policy;
        resume_interleave(kernel, me, policy);
    }
}

/// It is the writer's interleave that goes on elsewhere, whoever's policy was re-bound.
fn resume_interleave(kernel: &mut Kernel, me: Me, policy: Policy) {
    let local = kernel.zones.node_of_cpu(me.cpu);
    let writer = &mut kernel.tasks[me.task];
    writer.next_interleave = policy.resumed(writer.next_interleave, local);
}
