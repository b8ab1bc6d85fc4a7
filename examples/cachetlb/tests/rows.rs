//! Every hook of Linux's `cachetlb.rst`, and of what grew around it, has a row in `docs/embedding/cachetlb.md`; and every one that is a
//! function has one here.

use std::fs;
use std::path::Path;

/// The functions and macros of the document (Linux 6.12), in its order.
const DOCUMENTED: &[&str] = &[
    "flush_tlb_all",
    "flush_tlb_mm",
    "flush_tlb_range",
    "flush_tlb_page",
    "update_mmu_cache_range",
    "flush_cache_mm",
    "flush_cache_dup_mm",
    "flush_cache_range",
    "flush_cache_page",
    "flush_cache_kmaps",
    "flush_cache_vmap",
    "flush_cache_vunmap",
    "SHMLBA",
    "arch_get_unmapped_area",
    "copy_user_page",
    "clear_user_page",
    "flush_dcache_folio",
    "flush_dcache_page",
    "flush_dcache_mmap_lock",
    "flush_dcache_mmap_unlock",
    "copy_to_user_page",
    "copy_from_user_page",
    "flush_anon_page",
    "flush_icache_range",
    "flush_icache_page",
    "flush_icache_pages",
    "flush_kernel_vmap_range",
    "invalidate_kernel_vmap_range",
];

/// What the document does not name, but a port has to know of.
const AROUND_IT: &[&str] = &[
    "set_ptes",
    "flush_cache_vmap_early",
    "arch_get_unmapped_area_topdown",
    "copy_user_highpage",
    "clear_user_highpage",
    "flush_icache_user_range",
    "flush_icache_user_page",
    "arch_sync_dma_for_device",
    "arch_sync_dma_for_cpu",
    "arch_dma_prep_coherent",
    "gup_fast_permitted",
    "kmap_coherent",
    "pages_do_alias",
    "cpu_dcache_is_aliasing",
    "arch_uprobe_copy_ixol",
    "tlb_start_vma",
    "flush_arg_page",
];

/// What is no function.
const WORDS: &[&str] = &["MMU_GATHER_NO_FLUSH_CACHE", "pgprot", "process_vm_writev", "ITER_BVEC", "vm_insert_page", "io_uring"];

fn table() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/embedding/cachetlb.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_hook_has_a_row_with_a_counterpart() {
    let table = table();
    for name in [DOCUMENTED, AROUND_IT, WORDS].concat() {
        let row = table.lines().find(|row| row.split('|').nth(1).is_some_and(|hooks| hooks.contains(&format!("`{name}`"))));
        let row = row.unwrap_or_else(|| panic!("docs/embedding/cachetlb.md has no row for `{name}`"));
        assert!(row.split('|').nth(2).is_some_and(|counterpart| !counterpart.trim().is_empty()), "no counterpart: {row}");
    }
}

#[test]
fn every_hook_that_is_a_function_is_ported_under_its_name() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut source = String::new();
    for file in fs::read_dir(sources).expect("this crate has sources") {
        source += &fs::read_to_string(file.expect("a file").path()).expect("a source is text");
    }
    for name in [DOCUMENTED, AROUND_IT].concat() {
        let found = ["(", "<"].iter().any(|after| source.contains(&format!("fn {name}{after}")));
        assert!(found, "`{name}` is not ported");
    }
}

#[test]
fn every_function_that_the_table_names_is_one_of_the_librarys() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    let mut source = String::new();
    for folder in ["congruent/src", "congruent/src/state", "geometry/src"] {
        for file in fs::read_dir(library.join(folder)).expect("the library has sources") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                source += &fs::read_to_string(path).expect("a source is text");
            }
        }
    }
    for row in table().lines() {
        let counterpart = row.split('|').nth(2).expect("a second column");
        for word in counterpart.split('`').skip(1).step_by(2) {
            let name = word.split('(').next().and_then(|path| path.rsplit("::").next()).expect("a name");
            let defined = ["fn ", "const ", "enum ", "struct ", "    ", "pub "].iter().any(|before| {
                source.match_indices(&format!("{before}{name}")).any(|(at, found)| {
                    source[at + found.len()..].chars().next().is_some_and(|next| !next.is_alphanumeric() && next != '_')
                })
            });
            assert!(defined, "`{word}` is nothing of the library's: {row}");
        }
    }
}
