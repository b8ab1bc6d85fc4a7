//! Which suites a package is looked for in.
//!
//! A point release and its security updates are one distribution in several suites, and at any moment one of them may list a version whose
//! file the mirror does not have (any more, or yet). So they are looked into together, and the newest version that can be had counts.

/// Suites of one distribution that are looked into together. The first must be on the mirror, the others may be.
pub type Suites = &'static [&'static str];

/// Debian 12: the last release with mipsel.
pub const BOOKWORM: Suites = &["bookworm", "bookworm-updates", "bookworm-security"];
/// Debian 12 with what was made for it later.
pub const BOOKWORM_BACKPORTS: Suites = &["bookworm", "bookworm-updates", "bookworm-security", "bookworm-backports"];
/// Debian 13: the last release with armel.
pub const TRIXIE: Suites = &["trixie", "trixie-updates", "trixie-security"];
/// What comes next.
pub const FORKY: Suites = &["forky"];
/// Where it comes from.
pub const SID: Suites = &["sid"];
