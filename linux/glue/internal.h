/* SPDX-License-Identifier: MIT */
/* Between the files of the glue, and with the library (linux/library/src/lib.rs). */
#ifndef _CONGRUENT_INTERNAL_H
#define _CONGRUENT_INTERNAL_H

#include <linux/congruent.h>
#include <linux/mm.h>

/* So many entries that they are not counted any more: whoever maps a page that often has it taken for mapped until it is free. */
#define CONGRUENT_MANY		U16_MAX

/* What is known of a frame. */
struct congruent_frame {
	/* The library's, zero at first. */
	u32 word[3];
	/* Entries of users' page tables, and those of them that allow stores, by colour. */
	u16 entries[CONGRUENT_COLOURS];
	u16 writers[CONGRUENT_COLOURS];
	/* Whether the page allocator has had it: what was used before the library began and never freed is not the library's. */
	bool is_known;
	/* Whether kernel code has it that knows its permanent address. */
	bool is_given;
};

/* What has happened, as /proc/congruent tells. */
struct congruent_counts {
	unsigned long windows, stored, mappings, revocations, refused;
};
extern struct congruent_counts congruent_counts;

/* frames.c */
struct congruent_frame *congruent_frame(unsigned long pfn);
bool congruent_is_ready(void);
unsigned int congruent_colour(unsigned long address);
unsigned long congruent_permanent(unsigned long pfn);
/* A call that cannot be refused was: counted, and said once. */
void congruent_unserved(const char *what, unsigned long pfn, int answer);

/* The processor's (mips.c). */
struct congruent_cache {
	unsigned int size, ways, line;
	bool speculates;
};
struct congruent_cache congruent_cache(void);
void congruent_forget_translation(unsigned long address);
void congruent_forget_translations(void);
void congruent_write_back(unsigned long start, u32 len);
void congruent_invalidate(unsigned long start, u32 len);
void congruent_write_back_invalidate(unsigned long start, u32 len);
void congruent_empty(void);
void congruent_drop_instructions(unsigned long start, u32 len);
/* Whether accesses through this entry go through the cache, and whether it may be fetched through. */
bool congruent_is_cached(pte_t pte);
bool congruent_is_executable(pte_t pte);
/* The same entry, through which the first store is seen (pte_dirty). */
pte_t congruent_unstored(pte_t pte);

/* What the library asks of the kernel (linux/library/src/kernel.rs). */
void *congruent_word(unsigned long pfn);
void *congruent_slots(u32 cpu);
u32 congruent_enter(void);
void congruent_leave(void);
void congruent_begin_busy(void);
void congruent_end_busy(void);
void congruent_window_map(unsigned long slot, unsigned long pfn);
void congruent_window_unmap(unsigned long slot);
u32 congruent_revoke(unsigned long pfn, u32 but);
void congruent_bug(u32 line);

/* What the library does. */
int congruent_start(u32 size, u32 ways, u32 line, unsigned long windows, u32 places, bool speculates);
u32 congruent_home(unsigned long pfn);
int congruent_touches(unsigned long pfn, u32 colour);
int congruent_stored(unsigned long pfn, u32 colour);
int congruent_map(unsigned long pfn, unsigned long address, bool write, bool execute);
int congruent_copy(unsigned long from, unsigned long to, u32 colour);
int congruent_clear(unsigned long pfn, u32 colour);
int congruent_give(unsigned long pfn);
int congruent_freed(unsigned long pfn);
int congruent_hold(unsigned long pfn, u32 colour);
int congruent_release(unsigned long pfn);
int congruent_sync_instructions(unsigned long pfn);

#endif
