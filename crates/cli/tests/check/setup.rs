//! What can be wrong before a guest starts: one line, exit status 2, and the guest was not started.

use std::os::unix::fs::PermissionsExt;

use crate::runner::{Place, Ran};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    wrong_options_are_named_with_the_remedy,
    a_report_that_cannot_be_written_is_noticed_before_the_guest_starts,
    symbol_files_without_symbols_are_refused,
    the_plugin_is_looked_for_where_it_should_be,
    a_command_that_cannot_be_started_is_named,
    muted_names_reach_the_plugin_as_addresses,
    what_a_cache_does_beside_its_shape_reaches_plugin_and_report,
    the_private_directory_is_private,
    a_temporary_directory_with_a_comma_is_no_trap,
    a_temporary_directory_too_deep_for_sockets_is_named,
    help_and_version_are_no_errors,
    a_core_that_the_command_names_says_which_cache,
    classes_completions_and_manual_pages_are_there,
];

fn wrong_options_are_named_with_the_remedy() {
    let place = Place::new();
    let qemu = ["--", "no-such-qemu"];
    for (words, says) in [
        (&["check"][..], "no cache given; add --dcache SIZE,WAYS,LINE such as 32K,4,32, or one of p5600"),
        (&["check", "--dcache", "z80"], "--dcache z80: expected SIZE,WAYS,LINE"),
        (&["check", "--dcache", "48K,4,32"], "cache size must be a power of two"),
        (&["check", "--dcache", "p5600"], "write it after `--`"),
        (
            &["check", "--dcache", "p5600", "--speculative", "--", "x"],
            "judged for data caches without aliases, and this one has 2 colours; give it ways no larger than a page",
        ),
        (&["check", "--dcache", "arm926", "--speculative", "--", "x"], "judged without speculative fills"),
        (
            &["check", "--dcache", "16K,4,32", "--speculative", "--inject", "1", "--", "x"],
            "--inject: which old bytes would be seen is known of",
        ),
        (&["check", "--dcache", "arm926", "--ledger", "--", "x"], "--ledger: there is no ledger of caches with virtual tags"),
        (
            &["check", "--dcache", "arm926", "--record", "r", "--", "x"],
            "recordings leave out what only virtual tags make a hazard",
        ),
        (&["check", "--dcache", "p5600", "--until", "(", "--", "x"], "--until: `(` is not a regular expression: unclosed group"),
        (&["check", "--dcache", "p5600", "--until", "", "--", "x"], "an empty expression"),
        (&["check", "--dcache", "p5600", "--until", "x*", "--", "x"], "`x*` matches nothing at all"),
        (&["check", "--dcache", "p5600", "--until", "$", "--", "x"], "`$` matches nothing at all"),
        (
            &["check", "--dcache", "p5600", "--format", "text", "-o", "a", "--format", "json", "-o", "./a", "--", "x"],
            "`a` and `./a` are the same file, and two reports would go to it",
        ),
        (&["check", "--dcache", "p5600", "-o", "a", "--record", "tmp/../a", "--", "x"], "--record and -o name the same file"),
        (&["check", "--dcache", "p5600", "--mute", "memcpy", "--", "x"], "add --symbols"),
        (&["check", "--dcache", "p5600", "--mute", "0x80-0x40", "--", "x"], "the range `0x80-0x40` is empty"),
        (&["check", "--dcache", "p5600", "--mute", "0xq", "--", "x"], "`0xq` is neither an address"),
        (
            &["check", "--dcache", "p5600", "--symbols", "kallsyms", "--mute", "copy_user_hihgpage", "--", "x"],
            "no function is called `copy_user_hihgpage`; did you mean `copy_user_highpage`?",
        ),
        (&["check", "--dcache", "p5600", "--symbols", "vmlinux", "--", "x"], "cannot read the symbol file `vmlinux`"),
        (&["check", "--dcach", "p5600"], "'--dcach'"),
        (&[], "no command given"),
    ] {
        Ran::of(place.command(words).output().unwrap()).assert_cannot(says);
    }
    let words = [&["check", "--dcache", "p5600"][..], &qemu].concat();
    Ran::of(place.command(&words).output().unwrap()).assert_cannot("cannot start `no-such-qemu`");
}

