/*
 * Stores through a shared file mapping, then reads the same bytes of the file with pread: the kernel, through its own mapping of the
 * frame, must see what the program stored. On a file system that lives in the page cache only, so that no device is in between.
 */
#include "pages.h"

/* The first wrong word, or WORDS. */
NOT_INLINED static uint32_t program_checks_copy(const volatile uint32_t *words, uint32_t page, uint32_t round)
{
	uint32_t i;

	for (i = 0; i < WORDS && words[i] == pattern(page, i, round); i++)
		;
	return i;
}

static int on(const char *directory, int only_congruent)
{
	static uint32_t copy[WORDS];
	char *area = reserve(PAGES);
	struct choice choice;
	uint32_t n, round;
	char path[64];
	int file;

	snprintf(path, sizeof path, "%s/shared_pread", directory);
	file = must(path, open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
	must("ftruncate", ftruncate(file, PAGES * PAGE));
	area = map_file(area, file, PROT_READ | PROT_WRITE, path);
	populate(area);
	choice = choose("self", area, only_congruent);
	for (round = 1; round <= 2; round++)
		for (n = 0; n < choice.count; n++) {
			uint32_t page = choice.page[n], wrong;

			program_stores_page((volatile uint32_t *)(area + page * PAGE), page, round);
			if (pread(file, copy, PAGE, (off_t)page * PAGE) != (ssize_t)PAGE)
				fail("pread: %s", strerror(errno));
			wrong = program_checks_copy(copy, page, round);
			if (wrong != WORDS)
				fail("%s: page %u word %u was read as %#x", directory, page, wrong, copy[wrong]);
		}
	munmap(area, PAGES * PAGE);
	close(file);
	unlink(path);
	return pass(directory, &choice);
}

int main(int argc, char **argv)
{
	program_name = congruent_only(argc, argv) ? "shared_pread:congruent" : "shared_pread";
	return on("/tmp", congruent_only(argc, argv)) || on("/ram", congruent_only(argc, argv));
}
