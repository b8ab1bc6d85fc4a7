//! `congruent replay` on recordings made here: verdicts, other judgings, unfinished and damaged files.

use std::fs;
use std::path::Path;
use std::process::Command;

use congruent_geometry::{Behaviour, CacheGeometry, PhysAddr, VirtAddr};
use congruent_trace::file::{ChainId, Footer, Header, Recorded, RunEnd, VERSION, Validity, Writer, append_end};
use congruent_trace::{AccessKind, Event, IndexForm, Maintenance, On, Operation, Site, Target};

const KERNEL: u64 = 0x8000_4000;
const USER: u64 = 0x0040_1000;
const FLUSH: u32 = 0x8010_0000;
const FLUSHES_CALLER: u32 = 0x8020_0000;

fn header() -> Header {
    Header {
        version: VERSION,
        target: "mipsel".into(),
        geometry: CacheGeometry::new(32 << 10, 4, 32).unwrap(),
        behaviour: Behaviour::USUAL,
        code: None,
        index: IndexForm::WayAboveSet,
        muted: Vec::new(),
        qemu_api: 4,
        valid: Validity::OF_FILTER,
    }
}

/// A kernel stores a word, writes it back, and a program loads it through another colour.
fn recorded(directory: &Path, end: Option<RunEnd>) -> std::path::PathBuf {
    let paddr = PhysAddr(0x4000);
    let access = |kind, vaddr, site| Event::Access { kind, vaddr: VirtAddr(vaddr), paddr, size: 4, site: Site(site) };
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    writer.event(0, None, &access(AccessKind::Store, KERNEL, 0x8030_0000)).unwrap();
    let chain = writer.chain(ChainId::NONE, Site(FLUSHES_CALLER));
    let target = Target::Bytes { vaddr: VirtAddr(KERNEL), paddr, bytes: 1 };
    let on = On::Data(Maintenance::WriteBackInvalidate);
    let operation = Operation { on, target, site: Site(FLUSH) };
    writer.operation(&Recorded { operation, chain, muted: false }).unwrap();
    writer.event(0, None, &access(AccessKind::Load, USER, 0x0040_0000)).unwrap();
    let limits = vec!["nothing of note".to_owned()];
    let mut file = writer
        .finish(Footer {
            accesses: 1234,
            uncached: 5,
            fetches: 0,
            shadow_bytes: Some(4321),
            events: 0,
            blocks: None,
            limits,
            programs: Vec::new(),
        })
        .unwrap();
    if let Some(end) = end {
        append_end(&mut file, &end).unwrap();
    }
    let path = directory.join("run.congruent");
    fs::write(&path, file).unwrap();
    path
}

/// A program stores instructions, is called from two places, and runs them; `fetches` if the instruction side is kept.
fn recorded_code(directory: &Path, fetches: bool) -> std::path::PathBuf {
    let code = CacheGeometry::new(32 << 10, 4, 32).unwrap();
    let header = Header { code: fetches.then_some(code), valid: Validity::of_run(Behaviour::USUAL, fetches), ..header() };
    let (vaddr, paddr) = (VirtAddr(USER), PhysAddr(0x4000));
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let main = writer.chain(ChainId::NONE, Site(0x0040_0100));
    let (writes, runs) = (writer.chain(main, Site(0x0040_0200)), writer.chain(main, Site(0x0040_0300)));
    let store = Event::Access { kind: AccessKind::Store, vaddr, paddr, size: 4, site: Site(0x0040_0010) };
    writer.event(0, Some(writes), &store).unwrap();
    if fetches {
        writer.event(0, Some(runs), &Event::Fetch { vaddr, paddr, size: 8, site: Site(USER as u32) }).unwrap();
    }
    let mut file = writer.finish(Footer { accesses: 10, fetches: 20, ..Footer::default() }).unwrap();
    append_end(&mut file, &finished().unwrap()).unwrap();
    let path = directory.join("code.congruent");
    fs::write(&path, file).unwrap();
    path
}

