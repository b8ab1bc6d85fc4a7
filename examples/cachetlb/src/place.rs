//! Addresses: where to map so that it costs nothing, and what an address costs.
//!
//! In Linux these rules keep users from seeing old bytes. Here any address is right, and the rules are about cost.

use congruent::{Placement, VirtAddr};
use skeleton::Kernel;

/// `SHMLBA`: addresses that differ by a multiple of it are congruent.
#[must_use]
#[expect(non_snake_case, reason = "its name")]
pub fn SHMLBA(kernel: &Kernel) -> u64 {
    u64::from(kernel.geometry().colours()) * u64::from(kernel.geometry().page())
}

/// The lowest good address from `from` on for a mapping of a file from page `index` on.
#[must_use]
pub fn arch_get_unmapped_area(kernel: &Kernel, from: VirtAddr, index: u64) -> Option<VirtAddr> {
    kernel.place(from, kernel.file_colour(index))
}

/// The highest good address that is not above `from`.
#[must_use]
pub fn arch_get_unmapped_area_topdown(kernel: &Kernel, from: VirtAddr, index: u64) -> Option<VirtAddr> {
    kernel.place_below(from, kernel.file_colour(index))
}

/// `MAP_FIXED` of page `index` of a file: whether users at other addresses have to take turns with this one. A kernel that is to
/// answer as Linux does refuses it then if the mapping is shared.
#[must_use]
pub fn map_fixed(kernel: &Kernel, address: VirtAddr, index: u64) -> Placement {
    kernel.judge(address, kernel.file_colour(index))
}

/// Whether two addresses of one page are cached apart.
#[must_use]
pub fn pages_do_alias(kernel: &Kernel, one: VirtAddr, other: VirtAddr) -> bool {
    kernel.colour(one) != kernel.colour(other)
}

/// Whether any two are.
#[must_use]
pub fn cpu_dcache_is_aliasing(kernel: &Kernel) -> bool {
    kernel.geometry().aliases()
}

/// The protection for pages that are mapped more than once (ARM takes the cache away from such pages on virtually tagged cores):
/// what it was. Physically tagged caches need no uncached mappings; virtually tagged ones are refused at boot.
#[must_use]
pub const fn pgprot_multiply_mapped(protection: u32) -> u32 {
    protection
}
