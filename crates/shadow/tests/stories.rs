//! One story per hazard class, each with a twin in which the bug is fixed and the judge stays silent.

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_shadow::{AddressReach, CodeCache, Config, Cpus, Effect, HazardClass, PartyKind, Shadow, Side, VirtualTags};
use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, Scope, Site};

/// A judge of a 32 KiB cache with two colours, and one frame that a kernel (colour 0) and a user (colour 1) share.
struct Story(Shadow);

const KERNEL: u64 = 0x8000_4000;
const USER: u64 = 0x0040_1000;
const FRAME: u64 = 0x4000;

impl Story {
    fn new() -> Self {
        Self(Shadow::new(Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap())))
    }

    /// The same, with an instruction cache of two colours.
    fn with_code() -> Self {
        let geometry = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        Self(Shadow::new(Config::new(geometry).with_code(CodeCache::new(geometry)).unwrap()))
    }

    fn fetch(mut self, base: u64, offset: u64, site: u32) -> Self {
        let (vaddr, paddr) = (VirtAddr(base + offset), PhysAddr(FRAME + offset));
        self.0.apply(&Event::Fetch { vaddr, paddr, size: 4, site: Site(site) });
        self
    }

    fn drop_code(mut self, scope: Scope, site: u32) -> Self {
        self.0.apply(&Event::MaintainCode { scope, site: Site(site) });
        self
    }

    /// The same with virtual tags.
    fn with_virtual_tags(tags: VirtualTags) -> Self {
        let geometry = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        Self(Shadow::new(Config::new(geometry).with_virtual_tags(tags).unwrap()))
    }

    /// An access of another frame.
    fn of_other_frame(mut self, kind: AccessKind, vaddr: u64, site: u32) -> Self {
        let paddr = PhysAddr(FRAME + 0x7000);
        self.0.apply(&Event::Access { kind, vaddr: VirtAddr(vaddr), paddr, size: 4, site: Site(site) });
        self
    }

    fn space(mut self, space: u32) -> Self {
        self.0.apply(&Event::Space { space });
        self
    }

    fn access(mut self, kind: AccessKind, base: u64, offset: u64, site: u32) -> Self {
        let (vaddr, paddr) = (VirtAddr(base + offset), PhysAddr(FRAME + offset));
        self.0.apply(&Event::Access { kind, vaddr, paddr, size: 4, site: Site(site) });
        self
    }

    fn load(self, base: u64, offset: u64, site: u32) -> Self {
        self.access(AccessKind::Load, base, offset, site)
    }

    fn store(self, base: u64, offset: u64, site: u32) -> Self {
        self.access(AccessKind::Store, base, offset, site)
    }

    fn uncached(mut self, kind: AccessKind, offset: u64, site: u32) -> Self {
        self.0.apply(&Event::Uncached { kind, paddr: PhysAddr(FRAME + offset), size: 4, site: Site(site) });
        self
    }

    fn maintain(mut self, op: Maintenance, base: u64, site: u32) -> Self {
        let scope = Scope::Line { vaddr: VirtAddr(base), paddr: PhysAddr(FRAME) };
        self.0.apply(&Event::Maintain { op, scope, site: Site(site) });
        self
    }

    fn dma(mut self, direction: DmaDirection, offset: u64, len: u64) -> Self {
        self.0.apply(&Event::Dma { direction, paddr: PhysAddr(FRAME + offset), len, site: Site(77) });
        self
    }

    #[track_caller]
    fn finds(self, class: HazardClass, consumer: u32, producer: u32) -> Shadow {
        let found: Vec<_> =
            self.0.findings().iter().map(|f| (f.class, f.consumer.site.0, f.producer.map(|p| p.site.0))).collect();
        assert_eq!(found, [(class, consumer, Some(producer))]);
        self.0
    }

    #[track_caller]
    fn stays_clean(self) {
        assert_eq!(self.0.findings(), []);
    }
}

use Maintenance::{Invalidate, WriteBack, WriteBackInvalidate};

