//! One check, from inside QEMU: guest instructions in, events to the judge, results to the program.

mod code;
mod follow;
mod ledger;
mod maintain;
mod memory;
mod tell;
mod turns;

use std::fs::File;
use std::time::Instant;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_shadow::{Config as JudgeConfig, PageId, Stats};
use congruent_trace::file::{Header, Validity};
use congruent_trace::{AccessKind, Event, On, Operation, Site};
use congruent_wire::{Config, FailureKind, Record};

use crate::api::{AccessInfo, AccessShape, Api, Block, Insn, Reader, Registers, Target};
use crate::channel::Channel;
use crate::cpu::{self, ControlStore, Cpu};
use crate::dma::Devices;
use crate::guest::Meaning;
use crate::judge::Judge;
use crate::mute::Mute;
use crate::registers::{self, Environment};
use crate::translation::{GRANULE, Translations};
use follow::Following;
use memory::MemoryCopy;
use turns::Turns;

/// An instruction as callbacks carry it: its address and its word, in the one pointer that QEMU hands back.
#[derive(Clone, Copy)]
pub struct Instruction {
    pc: u32,
    word: u32,
}

impl Instruction {
    fn data(self) -> usize {
        ((self.word as usize) << 32) | self.pc as usize
    }

    /// The instruction behind a callback's data.
    #[inline]
    pub fn from_data(data: usize) -> Self {
        Self { pc: data as u32, word: (data >> 32) as u32 }
    }

    /// Its site.
    #[inline]
    pub fn site(self) -> Site {
        Site(self.pc)
    }
}

pub use code::Fetched;

/// What an access reaches.
enum Reached {
    /// Cacheable memory: the shadow of its frame, and the offset there.
    Cached(PageId, u32),
    /// Memory, past the cache.
    Uncached(PhysAddr),
    /// Memory that was never in the cache, past it.
    Harmless,
    /// A device's registers.
    Device(u64),
    /// Nothing that is known.
    Nothing,
}

/// The number of values of QEMU's access description whose shape is remembered.
const SHAPES: usize = 1 << 18;

/// The state of one check. What every access reads comes first.
pub struct Session {
    translations: Translations,
    shapes: Box<[u8; SHAPES]>,
    judge: Judge,
    /// Whether calls are followed and nobody can say through which the guest got here.
    caller_unknown: bool,
    stopped: bool,
    geometry: CacheGeometry,
    /// Whether the caches find lines by virtual addresses alone.
    virtual_tags: bool,
    /// The instruction cache, if fetches are judged.
    code: Option<CacheGeometry>,
    cpu: Box<dyn Cpu>,
    turns: Turns,
    api: Api,
    reader: Reader,
    mute: Mute,
    devices: Devices,
    /// The copy of the kernel's memory that the first finding is to bring about.
    memory_copy: Option<MemoryCopy>,
    following: Option<Following>,
    /// Whether calls were to be followed, and this QEMU does not let them be.
    callers_lost: bool,
    untranslated: u64,
    /// Accesses past the cache to frames that were never in it.
    harmless: u64,
    channel: Option<Channel>,
    reported: usize,
    steps: u32,
    last_status: Instant,
    last_flush: Instant,
    /// While recording: the shapes of accesses, known only to the slow path, so that nothing is taken as quiet.
    recorded_shapes: Option<Box<[u8; SHAPES]>>,
    record: Option<Record>,
}

