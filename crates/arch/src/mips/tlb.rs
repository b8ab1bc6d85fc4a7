//! The attributes of MIPS TLB entries: whether memory behind a mapped address is cached, known from the entries that the guest writes.
//!
//! Source: *MIPS32 Privileged Resource Architecture* (MD00090), registers EntryLo0, EntryLo1, PageMask, and the table "Cacheability
//! and Coherency Attributes".
//!
//! An entry's virtual page is in EntryHi. Where the guest has written that itself, the page is known. At a TLB exception the hardware
//! fills it in and no instruction shows it; but the instruction that missed runs again at once, so the entry is that of the next
//! access that leads to its frame, and from then on the page remembers. Of such an entry's other page, which may be used much later, the
//! frame remembers: that answer would be wrong only for a frame that is mapped with both attributes at even, or at odd, pages at
//! the same time.

const PAGE_SHIFT: u32 = 12;

/// A cacheability and coherency attribute: how memory is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cacheability(u32);

impl Cacheability {
    /// The attribute in the three lowest bits: Config.K0.
    pub fn new(bits: u32) -> Self {
        Self(bits & 7)
    }

    /// Whether the data cache may hold such memory: not if it is uncached (2) or uncached and gathered (7).
    pub fn is_cached(self) -> bool {
        !matches!(self.0, 2 | 7)
    }
}

/// Half of a TLB entry, as in EntryLo0 and EntryLo1.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryLo(pub u32);

impl EntryLo {
    /// Whether the page is mapped.
    pub fn is_valid(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the page is mapped in every address space, if the other half says so too.
    pub fn is_global(self) -> bool {
        self.0 & 1 != 0
    }

    /// The number of the page's first 4 KiB frame.
    pub fn frame(self) -> u32 {
        self.0 >> 6 & 0xf_ffff
    }

    /// The attribute of the page.
    pub fn cacheability(self) -> Cacheability {
        Cacheability::new(self.0 >> 3)
    }
}

/// The name of a register that the next TLB entry is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryRegister {
    /// EntryLo0, the even page.
    Even,
    /// EntryLo1, the odd page.
    Odd,
    /// PageMask, the size of both.
    PageMask,
}

/// 4 KiB that an entry maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownPage {
    /// The number of the virtual page.
    pub page: u32,
    /// The number of the frame.
    pub frame: u32,
    /// The attribute.
    pub cacheability: Cacheability,
    /// Whether it is mapped in every address space.
    pub is_global: bool,
}

/// What the guest has told the TLB.
pub struct Attributes {
    halves: [EntryLo; 2],
    page_mask: u32,
    /// EntryHi, if the guest has written it since the last TLB exception.
    entry_hi: Option<u32>,
    /// The newest entry whose pages are not known.
    newest: [EntryLo; 2],
    newest_mask: u32,
    /// Per frame and parity of its page: the attribute it was last mapped with, plus one; zero if it never was.
    frames: Box<[[u8; 2]]>,
}

impl Default for Attributes {
    /// Nothing has been said yet.
    fn default() -> Self {
        let frames = vec![[0; 2]; 1 << 20].into_boxed_slice();
        Self { halves: [EntryLo(0); 2], page_mask: 0, entry_hi: None, newest: [EntryLo(0); 2], newest_mask: 0, frames }
    }
}

impl Attributes {
    /// EntryHi is written, or (`None`) the guest asks where a TLB exception was: EntryHi is the hardware's.
    pub fn set_entry_hi(&mut self, value: Option<u32>) {
        self.entry_hi = value;
    }

    /// One of the registers is written.
    pub fn set(&mut self, register: EntryRegister, value: u32) {
        match register {
            EntryRegister::Even => self.halves[0] = EntryLo(value),
            EntryRegister::Odd => self.halves[1] = EntryLo(value),
            // The bits below the smallest page are other fields.
            EntryRegister::PageMask => self.page_mask = value & 0x1fff_e000,
        }
    }

    /// The registers become an entry. Where its pages are known, `page` is told of each 4 KiB of them.
    pub fn write_entry(&mut self, mut page: impl FnMut(KnownPage)) {
        self.newest = [EntryLo(0); 2];
        match self.entry_hi {
            Some(entry_hi) => self.known_pages(entry_hi).for_each(&mut page),
            None => (self.newest, self.newest_mask) = (self.halves, self.page_mask),
        }
        for (parity, half) in self.halves.into_iter().enumerate().filter(|(_, half)| half.is_valid()) {
            let first = half.frame() & !(self.page_mask >> 13);
            for frame in first..=first | self.page_mask >> 13 {
                let Some(known) = self.frames.get_mut(frame as usize) else { break };
                let bits = half.cacheability().0 as u8 + 1;
                // Within a longer page both parities occur.
                if self.page_mask == 0 { known[parity] = bits } else { *known = [bits; 2] }
            }
        }
    }

    fn known_pages(&self, entry_hi: u32) -> impl Iterator<Item = KnownPage> + use<> {
        let (halves, longer) = (self.halves, self.page_mask >> 13);
        let first = entry_hi >> PAGE_SHIFT & !(longer << 1 | 1);
        let is_global = halves.iter().all(|half| half.is_global());
        (0..2).filter(move |&odd| halves[odd as usize].is_valid()).flat_map(move |odd| {
            let half = halves[odd as usize];
            (0..=longer).map(move |n| KnownPage {
                page: first + odd * (longer + 1) + n,
                frame: (half.frame() & !longer) + n,
                cacheability: half.cacheability(),
                is_global,
            })
        })
    }

