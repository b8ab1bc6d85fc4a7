//! The library under the project's own judge: random long runs over several frames, and short runs over two frames, all of them.
//!
//! `closure.rs` proves one frame with a small judge of its own; here the real one looks on, windows are alive and nested, on two
//! CPUs and in interrupts, and the two judges are held against each other.

use crate::model::machine::Shape;
use crate::model::world::{machine, Act, World};
use congruent::Policy;

/// Marsaglia's xorshift, 64 bits: enough to mix acts, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 32) as u8
    }

    fn act(&mut self) -> Act {
        let (frame, colour, half, place, part) = (self.byte(), self.byte(), self.byte(), self.byte(), self.byte());
        let yes = self.byte() & 1 == 1;
        match self.next() % 40 {
            0..6 => Act::Load { frame, colour, half },
            6..12 => Act::Store { frame, colour, half },
            12..16 => Act::Map { frame, colour, write: yes },
            16 => Act::Unmap { frame, colour, told: yes },
            17 => Act::WriteProtect { frame, told: yes },
            18 => Act::Free { frame },
            19 => Act::Clear { frame, place },
            20 => Act::Fill { frame, place },
            21 => Act::Copy { from: frame, to: colour, place },
            22 => Act::Read { frame, half },
            23 => Act::Write { frame, half },
            24 => Act::Argument { frame, colour },
            25 => Act::OpenReader { frame },
            26 => Act::OpenWriter { frame, place },
            27 => Act::Hold { frame, place },
            28 => Act::UseWindows { frame },
            29..32 => Act::CloseOldest { frame },
            32..34 => Act::CloseNewest { frame },
            34 => Act::DeviceReads { frame, part },
            35 => Act::DeviceWrites { frame, part },
            36 => Act::Complete { frame, wrote: yes },
            37 => Act::Complete { frame, wrote: true },
            38 => Act::Interrupt { on: yes },
            _ => Act::Cpu { cpu: colour },
        }
    }
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for colours in [1, 2, 4, 16] {
        for speculative in [false, true] {
            shapes.push(Shape { speculative, ..Shape::of(colours) });
        }
    }
    shapes.push(Shape { knows_remaining: false, ..Shape::of(4) });
    shapes.push(Shape { linear: false, ..Shape::of(4) });
    shapes.push(Shape { policy: Policy::ReverseLookup, ..Shape::of(4) });
    shapes.push(Shape { linear: false, kept: 8, ..Shape::of(4) });
    shapes.push(Shape { linear: false, speculative: true, ..Shape::of(2) });
    shapes
}

#[test]
fn no_random_run_is_ever_found_fault_with() {
    for shape in shapes() {
        let mut maintenance = 0;
        for seed in 1..=60u64 {
            let congruent = machine(shape, 3);
            let mut world = World::new(&congruent);
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for step in 0..1500 {
                let act = random.act();
                world.act(act);
                assert!(world.hazards() == 0, "{shape:?}, seed {seed}, step {step}, {act:?}: {}", world.findings());
            }
            maintenance += world.maintenance;
            drop(world);
            assert!(congruent.platform().is_idle(), "{shape:?}, seed {seed}: a window stayed open");
        }
        assert!(maintenance > 1000 || shape.colours == 1, "{shape:?}: only {maintenance} operations: the runs test too little");
    }
}

#[test]
fn left_out_maintenance_is_found_in_random_runs() {
    // The judge must be able to object, or its silence above means nothing.
    let shape = Shape::of(2);
    let mut objected = 0;
    for seed in 1..=200u64 {
        let congruent = machine(shape, 3);
        let mut world = World::new(&congruent);
        world.muted = Some(seed % 20);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..600 {
            world.act(random.act());
        }
        objected += u32::from(world.hazards() > 0);
    }
    assert!(objected > 100, "only {objected} of 200 runs in which one operation was left out were objected to");
}

/// Acts on two frames, as few as reach every transition.
fn alphabet() -> Vec<Act> {
    let mut acts = Vec::new();
    for frame in 0..2 {
        for colour in 0..2 {
            acts.extend([
                Act::Map { frame, colour, write: true },
                Act::Map { frame, colour, write: false },
                Act::Clear { frame, place: colour + 2 },
                Act::Copy { from: 1 - frame, to: frame, place: colour + 2 },
                Act::Hold { frame, place: colour + 2 },
                Act::Unmap { frame, colour, told: true },
            ]);
        }
        acts.extend([
            Act::Free { frame },
            Act::WriteProtect { frame, told: true },
            Act::Read { frame, half: 0 },
            Act::Write { frame, half: 1 },
            Act::CloseOldest { frame },
            Act::DeviceReads { frame, part: 0 },
            Act::DeviceWrites { frame, part: 0 },
            Act::DeviceWrites { frame, part: 2 },
            Act::Complete { frame, wrote: true },
        ]);
    }
    acts
}

