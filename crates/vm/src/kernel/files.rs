//! Files and the page cache: what is cached of an object, where it is on the disk, and who maps it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use congruent_geometry::Frame;

use crate::FileId;

/// Something whose pages processes can share: a file, or memory without a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Key {
    File(FileId),
    /// Shared anonymous memory, or a ring.
    Memory(u32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cached {
    pub frame: Frame,
    /// Newer than the disk.
    pub dirty: bool,
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Object {
    /// Length in bytes, of a file.
    pub len: u32,
    pub cache: BTreeMap<u32, Cached>,
    /// Where its pages are on the disk, if it is a file.
    pub blocks: Vec<u64>,
    /// Mappings of it.
    pub mapped: u32,
    /// Mappings of it that are shared and may be stored to.
    pub writable: u32,
    /// Its pages that pipes hold.
    pub piped: u32,
    /// The kernel's own addresses of its pages, if it is a ring.
    pub ring: Vec<RingPage>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RingPage {
    /// Where the kernel reaches it.
    pub reach: congruent_geometry::VirtAddr,
    /// The address that was set aside for it.
    pub own: congruent_geometry::VirtAddr,
}