#[test]
fn a_load_of_bytes_that_are_dirty_in_another_colour_is_found_unless_they_were_written_back() {
    Story::new().store(KERNEL, 0, 1).load(USER, 0, 2).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    Story::new().store(KERNEL, 0, 1).maintain(WriteBack, USER, 3).load(USER, 0, 2).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    Story::new().store(KERNEL, 0, 1).maintain(WriteBack, KERNEL, 3).load(USER, 0, 2).stays_clean();
}

#[test]
fn a_load_of_a_copy_from_before_a_store_is_found_unless_it_was_invalidated() {
    let stale = || Story::new().load(USER, 0, 1).store(KERNEL, 0, 2).maintain(WriteBack, KERNEL, 3);
    let shadow = stale().load(USER, 0, 4).finds(HazardClass::ReadStaleCopy, 4, 2);
    let finding = &shadow.findings()[0];
    assert_eq!((finding.consumer.kind, finding.producer.unwrap().kind), (PartyKind::Load, PartyKind::Store));
    assert_eq!((finding.consumer.colour, finding.producer.unwrap().colour), (Some(1), Some(0)));
    assert_eq!((finding.example.vaddr, finding.example.paddr, finding.example.bytes), (Some(VirtAddr(USER)), PhysAddr(FRAME), 4));
    let done: Vec<_> = finding.maintenance_between.iter().map(|m| (m.op, m.colour, m.site.0, m.effect)).collect();
    assert_eq!(done, [(WriteBack, Some(0), 3, Effect::WroteBack)]);
    stale().maintain(Invalidate, USER, 5).load(USER, 0, 4).stays_clean();
}

#[test]
fn a_load_of_a_neighbour_brings_the_old_bytes_in() {
    Story::new().store(KERNEL, 0, 1).load(USER, 4, 2).maintain(WriteBack, KERNEL, 3).load(USER, 0, 4).finds(
        HazardClass::ReadStaleCopy,
        4,
        1,
    );
}

#[test]
fn a_load_of_discarded_bytes_is_found_unless_a_device_wrote_them_anew() {
    Story::new().store(KERNEL, 0, 1).maintain(Invalidate, KERNEL, 3).load(KERNEL, 0, 4).finds(HazardClass::ReadLost, 4, 1);
    Story::new()
        .store(KERNEL, 0, 1)
        .maintain(Invalidate, KERNEL, 3)
        .dma(DmaDirection::Write, 0, 32)
        .load(KERNEL, 0, 4)
        .stays_clean();
    Story::new().store(KERNEL, 0, 1).maintain(WriteBackInvalidate, KERNEL, 3).load(KERNEL, 0, 4).stays_clean();
}

#[test]
fn a_neighbour_written_back_late_destroys_newer_bytes() {
    Story::new().store(USER, 4, 1).store(KERNEL, 0, 2).load(KERNEL, 0, 3).finds(HazardClass::ClobberedNeighbour, 3, 2);
    Story::new().store(USER, 4, 1).maintain(WriteBackInvalidate, USER, 9).store(KERNEL, 0, 2).load(KERNEL, 0, 3).stays_clean();
}

#[test]
fn a_store_over_bytes_dirty_in_another_colour_is_found() {
    Story::new().store(USER, 0, 1).store(KERNEL, 0, 2).finds(HazardClass::WriteUnderDirtyAlias, 2, 1);
    Story::new().store(USER, 0, 1).maintain(WriteBack, USER, 9).store(KERNEL, 0, 2).stays_clean();
}

