//! The HTML report in a real browser: that its list is there, that its script runs, sorts and filters, and that nothing complains.
//!
//! It opens the page that `crates/report`'s tests compare whole, so what is checked here is what the program writes. Without a
//! browser it fails and says what to install; it never passes unseen.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{place, run};

/// The names that Chromium goes by.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Nothing but the page: no network, no first-run pages, no updates.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--dump-dom",
];

/// Installs the browser, if that has to be and may be.
///
/// # Errors
/// If there is none and it may not.
pub fn fetch() -> Result<()> {
    Browser::find().map(drop)
}

/// Opens the page as it is, filtered, and in another order.
///
/// # Errors
/// If there is no browser, or the page is not as it should be in it.
pub fn perform() -> Result<()> {
    let browser = Browser::find()?;
    let page = place::root().join("crates/report/tests/golden/every-class.html");
    let findings = fs::read_to_string(&page)?.matches("<li class=\"finding\"").count();
    ensure!(findings > 3, "{} has only {findings} findings", page.display());

    let whole = browser.open(&page, "")?;
    ensure!(
        whole.shown.len() == findings && whole.hidden == 0,
        "not every finding is shown: {} of {findings}",
        whole.shown.len()
    );
    ensure!(whole.says == format!("{findings} shown"), "the script did not run: it says {:?}", whole.says);

    let filtered = browser.open(&page, "#class=read-stale-copy&search=user")?;
    ensure!(filtered.shown.iter().all(|finding| finding.class == "read-stale-copy"), "the filter lets other classes pass");
    ensure!(!filtered.shown.is_empty() && filtered.hidden == findings - filtered.shown.len(), "the filter hides the wrong ones");
    ensure!(filtered.says == format!("{} of {findings} shown", filtered.shown.len()), "it says {:?}", filtered.says);

    let sorted = browser.open(&page, "#order=count")?;
    ensure!(sorted.shown.len() == findings, "sorting lost findings");
    ensure!(sorted.shown.is_sorted_by(|a, b| a.count >= b.count), "the most frequent do not come first");
    ensure!(!whole.shown.is_sorted_by(|a, b| a.count >= b.count), "the page has this order anyway, so nothing was shown");
    println!("{}: {findings} findings, filtered and sorted", browser.program.display());
    Ok(())
}

/// What the browser made of the page.
struct Dom {
    shown: Vec<Finding>,
    hidden: usize,
    /// The line that counts what is shown.
    says: String,
}

struct Finding {
    class: String,
    count: u64,
}

struct Browser {
    program: PathBuf,
}

impl Browser {
    /// The browser of this machine; where there is none and packages may be installed, Debian's.
    fn find() -> Result<Self> {
        if let Some(program) = on_path() {
            return Ok(Self { program });
        }
        if run::quietly(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
            eprintln!("  installing chromium …");
            for words in [&["update"][..], &["install", "--yes", "--no-install-recommends", "chromium"]] {
                run::quietly(Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive"))?;
            }
        }
        match on_path() {
            Some(program) => Ok(Self { program }),
            None => {
                bail!("there is no browser to open the HTML report in: install chromium (Debian, Ubuntu: apt install chromium)")
            }
        }
    }

    /// Opens the page with what is to be shown as its fragment.
    fn open(&self, page: &Path, fragment: &str) -> Result<Dom> {
        let profile = place::reports().join("browser");
        if profile.exists() {
            fs::remove_dir_all(&profile)?;
        }
        fs::create_dir_all(&profile)?;
        let output = Command::new("timeout")
            .arg("90")
            .arg(&self.program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("file://{}{fragment}", page.display()))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        fs::remove_dir_all(&profile)?;
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{} failed ({}): {complaints}", self.program.display(), output.status);
        if let Some(complaint) = complaints.lines().find(|line| line.contains("CONSOLE")) {
            bail!("the page complains: {complaint}");
        }
        dom(&String::from_utf8_lossy(&output.stdout))
    }
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    NAMES.iter().flat_map(|name| directories.iter().map(move |directory| directory.join(name))).find(|file| file.is_file())
}

/// The findings of a page as the browser writes it out: quoted attributes, in a fixed order.
fn dom(page: &str) -> Result<Dom> {
    let (mut shown, mut hidden) = (Vec::new(), 0);
    for item in page.split("<li class=\"finding\"").skip(1) {
        let (tag, _) = item.split_once('>').context("a list item has no end")?;
        if tag.contains(" hidden=\"\"") {
            hidden += 1;
            continue;
        }
        let class = attribute(tag, "data-class").context("a finding has no class")?;
        let count = attribute(tag, "data-count").context("a finding has no count")?.parse()?;
        shown.push(Finding { class: class.to_owned(), count });
    }
    let (_, says) = page.split_once("<output id=\"shown\" role=\"status\">").context("the page has no count of what is shown")?;
    let (says, _) = says.split_once('<').context("the count has no end")?;
    Ok(Dom { shown, hidden, says: says.to_owned() })
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = tag.split_once(&format!(" {name}=\""))?;
    Some(value.split_once('"')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_read_as_a_browser_writes_it() {
        let page = "<ol><li class=\"finding\" data-class=\"a\" data-count=\"3\"><b>x</b></li>\
                    <li class=\"finding\" data-class=\"b\" data-count=\"2\" hidden=\"\"></li></ol>\
                    <output id=\"shown\" role=\"status\">1 of 2 shown</output>";
        let dom = dom(page).unwrap();
        assert_eq!((dom.shown.len(), dom.hidden, &*dom.says), (1, 1, "1 of 2 shown"));
        assert_eq!((&*dom.shown[0].class, dom.shown[0].count), ("a", 3));
    }
}
