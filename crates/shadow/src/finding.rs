//! What the judge reports: plain data, for people and for programs.

use alloc::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};
use congruent_trace::{Context, Maintenance, Site};

/// The way in which old bytes could be seen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum HazardClass {
    /// A load while the newest bytes sit dirty in another colour: memory, and so this load, may be old.
    ReadDirtyElsewhere,
    /// A load that may hit a copy older than the newest bytes.
    ReadStaleCopy,
    /// A load of bytes whose only copy was discarded.
    ReadLost,
    /// A load of bytes that an older copy of the line, written back for its neighbours' sake, may have overwritten.
    ClobberedNeighbour,
    /// A store to bytes that are dirty in another colour: whichever is written back last wins.
    WriteUnderDirtyAlias,
    /// A device reads memory that is older than a cached copy.
    DmaReadStale,
    /// A device writes memory under a dirty copy, whose later write-back destroys what the device wrote.
    DmaWriteUnderDirty,
    /// An uncached load of bytes that are newer in the cache.
    MixedAttributesRead,
    /// An uncached store to bytes that are dirty in the cache.
    MixedAttributesWrite,
    /// A fetch of instructions whose newest bytes are dirty in the data cache, and perhaps not where fetches look for them.
    FetchDirty,
    /// A fetch that may hit a copy in the instruction cache older than the newest bytes (or be served by such a copy in the data
    /// cache, where misses are).
    FetchStaleCopy,
    /// A load that may hit another frame's copy, left under the same virtual address from before it was mapped to this frame.
    ReadHomonym,
    /// A store that may go into another frame's copy, left under the same virtual address.
    WriteHomonym,
}

impl HazardClass {
    /// Every class.
    pub const ALL: [Self; 13] = [
        Self::ReadDirtyElsewhere,
        Self::ReadStaleCopy,
        Self::ReadLost,
        Self::ClobberedNeighbour,
        Self::WriteUnderDirtyAlias,
        Self::DmaReadStale,
        Self::DmaWriteUnderDirty,
        Self::MixedAttributesRead,
        Self::MixedAttributesWrite,
        Self::FetchDirty,
        Self::FetchStaleCopy,
        Self::ReadHomonym,
        Self::WriteHomonym,
    ];
}

/// What kind of access a party of a finding made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum PartyKind {
    /// A load through a cacheable mapping.
    Load,
    /// A store through a cacheable mapping.
    Store,
    /// A load through an uncached mapping.
    UncachedLoad,
    /// A store through an uncached mapping.
    UncachedStore,
    /// A device.
    Dma,
    /// A fetch of instructions.
    Fetch,
}

/// One of the two accesses of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Party {
    /// What it was.
    pub kind: PartyKind,
    /// Where in the guest's code.
    pub site: Site,
    /// Through which colour, of the instruction cache for a fetch, else of the data cache; `None` for devices and uncached
    /// accesses.
    pub colour: Option<u16>,
}

/// The first occurrence of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Example {
    /// The virtual address of the consumer's access; `None` for devices and uncached accesses.
    pub vaddr: Option<VirtAddr>,
    /// The physical address of the first byte that may be old.
    pub paddr: PhysAddr,
    /// How many bytes of the access may be old.
    pub bytes: u32,
}

/// The CPUs of the first occurrence of a finding; `None` for devices and uncached accesses, and where one CPU is judged.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct OnCpus {
    /// Of the consumer.
    pub consumer: Option<u16>,
    /// Of the producer.
    pub producer: Option<u16>,
}

/// The call chains of the first occurrence of a finding; [`Context::NONE`] where none is known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Contexts {
    /// Of the consumer.
    pub consumer: Context,
    /// Of the producer.
    pub producer: Context,
}

/// What a past maintenance operation did to the line of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Effect {
    /// It covered a colour in which nothing of this line could be held (the wrong colour, or an empty one), or had nothing to
    /// write back.
    Nothing,
    /// It wrote dirty bytes of the line to memory and left the copy.
    WroteBack,
    /// It dropped a clean copy of the line, or dropped dirty bytes.
    Dropped,
    /// It wrote dirty bytes to memory and dropped the copy.
    WroteBackAndDropped,
}

