//! What the QEMU plugin and the program `congruent` say to one another.
//!
//! The program writes a [`Config`] as JSON into a file and names that file in the plugin's arguments (`config=FILE`). The
//! plugin connects to the Unix socket named there and sends [`Message`]s, one JSON text per line. Findings are sent as they are
//! first seen, so that a crash of QEMU loses none; the counts of the last message, [`Message::Final`], are the valid ones.

#![forbid(unsafe_code)]

use std::io::{self, BufRead, Write};
use std::ops::Range;
use std::path::PathBuf;

use congruent_arch::Arch;
use congruent_geometry::{Behaviour, CacheGeometry, PhysAddr};
use congruent_shadow::{
    AddressReach, Config as JudgeConfig, ConfigError, Consequence, Cpus, Finding, HazardClass, LedgerLine, Schedules, Stats,
};
use congruent_trace::{Context, Site};
use serde::{Deserialize, Serialize};

/// The version of this protocol; both sides must have the same.
pub const PROTOCOL: u32 = 6;

/// The modelled caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caches {
    /// The shape of the level-1 data cache.
    pub data: CacheGeometry,
    /// What it does beside that.
    pub behaviour: Behaviour,
    /// The level-1 instruction cache, if fetches are to be judged.
    pub code: Option<CacheGeometry>,
}

impl From<JudgeConfig> for Caches {
    fn from(config: JudgeConfig) -> Self {
        Self { data: config.geometry, behaviour: config.behaviour(), code: config.code.map(|code| code.geometry) }
    }
}

impl TryFrom<Caches> for JudgeConfig {
    type Error = ConfigError;

    fn try_from(caches: Caches) -> Result<Self, ConfigError> {
        Self::of(caches.data, caches.behaviour, caches.code)
    }
}

/// How the caches of a guest's CPUs hang together, if it has several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuCaches {
    /// Each CPU has its own, and maintenance by address reaches all.
    #[default]
    Broadcast,
    /// Each CPU has its own, and maintenance reaches those of the CPU that runs it.
    Local,
    /// The CPUs share them, as hardware threads of one core do.
    Shared,
}

impl CpuCaches {
    /// What the judge is to assume of so many CPUs.
    #[must_use]
    pub fn of(self, count: u32) -> Cpus {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        match self {
            Self::Broadcast => Cpus { count, by_address: AddressReach::All },
            Self::Local => Cpus { count, by_address: AddressReach::Own },
            Self::Shared => Cpus::ONE,
        }
    }
}

/// Code whose maintenance is to be treated as if it did nothing: while an instruction of `start..end` runs, and, where `start` is
/// the entry of a function, while anything that the function calls runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MuteRange {
    /// The first address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
}

/// What the plugin needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// [`PROTOCOL`] of the program.
    pub protocol: u32,
    /// The Unix socket that the program listens on.
    pub socket: PathBuf,
    /// The modelled caches.
    pub caches: Caches,
    /// How the caches of several CPUs hang together.
    #[serde(default)]
    pub cpus: CpuCaches,
    /// The file whose appearance says that the program hears QEMU's monitor. The guest does not begin before: what QEMU says of a guest that
    /// has ended by then, nobody would hear.
    #[serde(default)]
    pub gate: Option<PathBuf>,
    /// Code whose maintenance is muted.
    #[serde(default)]
    pub mute: Vec<MuteRange>,
    /// Whether to follow the guest's calls, so that findings can name the callers.
    #[serde(default)]
    pub backtraces: bool,
    /// The file into which the plugin copies the guest's [`KernelMemory`](congruent_arch::KernelMemory) at the first finding, so that
    /// the program can look for the
    /// kernel's symbols there.
    #[serde(default)]
    pub memory: Option<PathBuf>,
    /// What is to be recorded, if anything.
    #[serde(default)]
    pub record: Option<Record>,
    /// Whether to keep a ledger of what maintenance was good for.
    #[serde(default)]
    pub ledger: bool,
    /// Where the guest is to be stopped, if anywhere.
    #[serde(default)]
    pub stop_at: Option<StopAt>,
    /// By which schedules the guest is given old bytes, if it is.
    #[serde(default)]
    pub inject: Option<Schedules>,
}

/// Old bytes that the guest was given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivered {
    /// To how many loads, or reads of a device.
    pub count: u64,
    /// The first of them.
    pub first: Delivery,
}

