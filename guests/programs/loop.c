/*
 * A file behind a loop device, and a program that has it mapped at addresses of every colour: what the program stores the device's reader must
 * see, and the program what is written to the device.
 */
#define _GNU_SOURCE
#include "pages.h"

#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	char *area, *block = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct choice choice;
	uint32_t n, round;
	int file, device;

	program_name = congruent_only(argc, argv) ? "loop:congruent" : "loop";
	mkdir("/devices", 0700);
	if (access("/devices/loop0", F_OK))
		must("mounting /devices", mount("devtmpfs", "/devices", "devtmpfs", 0, NULL));
	file = must("/tmp/loop", open("/tmp/loop", O_RDWR | O_CREAT, 0600));
	must("ftruncate", ftruncate(file, PAGES * PAGE));
	device = must("/devices/loop0", open("/devices/loop0", O_RDWR | O_DIRECT));
	must("LOOP_SET_FD", ioctl(device, LOOP_SET_FD, file));
	area = map_file(reserve(PAGES), file, PROT_READ | PROT_WRITE, "/tmp/loop");
	populate(area);
	choice = choose("self", area, congruent_only(argc, argv));
	for (round = 1; round <= 2; round++)
		for (n = 0; n < choice.count; n++) {
			uint32_t page = choice.page[n];
			off_t at = (off_t)page * PAGE;

			program_stores_page((volatile uint32_t *)(area + at), page, 2 * round);
			if (pread(device, block, PAGE, at) != (ssize_t)PAGE)
				fail("pread: %s", strerror(errno));
			if (program_loads_page((volatile uint32_t *)block, page, 2 * round) != WORDS)
				fail("page %u of the device is not what was stored", page);
			program_stores_page((volatile uint32_t *)block, page, 2 * round + 1);
			if (pwrite(device, block, PAGE, at) != (ssize_t)PAGE)
				fail("pwrite: %s", strerror(errno));
			if (program_loads_page((volatile uint32_t *)(area + at), page, 2 * round + 1) != WORDS)
				fail("page %u of the file is not what was written to the device", page);
		}
	return pass("/tmp", &choice);
}
