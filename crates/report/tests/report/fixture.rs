//! The run that the tests of this folder report on: one finding of each class, with names for the kernel's code.

use congruent_arch::{Arch, Endian};
use congruent_geometry::{Behaviour, CacheGeometry, PhysAddr, VirtAddr, preset};
use congruent_report::{Chain, Chains, Outcome, Report, Run, Symbols};
use congruent_shadow::{
    Consequence, Contexts, Effect, Example, Finding, HazardClass, OnCpus, Party, PartyKind, PastMaintenance, Side, Stats,
};
use congruent_trace::{Context, Maintenance, Site};

pub const KALLSYMS: &[u8] = b"80100000 T _text
80100000 T copy_user_highpage
80100200 t r4k_flush_data_cache_page
80100300 T __kmap_pgprot
80100400 T mips_dma_cache_sync
80100500 T __copy_user
80100700 T clear_page
80100800 T _etext
";

pub fn p5600() -> CacheGeometry {
    preset("p5600").unwrap().geometry
}

pub const STATS: Stats = Stats {
    accesses: 970_123_456,
    fetches: 0,
    uncached: 1_234,
    maintenance: 437_012,
    muted: 0,
    frames: 9_812,
    shadow_bytes: 12 << 20,
    hazards: 1_300,
    taken_as_dropped: 0,
    unseen_writes: 0,
    step: 0,
    sweep: 0,
};

pub fn symbols() -> Symbols {
    let mut symbols = Symbols::default();
    symbols.add(KALLSYMS).unwrap();
    symbols
}

pub fn report(findings: &[Finding], outcome: Outcome, muted: &[&str], symbols: &Symbols) -> Report {
    report_of(findings, &[], outcome, muted, symbols)
}

/// The same with what follows from the findings.
pub fn report_of(
    findings: &[Finding],
    consequences: &[Consequence],
    outcome: Outcome,
    muted: &[&str],
    symbols: &Symbols,
) -> Report {
    let limits = vec![
        "Instruction fetches are not judged.".to_owned(),
        "Device transfers cannot be observed: bytes that a device wrote are taken to be what memory held before.".to_owned(),
    ];
    let muted: Vec<String> = muted.iter().map(|site| (*site).to_owned()).collect();
    let stats = Stats { muted: if muted.is_empty() { 0 } else { 812 }, ..STATS };
    Report::new(
        &Run {
            target: Some(Arch::Mips(Endian::Little)),
            geometry: p5600(),
            behaviour: Behaviour::USUAL,
            stats,
            findings,
            consequences,
            chains: &chains(),
            ledger: None,
            limits,
            muted,
            kernel: None,
            core: None,
            lives: 1,
            injected: None,
            outcome,
        },
        symbols,
    )
}

/// The call chains that the findings of [`one_of_each`] name.
pub fn chains() -> Chains {
    let chain = |program: Option<&str>, callers: &[u32]| Chain {
        program: program.map(str::to_owned),
        callers: callers.iter().copied().map(Site).collect(),
    };
    // The kernel's code is no program's, whatever a source says.
    let in_kernel = chain(Some("kworker/0:1"), &[0x8010_0014, 0x8010_0304, 0x8010_0400, 0x8020_0000]);
    [(Context(1), chain(Some("sh"), &[0x0040_0f00, 0x0040_1000])), (Context(2), in_kernel)].into()
}

pub fn party(kind: PartyKind, site: u32, colour: Option<u16>) -> Party {
    Party { kind, site: Site(site), colour }
}

pub fn past(op: Maintenance, colour: Option<u16>, site: u32, effect: Effect) -> PastMaintenance {
    PastMaintenance { op, side: Side::Data, colour, site: Site(site), effect, muted: false, cpu: None }
}

pub fn found(class: HazardClass, count: u64, consumer: Party, producer: Option<Party>) -> Finding {
    let vaddr = consumer.colour.map(|colour| VirtAddr(0x7fff_0010 + u64::from(colour) * 0x1000));
    let example = Example { vaddr, paddr: PhysAddr(0x0123_4010), bytes: 4 };
    Finding {
        class,
        count,
        consumer,
        producer,
        example,
        maintenance_between: Vec::new(),
        cpus: OnCpus::default(),
        contexts: Contexts::default(),
    }
}

/// One finding of each class, in no particular order.
pub fn one_of_each() -> Vec<Finding> {
    use HazardClass::*;
    use PartyKind::*;
    let user_load = |offset: u32, colour| party(Load, 0x0040_0100 + offset, Some(colour));
    let kernel_store = party(Store, 0x8010_0520, Some(0));
    let mut findings = vec![
        found(WriteUnderDirtyAlias, 3, party(Store, 0x0040_0200, Some(1)), Some(kernel_store)),
        found(ReadDirtyElsewhere, 900, user_load(0, 1), Some(kernel_store)),
        found(ReadStaleCopy, 12, party(Load, 0x8010_0504, Some(0)), Some(party(Store, 0x0040_0300, Some(1)))),
        found(ReadStaleCopy, 40, user_load(4, 1), Some(party(Dma, 2, None))),
        found(ReadStaleCopy, 41, user_load(8, 1), Some(party(UncachedStore, 0x8010_0310, None))),
        found(ReadLost, 1, user_load(12, 0), Some(party(Store, 0x0040_0400, Some(0)))),
        found(ClobberedNeighbour, 2, user_load(16, 1), None),
        found(DmaReadStale, 5, party(Dma, 1, None), Some(kernel_store)),
        found(DmaWriteUnderDirty, 6, party(Dma, 1, None), Some(kernel_store)),
        found(MixedAttributesRead, 7, party(UncachedLoad, 0x8010_0304, None), Some(kernel_store)),
        found(MixedAttributesWrite, 8, party(UncachedStore, 0x8010_0308, None), Some(kernel_store)),
        found(FetchDirty, 9, party(Fetch, 0x0040_0500, Some(1)), Some(kernel_store)),
        found(FetchStaleCopy, 10, party(Fetch, 0x0040_0504, Some(1)), Some(kernel_store)),
    ];
    findings[1].maintenance_between = vec![
        past(Maintenance::WriteBackInvalidate, Some(0), 0x8010_0210, Effect::WroteBackAndDropped),
        past(Maintenance::WriteBackInvalidate, Some(1), 0x8010_0220, Effect::Nothing),
        PastMaintenance { muted: true, ..past(Maintenance::WriteBack, Some(0), 0x8010_0010, Effect::Nothing) },
        past(Maintenance::WriteBackInvalidate, None, 0x8000_0040, Effect::Nothing),
        past(Maintenance::WriteBack, Some(1), 0x8010_0230, Effect::Nothing),
    ];
    findings[1].contexts = Contexts { consumer: Context(1), producer: Context(2) };
    findings[2].maintenance_between = vec![
        past(Maintenance::WriteBackInvalidate, Some(0), 0x8010_0210, Effect::Dropped),
        past(Maintenance::WriteBack, Some(0), 0x8010_0220, Effect::WroteBack),
        past(Maintenance::WriteBackInvalidate, Some(1), 0x8010_0230, Effect::WroteBackAndDropped),
    ];
    findings[12].maintenance_between = vec![
        PastMaintenance { side: Side::Instruction, ..past(Maintenance::Invalidate, Some(1), 0x8010_0210, Effect::Dropped) },
        past(Maintenance::WriteBack, Some(0), 0x8010_0220, Effect::WroteBack),
    ];
    findings[5].maintenance_between = vec![past(Maintenance::Invalidate, Some(0), 0x8010_0410, Effect::Dropped)];
    findings
}