impl Session {
    /// Prepares a check of a guest of architecture `target` with so many CPUs.
    ///
    /// # Errors
    /// A sentence that says why this guest cannot be checked in this QEMU, and what to do.
    pub fn new(api: Api, qemu_api: i32, target: &str, cpus: u32, config: Config) -> Result<Self, String> {
        let cpu = cpu::of_target(target, &api)?;
        let turns = Turns::new(&*cpu, &api, cpus, config.cpus, target)?;
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
        let following = config.backtraces.then(|| Following::of(&*cpu, target)).flatten();
        let shapes = || vec![0; SHAPES].into_boxed_slice().try_into().map_err(|_| "out of memory");
        if caches.code.is_some() && !cpu.follows_code_maintenance() {
            return Err(format!("instruction fetches of {target} guests cannot be judged; leave --icache out"));
        }
        let mut caches = caches.with_contexts(following.is_some());
        if config.ledger {
            caches = caches.with_ledger().map_err(|error| format!("--ledger: {error}"))?;
        }
        let mut judge = Judge::new(caches, cpu.index_form());
        if let Some(record) = &config.record {
            let path = record.file.display();
            let header = Header {
                version: congruent_trace::file::VERSION,
                target: target.into(),
                geometry: geometry.into(),
                behaviour: caches.behaviour(),
                code: caches.code.map(|code| code.geometry.into()),
                index: cpu.index_form(),
                muted: record.muted.clone(),
                qemu_api,
                valid: Validity::of_run(caches.behaviour(), caches.code.is_some()),
            };
            let started = File::create(&record.file).and_then(|file| judge.record(file, &header));
            started.map_err(|error| format!("cannot write the recording `{path}`: {error}; give --record another file"))?;
        }
        Ok(Self {
            recorded_shapes: judge.is_recording().then(shapes).transpose()?,
            record: config.record,
            translations: Translations::new(),
            shapes: shapes()?,
            judge,
            caller_unknown: following.is_some(),
            stopped: false,
            geometry,
            virtual_tags: caches.behaviour().virtual_tags,
            code: caches.code.map(|code| code.geometry),
            cpu,
            turns,
            api,
            reader: Reader::new(api),
            mute: Mute::new(config.mute),
            devices: Devices::of(target),
            memory_copy: config.memory.and_then(|file| MemoryCopy::of(target, file)),
            following,
            callers_lost: false,
            untranslated: 0,
            harmless: 0,
            channel: None,
            reported: 0,
            steps: 0,
            last_status: Instant::now(),
            last_flush: Instant::now(),
        })
    }

    /// Gives the session its line to the program.
    pub fn attach(&mut self, channel: Channel) {
        self.channel = Some(channel);
    }

    /// QEMU's functions.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// A CPU exists now: its registers can be looked up.
    ///
    /// # Safety
    /// Called from QEMU's initialisation callback.
    pub unsafe fn vcpu_init(&mut self, number: u32) {
        // SAFETY: by this function's contract, here and below.
        unsafe { self.meet_cpu(number) };
        // SAFETY: as above.
        let known = unsafe { self.reader.registers() };
        if let Err(reason) = self.cpu.start(&known) {
            self.stop(FailureKind::Environment, reason);
        }
    }

    /// Chooses the callbacks of every instruction of a block.
    ///
    /// # Safety
    /// Called from QEMU's translation callback with its block.
    pub unsafe fn translate(&mut self, block: *mut Block) {
        if self.stopped {
            return;
        }
        let api = self.api;
        let mut first = true;
        let mut fetched = Fetched::default();
        // SAFETY: by this function's contract, here and below.
        for insn in unsafe { api.instructions(block) } {
            // SAFETY: as above.
            let (address, bytes, length) = unsafe { api.fetch(insn) };
            let pc = self.cpu.site(address);
            // SAFETY: as above.
            fetched.extend(pc, unsafe { api.length(insn) });
            if std::mem::take(&mut first) {
                // SAFETY: as above.
                unsafe {
                    if self.mute.is_used() || self.cpu.has_spaces() {
                        api.on_block(block, registers::block_with_environment, Registers::Read, pc as usize);
                    }
                    self.watch_returns(block, insn, pc);
                }
            }
            let word = self.cpu.word(bytes, length);
            if let Some(word) = word {
                // SAFETY: as above.
                unsafe { self.watch_flow(insn, pc, word) };
            }
            // SAFETY: as above.
            unsafe { self.instrument(insn, pc, word) };
        }
        if self.code.is_some() && !first {
            // SAFETY: as above; the callback takes a `Fetched` as data.
            unsafe { api.on_block(block, self.fetch_callback(), Registers::Unused, fetched.data()) };
        }
    }