#[test]
fn devices_and_uncached_accesses_must_not_meet_dirty_bytes() {
    use HazardClass::*;
    let dirty = || Story::new().store(USER, 0, 1);
    dirty().dma(DmaDirection::Read, 0, 4096).finds(DmaReadStale, 77, 1);
    dirty().dma(DmaDirection::Write, 0, 4096).finds(DmaWriteUnderDirty, 77, 1);
    dirty().uncached(AccessKind::Load, 0, 2).finds(MixedAttributesRead, 2, 1);
    dirty().uncached(AccessKind::Store, 0, 2).finds(MixedAttributesWrite, 2, 1);
    let clean = || dirty().maintain(WriteBackInvalidate, USER, 9);
    clean().dma(DmaDirection::Read, 0, 4096).stays_clean();
    clean().dma(DmaDirection::Write, 0, 4096).load(USER, 0, 3).stays_clean();
    clean().uncached(AccessKind::Load, 0, 2).stays_clean();
    clean().uncached(AccessKind::Store, 0, 2).load(USER, 0, 3).stays_clean();
    dirty().maintain(WriteBack, USER, 9).dma(DmaDirection::Write, 0, 4).load(USER, 0, 3).finds(ReadStaleCopy, 3, 77);
}

#[test]
fn a_muted_operation_does_nothing_and_is_told_of() {
    let mut story = Story::new().store(KERNEL, 0, 1);
    let scope = Scope::Line { vaddr: VirtAddr(KERNEL), paddr: PhysAddr(FRAME) };
    story.0.apply_muted(&Event::Maintain { op: WriteBack, scope, site: Site(3) });
    let shadow = story.load(USER, 0, 2).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    let done: Vec<_> = shadow.findings()[0].maintenance_between.iter().map(|m| (m.site.0, m.effect, m.muted)).collect();
    assert_eq!(done, [(3, Effect::Nothing, true)]);
    assert_eq!((shadow.stats().maintenance, shadow.stats().muted), (1, 1));
}

#[test]
fn a_sweep_by_index_helps_when_it_reached_every_way() {
    let sweep = |mut story: Story, ways: u32| {
        let set = CacheGeometry::new(32 << 10, 4, 32).unwrap().set(VirtAddr(KERNEL));
        for way in 0..ways {
            story.0.apply(&Event::Maintain { op: WriteBackInvalidate, scope: Scope::Index { set, way }, site: Site(3 + way) });
        }
        story
    };
    sweep(Story::new().store(KERNEL, 0, 1), 4).load(USER, 0, 2).stays_clean();
    let shadow = sweep(Story::new().store(KERNEL, 0, 1), 3).load(USER, 0, 2).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    let done: Vec<_> = shadow.findings()[0].maintenance_between.iter().map(|m| (m.op, m.colour, m.effect)).collect();
    assert_eq!(done, [(WriteBackInvalidate, None, Effect::Nothing)], "a sweep is told of once, not once per way");
}

#[test]
fn maintenance_from_before_the_producer_is_not_told_of() {
    let shadow = Story::new()
        .store(KERNEL, 0, 1)
        .maintain(WriteBackInvalidate, KERNEL, 3)
        .store(KERNEL, 0, 1)
        .maintain(WriteBack, USER, 4)
        .load(USER, 0, 2)
        .finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    let done: Vec<_> = shadow.findings()[0].maintenance_between.iter().map(|m| (m.site.0, m.effect)).collect();
    assert_eq!(done, [(4, Effect::Nothing)]);
}

#[test]
fn hazards_of_the_same_parties_are_one_finding_and_other_producers_are_not_hidden() {
    let story = Story::new().store(KERNEL, 0, 1).store(KERNEL, 64, 1).load(USER, 0, 2).load(USER, 64, 2);
    assert_eq!(story.0.findings()[0].count, 2);
    let shadow = story.store(KERNEL, 128, 5).load(USER, 128, 2).0;
    let found: Vec<_> = shadow.findings().iter().map(|f| (f.count, f.producer.unwrap().site.0)).collect();
    assert_eq!(found, [(2, 1), (1, 5)]);
}

#[test]
fn the_bytes_of_one_load_are_traced_to_their_own_producers() {
    let shadow = Story::new().load(USER, 0, 9).store(KERNEL, 0, 1).store(KERNEL, 2, 2).load(USER, 0, 3).0;
    let found: Vec<_> = shadow.findings().iter().map(|f| (f.producer.unwrap().site.0, f.example.bytes)).collect();
    assert_eq!(found, [(1, 2), (2, 2)]);
}

