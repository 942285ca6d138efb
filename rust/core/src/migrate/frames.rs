//! The engine for embedders: isolates the named frames and hands them to `migrate_pages`.

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Report};
use super::target::Target;
use crate::base::{Errno, Pfn};
use crate::kernel::Kernel;
use crate::step::{Label, Me, Mode, Point, Progress};
use crate::trace::EventKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Phase {
    Preparing,
    Isolating(usize),
    Moving,
    Done(Result<u32, Errno>),
}

/// One run of the engine over frames.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct MigrateFrames {
    frames: Vec<Pfn>,
    /// Why a frame was not even queued.
    refused: Vec<Option<Errno>>,
    batch: Batch,
    phase: Phase,
}

impl MigrateFrames {
    /// Will move the pages in `frames`, after draining all pagevecs; as memory offlining does, with KSM
    /// pages, if `is_offlining`.
    pub fn new(frames: Vec<Pfn>, target: Target, is_offlining: bool) -> MigrateFrames {
        let batch = Batch::new(target, frames.len()).offlining(is_offlining);
        let refused = vec![None; frames.len()];
        MigrateFrames { frames, refused, batch, phase: Phase::Preparing }
    }

    /// Pages not migrated or an errno, the status of every frame, and the engine's report.
    pub fn into_outcome(self) -> (Result<u32, Errno>, Vec<i32>, Report) {
        let Phase::Done(result) = self.phase else { unreachable!("asked before it was done") };
        let report = self.batch.report().clone();
        let rows = self.refused.iter().zip(&report.results);
        let status = |(refused, result): (&Option<Errno>, &Option<Result<_, Errno>>)| match (
            refused, result,
        ) {
            (Some(errno), _) | (None, Some(Err(errno))) => errno.negative(),
            (None, Some(Ok(crate::base::NodeId(node)))) => i32::from(*node),
            (None, None) => Errno::NoMemory.negative(),
        };
        (result, rows.map(status).collect(), report)
    }

    /// The batch under way.
    pub fn batch(&self) -> Option<&Batch> {
        matches!(self.phase, Phase::Isolating(_) | Phase::Moving).then_some(&self.batch)
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match self.phase {
            Phase::Preparing => &["PREP-1"],
            Phase::Isolating(_) => &["MF-isolate"],
            Phase::Moving => self.batch.labels(),
            Phase::Done(_) => &[],
        }
    }

    /// How many pages are done, of how many.
    pub fn done_of(&self) -> (u64, u64) {
        match self.phase {
            Phase::Preparing | Phase::Isolating(_) => (0, self.frames.len() as u64),
            _ => self.batch.done_of(),
        }
    }

    /// Makes one step; in mode `Run`, all of them.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match self.phase {
                Phase::Preparing => {
                    kernel.drain_all();
                    self.phase = Phase::Isolating(0);
                }
                Phase::Isolating(at) => match self.frames.get(at) {
                    Some(&page) => {
                        match kernel.isolate_page(page) {
                            Ok(()) => {
                                self.batch.push(page, at);
                                kernel.note::<M>(me, EventKind::Isolate, Some(page), 0, 0);
                            }
                            Err(errno) => {
                                self.refused[at] = Some(errno);
                                let value = i64::from(errno.negative());
                                kernel.note::<M>(me, EventKind::Refuse, Some(page), 0, value);
                            }
                        }
                        self.phase = Phase::Isolating(at + 1);
                        if kernel.pauses::<M>(1) {
                            return Progress::Ran;
                        }
                    }
                    None if self.batch.is_empty() => self.phase = Phase::Done(Ok(0)),
                    None => {
                        self.phase = Phase::Moving;
                        continue;
                    }
                },
                Phase::Moving => match self.batch.advance::<M>(kernel, me) {
                    Progress::Done => self.phase = Phase::Done(self.batch.result()),
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
}
