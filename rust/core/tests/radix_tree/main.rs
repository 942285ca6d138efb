//! The radix tree of an address space against a plain ordered map (data-model 5.2, I-64).
//!
//! First histories of random steps over several kinds of indices, compared with a map at every
//! step ([`pair`]), then one test a behaviour. The cases of `tests/cases/cases.json` whose scope
//! is `radix` are in [`cases`].

mod cases;
mod pair;

use std::panic::{AssertUnwindSafe, catch_unwind};

use pagemig_core::base::Pfn;
use pagemig_core::state::mapping::{RadixTree, Tag};
use pair::{Numbers, Pair, all_tagged, boundaries, height_for};

/// Random steps, more insertions than deletions and then fewer, and at last everything out.
fn live_a_history(seed: u64, steps: u32, mut choose: impl FnMut(&mut Numbers) -> u64) {
    let mut numbers = Numbers(seed);
    let (mut pair, mut peak) = (Pair::default(), 0);
    for step in 0..steps {
        let (index, item) = (choose(&mut numbers), Pfn(numbers.below(1 << 20) as u32));
        let tag = numbers.one_of(&Tag::ALL);
        let insertions = if step < steps / 2 { 5 } else { 2 };
        match numbers.below(12) {
            action if action < insertions => pair.insert(index, item),
            action if action < 7 => pair.delete(index),
            7 => pair.replace(index, item),
            8 | 9 => pair.set_tag(index, tag),
            10 => pair.clear_tag(index, tag),
            _ => pair.compare_at(index),
        }
        peak = peak.max(pair.map.len());
        if step % 64 == 0 {
            pair.compare_all();
        }
    }
    assert!(peak > 2, "a history of {peak} pages at most is too tame");
    while let Some(&index) = pair.map.keys().nth(pair.map.len() / 2) {
        pair.delete(index);
    }
    assert_eq!((pair.tree.height(), pair.tree.branches()), (0, 0));
    pair.compare_all();
}

#[test]
fn a_dense_file_agrees_with_a_map_at_every_step() {
    live_a_history(1, 20_000, |numbers| numbers.below(200));
}

#[test]
fn a_file_with_holes_agrees_with_a_map_at_every_step() {
    live_a_history(2, 20_000, |numbers| {
        numbers.one_of(&[0, 5000, 1 << 18, 1 << 40]) + numbers.below(40)
    });
}

#[test]
fn sparse_indices_of_every_size_agree_with_a_map_at_every_step() {
    // Small numbers come again, so that there is something to delete.
    live_a_history(3, 4_000, |numbers| {
        let size = numbers.below(64);
        numbers.one_of(&[u64::MAX, 0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03]) >> size
    });
}

#[test]
fn indices_at_the_height_boundaries_agree_with_a_map_at_every_step() {
    let boundaries = boundaries();
    live_a_history(4, 10_000, |numbers| numbers.one_of(&boundaries));
    // Few of them, so that the tree is often small, or empty, and grows again.
    for seed in 5..25 {
        let mut numbers = Numbers(seed);
        let few = [(); 4].map(|()| numbers.one_of(&boundaries));
        live_a_history(seed, 500, |numbers| numbers.one_of(&few));
    }
}

#[test]
fn one_page_anywhere_needs_one_branch_a_level_and_leaves_none_behind() {
    for index in boundaries() {
        let mut tree = RadixTree::default();
        assert!(tree.insert(index, Pfn(7)));
        let height = height_for(index);
        assert_eq!((tree.height(), tree.branches()), (height, height as usize), "{index:#x}");
        assert_eq!(tree.get(index), Some(Pfn(7)));
        assert_eq!(tree.delete(index), Some(Pfn(7)));
        assert_eq!((tree.height(), tree.branches(), tree.len()), (0, 0, 0), "{index:#x}");
        assert_eq!((tree.next(0), tree.check()), (None, Ok(())));
    }
}

