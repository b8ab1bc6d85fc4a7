/*
 * Loads through a shared file mapping, lets the kernel change the bytes with pwrite, and loads again: the program must see what the
 * kernel stored through its own mapping of the frame.
 */
#include "colours.h"

/* The first word that is not of this round, or WORDS. */
NOT_INLINED static uint32_t program_loads_page(const volatile uint32_t *words, uint32_t page, uint32_t round)
{
	uint32_t i, wrong = WORDS;

	for (i = WORDS; i-- > 0;)
		if (words[i] != pattern(page, i, round))
			wrong = i;
	return wrong;
}

NOT_INLINED static void write_page(int file, uint32_t page, uint32_t round)
{
	static uint32_t copy[WORDS];
	uint32_t i;

	for (i = 0; i < WORDS; i++)
		copy[i] = pattern(page, i, round);
	if (pwrite(file, copy, PAGE, (off_t)page * PAGE) != (ssize_t)PAGE)
		fail("pwrite: %s", strerror(errno));
}

static int on(const char *directory, int only_congruent)
{
	char *area = reserve(PAGES);
	struct choice choice;
	uint32_t n, round;
	char path[64];
	int file;

	snprintf(path, sizeof path, "%s/pwrite_mapped", directory);
	file = must(path, open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
	must("ftruncate", ftruncate(file, PAGES * PAGE));
	area = map_file(area, file, PROT_READ, path);
	populate_by_loads(area);
	choice = choose("self", area, only_congruent);
	for (round = 1; round <= 3; round++)
		for (n = 0; n < choice.count; n++) {
			uint32_t page = choice.page[n], wrong;

			write_page(file, page, round);
			wrong = program_loads_page((volatile uint32_t *)(area + page * PAGE), page, round);
			if (wrong != WORDS)
				fail("%s: page %u word %u is not what was written", directory, page, wrong);
		}
	munmap(area, PAGES * PAGE);
	close(file);
	unlink(path);
	return pass(directory, &choice);
}

int main(int argc, char **argv)
{
	program_name = congruent_only(argc, argv) ? "pwrite_mapped:congruent" : "pwrite_mapped";
	return on("/tmp", congruent_only(argc, argv)) || on("/ram", congruent_only(argc, argv));
}
