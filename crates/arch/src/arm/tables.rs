//! The ARMv4–v6 translation tables: what a virtual address maps to and whether the level-1 data cache holds it.
//!
//! Sources: *ARM Architecture Reference Manual* (DDI 0100I), B4.7 "Translation tables" (both page table formats) and table
//! B4-3 "TEX, C and B encodings"; register bits from B3.4. TEX remapping: *ARM1176JZF-S Technical Reference Manual* (DDI 0301),
//! "c10, Memory region remap registers", with their values at reset.
//!
//! Not looked at: access permissions and domains, because an access that was seen has passed them and they change no attribute; the
//! shareable bit, because the cores of this model that heed it do not cache such memory less.

/// The registers that steer translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Control {
    /// Control register, c1.
    pub sctlr: u32,
    /// Translation table base 0.
    pub ttbr0: u32,
    /// Translation table base 1.
    pub ttbr1: u32,
    /// Translation table base control.
    pub ttbcr: u32,
    /// Primary region remap: the kind of memory behind each combination of attribute bits, if remapping is on.
    pub prrr: u32,
    /// Normal memory remap: the cache policies behind each.
    pub nmrr: u32,
    /// The process of the fast context switch extension, in the seven top bits.
    pub process: u32,
}

impl Default for Control {
    fn default() -> Self {
        Self { sctlr: 0, ttbr0: 0, ttbr1: 0, ttbcr: 0, prrr: 0x0009_8aa4, nmrr: 0x44e0_48e0, process: 0 }
    }
}

/// The name of one of the registers of [`Control`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlRegister {
    /// Control register, c1.
    Sctlr,
    /// Translation table base 0.
    Ttbr0,
    /// Translation table base 1.
    Ttbr1,
    /// Translation table base control.
    Ttbcr,
    /// Primary region remap.
    Prrr,
    /// Normal memory remap.
    Nmrr,
    /// Process of the fast context switch extension.
    Process,
}

const MMU: u32 = 1 << 0;
const DATA_CACHE: u32 = 1 << 2;
const CODE_CACHE: u32 = 1 << 12;
/// ARMv6 page table format (subpages disabled).
const EXTENDED_TABLES: u32 = 1 << 23;
/// TEX remapping.
const REMAP: u32 = 1 << 28;

/// Where an address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The physical address.
    pub paddr: u32,
    /// Whether the level-1 data cache may hold it.
    pub cached: bool,
    /// Whether the level-1 instruction cache may hold it.
    pub code_cached: bool,
}

impl Control {
    /// One of the registers, to be written.
    pub fn register_mut(&mut self, register: ControlRegister) -> &mut u32 {
        match register {
            ControlRegister::Sctlr => &mut self.sctlr,
            ControlRegister::Ttbr0 => &mut self.ttbr0,
            ControlRegister::Ttbr1 => &mut self.ttbr1,
            ControlRegister::Ttbcr => &mut self.ttbcr,
            ControlRegister::Prrr => &mut self.prrr,
            ControlRegister::Nmrr => &mut self.nmrr,
            ControlRegister::Process => &mut self.process,
        }
    }

    /// The address that tables and caches see in place of `vaddr`: the lowest 32 MiB are those of the current process (DDI 0100I, B8).
    pub fn modified(self, vaddr: u32) -> u32 {
        const PROCESS: u32 = 0xfe00_0000;
        if vaddr & PROCESS == 0 { vaddr | self.process & PROCESS } else { vaddr }
    }

    /// Translates `vaddr`, a modified virtual address, through tables that `word` reads from physical memory; `None` if it is not mapped.
    pub fn walk(self, vaddr: u32, mut word: impl FnMut(u32) -> Option<u32>) -> Option<Mapping> {
        let code_enabled = self.sctlr & CODE_CACHE != 0;
        if self.sctlr & MMU == 0 {
            // Without translation every data access is uncached, and fetches are cached if their cache is on (DDI 0100I, B4.2.3).
            return Some(Mapping { paddr: vaddr, cached: false, code_cached: code_enabled });
        }
        let descriptor = word(self.first_level(vaddr))?;
        let (paddr, attributes) = match descriptor & 3 {
            1 => self.page(vaddr, descriptor, word)?,
            2 => self.section(vaddr, descriptor),
            _ => return None,
        };
        let cacheable = self.is_cached(attributes);
        Some(Mapping { paddr, cached: cacheable && self.sctlr & DATA_CACHE != 0, code_cached: cacheable && code_enabled })
    }

    fn is_cached(self, attributes: Attributes) -> bool {
        if self.sctlr & REMAP == 0 {
            return attributes.is_cached();
        }
        const NORMAL: u32 = 2;
        let shift = 2 * attributes.remap_index();
        // Inner policy 0 is non-cacheable.
        self.prrr >> shift & 3 == NORMAL && self.nmrr >> shift & 3 != 0
    }

