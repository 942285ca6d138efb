//! Verbs of one step: making processes, mapping memory, changing what a process is.

use serde::{Deserialize, Serialize};

use super::request::memory_of;
use super::{KERNEL_TASK, Machine};
use crate::base::{
    CpuId, CpusetId, Errno, MappingId, MemcgId, Misuse, NodeMask, PAGE_SIZE, Pfn, TaskId, USER_END,
};
use crate::mmap::{self, Backing};
use crate::state::mm::{Mm, VmFlags};
use crate::state::policy::{Mode, Policy};
use crate::state::task::{Credentials, Task};
use crate::step::LockId;

/// Pages of a new process's stack.
const STACK_PAGES: u64 = 16;

/// What a new process is.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Birth {
    /// What people call it.
    pub name: String,
    /// Who it is.
    pub credentials: Credentials,
    /// Nodes it may allocate from.
    pub mems_allowed: NodeMask,
    /// The CPU it runs on.
    pub cpu: CpuId,
    /// Whether it is a thread of the kernel, without memory.
    pub is_kernel_thread: bool,
    /// Whether it has 16 untouched pages of stack just below the top of user space.
    pub has_stack: bool,
}

impl Machine {
    /// A new process.
    ///
    /// # Errors
    /// If there is no such CPU.
    pub fn spawn(&mut self, birth: Birth) -> Result<TaskId, Misuse> {
        self.check_cpu(birth.cpu)?;
        let kernel = &mut self.kernel;
        let mm = (!birth.is_kernel_thread).then(|| {
            let root = kernel.tables.create();
            kernel.mms.insert(Mm::new(root, kernel.tasks.made()))
        });
        if let Some(mm) = mm.filter(|_| birth.has_stack) {
            let len = STACK_PAGES * PAGE_SIZE;
            let flags = VmFlags::READ | VmFlags::WRITE;
            mmap::map(kernel, mm, len, Some(USER_END - len), flags, Backing::Anonymous)
                .expect("nothing is mapped yet");
        }
        let first_node = kernel.zones.nodes()[0];
        // Who may use every node is in the root cpuset; others had their nodes given by hand.
        let is_root = birth.mems_allowed == kernel.cpusets.rows[0].mems;
        Ok(kernel.tasks.insert(Task {
            name: birth.name,
            mm,
            credentials: birth.credentials,
            cpu: birth.cpu,
            is_kernel_thread: birth.is_kernel_thread,
            swap_writers: 0,
            policy: Policy::default(),
            next_interleave: first_node,
            mems_allowed: birth.mems_allowed,
            cpuset: is_root.then_some(CpusetId(0)),
            memcg: MemcgId(0),
            has_signal: false,
            is_exiting: false,
        }))
    }

    /// Changes what a process is.
    ///
    /// # Errors
    /// If there is none, or no such CPU.
    pub fn set_credentials(&mut self, pid: TaskId, to: Credentials) -> Result<(), Misuse> {
        self.task_mut(pid)?.credentials = to;
        Ok(())
    }

