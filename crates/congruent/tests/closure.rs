//! The proof: every state that a kernel, its users and its devices can reach, by sequences of any length.
//!
//! *Right*: no sequence of library calls, with any user accesses, device transfers and speculative fills in between, leads to a
//! hazard. *Minimal*: every maintenance operation that the library issues anywhere in there is necessary: leaving it out, or doing
//! half of it, leads to a hazard in some continuation.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::model::kernel::{calls, perform, Call, Outcome, Part, Scene, Step};
use crate::model::line::{Event, Hazard, Line};
use crate::model::machine::Shape;
use congruent::Policy;

/// All that is known of one configuration.
struct Space {
    shape: Shape,
    used: usize,
    ids: HashMap<Scene, u32>,
    scenes: Vec<Scene>,
    /// Per scene: its calls and what they come to.
    moves: Vec<Option<Vec<Move>>>,
}

struct Move {
    call: Call,
    to: u32,
    steps: Vec<Step>,
}

type Node = (u32, Line);

/// A scene, a call in it, which step of that, and which weakening of the step.
type Weakening = (Scene, Call, usize, usize);

impl Space {
    fn new(shape: Shape, used: usize) -> Self {
        let mut space = Self { shape, used, ids: HashMap::new(), scenes: Vec::new(), moves: Vec::new() };
        space.id(Scene::boot());
        space
    }

    fn id(&mut self, scene: Scene) -> u32 {
        *self.ids.entry(scene).or_insert_with(|| {
            self.scenes.push(scene);
            self.moves.push(None);
            self.scenes.len() as u32 - 1
        })
    }

    fn expand(&mut self, id: u32) {
        if self.moves[id as usize].is_some() {
            return;
        }
        let scene = self.scenes[id as usize];
        let mut moves = Vec::new();
        for call in calls(&scene, &self.shape, self.used) {
            let Outcome { scene: to, events, error, .. } = perform(&scene, call, self.shape);
            if error.is_none() {
                let to = self.id(to);
                moves.push(Move { call, to, steps: events });
            }
        }
        self.moves[id as usize] = Some(moves);
    }

    /// Everything that can happen next, as events on the line and the scene after them.
    fn next(&mut self, id: u32, mut each: impl FnMut(u32, &[Step], Option<Call>)) {
        self.expand(id);
        let scene = self.scenes[id as usize];
        scene.spontaneous(&self.shape, |event| each(id, &[Step { event, maintenance: false }], None));
        for m in self.moves[id as usize].as_ref().unwrap() {
            each(m.to, &m.steps, Some(m.call));
        }
    }

    /// Every line that can come of these without a call.
    fn whatever_users_do(&self, id: u32, mut lines: BTreeSet<Line>) -> BTreeSet<Line> {
        let mut queue: Vec<Line> = lines.iter().copied().collect();
        while let Some(line) = queue.pop() {
            self.scenes[id as usize].spontaneous(&self.shape, |event| {
                let next = self.run(line, &[Step { event, maintenance: false }]).expect("explored");
                if lines.insert(next) {
                    queue.push(next);
                }
            });
        }
        lines
    }

    fn run(&self, mut line: Line, steps: &[Step]) -> Result<Line, Hazard> {
        for step in steps {
            line.apply(step.event, self.shape.write_back)?;
        }
        Ok(line)
    }

