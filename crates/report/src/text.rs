//! The report as people read it in a terminal or a log.
//!
//! Every finding stands on its own: what was read, who wrote it, through which colours, what maintenance was done in between and
//! why it did not help, what is missing. Floods are folded: one account per pair of functions, and one line for the rest.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use congruent_geometry::Behaviour;

use crate::Address;
use crate::explain::{class_name, explain, past};
use crate::group::{Group, called, device, groups};
use crate::injected::{GivenEntry, InjectedEntry};
use crate::report::{Entry, GeometryEntry, PartyEntry, PartyKindName, Report, Suppressed, Verdict};

/// How to write the text.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TextOptions {
    /// Whether to use terminal escapes for colour and weight.
    pub colour: bool,
    /// How many groups of findings are told in full, and entries of the ledger; by itself [`USUAL`](Self::USUAL), and of findings that may all
    /// follow from one thing ([`Report::core`]) one group.
    pub show: Option<usize>,
}

impl TextOptions {
    /// How much is told in full by itself.
    pub const USUAL: usize = 20;
}

/// Lines are broken so that they fit this many columns.
pub(crate) const WIDTH: usize = 110;

/// How many maintenance operations are told of one finding: the last ones.
const MAINTENANCE_TOLD: usize = 4;

/// The column at which the right-hand side begins.
const MARGIN: usize = 14;

impl Report {
    /// The report as text.
    #[must_use]
    pub fn to_text(&self, options: TextOptions) -> String {
        let mut page = Page { text: String::new(), colour: options.colour };
        let groups = groups(self.findings.iter().filter(|entry| entry.fails()));
        self.head(&mut page, groups.len());
        let told = options.show.unwrap_or(if self.core.is_some() { 1 } else { TextOptions::USUAL });
        for (number, group) in groups.iter().take(told).enumerate() {
            page.line("");
            account(&mut page, number + 1, group);
        }
        rest(&mut page, groups.get(told..).unwrap_or_default());
        self.excused(&mut page);
        if let Some(ledger) = &self.ledger {
            page.line("");
            page.text += &ledger.to_text(options.show.unwrap_or(TextOptions::USUAL));
        }
        self.tail(&mut page);
        page.text
    }

    /// The full account of its first group of findings, under this number; nothing if there is none.
    #[must_use]
    pub fn account(&self, number: usize) -> String {
        let mut page = Page { text: String::new(), colour: false };
        if let Some(group) = groups(self.findings.iter()).first() {
            account(&mut page, number, group);
        }
        page.text
    }

    fn head(&self, page: &mut Page, groups: usize) {
        let below = match (groups, self.findings.iter().all(Entry::fails)) {
            (0, _) => "all of them suppressed or known from the baseline".to_owned(),
            (groups, whole) => format!(
                "{}{}",
                amount(groups as u64, "group below", "groups below"),
                if whole { "" } else { "; the others are suppressed or known from the baseline" }
            ),
        };
        let found = format!(
            "{} where stale data can be met, {} ({below})",
            amount(self.findings.len() as u64, "pair of code sites", "pairs of code sites"),
            amount(self.occurrences(), "time", "times"),
        );
        let (style, headline) = match self.verdict {
            Verdict::Clean => (
                GOOD,
                "clean: whatever a core with this data cache evicts and when, no access in this run could have met stale data"
                    .to_owned(),
            ),
            Verdict::Findings => (if groups == 0 { DOUBTFUL } else { BAD }, format!("findings: {found}")),
            Verdict::Incomplete => {
                (DOUBTFUL, format!("incomplete: {}", self.incomplete_because.as_deref().unwrap_or("the run did not finish")))
            }
        };
        page.styled_paragraph(style, &headline);
        if self.verdict == Verdict::Incomplete {
            let so_far = if self.findings.is_empty() {
                "no finding up to then, which proves nothing about the rest".to_owned()
            } else {
                format!("up to then: {found}")
            };
            page.field("", &so_far);
        }
        page.field("cache", &geometry(&self.geometry));
        let stats = &self.stats;
        page.field(
            "guest",
            &format!(
                "{}: {}, {}, {}",
                self.target,
                amount(stats.accesses, "cached access", "cached accesses"),
                amount(stats.maintenance_ops, "maintenance operation", "maintenance operations"),
                amount(stats.frames, "frame touched", "frames touched"),
            ),
        );
        if let Some(kernel) = &self.kernel {
            // Who built it, and with what, is in the other forms.
            page.field("kernel", kernel.split(" (").next().unwrap_or(kernel));
        }
        if let Some(core) = &self.core {
            page.field("core", core);
        }
        if let Some(unknown) = &self.unknown {
            page.field("unknown", unknown);
        }
        if let resets @ 1.. = self.lives.saturating_sub(1) {
            let resets = amount(resets.into(), "time", "times");
            page.field("lives", &format!("{}: the machine was reset {resets}, and judged anew with empty caches", self.lives));
        }
        if let Some(injected) = &self.injected {
            page.field("injected", &given_to_the_guest(injected));
        }
        if !self.muted.is_empty() {
            let muted = amount(stats.maintenance_muted, "operation", "operations");
            page.field("muted", &format!("{} ({muted} made to do nothing)", self.muted.join(", ")));
        }
    }

