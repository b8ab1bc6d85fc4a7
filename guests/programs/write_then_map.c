/*
 * Writes a file, then maps it for the first time and loads: the bytes went into the page cache through the kernel's colour while nobody
 * had the pages mapped, so a kernel may have put off their write-back until this very moment. On file systems that live in the page cache
 * only. Nothing is unmapped and no process ends in between, as either writes back the whole cache on some kernels.
 */
#define _GNU_SOURCE
#include "colours.h"

static void write_page(int file, uint32_t page)
{
	static uint32_t copy[WORDS];
	uint32_t i;

	for (i = 0; i < WORDS; i++)
		copy[i] = pattern(page, i, 1);
	if (pwrite(file, copy, PAGE, (off_t)page * PAGE) != (ssize_t)PAGE)
		fail("pwrite: %s", strerror(errno));
}

/* The first wrong word, or WORDS. */
NOT_INLINED static uint32_t program_loads_page(const volatile uint32_t *words, uint32_t page)
{
	uint32_t i;

	for (i = 0; i < WORDS && words[i] == pattern(page, i, 1); i++)
		;
	return i;
}

static int on(const char *directory)
{
	char *area = reserve(PAGES);
	struct choice choice;
	uint32_t page, wrong;
	char path[64];
	int file;

	/* Only the address is wanted: to map over the reservation later would unmap it then. */
	munmap(area, PAGES * PAGE);
	snprintf(path, sizeof path, "%s/write_then_map", directory);
	file = must(path, open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
	for (page = 0; page < PAGES; page++)
		write_page(file, scattered(page));
	area = map_file(area, file, PROT_READ, path);
	for (page = 0; page < PAGES; page++) {
		wrong = program_loads_page((const volatile uint32_t *)(area + page * PAGE), page);
		if (wrong != WORDS)
			fail("%s: page %u word %u is not what was written", directory, page, wrong);
	}
	/* Every page was tried; this makes sure that every relation was among them. */
	choice = choose("self", area, 0);
	munmap(area, PAGES * PAGE);
	close(file);
	unlink(path);
	return pass(directory, &choice);
}

int main(void)
{
	program_name = "write_then_map";
	return on("/tmp") || on("/ram");
}
