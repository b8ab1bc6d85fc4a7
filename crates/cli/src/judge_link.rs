//! The link to the plugin: a private directory with a socket and the plugin's configuration, and a thread that listens.
//!
//! Every run has a directory of its own, so runs do not meet. It is gone when the link is dropped.

use std::fs::{self, Permissions};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context as _, ensure};
use congruent_wire::{Config, Message};
use tempfile::TempDir;

use crate::session::Event;

/// The longest path that fits `sockaddr_un` (unix(7)), with its final zero.
const LONGEST_SOCKET_PATH: usize = 108;

/// The socket, its directory, and the configuration in it.
pub(crate) struct JudgeLink {
    directory: TempDir,
    socket: PathBuf,
    config: PathBuf,
    memory: PathBuf,
}

impl JudgeLink {
    /// Makes the directory and starts to listen. `config_of` says what the plugin is told, given the socket to use and the file for the
    /// guest's memory. Messages arrive as [`Event::Judge`], and once [`Event::JudgeGone`].
    pub(crate) fn open(config_of: impl FnOnce(PathBuf, PathBuf) -> Config, events: Sender<Event>) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("congruent-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("cannot make a temporary directory; set TMPDIR to one you may write to")?;
        let socket = directory.path().join("judge");
        ensure!(
            socket.as_os_str().len() < LONGEST_SOCKET_PATH,
            "the path of the temporary directory is too long for a socket: `{}`; set TMPDIR to a shorter one",
            directory.path().display()
        );
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot listen on `{}`", socket.display()))?;
        let config = directory.path().join("config.json");
        let memory = directory.path().join("memory");
        let content = config_of(socket.clone(), memory.clone());
        let content = serde_json::to_vec(&content).context("cannot put the plugin's configuration into words")?;
        fs::write(&config, content).with_context(|| format!("cannot write `{}`", config.display()))?;
        thread::spawn(move || listen(&listener, &events));
        Ok(Self { directory, socket, config, memory })
    }

    /// The private directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file that the plugin is to read.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The file that the plugin copies the guest's memory to.
    pub(crate) fn memory_file(&self) -> &Path {
        &self.memory
    }

    /// The guest's memory as the plugin copied it, if it did.
    pub(crate) fn memory(&self) -> Option<Vec<u8>> {
        fs::read(&self.memory).ok()
    }

    /// Says that no further plugin will connect: [`Event::JudgeGone`] follows as soon as all that was sent has been read.
    pub(crate) fn close(&self) {
        // An empty connection queues up behind the plugin's, and `listen` stops there. If it cannot be made, nobody listens.
        let _ = UnixStream::connect(&self.socket);
    }
}

fn listen(listener: &UnixListener, events: &Sender<Event>) {
    while let Ok((stream, _)) = listener.accept() {
        let mut stream = BufReader::new(stream);
        let mut count = 0;
        loop {
            let event = match Message::read(&mut stream) {
                Ok(Some(message)) => Event::Judge(Box::new(message)),
                Ok(None) => break,
                Err(error) => Event::JudgeUnclear(error.to_string()),
            };
            count += 1;
            let unclear = matches!(event, Event::JudgeUnclear(_));
            if events.send(event).is_err() || unclear {
                break;
            }
        }
        if count == 0 {
            break;
        }
    }
    // Nobody waits for this if the session is over already.
    let _ = events.send(Event::JudgeGone);
}
