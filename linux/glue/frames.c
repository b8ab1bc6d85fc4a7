// SPDX-License-Identifier: MIT
/*
 * Frames: what is known of each, who gets them from the page allocator, and what the library asks of the kernel.
 */
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/pagemap.h>
#include <linux/highmem.h>
#include <linux/preempt.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/vmalloc.h>
#include <asm/fixmap.h>
#include "internal.h"

static struct congruent_frame *frames;
static unsigned long frame_count;
static bool is_ready;

bool congruent_is_ready(void)
{
	return is_ready;
}

/* The frame, if the page allocator has had it. */
struct congruent_frame *congruent_frame(unsigned long pfn)
{
	if (pfn >= frame_count || !frames[pfn].is_known)
		return NULL;
	return &frames[pfn];
}

static unsigned int colours = 1;

unsigned int congruent_colour(unsigned long address)
{
	return (address >> PAGE_SHIFT) & (colours - 1);
}

/* Its address in the kernel's permanent mapping, or 0. */
unsigned long congruent_permanent(unsigned long pfn)
{
	return pfn < max_low_pfn ? (unsigned long)__va(PFN_PHYS(pfn)) : 0;
}

struct congruent_counts congruent_counts;

void congruent_unserved(const char *what, unsigned long pfn, int answer)
{
	if (congruent_counts.refused++ < 8)
		pr_warn("congruent: %s of frame %lx was refused (%d)\n", what, pfn, answer);
}

/* Before the page allocator has any frame. */
void __init congruent_prepare(void)
{
	frame_count = max(max_low_pfn, highend_pfn);
	frames = memblock_alloc(frame_count * sizeof(*frames), SMP_CACHE_BYTES);
	if (!frames)
		panic("congruent: no memory for %lu frames", frame_count);
}

/* When it has them, and nobody has got one yet. */
void __init congruent_begin(void)
{
	struct congruent_cache cache = congruent_cache();
	unsigned long windows = __fix_to_virt(FIX_CONGRUENT_END);
	int answer;

	colours = max(1u, cache.size / cache.ways >> PAGE_SHIFT);
	if (colours > CONGRUENT_COLOURS)
		panic("congruent: %u colours, of %u", colours, CONGRUENT_COLOURS);
	windows = ALIGN(windows, colours << PAGE_SHIFT);
	answer = congruent_start(cache.size, cache.ways, cache.line, windows, CONGRUENT_PLACES, cache.speculates);
	if (answer)
		panic("congruent: this cache cannot be served (%d)", answer);
	is_ready = true;
	pr_info("congruent: %u colours%s\n", colours, cache.speculates ? ", a core that speculates" : "");
}

/*
 * Who asks for a page that may be high cannot know its permanent address: such frames are reached through windows alone. All others are
 * given to whoever asked.
 */
void congruent_allocated(struct page *page, unsigned int order, gfp_t gfp)
{
	unsigned long pfn = page_to_pfn(page), end = pfn + (1ul << order);

	if (!is_ready || gfp & __GFP_HIGHMEM)
		return;
	for (; pfn < end; pfn++) {
		int answer = congruent_give(pfn);

		if (answer)
			congruent_unserved("giving", pfn, answer);
		else
			frames[pfn].is_given = true;
	}
}

/*
 * A page of a file that kernel code uses at its permanent address (the ring of an AIO context, a block device), while users map it: at the colour
 * of its place in the file, where their mappings are. Of so many frames in a row there is one of each colour.
 */
struct folio *congruent_alloc_folio(gfp_t gfp, unsigned int order, unsigned long index)
{
	struct folio *folio = congruent_alloc_any_folio(gfp, order);
	unsigned int row = ilog2(colours), wanted, n;
	struct page *pages;

	if (!folio || order || gfp & __GFP_HIGHMEM || !((folio_pfn(folio) ^ index) & (colours - 1)))
		return folio;
	pages = alloc_pages(gfp & ~__GFP_COMP, row);
	if (!pages)
		return folio;
	folio_put(folio);
	split_page(pages, row);
	wanted = index & (colours - 1);
	for (n = 0; n < colours; n++)
		if (n != wanted)
			__free_page(pages + n);
	return page_folio(pages + wanted);
}

