//! What happens before the plugin has anything called: the program is reached, QEMU is looked at, the session is made.
//!
//! Guarantees: whatever is refused is said once, by the program if it can be reached, because it decides the exit status.

use std::path::Path;

use congruent_arch::Arch;
use congruent_wire::{Config, FailureKind, Message, PROTOCOL};

use crate::api::{Api, Info, OLDEST_API};
use crate::callbacks::Callbacks;
use crate::channel::{Channel, read_config};
use crate::session::Session;

/// Why the plugin does not install.
pub enum Refused {
    /// The program knows, and says it.
    Told,
    /// Nobody else can say it.
    Unheard(String),
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Unheard(reason)
    }
}

/// A session that tells the program, and a second line to it.
///
/// # Errors
/// [`Refused`] if there can be no check.
pub fn prepare(info: &Info, arguments: &[String], callbacks: &'static Callbacks) -> Result<(Session, Option<Channel>), Refused> {
    let config = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("config="))
        .ok_or_else(|| String::from("the plugin is started by `congruent check`; it needs config=FILE"))?;
    let config = read_config(Path::new(config))?;
    let mut channel = Channel::connect(&config)?;
    let bound = Api::bind(info.api());
    let follows_resets = bound.as_ref().is_ok_and(Api::knows_resets);
    // From here on the program is told as well.
    let target = info.target();
    let started = match Arch::of_qemu(&target) {
        Some(target) => {
            channel.send(&Message::Hello { protocol: PROTOCOL, target, qemu_api: info.api(), follows_resets });
            start(info, bound, callbacks, target, config)
        }
        None => Err(format!("guests of architecture {target} are not supported; {} are", Arch::names())),
    };
    match started {
        Ok(mut session) => {
            let again = channel.again();
            session.attach(channel);
            Ok((session, again))
        }
        Err(reason) => {
            channel.fail(FailureKind::Environment, reason);
            Err(Refused::Told)
        }
    }
}

fn start(
    info: &Info,
    bound: Result<Api, &'static str>,
    callbacks: &'static Callbacks,
    arch: Arch,
    config: Config,
) -> Result<Session, String> {
    if info.api() < OLDEST_API {
        return Err(format!("this QEMU offers plugin API {}; install QEMU 10.0 or newer", info.api()));
    }
    let Some(cpus) = info.max_vcpus() else {
        return Err("this is user-mode emulation; use qemu-system-… and a kernel".into());
    };
    let api = bound.map_err(|missing| format!("this QEMU lacks {missing}; install QEMU 10.0 or newer, built with plugins"))?;
    // It is there as long as QEMU, whose functions it has.
    let api = Box::leak(Box::new(api));
    Session::new(api, callbacks, info.api(), arch, cpus.max(1) as u32, config)
}
