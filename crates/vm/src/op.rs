//! What tasks do: the vocabulary of workloads, scripts and replayed logs.
//!
//! Everything is named by small numbers that the workload chooses, so that a list of steps stays meaningful when steps are taken
//! out of it: a step about something that does not exist fails with an error number, in the kernel and in the model alike.

/// A thread. The first thread of a process stands for the process as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId(pub u16);

/// A mapping of a process. A child of `fork` has its parent's mappings under the same numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AreaId(pub u16);

/// A file. All processes see the same files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(pub u16);

/// A pipe. All processes see the same pipes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PipeId(pub u16);

/// Where a mapping is to be put.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Place {
    /// Wherever the kernel likes.
    Anywhere,
    /// At a free address of this colour (modulo the number of colours), as `MAP_FIXED` would have it; a kernel may refuse.
    Colour(u16),
}

/// A stretch of a mapping, in bytes from its start. It may span pages and need not be aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Bytes {
    /// The mapping, of the process of the task that acts unless the operation says otherwise.
    pub area: AreaId,
    /// The first byte.
    pub offset: u32,
    /// How many bytes.
    pub len: u32,
}

/// One thing that a task does: accesses of the program itself, or a system call.
///
/// What is written is said by a `seed`: byte `i` of a write is a fixed function of the seed and `i`, so that a workload carries no
/// data and every byte is recognisable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Op {
    /// The program loads bytes.
    Load(Bytes),
    /// The program stores bytes.
    Store {
        /// Where to.
        to: Bytes,
        /// What.
        seed: u32,
    },
    /// The program adds one to the 32-bit word at this place, atomically.
    Increment {
        /// The mapping.
        area: AreaId,
        /// Where in it; a multiple of 4.
        offset: u32,
    },
    /// The program executes bytes as instructions: they are fetched.
    Run(Bytes),
    /// The program has written code and says so (`cacheflush(2)`).
    SyncCode(Bytes),

    /// A further thread in the caller's process.
    Thread {
        /// Its number.
        new: TaskId,
    },
    /// A child process whose memory is the caller's, copied on write.
    Fork {
        /// Its first thread.
        child: TaskId,
    },
    /// The caller's process becomes another program: its mappings go, the file is mapped private and executable as area 0, a stack
    /// as area 1, and the arguments are written to the stack.
    Exec {
        /// The program.
        file: FileId,
        /// Bytes of arguments, at most a page.
        arguments: u32,
        /// Their contents.
        seed: u32,
    },
    /// The thread ends; with the last one the process does.
    Exit,

    /// Maps zeroed memory, readable and writable.
    MapAnonymous {
        /// Its name.
        area: AreaId,
        /// Its length.
        pages: u32,
        /// Whether children share it instead of copying.
        shared: bool,
        /// Where.
        place: Place,
    },
    /// Maps a file.
    MapFile {
        /// Its name.
        area: AreaId,
        /// The file.
        file: FileId,
        /// The first page of the file that is mapped.
        first: u32,
        /// Its length.
        pages: u32,
        /// Whether stores go to the file (else they stay private: copy on write).
        shared: bool,
        /// Where.
        place: Place,
    },
    /// Unmaps pages of a mapping.
    Unmap {
        /// The mapping.
        area: AreaId,
        /// The first page that goes.
        first: u32,
        /// How many.
        pages: u32,
    },
    /// Moves a mapping to another address (`mremap`); its contents move with it.
    Remap {
        /// The mapping.
        area: AreaId,
        /// Where to.
        place: Place,
    },
    /// Changes what the program may do with a mapping; it may always read.
    Protect {
        /// The mapping.
        area: AreaId,
        /// Whether it may store.
        write: bool,
        /// Whether it may execute.
        execute: bool,
    },

    /// Makes a file of this length, filled from the seed, on the disk alone; one that exists is replaced when nobody maps it.
    Create {
        /// The file.
        file: FileId,
        /// Its length in bytes.
        len: u32,
        /// Its contents.
        seed: u32,
    },
    /// `pread` through the page cache.
    Read {
        /// The file.
        file: FileId,
        /// Where in it.
        at: u32,
        /// Where to, and how much.
        to: Bytes,
    },
    /// `pwrite` through the page cache; may extend the file.
    Write {
        /// The file.
        file: FileId,
        /// Where in it.
        at: u32,
        /// From where, and how much.
        from: Bytes,
    },
    /// `pread` with `O_DIRECT`: the device writes the program's frames. Position and length are multiples of 512; the memory need
    /// not be aligned.
    DirectRead {
        /// The file.
        file: FileId,
        /// Where in it.
        at: u32,
        /// Where to, and how much.
        to: Bytes,
    },
    /// `pwrite` with `O_DIRECT`: the device reads the program's frames; as [`DirectRead`](Self::DirectRead).
    DirectWrite {
        /// The file.
        file: FileId,
        /// Where in it.
        at: u32,
        /// From where, and how much.
        from: Bytes,
    },
    /// `splice`: whole pages go from the page cache into a pipe without a copy.
    Splice {
        /// The file.
        file: FileId,
        /// The first page of the file.
        first: u32,
        /// How many.
        pages: u32,
        /// The pipe.
        pipe: PipeId,
    },
    /// Writes to a pipe; what does not fit is not written.
    PipeWrite {
        /// The pipe.
        pipe: PipeId,
        /// From where, and how much.
        from: Bytes,
    },
    /// Reads what a pipe holds, at most as much as asked for.
    PipeRead {
        /// The pipe.
        pipe: PipeId,
        /// Where to, and how much.
        to: Bytes,
    },
    /// Writes a file's dirty pages to the disk (`fsync`).
    Sync {
        /// The file.
        file: FileId,
    },
    /// Writes a file's dirty pages to the disk and drops its pages from the cache, but for those that are mapped.
    Evict {
        /// The file.
        file: FileId,
    },
    /// The file system reads a block of several pages of a file through a kernel mapping of its own (`vmap`), and checks it.
    VmapRead {
        /// The file.
        file: FileId,
        /// The first page.
        first: u32,
        /// How many.
        pages: u32,
    },
    /// The file system writes such a block through its own mapping, and then to the disk.
    VmapWrite {
        /// The file.
        file: FileId,
        /// The first page.
        first: u32,
        /// How many.
        pages: u32,
        /// The contents.
        seed: u32,
    },
    /// Puts pages of a mapping out to the swap, as when memory is short.
    SwapOut {
        /// The mapping.
        area: AreaId,
        /// The first page.
        first: u32,
        /// How many.
        pages: u32,
    },

    /// A debugger reads another process's memory (`PTRACE_PEEKDATA`).
    Peek {
        /// The other process.
        target: TaskId,
        /// What, among the target's mappings.
        from: Bytes,
    },
    /// A debugger writes another process's memory, code included (`PTRACE_POKEDATA`), whatever its rights.
    Poke {
        /// The other process.
        target: TaskId,
        /// Where to, among the target's mappings.
        to: Bytes,
        /// What.
        seed: u32,
    },
    /// `process_vm_readv`: `len` bytes of the target come to the caller.
    RemoteRead {
        /// The other process.
        target: TaskId,
        /// From where, among the target's mappings, and how much.
        from: Bytes,
        /// The caller's mapping.
        area: AreaId,
        /// Where in it.
        offset: u32,
    },
    /// `process_vm_writev`: `len` bytes of the caller go to the target.
    RemoteWrite {
        /// The other process.
        target: TaskId,
        /// Where to, among the target's mappings, and how much.
        to: Bytes,
        /// The caller's mapping.
        area: AreaId,
        /// Where in it.
        offset: u32,
    },

    /// Makes a ring that kernel and program both map for long (as of `io_uring` or a packet socket).
    RingCreate {
        /// Its name as a mapping of the caller.
        area: AreaId,
        /// Its length.
        pages: u32,
    },
    /// The kernel stores to the ring, through its own mapping.
    RingPost {
        /// Where to.
        to: Bytes,
        /// What.
        seed: u32,
    },
    /// The kernel loads from the ring, through its own mapping.
    RingTake(Bytes),
}