#[test]
fn shadow_memory_is_less_than_half_of_what_the_guest_touched() {
    // Lines of 16 bytes leave room for one in 128 in dispute, 32 bytes for one in 32.
    for (line, disputes) in [(16, 2), (32, 4), (64, 4), (128, 4)] {
        let mut shadow = Shadow::new(Config::new(CacheGeometry::new(32 << 10, 4, line).unwrap()));
        let frames = 8192u64;
        for frame in 0..frames {
            let (here, there) = (frame % 2 * 4096, (frame + 1) % 2 * 4096);
            let mut access = |kind, colour: u64, offset: u64| {
                let (vaddr, paddr) = (VirtAddr(colour + offset), PhysAddr(frame * 3 * 4096 + offset));
                shadow.apply(&Event::Access { kind, vaddr, paddr, size: 4, site: Site(1) });
            };
            for offset in (0..4096u64).step_by(16) {
                access(AccessKind::Store, here, offset);
            }
            for offset in (0..4096u64).step_by(4096 / disputes) {
                access(AccessKind::Load, there, offset);
                access(AccessKind::Store, here, offset);
            }
        }
        let share = shadow.stats().shadow_bytes as f64 / (frames as f64 * 4096.0);
        assert!(share < 0.5, "lines of {line} bytes: {share}");
    }
}

/// The line of the frame, as a user runs it.
fn user_line() -> Scope {
    Scope::Line { vaddr: VirtAddr(USER), paddr: PhysAddr(FRAME) }
}

#[test]
fn code_that_was_written_and_not_written_back_is_found_when_it_is_run() {
    let written = || Story::with_code().store(KERNEL, 0, 1);
    let shadow = written().drop_code(user_line(), 3).fetch(USER, 0, 2).finds(HazardClass::FetchDirty, 2, 1);
    let finding = &shadow.findings()[0];
    assert_eq!((finding.consumer.kind, finding.consumer.colour), (PartyKind::Fetch, Some(1)));
    let done: Vec<_> = finding.maintenance_between.iter().map(|m| (m.side, m.colour, m.site.0, m.effect)).collect();
    assert_eq!(done, [(Side::Instruction, Some(1), 3, Effect::Nothing)]);
    written().maintain(WriteBack, KERNEL, 3).fetch(USER, 0, 2).stays_clean();
}

#[test]
fn code_that_was_written_over_is_found_when_the_old_one_may_be_run() {
    let written_over = || Story::with_code().fetch(USER, 0, 1).store(KERNEL, 0, 2).maintain(WriteBack, KERNEL, 3);
    written_over().fetch(USER, 0, 4).finds(HazardClass::FetchStaleCopy, 4, 2);
    let other_colour = Scope::Line { vaddr: VirtAddr(KERNEL), paddr: PhysAddr(FRAME) };
    written_over().drop_code(other_colour, 5).fetch(USER, 0, 4).finds(HazardClass::FetchStaleCopy, 4, 2);
    written_over().drop_code(user_line(), 5).fetch(USER, 0, 4).stays_clean();
    written_over().drop_code(Scope::Whole, 5).fetch(USER, 0, 4).stays_clean();
    // A load finds nothing wrong: it sees the data side.
    written_over().load(USER, 0, 4).stays_clean();
}

#[test]
fn code_that_a_device_brought_into_a_page_that_was_run_before_is_found() {
    let brought = || Story::with_code().fetch(USER, 0, 1).dma(DmaDirection::Write, 0, 64);
    brought().fetch(USER, 0, 2).finds(HazardClass::FetchStaleCopy, 2, 77);
    brought().drop_code(Scope::Whole, 3).fetch(USER, 0, 2).stays_clean();
}

#[test]
fn without_an_instruction_cache_fetches_are_not_judged() {
    let story = Story::new().fetch(USER, 0, 1).store(KERNEL, 0, 2).drop_code(Scope::Whole, 3).fetch(USER, 0, 4);
    assert_eq!((story.0.stats().fetches, story.0.stats().maintenance), (0, 0));
    story.stays_clean();
}

