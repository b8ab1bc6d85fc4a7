//! A QEMU that does what its arguments say, step by step, and speaks the plugin's protocol on the socket of the configuration, and QEMU's
//! own on that of its monitor.
//!
//! The steps are listed in [`step`]. After the last one it exits with status 0. As in a real one, the plugin's last message follows the
//! reason why the guest ended: where no step says one, the guest shut down, or SIGTERM ended it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use congruent_arch::{Arch, Endian};
use congruent_geometry::{PhysAddr, VirtAddr};
use congruent_shadow::{Contexts, Effect, Example, Finding, HazardClass, OnCpus, Party, PartyKind, PastMaintenance, Side, Stats};
use congruent_trace::{Context, Maintenance, Site};
use congruent_wire::{Chain, Config, Delivered, Delivery, FailureKind, Message, PROTOCOL};

/// The judge's counters of a fake run.
pub const STATS: Stats = Stats {
    accesses: 970_123_456,
    fetches: 0,
    uncached: 12,
    maintenance: 437_000,
    muted: 0,
    frames: 9_000,
    shadow_bytes: 1 << 20,
    hazards: 3,
    taken_as_dropped: 0,
    unseen_writes: 0,
    step: 0,
    sweep: 0,
};

/// A finding of a fake run: a user program reads what the kernel's copy left in the other colour.
pub fn finding(count: u64) -> Finding {
    let party = |kind, site, colour| Party { kind, site: Site(site), colour: Some(colour) };
    Finding {
        class: HazardClass::ReadDirtyElsewhere,
        count,
        consumer: party(PartyKind::Load, 0x0040_0110, 1),
        producer: Some(party(PartyKind::Store, 0x8010_0020, 0)),
        example: Example { vaddr: Some(VirtAddr(0x7fff_1010)), paddr: PhysAddr(0x0123_4010), bytes: 4 },
        maintenance_between: vec![PastMaintenance {
            op: Maintenance::WriteBackInvalidate,
            side: Side::Data,
            colour: Some(1),
            site: Site(0x8010_0204),
            effect: Effect::Nothing,
            muted: false,
            cpu: None,
        }],
        cpus: OnCpus::default(),
        contexts: Contexts { consumer: Context(3), producer: Context(7) },
    }
}

/// What a load of [`finding`] was given.
fn delivery() -> Delivery {
    Delivery { paddr: PhysAddr(0x0123_4010), got: vec![1], newest: vec![2], accesses: 1234 }
}

/// Whose load it is in [`finding`], and who had called its store.
fn chains() -> Vec<Chain> {
    vec![
        Chain { context: Context(3), program: Some("sh".into()), callers: Vec::new() },
        Chain { context: Context(7), program: None, callers: vec![Site(0x8010_0104)] },
    ]
}

struct Fake {
    config_file: PathBuf,
    config: Config,
    link: UnixStream,
    monitor: Option<BufReader<UnixStream>>,
    ended: bool,
    terminated: Arc<AtomicBool>,
}

pub fn run(mut words: Vec<String>) {
    let terminated = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, terminated.clone()).unwrap();
    let Some(plugin) = words.iter().position(|word| word == "-plugin") else {
        // The command did not pass its arguments on.
        assert_eq!(words.remove(0), "run-unjudged");
        return wait_for(&terminated);
    };
    let options = words.split_off(plugin);
    let [_, plugin, readconfig, monitor] = &options[..] else { panic!("{options:?}") };
    assert_eq!(readconfig, "-readconfig");
    // Commas are doubled within values.
    let plugin = plugin.replace(",,", "\0");
    let value = |key: &str| {
        let found = plugin.split(',').find_map(|option| option.strip_prefix(key));
        PathBuf::from(found.unwrap_or_else(|| panic!("no {key} in {plugin}")).replace('\0', ","))
    };
    assert!(value("file=").is_absolute());
    let config_file = value("config=");
    let config: Config = serde_json::from_slice(&std::fs::read(&config_file).unwrap()).unwrap();
    assert_eq!(config.protocol, PROTOCOL);
    let link = UnixStream::connect(&config.socket).unwrap();
    let is_silent = words.first().is_some_and(|word| word == "no-monitor");
    let monitor = (!is_silent).then(|| connect_monitor(monitor));
    let mut fake = Fake { config_file, config, link, monitor, ended: false, terminated };
    for word in words.split_off(usize::from(is_silent)) {
        let (name, argument) = word.split_once('=').unwrap_or((&word, ""));
        fake.step(name, argument);
    }
}

/// Connects to the monitor that this file of QEMU's configuration asks for, and waits until it is spoken to.
fn connect_monitor(config: &str) -> BufReader<UnixStream> {
    let config = std::fs::read_to_string(config).unwrap();
    let socket = config.lines().find_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"')).unwrap();
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "{\"execute\":\"qmp_capabilities\"}\n");
    line.clear();
    stream.read_line(&mut line).unwrap();
    assert!(line.contains("\"info registers\""), "{line}");
    stream.get_mut().write_all(b"{\"return\": {}}\r\n").unwrap();
    stream
}

