/*
 * Forks while a second thread keeps writing the pages that are being shared copy-on-write. Every child must see one moment of the
 * writer's work: it writes the same number to every line in order, then the next number, so what a child sees never rises along the
 * pages and falls by one at most.
 */
#include "colours.h"

#include <pthread.h>
#include <sys/wait.h>

#define SHARED_PAGES 8u
#define STEP 8u /* one word in each 32-byte line */
#define PLACES (SHARED_PAGES * WORDS / STEP)

static volatile uint32_t *area;
static volatile int stop;

NOT_INLINED static void *writer_writes_pages(void *unused)
{
	uint32_t number, place;

	for (number = 1; !stop; number++)
		for (place = 0; place < PLACES; place++)
			area[place * STEP] = number;
	return unused;
}

/* The first place that does not fit, or PLACES. */
NOT_INLINED static uint32_t child_reads_pages(uint32_t *first)
{
	uint32_t place, before = *first = area[0];

	for (place = 1; place < PLACES; place++) {
		uint32_t here = area[place * STEP];

		if (here > before || *first - here > 1)
			return place;
		before = here;
	}
	return PLACES;
}

NOT_INLINED static void child_writes_pages(uint32_t number)
{
	uint32_t place;

	for (place = 0; place < PLACES; place++)
		area[place * STEP] = number;
}

static int child(uint32_t at_least)
{
	uint32_t first, again;

	if (child_reads_pages(&first) != PLACES)
		return 1;
	if (child_reads_pages(&again) != PLACES || again != first)
		return 2;
	if (first < at_least)
		return 3;
	child_writes_pages(0x80000000u);
	return child_reads_pages(&again) != PLACES || again != 0x80000000u ? 4 : 0;
}

int main(int argc, char **argv)
{
	static const char *const wrong[] = {"", "saw no single moment", "saw the parent's later stores", "saw the past", "lost its own stores"};
	int forks = argc > 1 ? atoi(argv[1]) : 40;
	pthread_t writer;
	int i, status;

	program_name = "fork_threads";
	area = (volatile uint32_t *)reserve(SHARED_PAGES);
	if (mmap((void *)area, SHARED_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		fail("mapping memory: %s", strerror(errno));
	if (pthread_create(&writer, NULL, writer_writes_pages, NULL))
		fail("no second thread");
	while (area[0] < 3)
		usleep(1000);
	for (i = 0; i < forks; i++) {
		uint32_t at_least = area[0] - 1;
		pid_t pid = must("fork", fork());

		if (pid == 0)
			_exit(child(at_least));
		usleep(500);
		must("waitpid", waitpid(pid, &status, 0));
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			fail("child %d %s (status %#x)", i, WIFEXITED(status) ? wrong[WEXITSTATUS(status) % 5] : "died", status);
	}
	stop = 1;
	pthread_join(writer, NULL);
	printf("PASS %s: %d forks under a writing thread\n", program_name, forks);
	return 0;
}
