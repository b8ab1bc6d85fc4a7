//! `congruent simulate`: reports that are the same every time, exit statuses, and what can be wrong with a workload, a computer or a
//! disk.

use std::path::Path;
use std::process::Command;

use congruent_machine::{COSTS, Figure, Source};
use serde_json::Value;

use crate::runner::{Place, Ran};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    the_same_words_give_the_same_report,
    doing_nothing_corrupts_and_windows_do_not,
    the_report_is_data_with_a_schema,
    the_page_needs_nothing_from_anywhere,
    a_sweep_tells_every_computer,
    a_workload_written_as_a_script_is_the_same_workload,
    logs_of_real_programs_are_replayed,
    a_finding_is_told_event_by_event,
    every_account_ends_with_the_event_that_its_finding_is_about,
    wrong_words_and_workloads_are_named_in_one_line,
    a_full_host_disk_is_said_and_the_report_is_still_written,
    bad_sectors_and_little_memory_are_noted,
    a_disk_file_with_something_in_it_is_left_alone,
    the_documents_show_what_the_program_prints,
    the_documents_figures_are_the_models,
];

fn simulate(place: &Place, words: &[&str]) -> Ran {
    Ran::of(place.command(&[&["simulate"][..], words].concat()).output().unwrap())
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn the_same_words_give_the_same_report() {
    let place = Place::new();
    for format in ["text", "json", "html"] {
        let words =
            ["--workload", "everything", "--scale", "2", "--replacement", "adversarial", "--cpus", "2", "--format", format];
        let (first, second) = (simulate(&place, &words), simulate(&place, &words));
        assert!(!first.stdout.is_empty() && first.stdout == second.stdout, "{format}");
        let other = simulate(&place, &[&words[..], &["--seed", "2"]].concat());
        assert_ne!(first.stdout, other.stdout, "{format}");
    }
}

fn doing_nothing_corrupts_and_windows_do_not() {
    let place = Place::new();
    let fork = ["--workload", "fork-threads", "--scale", "10"];
    let none = simulate(&place, &[&fork[..], &["--policy", "none"]].concat());
    assert_eq!(none.status, 1, "{none:?}");
    assert!(none.stdout.contains("copy_user_highpage: source") && none.stdout.contains("wrong byte: "), "{none:?}");
    let ours = ["window", "reverse-lookup", "kept-windows", "frame-coloured", "flush-always"].map(|policy| ["--policy", policy]);
    let ours = simulate(&place, &[&fork[..], ours.as_flattened()].concat());
    assert_eq!(ours.status, 0, "{ours:?}");
    assert!(!ours.stdout.contains("seen wrong"), "{ours:?}");
}

fn the_report_is_data_with_a_schema() {
    let place = Place::new();
    let ran = simulate(&place, &["--workload", "page-cache", "--format", "json", "-o", "report"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    let report = place.json("report");
    assert_eq!(report["schema"], "congruent.simulation/1");
    let computer = &report["computers"][0];
    assert_eq!((&computer["dcache"]["colours"], &computer["page"]), (&Value::from(2), &Value::from(4096)));
    let policies = computer["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 8);
    for policy in policies {
        let causes = policy["cycles"]["by_cause"].as_array().unwrap().iter().map(|cause| cause["count"].as_u64().unwrap());
        assert_eq!(Some(causes.sum()), policy["cycles"]["total"].as_u64());
        assert_eq!(policy["steps"], policies[0]["steps"]);
    }
    let finding = &policies[0]["findings"][0];
    assert!(finding["class"].is_string() && finding["consumer"]["site"].is_string(), "{finding}");
}

fn the_page_needs_nothing_from_anywhere() {
    let place = Place::new();
    simulate(&place, &["--workload", "page-cache", "--format", "html", "-o", "page.html"]);
    simulate(&place, &["--workload", "page-cache", "--scale", "2", "--sweep", "--format", "html", "-o", "sweep.html"]);
    for (page, plots) in [("page.html", 2), ("sweep.html", 2)] {
        let text = place.read(page);
        assert_eq!(text.matches("<figure>").count(), plots, "{page}");
        for foreign in ["http:", "https:", "<script", "src=", "NaN"] {
            assert!(!text.contains(foreign), "{page} has {foreign}");
        }
    }
}

fn a_sweep_tells_every_computer() {
    let place = Place::new();
    let words = ["--workload", "ring", "--scale", "2", "--policy", "window", "--sweep", "--sweep-dcache", "16K,4,32 64K,1,32"];
    let ran = simulate(&place, &[&words[..], &["--sweep-page-size", "4K,8K", "--format", "json"]].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let colours: Vec<u64> =
        report["computers"].as_array().unwrap().iter().map(|computer| computer["dcache"]["colours"].as_u64().unwrap()).collect();
    assert_eq!(colours, [1, 16, 1, 8]);
}

fn a_workload_written_as_a_script_is_the_same_workload() {
    let place = Place::new();
    let words = ["--workload", "shell", "--scale", "3"];
    let ran = simulate(&place, &[&words[..], &["--write-script", "shell.steps"]].concat());
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""));
    // But for the first line, which names it.
    let after_name = |ran: Ran| ran.stdout.split_once('\n').unwrap().1.to_owned();
    assert_eq!(after_name(simulate(&place, &words)), after_name(simulate(&place, &["--workload", "shell.steps"])));
}

fn logs_of_real_programs_are_replayed() {
    let place = Place::new();
    for log in ["pipeline.strace", "dd-direct.strace", "sqlite.strace", "fork-mmap.strace"] {
        let file = repository().join("workloads").join(log);
        let ours = ["--policy", "window", "--policy", "kept-windows", "--workload", file.to_str().unwrap(), "--format", "json"];
        let ran = simulate(&place, &ours);
        assert_eq!(ran.status, 0, "{log}: {ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        let policy = &report["computers"][0]["policies"][0];
        let failed: u64 = policy["errors"].as_array().unwrap().iter().map(|error| error["count"].as_u64().unwrap()).sum();
        assert!(failed * 20 <= policy["steps"].as_u64().unwrap(), "{log}: {failed} steps failed: {}", policy["errors"]);
    }
}

fn a_finding_is_told_event_by_event() {
    let place = Place::new();
    let words = ["--workload", "fork-threads", "--scale", "4", "--policy", "none"];
    let ran = simulate(&place, &[&words[..], &["--explain", "1"]].concat());
    assert_eq!(ran.status, 1, "{ran:?}");
    for says in ["finding 1 of none: ", "before: ", "after:  ", "dirty "] {
        assert!(ran.stdout.contains(says), "{says}: {ran:?}");
    }
    simulate(&place, &[&words[..], &["--explain", "999"]].concat()).assert_cannot("--explain 999: none has ");
    simulate(&place, &["--explain", "1"]).assert_cannot("add --policy with its name");
}

fn every_account_ends_with_the_event_that_its_finding_is_about() {
    let place = Place::new();
    let words = ["--workload", "debugger", "--scale", "10", "--policy", "none"];
    let report = simulate(&place, &[&words[..], &["--format", "json"]].concat());
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let findings = report["computers"][0]["policies"][0]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["class"] == "fetch-dirty"), "{findings:?}");
    for (at, finding) in findings.iter().enumerate() {
        let ran = simulate(&place, &[&words[..], &["--explain", &(at + 1).to_string()]].concat());
        let last = ran.stdout.lines().rfind(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).unwrap();
        let verb = match finding["consumer"]["kind"].as_str().unwrap() {
            "fetch" => " fetches ",
            "load" => " loads ",
            "store" => " stores ",
            "dma" => "the device (",
            other => panic!("{other}"),
        };
        assert!(last.contains(finding["consumer"]["site"].as_str().unwrap()) && last.contains(verb), "{finding}: {}", ran.stdout);
    }
}

fn wrong_words_and_workloads_are_named_in_one_line() {
    let place = Place::new();
    place.write("bad.steps", "0: map 0 anonymous 4 pages\n\n0: load 0 4\n");
    place.write("bad.strace", "7 getpid() = 7\n7 read(3, \"abc\n");
    place.write("hostile.strace", "7 \u{1b}[2K\u{1b}[32mclean:\u{9b}\n");
    place.write("full", "something");
    for (words, says) in [
        (&["--workload", "bad.steps"][..], "the script `bad.steps`, line 3: expected MAPPING+OFFSET, as in `0+4096`, found `0`"),
        (&["--script", "bad.steps"], "line 3: expected MAPPING+OFFSET"),
        (&["--workload", "bad.strace"], "the log `bad.strace`, line 2: expected `NAME(ARGUMENTS) = RESULT`"),
        (&["--strace", "bad.strace"], "line 2"),
        (&["--workload", "pagecache"], "neither a file that can be read nor one of fork-threads, shell, page-cache"),
        (&["--script", "nowhere"], "cannot read `nowhere`; correct --script"),
        (&["--dcache", "48K,4,32"], "--dcache 48K,4,32: the cache size must be a power of two"),
        (&["--dcache", "z80"], "--dcache z80: expected SIZE,WAYS,LINE"),
        (&["--dcache", "arm926"], "which is not simulated; give the shape alone, 16384,4,32"),
        (&["--sweep", "--sweep-dcache", ""], "--sweep-dcache: no cache given"),
        (&["--strace", "hostile.strace"], "found `7 \\u{1b}[2K\\u{1b}[32mclean:\\u{9b}`"),
        (&["--icache", "1,2"], "--icache 1,2: expected SIZE,WAYS,LINE"),
        (&["--page-size", "3000"], "--page-size 3000: expected a power of two from 4K to 64K"),
        (&["--sweep", "--sweep-page-size", "4K,5K"], "--sweep-page-size 5K: expected a power of two"),
        (&["--policy", "hope"], "there are none, flush-always, linux-mips"),
        (&["--cost", "z80"], "--cost z80: expected one of 24kc"),
        (&["--cpus", "0"], "0 CPUs"),
        (&["--frames", "0"], "at least one frame"),
        (&["--mute", "memcpy"], "--mute memcpy: no such place; there are "),
        (&["--disk-size", "much"], "--disk-size much: expected a number of bytes"),
        (&["--swap", "100000"], "the swap takes 800000 sectors, but the disk has 131072"),
        (&["--bad-sectors", "9"], "--bad-sectors 9: expected FIRST..END"),
        (&["--format", "sarif"], "simulate reports as text, json or html"),
        (&["--disk", "full"], "`full` is not empty, and a simulated disk would overwrite what is in it"),
        (&["--disk", "tmp"], "cannot open `tmp` as a disk"),
        (&["-o", "no/such/directory/report"], "cannot write the report to `no/such/directory/report`"),
        (&["--polcy", "none"], "see `congruent simulate --help`"),
    ] {
        simulate(&place, words).assert_cannot(says);
    }
    assert_eq!(place.read("full"), "something");
}

fn a_full_host_disk_is_said_and_the_report_is_still_written() {
    let place = Place::new();
    let ran = simulate(&place, &["--workload", "direct-io", "--policy", "window", "--disk", "/dev/full", "-o", "report"]);
    ran.assert_cannot("the disk's file `/dev/full` failed: writing sector ");
    ran.assert_cannot("No space left on device");
    assert!(place.read("report").contains("ENOSPC (no space left on the disk); give it more with --disk-size"));
}

fn bad_sectors_and_little_memory_are_noted() {
    let place = Place::new();
    let one = ["--policy", "window", "--workload", "page-cache"];
    let ran = simulate(&place, &[&one[..], &["--bad-sectors", "0..131072"]].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("note      under window, ") && ran.stdout.contains("EIO (the disk failed)"), "{ran:?}");
    let ran = simulate(&place, &[&one[..], &["--frames", "12", "--swap", "0"]].concat());
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("ENOMEM (out of memory); give it more with --frames"), "{ran:?}");
}

fn a_disk_file_with_something_in_it_is_left_alone() {
    let place = Place::new();
    let words = ["--workload", "direct-io", "--policy", "window", "--disk", "disk"];
    assert_eq!(simulate(&place, &words).status, 0);
    let before = std::fs::read(place.path("disk")).unwrap();
    assert!(before.iter().any(|byte| *byte != 0));
    simulate(&place, &words).assert_cannot("`disk` is not empty");
    assert_eq!(std::fs::read(place.path("disk")).unwrap(), before);
}

/// Every block of the simulator's documents that begins with `$ congruent simulate` is what that prints.
fn the_documents_show_what_the_program_prints() {
    let mut shown = 0;
    for document in ["how-aliases-bite.md", "results.md"] {
        let text = std::fs::read_to_string(repository().join("docs/simulate").join(document)).unwrap();
        for block in text.split("```console\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let Some((command, expected)) = block.strip_prefix("$ congruent ").and_then(|block| block.split_once('\n')) else {
                continue;
            };
            if expected.is_empty() {
                continue;
            }
            let output = Command::new(env!("CARGO_BIN_EXE_congruent"))
                .args(command.split_whitespace())
                .current_dir(repository())
                .env("NO_COLOR", "1")
                .output()
                .unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert_eq!(printed, expected, "{document}: `congruent {command}` prints something else now:\n{printed}");
            shown += 1;
        }
    }
    assert!(shown >= 4, "only {shown} blocks were found");
}

/// The table of `docs/simulate/cost-model.md` is `COSTS`.
fn the_documents_figures_are_the_models() {
    let text = std::fs::read_to_string(repository().join("docs/simulate/cost-model.md")).unwrap();
    let figures = COSTS.iter().map(|model| model.iter().collect::<Vec<_>>()).collect::<Vec<_>>();
    for (at, (name, _)) in figures[0].iter().enumerate() {
        let cells = figures.iter().map(|model| match model[at].1 {
            Figure { cycles, source: Source::Manual(_) } => format!(" {cycles} *m* |"),
            Figure { cycles, .. } => format!(" {cycles} |"),
        });
        let row = format!("\n| {} |{}\n", name.replace('_', " "), cells.collect::<String>());
        assert!(text.contains(&row), "the table should have the row {row}");
    }
    for model in COSTS {
        assert!(text.contains(&format!("- **{}**: {}.", model.name, model.core)), "{}", model.name);
    }
}
