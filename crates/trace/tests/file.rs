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
        geometry: CacheGeometry::new(32 << 10, 4, 32).unwrap(),
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
    append_end(&mut file, &RunEnd::default()).unwrap();
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
        // The blocks are others, and what the packed file says of its own has been looked at by `is_whole`.
        let but_for_blocks = |layout: Layout<'_>| (layout.footer.map(|footer| Footer { blocks: None, ..footer }), layout.end);
        prop_assert!(layout_of_packed.is_whole());
        prop_assert_eq!(but_for_blocks(layout_of_packed), but_for_blocks(layout));
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

/// Where each block of a file is.
fn blocks(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut blocks = Vec::new();
    let mut at = 16;
    while at < file.len() {
        let length = u32::from_le_bytes(file[at + 5..at + 9].try_into().unwrap()) as usize;
        blocks.push(at..at + 13 + length);
        at += 13 + length;
    }
    blocks
}

/// Whether a file passes for the recording of a whole run.
fn is_taken_for_whole(file: &[u8]) -> bool {
    let Ok(layout) = Layout::of(file) else { return false };
    let sealed = layout.footer.as_ref().is_some_and(|footer| footer.blocks.is_some());
    let plays = || play(&layout, &mut Counted::default()).is_ok() && chains(&layout).is_ok();
    layout.is_whole() && layout.end.is_some() && sealed && plays()
}

/// Every file that lacks one block, has one twice, or has two in each other's place.
fn with_blocks_moved(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let blocks = blocks(file);
    let of = |order: &[usize]| {
        let mut made = file[..16].to_vec();
        order.iter().for_each(|block| made.extend(&file[blocks[*block].clone()]));
        made
    };
    let all: Vec<usize> = (0..blocks.len()).collect();
    let mut made = Vec::new();
    for at in 0..blocks.len() {
        let mut order = all.clone();
        order.remove(at);
        made.push((format!("block {at} is missing"), of(&order)));
        let mut order = all.clone();
        order.insert(at, at);
        made.push((format!("block {at} is there twice"), of(&order)));
        for other in at + 1..blocks.len() {
            let mut order = all.clone();
            order.swap(at, other);
            made.push((format!("blocks {at} and {other} are exchanged"), of(&order)));
        }
    }
    made
}

#[test]
fn a_block_that_is_missing_doubled_or_exchanged_is_noticed() {
    let file = sample();
    assert!(is_taken_for_whole(&file));
    for (how, made) in with_blocks_moved(&file) {
        assert!(!is_taken_for_whole(&made), "{how}");
    }
}

#[test]
fn the_recordings_of_this_repository_are_whole_and_none_is_with_a_block_missing_doubled_or_exchanged() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recordings");
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "congruent") {
            continue;
        }
        let file = std::fs::read(&path).unwrap();
        assert!(is_taken_for_whole(&file), "{}", path.display());
        for (how, made) in with_blocks_moved(&file) {
            assert!(!is_taken_for_whole(&made), "{}: {how}", path.display());
        }
        tried += 1;
    }
    assert!(tried >= 4, "only {tried} recordings");
}

/// A finished file whose footer is changed so, with all checksums right.
fn with_footer(file: &[u8], change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let blocks = blocks(file);
    let footer = blocks.iter().find(|block| file[block.start] == b'F').unwrap().clone();
    let mut value: serde_json::Value = serde_json::from_slice(&file[footer.start + 13..footer.end]).unwrap();
    change(&mut value);
    let text = serde_json::to_vec(&value).unwrap();
    [&file[..footer.start], &block(b'F', text.len(), &text), &file[footer.end..]].concat()
}

/// The same blocks with a footer that names them, as if a recorder had written them.
fn resealed(file: &[u8]) -> Vec<u8> {
    let mut sums = crc32fast::Hasher::new();
    for block in blocks(file).iter().take_while(|block| file[block.start] != b'F') {
        sums.update(&file[block.start + 9..block.start + 13]);
    }
    let sum = sums.finalize();
    with_footer(file, |footer| footer["blocks"] = sum.into())
}

/// A block with the right checksum.
fn block(kind: u8, length: usize, stored: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend((stored.len() as u32).to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&bytes);
    sum.update(stored);
    bytes.extend(sum.finalize().to_le_bytes());
    bytes.extend(stored);
    bytes
}

#[test]
fn a_footer_that_counts_other_events_than_there_are_is_noticed_and_such_a_file_is_not_packed() {
    let file = sample();
    for events in [0, 59, 61, u64::MAX] {
        let made = with_footer(&file, |footer| footer["events"] = events.into());
        let layout = Layout::of(&made).unwrap();
        assert!(layout.damage.is_none() && play(&layout, &mut Collected::default()).is_err(), "{events} events");
        assert_eq!(pack(&layout).unwrap(), None);
    }
    let older = with_footer(&file, |footer| footer["blocks"] = serde_json::Value::Null);
    assert!(!is_taken_for_whole(&older) && play(&Layout::of(&older).unwrap(), &mut Collected::default()).is_ok());
}

