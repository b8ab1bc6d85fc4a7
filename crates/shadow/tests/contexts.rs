//! Call chains: the judge hands back the numbers that its source gave.

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_shadow::{Config, Contexts, Shadow};
use congruent_trace::{AccessKind, Context, Event, Site};

const KERNEL: VirtAddr = VirtAddr(0x8000_4000);
const USER: VirtAddr = VirtAddr(0x0040_1000);

#[test]
fn a_finding_tells_through_which_calls_consumer_and_producer_came_the_first_time() {
    let story = |on: bool| {
        let mut shadow = Shadow::new(Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap()).with_contexts(on));
        let mut access = |context, kind, vaddr, site| {
            shadow.set_context(Context(context));
            shadow.apply(&Event::Access { kind, vaddr, paddr: PhysAddr(0x4000), size: 4, site: Site(site) });
        };
        for (store, load) in [(1, 2), (3, 4)] {
            access(store, AccessKind::Store, KERNEL, 10);
            access(load, AccessKind::Load, USER, 20);
        }
        assert_eq!(shadow.findings().len(), 1);
        assert_eq!(shadow.findings()[0].count, 2);
        shadow.findings()[0].contexts
    };
    assert_eq!(story(true), Contexts { consumer: Context(2), producer: Context(1) });
    // Switched off, stores are not noted.
    assert_eq!(story(false).producer, Context::NONE);
}
