//! Symbols that nobody gave: those of the running kernel, from its own memory.
//!
//! A run that finds something has the plugin copy the memory where the kernel lies. It is looked into if kernel code of the findings has no name:
//! none was given, or the kernel does not run where it was linked. What cannot be found there leaves code without names, as it was.

use std::ops::Range;

use congruent_arch::Arch;
use congruent_report::{Mode, Symbols, kallsyms};
use congruent_shadow::{Finding, Party, PartyKind};

/// The guest's memory from where its kernel's linear mapping begins.
struct Copied<'a> {
    linear: u64,
    bytes: &'a [u8],
}

impl kallsyms::Memory for Copied<'_> {
    fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        std::iter::once(self.linear..self.linear + self.bytes.len() as u64)
    }

    fn read(&self, address: u64, to: &mut [u8]) -> bool {
        let from = address.checked_sub(self.linear).and_then(|offset| usize::try_from(offset).ok());
        let part = from.and_then(|from| self.bytes.get(from..from.checked_add(to.len())?));
        part.map(|part| to.copy_from_slice(part)).is_some()
    }
}

/// Adds what is found in the copied memory of a guest of this architecture, unless the kernel code of these findings has names already.
pub(crate) fn add(symbols: &mut Symbols, arch: Arch, findings: &[Finding], memory: &[u8]) {
    let of_kernel = |party: &Party| party.kind != PartyKind::Dma && Mode::of(arch, party.site) == Mode::Kernel;
    let unnamed = |party: &Party| of_kernel(party) && symbols.resolve(arch.facts().split.address(party.site).into()).is_none();
    let parties = findings.iter().flat_map(|finding| std::iter::once(&finding.consumer).chain(&finding.producer));
    if !symbols.is_empty() && !parties.into_iter().any(unnamed) {
        return;
    }
    let kernel = arch.facts().kernel_memory;
    for found in kallsyms::find(&Copied { linear: kernel.linear, bytes: memory }) {
        // A kernel without code symbols names nothing, which the report says.
        let _ = symbols.add_found(&found);
    }
}

#[cfg(test)]
mod tests {
    use congruent_report::kallsyms::Memory as _;

    use super::*;

    #[test]
    fn memory_is_read_where_it_was_copied_and_nowhere_else() {
        let copied = Copied { linear: 0x8000_0000, bytes: &[1, 2, 3, 4] };
        let mut two = [0; 2];
        assert!(copied.read(0x8000_0002, &mut two));
        assert_eq!(two, [3, 4]);
        for outside in [0x7fff_ffff, 0x8000_0003, 0x8000_0004, u64::MAX] {
            assert!(!copied.read(outside, &mut two), "{outside:#x}");
        }
    }

    #[test]
    fn memory_without_a_kernel_adds_nothing() {
        let mut symbols = Symbols::default();
        for arch in Arch::ALL {
            add(&mut symbols, arch, &[], &[0; 4096]);
        }
        assert!(symbols.is_empty());
    }
}
