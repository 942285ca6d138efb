//! The first line of a table: which column is where, and what stands between columns.
//!
//! Start with [`Head::read`]; [`Head::row`] takes the lines below it apart. What a name says is
//! [`Role`]'s. A column of a name that is not known is passed over only where others tell both
//! size and direction: it might be what tells them.
//!
//! Source: RFC 4180 for quotes. Left out: quoted line ends.

use crate::column_names::Role;
use crate::columns::AccessKind;
use crate::error::{ParseError, quote};
use crate::words::{decimal, prefixed};

/// What a line that names columns looks like, for errors.
pub(crate) const HEAD_EXPECTED: &str = "a first line that names the columns once each, such as \
                                        'address,size,kind' or 'address,write'";

/// Which column is where.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    separator: u8,
    roles: Vec<Role>,
}

impl Head {
    /// Reads the line `number`, which names the columns.
    pub(crate) fn read(line: &[u8], number: u64) -> Result<Head, ParseError> {
        let malformed = || ParseError::malformed(number, HEAD_EXPECTED, line);
        let separator = separator_of(line).ok_or_else(malformed)?;
        let names: Vec<&[u8]> = values(line, separator).collect();
        let known: Vec<Option<Role>> = names.iter().map(|name| Role::named(name)).collect();
        let count = |role| known.iter().filter(|&&found| found == Some(role)).count();
        let telling = [Role::Size, Role::Kind, Role::Write, Role::Read];
        if count(Role::Address) != 1 || telling.iter().any(|&role| count(role) > 1) {
            return Err(malformed());
        }
        let is_told = count(Role::Size) == 1 && telling[1..].iter().any(|&role| count(role) == 1);
        let unknown = known.iter().position(Option::is_none);
        if let (false, Some(place)) = (is_told, unknown) {
            return Err(ParseError::Column { line: number, found: quote(names[place]) });
        }
        let roles = known.into_iter().map(|role| role.unwrap_or(Role::Other)).collect();
        Ok(Head { separator, roles })
    }

    /// Returns what a line below the head says, `None` if it does not have what the head names.
    pub(crate) fn row(&self, line: &[u8]) -> Option<(u64, u64, AccessKind)> {
        let (mut address, mut size) = (None, 1);
        let (mut kind, mut writes, mut reads) = (None, None, None);
        let mut each = values(line, self.separator);
        for role in &self.roles {
            let value = each.next()?;
            match role {
                Role::Address => address = Some(prefixed(value).or_else(|| decimal(value))?),
                Role::Size => size = prefixed(value).or_else(|| decimal(value))?,
                Role::Kind => kind = Some(kind_of(value)?),
                Role::Write => writes = Some(truth_of(value)?),
                Role::Read => reads = Some(truth_of(value)?),
                Role::Other => {}
            }
        }
        // Some tools end every row with a separator, but not their first line.
        let is_over = each.next().is_none_or(|value| value.is_empty() && each.next().is_none());
        is_over.then_some((address?, size, agreed(kind, writes, reads)?))
    }
}

/// Returns what all columns that tell the direction say together, `None` if they disagree.
fn agreed(
    kind: Option<AccessKind>,
    writes: Option<bool>,
    reads: Option<bool>,
) -> Option<AccessKind> {
    let Some(kind) = kind else {
        return match (writes, reads) {
            (None, None) => Some(AccessKind::Load),
            (Some(true), Some(true)) => Some(AccessKind::Modify),
            (Some(false), Some(false)) => None,
            (Some(true), _) | (None, Some(false)) => Some(AccessKind::Store),
            (Some(false), _) | (None, Some(true)) => Some(AccessKind::Load),
        };
    };
    let is_write = matches!(kind, AccessKind::Store | AccessKind::Modify);
    let is_read = matches!(kind, AccessKind::Load | AccessKind::Modify);
    let fits = writes.is_none_or(|told| told == is_write)
        && reads.is_none_or(|told| told == is_read || kind == AccessKind::Instruction);
    fits.then_some(kind)
}

/// Returns what stands between the columns of a head, `None` if that is not clear. A tab beside
/// commas is no more than a blank.
fn separator_of(line: &[u8]) -> Option<u8> {
    let mut found = b",;|".iter().copied().filter(|byte| line.contains(byte));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => None,
        (Some(separator), None) => Some(separator),
        (None, _) if line.contains(&b'\t') => Some(b'\t'),
        (None, _) => Some(b' '),
    }
}

/// Returns the values of a line, without blanks and quotes around them. Between blanks no value
/// is empty; within quotes a separator is none.
fn values(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let line = if separator == b'\t' { trim_blanks(line) } else { line.trim_ascii_start() };
        if separator == b' ' && line.is_empty() {
            return None;
        }
        let quoted = line.strip_prefix(b"\"").and_then(end_of_quoted).map_or(0, |end| end + 1);
        let end = line[quoted..].iter().position(|&byte| byte == separator);
        let end = end.map(|end| quoted + end);
        rest = end.map(|end| &line[end + 1..]);
        let value = line[..end.unwrap_or(line.len())].trim_ascii();
        let inner = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
        Some(inner.unwrap_or(value))
    })
}

fn trim_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|&&byte| byte == b' ').count();
    &line[blanks..]
}

/// Returns where the quote is that ends what follows a first one; two of them stand for one.
fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += text[at..].iter().position(|&byte| byte == b'"')?;
        if text.get(at + 1) != Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

fn kind_of(value: &[u8]) -> Option<AccessKind> {
    match value.to_ascii_lowercase().as_slice() {
        b"0" | b"l" | b"r" | b"ld" | b"rd" | b"load" | b"loads" | b"read" | b"reads" => {
            Some(AccessKind::Load)
        }
        b"1" | b"s" | b"w" | b"st" | b"wr" | b"store" | b"stores" | b"write" | b"writes" => {
            Some(AccessKind::Store)
        }
        b"2" | b"m" | b"modify" | b"rmw" => Some(AccessKind::Modify),
        b"3" | b"i" | b"instruction" | b"fetch" | b"ifetch" => Some(AccessKind::Instruction),
        _ => None,
    }
}

fn truth_of(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"0" | b"false" | b"no" | b"f" | b"n" => Some(false),
        b"1" | b"true" | b"yes" | b"t" | b"y" => Some(true),
        _ => None,
    }
}
