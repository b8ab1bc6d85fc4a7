/*
 * Pages that go to a disk and come back: to swap, by the device's own reads and writes of frames that the program has used at every colour.
 */
#define _GNU_SOURCE
#include "pages.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define SOME 256u

/* What mkswap(8) writes (Linux, include/linux/swap.h, union swap_header). */
static void make_swap(const char *path)
{
	static uint32_t header[WORDS];
	int disk = must(path, open(path, O_RDWR));

	header[256] = 1;
	header[257] = must("lseek", lseek(disk, 0, SEEK_END)) / PAGE - 1;
	memcpy((char *)header + PAGE - 10, "SWAPSPACE2", 10);
	if (pwrite(disk, header, PAGE, 0) != (ssize_t)PAGE)
		fail("writing %s: %s", path, strerror(errno));
	must("fsync", fsync(disk));
	close(disk);
}

/* How many pages of the area have no frame. */
static unsigned gone(char *area)
{
	int pagemap = open_pagemap("self");
	unsigned n, count = 0;
	uint64_t entry;

	for (n = 0; n < SOME; n++) {
		must("pagemap", pread(pagemap, &entry, sizeof entry, ((uintptr_t)area / PAGE + n) * sizeof entry));
		count += !(entry >> 63);
	}
	close(pagemap);
	return count;
}

int main(void)
{
	char *area = reserve(SOME), *moved = reserve(SOME + 1) + PAGE;
	unsigned n, round, least = SOME;

	program_name = "swap";
	mkdir("/devices", 0700);
	if (access("/devices/sda", F_OK))
		must("mounting /devices", mount("devtmpfs", "/devices", "devtmpfs", 0, NULL));
	make_swap("/devices/sda");
	must("swapon", swapon("/devices/sda", 0));
	if (mmap(area, SOME * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	for (round = 1; round <= 4; round++) {
		char *other = area;

		for (n = 0; n < SOME; n++)
			program_stores_page((volatile uint32_t *)(area + n * PAGE), n, round);
		must("madvise", madvise(area, SOME * PAGE, MADV_PAGEOUT));
		if (gone(area) < least)
			least = gone(area);
		/* They come back at other colours. */
		area = mremap(area, SOME * PAGE, SOME * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved);
		if (area == MAP_FAILED)
			fail("mremap: %s", strerror(errno));
		moved = other;
		for (n = 0; n < SOME; n++)
			if (program_loads_page((volatile uint32_t *)(area + n * PAGE), n, round) != WORDS)
				fail("page %u is not what was stored in round %u", n, round);
	}
	must("swapoff", swapoff("/devices/sda"));
	if (least < SOME / 2)
		fail("only %u of %u pages went to the disk", least, SOME);
	printf("PASS swap: %u of %u pages and more\n", least, SOME);
	return 0;
}
