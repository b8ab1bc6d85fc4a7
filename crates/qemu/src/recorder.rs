//! The recorder: keeps of what is judged the events that matter, each with the calls that it came through.
//!
//! Guarantees: only call chains that a kept event came through are written. Not here: which events matter, and how they are written
//! (`congruent_trace::file`); what the guest's calls are (`stacks`).

use std::fs::File;
use std::io;

use congruent_trace::file::{ChainId, Filter, Footer, Header, Keep, Recorded, Writer};
use congruent_trace::{Context, Operation};

use crate::contexts::Link;

/// Keeps the events that matter.
pub struct Recorder {
    pub filter: Filter,
    writer: Writer<File>,
    chains: Chains,
}

/// The guest's call chains by number, the first of which is 1, and what they are in the file.
#[derive(Default)]
struct Chains(Vec<Call>);

struct Call {
    link: Link,
    /// Its chain in the file; none while no kept event came through it.
    chain: ChainId,
}

impl Chains {
    /// What a chain is in the file, into which it is written if need be.
    fn in_file(&mut self, context: Context, writer: &mut Writer<File>) -> ChainId {
        let place = |context: Context| (context.0 as usize).checked_sub(1);
        let (mut new, mut at) = (Vec::new(), context);
        let mut chain = loop {
            match place(at).and_then(|place| self.0.get(place)) {
                Some(call) if call.chain == ChainId::NONE => {
                    new.push(at);
                    at = match call.link {
                        Link::Call { caller, .. } => caller,
                        Link::Program(_) => Context::NONE,
                    };
                }
                known => break known.map_or(ChainId::NONE, |call| call.chain),
            }
        };
        for call in new.into_iter().rev().filter_map(place) {
            let call = &mut self.0[call];
            chain = match call.link {
                Link::Call { site, .. } => writer.chain(chain, site),
                Link::Program(program) => writer.program(program),
            };
            call.chain = chain;
        }
        chain
    }
}

impl Recorder {
    /// Records into `file`, from the start of a run on.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn new(file: File, header: &Header) -> io::Result<Self> {
        let filter = Filter::new(header.index);
        let filter = if header.valid.every_core { filter.for_every_core() } else { filter };
        Ok(Self { filter, writer: Writer::new(file, header)?, chains: Chains::default() })
    }

    /// How many of the guest's call chains are known.
    pub fn known_calls(&self) -> usize {
        self.chains.0.len() + 1
    }

    /// The next call chain of the guest.
    pub fn learn_call(&mut self, link: Link) {
        self.chains.0.push(Call { link, chain: ChainId::NONE });
    }

    /// Writes what the filter keeps of an event.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn note(&mut self, event: impl FnOnce(&mut Filter, &mut Keep<'_>)) -> io::Result<()> {
        let Self { filter, writer, chains } = self;
        let mut written = Ok(());
        event(filter, &mut |age, context, event| {
            let chain = context.map(|context| chains.in_file(context, writer));
            if let Err(error) = writer.event(age, chain, event) {
                written = Err(error);
            }
        });
        written
    }

    /// Writes an operation, which is always kept.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn operation(&mut self, operation: Operation, context: Context, muted: bool) -> io::Result<()> {
        self.note(|filter, keep| filter.before_operation(operation, keep))?;
        let chain = self.chains.in_file(context, &mut self.writer);
        self.writer.operation(&Recorded { operation, chain, muted })
    }

    /// Puts what was recorded so far where the end of the process does not take it.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Ends the recording.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn finish(mut self, footer: Footer) -> io::Result<()> {
        self.note(|filter, keep| filter.finish(keep))?;
        self.writer.finish(footer).map(drop)
    }
}
