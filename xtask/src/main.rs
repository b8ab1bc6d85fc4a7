//! `cargo xtask`: everything a developer or CI runs.

mod apt;
mod bench;
mod browser;
mod cache;
mod decoders;
mod demo;
mod dist;
mod e2e;
mod embed;
mod guests;
mod kallsyms;
mod linux;
mod msrv;
mod place;
mod progress;
mod run;
mod soak;
mod stranger;
mod summary;
mod test;
mod tidy;
mod work;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use guests::boot::{Boot, Devices};
use guests::emulator::Qemu;
use guests::kernel::Choice;
use guests::machine::Guest;

/// Everything a developer or CI of Congruent runs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetch and build the guests that tests boot, into the cache, and link them in target/guests.
    Guests {
        /// Fetch this emulator too.
        #[arg(long, value_enum, default_value = "10.0")]
        qemu: Qemu,
        /// Build the kernels that are packages, too: what will be when the packages are gone.
        #[arg(long)]
        built: bool,
        /// Only this guest; repeatable.
        #[arg(long = "guest", value_enum)]
        guests: Vec<Guest>,
    },
    /// What was fetched and built, kept in CONGRUENT_CACHE, or where the user's caches are (XDG_CACHE_HOME).
    Cache {
        #[command(subcommand)]
        what: InCache,
    },
    /// Boot a guest in plain QEMU.
    Boot {
        /// Which.
        #[arg(value_enum)]
        guest: Guest,
        /// Under which emulator.
        #[arg(long, value_enum, default_value = "10.0")]
        qemu: Qemu,
        /// On which core, if not the guest's default one.
        #[arg(long)]
        cpu: Option<String>,
        /// Programs to run, e.g. `workload,fork_threads:10`; `every` for all of them.
        #[arg(long, default_value = "")]
        run: String,
        /// Show only the programs' results, and fail unless every one passed.
        #[arg(long)]
        check: bool,
        /// With a disk.
        #[arg(long)]
        disk: bool,
        /// Make it go the same way every time.
        #[arg(long)]
        repeatable: bool,
        /// Print the command line instead.
        #[arg(long)]
        print: bool,
    },
    /// Check the stock kernels under the judge and hold what it says against the table.
    E2e {
        /// Under which emulator.
        #[arg(long, value_enum, default_value = "10.0")]
        qemu: Qemu,
        /// Only runs whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
        /// With kernels that are built, even where Debian has one.
        #[arg(long)]
        built: bool,
        /// Print the command lines instead.
        #[arg(long)]
        print: bool,
    },
    /// Build what people install, into target/dist: a Debian package, an archive, their hashes.
    Dist {
        /// Build it once more in another place, and compare: nothing that is not committed is in that.
        #[arg(long)]
        twice: bool,
        /// Pack what tests run instead, somewhere else, unpack that and use it.
        #[arg(long, conflicts_with = "twice")]
        check: bool,
    },
    /// Build the examples that embed the library for bare MIPS and ARMv6, and check the plugin for other hosts.
    Embed,
    /// Compile the two crates that are published by the oldest compiler that they name.
    Msrv,
    /// Find the symbols of the stock kernels in their images, and compare them with what the kernels say.
    Kallsyms,
    /// Hold the instruction decoders against the disassemblers of binutils.
    Decoders {
        /// The directory that has them, if not that of the compilers of guests.
        #[arg(long)]
        tools: Option<PathBuf>,
        /// The seed of the random words.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Hold what is true of the house by custom: named files exist, the map of crates is right, decisions are in order.
    Tidy,
    /// Open the HTML report in Chromium, which is installed if there is none and this runs as root.
    Browser,
    /// One guest under the judge as a user without rights, in a home with a space, beside the modules of another QEMU.
    Stranger,
    /// Everything that must hold: format, lints, tests, bare-metal builds, decoders beside disassemblers, the HTML report in
    /// a browser, and the stock kernels
    /// under the judge.
    Test {
        /// Under which emulators.
        #[arg(long, value_enum, default_values = ["10.0"])]
        qemu: Vec<Qemu>,
        /// Only what needs no guest: format, lints, tests, and the recordings; for those who change a line.
        #[arg(long, conflicts_with = "qemu")]
        quick: bool,
    },
    /// Check a stock kernel on a core it handles and on one it does not know, and show both reports.
    Demo,
    /// Build Linux with the library in it, and without, run the same programs on both under the judge, and write docs/linux.md.
    Linux {
        /// Put the library into the kernel's source in this directory instead; the result is another directory, of links.
        #[arg(long, requires = "tree")]
        source: Option<PathBuf>,
        /// Where that goes.
        #[arg(long, requires = "source")]
        tree: Option<PathBuf>,
        /// The newest Linux that Debian has the source of instead, with the library alone, and no table.
        #[arg(long, conflicts_with_all = ["source", "tree"])]
        next: bool,
    },
    /// Run random workloads on random computers under random policies, and make what goes wrong a short script in target/soak.
    Soak {
        /// For how long.
        seconds: u64,
        /// The first seed, to do an earlier soak again.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Measure what a check costs beside plain QEMU.
    Bench {
        /// Under which emulator.
        #[arg(long, value_enum, default_value = "10.0")]
        qemu: Qemu,
        /// How often.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

#[derive(Subcommand)]
enum InCache {
    /// Every entry, its size, and when it was last used.
    List,
    /// Remove what nobody used for some time, and what stopped runs left behind.
    Prune {
        /// For how many days; 0 for everything.
        #[arg(long, default_value_t = 30)]
        days: u64,
    },
    /// Read every file and remove the entries that are damaged.
    Verify,
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Guests { qemu, built, guests: only } => {
            guests::prepare(if only.is_empty() { &Guest::ALL } else { &only }, &[qemu], choice(built))
        }
        Task::Cache { what: InCache::List } => cache::list(),
        Task::Cache { what: InCache::Prune { days } } => cache::prune(days),
        Task::Cache { what: InCache::Verify } => cache::verify(),
        Task::Boot { guest, qemu, cpu, run: programs, check, disk, repeatable, print } => {
            let devices = if disk { Devices::Disk } else { Devices::None };
            let boot = Boot { cpu, devices, repeatable, ..Boot::new(guest, qemu, programs) };
            if print {
                let line = boot.command()?;
                println!("{}", run::shown(Command::new(&line[0]).args(&line[1..])));
                return Ok(());
            }
            let console = boot.capture(Duration::from_secs(180), !check)?;
            if check {
                console.results().for_each(|line| println!("{line}"));
                console.check(&boot.run)?;
                println!("{:.1} s", console.took.as_secs_f64());
            }
            Ok(())
        }
        Task::E2e { qemu, only, print: true, .. } => e2e::print(qemu, &only),
        Task::E2e { qemu, only, built, print: false } => test::guests(qemu, choice(built), &only),
        Task::Dist { check: true, .. } => e2e::build().and_then(|()| dist::try_out()).map(|made| println!("{made}")),
        Task::Dist { twice: true, .. } => dist::twice(),
        Task::Dist { .. } => dist::perform(),
        Task::Embed => embed::perform(),
        Task::Msrv => msrv::perform().map(|by| println!("both compile by {by}")),
        Task::Kallsyms => kallsyms::perform().map(drop),
        Task::Decoders { tools, seed } => decoders::perform(tools.as_deref(), seed),
        Task::Tidy => tidy::perform().map(|what| println!("{what} in order")),
        Task::Browser => browser::perform(),
        Task::Stranger => stranger::perform().map(|how| println!("{how}")),
        Task::Test { quick: true, .. } => test::quick(),
        Task::Test { qemu, quick: false } => test::everything(&qemu),
        Task::Demo => demo::perform(),
        Task::Linux { source: Some(source), tree: Some(tree), .. } => linux::wire(&source, &tree),
        Task::Linux { next: true, .. } => linux::next(),
        Task::Linux { .. } => linux::perform(),
        Task::Soak { seconds, seed } => soak::perform(seconds, seed),
        Task::Bench { qemu, rounds } => bench::perform(qemu, rounds),
    }
}

const fn choice(built: bool) -> Choice {
    if built { Choice::Built } else { Choice::Stock }
}
