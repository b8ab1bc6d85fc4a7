//! Each hazard class in words: what may happen, why, and which step is missing, for readers who do not know the judge.
//!
//! The judge's rules are stated once, in `congruent-shadow`; these are sentences about their results, and decide nothing.

use congruent_shadow::{Effect, HazardClass, Side};
use congruent_trace::Maintenance;

use crate::group::called;
use crate::report::{Entry, PartyKindName, PastMaintenanceEntry};

/// A finding in sentences.
pub(crate) struct Explanation {
    /// Who may see what.
    pub(crate) headline: String,
    /// How that can be.
    pub(crate) why: String,
    /// What would have prevented it.
    pub(crate) missing: String,
}

/// The class as the JSON report names it.
#[must_use]
#[allow(clippy::missing_panics_doc, reason = "a class is serialised as its name")]
pub fn class_name(class: HazardClass) -> String {
    match serde_json::to_value(class) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("a class is serialised as its name"),
    }
}

/// `colour 1`, or what stands for it where no colour was involved.
fn colour(colour: Option<u16>, otherwise: &str) -> String {
    colour.map_or_else(|| otherwise.to_owned(), |colour| format!("colour {colour}"))
}

/// ` of CPU 1`, where several are judged.
fn of_cpu(cpu: Option<u16>) -> String {
    cpu.map_or_else(String::new, |cpu| format!(" of CPU {cpu}"))
}