    /// Every reachable node, with the way there.
    fn explore(&mut self) -> HashMap<Node, Option<(Node, String)>> {
        let start = (0, Line::default());
        let mut seen: HashMap<Node, Option<(Node, String)>> = HashMap::from([(start, None)]);
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            let mut found = Vec::new();
            self.next(node.0, |to, steps, call| found.push((to, steps.to_vec(), call)));
            for (to, steps, call) in found {
                let line = match self.run(node.1, &steps) {
                    Ok(line) => line,
                    Err(hazard) => panic!(
                        "{:?}: {hazard:?} by {call:?} {:?} after\n{}",
                        self.shape,
                        steps.iter().map(|step| step.event).collect::<Vec<_>>(),
                        self.story(&seen, node)
                    ),
                };
                let next = (to, line);
                if let Entry::Vacant(entry) = seen.entry(next) {
                    let what: Vec<_> = steps.iter().map(|step| step.event).collect();
                    let how = call.map_or_else(|| format!("{what:?}"), |call| format!("{call:?}: {what:?}"));
                    entry.insert(Some((node, how)));
                    queue.push_back(next);
                }
            }
        }
        seen
    }

    fn story(&self, seen: &HashMap<Node, Option<(Node, String)>>, mut node: Node) -> String {
        let mut lines = vec![format!("  now {:?}\n      {:?}", self.scenes[node.0 as usize], node.1)];
        while let Some(Some((before, how))) = seen.get(&node) {
            lines.push(format!("  {how}"));
            node = *before;
        }
        lines.reverse();
        lines.join("\n")
    }

    /// Whether a hazard can be reached from a node.
    fn endangered(
        &mut self,
        from: Node,
        known_safe: &HashMap<Node, Option<(Node, String)>>,
        bad: &mut HashMap<Node, bool>,
    ) -> bool {
        let mut seen = HashSet::from([from]);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            match bad.get(&node) {
                Some(true) => {
                    bad.insert(from, true);
                    return true;
                }
                Some(false) => continue,
                None => {}
            }
            let mut found = Vec::new();
            self.next(node.0, |to, steps, _| found.push((to, steps.to_vec())));
            for (to, steps) in found {
                match self.run(node.1, &steps) {
                    Err(_) => {
                        bad.insert(from, true);
                        return true;
                    }
                    Ok(line) => {
                        let next = (to, line);
                        if !known_safe.contains_key(&next) && seen.insert(next) {
                            queue.push_back(next);
                        }
                    }
                }
            }
        }
        bad.extend(seen.into_iter().map(|node| (node, false)));
        false
    }
}

/// What is done in the place of an operation, to see whether it was needed.
fn weaker(event: Event, spares_the_dead: bool) -> Vec<Option<Event>> {
    match event {
        Event::WriteBackInvalidate { colour } if spares_the_dead => vec![None, Some(Event::WriteBack { colour })],
        Event::WriteBackInvalidate { colour } => {
            vec![None, Some(Event::WriteBack { colour }), Some(Event::Invalidate { colour })]
        }
        _ => vec![None],
    }
}

/// The one exception (docs/adr/0011): what is dead could be discarded, where a device is about to write all of it. The library does
/// not keep in mind that a frame is dead, and writes it back: the same operation, half of which nobody needs.
fn spares_the_dead(space: &Space, id: u32, m: usize) -> bool {
    space.scenes[id as usize].dead && matches!(space.moves[id as usize].as_ref().unwrap()[m].call, Call::DeviceWrites(_))
}

/// Who counts no transfers cannot expect the word to know of them: what is done to a frame meanwhile is right, and not minimal. The
/// beginning and the end of them are both. So it is with notices.
fn unknown_to_the_word(space: &Space, id: u32, m: usize) -> bool {
    let call = space.moves[id as usize].as_ref().unwrap()[m].call;
    let scene = &space.scenes[id as usize];
    let counts_nothing = scene.handed != [false; 4] && !matches!(call, Call::Take(_));
    // That what a frame holds is dead no word says, either, and who touches it may be about to load.
    let dead = scene.dead && matches!(call, Call::Touch(..));
    counts_nothing || dead || scene.touching.is_some() && call != Call::Stored
}

/// The scene as the word tells it apart. What is done for the lines of a page that kernel code has stored to is done for the others as
/// well, watched at either: `None` where only the others can be watched. And a hold is a hold, be it for reading (docs/adr/0011).
fn told_apart(space: &Space, id: u32, call: Call) -> Option<Scene> {
    let mut scene = space.scenes[id as usize];
    if let (Some((_, watched)), Call::Stored) = (&mut scene.touching, call) {
        *watched = true;
        space.ids.get(&scene)?;
    }
    if space.shape.notices {
        // Nor is it told of every mapping that goes.
        scene.ptes = Default::default();
        (scene.reader, scene.writer) = (false, scene.reader || scene.writer);
    }
    Some(scene)
}

