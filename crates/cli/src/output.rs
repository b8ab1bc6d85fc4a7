//! Where reports go: which form to which file, opened before the guest starts, so that no run is lost to a mistyped path.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use congruent_report::{Report, TextOptions};

use crate::sources::SourceTree;

/// The form of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// `congruent.report/1`, with everything in it
    Json,
    /// One page for a browser, with timelines
    Html,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
    /// JUnit XML, for CI systems
    Junit,
}

/// A report to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) format: Format,
    /// `None` for standard output.
    pub(crate) file: Option<PathBuf>,
}

/// The reports to write, as `--format` and `-o` name them.
#[derive(Clone, Debug)]
pub(crate) struct Targets(Vec<Target>);

impl Targets {
    /// One report at least.
    pub(crate) fn list(&self) -> &[Target] {
        &self.0
    }
}

/// By hand, because which `-o` belongs to which `--format` is a matter of their order, which the derived form forgets.
impl clap::Args for Targets {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
            .arg(
                clap::Arg::new("format")
                    .long("format")
                    .value_name("FORMAT")
                    .help("The form of a report; repeatable. The default is text, to standard output")
                    .value_parser(clap::value_parser!(Format))
                    .action(clap::ArgAction::Append),
            )
            .arg(
                clap::Arg::new("output")
                    .short('o')
                    .value_name("FILE")
                    .help("Where the report of the --format before it goes, instead of standard output; repeatable")
                    .value_parser(clap::value_parser!(PathBuf))
                    .action(clap::ArgAction::Append),
            )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Targets {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let formats = with_positions::<Format>(matches, "format");
        let files = with_positions::<PathBuf>(matches, "output");
        let targets = pair(formats.into_iter(), files.into_iter());
        targets.map(Self).map_err(|line| clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, line))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn with_positions<T: Clone + Send + Sync + 'static>(matches: &clap::ArgMatches, name: &str) -> Vec<(usize, T)> {
    let positions = matches.indices_of(name).into_iter().flatten();
    let values = matches.get_many::<T>(name).into_iter().flatten().cloned();
    positions.zip(values).collect()
}

/// Pairs each `-o` with the `--format` that precedes it on the command line; positions are clap's indices. Without any
/// `--format`, a report is text.
fn pair(
    formats: impl Iterator<Item = (usize, Format)>,
    files: impl Iterator<Item = (usize, PathBuf)>,
) -> Result<Vec<Target>, String> {
    enum Word {
        Format(Format),
        File(PathBuf),
    }
    let formats = formats.map(|(at, format)| (at, Word::Format(format)));
    let mut words: Vec<_> = formats.chain(files.map(|(at, file)| (at, Word::File(file)))).collect();
    words.sort_by_key(|(at, _)| *at);
    let no_format = words.iter().all(|(_, word)| matches!(word, Word::File(_)));
    let mut targets: Vec<Target> = Vec::new();
    for (_, word) in words {
        match (word, targets.last_mut()) {
            (Word::Format(format), _) => targets.push(Target { format, file: None }),
            (Word::File(file), Some(Target { file: free @ None, .. })) => *free = Some(file),
            (Word::File(file), None) if no_format => targets.push(Target { format: Format::Text, file: Some(file) }),
            (Word::File(file), _) => {
                return Err(format!("`-o {}` has no --format of its own; write --format FORMAT before each -o", file.display()));
            }
        }
    }
    if targets.is_empty() {
        targets.push(Target { format: Format::Text, file: None });
    }
    if targets.iter().filter(|target| target.file.is_none()).count() > 1 {
        return Err("only one report can go to standard output; give the others a file with -o".to_owned());
    }
    Ok(targets)
}

/// Reports whose files can be written. Until they are, none of them is there that was not before, so that a run which is cut off, by whatever
/// signal, leaves no empty ones behind.
pub(crate) struct Outputs(Vec<Open>);

