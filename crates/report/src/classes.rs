//! What each hazard class is in general, for readers who look a class up; a single finding is explained in `explain.rs`.

use congruent_shadow::HazardClass;

/// A class in sentences.
pub(crate) struct About {
    /// What happens, in one line.
    pub(crate) what: &'static str,
    /// How that can be.
    pub(crate) why: &'static str,
    /// What to do about it.
    pub(crate) remedy: &'static str,
}

pub(crate) fn about(class: HazardClass) -> About {
    let (what, why, remedy) = match class {
        HazardClass::ReadDirtyElsewhere => (
            "A load while the newest bytes are dirty under another colour",
            "A virtually indexed cache can hold one frame under several colours. A load through one colour is filled from \
             memory while the newest bytes are still dirty under another, so it may return what memory held before.",
            "Write back the colour that was written before the frame is read through another, or let both mappings have the \
             same colour.",
        ),
        HazardClass::ReadStaleCopy => (
            "A load that may hit a copy older than the newest bytes",
            "The cache may still hold a copy of the line from before the newer bytes were written through another colour, \
             past the cache or by a device.",
            "Invalidate the reader's colour after the newer bytes have reached memory and before they are read.",
        ),
        HazardClass::ReadLost => (
            "A load of bytes whose newest value was thrown away",
            "The newest bytes existed only as dirty bytes of a cache line that was invalidated without being written back.",
            "Write back before invalidating, or use the operation that does both.",
        ),
        HazardClass::ClobberedNeighbour => (
            "A load of bytes that the write-back of their neighbours may have overwritten",
            "Lines are written back whole. A copy that is dirty in some bytes and old in others puts the old ones over newer \
             ones in memory.",
            "Write back and invalidate the other copy before storing next to its bytes, or keep data of different owners in \
             different lines.",
        ),
        HazardClass::WriteUnderDirtyAlias => (
            "A store to bytes that are dirty under another colour",
            "The same bytes are dirty in two lines; whichever is evicted last decides what memory holds, so the older store \
             can win.",
            "Write back and invalidate the other colour before storing.",
        ),
        HazardClass::DmaReadStale => (
            "A device reads memory while newer bytes are in the cache",
            "Devices read memory past the cache; bytes that are dirty in it have not arrived there.",
            "Write back the buffer before starting the transfer.",
        ),
        HazardClass::DmaWriteUnderDirty => (
            "A device writes memory under a dirty line",
            "The line is written back some time after the device wrote, and destroys what the device wrote.",
            "Write back and invalidate the buffer before handing it to the device, and keep other data out of its lines.",
        ),
        HazardClass::MixedAttributesRead => (
            "An uncached load of bytes that are newer in the cache",
            "The frame is mapped both cached and uncached; the load goes to memory while the newer bytes are dirty in the cache.",
            "Write back the cached mapping before reading past the cache, or give all mappings of a frame the same attribute.",
        ),
        HazardClass::MixedAttributesWrite => (
            "An uncached store to bytes that are dirty in the cache",
            "The frame is mapped both cached and uncached; evicting the dirty line later puts older bytes over those stored \
             past the cache.",
            "Write back and invalidate the cached mapping before storing past the cache, or give all mappings of a frame the \
             same attribute.",
        ),
        HazardClass::FetchDirty => (
            "An instruction fetch while newer bytes are dirty in the data cache",
            "Instructions are fetched past the data cache; code that was just written there has not arrived where fetches see \
             it.",
            "Write back the data cache where the code was written, then drop its lines from the instruction cache, before \
             running it.",
        ),
        HazardClass::FetchStaleCopy => (
            "An instruction fetch that may hit a copy older than memory",
            "The instruction cache may still hold the line from before the newer code was written; nothing keeps it in step \
             with stores.",
            "Drop the lines from the instruction cache after the newer bytes have reached memory and before running them.",
        ),
        HazardClass::ReadHomonym => (
            "A load that may hit another frame's copy under its virtual address",
            "A cache with virtual tags finds lines by their virtual addresses. What an address held before it was mapped to another \
             frame may still be held, and is hit.",
            "Write back and invalidate a virtual page in the cache before mapping it to another frame, or when switching to an address \
             space that maps it differently.",
        ),
        HazardClass::WriteHomonym => (
            "A store that may go into another frame's copy under its virtual address",
            "A cache with virtual tags finds lines by their virtual addresses. The store hits what the address held for another \
             frame: that frame is damaged, and the right one is left without the bytes.",
            "Write back and invalidate a virtual page in the cache before mapping it to another frame, or when switching to an address \
             space that maps it differently.",
        ),
    };
    About { what, why, remedy }
}
