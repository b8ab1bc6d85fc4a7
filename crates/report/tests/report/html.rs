//! The HTML report: whole, in one golden file, and safe whatever the guest's names are.

use congruent_report::{Date, Outcome, Suppressions, Symbols};

use super::fixture::{found, one_of_each, party, report, symbols};
use super::golden::compare;

#[test]
fn every_class_is_drawn() {
    let findings = one_of_each();
    let mut page = report(&findings, Outcome::Finished, &["copy_user_highpage"], &symbols());
    page.compare(&report(&findings[3..8], Outcome::Finished, &["copy_user_highpage"], &symbols()));
    let mut suppressions = Suppressions::default();
    let rule = "[[suppress]]\nclass = 'write-under-dirty-alias'\nreason = 'only <tests> store there'\n";
    suppressions.add("known.toml", rule).unwrap();
    page.suppress(&suppressions, "2026-11-22".parse::<Date>().unwrap());
    compare("every-class.html", &page.to_html(&|_| None));
}

#[test]
fn pairs_of_sites_in_the_same_two_functions_are_one_item() {
    use congruent_shadow::{HazardClass::ReadStaleCopy, PartyKind};
    let pair = |count, at: u32| {
        let consumer = party(PartyKind::Load, 0x0040_0000 + at, Some(1));
        found(ReadStaleCopy, count, consumer, Some(party(PartyKind::Store, 0x8010_0500 + at, Some(0))))
    };
    let page = report(&[pair(3, 0), pair(40, 4), pair(5, 8)], Outcome::Finished, &[], &symbols()).to_html(&|_| None);
    assert_eq!(page.matches("<li class=\"finding\"").count(), 1);
    assert!(page.contains("data-count=\"48\"") && page.contains("48×"));
    assert!(page.contains("Between 3 pairs of code sites in these functions; this is the most frequent, 40 times."));
    assert!(page.contains("__copy_user+0x4"));
}

#[test]
fn a_clean_page_has_no_list() {
    let page = report(&[], Outcome::Finished, &[], &symbols()).to_html(&|_| None);
    assert!(page.contains("class=\"verdict good\"") && !page.contains("<ol class=\"findings\""));
}

#[test]
fn an_unfinished_page_says_why() {
    let page = report(&[], Outcome::Incomplete("QEMU was killed by SIGSEGV".to_owned()), &[], &symbols()).to_html(&|_| None);
    assert!(page.contains("QEMU was killed by SIGSEGV; no finding up to then"));
}

#[test]
fn names_of_the_guest_cannot_become_markup() {
    let mut symbols = Symbols::default();
    symbols.add(b"80100000 T _text\n80100500 T </script><script>alert(1)</script>&\"'\n80100700 T _etext\n").unwrap();
    let page = report(&one_of_each(), Outcome::Finished, &["<img src=x>"], &symbols).to_html(&|_| None);
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
    assert!(!page.contains("<script>alert") && !page.contains("<img"));
}

#[test]
fn the_page_fetches_nothing() {
    let page = report(&one_of_each(), Outcome::Finished, &[], &symbols()).to_html(&|_| None);
    for remote in ["http:", "https:", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(remote), "{remote}");
    }
}

#[test]
fn source_lines_are_shown_around_the_one_that_is_meant() {
    let mut report = report(&one_of_each()[1..2], Outcome::Finished, &[], &symbols());
    let file: String = (1..=20).map(|n| format!("line{n} <{n}>;\n")).collect();
    let shown = |report: &congruent_report::Report| {
        let page = report.to_html(&|name| (name == "/linux/mm/memory.c").then(|| file.clone()));
        let numbers: Vec<usize> = (1..=20).filter(|n| page.contains(&format!("line{n} &lt;{n}&gt;;"))).collect();
        let marked = page.split_once("<mark>").map(|(_, after)| after.split_once("</mark>").unwrap().0.to_owned());
        (numbers, marked)
    };
    for (place, numbers, marked) in [
        ("/linux/mm/memory.c:10", (7..=13).collect::<Vec<_>>(), Some("line10 ")),
        ("/linux/mm/memory.c:1", (1..=4).collect(), Some("line1 ")),
        ("/linux/mm/memory.c:20", (17..=20).collect(), Some("line20 ")),
        ("/linux/mm/memory.c:21", vec![], None),
        ("/linux/mm/memory.c:0", vec![], None),
        ("/linux/mm/other.c:3", vec![], None),
        ("no line", vec![], None),
    ] {
        report.findings[0].consumer.line = Some(place.to_owned());
        let (found, mark) = shown(&report);
        assert_eq!(found, numbers, "{place}");
        assert_eq!(mark.is_some(), marked.is_some(), "{place}");
        assert!(mark.unwrap_or_default().contains(marked.unwrap_or_default()), "{place}");
    }
}