#[test]
fn eleven_levels_reach_the_last_index_of_all() {
    let heights = [(0, 0), (1, 1), (63, 1), (64, 2), (4095, 2), (4096, 3), (u64::MAX, 11)];
    for (index, height) in heights {
        let mut tree = RadixTree::default();
        assert!(tree.insert(index, Pfn(1)));
        assert_eq!(tree.height(), height, "height for index {index}");
    }
}

#[test]
fn a_far_page_raises_the_tree_and_its_deletion_lowers_it_again() {
    let far = boundaries().into_iter().filter(|&index| index > 64);
    for far in far {
        let mut pair = Pair::default();
        for near in [0, 3, 63] {
            pair.insert(near, Pfn(100 + near as u32));
        }
        pair.set_tag(3, Tag::Dirty);
        pair.insert(far, Pfn(9));
        pair.set_tag(far, Tag::Writeback);
        assert_eq!(pair.tree.height(), height_for(far));
        pair.delete(far);
        assert_eq!((pair.tree.height(), pair.tree.branches()), (1, 1), "after {far:#x}");
        pair.compare_all();
    }
}

#[test]
fn a_lone_page_at_index_zero_moves_into_the_root_with_its_tags() {
    let mut tree = RadixTree::default();
    assert!(tree.insert(0, Pfn(1)) && tree.insert(70, Pfn(2)));
    tree.set_tag(0, Tag::Writeback);
    assert_eq!(tree.delete(70), Some(Pfn(2)));
    assert_eq!((tree.height(), tree.branches(), tree.get(0)), (0, 0, Some(Pfn(1))));
    assert!(tree.has_tag(0, Tag::Writeback) && !tree.has_tag(0, Tag::Dirty));
    // And out of it again.
    assert!(tree.insert(64, Pfn(3)));
    assert!(tree.has_tag(0, Tag::Writeback) && !tree.has_tag(64, Tag::Writeback));
    assert_eq!(tree.delete(0), Some(Pfn(1)));
    assert!(!tree.is_tagged(Tag::Writeback));
    assert_eq!((tree.height(), tree.branches(), tree.check()), (2, 2, Ok(())));
}

#[test]
fn a_lookup_jumps_over_the_empty_stretches_between_far_pages() {
    // Index by index this would not end.
    let mut tree = RadixTree::default();
    assert!(tree.insert(0, Pfn(1)) && tree.insert(u64::MAX, Pfn(2)));
    assert!(tree.insert(1 << 50, Pfn(3)));
    tree.set_tag(u64::MAX, Tag::Dirty);
    assert_eq!(tree.next(1), Some((1 << 50, Pfn(3))));
    assert_eq!(tree.next((1 << 50) + 1), Some((u64::MAX, Pfn(2))));
    assert_eq!(tree.next(u64::MAX), Some((u64::MAX, Pfn(2))));
    assert_eq!(tree.next_tagged(0, Tag::Dirty), Some((u64::MAX, Pfn(2))));
    assert_eq!(tree.next_tagged(0, Tag::Writeback), None);
    assert_eq!(tree.iter().count(), 3);
    tree.delete(u64::MAX);
    assert_eq!((tree.next((1 << 50) + 1), tree.next(u64::MAX)), (None, None));
}

#[test]
fn an_index_beyond_the_height_has_nothing_and_changes_nothing() {
    for index in [1, 64, 4096, 1 << 60, u64::MAX] {
        let mut tree = RadixTree::default();
        assert!(tree.insert(0, Pfn(1)));
        tree.set_tag(0, Tag::Dirty);
        assert_eq!((tree.get(index), tree.next(index)), (None, None));
        assert_eq!(tree.next_tagged(index, Tag::Dirty), None);
        assert_eq!((tree.delete(index), tree.replace(index, Pfn(2))), (None, None));
        tree.clear_tag(index, Tag::Dirty);
        assert!(!tree.has_tag(index, Tag::Dirty));
        assert_eq!((tree.len(), tree.height(), tree.check()), (1, 0, Ok(())));
        assert!(tree.has_tag(0, Tag::Dirty));
    }
}

