//! Maintenance as the guest asks for it, before a shape of cache is chosen: once for the judge of a run, the recorder beside it and
//! the judge of a replay, so that all three mean the same lines.
//!
//! Not here: what an instruction's operand leads to, which only the source can tell.

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};

use crate::{Event, IndexForm, Maintenance, Scope, Site};

/// Which cache is maintained, and what is done to it: in the instruction cache, copies can only be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum On {
    /// The data cache.
    Data(Maintenance),
    /// The instruction cache.
    Code,
}

/// Which lines a maintenance operation covers, before a shape of cache is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Target {
    /// The lines that hold these bytes, which lie within one page.
    Bytes {
        /// The first operand, as the instruction had it.
        vaddr: VirtAddr,
        /// What it translates to.
        paddr: PhysAddr,
        /// How many bytes, at least 1.
        bytes: u32,
    },
    /// A set and way, as the instruction had them (see [`IndexForm`]).
    Index(u32),
    /// The whole cache.
    Whole,
}

impl From<Scope> for Target {
    /// A set and way are named as [`IndexForm::Resolved`] has them.
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Line { vaddr, paddr } => Self::Bytes { vaddr, paddr, bytes: 1 },
            Scope::Index { set, way } => Self::Index(IndexForm::resolved(set, way)),
            Scope::Whole => Self::Whole,
        }
    }
}

/// One maintenance operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Operation {
    /// What is done, and in which cache.
    pub on: On,
    /// To which lines.
    pub target: Target,
    /// The instruction.
    pub site: Site,
}

impl Operation {
    /// The operation as events, one for each line. `geometry` is the shape of the cache that is maintained.
    pub fn events(self, geometry: &CacheGeometry, form: IndexForm) -> impl Iterator<Item = Event> + use<> {
        let Self { on, target, site } = self;
        let line = u64::from(geometry.line());
        let (first, lines) = match target {
            Target::Bytes { vaddr, paddr, bytes } => {
                let last = vaddr.0.saturating_add(u64::from(bytes.saturating_sub(1)));
                (Scope::Line { vaddr, paddr }, last / line - vaddr.0 / line + 1)
            }
            Target::Index(operand) => (form.scope(geometry, operand), 1),
            Target::Whole => (Scope::Whole, 1),
        };
        (0..lines).map(move |at| {
            let scope = match first {
                Scope::Line { vaddr, paddr } if at > 0 => {
                    let vaddr_at = (vaddr.0 & !(line - 1)) + at * line;
                    Scope::Line { vaddr: VirtAddr(vaddr_at), paddr: PhysAddr(paddr.0.wrapping_add(vaddr_at - vaddr.0)) }
                }
                other => other,
            };
            match on {
                On::Data(op) => Event::Maintain { op, scope, site },
                On::Code => Event::MaintainCode { scope, site },
            }
        })
    }
}
