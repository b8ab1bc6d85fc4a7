//! The line to the program `congruent`.

use std::io::{BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use congruent_wire::{Config, FailureKind, Message};

/// The plugin's end of the socket. Once the other side is gone, messages are dropped: the guest must not suffer.
pub struct Channel {
    stream: Option<BufWriter<UnixStream>>,
}

impl Channel {
    /// Connects to the program.
    ///
    /// # Errors
    /// A sentence that says what failed.
    pub fn connect(config: &Config) -> Result<Self, String> {
        let stream = UnixStream::connect(&config.socket)
            .map_err(|error| format!("cannot connect to {}: {error}", config.socket.display()))?;
        Ok(Self { stream: Some(BufWriter::new(stream)) })
    }

    /// The same line once more, for who has no session.
    pub fn again(&self) -> Option<Self> {
        let stream = self.stream.as_ref()?.get_ref().try_clone().ok()?;
        Some(Self { stream: Some(BufWriter::new(stream)) })
    }

    /// Sends one message at once.
    pub fn send(&mut self, message: &Message) {
        if let Some(stream) = &mut self.stream
            && message.write(&mut *stream).and_then(|()| stream.flush()).is_err()
        {
            self.stream = None;
        }
    }

    /// Says why judging cannot go on.
    pub fn fail(&mut self, kind: FailureKind, reason: String) {
        self.send(&Message::Failure { kind, reason });
    }
}

/// Reads the configuration that the program left in a file.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn read_config(path: &Path) -> Result<Config, String> {
    let text = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let config: Config =
        serde_json::from_slice(&text).map_err(|error| format!("{} is not a configuration: {error}", path.display()))?;
    if config.protocol != congruent_wire::PROTOCOL {
        return Err(format!(
            "the program speaks protocol {}, this plugin {}: use the plugin that was built with the program",
            config.protocol,
            congruent_wire::PROTOCOL
        ));
    }
    Ok(config)
}
