//! Numbers for call chains: a tree in which a node is a call site under the chain of its caller, and its place is its number. Under the
//! outermost caller there may be the program that it belongs to.
//!
//! Guarantees: one chain has one number for the whole run; memory is bounded, see [`MOST`].

use congruent_trace::{Context, Site};

/// Chains that are told apart, about 16 bytes each; calls beyond them have none.
const MOST: usize = 4 << 20;

/// In the place of a caller: the node is a program, and its site the program's number.
const PROGRAM: Context = Context(u32::MAX);

/// What a chain adds to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// A call, to the chain of its caller.
    Call { caller: Context, site: Site },
    /// A program without a call, by its number, to none.
    Program(u32),
}

/// A chain: the one of the caller, and the call that it adds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Node {
    caller: Context,
    site: Site,
}

/// As many chains are found again without a look at the table, which no processor's caches hold. A power of two.
const RECENT: usize = 1 << 10;

/// Every chain that was seen.
pub struct Contexts {
    /// By number; the first stands for no chain.
    nodes: Vec<Node>,
    /// Numbers by hash, zero where there is none; at most half full, its length a power of two.
    places: Vec<u32>,
    /// Chains that were asked for last, with their numbers, each where its hash puts it.
    recent: Box<[(Node, Context); RECENT]>,
    full: bool,
}

impl Contexts {
    /// No chain but the empty one.
    pub fn new() -> Self {
        // No program has this number.
        let nobody = Node { caller: PROGRAM, site: Site(u32::MAX) };
        let recent = Box::new([(nobody, Context::NONE); RECENT]);
        Self { nodes: vec![Node::default()], places: vec![0; 1 << 12], recent, full: false }
    }

    /// The chain that a call at `site` makes of its caller's.
    #[inline]
    pub fn called_from(&mut self, caller: Context, site: Site) -> Context {
        let node = Node { caller, site };
        let hash = hash(node);
        // The high bits of a product are its best ones; the table is found by others.
        let recent = (hash >> 14) % RECENT;
        if self.recent[recent].0 == node {
            return self.recent[recent].1;
        }
        let number = self.look_up(node, hash);
        self.recent[recent] = (node, number);
        number
    }

    #[inline(never)]
    fn look_up(&mut self, node: Node, hash: usize) -> Context {
        let mut at = hash;
        loop {
            at &= self.places.len() - 1;
            match self.places[at] {
                0 => return self.add(node, at),
                number if self.nodes[number as usize] == node => return Context(number),
                _ => at += 1,
            }
        }
    }

    /// The chain without a call of this program, which goes by a number.
    pub fn of_program(&mut self, program: u32) -> Context {
        self.called_from(PROGRAM, Site(program))
    }

    #[cold]
    fn add(&mut self, node: Node, at: usize) -> Context {
        if self.nodes.len() >= MOST {
            self.full = true;
            return Context::NONE;
        }
        let number = self.nodes.len() as u32;
        self.nodes.push(node);
        self.places[at] = number;
        if self.nodes.len() * 2 > self.places.len() {
            self.spread();
        }
        Context(number)
    }

    /// Doubles the room for places.
    fn spread(&mut self) {
        let mut places = vec![0; self.places.len() * 2];
        for (number, node) in self.nodes.iter().enumerate().skip(1) {
            let mut at = hash(*node) & (places.len() - 1);
            while places[at] != 0 {
                at = (at + 1) & (places.len() - 1);
            }
            places[at] = number as u32;
        }
        self.places = places;
    }

    /// The call sites of a chain, the innermost first.
    pub fn callers(&self, context: Context) -> impl Iterator<Item = Site> + '_ {
        self.upwards(context).filter(|node| node.caller != PROGRAM).map(|node| node.site)
    }

    /// The program that a chain belongs to, by its number.
    pub fn program(&self, context: Context) -> Option<u32> {
        self.upwards(context).find(|node| node.caller == PROGRAM).map(|node| node.site.0)
    }

    fn upwards(&self, context: Context) -> impl Iterator<Item = &Node> {
        let node = |context: Context| self.nodes.get(context.0 as usize).filter(|_| context != Context::NONE);
        std::iter::successors(node(context), move |below| node(below.caller))
    }

    /// The chains that were told apart since there were `known` of them, in the order of their numbers.
    pub fn since(&self, known: usize) -> impl Iterator<Item = Link> + '_ {
        let told = |node: &Node| match node.caller {
            PROGRAM => Link::Program(node.site.0),
            caller => Link::Call { caller, site: node.site },
        };
        self.nodes[known.max(1).min(self.nodes.len())..].iter().map(told)
    }

    /// Whether there were more chains than are told apart.
    pub fn is_full(&self) -> bool {
        self.full
    }
}

/// Fibonacci hashing of both words.
#[inline]
fn hash(node: Node) -> usize {
    let mixed = (u64::from(node.caller.0) << 32 | u64::from(node.site.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 24 ^ mixed >> 48) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_keeps_its_number_and_its_calls_however_many_there_are() {
        let mut contexts = Contexts::new();
        let chain = |contexts: &mut Contexts, a: u32, b: u32| {
            let outer = contexts.called_from(Context::NONE, Site(a * 4));
            contexts.called_from(outer, Site(b * 4))
        };
        let mut numbers = std::collections::HashMap::new();
        for round in 0..2 {
            for (a, b) in (0..150).flat_map(|a| (0..150).map(move |b| (a, b))) {
                let number = chain(&mut contexts, a, b);
                assert_eq!(*numbers.entry((a, b)).or_insert(number), number, "round {round}");
                assert_eq!(contexts.callers(number).collect::<Vec<_>>(), [Site(b * 4), Site(a * 4)]);
            }
        }
        let distinct: std::collections::HashSet<_> = numbers.values().collect();
        assert_eq!(distinct.len(), 150 * 150);
    }

    #[test]
    fn a_chain_knows_the_program_that_it_belongs_to() {
        let mut contexts = Contexts::new();
        let chains = [0, 1].map(|program| {
            let root = contexts.of_program(program);
            assert_eq!(contexts.callers(root).count(), 0);
            let outer = contexts.called_from(root, Site(0));
            contexts.called_from(outer, Site(8))
        });
        let nobodys = contexts.called_from(Context::NONE, Site(0));
        assert_eq!(chains.map(|chain| contexts.program(chain)), [Some(0), Some(1)]);
        assert_eq!(contexts.program(nobodys), None);
        for chain in chains {
            assert_eq!(contexts.callers(chain).collect::<Vec<_>>(), [Site(8), Site(0)]);
        }
    }

    #[test]
    fn new_calls_are_told_once_in_the_order_of_their_numbers() {
        let mut contexts = Contexts::new();
        let outer = contexts.called_from(Context::NONE, Site(4));
        let told: Vec<_> = contexts.since(0).collect();
        assert_eq!(told, [Link::Call { caller: Context::NONE, site: Site(4) }]);
        contexts.called_from(outer, Site(8));
        contexts.of_program(7);
        assert_eq!(contexts.since(2).collect::<Vec<_>>(), [Link::Call { caller: outer, site: Site(8) }, Link::Program(7)]);
        assert_eq!(contexts.since(4).count(), 0);
    }

    #[test]
    fn no_chain_has_no_callers() {
        let contexts = Contexts::new();
        assert_eq!(contexts.callers(Context::NONE).count(), 0);
        assert_eq!(contexts.callers(Context(u32::MAX)).count(), 0);
    }
}
