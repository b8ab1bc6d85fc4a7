//! A recording gives back what was put in, and no cut or changed byte goes unnoticed.

#![cfg(feature = "file")]

use congruent_geometry::{Behaviour, CacheGeometry, PhysAddr, VirtAddr};
use congruent_trace::file::{
    CallChains, ChainId, Footer, Header, Layout, OpenError, Recorded, RunEnd, VERSION, Validity, Visitor, Writer, append_end,
    chains, pack, play,
};
use congruent_trace::{AccessKind, DmaDirection, Event, IndexForm, Maintenance, On, Operation, Scope, Site, Target};
use proptest::prelude::*;

/// What happened, and the calls it came through, the innermost first.
#[derive(Clone, PartialEq, Debug)]
enum Step {
    Event(Event, Vec<u32>),
    Operation(Recorded, Vec<u32>),
}

#[derive(Default)]
struct Collected {
    steps: Vec<Step>,
    chains: CallChains,
}

impl Collected {
    fn calls(&self, chain: ChainId) -> Vec<u32> {
        self.chains.callers(chain).map(|site| site.0).collect()
    }
}

impl Visitor for Collected {
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site, chain: ChainId) {
        self.event(&Event::Access { kind, vaddr, paddr, size, site }, chain);
    }

    fn operation(&mut self, recorded: &Recorded) {
        self.steps.push(Step::Operation(Recorded { chain: ChainId::NONE, ..*recorded }, self.calls(recorded.chain)));
    }

    fn event(&mut self, event: &Event, chain: ChainId) {
        // Nobody calls a device or changes CPUs.
        let is_called = !matches!(event, Event::Dma { .. } | Event::Space { .. } | Event::Cpu { .. });
        self.steps.push(Step::Event(*event, if is_called { self.calls(chain) } else { Vec::new() }));
    }
}

fn header() -> Header {
    Header {
        version: VERSION,
        target: "mipsel".into(),
        geometry: CacheGeometry::new(32 << 10, 4, 32).unwrap().into(),
        behaviour: Behaviour::USUAL,
        code: None,
        index: IndexForm::WayAboveSet,
        muted: vec!["f".into()],
        qemu_api: 4,
        valid: Validity::OF_FILTER,
    }
}

/// A chain of these calls, the innermost first.
fn chain(writer: &mut Writer<Vec<u8>>, calls: &[u32]) -> ChainId {
    calls.iter().rev().fold(ChainId::NONE, |caller, call| writer.chain(caller, Site(*call)))
}

/// A finished file of these steps, in blocks of at most `block` steps.
fn written(steps: &[Step], block: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for steps in steps.chunks(block) {
        for step in steps {
            match step {
                Step::Event(event, calls) => {
                    let chain = chain(&mut writer, calls);
                    writer.event(0, Some(chain), event).unwrap();
                }
                Step::Operation(recorded, calls) => {
                    let chain = chain(&mut writer, calls);
                    writer.operation(&Recorded { chain, ..*recorded }).unwrap();
                }
            }
        }
        writer.flush().unwrap();
    }
    let mut file = writer.finish(Footer { accesses: 7, ..Footer::default() }).unwrap();
    append_end(&mut file, &RunEnd { incomplete_because: None }).unwrap();
    file
}