pub(crate) fn explain(entry: &Entry) -> Explanation {
    let reader = called(&entry.consumer);
    let writer = entry.producer.as_ref().map_or_else(|| "an access that was not seen".to_owned(), called);
    let tagged = |place: Option<u16>| place.filter(|_| !entry.virtual_tags);
    let here = colour(tagged(entry.consumer_colour), if entry.virtual_tags { "this virtual page" } else { "this mapping" });
    // The judge remembers a few writers of a line; where it had to merge two, the colour may be the wrong one's.
    let other_colour = entry.producer_colour.filter(|_| entry.producer_colour != entry.consumer_colour);
    let there = match entry.class {
        HazardClass::DmaReadStale
        | HazardClass::DmaWriteUnderDirty
        | HazardClass::MixedAttributesRead
        | HazardClass::MixedAttributesWrite
        | HazardClass::FetchDirty
            if entry.virtual_tags =>
        {
            "a virtual page".to_owned()
        }
        _ if entry.virtual_tags => "another virtual page".to_owned(),
        HazardClass::ReadDirtyElsewhere | HazardClass::WriteUnderDirtyAlias => colour(other_colour, "another colour"),
        _ => colour(entry.producer_colour, "some colour"),
    };
    let by_device = entry.producer.as_ref().is_some_and(|producer| producer.kind == PartyKindName::Dma);
    let uncached_writer = entry.producer.as_ref().is_some_and(|producer| !producer.cached);
    let (headline, why, missing) = match entry.class {
        HazardClass::ReadDirtyElsewhere => (
            format!(
                "{reader} may read old bytes; {writer} wrote newer ones through another {}",
                if entry.virtual_tags { "address" } else { "colour" }
            ),
            format!(
                "the newer bytes were still dirty in the cache under {there}; the read went through {here}, which is filled from \
                 memory, and memory may still hold the older bytes"
            ),
            format!("write back {there} of the frame before reading it through {here}"),
        ),
        HazardClass::ReadStaleCopy => (
            format!("{reader} may read old bytes from a stale copy; {writer} wrote newer ones"),
            format!(
                "{here} may still hold a copy of the line from before the newer bytes were written {}",
                match (by_device, uncached_writer) {
                    (true, _) => "to memory by the device".to_owned(),
                    (_, true) => "to memory past the cache".to_owned(),
                    _ => format!("through {there}"),
                }
            ),
            if uncached_writer {
                format!("invalidate {here} of the frame after the newer bytes reach memory, before reading them")
            } else {
                format!("write back {there} and invalidate {here} of the frame before reading it through {here}")
            },
        ),
        HazardClass::ReadLost => (
            format!("{reader} reads bytes whose newest value was thrown away; {writer} wrote it"),
            "the newest bytes existed only as dirty bytes of a cache line, and that line was invalidated without being written back"
                .to_owned(),
            format!("write back {there} before invalidating it, or use an operation that does both"),
        ),
        HazardClass::ClobberedNeighbour => (
            format!("{reader} may read old bytes; a write-back of their neighbours may have destroyed what {writer} wrote"),
            "the line was also dirty in a copy that holds older values of these bytes. Lines are written back whole, so evicting \
             that copy puts the old values over the newer ones in memory"
                .to_owned(),
            "write back and invalidate the other copy of the line before storing next to its bytes, or keep data of different \
             owners in different lines"
                .to_owned(),
        ),
        HazardClass::WriteUnderDirtyAlias => (
            format!(
                "{reader} stores to bytes that {writer} left dirty under another {}",
                if entry.virtual_tags { "address" } else { "colour" }
            ),
            format!(
                "the same bytes are now dirty under {there} and under {here}; whichever line is evicted last decides what memory \
                 holds, so the older store can win"
            ),
            format!("write back and invalidate {there} of the frame before storing through {here}"),
        ),
        HazardClass::DmaReadStale => (
            format!("{reader} may read old bytes from memory; {writer} wrote newer ones that are still in the cache"),
            format!("devices read memory, and the newer bytes were still dirty in the cache under {there}"),
            format!("write back {there} of the buffer before starting the transfer"),
        ),
        HazardClass::DmaWriteUnderDirty => (
            format!("{reader} writes memory that the cache may overwrite later; {writer} left the line dirty"),
            format!("the line was dirty under {there} when the device wrote; evicting it afterwards destroys what the device wrote"),
            format!("write back and invalidate {there} of the buffer before handing it to the device"),
        ),
        HazardClass::MixedAttributesRead => (
            format!("{reader} may read old bytes past the cache; {writer} wrote newer ones into the cache"),
            format!("the read went to memory directly, and the newer bytes were still dirty in the cache under {there}"),
            format!("write back {there} of the frame before reading it through an uncached mapping"),
        ),
        HazardClass::MixedAttributesWrite => (
            format!("{reader} stores past the cache to bytes that {writer} left dirty in it"),
            format!("the line was dirty under {there}; evicting it later puts the older bytes over those stored to memory directly"),
            format!("write back and invalidate {there} of the frame before storing to it through an uncached mapping"),
        ),
        HazardClass::FetchDirty => (
            format!("{reader} may run old instructions; {writer} wrote newer ones that are still in the data cache"),
            format!(
                "instructions are fetched from memory, and the newer bytes were still dirty in the data cache under {there}"
            ),
            format!("write back {there} of the frame, then drop its lines from the instruction cache, before running the code"),
        ),
        HazardClass::FetchStaleCopy => (
            format!("{reader} may run old instructions from a stale copy; {writer} wrote newer ones"),
            format!(
                "the instruction cache{} may still hold the line, under {here}, from before the newer bytes were written {}",
                of_cpu(entry.consumer.cpu),
                match (by_device, uncached_writer) {
                    (true, _) => "to memory by the device".to_owned(),
                    (_, true) => "to memory past the cache".to_owned(),
                    _ => format!("through {there}"),
                }
            ),
            format!(
                "drop {here} of the frame from the instruction cache{} after the newer bytes reach memory, before running them",
                of_cpu(entry.consumer.cpu)
            ),
        ),
        HazardClass::ReadHomonym if entry.consumer.kind == PartyKindName::Fetch => (
            format!("{reader} may run another frame's instructions; {writer} may have written them"),
            "the instruction cache finds lines by their virtual addresses, and may still hold what this one stood for before it was \
             mapped to this frame"
                .to_owned(),
            "drop the virtual page from the instruction cache before it is mapped to another frame".to_owned(),
        ),
        HazardClass::ReadHomonym => (
            format!("{reader} may read another frame's bytes; {writer} may have left them in the cache"),
            "the cache finds lines by their virtual addresses, and may still hold what this one stood for before it was mapped to \
             this frame"
                .to_owned(),
            "write back and invalidate the virtual page before it is mapped to another frame".to_owned(),
        ),
        HazardClass::WriteHomonym => (
            format!("{reader} may store into another frame's bytes; {writer} may have left them in the cache"),
            "the cache finds lines by their virtual addresses, and the store may hit what this one stood for before it was mapped \
             to this frame"
                .to_owned(),
            "write back and invalidate the virtual page before it is mapped to another frame".to_owned(),
        ),
    };
    Explanation { headline, why, missing }
}

