//! The symbols of a running Linux kernel, found in its memory: nobody has to fetch a System.map.
//!
//! A kernel with `CONFIG_KALLSYMS` carries the tables that `/proc/kallsyms` is made of. [`find`] recognises them by what they must
//! be, whatever the kernel's configuration and wherever it lies: 32 and 64 bits, both byte orders, every layout of 5.0 to 7.0 (see
//! [`tables`] and [`values`]). Guarantees: what is returned was checked as a whole (every name decodes, every marker points where it
//! should, addresses ascend), so random memory is not taken for symbols; memory is read, never written. Not covered: symbols of
//! modules, which are kept elsewhere; kernels before 5.0.
//!
//! Source: `scripts/kallsyms.c` and `kernel/kallsyms.c` of Linux.

mod tables;
mod values;

use std::ops::Range;

use tables::{Names, Tokens, Window};

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
const CHUNK: usize = 1 << 20;

/// How far the other tables reach before and after the tokens: a kernel of 400,000 symbols needs less than half of it.
const REACH: u64 = 16 << 20;

/// The symbols of the kernel in `memory`, in the order of their addresses; `None` if there is none, or it was built without them.
#[must_use]
pub fn find(memory: &impl Memory) -> Option<Vec<Symbol>> {
    let finder = memchr::memmem::Finder::new(DIGITS);
    let mut chunk = vec![0; CHUNK];
    for range in memory.ranges() {
        let mut at = range.start;
        while at < range.end {
            let length = CHUNK.min(usize::try_from(range.end - at).unwrap_or(CHUNK));
            let part = &mut chunk[..length];
            if memory.read(at, part) {
                let found = finder.find_iter(part).find_map(|offset| symbols_at(memory, &range, at + offset as u64));
                if found.is_some() {
                    return found;
                }
            }
            // The next chunk repeats what could be the beginning of the digits.
            at += if at + length as u64 == range.end { length } else { length - DIGITS.len() } as u64;
        }
    }
    None
}

/// The symbols of the tables whose digits are at `digits`.
fn symbols_at(memory: &impl Memory, range: &Range<u64>, digits: u64) -> Option<Vec<Symbol>> {
    let start = digits.saturating_sub(REACH).max(range.start) & !7;
    let start = start.max(range.start);
    let end = digits.saturating_add(REACH).min(range.end);
    let mut bytes = vec![0; usize::try_from(end - start).ok()?];
    memory.read(start, &mut bytes).then_some(())?;
    let window = Window { start, bytes: &bytes };
    let tokens = Tokens::find(&window, usize::try_from(digits - start).ok()?)?;
    let names = Names::find(&window, &tokens)?;
    let addresses = values::find(&window, &tokens, &names)?;
    let symbols = names.iter(&window, &tokens).zip(addresses);
    Some(symbols.map(|((kind, name), address)| Symbol { address, kind, name }).collect())
}