struct Open {
    format: Format,
    file: Option<Writable>,
}

/// A file that can be written.
pub(crate) struct Writable {
    path: PathBuf,
    /// What is at that path already: a file whose content is to stay until there is a new one, a pipe, a device.
    there: Option<File>,
    /// What tells it from other files, if it is one.
    identity: Option<Identity>,
}

/// What tells files apart, whatever they are called.
#[derive(PartialEq, Eq)]
enum Identity {
    /// Device and number of one that is there.
    Known(u64, u64),
    /// The directory, by its real name, and the name of one that is not.
    Wanted(PathBuf, OsString),
}

impl Outputs {
    /// Finds out whether the files can be written; an older report in them stays until the new one is.
    ///
    /// # Errors
    /// One line, if one cannot, or if two reports would go to one file, whatever it is called.
    pub(crate) fn open(targets: &[Target]) -> anyhow::Result<Self> {
        let mut outputs: Vec<Open> = Vec::new();
        for Target { format, file } in targets {
            let file = file.as_deref().map(Writable::find).transpose()?;
            if let Some(new) = &file
                && let Some(old) = outputs.iter().filter_map(|output| output.file.as_ref()).find(|old| old.is_same_as(new))
            {
                let (old, new) = (old.path.display(), new.path.display());
                bail!("`{old}` and `{new}` are the same file, and two reports would go to it; give each a file of its own");
            }
            outputs.push(Open { format: *format, file });
        }
        Ok(Self(outputs))
    }

    /// Whether a report goes to this file.
    pub(crate) fn go_to(&self, file: &Writable) -> bool {
        self.0.iter().filter_map(|output| output.file.as_ref()).any(|report| report.is_same_as(file))
    }

    /// Whether a report goes to standard output.
    pub(crate) fn use_stdout(&self) -> bool {
        self.0.iter().any(|output| output.file.is_none())
    }

    /// Writes all of them. A closed standard output is not an error: somebody has read enough.
    pub(crate) fn write(self, report: &Report, show: Option<usize>, sources: &SourceTree) -> anyhow::Result<()> {
        self.write_each(|format, colour| match format {
            Format::Text => report.to_text(TextOptions { colour, show }),
            Format::Json => report.to_json(),
            Format::Sarif => report.to_sarif(),
            Format::Junit => report.to_junit(),
            Format::Html => report.to_html(&|file| sources.read(file)),
        })
    }

    /// As [`write`](Self::write), of reports that `text` makes in each form; it is told whether to use a terminal's colours.
    pub(crate) fn write_each(mut self, text: impl Fn(Format, bool) -> String) -> anyhow::Result<()> {
        for output in &mut self.0 {
            let colour = output.file.is_none() && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
            let text = text(output.format, colour);
            match &mut output.file {
                None => match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                    result => result.context("cannot write the report to standard output")?,
                },
                Some(file) => {
                    file.write(&text).with_context(|| format!("cannot write the report to `{}`", file.path.display()))?;
                }
            }
        }
        Ok(())
    }
}

impl Writable {
    /// Finds out whether a file can be written.
    fn find(path: &Path) -> anyhow::Result<Self> {
        Self::try_find(path).with_context(|| {
            format!("cannot write the report to `{}`; give -o a file in a directory you may write to", path.display())
        })
    }

