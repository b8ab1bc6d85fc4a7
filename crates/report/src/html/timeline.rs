//! The life of one line as a drawing: time to the right, a lane for each colour, for memory, for the instruction side, for devices.
//!
//! It draws what the finding holds and nothing else: the producer, the maintenance after it, the consumer, by the numbers of the
//! list of steps below it, which says the same in words. A band shows where the bytes that matter were, only as far as known.

use congruent_shadow::{Effect, HazardClass, Side};
use maud::{Markup, html};

use crate::explain::class_name;
use crate::report::{Entry, GeometryEntry, PartyEntry, PartyKindName, PastMaintenanceEntry};

/// Where something happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Lane {
    Colour(u16),
    Instructions,
    Memory,
    Device,
}

impl Lane {
    fn of(party: &PartyEntry, colour: Option<u16>) -> Self {
        match (party.kind, colour) {
            (PartyKindName::Dma, _) => Self::Device,
            (PartyKindName::Fetch, _) => Self::Instructions,
            (_, Some(colour)) => Self::Colour(colour),
            (_, None) => Self::Memory,
        }
    }

    fn label(self) -> String {
        match self {
            Self::Colour(colour) => format!("colour {colour}"),
            Self::Instructions => "instructions".to_owned(),
            Self::Memory => "memory".to_owned(),
            Self::Device => "device".to_owned(),
        }
    }
}

/// More colours than this are not all drawn, only those that take part.
const EVERY_COLOUR: u32 = 4;

// In units of the drawing.
const LEFT: usize = 104;
const STEP: usize = 84;
const ROW: usize = 34;
const TOP: usize = 8;

struct Drawing {
    lanes: Vec<Lane>,
    /// The consumer's step; the producer's is 0 and maintenance lies between.
    last: usize,
}

impl Drawing {
    fn of(entry: &Entry, cache: &GeometryEntry) -> Self {
        let parties =
            [Some((&entry.consumer, entry.consumer_colour)), entry.producer.as_ref().map(|p| (p, entry.producer_colour))];
        let mut lanes: Vec<Lane> = parties.into_iter().flatten().map(|(party, colour)| Lane::of(party, colour)).collect();
        lanes.extend(entry.maintenance_between.iter().filter_map(aimed_at));
        if cache.colours <= EVERY_COLOUR {
            lanes.extend((0..cache.colours).filter_map(|colour| u16::try_from(colour).ok()).map(Lane::Colour));
        }
        lanes.push(Lane::Memory);
        lanes.sort_unstable();
        lanes.dedup();
        Self { lanes, last: entry.maintenance_between.len() + 1 }
    }

    fn x(&self, step: usize) -> usize {
        LEFT + STEP / 2 + step * STEP
    }

    fn y(&self, lane: Lane) -> usize {
        let row = self.lanes.iter().position(|&known| known == lane).unwrap_or(0);
        TOP + ROW / 2 + row * ROW
    }

    fn size(&self) -> (usize, usize) {
        (LEFT + STEP * (self.last + 1), TOP * 2 + ROW * self.lanes.len())
    }

    fn colours(&self) -> impl Iterator<Item = Lane> {
        self.lanes.iter().copied().filter(|lane| matches!(lane, Lane::Colour(_)))
    }
}

/// The lane that an operation was aimed at; none for all colours at once. The colours of the instruction side share a lane.
fn aimed_at(past: &PastMaintenanceEntry) -> Option<Lane> {
    match (past.side, past.colour) {
        (Side::Instruction, _) => Some(Lane::Instructions),
        (Side::Data, colour) => colour.map(Lane::Colour),
    }
}

/// A stretch of a lane in which bytes that matter were held: dirty ones, or an old copy.
struct Band {
    lane: Lane,
    from: usize,
    to: usize,
    what: &'static str,
}

/// The step of the last operation that did something to the copy of a colour.
fn last_effect(entry: &Entry, lane: Lane) -> Option<usize> {
    let did = |past: &PastMaintenanceEntry| past.effect != Effect::Nothing && aimed_at(past) == Some(lane);
    entry.maintenance_between.iter().rposition(did).map(|at| at + 1)
}

fn band(entry: &Entry, last: usize) -> Option<Band> {
    let consumer = Lane::of(&entry.consumer, entry.consumer_colour);
    let producer = entry.producer.as_ref().map(|party| Lane::of(party, entry.producer_colour));
    match (entry.class, producer) {
        // These are findings because the bytes were dirty at the end.
        (
            HazardClass::ReadDirtyElsewhere
            | HazardClass::WriteUnderDirtyAlias
            | HazardClass::DmaReadStale
            | HazardClass::DmaWriteUnderDirty
            | HazardClass::MixedAttributesRead
            | HazardClass::MixedAttributesWrite
            | HazardClass::FetchDirty,
            Some(lane @ Lane::Colour(_)),
        ) if lane != consumer => Some(Band { lane, from: last_effect(entry, lane).unwrap_or(0), to: last, what: "dirty" }),
        (HazardClass::ReadStaleCopy | HazardClass::FetchStaleCopy, _)
            if matches!(consumer, Lane::Colour(_) | Lane::Instructions) =>
        {
            Some(Band { lane: consumer, from: last_effect(entry, consumer).unwrap_or(0), to: last, what: "old copy" })
        }
        (HazardClass::ReadLost, Some(lane @ Lane::Colour(_))) => {
            Some(Band { lane, from: 0, to: last_effect(entry, lane)?, what: "dirty" })
        }
        _ => None,
    }
}