fn a_report_that_cannot_be_written_is_noticed_before_the_guest_starts() {
    let place = Place::new();
    for file in ["no/such/directory/report", "tmp"] {
        let ran = place.check(&["-o", file], &["touch=started", "hello", "final"]);
        ran.assert_cannot(&format!("cannot write the report to `{file}`"));
        assert!(!place.path("started").exists());
    }
}

fn symbol_files_without_symbols_are_refused() {
    let place = Place::new();
    for (content, says) in [
        ("", "it is empty"),
        ("ffffffffffffffff B The real System.map is in the linux-image-6.1.0-dbg package\n", "a placeholder"),
        ("00000000 T _text\n00000000 T memcpy\n", "kernel.kptr_restrict=0"),
        ("80100000 T memcpy\nhello, world\n", "line 2 is not `ADDRESS TYPE NAME`"),
        ("80100000 D data\n", "names no functions"),
        ("MZ\0\0", "neither ELF nor a symbol list"),
    ] {
        place.write("symbols", content);
        let ran = place.check(&["--symbols", "symbols"], &["hello", "final"]);
        ran.assert_cannot("`symbols` gives no symbols: ");
        ran.assert_cannot(says);
    }
}

fn the_plugin_is_looked_for_where_it_should_be() {
    let place = Place::new();
    let ran = place.check(&["--plugin", "nowhere.so"], &["hello", "final"]);
    ran.assert_cannot("no QEMU plugin at `nowhere.so`, which --plugin names");
    let mut command = place.check_command(&[], &["hello", "final"]);
    let ran = Ran::of(command.env("CONGRUENT_PLUGIN", "gone.so").output().unwrap());
    ran.assert_cannot("no QEMU plugin at `gone.so`, which CONGRUENT_PLUGIN names");
    // A copy of the program elsewhere: first alone, then with a plugin beside it.
    std::fs::create_dir(place.path("bin")).unwrap();
    place.install(env!("CARGO_BIN_EXE_congruent").as_ref(), "bin/congruent");
    let copy = || {
        let mut command = std::process::Command::new(place.path("bin/congruent"));
        command.args(["check", "--dcache", "p5600", "--"]).arg(std::env::current_exe().unwrap());
        command.args([crate::FAKE_QEMU, "hello", "final"]).env_remove("CONGRUENT_PLUGIN");
        Ran::of(command.output().unwrap())
    };
    copy().assert_cannot("build it with `cargo build -p congruent-qemu`, or give --plugin FILE");
    place.write("bin/libcongruent_qemu.so", "");
    assert_eq!(copy().status, 0);
}