    /// As [`Outputs::open`], for one file.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub(crate) fn try_find(path: &Path) -> io::Result<Self> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(_) => {
                std::fs::remove_file(path)?;
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let name = path.file_name().unwrap_or_default().to_owned();
                let identity = Some(Identity::Wanted(directory.canonicalize()?, name));
                Ok(Self { path: path.to_owned(), there: None, identity })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = OpenOptions::new().write(true).open(path)?;
                let known = file.metadata()?;
                let identity = known.is_file().then(|| Identity::Known(known.dev(), known.ino()));
                Ok(Self { path: path.to_owned(), there: Some(file), identity })
            }
            Err(error) => Err(error),
        }
    }

    /// Its path from the root on, though perhaps nothing is there yet.
    ///
    /// # Errors
    /// If its directory has gone.
    pub(crate) fn whole_path(&self) -> io::Result<PathBuf> {
        match &self.identity {
            Some(Identity::Wanted(directory, name)) => Ok(directory.join(name)),
            _ => self.path.canonicalize(),
        }
    }

    /// Whether both are one file. Pipes and devices take what they are given.
    fn is_same_as(&self, other: &Self) -> bool {
        self.identity.is_some() && self.identity == other.identity
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        let file = match &mut self.there {
            Some(file) => file,
            there @ None => there.insert(File::create(&self.path)?),
        };
        // Pipes and devices cannot be truncated and need not be.
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        file.write_all(text.as_bytes())?;
        file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::Format::{Json, Text};
    use super::*;

    fn paired(formats: &[(usize, Format)], files: &[(usize, &str)]) -> Result<Vec<(Format, Option<String>)>, String> {
        let files = files.iter().map(|&(at, file)| (at, PathBuf::from(file)));
        let targets = pair(formats.iter().copied(), files)?;
        Ok(targets.into_iter().map(|t| (t.format, t.file.map(|f| f.display().to_string()))).collect())
    }

    #[test]
    fn each_file_belongs_to_the_format_before_it() {
        let file = |name: &str| Some(name.to_owned());
        assert_eq!(paired(&[], &[]), Ok(vec![(Text, None)]));
        assert_eq!(paired(&[], &[(1, "a")]), Ok(vec![(Text, file("a"))]));
        assert_eq!(paired(&[(1, Json)], &[]), Ok(vec![(Json, None)]));
        assert_eq!(paired(&[(1, Json), (3, Text)], &[(2, "a")]), Ok(vec![(Json, file("a")), (Text, None)]));
        assert_eq!(paired(&[(1, Json), (2, Text)], &[(3, "a")]), Ok(vec![(Json, None), (Text, file("a"))]));
    }

    fn opened(files: &[&Path]) -> anyhow::Result<Outputs> {
        let target = |file: &&Path| Target { format: Text, file: Some(file.to_path_buf()) };
        Outputs::open(&files.iter().map(target).collect::<Vec<_>>())
    }

    #[test]
    fn one_file_under_two_names_is_refused_and_a_device_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("d")).unwrap();
        std::os::unix::fs::symlink(at("d"), at("e")).unwrap();
        for exists in [false, true] {
            if exists {
                std::fs::write(at("d/old"), "old").unwrap();
                std::fs::hard_link(at("d/old"), at("d/same")).unwrap();
            }
            for (a, b) in [("d/old", "d/old"), ("d/old", "d/./old"), ("d/old", "e/old"), ("d/old", "d/../e/old")] {
                let error = opened(&[&at(a), &at(b)]).err().unwrap().to_string();
                assert!(error.contains("are the same file"), "{error}");
            }
            opened(&[&at("d/old"), &at("d/new")]).unwrap();
            assert!(!at("d/new").exists(), "nothing is there before it is written");
        }
        assert!(opened(&[&at("d/old"), &at("d/same")]).is_err());
        opened(&[Path::new("/dev/null"), Path::new("/dev/null")]).unwrap();
        assert_eq!(std::fs::read(at("d/old")).unwrap(), b"old");
    }

    #[test]
    fn files_without_a_format_and_a_shared_standard_output_are_refused() {
        for (formats, files, says) in [
            (&[(2, Json)][..], &[(1, "a")][..], "`-o a` has no --format"),
            (&[(1, Json)], &[(2, "a"), (3, "b")], "`-o b` has no --format"),
            (&[], &[(1, "a"), (2, "b")], "`-o b` has no --format"),
            (&[(1, Json), (2, Text)], &[], "only one report"),
        ] {
            let error = paired(formats, files).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