void congruent_returned(struct page *page, unsigned int order)
{
	unsigned long pfn = page_to_pfn(page), end = pfn + (1ul << order);

	for (; pfn < end; pfn++) {
		struct congruent_frame *frame = &frames[pfn];
		unsigned int colour;
		int answer;

		if (!frame->is_known) {
			unsigned long address = congruent_permanent(pfn);

			frame->is_known = true;
			/* What was there before the library began was stored at the permanent address. */
			if (is_ready && address)
				congruent_stored(pfn, congruent_colour(address));
			continue;
		}
		frame->is_given = false;
		for (colour = 0; colour < colours; colour++) {
			if (frame->entries[colour] && frame->entries[colour] != CONGRUENT_MANY)
				congruent_unserved("freeing with users", pfn, frame->entries[colour]);
			frame->entries[colour] = frame->writers[colour] = 0;
		}
		answer = congruent_freed(pfn);
		if (answer)
			congruent_unserved("freeing", pfn, answer);
	}
}

/* What the library asks of Linux (linux/library/src/kernel.rs). */

static u32 slots;

void *congruent_word(unsigned long pfn)
{
	struct congruent_frame *frame = congruent_frame(pfn);

	return frame ? frame->word : NULL;
}

void *congruent_slots(u32 cpu)
{
	return &slots;
}

/* The processor in the upper bytes, the level in the last: threads, softirqs, interrupts. */
u32 congruent_enter(void)
{
	preempt_disable();
	return smp_processor_id() << 8 | (in_hardirq() ? 2 : in_serving_softirq() ? 1 : 0);
}

void congruent_leave(void)
{
	preempt_enable();
}

static unsigned int busy_depth;
static unsigned long busy_flags;

void congruent_begin_busy(void)
{
	unsigned long flags;

	local_irq_save(flags);
	if (busy_depth++ == 0)
		busy_flags = flags;
}

void congruent_end_busy(void)
{
	unsigned long flags = busy_flags;

	if (--busy_depth == 0)
		local_irq_restore(flags);
}

void congruent_window_map(unsigned long slot, unsigned long pfn)
{
	set_pte(virt_to_kpte(slot), pfn_pte(pfn, PAGE_KERNEL));
}

void congruent_window_unmap(unsigned long slot)
{
	pte_clear(&init_mm, slot, virt_to_kpte(slot));
	congruent_forget_translation(slot);
}

/*
 * Page tables cannot be changed here: whoever asks holds the lock of one, and finding others takes locks that sleep. But what is left of
 * users' entries is known, and where nothing contradicts, nothing has to be changed.
 */
u32 congruent_revoke(unsigned long pfn, u32 but)
{
	struct congruent_frame *frame = congruent_frame(pfn);
	unsigned int colour, left = 0;

	for (colour = 0; colour < colours; colour++) {
		if (but == ~0u ? frame->writers[colour] : colour != but && frame->entries[colour])
			return 2;
		left += frame->entries[colour];
	}
	/* Entries that have gone may be in the TLB still. */
	congruent_counts.revocations++;
	congruent_forget_translations();
	return left ? 1 : 0;
}

void congruent_bug(u32 line)
{
	panic("congruent: the library stopped at its line %u", line);
}

/* Areas of vmalloc and vmap, whose pages kernel code uses at any time. */

static void each_page_of_area(unsigned long start, unsigned long end, bool begins)
{
	unsigned long address;

	for (address = start & PAGE_MASK; address < end; address += PAGE_SIZE) {
		pte_t *ptep = virt_to_kpte(address), pte;
		struct congruent_frame *frame;
		unsigned long pfn;
		int answer;

		if (!ptep)
			continue;
		pte = ptep_get(ptep);
		if (!pte_present(pte) || !congruent_is_cached(pte))
			continue;
		pfn = pte_pfn(pte);
		frame = congruent_frame(pfn);
		if (!frame)
			continue;
		if (frame->is_given) {
			/* At its permanent address, and at this one. */
			if (congruent_colour(address) != congruent_colour(congruent_permanent(pfn)))
				congruent_unserved("mapping in an area", pfn, 6);
			continue;
		}
		answer = begins ? congruent_hold(pfn, congruent_colour(address)) : congruent_release(pfn);
		if (answer)
			congruent_unserved(begins ? "holding" : "releasing", pfn, answer);
	}
}

void congruent_vmap(unsigned long start, unsigned long end)
{
	if (is_ready)
		each_page_of_area(start, end, true);
}

void congruent_vunmap(unsigned long start, unsigned long end)
{
	if (is_ready)
		each_page_of_area(start, end, false);
}

#ifdef CONFIG_PROC_FS
static int show_counts(struct seq_file *file, void *unused)
{
	seq_printf(file, "windows %lu\nstored %lu\nmappings %lu\nrevocations %lu\nrefused %lu\n", congruent_counts.windows,
		   congruent_counts.stored, congruent_counts.mappings, congruent_counts.revocations, congruent_counts.refused);
	return 0;
}

static int __init make_counts(void)
{
	return proc_create_single("congruent", 0444, NULL, show_counts) ? 0 : -ENOMEM;
}
late_initcall(make_counts);
#endif
