//! How a kind of page is moved, once it is unmapped and its target is ready (migration 8 to 12).
//!
//! | way | Linux | sections |
//! |---|---|---|
//! | [`Way::Alone`], [`Way::Page`] | `migrate_page` | 9 |
//! | [`Way::Buffers`] | `buffer_migrate_page` | 10 |
//! | [`Way::Clean`], [`Way::Dirty`] | `fallback_migrate_page` | 12 |
//! | [`Way::Dirty`] | `writeout` | 11 |
//! | [`Way::Refusing`] | `fail_migrate_page`, or whatever a script returns | 8 |
//!
//! [`claim`] and [`transfer`] are `migrate_page` for pages without address space, which most are;
//! [`MethodCall`] is the call of the method of one.

use serde::{Deserialize, Serialize};

use super::copy::copy_page;
use super::replace::{Replace, check_sole_owner};
use crate::base::{Bugs, Errno, Pfn, Profile, RingId};
use crate::kernel::Kernel;
use crate::pagecache::writeback::{self, Wrote};
use crate::pagecache::{buffers, dirty, tree};
use crate::state::frame::PageFlags;
use crate::state::mapping::{Migrate, Write, buffer_lock};
use crate::step::{Label, LockId, Me, Mode, Point, Progress};
use crate::trace::EventKind;
use crate::unmap::Restoring;

/// `migrate_page`, first half (MG-1, MG-2), without address space: the point of no return.
///
/// # Panics
/// If the page is under writeback: an error of the model.
#[inline]
pub fn claim(kernel: &Kernel, page: Pfn) -> Result<(), Errno> {
    assert_no_writeback(kernel, page);
    check_sole_owner(kernel, page)
}

/// `migrate_page`, second half (MG-3): cannot fail.
#[inline]
pub fn transfer<M: Mode>(kernel: &mut Kernel, me: Me, new: Pfn, page: Pfn) {
    copy_page(kernel, new, page);
    if kernel.has_bug::<M>(Bugs::COPY_LATE) {
        kernel.contents.clear(new);
    }
    kernel.note::<M>(me, EventKind::Copy, Some(page), 0, i64::from(new.0));
}

/// MG-1.
fn assert_no_writeback(kernel: &Kernel, page: Pfn) {
    assert!(!kernel.frames[page].has(PageFlags::WRITEBACK), "page {page} is under writeback");
}

/// MN-3: which method moves a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Way {
    /// None: it has no address space.
    Alone,
    /// `migrate_page`: shmem, the swap cache.
    Page,
    /// `buffer_migrate_page`, with buffers.
    Buffers,
    /// `buffer_migrate_page`, without: as [`Way::Page`] (BM-1).
    Unbuffered,
    /// None, and the page is clean: `fallback_migrate_page`.
    Clean,
    /// None, and the page must be written first: the same, and then `writeout`.
    Dirty,
    /// A method that does nothing and returns this: `fail_migrate_page`, or a script.
    Refusing(Errno),
}

impl Way {
    /// The method of the page's address space.
    #[inline]
    pub fn of(kernel: &Kernel, page: Pfn) -> Way {
        if kernel.frames[page].is_plain_anon() {
            return Way::Alone;
        }
        Way::of_cached(kernel, page)
    }

    #[cold]
    fn of_cached(kernel: &Kernel, page: Pfn) -> Way {
        let Some(mapping) = tree::page_mapping(kernel, page) else { return Way::Alone };
        let frame = &kernel.frames[page];
        match kernel.mappings[mapping].kind.migrate {
            Migrate::Page => Way::Page,
            Migrate::Buffers if frame.has(PageFlags::PRIVATE) => Way::Buffers,
            Migrate::Buffers => Way::Unbuffered,
            Migrate::Fallback if frame.has(PageFlags::DIRTY) => Way::Dirty,
            Migrate::Fallback => Way::Clean,
            Migrate::Fail => Way::Refusing(Errno::InputOutput),
            Migrate::Returns(value) => Way::Refusing(Errno::returned(value)),
        }
    }

