//! One run of QEMU, from its start to its end: what comes from where, and when it is made to stop.
//!
//! It decides nothing about verdicts; it collects what happened ([`Ended`]), and `ending` says what that means. QEMU is gone when
//! [`run`] returns, and the terminal is as it was.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use congruent_shadow::Schedules;
use congruent_wire::{Chain, Config, CpuCaches, FailureKind, Message, MuteRange, PROTOCOL, Record};
use regex::bytes::Regex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::command_line::plugin_option;
use crate::console::{Disturbed, Seen, Watch};
use crate::ending::{Allowed, Ended, Exit, Stop, Whole};
use crate::judge_link::JudgeLink;
use crate::keyboard::Input;
use crate::last_line::LastLine;
use crate::monitor::{self, Monitor, Notice};
use crate::screen::{Screen, Status, Stream};
use crate::stopping::{Stopping, Told};

/// How long QEMU has to leave after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long a kernel has for what it says after its panic, before it is stopped. What it was given may keep it from ending by itself.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How long the plugin has to report before anybody wonders.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the status line is brought up to date.
const TICK: Duration = Duration::from_millis(250);

/// Everything that a run needs.
pub(crate) struct Plan {
    /// The command that starts QEMU, without the plugin; not empty.
    pub(crate) qemu: Vec<OsString>,
    /// The plugin.
    pub(crate) plugin: PathBuf,
    /// The modelled caches.
    pub(crate) caches: congruent_shadow::Config,
    /// How the caches of several CPUs hang together.
    pub(crate) cpus: CpuCaches,
    /// Code whose maintenance is muted.
    pub(crate) mute: Vec<MuteRange>,
    /// Whether the guest's calls are followed.
    pub(crate) backtraces: bool,
    /// What is to be recorded, if anything.
    pub(crate) record: Option<Record>,
    /// Whether the ledger is asked for.
    pub(crate) ledger: bool,
    /// The text at which the guest is stopped.
    pub(crate) until: Option<Regex>,
    /// The time after which it is stopped.
    pub(crate) timeout: Option<Duration>,
    /// Whether a report will go to standard output.
    pub(crate) report_on_stdout: bool,
    /// At which findings the guest is paused, if at any.
    pub(crate) stopping: Option<Stopping>,
    /// By which schedules the guest is given old bytes, if it is.
    pub(crate) inject: Option<Schedules>,
    /// What the guest's console says where it is given none, if that is known.
    pub(crate) undisturbed: Option<Vec<u8>>,
}

/// Something that a run waits for.
pub(crate) enum Event {
    /// The plugin says something.
    Judge(Box<Message>),
    /// The plugin says something that is no message.
    JudgeUnclear(String),
    /// The plugin has said its last.
    JudgeGone,
    /// QEMU's monitor says something.
    Monitor(Notice),
    /// QEMU's monitor has said its last.
    MonitorGone,
    /// Something was seen on the console.
    Console(Seen),
    /// One of QEMU's outputs is closed; the last line on it that was not blank.
    OutputClosed(Option<String>),
    /// QEMU has ended and waits to be collected.
    QemuEnded,
    /// We got a signal that asks us to leave.
    Signal(i32),
}