    /// Findings that do not count, one line for each reason, and what became of the baseline's.
    fn excused(&self, page: &mut Page) {
        let mut reasons: Vec<(String, u64, u64)> = Vec::new();
        for entry in self.findings.iter().filter(|entry| !entry.fails()) {
            let reason = match &entry.suppressed {
                Some(Suppressed { reason, by }) => format!("suppressed by {by}: {reason}"),
                None => "known from the baseline".to_owned(),
            };
            match reasons.iter_mut().find(|(known, ..)| *known == reason) {
                Some((_, findings, occurrences)) => (*findings, *occurrences) = (*findings + 1, *occurrences + entry.count),
                None => reasons.push((reason, 1, entry.count)),
            }
        }
        let gone = self.baseline.iter().flat_map(|baseline| &baseline.gone);
        let lines = reasons.iter().map(|(reason, findings, occurrences)| {
            let (findings, times) =
                (amount(*findings, "pair of code sites", "pairs of code sites"), amount(*occurrences, "time", "times"));
            ("passed over", format!("{findings}, {times}, {reason}"))
        });
        let lines = lines.chain(gone.map(|identity| ("gone", identity.to_string())));
        let lines: Vec<_> = lines.chain(self.notes.iter().map(|note| ("note", note.clone()))).collect();
        for (i, (label, text)) in lines.iter().enumerate() {
            if i == 0 {
                page.line("");
            }
            page.field(label, text);
        }
    }

    fn tail(&self, page: &mut Page) {
        if !self.symbols && !self.findings.is_empty() {
            page.line("");
            page.field(
                "hint",
                "no symbols were given, so code is shown by address; add --symbols vmlinux, System.map or kallsyms",
            );
        }
        if !self.limits.is_empty() {
            page.line("");
            page.line("not covered by this verdict:");
            for limit in &self.limits {
                page.wrapped("  - ", 4, limit);
            }
        }
    }
}

