//! The files of `workloads/`: each script is what the generator makes, and each log of a real program can be replayed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use congruent_vm::{Op, parse_script, write_script};
use congruent_workload::{Kind, Workload, translate};

fn file(name: &str) -> (PathBuf, String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../workloads").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

/// What `congruent simulate --workload KIND --scale SMALL --seed 1 --write-script FILE` writes.
fn script(kind: Kind) -> String {
    let steps: Vec<_> = Workload::new(kind, kind.small(), 1, 4096).collect();
    format!("# {kind}, scale {}, seed 1, pages of 4096 bytes\n{}", kind.small(), write_script(&steps))
}

#[test]
fn scripts_are_what_the_generator_makes() {
    let mut changed = Vec::new();
    for kind in Kind::ALL {
        let (path, text) = file(&format!("{kind}.steps"));
        let expected = script(*kind);
        if text != expected {
            // Left as it should be, to be looked at and committed.
            std::fs::write(&path, &expected).unwrap();
            changed.push(path);
        }
        assert_eq!(parse_script(&expected).unwrap(), Workload::new(*kind, kind.small(), 1, 4096).collect::<Vec<_>>());
    }
    assert!(changed.is_empty(), "these were not what the generator makes, and have been written anew: {changed:?}");
}

/// How often each kind of operation comes, by the word that a script has for it.
fn words(log: &str) -> (BTreeMap<String, usize>, BTreeMap<String, u64>) {
    let replay = translate(&file(log).1, 4096).unwrap();
    let mut words = BTreeMap::new();
    for step in &replay.steps {
        *words.entry(step.op.to_string().split(' ').next().unwrap().to_owned()).or_default() += 1;
    }
    (words, replay.not_modelled)
}

#[test]
fn a_shells_pipeline_forks_executes_and_pipes() {
    let (words, _) = words("pipeline.strace");
    for (word, times) in [("fork", 4), ("exec", 5), ("exit", 5)] {
        assert_eq!(words.get(word), Some(&times), "{word}: {words:?}");
    }
    assert!(words["pipe-write"] >= 2 && words["pipe-read"] >= 2, "{words:?}");
}

#[test]
fn dd_copies_sixteen_blocks_past_the_page_cache() {
    let (words, left_out) = words("dd-direct.strace");
    assert_eq!((words["direct-read"], words["direct-write"]), (16, 16), "{words:?} {left_out:?}");
}

#[test]
fn a_database_writes_pages_and_maps_its_index() {
    let (words, left_out) = words("sqlite.strace");
    assert!(words["write"] > 40 && words["sync"] > 5 && words["map"] > 20, "{words:?} {left_out:?}");
}

#[test]
fn a_program_with_threads_forks_and_is_read_from_outside() {
    let (path, text) = file("fork-mmap.strace");
    let replay = translate(&text, 4096).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let has = |what: fn(&Op) -> bool| replay.steps.iter().any(|step| what(&step.op));
    assert!(has(|op| matches!(op, Op::Thread { .. })) && has(|op| matches!(op, Op::Fork { .. })));
    assert!(has(|op| matches!(op, Op::RemoteRead { .. })) && has(|op| matches!(op, Op::Remap { .. })));
    assert!(has(|op| matches!(op, Op::MapFile { shared: true, .. })));
    assert_eq!(replay.tasks, 3);
}

#[test]
fn logs_cut_off_anywhere_are_replayed_or_refused_but_never_worse() {
    for log in ["pipeline.strace", "dd-direct.strace", "sqlite.strace", "fork-mmap.strace"] {
        let (_, text) = file(log);
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)).step_by(389) {
            let lines = text[..end].lines().count();
            if let Err(error) = translate(&text[..end], 16384) {
                assert!(error.line == lines, "{log} cut at {end}: {error}");
            }
        }
    }
}