#[test]
fn a_fetch_is_quiet_until_its_line_is_written_or_swept_and_a_load_does_not_disturb_it() {
    let geometry = CacheGeometry::new(32 << 10, 4, 32).unwrap();
    let mut story = Story::with_code().fetch(USER, 0, 1).fetch(USER, 32, 1);
    let (page, colour) = (story.0.page(geometry.frame(PhysAddr(FRAME))), geometry.colour(VirtAddr(USER)));
    assert!(story.0.quiet_fetch(page, colour, 8, 48), "both lines were fetched");
    assert!(!story.0.quiet_fetch(page, geometry.colour(VirtAddr(KERNEL)), 8, 4), "not through this colour");
    story = story.load(KERNEL, 0, 2);
    assert!(story.0.quiet_load(story.0.byte(page, 0), geometry.colour(VirtAddr(KERNEL)), 4));
    assert!(
        !story.0.quiet_store(story.0.byte(page, 0), geometry.colour(VirtAddr(KERNEL)), 4, Site(3)),
        "the first store is noticed"
    );
    assert!(story.0.quiet_fetch(page, colour, 8, 4));
    story = story.store(KERNEL, 0, 3);
    assert!(story.0.quiet_store(story.0.byte(page, 4), geometry.colour(VirtAddr(KERNEL)), 4, Site(3)), "the second is not");
    assert!(!story.0.quiet_fetch(page, colour, 8, 4) && story.0.quiet_fetch(page, colour, 32, 4));
    story = story.drop_code(Scope::Index { set: 0, way: 0 }, 4);
    assert!(!story.0.quiet_fetch(page, colour, 32, 4));
    story = story.fetch(USER, 32, 5);
    assert!(story.0.quiet_fetch(page, colour, 32, 4));
    story.stays_clean();
}

#[test]
fn a_cache_that_writes_through_leaves_only_stale_copies() {
    let config = Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap());
    let story = || Story(Shadow::new(config.writing_through()));
    story().store(KERNEL, 0, 1).load(USER, 0, 2).stays_clean();
    story().store(KERNEL, 0, 1).dma(DmaDirection::Read, 0, 4).stays_clean();
    story().load(USER, 0, 1).store(KERNEL, 0, 2).load(USER, 0, 3).finds(HazardClass::ReadStaleCopy, 3, 2);
}

#[test]
fn a_store_that_does_not_allocate_may_be_in_memory_or_in_a_copy_that_was_held() {
    let config = Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap());
    let story = || Story(Shadow::new(config.without_write_allocate()));
    story().store(KERNEL, 0, 1).load(USER, 0, 2).stays_clean();
    story().load(KERNEL, 0, 3).store(KERNEL, 0, 1).load(USER, 0, 2).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
}

#[test]
fn on_a_speculative_core_a_buffer_must_be_invalidated_after_the_device_wrote_it() {
    let config = Config::new(CacheGeometry::new(16 << 10, 4, 32).unwrap());
    let before = |config| {
        // The kernel used the buffer, and invalidates it before the transfer.
        let used = Story(Shadow::new(config)).store(KERNEL, 0, 1).maintain(WriteBackInvalidate, KERNEL, 3);
        used.dma(DmaDirection::Write, 0, 32)
    };
    before(config).load(KERNEL, 0, 2).stays_clean();
    let shadow = before(config.speculating().unwrap()).load(KERNEL, 0, 2).finds(HazardClass::ReadStaleCopy, 2, 77);
    assert_eq!(shadow.findings()[0].producer.unwrap().kind, PartyKind::Dma);
    before(config.speculating().unwrap()).maintain(Invalidate, KERNEL, 4).load(KERNEL, 0, 2).stays_clean();
    // A neighbour of the frame is enough to have the line filled.
    let neighbour = |story: Story| story.load(KERNEL, 128, 1).dma(DmaDirection::Write, 0, 32).load(KERNEL, 0, 2);
    neighbour(Story(Shadow::new(config))).stays_clean();
    neighbour(Story(Shadow::new(config.speculating().unwrap()))).finds(HazardClass::ReadStaleCopy, 2, 77);
}

