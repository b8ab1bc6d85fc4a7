//! The lines of Linux that know of the library: where, what, and why.
//!
//! An edit is anchored to a name that the place has, and no more of Linux's text than it takes to find it. What is not found ends the wiring.

/// A file of Linux, and what becomes of it.
pub struct Edit {
    /// The file, in the kernel's tree.
    pub file: &'static str,
    /// What is looked for.
    pub anchor: &'static str,
    /// What is done there.
    pub how: How,
    /// Our text.
    pub text: &'static str,
    /// Why.
    pub reason: &'static str,
    /// In which kernels.
    pub of: Of,
}

/// Kernels in which a place is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of {
    /// All that are known.
    Any,
    /// Before Linux 7.
    Before7,
    /// Linux 7.
    From7,
}

/// What is done at an anchor.
#[derive(Clone, Copy)]
pub enum How {
    /// The text goes before the line that contains it, the first.
    Before,
    /// The text goes before the line that contains it, the last.
    BeforeLast,
    /// The text goes behind the line that contains it, the first.
    After,
    /// The text is the first of the body of each function whose head contains it.
    Enter,
    /// The text takes its place, everywhere.
    Instead,
    /// The text goes to the end of the file; there is no anchor.
    Append,
}

/// The names of our functions for a file that calls some, behind a line that includes others.
const fn names(file: &'static str, anchor: &'static str, of: Of) -> Edit {
    let (how, text) = (How::After, "#include <linux/congruent.h>\n");
    Edit { file, anchor, how, text, reason: "the functions that are called below", of }
}

/// Another call in the place of one that allocates a page of a file.
const fn page_of_file(file: &'static str, anchor: &'static str, text: &'static str, of: Of) -> Edit {
    let reason = "a file's page that is used at its permanent address has the colour at which users map it";
    Edit { file, anchor, how: How::Instead, text, reason, of }
}

