/*
 * Reads and writes a disk that moves bytes by itself: past the page cache (`disk:direct`), and through it (`disk:buffered`). The program
 * must see what the disk holds, and the disk must get what the program stored.
 */
#define _GNU_SOURCE
#include "colours.h"

#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define BLOCK (4 * PAGE)
#define AREA (1u << 20) /* what is written of the disk, from its start */
#define OLD 0x1000000u  /* a disk word that was never written is its own offset, below this */

/* The first word that is not `expected` plus its offset, or the number of words. */
NOT_INLINED static uint32_t program_loads_block(const volatile uint32_t *words, uint32_t expected)
{
	uint32_t i;

	for (i = 0; i < BLOCK / 4 && words[i] == expected + 4 * i; i++)
		;
	return i;
}

NOT_INLINED static void program_stores_block(volatile uint32_t *words, uint32_t first)
{
	uint32_t i;

	for (i = 0; i < BLOCK / 4; i++)
		words[i] = first + 4 * i;
}

/* The disk, once its driver has found it. */
static int open_disk(int flags)
{
	static const char *const names[] = {"/devices/sda", "/devices/mmcblk0", "/devices/vda"};
	int tries, module, disk;
	unsigned n;

	mkdir("/devices", 0700);
	if (access("/devices/null", F_OK) && mount("devtmpfs", "/devices", "devtmpfs", 0, NULL))
		fail("mounting /devices: %s", strerror(errno));
	module = open("/modules/ata_piix.ko", O_RDONLY);
	if (module >= 0) {
		if (syscall(SYS_finit_module, module, "", 0) && errno != EEXIST)
			fail("loading the disk's driver: %s", strerror(errno));
		close(module);
	}
	for (tries = 0; tries < 200; tries++) {
		for (n = 0; n < sizeof names / sizeof names[0]; n++) {
			disk = open(names[n], O_RDWR | flags);
			if (disk >= 0)
				return disk;
		}
		usleep(50000);
	}
	fail("there is no disk");
	return -1;
}

static void check(const char *what, uint32_t at, const char *block, uint32_t expected)
{
	uint32_t wrong = program_loads_block((const volatile uint32_t *)block, expected);

	if (wrong != BLOCK / 4)
		fail("%s: block at %u, word %u is %08x", what, at, wrong, ((const uint32_t *)block)[wrong]);
}

/* Two buffers at neighbouring colours take turns, so that frames and colours change under the device. */
static void direct(int disk)
{
	char *area = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t at, round;

	if (area == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	for (at = 0; at < AREA; at += BLOCK) {
		char *block = area + (at / BLOCK & 1) * BLOCK;

		/* What the program has stored there must be gone after the read. */
		program_stores_block((volatile uint32_t *)block, OLD * 9 + at);
		if (pread(disk, block, BLOCK, at) != (ssize_t)BLOCK)
			fail("pread: %s", strerror(errno));
		check("as delivered", at, block, at);
	}
	for (round = 1; round <= 2; round++) {
		for (at = 0; at < AREA; at += BLOCK) {
			program_stores_block((volatile uint32_t *)area, OLD * round + at);
			if (pwrite(disk, area, BLOCK, at) != (ssize_t)BLOCK)
				fail("pwrite: %s", strerror(errno));
		}
		for (at = 0; at < AREA; at += BLOCK) {
			if (pread(disk, area + BLOCK, BLOCK, at) != (ssize_t)BLOCK)
				fail("pread: %s", strerror(errno));
			check("direct", at, area + BLOCK, OLD * round + at);
		}
	}
}

static void drop_cache(int disk)
{
	must("fsync", fsync(disk));
	must("BLKFLSBUF", ioctl(disk, BLKFLSBUF, 0));
}

static void buffered(int disk)
{
	static char block[BLOCK] __attribute__((aligned(4096)));
	uint32_t at, round;
	char *mapped;

	for (round = 3; round <= 4; round++) {
		for (at = 0; at < AREA; at += BLOCK) {
			program_stores_block((volatile uint32_t *)block, OLD * round + at);
			if (pwrite(disk, block, BLOCK, at) != (ssize_t)BLOCK)
				fail("pwrite: %s", strerror(errno));
		}
		drop_cache(disk);
		for (at = 0; at < AREA; at += BLOCK) {
			if (pread(disk, block, BLOCK, at) != (ssize_t)BLOCK)
				fail("pread: %s", strerror(errno));
			check("buffered", at, block, OLD * round + at);
		}
		drop_cache(disk);
	}
	/* The device's bytes through the program's own mapping, and the program's stores to the device. */
	mapped = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_SHARED, disk, 0);
	if (mapped == MAP_FAILED)
		fail("mapping the disk: %s", strerror(errno));
	for (at = 0; at < AREA; at += BLOCK) {
		check("mapped", at, mapped + at, OLD * 4 + at);
		program_stores_block((volatile uint32_t *)(mapped + at), OLD * 5 + at);
	}
	must("msync", msync(mapped, AREA, MS_SYNC));
	munmap(mapped, AREA);
	drop_cache(disk);
	for (at = 0; at < AREA; at += BLOCK) {
		if (pread(disk, block, BLOCK, at) != (ssize_t)BLOCK)
			fail("pread: %s", strerror(errno));
		check("after the mapping", at, block, OLD * 5 + at);
	}
}

int main(int argc, char **argv)
{
	int past_cache = argc > 1 && !strcmp(argv[1], "direct");
	int disk;

	program_name = past_cache ? "disk:direct" : "disk:buffered";
	disk = open_disk(past_cache ? O_DIRECT : 0);
	if (past_cache)
		direct(disk);
	else
		buffered(disk);
	close(disk);
	printf("PASS %s\n", program_name);
	return 0;
}