#[test]
fn caches_that_cannot_be_judged_are_refused_by_name() {
    let data = CacheGeometry::new(32 << 10, 4, 32).unwrap();
    let code = |line, page| CodeCache::new(CacheGeometry::with_page(32 << 10, 4, line, page).unwrap());
    let refused = |code| Config::new(data).with_code(code).unwrap_err().to_string();
    assert!(refused(code(16, 4096)).contains("16 bytes are shorter"));
    assert!(refused(code(32, 8192)).contains("8192"));
    assert!(refused(code(64, 4096).filled_from_data()).contains("32 bytes, not 64"));
    assert!(Config::new(data).speculating().unwrap_err().to_string().contains("2 colours"));
    let virtually = Config::new(data).with_virtual_tags(VirtualTags::Untagged).unwrap();
    let beside = CodeCache::new(data);
    assert!(virtually.with_code(beside).is_ok());
    let from_data = beside.filled_from_data();
    for refused in [
        virtually.with_code(from_data),
        virtually.speculating(),
        Config::new(data).with_code(from_data).unwrap().with_virtual_tags(VirtualTags::Untagged),
    ] {
        assert!(refused.unwrap_err().to_string().contains("virtual tags"));
    }
    let two = Cpus { count: 2, by_address: AddressReach::All };
    for refused in [virtually.with_cpus(two), Config::new(data).writing_through().with_cpus(two)] {
        assert!(refused.unwrap_err().to_string().contains("several CPUs"));
    }
    assert!(virtually.with_ledger().unwrap_err().to_string().contains("no ledger"));
}

#[test]
fn under_virtual_tags_even_congruent_addresses_are_aliases() {
    let congruent = USER + 0x2000;
    Story::new().store(USER, 0, 1).load(congruent, 0, 2).stays_clean();
    let story = || Story::with_virtual_tags(VirtualTags::Untagged).store(USER, 0, 1);
    let judge = story().load(congruent, 0, 2).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    let finding = &judge.findings()[0];
    assert_eq!((finding.consumer.colour, finding.producer.unwrap().colour), (Some(1), Some(1)));
    story().maintain(WriteBack, USER, 3).load(congruent, 0, 2).stays_clean();
}

#[test]
fn an_address_that_is_mapped_to_another_frame_must_be_flushed_under_virtual_tags() {
    let left_behind = || Story::with_virtual_tags(VirtualTags::Untagged).store(USER, 0, 1).space(2);
    left_behind().of_other_frame(AccessKind::Load, USER, 2).finds(HazardClass::ReadHomonym, 2, 1);
    left_behind().of_other_frame(AccessKind::Store, USER, 2).finds(HazardClass::WriteHomonym, 2, 1);
    // Whatever the address is mapped to when it is flushed.
    left_behind().maintain(WriteBackInvalidate, USER, 3).of_other_frame(AccessKind::Load, USER, 2).stays_clean();
    // Another address does not meet it.
    left_behind().of_other_frame(AccessKind::Load, USER + 0x2000, 2).stays_clean();
    // Neither does anybody where tags are physical.
    Story::new().store(USER, 0, 1).of_other_frame(AccessKind::Load, USER, 2).stays_clean();
}

#[test]
fn tags_that_tell_address_spaces_apart_leave_shared_addresses_alone() {
    let story = || Story::with_virtual_tags(VirtualTags::BySpace { shared_from: VirtAddr(KERNEL) }).space(1);
    story().store(USER, 0, 1).space(2).of_other_frame(AccessKind::Load, USER, 2).stays_clean();
    story().store(USER, 0, 1).space(2).load(USER, 0, 2).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    story().store(KERNEL, 0, 1).space(2).load(KERNEL, 0, 2).stays_clean();
    story().store(KERNEL, 0, 1).space(2).of_other_frame(AccessKind::Load, KERNEL, 2).finds(HazardClass::ReadHomonym, 2, 1);
}