    /// The physical address of the first-level descriptor: TTBR0 serves the low 2^(32-N) bytes, TTBR1 the rest.
    fn first_level(self, vaddr: u32) -> u32 {
        let n = self.ttbcr & 7;
        let high = n > 0 && vaddr >> (32 - n) != 0;
        let (base, n) = if high { (self.ttbr1, 0) } else { (self.ttbr0, n) };
        let mask = !((0x4000 >> n) - 1);
        base & mask | vaddr >> 20 << 2 & !mask
    }

    fn section(self, vaddr: u32, descriptor: u32) -> (u32, Attributes) {
        const SUPERSECTION: u32 = 1 << 18;
        let extended = self.sctlr & EXTENDED_TABLES != 0;
        let tex = descriptor >> 12 & 7;
        let base = if extended && descriptor & SUPERSECTION != 0 { 0xff00_0000 } else { 0xfff0_0000 };
        (descriptor & base | vaddr & !base, Attributes::new(tex, descriptor))
    }

    fn page(self, vaddr: u32, descriptor: u32, mut word: impl FnMut(u32) -> Option<u32>) -> Option<(u32, Attributes)> {
        let entry = word(descriptor & 0xffff_fc00 | vaddr >> 12 << 2 & 0x3fc)?;
        let extended = self.sctlr & EXTENDED_TABLES != 0;
        let (base, tex) = match entry & 3 {
            1 => (0xffff_0000, entry >> 12 & 7),
            // A small page; with the older format, an extended one when both bits are set.
            2 | 3 if extended => (0xffff_f000, entry >> 6 & 7),
            2 => (0xffff_f000, 0),
            3 => (0xffff_f000, entry >> 6 & 7),
            _ => return None,
        };
        Some((entry & base | vaddr & !base, Attributes::new(tex, entry)))
    }
}

/// TEX, C and B of a descriptor.
#[derive(Clone, Copy)]
struct Attributes {
    tex: u32,
    c: bool,
    b: bool,
}

impl Attributes {
    /// C is bit 3 and B is bit 2 in every descriptor.
    fn new(tex: u32, descriptor: u32) -> Self {
        Self { tex, c: descriptor & 8 != 0, b: descriptor & 4 != 0 }
    }

    /// With remapping, the lowest bit of TEX, C and B choose among eight kinds of memory.
    fn remap_index(self) -> u32 {
        (self.tex & 1) << 2 | u32::from(self.c) << 1 | u32::from(self.b)
    }

