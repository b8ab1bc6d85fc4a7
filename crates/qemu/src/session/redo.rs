//! Loads that are executed again: because the guest was stopped before them, or because memory shows other bytes for them.
//!
//! Generated code is left in the state before the instruction, and runs it again (`halt`). What was judged is not judged again: it is awaited
//! by its CPU, its place and its address, and let pass once. Bytes that memory shows for a load are taken away as soon as that load has been
//! made, or when anybody else turns up.
//!
//! An instruction with several loads makes all of them again. Those that were given other bytes before must be given them once more; they are
//! shown again together with the next one's. Which loads are of the same execution of an instruction is told by how far they and their
//! addresses lie apart, and by nobody else coming in between. (QEMU reads a byte for `lwl` and `lwr` to see whether it can, and then the word.)
//!
//! Guarantees: whatever happens between leaving and coming back, memory has the guest's own bytes before anything else is judged.

use congruent_trace::Site;

use crate::halt::Generated;

/// An access, as it will be known again: of which CPU, from where, to which address, of how many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Access {
    pub cpu: u32,
    pub site: Site,
    pub vaddr: u32,
    pub size: u32,
}

/// A byte that memory shows for a load in place of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    pub paddr: u64,
    /// What is shown.
    pub old: u8,
    /// What memory has.
    pub own: u8,
}

/// What becomes of a load that generated code was left before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The guest was stopped; the load is still to be made, with the bytes that are to be shown for it, if any.
    Stopped,
    /// Memory shows other bytes.
    Shown,
    /// It has been made.
    Made,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Awaited {
    access: Access,
    /// When it was made: so many accesses had begun.
    count: u64,
    stage: Stage,
    bytes: Vec<Shown>,
}

/// What is to be done with an access that begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Begun {
    /// It is to be judged.
    Judge,
    /// It was judged and has been made: nothing.
    Pass,
    /// It was judged, and is to be made once more with what is due for it.
    Show,
    /// It has seen bytes that are not its own: it must be made again, and judged then.
    Astray,
}

/// How generated code is to be left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Leave {
    /// Whether the guest is to be stopped.
    pub stop: bool,
    /// Where to leave, if the instruction is to be executed again.
    pub at: Option<Generated>,
}

/// The loads that are awaited.
#[derive(Default)]
pub(super) struct Redo {
    awaited: Vec<Awaited>,
    /// The access in hand, and where its callback returns to if it is a load.
    now: Access,
    load: Option<usize>,
    /// So many accesses have begun, as far as they were asked about.
    count: u64,
    /// What memory is to be shown for it.
    due: Vec<Shown>,
    /// What memory has to be told: bytes by their addresses, in this order.
    writes: Vec<(u64, u8)>,
}