/// A file whose one block of this kind holds these coded bytes, without an end.
fn crafted(kind: u8, coded: &[u8]) -> Vec<u8> {
    let stored = zstd::bulk::compress(coded, 19).unwrap();
    let mut file = Writer::new(Vec::new(), &header()).unwrap().finish(Footer::default()).unwrap();
    file.truncate(blocks(&file)[1].start);
    file.extend(block(kind, coded.len(), &stored));
    file
}

/// Counts what comes.
#[derive(Default)]
struct Counted(u64);

impl Visitor for Counted {
    fn access(&mut self, _: AccessKind, _: VirtAddr, _: PhysAddr, _: u32, _: Site, _: ChainId) {
        self.0 += 1;
    }

    fn operation(&mut self, recorded: &Recorded) {
        let operation = recorded.operation;
        self.0 += 1;
        for line in [16, 128] {
            let lines = operation.events(&CacheGeometry::new(32 << 10, 4, line).unwrap(), IndexForm::WayAboveSet).count();
            assert!(lines <= 4096 / 16, "{operation:?}: {lines} lines");
        }
    }

    fn event(&mut self, _: &Event, _: ChainId) {
        self.0 += 1;
    }
}

#[test]
fn crafted_files_end_within_what_their_size_allows() {
    let number = |mut n: u64| {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    // A store by a new code address to a frame, and 2^32 - 1 like it.
    let first = [&[0x80 | 1 | 2 | 4 | 2 << 4][..], &number(1), &number(8), &number(4 << 2 | 1), &number(8), &number(1)].concat();
    let long_run = [&first[..], &[0x03], &number(u32::MAX.into())].concat();
    let operation = |target: Vec<u8>| [&[0x11, 2][..], &number(1), &number(8), &number(0), &target].concat();
    let wraps = operation([number(u64::MAX - 8), number(u64::MAX - 8), number(4)].concat());
    let whole = [&[0x11, 2 | 2 << 2][..], &number(1), &number(8), &number(0), &[0x10], &number(u32::MAX.into())].concat();
    let many_runs = [&first[..], &[&[0x03][..], &number(u32::MAX.into())].concat().repeat(100)].concat();
    for (name, kind, coded) in [
        ("a run", b'E', long_run.clone()),
        ("many runs", b'E', many_runs.clone()),
        ("late runs", b'L', many_runs),
        ("an operand that wraps", b'E', wraps),
        ("operations on the whole cache", b'E', whole),
    ] {
        let file = crafted(kind, &coded);
        let layout = Layout::of(&file).unwrap();
        let mut counted = Counted::default();
        // The operand is no event of more lines than a page has, whether it is taken or refused; the others are refused.
        let damage = play(&layout, &mut counted).err();
        assert!(name.contains("wraps") || damage.is_some_and(|damage| damage.what.contains("more events")), "{name}");
        assert!(counted.0 <= (1 << 25) + (file.len() as u64) * (1 << 16), "{name}: {} events", counted.0);
    }
}

#[test]
fn changed_recordings_with_right_checksums_end() {
    let file = sample();
    let blocks = blocks(&file);
    let decoded = |at: usize| {
        let block = &file[blocks[at].clone()];
        zstd::bulk::decompress(&block[13..], u32::from_le_bytes(block[1..5].try_into().unwrap()) as usize).unwrap()
    };
    let coded: Vec<usize> = (0..blocks.len()).filter(|at| b"CEL".contains(&file[blocks[*at].start])).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    assert!(is_taken_for_whole(&resealed(&file)));
    let (mut refused, mut taken) = (0, 0);
    for seed in 0..3_000 {
        let at = coded[below(coded.len())];
        let mut content = decoded(at);
        for _ in 0..1 + below(4) {
            let place = below(content.len());
            content[place] = below(256) as u8;
        }
        let stored = zstd::bulk::compress(&content, 1).unwrap();
        let changed = block(file[blocks[at].start], content.len(), &stored);
        let made = [&file[..blocks[at].start], &changed, &file[blocks[at].end..]].concat();
        assert!(!is_taken_for_whole(&made) || content == decoded(at), "change {seed} of block {at}");
        // No checksum shows this one, so everything in it is decoded.
        let made = resealed(&made);
        let layout = Layout::of(&made).unwrap();
        assert_eq!(layout.damage, None, "change {seed} of block {at}");
        let mut counted = Counted::default();
        let is_sense = play(&layout, &mut counted).is_ok() && chains(&layout).is_ok();
        assert!(counted.0 <= layout.footer.as_ref().unwrap().events, "change {seed} of block {at}: {} events", counted.0);
        (refused, taken) = if is_sense { (refused, taken + 1) } else { (refused + 1, taken) };
    }
    assert!(
        refused > 100 && taken > 100,
        "{refused} changes were refused and {taken} were not: the changes are not what they should be"
    );
}
