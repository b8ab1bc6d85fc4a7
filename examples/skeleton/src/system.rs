//! What happens when a thread stops: its fault is served, its call is carried out, or another one's turn comes.
//!
//! One CPU at a time is in the kernel, and is not interrupted there. A call or fault that has to wait (for a device, for another process) is
//! made again from the start when the thread's turn comes again, so nothing of it is kept.

use congruent::{Frame, VirtAddr};

use crate::arch::{self, CPUS, Disk, Event, Hardware, Registers};
use crate::direct::{self, Direct};
use crate::exec::{self, LONGEST, Program};
use crate::fault::{Fault, fault};
use crate::file::{self, File};
use crate::machine::SPACES;
use crate::space::START;
use crate::thread::{State, Threads};
use crate::{Kernel, PAGE, boot, user};

/// Pages of the file.
const FILE_PAGES: usize = 4;

/// The most pages that the program has.
const PROGRAM_PAGES: usize = 8;

/// The kernel, booted.
pub struct System {
    pub(crate) kernel: Kernel,
    pub(crate) threads: Threads,
    file: [Frame; FILE_PAGES],
    program: ([Frame; PROGRAM_PAGES], usize, usize),
    disk: Option<Disk>,
    /// The transfer that is under way, and whose it is.
    transfer: Option<(Direct, usize)>,
    /// The address space that each CPU's TLB holds entries of.
    loaded: [usize; CPUS],
}

/// How a call ends.
pub(crate) enum Answer {
    /// With this value.
    Value(usize),
    /// It is made again when its thread's turn comes again.
    Again,
    /// The thread's registers are as they have to be.
    Done,
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Library(error) if error.is_transient() => Self::Again,
            _ => Self::Value(usize::MAX),
        }
    }
}

impl System {
    /// Boots, with `image` as the program, of which `code` bytes are code, and one process that runs it.
    ///
    /// # Panics
    /// If this machine cannot be served.
    pub fn new(image: &[u8], code: usize) -> Self {
        boot::test_memory();
        let kernel = match boot::boot(Hardware::new()) {
            Ok(kernel) => kernel,
            Err(error) => panic!("{error}"),
        };
        let page = |index: usize| {
            let colour = kernel.file_colour(index as u64);
            kernel.platform().allocate(|frame| kernel.colour_hint(frame) == Ok(colour))
        };
        let frames: [Frame; FILE_PAGES] = core::array::from_fn(|index| page(index).expect("there is memory"));
        let program: [Frame; PROGRAM_PAGES] = core::array::from_fn(|index| page(index).expect("there is memory"));
        let program = (program, image.len().div_ceil(PAGE as usize), code.div_ceil(PAGE as usize));
        let (disk, threads) = (Disk::find(), Threads::new());
        let mut system = Self { kernel, threads, file: frames, program, disk, transfer: None, loaded: [0; CPUS] };
        let filled = file::fill(&system.kernel, &system.program().file, image)
            .and_then(|()| file::fill(&system.kernel, &system.file(), &[b'.'; FILE_PAGES * PAGE as usize]));
        if let Err(error) = filled {
            panic!("{error}");
        }
        let begun = system.start(0, b"init\0first\0second argument\0");
        assert_eq!(begun, Ok(()), "there is a program");
        say(format_args!("CONGRUENT-BOOT-OK\n"));
        system
    }

