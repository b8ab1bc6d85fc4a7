//! The JUnit report: well-formed, of the elements and attributes that its readers know, counted right.

use congruent_report::{Outcome, Report, Suppressions, Symbols};
use roxmltree::{Document, Node};

use super::fixture::{one_of_each, report, symbols};
use super::golden::compare;

fn marked() -> Report {
    let findings = one_of_each();
    let mut marked = report(&findings[..9], Outcome::Finished, &[], &symbols());
    marked.compare(&report(&findings[3..], Outcome::Finished, &[], &symbols()));
    let mut suppressions = Suppressions::default();
    // A control character is not allowed in XML, whatever the escape.
    suppressions.add("known.toml", "[[suppress]]\nclass = 'read-lost'\nreason = \"a < b & 'c' \\u0007\"\n").unwrap();
    marked.suppress(&suppressions, "2026-11-22".parse().unwrap());
    marked
}

/// Parents, attributes and required attributes as Jenkins' junit-10.xsd has them, of the elements that a report may use.
fn check(node: Node<'_, '_>) {
    let parent = node.parent_element().map(|parent| parent.tag_name().name().to_owned()).unwrap_or_default();
    let (parents, required, optional): (&[&str], &[&str], &[&str]) = match node.tag_name().name() {
        "testsuites" => (&[""], &[], &["name", "tests", "failures", "errors"]),
        "testsuite" => (&["testsuites"], &["name", "tests", "failures", "errors"], &["skipped"]),
        "testcase" => (&["testsuite"], &["name"], &["classname"]),
        "failure" | "error" | "skipped" => (&["testcase"], &[], &["type", "message"]),
        "system-out" => (&["testsuite"], &[], &[]),
        other => panic!("no such element: {other}"),
    };
    assert!(parents.contains(&&*parent), "{node:?} in {parent}");
    let names: Vec<&str> = node.attributes().map(|attribute| attribute.name()).collect();
    assert!(required.iter().all(|name| names.contains(name)), "{node:?}");
    assert!(names.iter().all(|name| required.contains(name) || optional.contains(name)), "{node:?}");
}

#[test]
fn every_shape_of_report_is_valid_and_counted_right() {
    let all = one_of_each();
    let unfinished = || Outcome::Incomplete("QEMU was killed".to_owned());
    for (name, report, counts) in [
        ("marked", marked(), [14, 3, 0, 6]),
        ("clean", report(&[], Outcome::Finished, &[], &symbols()), [1, 0, 0, 0]),
        ("findings", report(&all, Outcome::Finished, &[], &symbols()), [14, 13, 0, 0]),
        ("nameless", report(&all, Outcome::Finished, &[], &Symbols::default()), [14, 13, 0, 0]),
        ("incomplete", report(&all[..2], unfinished(), &[], &symbols()), [3, 2, 1, 0]),
    ] {
        let xml = report.to_junit();
        let document = Document::parse(&xml).unwrap_or_else(|error| panic!("{name}: {error}\n{xml}"));
        document.descendants().filter(Node::is_element).for_each(check);
        let count = |tag: &str| document.descendants().filter(|node| node.has_tag_name(tag)).count();
        assert_eq!(["testcase", "failure", "error", "skipped"].map(count), counts, "{name}");
        let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        let said =
            ["tests", "failures", "errors", "skipped"].map(|name| suite.attribute(name).unwrap().parse::<usize>().unwrap());
        assert_eq!(said, counts, "{name}");
    }
}

#[test]
fn a_marked_report_in_junit() {
    compare("marked.junit.xml", &marked().to_junit());
}

#[test]
fn an_unfinished_run_is_an_error() {
    let xml = report(&[], Outcome::Incomplete("QEMU was killed".to_owned()), &[], &symbols()).to_junit();
    assert!(xml.contains("<error type=\"incomplete\" message=\"QEMU was killed\">"), "{xml}");
}
