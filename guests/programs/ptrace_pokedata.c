/*
 * Changes words of a stopped child with PTRACE_POKEDATA, as a debugger does: the child must see them when it goes on.
 */
#include "child.h"

#include <signal.h>
#include <sys/ptrace.h>

#define STEP 16u /* one word in each 64 bytes */

/* 'y' if the page holds the words of this round. */
NOT_INLINED static char child_reads_buffer(const volatile uint32_t *words, uint32_t page, uint32_t round)
{
	uint32_t i;
	char right = 'y';

	for (i = 0; i < WORDS; i += STEP)
		if (words[i] != pattern(page, i, round))
			right = 'n';
	return right;
}

static void life(char *area, int orders, int answers)
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	for (;;) {
		struct order order;
		char right;

		raise(SIGSTOP);
		order = next_order(orders);
		right = child_reads_buffer((volatile uint32_t *)(area + order.page * PAGE), order.page, order.round);
		if (write(answers, &right, 1) != 1)
			_exit(9);
	}
}

int main(int argc, char **argv)
{
	struct choice choice;
	struct child child;
	uint32_t n, i, round;
	int status;

	program_name = congruent_only(argc, argv) ? "ptrace_pokedata:congruent" : "ptrace_pokedata";
	child = start_child(life);
	answer(&child);
	choice = choose_in_child(&child, congruent_only(argc, argv));
	for (round = 1; round <= 2; round++)
		for (n = 0; n < choice.count; n++) {
			uint32_t page = choice.page[n];

			must("waitpid", waitpid(child.pid, &status, 0));
			if (!WIFSTOPPED(status))
				fail("the child did not stop (status %#x)", status);
			for (i = 0; i < WORDS; i += STEP) {
				char *there = child.area + page * PAGE + i * sizeof(uint32_t);

				must("PTRACE_POKEDATA", ptrace(PTRACE_POKEDATA, child.pid, there, (void *)(uintptr_t)pattern(page, i, round)));
			}
			order(&child, page, round);
			must("PTRACE_CONT", ptrace(PTRACE_CONT, child.pid, NULL, NULL));
			if (answer(&child) != 'y')
				fail("the child does not see page %u", page);
		}
	kill(child.pid, SIGKILL);
	return pass("child", &choice);
}
