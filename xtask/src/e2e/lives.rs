//! How runs end and begin again: a guest that does what it is told (`guests/bare/lives.c`), told at the right moments, under `congruent check`.
//!
//! The rows are of one machine each and quick, and run one after another; that of a snapshot leaves it to the next one.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::guests::bare::Bare;
use crate::guests::emulator::Qemu;
use crate::place;

/// No step takes this long; one that does hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// What is done while the guest runs.
enum Step {
    /// Wait until this has been printed, after what was waited for before.
    Await(&'static str),
    /// Type this on the console.
    Type(&'static str),
    /// Say this to QEMU's monitor, and wait until it is done.
    Monitor(&'static str),
    /// Send SIGTERM to QEMU.
    Terminate,
}

use Step::{Await, Monitor, Terminate, Type};

/// What must come out.
enum Expect {
    /// The guest is clean, in so many lives.
    Clean { lives: u64 },
    /// `loads` may read old bytes, so often, in so many lives.
    Stale { count: u64, lives: u64 },
    /// The run is incomplete, for a reason that says this, after so many such reads in so many lives.
    Incomplete { reason: &'static str, count: u64, lives: u64 },
    /// There is no report, and one line that says this.
    Refused(&'static str),
}

struct Row {
    name: &'static str,
    /// Options of the check.
    check: &'static [&'static str],
    /// Options of QEMU.
    qemu: &'static [&'static str],
    steps: &'static [Step],
    expect: Expect,
}

/// In the place of a path in the reports' directory.
const HERE: &str = "@";
/// A disk that takes snapshots.
const DISK: [&str; 2] = ["-drive", "if=none,format=qcow2,file=@/lives.qcow2"];

const ROWS: &[Row] = &[
    Row {
        name: "lives-one",
        check: &[],
        qemu: &["-no-reboot"],
        steps: &[Type("s"), Await("STORED"), Type("l"), Await("LOADED"), Type("r")],
        expect: Expect::Stale { count: 1, lives: 1 },
    },
    Row {
        name: "lives-reset-between",
        check: &["--until", "DONE"],
        qemu: &[],
        steps: &[Type("s"), Await("STORED"), Type("r"), Await("LIVES"), Type("l"), Await("LOADED"), Type("d")],
        expect: Expect::Clean { lives: 2 },
    },
    Row {
        name: "lives-stale-in-each",
        check: &["--until", "DONE"],
        qemu: &[],
        steps: &[
            Type("s"),
            Await("STORED"),
            Type("l"),
            Await("LOADED"),
            Type("r"),
            Await("LIVES"),
            Type("s"),
            Await("STORED"),
            Type("l"),
            Await("LOADED"),
            Type("d"),
        ],
        expect: Expect::Stale { count: 2, lives: 2 },
    },
    Row {
        name: "lives-system-reset",
        check: &["--until", "DONE"],
        qemu: &[],
        steps: &[Type("s"), Await("STORED"), Monitor("system_reset"), Await("LIVES"), Type("l"), Await("LOADED"), Type("d")],
        expect: Expect::Clean { lives: 2 },
    },
    Row {
        name: "lives-system-reset-ends",
        check: &[],
        qemu: &["-no-reboot"],
        steps: &[Type("s"), Await("STORED"), Monitor("system_reset")],
        expect: Expect::Incomplete { reason: "`system_reset` in QEMU's monitor", count: 0, lives: 1 },
    },
    Row {
        name: "lives-quit",
        check: &[],
        qemu: &[],
        steps: &[Type("s"), Await("STORED"), Type("l"), Await("LOADED"), Monitor("quit")],
        expect: Expect::Incomplete { reason: "`quit` in QEMU's monitor", count: 1, lives: 1 },
    },
    Row {
        name: "lives-control-a-x",
        check: &[],
        qemu: &[],
        steps: &[Type("\x01x")],
        expect: Expect::Incomplete { reason: "`quit` in QEMU's monitor", count: 0, lives: 1 },
    },
    Row {
        name: "lives-sigterm",
        check: &[],
        qemu: &[],
        steps: &[Terminate],
        expect: Expect::Incomplete { reason: "a signal to QEMU", count: 0, lives: 1 },
    },
    Row {
        name: "lives-panic",
        check: &[],
        qemu: &["-no-reboot"],
        steps: &[Type("p")],
        expect: Expect::Incomplete {
            reason: "the guest's kernel panicked: Kernel panic - not syncing: told to",
            count: 0,
            lives: 1,
        },
    },
    Row {
        name: "lives-panic-reboots",
        check: &[],
        qemu: &[],
        steps: &[Type("p"), Await("LIVES"), Type("\x01x")],
        expect: Expect::Incomplete {
            reason: "the guest's kernel panicked: Kernel panic - not syncing: told to",
            count: 0,
            lives: 2,
        },
    },
    Row {
        name: "lives-loadvm",
        check: &[],
        qemu: &DISK,
        steps: &[Type("s"), Await("STORED"), Monitor("savevm a"), Type("l"), Await("LOADED"), Monitor("loadvm a")],
        expect: Expect::Incomplete { reason: "a snapshot took the place of the running guest", count: 1, lives: 1 },
    },
    Row {
        name: "lives-from-snapshot",
        check: &[],
        qemu: &[DISK[0], DISK[1], "-loadvm", "a"],
        steps: &[],
        expect: Expect::Refused("the guest starts from a snapshot"),
    },
];

/// The names of the rows.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// Whether the name of a row contains `only`.
pub fn has(only: &str) -> bool {
    names().any(|name| name.contains(only))
}

/// Performs every row whose name contains `only`.
///
/// # Errors
/// If any row deviates; all are performed nevertheless.
pub fn perform(qemu: Qemu, only: &str, reports: &Path) -> Result<()> {
    let chosen: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(only)).collect();
    fs::write(reports.join("lives.qcow2"), empty_disk())?;
    let mut failed = 0;
    for row in &chosen {
        let start = Instant::now();
        match row.perform(qemu, reports) {
            Ok(()) => println!("ok    {:<24} {:>40.1} s", row.name, start.elapsed().as_secs_f64()),
            Err(error) => {
                failed += 1;
                println!("WRONG {:<24} {error:#}", row.name);
            }
        }
    }
    ensure!(failed == 0, "{failed} of {} runs deviate (xtask/src/e2e/lives.rs)", chosen.len());
    Ok(())
}

impl Row {
    fn perform(&self, qemu: Qemu, reports: &Path) -> Result<()> {
        let (json, monitor) = (reports.join(format!("{}.json", self.name)), reports.join("lives.monitor"));
        for old in [&json, &monitor] {
            let _ = fs::remove_file(old);
        }
        let mut line = Bare::MipselLives.command(qemu)?;
        // Its rows say themselves whether a reset ends it.
        line.retain(|word| word != "-no-reboot");
        let mut command = Command::new(place::release().join("congruent"));
        command.args(["check", "--dcache", "p5600", "--symbols"]).arg(Bare::MipselLives.elf());
        command.args(self.check).args(["--format", "json", "-o"]).arg(&json).arg("--").args(line);
        // A file and not `-monitor`, which would take away the one behind Ctrl-A.
        command.arg("-readconfig").arg(monitor_file(reports, &monitor)?);
        command.args(self.qemu.iter().map(|word| word.replace(HERE, &reports.to_string_lossy())));
        let mut running = Running::start(command)?;
        let outcome = self.drive(&mut running, &monitor);
        let status = running.end()?;
        let said = String::from_utf8_lossy(&running.said).into_owned();
        fs::write(reports.join(format!("{}.console", self.name)), &running.said)?;
        outcome.with_context(|| format!("the guest said: {said}"))?;
        if let Expect::Refused(line) = self.expect {
            ensure!(status == Some(2) && said.contains(line), "expected to be refused, got {status:?}: {said}");
            return Ok(());
        }
        let report = fs::read_to_string(&json).with_context(|| format!("no report: {said}"))?;
        self.judge(&serde_json::from_str(&report)?, status)
    }

    fn drive(&self, running: &mut Running, monitor: &Path) -> Result<()> {
        if !matches!(self.expect, Expect::Refused(_)) {
            running.wait_for("LIVES")?;
        }
        for step in self.steps {
            match step {
                Await(text) => running.wait_for(text)?,
                Type(keys) => running.child.stdin.as_mut().context("no keys")?.write_all(keys.as_bytes())?,
                Monitor(command) => say(monitor, command)?,
                Terminate => {
                    let congruent = running.child.id();
                    let children = fs::read_to_string(format!("/proc/{congruent}/task/{congruent}/children"))?;
                    let qemu = children.split_whitespace().next().context("no QEMU")?;
                    ensure!(Command::new("kill").arg(qemu).status()?.success(), "cannot signal QEMU");
                }
            }
        }
        Ok(())
    }

    fn judge(&self, report: &Value, status: Option<i32>) -> Result<()> {
        let (word, exit, reason, count, lives) = match self.expect {
            Expect::Clean { lives } => ("clean", 0, "", 0, lives),
            Expect::Stale { count, lives } => ("findings", 1, "", count, lives),
            Expect::Incomplete { reason, count, lives } => ("incomplete", 3, reason, count, lives),
            Expect::Refused(_) => bail!("a report where there should be none"),
        };
        let findings = report["findings"].as_array().context("no findings")?;
        let of_loads = |finding: &&Value| {
            finding["class"] == "read-dirty-elsewhere"
                && finding["consumer"]["symbol"].as_str().is_some_and(|symbol| symbol.starts_with("loads+"))
        };
        let found: u64 = findings.iter().filter(of_loads).filter_map(|finding| finding["count"].as_u64()).sum();
        let because = report["incomplete_because"].as_str().unwrap_or_default();
        let said = (
            report["verdict"].as_str().unwrap_or_default(),
            status,
            because.contains(reason),
            found,
            findings.len() as u64,
            report["lives"].as_u64().unwrap_or(1),
        );
        let expected = (word, Some(exit), true, count, u64::from(count > 0), lives);
        ensure!(said == expected, "expected {expected:?}, got {said:?} {because}");
        Ok(())
    }
}

/// A check that runs, and what it said.
struct Running {
    child: Child,
    pieces: Receiver<Vec<u8>>,
    said: Vec<u8>,
    /// Up to where what was waited for has been found.
    seen: usize,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().context("cannot start congruent: was it built?")?;
        let (sender, pieces) = mpsc::channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|out| Box::new(out) as _)];
        for mut from in outputs.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = from.read(&mut piece) {
                    if sender.send(piece[..length].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { child, pieces, said: Vec::new(), seen: 0 })
    }