/// One step of a workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Step {
    /// Who. Task 0 exists from the start, alone in its process.
    pub task: TaskId,
    /// What.
    pub op: Op,
}

/// Byte `index` of what a step with this seed writes.
#[must_use]
#[inline]
pub const fn pattern(seed: u32, index: u32) -> u8 {
    let mixed = (seed ^ index.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b1);
    (mixed >> 24) as u8 ^ (mixed >> 11) as u8
}

impl Op {
    /// The kind of the operation, in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Load(_) => "load",
            Self::Store { .. } => "store",
            Self::Increment { .. } => "increment",
            Self::Run(_) => "run",
            Self::SyncCode(_) => "sync-code",
            Self::Thread { .. } => "thread",
            Self::Fork { .. } => "fork",
            Self::Exec { .. } => "exec",
            Self::Exit => "exit",
            Self::MapAnonymous { .. } => "map-anonymous",
            Self::MapFile { .. } => "map-file",
            Self::Unmap { .. } => "unmap",
            Self::Remap { .. } => "remap",
            Self::Protect { .. } => "protect",
            Self::Create { .. } => "create",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::DirectRead { .. } => "direct-read",
            Self::DirectWrite { .. } => "direct-write",
            Self::Splice { .. } => "splice",
            Self::PipeWrite { .. } => "pipe-write",
            Self::PipeRead { .. } => "pipe-read",
            Self::Sync { .. } => "sync",
            Self::Evict { .. } => "evict",
            Self::VmapRead { .. } => "vmap-read",
            Self::VmapWrite { .. } => "vmap-write",
            Self::SwapOut { .. } => "swap-out",
            Self::Peek { .. } => "peek",
            Self::Poke { .. } => "poke",
            Self::RemoteRead { .. } => "remote-read",
            Self::RemoteWrite { .. } => "remote-write",
            Self::RingCreate { .. } => "ring-create",
            Self::RingPost { .. } => "ring-post",
            Self::RingTake(_) => "ring-take",
        }
    }

    /// Whether this is an access of the program itself, and no system call.
    #[must_use]
    pub const fn is_access(&self) -> bool {
        matches!(self, Self::Load(_) | Self::Store { .. } | Self::Increment { .. } | Self::Run(_))
    }
}
