/*
 * The cases of ARMv6 on the raspi1ap board (ARM1176) and of ARMv5 on the versatilepb board (ARM926). Small pages map a frame at four
 * addresses, one of each colour of a cache with 16 KiB ways, and once past the cache.
 *
 * Sources: ARM Architecture Reference Manual (DDI 0100I), B3 (cp15), B4 (translation tables), B6 (c7); ARM1176JZF-S TRM 3.2.22 (block
 * operations); ARM926EJ-S TRM 2.3 (test and clean); BCM2835 ARM Peripherals; Versatile PB926EJ-S User Guide.
 */
#include "cases.h"

#define CASES_MAX 128u
#define WAYS 4u
#define LINE 32u
#if defined(VIRTUAL_TAGS)
#define SETS 128u
#else
#define SETS 512u
#endif

#if __ARM_ARCH >= 6
#define DEVICES 0x20000000u
#define UART_DATA ((volatile u32 *)0x20201000u)
#define SMALL_PAGE_CACHED 0x3eu    /* read and write; C, B: write-back */
#define SMALL_PAGE_UNCACHED 0x72u  /* read and write; TEX 1: normal, non-cacheable */
#define SECTION_CACHED 0x00000c0eu /* read and write; C, B: write-back */
#define SECTION_DEVICE 0x00000c06u /* read and write; B: shared device */
#define CONTROL 0x00801005u        /* XP, I, C, M */
#else
#define DEVICES 0x10000000u
#define UART_DATA ((volatile u32 *)0x101f1000u)
#define SMALL_PAGE_CACHED 0xffeu   /* read and write; C, B: write-back */
#define SMALL_PAGE_UNCACHED 0xff2u /* read and write; neither C nor B */
#define SECTION_CACHED 0x00000c1eu
#define SECTION_DEVICE 0x00000c12u
#define CONTROL 0x00001005u        /* I, C, M */
#endif

#define MAPPED 0x40000000u
#define UNCACHED 0x40010000u
#define COARSE_TABLE 0x11u

static char frames[CASES_MAX][PAGE] __attribute__((aligned(4096)));
/* Used from its end, so that its lines share no set with the first line of a page: some cases discard what is in those sets. */
__attribute__((used)) static char stack[PAGE] __attribute__((aligned(4096)));
static u32 sections[4096] __attribute__((aligned(16384)));
/* Away from the first line of a page as well. */
static u32 padding_and_pages[512] __attribute__((aligned(2048)));

/* Writes `value` to cp15 register c7 of these two numbers. */
#define c7(crm, op2, value) __asm__ volatile("mcr p15, 0, %0, c7, " #crm ", " #op2 : : "r"(value) : "memory")
#define address_of_way(address, way) ((way) << 30 | ((u32)(address) & (SETS * LINE - LINE)))
#define every_way(crm, op2, address)                                                                                               \
	do {                                                                                                                       \
		u32 way;                                                                                                           \
		for (way = 0; way < WAYS; way++)                                                                                   \
			c7(crm, op2, address_of_way(address, way));                                                                \
	} while (0)

#define clean_line(address) c7(c10, 1, address)
#define invalidate_line(address) c7(c6, 1, address)
#define clean_invalidate_line(address) c7(c14, 1, address)
#define clean_by_way(address) every_way(c10, 2, address)
#define clean_invalidate_by_way(address) every_way(c14, 2, address)
#define clean_one_way(address) c7(c10, 2, address_of_way(address, 1u))
#define good_write_back(address) clean_invalidate_line(address)
#define drop_code(address) c7(c5, 1, address)
#define OWN_CODE(code) __asm__ volatile("b 2f\n\t.balign 64\n1:\tbx lr\n\t.balign 64\n2:\tadr %0, 1b" : "=r"(code))

/* Test and clean: repeated until the Z flag says that no line is dirty. */
#define until_clean(crm) __asm__ volatile("1: mrc p15, 0, r15, c7, " #crm ", 3\n\tbne 1b" : : : "cc", "memory")

/* Maps another frame, full of zeros, at the case's first address. */
__attribute__((unused)) static void map_another_frame(void);

#if defined(BEHAVIOUR)
#include "behaviour.h"
#else
CASES_OF_ACCESSES
CASES_OF_CODE
CASES_OF_LINE_OPERATION(clean_line, clean, stale)
CASES_OF_LINE_OPERATION(invalidate_line, stale, clean)
CASES_OF_LINE_OPERATION(clean_invalidate_line, clean, clean)
CASES_OF_LINE_OPERATION(clean_by_way, clean, stale)
CASES_OF_LINE_OPERATION(clean_invalidate_by_way, clean, clean)
CASES_OF_LINE_OPERATION(clean_one_way, stale, stale)

