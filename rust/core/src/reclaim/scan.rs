//! `shrink_inactive_list`: batches from the tail of an inactive list.

use serde::{Deserialize, Serialize};

use super::shrink::{Ended, ShrinkPage};
use super::{isolate, put_back};
use crate::base::{NodeId, Pfn, ZoneId};
use crate::kernel::Kernel;
use crate::state::lru::ListKind;
use crate::state::zone::Counter;
use crate::step::{Label, Me, Mode, Point, Progress};

/// Pages of one batch (SWAP_CLUSTER_MAX).
const BATCH_PAGES: u32 = 32;

/// How far the scan has got.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
enum Phase {
    /// The next zone: drain the CPU.
    Starting,
    /// Isolate the next batch.
    Scanning(ZoneId),
    /// The next page of the batch.
    Shrinking(ZoneId, ShrinkPage),
    /// What was kept of the batch goes back.
    PuttingBack(ZoneId),
    Done,
}

/// One scan of the inactive lists of a node, zone by zone from the lowest type up. As many pages are
/// looked at as are on the list to begin with: none that was kept is looked at again.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Reclaim {
    /// Zones still to be scanned, the next one last.
    zones: Vec<ZoneId>,
    kind: ListKind,
    /// Pages still to be looked at.
    budget: u32,
    /// The same in the current zone.
    quota: u32,
    /// Pages of the batch that were not looked at yet, the next one last.
    batch: Vec<Pfn>,
    /// Pages of the batch that stay.
    kept: Vec<Pfn>,
    freed: u32,
    phase: Phase,
}

impl Reclaim {
    /// Will look at `pages` pages at most, of the anonymous family or of files.
    pub fn new(kernel: &Kernel, node: NodeId, pages: u32, is_anon: bool) -> Reclaim {
        let of_node = kernel.zones.iter().filter(|(_, zone)| zone.node == node);
        let mut zones: Vec<ZoneId> = of_node.map(|(id, _)| id).collect();
        zones.reverse();
        Reclaim {
            zones,
            kind: ListKind::evictable(!is_anon, false),
            budget: pages,
            quota: 0,
            batch: Vec::new(),
            kept: Vec::new(),
            freed: 0,
            phase: Phase::Starting,
        }
    }

    /// Pages freed so far.
    pub fn freed(&self) -> u32 {
        self.freed
    }

    /// Pages that it has isolated.
    pub fn isolated(&self) -> impl Iterator<Item = Pfn> {
        let current = self.shrinking().map(ShrinkPage::page);
        self.batch.iter().chain(&self.kept).copied().chain(current)
    }

    /// The run over the current page, while there is one.
    pub fn shrinking(&self) -> Option<&ShrinkPage> {
        match &self.phase {
            Phase::Shrinking(_, shrink) => Some(shrink),
            _ => None,
        }
    }

    /// The steps that the next advance makes.
    pub fn labels(&self) -> &'static [Label] {
        match &self.phase {
            Phase::Starting => &["SP12-drain"],
            Phase::Scanning(_) => &["SP12-scan"],
            Phase::Shrinking(_, shrink) => shrink.labels(),
            Phase::PuttingBack(_) => &["SP12-putback"],
            Phase::Done => &[],
        }
    }

    /// Makes one step.
    pub fn advance<M: Mode>(&mut self, kernel: &mut Kernel, me: Me) -> Progress {
        loop {
            match &mut self.phase {
                Phase::Starting => match self.zones.pop().filter(|_| self.budget > 0) {
                    Some(zone) => {
                        kernel.drain(me.cpu);
                        let len = kernel.zones[zone].counters.get(Counter::ALL[self.kind as usize]);
                        self.quota = self.budget.min(u32::try_from(len).unwrap_or(0));
                        self.phase = Phase::Scanning(zone);
                    }
                    None => self.phase = Phase::Done,
                },
                &mut Phase::Scanning(zone) => self.scan(kernel, zone),
                Phase::Shrinking(zone, shrink) => {
                    let zone = *zone;
                    match shrink.advance::<M>(kernel, me) {
                        Progress::Done => {
                            match shrink.ended() {
                                Ended::Freed => self.freed += 1,
                                Ended::Kept | Ended::Writing => self.kept.push(shrink.page()),
                                Ended::Culled => {}
                            }
                            self.next(zone);
                        }
                        other => return other,
                    }
                }
                &mut Phase::PuttingBack(zone) => {
                    for page in std::mem::take(&mut self.kept) {
                        put_back(kernel, me.cpu, page);
                    }
                    self.phase = Phase::Scanning(zone);
                    if kernel.pauses::<M>(BATCH_PAGES as usize) {
                        return Progress::Ran;
                    }
                }
                Phase::Done => return Progress::Done,
            }
            if matches!(self.phase, Phase::Done) {
                return Progress::Done;
            }
            if Point::Open.stops::<M>(me) {
                return Progress::Ran;
            }
        }
    }

    /// Isolates the next batch, oldest first; without one the zone is done.
    fn scan(&mut self, kernel: &mut Kernel, zone: ZoneId) {
        let most = self.quota.min(BATCH_PAGES) as usize;
        let found = kernel.lru.oldest(&kernel.frames, zone, self.kind, most);
        if found.is_empty() {
            self.phase = Phase::Starting;
            return;
        }
        self.budget -= found.len() as u32;
        self.quota -= found.len() as u32;
        for &page in &found {
            isolate(kernel, page).expect("a page on a list can be isolated");
        }
        self.batch = found;
        self.batch.reverse();
        self.next(zone);
    }

    fn next(&mut self, zone: ZoneId) {
        self.phase = match self.batch.pop() {
            Some(page) => Phase::Shrinking(zone, ShrinkPage::new(page)),
            None => Phase::PuttingBack(zone),
        };
    }
}
