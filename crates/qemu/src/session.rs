//! One check, from inside QEMU: guest instructions in, events to the judge, results to the program.

mod apart;
mod code;
mod follow;
mod inject;
mod leave;
mod ledger;
mod lives;
mod maintain;
mod masters;
mod memory;
mod reach;
mod redo;
mod stops;
mod tell;
mod turns;
mod unseen;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use congruent_arch::{Arch, Meaning};
use congruent_geometry::{CacheGeometry, VirtAddr};
use congruent_shadow::{Alias, ByteId, Config as JudgeConfig, Stats};
use congruent_trace::file::{Header, Validity};
use congruent_trace::{AccessKind, DmaDirection, Event, On, Operation, Site};
use congruent_wire::{Config, FailureKind};

use crate::access::{AccessInfo, AccessShape};
use crate::api::Api;
use crate::bus;
use crate::callbacks::{Callbacks, Fetched, Instruction};
use crate::channel::Channel;
use crate::cpu::{self, ControlStore};
use crate::dma::Devices;
use crate::judge::Judge;
use crate::moment::{Accessing, Executing, Insn, Starting, StateWord, Translating};
use crate::mute::Mute;
use crate::settled::Settled;
use crate::translation::{GRANULE, Known};
use follow::{Callers, Following};
use inject::{Inject, Memory};
use leave::Leaving;
use lives::Lives;
use memory::MemoryCopy;
use reach::{Reach, Reached};
use stops::Stops;
use tell::Telling;
use turns::Turns;
use unseen::Unseen;

/// What an access is at first sight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looked {
    /// One that changes nothing, which has been taken.
    Taken,
    /// A store through the cache.
    Store(Stored),
    /// Something else.
    Other,
}

/// Where a store through the cache goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Stored {
    byte: ByteId,
    alias: Alias,
    size: u32,
}

/// The number of values of QEMU's access description whose shape is remembered.
const SHAPES: usize = 1 << 18;

/// The state of one check: where an address leads, who called, and what is told to whom, around the judge.
pub struct Session {
    callbacks: &'static Callbacks,
    reach: Reach,
    shapes: Box<[u8; SHAPES]>,
    judge: Judge,
    callers: Callers,
    telling: Telling,
    /// Where the guest is stopped, if anywhere.
    stops: Option<Stops>,
    /// What the guest is given, if it is given old bytes.
    inject: Option<Inject>,
    /// How generated code is left, if it ever is.
    leaving: Option<Leaving>,
    /// Whether no load is awaited that is made again.
    idle: bool,
    /// See [`is_alone`](Self::is_alone).
    alone: bool,
    stopped: bool,
    /// The guest's architecture, and what each of its lives is judged with.
    arch: Arch,
    /// What the guest's first instruction waits for.
    gate: Option<PathBuf>,
    caches: JudgeConfig,
    lives: Lives,
    /// The instruction cache, if fetches are judged.
    code: Option<CacheGeometry>,
    /// Where the CPU state has the address of a block that starts, if QEMU's translations do not say it.
    block_word: Option<StateWord>,
    /// Blocks that need not be called for, if any can be told apart.
    settled: Option<Settled>,
    turns: Turns,
    mute: Mute,
    devices: Devices,
    unseen: Unseen,
}

