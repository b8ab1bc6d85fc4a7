/*
 * An ordinary evening on a small machine without a shell: generations of processes that share pages copy-on-write and write them, execute
 * themselves, talk through pipes, write, read, map and compare files. What workload.sh is to guests that have busybox.
 */
#include "colours.h"

#include <sys/wait.h>

#define CHILDREN 12
#define SHARED_PAGES 24
#define ROUNDS 4
#define FILE_PAGES 12

static uint32_t common[SHARED_PAGES * WORDS];

/* Ends the process unless every word of `pages` pages is what round `round` wrote. */
static void compare(const char *where, const uint32_t *memory, unsigned pages, uint32_t round)
{
	unsigned page, i;

	for (page = 0; page < pages; page++)
		for (i = 0; i < WORDS; i++)
			if (memory[page * WORDS + i] != pattern(page, i, round))
				fail("%s: page %u, word %u is %#x in round %u", where, page, i, memory[page * WORDS + i], round);
}

static void fill(uint32_t *memory, unsigned pages, uint32_t round)
{
	unsigned page, i;

	for (page = 0; page < pages; page++)
		for (i = 0; i < WORDS; i++)
			memory[page * WORDS + i] = pattern(page, i, round);
}

/* Waits for one child, which must have ended well. */
static void wait_for_child(void)
{
	int status;

	if (wait(&status) < 0 || status)
		fail("a child ended with status %#x", status);
}

/* A parent and its children write the same pages; each must keep seeing its own. */
static void copies_on_write(void)
{
	unsigned round, child;

	for (round = 1; round <= ROUNDS; round++) {
		fill(common, SHARED_PAGES, round);
		for (child = 0; child < CHILDREN / ROUNDS; child++) {
			if (must("fork", fork()) == 0) {
				compare("inherited", common, SHARED_PAGES, round);
				fill(common, SHARED_PAGES, round + 100 * (child + 1));
				compare("own", common, SHARED_PAGES, round + 100 * (child + 1));
				_exit(0);
			}
		}
		fill(common, SHARED_PAGES, round + 1000);
		compare("parent's", common, SHARED_PAGES, round + 1000);
		for (child = 0; child < CHILDREN / ROUNDS; child++)
			wait_for_child();
		compare("parent's after all", common, SHARED_PAGES, round + 1000);
	}
}

static void write_all(int to, const void *bytes, size_t length)
{
	for (const char *at = bytes; length;) {
		ssize_t part = must("write", write(to, at, length));

		at += part;
		length -= (size_t)part;
	}
}

static void read_all(int from, void *bytes, size_t length)
{
	for (char *at = bytes; length;) {
		ssize_t part = must("read", read(from, at, length));

		if (!part)
			fail("input ends %zu bytes early", length);
		at += part;
		length -= (size_t)part;
	}
}

/* A child that is a program of its own sends pages through a pipe; odd sizes, so that no copy is a whole page. */
static void pipes(char **argv)
{
	static uint32_t received[FILE_PAGES * WORDS];
	unsigned child;

	for (child = 0; child < CHILDREN; child++) {
		int ends[2];

		must("pipe", pipe(ends));
		if (must("fork", fork()) == 0) {
			char number[8];
			char *arguments[] = {argv[0], "send", number, NULL};

			snprintf(number, sizeof number, "%u", child);
			must("dup2", dup2(ends[1], 1));
			close(ends[0]);
			execv(argv[0], arguments);
			_exit(126);
		}
		close(ends[1]);
		read_all(ends[0], received, sizeof received);
		close(ends[0]);
		compare("pipe", received, FILE_PAGES, child);
		wait_for_child();
	}
}

static int send_pages(uint32_t round)
{
	size_t at, length = FILE_PAGES * PAGE, part;

	fill(common, FILE_PAGES, round);
	for (at = 0; at < length; at += part) {
		part = length - at < 1000 ? length - at : 1000;
		write_all(1, (char *)common + at, part);
	}
	return 0;
}

/* Files that are written, read back, mapped and removed. */
static void files(const char *directory)
{
	static uint32_t copy[FILE_PAGES * WORDS];
	unsigned round;

	for (round = 0; round < ROUNDS; round++) {
		char path[64];
		void *mapped;
		int file;

		snprintf(path, sizeof path, "%s/file%u", directory, round);
		file = must(path, open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
		fill(copy, FILE_PAGES, round);
		write_all(file, copy, sizeof copy);
		mapped = mmap(NULL, sizeof copy, PROT_READ, MAP_SHARED, file, 0);
		if (mapped == MAP_FAILED)
			fail("mapping %s: %s", path, strerror(errno));
		compare("mapped file", mapped, FILE_PAGES, round);
		memset(copy, 0, sizeof copy);
		must("lseek", lseek(file, 0, SEEK_SET));
		read_all(file, copy, sizeof copy);
		compare("file", copy, FILE_PAGES, round);
		must("munmap", munmap(mapped, sizeof copy));
		close(file);
		must("unlink", unlink(path));
	}
}

/* Memory that parent and child share, each writing its half of every page. */
static void shared_memory(void)
{
	uint32_t *shared = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned page, i;

	if (shared == MAP_FAILED)
		fail("mapping shared memory: %s", strerror(errno));
	if (must("fork", fork()) == 0) {
		for (page = 0; page < FILE_PAGES; page++)
			for (i = WORDS / 2; i < WORDS; i++)
				shared[page * WORDS + i] = pattern(page, i, 7);
		_exit(0);
	}
	for (page = 0; page < FILE_PAGES; page++)
		for (i = 0; i < WORDS / 2; i++)
			shared[page * WORDS + i] = pattern(page, i, 7);
	wait_for_child();
	compare("shared memory", shared, FILE_PAGES, 7);
	must("munmap", munmap(shared, FILE_PAGES * PAGE));
}

int main(int argc, char **argv)
{
	program_name = "everyday";
	if (argc == 3 && !strcmp(argv[1], "send"))
		return send_pages((uint32_t)atoi(argv[2]));
	copies_on_write();
	pipes(argv);
	files("/tmp");
	files("/ram");
	shared_memory();
	printf("PASS %s\n", program_name);
	return 0;
}
