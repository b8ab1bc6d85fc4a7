/* SPDX-License-Identifier: MIT */
/*
 * What Linux calls in the places where it maintains caches for virtual aliases, defined anew for all who call it.
 *
 * Included at the end of asm/cacheflush.h. The files that hold the processor's own functions of these names are compiled with
 * CONGRUENT_OWN.
 */
#ifndef _ASM_CONGRUENT_MAINTENANCE_H
#define _ASM_CONGRUENT_MAINTENANCE_H

struct page;
struct vm_area_struct;

void congruent_copy_page(struct page *to, struct page *from, unsigned long address);
void congruent_clear_page(struct page *page, unsigned long address);
void congruent_to_user(struct vm_area_struct *vma, struct page *page, void *to, const void *from, unsigned long len);
void congruent_vmap(unsigned long start, unsigned long end);
void congruent_vunmap(unsigned long start, unsigned long end);

#ifndef CONGRUENT_OWN

/* Kernel code stores through windows, and those say so when they are closed. */
#undef flush_dcache_folio
#define flush_dcache_folio(folio)		((void)(folio))
#define flush_dcache_page(page)			((void)(page))
#define flush_anon_page(vma, page, address)	((void)(vma), (void)(page), (void)(address))

/* What users leave in the cache stays there until somebody needs it elsewhere. */
#define flush_cache_mm(mm)			((void)(mm))
#define flush_cache_range(vma, start, end)	((void)(vma), (void)(start), (void)(end))
#define flush_cache_page(vma, address, pfn)	((void)(vma), (void)(address), (void)(pfn))

/* A frame in a vmap area is held at the area's colour, where devices find it. */
#define flush_cache_vmap(start, end)		congruent_vmap(start, end)
#define flush_cache_vunmap(start, end)		congruent_vunmap(start, end)
#define flush_kernel_vmap_range(start, size)	((void)(start), (void)(size))
#define invalidate_kernel_vmap_range(start, size) ((void)(start), (void)(size))

#define clear_user_highpage			congruent_clear_page
#define copy_user_highpage(to, from, address, vma) \
	((void)(vma), congruent_copy_page(to, from, address))
#define copy_to_user_page(vma, page, address, to, from, len) \
	((void)(address), congruent_to_user(vma, page, to, from, len))
/* The window is of the users' own colour. */
#define copy_from_user_page(vma, page, address, to, from, len) \
	((void)(vma), (void)(page), (void)(address), memcpy(to, from, len))

#endif /* !CONGRUENT_OWN */
#endif
