//! Which entry bits follow from an area's flags (data-model 6.1).

use super::super::pagetable::Entry;
use super::VmFlags;

/// `vm_page_prot` of an area with these flags. A private area's entries are never writable by
/// protection alone: the first store must copy or reuse. Nor are those of a shared area whose file
/// wants notice of the first store.
pub fn page_protection(flags: VmFlags, wants_notice: bool) -> u64 {
    if !flags.intersects(VmFlags::PROTECTION) {
        return Entry::PROTNONE | Entry::ACCESSED;
    }
    let mut bits = Entry::PRESENT | Entry::USER | Entry::ACCESSED;
    if !flags.contains(VmFlags::EXEC) {
        bits |= Entry::NO_EXECUTE;
    }
    if flags.contains(VmFlags::SHARED | VmFlags::WRITE) && !wants_notice {
        bits |= Entry::WRITABLE;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_writable_areas_have_writable_protection() {
        let writable = |flags| page_protection(flags, false) & Entry::WRITABLE != 0;
        assert!(!writable(VmFlags::READ | VmFlags::WRITE));
        assert!(writable(VmFlags::READ | VmFlags::WRITE | VmFlags::SHARED));
        assert!(!writable(VmFlags::READ | VmFlags::SHARED));
        assert_eq!(page_protection(VmFlags::empty(), false) & Entry::PRESENT, 0);
        let shared = VmFlags::READ | VmFlags::WRITE | VmFlags::SHARED;
        assert_eq!(page_protection(shared, true) & Entry::WRITABLE, 0);
    }
}
