//! The computer, one behaviour at a time: what its caches return, what its TLBs remember, what its devices move.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use congruent_geometry::{CacheGeometry, Frame, PhysAddr, VirtAddr};
use congruent_machine::{
    Asid, CacheConfig, Config, Damaged, Disk, DiskErrorReason, Fault, FaultKind, Indexing, L2Config, Machine, Mapping, Medium,
    MediumError, NoSuchMemory, Progress, Refill, Replacement, Rights, SECTOR, Sink, Writes, interleave,
};
use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, Scope, Site};

const PAGE: u64 = 4096;

/// Page tables that tests write into.
#[derive(Clone, Default)]
struct Tables(Rc<RefCell<BTreeMap<(u16, u64), Mapping>>>);

impl Tables {
    fn map(&self, asid: u16, vaddr: u64, mapping: Mapping) {
        self.0.borrow_mut().insert((asid, vaddr), mapping);
    }
}

impl Refill for Tables {
    fn refill(&mut self, _: usize, asid: Asid, page: VirtAddr) -> Option<Mapping> {
        self.0.borrow().get(&(asid.0, page.0)).copied()
    }
}

/// 32 KiB, 4 ways, 32-byte lines: 2 colours.
fn geometry() -> CacheGeometry {
    CacheGeometry::new(32 << 10, 4, 32).unwrap()
}

/// Frame 1 at both colours (0x10000, 0x11000), frame 2 at colour 0 (0x20000), frame 1 uncached (0x30000).
fn tables() -> Tables {
    let tables = Tables::default();
    tables.map(0, 0x10000, Mapping::new(Frame(1), Rights::ALL));
    tables.map(0, 0x11000, Mapping::new(Frame(1), Rights::ALL));
    tables.map(0, 0x20000, Mapping::new(Frame(2), Rights::ALL));
    tables.map(0, 0x30000, Mapping::new(Frame(1), Rights::ALL).uncached());
    tables
}

fn config() -> Config {
    Config::new(geometry(), 64)
}

fn machine(config: Config) -> Machine<Tables, Vec<Event>> {
    Machine::with_sink(config, tables(), Vec::new()).unwrap()
}

const EVEN: VirtAddr = VirtAddr(0x10040);
const ODD: VirtAddr = VirtAddr(0x11040);

#[test]
fn a_store_through_one_colour_is_not_seen_through_the_other_until_both_are_maintained() {
    let mut m = machine(config());
    assert_eq!(m.load(0, ODD, 4), Ok(0));
    m.store(0, EVEN, 4, 0x1234).unwrap();
    assert_eq!(m.load(0, EVEN, 4), Ok(0x1234));
    assert_eq!(m.load(0, ODD, 4), Ok(0), "the copy from before");
    m.maintain(0, Maintenance::WriteBack, EVEN).unwrap();
    assert_eq!(m.load(0, ODD, 4), Ok(0), "memory is right, the copy is not");
    m.maintain(0, Maintenance::Invalidate, ODD).unwrap();
    assert_eq!(m.load(0, ODD, 4), Ok(0x1234));
}

#[test]
fn a_physically_indexed_cache_has_no_aliases() {
    let data = CacheConfig { indexing: Indexing::Pipt, ..CacheConfig::new(geometry()) };
    let mut m = machine(Config { data, ..config() });
    m.load(0, ODD, 4).unwrap();
    m.store(0, EVEN, 4, 0x1234).unwrap();
    assert_eq!(m.load(0, ODD, 4), Ok(0x1234));
}

