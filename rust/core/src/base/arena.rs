//! A table whose rows keep their number while others come and go.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::{Lookout, grow};

/// Rows of `T` under ids of type `I`. Freed numbers are used again, last freed first.
///
/// Iteration is by number, never by history, so nothing can come to depend on the order of frees.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Arena<I, T> {
    rows: Vec<Option<T>>,
    vacant: Vec<u32>,
    ids: PhantomData<fn(I)>,
}

impl<I, T> Default for Arena<I, T> {
    fn default() -> Self {
        Arena { rows: Vec::new(), vacant: Vec::new(), ids: PhantomData }
    }
}

impl<I: From<usize> + Into<usize> + Copy, T> Arena<I, T> {
    /// Stores `row` and returns its new id.
    pub fn insert(&mut self, row: T) -> I {
        match self.vacant.pop() {
            Some(at) => {
                self.rows[at as usize] = Some(row);
                I::from(at as usize)
            }
            None => {
                grow(&mut self.rows);
                self.rows.push(Some(row));
                I::from(self.rows.len() - 1)
            }
        }
    }

    /// A copy; not whole, if that was over early.
    pub fn clone_watched(&self, lookout: &Lookout<'_>) -> Arena<I, T>
    where
        T: Clone,
    {
        let mut rows = Vec::with_capacity(self.rows.len());
        rows.extend(lookout.watch(&self.rows).cloned());
        Arena { rows, vacant: self.vacant.clone(), ids: PhantomData }
    }

    /// Takes the row out.
    ///
    /// # Panics
    /// If there is no such row: the caller kept an id too long.
    pub fn remove(&mut self, id: I) -> T {
        let at = id.into();
        let row = self.rows[at].take().expect("removed twice");
        self.vacant.push(at as u32);
        row
    }

    /// The row, if it exists.
    pub fn find(&self, id: I) -> Option<&T> {
        self.rows.get(id.into()).and_then(Option::as_ref)
    }

    /// All rows with their ids, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        self.rows
            .iter()
            .enumerate()
            .filter_map(|(at, row)| row.as_ref().map(|row| (I::from(at), row)))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len() - self.vacant.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<I: Into<usize>, T> std::ops::Index<I> for Arena<I, T> {
    type Output = T;

    #[inline]
    fn index(&self, id: I) -> &T {
        self.rows[id.into()].as_ref().expect("a live id")
    }
}

impl<I: Into<usize>, T> std::ops::IndexMut<I> for Arena<I, T> {
    #[inline]
    fn index_mut(&mut self, id: I) -> &mut T {
        self.rows[id.into()].as_mut().expect("a live id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::VmaId;

    #[test]
    fn a_freed_number_is_used_again_and_iteration_is_by_number() {
        let mut arena: Arena<VmaId, char> = Arena::default();
        let (a, b) = (arena.insert('a'), arena.insert('b'));
        assert_eq!(arena.remove(a), 'a');
        let c = arena.insert('c');
        assert_eq!(c, a);
        assert_eq!(arena.iter().collect::<Vec<_>>(), [(c, &'c'), (b, &'b')]);
        assert_eq!(arena.len(), 2);
        assert!(arena.find(VmaId(9)).is_none());
    }
}
