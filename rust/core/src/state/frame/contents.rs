//! The bytes of the frames, for machines that have them.

use std::hash::Hasher;
use std::ops::Range;

use crate::base::{Lookout, PAGE_SIZE, Pfn, sparse};

const PAGE: usize = PAGE_SIZE as usize;
/// Bytes that are looked at together, to see whether all of a page are zero.
const GLANCE: usize = 256;
/// Pages from anywhere that are copied together, and the pieces of each.
const TOGETHER: usize = 12;
const PIECE: usize = 256;
/// Pages from further apart than this (32 MiB) are taken for some of many, which no cache of the host holds.
const NEAR: usize = 8192;

/// Copies pages: the first of each pair to the second, both places in `bytes` by number of page. No page is
/// both copied and copied to, or copied to twice.
pub type PageCopier = fn(bytes: &mut [u8], pairs: &[(Pfn, Pfn)]);

/// 4096 bytes a frame, or nothing at all: both on the same code path.
///
/// Once somebody has looked ([`Contents::look`]), beside each page stands a digest of its bytes, or that it
/// was written since. So a search over states neither reads nor copies what has not changed, and a
/// machine that nobody searches does not pay for it.
#[derive(Debug, Default)]
pub struct Contents {
    /// From `start` on, so that pages begin where pages of the host do.
    store: Vec<u8>,
    start: usize,
    /// Empty until somebody looks.
    digests: Vec<u128>,
    /// How many pages from far apart are copied, where somebody knows better than this module.
    far_copier: Option<PageCopier>,
}

/// Written since somebody looked. No digest is that.
const STALE: u128 = u128::MAX;

impl Contents {
    /// Bytes for `frames` frames, committed by the host only as they are written; none if it has
    /// no room for them.
    pub fn new(frames: usize, has_bytes: bool) -> Option<Contents> {
        if !has_bytes {
            return Some(Contents::default());
        }
        let len = frames.checked_mul(PAGE)?;
        let mut store: Vec<u8> = bytemuck::try_zeroed_vec(len.checked_add(PAGE)?).ok()?;
        let start = store.as_ptr().align_offset(PAGE).min(PAGE);
        store.truncate(start + len);
        Some(Contents { store, start, ..Contents::default() })
    }

    /// Copies many pages from far apart in this way from now on. For whoever knows a faster one on this
    /// host, where nobody will read the copies soon.
    pub fn copy_far_with(&mut self, copier: PageCopier) {
        self.far_copier = Some(copier);
    }

    /// Whether this machine has bytes.
    #[inline]
    pub fn exist(&self) -> bool {
        !self.store.is_empty()
    }

