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

/// The tasks of a guest, as far as they were found.
#[derive(Default)]
pub struct Tasks {
    /// How often they were wanted before they were found: they are looked for ever more rarely, as there may be none.
    wanted: u32,
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
        let task = known.or_else(|| ring.find(memory, |task, memory| fields.table_of(task, memory) == Some(table)))?;
        self.known.insert(table, task);
        ring.name_of(task, memory)
    }

    fn ring(&mut self, memory: &mut impl Memory) -> Option<Ring> {
        if self.ring.is_none() {
            self.wanted = self.wanted.saturating_add(1);
            self.ring = self.wanted.is_power_of_two().then(|| find_idle(memory)).flatten();
        }
        self.ring
    }

    fn fields(&mut self, ring: Ring, table: u32, memory: &mut impl Memory) -> Option<Fields> {
        if self.fields.is_none() {
            self.fields = Fields::find(ring, table, memory);
        }
        self.fields
    }
}

/// Looks through the image for the idle task, by its name.
fn find_idle(memory: &mut impl Memory) -> Option<Ring> {
    let image = memory.image();
    let mut piece = vec![0; PIECE + NAME];
    for start in image.step_by(PIECE) {
        // A name may go over into the next piece; the last page of what is known has none after it.
        let whole = memory.read(start, &mut piece);
        if !whole && !memory.read(start, &mut piece[..PIECE]) {
            continue;
        }
        let length = if whole { PIECE } else { PIECE - NAME };
        for at in (0..length).step_by(4) {
            if is_idle_name(&piece[at..at + NAME])
                && let Some(ring) = Ring::around(start + at as u32, memory)
            {
                return Some(ring);
            }
        }
    }
    None
}

/// `swapper`, or `swapper/0` on kernels for several processors.
fn is_idle_name(bytes: &[u8]) -> bool {
    let rest = bytes.strip_prefix(b"swapper/0").or_else(|| bytes.strip_prefix(b"swapper"));
    rest.is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
}

impl Ring {
    /// The ring of the idle task whose name is at `name`.
    fn around(name: u32, memory: &mut impl Memory) -> Option<Self> {
        (4..=TASK).step_by(4).find_map(|to_name| {
            let idle = name.checked_sub(to_name)?;
            let mut ring = Self { idle, kthreadd: idle, to_name };
            ring.kthreadd = ring.find(memory, |task, memory| ring.name_of(task, memory).as_deref() == Some("kthreadd"))?;
            ring.closes(memory).then_some(ring)
        })
    }

    /// The newest task for which this holds.
    fn find<M: Memory>(&self, memory: &mut M, holds: impl Fn(u32, &mut M) -> bool) -> Option<u32> {
        let mut task = self.idle;
        for _ in 0..MOST_TASKS {
            task = self.before(task, memory)?;
            if task == self.idle {
                return None;
            }
            if holds(task, memory) {
                return Some(task);
            }
        }
        None
    }

    /// The task before this one, if it agrees that this one comes after it.
    fn before(&self, task: u32, memory: &mut impl Memory) -> Option<u32> {
        let before = memory.word(task.checked_add(4)?)?;
        (before.is_multiple_of(4) && before != task && memory.word(before)? == task).then_some(before)
    }

    /// Whether all tasks have names and the last is followed by the first.
    fn closes(&self, memory: &mut impl Memory) -> bool {
        let mut task = self.idle;
        for _ in 0..MOST_TASKS {
            match self.before(task, memory) {
                Some(before) if before == self.idle => return true,
                Some(before) if self.name_of(before, memory).is_some() => task = before,
                _ => return false,
            }
        }
        false
    }

    /// The name of a task, if it is one.
    fn name_of(&self, task: u32, memory: &mut impl Memory) -> Option<String> {
        let mut bytes = [0; NAME];
        let there = memory.read(task.checked_add(self.to_name)?, &mut bytes);
        let length = bytes.iter().position(|&byte| byte == 0).filter(|&length| there && length > 0)?;
        let printable = bytes[..length].iter().all(|byte| (b' '..=b'~').contains(byte));
        printable.then(|| bytes[..length].iter().copied().map(char::from).collect())
    }
}

