/*
 * Lends pages to a pipe with vmsplice(2), stores to them, and reads the pipe: the kernel must load what the program stored through its own
 * mapping, for what a pipe was lent is what the page holds when it is read (Linux, vmsplice(2)).
 */
#define _GNU_SOURCE
#include "pages.h"

#include <sys/uio.h>

int main(int argc, char **argv)
{
	static uint32_t copy[WORDS];
	struct choice choice;
	uint32_t n, i, round;
	int ends[2];
	char *area;

	program_name = congruent_only(argc, argv) ? "vmsplice:congruent" : "vmsplice";
	area = map_anonymous();
	populate(area);
	choice = choose("self", area, congruent_only(argc, argv));
	must("pipe", pipe(ends));
	for (round = 1; round <= 2; round++)
		for (n = 0; n < choice.count; n++) {
			uint32_t page = choice.page[n];
			struct iovec lent = {area + page * PAGE, PAGE};

			if (vmsplice(ends[1], &lent, 1, 0) != (ssize_t)PAGE)
				fail("vmsplice: %s", strerror(errno));
			program_stores_page((volatile uint32_t *)lent.iov_base, page, round);
			if (read(ends[0], copy, PAGE) != (ssize_t)PAGE)
				fail("read: %s", strerror(errno));
			for (i = 0; i < WORDS; i++)
				if (copy[i] != pattern(page, i, round))
					fail("page %u word %u is not what was stored", page, i);
		}
	return pass("pipe", &choice);
}
