//! The SARIF report: valid by the official schema in every shape it can take, stable, and whole in one golden file.

use std::path::PathBuf;
use std::process::Command;

use congruent_report::{Outcome, Report, Suppressions, Symbols};
use serde_json::Value;

use super::fixture::{one_of_each, report, symbols};
use super::golden::compare;

/// The official schema (OASIS), out of a package that carries it: its licence and its size keep it out of this repository.
fn schema() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "serde-sarif").expect("Cargo.toml names it");
    let schema = PathBuf::from(package["manifest_path"].as_str().unwrap()).with_file_name("src/schema.json");
    serde_json::from_slice(&std::fs::read(&schema).unwrap()).unwrap()
}

fn marked() -> Report {
    let findings = one_of_each();
    let mut marked = report(&findings[..9], Outcome::Finished, &["copy_user_highpage"], &symbols());
    marked.findings[0].consumer.line = Some("guests/programs/vm writev.c:17".to_owned());
    marked.findings[0].producer.as_mut().unwrap().line = Some("/linux/arch/mips/lib/memcpy.S:210".to_owned());
    marked.compare(&report(&findings[3..], Outcome::Finished, &["copy_user_highpage"], &symbols()));
    let mut suppressions = Suppressions::default();
    let rules =
        "[[suppress]]\nclass = 'read-lost'\nreason = 'thrown away on purpose'\n[[suppress]]\nconsumer = 'nobody'\nreason = 'x'\n";
    suppressions.add("known.toml", rules).unwrap();
    marked.suppress(&suppressions, "2026-11-22".parse().unwrap());
    marked
}

#[test]
fn every_shape_of_report_is_valid_by_the_official_schema() {
    let mut schema = schema();
    assert!(schema["id"].as_str().or(schema["$id"].as_str()).unwrap().contains("sarif-schema-2.1.0"), "{}", schema["$id"]);
    // A stray bracket makes these two patterns no regular expressions by the stricter readings; no report says its language.
    for definition in ["run", "toolComponent"] {
        schema["definitions"][definition]["properties"]["language"].as_object_mut().unwrap().remove("pattern").unwrap();
    }
    let schema = jsonschema::validator_for(&schema).unwrap();
    let all = one_of_each();
    for (name, report) in [
        ("marked", marked()),
        ("clean", report(&[], Outcome::Finished, &[], &symbols())),
        ("findings", report(&all, Outcome::Finished, &["a"], &symbols())),
        ("nameless", report(&all, Outcome::Finished, &[], &Symbols::default())),
        ("incomplete", report(&all[..2], Outcome::Incomplete("QEMU was killed".to_owned()), &[], &symbols())),
    ] {
        let sarif: Value = serde_json::from_str(&report.to_sarif()).unwrap();
        let problems: Vec<String> = schema.iter_errors(&sarif).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert!(problems.is_empty(), "{name}: {problems:#?}");
    }
    // What the validator would let pass proves nothing.
    let mut wrong: Value = serde_json::from_str(&marked().to_sarif()).unwrap();
    wrong["runs"][0]["results"][0]["baselineState"] = "gone".into();
    assert!(!schema.is_valid(&wrong));
}

#[test]
fn a_marked_report_in_sarif() {
    compare("marked.sarif", &marked().to_sarif());
}

#[test]
fn fingerprints_survive_a_rebuild_of_the_kernel_and_are_unique_in_a_run() {
    let fingerprints = |report: &Report| -> Vec<String> {
        let sarif: Value = serde_json::from_str(&report.to_sarif()).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["fingerprints"]["congruentIdentity/v1"].as_str().unwrap().to_owned()).collect()
    };
    let findings = one_of_each();
    let first = report(&findings, Outcome::Finished, &[], &symbols());
    let mut unique = fingerprints(&first);
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), fingerprints(&first).len());
    // The same code at other offsets of the same functions.
    let moved: Vec<_> = findings
        .iter()
        .cloned()
        .map(|mut finding| {
            for party in std::iter::once(&mut finding.consumer).chain(&mut finding.producer) {
                if party.kind != congruent_shadow::PartyKind::Dma {
                    party.site.0 += 8;
                }
            }
            finding
        })
        .collect();
    assert_eq!(fingerprints(&report(&moved, Outcome::Finished, &[], &symbols())), fingerprints(&first));
}
