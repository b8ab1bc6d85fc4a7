/*
 * The cases of MIPS32 release 2 on the malta board, either byte order. One wired TLB entry maps a frame twice, at an even and an odd page:
 * two colours of a cache with 8 KiB ways.
 *
 * Sources: MIPS32 Architecture for Programmers, volume II (CACHE, SYNCI, PREF) and III (TLB, CP0); Malta User's Manual (UART, SOFTRES).
 */
#include "cases.h"

#define CASES_MAX 128u
#define WAYS 4u
#define WAY 0x2000u
#define LINE 32u

#define KSEG1(physical) ((physical) | 0xa0000000u)
#define UART ((volatile unsigned char *)KSEG1(0x180003f8u))
#define UART_STATUS 5
#define UART_CAN_SEND 0x20
#define SOFTRES ((volatile u32 *)KSEG1(0x1f000500u))
#define GORESET 0x42u

#define MAPPED 0xc0000000u /* kseg2: mapped kernel addresses */
#define UNCACHED 0xc0010000u
#define ENTRY_FLAGS 0x1fu          /* cacheable write-back (3), dirty, valid, global */
#define ENTRY_FLAGS_UNCACHED 0x17u /* uncached (2) */
#define KSEG0(physical) ((physical) | 0x80000000u)
#define PHYSICAL(frame) ((u32)(frame)->uncached & 0x1fffffffu)

static char frames[CASES_MAX][PAGE] __attribute__((aligned(4096)));
/* Used from its end, so that its lines share no set with the first line of a page: some cases discard what is in those sets. */
__attribute__((used)) static char stack[PAGE] __attribute__((aligned(4096)));

#define write_cp0(register_and_select, value) __asm__ volatile("mtc0 %z0, " register_and_select "\n\tehb" : : "Jr"(value) : "memory")

/* CACHE with operation `op` at `address`. */
#define cache(op, address) __asm__ volatile("cache %0, 0(%1)" : : "i"(op), "r"(address) : "memory")

#define hit_writeback_invalidate_d(address) cache(0x15, address)
#define hit_writeback_d(address) cache(0x19, address)
#define hit_invalidate_d(address) cache(0x11, address)
#define synchronize_i(address) __asm__ volatile("synci 0(%0)" : : "r"(address) : "memory")
#define good_write_back(address) hit_writeback_invalidate_d(address)
#define drop_code(address) cache(0x10, address)
#define OWN_CODE(code)                                                                                                             \
	__asm__ volatile(".set push\n\t.set noreorder\n\tb 2f\n\tnop\n\t.balign 64\n1:\tjr $31\n\tnop\n\t.balign 64\n2:\t.set pop\n\t"      \
			 "la %0, 1b"                                                                                               \
			 : "=r"(code))

/* The index of an address, in kseg0 as the manual asks, in way `way`. */
#define index_of(address, way) (0x80000000u | (way) * WAY | ((u32)(address) & (WAY - LINE)))
#define every_way(op, address)                                                                                                     \
	do {                                                                                                                       \
		u32 way;                                                                                                           \
		for (way = 0; way < WAYS; way++)                                                                                   \
			cache(op, index_of(address, way));                                                                         \
	} while (0)
#define index_writeback_invalidate_d(address) every_way(0x01, address)
#define index_store_tag_d(address) every_way(0x09, address)
#define one_way_writeback_invalidate_d(address) cache(0x01, index_of(address, 1))
#define whole_writeback_invalidate_d(address)                                                                                      \
	do {                                                                                                                       \
		u32 line;                                                                                                          \
		(void)(address);                                                                                                   \
		for (line = 0; line < WAYS * WAY; line += LINE)                                                                    \
			cache(0x01, 0x80000000u | line);                                                                           \
	} while (0)

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

void print_letter(char letter)
{
	while (!(UART[UART_STATUS] & UART_CAN_SEND))
		;
	UART[0] = (unsigned char)letter;
}

void map(struct frame *frame, u32 number)
{
	u32 physical = (u32)frames[number] & 0x1fffffffu;
	u32 entry = physical >> 6 | ENTRY_FLAGS;

	if (number >= CASES_MAX) {
		print("FAIL more cases than frames\n");
		end_machine();
	}
	write_cp0("$10", MAPPED); /* EntryHi */
	write_cp0("$2", entry);   /* EntryLo0: the even page */
	write_cp0("$3", entry);   /* EntryLo1: the odd page */
	write_cp0("$5", 0);       /* PageMask: 4 KiB */
	write_cp0("$0", 0);       /* Index */
	__asm__ volatile("tlbwi\n\tehb");
	write_cp0("$10", UNCACHED);
	write_cp0("$2", physical >> 6 | ENTRY_FLAGS_UNCACHED);
	write_cp0("$3", 1); /* global, not valid */
	write_cp0("$0", 1);
	__asm__ volatile("tlbwi\n\tehb");
	frame->a = (char *)MAPPED;
	frame->b = (char *)MAPPED + PAGE;
	frame->uncached = (char *)KSEG1(physical);
}

void end_machine(void)
{
	*SOFTRES = GORESET;
	for (;;)
		;
}

/* kseg0 cacheable (Config.K0 = 3), no exception level, floating point on, TagLo zero, a stack. */
__asm__(".globl _start\n"
	".set noreorder\n"
	"_start:\n"
	"	mfc0 $8, $16\n"
	"	ins $8, $0, 0, 3\n"
	"	ori $8, $8, 3\n"
	"	mtc0 $8, $16\n"
	"	lui $8, 0x2040\n" /* Status: CU1, BEV */
	"	mtc0 $8, $12\n"
	"	mtc0 $0, $28\n"
	"	ehb\n"
	"	lui $29, %hi(stack + 4080)\n"
	"	addiu $29, $29, %lo(stack + 4080)\n"
	"	lui $25, %hi(run_cases)\n"
	"	addiu $25, $25, %lo(run_cases)\n"
	"	jr $25\n"
	"	nop\n"
	".set reorder\n");
