//! Puts an IOMMU in front of each bus master's memory, and takes note of what it is asked.
//!
//! A PCI device reaches memory through a region that is called `bus master container` and holds one called `bus master`, which is on while
//! the guest lets the device master the bus. Ours lies over that one and leads back into it. A virtio device that has not been told to go
//! through its bus's IOMMU (`iommu_platform`) uses the address space of the CPUs, by the standard because it is coherent with them (Virtual
//! I/O Device Version 1.2, 6.1, `VIRTIO_F_ACCESS_PLATFORM`); it is given one of ours that leads there.
//!
//! None of it is an interface. So nothing is touched before a region of ours, which no device uses, has been seen to work; and the place where a
//! virtio device keeps its address space must be the only one that it can be.
//!
//! Unsafe, because QEMU's objects are reached by pointers, and QEMU calls what is put into its classes.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::catch_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use congruent_arch::{Arch, DmaEngine};
use congruent_trace::{DmaDirection, Site, devices};

use super::GRANULE;
use super::apart::{Granules, ROOM, Reads};
use super::qemu::{AddressSpace, Entry, Functions, Notifier, Object, READ, TypeInfo, WRITE};
use super::queue::{Access, Master, push};
use crate::moment::CpuState;

const KIND: &CStr = c"congruent-bus-master";
const PARENT: &CStr = c"iommu-memory-region";
/// All of an address space.
const WHOLE: u64 = u64::MAX;
/// `translate` is the first member of its class behind those of all objects (`ObjectClass`: 96 bytes).
const TRANSLATE_AT: usize = 96 / size_of::<usize>();
/// How many words a virtio device is searched for its address space. Every one has more.
const VIRTIO_WORDS: usize = 64;
/// Room for a region or an address space, of which neither has 1 KiB.
type Room = [u128; 256];

/// What is watched.
struct Watched {
    functions: Functions,
    masters: Vec<Master>,
    /// Of each master: the region that is asked, and the address space where its accesses go on. The last one is of nobody.
    regions: Vec<(usize, usize)>,
    /// The same of devices that are followed elsewhere, if what they read can be put apart; and where to.
    followed: Vec<(usize, usize)>,
    apart: Option<Granules>,
    taken: unsafe fn(),
}

/// What is asked for until the machine is complete.
#[derive(Clone, Copy)]
struct Settings {
    arch: Arch,
    taken: unsafe fn(),
    reads: Option<Reads>,
}

static WATCHED: OnceLock<Watched> = OnceLock::new();
static SETTINGS: OnceLock<Settings> = OnceLock::new();
/// Whether a device that is followed elsewhere asks us.
static SETS_APART: AtomicBool = AtomicBool::new(false);
/// What the region of nobody was asked: the address above the two bits of the access.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// The masters that are watched.
pub fn masters() -> &'static [Master] {
    WATCHED.get().map_or(&[], |watched| &watched.masters)
}

/// See [`super::sets_apart`].
pub fn sets_apart() -> bool {
    SETS_APART.load(Ordering::Relaxed)
}

/// See [`super::read`].
pub fn read(paddr: u64, to: &mut [u8]) -> bool {
    let Some(watched) = WATCHED.get() else { return false };
    let functions = &watched.functions;
    // SAFETY: it may be called from any thread as long as the machine is there; the buffer has the length that is passed.
    let result =
        unsafe { (functions.address_space_rw)(functions.memory(), paddr, 0, to.as_mut_ptr().cast(), to.len() as u64, false) };
    result == 0
}

/// # Safety
/// As [`super::watch`].
pub unsafe fn watch_when_complete(arch: Arch, taken: unsafe fn(), reads: Option<Reads>) {
    let Some(functions) = Functions::bind() else { return };
    if SETTINGS.set(Settings { arch, taken, reads }).is_err() {
        return;
    }
    let notifier = Box::leak(Box::new(Notifier { notify: machine_is_complete, links: [std::ptr::null_mut(); 2] }));
    // SAFETY: by this function's contract; the notifier is never freed. What is added first is told last, when every device is there.
    unsafe { (functions.qemu_add_machine_init_done_notifier)(notifier) };
}

/// # Safety
/// Called by QEMU on its main thread when the machine is complete, before it runs.
unsafe extern "C" fn machine_is_complete(_notifier: *mut Notifier, _data: *mut c_void) {
    // A panic ends the watching, not the guest; what is half done has changed no device.
    let _ = catch_unwind(|| {
        let (Some(functions), Some(settings)) = (Functions::bind(), SETTINGS.get()) else { return };
        // SAFETY: by this function's contract.
        unsafe { watch(functions, *settings) };
    });
}

/// A bus master that is not watched yet, and what is done to watch it.
struct Candidate {
    master: Master,
    place: Place,
    /// Whether it is followed elsewhere.
    is_followed: bool,
}

