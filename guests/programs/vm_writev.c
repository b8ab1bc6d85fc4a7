/*
 * Writes into a child's memory with process_vm_writev(2): the child must see what the kernel stored through its own mapping of the
 * child's frames.
 */
#define _GNU_SOURCE
#include "child.h"

#include <sys/uio.h>

/* 'y' if the page holds the words of this round. */
NOT_INLINED static char child_reads_buffer(const volatile uint32_t *words, uint32_t page, uint32_t round)
{
	uint32_t i;
	char right = 'y';

	for (i = 0; i < WORDS; i++)
		if (words[i] != pattern(page, i, round))
			right = 'n';
	return right;
}

/* The child dirties the page itself, so that its own colour holds the line, says so, waits, and reads. */
NOT_INLINED static void child_touches_buffer(volatile uint32_t *words, uint32_t round)
{
	uint32_t i;

	for (i = 0; i < WORDS; i++)
		words[i] = round;
}

static void life(char *area, int orders, int answers)
{
	for (;;) {
		struct order order = next_order(orders);
		volatile uint32_t *words = (volatile uint32_t *)(area + order.page * PAGE);
		char right = 'r';

		child_touches_buffer(words, order.round);
		if (write(answers, &right, 1) != 1)
			_exit(9);
		order = next_order(orders);
		right = child_reads_buffer(words, order.page, order.round);
		if (write(answers, &right, 1) != 1)
			_exit(9);
	}
}

int main(int argc, char **argv)
{
	static uint32_t copy[WORDS];
	struct choice choice;
	struct child child;
	uint32_t n, i, round;

	program_name = congruent_only(argc, argv) ? "vm_writev:congruent" : "vm_writev";
	child = start_child(life);
	answer(&child);
	choice = choose_in_child(&child, congruent_only(argc, argv));
	for (round = 1; round <= 2; round++)
		for (n = 0; n < choice.count; n++) {
			uint32_t page = choice.page[n];
			struct iovec here = {copy, PAGE}, there = {child.area + page * PAGE, PAGE};

			for (i = 0; i < WORDS; i++)
				copy[i] = pattern(page, i, round);
			order(&child, page, round);
			answer(&child);
			if (process_vm_writev(child.pid, &here, 1, &there, 1, 0) != (ssize_t)PAGE)
				fail("process_vm_writev: %s", strerror(errno));
			order(&child, page, round);
			if (answer(&child) != 'y')
				fail("the child does not see page %u", page);
		}
	close(child.orders);
	waitpid(child.pid, NULL, 0);
	return pass("child", &choice);
}
