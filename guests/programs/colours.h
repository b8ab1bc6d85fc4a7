/*
 * Pages of every colour relation: the frame under a page decides through which colour the kernel reaches it (its linear mapping), the
 * page's own address decides the program's colour. A test in which the two happen to agree shows nothing, so each program picks pages
 * until every relation has been had, and fails if one could not be had.
 *
 * Frames are read from /proc/self/pagemap (Linux, Documentation/admin-guide/mm/pagemap.rst), which needs root. Colours are counted
 * modulo four, or eight on PA-RISC: what is equal modulo four is equal modulo two.
 */
#ifndef COLOURS_H
#define COLOURS_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define WORDS (PAGE / sizeof(uint32_t))
#ifdef __hppa__
#define COLOURS 8u
#else
#define COLOURS 4u
#endif
#define PAGES 1024u
#define ALIGNMENT 0x10000u /* above every way size that is tested */
#define EACH_RELATION 2    /* how many pages of a relation are tried */

#define NOT_INLINED __attribute__((noinline, noclone))

static const char *program_name = "?";

/* Ends the program with its one line of bad news. */
__attribute__((noreturn, format(printf, 1, 2), unused)) static void fail(const char *why, ...)
{
	char text[200];
	va_list list;

	va_start(list, why);
	vsnprintf(text, sizeof text, why, list);
	va_end(list);
	printf("FAIL %s: %s\n", program_name, text);
	fflush(stdout);
	exit(1);
}

/* Ends the program unless the system call succeeded. */
__attribute__((unused)) static long must(const char *what, long result)
{
	if (result < 0)
		fail("%s: %s", what, strerror(errno));
	return result;
}

/* The word that round `round` puts at place `i` of page `page`. Never zero. */
static inline uint32_t pattern(uint32_t page, uint32_t i, uint32_t round)
{
	return (page * 0x9e3779b1u ^ i * 0x85ebca6bu ^ round * 0xc2b2ae35u) | 1u;
}

/* Address space for `pages` pages that begins at a multiple of ALIGNMENT; nothing is mapped there yet. */
__attribute__((unused)) static char *reserve(unsigned pages)
{
	size_t length = pages * PAGE + ALIGNMENT;
	char *area = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		fail("reserving addresses: %s", strerror(errno));
	return (char *)(((uintptr_t)area + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
}

/*
 * Maps PAGES pages of a file at `area`; or where the kernel wants them, if it admits no other place: PA-RISC's gives every file a colour,
 * and keeps all its shared mappings to that.
 */
__attribute__((unused)) static char *map_file(char *area, int file, int protection, const char *path)
{
	char *at = mmap(area, PAGES * PAGE, protection, MAP_SHARED | MAP_FIXED, file, 0);

#ifdef __hppa__
	if (at == MAP_FAILED && errno == EINVAL)
		at = mmap(NULL, PAGES * PAGE, protection, MAP_SHARED, file, 0);
#endif
	if (at == MAP_FAILED)
		fail("mapping %s: %s", path, strerror(errno));
	return at;
}

/* Maps PAGES fresh anonymous pages. */
__attribute__((unused)) static char *map_anonymous(void)
{
	char *area = reserve(PAGES);

	if (mmap(area, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("mapping memory: %s", strerror(errno));
	return area;
}

/*
 * The n-th of PAGES pages to be touched: each once, in no order. Frames tend to come in some order, which depends on what ran before, and
 * are to meet pages of every colour whatever it is. (Shifts and odd factors can be undone, so no page comes twice.)
 */
static inline unsigned scattered(unsigned n)
{
	n ^= n >> 5;
	n = n * 0x2f5u % PAGES;
	n ^= n >> 5;
	n = n * 0x1b3u % PAGES;
	return n ^ n >> 5;
}

/* Touches every page by a store. */
__attribute__((unused)) static void populate(char *area)
{
	unsigned n;

	for (n = 0; n < PAGES; n++)
		*(volatile uint32_t *)(area + scattered(n) * PAGE) = 1;
}

/* Touches every page of a file mapping by a load, so that the program has nothing dirty in it. */
__attribute__((unused)) static void populate_by_loads(const char *area)
{
	unsigned n;

	for (n = 0; n < PAGES; n++)
		(void)*(const volatile uint32_t *)(area + scattered(n) * PAGE);
}

/* The frame under page number `page` (address / PAGE) of the process that `pagemap` was opened for. */
static inline uint64_t frame_at(int pagemap, uintptr_t page)
{
	uint64_t entry, frame;

	if (pread(pagemap, &entry, sizeof entry, (off_t)page * sizeof entry) != sizeof entry)
		fail("reading a pagemap: %s", strerror(errno));
	frame = entry & 0x7fffffffffffffull;
	if (!(entry >> 63) || !frame)
		fail("page %#lx has no frame that I may know: am I root?", (unsigned long)page);
	return frame;
}

/* The pagemap of process `who`: "self" or a number. */
static inline int open_pagemap(const char *who)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%s/pagemap", who);
	return must(path, open(path, O_RDONLY));
}

/* Which pages of an area are to be tried: indices in `page`, `count` of them. */
struct choice {
	unsigned page[COLOURS * COLOURS * EACH_RELATION];
	unsigned count;
	unsigned relations;
};

/*
 * Chooses pages of the populated area `area` of process `who` ("self" or a number): EACH_RELATION pages of each relation, or, as the
 * harmless twin, only pages whose two colours are equal. Ends the program if a relation cannot be had.
 */
__attribute__((unused)) static struct choice choose(const char *who, const char *area, int only_congruent)
{
	struct choice choice = {.count = 0, .relations = 0};
	unsigned had[COLOURS][COLOURS] = {{0}};
	unsigned n, kernel, user;
	int pagemap = open_pagemap(who);

	for (n = 0; n < PAGES; n++) {
		uintptr_t number = (uintptr_t)area / PAGE + n;

		kernel = (unsigned)frame_at(pagemap, number) % COLOURS;
		user = number % COLOURS;
		if ((only_congruent && kernel != user) || had[kernel][user] == EACH_RELATION)
			continue;
		choice.relations += had[kernel][user] == 0;
		had[kernel][user]++;
		choice.page[choice.count++] = n;
	}
	close(pagemap);
	for (kernel = 0; kernel < COLOURS; kernel++)
		for (user = 0; user < COLOURS; user++)
			if (!had[kernel][user] && (!only_congruent || kernel == user))
				fail("no page with kernel colour %u and user colour %u among %u", kernel, user, PAGES);
	return choice;
}

/* Whether the program was asked for its harmless twin: `name:congruent`. */
__attribute__((unused)) static int congruent_only(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], "congruent") == 0;
}

/* The last line of a program that found every byte right. */
__attribute__((unused)) static int pass(const char *detail, const struct choice *choice)
{
	printf("PASS %s %s: %u colour relations, %u pages\n", program_name, detail, choice->relations, choice->count);
	return 0;
}

#endif
