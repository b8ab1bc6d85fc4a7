//! Decisions (`docs/adr`): one form of heading, a status, and a place in the index.

use super::File;

const FOLDER: &str = "docs/adr/";

/// Decisions that are not in that form, or not in the index.
pub fn disorder(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    let index = files.iter().find(|file| file.path == format!("{FOLDER}README.md")).map_or("", |file| &file.text);
    for file in files {
        let Some(name) = file.path.strip_prefix(FOLDER).filter(|name| *name != "README.md") else { continue };
        let number = name.split('-').next().and_then(|digits| digits.parse::<u32>().ok());
        let Some(number) = number else {
            wrong.push(format!("{}: its name does not begin with a number", file.path));
            continue;
        };
        let mut lines = file.text.lines();
        if !lines.next().is_some_and(|heading| heading.starts_with(&format!("# {number}. "))) {
            wrong.push(format!("{}: its heading is not `# {number}. …`", file.path));
        }
        let status = lines.by_ref().find(|line| !line.is_empty()).unwrap_or_default();
        if !["Status: accepted", "Status: superseded by ", "Status: partly superseded by "]
            .iter()
            .any(|form| status.starts_with(form))
        {
            wrong.push(format!("{}: below its heading stands no `Status: accepted`, or by what it is superseded", file.path));
        }
        if !index.contains(&format!("({name})")) {
            wrong.push(format!("{FOLDER}README.md: {name} is not listed"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_decision_has_a_number_a_status_and_a_place_in_the_index() {
        let index = file("docs/adr/README.md", "[One](0001-one.md)");
        let told = |text: &str| disorder(&[file("docs/adr/0001-one.md", text), file("docs/adr/README.md", &index.text)]).len();
        assert_eq!(told("# 1. One\n\nStatus: accepted\n"), 0);
        assert_eq!(told("# 1. One\n\nStatus: superseded by 2\n"), 0);
        assert_eq!(told("# 0001: One\n\nStatus: accepted\n"), 1);
        assert_eq!(told("# 1. One\n\nDecided.\n"), 1);
        assert_eq!(disorder(&[file("docs/adr/0002-two.md", "# 2. Two\n\nStatus: accepted\n"), index]).len(), 1);
    }
}
