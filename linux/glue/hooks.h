/* SPDX-License-Identifier: MIT */
/* What edited lines of Linux call (linux/congruent.h). */
#ifndef _LINUX_CONGRUENT_H
#define _LINUX_CONGRUENT_H

#include <linux/types.h>
#include <linux/version.h>
#include <asm/page.h>

/* As the kernel allocates a page of a file. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)
#define congruent_alloc_any_folio(gfp, order)	filemap_alloc_folio(gfp, order, NULL)
#else
#define congruent_alloc_any_folio(gfp, order)	filemap_alloc_folio(gfp, order)
#endif

#ifdef CONFIG_CONGRUENT

/* The most colours for which there is place. */
#define CONGRUENT_COLOURS	8
/* Places for the library's own windows: as many as it says that it needs when it starts (linux/library/src/kernel.rs). */
#define CONGRUENT_PLACES	11
/* Pages for them, of each colour, and what it takes to begin at colour 0. */
#define CONGRUENT_PAGES		((CONGRUENT_PLACES + 1) * CONGRUENT_COLOURS)

struct page;
struct folio;
struct mm_struct;

void congruent_probed(void);
void congruent_prepare(void);
void congruent_begin(void);
void congruent_allocated(struct page *page, unsigned int order, gfp_t gfp);
void congruent_returned(struct page *page, unsigned int order);
struct folio *congruent_alloc_folio(gfp_t gfp, unsigned int order, unsigned long index);
void congruent_sync_for_device(u64 start, u64 len);
void congruent_sync_for_cpu(u64 start, u64 len);
void congruent_set_ptes(struct mm_struct *mm, unsigned long address, pte_t *ptep, pte_t pte, unsigned int nr);
void congruent_pte_clear(struct mm_struct *mm, unsigned long address, pte_t *ptep);

#else

#define CONGRUENT_COLOURS	1
#define congruent_alloc_folio(gfp, order, index)	congruent_alloc_any_folio(gfp, order)

#endif
#endif
