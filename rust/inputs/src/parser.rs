//! One parser for every format: what `rust/py` hands on to Python.
//!
//! Start with [`TraceParser`], and [`Format`] for which there are.

use crate::champsim::ChampSim;
use crate::columns::Columns;
use crate::csv::Csv;
use crate::damon::Damon;
use crate::error::ParseError;
use crate::lackey::LackeyParser;
use crate::lines::LineParser;
use crate::perf::Perf;
use crate::view::View;

/// What a trace is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Valgrind lackey.
    Lackey,
    /// `perf script`.
    Perf,
    /// DAMON.
    Damon,
    /// The view tool of DynamoRIO.
    View,
    /// ChampSim.
    ChampSim,
    /// Comma-separated values.
    Csv,
}

impl Format {
    /// Every format under its short name.
    pub const NAMES: [(&'static str, Format); 6] = [
        ("lackey", Format::Lackey),
        ("perf", Format::Perf),
        ("damon", Format::Damon),
        ("dynamorio", Format::View),
        ("champsim", Format::ChampSim),
        ("csv", Format::Csv),
    ];

    /// Returns the format of a short name.
    #[must_use]
    pub fn named(name: &str) -> Option<Format> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, format)| format)
    }
}

/// Reads a trace of one format in pieces of any size.
#[derive(Clone, Debug)]
pub enum TraceParser {
    /// Reads lackey.
    Lackey(LackeyParser),
    /// Reads `perf script`.
    Perf(LineParser<Perf>),
    /// Reads DAMON.
    Damon(LineParser<Damon>),
    /// Reads the view tool.
    View(LineParser<View>),
    /// Reads ChampSim.
    ChampSim(ChampSim),
    /// Reads tables.
    Csv(LineParser<Csv>),
}

impl TraceParser {
    /// Returns a parser at the beginning of a trace. Fetches of instructions are handed on
    /// only with `keep_instructions`.
    #[must_use]
    pub fn new(format: Format, keep_instructions: bool) -> Self {
        match format {
            Format::Lackey => TraceParser::Lackey(LackeyParser::new(keep_instructions)),
            Format::Perf => TraceParser::Perf(LineParser::of(Perf::new(keep_instructions))),
            Format::Damon => TraceParser::Damon(LineParser::of(Damon::default())),
            Format::View => TraceParser::View(LineParser::of(View::new(keep_instructions))),
            Format::ChampSim => TraceParser::ChampSim(ChampSim::new(keep_instructions)),
            Format::Csv => TraceParser::Csv(LineParser::of(Csv::new(keep_instructions))),
        }
    }

    /// Appends the accesses of the lines or records that `data` completes.
    ///
    /// # Errors
    ///
    /// The first thing that is none of the format. `out` is then as it was before, and this
    /// parser answers everything that follows with the same error.
    pub fn feed(&mut self, data: &[u8], out: &mut Columns) -> Result<(), ParseError> {
        match self {
            TraceParser::Lackey(parser) => parser.feed(data, out),
            TraceParser::Perf(parser) => parser.feed(data, out),
            TraceParser::Damon(parser) => parser.feed(data, out),
            TraceParser::View(parser) => parser.feed(data, out),
            TraceParser::ChampSim(parser) => parser.feed(data, out),
            TraceParser::Csv(parser) => parser.feed(data, out),
        }
    }

    /// Says that no more data comes; appends what stands in a last line without an end.
    ///
    /// # Errors
    ///
    /// The data is cut off, or [`feed`](Self::feed) failed before.
    pub fn finish(&mut self, out: &mut Columns) -> Result<(), ParseError> {
        match self {
            TraceParser::Lackey(parser) => parser.finish(out),
            TraceParser::Perf(parser) => parser.finish(out),
            TraceParser::Damon(parser) => parser.finish(out),
            TraceParser::View(parser) => parser.finish(out),
            TraceParser::ChampSim(parser) => parser.finish(),
            TraceParser::Csv(parser) => parser.finish(out),
        }
    }

    /// Returns how many lines or records were read.
    #[must_use]
    pub fn lines(&self) -> u64 {
        match self {
            TraceParser::Lackey(parser) => parser.lines(),
            TraceParser::Perf(parser) => parser.lines(),
            TraceParser::Damon(parser) => parser.lines(),
            TraceParser::View(parser) => parser.lines(),
            TraceParser::ChampSim(parser) => parser.records(),
            TraceParser::Csv(parser) => parser.lines(),
        }
    }
}
