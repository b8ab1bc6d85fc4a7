// SPDX-License-Identifier: MIT
/*
 * kmap_local_page and kmap_atomic: windows of the colour at which the frame is used already. They cannot fail, wait for nobody and take
 * nothing away; what users at other colours have to be shown is found out when they are closed, and only if something was stored.
 */
#include <linux/highmem.h>
#include <linux/sched.h>
#include <asm/fixmap.h>
#include "internal.h"

/* The place for a window of a colour at this depth. Fixed addresses go down from one of colour 0. */
static int place(int depth, unsigned int colour)
{
	int first = KM_MAX_IDX * CONGRUENT_COLOURS * smp_processor_id() + depth * CONGRUENT_COLOURS;
	int index;

	for (index = first; index < first + CONGRUENT_COLOURS; index++)
		if (congruent_colour(__fix_to_virt(FIX_KMAP_BEGIN + index)) == colour)
			break;
	return index;
}

static unsigned int colour_of(unsigned long pfn)
{
	struct congruent_frame *frame = congruent_frame(pfn);
	unsigned long permanent = congruent_permanent(pfn);

	/* A frame that the kernel has at its permanent address is at no other one. */
	if (permanent && (!frame || frame->is_given || !congruent_is_ready()))
		return congruent_colour(permanent);
	return frame ? congruent_home(pfn) : 0;
}

/* A window of a task that is switched to has the colour that it had. */
int congruent_window_index(int depth, unsigned long pfn)
{
	struct kmap_ctrl *windows = &current->kmap_ctrl;

	if (pte_none(windows->pteval[depth]))
		windows->colour[depth] = colour_of(pfn);
	return place(depth, windows->colour[depth]);
}

int congruent_window_index_at(int depth, unsigned long address)
{
	return place(depth, congruent_colour(address));
}

static void touches(unsigned long address, pte_t pte)
{
	struct congruent_frame *frame = congruent_frame(pte_pfn(pte));

	if (congruent_is_ready() && frame && !frame->is_given)
		congruent_touches(pte_pfn(pte), congruent_colour(address));
}

pte_t congruent_window_opens(unsigned long address, pte_t pte)
{
	congruent_counts.windows++;
	touches(address, pte);
	return congruent_unstored(pte);
}

/* A task's windows are opened again when it comes back; before a window is opened the first time, its place has no entry. */
void congruent_window_returns(unsigned long address, pte_t pte)
{
	struct kmap_ctrl *windows = &current->kmap_ctrl;

	if (!pte_none(windows->pteval[windows->idx - 1]))
		touches(address, pte);
	congruent_forget_translation(address);
}

void congruent_window_closes(unsigned long address)
{
	pte_t pte = ptep_get(virt_to_kpte(address));
	struct congruent_frame *frame = congruent_frame(pte_pfn(pte));

	if (!pte_dirty(pte))
		return;
	congruent_counts.stored++;
	if (congruent_is_ready() && frame && !frame->is_given)
		congruent_stored(pte_pfn(pte), congruent_colour(address));
}

/* kmap has no window: it answers with an address of whatever colour, for as long as it likes. */
void congruent_kmap(unsigned long address)
{
	unsigned long pfn = address < VMALLOC_START ? PHYS_PFN(__pa(address)) : pte_pfn(ptep_get(virt_to_kpte(address)));
	struct congruent_frame *frame = congruent_frame(pfn);

	if (congruent_is_ready() && frame && !frame->is_given)
		congruent_unserved("kmap", pfn, 0);
}