fn finished() -> Option<RunEnd> {
    Some(RunEnd::default())
}

/// The exit status, the JSON report if there is one, and what was said on standard error.
fn replay(path: &Path, options: &[&str]) -> (i32, serde_json::Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_congruent"))
        .arg("replay")
        .arg(path)
        .args(["--format", "json"])
        .args(options)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), report, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_recording_of_an_architecture_that_nobody_knows_is_refused_and_not_taken_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ppc.congruent");
    let writer = Writer::new(Vec::new(), &Header { target: "ppc".into(), ..header() }).unwrap();
    let mut file = writer.finish(Footer::default()).unwrap();
    append_end(&mut file, &finished().unwrap()).unwrap();
    fs::write(&path, file).unwrap();
    let (status, report, said) = replay(&path, &[]);
    assert_eq!((status, report), (2, serde_json::Value::Null));
    assert!(said.contains("architecture `ppc`, and this version knows mips, mipsel, arm, sh4 and hppa"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_replay_has_the_numbers_of_the_run_and_the_verdict_of_its_events() {
    let directory = tempfile::tempdir().unwrap();
    let (status, report, _) = replay(&recorded(directory.path(), finished()), &[]);
    assert_eq!((status, &report["verdict"]), (0, &"clean".into()));
    assert_eq!((&report["stats"]["accesses"], &report["stats"]["uncached"]), (&1234.into(), &5.into()));
    assert_eq!(report["stats"]["maintenance_ops"], 1);
    assert_eq!(report["stats"]["shadow_bytes"], 4321);
    let (_, otherwise, _) = replay(&recorded(directory.path(), finished()), &["--dcache", "16K,4,32"]);
    assert_ne!(otherwise["stats"]["shadow_bytes"], 4321);
    assert_eq!(report["limits"][0], "nothing of note");
}

#[test]
fn muting_what_issued_the_operation_or_called_it_shows_what_it_was_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), finished());
    for site in ["0x80100000", "0x80200000-0x80200010"] {
        let (status, report, _) = replay(&path, &["--mute", site]);
        assert_eq!((status, &report["findings"][0]["class"]), (1, &"read-dirty-elsewhere".into()), "{site}");
        assert_eq!(report["findings"][0]["maintenance_between"][0]["muted"], true);
        // On a cache without aliases it was for nothing.
        assert_eq!(replay(&path, &["--mute", site, "--dcache", "16K,4,32"]).0, 0);
    }
    assert_eq!(replay(&path, &["--mute", "0x80400000"]).0, 0);
}

#[test]
fn caches_that_the_recording_is_not_good_for_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (status, _, said) = replay(&recorded(directory.path(), finished()), &["--dcache", "32K,4,8"]);
    assert_eq!(status, 2);
    assert!(said.contains("lines of 16 to 128 bytes, not 8"), "{said}");
}

#[test]
fn fetches_are_judged_as_they_were_or_with_another_cache_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded_code(directory.path(), true);
    for options in [&[][..], &["--icache", "16K,4,64"]] {
        let (status, report, _) = replay(&path, options);
        assert_eq!((status, &report["findings"][0]["class"]), (1, &"fetch-dirty".into()), "{options:?}");
    }
    assert_eq!(replay(&path, &["--no-icache"]).0, 0);
    assert_eq!(replay(&path, &["--no-icache", "--ledger"]).0, 0);
    let (status, _, said) = replay(&path, &["--ledger"]);
    assert!(status == 2 && said.contains("add --no-icache") && said.lines().count() == 1, "{said}");
    // Lines shorter than the data cache's are not judged, whichever of the two was changed.
    for options in [["--icache", "16K,4,16"], ["--dcache", "32K,4,64"]] {
        let (status, _, said) = replay(&path, &options);
        assert!(status == 2 && said.contains("shorter than the data cache's") && said.lines().count() == 1, "{said}");
    }
    let (status, _, said) = replay(&recorded_code(directory.path(), false), &["--icache", "32K,4,32"]);
    assert!(status == 2 && said.contains("no instruction fetches; record with --icache") && said.lines().count() == 1, "{said}");
}

