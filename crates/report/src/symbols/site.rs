//! Code sites as people write them after `--mute`: a function's name, an address, or a range of addresses.

use std::ops::Range;

use super::{Function, Symbols};

/// Why a text names no code.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// A name, but no symbol files.
    #[error("`{0}` is a name, and there are no symbols to look it up in; add --symbols, or give an address such as 0x80123400")]
    NoSymbols(String),
    /// No function has this name.
    #[error("no function is called `{name}`{}", nearest(.suggestions))]
    UnknownName {
        /// The name.
        name: String,
        /// The nearest names there are, best first.
        suggestions: Vec<String>,
    },
    /// Something with `0x` that is no address.
    #[error("`{0}` is neither an address such as 0x80123400 nor a range such as 0x80123400-0x80123480")]
    NotAnAddress(String),
    /// A range that ends before it begins.
    #[error("the range `{0}` is empty; the second address must be above the first")]
    EmptyRange(String),
}

fn nearest(suggestions: &[String]) -> String {
    if suggestions.is_empty() {
        return "; look for its name in the symbol file".to_owned();
    }
    format!("; did you mean {}?", suggestions.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

/// One instruction of MIPS32 or ARM.
const INSTRUCTION: u64 = 4;

impl Symbols {
    /// The code that `site` names: all functions of that name, including the copies that compilers split off (`name.isra.0`);
    /// the one instruction at `0xADDRESS`; or `0xSTART-0xEND`, the end excluded.
    ///
    /// # Errors
    /// [`SiteError`] if that names no code.
    pub fn ranges(&self, site: &str) -> Result<Vec<Range<u64>>, SiteError> {
        if site.starts_with("0x") || site.starts_with("0X") {
            return address_range(site).map(|range| vec![range]);
        }
        if self.is_empty() {
            return Err(SiteError::NoSymbols(site.to_owned()));
        }
        let mut ranges: Vec<_> = self.functions().filter(|f| f.is_called(site)).map(|f| f.start..f.end).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        ranges.dedup();
        if ranges.is_empty() {
            return Err(SiteError::UnknownName { name: site.to_owned(), suggestions: self.names_like(site) });
        }
        Ok(ranges)
    }

    fn functions(&self) -> impl Iterator<Item = &Function> {
        self.sources.iter().flat_map(|source| &source.functions)
    }

    /// Up to three names, nearest first; none that has nothing to do with `wanted`.
    fn names_like(&self, wanted: &str) -> Vec<String> {
        let mut scored: Vec<(usize, &str)> = self
            .functions()
            .filter_map(|function| {
                let distance = strsim::osa_distance(wanted, &function.name);
                let contained = wanted.len() >= 4 && function.name.contains(wanted);
                // A name that contains the wanted one is a better guess than one with three letters exchanged.
                let score = if contained { distance.min(2) } else { distance };
                (score <= 1 + wanted.len() / 4).then_some((score, function.name.as_str()))
            })
            .collect();
        scored.sort_unstable_by_key(|&(score, name)| (score, name.len(), name));
        scored.dedup();
        scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
    }
}

impl Function {
    fn is_called(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

fn address_range(site: &str) -> Result<Range<u64>, SiteError> {
    let address = |text: &str| {
        let digits = text.trim().strip_prefix("0x").or_else(|| text.trim().strip_prefix("0X"));
        let address = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        address.map(u64::from).ok_or_else(|| SiteError::NotAnAddress(site.to_owned()))
    };
    match site.split_once('-') {
        None => address(site).map(|start| start..start + INSTRUCTION),
        Some((start, end)) => {
            let range = address(start)?..address(end)?;
            if range.is_empty() { Err(SiteError::EmptyRange(site.to_owned())) } else { Ok(range) }
        }
    }
}