/// One load, or read of a device, that was given old bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// Where the first byte is that differs.
    pub paddr: PhysAddr,
    /// The bytes from there to the last that differs, as they were given; of a device's read the first few.
    pub got: Vec<u8>,
    /// As they should have been.
    pub newest: Vec<u8>,
    /// Loads and stores of the guest before it.
    pub accesses: u64,
}

/// Findings at which the guest is stopped, each when it is first seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopAt {
    /// This one, counted from 1, and every one after it.
    From(u64),
    /// Those of a class.
    Class(HazardClass),
    /// Those of which an access is in this code: its addresses.
    Code(Vec<Range<u64>>),
}

impl StopAt {
    /// Whether the guest is stopped at this finding, the `number`-th, counted from 1.
    #[must_use]
    pub fn covers(&self, number: u64, finding: &Finding) -> bool {
        match self {
            Self::From(first) => number >= *first,
            Self::Class(class) => finding.class == *class,
            Self::Code(ranges) => {
                let mut parties = std::iter::once(&finding.consumer).chain(&finding.producer);
                parties.any(|party| ranges.iter().any(|range| range.contains(&party.site.0.into())))
            }
        }
    }
}

/// A recording to be made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The file, by its whole path; whatever is in it is replaced.
    pub file: PathBuf,
    /// What `--mute` was given, as the user wrote it.
    pub muted: Vec<String>,
}

/// The call chain that findings name by its number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// The number.
    pub context: Context,
    /// What the guest calls the program whose code this is, if it is a program's and its name was found.
    #[serde(default)]
    pub program: Option<String>,
    /// The call instructions that had not returned, the innermost first; the outermost may be left out.
    pub callers: Vec<Site>,
}

/// Why the plugin cannot judge, or no longer can.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The environment is not supported: nothing was judged (exit status 2).
    Environment,
    /// The plugin has a defect or lost its footing: what was judged so far stands, the run is incomplete (exit status 3).
    Internal,
}

/// One message from the plugin to the program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "kebab-case")]
pub enum Message {
    /// The first message.
    Hello {
        /// [`PROTOCOL`] of the plugin.
        protocol: u32,
        /// The guest architecture, by QEMU's name of it: `mipsel`, `arm`, …
        #[serde(with = "arch")]
        target: Arch,
        /// The highest plugin API version that this QEMU offers.
        qemu_api: i32,
        /// Whether the plugin sees the machine being reset.
        #[serde(default)]
        follows_resets: bool,
    },
    /// The machine was reset after the guest had run: the judge has begun anew, with empty caches.
    Restarted,
    /// Progress, a few times a second.
    Status {
        /// The judge's counters so far.
        stats: Stats,
        /// Distinct findings so far.
        findings: u64,
    },
    /// A finding, when it is first seen (`count` is 1).
    Finding {
        /// The finding.
        finding: Finding,
        /// The call chains that it names, as far as they are known.
        #[serde(default)]
        chains: Vec<Chain>,
    },
    /// The guest is being stopped at a finding.
    Stopped {
        /// Which, counted from 1 as they were told.
        finding: u64,
        /// Whether it will stand before the access that found it; else behind the block of instructions that has it.
        before: bool,
    },
    /// The guest is given old bytes for the first time.
    Delivering {
        /// Which.
        delivery: Delivery,
    },
    /// The check cannot go on. No further message but [`Message::Final`] follows.
    Failure {
        /// Whose fault.
        kind: FailureKind,
        /// What is wrong, and the remedy, in one line.
        reason: String,
    },
    /// The recording cannot be written any more; the judging goes on.
    RecordingFailed {
        /// Why, in one line.
        reason: String,
    },
    /// QEMU is leaving: the whole result.
    Final {
        /// The judge's counters.
        stats: Stats,
        /// Every finding, with its final count.
        findings: Vec<Finding>,
        /// What follows from findings, which are named by their places in that list.
        #[serde(default)]
        consequences: Vec<Consequence>,
        /// The call chains that all of these name, as far as they are known.
        #[serde(default)]
        chains: Vec<Chain>,
        /// What maintenance was good for; empty unless it was asked.
        #[serde(default)]
        ledger: Vec<LedgerLine>,
        /// The nearest callers of what the ledger names. The numbers are of these chains only.
        #[serde(default)]
        ledger_callers: Vec<Chain>,
        /// Of each finding, in the order of that list, the old bytes that the guest was given because of it; empty unless it is given any.
        #[serde(default)]
        delivered: Vec<Option<Delivered>>,
        /// What this run could not observe, in sentences.
        limits: Vec<String>,
    },
}

