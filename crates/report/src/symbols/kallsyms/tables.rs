//! The tables of names: tokens, their index, compressed names, markers.
//!
//! In every layout the order is: count of symbols, names, markers, (6.2 and 6.3: three bytes for each symbol), tokens, index of tokens.
//! A name is a length and that many tokens; the length takes two bytes, seven bits each, the low ones first, if the first byte has its
//! top bit set (6.1 and later). The first character is the symbol's type. A marker tells where every 256th name begins. Each table
//! begins at a multiple of the size of a pointer.

use std::cell::Cell;

/// How far tokens reach before and after their digits, with the index: offsets among them have 16 bits.
pub(super) const TOKENS_REACH: u64 = (1 << 16) + 1024;

/// Names between two markers.
const PER_MARKER: usize = 256;

/// The longest name there is takes 511 bytes (`KSYM_NAME_LEN` is 512), its type one, and its length two.
const LONGEST: usize = 514;

/// A kernel with fewer symbols than this is not one.
const FEWEST: usize = 2 * PER_MARKER;

/// Words that may be looked at yet.
pub(super) struct Work(Cell<u64>);

impl Work {
    pub(super) fn new(words: u64) -> Self {
        Self(Cell::new(words))
    }

    /// `None` if so much is not left; then nothing is left.
    pub(super) fn spend(&self, words: u64) -> Option<()> {
        let left = self.0.get().checked_sub(words);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }

    #[cfg(test)]
    pub(super) fn is_used_up(&self) -> bool {
        self.0.get() == 0
    }
}

/// Guest memory around the tokens.
pub(super) struct Window<'a> {
    /// The address of the first byte.
    pub(super) start: u64,
    pub(super) bytes: &'a [u8],
    /// Without any left, all reads fail.
    pub(super) work: &'a Work,
}

/// In which order the kernel's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Little,
    Big,
}