fn read(file: &[u8]) -> (Layout<'_>, Vec<Step>) {
    let layout = Layout::of(file).unwrap();
    let mut collected = Collected { chains: chains(&layout).unwrap_or_default(), steps: Vec::new() };
    let _ = play(&layout, &mut collected);
    (layout, collected.steps)
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(AccessKind::Load), Just(AccessKind::Store)];
    let site = prop_oneof![(0u32..4).prop_map(|n| Site(0x8000_0000 + 4 * n)), any::<u32>().prop_map(Site)];
    let on = prop_oneof![
        Just(On::Data(Maintenance::WriteBack)),
        Just(On::Data(Maintenance::Invalidate)),
        Just(On::Data(Maintenance::WriteBackInvalidate)),
        Just(On::Code),
    ];
    // Near one another, or anywhere; and some that no 32-bit guest has.
    let address = prop_oneof![
        4 => (0u64..4, 0u64..64).prop_map(|(page, word)| (page << 12 | word << 2, (page ^ 1) << 12 | word << 2)),
        1 => (any::<u32>(), 0u64..1 << 30).prop_map(|(v, frame)| (u64::from(v), frame << 12 | u64::from(v & 0xfff))),
        1 => (any::<u64>(), any::<u64>()),
    ];
    let size = prop_oneof![Just(4u32), 1u32..64];
    (kind, site, on, address, size, any::<bool>(), 0..14, proptest::collection::vec(any::<u32>(), 0..5)).prop_map(
        |(kind, site, on, (vaddr, paddr), size, flag, what, calls)| {
            let (v, p) = (VirtAddr(vaddr), PhysAddr(paddr));
            let recorded = |operation| Recorded { operation, chain: ChainId::NONE, muted: flag };
            let operation = |target| Step::Operation(recorded(Operation { on, target, site }), calls.clone());
            let called = |event| Step::Event(event, calls.clone());
            let alone = |event| Step::Event(event, Vec::new());
            let direction = if flag { DmaDirection::Read } else { DmaDirection::Write };
            match what {
                0 | 1 => operation(Target::Bytes { vaddr: v, paddr: p, bytes: 1 }),
                2 => operation(Target::Index(vaddr as u32)),
                3 => operation(Target::Whole),
                4 => called(Event::Uncached { kind, paddr: p, size, site }),
                5 => called(Event::Prefetch { vaddr: v, paddr: p, site }),
                6 => alone(Event::Dma { direction, paddr: p, len: vaddr, site }),
                7 | 8 => called(Event::Fetch { vaddr: v, paddr: p, size, site }),
                9 if flag => alone(Event::Space { space: size }),
                9 => alone(Event::Cpu { cpu: size as u16 }),
                _ => called(Event::Access { kind, vaddr: v, paddr: p, size, site }),
            }
        },
    )
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(steps in proptest::collection::vec(step(), 0..200), block in 1usize..300) {
        let file = written(&steps, block);
        let (layout, read) = read(&file);
        prop_assert!(layout.is_whole());
        prop_assert_eq!(&read, &steps);
        let packed = pack(&layout).unwrap().unwrap();
        let (layout_of_packed, read) = self::read(&packed);
        prop_assert_eq!((layout_of_packed.footer, layout_of_packed.end), (layout.footer, layout.end));
        prop_assert_eq!(read, steps);
    }
}

/// Runs of accesses and operations as programs make them, in several blocks.
fn sample() -> Vec<u8> {
    let access = |n: u64| {
        let (vaddr, paddr) = (VirtAddr(0x8000_0000 + 4 * n), PhysAddr(4 * n));
        let event = Event::Access { kind: AccessKind::Store, vaddr, paddr, size: 4, site: Site(0x8000_1000) };
        Step::Event(event, vec![n as u32 / 16])
    };
    let operation = |n: u32| {
        let operation = Operation { on: On::Data(Maintenance::WriteBack), target: Target::Index(32 * n), site: Site(8) };
        Step::Operation(Recorded { operation, chain: ChainId::NONE, muted: false }, vec![1, 2])
    };
    let steps: Vec<Step> = (0..40).map(access).chain((0..20).map(operation)).collect();
    written(&steps, 25)
}

#[test]
fn a_file_that_is_cut_anywhere_is_not_taken_for_whole_and_what_comes_before_is_there() {
    let file = sample();
    let (_, all) = read(&file);
    for length in 0..file.len() {
        match Layout::of(&file[..length]) {
            Err(OpenError::NotARecording) => assert!(length < 16),
            Err(OpenError::Header(damage)) => assert!(damage.position <= length as u64),
            Err(other) => panic!("{other}"),
            Ok(layout) => {
                assert!(!(layout.is_whole() && layout.end.is_some()), "cut at {length}");
                assert!(layout.damage.as_ref().is_none_or(|damage| damage.position <= length as u64));
                assert!(all.starts_with(&read(&file[..length]).1), "cut at {length}");
            }
        }
    }
}

