//! The names of the guest's programs: which task of a Linux kernel runs in an address space, found in the kernel's memory.
//!
//! Nobody says where the kernel has its tasks or how they are laid out, and that changes from version to version and with every
//! configuration. So it is found by what it must be: the idle task is called `swapper`, all tasks are in one ring, `kthreadd` is
//! among them and has no memory of its own, and what a user task's memory begins with is the table that the processor walks.
//!
//! Guarantees: a name is returned only if every step was proved on this guest: the ring closes, every name in it can be printed, the
//! task's memory leads to this very table at this moment. Pure; memory is read, never written. Not promised: a name at all. The
//! name is the one of the process, not of one of its threads, as `ps` shows it: at most 15 characters.
//!
//! Source: Linux, `include/linux/sched.h` (`task_struct`: `tasks`, `mm` and `active_mm`, `comm`), `include/linux/mm_types.h`
//! (`mm_struct`: `pgd`), `init/init_task.c`, `kernel/kthread.c`.

use std::collections::HashMap;
use std::ops::Range;

/// The guest's memory, by the addresses under which its kernel has it in its linear mapping.
pub trait Memory {
    /// Where the kernel's image lies.
    fn image(&self) -> Range<u32>;

    /// Reads from `address` on; `false` if not all of it is memory that the guest is known to have used.
    fn read(&mut self, address: u32, to: &mut [u8]) -> bool;

    /// The word at an address, in the guest's byte order.
    fn word(&mut self, address: u32) -> Option<u32>;
}

/// `TASK_COMM_LEN`.
const NAME: usize = 16;
/// How much of the image is searched at a time.
const PIECE: usize = 4096;
/// The parts of a task that matter here lie no further from one another.
const TASK: u32 = 8192;
/// `mm` follows `tasks` at no greater distance.
const TO_MEMORY: u32 = 256;
/// `pgd` lies no further inside of its structure.
const TO_TABLE: u32 = 512;
/// More tasks than this are taken for a ring that never closes.
const MOST_TASKS: usize = 1 << 15;
/// How often the tasks are looked for before it is taken that there are none.
const TRIES: u32 = 3;

/// The tasks of a guest, as far as they were found.
#[derive(Default)]
pub struct Tasks {
    tries: u32,
    ring: Option<Ring>,
    fields: Option<Fields>,
    /// By table, the task that was found with it last.
    known: HashMap<u32, u32>,
}

/// The ring of all tasks. A task goes by the address of its link in it.
#[derive(Clone, Copy, Debug)]
struct Ring {
    /// The idle task.
    idle: u32,
    /// A task without memory of its own.
    kthreadd: u32,
    /// Bytes from the link to the name.
    to_name: u32,
}

/// Where a task says which table is its own.
#[derive(Clone, Copy, Debug)]
struct Fields {
    /// Bytes from the link to the pointer to its memory.
    to_memory: u32,
    /// Bytes from there to the pointer to the table.
    to_table: u32,
}

impl Tasks {
    /// What the program is called whose page table, at this address of the linear mapping, the processor walks now.
    pub fn name(&mut self, table: u32, memory: &mut impl Memory) -> Option<String> {
        let ring = self.ring(memory)?;
        let fields = self.fields(ring, table, memory)?;
        let known = self.known.get(&table).copied().filter(|task| fields.table_of(*task, memory) == Some(table));
        // New tasks are at the end of the ring.
        let task = known.or_else(|| ring.tasks_backwards(memory).find(|(task, memory)| fields.table_of(*task, *memory) == Some(table)).map(|(task, _)| task))?;
        self.known.insert(table, task);
        name_at(task.checked_add(ring.to_name)?, memory)
    }
}
