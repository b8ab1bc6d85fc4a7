//! What a CPU did, by kind. Costs are computed from these afterwards (`costs`), so counting is all that an access pays.

use core::ops::AddAssign;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often each thing happened on one CPU, or on all.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Every counter with its name, in the order of the documentation.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }

        impl AddAssign for Counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl core::ops::Sub for Counters {
            type Output = Self;
            /// What was added since an earlier reading.
            fn sub(self, earlier: Self) -> Self {
                Self { $($name: self.$name - earlier.$name),* }
            }
        }
    };
}

counters! {
    /// Cached loads. A bulk transfer counts one for each machine word of four bytes.
    loads,
    /// Cached stores, likewise.
    stores,
    /// Cached instruction fetches, likewise.
    fetches,
    /// Loads, stores and fetches of uncached mappings, likewise.
    uncached,
    /// Loads that found their line absent.
    load_misses,
    /// Stores that found their line absent.
    store_misses,
    /// Fetches that found their line absent.
    fetch_misses,
    /// Lines filled by prefetches.
    prefetch_fills,
    /// Stores that went to memory at once: to a write-through cache, or past one that does not allocate.
    written_through,
    /// Valid lines that had to make room.
    evictions,
    /// Lines written back, for whatever reason, wholly or in part.
    write_backs,
    /// Lines that came from, or were taken away from, another CPU's cache.
    snoops,
    /// Lines filled from the second level.
    l2_fills,
    /// Lines filled from memory, because the second level had not got them or there is none.
    memory_fills,
    /// TLB misses that the tables could answer.
    tlb_refills,
    /// TLB maintenance operations.
    tlb_drops,
    /// Faults.
    faults,
    /// Data maintenance by address: write back.
    lines_written_back,
    /// Data maintenance by address: invalidate.
    lines_invalidated,
    /// Data maintenance by address: both.
    lines_written_back_and_invalidated,
    /// Data maintenance of a set and way.
    index_operations,
    /// Data maintenance of a whole cache.
    whole_operations,
    /// Instruction-cache lines invalidated by address.
    code_lines_invalidated,
    /// Instruction-cache invalidations of a set and way.
    code_index_operations,
    /// Instruction-cache invalidations of the whole.
    code_whole_operations,
    /// Windows mapped, as the kernel model told.
    window_maps,
    /// Cycles of other work, as the kernel model told.
    work,
}
