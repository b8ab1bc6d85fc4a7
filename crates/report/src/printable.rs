//! Text from elsewhere made safe to show: what names and messages hold must not move the cursor or reorder what is read.
//!
//! Names come from symbol files, recordings and the guest's memory, all of which others may have made. Guarantees: of a [`printable`] text
//! every character is shown where it stands (no control character of C0 or C1, no DEL, no mark that changes the direction of
//! writing, no break of lines or paragraphs), and what was escaped is still told apart. A report is made so once, when it is made or read.

use std::borrow::Cow;

use crate::report::{Entry, PartyEntry};
use crate::{Identity, Report};

/// The text with `\u{…}` for every character that a terminal acts on or that changes the direction of writing.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if acts(character) { shown.extend(character.escape_unicode()) } else { shown.push(character) }
    }
    Cow::Owned(shown)
}

/// Controls (Unicode's category Cc), marks and isolates of the bidirectional algorithm (UAX 9, section 2), separators of lines.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn clean(text: &mut String) {
    if let Cow::Owned(shown) = printable(text) {
        *text = shown;
    }
}

impl Report {
    /// Makes every text of the report printable.
    pub(crate) fn clean(&mut self) {
        for text in self.muted.iter_mut().chain(&mut self.limits).chain(&mut self.notes) {
            clean(text);
        }
        let Self { schema, target, kernel, incomplete_because, core, unknown, baseline, ledger, .. } = self;
        for text in [schema, target].into_iter().chain(incomplete_because).chain(kernel).chain(core).chain(unknown) {
            clean(text);
        }
        for Identity { consumer, producer, .. } in baseline.iter_mut().flat_map(|baseline| &mut baseline.gone) {
            clean(consumer);
            producer.iter_mut().for_each(clean);
        }
        if let Some(ledger) = ledger {
            for text in ledger.unseen.iter_mut().chain(&mut ledger.cost_model) {
                clean(text);
            }
            for entry in &mut ledger.entries {
                clean(&mut entry.function);
                entry.caller.iter_mut().for_each(clean);
            }
        }
        self.all_entries_mut().for_each(clean_entry);
    }
}

fn clean_entry(entry: &mut Entry) {
    let Entry { consumer, producer, maintenance_between, suppressed, .. } = entry;
    for party in std::iter::once(consumer).chain(producer) {
        let PartyEntry { symbol, line, program, chain, .. } = party;
        let callers = chain.iter_mut().flat_map(|caller| [&mut caller.symbol, &mut caller.line]);
        [symbol, line, program].into_iter().chain(callers).flatten().for_each(clean);
    }
    for past in maintenance_between {
        [&mut past.symbol, &mut past.line].into_iter().flatten().for_each(clean);
    }
    if let Some(suppressed) = suppressed {
        clean(&mut suppressed.reason);
        clean(&mut suppressed.by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_all_else_is_left_alone() {
        for text in ["", "memcpy+0x10", "größe → 見る", "a\\b\"c'"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(
            printable("a\x1b[32mclean\n\u{9b}0m\x7f\u{202e}b\0"),
            "a\\u{1b}[32mclean\\u{a}\\u{9b}0m\\u{7f}\\u{202e}b\\u{0}"
        );
        let marks = [0x61c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069];
        for code in (0..0x20).chain(0x7f..0xa0).chain(marks).chain([0x2028, 0x2029]) {
            let character = char::from_u32(code).unwrap();
            assert_eq!(printable(&character.to_string()), format!("\\u{{{code:x}}}"));
        }
    }
}
