/*
 * The cases of MIPS32 release 2 on the malta board, either byte order (`malta.h`).
 *
 * Sources: MIPS32 Architecture for Programmers, volume II (CACHE, SYNCI, PREF).
 */
#include "malta.h"

CASES_OF_LINE_OPERATION(synchronize_i, clean, stale)
CASES_OF_LINE_OPERATION(index_writeback_invalidate_d, clean, clean)
CASES_OF_LINE_OPERATION(index_store_tag_d, stale, clean)
CASES_OF_LINE_OPERATION(one_way_writeback_invalidate_d, stale, stale)
CASES_OF_OPERATION(whole_writeback_invalidate_d, clean, clean)

/* Past the cache by the attribute of a TLB entry. */
#define MAPPED_UNCACHED(frame) ((void)(frame), (char *)UNCACHED)

CASE(stale_load_by_uncached_entry)
{
	STORE(frame->a);
	return LOAD(MAPPED_UNCACHED(frame));
}

CASE(clean_load_by_uncached_entry)
{
	STORE(frame->a);
	good_write_back(frame->a);
	return LOAD(MAPPED_UNCACHED(frame));
}

CASE(stale_store_by_uncached_entry)
{
	STORE(frame->a);
	STORE(MAPPED_UNCACHED(frame));
	return NEWEST;
}

CASE(clean_load_by_cached_entry_after_uncached_store)
{
	LOAD(frame->a);
	STORE(MAPPED_UNCACHED(frame));
	hit_invalidate_d(frame->a);
	return LOAD(frame->a);
}

/* Past the cache by Config.K0, which changes while the bytes are dirty. Nothing else is accessed in between. */
#define LOAD_WITH_K0(value, cacheability, address)                                                                                 \
	__asm__ volatile("mfc0 $8, $16\n\tmove $9, $8\n\tins $9, %2, 0, 3\n\tmtc0 $9, $16\n\tehb\n\t"                              \
			 "lw %0, 0(%1)\n\tmtc0 $8, $16\n\tehb"                                                                     \
			 : "=&r"(value)                                                                                            \
			 : "r"(address), "r"(cacheability)                                                                         \
			 : "$8", "$9", "memory")

CASE(stale_load_with_kseg0_uncached)
{
	u32 value;

	STORE(KSEG0(PHYSICAL(frame)));
	LOAD_WITH_K0(value, 2, KSEG0(PHYSICAL(frame)));
	return value;
}

CASE(clean_load_with_kseg0_cached)
{
	u32 value;

	STORE(KSEG0(PHYSICAL(frame)));
	LOAD_WITH_K0(value, 3, KSEG0(PHYSICAL(frame)));
	return value;
}

/* Negative offsets are part of the operand. */
CASE(clean_hit_writeback_with_negative_offset)
{
	STORE(frame->a);
	__asm__ volatile("cache 0x19, -2048(%0)" : : "r"(frame->a + 2048) : "memory");
	return LOAD(frame->b);
}

CASE(stale_copy_after_prefetch)
{
	__asm__ volatile("pref 0, 0(%0)" : : "r"(frame->b) : "memory");
	STORE(frame->a);
	good_write_back(frame->a);
	return LOAD(frame->b);
}

CASE(clean_prefetch_consumes_nothing)
{
	STORE(frame->a);
	__asm__ volatile("pref 0, 0(%0)" : : "r"(frame->b) : "memory");
	good_write_back(frame->a);
	hit_invalidate_d(frame->b);
	return LOAD(frame->b);
}

/* Accesses of other widths and kinds. */
#define LOAD_CASE(instruction, mask)                                                                                               \
	CASE(stale_load_by_##instruction)                                                                                          \
	{                                                                                                                          \
		u32 value;                                                                                                         \
		STORE(frame->a);                                                                                                   \
		__asm__ volatile(#instruction " %0, 0(%1)" : "=r"(value) : "r"(frame->b) : "memory");                              \
		return value == (NEWEST & (mask)) ? NEWEST : value;                                                                \
	}
#define STORE_CASE(instruction, mask)                                                                                              \
	CASE(stale_load_after_##instruction)                                                                                       \
	{                                                                                                                          \
		__asm__ volatile(#instruction " %0, 0(%1)" : : "r"(NEWEST), "r"(frame->a) : "memory");                             \
		return LOAD(frame->b) == (NEWEST & (mask)) ? NEWEST : 0;                                                           \
	}
/* The first bytes of a zero word. */
#ifdef __MIPSEB__
#define FIRST(bytes) ((bytes) << (sizeof(u32) * 8 - ((bytes) > 0xffu ? 16 : 8)))
#else
#define FIRST(bytes) (bytes)
#endif

STORE_CASE(sb, FIRST(0xffu))
STORE_CASE(sh, FIRST(0xffffu))
LOAD_CASE(lb, 0xffu)
LOAD_CASE(lbu, 0xffu)
LOAD_CASE(lh, 0xffffu)
LOAD_CASE(lhu, 0xffffu)
LOAD_CASE(ll, 0xffffffffu)

CASE(stale_load_by_lwl_and_lwr)
{
	u32 value = 0;

	STORE(frame->a);
	__asm__ volatile("ulw %0, 0(%1)" : "=&r"(value) : "r"(frame->b) : "memory");
	return value;
}

CASE(stale_load_by_lwc1)
{
	u32 value;

	STORE(frame->a);
	__asm__ volatile("lwc1 $f0, 0(%1)\n\tmfc1 %0, $f0" : "=r"(value) : "r"(frame->b) : "memory", "$f0");
	return value;
}

CASE(stale_load_after_sc)
{
	u32 done;

	__asm__ volatile("ll %0, 0(%2)\n\tmove %0, %1\n\tsc %0, 0(%2)" : "=&r"(done) : "r"(NEWEST), "r"(frame->a) : "memory");
	return done ? LOAD(frame->b) : 0;
}

CASE(stale_load_after_swl_and_swr)
{
	__asm__ volatile("usw %0, 0(%1)" : : "r"(NEWEST), "r"(frame->a) : "memory");
	return LOAD(frame->b);
}

/* The compiler puts the last case first. These run before all sweeps, of which the accounts of their findings would have to tell. */
CASES_OF_ACCESSES
CASES_OF_CODE
CASES_OF_LINE_OPERATION(hit_writeback_invalidate_d, clean, clean)
CASES_OF_LINE_OPERATION(hit_writeback_d, clean, stale)
CASES_OF_LINE_OPERATION(hit_invalidate_d, stale, clean)

START(_start, stack, run_cases);