    /// Without remapping: whether the level-1 (inner) data cache may hold such memory.
    fn is_cached(self) -> bool {
        match self.tex {
            // C is "write-through or write-back"; without it: strongly ordered or device.
            0 => self.c,
            // Write-back, write-allocate when both are set; non-cacheable or reserved otherwise.
            1 => self.c && self.b,
            // Device.
            2 | 3 => false,
            // Outer policy in TEX, inner policy in C and B: 00 is non-cacheable.
            _ => self.c || self.b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const TABLE: u32 = 0x4000;
    const V6: Control = Control {
        sctlr: MMU | DATA_CACHE | CODE_CACHE | EXTENDED_TABLES,
        ttbr0: TABLE | 0x48,
        ttbr1: 0,
        ttbcr: 0,
        prrr: 0,
        nmrr: 0,
        process: 0,
    };

    fn walk(control: Control, vaddr: u32, memory: &[(u32, u32)]) -> Option<Mapping> {
        let memory: HashMap<u32, u32> = memory.iter().copied().collect();
        control.walk(vaddr, |address| Some(memory.get(&address).copied().unwrap_or(0)))
    }

    #[test]
    fn a_section_keeps_twenty_bits_of_the_address() {
        let entry = (TABLE + 0xc00 * 4, 0x0010_0000 | 0x0000_100e);
        assert_eq!(walk(V6, 0xc001_2345, &[entry]), Some(Mapping { paddr: 0x0011_2345, cached: true, code_cached: true }));
    }

    #[test]
    fn a_supersection_keeps_twenty_four() {
        let entry = (TABLE + 0xc01 * 4, 0x0104_000e);
        assert_eq!(walk(V6, 0xc012_3456, &[entry]), Some(Mapping { paddr: 0x0112_3456, cached: true, code_cached: true }));
    }

    #[test]
    fn small_and_large_pages_are_found_through_the_second_level() {
        let first = (TABLE + 4, 0x0002_0001);
        let small = (0x0002_0000 + 0x23 * 4, 0x0055_5000 | 0x00e);
        assert_eq!(walk(V6, 0x0012_3abc, &[first, small]), Some(Mapping { paddr: 0x0055_5abc, cached: true, code_cached: true }));
        let large = (0x0002_0000 + 0x23 * 4, 0x0066_0000 | 0x009);
        assert_eq!(walk(V6, 0x0012_3abc, &[first, large]), Some(Mapping { paddr: 0x0066_3abc, cached: true, code_cached: true }));
    }

    #[test]
    fn the_second_base_serves_the_upper_addresses() {
        let control = Control { ttbr1: 0x8000, ttbcr: 1, ..V6 };
        let low = (TABLE + 4, 0x0070_000e);
        let high = (0x8000 + 0x801 * 4, 0x0080_000e);
        assert_eq!(walk(control, 0x0010_0000, &[low, high]).unwrap().paddr, 0x0070_0000);
        assert_eq!(walk(control, 0x8010_0000, &[low, high]).unwrap().paddr, 0x0080_0000);
    }

    #[test]
    fn the_lowest_addresses_are_those_of_the_current_process() {
        let control = Control { process: 0x0600_0000, ..V6 };
        for (vaddr, modified) in [(0x0000_1234, 0x0600_1234), (0x01ff_ffff, 0x07ff_ffff), (0x0200_0000, 0x0200_0000)] {
            assert_eq!(control.modified(vaddr), modified);
            assert_eq!(V6.modified(vaddr), vaddr);
        }
    }

    #[test]
    fn unmapped_addresses_lead_nowhere() {
        assert_eq!(walk(V6, 0x1000_0000, &[]), None);
        let first = (TABLE + 4, 0x0002_0001);
        assert_eq!(walk(V6, 0x0012_3abc, &[first]), None);
    }

    #[test]
    fn each_cache_is_used_while_it_is_on_and_data_only_under_translation() {
        let entry = (TABLE, 0x0000_000e);
        for switches in 0..8 {
            let has = |bit: u32| switches >> bit & 1 != 0;
            let on = |bit: u32, mask: u32| if has(bit) { mask } else { 0 };
            let sctlr = EXTENDED_TABLES | on(0, MMU) | on(1, DATA_CACHE) | on(2, CODE_CACHE);
            let expected = Mapping { paddr: 0x1234, cached: has(0) && has(1), code_cached: has(2) };
            assert_eq!(walk(Control { sctlr, ..V6 }, 0x1234, &[entry]), Some(expected), "{sctlr:#x}");
        }
    }

    #[test]
    fn uncached_memory_is_in_neither_cache() {
        let entry = (TABLE, 0x0000_0002);
        assert_eq!(walk(V6, 0x1234, &[entry]), Some(Mapping { paddr: 0x1234, cached: false, code_cached: false }));
    }

    #[test]
    fn the_attributes_are_those_of_the_manuals_table() {
        // TEX, C, B → may the inner cache hold it?
        let cached = [(0, 1, 0), (0, 1, 1), (1, 1, 1)];
        for tex in 0..8 {
            for c in 0..2 {
                for b in 0..2 {
                    let descriptor = tex << 12 | c << 3 | b << 2 | 2;
                    let expected = if tex >= 4 { c + b > 0 } else { cached.contains(&(tex, c, b)) };
                    let found = walk(V6, 0, &[(TABLE, descriptor)]).unwrap().cached;
                    assert_eq!(found, expected, "TEX {tex:03b} C {c} B {b}");
                }
            }
        }
    }

    #[test]
    fn remapping_chooses_among_eight_kinds_of_memory() {
        // Types: strongly ordered, device, then normal; inner policies: 0, 0, 0, 1, 2, 3, 0, 1.
        let prrr = (2..8).fold(1 << 2, |registers, index| registers | 2 << (2 * index));
        let nmrr =
            [0, 0, 0, 1, 2, 3, 0, 1].iter().enumerate().fold(0, |register, (index, policy)| register | policy << (2 * index));
        let control = Control { sctlr: V6.sctlr | REMAP, prrr, nmrr, ..V6 };
        for index in 0..8u32 {
            let descriptor = (index >> 2) << 12 | (index & 3) << 2 | 2;
            let expected = [3, 4, 5, 7].contains(&index);
            assert_eq!(walk(control, 0, &[(TABLE, descriptor)]).unwrap().cached, expected, "attributes {index}");
        }
    }

    #[test]
    fn at_reset_remapping_chooses_as_without_it() {
        let plain = Control { sctlr: V6.sctlr, ttbr0: TABLE, ..Control::default() };
        let remapped = Control { sctlr: V6.sctlr | REMAP, ..plain };
        // Of the combinations that both define: TEX 001 with C xor B is reserved.
        for (tex, bits) in [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 3)] {
            let memory = [(TABLE, tex << 12 | bits << 2 | 2)];
            assert_eq!(walk(plain, 0, &memory), walk(remapped, 0, &memory), "TEX {tex:03b} C and B {bits:02b}");
        }
    }
}