    /// The steps from UM-10 to the first stop after the method was chosen.
    pub const fn labels(self) -> &'static [Label] {
        match self {
            Way::Alone => &["UM-10", "MN-1", "MN-2", "MN-3", "MG-1", "MG-2", "MM-1"],
            Way::Page => &["UM-10", "MN-1", "MN-2", "MN-3", "MG-1", "MG-2"],
            Way::Buffers => &["UM-10", "MN-1", "MN-2", "MN-3", "BM-1", "BM-2"],
            Way::Unbuffered => &["UM-10", "MN-1", "MN-2", "MN-3", "BM-1", "MG-1", "MG-2"],
            Way::Clean => {
                &["UM-10", "MN-1", "MN-2", "MN-3", "FB-1", "FB-2", "FB-3", "MG-1", "MG-2"]
            }
            Way::Dirty => &["UM-10", "MN-1", "MN-2", "MN-3", "FB-1", "WO-1", "WO-2"],
            Way::Refusing(_) => &["UM-10", "MN-1", "MN-2", "MN-3"],
        }
    }
}

/// How far the method has got.
///
/// ```text
///   phase           old page's lock   the next advance
///   Starting        ours              MG-1, BM-1, FB-1 to FB-3, WO-1, WO-2
///   Replacing       ours              MM
///   Copying         ours              MG-3
///   LockingBuffer   ours              BM-3, one buffer; may sleep
///   MovingBuffers   ours              BM-4 to BM-9
///   Restoring       ours              WO-3
///   Writing         ours              WO-4
///   Relocking       anybody's         WO-5, WO-6; may sleep
/// ```
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    Starting,
    Replacing(Replace),
    Copying,
    LockingBuffer {
        /// Its place in the ring; those before it are locked.
        at: u8,
        /// Whether its `b_count` is raised already.
        is_counted: bool,
    },
    MovingBuffers,
    Restoring(Restoring),
    Writing,
    Relocking {
        /// Whether `writepage` returned an error.
        has_failed: bool,
    },
    Done(Result<(), Errno>),
}

/// One call of the `migratepage` method of an address space, or of what stands in for it.
#[derive(Clone, Copy, Debug, Hash, Serialize, Deserialize)]
pub struct MethodCall {
    way: Way,
    phase: Phase,
}

impl MethodCall {
    /// Will move a page in this way, which is not [`Way::Alone`].
    pub const fn new(way: Way) -> MethodCall {
        MethodCall { way, phase: Phase::Starting }
    }

    /// What it returned. Only once done.
    pub fn outcome(&self) -> Result<(), Errno> {
        match self.phase {
            Phase::Done(outcome) => outcome,
            _ => unreachable!("asked before the method was done"),
        }
    }

    /// The count that the old page had before it was frozen, while it is.
    pub const fn frozen_count(&self) -> Option<u32> {
        match self.phase {
            Phase::Replacing(replace) => replace.frozen_count(),
            _ => None,
        }
    }