    fn wait_for(&mut self, text: &str) -> Result<()> {
        loop {
            let found = self.said[self.seen..].windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(at) = found {
                self.seen += at + text.len();
                return Ok(());
            }
            let piece = self.pieces.recv_timeout(LIMIT).with_context(|| format!("the guest did not say {text}"))?;
            self.said.extend(piece);
        }
    }

    /// Waits for the end, which it makes if it does not come. The exit status.
    fn end(&mut self) -> Result<Option<i32>> {
        let since = Instant::now();
        while since.elapsed() < LIMIT && self.child.try_wait()?.is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let status = self.child.wait()?;
        self.said.extend(self.pieces.iter().flatten());
        Ok(status.code())
    }
}

/// Has QEMU open a monitor for people at this path, beside the others.
fn monitor_file(reports: &Path, monitor: &Path) -> Result<PathBuf> {
    let file = reports.join("lives.monitor.conf");
    let path = monitor.display();
    fs::write(
        &file,
        format!(
            "[chardev \"lives\"]\nbackend = \"socket\"\npath = \"{path}\"\nserver = \"on\"\nwait = \"off\"\n\n\
             [mon \"lives\"]\nmode = \"readline\"\nchardev = \"lives\"\n"
        ),
    )?;
    Ok(file)
}