#[test]
fn every_short_run_over_two_frames_is_clean() {
    let shape = Shape::of(2);
    let alphabet = alphabet();
    let users = |world: &mut World| {
        for frame in 0..2 {
            for colour in 0..2 {
                world.act(Act::Load { frame, colour, half: 1 });
                world.act(Act::Store { frame, colour, half: 0 });
                world.act(Act::Load { frame, colour, half: 0 });
            }
        }
    };
    // Users do nothing, or all that they may, after every act.
    for busy in [false, true] {
        for first in &alphabet {
            for second in &alphabet {
                for third in &alphabet {
                    let congruent = machine(shape, 2);
                    let mut world = World::new(&congruent);
                    world.act(Act::Clear { frame: 0, place: 2 });
                    for act in [first, second, third] {
                        world.act(*act);
                        if busy {
                            users(&mut world);
                        }
                    }
                    users(&mut world);
                    assert!(world.hazards() == 0, "{first:?} {second:?} {third:?}, users busy: {busy}: {}", world.findings());
                }
            }
        }
    }
}

#[test]
fn the_small_judge_of_the_proof_agrees_with_the_judge() {
    use crate::model::line::{Event, Line};
    use crate::model::machine::{HALF, LINE, PAGE};
    use congruent_geometry::{PhysAddr, VirtAddr};
    use congruent_shadow::{Config, Shadow};
    use congruent_trace::{AccessKind, DmaDirection, Event as Real, Maintenance, Scope, Site};

    let geometry = Shape::of(4).geometry();
    let (mut hazards, mut quiet) = (0, 0);
    for seed in 1..=20_000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut line, mut shadow) = (Line::default(), Shadow::new(Config::new(geometry)));
        let mut story = Vec::new();
        let mut found = false;
        for _ in 0..12 {
            let (colour, halves) = (usize::from(random.byte()) % 3, random.byte() % 3 + 1);
            let event = match random.next() % 10 {
                0..3 => Event::Load { colour, halves },
                3..5 => Event::Store { colour, halves },
                5 => Event::Fill { colour },
                6 => Event::WriteBack { colour },
                7 => [Event::Invalidate { colour }, Event::WriteBackInvalidate { colour }][usize::from(random.byte() & 1)],
                8 => Event::DeviceReads { halves },
                _ => Event::DeviceWrites { halves },
            };
            story.push(event);
            let (offset, size) = [(0, HALF), (HALF, HALF), (0, LINE)][usize::from(halves) - 1];
            let (paddr, site) = (PhysAddr(u64::from(offset)), Site(1));
            let vaddr = |colour: usize, offset: u32| VirtAddr(colour as u64 * u64::from(PAGE) + u64::from(offset));
            let maintain =
                |op, colour| Real::Maintain { op, scope: Scope::Line { vaddr: vaddr(colour, 0), paddr: PhysAddr(0) }, site };
            shadow.apply(&match event {
                Event::Load { colour, .. } => {
                    Real::Access { kind: AccessKind::Load, vaddr: vaddr(colour, offset), paddr, size, site }
                }
                Event::Store { colour, .. } => {
                    Real::Access { kind: AccessKind::Store, vaddr: vaddr(colour, offset), paddr, size, site }
                }
                Event::Fill { colour } => Real::Prefetch { vaddr: vaddr(colour, 0), paddr: PhysAddr(0), site },
                Event::WriteBack { colour } => maintain(Maintenance::WriteBack, colour),
                Event::Invalidate { colour } => maintain(Maintenance::Invalidate, colour),
                Event::WriteBackInvalidate { colour } => maintain(Maintenance::WriteBackInvalidate, colour),
                Event::DeviceReads { .. } => Real::Dma { direction: DmaDirection::Read, paddr, len: u64::from(size), site },
                Event::DeviceWrites { .. } => Real::Dma { direction: DmaDirection::Write, paddr, len: u64::from(size), site },
                Event::Fetch { .. } | Event::FillInstructions { .. } | Event::DropInstructions => {
                    unreachable!("the data side only")
                }
            });
            let real = shadow.stats().hazards > 0;
            let small = line.apply(event, true);
            assert_eq!(real, small.is_err(), "seed {seed}: {story:?}: {small:?}, {:?}", shadow.findings());
            if real {
                found = true;
                break;
            }
        }
        *(if found { &mut hazards } else { &mut quiet }) += 1;
    }
    assert!(hazards > 1000 && quiet > 1000, "{hazards} runs with a hazard and {quiet} without: too one-sided to compare");
}