/// Where a region of ours is put.
#[derive(Clone, Copy)]
enum Place {
    /// Over what is in this region.
    Over { container: Object, beneath: Object },
    /// Into this word, which holds the address space.
    Instead(*mut AddressSpace),
}

/// # Safety
/// As [`machine_is_complete`].
unsafe fn watch(functions: Functions, Settings { arch, taken, reads }: Settings) {
    // SAFETY: by this function's contract, here and below.
    let mut candidates = unsafe { find_masters(&functions, arch) };
    candidates.retain(|candidate| !candidate.is_followed || reads.is_some());
    // Those that are noted come first.
    candidates.sort_by_key(|candidate| candidate.is_followed);
    let kind = Box::leak(Box::new(TypeInfo {
        name: KIND.as_ptr(),
        parent: PARENT.as_ptr(),
        instance_size: 0,
        instance_align: 0,
        instance_init: std::ptr::null(),
        instance_post_init: std::ptr::null(),
        instance_finalize: std::ptr::null(),
        is_abstract: false,
        class_size: 0,
        class_init: Some(begin_class),
        class_base_init: std::ptr::null(),
        class_data: std::ptr::null(),
        interfaces: std::ptr::null(),
    }));
    // SAFETY: the kind is never freed.
    unsafe { (functions.type_register_static)(kind) };
    let mut regions = Vec::new();
    for candidate in &candidates {
        let beyond = match candidate.place {
            // SAFETY: as above.
            Place::Over { beneath, .. } => unsafe { space_over(&functions, beneath) },
            Place::Instead(_) => functions.memory(),
        };
        // SAFETY: as above.
        regions.push((unsafe { new_region(&functions) } as usize, beyond as usize));
    }
    let places: Vec<(Object, Place)> =
        candidates.iter().zip(&regions).map(|(candidate, (region, _))| (*region as Object, candidate.place)).collect();
    let masters: Vec<Master> =
        candidates.into_iter().filter(|candidate| !candidate.is_followed).map(|candidate| candidate.master).collect();
    let followed = regions.split_off(masters.len());
    // SAFETY: as above.
    let (nobodys, memory) = unsafe { (new_region(&functions), memory_of_ours(&functions)) };
    regions.push((nobodys as usize, memory as usize));
    // SAFETY: as above.
    let apart = reads.filter(|_| !followed.is_empty()).map(|reads| unsafe { granules(&functions, reads) });
    if WATCHED.set(Watched { functions, masters, regions, followed, apart, taken }).is_err() {
        return;
    }
    // SAFETY: as above.
    if !unsafe { works(&functions, nobodys) } {
        return;
    }
    SETS_APART.store(WATCHED.get().is_some_and(|watched| watched.apart.is_some()), Ordering::Relaxed);
    for (region, place) in places {
        // SAFETY: as above; the word is the device's, and no device runs yet.
        unsafe {
            match place {
                Place::Over { container, .. } => (functions.memory_region_add_subregion_overlap)(container, 0, region, 1),
                Place::Instead(word) => word.write(space_of(&functions, region)),
            }
        }
    }
}

/// A page of memory that is no guest's, to be read through a region of ours: what a board has at an address may be a device, which must not be
/// read while no CPU runs.
#[repr(align(4096))]
struct Page([u64; 512]);

/// What is read in it, and where.
const CONTENT: u64 = 0x0123_4567_89ab_cdef;
const ADDRESS: u64 = 0x808;

/// An address space with that page.
///
/// # Safety
/// As [`machine_is_complete`].
unsafe fn memory_of_ours(functions: &Functions) -> AddressSpace {
    let page = Box::leak(Box::new([Page([CONTENT; 512])]));
    // SAFETY: by this function's contract.
    unsafe { space_with(functions, page) }
}

/// An address space with these pages.
///
/// # Safety
/// As [`machine_is_complete`].
unsafe fn space_with(functions: &Functions, pages: &'static mut [Page]) -> AddressSpace {
    // SAFETY: by this function's contract; room and pages are as large as is said, and never freed.
    unsafe {
        let region = room();
        let size = size_of_val(pages) as u64;
        let pointer = pages.first_mut().map_or(std::ptr::null_mut(), |page| page.0.as_mut_ptr().cast());
        (functions.memory_region_init_ram_ptr)(region, std::ptr::null_mut(), KIND.as_ptr(), size, pointer);
        space_of(functions, region)
    }
}

/// Room for what devices read.
///
/// # Safety
/// As [`machine_is_complete`].
unsafe fn granules(functions: &Functions, reads: Reads) -> Granules {
    const PAGES: usize = ROOM * crate::translation::GRANULE as usize / size_of::<Page>();
    let pages = (0..PAGES).map(|_| Page([0; 512])).collect::<Vec<_>>().leak();
    let start = pages.as_mut_ptr().cast();
    // SAFETY: by this function's contract.
    Granules::new(start, unsafe { space_with(functions, pages) }, reads)
}