/// Runs QEMU under the plugin until it ends, or until it must.
///
/// # Errors
/// If QEMU cannot be started, or the machinery around it cannot be set up.
pub(crate) fn run(plan: Plan) -> anyhow::Result<Ended> {
    let (events, incoming) = mpsc::channel();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
    let forward = events.clone();
    thread::spawn(move || signals.forever().all(|signal| forward.send(Event::Signal(signal)).is_ok()));

    let link = JudgeLink::open(
        |socket, memory| Config {
            protocol: PROTOCOL,
            gate: socket.parent().map(monitor::gate),
            socket,
            caches: plan.caches.into(),
            cpus: plan.cpus,
            mute: plan.mute,
            backtraces: plan.backtraces,
            memory: Some(memory),
            record: plan.record,
            ledger: plan.ledger,
            stop_at: plan.stopping.as_ref().map(|stopping| stopping.at.clone()),
            inject: plan.inject,
        },
        events.clone(),
    )?;
    let input = Input::take().context("cannot prepare the terminal for the guest's keys; redirect standard input")?;
    let monitor = Monitor::open(link.directory(), events.clone())?;
    let added = plugin_option(&plan.plugin, link.config()).into_iter().chain(monitor.option());
    let allowed = allowed(&plan.qemu);
    let mut qemu = start(&plan.qemu, added, &input)?;
    if let (Input::Keys(keyboard), Some(stdin)) = (&input, qemu.stdin.take()) {
        keyboard.feed(stdin).context("cannot read the terminal")?;
    }
    let screen = Arc::new(Mutex::new(Screen::new(plan.report_on_stdout)));
    let until = plan.until.is_some().then_some(false);
    let stdout = qemu.stdout.take().ok_or_else(|| anyhow!("QEMU has no standard output"))?;
    let stderr = qemu.stderr.take().ok_or_else(|| anyhow!("QEMU has no standard error"))?;
    let delivering = Arc::new(AtomicBool::new(false));
    let disturbed = Disturbed::new(delivering.clone(), plan.undisturbed.as_deref());
    pass_on(Stream::Console, stdout, Some(Watch::new(plan.until, disturbed)), screen.clone(), events.clone());
    pass_on(Stream::Errors, stderr, None, screen.clone(), events.clone());
    let group = Pid::from_child(&qemu);
    announce_end(group, events);

    let now = Instant::now();
    let mut session = Session {
        ended: Ended { until, allowed, ..Ended::default() },
        monitor,
        group,
        started: now,
        timeout: plan.timeout.map(|timeout| now + timeout),
        kill_at: None,
        dead_at: None,
        outputs_open: 2,
        judge_connected: false,
        judge_gone: false,
        monitor_gone: false,
        resets_unfollowed: false,
        config: link.config().to_owned(),
        patience: Some(now + PATIENCE),
        findings: 0,
        stopping: plan.stopping,
        delivering,
        port: link.directory().join("gdb"),
        memory: link.memory_file().to_owned(),
        remarks: Vec::new(),
    };
    session.run_until_qemu_ends(&incoming, &screen);
    link.close();
    session.monitor.close();
    session.collect_the_rest(&incoming);
    for remark in session.remarks.drain(..) {
        lock(&screen).remark(&remark);
    }
    session.kill();
    session.ended.memory = link.memory();
    let status = qemu.wait().context("cannot collect QEMU")?;
    session.ended.exit = match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    };
    lock(&screen).finish();
    Ok(session.ended)
}

/// Starts QEMU in a process group of its own: Ctrl-C is for us, and what we send reaches QEMU through wrappers, too.
fn start(command: &[OsString], added: impl IntoIterator<Item = OsString>, input: &Input) -> anyhow::Result<Child> {
    let [program, arguments @ ..] = command else { bail!("no QEMU command") };
    Command::new(program)
        .args(arguments)
        .args(added)
        .stdin(input.stdio())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => "install it, or give its path; `congruent doctor` says what is there",
                std::io::ErrorKind::PermissionDenied => "it is not an executable file; give the path of a qemu-system-* program",
                _ => "give the path of a qemu-system-* program",
            };
            anyhow!("cannot start `{}`: {error}; {remedy}", program.display())
        })
}

/// What a command says about how its guest may end. Words are looked into, because a shell's script is one word.
fn allowed(command: &[OsString]) -> Allowed {
    let says = |text: &str| command.iter().any(|word| word.to_string_lossy().contains(text));
    Allowed { reset: says("-no-reboot") || says("reboot=shutdown"), semihosting: says("-semihosting") }
}

