//! The user's keys on their way to the guest.
//!
//! While a guest runs, a terminal passes every key on at once and shows none itself, as QEMU's own console does; only Ctrl-C stays
//! with us and stops the check. The terminal is as it was when [`Keyboard`] is dropped, also by a panic.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, Stdio};
use std::thread;

use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// The byte that switches a special key off (`_POSIX_VDISABLE` of Linux).
const DISABLED: u8 = 0;

/// A terminal in the mode for guests.
pub(crate) struct Keyboard {
    terminal: File,
    before: Termios,
}

/// Where the guest's input comes from.
pub(crate) enum Input {
    /// A terminal, whose keys we pass on.
    Keys(Keyboard),
    /// What we were given: QEMU reads it itself.
    Inherited,
    /// A terminal that belongs to another job: the guest gets no input.
    None,
}

impl Input {
    /// Takes standard input over if it is a terminal and ours to read.
    pub(crate) fn take() -> io::Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self::Inherited);
        }
        // A terminal that is not our controlling one (ENOTTY) has no foreground job to respect.
        if tcgetpgrp(&stdin).is_ok_and(|foreground| foreground != rustix::process::getpgrp()) {
            return Ok(Self::None);
        }
        let terminal = File::from(stdin.as_fd().try_clone_to_owned()?);
        let before = tcgetattr(&terminal)?;
        tcsetattr(&terminal, OptionalActions::Now, &for_guests(&before))?;
        Ok(Self::Keys(Keyboard { terminal, before }))
    }

    /// What QEMU gets as its standard input.
    pub(crate) fn stdio(&self) -> Stdio {
        match self {
            Self::Keys(_) => Stdio::piped(),
            Self::Inherited => Stdio::inherit(),
            Self::None => Stdio::null(),
        }
    }
}

/// The mode QEMU's own `stdio` console sets (chardev/char-stdio.c), except that Ctrl-C still means an interrupt.
fn for_guests(before: &Termios) -> Termios {
    let mut mode = before.clone();
    mode.input_modes.remove(
        InputModes::IGNBRK
            | InputModes::BRKINT
            | InputModes::PARMRK
            | InputModes::ISTRIP
            | InputModes::INLCR
            | InputModes::IGNCR
            | InputModes::ICRNL
            | InputModes::IXON,
    );
    mode.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::IEXTEN);
    mode.local_modes.insert(LocalModes::ISIG);
    for key in [SpecialCodeIndex::VQUIT, SpecialCodeIndex::VSUSP] {
        mode.special_codes[key] = DISABLED;
    }
    mode.special_codes[SpecialCodeIndex::VMIN] = 1;
    mode.special_codes[SpecialCodeIndex::VTIME] = 0;
    mode
}

impl Keyboard {
    /// Passes keys to the guest until it, or the terminal, is gone.
    pub(crate) fn feed(&self, mut guest: ChildStdin) -> io::Result<()> {
        let mut terminal = self.terminal.try_clone()?;
        thread::spawn(move || {
            let mut keys = [0; 256];
            while let Ok(count @ 1..) = terminal.read(&mut keys) {
                if guest.write_all(&keys[..count]).is_err() {
                    break;
                }
            }
        });
        Ok(())
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