fn prove(shape: Shape, used: usize) {
    let mut space = Space::new(shape, used);
    let seen = space.explore();
    // Needed by some line; and where to look at it.
    let mut needed: HashMap<Weakening, (bool, u32, usize)> = HashMap::new();
    let mut bad = HashMap::new();
    let nodes: Vec<Node> = seen.keys().copied().collect();
    for (id, line) in nodes {
        let count = space.moves[id as usize].as_ref().unwrap().len();
        for m in 0..count {
            let (call, to, steps) = {
                let m = &space.moves[id as usize].as_ref().unwrap()[m];
                (m.call, m.to, m.steps.clone())
            };
            let unknown = unknown_to_the_word(&space, id, m);
            for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.maintenance && !unknown) {
                for (which, instead) in weaker(step.event, spares_the_dead(&space, id, m)).into_iter().enumerate() {
                    let Some(scene) = told_apart(&space, id, call) else { continue };
                    let (needed, ..) = needed.entry((scene, call, at, which)).or_insert((false, id, m));
                    if *needed {
                        continue;
                    }
                    let mut weakened = steps.clone();
                    match instead {
                        Some(event) => weakened[at].event = event,
                        None => drop(weakened.remove(at)),
                    }
                    let hurts = match space.run(line, &weakened) {
                        Err(_) => true,
                        Ok(line) => !seen.contains_key(&(to, line)) && space.endangered((to, line), &seen, &mut bad),
                    };
                    *needed |= hurts;
                }
            }
        }
    }
    let wasted: Vec<_> =
        needed.iter().filter(|(_, (needed, ..))| !needed).map(|(key, (_, id, m))| (*id, *m, key.2, key.3)).collect();
    println!(
        "{shape:?}: {} scenes, {} nodes, {} operations, {} of them wasted",
        space.scenes.len(),
        seen.len(),
        needed.len(),
        wasted.len()
    );
    if let Some(&(id, m, at, which)) = wasted.iter().min() {
        let spares = spares_the_dead(&space, id, m);
        let m = &space.moves[id as usize].as_ref().unwrap()[m];
        let event = m.steps[at].event;
        let instead = weaker(event, spares)[which];
        panic!("{event:?} (weakened to {instead:?}) of {:?} is never necessary in {:#?}", m.call, space.scenes[id as usize]);
    }
}

/// The same, told apart by history: every operation is necessary for some behaviour of the users *after these very calls*, not
/// only after others that leave the same word behind.
fn prove_by_history(shape: Shape, used: usize, considered: impl Fn(&Scene, Call) -> bool) {
    let mut space = Space::new(shape, used);
    let seen = space.explore();
    let mut bad = HashMap::new();
    // Everything the line can be after some sequence of calls, with the scene that they lead to.
    let mut histories: HashSet<(u32, BTreeSet<Line>)> = HashSet::new();
    let start = (0, space.whatever_users_do(0, BTreeSet::from([Line::default()])));
    let mut queue = VecDeque::from([(start.clone(), Vec::new())]);
    histories.insert(start);
    let mut operations = 0;
    while let Some(((id, lines), story)) = queue.pop_front() {
        space.expand(id);
        for m in 0..space.moves[id as usize].as_ref().unwrap().len() {
            let (call, to, steps) = {
                let m = &space.moves[id as usize].as_ref().unwrap()[m];
                (m.call, m.to, m.steps.clone())
            };
            if !considered(&space.scenes[id as usize], call) {
                continue;
            }
            let story: Vec<Call> = story.iter().copied().chain([call]).collect();
            for at in (0..steps.len()).filter(|&at| steps[at].maintenance) {
                operations += 1;
                let mut without = steps.clone();
                without.remove(at);
                let hurts = lines.iter().any(|&line| match space.run(line, &without) {
                    Err(_) => true,
                    Ok(line) => !seen.contains_key(&(to, line)) && space.endangered((to, line), &seen, &mut bad),
                });
                assert!(hurts, "{:?} is not necessary after {story:?} in {:#?}", steps[at].event, space.scenes[id as usize]);
            }
            let after = lines.iter().map(|&line| space.run(line, &steps).expect("explored")).collect();
            let next = (to, space.whatever_users_do(to, after));
            if histories.insert(next.clone()) {
                queue.push_back((next, story));
            }
        }
    }
    println!("{shape:?}: {} distinct histories, {operations} operations, none of them wasted", histories.len());
}