/// What a past operation was, what it did, and why that did not help, without its site.
pub(crate) fn past(entry: &Entry, past: &PastMaintenanceEntry) -> String {
    let operation = match past.op {
        Maintenance::WriteBack => "write back",
        Maintenance::Invalidate => "invalidate",
        Maintenance::WriteBackInvalidate => "write back and invalidate",
    };
    let aim = match past.colour {
        Some(_) if entry.virtual_tags => "by address".to_owned(),
        place => colour(place, "by index or the whole cache"),
    };
    let side = match past.side {
        Side::Data => "",
        Side::Instruction => " on the instruction side",
    };
    let cpu = of_cpu(past.cpu);
    format!("{operation}{side}{cpu}, {aim}: {}", effect(entry, past))
}

fn effect(entry: &Entry, past: &PastMaintenanceEntry) -> String {
    if past.muted {
        return "muted, so it did nothing".to_owned();
    }
    let fetched = matches!(entry.class, HazardClass::FetchDirty | HazardClass::FetchStaleCopy);
    let reader_side = if fetched { Side::Instruction } else { Side::Data };
    let reader_colour = past.side == reader_side
        && past.cpu == entry.consumer.cpu
        && past.colour.is_some()
        && past.colour == entry.consumer_colour;
    let writer_cpu = entry.producer.as_ref().and_then(|producer| producer.cpu);
    let writer_colour =
        past.side == Side::Data && past.cpu == writer_cpu && past.colour.is_some() && past.colour == entry.producer_colour;
    let did = match past.effect {
        Effect::Nothing if past.colour.is_none() => "nothing of the line was held where it looked, or not every way was covered",
        Effect::Nothing if past.op == Maintenance::WriteBack => "nothing dirty of the line was held there",
        Effect::Nothing => "nothing of the line was held there",
        Effect::WroteBack => "dirty bytes went to memory and the copy stayed",
        Effect::Dropped if past.op.writes_back() => "a copy without dirty bytes was dropped",
        Effect::Dropped => "the copy was dropped, and dirty bytes with it if there were any",
        Effect::WroteBackAndDropped => "dirty bytes went to memory and the copy was dropped",
    };
    let but = match entry.class {
        // Which virtual page it was aimed at is not told.
        _ if entry.virtual_tags => None,
        HazardClass::ReadDirtyElsewhere
        | HazardClass::DmaReadStale
        | HazardClass::MixedAttributesRead
        | HazardClass::FetchDirty => match past.effect {
            _ if past.side == Side::Instruction => Some("the newer bytes were still in the data cache".to_owned()),
            Effect::Nothing if writer_colour => Some("the bytes became dirty after that".to_owned()),
            _ if writer_colour => Some("the line was dirtied again after that".to_owned()),
            _ => entry.producer_colour.map(|colour| format!("the newer bytes were in colour {colour}{}", of_cpu(writer_cpu))),
        },
        HazardClass::FetchStaleCopy if past.side == Side::Data => Some("the old copy was in the instruction cache".to_owned()),
        HazardClass::ReadStaleCopy | HazardClass::FetchStaleCopy => match past.effect {
            Effect::WroteBack if reader_colour => Some("the copy that stayed was the old one".to_owned()),
            _ if reader_colour => {
                Some("the old bytes were fetched again after that, before the newer ones reached memory".to_owned())
            }
            _ => entry.consumer_colour.map(|colour| format!("the old copy was in colour {colour}{}", of_cpu(entry.consumer.cpu))),
        },
        HazardClass::ReadLost if past.effect == Effect::Dropped => Some("the newest bytes were lost here or earlier".to_owned()),
        _ => None,
    };
    match but {
        Some(but) => format!("{did}; {but}"),
        None => did.to_owned(),
    }
}
