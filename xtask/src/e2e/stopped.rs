//! `--stop-at` on real processors: the guest is paused at every finding, looked at by a debugger, stepped, and sent on.
//!
//! It must stand at the very instruction wherever the report says "before", be paused once for each finding, and notice nothing: its
//! report has the findings of a run that was never paused.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::row::Run;
use super::table::RUNS;
use crate::guests::emulator::Qemu;
use crate::guests::machine::Guest;

/// No answer takes this long.
const LIMIT: Duration = Duration::from_secs(60);

/// A load that QEMU makes in a helper, which generated code cannot be left from: the guest is paused behind it.
const HELPED: &str = "stale_load_by_ll+";

/// The program counter, as a debugger asks for it.
#[derive(Clone, Copy)]
struct Counter {
    /// Its number (`gdb-xml` of QEMU's sources).
    number: u32,
    /// How to read what is answered.
    read: fn([u8; 4]) -> u32,
    /// The register with the return address, where a load can stand in the delay slot of a return.
    link: Option<u32>,
}

const MIPSEL: Counter = Counter { number: 37, read: u32::from_le_bytes, link: Some(31) };
const MIPS: Counter = Counter { number: 37, read: u32::from_be_bytes, link: Some(31) };
const ARM: Counter = Counter { number: 15, read: u32::from_le_bytes, link: None };

/// A row, and the run that is stopped.
const ROWS: &[(&str, &str, Counter)] = &[
    // It takes the longest.
    ("stopped-mipsel-smp", "bare-mipsel-smp", MIPSEL),
    ("stopped-mipsel", "bare-mipsel", MIPSEL),
    ("stopped-mips", "bare-mips", MIPS),
    ("stopped-armv6", "bare-armv6", ARM),
];

/// What the rows are called.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.0)
}

fn run(name: &str) -> Option<&'static Run> {
    RUNS.iter().find(|run| run.name == name)
}

/// The guests whose compilers the rows need whose name contains `only`.
pub fn guests(only: &str) -> impl Iterator<Item = Guest> {
    ROWS.iter().filter(move |row| row.0.contains(only)).filter_map(|row| run(row.1).map(|run| run.load.guest()))
}

/// Performs the rows whose name contains `only`.
///
/// # Errors
/// If any is not as it must be; all are performed nevertheless.
pub fn perform(qemu: Qemu, only: &str, reports: &Path) -> Result<()> {
    let rows: Vec<_> = ROWS.iter().filter(|row| row.0.contains(only)).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        while let Some((name, of, counter)) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            match run(of).context("no such row").and_then(|run| row(name, run, *counter, qemu, reports)) {
                Ok(line) => println!("ok    {name:<24} {line} {:>6.1} s", start.elapsed().as_secs_f64()),
                Err(error) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    println!("WRONG {name:<24} {error:#}");
                }
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(rows.len());
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(worker))));
    let failed = failed.into_inner();
    ensure!(failed == 0, "{failed} guests were not stopped as they should be (xtask/src/e2e/stopped.rs)");
    Ok(())
}

fn row(name: &str, run: &Run, counter: Counter, qemu: Qemu, reports: &Path) -> Result<String> {
    let json = |what: &str| reports.join(format!("{name}-{what}.json"));
    let options = |what: &str, more: &[&str]| {
        let mut options = vec!["--format".into(), "json".into(), "-o".into(), json(what).into_os_string()];
        options.extend(more.iter().map(Into::into));
        options
    };
    let report = |what: &str| -> Result<Value> {
        Ok(serde_json::from_str(&fs::read_to_string(json(what)).with_context(|| json(what).display().to_string())?)?)
    };
    let plain = run.command(qemu, None, &options("plain", &[]))?.stdin(Stdio::null()).output()?;
    ensure!(plain.status.code() == Some(1), "unstopped: {}", String::from_utf8_lossy(&plain.stderr));

    let paused = |what: &str, more: &[&str]| -> Result<(Vec<Stop>, String, Value)> {
        let mut command = run.command(qemu, None, &options(what, &[&["--stop-at", "first"], more].concat()))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let said = child.stdout.take().context("no console")?;
        let console = thread::spawn(move || std::io::read_to_string(BufReader::new(said)));
        let stops = follow(BufReader::new(child.stderr.take().context("nothing is said")?), counter);
        if stops.is_err() {
            let _ = child.kill();
        }
        let status = child.wait()?;
        let stops = stops?;
        ensure!(status.code() == Some(1), "exit status {status:?}");
        Ok((stops, console.join().unwrap_or_else(|_| Ok(String::new()))?, report(what)?))
    };
    let (stops, console, stopped) = paused("stopped", &[])?;
    let plain = report("plain")?;
    // Not the counters: a block that is begun again is fetched again, with what an instruction of several loads had loaded before.
    for what in ["findings", "consequences", "verdict"] {
        ensure!(plain[what] == stopped[what], "{what} are not what they are where the guest is not stopped");
    }
    ensure!(!console.contains("FAIL"), "the guest noticed: {console}");
    // The same while it is given old bytes: the debugger sees memory's own, and the load that it steps over gets what is meant for it.
    let (given, console, _) = paused("given", &["--inject", "worst"])?;
    let places = |stops: &[Stop]| stops.iter().map(|stop| (stop.before, stop.counter, stop.stepped)).collect::<Vec<_>>();
    ensure!(places(&given) == places(&stops), "given old bytes, it was stopped elsewhere");
    ensure!(console.contains("FAIL stale_") && !console.contains("FAIL clean_"), "given old bytes, it said: {console}");
    let findings = plain["findings"].as_array().context("no findings")?;
    ensure!(stops.len() == findings.len(), "{} stops for {} findings", stops.len(), findings.len());
    let before = stops.iter().filter(|stop| stop.before);
    for stop in before.clone() {
        ensure!(stop.counter == stop.consumer, "told of {:#x}, and paused at {:#x}", stop.consumer, stop.counter);
        let next = [Some(stop.counter + 4), stop.link];
        ensure!(next.contains(&Some(stop.stepped)), "a step from {:#x} led to {:#x}", stop.counter, stop.stepped);
    }
    let is_helped = |finding: &Value| finding["consumer"]["symbol"].as_str().is_some_and(|symbol| symbol.starts_with(HELPED));
    let loads = findings.iter().filter(|finding| finding["consumer"]["kind"] == "load" && !is_helped(finding)).count();
    let before = before.count();
    ensure!(before == loads && loads > 0, "{before} stops before the access, and {loads} findings of loads");
    Ok(format!("{} stops, {before} of them before the access", stops.len()))
}

