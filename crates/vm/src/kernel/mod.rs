//! The kernel of the reference VM: what it knows, how a step reaches it, and how frames are had and given up.
//!
//! Guarantees: it touches frames that programs map, and changes such mappings, only through the hooks of [`Policy`]; the model is
//! told of every change at the moment when it takes effect; what anybody sees is compared with the model (`watch`). Errors change
//! nothing that was written before. The kernel's code is the same under every policy.

mod cache;
mod cow;
mod direct;
mod disk;
mod exec;
mod fault;
mod files;
mod fork;
mod frames;
mod io;
mod maps;
mod pipe;
mod preempt;
mod reclaim;
mod ring;
mod space;
mod trace;
mod user;
mod vmap;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::vec::Vec;

use congruent_geometry::{Frame, PhysAddr, VirtAddr};
use congruent_machine::{Asid, Medium, Random};

use crate::board::Board;
use crate::errno::Errno;
use crate::model::Model;
use crate::point::Point;
use crate::policy::{self, Owner, Page, Policy, User};
use crate::setup::{Setup, SetupError};
use crate::tables::VMAP;
use crate::watch::Watch;
use crate::{AreaId, FileId, Op, PipeId, Step, TaskId};

pub(crate) use disk::Disk;
use files::{Key, Object};
use frames::{Frames, Use};
use pipe::Buffer;
use space::{Area, Process};

/// What an access asks of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    Read,
    Write,
    Execute,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Task {
    asid: Asid,
    cpu: usize,
}

pub(crate) struct Kernel<M> {
    pub b: Rc<Board>,
    policy: Box<dyn Policy>,
    pub model: Model,
    pub watch: Watch,
    disk: Disk<M>,
    frames: Frames,
    tasks: Vec<Option<Task>>,
    /// By number of the address space.
    processes: Vec<Option<Process>>,
    objects: BTreeMap<Key, Object>,
    next_memory: u32,
    pipes: BTreeMap<PipeId, VecDeque<Buffer>>,
    /// Where the next `vmap` area or ring goes.
    next_vmap: VirtAddr,
    /// Steps to come, of which accesses of other threads may happen early.
    pub ahead: VecDeque<Step>,
    random: Random,
    /// Bytes of memory that a device is working on.
    transfers: Vec<(PhysAddr, u32)>,
    /// Who runs.
    now: TaskId,
    /// Accesses of other threads, by where in the kernel they happened.
    pub preempted: BTreeMap<Point, u64>,
    /// Kept for its memory.
    scratch: Vec<u8>,
    page: u32,
}

impl<M: Medium> Kernel<M> {
    /// Accesses of other threads in the middle of a system call.
    pub fn preemptions(&self) -> u64 {
        self.preempted.values().sum()
    }

    pub fn new(setup: &Setup, medium: M) -> Result<Self, SetupError> {
        let page = setup.dcache.page();
        if page > 64 << 10 {
            return Err(SetupError::Page(page));
        }
        let swap = u64::from(setup.swap_pages) * u64::from(page) / congruent_machine::SECTOR as u64;
        if swap > medium.sectors() {
            return Err(SetupError::DiskTooSmall { swap, disk: medium.sectors() });
        }
        let (b, policy) = policy::make(setup)?;
        let mut frames = Frames::new(setup.frames, setup.dcache.colours());
        for frame in (0..setup.frames).rev().map(Frame) {
            frames.shelve(frame, policy.shelf(&b, frame));
        }
        let mut kernel = Self {
            b,
            policy,
            model: Model::new(page),
            watch: Watch::default(),
            disk: Disk::new(medium, page, setup.swap_pages),
            frames,
            tasks: Vec::new(),
            processes: Vec::new(),
            objects: BTreeMap::new(),
            next_memory: 0,
            pipes: BTreeMap::new(),
            next_vmap: VirtAddr(VMAP),
            ahead: VecDeque::new(),
            // Not the machine's, so that other numbers drawn here do not change its replacement.
            random: Random::new(!setup.seed),
            transfers: Vec::new(),
            now: TaskId(0),
            preempted: BTreeMap::new(),
            scratch: Vec::new(),
            page,
        };
        let asid = kernel.new_space();
        kernel.add_task(TaskId(0), asid);
        Ok(kernel)
    }

