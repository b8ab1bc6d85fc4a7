// SPDX-License-Identifier: MIT
/*
 * What the glue and the library need of a MIPS32 processor: operations on lines that hit (MIPS32 Architecture Volume II, CACHE), and the
 * bits of a page-table entry.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <asm/cacheops.h>
#include <asm/cpu-features.h>
#include <asm/cpu-info.h>
#include <asm/hazards.h>
#include <asm/r4kcache.h>
#include <asm/tlbflush.h>
#include "internal.h"

struct congruent_cache congruent_cache(void)
{
	struct cache_desc *cache = &current_cpu_data.dcache;

	return (struct congruent_cache) {
		.size = cache->waysize * cache->ways,
		.ways = cache->ways,
		.line = cache->linesz,
		/* Cores that have these registers fill lines that nobody asked for. */
		.speculates = cpu_has_maar,
	};
}

/* A core that is not there: `congruent.dcache=SIZE,WAYS,LINE` on the command line, for emulators whose cores are fewer than the field's. */
static unsigned int told[3];

static int __init parse_dcache(char *text)
{
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(told); n++) {
		told[n] = memparse(text, &text);
		text += *text == ',';
	}
	if (*text || !is_power_of_2(told[0]) || !is_power_of_2(told[1]) || !is_power_of_2(told[2]))
		panic("congruent.dcache wants SIZE,WAYS,LINE, each a power of two: congruent.dcache=64K,4,32");
	return 0;
}
early_param("congruent.dcache", parse_dcache);

void congruent_probed(void)
{
	struct cache_desc *cache = &current_cpu_data.dcache;

	if (!told[0])
		return;
	cache->ways = told[1];
	cache->linesz = told[2];
	cache->waysize = told[0] / told[1];
	cache->sets = cache->waysize / cache->linesz;
	cache->waybit = __ffs(cache->waysize);
	if (cache->waysize > PAGE_SIZE)
		cache->flags |= MIPS_CACHE_ALIASES;
}

#define each_line(operation, start, len)						\
	do {										\
		unsigned long line = current_cpu_data.dcache.linesz, at = (start);	\
		unsigned long end = at + (len);						\
											\
		for (; at < end; at += line)						\
			cache_op(operation, at);					\
		__sync();								\
	} while (0)

void congruent_write_back(unsigned long start, u32 len)
{
	each_line(Hit_Writeback_D, start, len);
}

void congruent_invalidate(unsigned long start, u32 len)
{
	each_line(Hit_Invalidate_D, start, len);
}

void congruent_write_back_invalidate(unsigned long start, u32 len)
{
	each_line(Hit_Writeback_Inv_D, start, len);
}

void congruent_empty(void)
{
	r4k_blast_dcache();
	r4k_blast_icache();
	__sync();
	instruction_hazard();
}

/*
 * The instruction cache is indexed by virtual addresses, too, and the frame may be in it under every colour. To hit those it would have to be
 * mapped at each, and a core that speculates would fill the data cache there. So all of it goes.
 */
void congruent_drop_instructions(unsigned long start, u32 len)
{
	r4k_blast_icache();
	instruction_hazard();
}

void congruent_forget_translation(unsigned long address)
{
	local_flush_tlb_one(address);
}

void congruent_forget_translations(void)
{
	local_flush_tlb_all();
}

bool congruent_is_cached(pte_t pte)
{
	return (pte_val(pte) & _CACHE_MASK) != _CACHE_UNCACHED;
}

bool congruent_is_executable(pte_t pte)
{
	return !pte_no_exec(pte);
}

/* The handler of TLB Modified exceptions sets both bits. */
pte_t congruent_unstored(pte_t pte)
{
	return __pte(pte_val(pte) & ~(_PAGE_DIRTY | _PAGE_MODIFIED));
}
