//! The straight road of a query: whole chunks at once, while nothing about them is unusual.
//!
//! PS-1 to PS-3 for chunk after chunk where nobody can look in between (mode `Run`): first the entries of
//! many addresses, then the descriptors of many pages, so that the host waits for its memory once for
//! all of them. A chunk with an address that is not for this road is left as it is, for the phases. What
//! holds it to them: `rust/core/tests/straight_road`.

use super::{CHUNK, QueryPages};
use crate::base::{Errno, ZoneId};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::pagetable::{Entry, leaf_index};

/// Addresses that are looked up together: a number of chunks.
const TOGETHER: usize = 16 * CHUNK;

impl QueryPages {
    /// Answers the next chunks, as many as are for the straight road and can be written out whole.
    pub(super) fn look_straight(&mut self, kernel: &mut Kernel) {
        let question = &self.question;
        let readable = question.addresses.len().min(usize::try_from(question.count).unwrap_or(0));
        let writable = usize::try_from(question.status_bytes_writable / 4).unwrap_or(usize::MAX);
        let end = readable.min(writable);
        let mut entries = [Entry::NONE; TOGETHER];
        while self.start < end {
            let wanted = (end - self.start).min(TOGETHER);
            let found = self.entries(kernel, &mut entries[..wanted]);
            let whole = found - found % CHUNK;
            self.answer(kernel, &entries[..whole]);
            if whole < TOGETHER || kernel.fuel.burn(whole) {
                break;
            }
        }
    }

    /// The entries of the next addresses; returns how many there are before the first that is not for
    /// the straight road: above all areas, or no ordinary page.
    fn entries(&self, kernel: &mut Kernel, entries: &mut [Entry]) -> usize {
        let root = kernel.mms[self.mm].root;
        let mut span = 0..0;
        let addresses = &self.question.addresses[self.start..];
        for (at, (slot, &address)) in entries.iter_mut().zip(addresses).enumerate() {
            if !span.contains(&address) {
                let area;
                (span, area) = kernel.mms[self.mm].find_span(&kernel.vmas, address);
                if area.is_none() {
                    return at;
                }
            }
            let leaf = kernel.tables.leaf_of(root, address);
            *slot = leaf.map_or(Entry::NONE, |leaf| kernel.tables.get(leaf, leaf_index(address)));
            if slot.has(Entry::SPECIAL) {
                return at;
            }
        }
        entries.len()
    }

    /// PS-2 and PS-3 for whole chunks of entries.
    fn answer(&mut self, kernel: &mut Kernel, entries: &[Entry]) {
        let Kernel { frames, zones, cost, .. } = kernel;
        let frames = frames.as_mut_slice();
        let mut zone = ZoneId(0);
        self.statuses.extend(entries.iter().map(|entry| {
            if !entry.is_present() {
                return Errno::NoEntry.negative();
            }
            let page = entry.pfn();
            let frame = &frames[page.index()];
            if frame.has(PageFlags::RESERVED) || frame.is_ksm() {
                return Errno::NoEntry.negative();
            }
            zone = zones.zone_near(zone, page);
            i32::from(zones[zone].node.0)
        }));
        cost.walks += entries.len() as u64;
        self.start = self.statuses.len();
        self.bytes_written = 4 * self.start as u64;
    }
}
