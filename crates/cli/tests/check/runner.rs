//! Runs the program in a directory of its own and gathers what it did.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A place to run `congruent` in, with a plugin file that the fake QEMU does not load.
pub struct Place {
    pub directory: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// kallsyms for the addresses of the fake finding, on the kernel's side.
pub const KALLSYMS: &str =
    "80100000 T _text\n80100000 T copy_user_highpage\n80100200 t r4k_flush_data_cache_page\n80100300 T _etext\n";

impl Place {
    pub fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        place.write("libcongruent_qemu.so", "");
        place.write("kallsyms", KALLSYMS);
        std::fs::create_dir(place.path("tmp")).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Copies an executable file here. Another process does it: while this one has a file open for writing, so has every child
    /// that a test running beside this one forks, and executing the file fails ("text file busy").
    pub fn install(&self, from: &Path, name: &str) {
        let status = Command::new("install").args(["-m", "755"]).arg(from).arg(self.path(name)).status().unwrap();
        assert!(status.success());
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// `congruent` with these words, in an environment without surprises.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_congruent"));
        command.args(words).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("TMPDIR", self.path("tmp")).env("CONGRUENT_PLUGIN", "libcongruent_qemu.so");
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command
    }

    /// `congruent check` of a fake QEMU that takes these steps.
    pub fn check_command(&self, options: &[&str], steps: &[&str]) -> Command {
        let mut command = self.command(&["check", "--dcache", "p5600"]);
        command.args(options).arg("--").arg(std::env::current_exe().unwrap()).arg(crate::FAKE_QEMU).args(steps);
        command
    }

    /// Runs it to its end.
    pub fn check(&self, options: &[&str], steps: &[&str]) -> Ran {
        Ran::of(self.check_command(options, steps).output().unwrap())
    }

    /// Starts it, with its outputs piped.
    pub fn start(&self, options: &[&str], steps: &[&str]) -> Child {
        self.check_command(options, steps).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Whether the program left nothing in its temporary directory.
    pub fn is_tidy(&self) -> bool {
        std::fs::read_dir(self.path("tmp")).unwrap().next().is_none()
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            status: output.status.code().expect("congruent itself is not killed"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Exit status 2 and one line on standard error that says this.
    #[track_caller]
    pub fn assert_cannot(&self, says: &str) {
        assert_eq!(self.status, 2, "{self:?}");
        let ours: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("congruent: ")).collect();
        assert_eq!(ours.len(), 1, "{self:?}");
        assert!(ours[0].contains(says), "{says:?} is not in {self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
    }

    /// Exit status 3 and a report that begins with this reason.
    #[track_caller]
    pub fn assert_incomplete(&self, because: &str) {
        assert_eq!(self.status, 3, "{self:?}");
        // The reason may be broken over lines.
        let report = self.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(report.starts_with("incomplete: ") && report.contains(because), "{because:?} is not in {self:?}");
    }
}