/// The full account of a group, told by its most frequent finding.
fn account(page: &mut Page, number: usize, group: &Group<'_>) {
    let entry = group.shown;
    let explanation = explain(entry);
    page.styled_paragraph(BAD, &format!("{number}. {}: {}", class_name(entry.class), explanation.headline));
    let mut times = amount(group.occurrences, "time", "times");
    if group.findings > 1 {
        let _ =
            write!(times, " between {} pairs of code sites; this is the most frequent pair", thousands(group.findings as u64));
        if entry.count != group.occurrences {
            let _ = write!(times, ", {}", amount(entry.count, "time", "times"));
        }
    }
    page.field("seen", &times);
    let read = match entry.consumer.kind {
        PartyKindName::Load => "read by",
        PartyKindName::Fetch => "fetched by",
        PartyKindName::Store | PartyKindName::Dma => "access by",
    };
    page.party(read, &entry.consumer, entry.consumer_colour);
    let mut what = format!("{} at physical address {}", amount(entry.example.bytes.into(), "byte", "bytes"), entry.example.paddr);
    if let Some(vaddr) = entry.example.vaddr {
        let _ = write!(what, ", virtual address {vaddr}");
    }
    page.field("", &format!("{what}, the first time"));
    if let Some(given) = &entry.given {
        page.field("given", &given_because_of(entry, given));
    }
    match &entry.producer {
        Some(producer) => page.party("written by", producer, entry.producer_colour),
        None => page.field("written by", "a store that was not seen, or a loader"),
    }
    if entry.maintenance_between.is_empty() {
        page.field("in between", "no maintenance of this line");
    }
    let earlier = entry.maintenance_between.len().saturating_sub(MAINTENANCE_TOLD);
    for (i, operation) in entry.maintenance_between[earlier..].iter().enumerate() {
        page.field(if i == 0 { "in between" } else { "" }, &maintenance(entry, operation));
    }
    if earlier > 0 {
        page.field("", &format!("before these, {} that --format json lists", amount(earlier as u64, "operation", "operations")));
    }
    page.field("why", &explanation.why);
    page.field("missing", &explanation.missing);
}

/// What was given because of a finding, in a sentence.
pub(crate) fn given_because_of(entry: &Entry, given: &GivenEntry) -> String {
    let GivenEntry { paddr, got, newest, .. } = given;
    let loads = match entry.consumer.kind {
        PartyKindName::Dma => amount(given.loads, "read of the device", "reads of the device"),
        _ => amount(given.loads, "load", "loads"),
    };
    format!("old bytes to {loads}; the first time {got} in place of {newest}, at physical address {paddr}")
}

/// What the guest was given, in a sentence.
pub(crate) fn given_to_the_guest(injected: &InjectedEntry) -> String {
    let schedule = match injected.schedule.as_str() {
        "worst" => "whatever any schedule gives".to_owned(),
        seed => format!("what the schedule of seed {seed} gives"),
    };
    let Some(accesses) = injected.after_accesses else { return format!("{schedule}; no load was given old bytes") };
    let loads = amount(injected.loads, "load was", "loads were");
    let accesses = amount(accesses, "cached access", "cached accesses");
    let later = injected.later.map_or("then".to_owned(), |later| format!("about {} later", amount(later, "access", "accesses")));
    let line = injected.next_line.as_ref().map_or(String::new(), |line| format!("; {later} the console printed `{line}`"));
    format!("{schedule}; {loads} given old bytes, the first after {accesses}{line}")
}

fn maintenance(entry: &Entry, operation: &crate::report::PastMaintenanceEntry) -> String {
    format!("{}: {}", place(operation.symbol.as_deref(), operation.pc), past(entry, operation))
}

/// One line for the groups that are not told.
fn rest(page: &mut Page, groups: &[Group<'_>]) {
    if groups.is_empty() {
        return;
    }
    let mut classes: Vec<(String, u64)> = Vec::new();
    for group in groups {
        let name = class_name(group.shown.class);
        match classes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, occurrences)) => *occurrences += group.occurrences,
            None => classes.push((name, group.occurrences)),
        }
    }
    let classes: Vec<String> =
        classes.iter().map(|(name, times)| format!("{name} {}", amount(*times, "time", "times"))).collect();
    page.line("");
    let more = amount(groups.len() as u64, "more group", "more groups");
    page.styled_paragraph(BAD, &format!("and {more}: {}", classes.join(", ")));
    page.field("", "they are less severe or less frequent; --show COUNT tells more of them, --format json holds every finding");
}