/// Says something to a monitor and waits until it asks for more, or leaves.
fn say(monitor: &Path, command: &str) -> Result<()> {
    const PROMPT: &[u8] = b"(qemu) ";
    let mut stream = UnixStream::connect(monitor).context("cannot connect to QEMU's monitor")?;
    stream.set_read_timeout(Some(LIMIT))?;
    for line in [None, Some(command)] {
        if let Some(line) = line {
            stream.write_all(format!("{line}\n").as_bytes())?;
        }
        let mut answer = Vec::new();
        let mut byte = [0];
        // What is typed is echoed with the prompt before it, and ends with a newline.
        while !(answer.ends_with(PROMPT) && (line.is_none() || answer.contains(&b'\n'))) {
            match stream.read(&mut byte) {
                Ok(1..) => answer.push(byte[0]),
                // `quit`, or what makes the check end QEMU.
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error).context("QEMU's monitor does not answer"),
            }
        }
    }
    Ok(())
}

/// A disk of one mebibyte without contents, in the format that takes snapshots (QEMU's `qcow2.rst`, version 2).
fn empty_disk() -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    let mut disk = vec![0; 4 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    // Cluster 0 is the header, 1 the table of reference counts, 2 the counts, 3 the table of tables.
    put(0, b"QFI\xfb");
    put(4, &2u32.to_be_bytes());
    put(20, &16u32.to_be_bytes());
    put(24, &(1u64 << 20).to_be_bytes());
    put(36, &1u32.to_be_bytes());
    put(40, &(3 * CLUSTER as u64).to_be_bytes());
    put(48, &(CLUSTER as u64).to_be_bytes());
    put(56, &1u32.to_be_bytes());
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    for cluster in 0..4 {
        put(2 * CLUSTER + 2 * cluster, &1u16.to_be_bytes());
    }
    disk
}
