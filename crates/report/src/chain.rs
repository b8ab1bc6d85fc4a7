//! Call chains: which callers belong to an access, and their names; and the program that user code belongs to.
//!
//! A source numbers the chains it sees; here the callers behind a number become the callers of one access. What the access cannot
//! have been called by is left out: the call in whose delay slot it stands, and the code of the other mode, which an exception or
//! a system call has left behind.

use std::collections::BTreeMap;

use congruent_arch::Arch;
use congruent_trace::{Context, Site};
use serde::{Deserialize, Serialize};

use crate::{Address, Mode};

/// The call instructions behind each context, the innermost first, where nothing else is asked.
pub type Callers = BTreeMap<Context, Vec<Site>>;

/// What is behind each context.
pub type Chains = BTreeMap<Context, Chain>;

/// Through which calls, and in which program, the guest came to some code.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Chain {
    /// What the guest calls the program, if the code is a program's and that is known.
    pub program: Option<String>,
    /// The call instructions that had not returned, the innermost first.
    pub callers: Vec<Site>,
}

/// One caller of a party, named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CallerEntry {
    /// The call instruction.
    pub pc: Address,
    /// Function and offset; none where no symbol is known.
    pub symbol: Option<String>,
    /// `file:line`, where a symbol file had line information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

/// Those of `callers` that led to the access at `site`.
pub(crate) fn callers_of(arch: Arch, site: Site, callers: &[Site]) -> impl Iterator<Item = Site> + use<'_> {
    let mode = Mode::of(arch, site);
    let slot = arch.facts().calls.and_then(|calls| calls.delay_slot());
    let in_delay_slot = slot.and_then(|slot| site.0.checked_sub(slot)).map(Site);
    let own_call = callers.first().is_some_and(|call| in_delay_slot == Some(*call));
    callers.iter().copied().skip(usize::from(own_call)).take_while(move |caller| Mode::of(arch, *caller) == mode)
}

#[cfg(test)]
mod tests {
    use congruent_arch::Endian;

    use super::*;

    const MIPS: Arch = Arch::Mips(Endian::Big);
    const CALLERS: [Site; 4] = [Site(0x8000_0100), Site(0x8000_0200), Site(0x0040_0300), Site(0x0040_0400)];

    fn callers(arch: Arch, site: u32) -> Vec<Site> {
        callers_of(arch, Site(site), &CALLERS).collect()
    }

    #[test]
    fn calls_of_the_other_mode_are_not_shown() {
        assert_eq!(callers(MIPS, 0x8000_0010), CALLERS[..2]);
        assert_eq!(callers(MIPS, 0x0040_0010), []);
    }

    #[test]
    fn an_access_in_the_delay_slot_of_a_call_is_not_called_by_it() {
        assert_eq!(callers(MIPS, 0x8000_0104), CALLERS[1..2]);
        assert_eq!(callers(MIPS, 0x8000_0108), CALLERS[..2]);
        assert_eq!(callers(MIPS, 0x8000_0204), CALLERS[..2]);
        // On a core without delay slots it follows the call.
        let calls = [Site(0xc000_0100), Site(0xc000_0200)];
        assert!(callers_of(Arch::Arm, Site(0xc000_0104), &calls).eq(calls));
    }
}