#[test]
fn no_operation_is_wasted_after_any_history() {
    let considered = |scene: &Scene, call: Call| match call {
        // What the word cannot say: that rights have gone of which the library was not told, or while the frame was in use; that a
        // hold for reading is one; and which lines of a page it is that are dirty (docs/adr/0011).
        Call::Unmap { told, .. } | Call::WriteProtect { told } => {
            told && scene.state.users() == 0 && !scene.given && scene.flights == [0; 4]
        }
        Call::Hold { write, .. } => write,
        Call::DeviceReads(part) | Call::DeviceWrites(part) | Call::Complete(part) => part == Part::Whole,
        _ => true,
    };
    for speculative in [false, true] {
        for write_back in [false, true] {
            prove_by_history(Shape { speculative, write_back, ..Shape::of(2) }, 2, considered);
        }
        // What these leave behind does not depend on how many colours there are.
        let less = |scene: &Scene, call: Call| {
            considered(scene, call) && !matches!(call, Call::GiveToKernel | Call::Poke | Call::SyncInstructions)
        };
        prove_by_history(Shape { speculative, ..Shape::of(4) }, 3, less);
    }
}

#[test]
fn two_colours_are_right_and_minimal() {
    prove(Shape::of(2), 2);
}

#[test]
fn two_colours_are_right_and_minimal_without_a_permanent_mapping() {
    prove(Shape { linear: false, ..Shape::of(2) }, 2);
}

#[test]
fn two_colours_are_right_and_minimal_on_a_core_that_speculates() {
    for linear in [true, false] {
        prove(Shape { speculative: true, linear, ..Shape::of(2) }, 2);
    }
}

#[test]
fn two_colours_are_right_and_minimal_where_the_cache_writes_through() {
    for speculative in [false, true] {
        prove(Shape { write_back: false, speculative, ..Shape::of(2) }, 2);
    }
}

#[test]
fn two_colours_are_right_and_minimal_if_the_kernel_does_not_know_what_its_revocations_leave() {
    prove(Shape { knows_remaining: false, ..Shape::of(2) }, 2);
}

#[test]
fn two_colours_are_right_and_minimal_if_the_kernel_looks_its_colours_up() {
    prove(Shape { policy: Policy::ReverseLookup, ..Shape::of(2) }, 2);
}

#[test]
fn two_colours_are_right_and_minimal_on_the_instruction_side() {
    for fetches_see_data in [false, true] {
        for speculative in [false, true] {
            prove(Shape { executes: true, fetches_see_data, speculative, ..Shape::of(2) }, 2);
        }
    }
}

#[test]
fn two_colours_are_right_and_minimal_for_kernels_that_count_no_transfers() {
    for speculative in [false, true] {
        for linear in [true, false] {
            prove(Shape { unpaired: true, speculative, linear, ..Shape::of(2) }, 2);
        }
    }
    for speculative in [false, true] {
        prove(Shape { unpaired: true, speculative, ..Shape::of(4) }, 3);
        prove(Shape { unpaired: true, speculative, ..Shape::of(16) }, 3);
    }
}

#[test]
fn two_colours_are_right_and_minimal_for_kernel_code_that_asks_nothing_and_says_what_it_does() {
    for speculative in [false, true] {
        for linear in [true, false] {
            prove(Shape { notices: true, speculative, linear, ..Shape::of(2) }, 2);
        }
        prove(Shape { notices: true, speculative, ..Shape::of(4) }, 3);
    }
    prove(Shape { notices: true, write_back: false, ..Shape::of(2) }, 2);
    for speculative in [false, true] {
        prove(Shape { notices: true, unpaired: true, speculative, ..Shape::of(2) }, 2);
    }
    prove(Shape { notices: true, speculative: true, ..Shape::of(16) }, 3);
}

#[test]
fn three_of_four_colours_are_right_and_minimal() {
    for speculative in [false, true] {
        prove(Shape { speculative, ..Shape::of(4) }, 3);
    }
}

#[test]
fn many_colours_coarsely_tracked_are_right_and_minimal_for_what_is_tracked() {
    for speculative in [false, true] {
        prove(Shape { speculative, ..Shape::of(16) }, 3);
    }
}

#[test]
fn one_colour_leaves_devices_only_and_they_are_right_and_minimal() {
    for speculative in [false, true] {
        prove(Shape { speculative, ..Shape::of(1) }, 1);
    }
}