    /// # Safety
    /// As [`translate`](Self::translate).
    unsafe fn instrument(&mut self, insn: *mut Insn, pc: u32, word: Option<u32>) {
        let (api, plain) = (self.api, self.memory_callback());
        let data = Instruction { pc, word: word.unwrap_or(0) }.data();
        let meaning = word.map_or(Meaning::Other, |word| self.cpu.decode(word));
        let partial = matches!(meaning, Meaning::PartialWord(_));
        // SAFETY: by this function's contract; each callback takes an `Instruction` as data.
        unsafe {
            match meaning {
                Meaning::Cache(_) | Meaning::BothCaches(_) | Meaning::Prefetch(_) | Meaning::Translation => {
                    api.on_execution(insn, registers::execution_with_environment, Registers::Read, data);
                }
                Meaning::CodeCache(_) if self.code.is_some() => {
                    api.on_execution(insn, registers::execution_with_environment, Registers::Read, data);
                }
                Meaning::CodeCache(_) | Meaning::PartialWord(_) | Meaning::Other => {}
            }
            let muted_store = |word| self.mute.is_used() && self.cpu.may_store_control(word);
            if partial || word.is_some_and(|word| self.cpu.calibrates(word) || muted_store(word)) {
                api.on_memory(insn, registers::memory_with_environment, Registers::Read, data);
            } else {
                api.on_memory(insn, plain, Registers::Unused, data);
            }
        }
    }

    /// An access is about to be taken, to the address that QEMU reports.
    #[inline]
    pub fn enter(&mut self, reported: u64) {
        self.cpu.enter(reported);
        self.translations.enter(self.cpu.space());
    }

    /// Takes a load or store that changes nothing, which is nearly every one; false if it is none of those.
    ///
    /// This is the product's speed, and cannot panic.
    #[inline(always)]
    pub fn quiet_access(&mut self, info: AccessInfo, vaddr: u32, site: Site) -> bool {
        let Some(shape) = self.known_shape(info) else { return false };
        let Some(target) = self.translations.find(vaddr) else { return self.is_harmless(vaddr, 1 << shape.size_shift) };
        let offset = target.offset | (vaddr % GRANULE);
        let (page, alias, size) = (target.page, target.alias, 1 << shape.size_shift);
        match shape.kind {
            AccessKind::Load => self.judge.quiet_load(page, alias, offset, size),
            AccessKind::Store => !self.caller_unknown && self.judge.quiet_store(page, alias, offset, size, site),
        }
    }

    /// Takes an access that goes past the cache to a frame that was never in it; false if it is none.
    #[inline(never)]
    fn is_harmless(&mut self, vaddr: u32, size: u32) -> bool {
        let harmless = self.translations.is_harmless(vaddr) && vaddr % GRANULE + size <= GRANULE;
        self.harmless += u64::from(harmless);
        harmless
    }

    /// Any load or store of the guest.
    #[cold]
    pub fn access(&mut self, info: AccessInfo, vaddr: u32, site: Site) {
        if self.stopped {
            return;
        }
        self.learn_context();
        let shapes = self.recorded_shapes.as_mut().unwrap_or(&mut self.shapes);
        let remembered = shapes.get_mut(info.0 as usize);
        let shape = match remembered.as_deref().and_then(|shape| AccessShape::unpack(*shape)) {
            Some(shape) => shape,
            None => {
                let shape = self.api.shape(info);
                if let Some(remembered) = remembered {
                    *remembered = shape.pack();
                }
                shape
            }
        };
        if self.cpu.has_control_at(vaddr) {
            match shape.kind {
                AccessKind::Load => self.cpu.control_load(vaddr),
                AccessKind::Store => self.control_store(info, vaddr, site, false),
            }
            return;
        }
        self.judge_access(info, shape.kind, vaddr, 1 << shape.size_shift, site);
    }

