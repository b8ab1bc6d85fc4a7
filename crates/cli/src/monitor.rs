//! QEMU's own account of a run: a machine monitor (QMP) that is added to the command, as the plugin is.
//!
//! It is added by a file of QEMU's configuration (`-readconfig`): the options `-qmp` and `-mon` would take away the monitor that
//! `-nographic` puts behind Ctrl-A. It is one of its own beside those that the command asks for. Guarantees:
//! what QEMU said before it ended is heard. Not here: what it means for the run (`ending`).
//!
//! Sources: QEMU's `qmp-spec.rst` and `qapi/run-state.json` (10.0 to 11.1).

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::emulated::DeclaredCache;
use crate::session::Event;

/// The name of monitor and channel in QEMU. No other part of a command is likely to have it.
const NAME: &str = "congruent-monitor";

/// The number of the question what the registers hold, whose answer says what core it is.
const REGISTERS: &str = "registers";

/// Something that QEMU says of the guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// QEMU speaks.
    Heard,
    /// The guest has ended.
    Ended(Cause),
    /// The machine was reset.
    Reset,
    /// The guest stands still.
    Paused,
    /// The guest runs on.
    Resumed,
    /// What the core says of its data cache.
    Cache(DeclaredCache),
}

/// Why QEMU ended the guest (`ShutdownCause` of `qapi/run-state.json`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    /// An error in QEMU.
    HostError,
    /// `quit` in a monitor, or Ctrl-A x.
    HostQmpQuit,
    /// `system_reset` in a monitor.
    HostQmpSystemReset,
    /// A signal to QEMU, such as SIGTERM.
    HostSignal,
    /// QEMU's window was closed.
    HostUi,
    /// The guest switched itself off.
    GuestShutdown,
    /// The guest reset the machine.
    GuestReset,
    /// The guest panicked, and said so to a device.
    GuestPanic,
    /// Something else, by QEMU's name of it.
    Other(String),
}

impl Cause {
    /// By QEMU's name of it.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "host-error" => Self::HostError,
            "host-qmp-quit" => Self::HostQmpQuit,
            "host-qmp-system-reset" => Self::HostQmpSystemReset,
            "host-signal" => Self::HostSignal,
            "host-ui" => Self::HostUi,
            "guest-shutdown" => Self::GuestShutdown,
            "guest-reset" => Self::GuestReset,
            "guest-panic" => Self::GuestPanic,
            other => Self::Other(other.to_owned()),
        }
    }

    /// What happened.
    pub(crate) fn sentence(&self) -> String {
        let sentence = match self {
            Self::HostError => "an error in QEMU ended the guest",
            Self::HostQmpQuit => "the guest was cut short by `quit` in QEMU's monitor (or Ctrl-A x)",
            Self::HostQmpSystemReset => "the guest was cut short by `system_reset` in QEMU's monitor",
            Self::HostSignal => "the guest was cut short by a signal to QEMU",
            Self::HostUi => "the guest was cut short by closing QEMU's window",
            Self::GuestShutdown => "the guest shut down",
            Self::GuestReset => "the guest reset the machine",
            Self::GuestPanic => "the guest panicked",
            Self::Other(name) => return format!("QEMU ended the guest ({name})"),
        };
        sentence.to_owned()
    }
}

impl Notice {
    /// What a line from QEMU says, if it is of interest.
    fn of(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        if message.get("QMP").is_some() {
            return Some(Self::Heard);
        }
        if message.get("id").is_some_and(|id| id == REGISTERS) {
            return DeclaredCache::of_registers(message.get("return")?.as_str()?).map(Self::Cache);
        }
        match message.get("event")?.as_str()? {
            "SHUTDOWN" => Some(Self::Ended(Cause::of(message.pointer("/data/reason").and_then(Value::as_str).unwrap_or("?")))),
            "RESET" => Some(Self::Reset),
            "STOP" => Some(Self::Paused),
            "RESUME" => Some(Self::Resumed),
            _ => None,
        }
    }
}

/// The file in the session's directory that is written once QEMU is heard ([`congruent_wire::Config::gate`]).
pub(crate) fn gate(directory: &Path) -> PathBuf {
    directory.join("monitor.heard")
}

/// The monitor: a socket that QEMU connects to, and the file that makes it do so.
pub(crate) struct Monitor {
    socket: PathBuf,
    config: PathBuf,
    /// QEMU's end, once it has connected.
    qemu: Arc<Mutex<Option<UnixStream>>>,
    closing: Arc<AtomicBool>,
}