impl Session {
    /// Prepares a check of a guest of this architecture with so many CPUs.
    ///
    /// # Errors
    /// A sentence that says why this guest cannot be checked in this QEMU, and what to do.
    pub fn new(
        api: &'static Api,
        callbacks: &'static Callbacks,
        qemu_api: i32,
        arch: Arch,
        cpus: u32,
        config: Config,
    ) -> Result<Self, String> {
        let facts = arch.facts();
        let cpu = cpu::of_arch(arch, api)?;
        let turns = Turns::new(&*cpu, api, cpus, config.cpus)?;
        let caches = JudgeConfig::try_from(config.caches).map_err(|error| format!("the caches: {error}"))?;
        let caches = caches.with_cpus(config.cpus.of(cpus)).map_err(|error| error.to_string())?;
        if cpus > 1 && config.record.is_some() {
            return Err(format!(
                "the guest has {cpus} CPUs, which recordings do not tell apart; leave out --record, or start it with -smp 1"
            ));
        }
        let geometry = caches.geometry;
        if geometry.page() < GRANULE {
            return Err(format!("pages of {} bytes are not supported; the smallest is {GRANULE}", geometry.page()));
        }
        let following = config.backtraces.then(|| Following::of(&*cpu)).flatten();
        let block_word = cpu.block_word();
        let alone = !turns.are_several() && !cpu.has_spaces();
        if caches.code.is_some() && !facts.follows_code_maintenance {
            return Err(format!("instruction fetches of {} guests cannot be judged; leave --icache out", facts.name));
        }
        let mut caches = caches.with_contexts(following.is_some());
        if config.ledger {
            caches = caches.with_ledger().map_err(|error| format!("--ledger: {error}"))?;
        }
        if let Some(schedules) = config.inject {
            caches = caches.with_bytes(schedules).map_err(|error| format!("--inject: {error}"))?;
        }
        let mut judge = Judge::new(caches, cpu.index_form());
        if let Some(record) = &config.record {
            let path = record.file.display();
            let header = Header {
                version: congruent_trace::file::VERSION,
                target: facts.name.into(),
                geometry,
                behaviour: caches.behaviour(),
                code: caches.code.map(|code| code.geometry),
                index: facts.index,
                muted: record.muted.clone(),
                qemu_api,
                valid: Validity::of_run(caches.behaviour(), caches.code.is_some()),
            };
            let started = File::create(&record.file).and_then(|file| judge.record(file, &header));
            started.map_err(|error| format!("cannot write the recording `{path}`: {error}; give --record another file"))?;
        }
        Ok(Self {
            callbacks,
            reach: Reach::new(cpu, api, &caches),
            shapes: vec![0; SHAPES].into_boxed_slice().try_into().map_err(|_| "out of memory")?,
            judge,
            callers: Callers::new(following),
            telling: Telling::new(config.record, config.memory.map(|file| MemoryCopy::of(arch, file))),
            idle: true,
            alone,
            leaving: Leaving::find(config.stop_at.is_some(), config.inject.is_some())?,
            stops: config.stop_at.map(Stops::new),
            inject: config.inject.map(|_| Inject::find()).transpose()?,
            stopped: false,
            gate: config.gate,
            arch,
            caches,
            lives: Lives::default(),
            code: caches.code.map(|code| code.geometry),
            block_word,
            settled: None,
            turns,
            mute: Mute::new(config.mute),
            devices: Devices::of(arch),
            unseen: Unseen::default(),
        })
    }

    /// Gives the session its line to the program.
    pub fn attach(&mut self, channel: Channel) {
        self.telling.attach(channel);
    }