#[test]
fn findings_of_a_replay_name_the_callers_unless_they_are_not_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded_code(directory.path(), true);
    let callers = |report: &serde_json::Value, party: &str| {
        let callers = report["findings"][0][party]["chain"].as_array().cloned().unwrap_or_default();
        callers.iter().map(|caller| caller["pc"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (_, report, _) = replay(&path, &[]);
    assert_eq!(callers(&report, "consumer"), ["0x00400300", "0x00400100"]);
    assert_eq!(callers(&report, "producer"), ["0x00400200", "0x00400100"]);
    let (_, report, _) = replay(&path, &["--no-backtraces"]);
    assert!(callers(&report, "consumer").is_empty() && callers(&report, "producer").is_empty(), "{report}");
}

#[test]
fn other_behaviour_is_judged_where_the_recording_is_good_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), finished());
    assert_eq!(replay(&path, &["--write-through"]).0, 0);
    for (option, says) in [
        ("--no-write-allocate", "leaves out what matters to caches that do not allocate at stores"),
        ("--virtual-tags", "leave out what only virtual tags make a hazard"),
    ] {
        let (status, _, said) = replay(&path, &[option]);
        assert!(status == 2 && said.contains(says) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_run_that_did_not_finish_is_never_called_clean() {
    let directory = tempfile::tempdir().unwrap();
    let reason = RunEnd { incomplete_because: Some("the time limit of 5s ran out".into()), ..RunEnd::default() };
    for (end, says) in [(Some(reason), "time limit"), (None, "does not say how its run ended")] {
        let (status, report, _) = replay(&recorded(directory.path(), end), &[]);
        assert_eq!((status, &report["verdict"]), (3, &"incomplete".into()));
        assert!(report["incomplete_because"].as_str().unwrap().contains(says), "{report}");
    }
}

#[test]
fn a_damaged_recording_is_refused_with_the_byte_and_used_up_to_it_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), finished());
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [&changed[..], &whole[..whole.len() - 1]] {
        fs::write(&path, damaged).unwrap();
        let (status, _, said) = replay(&path, &[]);
        assert_eq!(status, 2);
        assert!(said.contains("at byte ") && said.contains("--up-to-damage") && said.lines().count() == 1, "{said}");
        let (status, report, _) = replay(&path, &["--up-to-damage"]);
        assert_eq!((status, &report["verdict"]), (3, &"incomplete".into()));
    }
}

#[test]
fn what_is_no_recording_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "hello").unwrap();
    let (status, _, said) = replay(&path, &[]);
    assert_eq!(status, 2);
    assert!(said.contains("it is no recording"), "{said}");
    assert_eq!(replay(&directory.path().join("absent"), &[]).0, 2);
}

#[test]
fn necessity_names_what_each_function_was_needed_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = recorded(directory.path(), finished());
    let necessity = |options: &[&str]| {
        let program = Command::new(env!("CARGO_BIN_EXE_congruent")).arg("necessity").arg(&path).args(options).output().unwrap();
        (program.status.code().unwrap(), String::from_utf8(program.stdout).unwrap())
    };
    let (status, said) = necessity(&[]);
    assert_eq!(status, 0);
    for function in ["0x80100000", "0x80200000"] {
        assert!(
            said.contains(&format!("necessary                    1 operations  {function}\n    without it: read-dirty")),
            "{said}"
        );
    }
    let (_, said) = necessity(&["--dcache", "16K,4,32", "--callers", "0"]);
    assert_eq!(said, "not shown necessary          1 operations  0x80100000\n");
}