impl Redo {
    /// Whether nothing is awaited, so that an access may be taken without asking.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.awaited.is_empty()
    }

    /// The machine starts anew.
    pub fn begin_anew(&mut self) {
        self.awaited.clear();
        self.due.clear();
        self.load = None;
    }

    /// An access begins, of physical bytes that start at this address if it is of memory.
    pub fn begin(&mut self, now: Access, paddr: Option<u64>, load: Option<usize>) -> Begun {
        (self.now, self.load) = (now, load);
        self.count += 1;
        self.due.clear();
        if let Some(at) = self.awaited.iter().position(|awaited| awaited.access == now && awaited.stage != Stage::Made) {
            let awaited = &mut self.awaited[at];
            match awaited.stage {
                Stage::Stopped if !awaited.bytes.is_empty() => {
                    self.due = std::mem::take(&mut awaited.bytes);
                    self.awaited.remove(at);
                    return Begun::Show;
                }
                Stage::Stopped | Stage::Made => {
                    self.awaited.remove(at);
                }
                Stage::Shown => {
                    (awaited.stage, awaited.count) = (Stage::Made, self.count);
                    let made: Vec<_> = awaited.bytes.iter().map(|byte| (byte.paddr, byte.own)).collect();
                    // Another load of the instruction may still need some of them.
                    let shown = |paddr| shown_at(&self.awaited, paddr);
                    self.writes.extend(made.into_iter().filter(|(paddr, _)| !shown(*paddr)));
                }
            }
            return Begun::Pass;
        }
        let same = |awaited: &Awaited| (awaited.access.cpu, awaited.access.site) == (now.cpu, now.site);
        if self.awaited.iter().any(same) {
            // Another load of the same instruction, or the same one some other time: what was made is forgotten when it turns out so.
            return Begun::Judge;
        }
        self.give_back(now.size, paddr, load.is_some())
    }

    /// Something that is no access has turned up: memory gets all of its own back.
    pub fn interrupt(&mut self) {
        self.give_back(0, None, false);
    }

    /// Somebody else has turned up: memory gets all of its own back.
    fn give_back(&mut self, size: u32, paddr: Option<u64>, is_load: bool) -> Begun {
        let touched = |byte: &Shown| paddr.is_some_and(|start| (start..start + u64::from(size)).contains(&byte.paddr));
        let mut astray = false;
        for awaited in self.awaited.drain(..).filter(|awaited| awaited.stage == Stage::Shown) {
            for byte in awaited.bytes {
                if touched(&byte) {
                    astray |= is_load;
                    if !is_load {
                        // It has just been stored anew.
                        continue;
                    }
                }
                self.writes.push((byte.paddr, byte.own));
            }
        }
        if astray { Begun::Astray } else { Begun::Judge }
    }

    /// Whether the access in hand is one that generated code makes itself, and can be made again.
    pub fn can_be_made_again(&self) -> bool {
        self.load.and_then(Generated::of).is_some()
    }

    /// The load in hand is to be made again, with these bytes.
    pub fn show(&mut self, bytes: Vec<Shown>) {
        self.due = bytes;
    }

    /// How to leave generated code, if it is to be left: because the guest is to be stopped, or to make the load again.
    pub fn leave(&mut self, stop: bool, astray: bool) -> Option<Leave> {
        let (due, load) = (std::mem::take(&mut self.due), self.load.take());
        if !stop && due.is_empty() && !astray {
            return None;
        }
        let at = load.and_then(Generated::of);
        if astray {
            return Some(Leave { stop, at });
        }
        if at.is_none() {
            return stop.then_some(Leave { stop, at: None });
        }
        let (access, count) = (self.now, self.count);
        let is_of_this = |awaited: &Awaited| {
            let (apart, between) = (access.vaddr.wrapping_sub(awaited.access.vaddr), count.wrapping_sub(awaited.count));
            let follows = match awaited.access.size == access.size {
                true => u64::from(apart / access.size.max(1)) == between,
                false => between <= 1,
            };
            awaited.access.site == access.site && follows
        };
        self.awaited.retain(|awaited| awaited.stage != Stage::Made || is_of_this(awaited));
        let stage = if stop { Stage::Stopped } else { Stage::Shown };
        if !stop {
            for awaited in self.awaited.iter_mut().filter(|awaited| awaited.stage == Stage::Made) {
                awaited.stage = Stage::Shown;
                self.writes.extend(awaited.bytes.iter().map(|byte| (byte.paddr, byte.old)));
            }
            self.writes.extend(due.iter().map(|byte| (byte.paddr, byte.old)));
        }
        self.awaited.push(Awaited { access, count, stage, bytes: due });
        Some(Leave { stop, at })
    }

    /// Puts into bytes that were read of memory, from an address on, its own where it shows something else.
    pub fn undo(&self, paddr: u64, bytes: &mut [u8]) {
        let shown = self.awaited.iter().filter(|awaited| awaited.stage == Stage::Shown).flat_map(|awaited| &awaited.bytes);
        for byte in shown {
            if let Some(read) = byte.paddr.checked_sub(paddr).and_then(|at| bytes.get_mut(at as usize)) {
                *read = byte.own;
            }
        }
    }

    /// What memory has to be told.
    pub fn take_writes(&mut self) -> Vec<(u64, u8)> {
        std::mem::take(&mut self.writes)
    }
}