impl Fields {
    /// Where they are, known from a task whose table this is.
    fn find(ring: Ring, table: u32, memory: &mut impl Memory) -> Option<Self> {
        (8..=TO_MEMORY).step_by(4).find_map(|to_memory| {
            // What a kernel thread has not, and what the next field says again of a task that has it.
            if memory.word(ring.kthreadd.checked_add(to_memory)?)? != 0 {
                return None;
            }
            (0..=TO_TABLE).step_by(4).find_map(|to_table| {
                let fields = Self { to_memory, to_table };
                ring.find(memory, |task, memory| fields.is_twice(task, memory) && fields.table_of(task, memory) == Some(table))?;
                Some(fields)
            })
        })
    }

    /// Whether the pointer to the task's memory (`mm`) stands there a second time (`active_mm`).
    fn is_twice(self, task: u32, memory: &mut impl Memory) -> bool {
        let at = task.wrapping_add(self.to_memory);
        let first = memory.word(at);
        first.is_some_and(|first| first != 0) && memory.word(at.wrapping_add(4)) == first
    }

    /// The table of a task that has memory of its own.
    fn table_of(self, task: u32, memory: &mut impl Memory) -> Option<u32> {
        let own = memory.word(task.checked_add(self.to_memory)?).filter(|own| *own != 0 && own.is_multiple_of(4))?;
        memory.word(own.checked_add(self.to_table)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u32 = 0x8000_0000;
    const SIZE: usize = 64 << 10;

    /// A memory of a few pages.
    struct Guest {
        bytes: Vec<u8>,
        to_name: u32,
        fields: Fields,
    }

    impl Memory for Guest {
        fn image(&self) -> Range<u32> {
            BASE..BASE + SIZE as u32
        }

        fn read(&mut self, address: u32, to: &mut [u8]) -> bool {
            let from = address.wrapping_sub(BASE) as usize;
            self.bytes.get(from..from.saturating_add(to.len())).map(|bytes| to.copy_from_slice(bytes)).is_some()
        }

        fn word(&mut self, address: u32) -> Option<u32> {
            let mut bytes = [0; 4];
            self.read(address, &mut bytes).then(|| u32::from_le_bytes(bytes))
        }
    }

    impl Guest {
        fn put(&mut self, address: u32, word: u32) {
            self.put_bytes(address, &word.to_le_bytes());
        }

        fn put_bytes(&mut self, address: u32, bytes: &[u8]) {
            let from = (address - BASE) as usize;
            self.bytes[from..from + bytes.len()].copy_from_slice(bytes);
        }

        fn put_name(&mut self, task: u32, name: &str) {
            let mut bytes = [0; NAME];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            self.put_bytes(task + self.to_name, &bytes);
        }

        /// The links of these tasks, at whose places they are.
        fn link(&mut self, tasks: &[u32]) {
            for (n, &task) in tasks.iter().enumerate() {
                let next = tasks[(n + 1) % tasks.len()];
                self.put(task, next);
                self.put(next + 4, task);
            }
        }

        /// Gives a task memory whose table is at `table`.
        fn give(&mut self, task: u32, own: u32, table: u32) {
            self.put(task + self.fields.to_memory, own);
            self.put(task + self.fields.to_memory + 4, own);
            self.put(own + self.fields.to_table, table);
        }
    }

    const IDLE: u32 = BASE + 0x2010;
    const INIT: u32 = BASE + 0x4010;
    const KTHREADD: u32 = BASE + 0x6010;
    const SHELL: u32 = BASE + 0x8010;
    const INITS_TABLE: u32 = BASE + 0xe000;
    const SHELLS_TABLE: u32 = BASE + 0xf000;

    /// A kernel with four tasks, laid out like this, in memory that is full of `noise`.
    fn kernel(to_name: u32, to_memory: u32, to_table: u32, mut noise: impl FnMut() -> u32) -> Guest {
        let bytes = (0..SIZE / 4).flat_map(|_| noise().to_le_bytes()).collect();
        let mut guest = Guest { bytes, to_name, fields: Fields { to_memory, to_table } };
        guest.link(&[IDLE, INIT, KTHREADD, SHELL]);
        for (task, name) in [(IDLE, "swapper/0"), (INIT, "init"), (KTHREADD, "kthreadd"), (SHELL, "sh")] {
            guest.put_name(task, name);
            guest.put(task + to_memory, 0);
        }
        // A kernel thread borrows the memory of whoever ran before it.
        guest.put(KTHREADD + to_memory + 4, BASE + 0xa000);
        guest.give(INIT, BASE + 0xa000, INITS_TABLE);
        guest.give(SHELL, BASE + 0xb000, SHELLS_TABLE);
        guest
    }

    fn generator(seed: u64) -> impl FnMut() -> u32 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u32
        }
    }