    /// Carries a step out.
    pub fn step(&mut self, step: &Step) -> Result<u32, Errno> {
        let task = self.task(step.task)?;
        self.run_on(step.task, task);
        match step.op {
            Op::Load(bytes) => self.load(step.task, bytes),
            Op::Store { to, seed } => self.store(step.task, to, seed),
            Op::Increment { area, offset } => self.increment(step.task, area, offset),
            Op::Run(bytes) => self.run(step.task, bytes),
            Op::SyncCode(bytes) => self.sync_code(step.task, bytes),
            Op::Thread { new } => self.thread(step.task, new),
            Op::Fork { child } => self.fork(step.task, child),
            Op::Exec { file, arguments, seed } => self.exec(step.task, file, arguments, seed),
            Op::Exit => self.exit(step.task),
            Op::MapAnonymous { area, pages, shared, place } => self.map_anonymous(step.task, area, pages, shared, place),
            Op::MapFile { area, file, first, pages, shared, place } => {
                self.map_file(step.task, area, file, first, pages, shared, place)
            }
            Op::Unmap { area, first, pages } => self.unmap(step.task, area, first, pages),
            Op::Remap { area, place } => self.remap(step.task, area, place),
            Op::Protect { area, write, execute } => self.protect(step.task, area, write, execute),
            Op::Create { file, len, seed } => self.create(file, len, seed),
            Op::Read { file, at, to } => self.read(step.task, file, at, to),
            Op::Write { file, at, from } => self.write(step.task, file, at, from),
            Op::DirectRead { file, at, to } => self.direct_read(step.task, file, at, to),
            Op::DirectWrite { file, at, from } => self.direct_write(step.task, file, at, from),
            Op::Splice { file, first, pages, pipe } => self.splice(file, first, pages, pipe),
            Op::PipeWrite { pipe, from } => self.pipe_write(step.task, pipe, from),
            Op::PipeRead { pipe, to } => self.pipe_read(step.task, pipe, to),
            Op::Sync { file } => self.sync(file),
            Op::Evict { file } => self.evict(file),
            Op::VmapRead { file, first, pages } => self.vmap_read(file, first, pages),
            Op::VmapWrite { file, first, pages, seed } => self.vmap_write(file, first, pages, seed),
            Op::SwapOut { area, first, pages } => self.swap_out(step.task, area, first, pages),
            Op::Peek { target, from } => self.peek(target, from),
            Op::Poke { target, to, seed } => self.poke(target, to, seed),
            Op::RemoteRead { target, from, area, offset } => self.remote_read(step.task, target, from, area, offset),
            Op::RemoteWrite { target, to, area, offset } => self.remote_write(step.task, target, to, area, offset),
            Op::RingCreate { area, pages } => self.ring_create(step.task, area, pages),
            Op::RingPost { to, seed } => self.ring_post(step.task, to, seed),
            Op::RingTake(bytes) => self.ring_take(step.task, bytes),
        }
    }

    fn task(&self, id: TaskId) -> Result<Task, Errno> {
        self.tasks.get(usize::from(id.0)).copied().flatten().ok_or(Errno::NoTask)
    }

    fn asid(&self, id: TaskId) -> Result<Asid, Errno> {
        Ok(self.task(id)?.asid)
    }

    fn run_on(&mut self, id: TaskId, task: Task) {
        self.now = id;
        let mut hw = self.b.hw();
        hw.cpu = task.cpu;
        hw.machine.set_asid(task.cpu, task.asid);
    }

    fn add_task(&mut self, id: TaskId, asid: Asid) {
        let at = usize::from(id.0);
        if self.tasks.len() <= at {
            self.tasks.resize(at + 1, None);
        }
        let cpu = at % self.b.hw().machine.cpus();
        self.tasks[at] = Some(Task { asid, cpu });
        self.process(asid).threads.push(id);
    }

    /// A fresh, empty address space.
    fn new_space(&mut self) -> Asid {
        let at = self.processes.iter().position(Option::is_none).unwrap_or(self.processes.len());
        if at == self.processes.len() {
            self.processes.push(None);
        }
        self.processes[at] = Some(Process::default());
        let asid = Asid(at as u16);
        self.model.space(asid.0);
        asid
    }

    fn process(&mut self, asid: Asid) -> &mut Process {
        self.processes[usize::from(asid.0)].as_mut().expect("an address space lives as long as its tasks")
    }

    fn area(&self, asid: Asid, id: AreaId) -> Result<&Area, Errno> {
        self.processes[usize::from(asid.0)].as_ref().and_then(|process| process.area(id)).ok_or(Errno::NotFound)
    }

    fn area_mut(&mut self, asid: Asid, id: AreaId) -> Result<&mut Area, Errno> {
        self.processes[usize::from(asid.0)].as_mut().and_then(|process| process.area_mut(id)).ok_or(Errno::NotFound)
    }

    fn object(&mut self, key: Key) -> &mut Object {
        self.objects.get_mut(&key).expect("what is mapped or cached exists")
    }

    fn file(&mut self, file: FileId) -> Result<&mut Object, Errno> {
        self.objects.get_mut(&Key::File(file)).ok_or(Errno::NotFound)
    }

    /// A page of a mapping, for a policy.
    fn user(&self, asid: Asid, area: &Area, page: u32) -> User {
        User { asid, va: area.va(page, &self.b.geometry), execute: area.execute }
    }

    /// A frame, for a policy.
    fn page_of(&self, frame: Frame) -> Page {
        let owner = match self.frames.used(frame) {
            Use::File(key, index) => match self.objects.get(&key) {
                Some(object) => Owner::File { index: index.into(), mapped: object.mapped > 0, writable: object.writable > 0 },
                None => Owner::Kernel,
            },
            Use::Anon => Owner::Anon,
            Use::Free | Use::Kernel => Owner::Kernel,
        };
        Page { frame, owner }
    }

    fn base(&self, frame: Frame) -> PhysAddr {
        self.b.geometry.frame_base(frame)
    }

    /// A free frame of this colour, if need be made free.
    fn allocate(&mut self, colour: Option<usize>, used: Use) -> Result<Frame, Errno> {
        loop {
            if let Some(frame) = self.frames.take(colour, used) {
                return Ok(frame);
            }
            if !self.reclaim() {
                return Err(Errno::NoMemory);
            }
        }
    }

    /// A reference goes; with the last one the frame is free.
    fn release(&mut self, frame: Frame) {
        if self.frames.release(frame) {
            self.policy.freed(&self.b, frame).expect("nobody uses a frame whose last reference goes");
            self.frames.shelve(frame, self.policy.shelf(&self.b, frame));
        }
    }

    /// Frames that are free now, for tests and reports.
    pub fn free_frames(&self) -> usize {
        self.frames.free()
    }

    pub fn medium_mut(&mut self) -> &mut M {
        &mut self.disk.medium
    }
}
