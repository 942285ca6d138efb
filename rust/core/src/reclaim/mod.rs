//! Reclaim: pages are taken away from whoever has not used them lately.
//!
//! An adversary of migration, run only when somebody asks for it. [`ShrinkPage`] is
//! `shrink_page_list` for one isolated page, step by step; [`Reclaim`] feeds it batches from the
//! tail of an inactive list (`shrink_inactive_list`), [`SwapOut`] the one page at an address.
//!
//! supporting-paths 12 and 11; concurrency S14, S15, S28 to S30, S46. Left out: the aging of active
//! lists, priorities, the throttling of direct reclaimers (nothing here reclaims on behalf of an
//! allocation).

mod references;
mod scan;
mod shrink;
mod swap_out;
#[cfg(test)]
mod tests;

pub use scan::Reclaim;
pub use shrink::ShrinkPage;
pub use swap_out::SwapOut;

use crate::base::{CpuId, Errno, Pfn};
use crate::kernel::Kernel;
use crate::state::frame::PageFlags;
use crate::state::lru;
use crate::state::zone::Counter;

/// Takes a page off its list into the hands of reclaim: isolated, counted, inactive. One that `swap_out`
/// took off the unevictable list is judged anew: it may be unlocked, and freed, meanwhile.
fn isolate(kernel: &mut Kernel, page: Pfn) -> Result<(), Errno> {
    lru::isolate(&mut kernel.frames, &mut kernel.zones, &mut kernel.lru, page)?;
    kernel.frames[page].clear(PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
    count_isolated(kernel, page, 1);
    Ok(())
}

/// Puts a page that was kept back at the head of its list, and drops the reference of its
/// isolation. One that is not evictable any more goes to the unevictable list.
fn put_back(kernel: &mut Kernel, cpu: CpuId, page: Pfn) {
    let frame = &kernel.frames[page];
    if frame.has(PageFlags::UNEVICTABLE) || !kernel.lru.is_evictable(frame) {
        kernel.put_back_isolated(cpu, page);
        return;
    }
    count_isolated(kernel, page, -1);
    lru::return_to_list(&mut kernel.frames, &mut kernel.zones, &mut kernel.lru, page);
    kernel.put_page(page);
}

fn count_isolated(kernel: &mut Kernel, page: Pfn, change: i64) {
    let family = Counter::isolated(kernel.frames[page].is_file_family());
    kernel.zones.counters_of(page).add(family, change);
}