    /// A store to a part of the processor that lies in its address space.
    #[cold]
    fn control_store(&mut self, info: AccessInfo, vaddr: u32, site: Site, muted: bool) {
        // SAFETY: called from the memory callback of this access only, here and below.
        let Some(value) = (unsafe { self.api.value(info) }) else { return };
        // SAFETY: as above.
        match unsafe { self.cpu.control_store(&self.geometry, vaddr, value, &mut self.reader) } {
            ControlStore::Nothing => {}
            ControlStore::Translation => {
                self.translations.forget();
                self.space_changes();
            }
            ControlStore::Unsupported(reason) => self.stop(FailureKind::Environment, reason),
            ControlStore::Cache { op, scope } => {
                // The register that says so may have changed attributes as well.
                self.translations.forget();
                self.judge.operate(Operation { on: On::Data(op), target: scope.into(), site }, muted);
            }
        }
        self.step();
    }

    /// The shape of an access description that was seen before.
    #[inline]
    fn known_shape(&self, info: AccessInfo) -> Option<AccessShape> {
        AccessShape::unpack(*self.shapes.get(info.0 as usize)?)
    }

    /// Judges `size` bytes of an access, page by page.
    fn judge_access(&mut self, info: AccessInfo, kind: AccessKind, mut vaddr: u32, mut size: u32, site: Site) {
        while size > 0 && !self.stopped {
            let piece = size.min(GRANULE - vaddr % GRANULE);
            match self.reach(info, vaddr) {
                Reached::Cached(page, offset) => {
                    self.judge.access(kind, page, self.cache_address(vaddr), offset, piece, site);
                }
                Reached::Uncached(paddr) => self.judge.bypass(&Event::Uncached { kind, paddr, size: piece, site }),
                Reached::Harmless => self.harmless += 1,
                // SAFETY: called from the memory callback of this access only.
                Reached::Device(paddr) => unsafe { self.device_access(info, kind, vaddr, paddr) },
                Reached::Nothing => {}
            }
            vaddr = vaddr.wrapping_add(piece);
            size -= piece;
        }
        self.step();
    }

    /// Where an access leads, remembered or asked for.
    fn reach(&mut self, info: AccessInfo, vaddr: u32) -> Reached {
        if let Some(target) = self.translations.find(vaddr) {
            return Reached::Cached(target.page, target.offset | (vaddr % GRANULE));
        }
        if self.translations.is_harmless(vaddr) {
            return Reached::Harmless;
        }
        // SAFETY: called from the memory callback of this access only, here and below.
        let paddr = match unsafe { self.api.target(info, self.cpu.reported(vaddr)) } {
            Some(Target::Memory(paddr)) => PhysAddr(paddr),
            Some(Target::Device(paddr)) => return Reached::Device(paddr),
            None => {
                self.untranslated += 1;
                return Reached::Nothing;
            }
        };
        // SAFETY: as above.
        if !unsafe { self.cpu.is_cached(self.cpu.modified(vaddr), paddr, &mut self.reader) } {
            if self.judge.knows(self.geometry.frame(paddr)) {
                return Reached::Uncached(paddr);
            }
            self.translations.remember_harmless(vaddr);
            return Reached::Harmless;
        }
        Reached::Cached(self.remember(vaddr, paddr), self.geometry.page_offset(paddr.0))
    }

    /// The shadow of the frame that a cacheable address leads to, which is remembered.
    fn remember(&mut self, vaddr: u32, paddr: PhysAddr) -> PageId {
        let page = self.page(paddr);
        let offset = self.geometry.page_offset(paddr.0);
        let generation = self.judge.alias_generation();
        let alias = self.judge.alias(page, self.cache_address(vaddr));
        if self.judge.alias_generation() != generation {
            // The alias of another page may have been given to this one.
            self.forget_translations();
        }
        self.translations.remember(vaddr, page, alias, offset & !(GRANULE - 1));
        page
    }

    /// The virtual address that the caches see in place of this one.
    fn cache_address(&self, vaddr: u32) -> VirtAddr {
        VirtAddr(self.cpu.modified(vaddr).into())
    }

