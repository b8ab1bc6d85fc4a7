//! The judge against the model of every schedule (`congruent-machine`), which shares no code with it.
//!
//! `rules`: the rules alone, for sequences of any length. `sequences`: the whole judge, every sequence up to a length.
//! `homonyms`: the same for virtual tags. `random`: the whole judge, long runs over many lines. `ledger`: what the ledger calls
//! redundant can be left out. `settled`: a fetch that was quiet stays so until it is said.
//! `remedies`: what a finding heals is what its remedy would have healed. `earned`: every report has a schedule that
//! shows the old bytes. `old`, `astray`: those bytes themselves, with physical tags and with virtual ones.

mod astray;
mod earned;
mod homonyms;
mod ledger;
mod old;
mod random;
mod remedies;
mod rules;
mod sequences;
mod settled;

use alloc::vec::Vec;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::{Bypass, CodeShape, Groups, Op, Shape, Step, Verdict};
use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, Scope, Site};

use crate::finding::{Example, HazardClass};
use crate::{AddressReach, CodeCache, Config, Cpus, Shadow};

const MAINTENANCE: [Maintenance; 3] = [Maintenance::WriteBack, Maintenance::Invalidate, Maintenance::WriteBackInvalidate];

/// An instruction cache with this shape's colours and ways, for pages and lines like these.
fn code_cache(shape: CodeShape, data: &CacheGeometry) -> CodeCache {
    let way = data.page() * u32::from(shape.colours).next_power_of_two();
    let geometry = CacheGeometry::with_page(way * u32::from(shape.ways), shape.ways.into(), data.line(), data.page()).unwrap();
    let cache = CodeCache::new(geometry);
    if shape.fills_from_data { cache.filled_from_data() } else { cache }
}

/// A judge of this data cache, written and fetched beside as the shape says.
fn config(data: CacheGeometry, shape: Shape) -> Config {
    let config = Config { writes_through: shape.writes_through, write_allocate: shape.write_allocate, ..Config::new(data) };
    let config = if shape.speculative { config.speculating().unwrap() } else { config };
    let config = shape.code.map_or(config, |code| config.with_code(code_cache(code, &data)).unwrap());
    let by_address = if shape.by_address_reaches_all { AddressReach::All } else { AddressReach::Own };
    config.with_cpus(Cpus { count: shape.cpus.into(), by_address }).unwrap()
}

/// Every event there is for a line of this shape.
fn every_step(shape: Shape) -> Vec<Step> {
    let colours = 0..shape.data_places();
    let mut steps = Vec::new();
    for op in [Op::Load, Op::Store] {
        for groups in 1..1u8 << shape.groups {
            steps.extend(colours.clone().map(|colour| Step::Access(op, colour, groups)));
            steps.extend([Bypass::Uncached, Bypass::Dma].map(|by| Step::Past(by, op, groups)));
        }
    }
    steps.extend(colours.clone().map(Step::Prefetch));
    if let Some(code) = shape.code {
        for through in 0..shape.pages() * shape.cpus {
            steps.extend((1..1u8 << shape.groups).map(|groups| Step::Fetch(through, groups)));
        }
        steps.extend((0..shape.cpus).map(Step::DropCodeWhole));
        // Each colour of each instruction cache once.
        let pages = (0..shape.cpus).flat_map(|cpu| (0..code.colours).map(move |colour| cpu * shape.pages() + colour));
        for colour in pages {
            steps.push(Step::DropCode(colour));
            steps.extend((0..code.ways).map(|way| Step::DropCodeIndex(colour, way)));
        }
    }
    for op in MAINTENANCE {
        steps.extend((0..shape.cpus).map(|cpu| Step::Whole(op, cpu)));
        for colour in colours.clone() {
            steps.push(Step::Maintain(op, colour));
            steps.extend((0..shape.ways).map(|way| Step::Index(op, colour, way)));
        }
    }
    steps
}

/// The CPU that takes a step, where that matters.
fn cpu_of(shape: Shape, step: Step) -> Option<u8> {
    match step {
        Step::Access(_, place, _) | Step::Prefetch(place) | Step::Maintain(_, place) | Step::Index(_, place, _) => {
            Some(place / shape.colours)
        }
        Step::Fetch(through, _) | Step::DropCode(through) | Step::DropCodeIndex(through, _) => Some(through / shape.pages()),
        Step::Whole(_, cpu) | Step::DropCodeWhole(cpu) => Some(cpu),
        Step::Past(..) => None,
    }
}

/// The page number of each of the model's places, the CPUs one after the other.
fn pages_of(shape: Shape, page: impl Fn(usize) -> usize) -> Vec<usize> {
    assert!(shape.cpus == 1 || shape.pages() == shape.colours, "{shape:?}: places and page numbers are told apart");
    (0..usize::from(shape.pages() * shape.cpus)).map(|place| page(place % usize::from(shape.pages()))).collect()
}

/// A line of memory that the model's line stands for.
#[derive(Clone, Copy, Debug)]
struct Place {
    geometry: CacheGeometry,
    /// The instruction cache's, if fetches are judged.
    code: CacheGeometry,
    paddr: PhysAddr,
    /// Bytes in one of the model's groups.
    group: u32,
}

impl Place {
    /// The line `line` of frame `frame`.
    fn new(geometry: CacheGeometry, frame: u64, line: u32, groups: u8) -> Self {
        let paddr = PhysAddr((frame << geometry.page_shift()) + u64::from(line * geometry.line()));
        Self { geometry, code: geometry, paddr, group: geometry.line() / u32::from(groups) }
    }