#[test]
fn a_virtually_tagged_cache_takes_every_mapping_for_another_memory() {
    let tables = tables();
    // Congruent with EVEN: a VIPT cache would find the line.
    tables.map(0, 0x12000, Mapping::new(Frame(1), Rights::ALL));
    tables.map(1, 0x10000, Mapping::new(Frame(1), Rights::ALL));
    tables.map(0, 0x40000, Mapping::new(Frame(3), Rights::ALL).global());
    tables.map(1, 0x40000, Mapping::new(Frame(3), Rights::ALL).global());
    let congruent = VirtAddr(0x12040);
    for (indexing, seen) in [(Indexing::Vipt, 7), (Indexing::Vivt, 0)] {
        let data = CacheConfig { indexing, ..CacheConfig::new(geometry()) };
        let mut m = Machine::new(Config { data, ..config() }, tables.clone()).unwrap();
        m.store(0, EVEN, 1, 7).unwrap();
        assert_eq!(m.load(0, congruent, 1), Ok(seen), "{indexing:?}, another address");
        m.store(0, VirtAddr(0x40040), 1, 9).unwrap();
        m.set_asid(0, Asid(1));
        assert_eq!(m.load(0, EVEN, 1), Ok(seen), "{indexing:?}, another address space");
        assert_eq!(m.load(0, VirtAddr(0x40040), 1), Ok(9), "{indexing:?}, a global mapping");
    }
}

#[test]
fn a_virtually_tagged_line_is_written_back_to_where_it_came_from() {
    let data = CacheConfig { indexing: Indexing::Vivt, ..CacheConfig::new(geometry()) };
    let mut m = machine(Config { data, ..config() });
    m.store(0, EVEN, 2, 0xabcd).unwrap();
    m.maintain_whole(0, Maintenance::WriteBack);
    let mut bytes = [0; 2];
    m.memory().read(PhysAddr(0x1040), &mut bytes);
    assert_eq!(bytes, [0xcd, 0xab]);
}

#[test]
fn stores_reach_memory_when_the_policy_says() {
    let in_memory = |m: &Machine<Tables, Vec<Event>>| {
        let mut byte = [0];
        m.memory().read(PhysAddr(0x1040), &mut byte);
        byte[0]
    };
    for (writes, write_allocate, after_miss, after_hit) in
        [(Writes::Back, true, 0, 0), (Writes::Back, false, 1, 1), (Writes::Through, true, 1, 2), (Writes::Through, false, 1, 2)]
    {
        let data = CacheConfig { writes, write_allocate, ..CacheConfig::new(geometry()) };
        let mut m = machine(Config { data, ..config() });
        m.store(0, EVEN, 1, 1).unwrap();
        assert_eq!(in_memory(&m), after_miss, "{writes:?} {write_allocate}: miss");
        assert_eq!(m.load(0, EVEN, 1), Ok(1));
        m.store(0, EVEN, 1, 2).unwrap();
        assert_eq!(in_memory(&m), after_hit, "{writes:?} {write_allocate}: hit");
        assert_eq!(m.load(0, EVEN, 1), Ok(2));
        assert_eq!(m.is_dirty_anywhere(PhysAddr(0x1040)), after_hit != 2);
        m.maintain(0, Maintenance::WriteBack, EVEN).unwrap();
        assert_eq!(in_memory(&m), 2);
    }
}

#[test]
fn the_whole_line_is_written_back_or_half_of_it_where_dirty_bits_are_for_halves() {
    for (unit, neighbour) in [(32, 0), (16, 5)] {
        let data = CacheConfig::new(geometry().with_write_back_unit(unit).unwrap());
        let mut m = machine(Config { data, ..config() });
        m.store(0, EVEN, 1, 1).unwrap();
        // A device writes the other half of the line.
        m.device_writes(Site(1), PhysAddr(0x1050), &[5]).unwrap();
        m.maintain(0, Maintenance::WriteBackInvalidate, EVEN).unwrap();
        assert_eq!(m.load(0, VirtAddr(0x10050), 1), Ok(neighbour), "unit {unit}");
    }
}

#[test]
fn invalidation_discards_what_was_not_written_back() {
    let mut m = machine(config());
    m.store(0, EVEN, 4, 1).unwrap();
    m.maintain(0, Maintenance::Invalidate, EVEN).unwrap();
    assert_eq!(m.load(0, EVEN, 4), Ok(0));
}

