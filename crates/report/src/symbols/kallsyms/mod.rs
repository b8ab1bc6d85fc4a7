//! The symbols of a running Linux kernel, found in its memory: nobody has to fetch a System.map.
//!
//! A kernel with `CONFIG_KALLSYMS` carries the tables that `/proc/kallsyms` is made of. [`find`] recognises them by what they must
//! be, whatever the kernel's configuration and wherever it lies: 32 and 64 bits, both byte orders, every layout of 5.0 to 7.0 (see
//! [`tables`] and [`values`]). Guarantees: what is returned was checked as a whole (every name decodes, every marker points where it
//! should, addresses ascend), so random memory is not taken for symbols; memory is read, never written; the work is bounded, whatever
//! the guest has filled its memory with. Not covered: symbols of modules, which are kept elsewhere; kernels before 5.0.
//!
//! Source: `scripts/kallsyms.c` and `kernel/kallsyms.c` of Linux.

mod tables;
mod values;

use std::ops::Range;

use tables::{Names, TOKENS_REACH, Tokens, Window, Work};

/// The memory of a guest.
pub trait Memory {
    /// What can be read. Addresses are those under which the kernel itself sees its image (its linear mapping): from 7.0 on, tables of
    /// 64-bit and of relocatable kernels are relative to their own place.
    fn ranges(&self) -> impl Iterator<Item = Range<u64>>;

    /// Reads from `address` on; `false` if not all of it can be read.
    fn read(&self, address: u64, to: &mut [u8]) -> bool;
}

/// A symbol as `/proc/kallsyms` has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Its address.
    pub address: u64,
    /// Its type, as `nm` says it: `T` and `t` for code.
    pub kind: char,
    /// Its name.
    pub name: String,
}

/// The tokens of the digits, one after the other. Digits are in symbols of every kernel, so each has a token of its own.
const DIGITS: &[u8; 20] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";

/// How much is searched at a time.
const CHUNK: u64 = 1 << 20;

/// How far the other tables reach before and after the tokens: a kernel of 400,000 symbols needs less than half of it.
const REACH: u64 = 16 << 20;

/// Words looked at in all, at the most: the tables of a large kernel take a hundredth. Programs can fill memory with what looks like
/// tables.
const MOST_WORK: u64 = 1 << 28;

/// What it costs to look at one place that has the digits.
const WORK_OF_A_PLACE: u64 = 64;

/// So many kernels are looked for.
const MOST_KERNELS: usize = 4;

/// The symbols of each kernel in `memory`, in the order of their addresses; none if there is none, or it was built without them, or
/// so much else looks like its tables that they were not reached.
///
/// A kernel that has moved itself (`CONFIG_RANDOMIZE_BASE`) leaves behind what it was, and both have tables, each with addresses of its own: code
/// that runs lies in one of them only.
#[must_use]
pub fn find(memory: &impl Memory) -> Vec<Vec<Symbol>> {
    let mut kernels = Vec::new();
    find_within(memory, &Work::new(MOST_WORK), &mut kernels);
    kernels
}

/// `None` if it was given up.
fn find_within(memory: &impl Memory, work: &Work, kernels: &mut Vec<Vec<Symbol>>) -> Option<()> {
    let finder = memchr::memmem::Finder::new(DIGITS);
    let mut bytes = Vec::new();
    for range in memory.ranges() {
        let mut at = range.start;
        while at < range.end {
            let end = at.saturating_add(CHUNK).min(range.end);
            // With as much before and after as tokens can take.
            let start = at.saturating_sub(TOKENS_REACH).max(range.start);
            let after = end.saturating_add(TOKENS_REACH).min(range.end);
            bytes.resize(usize::try_from(after - start).ok()?, 0);
            if memory.read(start, &mut bytes) {
                let window = Window { start, bytes: &bytes, work };
                let (first, last) = ((at - start) as usize, (end - start) as usize);
                let part = &bytes[first..(last + DIGITS.len() - 1).min(bytes.len())];
                for offset in finder.find_iter(part) {
                    work.spend(WORK_OF_A_PLACE)?;
                    let digits = first + offset;
                    if Tokens::find(&window, digits).is_some()
                        && let Some(symbols) = symbols_at(memory, &range, start + digits as u64, work)
                    {
                        if !kernels.contains(&symbols) {
                            kernels.push(symbols);
                        }
                        if kernels.len() >= MOST_KERNELS {
                            return Some(());
                        }
                    }
                }
            }
            at = end;
        }
    }
    Some(())
}

/// The symbols of the tables whose digits are at `digits`.
fn symbols_at(memory: &impl Memory, range: &Range<u64>, digits: u64, work: &Work) -> Option<Vec<Symbol>> {
    let start = digits.saturating_sub(REACH).max(range.start) & !7;
    let start = start.max(range.start);
    let end = digits.saturating_add(REACH).min(range.end);
    work.spend((end - start) / 8)?;
    let mut bytes = vec![0; usize::try_from(end - start).ok()?];
    memory.read(start, &mut bytes).then_some(())?;
    let window = Window { start, bytes: &bytes, work };
    let tokens = Tokens::find(&window, usize::try_from(digits - start).ok()?)?;
    let names = Names::find(&window, &tokens)?;
    let addresses = values::find(&window, &tokens, &names)?;
    let symbols = names.iter(&window, &tokens).zip(addresses);
    Some(symbols.map(|((kind, name), address)| Symbol { address, kind, name }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Filled(Vec<u8>);

    impl Memory for Filled {
        fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
            std::iter::once(0..self.0.len() as u64)
        }

        fn read(&self, address: u64, to: &mut [u8]) -> bool {
            let from = address as usize;
            self.0.get(from..from + to.len()).map(|bytes| to.copy_from_slice(bytes)).is_some()
        }
    }

    /// Tokens that are right, with their index, and before them what looks like the first markers.
    fn lookalike() -> Vec<u8> {
        let (mut tokens, mut index) = (Vec::new(), Vec::new());
        for token in 0..=255u8 {
            index.extend((tokens.len() as u16).to_le_bytes());
            tokens.extend(if token.is_ascii_alphanumeric() { vec![token, 0] } else { vec![0] });
        }
        tokens.resize(tokens.len().next_multiple_of(8), 0);
        let markers = [0u32, 600, 1200, 1800].map(u32::to_le_bytes).concat();
        [markers.repeat(180), tokens, index].concat()
    }

    #[test]
    fn memory_full_of_what_looks_like_tables_is_given_up_after_bounded_work() {
        for part in [DIGITS.to_vec(), lookalike()] {
            let memory = Filled(part.repeat((1 << 20) / part.len()));
            let work = Work::new(1 << 18);
            let mut kernels = Vec::new();
            assert_eq!((find_within(&memory, &work, &mut kernels), kernels), (None, Vec::new()));
            assert!(work.is_used_up(), "{} bytes again and again cost less than was allowed", part.len());
        }
    }
}
