//! A recording gives back what was put in, and no cut or changed byte goes unnoticed.

#![cfg(feature = "file")]

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_trace::file::{
    ChainId, Footer, Header, Layout, OpenError, Operation, RunEnd, Target, VERSION, Validity, Visitor, Writer, append_end, pack,
    play,
};
use congruent_trace::{AccessKind, DmaDirection, Event, IndexForm, Maintenance, Scope, Site};
use proptest::prelude::*;

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Event(Event),
    Operation(Operation, Vec<u32>),
}

#[derive(Default)]
struct Collected(Vec<Step>);

impl Visitor for Collected {
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site) {
        self.0.push(Step::Event(Event::Access { kind, vaddr, paddr, size, site }));
    }

    fn operation(&mut self, operation: &Operation, chain: &[u32]) {
        self.0.push(Step::Operation(Operation { chain: ChainId(0), ..*operation }, chain.to_vec()));
    }

    fn event(&mut self, event: &Event) {
        self.0.push(Step::Event(*event));
    }
}

fn header() -> Header {
    Header {
        version: VERSION,
        target: "mipsel".into(),
        geometry: CacheGeometry::new(32 << 10, 4, 32).unwrap().into(),
        index: IndexForm::WayAboveSet,
        muted: vec!["f".into()],
        qemu_api: 4,
        valid: Validity::OF_FILTER,
    }
}

/// A finished file of these steps, in blocks of at most `block` steps.
fn written(steps: &[Step], block: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for steps in steps.chunks(block) {
        for step in steps {
            match step {
                Step::Event(event) => writer.event(0, event).unwrap(),
                Step::Operation(operation, calls) => {
                    let chain = writer.chain(calls);
                    writer.operation(&Operation { chain, ..*operation }).unwrap();
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
    let mut collected = Collected::default();
    let _ = play(&layout, &mut collected);
    (layout, collected.0)
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(AccessKind::Load), Just(AccessKind::Store)];
    let site = prop_oneof![(0u32..4).prop_map(|n| Site(0x8000_0000 + 4 * n)), any::<u32>().prop_map(Site)];
    let op = prop_oneof![Just(Maintenance::WriteBack), Just(Maintenance::Invalidate), Just(Maintenance::WriteBackInvalidate)];
    // Near one another, or anywhere; and some that no 32-bit guest has.
    let address = prop_oneof![
        4 => (0u64..4, 0u64..64).prop_map(|(page, word)| (page << 12 | word << 2, (page ^ 1) << 12 | word << 2)),
        1 => (any::<u32>(), 0u64..1 << 30).prop_map(|(v, frame)| (u64::from(v), frame << 12 | u64::from(v & 0xfff))),
        1 => (any::<u64>(), any::<u64>()),
    ];
    let size = prop_oneof![Just(4u32), 1u32..64];
    (kind, site, op, address, size, any::<bool>(), 0..14, proptest::collection::vec(any::<u32>(), 0..5)).prop_map(
        |(kind, site, op, (vaddr, paddr), size, flag, what, calls)| {
            let (v, p) = (VirtAddr(vaddr), PhysAddr(paddr));
            let operation =
                |target| Step::Operation(Operation { op, target, site, chain: ChainId(0), muted: flag }, calls.clone());
            let scope = if flag { Scope::Line { vaddr: v, paddr: p } } else { Scope::Whole };
            let direction = if flag { DmaDirection::Read } else { DmaDirection::Write };
            match what {
                0 | 1 => operation(Target::Bytes { vaddr: v, paddr: p, bytes: 1 }),
                2 => operation(Target::Index(vaddr as u32)),
                3 => operation(Target::Whole),
                4 => Step::Event(Event::Uncached { kind, paddr: p, size, site }),
                5 => Step::Event(Event::Prefetch { vaddr: v, paddr: p, site }),
                6 => Step::Event(Event::Dma { direction, paddr: p, len: vaddr, site }),
                7 => Step::Event(Event::Fetch { vaddr: v, paddr: p, size, site }),
                8 => Step::Event(Event::MaintainCode { scope, site }),
                9 if flag => Step::Event(Event::Space { space: size }),
                9 => Step::Event(Event::Cpu { cpu: size as u16 }),
                _ => Step::Event(Event::Access { kind, vaddr: v, paddr: p, size, site }),
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
        Step::Event(Event::Access { kind: AccessKind::Store, vaddr, paddr, size: 4, site: Site(0x8000_1000) })
    };
    let operation = |n: u32| {
        let operation = Operation {
            op: Maintenance::WriteBack,
            target: Target::Index(32 * n),
            site: Site(8),
            chain: ChainId(0),
            muted: false,
        };
        Step::Operation(operation, vec![1, 2])
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
    let operation = |n: u32| Operation {
        op: Maintenance::WriteBack,
        target: Target::Index(32 * n),
        site: Site(8),
        chain: ChainId(0),
        muted: false,
    };
    for flushes in [false, true] {
        let mut writer = Writer::new(Vec::new(), &header()).unwrap();
        writer.chain(&[]);
        let flush = |writer: &mut Writer<Vec<u8>>| {
            if flushes {
                writer.flush().unwrap()
            }
        };
        writer.operation(&operation(0)).unwrap();
        writer.event(0, &access(0)).unwrap();
        flush(&mut writer);
        writer.operation(&operation(1)).unwrap();
        // Of the first era, and of the one before now.
        writer.event(2, &access(1)).unwrap();
        writer.event(1, &access(2)).unwrap();
        flush(&mut writer);
        writer.event(0, &Event::Cpu { cpu: 1 }).unwrap();
        writer.event(3, &access(3)).unwrap();
        writer.event(1, &access(4)).unwrap();
        writer.event(0, &access(5)).unwrap();
        let file = writer.finish(Footer::default()).unwrap();
        let event = |n| Step::Event(access(n));
        let operation = |n| Step::Operation(operation(n), vec![]);
        let expected = vec![
            event(1),
            event(3),
            operation(0),
            event(0),
            event(2),
            operation(1),
            event(4),
            Step::Event(Event::Cpu { cpu: 1 }),
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
    let operation = Operation { op: Maintenance::WriteBack, target, site: Site(0), chain: ChainId(0), muted: false };
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