/// What is done to Linux 6.12 and 7.2.
pub const EDITS: &[Edit] = &[
    Edit {
        file: "arch/mips/Kbuild",
        anchor: "",
        how: How::Append,
        text: "obj-$(CONFIG_CONGRUENT) += congruent/\n",
        reason: "our files are built",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/Kconfig",
        anchor: "",
        how: How::Append,
        text: "source \"arch/mips/congruent/Kconfig\"\n",
        reason: "our option can be chosen",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/mm/Makefile",
        anchor: "",
        how: How::Append,
        text: "CFLAGS_cache.o += -DCONGRUENT_OWN\nCFLAGS_c-r4k.o += -DCONGRUENT_OWN\nCFLAGS_highmem.o += -DCONGRUENT_OWN\nCFLAGS_init.o += -DCONGRUENT_OWN\n",
        reason: "these define the functions that callers do not call any more",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/cacheflush.h",
        anchor: "#endif",
        how: How::BeforeLast,
        text: "#ifdef CONFIG_CONGRUENT\n#include <asm/congruent-maintenance.h>\n#endif\n",
        reason: "what callers call to maintain caches is defined anew",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/highmem.h",
        anchor: "#endif /* __KERNEL__ */",
        how: How::Before,
        text: "#ifdef CONFIG_CONGRUENT\n#include <asm/congruent-windows.h>\n#endif\n",
        reason: "local mappings are windows at the frame's home",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/fixmap.h",
        anchor: "enum fixed_addresses",
        how: How::Before,
        text: "#include <linux/congruent.h>\n\n",
        reason: "how many places windows need",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/fixmap.h",
        anchor: "FIX_CMAP_END =",
        how: How::After,
        text: "#ifdef CONFIG_CONGRUENT\n\tFIX_CONGRUENT_BEGIN,\n\tFIX_CONGRUENT_END = FIX_CONGRUENT_BEGIN + CONGRUENT_PAGES - 1,\n#endif\n",
        reason: "addresses for the library's own windows",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/fixmap.h",
        anchor: "KM_MAX_IDX * NR_CPUS",
        how: How::Instead,
        text: "KM_MAX_IDX * NR_CPUS * CONGRUENT_COLOURS",
        reason: "a local mapping has a place of each colour",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/pgtable.h",
        anchor: "struct mm_struct;",
        how: How::Before,
        text: "#include <linux/congruent.h>\n\n",
        reason: "the functions that are called below",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/pgtable.h",
        anchor: "if (do_sync)",
        how: How::Instead,
        text: "#ifdef CONFIG_CONGRUENT\n\tcongruent_set_ptes(mm, addr, ptep, pte, nr);\n\tdo_sync = false;\n#endif\n\tif (do_sync)",
        reason: "users' mappings are announced before they exist",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/pgtable.h",
        anchor: "void pte_clear(",
        how: How::Enter,
        text: "#ifdef CONFIG_CONGRUENT\n\tcongruent_pte_clear(mm, addr, ptep);\n#endif\n",
        reason: "mappings that have gone contradict nobody",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/pgtable.h",
        anchor: "int ptep_set_access_flags(",
        how: How::Enter,
        text: "#ifdef CONFIG_CONGRUENT\n\tcongruent_set_ptes(vma->vm_mm, address, ptep, entry, 1);\n#endif\n",
        reason: "rights grow here without set_ptes",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/mm/init.c",
        anchor: "memblock_free_all();",
        how: How::Instead,
        text: "\n#ifdef CONFIG_CONGRUENT\n\tcongruent_prepare();\n#endif\n\tmemblock_free_all();\n#ifdef CONFIG_CONGRUENT\n\tcongruent_begin();\n#endif\n",
        reason: "the library begins when the page allocator does",
        of: Of::Before7,
    },
    Edit {
        file: "arch/mips/mm/init.c",
        anchor: "cpu_has_dc_aliases && max_low_pfn",
        how: How::Instead,
        text: "!IS_ENABLED(CONFIG_CONGRUENT) && cpu_has_dc_aliases && max_low_pfn",
        reason: "high memory is reached through windows of the right colour",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/mm/init.c",
        anchor: "if (cpu_has_dc_aliases)\n\t\treturn;",
        how: How::Instead,
        text: "if (!IS_ENABLED(CONFIG_CONGRUENT) && cpu_has_dc_aliases)\n\t\treturn;",
        reason: "high memory is given to the page allocator",
        of: Of::Before7,
    },
    Edit {
        file: "arch/mips/mm/c-r4k.c",
        anchor: "probe_pcache();",
        how: How::Instead,
        text: "probe_pcache();\n#ifdef CONFIG_CONGRUENT\n\tcongruent_probed();\n#endif\n",
        reason: "a cache that the emulator does not have can be told",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/mm/dma-noncoherent.c",
        anchor: "void arch_sync_dma_for_device(",
        how: How::Enter,
        text: "#ifdef CONFIG_CONGRUENT\n\tcongruent_sync_for_device(paddr, size);\n\treturn;\n#endif\n",
        reason: "the library knows where the newest bytes are",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/mm/dma-noncoherent.c",
        anchor: "void arch_sync_dma_for_cpu(",
        how: How::Enter,
        text: "#ifdef CONFIG_CONGRUENT\n\tif (dir != DMA_TO_DEVICE)\n\t\tcongruent_sync_for_cpu(paddr, size);\n\treturn;\n#endif\n",
        reason: "and what has become old",
        of: Of::Any,
    },
    Edit {
        file: "arch/mips/include/asm/shmparam.h",
        anchor: "#endif",
        how: How::BeforeLast,
        text: "#ifdef CONFIG_CONGRUENT\n#define SHM_COLOUR 0x8000\n#endif\n\n",
        reason: "io_uring maps its rings to users at the colour that they have in the kernel",
        of: Of::Any,
    },
    page_of_file(
        "mm/filemap.c",
        "filemap_alloc_folio(alloc_gfp, order)",
        "congruent_alloc_folio(alloc_gfp, order, index)",
        Of::Before7,
    ),
    page_of_file(
        "mm/filemap.c",
        "filemap_alloc_folio(mapping_gfp_mask(mapping), min_order)",
        "congruent_alloc_folio(mapping_gfp_mask(mapping), min_order, pos >> PAGE_SHIFT)",
        Of::Before7,
    ),
    page_of_file(
        "mm/readahead.c",
        "filemap_alloc_folio(gfp_mask,\n\t\t\t\t\t    mapping_min_folio_order(mapping))",
        "congruent_alloc_folio(gfp_mask, mapping_min_folio_order(mapping), index + i)",
        Of::Before7,
    ),
    page_of_file("mm/readahead.c", "filemap_alloc_folio(gfp, order)", "congruent_alloc_folio(gfp, order, index)", Of::Before7),
    page_of_file(
        "mm/readahead.c",
        "filemap_alloc_folio(gfp_mask, min_order)",
        "congruent_alloc_folio(gfp_mask, min_order, index)",
        Of::Before7,
    ),
    names("mm/filemap.c", "#include <linux/pagemap.h>", Of::Any),
    names("mm/readahead.c", "#include <linux/pagemap.h>", Of::Any),
    names("mm/mm_init.c", "#include <linux/init.h>", Of::From7),
    Edit {
        file: "mm/mm_init.c",
        anchor: "memblock_free_all();",
        how: How::Instead,
        text: "\n#ifdef CONFIG_CONGRUENT\n\tcongruent_prepare();\n#endif\n\tmemblock_free_all();\n#ifdef CONFIG_CONGRUENT\n\tcongruent_begin();\n#endif\n",
        reason: "the library begins when the page allocator does",
        of: Of::From7,
    },
    Edit {
        file: "arch/mips/mm/init.c",
        anchor: "if (cpu_has_dc_aliases) {",
        how: How::Instead,
        text: "if (!IS_ENABLED(CONFIG_CONGRUENT) && cpu_has_dc_aliases) {",
        reason: "high memory is given to the page allocator",
        of: Of::From7,
    },
    page_of_file(
        "mm/filemap.c",
        "filemap_alloc_folio(alloc_gfp, order, policy)",
        "congruent_alloc_folio(alloc_gfp, order, index)",
        Of::From7,
    ),
    page_of_file(
        "mm/filemap.c",
        "filemap_alloc_folio(mapping_gfp_mask(mapping), min_order, NULL)",
        "congruent_alloc_folio(mapping_gfp_mask(mapping), min_order, iocb->ki_pos >> PAGE_SHIFT)",
        Of::From7,
    ),
    page_of_file(
        "mm/readahead.c",
        "filemap_alloc_folio(gfp_mask, order, NULL)",
        "congruent_alloc_folio(gfp_mask, order, ractl->_index + ractl->_nr_pages)",
        Of::From7,
    ),
    Edit {
        file: "include/linux/sched.h",
        anchor: "pteval[KM_MAX_IDX];",
        how: How::After,
        text: "#ifdef CONFIG_CONGRUENT\n\tunsigned char\t\t\tcolour[KM_MAX_IDX];\n#endif\n",
        reason: "a task's windows keep their colours while others run",
        of: Of::Any,
    },
    names("mm/page_alloc.c", "#include <linux/mm.h>", Of::Any),
    Edit {
        file: "mm/page_alloc.c",
        anchor: "arch_alloc_page(page, order);",
        how: How::After,
        text: "#ifdef CONFIG_CONGRUENT\n\tcongruent_allocated(page, order, gfp_flags);\n#endif\n",
        reason: "who asks for pages that cannot be high uses their permanent addresses at any time",
        of: Of::Any,
    },
    Edit {
        file: "mm/page_alloc.c",
        anchor: "arch_free_page(page, order);",
        how: How::After,
        text: "#ifdef CONFIG_CONGRUENT\n\tcongruent_returned(page, order);\n#endif\n",
        reason: "free frames are nobody's",
        of: Of::Any,
    },
];