/// Whether a QEMU runs in this process group whose command line does not name this file (proc(5)).
fn runs_without(group: Pid, config: &Path) -> bool {
    let unaware = |process: std::fs::DirEntry| {
        let read = |name: &str| std::fs::read(process.path().join(name)).ok();
        let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
        // The name, which may hold anything, stands in parentheses; state, parent and group follow.
        let (head, tail) = stat.rsplit_once(')')?;
        let is_qemu = head.split_once('(')?.1.starts_with("qemu-system-");
        let is_ours = tail.split_whitespace().nth(2)?.parse() == Ok(group.as_raw_nonzero().get());
        let words = read("cmdline")?;
        let config = config.as_os_str().as_bytes();
        let is_told = words.windows(config.len()).any(|part| part == config);
        (is_qemu && is_ours && !words.is_empty() && !is_told).then_some(())
    };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().any(|process| unaware(process).is_some())
}

/// Passes one of QEMU's outputs on as it comes. Writing happens here, so that a reader who stops reading stops the guest, but
/// neither signals nor time limits.
fn pass_on(
    stream: Stream,
    mut from: impl Read + Send + 'static,
    mut watch: Option<Watch>,
    screen: Arc<Mutex<Screen>>,
    events: Sender<Event>,
) {
    thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        let mut lines = LastLine::default();
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let piece = &piece[..count];
            lock(&screen).pass(stream, piece);
            lines.feed(piece);
            for seen in watch.as_mut().map(|watch| watch.feed(piece)).into_iter().flatten() {
                let _ = events.send(Event::Console(seen));
            }
        }
        if let Some(seen) = watch.and_then(Watch::finish) {
            let _ = events.send(Event::Console(seen));
        }
        let last = (stream == Stream::Errors).then(|| lines.text()).flatten();
        let _ = events.send(Event::OutputClosed(last));
    });
}

/// The screen is plain state: a panic while it was held leaves it usable.
fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Says when QEMU has ended, and leaves it uncollected: its process id stays its own until then, so that no signal can reach a
/// stranger.
fn announce_end(qemu: Pid, events: Sender<Event>) {
    thread::spawn(move || {
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(qemu), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
        let _ = events.send(Event::QemuEnded);
    });
}

struct Session {
    ended: Ended,
    monitor: Monitor,
    group: Pid,
    started: Instant,
    timeout: Option<Instant>,
    /// When to kill QEMU, if it was asked to leave.
    kill_at: Option<Instant>,
    /// When a guest that was given old bytes and has panicked is taken for dead.
    dead_at: Option<Instant>,
    outputs_open: u32,
    judge_connected: bool,
    judge_gone: bool,
    monitor_gone: bool,
    /// Whether the plugin cannot see resets, and the command wants none to end the run.
    resets_unfollowed: bool,
    /// The plugin's configuration, which QEMU's command line names.
    config: PathBuf,
    /// When to wonder where the plugin is.
    patience: Option<Instant>,
    findings: u64,
    stopping: Option<Stopping>,
    /// Whether the guest has been given old bytes, for who watches the console.
    delivering: Arc<AtomicBool>,
    /// Where QEMU is to listen for a debugger.
    port: PathBuf,
    /// Where the plugin copies the guest's memory to.
    memory: PathBuf,
    /// What is to be said as soon as the screen can be written to.
    remarks: Vec<String>,
}