#[test]
fn a_page_with_more_virtual_addresses_than_have_numbers_is_judged_on() {
    let mut story = Story::with_virtual_tags(VirtualTags::Untagged);
    for page in 0..3000 {
        // Nothing is left behind, so numbers can be given out again.
        story = story.store(page << 12, 0, 1).maintain(WriteBackInvalidate, page << 12, 2);
    }
    assert!(story.0.alias_generation() > 0);
    assert_eq!(story.0.stats().taken_as_dropped, 0);
    story.store(USER, 0, 3).load(USER + 0x2000, 0, 4).finds(HazardClass::ReadDirtyElsewhere, 4, 3);
}

#[test]
fn what_was_taken_as_dropped_because_a_page_has_too_many_addresses_in_use_is_counted() {
    let mut story = Story::with_virtual_tags(VirtualTags::Untagged);
    for page in 0..1024 {
        story = story.load(page << 12, 0, 1);
    }
    assert_eq!(story.0.stats().taken_as_dropped, 0);
    // The copy under the first address gives way, and with it what a store elsewhere makes stale there.
    let mut story = story.load(1024 << 12, 0, 1).store(1024 << 12, 0, 2).maintain(WriteBack, 1024 << 12, 3);
    assert_eq!(story.0.stats().taken_as_dropped, 1);
    story = story.load(1 << 12, 0, 4);
    assert_eq!(story.0.findings().len(), 1);
}

/// The consequences of a run: class, consumer, and the places of the findings that hide it.
fn consequences(judge: &Shadow) -> Vec<(HazardClass, u32, Vec<u32>)> {
    judge.consequences().map(|it| (it.finding.class, it.finding.consumer.site.0, it.follows.clone())).collect()
}

#[test]
fn the_producer_is_the_last_store_to_the_line_while_one_colour_holds_it() {
    // Site 1 stored the bytes that are read, site 2 others; reports say that the producer is the line's.
    let stored = || Story::new().store(KERNEL, 0, 1).store(KERNEL, 28, 2);
    stored().load(USER, 0, 3).finds(HazardClass::ReadDirtyElsewhere, 3, 2);
    stored().maintain(WriteBack, KERNEL, 4).load(USER, 0, 3).stays_clean();
    // Once several hold it, the bytes have their own: a device and a store past the cache are named for theirs.
    let dma = || stored().maintain(WriteBackInvalidate, KERNEL, 4).load(USER, 0, 3).dma(DmaDirection::Write, 0, 4);
    dma().store(USER, 28, 5).load(USER, 0, 6).finds(HazardClass::ReadStaleCopy, 6, 77);
    dma().maintain(Invalidate, USER, 7).load(USER, 0, 6).stays_clean();
}

/// A cache of four colours, and an address of each.
fn of_four_colours() -> (Story, [u64; 3]) {
    (Story(Shadow::new(Config::new(CacheGeometry::new(64 << 10, 4, 32).unwrap()))), [0x8000_4000, 0x0040_1000, 0x0040_2000])
}

#[test]
fn a_reader_whose_old_copy_the_remedy_of_the_first_finding_does_not_reach_is_found() {
    let (story, [c0, c1, c2]) = of_four_colours();
    let written = story.load(c2, 0, 2).load(c1, 0, 1).store(c0, 0, 9).maintain(WriteBack, c0, 8);
    let judge = written.load(c1, 0, 1).load(c2, 0, 2).0;
    let found: Vec<_> = judge.findings().iter().map(|f| (f.class, f.consumer.site.0)).collect();
    assert_eq!(found, [(HazardClass::ReadStaleCopy, 1), (HazardClass::ReadStaleCopy, 2)]);
    // Both copies are dropped: neither is old.
    let (story, [c0, c1, c2]) = of_four_colours();
    let written = story.load(c2, 0, 2).load(c1, 0, 1).store(c0, 0, 9).maintain(WriteBack, c0, 8);
    written.maintain(Invalidate, c1, 7).maintain(Invalidate, c2, 7).load(c1, 0, 1).load(c2, 0, 2).stays_clean();
}