/// The drawing, with a sentence for those who cannot see it.
pub(super) fn draw(entry: &Entry, cache: &GeometryEntry) -> Markup {
    let drawing = Drawing::of(entry, cache);
    let (width, height) = drawing.size();
    let sentence = format!("Timeline of the line of this {} finding; the steps are listed below.", class_name(entry.class));
    let memory = drawing.y(Lane::Memory);
    html! {
        div class="timeline" tabindex="0" role="group" aria-label="Timeline" {
            svg role="img" aria-label=(sentence) width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) {
                @for &lane in &drawing.lanes {
                    @let y = drawing.y(lane);
                    text class="lane-name" x="4" y=(y + 4) { (lane.label()) }
                    line class="lane" x1=(LEFT) x2=(width) y1=(y) y2=(y) {}
                }
                @if let Some(Band { lane, from, to, what }) = band(entry, drawing.last) {
                    @let (x, y) = (drawing.x(from), drawing.y(lane));
                    rect class="band" x=(x) y=(y - 9) width=(drawing.x(to) - x) height="18" {}
                    text class="band-name" x=((x + drawing.x(to)) / 2) y=(y - 12) { (what) }
                }
                @match &entry.producer {
                    Some(producer) => {
                        @let lane = Lane::of(producer, entry.producer_colour);
                        @if lane == Lane::Device { (arrow(drawing.x(0), drawing.y(lane), memory)) }
                        (access("store", 0, &drawing, lane))
                    }
                    None => (access("store unseen", 0, &drawing, Lane::Memory)),
                }
                @for (step, past) in (1..).zip(&entry.maintenance_between) {
                    @match aimed_at(past) {
                        Some(lane) => (operation(past, step, &drawing, lane)),
                        None => {
                            @for lane in drawing.colours() { (operation(past, step, &drawing, lane)) }
                        }
                    }
                }
                @let lane = Lane::of(&entry.consumer, entry.consumer_colour);
                @let fills = matches!(
                    entry.class,
                    HazardClass::ReadDirtyElsewhere | HazardClass::ReadLost | HazardClass::ClobberedNeighbour | HazardClass::FetchDirty
                );
                @let device_writes = entry.class == HazardClass::DmaWriteUnderDirty;
                @if lane == Lane::Device && !device_writes || fills && lane != Lane::Memory {
                    (arrow(drawing.x(drawing.last), memory, drawing.y(lane)))
                } @else if lane == Lane::Device {
                    (arrow(drawing.x(drawing.last), drawing.y(lane), memory))
                }
                (access(if writes(entry.class) { "store" } else { "load" }, drawing.last, &drawing, lane))
            }
        }
    }
}

/// Whether the consumer of this class writes.
fn writes(class: HazardClass) -> bool {
    matches!(class, HazardClass::WriteUnderDirtyAlias | HazardClass::DmaWriteUnderDirty | HazardClass::MixedAttributesWrite)
}

fn access(class: &str, step: usize, drawing: &Drawing, lane: Lane) -> Markup {
    let (x, y) = (drawing.x(step), drawing.y(lane));
    html! {
        circle class=(class) cx=(x) cy=(y) r="11" {}
        text class={ "number " (class) } x=(x) y=(y + 4) { (step + 1) }
    }
}

fn operation(past: &PastMaintenanceEntry, step: usize, drawing: &Drawing, lane: Lane) -> Markup {
    let (x, y) = (drawing.x(step), drawing.y(lane));
    let (wrote, dropped) = match past.effect {
        Effect::WroteBack => (true, false),
        Effect::WroteBackAndDropped => (true, true),
        Effect::Dropped => (false, true),
        Effect::Nothing => (false, false),
    };
    let class = match (past.muted, past.effect) {
        (true, _) => "maintenance muted",
        (false, Effect::Nothing) => "maintenance idle",
        (false, Effect::WroteBack | Effect::Dropped | Effect::WroteBackAndDropped) => "maintenance",
    };
    html! {
        // What one operation on every colour did is known for the line, not for each colour.
        @if wrote && aimed_at(past).is_some() { (arrow(x, y, drawing.y(Lane::Memory))) }
        rect class=(class) x=(x - 10) y=(y - 10) width="20" height="20" rx="3" {}
        @if dropped && aimed_at(past).is_some() { line class="end" x1=(x + 15) x2=(x + 15) y1=(y - 10) y2=(y + 10) {} }
        text class={ "number " (class) } x=(x) y=(y + 4) { (step + 1) }
    }
}

/// An arrow between two lanes, from `from` to `to`, clear of the marks at both ends.
fn arrow(x: usize, from: usize, to: usize) -> Markup {
    const MARK: usize = 12;
    let (start, end, head) = if from < to { (from + MARK, to - 3, to - 9) } else { (from - MARK, to + MARK, to + MARK + 6) };
    let end = if from < to && end <= start { to } else { end };
    html! {
        line class="flow" x1=(x) x2=(x) y1=(start) y2=(end) {}
        path class="flow" d=(format!("M {} {head} L {x} {end} L {} {head}", x - 5, x + 5)) {}
    }
}
