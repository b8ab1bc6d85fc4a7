/*
 * Sixteen processes of one program that lies at another address in each: what one has at an address, another has elsewhere or not at all. With
 * further arguments, one of them is that program of /programs instead, with those arguments.
 */
#define _GNU_SOURCE
#include "colours.h"

#include <sys/wait.h>

#define PROCESSES 16u

/* Fresh data pages, of which there may be some where another process has this code. */
NOT_INLINED static uint32_t sums_pages(uint32_t number)
{
	uint32_t *area = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t i, sum = 0;

	if (area == MAP_FAILED)
		fail("mmap: %s", strerror(errno));
	for (i = 0; i < 64 * WORDS; i++)
		area[i] = pattern(i / WORDS, i % WORDS, number);
	for (i = 0; i < 64 * WORDS; i++)
		sum += area[i] == pattern(i / WORDS, i % WORDS, number);
	munmap(area, 64 * PAGE);
	return sum;
}

static int child(uint32_t number)
{
	char text[64];
	uint32_t round;

	for (round = 0; round < 4; round++) {
		snprintf(text, sizeof text, "%u of %p", number + round, (void *)text);
		if (sums_pages(number + round) != 64 * WORDS || !strchr(text, 'o'))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint32_t number;

	program_name = argc > 1 ? "randomised:jit:forgets" : "randomised";
	if (argc > 2 && !strcmp(argv[1], "child"))
		return child((uint32_t)atoi(argv[2]));
	for (number = 1; number <= PROCESSES; number++) {
		char own[12], other[64];
		int status;
		pid_t process = (pid_t)must("fork", fork());

		if (!process) {
			snprintf(own, sizeof own, "%u", number);
			if (argc > 1 && number == PROCESSES / 2) {
				snprintf(other, sizeof other, "/programs/%s", argv[1]);
				execv(other, argv + 1);
			} else {
				execl("/proc/self/exe", argv[0], "child", own, (char *)NULL);
			}
			_exit(2);
		}
		must("waitpid", waitpid(process, &status, 0));
		if (status)
			fail("process %u ended with %#x", number, (unsigned)status);
	}
	printf("PASS %s\n", program_name);
	return 0;
}
