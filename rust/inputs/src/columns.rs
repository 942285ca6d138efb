//! Accesses as three columns of equal length, in the order in which they happened.
//!
//! Start with [`Columns`]. Filled by the parsers next door; what a number in
//! [`Columns::kinds`] means is [`AccessKind`].
//!
//! The size column has one byte an entry. The few accesses wider than that (saving the
//! state of the vector unit) become neighbours of [`PIECE_SIZE`] bytes.

/// The largest access, in bytes, that is believed; recording tools stop well below.
pub const ACCESS_SIZE_MAX: u64 = 4096;

/// Bytes of the pieces in which an access of more than 255 bytes is handed on.
pub const PIECE_SIZE: u8 = 128;

/// What an access did, as the number that stands in [`Columns::kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AccessKind {
    /// Data was read.
    Load = 0,
    /// Data was written.
    Store = 1,
    /// Data was read, then written, at the same place.
    Modify = 2,
    /// An instruction was fetched.
    Instruction = 3,
}

/// Accesses, one entry a column each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// First byte of each access.
    pub addresses: Vec<u64>,
    /// Bytes of each access, at least 1.
    pub sizes: Vec<u8>,
    /// What each access did: an [`AccessKind`] as a number.
    pub kinds: Vec<u8>,
}

impl Columns {
    /// Returns the number of accesses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Returns whether there is no access.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Makes room for `additional` more accesses.
    pub fn reserve(&mut self, additional: usize) {
        self.addresses.reserve(additional);
        self.sizes.reserve(additional);
        self.kinds.reserve(additional);
    }

    /// Appends one access.
    pub fn push(&mut self, address: u64, size: u8, kind: AccessKind) {
        self.addresses.push(address);
        self.sizes.push(size);
        self.kinds.push(kind as u8);
    }

    /// Appends one access, in pieces if its size does not fit into the column.
    ///
    /// The caller has seen to it that the access ends within 64 bits of address.
    pub fn push_pieces(&mut self, address: u64, size: u64, kind: AccessKind) {
        if let Ok(size) = u8::try_from(size) {
            self.push(address, size, kind);
            return;
        }
        let mut offset = 0;
        while offset < size {
            let piece = (size - offset).min(u64::from(PIECE_SIZE));
            self.push(address + offset, piece as u8, kind);
            offset += piece;
        }
    }

    /// Forgets every access after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.addresses.truncate(len);
        self.sizes.truncate(len);
        self.kinds.truncate(len);
    }
}