impl Message {
    /// Writes the message and a newline.
    ///
    /// # Errors
    /// Whatever `to` reports.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self).map_err(io::Error::from)?;
        line.push(b'\n');
        to.write_all(&line)
    }

    /// Reads the next message, `None` at the end of the stream. A line without its end is no message: the sender died while it
    /// wrote.
    ///
    /// # Errors
    /// Whatever `from` reports; [`io::ErrorKind::InvalidData`] for a line that is no message.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).map_err(io::Error::from)
    }
}

mod arch {
    //! The one place where the two sides read and write an architecture as QEMU's name of it.

    use congruent_arch::Arch;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references.
    pub fn serialize<S: Serializer>(arch: &Arch, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(arch.facts().name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arch, D::Error> {
        let name = String::deserialize(from)?;
        Arch::of_qemu(&name).ok_or_else(|| D::Error::custom(format_args!("unknown guest architecture {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use congruent_shadow::{Contexts, Example, OnCpus, Party, PartyKind};

    use super::*;

    #[test]
    fn the_greeting_carries_qemus_name_of_the_architecture_and_no_unknown_one() {
        for target in Arch::ALL {
            let mut line = Vec::new();
            Message::Hello { protocol: PROTOCOL, target, qemu_api: 4, follows_resets: true }.write(&mut line).unwrap();
            let text = String::from_utf8(line.clone()).unwrap();
            assert!(text.contains(&format!("\"target\":\"{}\"", target.facts().name)), "{text}");
            let Some(Message::Hello { target: read, .. }) = Message::read(&mut &line[..]).unwrap() else { panic!("{text}") };
            assert_eq!(read, target);
        }
        let line = "{\"message\":\"hello\",\"protocol\":3,\"target\":\"ppc\",\"qemu_api\":4}\n";
        let error = Message::read(&mut line.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("unknown guest architecture \"ppc\""), "{error}");
    }

    #[test]
    fn a_guest_is_stopped_by_number_by_class_and_by_either_party() {
        let party = |site| Party { kind: PartyKind::Load, site: Site(site), colour: Some(0) };
        let finding = Finding {
            class: HazardClass::ReadLost,
            count: 1,
            consumer: party(0x8000_1000),
            producer: Some(party(0x8000_2000)),
            example: Example { paddr: PhysAddr(0), vaddr: None, bytes: 4 },
            maintenance_between: Vec::new(),
            cpus: OnCpus::default(),
            contexts: Contexts::default(),
        };
        let covered = |at: StopAt| [1, 2, 3].map(|number| at.covers(number, &finding));
        assert_eq!(covered(StopAt::From(1)), [true; 3]);
        assert_eq!(covered(StopAt::From(2)), [false, true, true]);
        assert_eq!(covered(StopAt::Class(HazardClass::ReadLost)), [true; 3]);
        assert_eq!(covered(StopAt::Class(HazardClass::ReadStaleCopy)), [false; 3]);
        for (start, end, is_in) in [
            (0x8000_1000, 0x8000_1004, true),
            (0x8000_0000, 0x8000_1000, false),
            (0x8000_1ffc, 0x8000_2001, true),
            (0x8000_2004, 0x8000_3000, false),
        ] {
            assert_eq!(covered(StopAt::Code(std::iter::once(start..end).collect())), [is_in; 3], "{start:#x}");
        }
        assert_eq!(covered(StopAt::Code(vec![0..4, 0x8000_2000..0x8000_2004])), [true; 3]);
    }

    #[test]
    fn caches_arrive_as_they_were_sent_and_impossible_ones_not_at_all() {
        let data = CacheGeometry::with_page(64 << 10, 2, 64, 8192).unwrap().with_write_back_unit(16).unwrap();
        let sent = Caches { data, behaviour: Behaviour::USUAL, code: None };
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Caches>(&text).unwrap(), sent, "{text}");
        let impossible = text.replace("\"ways\":2", "\"ways\":3");
        assert_ne!(impossible, text);
        let error = serde_json::from_str::<Caches>(&impossible).unwrap_err();
        assert!(error.to_string().starts_with("the number of ways must be a power of two, not 3"), "{error}");
    }
}
