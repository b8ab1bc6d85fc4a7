//! Addresses as reports write them: `0x80123456`.

use congruent_arch::Arch;
use congruent_trace::Site;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address; in JSON a string such as `"0x80123456"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address(pub u64);

impl Address {
    /// Where the code at `site` lies in memory: what symbols and people know it by. Without an architecture, a site is taken for an
    /// address.
    pub(crate) fn of(arch: Option<Arch>, site: Site) -> Self {
        arch.map_or(site.0, |arch| arch.facts().split.address(site)).into()
    }
}

impl From<u32> for Address {
    fn from(address: u32) -> Self {
        Self(address.into())
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let number = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or_else(|| serde::de::Error::custom(format_args!("{text:?} is no address such as \"0x80123456\"")))
    }
}
