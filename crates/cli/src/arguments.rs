//! What can be said on the command line. Wrong usage becomes one line; nothing is interpreted further here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use congruent_shadow::Schedules;

use crate::caches::{CacheOptions, OtherCaches};
use crate::reporting::ReportOptions;
use crate::simulate::SimulateOptions;

/// Finds where a kernel lets stale cached data be seen.
#[derive(Parser)]
#[command(name = "congruent", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Run a guest under the judge.
    Check(Box<CheckOptions>),
    /// Judge a recording that `check --record` made, as it was judged or otherwise.
    Replay(Box<ReplayOptions>),
    /// Replay a recording once for each function that issued maintenance, with that left out, and say what it was needed for.
    Necessity(Box<NecessityOptions>),
    /// Run workloads on the reference VM under several policies, side by side.
    Simulate(Box<SimulateOptions>),
    /// Say what is installed, what will work, and what to do about the rest.
    Doctor,
    /// Tell what a class of findings is, how it comes about, and what to do; without one, which there are.
    Explain {
        /// The class, as reports name it
        #[arg(value_name = "CLASS")]
        class: Option<String>,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Write manual pages into a directory.
    Man {
        /// The directory, which must exist
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
}

/// The options of `congruent check`, as they were given.
#[derive(clap::Args)]
#[command(
    override_usage = "congruent check [--dcache GEOMETRY] [OPTIONS] -- QEMU-COMMAND…",
    after_help = "Exit status: 0 clean, or nothing but suppressed and known findings; 1 findings; 2 wrong usage or environment; 3 the guest did not finish."
)]
pub(crate) struct CheckOptions {
    #[command(flatten)]
    pub(crate) caches: CacheOptions,
    #[command(flatten)]
    pub(crate) reports: ReportOptions,
    /// Treat cache maintenance issued from this function, 0xADDRESS or 0xSTART-0xEND as if it did nothing; repeatable
    #[arg(long, value_name = "SITE")]
    pub(crate) mute: Vec<String>,
    /// Do not follow the guest's calls: findings name no callers, the run is faster and needs less memory
    #[arg(long)]
    pub(crate) no_backtraces: bool,
    /// Pause the guest at findings, for a debugger: `first`, the number of one, a class, or a function that has a part in it; that one and every
    /// later one like it
    #[arg(long, value_name = "WHERE")]
    pub(crate) stop_at: Option<String>,
    /// Give the guest the old bytes that the modelled core could have given it: `worst`, whatever any schedule of evictions and write-backs gives,
    /// or a number, the one schedule of that seed
    #[arg(long, value_name = "SCHEDULE", value_parser = schedules, conflicts_with = "ledger")]
    pub(crate) inject: Option<Schedules>,
    /// What the same guest's console said without --inject: the report names the first line that is not in it
    #[arg(long, value_name = "FILE", requires = "inject")]
    pub(crate) undisturbed: Option<PathBuf>,
    /// Stop the guest when its console prints this; a run that never prints it is incomplete
    #[arg(long, value_name = "REGEX")]
    pub(crate) until: Option<String>,
    /// Stop the guest after this time, such as 90s or 5m; the run is incomplete then
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Keep every event that can change a verdict in this file, for `congruent replay`
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// The QEMU plugin; otherwise $CONGRUENT_PLUGIN, or libcongruent_qemu.so beside this program
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,
    /// The command that starts the guest, unchanged
    #[arg(last = true, value_name = "QEMU-COMMAND")]
    pub(crate) qemu: Vec<OsString>,
}

/// The options of `congruent replay`, as they were given.
#[derive(clap::Args)]
#[command(
    override_usage = "congruent replay [OPTIONS] RECORDING",
    after_help = "Exit status: 0 clean, or nothing but suppressed and known findings; 1 findings; 2 wrong usage or environment; 3 the recorded run did not finish."
)]
pub(crate) struct ReplayOptions {
    /// The recording
    #[arg(value_name = "RECORDING")]
    pub(crate) recording: PathBuf,
    #[command(flatten)]
    pub(crate) caches: OtherCaches,
    #[command(flatten)]
    pub(crate) reports: ReportOptions,
    /// Treat cache maintenance issued from this function, or while it was calling, 0xADDRESS or 0xSTART-0xEND as if it did
    /// nothing; repeatable, and in place of what was muted when the recording was made
    #[arg(long, value_name = "SITE")]
    pub(crate) mute: Vec<String>,
    /// Mute nothing, whatever was muted when the recording was made
    #[arg(long, conflicts_with = "mute")]
    pub(crate) no_mute: bool,
    /// Name no callers in findings
    #[arg(long)]
    pub(crate) no_backtraces: bool,
    /// Use a damaged recording up to the damage; the run is incomplete then
    #[arg(long)]
    pub(crate) up_to_damage: bool,
}