#[test]
fn maintenance_by_index_takes_one_way_of_one_set() {
    let mut m = machine(config());
    m.store(0, EVEN, 4, 1).unwrap();
    let set = m.geometry().set(EVEN);
    let other = m.geometry().set(ODD);
    for way in 0..4 {
        m.maintain_index(0, Maintenance::WriteBackInvalidate, other, way);
    }
    m.maintain_index(0, Maintenance::WriteBackInvalidate, 9999, 0);
    assert!(m.is_dirty_anywhere(PhysAddr(0x1040)), "another set was maintained");
    for way in 0..4 {
        m.maintain_index(0, Maintenance::WriteBackInvalidate, set, way);
    }
    assert!(!m.is_dirty_anywhere(PhysAddr(0x1040)));
    assert_eq!(m.load(0, ODD, 4), Ok(1));
}

#[test]
fn accesses_of_every_size_and_offset_return_what_was_stored() {
    let tables = tables();
    tables.map(0, 0x21000, Mapping::new(Frame(3), Rights::ALL));
    for replacement in [Replacement::Lru, Replacement::Random, Replacement::Adversarial] {
        let mut m = Machine::new(Config { replacement, ..config() }, tables.clone()).unwrap();
        for size in 1..=8u32 {
            // Across a line and across a page.
            for start in [0x20010u64, 0x2001c, 0x20ffc] {
                for vaddr in (start..start + 8).map(VirtAddr) {
                    let value = 0x8877_6655_4433_2211_u64.rotate_left(vaddr.0 as u32 % 64) & (u64::MAX >> (64 - 8 * size));
                    m.store(0, vaddr, size, value).unwrap();
                    assert_eq!(m.load(0, vaddr, size), Ok(value));
                    let mut bytes = [0; 8];
                    m.read(0, vaddr, &mut bytes[..size as usize]).unwrap();
                    assert_eq!(u64::from_le_bytes(bytes), value);
                }
            }
        }
    }
}

