//! Named places in the kernel at which it may be interrupted, so that a test can say of each that other threads have run there.

/// Where in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Point {
    /// Fork has called `flush_cache_dup_mm` and write-protected nothing yet.
    ForkFlushed,
    /// Fork has write-protected a page, and TLBs have not been told.
    ForkPage,
    /// A fault is about to copy a page.
    BeforeCopy,
    /// It has, and the old entry still stands.
    AfterCopy,
    /// `flush_cache_range` has been called, and the entries still stand.
    RangeFlushed,
    /// A system call has moved one page's worth of bytes.
    BetweenPages,
    /// Direct I/O has pinned its pages, and the device has not begun.
    Pinned,
    /// The device has moved part of the bytes.
    Transferring,
    /// A page is write-protected or unmapped, and about to be written to the disk.
    WriteBack,
    /// The kernel has used its own mapping of pages, and not ended it yet.
    Vmap,
}

impl Point {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::ForkFlushed,
        Self::ForkPage,
        Self::BeforeCopy,
        Self::AfterCopy,
        Self::RangeFlushed,
        Self::BetweenPages,
        Self::Pinned,
        Self::Transferring,
        Self::WriteBack,
        Self::Vmap,
    ];
}