/// The options of `congruent necessity`, as they were given.
#[derive(clap::Args)]
#[command(
    override_usage = "congruent necessity [OPTIONS] RECORDING",
    after_help = "Exit status: 0 every function was tried; 2 wrong usage or environment; 3 they were, but the recorded run did not finish."
)]
pub(crate) struct NecessityOptions {
    /// The recording
    #[arg(value_name = "RECORDING")]
    pub(crate) recording: PathBuf,
    #[command(flatten)]
    pub(crate) caches: OtherCaches,
    /// Name code after this vmlinux or program (ELF), System.map or kallsyms text; repeatable, the first that knows an address wins
    #[arg(long, value_name = "FILE")]
    pub(crate) symbols: Vec<PathBuf>,
    /// Try only this function, or `FUNCTION from CALLER` as the ledger names it; repeatable
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) only: Vec<String>,
    /// How many callers of the code that issued an operation are tried as well
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) callers: usize,
}

/// A command that can be carried out.
pub(crate) enum Command {
    /// `congruent check`.
    Check(Box<CheckOptions>),
    /// `congruent replay`.
    Replay(Box<ReplayOptions>),
    /// `congruent necessity`.
    Necessity(Box<NecessityOptions>),
    /// `congruent simulate`.
    Simulate(Box<SimulateOptions>),
    /// `congruent doctor`.
    Doctor,
    /// `congruent explain`, of a class.
    Explain(Option<String>),
    /// `congruent completions`, for a shell.
    Completions(Shell),
    /// `congruent man`, into a directory.
    Man(PathBuf),
}

/// What the command line asks for.
pub(crate) enum Invocation {
    /// Something to do.
    Run(Command),
    /// Help or the version.
    Explain(String),
    /// Nothing that can be done; the line says why.
    Misused(String),
}

impl Invocation {
    pub(crate) fn from_environment() -> Self {
        Self::of(std::env::args_os())
    }

    fn of(words: impl IntoIterator<Item = OsString>) -> Self {
        let words: Vec<OsString> = words.into_iter().collect();
        let command =
            words.get(1).and_then(|word| word.to_str()).filter(|word| CommandLine::command().find_subcommand(word).is_some());
        let help = command.map_or("congruent --help".to_owned(), |command| format!("congruent {command} --help"));
        match parse(words) {
            Ok(command) => Self::Run(command),
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Explain(error.render().ansi().to_string()),
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Self::Misused(
                    "no command given; use `congruent check`, `congruent replay`, `congruent simulate` or `congruent doctor`, or see \
                     `congruent --help`"
                        .to_owned(),
                ),
                _ => Self::Misused(one_line(&error.render().to_string(), &help)),
            },
        }
    }
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    Ok(match CommandLine::try_parse_from(words)?.command {
        Subcommands::Check(options) => Command::Check(options),
        Subcommands::Replay(options) => Command::Replay(options),
        Subcommands::Necessity(options) => Command::Necessity(options),
        Subcommands::Simulate(options) => Command::Simulate(options),
        Subcommands::Doctor => Command::Doctor,
        Subcommands::Explain { class } => Command::Explain(class),
        Subcommands::Completions { shell } => Command::Completions(shell),
        Subcommands::Man { directory } => Command::Man(directory),
    })
}

/// The completions for a shell.
pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "congruent", &mut text);
    text
}

/// Writes a manual page for the program, and one for each of its commands.
///
/// # Errors
/// If they cannot be written there.
pub(crate) fn manual(directory: &Path) -> std::io::Result<()> {
    clap_mangen::generate_to(CommandLine::command(), directory)
}

fn schedules(text: &str) -> Result<Schedules, String> {
    match text {
        "worst" => Ok(Schedules::Worst),
        seed => seed.parse().map(Schedules::Seed).map_err(|_| "expected `worst` or a number".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("expected a number with a unit, such as 90s, 5m or 1h30m".to_owned()),
    }
}

/// clap's message without its headings: what is wrong, its tips, and where to look.
fn one_line(message: &str, help: &str) -> String {
    let message = message.split("\n\nUsage:").next().unwrap_or(message).split("\n\nFor more").next().unwrap_or(message);
    let words: Vec<&str> = message.trim().trim_start_matches("error: ").split_whitespace().collect();
    format!("{}; see `{help}`", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misuse(words: &[&str]) -> String {
        match Invocation::of(std::iter::once("congruent").chain(words.iter().copied()).map(OsString::from)) {
            Invocation::Misused(line) => line,
            Invocation::Run(_) | Invocation::Explain(_) => panic!("{words:?} was accepted"),
        }
    }

    #[test]
    fn wrong_usage_is_named_in_one_line() {
        for (words, says) in [
            (&[][..], "no command given"),
            (&["chekc"], "'chekc'"),
            (&["chekc"], "see `congruent --help`"),
            (&["replay", "--show", "99999999999999999999999", "x"], "see `congruent replay --help`"),
            (&["check", "--timeout", "5 parsecs"], "see `congruent check --help`"),
            (&["check", "--timeout", "5 parsecs"], "such as 90s"),
            (&["check", "--timeout", "0s"], "longer than nothing"),
            (&["check", "--format", "pdf"], "text, json"),
            (&["check", "--dcache", "p5600", "qemu-system-mips"], "'qemu-system-mips'"),
            (&["check", "--format", "text", "--format", "json"], "only one report"),
            (&["check", "--inject", "best"], "expected `worst` or a number"),
            (&["check", "--inject", "worst", "--ledger"], "cannot be used with"),
        ] {
            let line = misuse(words);
            assert!(line.contains(says), "{words:?}: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