fn a_command_that_cannot_be_started_is_named() {
    let place = Place::new();
    place.write("text", "hello");
    for (program, says) in [("no-such-qemu", "install it, or give its path"), ("./text", "not an executable file")] {
        let ran = Ran::of(place.command(&["check", "--dcache", "p5600", "--", program]).output().unwrap());
        ran.assert_cannot(says);
    }
    std::fs::set_permissions(place.path("text"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = Ran::of(place.command(&["check", "--dcache", "p5600", "--", "./text"]).output().unwrap());
    ran.assert_cannot("cannot start `./text`");
    assert!(place.is_tidy());
}

fn muted_names_reach_the_plugin_as_addresses() {
    let options = ["-o", "report", "--symbols", "kallsyms", "--mute", "copy_user_highpage", "--mute", "0x80000180"];
    let place = Place::new();
    let ran = place.check(&options, &["hello", "print-config", "final"]);
    let ranges = format!(
        "mute: [MuteRange {{ start: {}, end: {} }}, MuteRange {{ start: {}, end: {} }}]",
        0x8010_0000u32, 0x8010_0200u32, 0x8000_0180u32, 0x8000_0184u32
    );
    assert!(ran.stdout.contains(&ranges), "{ran:?}");
    let report = place.read("report");
    assert!(report.contains("muted       copy_user_highpage, 0x80000180 (0 operations made to do nothing)"), "{report}");
}

fn what_a_cache_does_beside_its_shape_reaches_plugin_and_report() {
    for (options, plugin, report) in [
        (&[][..], "write_through: false, write_allocate: true, speculative: false, virtual_tags: false", "2 colours\n"),
        (
            &["--write-through", "--no-write-allocate"],
            "write_through: true, write_allocate: false, speculative: false, virtual_tags: false",
            "2 colours, written through, filled by loads only\n",
        ),
        (
            &["--virtual-tags"],
            "write_through: false, write_allocate: true, speculative: false, virtual_tags: true",
            "4 KiB pages: virtual tags\n",
        ),
    ] {
        let place = Place::new();
        let ran = place.check(&[&["-o", "report"], options].concat(), &["hello", "print-config", "final"]);
        assert!(ran.stdout.contains(plugin), "{options:?}: {ran:?}");
        let text = place.read("report");
        assert!(text.contains(report), "{options:?}: {text}");
    }
}

fn the_private_directory_is_private() {
    let ran = Place::new().check(&["-o", "report"], &["hello", "print-mode-of-directory", "final"]);
    assert_eq!(ran.stdout, "700");
}

fn a_temporary_directory_with_a_comma_is_no_trap() {
    let place = Place::new();
    std::fs::create_dir(place.path("a,b")).unwrap();
    let ran = Ran::of(place.check_command(&[], &["hello", "final"]).env("TMPDIR", place.path("a,b")).output().unwrap());
    assert_eq!(ran.status, 0, "{ran:?}");
}

fn a_temporary_directory_too_deep_for_sockets_is_named() {
    let place = Place::new();
    let deep = place.path(&"deep".repeat(30));
    std::fs::create_dir(&deep).unwrap();
    let ran = Ran::of(place.check_command(&[], &["hello", "final"]).env("TMPDIR", deep).output().unwrap());
    ran.assert_cannot("set TMPDIR to a shorter one");
}

fn a_core_that_the_command_names_says_which_cache() {
    let place = Place::new();
    let fake = std::env::current_exe().unwrap();
    let run = |steps: &[&str]| {
        let mut command = place.command(&["check", "--format", "text", "--format", "json", "-o", "a.json", "--"]);
        Ran::of(command.arg(&fake).arg(crate::FAKE_QEMU).args(steps).output().unwrap())
    };
    let ran = run(&["hello", "status", "final", "-cpu", "P5600"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("note        --dcache was not given; the cache is that of `-cpu P5600` (p5600)"), "{ran:?}");
    assert_eq!(place.json("a.json")["geometry"]["size"], 32768);
    let ran = run(&["hello", "status", "final", "-cpu", "24Kf"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("no cache given") && ran.stderr.lines().count() == 1, "{ran:?}");
    // What is given is what counts.
    let ran = place.check(&[], &["hello", "status", "final", "-cpu", "arm926"]);
    assert!(ran.status == 0 && !ran.stdout.contains("was not given"), "{ran:?}");
}

fn classes_completions_and_manual_pages_are_there() {
    let place = Place::new();
    let run = |words: &[&str]| Ran::of(place.command(words).output().unwrap());
    let page = run(&["explain", "read-lost"]);
    assert!(page.status == 0 && page.stdout.starts_with("read-lost\n\n"), "{page:?}");
    assert!(run(&["explain"]).stdout.contains("\nwrite-homonym\n"));
    let wrong = run(&["explain", "read-losd"]);
    assert!(wrong.status == 2 && wrong.stderr.contains("there is no class `read-losd`; there are: "), "{wrong:?}");
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert!(ran.status == 0 && ran.stdout.contains("stop-at"), "{shell}");
    }
    std::fs::create_dir(place.path("man")).unwrap();
    assert_eq!(run(&["man", "man"]).status, 0);
    assert!(place.read("man/congruent-check.1").contains(".TH") && place.read("man/congruent.1").contains("simulate"));
    let nowhere = run(&["man", "nowhere"]);
    assert!(nowhere.status == 2 && nowhere.stderr.contains("nowhere") && nowhere.stderr.lines().count() == 1, "{nowhere:?}");
}

fn help_and_version_are_no_errors() {
    for (words, says) in [(&["--version"][..], "congruent 0."), (&["check", "--help"], "--dcache"), (&["--help"], "doctor")] {
        let ran = Ran::of(Place::new().command(words).output().unwrap());
        assert_eq!(ran.status, 0);
        assert!(ran.stdout.contains(says), "{ran:?}");
    }
}
