//! Random steps, and the machines to take them on.

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

/// Random steps of up to five tasks over four mappings, three files and two pipes.
pub struct Steps {
    random: Random,
    first: Vec<Step>,
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
        Self { random: Random::new(seed), first: first.into_iter().map(|op| Step { task: TaskId(0), op }).collect() }
    }

    fn below(&mut self, limit: u64) -> u32 {
        self.random.below(limit) as u32
    }

    fn task(&mut self) -> TaskId {
        TaskId(self.below(5) as u16)
    }

    fn area(&mut self) -> AreaId {
        AreaId(self.below(4) as u16)
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
            49 => Op::Thread { new: self.task() },
            50..54 => Op::Fork { child: self.task() },
            54 => Op::Exec { file: self.file(), arguments: self.below(200), seed },
            55 => Op::Exit,
            56..58 => Op::MapAnonymous { area: self.area(), pages: 3, shared: self.random.chance(1, 2), place: self.place() },
            58..61 => Op::MapFile {
                area: self.area(),
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
            90..92 => Op::Peek { target: self.task(), from: self.bytes(64) },
            92..94 => Op::Poke { target: self.task(), to: self.bytes(64), seed },
            94..96 => Op::RemoteRead { target: self.task(), from: self.bytes(200), area: self.area(), offset: self.below(2000) },
            96..98 => Op::RemoteWrite { target: self.task(), to: self.bytes(200), area: self.area(), offset: self.below(2000) },
            98 => Op::RingCreate { area: self.area(), pages: 1 + self.below(3) },
            _ if self.random.chance(1, 2) => Op::RingPost { to: self.bytes(64), seed },
            _ => Op::RingTake(self.bytes(64)),
        }
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(step) = self.first.pop() {
            return Some(step);
        }
        let task = self.task();
        Some(Step { task, op: self.op() })
    }
}