    /// Gives a process nodes to allocate from by hand: it leaves its cpuset for none. No policy is
    /// re-bound.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn set_mems_allowed(&mut self, pid: TaskId, to: NodeMask) -> Result<(), Misuse> {
        let task = self.task_mut(pid)?;
        (task.mems_allowed, task.cpuset) = (to, None);
        Ok(())
    }

    /// A signal is pending for a process, or none any more. Only offlining looks (S48).
    ///
    /// # Errors
    /// If there is no such process.
    pub fn set_signal(&mut self, pid: TaskId, is_pending: bool) -> Result<(), Misuse> {
        self.task_mut(pid)?.has_signal = is_pending;
        Ok(())
    }

    /// Moves a process to another CPU. Its calls in flight stay where they are.
    ///
    /// # Errors
    /// If there is no such process or CPU.
    pub fn set_cpu(&mut self, pid: TaskId, to: CpuId) -> Result<(), Misuse> {
        self.check_cpu(to)?;
        self.task_mut(pid)?.cpu = to;
        Ok(())
    }

    /// Changes the CPU of the machine's own task, who does what no process does.
    ///
    /// # Errors
    /// If there is no such CPU.
    pub fn set_kernel_cpu(&mut self, to: CpuId) -> Result<(), Misuse> {
        self.check_cpu(to)?;
        self.kernel.tasks[KERNEL_TASK].cpu = to;
        Ok(())
    }

    /// Changes the memory policy of a process to one with the nodes that were asked for (`set_mempolicy`,
    /// after its other checks).
    ///
    /// # Errors
    /// If there is no such process; inside, `Invalid` if it may use none of the nodes.
    pub fn set_task_policy(
        &mut self,
        pid: TaskId,
        policy: Policy,
    ) -> Result<Result<(), Errno>, Misuse> {
        self.task_mut(pid)?;
        let policy = match self.kernel.contextualise(pid, policy) {
            Ok(policy) => policy,
            Err(errno) => return Ok(Err(errno)),
        };
        let task = self.task_mut(pid)?;
        task.policy = policy;
        if let (Mode::Interleave, Some(first)) = (policy.mode, policy.nodes.first()) {
            task.next_interleave = first;
        }
        Ok(Ok(()))
    }

    /// Maps anonymous memory for a process and returns its start: with VM_SHARED memory that fork
    /// shares, which is a shmem file without a name.
    ///
    /// # Errors
    /// If the range makes no sense or is in use, or a call in flight holds `mmap_sem`.
    pub fn mmap(
        &mut self,
        pid: TaskId,
        len: u64,
        at: Option<u64>,
        flags: VmFlags,
    ) -> Result<u64, Misuse> {
        let mm = memory_of(&self.kernel, pid)?;
        self.check_unlocked("mmap", LockId::MmapSem(mm))?;
        mmap::map(&mut self.kernel, mm, len, at, flags, Backing::Anonymous)
    }

    /// Maps a file from byte `offset` on for a process and returns the start of the area.
    ///
    /// # Errors
    /// As [`Machine::mmap`]; and if there is no such file, the offset is no multiple of the page
    /// size, or a call in flight walks along the file's areas.
    pub fn mmap_file(
        &mut self,
        pid: TaskId,
        len: u64,
        at: Option<u64>,
        flags: VmFlags,
        file: MappingId,
        offset: u64,
    ) -> Result<u64, Misuse> {
        let mm = memory_of(&self.kernel, pid)?;
        self.check_unlocked("mmap", LockId::MmapSem(mm))?;
        self.check_unlocked("mmap", LockId::FileMap(file))?;
        mmap::map(&mut self.kernel, mm, len, at, flags, Backing::File(file, offset))
    }

    /// Takes a page off its LRU list, as some other part of the kernel might (counted as isolated).
    ///
    /// # Errors
    /// Outside: if there is no such frame. Inside: `Busy` if the page is on no list.
    pub fn isolate(&mut self, page: Pfn) -> Result<Result<(), Errno>, Misuse> {
        self.check_frame(page)?;
        let done = self.kernel.isolate_page(page);
        if done.is_ok() {
            self.kernel.isolated_by_hand.push(page);
        }
        Ok(done)
    }

    /// Puts a page back that was isolated by hand.
    ///
    /// # Errors
    /// If it was not.
    pub fn putback(&mut self, page: Pfn) -> Result<(), Misuse> {
        let by_hand = &mut self.kernel.isolated_by_hand;
        let at = by_hand.iter().position(|&isolated| isolated == page);
        by_hand.remove(at.ok_or(Misuse::NotIsolated(page.0.into()))?);
        self.kernel.put_back_isolated(CpuId(0), page);
        Ok(())
    }

    /// Drains the pagevecs of one CPU, or of all.
    ///
    /// # Errors
    /// If there is no such CPU.
    pub fn drain(&mut self, cpu: Option<CpuId>) -> Result<(), Misuse> {
        match cpu {
            Some(cpu) => {
                self.check_cpu(cpu)?;
                self.kernel.drain(cpu);
            }
            None => self.kernel.drain_all(),
        }
        Ok(())
    }

    /// Says how long a transfer to or from swap takes, if it ever ends, and whether the devices are
    /// congested. Transfers on their way end when they would have.
    pub fn set_swap_device(&mut self, io_ticks: Option<u64>, is_congested: bool) {
        self.kernel.swaps.io_ticks = io_ticks;
        self.kernel.swaps.is_congested = is_congested;
    }

    /// Keeps the last `limit` events; 0 stops recording. While it records, every call is stepped.
    pub fn record(&mut self, limit: usize) {
        self.kernel.recorder.keep(limit);
    }

    /// Checks a frame number.
    ///
    /// # Errors
    /// If the machine has no such frame.
    pub fn check_frame(&self, page: Pfn) -> Result<(), Misuse> {
        let last = self.kernel.frames.len();
        if page.index() > last {
            return Err(Misuse::NoSuchFrame(page.0.into(), last as u64 - 1));
        }
        Ok(())
    }

    /// Checks a CPU number.
    ///
    /// # Errors
    /// If the machine has no such CPU.
    pub fn check_cpu(&self, cpu: CpuId) -> Result<(), Misuse> {
        let cpus = self.kernel.zones.cpus();
        if cpu.index() >= cpus {
            return Err(Misuse::NoSuchCpu(cpu.0.into(), cpus as u64 - 1));
        }
        Ok(())
    }

    pub(super) fn task_mut(&mut self, pid: TaskId) -> Result<&mut Task, Misuse> {
        let found = self.kernel.tasks.find_mut(pid).filter(|_| pid != KERNEL_TASK);
        found.ok_or(Misuse::NoSuchTask(pid))
    }
}