    /// The memory behind them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.store[self.start..]
    }

    #[inline]
    fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.store[self.start..]
    }

    /// Makes a frame all zeroes.
    #[inline]
    pub fn clear(&mut self, pfn: Pfn) {
        if self.exist() {
            self.page_mut(pfn).fill(0);
            self.note(pfn.index(), 0);
        }
    }

    /// Copies one frame's bytes to another (MC-1).
    #[inline]
    pub fn copy(&mut self, from: Pfn, to: Pfn) {
        if self.exist() {
            self.copy_run(from, to, 1);
        }
    }

    /// Copies `pages` neighbours to `pages` others, none of which is one of them.
    fn copy_run(&mut self, from: Pfn, to: Pfn, pages: usize) {
        let (start, end) = (from.index(), from.index() + pages);
        self.as_bytes_mut().copy_within(start * PAGE..end * PAGE, to.index() * PAGE);
        for page in 0..pages {
            self.note(to.index() + page, self.known(start + page));
        }
    }

    /// Copies each frame's bytes to the other's, in any order: no frame is both copied and copied to.
    pub fn copy_all(&mut self, pairs: &[(Pfn, Pfn)]) {
        debug_assert!(are_independent(pairs), "copies that depend on order");
        match self.far_copier {
            Some(copier) if are_far_apart(pairs) => {
                copier(self.as_bytes_mut(), pairs);
                self.note_copies(pairs);
            }
            _ => self.copy_near(pairs),
        }
    }

    /// Neighbours that go to neighbours are one long copy, which hosts make faster than many.
    fn copy_near(&mut self, pairs: &[(Pfn, Pfn)]) {
        let are_neighbours =
            |a: &(Pfn, Pfn), b: &(Pfn, Pfn)| a.0.0 + 1 == b.0.0 && a.1.0 + 1 == b.1.0;
        let mut single = [(Pfn(0), Pfn(0)); TOGETHER];
        let mut singles = 0;
        for run in pairs.chunk_by(are_neighbours) {
            if let [pair] = run {
                single[singles] = *pair;
                singles += 1;
                if singles == TOGETHER {
                    self.copy_together(&single);
                    singles = 0;
                }
            } else {
                self.copy_run(run[0].0, run[0].1, run.len());
            }
        }
        single[..singles].iter().for_each(|&(from, to)| self.copy_run(from, to, 1));
    }

    /// Pages from anywhere, piece by piece of all of them: so the host reads from many places at once.
    fn copy_together(&mut self, pairs: &[(Pfn, Pfn); TOGETHER]) {
        let bytes = self.as_bytes_mut();
        for at in (0..PAGE).step_by(PIECE) {
            for &(from, to) in pairs {
                let (from, to) = (from.index() * PAGE + at, to.index() * PAGE + at);
                let mut piece = [0; PIECE];
                piece.copy_from_slice(&bytes[from..from + PIECE]);
                bytes[to..to + PIECE].copy_from_slice(&piece);
            }
        }
        self.note_copies(pairs);
    }

    fn note_copies(&mut self, pairs: &[(Pfn, Pfn)]) {
        if !self.digests.is_empty() {
            pairs.iter().for_each(|&(from, to)| self.note(to.index(), self.known(from.index())));
        }
    }

    /// What is known of a page's bytes.
    #[inline]
    fn known(&self, at: usize) -> u128 {
        self.digests.get(at).copied().unwrap_or(STALE)
    }

    #[inline]
    fn note(&mut self, at: usize, digest: u128) {
        if let Some(known) = self.digests.get_mut(at) {
            *known = digest;
        }
    }

    /// The bytes of a frame. Empty on a machine without bytes.
    pub fn page(&self, pfn: Pfn) -> &[u8] {
        self.as_bytes().get(pfn.index() * PAGE..(pfn.index() + 1) * PAGE).unwrap_or_default()
    }

    /// The bytes of a frame, to be written.
    pub fn page_mut(&mut self, pfn: Pfn) -> &mut [u8] {
        self.note(pfn.index(), STALE);
        &mut self.as_bytes_mut()[pfn.index() * PAGE..(pfn.index() + 1) * PAGE]
    }

    /// Feeds what tells the bytes of the given spans of frames from others to `state`.
    pub fn hash_spans<H: Hasher>(&self, spans: impl Iterator<Item = Range<usize>>, state: &mut H) {
        if self.exist() {
            for at in spans.flatten() {
                let digest = self.digest(at);
                if digest != 0 {
                    state.write_usize(at);
                    state.write_u128(digest);
                }
            }
            state.write_usize(usize::MAX);
        }
    }

    fn digest(&self, at: usize) -> u128 {
        match self.known(at) {
            STALE => sparse::digest(&self.as_bytes()[at * PAGE..(at + 1) * PAGE]),
            known => known,
        }
    }

    /// Looks at every page of the given spans that was written since the last look; pages elsewhere
    /// were never written. Where the host has no room for digests, the next look is at everything.
    pub fn look(&mut self, spans: impl Iterator<Item = Range<usize>>) {
        if !self.exist() {
            return;
        }
        let is_first = self.digests.is_empty();
        let mut digests = std::mem::take(&mut self.digests);
        if is_first {
            let Ok(zeroes) = bytemuck::try_zeroed_vec(self.as_bytes().len() / PAGE) else { return };
            digests = zeroes;
        }
        for at in spans.flatten() {
            if is_first || digests[at] == STALE {
                digests[at] = sparse::digest(&self.as_bytes()[at * PAGE..(at + 1) * PAGE]);
            }
        }
        self.digests = digests;
    }

    /// Whether there is a byte of a frame that is not zero: a snapshot keeps only those pages.
    pub fn is_written(&self, pfn: Pfn) -> bool {
        !self.page(pfn).chunks(GLANCE).all(sparse::is_zero)
    }

    /// A copy that reads only the spans of frames that may have been written. None if the host
    /// has no room for it. Not whole, if that was over early.
    pub fn clone_spans(
        &self,
        spans: impl Iterator<Item = Range<usize>>,
        lookout: &Lookout<'_>,
    ) -> Option<Contents> {
        let mut copy = Contents {
            digests: bytemuck::try_zeroed_vec(self.digests.len()).ok()?,
            far_copier: self.far_copier,
            ..Contents::new(self.as_bytes().len() / PAGE, self.exist())?
        };
        if self.exist() {
            let pages = spans.flatten().take_while(|_| lookout.pass(PAGE));
            pages.for_each(|at| copy.copy_page(self, at));
        }
        Some(copy)
    }

    /// Becomes equal to `other`, a machine's of the same shape, where its own spans and those of
    /// `other` reach; pages that are known to be equal already are left alone.
    pub fn copy_spans(&mut self, other: &Contents, spans: impl Iterator<Item = Range<usize>>) {
        if self.digests.is_empty() {
            self.digests = vec![STALE; other.digests.len()];
        }
        if self.exist() {
            spans.flatten().for_each(|at| self.copy_page(other, at));
        }
    }

    fn copy_page(&mut self, other: &Contents, at: usize) {
        let known = other.known(at);
        if known == STALE || known != self.known(at) {
            let page = at * PAGE..(at + 1) * PAGE;
            self.as_bytes_mut()[page.clone()].copy_from_slice(&other.as_bytes()[page]);
            self.note(at, known);
        }
    }
}

