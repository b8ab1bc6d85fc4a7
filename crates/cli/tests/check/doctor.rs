//! `congruent doctor` among QEMUs of several kinds, which are shell scripts here.

use crate::runner::{Place, Ran};
use crate::{Test, tests};

pub const TESTS: &[Test] =
    tests![doctor_says_what_works_and_what_to_do_about_the_rest, doctor_fails_where_no_guest_can_be_checked];

/// Puts a QEMU that says this version into the directory `bin`, with or without plugins.
fn install(place: &Place, program: &str, version: &str, plugins: bool) {
    let complaint = if plugins { "Could not load plugin $4" } else { "plugin interface not enabled in this build" };
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'QEMU emulator version {version} (Debian 1)'; exit 0; fi\n\
         for word; do last=$word; done\nset -- 1 2 3 \"${{last#file=}}\"\necho \"{complaint}\" >&2; exit 1\n"
    );
    place.write("script", &script);
    place.install(&place.path("script"), &format!("bin/{program}"));
}

fn doctor(place: &Place) -> Ran {
    // The scripts need a shell, which is named by its path, and nothing else.
    Ran::of(place.command(&["doctor"]).env("PATH", place.path("bin")).output().unwrap())
}

fn doctor_says_what_works_and_what_to_do_about_the_rest() {
    let place = Place::new();
    std::fs::create_dir(place.path("bin")).unwrap();
    install(&place, "qemu-system-mips", "10.0.2", true);
    install(&place, "qemu-system-mipsel", "7.2.11", true);
    let ran = doctor(&place);
    assert_eq!(ran.status, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 7, "{ran:?}");
    for (line, starts, says) in [
        (0, "ok  qemu-system-mips ", "10.0.2 at "),
        (1, "no  qemu-system-mipsel ", "7.2.11 is too old; install 10.0 or newer"),
        (2, "no  qemu-system-arm ", "not on PATH; install it"),
        (3, "no  qemu-system-sh4 ", "apt install qemu-system-misc"),
        (4, "no  qemu-system-hppa ", "apt install qemu-system-misc"),
        (5, "ok  plugin ", "libcongruent_qemu.so"),
        (6, "ok  symbols ", "without other tools"),
    ] {
        assert!(lines[line].starts_with(starts) && lines[line].contains(says), "{starts:?} {says:?}: {ran:?}");
    }
}

fn doctor_fails_where_no_guest_can_be_checked() {
    let place = Place::new();
    std::fs::create_dir(place.path("bin")).unwrap();
    install(&place, "qemu-system-arm", "10.1.0", false);
    let ran = doctor(&place);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stdout.contains("10.1.0 was built without plugins"), "{ran:?}");

    install(&place, "qemu-system-arm", "10.1.0", true);
    let mut command = place.command(&["doctor"]);
    let ran = Ran::of(command.env("PATH", place.path("bin")).env("CONGRUENT_PLUGIN", "gone.so").output().unwrap());
    assert_eq!(ran.status, 2, "without the plugin nothing can be checked: {ran:?}");
    assert!(ran.stdout.contains("no  plugin"), "{ran:?}");
}
