//! The stable tree: merged pages in the order of their contents, found by their place in that order.
//!
//! Start with [`StableTree::get`] (what a search halves its way through), [`StableTree::insert`] and
//! [`StableTree::remove`]; each takes the logarithm of the length. It is a treap: a search tree by
//! place, and a heap by a number that follows from the id, so the same pages in the same order always
//! make the same tree. What is hashed and kept is the order alone.
//!
//! data-model 7.3. Left out: the red-black tree of Linux, whose shape nothing depends on here.

use std::hash::{Hash, Hasher};

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::base::{StableNodeId, grow};

/// No node: above the root, below a leaf.
const NONE: u32 = u32::MAX;
const LEFT: usize = 0;
const RIGHT: usize = 1;

/// What is around a node in the tree.
#[derive(Clone, Copy, Debug)]
struct Knot {
    above: u32,
    below: [u32; 2],
    /// Nodes from here down; 0 if the id is not in the tree.
    size: u32,
}

impl Default for Knot {
    fn default() -> Self {
        Knot { above: NONE, below: [NONE; 2], size: 0 }
    }
}

/// Ids of nodes in an order that others decide, each at most once.
#[derive(Clone, Debug)]
pub struct StableTree {
    /// By id.
    knots: Vec<Knot>,
    root: u32,
}

impl Default for StableTree {
    fn default() -> Self {
        StableTree { knots: Vec::new(), root: NONE }
    }
}

/// The order decides everything; the shape follows from it.
impl Hash for StableTree {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|id| id.hash(state));
    }
}

/// As a sequence of ids.
impl Serialize for StableTree {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut sequence = to.serialize_seq(Some(self.len()))?;
        self.iter().try_for_each(|id| sequence.serialize_element(&id))?;
        sequence.end()
    }
}

/// The higher one is nearer to the root. No two ids have the same: every step can be undone.
const fn rank(id: u32) -> u32 {
    let mixed = (id ^ (id >> 16)).wrapping_mul(0x7feb_352d);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b);
    mixed ^ (mixed >> 16)
}