    #[test]
    fn programs_are_named_wherever_a_kernel_has_their_names() {
        for seed in 0..60 {
            let mut random = generator(seed);
            let mut below = |limit: u32| random() % limit * 4;
            let (to_memory, to_table) = (8 + below(50), below(100));
            let to_name = to_memory + 8 + below(500);
            let mut guest = kernel(to_name, to_memory, to_table, generator(seed + 1000));
            let mut tasks = Tasks::default();
            assert_eq!(tasks.name(INITS_TABLE, &mut guest).as_deref(), Some("init"), "seed {seed}");
            assert_eq!(tasks.name(SHELLS_TABLE, &mut guest).as_deref(), Some("sh"), "seed {seed}");
            assert_eq!(tasks.name(BASE + 0xd000, &mut guest), None, "seed {seed}: a table that is nobody's");
        }
    }

    fn plain() -> Guest {
        kernel(0x300, 0x20, 0x28, || 0)
    }

    #[test]
    fn a_name_is_the_one_of_now() {
        let mut guest = plain();
        let mut tasks = Tasks::default();
        assert_eq!(tasks.name(SHELLS_TABLE, &mut guest).as_deref(), Some("sh"));
        guest.put_name(SHELL, "ls");
        assert_eq!(tasks.name(SHELLS_TABLE, &mut guest).as_deref(), Some("ls"));
        // The shell has gone, and its table has come to init.
        guest.link(&[IDLE, INIT, KTHREADD]);
        guest.put(SHELL + 0x20, 0);
        guest.give(INIT, BASE + 0xa000, SHELLS_TABLE);
        assert_eq!(tasks.name(SHELLS_TABLE, &mut guest).as_deref(), Some("init"));
        assert_eq!(tasks.name(INITS_TABLE, &mut guest), None);
    }

    #[test]
    fn what_is_not_proved_is_not_named() {
        type Damage = fn(&mut Guest);
        let broken: [(&str, Damage); 6] = [
            ("a name that cannot be printed", |guest| guest.put_name(SHELL, "s\u{7}")),
            ("no name", |guest| guest.put_name(SHELL, "")),
            ("a name without an end", |guest| guest.put_bytes(SHELL + 0x300, b"0123456789abcdef")),
            ("a ring that does not close", |guest| guest.put(INIT + 4, SHELL)),
            ("a task whose neighbour knows nothing of it", |guest| guest.put(KTHREADD, INIT)),
            ("no kthreadd", |guest| guest.put_name(KTHREADD, "kthread")),
        ];
        for (what, damage) in broken {
            let mut guest = plain();
            damage(&mut guest);
            assert_eq!(Tasks::default().name(SHELLS_TABLE, &mut guest), None, "{what}");
        }
    }

    #[test]
    fn what_is_not_there_is_looked_for_ever_more_rarely() {
        let mut guest = plain();
        let mut tasks = Tasks::default();
        guest.put_name(IDLE, "idle");
        for _ in 0..4 {
            assert_eq!(tasks.name(SHELLS_TABLE, &mut guest), None);
        }
        guest.put_name(IDLE, "swapper");
        for wanted in 5..8 {
            assert_eq!(tasks.name(SHELLS_TABLE, &mut guest), None, "{wanted}");
        }
        assert_eq!(tasks.name(SHELLS_TABLE, &mut guest).as_deref(), Some("sh"));
    }
}
