//! What hardware may do on its own, done by chance: the adversarial replacement.
//!
//! Guarantees: before anything happens to a line of memory, its copies may have been written back, unit by unit, and dropped, in
//! any order; every such order has a chance. Since only what happens to a line can tell what its copies went through, it is
//! enough to act then. Nothing is done that hardware could not do: a dirty copy is not dropped, a clean one not written back, and
//! nothing is filled unless the computer is speculative.

use alloc::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use crate::cache::{At, Slot};
use crate::computer::{Machine, Side};
use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) struct Adversary {
    random: Random,
    /// Out of 8: how often it lets a line be. Old bytes take long quiet and then much at once, so it acts in bursts.
    calm: u64,
    /// The copies at hand; kept for its memory.
    copies: Vec<(usize, Side, Slot)>,
}

impl Adversary {
    pub fn new(mut random: Random) -> Self {
        let calm = 1 + random.below(7);
        Self { random, calm, copies: Vec::new() }
    }

    /// Whether something that may happen does.
    pub fn likes(&mut self) -> bool {
        self.random.chance(1, 2)
    }
}

impl<T, S> Machine<T, S> {
    /// Lets the adversary do what it likes to the copies of the line that holds `paddr`.
    pub(crate) fn stir(&mut self, paddr: PhysAddr) {
        let Some(adversary) = &mut self.adversary else { return };
        if adversary.random.chance(adversary.calm, 8) {
            return;
        }
        let copies = &mut adversary.copies;
        copies.clear();
        for (cpu, core) in self.cores.iter_mut().enumerate() {
            for side in [Side::Data, Side::Code] {
                let cache = core.cache(side);
                let line = paddr.align_down(cache.line() as u64);
                copies.extend(cache.copies(line).map(|slot| (cpu, side, slot)));
            }
        }
        let speculates = self.config.speculative && self.live[(paddr.0 >> self.page_shift) as usize];
        if copies.is_empty() {
            if speculates {
                self.speculate(paddr);
            }
            return;
        }
        for _ in 0..=adversary.random.index(4 * copies.len()) {
            let (cpu, side, slot) = copies[adversary.random.index(copies.len())];
            let core = &mut self.cores[cpu];
            let cache = match side {
                Side::Data => &mut core.data,
                Side::Code => &mut core.code,
            };
            if cache.is_dirty(slot) {
                if !cache.write_back_one(slot, adversary.random.bits(), &mut self.memory) {
                    core.counters.write_backs += 1;
                }
            } else if adversary.random.chance(1, 2) && cache.held(slot).is_some() {
                cache.drop_line(slot);
            }
        }
        if speculates {
            self.speculate(paddr);
        }
    }

    /// The same for all lines that something may happen to when a CPU uses this address: that of the physical one, and with virtual
    /// tags whatever is held in its place.
    pub(crate) fn stir_at(&mut self, cpu: usize, side: Side, at: At) {
        self.stir(at.paddr);
        let core = &self.cores[cpu];
        let (cache, config) = match side {
            Side::Data => (&core.data, &self.config.data),
            Side::Code => (&core.code, &self.config.code),
        };
        if !config.indexing.has_virtual_tags() {
            return;
        }
        let held = cache.find(cache.place(at)).and_then(|slot| cache.held(slot));
        if let Some(line) = held.filter(|line| *line != at.paddr.align_down(cache.line() as u64)) {
            self.stir(line);
        }
    }

    /// Fills a line that nobody asked for, or not. Data caches of a speculative computer know one place for a line, whatever the
    /// virtual address.
    fn speculate(&mut self, paddr: PhysAddr) {
        let Some(adversary) = &mut self.adversary else { return };
        if adversary.likes() {
            let cpu = adversary.random.index(self.cores.len());
            self.bring(cpu, Side::Data, At { vaddr: VirtAddr(paddr.0), paddr, space: 0 });
        }
    }

    /// Notes that something of a frame is accessed through a data cache.
    pub(crate) fn note_live(&mut self, paddr: PhysAddr) {
        if let Some(live) = self.live.get_mut((paddr.0 >> self.page_shift) as usize) {
            *live = true;
        }
    }
}
