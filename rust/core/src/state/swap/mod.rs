//! Swap devices: which slot is used by how many entries (data-model 8).
//!
//! Start with [`Swaps::allocate`]. The swap cache is address space number 0 of
//! [`super::mapping`]; [`crate::pagecache::swapcache`] ties the two together. Left out: bad slots,
//! priorities, swap-off. A slot's byte is given as numbers: its use count and two marks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::mapping::Disk;
use crate::base::{MmId, SwapEntry};

/// One slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// Swap entries that name it, and 1 if shmem owns it.
    pub uses: u32,
    /// SWAP_HAS_CACHE.
    pub has_cache: bool,
    /// Owned by shmem: one of `uses` is a file's.
    pub is_shmem: bool,
}

impl Slot {
    /// Whether nobody has it.
    pub fn is_free(&self) -> bool {
        self.uses == 0 && !self.has_cache
    }
}

/// One device. Slot 0 is its header.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct SwapDevice {
    /// The slots, header included.
    pub slots: Vec<Slot>,
    /// What was written, by slot.
    pub disk: Disk,
    /// Every slot before this one is taken.
    hint: usize,
}

/// All devices.
#[derive(Clone, Debug, Default, Hash, Serialize, Deserialize)]
pub struct Swaps {
    /// The devices, by number.
    pub devices: Vec<SwapDevice>,
    /// Free slots (`nr_swap_pages`).
    pub free: u64,
    /// All slots.
    pub total: u64,
    /// Address spaces that have, or had, swap entries.
    pub mms: BTreeSet<MmId>,
    /// Ticks that a transfer takes; none: it never ends.
    pub io_ticks: Option<u64>,
    /// Whether the devices are congested.
    pub is_congested: bool,
}

impl Swaps {
    /// Whether the host has room for so many slots.
    pub fn has_room_for(slots: u32) -> bool {
        Vec::<Slot>::new().try_reserve_exact(slots as usize + 1).is_ok()
    }

    /// One device of `slots` slots, or no swap.
    pub fn new(slots: u32) -> Swaps {
        let device = SwapDevice {
            slots: vec![Slot::default(); slots as usize + 1],
            disk: Disk::default(),
            hint: 1,
        };
        Swaps {
            devices: if slots > 0 { vec![device] } else { Vec::new() },
            free: slots.into(),
            total: slots.into(),
            mms: BTreeSet::new(),
            io_ticks: Some(1),
            is_congested: false,
        }
    }

    /// Takes the lowest free slot for the swap cache (HAS_CACHE set, use count 0).
    pub fn allocate(&mut self) -> Option<SwapEntry> {
        for (number, device) in self.devices.iter_mut().enumerate() {
            let found = (device.hint..device.slots.len()).find(|&at| device.slots[at].is_free());
            device.hint = found.map_or(device.slots.len(), |at| at + 1);
            if let Some(at) = found {
                device.slots[at].has_cache = true;
                self.free -= 1;
                return Some(SwapEntry::new(number as u8, at as u32));
            }
        }
        None
    }

    /// The slot that an entry names.
    pub fn slot(&self, entry: SwapEntry) -> Slot {
        self.devices[usize::from(entry.device())].slots[entry.offset() as usize]
    }

    /// One more entry names the slot (`swap_duplicate`). A slot that nobody has is left alone, as in
    /// the kernel; counts never run over here, so this cannot fail.
    pub fn duplicate(&mut self, entry: SwapEntry) {
        let slot = self.slot_mut(entry);
        if !slot.is_free() {
            slot.uses += 1;
        }
    }

    /// One entry less names the slot (`swap_free`).
    ///
    /// # Panics
    /// If none did: an error of the model.
    pub fn free(&mut self, entry: SwapEntry) {
        let slot = self.slot_mut(entry);
        assert!(slot.uses > 0, "swap slot {entry:?} freed too often");
        slot.uses -= 1;
        slot.is_shmem &= slot.uses > 0;
        self.close_if_free(entry);
    }

    /// The page of the slot enters the swap cache, or leaves it.
    pub fn set_cache(&mut self, entry: SwapEntry, has_cache: bool) {
        self.slot_mut(entry).has_cache = has_cache;
        self.close_if_free(entry);
    }

    /// shmem takes the slot over for one of its pages.
    pub fn give_to_shmem(&mut self, entry: SwapEntry) {
        let slot = self.slot_mut(entry);
        slot.uses += 1;
        slot.is_shmem = true;
    }

    /// Whether more than half of all slots are taken (data-model 8).
    pub fn is_full(&self) -> bool {
        self.free * 2 < self.total
    }

    fn slot_mut(&mut self, entry: SwapEntry) -> &mut Slot {
        &mut self.devices[usize::from(entry.device())].slots[entry.offset() as usize]
    }

    fn close_if_free(&mut self, entry: SwapEntry) {
        if self.slot(entry).is_free() {
            let device = &mut self.devices[usize::from(entry.device())];
            device.hint = device.hint.min(entry.offset() as usize);
            device.disk.forget(entry.offset().into());
            self.free += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_neither_cache_nor_entry_has_it() {
        let mut swaps = Swaps::new(2);
        let (a, b) = (swaps.allocate().unwrap(), swaps.allocate().unwrap());
        assert_eq!((a.offset(), b.offset()), (1, 2), "0 is the header");
        assert_eq!(swaps.allocate(), None);
        swaps.duplicate(a);
        swaps.set_cache(a, false);
        assert_eq!(swaps.free, 0);
        swaps.free(a);
        assert_eq!((swaps.free, swaps.allocate()), (1, Some(a)));
        swaps.set_cache(b, false);
        swaps.duplicate(b);
        assert!(swaps.slot(b).is_free(), "nobody has it: left alone");
    }
}