/// Whether memory shows something at an address for one of these.
fn shown_at(awaited: &[Awaited], paddr: u64) -> bool {
    let mut shown = awaited.iter().filter(|awaited| awaited.stage == Stage::Shown).flat_map(|awaited| &awaited.bytes);
    shown.any(|byte| byte.paddr == paddr)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PADDR: u64 = 0x4000;

    /// Memory, of which the guest's own bytes are `own` and the old ones `old`.
    struct Machine {
        redo: Redo,
        memory: [u8; 16],
        own: [u8; 16],
        old: [u8; 16],
    }

    impl Machine {
        fn new() -> Self {
            let own = std::array::from_fn(|at| at as u8 + 1);
            Self { redo: Redo::default(), memory: own, own, old: [0; 16] }
        }

        fn settle(&mut self) {
            for (paddr, byte) in self.redo.take_writes() {
                self.memory[(paddr - PADDR) as usize] = byte;
            }
        }

        /// One load, which is given old bytes wherever it may be; what it loaded, unless it is to be made again.
        fn load(&mut self, site: u32, at: usize, size: usize, is_hazardous: bool) -> Option<Vec<u8>> {
            let access = Access { cpu: 0, site: Site(site), vaddr: at as u32, size: size as u32 };
            let loaded = self.memory[at..at + size].to_vec();
            // Any address that no file has is taken for generated code's.
            let begun = self.redo.begin(access, Some(PADDR + at as u64), Some(64));
            self.settle();
            match begun {
                Begun::Pass | Begun::Show | Begun::Astray => {}
                Begun::Judge => {
                    for byte in at..at + size {
                        let mut own = [self.memory[byte]];
                        self.redo.undo(PADDR + byte as u64, &mut own);
                        assert_eq!(own, [self.own[byte]], "what memory has of its own is known");
                    }
                    if is_hazardous {
                        let shown = |byte| Shown { paddr: PADDR + byte as u64, old: self.old[byte], own: self.own[byte] };
                        self.redo.show((at..at + size).map(shown).collect());
                    }
                }
            }
            let leave = self.redo.leave(false, begun == Begun::Astray);
            self.settle();
            leave.is_none().then_some(loaded)
        }

        /// An instruction with these loads, made as often as it takes.
        fn instruction(&mut self, site: u32, loads: &[(usize, usize, bool)]) -> (Vec<Vec<u8>>, u32) {
            for times in 1..1000 {
                let mut loaded = Vec::new();
                for &(at, size, is_hazardous) in loads {
                    match self.load(site, at, size, is_hazardous) {
                        Some(bytes) => loaded.push(bytes),
                        None => break,
                    }
                }
                if loaded.len() == loads.len() {
                    return (loaded, times);
                }
            }
            panic!("{loads:?} never end")
        }
    }

    #[test]
    fn each_load_of_an_instruction_gets_what_is_meant_for_it_and_memory_its_own_again() {
        // Each of up to five words, hazardous or not; a byte and its word, as for `lwl`; words that overlap nobody else's.
        for hazardous in 0..32u32 {
            let loads: Vec<_> = (0..4).map(|word| (4 * word, 4, hazardous >> word & 1 != 0)).collect();
            let mut machine = Machine::new();
            let (loaded, times) = machine.instruction(7, &loads);
            assert!(times <= 1 + 4, "{hazardous:#b}: {times}");
            for (bytes, (at, size, is_hazardous)) in loaded.iter().zip(&loads) {
                let expected = if *is_hazardous { machine.old } else { machine.own };
                assert_eq!(bytes, &expected[*at..at + size], "{hazardous:#b}");
            }
            assert_eq!(machine.load(8, 0, 16, false), Some(machine.own.to_vec()));
            assert!(machine.redo.is_idle());
        }
        let mut machine = Machine::new();
        for (first, whole) in [((3, 1, true), (0, 4, true)), ((0, 1, true), (0, 4, true))] {
            let (loaded, times) = machine.instruction(7, &[first, whole]);
            assert_eq!((loaded, times), (vec![vec![0], vec![0; 4]], 3));
            assert_eq!(machine.load(8, 0, 16, false), Some(machine.own.to_vec()));
        }
    }

    #[test]
    fn the_same_instruction_anew_is_judged_anew() {
        let mut machine = Machine::new();
        for _ in 0..3 {
            assert_eq!(machine.instruction(7, &[(4, 4, true)]), (vec![vec![0; 4]], 2));
            assert_eq!(machine.instruction(7, &[(4, 4, false)]), (vec![machine.own[4..8].to_vec()], 1));
        }
    }

    #[test]
    fn whoever_comes_in_between_sees_memorys_own() {
        let mut machine = Machine::new();
        assert_eq!(machine.load(7, 0, 4, true), None);
        assert_eq!(machine.memory[..4], [0; 4]);
        // An interrupt, which loads the very bytes: it loaded what was not meant for it, and has to do so again.
        assert_eq!(machine.load(9, 0, 8, false), None);
        assert_eq!(machine.load(9, 0, 8, false), Some(machine.own[..8].to_vec()));
        assert_eq!(machine.instruction(7, &[(0, 4, true)]), (vec![vec![0; 4]], 2));
        // One that stores to some of them: those are memory's own now.
        assert_eq!(machine.load(7, 0, 4, true), None);
        machine.memory[2] = 99;
        machine.own[2] = 99;
        let store = Access { cpu: 0, site: Site(9), vaddr: 2, size: 1 };
        assert_eq!(machine.redo.begin(store, Some(PADDR + 2), None), Begun::Judge);
        machine.settle();
        assert_eq!(machine.memory, machine.own);
    }

    #[test]
    fn a_load_that_the_guest_was_stopped_before_is_made_with_old_bytes_afterwards() {
        let mut machine = Machine::new();
        let access = Access { cpu: 0, site: Site(7), vaddr: 0, size: 4 };
        let shown = (0..4).map(|byte| Shown { paddr: PADDR + byte, old: 0, own: machine.own[byte as usize] }).collect();
        assert_eq!(machine.redo.begin(access, Some(PADDR), Some(64)), Begun::Judge);
        machine.redo.show(shown);
        assert!(machine.redo.leave(true, false).is_some_and(|leave| leave.stop && leave.at.is_some()));
        machine.settle();
        assert_eq!(machine.memory, machine.own, "a debugger sees the guest's memory");
        assert_eq!(machine.load(7, 0, 4, false), None);
        assert_eq!(machine.load(7, 0, 4, false), Some(vec![0; 4]));
        assert_eq!(machine.memory, machine.own);
    }
}
