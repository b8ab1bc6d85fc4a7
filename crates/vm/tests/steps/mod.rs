//! Random steps, and the machines to take them on.

use std::collections::BTreeMap;

use congruent_geometry::CacheGeometry;
use congruent_machine::{Random, Replacement};
use congruent_vm::{AreaId, Bytes, FileId, Op, PipeId, Place, PolicyKind, Setup, Step, TaskId};

pub const PAGE: u32 = 1024;

/// A small cache of so many colours, with units of write-back of half a line if asked for.
pub fn geometry(colours: u32, half_units: bool) -> CacheGeometry {
    let geometry = CacheGeometry::with_page(colours * PAGE * 2, 2, 32, PAGE).unwrap();
    if half_units { geometry.with_write_back_unit(16).unwrap() } else { geometry }
}

/// A machine of the kinds that tests cover, chosen by the seed.
pub fn setup(policy: PolicyKind, seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0x5eed);
    let colours = [2, 4, 16][random.index(3)];
    let dcache = geometry(colours, random.chance(1, 2));
    Setup {
        icache: if random.chance(1, 2) { dcache } else { geometry(1, false) },
        cpus: 1 + random.index(2),
        frames: [24, 40, 200][random.index(3)],
        swap_pages: 64,
        policy,
        replacement: [Replacement::Lru, Replacement::Random, Replacement::Adversarial, Replacement::Adversarial][random.index(4)],
        seed,
        ..Setup::new(dcache)
    }
}

/// A disk of 512 pages.
pub fn medium() -> Vec<u8> {
    vec![0; 512 * PAGE as usize]
}

/// Random steps of up to five tasks over four mappings each, three files and two pipes. They know roughly who exists, so that most
/// of them make sense.
pub struct Steps {
    random: Random,
    first: Vec<Step>,
    /// Processes of the tasks that live.
    live: BTreeMap<TaskId, usize>,
    /// Mappings of the processes, and whether they are rings.
    areas: Vec<BTreeMap<AreaId, bool>>,
    /// Who acts.
    now: TaskId,
}

impl Steps {
    pub fn new(seed: u64) -> Self {
        let mut first: Vec<Op> = (0..3)
            .map(|file| Op::Create { file: FileId(file), len: 5000 + 100 * u32::from(file), seed: u32::from(file) })
            .collect();
        first.push(Op::MapAnonymous { area: AreaId(0), pages: 3, shared: false, place: Place::Anywhere });
        first.push(Op::MapFile { area: AreaId(1), file: FileId(0), first: 0, pages: 3, shared: true, place: Place::Anywhere });
        first.push(Op::Thread { new: TaskId(1) });
        first.push(Op::Fork { child: TaskId(2) });
        first.reverse();
        Self {
            random: Random::new(seed),
            first: first.into_iter().map(|op| Step { task: TaskId(0), op }).collect(),
            live: BTreeMap::from([(TaskId(0), 0)]),
            areas: vec![BTreeMap::new()],
            now: TaskId(0),
        }
    }

    /// What a step does to who exists, if it succeeds.
    fn note(&mut self, step: &Step) {
        let Some(&process) = self.live.get(&step.task) else { return };
        match step.op {
            Op::Thread { new } => {
                self.live.entry(new).or_insert(process);
            }
            Op::Fork { child } if !self.live.contains_key(&child) => {
                let copy = self.areas[process].clone();
                self.areas.push(copy);
                self.live.insert(child, self.areas.len() - 1);
            }
            Op::Exec { .. } => {
                self.live.retain(|_, other| *other != process);
                self.areas.push(BTreeMap::from([(AreaId(0), false), (AreaId(1), false)]));
                self.live.insert(step.task, self.areas.len() - 1);
            }
            Op::Exit => {
                self.live.remove(&step.task);
            }
            Op::MapAnonymous { area, .. } | Op::MapFile { area, .. } => {
                self.areas[process].entry(area).or_insert(false);
            }
            Op::RingCreate { area, .. } => {
                self.areas[process].entry(area).or_insert(true);
            }
            Op::Unmap { area, first: 0, pages: 3.. } => {
                self.areas[process].remove(&area);
            }
            _ => {}
        }
    }

    fn below(&mut self, limit: u64) -> u32 {
        self.random.below(limit) as u32
    }

    fn task(&mut self) -> TaskId {
        TaskId(self.below(5) as u16)
    }

    fn living(&mut self) -> TaskId {
        let chosen = self.random.index(self.live.len().max(1));
        self.live.keys().nth(chosen).copied().unwrap_or(TaskId(0))
    }

    fn area(&mut self) -> AreaId {
        let any = AreaId(self.below(4) as u16);
        let Some(process) = self.live.get(&self.now) else { return any };
        if self.areas[*process].contains_key(&any) || self.random.chance(1, 10) {
            return any;
        }
        let known = &self.areas[*process];
        known.keys().nth(self.random.index(known.len().max(1))).copied().unwrap_or(any)
    }

    /// A name for a new mapping: one that is free, if there is one.
    fn new_area(&mut self) -> AreaId {
        let process = self.live.get(&self.now).copied().unwrap_or(0);
        let taken = &self.areas[process];
        (0..4).map(AreaId).find(|area| !taken.contains_key(area)).unwrap_or(AreaId(self.below(4) as u16))
    }

