//! What a person driving the simulator got wrong.

use super::{CallId, TaskId};

/// A request that makes no sense on this machine. Nothing has changed when one is returned.
///
/// Messages name what is wrong and, where there is one, what would be right. The boundary
/// turns each into a `UsageError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// The pid names nobody.
    #[error("no task with pid {0} on this machine")]
    NoSuchTask(TaskId),
    /// The task has no memory of its own.
    #[error("task {0} has no memory (a kernel thread, or it is exiting)")]
    NoMemory(TaskId),
    /// The call number names nothing.
    #[error("no call number {0} on this machine")]
    NoSuchCall(CallId),
    /// The call has no result yet.
    #[error("call {0} is not done; step or run it first")]
    CallNotDone(CallId),
    /// The call is over.
    #[error("call {0} is done; it has no further step")]
    CallDone(CallId),
    /// A label that no phase carries.
    #[error("no step {0:?}; labels look like UM-9 or MM-1")]
    NoSuchLabel(String),
    /// A frame number beyond the machine.
    #[error("no frame {0}; this machine has frames 0 to {1}")]
    NoSuchFrame(u64, u64),
    /// A node that the machine does not have.
    #[error("no node {0} on this machine")]
    NoSuchNode(u64),
    /// A processor that the machine does not have.
    #[error("no CPU {0}; this machine has CPUs 0 to {1}")]
    NoSuchCpu(u64, u64),
    /// The address is not a multiple of the page size.
    #[error("address {0:#x} is not page-aligned; {1:#x} would be")]
    Unaligned(u64, u64),
    /// An empty or overlong range.
    #[error(
        "the range of {len:#x} bytes at {start:#x} is empty or leaves user space (0 to {end:#x})"
    )]
    BadRange {
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
        /// First address beyond user space.
        end: u64,
    },
    /// Something is mapped there already.
    #[error("{start:#x}..{end:#x} overlaps the area at {other:#x}")]
    Overlap {
        /// First byte wanted.
        start: u64,
        /// First byte beyond.
        end: u64,
        /// Start of the area in the way.
        other: u64,
    },
    /// No gap is long enough.
    #[error("no free range of {0:#x} bytes in this address space")]
    NoRoom(u64),
    /// Contents asked of a machine without.
    #[error("this machine has no contents; build it with contents=True")]
    NoContents,
    /// The frame carries no pin.
    #[error("frame {0} is not pinned")]
    NotPinned(u64),
    /// The frame was not isolated by hand.
    #[error("frame {0} was not isolated by hand")]
    NotIsolated(u64),
    /// The verb met a call in flight.
    #[error(
        "{verb} would have to wait for {lock}, held by {holder}; \
         start it as a call of its own, or finish that one first"
    )]
    WouldWait {
        /// What was asked.
        verb: &'static str,
        /// What it would wait for.
        lock: String,
        /// Who holds it.
        holder: String,
    },
    /// The task is still busy.
    #[error("task {0} still runs call {1}; finish it first")]
    TaskBusy(TaskId, CallId),
    /// The task is on its way out.
    #[error("task {0} is exiting")]
    TaskExiting(TaskId),
    /// The description of the machine contradicts itself.
    #[error("machine: {0}")]
    BadMachine(String),
    /// Anything whose message is made where it is found.
    #[error("{0}")]
    Other(String),
}
