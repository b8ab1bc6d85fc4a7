//! The kernel's page tables, with the reverse map that every kernel needs: where a frame is mapped.
//!
//! Guarantees: the reverse map and the tables say the same. Not here: TLBs, which remember what the tables said (`board`).

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::{Frame, VirtAddr};
use congruent_machine::{Asid, Mapping, Refill, Rights};

/// Where programs' mappings begin and end.
pub(crate) const USER: core::ops::Range<u64> = 0x0001_0000..0x4000_0000_0000;
/// Where the permanent mapping of memory begins. All these are multiples of every way there is.
pub(crate) const LINEAR: u64 = 0x8000_0000_0000;
/// Where `vmap` areas and rings begin.
pub(crate) const VMAP: u64 = 0xa000_0000_0000;
/// Where windows begin.
pub(crate) const WINDOWS: u64 = 0xc000_0000_0000;
/// Where kept windows begin.
pub(crate) const KEPT: u64 = 0xd000_0000_0000;

/// What a program may do with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Allowed {
    pub write: bool,
    pub execute: bool,
}

/// A page-table entry of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pte {
    pub frame: Frame,
    pub allowed: Allowed,
}

#[derive(Debug)]
pub(crate) struct Tables {
    frames: u64,
    page_shift: u32,
    /// Programs' entries by address space and page number.
    spaces: Vec<BTreeMap<u64, Pte>>,
    /// The kernel's own, by page number.
    kernel: BTreeMap<u64, Frame>,
    reverse: Vec<Vec<(Asid, VirtAddr)>>,
}

impl Tables {
    pub fn new(frames: u64, page_shift: u32) -> Self {
        Self { frames, page_shift, spaces: Vec::new(), kernel: BTreeMap::new(), reverse: vec![Vec::new(); frames as usize] }
    }

    pub fn pte(&self, asid: Asid, va: VirtAddr) -> Option<Pte> {
        self.spaces.get(usize::from(asid.0))?.get(&(va.0 >> self.page_shift)).copied()
    }

    /// Makes or changes an entry.
    pub fn set(&mut self, asid: Asid, va: VirtAddr, pte: Pte) {
        let space = usize::from(asid.0);
        if self.spaces.len() <= space {
            self.spaces.resize_with(space + 1, BTreeMap::new);
        }
        let va = va.align_down(1 << self.page_shift);
        let old = self.spaces[space].insert(va.0 >> self.page_shift, pte);
        if old.is_none_or(|old| old.frame != pte.frame) {
            if let Some(old) = old {
                self.forget(old.frame, asid, va);
            }
            self.reverse[pte.frame.0 as usize].push((asid, va));
        }
    }

    pub fn clear(&mut self, asid: Asid, va: VirtAddr) -> Option<Pte> {
        let va = va.align_down(1 << self.page_shift);
        let old = self.spaces.get_mut(usize::from(asid.0))?.remove(&(va.0 >> self.page_shift))?;
        self.forget(old.frame, asid, va);
        Some(old)
    }

    fn forget(&mut self, frame: Frame, asid: Asid, va: VirtAddr) {
        let places = &mut self.reverse[frame.0 as usize];
        let at = places.iter().position(|place| *place == (asid, va)).expect("the reverse map knows every entry");
        places.swap_remove(at);
    }

    /// Where programs have a frame mapped.
    pub fn users(&self, frame: Frame) -> &[(Asid, VirtAddr)] {
        &self.reverse[frame.0 as usize]
    }

    pub fn set_kernel(&mut self, va: VirtAddr, frame: Option<Frame>) {
        let page = va.0 >> self.page_shift;
        match frame {
            Some(frame) => self.kernel.insert(page, frame),
            None => self.kernel.remove(&page),
        };
    }

    /// The address of a frame in the permanent mapping.
    pub fn linear(&self, frame: Frame) -> VirtAddr {
        VirtAddr(LINEAR + (frame.0 << self.page_shift))
    }
}

impl Refill for Tables {
    fn refill(&mut self, _: usize, asid: Asid, page: VirtAddr) -> Option<Mapping> {
        if page.0 < LINEAR {
            let Pte { frame, allowed } = self.pte(asid, page)?;
            Some(Mapping::new(frame, Rights { read: true, write: allowed.write, execute: allowed.execute }))
        } else {
            let frame = self.kernel.get(&(page.0 >> self.page_shift))?;
            Some(Mapping::new(*frame, Rights::WRITE).global())
        }
    }

    #[inline]
    fn direct(&self, page: VirtAddr) -> Option<Mapping> {
        let number = page.0.wrapping_sub(LINEAR) >> self.page_shift;
        (number < self.frames).then(|| Mapping::new(Frame(number), Rights::WRITE).global())
    }
}