    /// An access to a device's registers: it may tell what the device does to memory.
    ///
    /// # Safety
    /// Called from the memory callback of this access.
    unsafe fn device_access(&mut self, info: AccessInfo, kind: AccessKind, vaddr: u32, paddr: u64) {
        // SAFETY: by this function's contract, here and below.
        let Some(value) = (unsafe { self.api.value(info) }) else { return };
        let size = 1 << self.api.shape(info).size_shift;
        // What lies above a short value is not defined.
        let value = if size < 4 { value & ((1 << (8 * size)) - 1) } else { value };
        let (api, reader, reported) = (&self.api, &mut self.reader, self.cpu.reported(vaddr));
        // SAFETY: as above; it is called before this function returns.
        let name = || unsafe { api.device_name(info, reported) };
        // SAFETY: as above.
        let mut memory = |address| unsafe { reader.physical_word(address) };
        let judge = &mut self.judge;
        self.devices.access(kind, paddr, size, value, name, &mut memory, &mut |event| judge.bypass(&event));
    }

    /// The shadow of the frame of cacheable memory.
    fn page(&mut self, paddr: PhysAddr) -> PageId {
        let frame = self.geometry.frame(paddr);
        if !self.judge.knows(frame) {
            // What goes past the cache to it matters from now on.
            self.forget_translations();
        }
        self.judge.page(frame)
    }

    /// The counters of the judge, and what did not have to be shown to it.
    fn stats(&self) -> Stats {
        let judged = self.judge.stats();
        Stats { uncached: judged.uncached + self.harmless, ..judged }
    }

    /// A load or store whose registers are needed: for calibration, or because only a part of the word counts.
    ///
    /// # Safety
    /// Called from a memory callback that reads registers, with the environment it received.
    pub unsafe fn access_with_registers(
        &mut self,
        info: AccessInfo,
        vaddr: u32,
        instruction: Instruction,
        environment: Environment,
    ) {
        let site = instruction.site();
        self.learn_context();
        if self.mute.is_used() && self.cpu.has_control_at(vaddr) && self.api.shape(info).kind == AccessKind::Store {
            // SAFETY: by this function's contract.
            let stack = unsafe { self.cpu.register(self.cpu.stack_pointer(), &mut self.reader, environment) };
            let muted = self.mute.covers(instruction.pc, stack);
            return self.control_store(info, vaddr, site, muted);
        }
        if let Meaning::PartialWord(partial) = self.cpu.decode(instruction.word) {
            // SAFETY: by this function's contract.
            let base = unsafe { self.cpu.register(partial.register, &mut self.reader, environment) };
            let address = base.wrapping_add_signed(partial.offset);
            // QEMU reports the aligned word. Should the base be gone already (a load into its own base), the whole word counts.
            if address & !3 == vaddr & !3 {
                let (start, length) = partial.bytes(address);
                return self.judge_access(info, AccessKind::Load, (vaddr & !3) + start, length, site);
            }
        // SAFETY: by this function's contract.
        } else if let Err(reason) = unsafe { self.cpu.calibrate(instruction.word, vaddr, self.api.value(info), environment) } {
            return self.stop(FailureKind::Environment, reason);
        }
        if !self.quiet_access(info, vaddr, site) {
            self.access(info, vaddr, site);
        }
    }

    /// A block starts, while something is muted or addresses belong to spaces.
    ///
    /// # Safety
    /// As [`execute`](Self::execute).
    pub unsafe fn block(&mut self, pc: u32, environment: Environment) {
        // SAFETY: by this function's contract.
        unsafe { self.cpu.start_block(environment) };
        if !self.mute.wants(pc) {
            return;
        }
        // SAFETY: by this function's contract.
        let mut register = |number| unsafe { self.cpu.register(number, &mut self.reader, environment) };
        let (link, stack) = (register(self.cpu.link()), register(self.cpu.stack_pointer()));
        self.mute.on_block(pc, link, stack);
    }
}
