//! Call chains of a recording: a tree in which each chain is a call under the chain of its caller, numbered as they come.
//!
//! Guarantees: every chain ends, whatever a file says. Not here: how a guest's calls are followed.

use std::vec::Vec;

use super::codec::{Bytes, Nonsense, put, unzigzag, zigzag};
use crate::{Context, Site};

/// A number that stands for a call chain of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct ChainId(pub u32);

impl ChainId {
    /// No chain is known.
    pub const NONE: Self = Self(0);
}

impl From<ChainId> for Context {
    fn from(chain: ChainId) -> Self {
        Self(chain.0)
    }
}

/// More chains than any recorder keeps, and not more than memory has room for.
const MOST: usize = 1 << 24;

/// The call chains of a recording.
#[derive(Clone, Debug, Default)]
pub struct CallChains {
    /// The chain of the caller, and the call; the first is chain 1.
    calls: Vec<(ChainId, Site)>,
}

impl CallChains {
    /// The calls of a chain, the innermost first.
    pub fn callers(&self, chain: ChainId) -> impl Iterator<Item = Site> + '_ {
        let call = |chain: ChainId| (chain.0 as usize).checked_sub(1).and_then(|at| self.calls.get(at));
        core::iter::successors(call(chain), move |(caller, _)| call(*caller)).map(|(_, site)| *site)
    }

    /// The chain of a call under the chain of its caller.
    pub(super) fn add(&mut self, caller: ChainId, site: Site) -> ChainId {
        self.calls.push((caller, site));
        ChainId(self.calls.len() as u32)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Codes all chains from this one on.
    pub(super) fn coded_from(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, (caller, site)) in self.calls.iter().enumerate().skip(from) {
            put(&mut bytes, at as u64 + 1 - u64::from(caller.0));
            let before = at.checked_sub(1).map_or(0, |before| self.calls[before].1.0);
            put(&mut bytes, zigzag(site.0.wrapping_sub(before)));
        }
        bytes
    }

    /// Takes the chains of one block.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<(), Nonsense> {
        let mut bytes = Bytes(bytes);
        while !bytes.0.is_empty() {
            let back: u32 = bytes.small()?;
            let caller = (self.calls.len() as u32 + 1).checked_sub(back).filter(|_| back > 0).ok_or(Nonsense)?;
            let before = self.calls.last().map_or(0, |(_, site)| site.0);
            let site = Site(before.wrapping_add(unzigzag(bytes.number()?)));
            if self.calls.len() == MOST {
                return Err(Nonsense);
            }
            self.calls.push((ChainId(caller), site));
        }
        Ok(())
    }
}
