//! `congruent explain`: the guide's page of a class of findings, on the terminal.
//!
//! The page is the guide's own (`docs/guide/classes.md`), so that there is one.

use std::fmt::Write as _;

use anyhow::bail;

/// The guide's page: one section for each class.
const PAGE: &str = include_str!("../../../docs/guide/classes.md");

/// Prints what a class is, or which there are.
///
/// # Errors
/// One line, if there is no such class.
pub(crate) fn explain(class: Option<&str>) -> anyhow::Result<u8> {
    anstream::print!("{}", text(class)?);
    Ok(0)
}

fn text(class: Option<&str>) -> anyhow::Result<String> {
    let Some(class) = class else {
        let mut list = String::from("The classes of findings; `congruent explain CLASS` tells of one:\n");
        for (name, body) in sections() {
            let sentence = plain(body).split_inclusive(". ").next().unwrap_or_default().replace('\n', " ");
            let _ = write!(list, "\n{name}\n    {}\n", sentence.trim());
        }
        return Ok(list);
    };
    let Some((name, body)) = sections().find(|(name, _)| *name == class) else {
        let names: Vec<&str> = sections().map(|(name, _)| name).collect();
        bail!("there is no class `{class}`; there are: {}", names.join(", "));
    };
    Ok(format!("{name}\n\n{}\n", plain(body)))
}

/// The sections: the class, and what stands below its heading.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n## `").skip(1).filter_map(|section| section.split_once("`\n"))
}

/// Markdown as people read it without a browser: no fences, marks of emphasis and addresses of links. What stands between fences is left
/// alone.
fn plain(body: &str) -> String {
    let mut text = String::new();
    for (number, part) in body.trim().split("```").enumerate() {
        if number % 2 == 0 {
            text += &unlinked(&part.replace("**", "").replace('`', ""));
        } else {
            // The language stands behind the fence.
            let lines = part.split_once('\n').map_or("", |(_, lines)| lines);
            lines.lines().for_each(|line| text += &format!("    {line}\n"));
            text.truncate(text.trim_end().len());
        }
    }
    text
}

/// Without the addresses of links.
fn unlinked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((_, behind)) = after.split_once(')') else { break };
        let (lead, name) = before.rsplit_once('[').unwrap_or((before, ""));
        out += lead;
        out += name;
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use congruent_report::class_name;
    use congruent_shadow::HazardClass;

    use super::*;

    #[test]
    fn every_class_has_its_page_and_stands_in_the_list() {
        let list = text(None).unwrap();
        for class in HazardClass::ALL.map(class_name) {
            let page = text(Some(&class)).unwrap();
            assert!(page.starts_with(&format!("{class}\n\n")) && page.contains("Remedy: ") && page.len() > 500, "{page}");
            assert!(!page.contains("```") && !page.contains("**") && !page.contains("]("), "{page}");
            assert!(list.contains(&format!("\n{class}\n    ")), "{list}");
        }
        assert_eq!(sections().count(), HazardClass::ALL.len());
    }

    #[test]
    fn an_unknown_class_is_told_with_those_that_there_are() {
        let error = text(Some("read-old")).unwrap_err().to_string();
        assert!(error.contains("read-old") && error.contains("write-homonym") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn links_keep_their_words() {
        assert_eq!(unlinked("see [this page](a.md), or [that](b.md#c) one"), "see this page, or that one");
        assert_eq!(unlinked("no links [here] (at all)"), "no links [here] (at all)");
    }
}