fn wait_for(terminated: &AtomicBool) {
    while !terminated.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Fake {
    fn step(&mut self, name: &str, argument: &str) {
        match name {
            // What the plugin says.
            "hello" => self.hello(PROTOCOL, true),
            "hello-of-another-version" => self.hello(PROTOCOL + 1, true),
            "hello-without-resets" => self.hello(PROTOCOL, false),
            "restarted" => self.say(Message::Restarted),
            "status" => self.say(Message::Status { stats: STATS, findings: 1 }),
            "finding" => self.say(Message::Finding { finding: finding(1), chains: chains() }),
            "stopped-before" => self.say(Message::Stopped { finding: 1, before: true }),
            "stopped-behind" => self.say(Message::Stopped { finding: 1, before: false }),
            "final" => self.last(STATS, Vec::new()),
            "delivering" => self.say(Message::Delivering { delivery: delivery() }),
            "final-with-old-bytes" => {
                self.last_of(STATS, vec![finding(1204)], vec![Some(Delivered { count: 7, first: delivery() })])
            }
            "final-with-finding" => self.last(STATS, vec![finding(1204)]),
            "final-uncached" => self.last(Stats { accesses: 0, ..STATS }, Vec::new()),
            "cannot" => self.fail(FailureKind::Environment, argument),
            "broken" => self.fail(FailureKind::Internal, argument),
            "recording-fails" => self.say(Message::RecordingFailed { reason: argument.to_owned() }),
            "half-a-message" => self.link.write_all(b"{\"message\":\"sta").unwrap(),
            "garbage" => self.link.write_all(b"what?\n").unwrap(),
            // What QEMU's monitor says, and is told.
            "shutdown" => self.shutdown(argument),
            "config1" => {
                self.event(&format!("\"id\": \"registers\", \"return\": \"Config0 0x80000482 Config1 {argument} LLAddr\\r\\n\""));
            }
            "event" => self.event(&format!("\"event\": \"{argument}\"")),
            "expect-end-at-reset" => {
                let mut line = String::new();
                self.monitor.as_mut().unwrap().read_line(&mut line).unwrap();
                assert_eq!(line, "{\"execute\":\"set-action\",\"arguments\":{\"reboot\":\"shutdown\"}}\n");
            }
            "expect-port-for-debugger" => {
                let mut line = String::new();
                self.monitor.as_mut().unwrap().read_line(&mut line).unwrap();
                assert!(line.contains("\"gdbserver unix:/") && line.contains("/gdb,server=on,wait=off\""), "{line}");
            }
            // An option of QEMU that a test wants on the command line.
            "-s" | "-cpu" | "P5600" | "24Kf" | "arm926" => {}
            // What QEMU and the guest do.
            "print" => print(argument.as_bytes()),
            "print-all-bytes" => print(&(0..=255).collect::<Vec<u8>>()),
            "print-config" => print(format!("{:?}", self.config).as_bytes()),
            "print-mode-of-directory" => print(format!("{:o}", mode(self.config_file.parent().unwrap())).as_bytes()),
            // In one piece: on its way it may be mixed with the console, but only between pieces.
            "complain" => std::io::stderr().write_all(format!("{argument}\n").as_bytes()).unwrap(),
            "touch" => std::fs::write(argument, "").unwrap(),
            "echo-input" => {
                let mut input = String::new();
                std::io::stdin().read_to_string(&mut input).unwrap();
                print(input.as_bytes());
            }
            "echo-key" => {
                let mut key = [0];
                std::io::stdin().read_exact(&mut key).unwrap();
                print(format!("key {:02x}\n", key[0]).as_bytes());
            }
            "wait-for-sigterm" => wait_for(&self.terminated),
            // For ever, unless whoever started it is gone: nobody else would end it then.
            "hang" => {
                let parent = std::os::unix::process::parent_id();
                while std::os::unix::process::parent_id() == parent {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            "crash" => std::process::abort(),
            "exit" => std::process::exit(argument.parse().unwrap()),
            unknown => panic!("the fake QEMU knows no step {unknown:?}"),
        }
    }

    fn hello(&mut self, protocol: u32, follows_resets: bool) {
        self.say(Message::Hello { protocol, target: Arch::Mips(Endian::Little), qemu_api: 4, follows_resets });
    }

    fn shutdown(&mut self, reason: &str) {
        self.ended = true;
        self.event(&format!("\"event\": \"SHUTDOWN\", \"data\": {{\"guest\": true, \"reason\": \"{reason}\"}}"));
    }

    fn event(&mut self, content: &str) {
        if let Some(monitor) = &mut self.monitor {
            let line = format!("{{\"timestamp\": {{\"seconds\": 1, \"microseconds\": 0}}, {content}}}\r\n");
            monitor.get_mut().write_all(line.as_bytes()).unwrap();
        }
    }

    fn say(&mut self, message: Message) {
        message.write(&mut self.link).unwrap();
    }

    fn last(&mut self, stats: Stats, findings: Vec<Finding>) {
        self.last_of(stats, findings, Vec::new());
    }

    fn last_of(&mut self, stats: Stats, findings: Vec<Finding>, delivered: Vec<Option<Delivered>>) {
        if !self.ended {
            self.shutdown(if self.terminated.load(Ordering::SeqCst) { "host-signal" } else { "guest-shutdown" });
        }
        self.say(Message::Final {
            delivered,
            consequences: Vec::new(),
            stats,
            findings,
            chains: chains(),
            ledger: Vec::new(),
            ledger_callers: Vec::new(),
            limits: vec!["Instruction fetches are not judged.".into()],
        });
    }

    fn fail(&mut self, kind: FailureKind, reason: &str) {
        self.say(Message::Failure { kind, reason: reason.into() });
    }
}

fn print(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).unwrap();
    stdout.flush().unwrap();
}

fn mode(directory: &Path) -> u32 {
    directory.metadata().unwrap().permissions().mode() & 0o777
}
