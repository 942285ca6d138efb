//! THE ENGINE: moving pages from one frame to another while programs go on using them.
//!
//! Where to find what, from the inside out (migration.md, section by section):
//!
//! | file | sections |
//! |---|---|
//! | [`replace`] | 6 `migrate_page_move_mapping`: is the page ours alone? |
//! | [`copy`] | 7 `migrate_page_copy`: bytes and flags |
//! | [`methods`] | 8 to 12 `migrate_page`, `fail_migrate_page` and so on: how a kind of page moves |
//! | [`page_move`] | 13 `move_to_new_page`, 14 `unmap_and_move`: one page, phase by phase |
//! | [`target`] | 17 `new_page_node` and the other allocators: where the new frame comes from |
//! | `pointers` | 16 and 17: which record names a page first |
//! | [`batch`] | 2 `putback_lru_pages`, 15 `migrate_pages`: ten passes over a list |
//! | [`move_pages`] | 1 `migrate_prep`, 18 `do_move_page_to_node_array`, 19 `do_pages_move` |
//! | [`query`] | 20 `do_pages_stat_array`, 21 `do_pages_stat`: `move_pages(2)` that only asks |
//! | [`collect`] | syscalls 6.3 `check_range`: which pages of a range are wanted |
//! | [`migrate_pages`] | syscalls 5.3: `migrate_pages(2)`, node by node |
//! | `vmas` | 23 `migrate_vmas`: areas that move their own pages |
//! | [`mbind`] | syscalls 6.2: `mbind(2)` |
//! | [`offline`] | syscalls 7: `offline_pages`, `do_migrate_range` |
//! | [`soft_offline`] | syscalls 8: one frame |
//! | [`frames`] | the engine itself, for a list of frames |
//!
//! Where nobody can look in between, usual pages take a straight road beside the phases: `batch/straight`,
//! `move_pages/straight`, `query/straight` (docs/decisions/0012).
//!
//! Below us: [`crate::unmap`] replaces the entries. Above us: [`crate::machine`] runs the calls.
//! Left out: `lru_to_page` (section 0), which nothing uses; the checks of `sys_move_pages` (section
//! 22), which are made before a call begins.

pub mod batch;
pub mod collect;
pub mod copy;
pub mod frames;
pub mod mbind;
pub mod methods;
pub mod migrate_pages;
pub mod move_pages;
pub mod offline;
#[cfg(test)]
mod offline_kinds_tests;
#[cfg(test)]
mod offline_tests;
pub mod page_move;
mod pointers;
pub mod query;
pub mod replace;
pub mod soft_offline;
#[cfg(test)]
mod soft_offline_tests;
pub mod target;
#[cfg(test)]
mod tests;
mod vmas;
