//! A kernel, the calls in flight in it, and time.
//!
//! Start with [`Machine::run`] (one call, now) and [`Machine::start`] (one call, step by step,
//! among others). A [`Call`] is any operation that can be interleaved; [`Request`] says which, before
//! it has begun. Verbs that are one step whatever the mode are in [`verbs`].

mod call;
mod cpusets;
mod files;
mod flight;
#[cfg(test)]
mod group_tests;
mod group_verbs;
mod pieces;
mod request;
mod room;
mod searching;
#[cfg(test)]
mod slice_tests;
mod slices;
mod snapshot;
#[cfg(test)]
mod snapshot_tests;
mod stepping;
pub mod verbs;

pub use call::{Call, Outcome};
pub use flight::{Flight, State};
pub use request::Request;
pub use room::Need;
pub use searching::Settled;
pub use slices::Slice;
pub use snapshot::BadSnapshot;
pub use stepping::{Deadlock, RunError, Waiter};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::{self, Finding, Holdings};
use crate::base::{Bugs, CallId, CpuId, Lookout, MachineSpec, MemcgId, Misuse, NodeMask, TaskId};
use crate::kernel::Kernel;
use crate::state::frame::PageCopier;
use crate::state::policy::Policy;
use crate::state::task::{Credentials, Task};

/// The task that stands for the machine itself. It is in no list of processes.
pub const KERNEL_TASK: TaskId = TaskId(0);

/// A simulated machine. Cloning it is a snapshot, calls in flight included.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Machine {
    kernel: Kernel,
    flights: BTreeMap<CallId, Flight>,
    next_call: u32,
}

impl Machine {
    /// A machine with no process.
    ///
    /// # Errors
    /// If the description is not one of a machine.
    pub fn new(spec: &MachineSpec) -> Result<Machine, Misuse> {
        let mut kernel = Kernel::new(spec)?;
        let task = Task {
            name: "kernel".into(),
            mm: None,
            credentials: Credentials { capabilities: u64::MAX, ..Credentials::default() },
            cpu: CpuId(0),
            is_kernel_thread: true,
            swap_writers: 0,
            policy: Policy::default(),
            next_interleave: spec.nodes[0],
            mems_allowed: NodeMask(u64::MAX),
            cpuset: None,
            memcg: MemcgId(0),
            has_signal: false,
            is_exiting: false,
        };
        kernel.tasks.insert(task);
        Ok(Machine { kernel, flights: BTreeMap::new(), next_call: 1 })
    }

    /// A copy, calls in flight included.
    ///
    /// # Errors
    /// If the host has no room for it.
    pub fn try_clone(&self) -> Result<Machine, Misuse> {
        self.try_clone_while(&mut || true).map(|copy| copy.expect("nobody ends it"))
    }

    /// The same, for as long as `goes_on` says so, which is asked every few milliseconds while
    /// descriptors, bytes and buffers are copied; none if it did not.
    ///
    /// # Errors
    /// As [`Machine::try_clone`].
    pub fn try_clone_while(
        &self,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Machine>, Misuse> {
        self.check_room_for_copy()?;
        let lookout = Lookout::new(goes_on);
        let kernel = self.kernel.try_clone(&lookout)?;
        let (flights, next_call) = (&self.flights, self.next_call);
        Ok(kernel.map(|kernel| Machine { kernel, flights: flights.clone(), next_call }))
    }

    /// Everything there is, to be looked at.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The memory behind the stores that grow with the machine: descriptors and bytes of frames. For
    /// whoever can ask the host to make it faster.
    pub fn large_stores(&self) -> [&[u8]; 2] {
        [self.kernel.frames.as_bytes(), self.kernel.contents.as_bytes()]
    }

    /// Copies the bytes of many pages from far apart in this way from now on: what is copied stays the same,
    /// how fast that goes is the host's affair.
    pub fn copy_far_pages_with(&mut self, copier: PageCopier) {
        self.kernel.contents.copy_far_with(copier);
    }

    /// Everything there is, to be changed by hand: for tests of the rules.
    #[cfg(test)]
    pub(crate) fn kernel_mut(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// Breaks these rules on purpose from now on, and no others. With any of them, every call is made
    /// step by step.
    pub fn set_bugs(&mut self, bugs: Bugs) {
        self.kernel.bugs = bugs;
    }

    /// Notes every store from now on, so that the audit can tell a lost one (I-110); what is in memory
    /// already counts as stored.
    ///
    /// # Errors
    /// If the machine has no contents.
    pub fn watch_stores(&mut self) -> Result<(), Misuse> {
        if !self.kernel.contents.exist() {
            return Err(Misuse::NoContents);
        }
        let moves = self.holdings().moves;
        self.kernel.watch_stores(&moves);
        Ok(())
    }

    /// Checks every invariant; an empty answer is a sound machine.
    pub fn audit(&self) -> Vec<Finding> {
        audit::audit(&self.kernel, &self.holdings())
    }

    /// The same, for as long as `goes_on` says so, which is asked every few thousand pages; none if it did
    /// not.
    pub fn audit_while(&self, goes_on: &mut dyn FnMut() -> bool) -> Option<Vec<Finding>> {
        audit::audit_while(&self.kernel, &self.holdings(), goes_on)
    }

    /// What the calls in flight hold.
    pub fn holdings(&self) -> Holdings {
        let mut holdings = Holdings::default();
        for flight in self.flights.values().filter(|flight| !flight.is_done()) {
            holdings.is_busy = true;
            flight.call().hold(&mut holdings);
        }
        holdings
    }
}
