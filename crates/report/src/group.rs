//! What comes first, and what is told once: the order of findings, and groups of them for the text.
//!
//! The order is: old bytes seen before newer bytes endangered; findings in which kernel code takes part before those among user
//! code alone, because the kernel owns the maintenance; then the more frequent. Findings of one class between the same two
//! functions are one group, or of two programs where no function is known.

use std::cmp::Reverse;
use std::collections::HashMap;

use congruent_shadow::HazardClass;
use congruent_trace::{Site, devices};

use crate::report::{Entry, PartyEntry, PartyKindName};
use crate::{Address, Mode};

/// How bad a class is; smaller is worse. A consumer that can see old bytes is damage done; a store or device that endangers
/// newer bytes is damage to come.
pub(crate) fn severity(class: HazardClass) -> u8 {
    match class {
        HazardClass::WriteUnderDirtyAlias | HazardClass::DmaWriteUnderDirty | HazardClass::MixedAttributesWrite => 1,
        HazardClass::ReadDirtyElsewhere
        | HazardClass::ReadStaleCopy
        | HazardClass::ReadLost
        | HazardClass::ClobberedNeighbour
        | HazardClass::DmaReadStale
        | HazardClass::MixedAttributesRead
        | HazardClass::FetchDirty
        | HazardClass::FetchStaleCopy
        | HazardClass::ReadHomonym
        | HazardClass::WriteHomonym => 0,
    }
}

/// Whether the kernel or a device, which the kernel drives, takes part.
fn involves_kernel(entry: &Entry) -> bool {
    let kernels = |party: &PartyEntry| party.mode != Some(Mode::User);
    kernels(&entry.consumer) || entry.producer.as_ref().is_some_and(kernels)
}

/// The sort key of a finding: the most important first, and the same order in every run.
pub(crate) fn importance(entry: &Entry) -> impl Ord + use<> {
    let pc = |party: &PartyEntry| (party.pc, party.device);
    (
        severity(entry.class),
        !involves_kernel(entry),
        Reverse(entry.count),
        entry.class,
        pc(&entry.consumer),
        entry.producer.as_ref().map(pc),
    )
}

/// Findings of one class between two functions.
pub(crate) struct Group<'a> {
    /// The most frequent of them, which stands for all in the text.
    pub(crate) shown: &'a Entry,
    /// How many there are.
    pub(crate) findings: usize,
    /// How often they occurred, together.
    pub(crate) occurrences: u64,
}

/// What a party is called in sentences: as [`function`] has it, and user code without a name by its program.
pub(crate) fn called(party: &PartyEntry) -> String {
    match (&party.symbol, &party.program) {
        (None, Some(program)) => in_program(program),
        _ => function(party),
    }
}

/// Code of a program, by what the guest calls the program.
pub(crate) fn in_program(program: &str) -> String {
    format!("user program `{program}`")
}

/// What a party is called where neither its exact address nor its program matters.
pub(crate) fn function(party: &PartyEntry) -> String {
    match (&party.symbol, party.mode) {
        (Some(symbol), _) => symbol.rsplit_once('+').map_or(symbol.as_str(), |(function, _)| function).to_owned(),
        (None, Some(mode)) => format!("{} code", mode.name()),
        (None, None) => device(party),
    }
}

/// What a device is called.
pub(crate) fn device(party: &PartyEntry) -> String {
    let number = party.device.unwrap_or_default();
    devices::name(Site(number)).map_or_else(
        || match (number >> 16, number & 0xffff) {
            (0, number) => format!("device {number}"),
            // Such numbers are of the device's vendor and kind.
            (vendor, kind) => format!("the PCI device {vendor:04x}:{kind:04x}"),
        },
        str::to_owned,
    )
}

/// Folds findings, which come in order of importance, into groups in order of importance.
pub(crate) fn groups<'a>(findings: impl IntoIterator<Item = &'a Entry>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut index: HashMap<(HazardClass, PartyKindName, String, Option<String>), usize> = HashMap::new();
    for entry in findings {
        let key = (entry.class, entry.consumer.kind, called(&entry.consumer), entry.producer.as_ref().map(called));
        let at = *index.entry(key).or_insert_with(|| {
            groups.push(Group { shown: entry, findings: 0, occurrences: 0 });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.findings += 1;
        group.occurrences += entry.count;
        if entry.count > group.shown.count {
            group.shown = entry;
        }
    }
    groups.sort_by_cached_key(|group| {
        let shown = group.shown;
        (severity(shown.class), !involves_kernel(shown), Reverse(group.occurrences), importance_of_sites(shown))
    });
    groups
}

fn importance_of_sites(entry: &Entry) -> (HazardClass, Option<Address>, Option<Address>) {
    (entry.class, entry.consumer.pc, entry.producer.as_ref().and_then(|producer| producer.pc))
}
