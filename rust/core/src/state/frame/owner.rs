//! The `mapping` field of a page: a tagged number (data-model 2.1).

use serde::{Deserialize, Serialize};

use crate::base::{AnonVmaId, MappingId, StableNodeId};

/// What a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// Nothing.
    None,
    /// Anonymous memory, found through an `anon_vma`.
    Anon(AnonVmaId),
    /// A file, found through the areas that map it.
    File(MappingId),
    /// KSM, found through the items of a stable node; none for a moment after the first merge.
    Ksm(Option<StableNodeId>),
}

/// An owner as a descriptor stores it: where owners are only compared and handed on, nobody need unpack
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerWord(pub(super) u32);

impl OwnerWord {
    /// [`Owner::None`].
    pub const NONE: OwnerWord = OwnerWord(0);

    /// The word for an owner.
    #[inline]
    pub const fn of(owner: Owner) -> OwnerWord {
        OwnerWord(owner.pack())
    }

    /// The owner that it stands for.
    #[inline]
    pub const fn owner(self) -> Owner {
        Owner::unpack(self.0)
    }
}

/// Tag bit 0 of the kernel's pointer: PAGE_MAPPING_ANON.
pub(super) const TAG_ANON: u32 = 1;
/// Tag bits 0 and 1: PAGE_MAPPING_ANON and PAGE_MAPPING_KSM.
pub(super) const TAG_KSM: u32 = 3;
/// Numbers from here on do not fit above the tags.
const ID_MAX: u32 = (1 << 30) - 1;

impl Owner {
    /// The owner as it is stored: the kernel's two tag bits below a number from 1.
    #[inline]
    pub(super) const fn pack(self) -> u32 {
        let (id, tag) = match self {
            Owner::None => return 0,
            Owner::Ksm(None) => return TAG_KSM,
            Owner::Anon(AnonVmaId(id)) => (id, TAG_ANON),
            Owner::File(MappingId(id)) => (id, 0),
            Owner::Ksm(Some(StableNodeId(id))) => (id, TAG_KSM),
        };
        assert!(id < ID_MAX, "more owners of a kind than a descriptor can name");
        ((id + 1) << 2) | tag
    }

    /// The reverse of [`Owner::pack`].
    #[inline]
    pub(super) const fn unpack(word: u32) -> Owner {
        match (word & 3, word >> 2) {
            (TAG_ANON, id) => Owner::Anon(AnonVmaId(id - 1)),
            (TAG_KSM, 0) => Owner::Ksm(None),
            (TAG_KSM, id) => Owner::Ksm(Some(StableNodeId(id - 1))),
            (_, 0) => Owner::None,
            (_, id) => Owner::File(MappingId(id - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_being_stored() {
        let owners = [
            Owner::None,
            Owner::Anon(AnonVmaId(0)),
            Owner::Anon(AnonVmaId(77)),
            Owner::File(MappingId(0)),
            Owner::File(MappingId(5)),
            Owner::Ksm(None),
            Owner::Ksm(Some(StableNodeId(0))),
        ];
        for owner in owners {
            assert_eq!(Owner::unpack(owner.pack()), owner);
        }
        assert_eq!(Owner::None.pack(), 0, "a free frame is all zeroes");
    }
}
