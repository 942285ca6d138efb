//! I-64 from scratch: what a radix tree says of itself against what is in it.
//!
//! One walk over every slot of every branch counts items and gathers tags without believing a
//! word on the way; then the words are compared. The unit tests break one thing each.
//!
//! Source: data-model 5.2 and I-64.

use std::mem;

use serde::{Deserialize, Serialize};

use super::{Branch, DIGIT_BITS, HEIGHT_MAX, RadixTree, Tag, VACANT, digit};

/// What a walk found at and below a slot.
#[derive(Clone, Copy, Default, Hash, Serialize, Deserialize)]
struct Census {
    items: u64,
    largest: u64,
    tagged: [bool; Tag::ALL.len()],
}

impl RadixTree {
    /// Counts everything anew and compares it with what the tree says of itself (I-64).
    ///
    /// The height is checked whatever the last operation was: inserting grows it only as far as
    /// the new index needs, so it is as small after an insertion as I-64 wants it after a delete.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn check(&self) -> Result<(), String> {
        let mut is_seen = vec![false; self.pool.len()];
        let root = match (self.root, self.height) {
            (VACANT, 0) => Census::default(),
            (_, 0) => Census { items: 1, largest: 0, tagged: self.root_tagged },
            (root, 1..=HEIGHT_MAX) => self.census(root, self.height - 1, 0, &mut is_seen)?,
            (_, height) => return Err(format!("height is {height}, the most is {HEIGHT_MAX}")),
        };
        for tag in Tag::ALL {
            if root.tagged[tag.number()] != self.root_tagged[tag.number()] {
                return Err(format!("the root's {tag:?} bit is not the OR of all"));
            }
        }
        if root.items != self.len {
            return Err(format!("len is {}, but there are {} items", self.len, root.items));
        }
        if self.height > 0 && root.largest >> ((self.height - 1) * DIGIT_BITS) == 0 {
            return Err(format!("height {} for indices up to {}", self.height, root.largest));
        }
        self.check_spares(is_seen)
    }

    /// Every branch is either in the tree or blank and spare, once.
    fn check_spares(&self, mut is_seen: Vec<bool>) -> Result<(), String> {
        for &number in &self.spare {
            match is_seen.get_mut(number as usize) {
                None => return Err(format!("spare branch {number} is not in the pool")),
                Some(true) => return Err(format!("branch {number} is spare and in use")),
                Some(seen) => *seen = true,
            }
            if self.pool[number as usize] != Branch::BLANK {
                return Err(format!("spare branch {number} is not blank"));
            }
        }
        match is_seen.iter().position(|&seen| !seen) {
            Some(lost) => Err(format!("branch {lost} is neither in the tree nor spare")),
            None => Ok(()),
        }
    }

    /// Counts a branch that begins at index `base`, and everything below it.
    fn census(
        &self,
        number: u32,
        level: u32,
        base: u64,
        is_seen: &mut [bool],
    ) -> Result<Census, String> {
        let Some(branch) = self.pool.get(number as usize) else {
            return Err(format!("branch {number}, wanted at {base:#x}, is not in the pool"));
        };
        let name = format!("the branch of level {level} at {base:#x}");
        if mem::replace(&mut is_seen[number as usize], true) {
            return Err(format!("{name} is in the tree twice"));
        }
        let mut all = Census::default();
        for (position, &slot) in branch.slots.iter().enumerate() {
            if (slot != VACANT) != (branch.occupied >> position & 1 == 1) {
                return Err(format!("{name} counts slot {position} wrongly"));
            }
            let here = base + ((position as u64) << (level * DIGIT_BITS));
            let below = match (slot, level) {
                (VACANT, _) => Census::default(),
                _ if digit(here, level) != position => {
                    return Err(format!("{name} has slot {position} for no index"));
                }
                (_, 0) => Census {
                    items: 1,
                    largest: here,
                    tagged: Tag::ALL.map(|tag| branch.has_tag(position, tag)),
                },
                _ => self.census(slot, level - 1, here, is_seen)?,
            };
            for tag in Tag::ALL {
                if branch.has_tag(position, tag) != below.tagged[tag.number()] {
                    return Err(format!("{name}: {tag:?} of slot {position} is not what is below"));
                }
                all.tagged[tag.number()] |= below.tagged[tag.number()];
            }
            all.items += below.items;
            all.largest = all.largest.max(below.largest);
        }
        if all.items == 0 { Err(format!("{name} is empty")) } else { Ok(all) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pfn;

    /// Three levels: two leaves below one branch of level 1, one leaf below another.
    fn tree() -> RadixTree {
        let mut tree = RadixTree::default();
        for index in [3, 64, 4096 + 64] {
            assert!(tree.insert(index, Pfn(index as u32)));
        }
        tree.set_tag(64, Tag::Dirty);
        assert_eq!((tree.height(), tree.branches(), tree.check()), (3, 6, Ok(())));
        tree
    }

    /// The number of the branch of `level` on the way to `index`.
    fn branch(tree: &RadixTree, index: u64, level: u32) -> usize {
        tree.way_to(index).expect("an item").branches[level as usize] as usize
    }

    /// Breaks a sound tree and expects these words in what `check` says.
    fn finds(words: &str, breaks: impl FnOnce(&mut RadixTree)) {
        let mut tree = tree();
        breaks(&mut tree);
        let said = tree.check().expect_err(words);
        assert!(said.contains(words), "{said:?} does not say {words:?}");
    }

    #[test]
    fn a_tag_that_is_not_the_or_of_what_is_below_is_found_at_every_level() {
        for level in 1..3 {
            finds("of slot 0 is not what is below", |tree| {
                let at = branch(tree, 3, level);
                tree.pool[at].tagged[Tag::Writeback.number()] |= 1;
            });
        }
        finds("Dirty of slot 1 is not what is below", |tree| {
            let at = branch(tree, 64, 1);
            tree.pool[at].tagged[Tag::Dirty.number()] = 0;
        });
        finds("Writeback of slot 9 is not what is below", |tree| {
            let at = branch(tree, 3, 0);
            tree.pool[at].tagged[Tag::Writeback.number()] = 1 << 9;
        });
        finds("the root's Dirty bit", |tree| tree.root_tagged[Tag::Dirty.number()] = false);
        finds("the root's Writeback bit", |tree| tree.root_tagged[Tag::Writeback.number()] = true);
    }

    #[test]
    fn a_wrong_count_is_found() {
        finds("len is 4, but there are 3 items", |tree| tree.len += 1);
        finds("counts slot 5 wrongly", |tree| {
            let at = branch(tree, 3, 0);
            tree.pool[at].occupied |= 1 << 5;
        });
        finds("counts slot 3 wrongly", |tree| {
            let at = branch(tree, 3, 0);
            tree.pool[at].slots[3] = VACANT;
        });
    }

    #[test]
    fn a_branch_that_should_have_gone_is_found() {
        finds("the branch of level 0 at 0x0 is empty", |tree| {
            let at = branch(tree, 3, 0);
            tree.pool[at].take(3);
        });
        finds("branch 6 is neither in the tree nor spare", |tree| tree.pool.push(Branch::BLANK));
        finds("spare branch 9 is not in the pool", |tree| tree.spare.push(9));
        finds("is spare and in use", |tree| tree.spare.push(tree.root));
        finds("spare branch 6 is not blank", |tree| {
            tree.pool.push(tree.pool[0].clone());
            tree.spare.push(6);
        });
    }

    #[test]
    fn a_slot_that_leads_astray_is_found() {
        finds("branch 77, wanted at 0x0, is not in the pool", |tree| tree.root = 77);
        finds("is in the tree twice", |tree| {
            let (at, top) = (branch(tree, 3, 1), tree.root as usize);
            tree.pool[top].put(2, at as u32);
        });
        finds("has slot 16 for no index", |tree| {
            assert!(tree.insert(u64::MAX, Pfn(1)));
            let top = tree.root as usize;
            tree.pool[top].put(16, 0);
        });
    }

    #[test]
    fn a_height_that_no_index_needs_is_found() {
        finds("height is 12, the most is 11", |tree| tree.height = 12);
        finds("height 4 for indices up to 4160", |tree| {
            tree.root = {
                let mut above = Branch::BLANK;
                above.put(0, tree.root);
                above.tagged = tree.root_tagged.map(u64::from);
                tree.pool.push(above);
                6
            };
            tree.height = 4;
        });
        let emptied = RadixTree { height: 1, ..RadixTree::default() };
        assert!(emptied.check().is_err(), "an empty tree has height 0");
        let tagged = RadixTree { root_tagged: [true, false], ..RadixTree::default() };
        assert!(tagged.check().is_err(), "an empty tree has no tags");
    }
}