    /// QEMU's functions.
    #[inline]
    pub fn api(&self) -> &'static Api {
        self.reach.api
    }

    /// Whether the guest is given old bytes.
    pub fn injects(&self) -> bool {
        self.inject.is_some()
    }

    /// The guest's architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// A CPU exists now: its registers can be looked up.
    pub fn vcpu_init(&mut self, now: &Starting) {
        self.meet_cpu(now);
        self.let_settle(now);
        let known = now.registers();
        let suits = cpu::suits(self.arch, &known, |handle| now.register(handle));
        if let Err(reason) = suits.and_then(|()| self.reach.cpu.start(&known)) {
            self.stop(FailureKind::Environment, reason);
        }
    }

    /// Chooses the callbacks of every instruction of a block.
    pub fn translate(&mut self, block: &Translating) {
        if let Some(gate) = self.gate.take() {
            wait_for(&gate);
        }
        if self.stopped {
            return;
        }
        self.keep_first_bytes();
        let mut first = true;
        let mut fetched = Fetched::default();
        let facts = self.reach.cpu.arch().facts();
        for insn in block.instructions() {
            let (bytes, length) = insn.bytes();
            let pc = self.reach.cpu.site(insn.address());
            fetched.extend(pc, insn.length());
            if std::mem::take(&mut first) {
                if self.mute.is_used() || self.reach.cpu.has_spaces() {
                    block.on_start(&self.callbacks.block, Site(pc));
                }
                self.watch_returns(block, &insn, pc);
            }
            let word = facts.word(bytes, length);
            if let Some(word) = word {
                self.watch_flow(&insn, pc, word);
            }
            self.instrument(&insn, pc, word);
        }
        if self.code.is_some() && !first {
            self.watch_fetches(block, fetched);
        }
    }

    fn instrument(&mut self, insn: &Insn<'_>, pc: u32, word: Option<u32>) {
        let instruction = Instruction { pc, word: word.unwrap_or(0) };
        let meaning = word.map_or(Meaning::Other, |word| self.reach.cpu.decode(word));
        let partial = matches!(meaning, Meaning::PartialWord(_));
        match meaning {
            Meaning::Cache(_) | Meaning::BothCaches(_) | Meaning::Prefetch(_) | Meaning::Translation => {
                insn.on_execution(&self.callbacks.execution, instruction);
            }
            Meaning::CodeCache(_) if self.code.is_some() => insn.on_execution(&self.callbacks.execution, instruction),
            Meaning::CodeCache(_) | Meaning::PartialWord(_) | Meaning::Other => {}
        }
        let muted_store = |word| self.mute.is_used() && self.reach.cpu.may_store_control(word);
        if partial || word.is_some_and(|word| self.reach.cpu.calibrates(word) || muted_store(word)) {
            insn.on_memory(&self.callbacks.memory_with_registers, instruction);
        } else {
            insn.on_memory(self.memory_callback(), instruction);
        }
    }

    /// An access is about to be taken, to the address that QEMU reports.
    #[inline]
    pub fn enter(&mut self, reported: u64) {
        self.reach.cpu.enter(reported);
        self.reach.translations.enter(self.reach.cpu.space());
    }

    /// Takes a load or store that changes nothing, which is nearly every one; false if it is none of those.
    ///
    /// This is the product's speed, and cannot panic.
    #[inline(always)]
    pub fn quiet_access(&mut self, info: AccessInfo, vaddr: u32, site: Site) -> bool {
        match self.look(info, vaddr) {
            Looked::Taken => true,
            Looked::Store(target) => self.quiet_store(target, site),
            Looked::Other => false,
        }
    }

    /// Takes an access that changes nothing unless it is a store through the cache, of which it says where it goes. Cannot panic.
    #[inline(always)]
    pub fn look(&mut self, info: AccessInfo, vaddr: u32) -> Looked {
        let Some(AccessShape { kind, size }) = self.known_shape(info) else { return Looked::Other };
        match self.reach.translations.find(vaddr) {
            Known::Cached(target) => {
                let (byte, alias) = (target.byte(vaddr), target.alias);
                match kind {
                    AccessKind::Store => Looked::Store(Stored { byte, alias, size }),
                    AccessKind::Load if self.judge.quiet_load(byte, alias, size) => Looked::Taken,
                    AccessKind::Load => Looked::Other,
                }
            }
            Known::Harmless if vaddr % GRANULE + size <= GRANULE => {
                self.reach.harmless += 1;
                Looked::Taken
            }
            Known::Harmless | Known::Nothing => Looked::Other,
        }
    }

    /// Takes a store through the cache that changes nothing but who stored last; false if it may change more. Cannot panic.
    #[inline(always)]
    pub fn quiet_store(&mut self, Stored { byte, alias, size }: Stored, site: Site) -> bool {
        !self.callers.unknown && self.judge.quiet_store(byte, alias, size, site)
    }

    /// As [`quiet_access`](Self::quiet_access), of a run that may be recorded. Cannot panic either.
    #[inline(always)]
    pub fn quiet_recorded_access(&mut self, info: AccessInfo, vaddr: u32, site: Site) -> bool {
        let Some(AccessShape { kind, size }) = self.known_shape(info) else { return false };
        let target = match self.reach.translations.find(vaddr) {
            Known::Cached(target) => target,
            Known::Harmless | Known::Nothing => return self.look(info, vaddr) == Looked::Taken,
        };
        let (byte, alias, vaddr) = (target.byte(vaddr), target.alias, self.recorded_address(vaddr));
        match kind {
            AccessKind::Load => self.judge.quiet_recorded_load(byte, alias, vaddr, size),
            AccessKind::Store => !self.callers.unknown && self.judge.quiet_recorded_store(byte, alias, vaddr, size, site),
        }
    }

    /// The address that a recording has in place of this one, if there is a recording.
    #[inline(always)]
    fn recorded_address(&self, vaddr: u32) -> VirtAddr {
        if self.judge.is_recording() { self.reach.cache_address(vaddr) } else { VirtAddr(vaddr.into()) }
    }

    /// Any load or store of the guest.
    #[cold]
    pub fn access(&mut self, access: &Accessing, vaddr: u32, site: Site) {
        if self.stopped {
            return;
        }
        self.learn_context(access);
        let info = access.info();
        let remembered = self.shapes.get_mut(info.0 as usize);
        let shape = match remembered.as_deref().and_then(|shape| AccessShape::unpack(*shape)) {
            Some(shape) => shape,
            None => {
                let shape = access.shape();
                if let Some(remembered) = remembered {
                    *remembered = shape.pack();
                }
                shape
            }
        };
        if self.reach.cpu.has_control_at(vaddr) {
            match shape.kind {
                AccessKind::Load => self.reach.cpu.control_load(vaddr),
                AccessKind::Store => self.control_store(access, vaddr, site, false),
            }
            return;
        }
        self.judge_access(access, shape.kind, vaddr, shape.size, site);
    }

    /// A store to a part of the processor that lies in its address space.
    #[cold]
    fn control_store(&mut self, access: &Accessing, vaddr: u32, site: Site, muted: bool) {
        let Some(value) = access.value() else { return };
        match self.reach.cpu.control_store(&self.reach.geometry, vaddr, value, access) {
            ControlStore::Nothing => {}
            ControlStore::Translation => {
                self.reach.forget();
                self.space_changes();
            }
            ControlStore::Unsupported(reason) => self.stop(FailureKind::Environment, reason),
            ControlStore::Cache { op, scope } => {
                // The register that says so may have changed attributes as well.
                self.reach.forget();
                self.judge.operate(Operation { on: On::Data(op), target: scope.into(), site }, muted);
            }
        }
        self.step(access);
    }

    /// The shape of an access description that was seen before.
    #[inline]
    fn known_shape(&self, info: AccessInfo) -> Option<AccessShape> {
        AccessShape::unpack(*self.shapes.get(info.0 as usize)?)
    }

    /// Judges `size` bytes of an access, page by page.
    fn judge_access(&mut self, access: &Accessing, kind: AccessKind, mut vaddr: u32, mut size: u32, site: Site) {
        while size > 0 && !self.stopped {
            let piece = size.min(GRANULE - vaddr % GRANULE);
            let stored = if kind == AccessKind::Store { piece } else { 0 };
            match self.reach(access, vaddr, stored) {
                Reached::Cached(page, offset) => {
                    self.look_for_unseen(kind, self.judge.paddr(page, offset), piece, access);
                    self.tell_access(kind, page, offset, piece);
                    self.judge.access(kind, page, self.reach.cache_address(vaddr), offset, piece, site);
                }
                Reached::Uncached(paddr) => {
                    self.look_for_unseen(kind, paddr, piece, access);
                    self.tell_past(kind, paddr, piece);
                    self.judge.bypass(&Event::Uncached { kind, paddr, size: piece, site });
                }
                Reached::Harmless => self.reach.harmless += 1,
                Reached::Device(paddr) => self.device_access(access, kind, vaddr, paddr),
                Reached::Nothing => {}
            }
            vaddr = vaddr.wrapping_add(piece);
            size -= piece;
        }
        self.give_old_bytes(kind);
        self.step(access);
    }

    /// An access to a device's registers: it may tell what the device does to memory.
    fn device_access(&mut self, access: &Accessing, kind: AccessKind, vaddr: u32, paddr: u64) {
        let Some(value) = access.value() else { return };
        let size = access.shape().size;
        // What lies above a short value is not defined.
        let value = if size < 4 { value & ((1 << (8 * size)) - 1) } else { value };
        let reported = self.reach.cpu.reported(vaddr);
        let (judge, mut memory) = (&mut self.judge, |address| access.physical_word(address));
        let (unseen, geometry) = (&mut self.unseen, &self.reach.geometry);
        let own = Memory::of(self.inject.as_ref(), self.leaving.as_ref());
        let name = || access.device_name(reported);
        let mut reads = Vec::new();
        self.devices.access(kind, paddr, size, value, name, &mut memory, &mut |event| {
            let read = |at, to: &mut [u8]| own.is_read(at, to, |at, to| access.physical_bytes(at, to));
            unseen.before(judge, geometry, &event, read, bus::is_pending);
            own.tell_moved(judge, &event);
            judge.bypass(&event);
            if let Event::Dma { direction: DmaDirection::Read, paddr, len, .. } = event
                && judge.keeps_bytes()
            {
                reads.push((paddr, len, judge.take_blamed()));
            }
        });
        self.note_device_reads(reads);
    }

    /// The counters of the judge, and what did not have to be shown to it.
    fn stats(&self) -> Stats {
        let judged = self.judge.stats();
        let fetches = judged.fetches + self.reach.harmless_fetches + self.settled.as_ref().map_or(0, Settled::uncalled);
        Stats { uncached: judged.uncached + self.reach.harmless, fetches, ..judged }
    }

    /// A load or store whose registers are needed: for calibration, or because only a part of the word counts.
    pub fn access_with_registers(&mut self, access: &Accessing, vaddr: u32, instruction: Instruction, registers: &Executing) {
        let (info, site) = (access.info(), instruction.site());
        self.learn_context(access);
        if self.mute.is_used() && self.reach.cpu.has_control_at(vaddr) && access.shape().kind == AccessKind::Store {
            let stack = self.reach.cpu.register(self.reach.cpu.stack_pointer(), registers);
            let muted = self.mute.covers(instruction.pc, stack);
            return self.control_store(access, vaddr, site, muted);
        }
        if let Meaning::PartialWord(partial) = self.reach.cpu.decode(instruction.word) {
            let base = self.reach.cpu.register(partial.register, registers);
            let address = base.wrapping_add_signed(partial.offset);
            // QEMU reports the aligned word. Should the base be gone already (a load into its own base), the whole word counts.
            if address & !3 == vaddr & !3 {
                let (start, length) = partial.bytes(address);
                return self.judge_access(access, AccessKind::Load, (vaddr & !3) + start, length, site);
            }
        } else if let Err(reason) = self.reach.cpu.calibrate(instruction.word, vaddr, access.value(), registers) {
            return self.stop(FailureKind::Environment, reason);
        }
        if !self.quiet_known_access(info, vaddr, site) {
            self.access(access, vaddr, site);
        }
    }

    /// A block starts, while something is muted or addresses belong to spaces.
    pub fn block(&mut self, Site(pc): Site, now: &Executing) {
        self.reach.cpu.start_block(now);
        if !self.mute.wants(pc) {
            return;
        }
        let (link, stack) = (self.reach.cpu.link(), self.reach.cpu.stack_pointer());
        self.mute.on_block(pc, self.reach.cpu.register(link, now), self.reach.cpu.register(stack, now));
    }
}

/// How long the guest waits for the program to hear QEMU's monitor. Without it the run goes on, and its end may not be known.
const GATE: Duration = Duration::from_secs(5);

/// Waits until the file is there. A CPU is about to run for the first time and holds nothing that QEMU's other threads need.
fn wait_for(gate: &Path) {
    let start = Instant::now();
    while !gate.exists() && start.elapsed() < GATE {
        thread::sleep(Duration::from_millis(1));
    }
}