/// Whether a read through this region arrives, and is told of as what it is.
///
/// # Safety
/// As [`machine_is_complete`]; the region is that of nobody, which leads to [`memory_of_ours`].
unsafe fn works(functions: &Functions, region: Object) -> bool {
    let mut through = 0u64;
    // SAFETY: by this function's contract; the buffer has the length that is passed.
    let result = unsafe {
        let space = space_of(functions, region);
        (functions.address_space_rw)(space, ADDRESS, 0, std::ptr::from_mut(&mut through).cast(), size_of::<u64>() as u64, false)
    };
    result == 0 && through == CONTENT && ASKED.load(Ordering::Relaxed) == ADDRESS << 2 | READ as u64
}

/// # Safety
/// As [`machine_is_complete`].
unsafe fn room() -> *mut c_void {
    Box::into_raw(Box::<Room>::new([0; 256])).cast()
}

/// A region of ours.
///
/// # Safety
/// As [`machine_is_complete`].
unsafe fn new_region(functions: &Functions) -> Object {
    // SAFETY: by this function's contract; the room is as large as is said, and never freed.
    unsafe {
        let region = room();
        (functions.memory_region_init_iommu)(
            region,
            size_of::<Room>(),
            KIND.as_ptr(),
            std::ptr::null_mut(),
            KIND.as_ptr(),
            WHOLE,
        );
        region
    }
}

/// An address space that is this region.
///
/// # Safety
/// As [`machine_is_complete`].
unsafe fn space_of(functions: &Functions, region: Object) -> AddressSpace {
    // SAFETY: by this function's contract; the room is large enough, and never freed.
    unsafe {
        let space = room();
        (functions.address_space_init)(space, region, KIND.as_ptr());
        space
    }
}

/// An address space that shows a region which lies elsewhere.
///
/// # Safety
/// As [`machine_is_complete`].
unsafe fn space_over(functions: &Functions, region: Object) -> AddressSpace {
    // SAFETY: by this function's contract; the rooms are large enough, and never freed.
    unsafe {
        let (root, alias) = (room(), room());
        (functions.memory_region_init)(root, std::ptr::null_mut(), KIND.as_ptr(), WHOLE);
        (functions.memory_region_init_alias)(alias, std::ptr::null_mut(), KIND.as_ptr(), region, 0, WHOLE);
        (functions.memory_region_add_subregion)(root, 0, alias);
        space_of(functions, root)
    }
}

/// # Safety
/// Called by QEMU with the class of [`KIND`].
unsafe extern "C" fn begin_class(class: *mut c_void, _data: *mut c_void) {
    let slot = class.cast::<*const c_void>().wrapping_add(TRANSLATE_AT);
    // SAFETY: the class begins as its parent's, which is abstract and translates nothing.
    unsafe {
        if slot.read().is_null() {
            slot.write(translate as *const c_void);
        }
    }
}

/// Where an access leads: where it would lead without us.
///
/// # Safety
/// Called by QEMU, from any thread.
unsafe extern "C" fn translate(region: Object, address: u64, access: c_int, _index: c_int) -> Entry {
    let from = address & !(GRANULE - 1);
    let mut entry = Entry { space: std::ptr::null_mut(), from, to: from, mask: GRANULE - 1, allowed: READ | WRITE, process: 0 };
    if let Some(watched) = WATCHED.get()
        && let Some(number) = watched.regions.iter().position(|(known, _)| *known == region as usize)
    {
        entry.space = watched.regions[number].1 as AddressSpace;
        if number < watched.masters.len() {
            watched.note(number, address, access);
        } else {
            ASKED.store(address << 2 | access as u64, Ordering::Relaxed);
        }
    } else if let Some(watched) = WATCHED.get()
        && let Some(granules) = &watched.apart
        && let Some((_, beyond)) = watched.followed.iter().find(|(known, _)| *known == region as usize)
    {
        // SAFETY: by this function's contract.
        entry = unsafe { granules.entry(*beyond as AddressSpace, address, access == READ) };
    }
    entry
}

impl Watched {
    fn note(&self, master: usize, address: u64, access: c_int) {
        let direction = match access {
            READ => DmaDirection::Read,
            WRITE => DmaDirection::Write,
            // A question, and no access.
            _ => return,
        };
        let len = GRANULE - address % GRANULE;
        if push(Access { master, direction, paddr: address, len }) {
            // SAFETY: both are made to be called from any thread; CPU 0 is there as long as the machine runs.
            unsafe {
                let cpu = (self.functions.qemu_get_cpu)(0);
                if !cpu.is_null() {
                    (self.functions.async_run_on_cpu)(cpu, take, 0);
                }
            }
        }
    }
}

