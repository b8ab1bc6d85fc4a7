//! Findings as people and programs read them: names for addresses, the report `congruent.report/1`, its other forms.
//!
//! The judge says what was stale in numbers; this crate says it in words. It guarantees: the same input gives the same bytes; a
//! [`Report`] never has the verdict [`Verdict::Clean`] for a run that did not finish; the JSON holds every finding, whatever the
//! text folds away. It reads no file, no clock, and knows no terminal: symbol files and dates come in, text goes out.

#![forbid(unsafe_code)]

mod address;
mod baseline;
mod caveats;
mod chain;
mod classes;
mod date;
mod explain;
mod group;
mod html;
mod identity;
mod injected;
mod junit;
mod ledger;
mod mode;
mod printable;
mod report;
mod reveal;
mod run;
mod sarif;
mod suppress;
mod symbols;
mod text;

pub use address::Address;
pub use baseline::{BaselineEntry, Known, ReportFileError};
pub use chain::{CallerEntry, Callers, Chain, Chains};
pub use date::{Date, NotADate};
pub use explain::class_name;
pub use html::Sources;
pub use identity::Identity;
pub use injected::{Given, GivenEntry, Injected, InjectedEntry};
pub use ledger::{Booked, Ledger, LedgerEntry, OperationCosts};
pub use mode::Mode;
pub use printable::printable;
pub use report::{
    ConsequenceEntry, Entry, ExampleEntry, GeometryEntry, PartyEntry, PartyKindName, PastMaintenanceEntry, Report, SCHEMA,
    StatsEntry, Suppressed, Verdict,
};
pub use run::{Outcome, Run};
pub use suppress::{SuppressionError, Suppressions};
pub use symbols::kallsyms;
pub use symbols::{Place, SiteError, SymbolFileError, Symbols};
pub use text::TextOptions;