    fn ring(&mut self) -> AreaId {
        let process = self.live.get(&self.now).copied().unwrap_or(0);
        let ring = self.areas[process].iter().find(|(_, ring)| **ring).map(|(area, _)| *area);
        ring.unwrap_or_else(|| self.area())
    }

    fn file(&mut self) -> FileId {
        FileId(self.below(3) as u16)
    }

    fn pipe(&mut self) -> PipeId {
        PipeId(self.below(2) as u16)
    }

    fn place(&mut self) -> Place {
        if self.random.chance(1, 2) { Place::Anywhere } else { Place::Colour(self.below(16) as u16) }
    }

    fn bytes(&mut self, most: u64) -> Bytes {
        Bytes { area: self.area(), offset: self.below(3 * u64::from(PAGE)), len: 1 + self.below(most) }
    }

    fn sectors(&mut self) -> (u32, u32) {
        (512 * self.below(8), 512 * (1 + self.below(3)))
    }

    fn op(&mut self) -> Op {
        let seed = self.below(1 << 32);
        match self.below(100) {
            0..20 => Op::Load(self.bytes(64)),
            20..22 => Op::Load(self.bytes(2000)),
            22..40 => Op::Store { to: self.bytes(64), seed },
            40..42 => Op::Store { to: self.bytes(2000), seed },
            42..45 => Op::Increment { area: self.area(), offset: 4 * self.below(700) },
            45..48 => Op::Run(self.bytes(40)),
            48 => Op::SyncCode(Bytes { area: self.area(), offset: PAGE * self.below(3), len: PAGE }),
            49 if self.random.chance(1, 2) => Op::Protect { area: self.area(), write: self.random.chance(1, 2), execute: true },
            49 => Op::Thread { new: self.task() },
            50..54 => Op::Fork { child: self.task() },
            54 => Op::Exec { file: self.file(), arguments: self.below(200), seed },
            55 if self.live.len() > 1 => Op::Exit,
            56..58 => Op::MapAnonymous { area: self.new_area(), pages: 3, shared: self.random.chance(1, 2), place: self.place() },
            58..61 => Op::MapFile {
                area: self.new_area(),
                file: self.file(),
                first: self.below(3),
                pages: 3,
                shared: self.random.chance(2, 3),
                place: self.place(),
            },
            61..63 => Op::Unmap { area: self.area(), first: 0, pages: 1 + self.below(3) },
            63..65 => Op::Remap { area: self.area(), place: self.place() },
            65..67 => Op::Protect { area: self.area(), write: self.random.chance(3, 4), execute: self.random.chance(1, 2) },
            67 => Op::Create { file: self.file(), len: 3000 + self.below(3000), seed },
            68..71 => Op::Read { file: self.file(), at: self.below(5000), to: self.bytes(1500) },
            71..74 => Op::Write { file: self.file(), at: self.below(6000), from: self.bytes(1500) },
            74..77 => {
                let (at, len) = self.sectors();
                Op::DirectRead { file: self.file(), at, to: Bytes { len, ..self.bytes(1) } }
            }
            77..80 => {
                let (at, len) = self.sectors();
                Op::DirectWrite { file: self.file(), at, from: Bytes { len, ..self.bytes(1) } }
            }
            80 => Op::Splice { file: self.file(), first: self.below(3), pages: 1 + self.below(2), pipe: self.pipe() },
            81 => Op::PipeWrite { pipe: self.pipe(), from: self.bytes(1500) },
            82..84 => Op::PipeRead { pipe: self.pipe(), to: self.bytes(1500) },
            84 => Op::Sync { file: self.file() },
            85 => Op::Evict { file: self.file() },
            86 => Op::VmapRead { file: self.file(), first: self.below(3), pages: 1 + self.below(2) },
            87 => Op::VmapWrite { file: self.file(), first: self.below(3), pages: 1 + self.below(2), seed },
            88..90 => Op::SwapOut { area: self.area(), first: self.below(3), pages: 1 },
            90..92 => Op::Peek { target: self.living(), from: self.bytes(64) },
            92..94 => Op::Poke { target: self.living(), to: self.bytes(64), seed },
            94..96 => {
                Op::RemoteRead { target: self.living(), from: self.bytes(200), area: self.area(), offset: self.below(2000) }
            }
            96..98 => Op::RemoteWrite { target: self.living(), to: self.bytes(200), area: self.area(), offset: self.below(2000) },
            98 => Op::RingCreate { area: self.new_area(), pages: 1 + self.below(3) },
            _ if self.random.chance(1, 2) => {
                Op::RingPost { to: Bytes { area: self.ring(), offset: self.below(900), len: 1 + self.below(64) }, seed }
            }
            _ => Op::RingTake(Bytes { area: self.ring(), offset: self.below(900), len: 1 + self.below(64) }),
        }
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(step) = self.first.pop() {
            self.note(&step);
            return Some(step);
        }
        self.now = if self.random.chance(1, 30) { self.task() } else { self.living() };
        let step = Step { task: self.now, op: self.op() };
        self.note(&step);
        Some(step)
    }
}