#[test]
fn an_occupied_slot_refuses_a_second_page_and_keeps_the_first_with_its_tags() {
    for index in boundaries() {
        let mut tree = RadixTree::default();
        assert!(tree.insert(index, Pfn(1)));
        tree.set_tag(index, Tag::Dirty);
        let before = (tree.height(), tree.branches());
        assert!(!tree.insert(index, Pfn(2)), "-EEXIST at {index:#x}");
        assert_eq!((tree.get(index), tree.len()), (Some(Pfn(1)), 1));
        assert!(tree.has_tag(index, Tag::Dirty) && !tree.is_tagged(Tag::Writeback));
        assert_eq!(((tree.height(), tree.branches()), tree.check()), (before, Ok(())));
    }
}

#[test]
fn a_page_that_is_under_writeback_and_dirty_loses_one_tag_at_a_time() {
    // I-65, I-66: writeback ends, and the page is still to be written once more.
    let mut tree = RadixTree::default();
    assert!(tree.insert(4096, Pfn(1)) && tree.insert(4097, Pfn(2)));
    Tag::ALL.into_iter().for_each(|tag| tree.set_tag(4096, tag));
    tree.set_tag(4097, Tag::Dirty);
    tree.clear_tag(4096, Tag::Writeback);
    assert!(tree.has_tag(4096, Tag::Dirty) && !tree.is_tagged(Tag::Writeback));
    tree.clear_tag(4096, Tag::Dirty);
    assert!(tree.is_tagged(Tag::Dirty), "the neighbour is still dirty");
    assert_eq!(all_tagged(&tree, Tag::Dirty), [(4097, Pfn(2))]);
    assert_eq!(tree.check(), Ok(()));
}

#[test]
fn a_page_that_comes_where_a_tagged_one_was_is_untagged() {
    for index in boundaries() {
        let mut tree = RadixTree::default();
        assert!(tree.insert(index, Pfn(1)));
        Tag::ALL.into_iter().for_each(|tag| tree.set_tag(index, tag));
        tree.delete(index);
        assert!(!Tag::ALL.into_iter().any(|tag| tree.is_tagged(tag)), "an empty tree has no tags");
        assert!(tree.insert(index, Pfn(1)));
        assert!(!Tag::ALL.into_iter().any(|tag| tree.has_tag(index, tag)));
        assert_eq!(tree.check(), Ok(()));
    }
}

#[test]
fn a_tag_on_an_empty_slot_is_an_error_of_the_model() {
    let message_of = |tree: &mut RadixTree, index| {
        let cause = catch_unwind(AssertUnwindSafe(|| tree.set_tag(index, Tag::Dirty)));
        *cause.expect_err("a panic").downcast::<String>().expect("a message")
    };
    let mut tree = RadixTree::default();
    assert_eq!(message_of(&mut tree, 0), "tag Dirty set at 0x0, where there is no item");
    assert!(tree.insert(64, Pfn(1)));
    for index in [0, 65, 4096, u64::MAX] {
        assert!(message_of(&mut tree, index).contains("no item"));
        assert!(!tree.is_tagged(Tag::Dirty));
        assert_eq!(tree.check(), Ok(()));
    }
}

#[test]
#[should_panic(expected = "4294967295 is the mark of a vacant slot")]
fn the_mark_of_a_vacant_slot_is_not_taken_for_a_page() {
    RadixTree::default().insert(0, Pfn(u32::MAX));
}

#[test]
fn a_copy_of_a_tree_goes_its_own_way() {
    let mut tree = RadixTree::default();
    assert!(tree.insert(1, Pfn(1)) && tree.insert(100, Pfn(2)));
    let mut copy = tree.clone();
    copy.set_tag(1, Tag::Dirty);
    copy.delete(100);
    assert_eq!(tree.iter().collect::<Vec<_>>(), [(1, Pfn(1)), (100, Pfn(2))]);
    assert_eq!((tree.height(), tree.is_tagged(Tag::Dirty)), (2, false));
    assert_eq!(copy.iter().collect::<Vec<_>>(), [(1, Pfn(1))]);
    assert_eq!((copy.height(), copy.is_tagged(Tag::Dirty)), (1, true));
}
