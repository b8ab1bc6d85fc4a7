// SPDX-License-Identifier: MIT
/*
 * Users' pages: entries of page tables as they come and go, copies and cleared pages, debuggers.
 */
#include <linux/mm.h>
#include <linux/highmem.h>
#include "internal.h"

static void change(u16 *count, int by)
{
	if (*count != CONGRUENT_MANY)
		*count += by;
}

static void count(pte_t pte, unsigned long address, int by)
{
	struct congruent_frame *frame = congruent_frame(pte_pfn(pte));
	unsigned int colour = congruent_colour(address);

	if (!frame || !congruent_is_cached(pte))
		return;
	change(&frame->entries[colour], by);
	if (pte_write(pte))
		change(&frame->writers[colour], by);
}

/* Whether whatever the new entry allows, the old one did. */
static bool covers(pte_t old, pte_t new)
{
	return pte_present(old) && pte_pfn(old) == pte_pfn(new) && pte_write(old) >= pte_write(new) &&
	       congruent_is_executable(old) >= congruent_is_executable(new);
}

static void announce(pte_t pte, unsigned long address)
{
	unsigned long pfn = pte_pfn(pte);
	static bool zeros_are_written;
	int answer;

	if (!congruent_is_cached(pte) || !pfn_valid(pfn))
		return;
	if (is_zero_pfn(pfn)) {
		/* Stored once, at its permanent address, and never again. */
		if (!zeros_are_written)
			congruent_write_back_invalidate(congruent_permanent(pfn), PAGE_SIZE);
		zeros_are_written = true;
		return;
	}
	if (!congruent_frame(pfn)) {
		/* What the kernel's image has for users. */
		if (congruent_permanent(pfn))
			congruent_write_back_invalidate(congruent_permanent(pfn), PAGE_SIZE);
		return;
	}
	congruent_counts.mappings++;
	answer = congruent_map(pfn, address, pte_write(pte), congruent_is_executable(pte));
	if (answer) {
		/* The hook cannot say no: at least nothing that is known now is missed. */
		congruent_unserved("a user's mapping", pfn, answer);
		congruent_touches(pfn, congruent_colour(address));
	}
}

void congruent_set_ptes(struct mm_struct *mm, unsigned long address, pte_t *ptep, pte_t pte, unsigned int nr)
{
	if (mm == &init_mm)
		return;
	for (; nr; nr--, ptep++, address += PAGE_SIZE) {
		pte_t old = ptep_get(ptep);

		if (pte_present(old))
			count(old, address, -1);
		if (pte_present(pte)) {
			if (!covers(old, pte))
				announce(pte, address);
			count(pte, address, 1);
			pte = __pte(pte_val(pte) + (1ul << PFN_PTE_SHIFT));
		}
	}
}

void congruent_pte_clear(struct mm_struct *mm, unsigned long address, pte_t *ptep)
{
	pte_t old = ptep_get(ptep);

	if (mm != &init_mm && pte_present(old))
		count(old, address, -1);
}

void congruent_copy_page(struct page *to, struct page *from, unsigned long address)
{
	int answer = congruent_copy(page_to_pfn(from), page_to_pfn(to), congruent_colour(address));

	if (answer) {
		/* One of them is the kernel's own, at its permanent address; windows know. */
		void *source = kmap_local_page(from), *copy = kmap_local_page(to);

		copy_page(copy, source);
		kunmap_local(copy);
		kunmap_local(source);
	}
}

void congruent_clear_page(struct page *page, unsigned long address)
{
	if (congruent_clear(page_to_pfn(page), congruent_colour(address)))
		clear_highpage(page);
}

/* A debugger's store through a window. */
void congruent_to_user(struct vm_area_struct *vma, struct page *page, void *to, const void *from, unsigned long len)
{
	unsigned long pfn = page_to_pfn(page), colour = congruent_colour((unsigned long)to);

	memcpy(to, from, len);
	if (vma->vm_flags & VM_EXEC && congruent_frame(pfn)) {
		congruent_stored(pfn, colour);
		congruent_sync_instructions(pfn);
	}
}