/// What `recordings/README.md` says of the runs in the repository.
#[test]
fn the_recordings_of_the_repository_say_what_their_readme_says() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recordings");
    let map = |name: &str| ["--symbols".to_owned(), recordings.join(name).display().to_string()];
    let kernel = map("mips.map");
    let run = |name: &str, options: &[String]| {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        replay(&recordings.join(name), &options)
    };

    let (status, report, _) = run("mips-ordinary.congruent", &kernel);
    assert_eq!((status, &report["verdict"]), (0, &"clean".into()));

    let muted = [&kernel[..], &["--mute".to_owned(), "copy_user_highpage".to_owned()]].concat();
    let (status, report, _) = run("mips-ordinary.congruent", &muted);
    let consumers: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|finding| finding["consumer"]["symbol"].as_str()).collect();
    assert_eq!(status, 1);
    assert!(consumers.iter().any(|symbol| symbol.starts_with("copy_page")), "{consumers:?}");

    for (guest, times) in [("mips", 32768), ("arm", 49152)] {
        let maps = [map(&format!("{guest}.map")), map(&format!("{guest}-vm-writev.map"))].concat();
        let (status, report, _) = run(&format!("{guest}-vm-writev.congruent"), &maps);
        let findings = report["findings"].as_array().unwrap();
        assert_eq!((status, findings.len(), &findings[0]["count"]), (1, 1, &times.into()));
        let consumer = findings[0]["consumer"]["symbol"].as_str().unwrap();
        assert!(consumer.starts_with("child_reads_buffer"), "{consumer}");
        let callers = findings[0]["producer"]["chain"].as_array().unwrap();
        let calls =
            |caller: &serde_json::Value| caller["symbol"].as_str().is_some_and(|symbol| symbol.starts_with("process_vm_rw"));
        assert!(callers.iter().any(calls), "{callers:?}");
        // Names of programs were not kept yet when those of MIPS were made.
        let program = if guest == "arm" { "vm_writev".into() } else { serde_json::Value::Null };
        assert_eq!(findings[0]["consumer"]["program"], program);
    }

    let (status, report, _) = run("mips-code-forgotten.congruent", &kernel);
    let of_user = |finding: &&serde_json::Value| finding["consumer"]["mode"] == "user";
    let fetched = report["findings"].as_array().unwrap().iter().filter(of_user).map(|finding| &finding["count"]);
    assert_eq!((status, fetched.filter_map(serde_json::Value::as_u64).sum::<u64>()), (1, 128));
    // What it forgot is the instruction side's: the data side has nothing to do with it.
    assert_eq!(run("mips-code-forgotten.congruent", &["--no-icache".to_owned()]).0, 0);
}

#[test]
fn the_ledger_names_who_maintained_what_for_whom_and_is_there_only_if_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let recording = recorded(directory.path(), finished());
    let (_, without, _) = replay(&recording, &[]);
    assert_eq!(without.get("ledger"), None);
    let (status, report, _) = replay(&recording, &["--ledger", "--dcache", "p5600"]);
    assert_eq!((status, &report["ledger_cost_model"]), (0, &"p5600".into()));
    let entry = &report["ledger"][0];
    assert_eq!((&entry["function"], &entry["caller"]), (&"0x80100000".into(), &"0x80200000".into()));
    assert_eq!(["operations", "lines", "mattered", "wasted_cycles"].map(|field| entry[field].as_u64().unwrap()), [1, 1, 1, 0]);
    // What is muted is not booked.
    let (_, muted, _) = replay(&recording, &["--ledger", "--mute", "0x80100000"]);
    assert_eq!(muted["ledger"], serde_json::json!([]));
}

#[test]
fn necessity_tries_what_it_is_told_to_and_names_what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let recording = recorded(directory.path(), finished());
    let necessity = |only: &str| {
        let command =
            Command::new(env!("CARGO_BIN_EXE_congruent")).arg("necessity").arg(&recording).args(["--only", only]).output();
        let output = command.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    for only in ["0x80100000", "0x80200000", "0x80100000 from 0x80200000"] {
        let (status, said, _) = necessity(only);
        assert!(status == 0 && said.starts_with("necessary ") && said.lines().count() == 2, "{said}");
    }
    let (status, _, said) = necessity("no_such_function");
    assert!(status == 2 && said.contains("--only no_such_function") && said.lines().count() == 1, "{said}");
}
