/*
 * The malta board and its MIPS32 core, either byte order: console, cache instructions, one frame mapped twice, the way in and out.
 *
 * One wired TLB entry maps a frame at an even and an odd page: two colours of a cache with 8 KiB ways. Included once, by the file with the
 * cases.
 *
 * Sources: MIPS32 Architecture for Programmers, volume II (CACHE, SYNCI, PREF) and III (TLB, CP0); Malta User's Manual (UART, SOFTRES).
 */
#ifndef MALTA_H
#define MALTA_H

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

void print_letter(char letter)
{
	while (!(UART[UART_STATUS] & UART_CAN_SEND))
		;
	UART[0] = (unsigned char)letter;
}

/* Maps a frame on the CPU that runs this. */
static void map_physical(u32 physical)
{
	u32 entry = physical >> 6 | ENTRY_FLAGS;

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
}

void map(struct frame *frame, u32 number)
{
	u32 physical = (u32)frames[number] & 0x1fffffffu;

	if (number >= CASES_MAX) {
		print("FAIL more cases than frames\n");
		end_machine();
	}
	map_physical(physical);
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

/*
 * Where a CPU starts: kseg0 cacheable (Config.K0 = 3), no exception level, floating point on (Status: CU1, BEV), TagLo zero, a stack.
 * Aligned to a page, as the addresses are that a CPU can be sent to.
 */
#define START(label, stack, function)                                                                                              \
	__asm__(".globl " #label "\n.balign 4096\n"                                                                                \
		".set noreorder\n" #label ":\n"                                                                                    \
		"	mfc0 $8, $16\n"                                                                                             \
		"	ins $8, $0, 0, 3\n"                                                                                         \
		"	ori $8, $8, 3\n"                                                                                            \
		"	mtc0 $8, $16\n"                                                                                             \
		"	lui $8, 0x2040\n"                                                                                           \
		"	mtc0 $8, $12\n"                                                                                             \
		"	mtc0 $0, $28\n"                                                                                             \
		"	ehb\n"                                                                                                      \
		"	lui $29, %hi(" #stack " + 4080)\n"                                                                          \
		"	addiu $29, $29, %lo(" #stack " + 4080)\n"                                                                   \
		"	lui $25, %hi(" #function ")\n"                                                                              \
		"	addiu $25, $25, %lo(" #function ")\n"                                                                       \
		"	jr $25\n"                                                                                                   \
		"	nop\n"                                                                                                      \
		".set reorder\n")

#endif