    /// The attribute of `vaddr` by the newest entry, if that leads to `paddr`.
    pub fn by_newest_entry(&self, vaddr: u32, paddr: u32) -> Option<Cacheability> {
        // The bits of PageMask start one above those of a page: two pages are mapped.
        let page = (self.newest_mask >> 1) | ((1 << PAGE_SHIFT) - 1);
        let half = self.newest[usize::from(vaddr & (page + 1) != 0)];
        (half.is_valid() && half.frame() << PAGE_SHIFT & !page == paddr & !page).then(|| half.cacheability())
    }

    /// The attribute that the frame of `paddr` was last mapped with, at a page of the parity of that of `vaddr`.
    pub fn by_frame(&self, vaddr: u32, paddr: u32) -> Option<Cacheability> {
        let [even, odd] = self.frames.get((paddr >> PAGE_SHIFT) as usize)?;
        let known = if vaddr >> PAGE_SHIFT & 1 == 0 { even } else { odd };
        known.checked_sub(1).map(|bits| Cacheability::new(bits.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNCACHED: u32 = 2;
    const CACHED: u32 = 3;

    fn half(frame: u32, cacheability: u32) -> u32 {
        frame << 6 | cacheability << 3 | 2
    }

    fn written(even: u32, odd: u32, page_mask: u32) -> Attributes {
        let mut attributes = Attributes::default();
        attributes.set(EntryRegister::Even, even);
        attributes.set(EntryRegister::Odd, odd);
        attributes.set(EntryRegister::PageMask, page_mask);
        attributes.write_entry(|_| panic!("its pages are not known"));
        attributes
    }

    #[test]
    fn two_of_the_eight_attributes_are_uncached() {
        let cached: Vec<u32> = (0..8).filter(|&bits| Cacheability::new(bits).is_cached()).collect();
        assert_eq!(cached, [0, 1, 3, 4, 5, 6]);
    }

    #[test]
    fn each_page_of_an_entry_has_its_own_attribute() {
        let attributes = written(half(0x100, CACHED), half(0x100, UNCACHED), 0);
        for (vaddr, cacheability) in [(0xc000_0123, CACHED), (0xc000_1123, UNCACHED)] {
            let expected = Some(Cacheability::new(cacheability));
            assert_eq!(attributes.by_newest_entry(vaddr, 0x0010_0123), expected);
            assert_eq!(attributes.by_frame(vaddr, 0x0010_0123), expected);
        }
    }

    #[test]
    fn an_entry_speaks_of_its_own_frames_only() {
        let attributes = written(half(0x100, CACHED), 0, 0);
        assert_eq!(attributes.by_newest_entry(0xc000_0000, 0x0010_1000), None);
        assert_eq!(attributes.by_frame(0xc000_0000, 0x0010_1000), None);
        // The odd page is not valid.
        assert_eq!(attributes.by_newest_entry(0xc000_1000, 0x0010_0000), None);
    }

    #[test]
    fn an_older_entry_is_remembered_by_its_frames() {
        let mut attributes = written(half(0x100, UNCACHED), half(0x101, UNCACHED), 0);
        attributes.set(EntryRegister::Even, half(0x200, CACHED));
        attributes.write_entry(|_| ());
        assert_eq!(attributes.by_newest_entry(0xc000_0000, 0x0010_0000), None);
        assert_eq!(attributes.by_frame(0xc000_0000, 0x0010_0000), Some(Cacheability::new(UNCACHED)));
    }

    #[test]
    fn longer_pages_are_told_apart_by_a_higher_bit() {
        // Two pages of 16 KiB.
        let attributes = written(half(0x100, CACHED), half(0x104, UNCACHED), 0x6000);
        assert_eq!(attributes.by_newest_entry(0xc000_3010, 0x0010_3010), Some(Cacheability::new(CACHED)));
        assert_eq!(attributes.by_newest_entry(0xc000_4010, 0x0010_4010), Some(Cacheability::new(UNCACHED)));
        assert_eq!(attributes.by_newest_entry(0xc000_4010, 0x0010_3010), None);
    }

    #[test]
    fn an_entry_for_a_page_that_the_guest_named_is_of_that_page_alone() {
        let mut attributes = Attributes::default();
        attributes.set(EntryRegister::Even, half(0x100, UNCACHED) | 1);
        attributes.set(EntryRegister::Odd, 1);
        attributes.set_entry_hi(Some(0xc000_0000));
        let mut pages = Vec::new();
        attributes.write_entry(|page| pages.push(page));
        let cacheability = Cacheability::new(UNCACHED);
        assert_eq!(pages, [KnownPage { page: 0xc_0000, frame: 0x100, cacheability, is_global: true }]);
        assert_eq!(attributes.by_newest_entry(0xc000_0000, 0x0010_0000), None);
        // After a TLB exception it is the hardware's page.
        attributes.set_entry_hi(None);
        attributes.write_entry(|page| panic!("{page:?}"));
        assert_eq!(attributes.by_newest_entry(0x2000, 0x0010_0000), Some(cacheability));
    }

    #[test]
    fn a_long_page_is_known_in_all_its_parts() {
        let mut attributes = Attributes::default();
        attributes.set(EntryRegister::Even, half(0x100, CACHED));
        attributes.set(EntryRegister::Odd, half(0x104, CACHED));
        attributes.set(EntryRegister::PageMask, 0x6000);
        attributes.set_entry_hi(Some(0x0040_0012));
        let mut pages = Vec::new();
        attributes.write_entry(|page| pages.push((page.page, page.frame)));
        let expected: Vec<(u32, u32)> = (0..8).map(|n| (0x400 + n, 0x100 + n)).collect();
        assert_eq!(pages, expected);
    }
}
