//! Which runs show each hazard class, and which show the same with the bug mended: no class without either.
//!
//! Held from three sides: the tests below say that every class has a row of the table that meets it, one that must not, and a section of
//! the user guide that names both; and a run that does not meet what it is listed for, or meets what it must not, deviates from the table.

use congruent_shadow::HazardClass;
use serde_json::Value;

/// The page of the user guide that tells each class's story.
#[cfg(test)]
const PAGE: &str = "docs/guide/classes.md";

/// A place in a run where a class is met, or not.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The row of the table.
    run: &'static str,
    /// The function of the consumer, if it matters: a run may have many.
    consumer: Option<&'static str>,
}

/// Where a class is met, and where it is not because the bug is mended.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    class: HazardClass,
    met: Place,
    /// Its twin.
    silent: Place,
}

const fn by(run: &'static str, consumer: &'static str) -> Place {
    Place { run, consumer: Some(consumer) }
}

const fn in_run(run: &'static str) -> Place {
    Place { run, consumer: None }
}

const fn shown(class: HazardClass, met: Place, silent: Place) -> Shown {
    Shown { class, met, silent }
}

/// Every class that a run can meet.
pub const CLASSES: &[Shown] = &[
    shown(HazardClass::ReadDirtyElsewhere, by("mips-vm-writev", "child_reads_buffer"), in_run("mips-vm-writev-twin")),
    shown(
        HazardClass::ReadStaleCopy,
        by("bare-mipsel", "stale_copy_after_write_back"),
        by("bare-mipsel", "clean_no_copy_after_write_back"),
    ),
    shown(
        HazardClass::ReadLost,
        by("bare-mipsel", "stale_hit_invalidate_d_of_new_bytes"),
        by("bare-mipsel", "clean_hit_writeback_invalidate_d_of_new_bytes"),
    ),
    shown(
        HazardClass::ClobberedNeighbour,
        by("bare-mipsel", "stale_neighbour_of_a_store_to_an_old_copy"),
        by("bare-mipsel", "clean_neighbour_of_a_store_after_dropping_the_old_copy"),
    ),
    shown(
        HazardClass::WriteUnderDirtyAlias,
        by("bare-mipsel", "stale_store_under_dirty_alias"),
        by("bare-mipsel", "clean_store_after_write_back_of_alias"),
    ),
    shown(HazardClass::DmaReadStale, in_run("mips-disk-mute-out"), in_run("mips-disk")),
    shown(HazardClass::DmaWriteUnderDirty, in_run("mips-disk-mute-in"), in_run("mips-disk")),
    shown(
        HazardClass::MixedAttributesRead,
        by("bare-armv6", "stale_uncached_load_of_dirty_bytes"),
        by("bare-armv6", "clean_uncached_load_after_write_back"),
    ),
    shown(
        HazardClass::MixedAttributesWrite,
        by("bare-armv6", "stale_uncached_store_under_dirty_bytes"),
        by("bare-armv6", "clean_uncached_store_after_write_back"),
    ),
    shown(
        HazardClass::FetchDirty,
        by("bare-mipsel", "stale_fetch_of_dirty_code"),
        by("bare-mipsel", "clean_fetch_after_write_back"),
    ),
    shown(
        HazardClass::FetchStaleCopy,
        by("bare-mipsel", "stale_fetch_of_old_copy"),
        by("bare-mipsel", "clean_fetch_after_dropping_the_old_copy"),
    ),
    shown(
        HazardClass::ReadHomonym,
        by("bare-virtual-tags", "stale_load_of_another_frame_after_write_back"),
        by("bare-virtual-tags", "clean_load_of_another_frame_after_flush"),
    ),
    shown(
        HazardClass::WriteHomonym,
        by("bare-virtual-tags", "stale_store_into_another_frame"),
        by("bare-virtual-tags", "clean_store_into_another_frame_after_flush"),
    ),
];

/// A class as reports name it.
pub fn name(class: HazardClass) -> String {
    serde_json::to_value(class).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Place {
    /// Whether these findings have the class here.
    fn has(&self, class: HazardClass, findings: &[Value]) -> bool {
        let class = name(class);
        findings.iter().any(|finding| {
            let function = finding["consumer"]["symbol"].as_str().and_then(|symbol| symbol.split('+').next());
            finding["class"] == class.as_str() && self.consumer.is_none_or(|consumer| function == Some(consumer))
        })
    }
}

/// What the findings of a run lack, or have too much, of the classes that it is listed for.
pub fn missed(run: &str, findings: &[Value]) -> Option<String> {
    CLASSES.iter().find_map(|shown| {
        let class = name(shown.class);
        if shown.met.run == run && !shown.met.has(shown.class, findings) {
            return Some(format!("no {class} at {:?}, which the user guide shows", shown.met));
        }
        (shown.silent.run == run && shown.silent.has(shown.class, findings))
            .then(|| format!("{class} at {:?}, where the bug is mended", shown.silent))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::row::Expect;
    use super::super::table::rows;
    use super::*;
    use crate::place;

    #[test]
    fn every_class_is_met_in_a_run_and_silent_in_another() {
        for class in HazardClass::ALL {
            let listed = CLASSES.iter().filter(|shown| shown.class == class).count();
            assert_eq!(listed, 1, "{class:?}");
        }
        for place in CLASSES.iter().flat_map(|shown| [shown.met, shown.silent]) {
            let run = rows().find(|run| run.name == place.run);
            assert!(run.is_some(), "{} is no row of the table", place.run);
        }
        for Shown { met, silent, .. } in CLASSES {
            // In a run of many cases, the name of the twin promises that it is silent, and the run is held to that.
            let named = |run: &str| rows().any(|row| row.name == run && matches!(row.expect, Expect::AsNamed(_)));
            assert!(silent.run != met.run || named(silent.run) && silent.consumer.is_some_and(|name| name.starts_with("clean_")));
        }
    }

    #[test]
    fn every_class_has_a_section_in_the_user_guide_that_names_its_runs() {
        let page = std::fs::read_to_string(place::root().join(PAGE)).unwrap();
        for class in HazardClass::ALL {
            let heading = format!("\n## `{}`\n", name(class));
            let section = page.split_once(&heading).map(|(_, after)| after.split("\n## ").next().unwrap_or_default());
            let shown = CLASSES.iter().find(|shown| shown.class == class).unwrap();
            let section = section.unwrap_or_else(|| panic!("{PAGE} has no section {heading:?}"));
            for place in [shown.met, shown.silent] {
                for word in std::iter::once(place.run).chain(place.consumer) {
                    assert!(section.contains(word), "{PAGE}, {}: {word} is not named", name(class));
                }
            }
            let told = format!(". {}: ", name(class));
            assert!(section.contains(&told), "{PAGE}, {}: the tool's output is not shown ({told:?})", name(class));
        }
    }

    #[test]
    fn a_run_that_does_not_meet_its_class_is_told() {
        let finding = |class: &str, function: &str| json!({"class": class, "consumer": {"symbol": format!("{function}+0x8")}});
        let right = [finding("read-dirty-elsewhere", "child_reads_buffer")];
        assert_eq!(missed("mips-vm-writev", &right), None);
        assert!(missed("mips-vm-writev", &[]).is_some());
        assert!(missed("mips-vm-writev", &[finding("read-dirty-elsewhere", "another")]).is_some());
        assert!(missed("mips-vm-writev", &[finding("read-lost", "child_reads_buffer")]).is_some());
        assert!(missed("mips-vm-writev-twin", &right).is_some());
        assert_eq!(missed("mips-vm-writev-twin", &[]), None);
    }
}