    /// Whether migration entries may name the old page (I-21): not once WO-3 is over.
    pub const fn may_have_entries(&self) -> bool {
        !matches!(self.phase, Phase::Writing | Phase::Relocking { .. })
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting => self.way.labels(),
            Phase::Replacing(replace) => replace.labels(),
            Phase::Copying => &[
                "MC-1", "MG-3", "MC-2", "MC-3", "MC-4", "MC-5", "MC-6", "MC-7", "MC-8", "MC-9",
                "MC-10", "MG-4",
            ],
            Phase::LockingBuffer { .. } => &["BM-3"],
            Phase::MovingBuffers => &[
                "BM-4", "BM-5", "BM-6", "BM-7", "MC-1", "MC-2", "MC-3", "MC-4", "MC-5", "MC-6",
                "MC-7", "MC-8", "MC-9", "MC-10", "BM-8", "BM-9",
            ],
            Phase::Restoring(walk) if walk.is_starting() => &["WO-3"],
            Phase::Restoring(walk) => walk.labels(),
            Phase::Writing => &["WO-4"],
            Phase::Relocking { .. } => &["WO-5", "WO-6"],
            Phase::Done(_) => &[],
        }
    }

    /// Makes one step. The caller holds both page locks, and does again when it is done.
    #[inline(never)]
    pub fn advance<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        old: Pfn,
        new: Pfn,
    ) -> Progress {
        loop {
            let stepped = match &mut self.phase {
                Phase::Starting => {
                    self.phase = self.start(kernel, old);
                    Ok(())
                }
                Phase::Replacing(replace) => match replace.advance::<M>(kernel, me, old, new) {
                    Progress::Done => {
                        self.phase = match (replace.outcome(), self.way) {
                            (Err(errno), _) => Phase::Done(Err(errno)),
                            (Ok(()), Way::Buffers) => {
                                Phase::LockingBuffer { at: 0, is_counted: false }
                            }
                            (Ok(()), _) => Phase::Copying,
                        };
                        Ok(())
                    }
                    other => return other,
                },
                Phase::Copying => self.copy::<M>(kernel, me, old, new),
                Phase::LockingBuffer { .. } => self.lock_buffer::<M>(kernel, me, old),
                Phase::MovingBuffers => self.move_buffers::<M>(kernel, me, old, new),
                Phase::Restoring(walk) => match walk.advance::<M>(kernel, me) {
                    Progress::Done => {
                        self.phase = Phase::Writing;
                        Ok(())
                    }
                    other => return other,
                },
                Phase::Writing => self.write::<M>(kernel, me, old),
                Phase::Relocking { has_failed } => {
                    let has_failed = *has_failed;
                    self.relock::<M>(kernel, me, old, has_failed)
                }
                Phase::Done(_) => return Progress::Done,
            };
            if let Err(lock) = stepped {
                return Progress::Waiting(lock);
            }
            if let Phase::Done(_) = self.phase {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Everything before the count is looked at.
    fn start(&self, kernel: &mut Kernel, old: Pfn) -> Phase {
        match self.way {
            Way::Refusing(errno) => return Phase::Done(Err(errno)),
            Way::Dirty => return start_writeout(kernel, old),
            Way::Clean if !has_let_go_of_buffers(kernel, old) => {
                return Phase::Done(Err(Errno::Again));
            }
            _ => {}
        }
        assert_no_writeback(kernel, old);
        let mapping = tree::page_mapping(kernel, old).expect("a page with a method is cached");
        Phase::Replacing(Replace::new(mapping))
    }

    /// MG-3.
    fn copy<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        old: Pfn,
        new: Pfn,
    ) -> Result<(), LockId> {
        tree_is_free::<M>(kernel, me, old)?;
        transfer::<M>(kernel, me, new, old);
        self.phase = Phase::Done(Ok(()));
        Ok(())
    }

    /// BM-3 for one buffer, past the point of no return: somebody may have it locked, and is waited
    /// for (Y13, S33).
    fn lock_buffer<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        old: Pfn,
    ) -> Result<(), LockId> {
        let Phase::LockingBuffer { at, is_counted } = &mut self.phase else { return Ok(()) };
        let ring = ring_of(kernel, old);
        let place = usize::from(*at);
        if !std::mem::replace(is_counted, true) {
            kernel.rings[ring].buffers[place].count += 1;
        }
        if !buffers::lock_buffer::<M>(kernel, me, ring, place) {
            return Err(buffer_lock(ring, place));
        }
        self.phase = if place + 1 == kernel.rings[ring].buffers.len() {
            Phase::MovingBuffers
        } else {
            Phase::LockingBuffer { at: *at + 1, is_counted: false }
        };
        Ok(())
    }

    /// BM-4 to BM-9: the buffers change pages, with the reference that they hold; no state bit of
    /// theirs changes.
    fn move_buffers<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        old: Pfn,
        new: Pfn,
    ) -> Result<(), LockId> {
        tree_is_free::<M>(kernel, me, old)?;
        let ring = ring_of(kernel, old);
        let source = &mut kernel.frames[old];
        source.clear(PageFlags::PRIVATE);
        let private = std::mem::take(&mut source.private);
        source.drop_reference();
        let target = &mut kernel.frames[new];
        target.private = private;
        target.get();
        kernel.rings[ring].page = new;
        kernel.frames[new].set(PageFlags::PRIVATE);
        transfer::<M>(kernel, me, new, old);
        for place in 0..kernel.rings[ring].buffers.len() {
            buffers::unlock_buffer(kernel, ring, place);
            kernel.rings[ring].buffers[place].count -= 1;
        }
        self.phase = Phase::Done(Ok(()));
        Ok(())
    }

    /// WO-4: a method that does not refuse unlocks the page.
    fn write<M: Mode>(&mut self, kernel: &mut Kernel, me: Me, old: Pfn) -> Result<(), LockId> {
        tree_is_free::<M>(kernel, me, old)?;
        self.phase = match writeback::writepage::<M>(kernel, me, old) {
            Ok(Wrote::Activate) => Phase::Done(Err(Errno::Again)),
            Ok(Wrote::Unlocked) => Phase::Relocking { has_failed: false },
            Err(_) => Phase::Relocking { has_failed: true },
        };
        Ok(())
    }

    /// WO-5 and WO-6: never moved in the pass that wrote it. Before the lock is ours again anything
    /// may have become of the page (Y19).
    fn relock<M: Mode>(
        &mut self,
        kernel: &mut Kernel,
        me: Me,
        old: Pfn,
        has_failed: bool,
    ) -> Result<(), LockId> {
        if !kernel.lock_page::<M>(me, old) {
            return Err(LockId::Page(old));
        }
        let errno = if has_failed { Errno::InputOutput } else { Errno::Again };
        self.phase = Phase::Done(Err(errno));
        Ok(())
    }
}

