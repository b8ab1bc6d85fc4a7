//! Where in the kernel things happen: the names behind the site numbers of the VM's events.
//!
//! Names are those of the Linux functions at whose place the code stands, so that a finding here reads as one of a real kernel.

use congruent_trace::Site;

macro_rules! sites {
    ($($name:ident = $says:literal,)*) => {
        /// The places, in order of their numbers.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u32)]
        pub(crate) enum At {
            $($name,)*
        }

        const NAMES: &[&str] = &[$($says,)*];
    };
}

sites! {
    Boot = "boot",
    UserLoad = "user: load",
    UserStore = "user: store",
    UserIncrement = "user: increment",
    UserRun = "user: run",
    UserRunEarly = "user: run, before it said that it wrote code",
    CopyToUser = "copy_to_user",
    CopyFromUser = "copy_from_user",
    ClearPage = "clear_user_highpage",
    CopySource = "copy_user_highpage: source",
    CopyTarget = "copy_user_highpage: target",
    CopyPage = "copy_user_highpage: maintenance",
    CopySourceFlush = "copy_user_highpage: source maintenance",
    SetPte = "set_ptes",
    Fork = "flush_cache_dup_mm",
    Exit = "flush_cache_mm",
    FlushRange = "flush_cache_range",
    FlushPage = "flush_cache_page",
    AfterUnmap = "unmap: after the TLB flush",
    FileRead = "filemap_read",
    FileWrite = "generic_perform_write",
    FlushFolio = "flush_dcache_folio",
    PipeBuffer = "pipe buffer",
    Gup = "get_user_pages",
    GupAnon = "flush_anon_page",
    Peek = "copy_from_user_page",
    Poke = "copy_to_user_page",
    PtraceAccess = "flush_ptrace_access",
    RemoteRead = "process_vm_readv",
    RemoteWrite = "process_vm_writev",
    Argument = "copy_strings",
    FlushArgument = "flush_arg_page",
    DmaToDevice = "dma_map: to the device",
    DmaFromDevice = "dma_map: from the device",
    DmaUnmap = "dma_unmap",
    Disk = "disk",
    VmapRead = "vmap: read",
    VmapWrite = "vmap: write",
    Vmap = "flush_cache_vmap",
    Vunmap = "flush_cache_vunmap",
    FlushVmap = "flush_kernel_vmap_range",
    InvalidateVmap = "invalidate_kernel_vmap_range",
    RingPost = "ring: the kernel posts",
    RingTake = "ring: the kernel takes",
    RingSetup = "ring: setup",
    SyncCode = "flush_icache_range",
}

impl At {
    /// The number in events.
    pub const fn site(self) -> Site {
        Site(self as u32)
    }
}

/// What the sites of the VM's events mean, by number.
#[must_use]
pub fn site_name(site: Site) -> &'static str {
    NAMES.get(site.0 as usize).copied().unwrap_or("?")
}

/// The site of this name, for [`Setup::mute`](crate::Setup::mute).
#[must_use]
pub fn site_named(name: &str) -> Option<Site> {
    NAMES.iter().position(|known| *known == name).map(|at| Site(at as u32))
}

/// Every site with its name.
pub fn sites() -> impl Iterator<Item = (Site, &'static str)> {
    NAMES.iter().enumerate().map(|(at, name)| (Site(at as u32), *name))
}
