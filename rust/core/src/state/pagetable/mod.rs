//! Page tables: four levels of 512 entries, in the bit layout of x86-64.
//!
//! An [`Entry`] says what is at an address; a [`Tables`] is the pool of tables of all address
//! spaces. Neighbouring addresses share a leaf table: [`Tables::leaf_of`] walks once for all.
//!
//! Data-model 6.2 to 6.4. Left out: huge pages, non-linear file entries.

mod entry;
mod tables;

pub use entry::{Entry, Kind};
pub use tables::{ENTRIES as LEAF_ENTRIES, LEAF_SPAN, Tables, leaf_index, leaf_span_end};