impl StableTree {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.size(self.root) as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.root == NONE
    }

    /// The node at a place.
    pub fn get(&self, place: usize) -> Option<StableNodeId> {
        let (mut at, mut left) = (self.root, u32::try_from(place).ok()?);
        while at != NONE {
            let before = self.size(self.below(at, LEFT));
            if left == before {
                return Some(StableNodeId(at));
            }
            if left < before {
                at = self.below(at, LEFT);
            } else {
                left -= before + 1;
                at = self.below(at, RIGHT);
            }
        }
        None
    }

    /// The place of a node, if it is in the tree.
    pub fn place_of(&self, id: StableNodeId) -> Option<usize> {
        let mut at = id.0;
        if self.size(at) == 0 {
            return None;
        }
        let mut before = self.size(self.below(at, LEFT));
        loop {
            let above = self.knots[at as usize].above;
            if above == NONE {
                return Some(before as usize);
            }
            if self.below(above, RIGHT) == at {
                before += 1 + self.size(self.below(above, LEFT));
            }
            at = above;
        }
    }

    /// All nodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = StableNodeId> {
        let mut path = Vec::new();
        let mut at = self.root;
        std::iter::from_fn(move || {
            while at != NONE {
                path.push(at);
                at = self.below(at, LEFT);
            }
            let found = path.pop()?;
            at = self.below(found, RIGHT);
            Some(StableNodeId(found))
        })
    }

    /// Puts a node at a place; those from there on move up by one.
    ///
    /// # Panics
    /// If it is in the tree already, or there is no such place.
    pub fn insert(&mut self, place: usize, id: StableNodeId) {
        assert!(place <= self.len() && self.size(id.0) == 0, "node {id} at place {place}");
        let needed = id.0 as usize + 1;
        while self.knots.len() < needed {
            grow(&mut self.knots);
            self.knots.push(Knot::default());
        }
        let (mut above, mut side, mut at, mut left) = (NONE, LEFT, self.root, place as u32);
        while at != NONE {
            self.knots[at as usize].size += 1;
            let before = self.size(self.below(at, LEFT));
            above = at;
            side = usize::from(left > before);
            if side == RIGHT {
                left -= before + 1;
            }
            at = self.below(at, side);
        }
        self.knots[id.0 as usize] = Knot { above, below: [NONE; 2], size: 1 };
        self.hang(above, side, id.0);
        while above != NONE && rank(above) < rank(id.0) {
            self.lift(id.0);
            above = self.knots[id.0 as usize].above;
        }
    }

    /// Takes a node out, if it is in the tree.
    pub fn remove(&mut self, id: StableNodeId) {
        if self.size(id.0) == 0 {
            return;
        }
        loop {
            let [left, right] = self.knots[id.0 as usize].below;
            let next = match (left, right) {
                (NONE, NONE) => break,
                (NONE, only) | (only, NONE) => only,
                _ if rank(left) > rank(right) => left,
                _ => right,
            };
            self.lift(next);
        }
        let Knot { mut above, .. } = std::mem::take(&mut self.knots[id.0 as usize]);
        let side = usize::from(above != NONE && self.below(above, RIGHT) == id.0);
        self.hang(above, side, NONE);
        while above != NONE {
            self.knots[above as usize].size -= 1;
            above = self.knots[above as usize].above;
        }
    }

    /// Lets a node change places with the one above it; the order stays.
    fn lift(&mut self, id: u32) {
        let above = self.knots[id as usize].above;
        let top = self.knots[above as usize].above;
        let side = usize::from(self.below(above, RIGHT) == id);
        let top_side = usize::from(top != NONE && self.below(top, RIGHT) == above);
        let between = self.below(id, 1 - side);
        self.hang(above, side, between);
        self.hang(id, 1 - side, above);
        self.hang(top, top_side, id);
        let size = self.knots[above as usize].size;
        let [left, right] = self.knots[above as usize].below;
        self.knots[above as usize].size = 1 + self.size(left) + self.size(right);
        self.knots[id as usize].size = size;
    }

    /// Hangs `below` on a side of `above`, or makes it the root.
    fn hang(&mut self, above: u32, side: usize, below: u32) {
        match self.knots.get_mut(above as usize) {
            Some(knot) => knot.below[side] = below,
            None => self.root = below,
        }
        if let Some(knot) = self.knots.get_mut(below as usize) {
            knot.above = above;
        }
    }

    fn size(&self, at: u32) -> u32 {
        self.knots.get(at as usize).map_or(0, |knot| knot.size)
    }

    fn below(&self, at: u32, side: usize) -> u32 {
        self.knots[at as usize].below[side]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps from the root down to the deepest node.
    fn depth(tree: &StableTree, at: u32) -> usize {
        if at == NONE {
            return 0;
        }
        1 + depth(tree, tree.below(at, LEFT)).max(depth(tree, tree.below(at, RIGHT)))
    }

    #[test]
    fn it_is_the_list_that_it_stands_for_after_every_change() {
        let (mut tree, mut list) = (StableTree::default(), Vec::new());
        let mut free: Vec<u32> = (0..300).rev().collect();
        let mut seed = 12345_u32;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        for turn in 0..4000 {
            let grows = turn % 1000 < 500;
            if (grows || list.is_empty()) && !free.is_empty() {
                let id = StableNodeId(free.pop().unwrap());
                let place = random(list.len() + 1);
                tree.insert(place, id);
                list.insert(place, id);
            } else if !list.is_empty() {
                let id = list.remove(random(list.len()));
                tree.remove(id);
                tree.remove(id);
                free.push(id.0);
                assert_eq!(tree.place_of(id), None);
            }
            assert_eq!(tree.len(), list.len());
            assert!(tree.iter().eq(list.iter().copied()), "turn {turn}");
            for (place, &id) in list.iter().enumerate() {
                assert_eq!((tree.get(place), tree.place_of(id)), (Some(id), Some(place)));
            }
            assert_eq!(tree.get(list.len()), None);
        }
    }

    #[test]
    fn the_same_order_is_the_same_tree_and_it_stays_low_however_it_was_built() {
        const LEN: u32 = 100_000;
        let (mut up, mut down) = (StableTree::default(), StableTree::default());
        (0..LEN).for_each(|id| up.insert(id as usize, StableNodeId(id)));
        (0..LEN).rev().for_each(|id| down.insert(0, StableNodeId(id)));
        assert!(up.iter().eq(down.iter()));
        let shape =
            |tree: &StableTree| tree.knots.iter().map(|k| (k.above, k.below)).collect::<Vec<_>>();
        assert!(shape(&up) == shape(&down) && up.root == down.root);
        assert!(depth(&up, up.root) < 60, "{} levels", depth(&up, up.root));
    }
}
