//! Bytes of a snapshot on their way out and in, piece by piece, so that neither is one long breath.
//!
//! [`Pieces`] is where the serializer writes to, [`Window`] where it reads from. Both ask a [`Lookout`]
//! now and then, and fail once it is over; whoever made it knows then that no byte was wrong. A piece
//! is never moved or grown, and is asked of the host with the answer heard: a host without room is
//! an error, too.
//!
//! Neighbours: [`super::snapshot`], which says what the bytes mean. Source: none.

use postcard::Error::{DeserializeUnexpectedEnd, SerializeBufferFull};
use postcard::{de_flavors, ser_flavors};

use crate::base::Lookout;

/// Bytes of a piece.
const PIECE: usize = 1 << 23;
/// Bytes that are written or read before the lookout hears of it.
const WINDOW: usize = 1 << 18;
/// A byte written or read takes as long as so many that are copied.
const WORK: usize = 8;

/// Bytes that are written, as many pieces as it takes, all but the last of one size.
pub(super) struct Pieces<'a> {
    pieces: Vec<Vec<u8>>,
    lookout: &'a Lookout<'a>,
    /// Bytes that may be written before the next question.
    left: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(lookout: &'a Lookout<'a>) -> Pieces<'a> {
        Pieces { pieces: Vec::new(), lookout, left: 0 }
    }

    /// Room for one byte or more, at the end.
    #[cold]
    fn make_room(&mut self) -> postcard::Result<()> {
        if !self.lookout.pass(WORK * WINDOW) {
            return Err(SerializeBufferFull);
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            let mut piece = Vec::new();
            let has_room =
                self.pieces.try_reserve(1).is_ok() && piece.try_reserve_exact(PIECE).is_ok();
            if !has_room {
                return Err(SerializeBufferFull);
            }
            self.pieces.push(piece);
        }
        let filled = self.pieces.last().map_or(0, Vec::len);
        self.left = WINDOW.min(PIECE - filled);
        Ok(())
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let piece = self.pieces.last_mut().expect("room was made");
        piece.extend_from_slice(bytes);
        self.left -= bytes.len();
    }
}

impl ser_flavors::Flavor for Pieces<'_> {
    type Output = Vec<Vec<u8>>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.left == 0 {
            self.make_room()?;
        }
        self.put(&[byte]);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, mut bytes: &[u8]) -> postcard::Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.make_room()?;
            }
            let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.put(now);
            bytes = rest;
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<Vec<u8>>> {
        Ok(self.pieces)
    }
}

/// Bytes that are read.
pub(super) struct Window<'de, 'a> {
    bytes: &'de [u8],
    at: usize,
    /// Where somebody is asked next.
    end: usize,
    lookout: &'de Lookout<'a>,
}

impl<'de, 'a> Window<'de, 'a> {
    pub(super) fn new(bytes: &'de [u8], lookout: &'de Lookout<'a>) -> Window<'de, 'a> {
        Window { bytes, at: 0, end: 0, lookout }
    }

    /// Goes beyond the end of the window.
    #[cold]
    fn move_on(&mut self, to: usize) -> postcard::Result<()> {
        if !self.lookout.pass(WORK * WINDOW.max(to - self.end)) {
            return Err(DeserializeUnexpectedEnd);
        }
        self.end = to.max(self.end.saturating_add(WINDOW));
        Ok(())
    }
}

impl<'de, 'a: 'de> de_flavors::Flavor<'de> for Window<'de, 'a> {
    type Remainder = &'de [u8];
    type Source = &'de [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        if self.at >= self.end {
            self.move_on(self.at + 1)?;
        }
        let byte = *self.bytes.get(self.at).ok_or(DeserializeUnexpectedEnd)?;
        self.at += 1;
        Ok(byte)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.bytes.len() - self.at)
    }

    #[inline]
    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'de [u8]> {
        let end = self.at.checked_add(count).ok_or(DeserializeUnexpectedEnd)?;
        let bytes = self.bytes.get(self.at..end).ok_or(DeserializeUnexpectedEnd)?;
        if end > self.end {
            self.move_on(end)?;
        }
        self.at = end;
        Ok(bytes)
    }

    fn finalize(self) -> postcard::Result<&'de [u8]> {
        Ok(&self.bytes[self.at..])
    }
}

#[cfg(test)]
mod tests {
    use postcard::de_flavors::Flavor as _;
    use postcard::ser_flavors::Flavor as _;

    use super::*;

    #[test]
    fn what_is_written_in_any_portions_is_read_in_any_other() {
        let mut goes_on = || true;
        let lookout = Lookout::new(&mut goes_on);
        let mut pieces = Pieces::new(&lookout);
        let mut whole: Vec<u8> = Vec::new();
        for (at, len) in [1, WINDOW - 2, 3, 0, PIECE, 2 * PIECE + 7, WINDOW].into_iter().enumerate()
        {
            let portion: Vec<u8> = (0..len).map(|byte| (byte * 7 + at) as u8).collect();
            pieces.try_push(at as u8).unwrap();
            pieces.try_extend(&portion).unwrap();
            whole.push(at as u8);
            whole.extend(portion);
        }
        let pieces = pieces.finalize().unwrap();
        let (last, others) = pieces.split_last().unwrap();
        assert!(others.iter().all(|piece| piece.len() == PIECE) && last.len() <= PIECE);
        assert!(pieces.concat() == whole, "the same bytes");
        let mut window = Window::new(&whole, &lookout);
        assert_eq!(window.pop().unwrap(), 0);
        assert!(window.try_take_n(PIECE).unwrap() == &whole[1..=PIECE]);
        assert_eq!(window.pop().unwrap(), whole[PIECE + 1]);
        let rest = whole.len() - PIECE - 2;
        assert_eq!(window.size_hint(), Some(rest));
        assert!(window.try_take_n(rest + 1).is_err(), "there is no more than there is");
        assert_eq!(window.try_take_n(rest).unwrap().len(), rest);
        assert!(window.pop().is_err());
    }
}