fn are_independent(pairs: &[(Pfn, Pfn)]) -> bool {
    let is_alone = |at: usize, to: Pfn| {
        pairs
            .iter()
            .enumerate()
            .all(|(other, &(from, target))| from != to && (other == at || target != to))
    };
    pairs.iter().enumerate().all(|(at, &(_, to))| is_alone(at, to))
}

/// Whether what these pages come from is too large for the host's caches.
fn are_far_apart(pairs: &[(Pfn, Pfn)]) -> bool {
    let sources = pairs.iter().map(|(from, _)| from.index());
    let low = sources.clone().min().unwrap_or_default();
    sources.max().unwrap_or_default() - low > NEAR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_copies_at_once_are_the_same_as_one_after_the_other() {
        let pages = 3 * TOGETHER as u32;
        // Neighbours, pages from anywhere, neighbours that go to no neighbours; half of them looked at.
        let orders: [Vec<(Pfn, Pfn)>; 3] = [
            (0..pages).map(|page| (Pfn(page), Pfn(pages + page))).collect(),
            (0..pages).map(|page| (Pfn(page * 7 % pages), Pfn(pages + page))).collect(),
            (0..pages).map(|page| (Pfn(page), Pfn(2 * pages - 1 - page))).collect(),
        ];
        for pairs in orders {
            let mut one = Contents::new(2 * pages as usize, true).unwrap();
            for page in 0..pages {
                let bytes = one.page_mut(Pfn(page));
                bytes
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, byte)| *byte = (at as u32 / 3 + page) as u8);
                if page == pages / 2 {
                    one.look(std::iter::once(0..2 * pages as usize));
                }
            }
            let mut other = one
                .clone_spans(std::iter::once(0..2 * pages as usize), &Lookout::new(&mut || true))
                .unwrap();
            pairs.iter().for_each(|&(from, to)| one.copy(from, to));
            other.copy_all(&pairs);
            assert!(one.as_bytes() == other.as_bytes());
            assert_eq!(one.digests, other.digests);
        }
    }

    #[test]
    fn a_copier_for_pages_from_far_apart_gets_those_and_no_others() {
        /// Writes the number of the copied page into the copy.
        fn copier(bytes: &mut [u8], pairs: &[(Pfn, Pfn)]) {
            pairs.iter().for_each(|(from, to)| bytes[to.index() * PAGE] = (from.0 % 251) as u8);
        }
        let frames = 3 * NEAR;
        let mut contents = Contents::new(frames, true).unwrap();
        contents.copy_far_with(copier);
        let at = |frame: usize| Pfn(frame as u32);
        contents.copy_all(&[]);
        contents.copy_all(&[(at(3), at(NEAR + 9)), (at(NEAR + 3), at(NEAR + 11))]);
        assert!(sparse::is_zero(contents.as_bytes()), "near ones are copied here");
        contents.look(std::iter::once(0..frames));
        contents.page_mut(at(3))[1] = 1;
        contents.copy_all(&[(at(3), at(frames - 2)), (at(NEAR + 4), at(frames - 1))]);
        assert_eq!(contents.page(at(frames - 2))[0], 3);
        assert_eq!(contents.page(at(frames - 1))[0], ((NEAR + 4) % 251) as u8);
        let of = |frame| contents.digests[frame];
        assert_eq!(
            (of(frames - 2), of(frames - 1)),
            (STALE, of(NEAR + 4)),
            "digests go with bytes"
        );
    }
}
