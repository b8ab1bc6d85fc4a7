//! Findings as people and programs read them: names for addresses, the report `congruent.report/1`, its text.
//!
//! The judge says what was stale in numbers; this crate says it in words. It guarantees: the same input gives the same bytes; a
//! [`Report`] never has the verdict [`Verdict::Clean`] for a run that did not finish; the JSON holds every finding, whatever the
//! text folds away. It reads no file and knows no terminal: symbol files come in as bytes, text goes out as a `String`.

#![forbid(unsafe_code)]

mod explain;
mod group;
mod mode;
mod report;
mod symbols;
mod text;

pub use mode::Mode;
pub use report::{
    Address, Entry, ExampleEntry, GeometryEntry, Outcome, PartyEntry, PartyKindName, PastMaintenanceEntry, Report, Run, SCHEMA,
    StatsEntry, Verdict,
};
pub use symbols::{Place, SiteError, SymbolFileError, Symbols};
pub use text::TextOptions;
