//! The cases of `tests/cases/cases.json` whose scope is `radix`, each under its behaviour's name.

use pagemig_core::base::Pfn;
use pagemig_core::state::mapping::{RadixTree, Tag};

use crate::pair::{Numbers, all_tagged, boundaries};

/// Case RT-extend.
#[test]
fn tags_survive_growing_and_shrinking() {
    for tag in Tag::ALL {
        let mut tree = RadixTree::default();
        assert!(tree.insert(43, Pfn(1)));
        tree.set_tag(43, tag);
        assert!(tree.insert(1_000_000, Pfn(2)));
        assert!(tree.has_tag(43, tag) && !tree.has_tag(1_000_000, tag));
        assert!(tree.insert(0, Pfn(3)));
        tree.set_tag(0, tag);
        assert_eq!(tree.delete(1_000_000), Some(Pfn(2)));
        assert!(tree.has_tag(43, tag) && tree.has_tag(0, tag));
        assert_eq!(tree.delete(43), Some(Pfn(1)));
        assert!(!tree.has_tag(43, tag) && tree.has_tag(0, tag));
        assert_eq!((tree.height(), tree.check()), (0, Ok(())));
    }
}

/// Case RT-contract.
#[test]
fn tags_are_right_when_one_page_of_two_is_left() {
    let mut tree = RadixTree::default();
    assert!(tree.insert(64, Pfn(1)) && tree.insert(65, Pfn(2)));
    Tag::ALL.into_iter().for_each(|tag| tree.set_tag(64, tag));
    tree.set_tag(65, Tag::Dirty);
    assert_eq!(tree.delete(65), Some(Pfn(2)));
    tree.clear_tag(64, Tag::Writeback);
    assert_eq!(all_tagged(&tree, Tag::Dirty), [(64, Pfn(1))]);
    assert_eq!(all_tagged(&tree, Tag::Writeback), []);
    assert_eq!(tree.check(), Ok(()));
}

/// Case RT-thrash: a million indices, and batches of 1, 127 and 16129 of each of four actions.
///
/// Method: a flat array of states beside the tree. After each round the untagged walk and the
/// tagged one must name exactly the array's indices, in order.
#[test]
fn batches_of_random_actions_agree_with_a_flat_array() {
    const INDICES: usize = 1_000_000;
    let (mut tree, mut numbers) = (RadixTree::default(), Numbers(6));
    // None: no page. Some(is tagged).
    let mut states: Vec<Option<bool>> = vec![None; INDICES];
    let batches = [1, 127, 16_129];
    let rounds = (0..81).map(|round| [27, 9, 3, 1].map(|place| batches[round / place % 3]));
    for sizes in rounds {
        for (action, count) in sizes.into_iter().enumerate() {
            for _ in 0..count {
                let index = numbers.below(INDICES as u64);
                let state = &mut states[index as usize];
                let (is_there, pfn) = (state.is_some(), Pfn(index as u32));
                match (action, is_there) {
                    (0, _) => assert_eq!(tree.insert(index, pfn), !is_there),
                    (1, _) => assert_eq!(tree.delete(index), is_there.then_some(pfn)),
                    (2, true) => tree.set_tag(index, Tag::Dirty),
                    (2, false) => assert!(!tree.has_tag(index, Tag::Dirty)),
                    _ => tree.clear_tag(index, Tag::Dirty),
                }
                *state = match action {
                    0 => state.or(Some(false)),
                    1 => None,
                    _ => state.map(|_| action == 2),
                };
                assert_eq!(tree.get(index), state.map(|_| pfn));
                assert_eq!(tree.has_tag(index, Tag::Dirty), *state == Some(true));
            }
        }
        let named = |is_wanted: fn(Option<bool>) -> bool| -> Vec<(u64, Pfn)> {
            let indices = (0..INDICES).filter(|&index| is_wanted(states[index]));
            indices.map(|index| (index as u64, Pfn(index as u32))).collect()
        };
        assert!(tree.iter().eq(named(|state| state.is_some())));
        assert!(all_tagged(&tree, Tag::Dirty) == named(|state| state == Some(true)));
        assert_eq!(tree.check(), Ok(()));
    }
    assert!(tree.len() > 100_000 && tree.is_tagged(Tag::Dirty), "the rounds came to something");
}

/// Case RT-replace.
#[test]
fn a_replaced_page_is_found_refuses_another_and_is_what_a_delete_gives() {
    for index in boundaries() {
        let mut tree = RadixTree::default();
        assert!(tree.insert(index, Pfn(10)));
        assert_eq!(tree.replace(index, Pfn(20)), Some(Pfn(10)));
        assert_eq!((tree.get(index), tree.len()), (Some(Pfn(20)), 1));
        assert!(!tree.insert(index, Pfn(30)));
        assert_eq!(tree.delete(index), Some(Pfn(20)));
        assert_eq!((tree.get(index), tree.next(0), tree.branches()), (None, None, 0));
    }
}

/// Case RT-replace-tag; MM-9 and I-67.
#[test]
fn a_replaced_page_has_the_tags_of_the_one_before_it() {
    for index in boundaries() {
        let mut tree = RadixTree::default();
        assert!(tree.insert(index, Pfn(10)));
        tree.set_tag(index, Tag::Dirty);
        assert_eq!(tree.replace(index, Pfn(20)), Some(Pfn(10)));
        assert!(tree.has_tag(index, Tag::Dirty), "still dirty at {index:#x}");
        assert!(!tree.has_tag(index, Tag::Writeback), "no tag comes with a page");
        assert_eq!(tree.next_tagged(0, Tag::Dirty), Some((index, Pfn(20))));
        tree.clear_tag(index, Tag::Dirty);
        assert_eq!(tree.replace(index, Pfn(10)), Some(Pfn(20)));
        assert!(!tree.is_tagged(Tag::Dirty));
        assert_eq!(tree.check(), Ok(()));
    }
}

/// Case RT-cmpxchg, as a migration does it: MM-5 compares, MM-9 replaces.
#[test]
fn a_page_is_replaced_only_where_the_expected_one_is_found() {
    const INDEX: u64 = 12_345_678;
    let (large, small, fitting) = (Pfn(1), Pfn(2), Pfn(3));
    let mut tree = RadixTree::default();
    assert!(tree.insert(INDEX, large));
    let mut exchange = |expected: Pfn, item: Pfn| {
        let found = tree.get(INDEX);
        if found == Some(expected) { tree.replace(INDEX, item) } else { found }
    };
    assert_eq!(exchange(small, fitting), Some(large));
    assert_eq!(exchange(large, fitting), Some(large), "the first attempt left what it found");
    assert_eq!(exchange(fitting, large), Some(fitting));
    assert_eq!((tree.get(INDEX), tree.len()), (Some(large), 1));
}

/// Case RT-reg2 without the copying of tags, a later kernel's: its root is tagged iff a page is.
#[test]
fn no_tag_stays_on_the_root_when_the_tagged_page_has_gone() {
    let mut tree = RadixTree::default();
    assert!((0..64).all(|index| tree.insert(index, Pfn(index as u32))));
    tree.set_tag(63, Tag::Dirty);
    assert!(tree.insert(64, Pfn(64)));
    tree.clear_tag(63, Tag::Dirty);
    assert!((0..64).all(|index| tree.delete(index) == Some(Pfn(index as u32))));
    assert_eq!((tree.is_tagged(Tag::Dirty), tree.next_tagged(0, Tag::Dirty)), (false, None));
    assert_eq!((tree.next(0), tree.check()), (Some((64, Pfn(64))), Ok(())));
}