#[test]
fn what_a_device_reads_after_a_finding_follows_from_it() {
    let read = Story::new().store(KERNEL, 0, 1).load(USER, 0, 2).dma(DmaDirection::Read, 0, 4);
    let judge = read.finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    assert_eq!(consequences(&judge), [(HazardClass::DmaReadStale, 77, vec![0])]);
    // What helps the reader helps the device.
    let judge = Story::new().store(KERNEL, 0, 1).maintain(WriteBack, KERNEL, 3).load(USER, 0, 2).dma(DmaDirection::Read, 0, 4);
    assert!(consequences(&judge.0).is_empty());
    judge.stays_clean();
    // The kernel writes it back between the reader and the device.
    let judge = Story::new().store(KERNEL, 0, 1).load(USER, 0, 2).maintain(WriteBack, KERNEL, 3).dma(DmaDirection::Read, 0, 4).0;
    assert!(consequences(&judge).is_empty());
}

#[test]
fn what_is_read_after_a_store_over_dirty_bytes_follows_from_it() {
    let stored = || Story::new().store(KERNEL, 0, 1).store(USER, 0, 2);
    let judge = stored().maintain(WriteBackInvalidate, USER, 3).load(USER, 0, 4).finds(HazardClass::WriteUnderDirtyAlias, 2, 1);
    // The older store is still dirty, and can win.
    assert_eq!(consequences(&judge), [(HazardClass::ReadDirtyElsewhere, 4, vec![0])]);
    let judge = Story::new().store(KERNEL, 0, 1).maintain(WriteBackInvalidate, KERNEL, 5).store(USER, 0, 2);
    judge.maintain(WriteBackInvalidate, USER, 3).load(USER, 0, 4).stays_clean();
}

#[test]
fn another_reader_through_the_same_colour_follows_from_the_first_once_and_counts_no_hazard() {
    let judge = Story::new().store(KERNEL, 0, 1).load(USER, 0, 2).load(USER, 0, 3).load(USER, 0, 3).load(USER, 0, 2).0;
    assert_eq!((judge.stats().hazards, judge.findings().len()), (1, 1));
    assert_eq!(consequences(&judge), [(HazardClass::ReadDirtyElsewhere, 3, vec![0])]);
    // A finding of its own right is no consequence.
    let judge = Story(judge).store(KERNEL, 64, 1).load(USER, 64, 3).0;
    assert!(consequences(&judge).is_empty() && judge.findings().len() == 2);
}

#[test]
fn a_fetch_of_what_was_only_read_before_follows_from_the_reader() {
    let judge =
        Story::with_code().store(KERNEL, 0, 1).load(USER, 0, 2).fetch(USER, 0, 3).finds(HazardClass::ReadDirtyElsewhere, 2, 1);
    assert_eq!(consequences(&judge), [(HazardClass::FetchDirty, 3, vec![0])]);
}

#[test]
fn who_meets_another_frames_copy_after_it_was_found_follows_from_that() {
    let left_behind = || Story::with_virtual_tags(VirtualTags::Untagged).store(USER, 0, 1).space(2);
    let judge = left_behind().of_other_frame(AccessKind::Load, USER, 2).of_other_frame(AccessKind::Load, USER, 3);
    let judge = judge.finds(HazardClass::ReadHomonym, 2, 1);
    assert_eq!(consequences(&judge), [(HazardClass::ReadHomonym, 3, vec![0])]);
    let judge = left_behind().of_other_frame(AccessKind::Load, USER, 2).maintain(WriteBackInvalidate, USER, 4);
    assert!(consequences(&judge.of_other_frame(AccessKind::Load, USER, 3).0).is_empty());
}
