//! A user at a terminal, which is a pseudo-terminal here.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};

use crate::runner::Place;
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    keys_reach_the_guest_at_once_and_the_terminal_is_restored,
    the_terminal_is_restored_when_the_command_cannot_be_started,
    reports_are_coloured_on_a_terminal_unless_no_color_is_set,
];

/// Both ends of a terminal: the user's and the program's.
fn terminal() -> (File, File) {
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let program = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty()).unwrap();
    (user.into(), program.into())
}

/// What appears on the screen up to and including this text.
fn read_until(user: &mut File, text: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).ends_with(text) {
        let mut byte = [0];
        user.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    String::from_utf8(seen).unwrap()
}

fn keys_reach_the_guest_at_once_and_the_terminal_is_restored() {
    let place = Place::new();
    let (mut user, program) = terminal();
    let before = tcgetattr(&program).unwrap();
    assert!(before.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON));
    let end = || Stdio::from(program.try_clone().unwrap());
    let steps = ["hello", "print=ready\n", "echo-key", "echo-key", "echo-key", "final"];
    let mut command = place.check_command(&["-o", "report"], &steps);
    let mut check = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    read_until(&mut user, "ready\r\n");
    let during = tcgetattr(&program).unwrap();
    assert!(during.local_modes.contains(LocalModes::ISIG), "Ctrl-C is ours");
    assert_eq!(during.special_codes[SpecialCodeIndex::VINTR], 3);
    // Ctrl-Z, return and a letter without a newline.
    for (key, shows) in [("\x1a", "key 1a\r\n"), ("\r", "key 0d\r\n"), ("x", "key 78\r\n")] {
        user.write_all(key.as_bytes()).unwrap();
        let seen = read_until(&mut user, shows);
        assert!(seen.len() == shows.len() || seen.contains("congruent: "), "keys are not echoed: {seen:?}");
    }
    assert_eq!(check.wait().unwrap().code(), Some(0));
    let after = tcgetattr(&program).unwrap();
    assert_eq!((after.local_modes, after.input_modes), (before.local_modes, before.input_modes));
    assert_eq!(after.special_codes[SpecialCodeIndex::VSUSP], before.special_codes[SpecialCodeIndex::VSUSP]);
}

fn the_terminal_is_restored_when_the_command_cannot_be_started() {
    let place = Place::new();
    let (_user, program) = terminal();
    let before = tcgetattr(&program).unwrap();
    let mut command = place.command(&["check", "--dcache", "p5600", "--", "no-such-qemu"]);
    let output = command.stdin(program.try_clone().unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(tcgetattr(&program).unwrap().local_modes, before.local_modes);
}

fn reports_are_coloured_on_a_terminal_unless_no_color_is_set() {
    for (no_color, first) in [(None, "\x1b[1m\x1b[32mclean: "), (Some("1"), "clean: ")] {
        let place = Place::new();
        let (mut user, program) = terminal();
        let mut command = place.check_command(&[], &["hello", "final"]);
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        let mut check = command.env("TERM", "xterm").stdout(program.try_clone().unwrap()).spawn().unwrap();
        assert_eq!(read_until(&mut user, "clean: "), first);
        assert_eq!(check.wait().unwrap().code(), Some(0));
    }
}