#[test]
fn bulk_transfers_go_line_by_line() {
    let mut m = machine(config());
    let bytes: Vec<u8> = (0..100).collect();
    m.write(0, VirtAddr(0x10010), &bytes).unwrap();
    m.copy(0, VirtAddr(0x10010), VirtAddr(0x20004), 100).unwrap();
    m.zero(0, VirtAddr(0x20006), 2).unwrap();
    let mut copied = vec![0; 100];
    m.read(0, VirtAddr(0x20004), &mut copied).unwrap();
    assert_eq!(copied[..6], [0, 1, 0, 0, 4, 5]);
    assert_eq!(copied[6..], bytes[6..]);
    let sizes: Vec<u32> = m.sink()[..4]
        .iter()
        .map(|event| match event {
            Event::Access { kind: AccessKind::Store, size, .. } => *size,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [16, 32, 32, 20]);
    let before = m.sink().len();
    m.write(0, VirtAddr(0x10010), &[]).unwrap();
    assert_eq!(m.sink().len(), before);
}

#[test]
fn an_atomic_update_is_a_load_and_a_store() {
    let mut m = machine(config());
    m.store(0, EVEN, 4, 41).unwrap();
    assert_eq!(m.update(0, EVEN, 4, |old| old + 1), Ok(41));
    assert_eq!(m.load(0, EVEN, 4), Ok(42));
    let kinds = m.sink().iter().map(|event| matches!(event, Event::Access { kind: AccessKind::Store, .. }));
    assert_eq!(kinds.collect::<Vec<_>>(), [true, false, true, false]);
}

#[test]
fn uncached_accesses_pass_the_caches_by() {
    let mut m = machine(config());
    let uncached = VirtAddr(0x30040);
    m.store(0, EVEN, 4, 1).unwrap();
    assert_eq!(m.load(0, uncached, 4), Ok(0));
    m.store(0, uncached, 4, 2).unwrap();
    assert_eq!((m.load(0, EVEN, 4), m.load(0, ODD, 4)), (Ok(1), Ok(2)));
    assert_eq!(m.total().uncached, 2);
}

#[test]
fn instructions_are_fetched_through_a_cache_of_their_own() {
    let mut m = machine(config());
    assert_eq!(m.fetch(0, EVEN, 4), Ok(0));
    m.store(0, EVEN, 4, 0x1234).unwrap();
    assert_eq!(m.fetch(0, EVEN, 4), Ok(0), "the store is in the data cache");
    m.maintain(0, Maintenance::WriteBack, EVEN).unwrap();
    assert_eq!(m.fetch(0, EVEN, 4), Ok(0), "the old instruction is in the instruction cache");
    m.invalidate_code(0, ODD).unwrap();
    assert_eq!(m.fetch(0, EVEN, 4), Ok(0), "another colour was invalidated");
    m.invalidate_code(0, EVEN).unwrap();
    assert_eq!(m.fetch(0, EVEN, 4), Ok(0x1234));
    for (value, invalidate) in [(5, true), (6, false)] {
        m.store(0, EVEN, 4, value).unwrap();
        m.maintain(0, Maintenance::WriteBack, EVEN).unwrap();
        let set = m.geometry().set(EVEN);
        if invalidate {
            (0..4).for_each(|way| m.invalidate_code_index(0, set, way));
        } else {
            m.invalidate_code_whole(0);
        }
        assert_eq!(m.fetch(0, EVEN, 4), Ok(value));
    }
}

#[test]
fn a_prefetch_fills_and_never_faults() {
    let mut m = machine(config());
    m.prefetch(0, EVEN);
    m.prefetch(0, VirtAddr(0xdead_0000));
    m.store(0, VirtAddr(0x30040), 4, 3).unwrap();
    assert_eq!(m.load(0, EVEN, 4), Ok(0), "filled before the uncached store");
    assert_eq!((m.total().prefetch_fills, m.total().load_misses), (1, 0));
}

#[test]
fn faults_are_values_and_leave_memory_as_it_was() {
    let tables = tables();
    tables.map(0, 0x41000, Mapping::new(Frame(5), Rights::READ));
    tables.map(0, 0x40000, Mapping::new(Frame(4), Rights::WRITE));
    tables.map(0, 0x42000, Mapping::new(Frame(64), Rights::WRITE));
    tables.map(0, 0x43000, Mapping::new(Frame(6), Rights { read: false, write: true, execute: false }));
    let mut m = Machine::new(config(), tables).unwrap();
    let fault = |vaddr, kind| Fault { vaddr: VirtAddr(vaddr), kind };
    assert_eq!(m.load(0, VirtAddr(0x50000), 4), Err(fault(0x50000, FaultKind::NotMapped)));
    assert_eq!(m.store(0, VirtAddr(0x41000), 4, 1), Err(fault(0x41000, FaultKind::NotWritable)));
    assert_eq!(m.load(0, VirtAddr(0x43000), 4), Err(fault(0x43000, FaultKind::NotReadable)));
    assert_eq!(m.update(0, VirtAddr(0x43000), 4, |old| old), Err(fault(0x43000, FaultKind::NotReadable)));
    assert_eq!(m.fetch(0, VirtAddr(0x41000), 4), Err(fault(0x41000, FaultKind::NotExecutable)));
    assert_eq!(m.load(0, VirtAddr(0x42000), 4), Err(fault(0x42000, FaultKind::NoMemory(Frame(64)))));
    // The second half of the store is not allowed, so the first is not made.
    assert_eq!(m.store(0, VirtAddr(0x40ffe), 4, u64::MAX), Err(fault(0x41000, FaultKind::NotWritable)));
    assert_eq!(m.load(0, VirtAddr(0x40ffe), 2), Ok(0));
    assert_eq!(m.write(0, VirtAddr(0x40000), &[1; 5000]), Err(fault(0x41000, FaultKind::NotWritable)));
    assert_eq!(m.load(0, VirtAddr(0x40000), 2), Ok(0));
    assert_eq!(m.maintain(0, Maintenance::WriteBack, VirtAddr(0x50000)), Err(fault(0x50000, FaultKind::NotMapped)));
    assert_eq!(m.total().faults, 9);
}

#[test]
fn a_translation_is_used_until_it_is_dropped() {
    let tables = tables();
    let mut m = Machine::new(config(), tables.clone()).unwrap();
    m.store(0, EVEN, 4, 1).unwrap();
    tables.map(0, 0x10000, Mapping::new(Frame(1), Rights::READ));
    assert_eq!(m.store(0, EVEN, 4, 2), Ok(()), "the kernel forgot the TLB");
    m.tlb_drop_page(0, Asid(3), EVEN);
    assert_eq!(m.store(0, EVEN, 4, 3), Ok(()), "the kernel meant another address space");
    m.tlb_drop_page(0, Asid(0), EVEN);
    assert_eq!(m.store(0, EVEN, 4, 4).map_err(|fault| fault.kind), Err(FaultKind::NotWritable));
    assert_eq!(m.total().tlb_refills, 2);
    for drop in [Machine::tlb_drop_all, |m: &mut Machine<_>, cpu| m.tlb_drop_space(cpu, Asid(0))] {
        tables.map(0, 0x10000, Mapping::new(Frame(1), Rights::WRITE));
        drop(&mut m, 0);
        assert_eq!(m.store(0, EVEN, 4, 5), Ok(()));
        tables.map(0, 0x10000, Mapping::new(Frame(1), Rights::READ));
    }
}

#[test]
fn every_access_is_told_with_both_addresses_and_its_site() {
    let mut m = machine(config());
    m.set_site(0, Site(77));
    m.store(0, ODD, 2, 1).unwrap();
    m.load(0, VirtAddr(0x30044), 4).unwrap();
    m.prefetch(0, EVEN);
    m.maintain(0, Maintenance::Invalidate, ODD).unwrap();
    m.maintain_range(0, Maintenance::WriteBack, VirtAddr(0x1001f), 2).unwrap();
    m.maintain_range(0, Maintenance::WriteBack, VirtAddr(0x1001f), 0).unwrap();
    m.maintain_index(0, Maintenance::WriteBack, 3, 1);
    m.maintain_whole(0, Maintenance::WriteBackInvalidate);
    m.device_reads(Site(5), PhysAddr(0x1040), &mut [0; 100]).unwrap();
    let (site, paddr) = (Site(77), PhysAddr(0x1040));
    let by_line = |op, vaddr, paddr| {
        let scope = Scope::Line { vaddr: VirtAddr(vaddr), paddr: PhysAddr(paddr) };
        Event::Maintain { op, scope, site }
    };
    let expected = [
        Event::Access { kind: AccessKind::Store, vaddr: ODD, paddr, size: 2, site },
        Event::Uncached { kind: AccessKind::Load, paddr: PhysAddr(0x1044), size: 4, site },
        Event::Prefetch { vaddr: EVEN, paddr, site },
        by_line(Maintenance::Invalidate, 0x11040, 0x1040),
        by_line(Maintenance::WriteBack, 0x10000, 0x1000),
        by_line(Maintenance::WriteBack, 0x10020, 0x1020),
        Event::Maintain { op: Maintenance::WriteBack, scope: Scope::Index { set: 3, way: 1 }, site },
        Event::Maintain { op: Maintenance::WriteBackInvalidate, scope: Scope::Whole, site },
        Event::Dma { direction: DmaDirection::Read, paddr, len: 100, site: Site(5) },
    ];
    assert_eq!(m.sink()[..], expected);
}

#[test]
fn cpus_agree_through_one_colour_and_not_through_two() {
    for replacement in [Replacement::Lru, Replacement::Adversarial] {
        let mut m = machine(Config { cpus: 3, replacement, ..config() });
        for value in 1..200 {
            let (writer, reader) = (value as usize % 3, (value as usize / 3) % 3);
            m.store(writer, EVEN, 4, value).unwrap();
            assert_eq!(m.load(reader, EVEN, 4), Ok(value), "{replacement:?}");
        }
    }
    let mut m = machine(Config { cpus: 2, ..config() });
    m.store(0, EVEN, 4, 1).unwrap();
    assert_eq!(m.load(1, ODD, 4), Ok(0));
    m.maintain(1, Maintenance::WriteBack, EVEN).unwrap();
    assert_eq!(m.load(1, ODD, 4), Ok(0), "the copy of CPU 1");
    m.maintain(0, Maintenance::Invalidate, ODD).unwrap();
    assert_eq!(m.load(1, ODD, 4), Ok(1), "operations reach all CPUs");
}

#[test]
fn an_operation_by_index_takes_the_copies_of_all_cpus_alike() {
    let mut m = machine(Config { cpus: 2, ..config() });
    // CPU 1 would put the line into another way, if it did not come from CPU 0.
    m.load(1, VirtAddr(0x20040), 4).unwrap();
    m.load(0, EVEN, 4).unwrap();
    m.load(1, EVEN, 4).unwrap();
    m.store(0, VirtAddr(0x30040), 4, 5).unwrap();
    assert_eq!((m.load(0, EVEN, 4), m.load(1, EVEN, 4)), (Ok(0), Ok(0)), "the copies from before");
    m.maintain_index(1, Maintenance::Invalidate, m.geometry().set(EVEN), 0);
    assert_eq!((m.load(0, EVEN, 4), m.load(1, EVEN, 4)), (Ok(5), Ok(5)));
}

#[test]
fn interleaved_atomic_updates_lose_nothing() {
    for seed in 0..50 {
        let mut m = machine(Config { cpus: 2, replacement: Replacement::Random, seed, ..config() });
        let program = |cpu: usize| {
            let mut left = 50;
            move |m: &mut Machine<Tables, Vec<Event>>| {
                m.update(cpu, EVEN, 4, |old| old + 1).unwrap();
                left -= 1;
                if left == 0 { Progress::Done } else { Progress::Running }
            }
        };
        let (mut a, mut b) = (program(0), program(1));
        assert_eq!(interleave(seed, &mut m, &mut [&mut a, &mut b]), 100);
        assert_eq!(m.load(0, EVEN, 4), Ok(100), "seed {seed}");
    }
}

#[test]
fn a_second_level_changes_costs_and_no_byte() {
    let l2 = Some(L2Config { geometry: CacheGeometry::new(64 << 10, 8, 64).unwrap() });
    let run = |l2| {
        let mut m = machine(Config { l2, ..config() });
        for _ in 0..2 {
            m.store(0, EVEN, 4, 1).unwrap();
            m.device_writes(Site(1), PhysAddr(0x1060), &[9]).unwrap();
            m.load(0, ODD, 4).unwrap();
            m.load(0, VirtAddr(0x10060), 1).unwrap();
            m.maintain_whole(0, Maintenance::WriteBackInvalidate);
        }
        let mut bytes = [0; PAGE as usize];
        m.memory().read(PhysAddr(0x1000), &mut bytes);
        (m.sink().clone(), bytes, m.total().l2_fills + m.total().memory_fills, m.total().l2_fills)
    };
    let (with, without) = (run(l2), run(None));
    assert_eq!((with.0, with.1, with.2), (without.0, without.1, without.2));
    assert_eq!((with.3, without.3), (5, 0), "all but the first fill of the 64-byte line");
}

#[test]
fn the_disk_sees_memory_and_no_cache() {
    let mut m = machine(config());
    let mut disk = Disk::new(vec![0; 8 * SECTOR], Site(1));
    m.store(0, EVEN, 1, 7).unwrap();
    disk.write(&mut m, 2, 1, PhysAddr(0x1000)).unwrap();
    assert_eq!(disk.medium()[2 * SECTOR + 0x40], 0, "the byte is in the cache");
    m.maintain(0, Maintenance::WriteBack, EVEN).unwrap();
    disk.write(&mut m, 2, 1, PhysAddr(0x1000)).unwrap();
    assert_eq!(disk.medium()[2 * SECTOR + 0x40], 7);
    disk.medium_mut()[2 * SECTOR + 0x40] = 8;
    disk.read(&mut m, 2, 1, PhysAddr(0x1000)).unwrap();
    assert_eq!(m.load(0, EVEN, 1), Ok(7), "the copy from before");
    m.maintain(0, Maintenance::Invalidate, EVEN).unwrap();
    assert_eq!(m.load(0, EVEN, 1), Ok(8));
}

#[test]
fn a_transfer_that_fails_says_where_and_keeps_what_was_moved() {
    let mut m = machine(config());
    let mut disk = Disk::new(Damaged::new(vec![3; 4 * SECTOR]), Site(1));
    disk.medium_mut().fail_reads(1, MediumError::Unreadable);
    disk.medium_mut().fail_writes(2, MediumError::Full);
    let error = disk.read(&mut m, 0, 2, PhysAddr(0x2000)).unwrap_err();
    assert_eq!((error.done, error.sector, error.reason), (1, 1, DiskErrorReason::Medium(MediumError::Unreadable)));
    assert_eq!(m.load(0, VirtAddr(0x20000), 1), Ok(3));
    assert_eq!(m.load(0, VirtAddr(0x20200), 1), Ok(0));
    let error = disk.write(&mut m, 2, 1, PhysAddr(0x2200)).unwrap_err();
    assert_eq!(error.to_string(), "no room for sector 2: the medium is full");
    assert_eq!(disk.medium().medium[2 * SECTOR], 3);
    let error = disk.read(&mut m, 3, 2, PhysAddr(0x2000)).unwrap_err();
    assert_eq!((error.done, error.reason), (1, DiskErrorReason::BeyondEnd));
    let error = disk.read(&mut m, 0, 1, PhysAddr(64 * PAGE - 8)).unwrap_err();
    assert!(matches!(error.reason, DiskErrorReason::Memory(NoSuchMemory { len: 512, .. })), "{error}");
    disk.medium_mut().repair();
    assert_eq!(disk.read(&mut m, 0, disk.medium().sectors(), PhysAddr(0x2000)), Ok(()));
}

/// One run of everything that is left to chance.
fn chancy<S: Sink>(seed: u64, sink: S) -> (Machine<Tables, S>, Vec<u64>) {
    let config = Config { replacement: Replacement::Adversarial, cpus: 2, seed, ..config() };
    let mut m = Machine::with_sink(config, tables(), sink).unwrap();
    let mut seen = Vec::new();
    for step in 0..500 {
        let cpu = step as usize % 2;
        m.store(cpu, [EVEN, ODD][step as usize / 2 % 2], 4, step).unwrap();
        seen.push(m.load(cpu, [EVEN, ODD][step as usize / 3 % 2], 4).unwrap());
    }
    (m, seen)
}

#[test]
fn a_seed_decides_everything_whoever_listens() {
    let (first, seen) = chancy(5, Vec::new());
    let (again, seen_again) = chancy(5, Vec::new());
    assert_eq!((first.sink(), first.total(), &seen), (again.sink(), again.total(), &seen_again));
    let (unheard, seen_unheard) = chancy(5, congruent_machine::Ignore);
    assert_eq!((first.total(), &seen), (unheard.total(), &seen_unheard));
    assert_ne!(seen, chancy(6, Vec::new()).1, "another seed, another schedule");
}

/// Tables in which one page is translated without the TLB, and nothing else is mapped.
struct Segment;

impl congruent_machine::Refill for Segment {
    fn refill(&mut self, _: usize, _: Asid, _: VirtAddr) -> Option<Mapping> {
        None
    }

    fn direct(&self, page: VirtAddr) -> Option<Mapping> {
        (page == VirtAddr(0x8000_0000)).then_some(Mapping::new(Frame(1), Rights::WRITE).global())
    }
}

#[test]
fn a_permanent_mapping_needs_no_tlb() {
    let geometry = CacheGeometry::new(32 << 10, 4, 32).unwrap();
    let mut machine = Machine::new(Config::new(geometry, 4), Segment).unwrap();
    machine.store(0, VirtAddr(0x8000_0010), 4, 7).unwrap();
    assert_eq!(machine.load(0, VirtAddr(0x8000_0010), 4), Ok(7));
    machine.maintain_whole(0, congruent_trace::Maintenance::WriteBack);
    let mut byte = [0];
    machine.memory().read(PhysAddr(0x1010), &mut byte);
    assert_eq!(byte, [7]);
    assert_eq!(machine.total().tlb_refills, 0);
    assert!(machine.load(0, VirtAddr(0x9000_0000), 4).is_err());
}
