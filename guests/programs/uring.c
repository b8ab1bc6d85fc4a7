/*
 * The rings of an io_uring are memory that the kernel and the program share: the program stores entries and its end, which the kernel loads
 * from its own mapping; the kernel stores completions and their end, which the program loads (Linux, include/uapi/linux/io_uring.h).
 */
#define _GNU_SOURCE
#include "colours.h"

#include <linux/io_uring.h>
#include <sys/syscall.h>

#define RINGS 12
#define ROUNDS 40

NOT_INLINED static uint32_t program_loads_tail(const volatile uint32_t *tail)
{
	return *tail;
}

NOT_INLINED static uint64_t program_loads_completion(const volatile struct io_uring_cqe *completion)
{
	return completion->user_data;
}

int main(void)
{
	uint32_t n, round;

	program_name = "uring";
	for (n = 0; n < RINGS; n++) {
		struct io_uring_params params = {0};
		int ring = must("io_uring_setup", syscall(SYS_io_uring_setup, 4, &params));
		char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
		char *entries = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
		volatile uint32_t *end = (volatile uint32_t *)(shared + params.sq_off.tail);
		volatile uint32_t *array = (volatile uint32_t *)(shared + params.sq_off.array);
		volatile uint32_t *head = (volatile uint32_t *)(shared + params.cq_off.head);
		volatile uint32_t *tail = (volatile uint32_t *)(shared + params.cq_off.tail);

		if (shared == MAP_FAILED || entries == MAP_FAILED)
			fail("mmap: %s", strerror(errno));
		for (round = 1; round <= ROUNDS; round++) {
			uint32_t at = *end & (params.sq_entries - 1), before = *head;
			struct io_uring_sqe *entry = (struct io_uring_sqe *)entries + at;
			struct io_uring_cqe *completions = (struct io_uring_cqe *)(shared + params.cq_off.cqes);

			memset(entry, 0, sizeof *entry);
			entry->opcode = IORING_OP_NOP;
			entry->user_data = pattern(n, 0, round);
			array[at] = at;
			++*end;
			if (must("io_uring_enter", syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0)) != 1)
				fail("the kernel does not see entry %u of ring %u", round, n);
			if (program_loads_tail(tail) == before)
				fail("the end of ring %u is that of before round %u", n, round);
			if (program_loads_completion(completions + (before & (params.cq_entries - 1))) != pattern(n, 0, round))
				fail("the completion of ring %u is not that of round %u", n, round);
			++*head;
		}
	}
	printf("PASS uring: %u rings\n", RINGS);
	return 0;
}
