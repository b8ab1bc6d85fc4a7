/*
 * The cases of two CPUs on the malta board, each with caches of its own (`malta.h`). CPU 0 runs the cases, CPU 1 what they ask it for.
 *
 * The judge takes data caches to be coherent at each colour, maintenance by address to reach both CPUs, as MIPS's Coherence Manager has
 * it, and all other maintenance to reach the CPU that runs it.
 *
 * Sources: as for `malta.h`; MIPS32 P5600 Software User's Manual, chapters on the Coherence Manager (GCR_CPC_BASE, GCR_CL_OTHER,
 * GCR_CO_RESET_BASE) and the Cluster Power Controller, of which QEMU starts a CPU by the bit in VP_RUN.
 */
#include "malta.h"

#define GCR(offset) (*(volatile u32 *)KSEG1(0x1fbf8000u + (offset)))
#define GCR_CPC_BASE GCR(0x88)
#define GCR_CL_OTHER GCR(0x2018)
#define GCR_CO_RESET_BASE GCR(0x4020)
#define CPC_AT 0x1bde0000u
#define CPC_VP_RUN (*(volatile u32 *)KSEG1(CPC_AT + 0x2028u))

typedef void task(char *address);

/* What CPU 1 is to do; it takes the task away when it has done it. */
static struct {
	task *volatile task;
	char *volatile address;
	volatile u32 physical;
} request __attribute__((aligned(64)));

__attribute__((used)) static char second_stack[PAGE] __attribute__((aligned(4096)));

/* Has CPU 1 do something with an address of this case's frame, and waits until it is done. */
static void on_cpu_1(const struct frame *frame, task *task, char *address)
{
	request.address = address;
	request.physical = PHYSICAL(frame);
	__asm__ volatile("sync" : : : "memory");
	request.task = task;
	while (request.task)
		;
	__asm__ volatile("sync" : : : "memory");
}

__attribute__((noreturn, used)) static void second_cpu(void)
{
	for (;;) {
		while (!request.task)
			;
		map_physical(request.physical);
		request.task(request.address);
		__asm__ volatile("sync" : : : "memory");
		request.task = 0;
	}
}

static void load(char *address) { (void)LOAD(address); }
static void store(char *address) { STORE(address); }
static void rewrite(char *address) { REWRITE(address); }
static void call(char *address) { CALL(address); }
static void write_back_by_address(char *address) { hit_writeback_invalidate_d(address); }
static void write_back_by_index(char *address) { index_writeback_invalidate_d(address); }
static void drop_code_by_address(char *address) { drop_code(address); }
static void drop_code_by_index(char *address) { every_way(0x00, address); }

CASE(clean_load_of_what_the_other_cpu_stored)
{
	on_cpu_1(frame, store, frame->a);
	return LOAD(frame->a);
}

CASE(stale_load_of_what_the_other_cpu_stored_at_another_colour)
{
	on_cpu_1(frame, store, frame->a);
	return LOAD(frame->b);
}

CASE(clean_write_back_by_address_for_the_other_cpu)
{
	on_cpu_1(frame, store, frame->a);
	write_back_by_address(frame->a);
	return LOAD(frame->b);
}

CASE(clean_drop_by_address_for_the_other_cpu)
{
	LOAD(frame->b);
	STORE(frame->a);
	on_cpu_1(frame, write_back_by_address, frame->a);
	on_cpu_1(frame, write_back_by_address, frame->b);
	return LOAD(frame->b);
}

CASE(stale_write_back_by_index_on_the_wrong_cpu)
{
	on_cpu_1(frame, store, frame->a);
	write_back_by_index(frame->a);
	return LOAD(frame->b);
}

CASE(clean_write_back_by_index_on_that_cpu)
{
	on_cpu_1(frame, store, frame->a);
	on_cpu_1(frame, write_back_by_index, frame->a);
	return LOAD(frame->b);
}

CASE(stale_write_back_by_index_after_the_line_moved_away)
{
	STORE(frame->a);
	on_cpu_1(frame, store, frame->a + 4);
	write_back_by_index(frame->a);
	return LOAD(frame->b);
}

CASE(clean_write_back_by_index_after_the_line_moved_here)
{
	on_cpu_1(frame, store, frame->a);
	STORE(frame->a + 4);
	write_back_by_index(frame->a);
	return LOAD(frame->b);
}

/* The other CPU may have taken over what is to be written back. */
CASE(stale_write_back_by_index_of_a_line_that_both_hold)
{
	STORE(frame->a);
	on_cpu_1(frame, load, frame->a);
	write_back_by_index(frame->a);
	return LOAD(frame->b);
}

CASE(clean_write_back_by_index_on_both_cpus)
{
	STORE(frame->a);
	on_cpu_1(frame, load, frame->a);
	write_back_by_index(frame->a);
	on_cpu_1(frame, write_back_by_index, frame->a);
	return LOAD(frame->b);
}

CASE(stale_copy_of_the_other_cpu_hit_after_dropping_by_index)
{
	LOAD(frame->b);
	on_cpu_1(frame, load, frame->b);
	STORE(frame->a);
	write_back_by_address(frame->a);
	write_back_by_index(frame->b);
	return LOAD(frame->b);
}

CASE(clean_fetch_after_dropping_by_address_on_the_other_cpu)
{
	char *code;

	OWN_CODE(code);
	CALL(code);
	on_cpu_1(frame, rewrite, code);
	on_cpu_1(frame, write_back_by_address, code);
	on_cpu_1(frame, drop_code_by_address, code);
	CALL(code);
	return NEWEST;
}

CASE(stale_fetch_after_dropping_by_index_on_the_other_cpu)
{
	char *code;

	OWN_CODE(code);
	CALL(code);
	on_cpu_1(frame, rewrite, code);
	on_cpu_1(frame, write_back_by_address, code);
	on_cpu_1(frame, drop_code_by_index, code);
	CALL(code);
	return NEWEST;
}

CASE(clean_fetch_after_dropping_by_index_on_both_cpus)
{
	char *code;

	OWN_CODE(code);
	CALL(code);
	on_cpu_1(frame, call, code);
	on_cpu_1(frame, rewrite, code);
	on_cpu_1(frame, write_back_by_address, code);
	on_cpu_1(frame, drop_code_by_index, code);
	drop_code_by_index(code);
	CALL(code);
	return NEWEST;
}

START(second_start, second_stack, second_cpu);
extern char second_start[];

/* Starts CPU 1 before the first case. */
__attribute__((noreturn, used)) static void start_both(void)
{
	GCR_CPC_BASE = CPC_AT | 1;
	GCR_CL_OTHER = 1;
	GCR_CO_RESET_BASE = KSEG1((u32)second_start & 0x1fffffffu);
	CPC_VP_RUN = 2;
	run_cases();
}

START(_start, stack, start_both);
