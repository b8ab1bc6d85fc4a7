//! Call chains of a recording: a tree in which each chain is a call under the chain of its caller, numbered as they come. Under the
//! outermost caller there may be the program that it belongs to.
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

/// The call chains of a recording.
#[derive(Clone, Debug, Default)]
pub struct CallChains {
    /// The first is chain 1.
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
enum Node {
    /// A call under the chain of its caller.
    Call(ChainId, Site),
    /// A program without a call, by its place in [`Footer::programs`](super::Footer::programs).
    Program(u32),
}

impl Node {
    /// What the number of the next node is written as a difference from.
    fn number(self) -> u32 {
        match self {
            Self::Call(_, site) => site.0,
            Self::Program(program) => program,
        }
    }
}

impl CallChains {
    /// The calls of a chain, the innermost first.
    pub fn callers(&self, chain: ChainId) -> impl Iterator<Item = Site> + '_ {
        self.outwards(chain).filter_map(|node| if let Node::Call(_, site) = node { Some(site) } else { None })
    }

    /// The program that a chain belongs to, by its place in [`Footer::programs`](super::Footer::programs), if it is known.
    #[must_use]
    pub fn program(&self, chain: ChainId) -> Option<u32> {
        self.outwards(chain).find_map(|node| if let Node::Program(program) = node { Some(program) } else { None })
    }

    fn outwards(&self, chain: ChainId) -> impl Iterator<Item = Node> + '_ {
        let node = |chain: ChainId| (chain.0 as usize).checked_sub(1).and_then(|at| self.nodes.get(at)).copied();
        core::iter::successors(node(chain), move |inner| if let Node::Call(caller, _) = inner { node(*caller) } else { None })
    }

    /// The chain of a call under the chain of its caller.
    pub(super) fn add(&mut self, caller: ChainId, site: Site) -> ChainId {
        self.push(Node::Call(caller, site))
    }

    /// The chain without a call of a program.
    pub(super) fn add_program(&mut self, program: u32) -> ChainId {
        self.push(Node::Program(program))
    }

    fn push(&mut self, node: Node) -> ChainId {
        self.nodes.push(node);
        ChainId(self.nodes.len() as u32)
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Codes all chains from this one on.
    pub(super) fn coded_from(&self, from: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().skip(from) {
            let back = if let Node::Call(caller, _) = node { at as u64 + 1 - u64::from(caller.0) } else { 0 };
            put(&mut bytes, back);
            let before = at.checked_sub(1).map_or(0, |before| self.nodes[before].number());
            put(&mut bytes, zigzag(node.number().wrapping_sub(before)));
        }
        bytes
    }

    /// Takes the chains of one block, so many in all at most.
    pub(super) fn decode(&mut self, bytes: &[u8], most: usize) -> Result<(), Nonsense> {
        let mut bytes = Bytes(bytes);
        while !bytes.0.is_empty() {
            let back: u32 = bytes.small()?;
            let caller = (self.nodes.len() as u32 + 1).checked_sub(back).ok_or(Nonsense)?;
            let before = self.nodes.last().map_or(0, |node| node.number());
            let number = before.wrapping_add(unzigzag(bytes.number()?));
            if self.nodes.len() == most {
                return Err(Nonsense);
            }
            self.push(if back == 0 { Node::Program(number) } else { Node::Call(ChainId(caller), Site(number)) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_read_as_they_were_written_with_the_programs_that_they_belong_to() {
        let mut written = CallChains::default();
        let mut read = CallChains::default();
        let mut told = Vec::new();
        for program in [3, 0] {
            let from = written.len();
            let root = written.add_program(program);
            let outer = written.add(root, Site(0x8000_1000));
            let inner = written.add(outer, Site(0x400));
            let nobodys = written.add(ChainId::NONE, Site(0xffff_fff0));
            read.decode(&written.coded_from(from), 100).unwrap();
            told.extend([
                (root, std::vec![], Some(program)),
                (outer, std::vec![0x8000_1000], Some(program)),
                (inner, std::vec![0x400, 0x8000_1000], Some(program)),
                (nobodys, std::vec![0xffff_fff0], None),
            ]);
        }
        for (chain, callers, program) in told {
            assert_eq!(read.callers(chain).map(|site| site.0).collect::<Vec<_>>(), callers);
            assert_eq!(read.program(chain), program);
        }
        assert_eq!((read.callers(ChainId::NONE).count(), read.program(ChainId(9))), (0, None));
        // A caller that comes after the call.
        assert!(read.decode(&[20, 0], 100).is_err());
        // More than there may be.
        assert!(read.decode(&[1, 0], 8).is_err() && read.decode(&[1, 0], 9).is_ok());
    }
}