impl Session {
    fn run_until_qemu_ends(&mut self, incoming: &Receiver<Event>, screen: &Mutex<Screen>) {
        loop {
            let now = Instant::now();
            if self.timeout.is_some_and(|at| at <= now) {
                self.timeout = None;
                self.stop(Stop::Timeout);
            }
            if self.dead_at.is_some_and(|at| at <= now) {
                self.dead_at = None;
                self.stop(Stop::Died);
            }
            if self.kill_at.is_some_and(|at| at <= now) {
                self.kill();
                self.kill_at = Some(now + GRACE);
            }
            if self.patience.is_some_and(|at| at <= now) {
                self.patience = None;
                self.wonder(screen);
            }
            // A screen that is being written to, perhaps to a reader that does not read, needs no status line.
            if let Ok(mut screen) = screen.try_lock() {
                for remark in self.remarks.drain(..) {
                    screen.remark(&remark);
                }
                screen.show_status(&Status {
                    stats: self.ended.stats,
                    findings: self.findings,
                    elapsed: self.started.elapsed(),
                    paused: self.ended.paused,
                    stopping: self.ended.stop.is_some(),
                });
            }
            let next =
                [self.timeout, self.kill_at, self.patience, self.dead_at].into_iter().flatten().fold(now + TICK, Instant::min);
            match incoming.recv_timeout(next.saturating_duration_since(now)) {
                Ok(Event::QemuEnded) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// After QEMU has ended: reads what it had sent before. If the command was a wrapper, QEMU itself may still be leaving.
    fn collect_the_rest(&mut self, incoming: &Receiver<Event>) {
        let until = Instant::now() + GRACE;
        while !(self.judge_gone && self.monitor_gone && self.outputs_open == 0) {
            match incoming.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Signal(_)) if self.ended.stop.is_some() => return,
                Ok(event) => self.take(event),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Judge(message) => self.hear(*message),
            Event::JudgeUnclear(problem) => {
                let kind = if self.judge_connected { FailureKind::Internal } else { FailureKind::Environment };
                let reason =
                    format!("the plugin's message cannot be read ({problem}); take plugin and program from the same build");
                self.fail(kind, reason);
            }
            Event::JudgeGone => self.judge_gone = true,
            Event::Monitor(notice) => self.notice(notice),
            Event::MonitorGone => self.monitor_gone = true,
            Event::Console(Seen::Until) => {
                self.ended.until = Some(true);
                self.stop(Stop::Until);
            }
            Event::Console(Seen::Next(line)) => {
                self.ended.next_line = Some(line);
                let given = self.ended.delivering.as_ref().map_or(0, |delivery| delivery.accesses);
                self.ended.later = self.ended.stats.accesses.checked_sub(given);
            }
            Event::Console(Seen::Panic(line)) => {
                self.ended.panic = Some(line);
                self.await_death();
            }
            Event::Console(Seen::Kernel(banner)) => self.ended.kernel = Some(banner),
            Event::OutputClosed(last_line) => {
                self.outputs_open -= 1;
                self.ended.last_words = last_line.or(self.ended.last_words.take());
            }
            Event::Signal(signal) => {
                if self.ended.stop.is_some() {
                    self.kill();
                }
                self.stop(Stop::Signal(signal));
            }
            Event::QemuEnded => {}
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Hello { protocol, target, follows_resets, .. } => {
                self.judge_connected = true;
                self.patience = None;
                self.resets_unfollowed = !follows_resets && !self.ended.allowed.reset;
                self.keep_resets_out();
                if protocol == PROTOCOL {
                    self.ended.target = Some(target);
                } else {
                    let reason = format!(
                        "the plugin speaks version {protocol} of the protocol and this program version {PROTOCOL}; take both from \
                         the same build"
                    );
                    self.fail(FailureKind::Environment, reason);
                }
            }
            Message::Restarted => self.ended.restarts += 1,
            Message::Status { stats, findings } => {
                self.ended.stats = stats;
                self.findings = findings;
            }
            Message::Finding { finding, chains } => {
                self.learn(chains);
                self.ended.streamed.push(finding);
                self.findings = self.findings.max(self.ended.streamed.len() as u64);
            }
            Message::Delivering { delivery } => {
                self.delivering.store(true, Ordering::Release);
                self.ended.delivering = Some(delivery);
                self.await_death();
            }
            Message::Stopped { finding, before } => self.tell_of_stop(finding, before),
            Message::Failure { kind, reason } => self.fail(kind, reason),
            Message::RecordingFailed { reason } => self.ended.recording_failure = Some(reason),
            Message::Final { stats, findings, consequences, chains, ledger, ledger_callers, delivered, limits } => {
                self.learn(chains);
                let ledger_callers = ledger_callers.into_iter().map(|chain| (chain.context, chain.callers)).collect();
                self.ended.whole = Some(Whole { stats, findings, consequences, ledger, ledger_callers, delivered, limits });
            }
        }
    }

    /// A guest that was given old bytes and has panicked, whichever was heard of first, is dead soon.
    fn await_death(&mut self) {
        if self.ended.panic.is_some() && self.ended.delivering.is_some() {
            self.dead_at = Some(Instant::now() + LAST_WORDS);
        }
    }

    /// The guest is being paused at this finding, counted from 1 as they came in.
    fn tell_of_stop(&mut self, number: u64, before: bool) {
        let number = usize::try_from(number).unwrap_or_default();
        let finding = number.checked_sub(1).and_then(|index| self.ended.streamed.get(index));
        let (Some(stopping), Some(finding), Some(arch)) = (&mut self.stopping, finding, self.ended.target) else { return };
        if stopping.wants_a_port() {
            self.monitor.listen_for_debugger(&self.port);
        }
        let memory = std::fs::read(&self.memory).ok();
        let chains = &self.ended.chains;
        self.remarks.push(stopping.text(&Told { number, finding, chains, arch, memory, before, port: &self.port }));
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Heard => {
                self.ended.heard = true;
                self.keep_resets_out();
            }
            // What follows our own signal is no news.
            Notice::Ended(cause) if self.ended.stop.is_none() => self.ended.cause = Some(cause),
            Notice::Ended(_) => {}
            // With -no-shutdown a guest that has ended may be sent on.
            Notice::Reset => self.ended.cause = None,
            Notice::Resumed => (self.ended.cause, self.ended.paused) = (None, false),
            Notice::Paused => self.ended.paused = true,
            Notice::Cache(cache) => self.ended.core = Some(cache),
        }
    }

    /// Has the run end at the first reset, if the plugin would not see it.
    fn keep_resets_out(&self) {
        if self.resets_unfollowed && self.ended.heard {
            self.monitor.end_at_reset();
        }
    }

    /// The plugin is late: says so, and ends the run if a QEMU was started without it.
    fn wonder(&mut self, screen: &Mutex<Screen>) {
        if self.judge_connected || self.ended.stop.is_some() {
            return;
        }
        if runs_without(self.group, &self.config) {
            let reason = "QEMU runs without the plugin, because the command does not pass its arguments on; have it do so, as in \
                          sh -c 'qemu-system-… \"$@\"' sh";
            self.fail(FailureKind::Environment, reason.to_owned());
        } else if let Ok(mut screen) = screen.try_lock() {
            screen.remark(&format!(
                "congruent: the plugin has not reported after {} seconds; does the command pass its arguments on (\"$@\")?",
                PATIENCE.as_secs()
            ));
        } else {
            self.patience = Some(Instant::now() + TICK);
        }
    }

    fn learn(&mut self, chains: Vec<Chain>) {
        let named = |Chain { context, program, callers }| (context, congruent_report::Chain { program, callers });
        self.ended.chains.extend(chains.into_iter().map(named));
    }

    fn fail(&mut self, kind: FailureKind, reason: String) {
        self.ended.failure.get_or_insert((kind, reason));
        self.stop(Stop::Failure);
    }

    /// Asks QEMU to leave, once: the first reason stands.
    fn stop(&mut self, why: Stop) {
        if self.ended.stop.is_none() {
            // It may have ended by itself just now.
            let _ = kill_process_group(self.group, Signal::TERM);
            self.kill_at = Some(Instant::now() + GRACE);
            self.ended.stop = Some(why);
        }
    }

    fn kill(&mut self) {
        // Nobody there: that is what was wanted.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}