/// # Safety
/// Called by QEMU on the thread of the CPUs, between two blocks.
unsafe extern "C" fn take(_cpu: CpuState, _data: usize) {
    if let Some(watched) = WATCHED.get() {
        // SAFETY: this is that thread, at that time.
        unsafe { (watched.taken)() };
    }
}

/// What is collected while QEMU's objects are gone through.
type Objects = Vec<Object>;

/// # Safety
/// Called by QEMU with an object and the [`Objects`] that were passed.
unsafe extern "C" fn collect(object: Object, objects: *mut c_void) -> c_int {
    // SAFETY: by this function's contract.
    unsafe { (*objects.cast::<Objects>()).push(object) };
    0
}

/// # Safety
/// As [`machine_is_complete`].
unsafe fn find_masters(functions: &Functions, arch: Arch) -> Vec<Candidate> {
    let mut objects = Objects::new();
    // SAFETY: by this function's contract. Nothing is made while objects are gone through.
    unsafe {
        (functions.object_child_foreach_recursive)((functions.object_get_root)(), collect, (&raw mut objects).cast());
    }
    // SAFETY: as above.
    let candidates = objects.into_iter().filter_map(|object| unsafe {
        let is = |kind: &CStr| !(functions.object_dynamic_cast)(object, kind.as_ptr()).is_null();
        if is(c"pci-device") {
            pci_master(functions, arch, object)
        } else if is(c"virtio-device") {
            virtio_master(functions, object)
        } else {
            None
        }
    });
    candidates.collect()
}

/// # Safety
/// As [`machine_is_complete`]; `device` is a PCI device.
unsafe fn pci_master(functions: &Functions, arch: Arch, device: Object) -> Option<Candidate> {
    // SAFETY: by this function's contract.
    unsafe {
        let part = |name: &CStr| (functions.object_resolve_path_component)(device, name.as_ptr());
        let (container, beneath) = (part(c"bus master container[0]"), part(c"bus master[0]"));
        let sees_memory = (functions.pci_device_iommu_address_space)(device) == functions.memory();
        if container.is_null() || beneath.is_null() || !sees_memory {
            return None;
        }
        // The numbers of vendor and device, in this order.
        let site = Site((functions.pci_default_read_config)(device, 0, 4).rotate_left(16));
        let is_followed = site == devices::PIIX_IDE && arch.facts().dma.iter().any(|engine| matches!(engine, DmaEngine::PiixIde));
        let master =
            Master { name: kind_of(functions, device), site, is_coherent: false, registers: registers(functions, device) };
        Some(Candidate { master, place: Place::Over { container, beneath }, is_followed })
    }
}

/// # Safety
/// As [`machine_is_complete`]; `device` is a virtio device.
unsafe fn virtio_master(functions: &Functions, device: Object) -> Option<Candidate> {
    let words = device.cast::<*mut c_void>();
    // SAFETY: by this function's contract; a virtio device has so many words.
    let held = |word: usize| unsafe { words.add(word).read() };
    // A listener to an address space, which is called "virtio", has one too.
    let memory = File::open("/proc/self/mem").ok()?;
    let is_listeners = |word: usize| {
        let mut name = [0; 7];
        let read = word > 0 && memory.read_exact_at(&mut name, held(word - 1) as u64).is_ok();
        read && &name == b"virtio\0"
    };
    let mut places = (0..VIRTIO_WORDS).filter(|&word| held(word) == functions.memory() && !is_listeners(word));
    let (Some(place), None) = (places.next(), places.next()) else { return None };
    // SAFETY: by this function's contract.
    let name = unsafe { kind_of(functions, device) };
    let master = Master { name, site: devices::VIRTIO, is_coherent: true, registers: Vec::new() };
    Some(Candidate { master, place: Place::Instead(words.wrapping_add(place)), is_followed: false })
}

/// # Safety
/// As [`machine_is_complete`].
unsafe fn kind_of(functions: &Functions, object: Object) -> String {
    // SAFETY: by this function's contract; the name is a string that QEMU keeps.
    unsafe { text((functions.object_get_typename)(object)) }
}

/// What a device's registers are called.
///
/// # Safety
/// As [`machine_is_complete`].
unsafe fn registers(functions: &Functions, device: Object) -> Vec<String> {
    let mut parts = Objects::new();
    // SAFETY: by this function's contract.
    unsafe {
        (functions.object_child_foreach)(device, collect, (&raw mut parts).cast());
        let is_region = |part: &Object| !(functions.object_dynamic_cast)(*part, c"memory-region".as_ptr()).is_null();
        parts.into_iter().filter(is_region).map(|region| text((functions.memory_region_name)(region))).collect()
    }
}

/// # Safety
/// The string ends with a zero, or is null.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}
