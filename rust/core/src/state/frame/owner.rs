//! The `mapping` field of a page: a tagged number (data-model 2.1).

use crate::base::AnonVmaId;

/// What a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nothing.
    None,
    /// Anonymous memory, found through an `anon_vma`.
    Anon(AnonVmaId),
}

/// Tag bit 0 of the kernel's pointer: PAGE_MAPPING_ANON.
const TAG_ANON: u32 = 1;
/// Numbers from here on do not fit above the tags.
const ID_MAX: u32 = (1 << 30) - 1;

impl Owner {
    /// The owner as it is stored: the kernel's two tag bits below a number from 1.
    #[inline]
    pub(super) const fn pack(self) -> u32 {
        match self {
            Owner::None => 0,
            Owner::Anon(AnonVmaId(id)) => {
                assert!(id < ID_MAX, "more anon_vmas than a descriptor can name");
                ((id + 1) << 2) | TAG_ANON
            }
        }
    }

    /// The reverse of [`Owner::pack`].
    #[inline]
    pub(super) const fn unpack(word: u32) -> Owner {
        match word & 3 {
            TAG_ANON => Owner::Anon(AnonVmaId((word >> 2) - 1)),
            _ => Owner::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_being_stored() {
        for owner in [Owner::None, Owner::Anon(AnonVmaId(0)), Owner::Anon(AnonVmaId(77))] {
            assert_eq!(Owner::unpack(owner.pack()), owner);
        }
        assert_eq!(Owner::None.pack(), 0, "a free frame is all zeroes");
    }
}