/// What was told of a stop, and what the debugger saw.
struct Stop {
    before: bool,
    consumer: u32,
    counter: u32,
    /// Where one instruction led, and where the function returns to: what a branch does whose delay slot is executed again must not be lost.
    stepped: u32,
    link: Option<u32>,
}

/// Reads what the check says, looks at the guest whenever it is paused, and sends it on.
fn follow(said: impl BufRead, counter: Counter) -> Result<Vec<Stop>> {
    let (mut stops, mut debugger, mut consumer, mut before) = (Vec::new(), None, None, false);
    for line in said.lines() {
        let line = line?;
        let code = line.split_once("(0x").and_then(|(_, rest)| u32::from_str_radix(rest.get(..8)?, 16).ok());
        consumer = consumer.or(code);
        before = if line.contains("the guest is paused") { line.ends_with("before the access takes effect") } else { before };
        let Some((_, socket)) = line.split_once("target remote ") else { continue };
        let socket = socket.split('\'').next().unwrap_or_default();
        let debugger = match &mut debugger {
            Some(debugger) => debugger,
            None => debugger.insert(Debugger::attach(Path::new(socket))?),
        };
        let at = debugger.register(counter)?;
        let link = counter.link.map(|number| debugger.register(Counter { number, ..counter })).transpose()?;
        debugger.resume("s")?;
        let stepped = debugger.register(counter)?;
        stops.push(Stop { before, consumer: consumer.take().context("no consumer was told of")?, counter: at, stepped, link });
        debugger.resume("c")?;
    }
    Ok(stops)
}

/// The little of GDB's remote protocol that this takes (GDB's manual, appendix E).
struct Debugger {
    stream: UnixStream,
    waits: bool,
}

impl Debugger {
    fn attach(socket: &Path) -> Result<Self> {
        let since = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if since.elapsed() > LIMIT => bail!("nobody listens at {}: {error}", socket.display()),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_read_timeout(Some(LIMIT))?;
        let mut debugger = Self { stream, waits: false };
        debugger.send("?")?;
        debugger.answer()?;
        debugger.send("qXfer:features:read:target.xml:0,ffb")?;
        debugger.answer()?;
        Ok(debugger)
    }

    fn send(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0u8, u8::wrapping_add);
        Ok(self.stream.write_all(format!("${packet}#{sum:02x}").as_bytes())?)
    }

    fn answer(&mut self) -> Result<String> {
        let (mut packet, mut begun, mut byte) = (Vec::new(), false, [0]);
        loop {
            self.stream.read_exact(&mut byte).context("the debugger's port says nothing")?;
            match (byte[0], begun) {
                (b'$', false) => begun = true,
                (_, false) => {}
                (b'#', true) => break,
                (other, true) => packet.push(other),
            }
        }
        self.stream.read_exact(&mut [0; 2])?;
        self.stream.write_all(b"+")?;
        Ok(String::from_utf8_lossy(&packet).into_owned())
    }

    /// A register of the paused guest.
    fn register(&mut self, Counter { number, read, .. }: Counter) -> Result<u32> {
        if std::mem::take(&mut self.waits) {
            let stopped = self.answer()?;
            ensure!(stopped.starts_with('T'), "expected that the guest stops, got {stopped}");
        }
        self.send(&format!("p{number:x}"))?;
        let answer = self.answer()?;
        let value = u32::from_str_radix(answer.get(..8).unwrap_or(&answer), 16).with_context(|| answer.clone())?;
        Ok(read(value.to_be_bytes()))
    }

    /// Sends the guest on, by an instruction (`s`) or until it is paused again (`c`).
    fn resume(&mut self, how: &str) -> Result<()> {
        self.waits = true;
        self.send(how)
    }
}
