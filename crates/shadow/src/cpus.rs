//! Several CPUs: how their caches hang together, and the numbers by which the rules tell them apart.
//!
//! Each CPU has a data cache and an instruction cache of its own. To the rules (`line`) what a CPU can hold of a line at one colour is a
//! *place*: its number is the colour's, with the CPU's above it. So a colour of another CPU is nothing new to keys, records and sweeps; the
//! rules ask only which places are coherent. Of one CPU, places are colours, or aliases where tags are virtual.
//!
//! Guarantees: plain arithmetic. Not here: what coherence means for a line (`line`).

use crate::finding::{Party, PartyKind};

/// How many CPUs there are, and what maintenance reaches.
///
/// Assumed of the hardware: at each colour, data caches are coherent by physical address. A miss is served by what another CPU
/// holds at that colour; what is dirty there may be passed on with it, or stay; a store takes the line away from all other CPUs. At
/// different colours nothing is coherent, on one CPU or on two. Instruction caches are coherent with nothing. Operations by
/// index and on the whole cache act on the CPU that runs them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpus {
    /// How many, at least 1.
    pub count: u16,
    /// What operations by address reach.
    pub by_address: AddressReach,
}

/// Whose caches an operation by address acts on, of either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressReach {
    /// Those of the CPU that runs it (MIPS without a Coherence Manager: Linux `arch/mips/mm/c-r4k.c`, `r4k_op_needs_ipi`; ARM11 MPCore).
    Own,
    /// Those of all CPUs (MIPS's Coherence Manager: the same place; PA-RISC's broadcast flushes).
    All,
}

impl Cpus {
    /// The usual one.
    pub const ONE: Self = Self { count: 1, by_address: AddressReach::Own };
}

/// The numbers of places, and the CPU that events are of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    cpus: Cpus,
    now: u16,
    data_shift: u32,
    code_shift: u32,
}

/// Above every number of an alias, and below the bit that tells the instruction side.
const ABOVE_ALL: u32 = 15;

impl Places {
    /// Of data and instruction caches with this many colours. CPU 0 comes first.
    pub fn new(cpus: Cpus, colours: u32, code_colours: u32) -> Self {
        let shift = |colours: u32| if cpus.count > 1 { colours.next_power_of_two().trailing_zeros() } else { ABOVE_ALL };
        Self { cpus, now: 0, data_shift: shift(colours), code_shift: shift(code_colours) }
    }

    /// From here on, events are of this CPU. One that there is not is taken for the last.
    pub fn enter(&mut self, cpu: u16) {
        self.now = cpu.min(self.cpus.count - 1);
    }

    /// The CPU that events are of.
    pub fn cpu(&self) -> u16 {
        self.now
    }

    /// What makes a colour of the data cache the place of this CPU.
    pub fn base(&self) -> u16 {
        self.now << self.data_shift
    }

    /// The same for the instruction cache.
    pub fn code_base(&self) -> u16 {
        self.now << self.code_shift
    }

    /// The CPU whose data cache this place is in.
    pub fn cpu_of(&self, place: u16) -> u16 {
        place >> self.data_shift
    }

    /// The CPU whose instruction cache this place is in.
    pub fn cpu_of_code(&self, place: u16) -> u16 {
        place >> self.code_shift
    }

    /// This CPU, if there are several.
    pub fn of_many(&self, cpu: u16) -> Option<u16> {
        (self.cpus.count > 1).then_some(cpu)
    }

    /// The CPU of a party, if there are several and it is in one of their caches.
    pub fn cpu_of_party(&self, party: Party) -> Option<u16> {
        let place = party.colour?;
        self.of_many(if party.kind == PartyKind::Fetch { self.cpu_of_code(place) } else { self.cpu_of(place) })
    }

    /// The colour of a place of a data cache; the alias, where tags are virtual.
    pub fn colour(&self, place: u16) -> u16 {
        place & ((1 << self.data_shift) - 1)
    }

    /// The colour of a place of an instruction cache.
    pub fn code_colour(&self, place: u16) -> u16 {
        place & ((1 << self.code_shift) - 1)
    }

    /// The bits in which places differ that are not coherent; `code` tells the instruction side.
    pub fn incoherent(&self, code: u16) -> u16 {
        if self.cpus.count > 1 { self.colour(u16::MAX) | code } else { u16::MAX }
    }

    /// The places at which an operation by address acts that this CPU carries out at a colour of the data cache.
    pub fn reached(&self, colour: u16) -> impl Iterator<Item = u16> + Clone + use<> {
        let shift = self.data_shift;
        self.acting().map(move |cpu| cpu << shift | colour)
    }

    /// The same for the instruction cache.
    pub fn reached_code(&self, colour: u16) -> impl Iterator<Item = u16> + Clone + use<> {
        let shift = self.code_shift;
        self.acting().map(move |cpu| cpu << shift | colour)
    }

    fn acting(&self) -> core::ops::Range<u16> {
        match self.cpus.by_address {
            AddressReach::Own => self.now..self.now + 1,
            AddressReach::All => 0..self.cpus.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn of_one_cpu_a_place_is_its_colour() {
        let places = Places::new(Cpus::ONE, 4, 2);
        for number in [0, 3, 1023] {
            assert_eq!((places.cpu_of(number), places.colour(number)), (0, number));
            assert_eq!(places.reached(number).collect::<Vec<_>>(), [number]);
        }
    }

    #[test]
    fn each_cpu_has_places_of_its_own_that_are_coherent_at_one_colour() {
        let mut places = Places::new(Cpus { count: 3, by_address: AddressReach::All }, 4, 1);
        places.enter(2);
        assert_eq!((places.base(), places.code_base()), (8, 2));
        assert_eq!(places.reached(3).collect::<Vec<_>>(), [3, 7, 11]);
        assert_eq!(places.reached_code(0).collect::<Vec<_>>(), [0, 1, 2]);
        let incoherent = places.incoherent(1 << 15);
        assert_eq!((3 ^ 11) & incoherent, 0);
        assert_ne!((3 ^ 10) & incoherent, 0);
    }
}
