//! ChampSim: binary records of 64 bytes, one an executed instruction.
//!
//! | bytes | is |
//! |---|---|
//! | 0..8 | the instruction's address |
//! | 8, 9 | is it a branch, was it taken: 0 or 1 each |
//! | 10..16 | two registers written, four read |
//! | 16..32 | two addresses written, 0 for none |
//! | 32..64 | four addresses read, 0 for none |
//!
//! Numbers are little-endian. The loads of an instruction come before its stores. Records have
//! no sizes: an access counts as one byte. No instruction is at address 0, where the wider records
//! of ChampSim's CloudSuite traces soon have one if they are read as these.
//!
//! Start with [`ChampSim`]. Source: ChampSim's public description of its trace format. Left
//! out: those wider records, as their public descriptions do not agree on where fields begin.

use crate::columns::{AccessKind, Columns};
use crate::error::ParseError;

/// Bytes of a record.
pub const RECORD: usize = 64;

const STORES: std::ops::Range<usize> = 16..32;
const LOADS: std::ops::Range<usize> = 32..64;

/// Reads ChampSim records in pieces of any size.
#[derive(Clone, Debug)]
pub struct ChampSim {
    keep_instructions: bool,
    records: u64,
    partial: Vec<u8>,
    failed: Option<ParseError>,
}

impl ChampSim {
    /// Returns a parser at the beginning of a trace.
    #[must_use]
    pub fn new(keep_instructions: bool) -> Self {
        ChampSim { keep_instructions, records: 0, partial: Vec::new(), failed: None }
    }

    /// Appends the accesses of the records that `data` completes.
    ///
    /// # Errors
    ///
    /// The first record that is none. `out` is then as it was before, and this parser answers
    /// everything that follows with the same error.
    pub fn feed(&mut self, data: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let len_before = out.len();
        let outcome = self.read(data, out);
        if let Err(error) = &outcome {
            out.truncate(len_before);
            self.failed = Some(error.clone());
        }
        outcome
    }

    /// Says that no more data comes.
    ///
    /// # Errors
    ///
    /// The data ended within a record, or [`feed`](Self::feed) failed before.
    pub fn finish(&mut self) -> Result<(), ParseError> {
        if self.failed.is_none() && !self.partial.is_empty() {
            self.failed = Some(ParseError::CutRecord {
                record: self.records + 1,
                expected: RECORD,
                found: self.partial.len(),
            });
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Returns how many records were read.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    fn read(&mut self, data: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        let mut rest = data;
        if !self.partial.is_empty() {
            let missing = (RECORD - self.partial.len()).min(rest.len());
            self.partial.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            let whole = self.partial.first_chunk::<RECORD>().copied();
            let Some(record) = whole else { return Ok(()) };
            self.partial.clear();
            self.accept(&record, out)?;
        }
        let (records, left) = rest.split_at(rest.len() / RECORD * RECORD);
        out.reserve(records.len() / RECORD);
        for record in records.chunks_exact(RECORD) {
            if let Some(record) = record.first_chunk::<RECORD>() {
                self.accept(record, out)?;
            }
        }
        self.partial.extend_from_slice(left);
        Ok(())
    }

    fn accept(&mut self, record: &[u8; RECORD], out: &mut Columns) -> Result<(), ParseError> {
        let number = self.records + 1;
        if record[8] > 1 || record[9] > 1 {
            return Err(ParseError::Record {
                record: number,
                expected: "0 or 1 at bytes 8 and 9 (is it a branch, was it taken)",
                found: format!("{} and {}", record[8], record[9]),
            });
        }
        let instruction = word(&record[..8]);
        if instruction == 0 {
            return Err(ParseError::Record {
                record: number,
                expected: "the address of an instruction at bytes 0 to 7 of each 64 (CloudSuite's records \
                           have 96 bytes, and are not read)",
                found: "0".to_owned(),
            });
        }
        if self.keep_instructions {
            out.push(instruction, 1, AccessKind::Instruction);
        }
        for (range, kind) in [(LOADS, AccessKind::Load), (STORES, AccessKind::Store)] {
            for address in record[range].chunks_exact(8).map(word).filter(|&at| at != 0) {
                out.push(address, 1, kind);
            }
        }
        self.records = number;
        Ok(())
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
