//! What a guest was given that was given old bytes, in reports.

use congruent_geometry::PhysAddr;
use serde::{Deserialize, Serialize};

use crate::Address;

/// What a run gave its guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Injected {
    /// `worst`, or the seed.
    pub schedule: String,
    /// Of each finding, in the order of the run's, what was given because of it, or of what follows from it.
    pub given: Vec<Option<Given>>,
    /// The first line on the console after the first old byte, of those that it does not say otherwise if that is known; `None` if there was none.
    pub next_line: Option<String>,
    /// About how many cached loads and stores after that byte it came, as the program knew a fifth of a second before; `None` if it knew nothing.
    pub later: Option<u64>,
}

/// Old bytes that loads were given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// To how many loads, or reads of a device.
    pub loads: u64,
    /// Where the first one's first byte is that differs.
    pub paddr: PhysAddr,
    /// The bytes from there to the last that differs, as it got them; of a device's read the first few.
    pub got: Vec<u8>,
    /// As they should have been.
    pub newest: Vec<u8>,
    /// Cached loads and stores before it.
    pub accesses: u64,
}

/// Old bytes that the guest was given, over all findings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InjectedEntry {
    /// `worst`: whatever any schedule gives; or the seed of the one schedule that was followed.
    pub schedule: String,
    /// To how many loads, reads of devices among them.
    pub loads: u64,
    /// Cached loads and stores before the first of them; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_accesses: Option<u64>,
    /// The first line that the console printed after it, of those that it does not print otherwise if that is known; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_line: Option<String>,
    /// About how many cached loads and stores later it came; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<u64>,
}

/// Old bytes that the guest was given because of one finding, or of what follows from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GivenEntry {
    /// To how many loads, or reads of a device.
    pub loads: u64,
    /// Where the first one's first byte is that differs.
    pub paddr: Address,
    /// The bytes from there to the last that differs, as it got them, in hexadecimal, in the order of memory; of a device's read the first few.
    pub got: String,
    /// As they should have been.
    pub newest: String,
    /// Cached loads and stores before it.
    pub after_accesses: u64,
}

impl InjectedEntry {
    /// The entry of a run that was given this.
    #[must_use]
    pub fn of(injected: &Injected) -> Self {
        let given = || injected.given.iter().flatten();
        Self {
            schedule: injected.schedule.clone(),
            loads: given().map(|given| given.loads).sum(),
            after_accesses: given().map(|given| given.accesses).min(),
            next_line: injected.next_line.clone(),
            later: injected.later.filter(|_| injected.next_line.is_some()),
        }
    }
}

impl From<&Given> for GivenEntry {
    fn from(given: &Given) -> Self {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        Self {
            loads: given.loads,
            paddr: Address(given.paddr.0),
            got: hexadecimal(&given.got),
            newest: hexadecimal(&given.newest),
            after_accesses: given.accesses,
        }
    }
}
