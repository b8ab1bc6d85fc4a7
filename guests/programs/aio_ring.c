/*
 * The ring of an AIO context is memory that the kernel and the program share: the kernel stores events and its end, the program loads them
 * there and stores its beginning (Linux, fs/aio.c, struct aio_ring). So many rings are made that their frames are of every colour.
 */
#define _GNU_SOURCE
#include "colours.h"

#include <linux/aio_abi.h>
#include <sys/syscall.h>

struct ring {
	uint32_t id, count, head, tail, magic, compatible, incompatible, length;
	struct io_event events[];
};

#define RINGS 24
#define ROUNDS 40

NOT_INLINED static uint32_t program_loads_tail(const volatile struct ring *ring)
{
	return ring->tail;
}

NOT_INLINED static uint64_t program_loads_event(const volatile struct ring *ring, uint32_t at)
{
	return ring->events[at].data;
}

int main(void)
{
	static char from[PAGE];
	uint32_t n, round;
	int file;

	program_name = "aio_ring";
	file = must("/tmp/aio", open("/tmp/aio", O_CREAT | O_RDWR, 0600));
	must("write", write(file, from, sizeof from));
	for (n = 0; n < RINGS; n++) {
		aio_context_t context = 0;
		volatile struct ring *ring;

		/* Earlier ones stay, so that the frames are others. */
		must("io_setup", syscall(SYS_io_setup, 16, &context));
		ring = (volatile struct ring *)context;
		for (round = 1; round <= ROUNDS; round++) {
			struct iocb block = {.aio_data = pattern(n, 0, round), .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = file,
					     .aio_buf = (uintptr_t)from, .aio_nbytes = PAGE}, *blocks[] = {&block};
			uint32_t head = ring->head;

			must("io_submit", syscall(SYS_io_submit, context, 1, blocks));
			if (program_loads_tail(ring) == head)
				fail("the end of ring %u is that of before round %u", n, round);
			if (program_loads_event(ring, head) != pattern(n, 0, round))
				fail("the event of ring %u is not that of round %u", n, round);
			ring->head = (head + 1) % ring->count;
		}
	}
	printf("PASS aio_ring: %u rings\n", RINGS);
	return 0;
}