/// FB-2: whether the page has no private data any more.
fn has_let_go_of_buffers(kernel: &mut Kernel, page: Pfn) -> bool {
    !kernel.frames[page].has_private() || buffers::try_to_release_page(kernel, page)
}

/// WO-1 and WO-2. The page is unmapped, so there is no entry to clean. The entries come back before
/// the write starts (WO-3), writable if they were (Q29): a store through them is not noticed, though
/// the page counts as clean. Profile REPAIRED restores them read-only.
fn start_writeout(kernel: &mut Kernel, old: Pfn) -> Phase {
    let mapping = tree::page_mapping(kernel, old).expect("a page with a method is cached");
    if kernel.mappings[mapping].kind.write == Write::Never {
        return Phase::Done(Err(Errno::Invalid));
    }
    if !dirty::clear_dirty_for_io(kernel, old) {
        return Phase::Done(Err(Errno::Again));
    }
    Phase::Restoring(match kernel.profile {
        Profile::Exact => Restoring::new(old, old),
        Profile::Repaired => Restoring::read_only(old),
    })
}

/// Dirty tags and writeback tags are set under `tree_lock`.
fn tree_is_free<M: Mode>(kernel: &mut Kernel, me: Me, page: Pfn) -> Result<(), LockId> {
    match tree::page_mapping(kernel, page) {
        Some(mapping) if !tree::is_free::<M>(kernel, me, mapping) => Err(LockId::Tree(mapping)),
        _ => Ok(()),
    }
}

fn ring_of(kernel: &Kernel, page: Pfn) -> RingId {
    buffers::ring_of(kernel, page).expect("a page with PG_private has buffers")
}