impl Window<'_> {
    pub(super) fn u16(&self, order: Order, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at + 2)?.try_into().ok()?;
        self.work.spend(1)?;
        Some(if order == Order::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    pub(super) fn u32(&self, order: Order, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at + 4)?.try_into().ok()?;
        self.work.spend(1)?;
        Some(if order == Order::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    pub(super) fn u64(&self, order: Order, at: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at + 8)?.try_into().ok()?;
        self.work.spend(1)?;
        Some(if order == Order::Little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }

    /// The first place at or after `at` whose address is a multiple of `unit`.
    pub(super) fn align(&self, at: usize, unit: usize) -> usize {
        let over = (self.start as usize).wrapping_add(at) % unit;
        if over == 0 { at } else { at + unit - over }
    }
}

/// The 256 tokens.
pub(super) struct Tokens {
    pub(super) order: Order,
    /// Where the first token is.
    pub(super) start: usize,
    /// One past the index.
    pub(super) end: usize,
    texts: Vec<Vec<u8>>,
}

impl Tokens {
    /// The tokens, if `digits` is the token of `0` among them.
    pub(super) fn find(window: &Window<'_>, digits: usize) -> Option<Self> {
        // The rest of the tokens ends with the 208th zero from here; then comes the index, which leads back to the first token.
        let near = window.bytes.get(digits..)?;
        let near = &near[..near.len().min(TOKENS_REACH as usize)];
        let mut ends = memchr::memchr_iter(0, near).skip(255 - usize::from(b'0'));
        let after = digits + ends.next()? + 1;
        [4, 8, 2].into_iter().find_map(|unit| {
            let index = window.align(after, unit);
            [Order::Little, Order::Big].into_iter().find_map(|order| Self::with_index(window, digits, index, order))
        })
    }

    fn with_index(window: &Window<'_>, digits: usize, index: usize, order: Order) -> Option<Self> {
        let offset = |token: usize| window.u16(order, index + 2 * token).map(usize::from);
        let start = digits.checked_sub(offset(usize::from(b'0'))?)?;
        let mut texts = Vec::with_capacity(256);
        let mut expected = 0;
        for token in 0..256 {
            if offset(token)? != expected {
                return None;
            }
            let text = window.bytes.get(start + expected..)?;
            let length = memchr::memchr(0, &text[..text.len().min(TOKENS_REACH as usize)])?;
            window.work.spend(length as u64 / 8)?;
            texts.push(text[..length].to_vec());
            expected += length + 1;
        }
        Some(Self { order, start, end: index + 512, texts })
    }
}

/// The compressed names.
pub(super) struct Names {
    /// 4 or 8.
    pub(super) pointer: usize,
    /// Where the count is.
    pub(super) before: usize,
    /// How many there are.
    pub(super) count: usize,
    start: usize,
}

impl Names {
    /// The names before the tokens.
    pub(super) fn find(window: &Window<'_>, tokens: &Tokens) -> Option<Self> {
        let first = window.align(0, 4);
        let mut at = first + (tokens.start - first) / 4 * 4;
        while at >= first + 8 {
            at -= 4;
            if window.u32(tokens.order, at)? == 0
                && let Some(names) = Self::with_markers(window, tokens, at)
            {
                return Some(names);
            }
        }
        None
    }

    /// The names that end where the markers begin, if these are markers.
    fn with_markers(window: &Window<'_>, tokens: &Tokens, markers: usize) -> Option<Self> {
        let marker = |n: usize| window.u32(tokens.order, markers + 4 * n).map(|offset| offset as usize);
        // A name takes at least two bytes.
        let plausible = |before: usize, after: usize| {
            after.checked_sub(before).is_some_and(|length| (2 * PER_MARKER..=LONGEST * PER_MARKER).contains(&length))
        };
        let mut offsets = vec![0];
        while let Some(next) = marker(offsets.len())
            && plausible(offsets[offsets.len() - 1], next)
            && markers + 4 * offsets.len() < tokens.start
        {
            offsets.push(next);
        }
        // What follows the markers may happen to look like one more.
        let whole = (offsets.len() * PER_MARKER >= FEWEST).then(|| Self::with_last_marker(window, tokens, markers, &offsets))?;
        whole.or_else(|| Self::with_last_marker(window, tokens, markers, &offsets[..offsets.len() - 1]))
    }

    fn with_last_marker(window: &Window<'_>, tokens: &Tokens, markers: usize, offsets: &[usize]) -> Option<Self> {
        let last = *offsets.last()?;
        // Behind the last marker lie at least one name and at most 256.
        let latest = markers.checked_sub(last + 2)?;
        let earliest = markers.saturating_sub(last + LONGEST * PER_MARKER + 8);
        (earliest..=latest).rev().filter(|&start| window.align(start, 4) == start).find_map(|start| {
            let count = |before: usize| {
                let count = window.u32(tokens.order, before)? as usize;
                (count >= FEWEST && count.div_ceil(PER_MARKER) == offsets.len()).then_some(count)
            };
            let candidates = [(4, start.checked_sub(4)?), (8, start.checked_sub(8)?)];
            candidates.into_iter().find_map(|(pointer, before)| {
                let names = Self { pointer, before, count: count(before)?, start };
                names.reach(window, tokens, markers).then_some(names)
            })
        })
    }

    /// Whether every name is whole, every marker right, and the markers begin where the names end.
    fn reach(&self, window: &Window<'_>, tokens: &Tokens, markers: usize) -> bool {
        let mut at = self.start;
        for n in 0..self.count {
            if n % PER_MARKER == 0 {
                let marker = window.u32(tokens.order, markers + n / PER_MARKER * 4);
                if marker.map(|offset| self.start + offset as usize) != Some(at) {
                    return false;
                }
            }
            match name_at(window, at) {
                Some((first, length)) if length > 0 && first + length <= markers => at = first + length,
                _ => return false,
            }
        }
        window.align(at, self.pointer) == markers || window.align(at, 4) == markers
    }

    /// Every symbol's type and name.
    pub(super) fn iter(&self, window: &Window<'_>, tokens: &Tokens) -> impl Iterator<Item = (char, String)> {
        let mut at = self.start;
        (0..self.count).map_while(move |_| {
            let (first, length) = name_at(window, at)?;
            at = first + length;
            let tokens = window.bytes.get(first..at)?.iter().flat_map(|&token| &tokens.texts[usize::from(token)]);
            let text: Vec<u8> = tokens.copied().collect();
            let (&kind, name) = text.split_first()?;
            Some((char::from(kind), String::from_utf8_lossy(name).into_owned()))
        })
    }
}

/// Where the tokens of the name at `at` begin, and how many they are.
fn name_at(window: &Window<'_>, at: usize) -> Option<(usize, usize)> {
    window.work.spend(1)?;
    let low = usize::from(*window.bytes.get(at)?);
    if low < 0x80 {
        return Some((at + 1, low));
    }
    let high = usize::from(*window.bytes.get(at + 1)?);
    Some((at + 2, low & 0x7f | high << 7))
}
