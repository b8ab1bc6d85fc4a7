//! The functions of QEMU's that put a region in front of a device's memory. They are no part of the plugin interface; builds with loadable
//! modules export them, as distributions make them (QEMU 10.0 to 11.1: `include/system/memory.h`, `include/qom/object.h`,
//! `include/hw/pci/pci.h`).
//!
//! Guarantees: [`Functions`] exist only when every one of them was found.
//!
//! Unsafe, because functions are taken to be what QEMU's headers say.

#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::mem::transmute_copy;
use std::ops::Deref;

use crate::api::find;
use crate::exported::exported;
use crate::moment::CpuState;

/// Any object of QEMU's; a memory region and a device are ones.
pub type Object = *mut c_void;
/// An address space.
pub type AddressSpace = *mut c_void;

/// Where an access goes on: `IOMMUTLBEntry`. QEMU 10.1 has put a number in what was padding before.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Entry {
    /// The address space that it goes on in.
    pub space: AddressSpace,
    /// The start of the piece that was asked for.
    pub from: u64,
    /// Where it leads.
    pub to: u64,
    /// The bits of an address within the piece.
    pub mask: u64,
    /// Read and write.
    pub allowed: c_int,
    /// The process address space; none.
    pub process: u32,
}

/// Reading, in an [`Entry`] and in what a translation is asked for.
pub const READ: c_int = 1;
/// Writing.
pub const WRITE: c_int = 2;

/// `TypeInfo`: a kind of object.
#[repr(C)]
pub struct TypeInfo {
    pub name: *const c_char,
    pub parent: *const c_char,
    pub instance_size: usize,
    pub instance_align: usize,
    pub instance_init: *const c_void,
    pub instance_post_init: *const c_void,
    pub instance_finalize: *const c_void,
    pub is_abstract: bool,
    pub class_size: usize,
    pub class_init: Option<unsafe extern "C" fn(class: *mut c_void, data: *mut c_void)>,
    pub class_base_init: *const c_void,
    pub class_data: *const c_void,
    pub interfaces: *const c_void,
}

/// `Notifier`, which QEMU links into a list.
#[repr(C)]
pub struct Notifier {
    pub notify: unsafe extern "C" fn(*mut Notifier, *mut c_void),
    pub links: [*mut c_void; 2],
}

exported! {
    /// Those that are needed.
    pub struct Named {
        type_register_static: fn(*const TypeInfo) -> *mut c_void;
        object_get_root: fn() -> Object;
        object_child_foreach_recursive: fn(Object, unsafe extern "C" fn(Object, *mut c_void) -> c_int, *mut c_void) -> c_int;
        object_child_foreach: fn(Object, unsafe extern "C" fn(Object, *mut c_void) -> c_int, *mut c_void) -> c_int;
        object_dynamic_cast: fn(Object, *const c_char) -> Object;
        object_resolve_path_component: fn(Object, *const c_char) -> Object;
        object_get_typename: fn(Object) -> *const c_char;
        qemu_add_machine_init_done_notifier: fn(*mut Notifier);
        memory_region_init: fn(Object, Object, *const c_char, u64);
        memory_region_init_ram_ptr: fn(Object, Object, *const c_char, u64, *mut c_void);
        memory_region_init_alias: fn(Object, Object, *const c_char, Object, u64, u64);
        memory_region_init_iommu: fn(*mut c_void, usize, *const c_char, Object, *const c_char, u64);
        memory_region_add_subregion: fn(Object, u64, Object);
        memory_region_add_subregion_overlap: fn(Object, u64, Object, c_int);
        memory_region_name: fn(Object) -> *const c_char;
        address_space_init: fn(AddressSpace, Object, *const c_char);
        address_space_rw: fn(AddressSpace, u64, u64, *mut c_void, u64, bool) -> c_uint;
        pci_device_iommu_address_space: fn(Object) -> AddressSpace;
        pci_default_read_config: fn(Object, u32, c_int) -> u32;
        qemu_get_cpu: fn(c_int) -> *mut c_void;
        async_run_on_cpu: fn(*mut c_void, unsafe extern "C" fn(CpuState, usize), usize);
    }
}

/// QEMU's functions.
#[derive(Clone, Copy)]
pub struct Functions {
    named: Named,
    memory: usize,
    semihosting_enabled: Option<unsafe extern "C" fn(bool) -> bool>,
}

impl Deref for Functions {
    type Target = Named;

    fn deref(&self) -> &Named {
        &self.named
    }
}

impl Functions {
    /// Those of the QEMU that this code runs in; `None` if it lacks one.
    pub fn bind() -> Option<Self> {
        Some(Self {
            named: Named::find().ok()?,
            memory: find(c"address_space_memory")? as usize,
            // SAFETY: the symbol is QEMU's function of this name, declared as in its header.
            semihosting_enabled: find(c"semihosting_enabled")
                .map(|address| unsafe { transmute_copy::<*mut c_void, unsafe extern "C" fn(bool) -> bool>(&address) }),
        })
    }
}

impl Functions {
    /// The address space of the guest's CPUs.
    pub fn memory(&self) -> AddressSpace {
        self.memory as AddressSpace
    }

    /// Whether semihosting is on.
    pub fn does_semihosting(&self) -> bool {
        // SAFETY: the function looks at a setting; the argument asks for the kernel's.
        self.semihosting_enabled.is_some_and(|enabled| unsafe { enabled(false) })
    }
}