    /// The same beside an instruction cache of this shape.
    fn with_code(self, code: CacheGeometry) -> Self {
        Self { code, ..self }
    }

    /// An address of the line in this colour. High bits vary with the colour as well, as they do in life.
    fn vaddr(&self, colour: usize) -> VirtAddr {
        let page = u64::from(self.geometry.page());
        let above = (colour as u64 + 3) * page * u64::from(self.geometry.colours().max(self.code.colours()));
        VirtAddr(above + colour as u64 * page + self.paddr.0 % page)
    }

    /// The first byte and the length of a run of groups.
    fn bytes(&self, groups: Groups) -> (u64, u32) {
        let run = groups >> groups.trailing_zeros();
        assert_eq!(run & (run + 1), 0, "{groups:#b} is not one run");
        (u64::from(groups.trailing_zeros() * self.group), groups.count_ones() * self.group)
    }

    /// The step as an event, the model's colours standing for `colours`.
    fn event(&self, step: Step, colours: &[usize], site: Site) -> Event {
        match step {
            Step::Access(op, colour, groups) => {
                let (start, size) = self.bytes(groups);
                let kind = kind(op);
                let vaddr = self.vaddr(colours[usize::from(colour)]).add(start);
                Event::Access { kind, vaddr, paddr: self.paddr.add(start), size, site }
            }
            Step::Prefetch(colour) => {
                Event::Prefetch { vaddr: self.vaddr(colours[usize::from(colour)]), paddr: self.paddr, site }
            }
            Step::Past(Bypass::Uncached, op, groups) => {
                let (start, size) = self.bytes(groups);
                Event::Uncached { kind: kind(op), paddr: self.paddr.add(start), size, site }
            }
            Step::Past(Bypass::Dma, op, groups) => {
                let (start, size) = self.bytes(groups);
                let direction = if op == Op::Load { DmaDirection::Read } else { DmaDirection::Write };
                Event::Dma { direction, paddr: self.paddr.add(start), len: size.into(), site }
            }
            Step::Maintain(op, colour) => {
                let scope = Scope::Line { vaddr: self.vaddr(colours[usize::from(colour)]), paddr: self.paddr };
                Event::Maintain { op, scope, site }
            }
            Step::Index(op, colour, way) => {
                let set = self.geometry.set(self.vaddr(colours[usize::from(colour)]));
                Event::Maintain { op, scope: Scope::Index { set, way: way.into() }, site }
            }
            Step::Whole(op, _) => Event::Maintain { op, scope: Scope::Whole, site },
            Step::Fetch(through, groups) => {
                let (start, size) = self.bytes(groups);
                let vaddr = self.vaddr(colours[usize::from(through)]).add(start);
                Event::Fetch { vaddr, paddr: self.paddr.add(start), size, site }
            }
            Step::DropCode(through) => {
                let scope = Scope::Line { vaddr: self.vaddr(colours[usize::from(through)]), paddr: self.paddr };
                Event::MaintainCode { scope, site }
            }
            Step::DropCodeIndex(through, way) => {
                let set = self.code.set(self.vaddr(colours[usize::from(through)]));
                Event::MaintainCode { scope: Scope::Index { set, way: way.into() }, site }
            }
            Step::DropCodeWhole(_) => Event::MaintainCode { scope: Scope::Whole, site },
        }
    }

    /// The groups of this line that these hazards name, those of reads and those of writes.
    fn named(&self, hazards: &[(HazardClass, Example)]) -> [Groups; 2] {
        let mut named = [0; 2];
        for (class, Example { paddr, bytes, .. }) in hazards {
            if paddr.align_down(self.geometry.line().into()) != self.paddr {
                continue;
            }
            let first = (paddr.0 - self.paddr.0) as u32;
            assert!(
                first.is_multiple_of(self.group) && bytes.is_multiple_of(self.group),
                "{class:?} at {paddr}, {bytes} bytes: part of a group"
            );
            named[usize::from(is_write(*class))] |= ((1 << (bytes / self.group)) - 1) << (first / self.group);
        }
        named
    }

    /// What the model expects to be named.
    fn expected(verdict: Verdict) -> [Groups; 2] {
        [verdict.hit_old | verdict.memory_old, verdict.threatened]
    }
}

fn kind(op: Op) -> AccessKind {
    match op {
        Op::Load => AccessKind::Load,
        Op::Store => AccessKind::Store,
    }
}

/// Whether the hazard threatens what an access stores, rather than what it reads.
fn is_write(class: HazardClass) -> bool {
    matches!(class, HazardClass::WriteUnderDirtyAlias | HazardClass::DmaWriteUnderDirty | HazardClass::MixedAttributesWrite)
}

/// Applies an event and returns every hazard it was found to have.
fn found_by(shadow: &mut Shadow, event: &Event) -> Vec<(HazardClass, Example)> {
    shadow.findings.consequence_log.clear();
    shadow.apply(event);
    core::mem::take(&mut shadow.findings.log)
}

/// The same, and every hazard that follows from those before.
fn all_of(shadow: &mut Shadow, event: &Event) -> Vec<(HazardClass, Example)> {
    let mut found = found_by(shadow, event);
    found.append(&mut shadow.findings.consequence_log);
    found
}