impl Monitor {
    /// Listens in this directory. What QEMU says arrives as [`Event::Monitor`], and once [`Event::MonitorGone`].
    ///
    /// # Errors
    /// One line, if that is not possible in this directory.
    pub(crate) fn open(directory: &Path, events: Sender<Event>) -> anyhow::Result<Self> {
        let (socket, config) = (directory.join("monitor"), directory.join("monitor.conf"));
        let path = socket.to_str().filter(|path| !path.contains(['"', '\n']));
        ensure!(
            path.is_some(),
            "the path of the temporary directory `{}` cannot be said to QEMU; set TMPDIR to one without quotes",
            directory.display()
        );
        let content = format!(
            "[chardev \"{NAME}\"]\nbackend = \"socket\"\npath = \"{}\"\n\n[mon \"{NAME}\"]\nmode = \"control\"\nchardev = \"{NAME}\"\n",
            path.unwrap_or_default()
        );
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot listen on `{}`", socket.display()))?;
        fs::write(&config, content).with_context(|| format!("cannot write `{}`", config.display()))?;
        let monitor = Self { socket, config, qemu: Arc::default(), closing: Arc::default() };
        let (qemu, closing, gate) = (monitor.qemu.clone(), monitor.closing.clone(), gate(directory));
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if closing.load(Ordering::SeqCst) {
                    break;
                }
                // What cannot be read is as good as what was not said.
                let _ = listen(stream, &qemu, &gate, &events);
            }
            // Nobody waits for this if the session is over already.
            let _ = events.send(Event::MonitorGone);
        });
        Ok(monitor)
    }

    /// The two words that make QEMU connect.
    pub(crate) fn option(&self) -> [OsString; 2] {
        ["-readconfig".into(), self.config.clone().into()]
    }

    /// Has QEMU end the run at the next reset of the machine, before the guest starts anew.
    pub(crate) fn end_at_reset(&self) {
        self.send(r#"{"execute":"set-action","arguments":{"reboot":"shutdown"}}"#);
    }

    /// Has QEMU listen for a debugger at this socket. Where it does already it goes on.
    pub(crate) fn listen_for_debugger(&self, socket: &Path) {
        // The path is ours and was found fit for QEMU when the monitor was opened; a comma would end it.
        let path = socket.display().to_string().replace(',', ",,");
        self.send(&format!(
            r#"{{"execute":"human-monitor-command","arguments":{{"command-line":"gdbserver unix:{path},server=on,wait=off"}}}}"#
        ));
    }

    fn send(&self, command: &str) {
        if let Some(qemu) = &mut *self.qemu.lock().unwrap_or_else(PoisonError::into_inner) {
            // A QEMU that has gone is told nothing.
            let _ = qemu.write_all(format!("{command}\n").as_bytes());
        }
    }

    /// Says that no further QEMU will connect: [`Event::MonitorGone`] follows as soon as all that was said has been read.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        // An empty connection queues up behind QEMU's. If it cannot be made, nobody listens.
        let _ = UnixStream::connect(&self.socket);
    }
}

/// Listens to one QEMU until it has gone.
fn listen(mut stream: UnixStream, qemu: &Mutex<Option<UnixStream>>, gate: &Path, events: &Sender<Event>) -> std::io::Result<()> {
    // Events are sent only after this.
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    let question = format!(
        "{{\"execute\":\"human-monitor-command\",\"id\":\"{REGISTERS}\",\"arguments\":{{\"command-line\":\"info registers\"}}}}\n"
    );
    stream.write_all(question.as_bytes())?;
    *qemu.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.try_clone()?);
    for line in BufReader::new(stream).lines() {
        let line = line?;
        // The answer to the first command: from here on QEMU says what happens.
        if line.starts_with("{\"return\"") && !gate.exists() {
            fs::write(gate, "")?;
        }
        if let Some(notice) = Notice::of(&line)
            && events.send(Event::Monitor(notice)).is_err()
        {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_qemu_says_is_understood() {
        let greeting = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}"#;
        let ended = |reason: &str| {
            let line = format!(
                r#"{{"timestamp": {{"seconds": 1}}, "event": "SHUTDOWN", "data": {{"guest": false, "reason": "{reason}"}}}}"#
            );
            Notice::of(&line)
        };
        assert_eq!(Notice::of(greeting), Some(Notice::Heard));
        assert_eq!(Notice::of(r#"{"return": {}}"#), None);
        let registers = r#"{"return": "pc=0xbfc00000\r\n Config1 0x9e190c8f LLAddr\r\n", "id": "registers"}"#;
        assert_eq!(Notice::of(registers), DeclaredCache::of_registers("Config1 0x9e190c8f").map(Notice::Cache));
        assert_eq!(Notice::of(r#"{"return": "R00=00000000", "id": "registers"}"#), None);
        assert_eq!(Notice::of("no JSON"), None);
        assert_eq!(Notice::of(r#"{"event": "RTC_CHANGE", "data": {}}"#), None);
        assert_eq!(Notice::of(r#"{"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}"#), Some(Notice::Reset));
        assert_eq!(Notice::of(r#"{"event": "STOP"}"#), Some(Notice::Paused));
        assert_eq!(Notice::of(r#"{"event": "RESUME"}"#), Some(Notice::Resumed));
        assert_eq!(ended("host-qmp-quit"), Some(Notice::Ended(Cause::HostQmpQuit)));
        assert_eq!(ended("guest-shutdown"), Some(Notice::Ended(Cause::GuestShutdown)));
        assert_eq!(ended("of-the-future"), Some(Notice::Ended(Cause::Other("of-the-future".to_owned()))));
    }
}
