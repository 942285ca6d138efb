//! Words and numbers of a line of text.
//!
//! Every format but lackey's quick reader takes its lines apart with these.

/// Reads 1 to 16 hexadecimal digits of either case, without a prefix.
pub(crate) fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if !(1..=16).contains(&digits.len()) {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |value, &digit| Some(value << 4 | u64::from(char::from(digit).to_digit(16)?)))
}

/// Reads a decimal number of at most 20 digits that fits into 64 bits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if !(1..=20).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| {
        let digit = u64::from(char::from(digit).to_digit(10)?);
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Reads a hexadecimal number behind `0x`.
pub(crate) fn prefixed(word: &[u8]) -> Option<u64> {
    word.strip_prefix(b"0x").or_else(|| word.strip_prefix(b"0X")).and_then(hexadecimal)
}

/// Returns the words of a line: what stands between blanks and tabs.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// Returns the words of a line, each with where it begins.
pub(crate) fn spans(line: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = at + line[at..].iter().position(|byte| !is_blank(byte))?;
        at = line[start..].iter().position(is_blank).map_or(line.len(), |length| start + length);
        Some((start, &line[start..at]))
    })
}

/// Returns where `part` begins in `whole`, the first time.
pub(crate) fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}