/// Whose code, and where: `kernel code, __copy_user+0x20 (0x80100520)`; without a symbol, user code goes by its program.
pub(crate) fn who(party: &PartyEntry) -> String {
    match (party.pc, party.mode) {
        (Some(pc), Some(_)) if party.symbol.is_none() && party.program.is_some() => format!("{}, {pc}", called(party)),
        (Some(pc), Some(mode)) => format!("{} code, {}", mode.name(), place(party.symbol.as_deref(), pc)),
        _ => device(party),
    }
}

/// What a party did, and past or through what: `store through colour 0`.
pub(crate) fn doing(party: &PartyEntry, colour: Option<u16>) -> String {
    let how = match (party.kind, colour) {
        (PartyKindName::Dma, _) => "of memory, past the cache".to_owned(),
        (_, Some(colour)) => format!("through colour {colour}"),
        (_, None) if !party.cached => "through an uncached mapping".to_owned(),
        (_, None) => "through a colour that was not recorded".to_owned(),
    };
    let what = match party.kind {
        PartyKindName::Load => "load",
        PartyKindName::Store => "store",
        PartyKindName::Fetch => "instruction fetch",
        PartyKindName::Dma => "access",
    };
    let cpu = party.cpu.map_or(String::new(), |cpu| format!(" on CPU {cpu}"));
    format!("{what} {how}{cpu}")
}

/// The cache in a few words.
pub(crate) fn geometry(cache: &GeometryEntry) -> String {
    let size = |bytes: u32| if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} bytes") };
    let Behaviour { write_through, write_allocate, speculative, virtual_tags } = cache.behaviour;
    let colours = amount(cache.colours.into(), "colour", "colours");
    let mut text = format!(
        "{}, {}, {}-byte lines, {} pages: {}",
        size(cache.size),
        amount(cache.ways.into(), "way", "ways"),
        cache.line,
        size(cache.page),
        if virtual_tags { "virtual tags" } else { &colours }
    );
    for (unusual, name) in
        [(write_through, "written through"), (!write_allocate, "filled by loads only"), (speculative, "filled at any moment")]
    {
        if unusual {
            text += ", ";
            text += name;
        }
    }
    text
}

pub(crate) fn place(symbol: Option<&str>, pc: Address) -> String {
    symbol.map_or_else(|| pc.to_string(), |symbol| format!("{symbol} ({pc})"))
}

/// A number with its noun.
pub(crate) fn amount(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A number with commas between its thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
const LABEL: Style = AnsiColor::Cyan.on_default();

/// Text with wrapped lines, and styles if they are wanted.
struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A paragraph from the left margin, in one style.
    fn styled_paragraph(&mut self, style: Style, text: &str) {
        for line in wrap(text, WIDTH) {
            let line = self.paint(style, &line);
            self.line(&line);
        }
    }

    /// A label and a text beside it.
    fn field(&mut self, label: &str, text: &str) {
        let padding = " ".repeat(MARGIN - 2 - label.len());
        let label = if label.is_empty() { String::new() } else { self.paint(LABEL, label) };
        self.wrapped(&format!("  {label}{padding}"), MARGIN, text);
    }

    fn wrapped(&mut self, first: &str, margin: usize, text: &str) {
        for (i, line) in wrap(text, WIDTH - margin).iter().enumerate() {
            let lead = if i == 0 { first.to_owned() } else { " ".repeat(margin) };
            self.line(&format!("{lead}{line}"));
        }
    }

    fn party(&mut self, label: &str, party: &PartyEntry, colour: Option<u16>) {
        self.field(label, &format!("{}: {}", who(party), doing(party, colour)));
        if let Some(line) = &party.line {
            self.field("", &format!("at {line}"));
        }
        if !party.chain.is_empty() {
            let callers: Vec<String> =
                party.chain.iter().map(|caller| caller.symbol.clone().unwrap_or_else(|| caller.pc.to_string())).collect();
            self.field("", &format!("called from {}", callers.join(", from ")));
        }
    }
}

/// Breaks a text between words into lines of at most `width` characters; a longer word has a line of its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