    pub(crate) fn file(&self) -> File<'_> {
        File { frames: &self.file }
    }

    pub(crate) fn program(&self) -> Program<'_> {
        let (frames, pages, code) = &self.program;
        Program { file: File { frames: &frames[..*pages] }, code: *code }
    }

    /// Gives a process a new program, and one thread that begins it.
    pub(crate) fn start(&mut self, space: usize, arguments: &[u8]) -> Result<(), Fault> {
        let address = exec::exec(&self.kernel, space, &self.program(), arguments)?;
        self.threads.end_all(space);
        self.threads.add(Registers::new(VirtAddr(START), address, address.0 as usize), space).ok_or(Fault::NoMemory)
    }

    /// The thread that this CPU ran has stopped. Returns the registers of the one that goes on, if there is one.
    pub(crate) fn stopped(&mut self) -> Option<*mut Registers> {
        if self.threads.number().is_none() {
            // Another CPU has ended it meanwhile.
            return self.give_turn();
        }
        let event = self.threads.running().registers.event();
        // A thread that waits for the end of a transfer faults again and again: it is not asked for each time.
        if !matches!(event, Event::Fault { .. }) {
            self.end_transfer();
        }
        let goes_on = match event {
            Event::Fault { address, store } => self.fault(address, store),
            Event::Call => self.call(),
            Event::Tick => {
                arch::tick_again();
                false
            }
            Event::Wrong => {
                self.kill("what no kernel can help with");
                false
            }
        };
        if goes_on { Some(&raw mut self.threads.running().registers) } else { self.give_turn() }
    }

    fn fault(&mut self, address: VirtAddr, store: bool) -> bool {
        let (space, page) = (self.space(), address.align_down(PAGE));
        let code = VirtAddr(self.threads.running().registers.pc() as u64).align_down(PAGE);
        let table = &self.kernel.platform().spaces[space];
        let known = table.get(page).is_some_and(|entry| entry.present && (entry.write || !store));
        match if known { Ok(()) } else { fault(&self.kernel, space, page, store) } {
            Ok(()) => {
                // An instruction needs its own page and another one, and each trap gives another CPU the chance to have all entries dropped. So both
                // come at once, with time enough for it.
                let hardware = &self.kernel.platform().hardware;
                hardware.refill(table, code);
                hardware.refill(table, page);
                arch::tick_again();
                true
            }
            Err(Fault::Library(error)) if error.is_transient() => false,
            Err(_) => {
                self.kill("a store or load of nothing");
                false
            }
        }
    }

    fn call(&mut self) -> bool {
        match self.perform() {
            Answer::Value(value) => {
                self.threads.running().registers.answer(value);
                true
            }
            Answer::Again | Answer::Done => false,
        }
    }

    /// A process has done what it must not.
    fn kill(&mut self, why: &str) {
        let (space, pc) = (self.space(), self.threads.running().registers.pc());
        say(format_args!("FAIL process {space} at {pc:#x}: {why}\n"));
        // If it cannot end now, its thread does the same again.
        let _ = self.end(space);
    }

    /// Ends a process, unless a device is at work in its memory.
    pub(crate) fn end(&mut self, space: usize) -> Answer {
        if self.transfer.as_ref().is_some_and(|&(_, number)| self.threads.get(number).space == space) {
            return Answer::Again;
        }
        self.threads.end_all(space);
        // From here on no CPU is in its code any more.
        self.kernel.platform().flush_user_tlb();
        if let Err(fault) = exec::clear(&self.kernel, space) {
            panic!("the memory of process {space} is lost: {fault:?}");
        }
        Answer::Done
    }

    /// Begins direct I/O for the thread that runs.
    pub(crate) fn direct(&mut self, sector: u32, address: VirtAddr, len: usize, to_memory: bool) -> Answer {
        // The controller moves even numbers of bytes, and sectors.
        if address.0 % 2 != 0 || len == 0 || len % 512 != 0 {
            return Answer::Value(usize::MAX);
        }
        let Some(disk) = &self.disk else { return Answer::Value(usize::MAX) };
        if self.transfer.is_some() {
            return Answer::Again;
        }
        let (space, number) = (self.space(), self.threads.number());
        let Some(number) = number else { return Answer::Done };
        match direct::begin(&self.kernel, space, address, len, to_memory) {
            Ok((direct, pieces)) => {
                disk.start(sector, &pieces, to_memory);
                self.transfer = Some((direct, number));
                self.threads.running().state = State::Waiting;
                Answer::Done
            }
            Err(fault) => fault.into(),
        }
    }

    fn end_transfer(&mut self) {
        let Some((direct, number)) = self.transfer.take() else { return };
        match self.disk.as_ref().and_then(Disk::finished) {
            None => self.transfer = Some((direct, number)),
            Some(well) => {
                direct::end(&self.kernel, direct);
                let thread = self.threads.get(number);
                thread.registers.answer(if well { 0 } else { usize::MAX });
                thread.state = State::Ready;
            }
        }
    }

    /// Gives another thread its turn on this CPU. Returns its registers; nothing if there is none that can run.
    pub(crate) fn give_turn(&mut self) -> Option<*mut Registers> {
        if self.threads.none() {
            say(format_args!("CONGRUENT-DONE\n"));
            arch::off();
        }
        let before = self.threads.number();
        let Some(thread) = self.threads.next() else {
            self.end_transfer();
            arch::rest();
            arch::tick_again();
            return None;
        };
        arch::work();
        let (space, registers) = (thread.space, &raw mut thread.registers);
        if self.threads.number() != before {
            // Each has its time whole.
            arch::tick_again();
        }
        let loaded = &mut self.loaded[arch::cpu()];
        if *loaded != space {
            self.kernel.platform().hardware.flush_own_user_tlb();
            *loaded = space;
        }
        Some(registers)
    }

    /// A user's bytes, to be printed.
    pub(crate) fn print(&mut self, from: VirtAddr, len: usize) -> Answer {
        let mut text = [0; LONGEST];
        let text = &mut text[..len.min(LONGEST)];
        match user::load(&self.kernel, self.space(), from, text) {
            Ok(()) => {
                arch::print(text);
                Answer::Value(0)
            }
            Err(fault) => fault.into(),
        }
    }

    /// The address space of the thread that runs.
    pub(crate) fn space(&self) -> usize {
        self.threads.space()
    }

    /// An address space that no process has.
    pub(crate) fn free_space(&self) -> Option<usize> {
        (0..SPACES).find(|&space| !self.threads.any(space))
    }
}

/// Prints.
pub(crate) fn say(what: core::fmt::Arguments<'_>) {
    struct Console;
    impl core::fmt::Write for Console {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            arch::print(text.as_bytes());
            Ok(())
        }
    }
    // It never fails.
    let _ = core::fmt::Write::write_fmt(&mut Console, what);
}