/// One of the two caches of a core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Side {
    /// The data cache.
    #[default]
    Data,
    /// The instruction cache.
    Instruction,
}

/// One maintenance operation on the line of a finding, before the finding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PastMaintenance {
    /// What was asked for.
    #[cfg_attr(feature = "serde", serde(with = "maintenance_name"))]
    pub op: Maintenance,
    /// On which cache.
    #[cfg_attr(feature = "serde", serde(default))]
    pub side: Side,
    /// The colour of that cache that it was aimed at; `None` for operations on the whole cache or swept by index.
    pub colour: Option<u16>,
    /// Where in the guest's code.
    pub site: Site,
    /// What it did to this line.
    pub effect: Effect,
    /// Whether `--mute` made it do nothing.
    pub muted: bool,
    /// The CPU whose caches it acted on; `None` where one CPU is judged.
    #[cfg_attr(feature = "serde", serde(default))]
    pub cpu: Option<u16>,
}

/// A place where stale data can be seen. Hazards that share class, consumer and producer are one finding with a count.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Finding {
    /// How.
    pub class: HazardClass,
    /// How often in this run.
    pub count: u64,
    /// The access that could see old bytes (for the write classes: the one that endangers newer ones).
    pub consumer: Party,
    /// The last access known to have made newer bytes of the line; `None` if no store to it was seen.
    pub producer: Option<Party>,
    /// The first occurrence.
    pub example: Example,
    /// Maintenance on the line between producer and consumer of the example, oldest first; the last few only.
    pub maintenance_between: Vec<PastMaintenance>,
    /// On which CPUs the example came about.
    #[cfg_attr(feature = "serde", serde(default))]
    pub cpus: OnCpus,
    /// Through which calls the example came about.
    #[cfg_attr(feature = "serde", serde(default))]
    pub contexts: Contexts,
}

/// What makes two hazards one finding: class, consumer and producer.
pub type Key = (HazardClass, (PartyKind, Site), Option<(PartyKind, Site)>);

impl Finding {
    /// What it is known by: two findings, though perhaps of different runs, are the same if they share this.
    #[must_use]
    pub fn key(&self) -> Key {
        let party = |party: &Party| (party.kind, party.site);
        (self.class, party(&self.consumer), self.producer.as_ref().map(party))
    }
}

/// A place where stale data can be seen only because findings before it are not mended: their remedies would have helped here as well.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Consequence {
    /// What it would be as a finding: its count is 1 however often it came about, and no maintenance is told of.
    pub finding: Finding,
    /// The findings that it follows from, by their places in [`Shadow::findings`](crate::Shadow::findings), in ascending order. If one of them
    /// is let pass, this is a finding.
    pub follows: Vec<u32>,
}

#[cfg(feature = "serde")]
mod maintenance_name {
    //! [`Maintenance`] under the names of the JSON report.

    use congruent_trace::Maintenance;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(op: &Maintenance, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match op {
            Maintenance::WriteBack => "write-back",
            Maintenance::Invalidate => "invalidate",
            Maintenance::WriteBackInvalidate => "write-back-invalidate",
        })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Maintenance, D::Error> {
        match <&str>::deserialize(from)? {
            "write-back" => Ok(Maintenance::WriteBack),
            "invalidate" => Ok(Maintenance::Invalidate),
            "write-back-invalidate" => Ok(Maintenance::WriteBackInvalidate),
            other => Err(D::Error::custom(format_args!("unknown maintenance {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HazardClass::{self, *};

    #[test]
    fn every_class_is_listed_once_and_in_its_place() {
        for (place, class) in HazardClass::ALL.into_iter().enumerate() {
            // Whoever adds a class is stopped here by the compiler: it belongs into `ALL` as well.
            let own_place = match class {
                ReadDirtyElsewhere => 0,
                ReadStaleCopy => 1,
                ReadLost => 2,
                ClobberedNeighbour => 3,
                WriteUnderDirtyAlias => 4,
                DmaReadStale => 5,
                DmaWriteUnderDirty => 6,
                MixedAttributesRead => 7,
                MixedAttributesWrite => 8,
                FetchDirty => 9,
                FetchStaleCopy => 10,
                ReadHomonym => 11,
                WriteHomonym => 12,
            };
            assert_eq!(place, own_place);
        }
    }
}
