/*
 * Moves written pages to addresses an odd number of pages away, so that the same frames go on under another colour, and back.
 */
#define _GNU_SOURCE
#include "colours.h"

#define MOVED 32u

NOT_INLINED static void program_writes_pages(char *area, uint32_t round)
{
	uint32_t page, i;

	for (page = 0; page < MOVED; page++)
		for (i = 0; i < WORDS; i++)
			((volatile uint32_t *)(area + page * PAGE))[i] = pattern(page, i, round);
}

NOT_INLINED static void program_reads_pages(const char *area, uint32_t round, const char *when)
{
	uint32_t page, i;

	for (page = 0; page < MOVED; page++)
		for (i = 0; i < WORDS; i++) {
			uint32_t word = ((const volatile uint32_t *)(area + page * PAGE))[i];

			if (word != pattern(page, i, round))
				fail("%s: page %u word %u is %#x", when, page, i, word);
		}
}

static char *move(char *from, char *to)
{
	if (mremap(from, MOVED * PAGE, MOVED * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		fail("mremap: %s", strerror(errno));
	return to;
}

int main(void)
{
	char *home = reserve(MOVED), *away = reserve(MOVED + 4);
	uint32_t distance, round = 1;

	program_name = "mremap_odd";
	if (mmap(home, MOVED * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("mapping memory: %s", strerror(errno));
	for (distance = 1; distance <= 3; distance += 2) {
		char *there;

		program_writes_pages(home, ++round);
		there = move(home, away + distance * PAGE);
		program_reads_pages(there, round, "after the move");
		program_writes_pages(there, ++round);
		move(there, home);
		program_reads_pages(home, round, "after the return");
	}
	printf("PASS %s: %u pages, 1 and 3 pages away and back\n", program_name, MOVED);
	return 0;
}
