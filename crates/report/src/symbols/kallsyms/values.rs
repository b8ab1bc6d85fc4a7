//! The addresses of the symbols: where they are and in which of four forms.
//!
//! | form | kernels | an entry | address |
//! |---|---|---|---|
//! | absolute | to 6.10 with `KALLSYMS_BASE_RELATIVE` off; from 7.0 with 32 bits, not relocatable | a pointer | the entry |
//! | relative | to 6.19 | 32 bits | base + the entry |
//! | relative, per-CPU symbols absolute | to 6.14, x86-64 | 32 bits | the entry if it is not negative, else base - 1 - the entry |
//! | relative to its place | from 7.0 | 32 bits | address of the entry + the entry |
//!
//! Up to 6.3 they stand before the count of symbols, the base after the entries; from 6.4 on after the index of tokens. Nothing says
//! which form it is: the right one is that under which addresses ascend, as the kernel's own look-up needs them to.

use super::tables::{Names, Tokens, Window};

/// A kernel image is smaller than this, so offsets into it are, and addresses of kernels that lie high are not.
const LARGEST_IMAGE: u64 = 1 << 30;

/// Entries above this are, as signed numbers, shortly before zero: places before the table. No kernel lies at these addresses.
const BEFORE_ITSELF: u64 = 0xf000_0000;

/// The address of each symbol.
pub(super) fn find(window: &Window<'_>, tokens: &Tokens, names: &Names) -> Option<Vec<u64>> {
    let values = Values { window, tokens, names };
    let (pointer, count) = (names.pointer, names.count);
    let after = window.align(tokens.end, pointer);
    let base_after = window.align(after + 4 * count, pointer);
    let whole = |bytes: usize| bytes.div_ceil(pointer) * pointer;
    let before = |bytes: usize| names.before.checked_sub(bytes);
    let base_before = before(pointer);
    let relative_before = before(pointer + whole(4 * count));
    let absolute_before = before(pointer * count);
    // Forms with more to check come first.
    None.or_else(|| values.relative(after, base_after))
        .or_else(|| values.relative(relative_before?, base_before?))
        .or_else(|| values.relative_to_place(after))
        .or_else(|| values.absolute(after))
        .or_else(|| values.absolute(absolute_before?))
}

struct Values<'a> {
    window: &'a Window<'a>,
    tokens: &'a Tokens,
    names: &'a Names,
}

impl Values<'_> {
    fn pointer(&self, at: usize) -> Option<u64> {
        if self.names.pointer == 8 {
            self.window.u64(self.tokens.order, at)
        } else {
            self.window.u32(self.tokens.order, at).map(u64::from)
        }
    }

    fn entries(&self, at: usize) -> Option<Vec<u32>> {
        (0..self.names.count).map(|n| self.window.u32(self.tokens.order, at + 4 * n)).collect()
    }

    /// What a pointer of this kernel can hold.
    fn highest(&self) -> u64 {
        if self.names.pointer == 8 { u64::MAX } else { u32::MAX.into() }
    }

    fn relative(&self, at: usize, base: usize) -> Option<Vec<u64>> {
        let (entries, base) = (self.entries(at)?, self.pointer(base)?);
        let (first, last) = (*entries.first()?, *entries.last()?);
        // With per-CPU symbols absolute, the image's own symbols count down from -1.
        if entries.contains(&u32::MAX) {
            let address = |entry: u32| {
                let signed = entry.cast_signed();
                if signed >= 0 { u64::from(entry) } else { base.wrapping_sub(1).wrapping_add_signed(-i64::from(signed)) }
            };
            return ascending(entries.into_iter().map(address).collect());
        }
        // The base is the lowest symbol, so its offset is 0.
        if first != 0 || u64::from(last) >= LARGEST_IMAGE || base == 0 || base.checked_add(last.into())? > self.highest() {
            return None;
        }
        ascending(entries.into_iter().map(|entry| base + u64::from(entry)).collect())
    }

    fn relative_to_place(&self, at: usize) -> Option<Vec<u64>> {
        let entries = self.entries(at)?;
        // Code comes before read-only data, and so before this table.
        if u64::from(*entries.first()?) < BEFORE_ITSELF {
            return None;
        }
        let place = self.window.start + at as u64;
        let address = |(n, entry): (u64, u32)| (place + 4 * n).wrapping_add_signed(entry.cast_signed().into()) & self.highest();
        ascending((0..).zip(entries).map(address).collect())
    }

    fn absolute(&self, at: usize) -> Option<Vec<u64>> {
        let size = self.names.pointer;
        ascending((0..self.names.count).map(|n| self.pointer(at + size * n)).collect::<Option<_>>()?)
    }
}

/// The addresses, if they ascend, and are not all the same, which erased memory would be.
fn ascending(addresses: Vec<u64>) -> Option<Vec<u64>> {
    (addresses.is_sorted() && addresses.first() != addresses.last()).then_some(addresses)
}