#if __ARM_ARCH >= 6
/* Invalidation that reaches other lines is tried on clean caches only: everything else this program has written must survive. */
#define invalidate_by_way(address) every_way(c6, 2, address)
#define clean_all(address) c7(c10, 0, 0 * (u32)(address))
#define clean_invalidate_all(address) c7(c14, 0, 0 * (u32)(address))
/* The block operations run from their second operand to the line that holds the first. */
#define block(crm, address)                                                                                                        \
	__asm__ volatile("mcrr p15, 0, %0, %1, " #crm : : "r"((address) + 40), "r"(address) : "memory")
#define block_invalidate(address) block(c6, address)
#define block_clean(address) block(c12, address)
#define block_clean_invalidate(address) block(c14, address)

CASES_OF_LINE_OPERATION(invalidate_by_way, stale, clean)
CASES_OF_OPERATION(clean_all, clean, stale)
CASES_OF_OPERATION(clean_invalidate_all, clean, clean)
CASES_OF_LINE_OPERATION(block_invalidate, stale, clean)
CASES_OF_LINE_OPERATION(block_clean, clean, stale)
CASES_OF_LINE_OPERATION(block_clean_invalidate, clean, clean)

/* A block ends with the line of its last address: the next line is not covered, the last one is. */
CASE(clean_last_line_of_a_block)
{
	STORE(frame->a + LINE);
	block_clean_invalidate(frame->a);
	return LOAD(frame->b + LINE);
}

CASE(stale_line_after_a_block)
{
	STORE(frame->a + 2 * LINE);
	block_clean_invalidate(frame->a);
	return LOAD(frame->b + 2 * LINE);
}

CASE(stale_load_by_ldrex)
{
	u32 value;

	STORE(frame->a);
	__asm__ volatile("ldrex %0, [%1]" : "=r"(value) : "r"(frame->b) : "memory");
	return value;
}

CASE(stale_load_after_strex)
{
	u32 failed;

	__asm__ volatile("ldrex %0, [%2]\n\tstrex %0, %1, [%2]" : "=&r"(failed) : "r"(NEWEST), "r"(frame->a) : "memory");
	return failed ? 0 : LOAD(frame->b);
}
#else
#define test_clean_all(address) ((void)(address), ({ until_clean(c10); }))
#define test_clean_invalidate_all(address) ((void)(address), ({ until_clean(c14); }))

CASES_OF_OPERATION(test_clean_all, clean, stale)
CASES_OF_OPERATION(test_clean_invalidate_all, clean, clean)
#endif

CASE(stale_copy_after_prefetch)
{
	__asm__ volatile("pld [%0]" : : "r"(frame->b) : "memory");
	STORE(frame->a);
	good_write_back(frame->a);
	return LOAD(frame->b);
}

/* Three colours away, as an even number of pages would hide a cache of two colours. */
CASE(stale_load_of_the_last_colour)
{
	STORE(frame->a);
	return LOAD(frame->b + 2 * PAGE);
}

/* Accesses of other widths and kinds. */
#define LOAD_CASE(instruction, mask)                                                                                               \
	CASE(stale_load_by_##instruction)                                                                                          \
	{                                                                                                                          \
		u32 value;                                                                                                         \
		STORE(frame->a);                                                                                                   \
		__asm__ volatile(#instruction " %0, [%1]" : "=r"(value) : "r"(frame->b) : "memory");                               \
		return value == (NEWEST & (mask)) ? NEWEST : value;                                                                \
	}
LOAD_CASE(ldrb, 0xffu)
LOAD_CASE(ldrsb, 0xffu)
LOAD_CASE(ldrh, 0xffffu)
LOAD_CASE(ldrsh, 0xffffu)

CASE(stale_load_by_ldmia)
{
	u32 first, second;

	STORE(frame->a + 4);
	__asm__ volatile("ldmia %2, {r4, r5}\n\tmov %0, r4\n\tmov %1, r5"
			 : "=r"(first), "=r"(second)
			 : "r"(frame->b)
			 : "r4", "r5", "memory");
	return first ? 0 : second;
}

CASE(stale_load_by_ldrd)
{
	register u32 first __asm__("r4"), second __asm__("r5");

	STORE(frame->a + 4);
	__asm__ volatile("ldrd r4, [%2]" : "=r"(first), "=r"(second) : "r"(frame->b) : "memory");
	return first ? 0 : second;
}

CASE(stale_load_by_swp)
{
	u32 value;

	STORE(frame->a);
	__asm__ volatile("swp %0, %1, [%2]" : "=&r"(value) : "r"(NEWEST), "r"(frame->b) : "memory");
	return value;
}

CASE(stale_load_after_strb)
{
	__asm__ volatile("strb %0, [%1]" : : "r"(NEWEST), "r"(frame->a) : "memory");
	return LOAD(frame->b) == (NEWEST & 0xffu) ? NEWEST : 0;
}

CASE(stale_load_after_stmia)
{
	__asm__ volatile("mov r4, #0\n\tmov r5, %0\n\tstmia %1, {r4, r5}" : : "r"(NEWEST), "r"(frame->a) : "r4", "r5", "memory");
	return LOAD(frame->b + 4);
}

#endif

#if __ARM_ARCH >= 6 && !defined(BEHAVIOUR)

#define MAILBOX ((volatile u32 *)0x2000b880u) /* 0: read, 6: its status, 8: write */
#define EMPTY 0x40000000u
#define PROPERTIES 8u
#define TAG_OF_ETHERNET_ADDRESS 0x00010003u

/* A question to the graphics processor, which writes its answer into memory; no judge follows it. The question is in one line, and so is
 * what the answer takes the place of. */
static char *question(const struct frame *frame)
{
	volatile u32 *words = (volatile u32 *)(frame->uncached + LINE / 2);

	words[0] = 32; /* bytes, from here to the last tag */
	words[1] = 0;
	words[2] = TAG_OF_ETHERNET_ADDRESS;
	words[3] = 8;
	words = (volatile u32 *)(frame->a + LINE);
	words[0] = 0;
	words[1] = NEWEST;
	words[2] = NEWEST;
	words[3] = 0; /* the last tag */
	invalidate_line(frame->a + LINE);
	return frame->a + LINE + 4;
}

CASE(clean_answer_of_a_device_that_nobody_follows)
{
	char *answer = question(frame);

	MAILBOX[8] = (padding_and_pages[256] & ~(PAGE - 1)) | LINE / 2 | PROPERTIES;
	while (MAILBOX[6] & EMPTY)
		;
	(void)MAILBOX[0];
	return LOAD(answer) != NEWEST ? NEWEST : 0;
}

/* It was never asked. */
CASE(stale_load_of_what_no_answer_took_the_place_of) { return LOAD(question(frame)); }

#endif

void print_letter(char letter)
{
	*UART_DATA = (u32)(unsigned char)letter;
}

/* The second half of a page that holds nothing else. */
#define pages (padding_and_pages + 256)

static void pages_change(void)
{
	/* The table walk does not look into the data cache. */
	clean_line(pages);
	clean_line(pages + (UNCACHED - MAPPED) / PAGE);
	c7(c10, 4, 0);                                                      /* drain the write buffer */
	__asm__ volatile("mcr p15, 0, %0, c8, c7, 0" : : "r"(0) : "memory"); /* invalidate the TLB */
}

static void map_another_frame(void)
{
	static u32 used;

	pages[0] = (u32)frames[CASES_MAX - ++used] | SMALL_PAGE_CACHED;
	pages_change();
}

void map(struct frame *frame, u32 number)
{
	u32 i;

	if (number >= CASES_MAX) {
		print("FAIL more cases than frames\n");
		end_machine();
	}
#if defined(VIRTUAL_TAGS)
	/* What the case before left under these addresses. */
	until_clean(c14);
#endif
	for (i = 0; i < 4; i++)
		pages[i] = (u32)frames[number] | SMALL_PAGE_CACHED;
	pages[(UNCACHED - MAPPED) / PAGE] = (u32)frames[number] | SMALL_PAGE_UNCACHED;
	pages_change();
	frame->a = (char *)MAPPED;
	frame->b = (char *)MAPPED + PAGE;
	frame->uncached = (char *)UNCACHED;
}

void end_machine(void)
{
#if __ARM_ARCH >= 6
	/* The watchdog of the power manager, with its password. */
	*(volatile u32 *)0x20100024u = 0x5a00000au;
	*(volatile u32 *)0x2010001cu = 0x5a000020u;
#else
	/* SYS_LOCK, then SYS_RESETCTL. */
	*(volatile u32 *)0x10000020u = 0xa05fu;
	*(volatile u32 *)0x10000040u = 0x106u;
#endif
	for (;;)
		;
}

/* Switches translation and cache on: RAM and devices at their own addresses, and one table of small pages for the frame. */
__attribute__((used)) static void start(void)
{
	u32 i;

	for (i = 0; i < 64; i++) {
		sections[i] = i << 20 | SECTION_CACHED;
		sections[(DEVICES >> 20) + i] = (DEVICES + (i << 20)) | SECTION_DEVICE;
	}
	sections[MAPPED >> 20] = (u32)pages | COARSE_TABLE;
	c7(c7, 0, 0);                                                             /* invalidate both caches */
	__asm__ volatile("mcr p15, 0, %0, c8, c7, 0" : : "r"(0) : "memory");        /* invalidate the TLB */
	__asm__ volatile("mcr p15, 0, %0, c2, c0, 0" : : "r"(sections) : "memory"); /* where the table is */
	__asm__ volatile("mcr p15, 0, %0, c3, c0, 0" : : "r"(1) : "memory");        /* domain 0: as the table says */
	__asm__ volatile("mcr p15, 0, %0, c1, c0, 0" : : "r"(CONTROL) : "memory");
	run_cases();
}

__asm__(".globl _start\n"
	"_start:\n"
	"	ldr sp, =stack + 4088\n"
	"	b start\n"
	"	.ltorg\n");
