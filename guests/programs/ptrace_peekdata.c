/*
 * Reads words of a stopped child with PTRACE_PEEKDATA, as a debugger does: the parent must see what the child stored.
 */
#include "child.h"

#include <signal.h>
#include <sys/ptrace.h>

#define STEP 16u /* one word in each 64 bytes */

NOT_INLINED static void child_stores_buffer(volatile uint32_t *words, uint32_t page, uint32_t round)
{
	uint32_t i;

	for (i = 0; i < WORDS; i++)
		words[i] = pattern(page, i, round);
}

static void life(char *area, int orders, int answers)
{
	(void)answers;
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	for (;;) {
		struct order order;

		raise(SIGSTOP);
		order = next_order(orders);
		child_stores_buffer((volatile uint32_t *)(area + order.page * PAGE), order.page, order.round);
	}
}

static void wait_for_stop(const struct child *child)
{
	int status;

	must("waitpid", waitpid(child->pid, &status, 0));
	if (!WIFSTOPPED(status))
		fail("the child did not stop (status %#x)", status);
}

int main(int argc, char **argv)
{
	struct choice choice;
	struct child child;
	uint32_t n, i, round;

	program_name = congruent_only(argc, argv) ? "ptrace_peekdata:congruent" : "ptrace_peekdata";
	child = start_child(life);
	answer(&child);
	choice = choose_in_child(&child, congruent_only(argc, argv));
	wait_for_stop(&child);
	for (round = 1; round <= 2; round++)
		for (n = 0; n < choice.count; n++) {
			uint32_t page = choice.page[n];

			order(&child, page, round);
			must("PTRACE_CONT", ptrace(PTRACE_CONT, child.pid, NULL, NULL));
			wait_for_stop(&child);
			for (i = 0; i < WORDS; i += STEP) {
				char *there = child.area + page * PAGE + i * sizeof(uint32_t);
				uint32_t word;

				errno = 0;
				word = (uint32_t)ptrace(PTRACE_PEEKDATA, child.pid, there, NULL);
				if (errno)
					fail("PTRACE_PEEKDATA: %s", strerror(errno));
				if (word != pattern(page, i, round))
					fail("page %u word %u was peeked as %#x", page, i, word);
			}
		}
	kill(child.pid, SIGKILL);
	return pass("child", &choice);
}