#[test]
fn what_is_kept_late_is_read_at_the_end_of_its_era() {
    let access = |n: u64| Event::Access {
        kind: AccessKind::Store,
        vaddr: VirtAddr(0x8000_0000 + 4 * n),
        paddr: PhysAddr(4 * n),
        size: 4,
        site: Site(0x8000_1000),
    };
    let operation = |n: u32| Recorded {
        operation: Operation { on: On::Data(Maintenance::WriteBack), target: Target::Index(32 * n), site: Site(8) },
        chain: ChainId::NONE,
        muted: false,
    };
    for flushes in [false, true] {
        let mut writer = Writer::new(Vec::new(), &header()).unwrap();
        let flush = |writer: &mut Writer<Vec<u8>>| {
            if flushes {
                writer.flush().unwrap()
            }
        };
        writer.operation(&operation(0)).unwrap();
        writer.event(0, None, &access(0)).unwrap();
        flush(&mut writer);
        writer.operation(&operation(1)).unwrap();
        // Of the first era, and of the one before now.
        writer.event(2, None, &access(1)).unwrap();
        writer.event(1, None, &access(2)).unwrap();
        flush(&mut writer);
        writer.event(0, None, &Event::Cpu { cpu: 1 }).unwrap();
        writer.event(3, None, &access(3)).unwrap();
        writer.event(1, None, &access(4)).unwrap();
        writer.event(0, None, &access(5)).unwrap();
        let file = writer.finish(Footer::default()).unwrap();
        let event = |n| Step::Event(access(n), vec![]);
        let operation = |n| Step::Operation(operation(n), vec![]);
        let expected = vec![
            event(1),
            event(3),
            operation(0),
            event(0),
            event(2),
            operation(1),
            event(4),
            Step::Event(Event::Cpu { cpu: 1 }, vec![]),
            event(5),
        ];
        assert_eq!(read(&file).1, expected, "flushed in between: {flushes}");
    }
}

#[test]
fn every_changed_bit_is_noticed_and_its_block_named() {
    let file = sample();
    for bit in 0..file.len() * 8 {
        let mut changed = file.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        if let Ok(layout) = Layout::of(&changed) {
            let damage = layout.damage.unwrap_or_else(|| panic!("bit {bit} was changed and nothing noticed"));
            assert!(damage.position <= bit as u64 / 8, "bit {bit}: {damage}");
        }
    }
}

#[test]
fn another_version_is_named() {
    let file = Writer::new(Vec::new(), &Header { version: 9, ..header() }).unwrap().finish(Footer::default()).unwrap();
    assert_eq!(Layout::of(&file).unwrap_err(), OpenError::Version(9));
}

#[test]
fn one_operation_on_bytes_covers_every_line_that_holds_one_of_them() {
    let target = Target::Bytes { vaddr: VirtAddr(0x1014), paddr: PhysAddr(0x2014), bytes: 0x30 };
    let operation = Operation { on: On::Data(Maintenance::WriteBack), target, site: Site(0) };
    for (line, lines) in [(16, vec![0x2014, 0x2020, 0x2030, 0x2040]), (32, vec![0x2014, 0x2020, 0x2040]), (128, vec![0x2014])] {
        let cache = CacheGeometry::new(32 << 10, 4, line).unwrap();
        let events = operation.events(&cache, IndexForm::WayAboveSet).map(|event| match event {
            Event::Maintain { scope: Scope::Line { vaddr, paddr }, .. } => {
                assert_eq!(vaddr.0 + 0x1000, paddr.0);
                paddr.0
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(events.collect::<Vec<_>>(), lines, "lines of {line} bytes");
    }
}
