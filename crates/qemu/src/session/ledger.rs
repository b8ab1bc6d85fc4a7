//! The judge's ledger as the program is told it: whole call chains are cut to the nearest callers, or there would be thousands of them.

use std::collections::HashMap;

use congruent_shadow::{LedgerLine, Reach, Side};
use congruent_trace::{Context, Site, devices};
use congruent_wire::Chain;

use super::Session;

/// Callers that are told of an operation. The program names the nearest one of another function.
const NEAREST: usize = 6;

impl Session {
    /// The ledger, its contexts numbered anew, and the callers behind those numbers.
    pub(super) fn ledger(&self) -> (Vec<LedgerLine>, Vec<Chain>) {
        let (mut numbers, mut chains): (HashMap<Vec<Site>, Context>, _) = (HashMap::new(), Vec::new());
        let mut places: HashMap<(Site, Context, Side, Reach), usize> = HashMap::new();
        let mut folded: Vec<LedgerLine> = Vec::new();
        // What a coherent device's writes drop is no work of the guest's.
        let of_guest = |line: &&LedgerLine| line.site != devices::VIRTIO;
        for line in self.lives.ledger().iter().chain(self.judge.ledger()).filter(of_guest) {
            let callers = self.callers_of(line.context, NEAREST);
            let context = *numbers.entry(callers).or_insert_with_key(|callers| {
                let context = Context(chains.len() as u32 + 1);
                chains.push(Chain { context, program: None, callers: callers.clone() });
                context
            });
            let place = *places.entry((line.site, context, line.side, line.reach)).or_insert_with(|| {
                folded.push(LedgerLine { context, operations: 0, lines: 0, mattered: 0, ..*line });
                folded.len() - 1
            });
            folded[place].operations += line.operations;
            folded[place].lines += line.lines;
            folded[place].mattered += line.mattered;
        }
        (folded, chains)
    }
}
